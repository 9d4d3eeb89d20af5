"""A report in OpenMetrics 1.0, which GitLab compares between branches, and Prometheus reads.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vcs_ml.metrics import flat
from vcs_ml.output import lines
from vcs_ml.report.data import KINDS
from vcs_ml.report.model import Report

Sample = tuple[Mapping[str, str], float]


def write(report: Report) -> str:
    """Metrics, params that changed, gates, data and stages as gauges; what is no number is left out."""
    families = (
        _family("vml_metric", "A metric at the newer revision.", _values(report.metrics, "new")),
        _family("vml_metric_base", "A metric at the older revision.", _values(report.metrics, "old")),
        _family("vml_param", "A param that changed, at the newer revision.", _values(report.params, "new")),
        _family("vml_param_base", "A param that changed, at the older revision.", _values(report.params, "old")),
        _family("vml_gate", "1 where a gate holds.", _gates(report)),
        _family(
            "vml_data_files",
            "Files of tracked data that changed.",
            (({"change": kind}, report.data.counts.get(kind, 0)) for kind in KINDS),
        ),
        _family("vml_data_growth_bytes", "How much larger tracked data is.", [({}, report.data.growth)], unit="bytes"),
        _family("vml_stages_rerun", "Stages whose lock file changed.", [({}, len(report.reruns))]),
        _family("vml_stages_stale", "Stages that are not as their lock file says.", [({}, len(report.stale))]),
    )
    written = [line for family in families for line in family]
    return "".join(f"{line}\n" for line in (*written, "# EOF"))


def _gates(report: Report) -> Iterator[Sample]:
    """Of several gates on one value, one sample: a set of labels may stand there once."""
    held: dict[str, bool] = {}
    for each in report.gates:
        held[each.gate.name] = held.get(each.gate.name, True) and each.passed
    yield from (({"gate": name}, passed) for name, passed in held.items())


def _values(rows: Iterable[Any], side: str) -> Iterator[Sample]:
    for row in rows:
        value = getattr(row, side)
        if flat.is_number(value):
            yield {"file": row.file, "key": row.key}, value


def _family(name: str, about: str, samples: Iterable[Sample], *, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {about}"
    for labels, value in samples:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{f'{{{inner}}}' if inner else ''} {_number(value)}"


def _escaped(text: str) -> str:
    # Half a surrogate pair, which a file name may hold, has no bytes.
    text = lines(text.encode("utf-8", "backslashreplace").decode())
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else f"{'+' if value > 0 else '-'}Inf"
