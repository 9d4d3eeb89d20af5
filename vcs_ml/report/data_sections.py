"""What a report says of data: files and folders, and what changed in tables."""

from __future__ import annotations

from collections.abc import Iterator

from vcs_ml import output
from vcs_ml.metrics.tables import TableChange
from vcs_ml.report import cells, data
from vcs_ml.report.blocks import Block, Cell, Code, Column, Figure, Table, Text
from vcs_ml.report.data import KINDS, Data, Line
from vcs_ml.report.model import Report
from vcs_ml.rows.result import ColumnChange, Statistics, TableDiff


def sentence(found: Data) -> str:
    """What changed, as a part of a sentence; nothing for nothing."""
    kinds = [f"{found.counts[kind]:,} {kind}" for kind in KINDS if found.counts.get(kind)]
    if found.unlisted:
        kinds.append(f"{output.count(len(found.unlisted), 'directory')} changed")
    return f"data: {', '.join(kinds)} ({cells.growth(found.growth).shown})" if kinds else ""


def files(report: Report) -> list[Block]:
    """Files and folders that changed."""
    rows = [
        (_path(each), _kinds(each), cells.size(each.old), cells.size(each.new), cells.growth(each.growth))
        for each in data.lines(report.data)
    ]
    if not rows:
        return []
    columns = [Column("path"), Column("change"), *cells.sides(report), Column("difference", number=True)]
    blocks: list[Block] = [Table("data that changed", columns, rows)]
    if report.data.unlisted:
        blocks.append(Text(("Of some directories no list of files is here: ", Code("--fetch"), " gets it.")))
    return blocks


def _path(each: Line) -> Cell:
    path = cells.name(each.path)
    return (cells.name(each.source), " → ", path) if each.source is not None else path


def _kinds(each: Line) -> str:
    if each.old is not None or each.new is not None:
        return next(iter(each.counts))
    return ", ".join(f"{each.counts[kind]:,} {kind}" for kind in KINDS if each.counts.get(kind))


# ---------------------------------------------------------------------- tables


def tables(report: Report) -> list[Block]:
    """Rows and columns of tables that changed."""
    columns = [Column("table"), *cells.sides(report), *(Column(title, number=True) for title in ("added", "removed"))]
    rows = [_table(each) for each in report.tables]
    blocks: list[Block] = [Table("rows of tables", [*columns, Column("columns")], rows)] if rows else []
    if report.uncompared:
        paths = cells.several(map(output.quote, report.uncompared), ", ")
        more = f"And {output.count(len(report.uncompared), 'more table')} changed, whose rows were not compared: "
        blocks.append(Text((more, paths)))
    return blocks


def _table(each: TableChange) -> list[Cell]:
    if each.diff is None:
        why = cells.words(each.problem.message) if each.problem is not None else ""
        return [cells.name(each.path), *[Figure("-", None)] * 4, why]
    numbers = (*each.diff.rows, each.diff.added, each.diff.removed)
    return [cells.name(each.path), *(cells.count(n or 0) for n in numbers), cells.several(_columns(each.diff), ", ")]


def _columns(diff: TableDiff) -> Iterator[str]:
    """How the columns themselves changed."""
    yield from (f"+{name}" for name in diff.columns_added)
    yield from (f"-{name}" for name in diff.columns_removed)
    yield from (f"{each.name}: {each.old} → {each.new}" for each in diff.retyped)


def statistics(report: Report) -> list[Block]:
    """What the columns of tables hold, where that changed."""
    rows = [
        (cells.name(table.path), cells.name(each.name), *_numbers(each))
        for table in report.tables
        if table.diff is not None
        for each in table.diff.columns
    ]
    titles = [f"{what} {side}" for what in ("mean", "missing", "distinct") for side in ("before", "after")]
    columns = [Column("table"), Column("column"), *(Column(title, number=True) for title in titles)]
    return [Table("columns whose values changed", columns, rows)] if rows else []


def _numbers(each: ColumnChange) -> Iterator[Cell]:
    for side in (each.old, each.new):
        mean = side.numbers.mean if side is not None and side.numbers is not None else None
        yield cells.number(mean) if mean is not None else Figure("-", None)
    for side in (each.old, each.new):
        yield cells.count(side.missing) if side is not None else Figure("-", None)
    for side in (each.old, each.new):
        yield Figure(_distinct(side), side.distinct) if side is not None else Figure("-", None)


def _distinct(side: Statistics) -> str:
    return f"{'' if side.exact else '≈ '}{side.distinct:,}"
