"""A report as JUnit XML: a test for each gate, and for each stage whether it is as its lock file says."""

from __future__ import annotations

from vcs_ml.pipeline import junit
from vcs_ml.pipeline.scheduler import Row
from vcs_ml.report.model import Report


def write(report: Report) -> bytes:
    """A gate that does not hold has failed. A stage that is not reproduced is a skipped test: it fails no gate."""
    rows = [
        Row(each.gate.name, "skipped" if each.passed else "failed", 0.0, "; ".join((*each.faults, *each.notes)))
        for each in report.gates
    ]
    rows += [
        Row(each.name, "not run", 0.0, "not reproduced: " + "; ".join(map(str, each.reasons))) for each in report.stale
    ]
    return junit.render(rows, logs={}, suite=report.title)
