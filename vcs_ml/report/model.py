"""A report: everything that any of its forms shows, gathered once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from vcs_ml.metrics.compare import Row
from vcs_ml.metrics.tables import TableChange
from vcs_ml.pipeline.drawing import Drawing
from vcs_ml.pipeline.staleness import StageState
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images
from vcs_ml.report.data import Data
from vcs_ml.report.gates import Gate, Result
from vcs_ml.report.sides import Side
from vcs_ml.report.stages import Rerun

TITLE = "vml report"


class Problem(NamedTuple):
    """Something that could not be looked at, at which of the revisions, and why."""

    what: str
    where: str
    message: str


class Report(NamedTuple):
    """What a reviewer wants to know of the way from `base` to `head`.

    `removed` are gates that head does not have any more, `metrics` all values, `params` those that changed, `tables`
    files of data, `stale` the stages of head that are not as its lock files say. `uncompared` are tables that changed,
    too, but are too many; `changed_plots` the ids of those `figures` whose files changed; `upstream` has the stale
    stages that one needs which is stale only because of them.
    """

    title: str
    base: Side
    head: Side
    gates: Sequence[Result]
    removed: Sequence[Gate]
    metrics: Sequence[Row]
    params: Sequence[Row]
    data: Data
    tables: Sequence[TableChange]
    reruns: Sequence[Rerun]
    stale: Sequence[StageState]
    problems: Sequence[Problem]
    drawing: Drawing | None
    figures: Sequence[Chart | Images]
    uncompared: Sequence[str] = ()
    upstream: Mapping[str, Sequence[str]] = {}
    changed_plots: Collection[str] = ()

    @property
    def passed(self) -> bool:
        """Whether all gates hold."""
        return all(each.passed for each in self.gates)

    @property
    def better(self) -> Mapping[tuple[str, str], str]:
        """higher or lower, by file and key, where a gate says which of them is better."""
        return {(each.gate.file, each.gate.key): each.gate.better for each in self.gates if each.gate.better}
