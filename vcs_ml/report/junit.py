"""A report as JUnit XML: a test for each gate, and for each stage whether it is as its lock file says."""

from __future__ import annotations

from collections import Counter

from vcs_ml.pipeline import junit
from vcs_ml.pipeline.scheduler import Row
from vcs_ml.report import sections
from vcs_ml.report.model import Report


def write(report: Report) -> bytes:
    """A gate that does not hold has failed. A gate that is gone, and a stage that is not reproduced, are skipped tests:
    they fail no gate.
    """
    names = Counter(each.gate.name for each in report.gates)
    rows = [
        Row(
            f"{each.gate.name} ({each.gate})" if names[each.gate.name] > 1 else each.gate.name,
            "ran" if each.passed else "failed",
            0.0,
            "; ".join((*each.faults, *each.notes)),
        )
        for each in report.gates
    ]
    rows += [Row(each.name, "not run", 0.0, f"the gate is gone: {each}") for each in report.removed]
    rows += [
        Row(each.name, "not run", 0.0, f"not reproduced: {sections.why_stale(report, each)}") for each in report.stale
    ]
    return junit.render(rows, logs={}, suite=report.title, states=False)
