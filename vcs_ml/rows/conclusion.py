"""From what was seen of two tables to what changed."""

from __future__ import annotations

from typing import Final

from vcs_ml.rows import shown
from vcs_ml.rows.pairing import Pairing, changed_cells
from vcs_ml.rows.result import ChangedRow, ColumnChange, Examples, Retyped, Sides, Statistics, TableDiff
from vcs_ml.rows.survey import Seen, Side
from vcs_ml.rows.table import NONE, Row, Table

_CELLS_MAX: Final = 100  # of a changed row

Places = Sides[tuple[int, ...]]  # where columns stand in each table


def draw(
    sides: Sides[Side], shared: Places, key: tuple[str, ...], seen: Sides[Seen], paired: Pairing | None
) -> TableDiff:
    """The result. `shared` are the places of the columns that both tables have; `paired` is there with a key."""
    tables = Sides(*(side.table for side in sides))
    old_names, new_names = (tuple(map(shown.plain, table.names)) for table in tables)
    both = dict(zip(shared.new, shared.old, strict=True))
    removed = sorted(set(range(len(old_names))).difference(shared.old))
    columns = [_column(index, both.get(index), sides, seen) for index in range(len(new_names))]
    cells = dict(zip(shared.new, paired.cells, strict=True)) if paired else {}
    changes = [
        ColumnChange(name, *pair, cells.get(index))
        for index, (name, pair) in enumerate(zip(new_names, columns, strict=True))
        if pair.old != pair.new or cells.get(index)
    ]
    gone = [ColumnChange(old_names[index], _old(index, None, sides, seen), None, None) for index in removed]
    return TableDiff(
        rows=Sides(*(_rows(side, each, seen) for side, each in zip(sides, seen, strict=True))),
        key=key,
        columns_added=tuple(new_names[index] for index in range(len(new_names)) if index not in both),
        columns_removed=tuple(old_names[index] for index in removed),
        retyped=tuple(
            Retyped(name, old.type, new.type)
            for name, (old, new) in zip(new_names, columns, strict=True)
            if old and new and old.type != new.type
        ),
        added=paired.added if paired else seen.new.apart.rows,
        removed=paired.removed if paired else seen.old.apart.rows,
        changed=paired.changed if paired else 0 if key else None,
        ragged=Sides(*(_ragged(side, each, seen) for side, each in zip(sides, seen, strict=True))),
        duplicates=paired.duplicates if paired else None,
        columns=(*changes, *gone),
        examples=_examples(tables, shared, key, seen, paired),
    )


def _rows(side: Side, one: Seen, seen: Sides[Seen]) -> int | None:
    return None if side.table is NONE else one.apart.rows + seen.new.same.rows


def _ragged(side: Side, one: Seen, seen: Sides[Seen]) -> int:
    # Where the old table's share of equal rows was not parsed, it has the same columns, so they are ragged alike.
    return one.apart.ragged + (one.same if side.same is not None else seen.new.same).ragged


def _column(index: int, old: int | None, sides: Sides[Side], seen: Sides[Seen]) -> Sides[Statistics | None]:
    """The statistics of a column of the new table, and of the same one in the old table, which is at `old`."""
    types = sides.new.table.types
    column = seen.new.apart.columns[index]
    if index in seen.new.same.columns:
        column.merge(seen.new.same.columns[index])
    new = column.statistics(types[index] if types else None)
    if old is None:
        return Sides(None, new)
    old_types = sides.old.table.types
    if seen.old.apart.sums[old] == seen.new.apart.sums[index]:
        # The same values; only the order in which they were added up might differ.
        return Sides(new._replace(type=old_types[old]) if old_types else new, new)
    return Sides(_old(old, index, sides, seen), new)


def _old(index: int, new: int | None, sides: Sides[Side], seen: Sides[Seen]) -> Statistics:
    """The statistics of a column of the old table; of rows that both tables have the new one knows, if it has it."""
    column, types = seen.old.apart.columns[index], sides.old.table.types
    others = seen.old.same.columns.get(index) if new is None else seen.new.same.columns[new]
    if others:
        column.merge(others)
    return column.statistics(types[index] if types else None)


def _examples(
    tables: Sides[Table],
    shared: Places,
    key: tuple[str, ...],
    seen: Sides[Seen],
    paired: Pairing | None,
) -> Examples:
    added, removed = (paired.only_new, paired.only_old) if paired else (seen.new.examples, seen.old.examples)
    return Examples(
        added=tuple(shown.row(tables.new.names, row) for _, row in added),
        removed=tuple(shown.row(tables.old.names, row) for _, row in removed),
        changed=tuple(_changed(tables, shared, key, old, new) for _, old, new in (paired.pairs if paired else ())),
    )


def _changed(tables: Sides[Table], shared: Places, key: tuple[str, ...], old: Row, new: Row) -> ChangedRow:
    names = tables.new.names
    cells = {}
    for index in changed_cells(old, new, shared)[:_CELLS_MAX]:
        before, after = shared.old[index], shared.new[index]
        cells[shown.plain(names[after])] = Sides(shown.cell(old[before]), shown.cell(new[after]))
    return ChangedRow({shown.plain(name): shown.cell(new[names.index(name)]) for name in key}, cells)
