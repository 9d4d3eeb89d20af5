"""The parts of a report's text, whatever it is written as: sections, tables, cells, a stranger's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vcs_ml.pipeline.drawing import Drawing
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images


class Code(str):
    """A stranger's words: names, values, messages. They are never taken for markup."""

    __slots__ = ()


class Figure(NamedTuple):
    """Something that is sorted by a number; None comes last."""

    shown: str
    by: float | None


Cell = str | Code | Figure | tuple[str | Code, ...]  # plain text is ours


class Column(NamedTuple):
    """A column; numbers stand at the right."""

    title: str | Code
    number: bool = False


class Table(NamedTuple):
    """A table. `caption` says what it shows; `rest` is how many rows it leaves out."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    rest: int = 0


class Text(NamedTuple):
    """A paragraph."""

    parts: tuple[str | Code, ...]


class Graph(NamedTuple):
    """The drawing of the stages, and which of them ran again, or do not fit their lock file."""

    drawing: Drawing
    reran: frozenset[str]
    stale: frozenset[str]


class Figures(NamedTuple):
    """Charts and pictures."""

    figures: Sequence[Chart | Images]


Block = Table | Text | Graph | Figures


class Section(NamedTuple):
    """A part of the report; a folded one is opened by those who want it."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False
