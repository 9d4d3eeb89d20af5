"""Cells of a report: values, changes, sizes, and a stranger's words in a line that is not too long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from vcs_ml import output
from vcs_ml.metrics import flat, table
from vcs_ml.metrics.compare import MISSING, Row
from vcs_ml.report.blocks import Cell, Code, Column, Figure
from vcs_ml.report.model import Report

_TEXT_MAX: Final = 300  # characters of a message or of reasons
_SEVERAL_MAX: Final = 5


def words(text: str) -> Code:
    """A stranger's words in one line, cut where they are long."""
    shown = output.one_line(text)
    return Code(shown if len(shown) <= _TEXT_MAX else f"{shown[: _TEXT_MAX - 1]}…")


def name(path: str) -> Code:
    """A path, or the name of a stage."""
    return words(output.quote(path))


def several(texts: Iterable[str], between: str) -> Code:
    """The first few of a stranger's texts, and how many more there are."""
    found = list(texts)
    more = f"{between}and {len(found) - _SEVERAL_MAX:,} more" if len(found) > _SEVERAL_MAX else ""
    return words(between.join(found[:_SEVERAL_MAX]) + more)


def names(found: Sequence[str], most: int) -> Iterator[str | Code]:
    """The first `most` of these names, each for itself, and how many more there are."""
    for number, each in enumerate(found[:most]):
        yield from (", " * bool(number), name(each))
    if len(found) > most:
        yield f", and {len(found) - most:,} more"


def sides(report: Report) -> tuple[Column, Column]:
    """The columns of both revisions."""
    return Column(words(report.base.label), number=True), Column(words(report.head.label), number=True)


def value(of: Any, precision: int) -> Cell:
    """A value: numbers as they are, and all else as a stranger's words."""
    return _shown(of, table.cell(of, precision))


def pair(row: Row, precision: int) -> tuple[Cell, Cell]:
    """Both values of a row, with so many digits that they differ if it did change."""
    old, new = table.pair(row, precision)
    return _shown(row.old, old), _shown(row.new, new)


def _shown(of: Any, text: str) -> Cell:
    return Figure(text, _number(of)) if of is MISSING or flat.is_number(of) else words(text)


def change(row: Row, precision: int) -> Cell:
    """What became of a value, with the direction of a number."""
    if row.old is MISSING or row.new is MISSING:
        return "new" if row.old is MISSING else "gone"
    if not row.delta:
        return ""
    return Figure(f"{'▲' if row.delta > 0 else '▼'} {table.change(row, precision)}", _number(row.delta))


def _number(of: Any) -> float | None:
    try:
        return None if of is MISSING or math.isnan(of) else float(of)
    except OverflowError:
        return None


def number(of: float) -> Figure:
    """A number that was measured, with few digits."""
    return Figure(f"{of:.5g}", _number(of))


def count(n: int) -> Figure:
    """A number of things."""
    return Figure(f"{n:,}", n)


def size(n: int | None) -> Figure:
    """A size in bytes; None where nothing is."""
    return Figure("-" if n is None else output.size(n), n)


def growth(n: int) -> Figure:
    """How many bytes more there are."""
    return Figure(f"{'+' if n > 0 else '-' if n < 0 else ''}{output.size(abs(n))}", n)
