"""Reports out of few words, for tests of their forms."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from vcs_ml.errors import UserError
from vcs_ml.metrics.compare import MISSING, Row
from vcs_ml.metrics.tables import TableChange
from vcs_ml.pipeline.drawing import Drawing, Node
from vcs_ml.pipeline.signature import Reason
from vcs_ml.pipeline.staleness import StageState
from vcs_ml.plots import definition, figures, images
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.series import Table
from vcs_ml.report.data import Data, Unlisted
from vcs_ml.report.gates import Gate, Result
from vcs_ml.report.model import Problem, Report
from vcs_ml.report.sides import Side
from vcs_ml.report.stages import Rerun
from vcs_ml.rows.result import ColumnChange, Examples, Numbers, Retyped, Sides, Statistics, TableDiff
from vcs_ml.store import objects
from vcs_ml.store.page import FILE, Entry
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.status import Change

# A PNG of one pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABc3UBGAAAAABJRU5ErkJggg==")


def empty(**parts: Any) -> Report:
    """A report on nothing, but for these parts."""
    base, head = Side("1" * 40, "main"), Side(None, "workspace")
    nothing = Report("vml report", base, head, (), (), (), (), Data(), (), (), (), (), None, ())
    return nothing._replace(**parts)


def full(words: Iterator[str]) -> Report:
    """A report in which everything happened, with strangers' words in each place where there may be some."""
    gate = Gate(next(words), next(words), {"equals": next(words), "better": "higher"})
    figures = [_chart(words), images.compare(next(words), {next(words): PIXEL, f"{next(words)} ": None})]
    trees = [Pointer("tree", objects.node(bytes([n]) * 32), "tree", n, 1, {}) for n in (1, 2)]
    return Report(
        title=next(words),
        base=Side("1" * 40, next(words), next(words)),
        head=Side("2" * 40, next(words), next(words)),
        gates=[
            Result(gate, next(words), 0.5, (next(words),), (next(words),)),
            Result(Gate(next(words), next(words), {}), MISSING, 1),
        ],
        removed=[Gate(next(words), next(words), {"equals": next(words)})],
        metrics=[
            Row(gate.file, gate.key, 0.25, 0.5),
            Row(next(words), next(words), next(words), [next(words), 1]),
            Row(next(words), next(words), MISSING, 1),
            Row(next(words), next(words), 3, 3),
        ],
        params=[Row(next(words), next(words), 1, next(words))],
        data=Data(
            [_change(next(words), next(words)), _change(next(words), next(words))],
            [Unlisted(next(words), trees[0], trees[1])],
        ),
        tables=[TableChange(next(words), _diff(words)), TableChange(next(words), problem=UserError(next(words)))],
        reruns=[
            Rerun(next(words), "reran", (Reason("param", next(words), next(words), next(words)),), (next(words),)),
            Rerun(next(words), "removed"),
            Rerun(next(words), "reran"),
        ],
        stale=[
            StageState(next(words), "stale", [Reason("dep", next(words), what="changed")]),
            StageState(next(words), "behind", []),
        ],
        problems=[Problem(next(words), next(words), next(words))],
        drawing=Drawing([Node(next(words), "data"), Node(next(words), "stage")], [[], [0]]),
        figures=figures,
        changed_plots=[each.id for each in figures],
    )


def _change(path: str, source: str) -> Change:
    old, new = (Entry(b"x", FILE, n, bytes([n]) * 16) for n in (1, 2))
    return Change(path, "renamed", old, new, source)


def _chart(words: Iterator[str]) -> Chart:
    points: Table = {"step": [0, 1, 2], "loss": [0.5, 0.25, 0.125]}
    id, revs = next(words), (next(words), f"{next(words)} ")
    plot = definition.define(id, {"x": "step", "y": "loss", "title": next(words)})
    return figures.draw(plot, {rev: {id: points} for rev in revs})


def _diff(words: Iterator[str]) -> TableDiff:
    seen = Statistics("number", 0, 1, False, Numbers(1, 2, 1.5, 0.5), None)
    return TableDiff(
        rows=Sides(1, 2),
        key=(),
        columns_added=(next(words),),
        columns_removed=(next(words),),
        retyped=(Retyped(next(words), "integer", "text"),),
        added=2,
        removed=1,
        changed=None,
        ragged=Sides(0, 0),
        duplicates=None,
        columns=(ColumnChange(next(words), None, seen, None),),
        examples=Examples((), (), ()),
    )
