"""What changed in a table, in lines for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from vcs_ml.output import count, quote
from vcs_ml.rows.result import ColumnChange, Shown, Statistics, TableDiff

_COLUMNS_MAX: Final = 20
_CELLS_MAX: Final = 8
_NAME_MAX: Final = 80  # characters
_ERROR: Final = 0.1  # of an estimated number of values, where many are remembered: see sketch.Distinct


def lines(diff: TableDiff) -> Iterator[str]:
    """The counts of rows, the columns that came, went or changed, and some rows."""
    yield _rows(diff)
    for sign, names in (("+", diff.columns_added), ("-", diff.columns_removed)):
        if names:
            yield f"columns {sign} {_listed(names)}"
    for each in diff.retyped:
        yield f"column {_name(each.name)}: {each.old} -> {each.new}"
    both = [each for each in diff.columns if each.old and each.new and not _only_retyped(each, each.old, each.new)]
    for column in both[:_COLUMNS_MAX]:
        yield f"{_name(column.name)}: {', '.join(_column(column)) or 'other values'}"
    if len(both) > _COLUMNS_MAX:
        yield f"and {count(len(both) - _COLUMNS_MAX, 'column')} more"
    yield from (f"+ {_row(each)}" for each in diff.examples.added)
    yield from (f"- {_row(each)}" for each in diff.examples.removed)
    for row in diff.examples.changed:
        cells = ", ".join(f"{_name(name)} {_cell(old)} -> {_cell(new)}" for name, (old, new) in row.cells.items())
        yield f"~ {_row(row.key)}: {cells}"


def _rows(diff: TableDiff) -> str:
    old, new = (f"{each:,}" if each is not None else "none" for each in diff.rows)
    kinds = [(diff.added, "added"), (diff.removed, "removed"), (diff.changed or 0, "changed")]
    what = ", ".join(f"{n:,} {kind}" for n, kind in kinds if n) or "the same rows"
    by = f" (by {_listed(diff.key)})" if diff.key else ""
    notes = [f"{sum(diff.ragged):,} with more or fewer cells than the header"] if any(diff.ragged) else []
    if diff.duplicates and any(diff.duplicates):
        notes.append(f"{sum(diff.duplicates):,} whose key another row has")
    return "; ".join([f"rows {old} -> {new}: {what}{by}", *notes])


def _only_retyped(column: ColumnChange, old: Statistics, new: Statistics) -> bool:
    return not column.cells and old._replace(type=new.type) == new


def _column(column: ColumnChange) -> Iterator[str]:
    old, new = column.old, column.new
    assert old is not None
    assert new is not None
    if column.cells:
        yield f"{count(column.cells, 'cell')} changed"
    if old.numbers and new.numbers:
        names = (("mean", "mean"), ("std", "std"), ("minimum", "min"), ("maximum", "max"))
        for field, name in names:
            one, other = getattr(old.numbers, field), getattr(new.numbers, field)
            if f"{one:.5g}" != f"{other:.5g}" and not (math.isnan(one) or math.isnan(other)):
                yield f"{name} {one:.5g} -> {other:.5g}"
    if old.missing != new.missing:
        yield f"missing {old.missing:,} -> {new.missing:,}"
    error = 0 if old.exact and new.exact else _ERROR * max(old.distinct, new.distinct)
    if abs(old.distinct - new.distinct) > error:
        yield f"distinct {_distinct(old)} -> {_distinct(new)}"


def _distinct(found: Statistics) -> str:
    return f"{'' if found.exact else 'about '}{found.distinct:,}"


def _name(name: str) -> str:
    return quote(name if len(name) <= _NAME_MAX else name[: _NAME_MAX - 1] + "…")


def _row(cells: dict[str, Shown]) -> str:
    shown = [f"{_name(name)}={_cell(value)}" for name, value in list(cells.items())[:_CELLS_MAX]]
    return ", ".join(shown + (["..."] if len(cells) > _CELLS_MAX else []))


def _cell(value: Shown) -> str:
    return quote(value) if value else "(none)"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _COLUMNS_MAX} more" if len(names) > _COLUMNS_MAX else ""
    return f"{', '.join(map(_name, names[:_COLUMNS_MAX]))}{more}"
