"""CSV and TSV as tables: RFC 4180, and what people write beside it."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.rows import lines
from vcs_ml.rows.table import NONE, ROW_MAX, Opener, Row, Table, Unit, cut, length, too_long, unique

_BATCH: Final = 1 << 20  # characters


def read(opener: Opener, path: str) -> Table:
    """The table in a file whose first row names the columns.

    Cells are divided by tabs in `.tsv`, else by `,`, or by `;` where the header has more of them. Empty lines are no
    rows. In a row with too few cells the others are None; with too many, the last one holds all that follow.
    UserError for a row longer than 4 MB.
    """
    shape = lines.look(opener, path)
    delimiter = "\t" if path.lower().endswith(".tsv") else _sniffed(opener, path)
    # Without quotes a line is a row, and can be compared before anybody has parsed it.
    plain = not shape.quoted and not shape.returns

    def units() -> Iterator[list[Unit]]:
        return filter(None, lines.batches(opener, path) if plain else _parsed(opener, path, delimiter))

    def parsed(found: Iterable[Unit]) -> list[Row]:
        return list(csv.reader(found, delimiter=delimiter) if plain else found)

    def batches() -> Iterator[list[Unit]]:
        found = units()
        yield from cut(itertools.chain([next(found)[1:]], found), len(names))

    first = next(units(), None)
    if first is None:
        return NONE._replace(typed=False)
    csv.field_size_limit(ROW_MAX)
    names = unique([str(cell) for cell in parsed(first[:1])[0]], path)
    return Table(
        names=names,
        types=None,
        typed=False,
        dialect=delimiter if plain else None,
        bytes=length(opener),
        most=shape.lines,
        batches=batches,
        rows=lambda found: _even(parsed(found), len(names)),
    )


def _sniffed(opener: Opener, path: str) -> str:
    header = next((text.lstrip().partition("\n")[0] for text in lines.blocks(opener, path)), "")
    return ";" if header.count(";") > header.count(",") else ","


def _parsed(opener: Opener, path: str, delimiter: str) -> Iterator[list[list[str]]]:
    waiting = 0  # characters that the parser has been given since the last batch

    def fed() -> Iterator[list[str]]:
        nonlocal waiting
        for text in lines.blocks(opener, path):
            waiting += len(text)
            if waiting > ROW_MAX + _BATCH:
                raise too_long(path, f"line {reader.line_num:,}")
            yield io.StringIO(text, newline="").readlines()  # also at a lone CR; ends are kept, for those in quotes

    csv.field_size_limit(ROW_MAX)
    reader = csv.reader(itertools.chain.from_iterable(fed()), delimiter=delimiter)
    batch: list[list[str]] = []
    try:
        for row in reader:
            if row:
                batch.append(row)
            if waiting > _BATCH or len(batch) == lines.BATCH:
                yield batch
                batch, waiting = [], 0
    except csv.Error as error:
        raise UserError(
            f"{quote(path)}, line {reader.line_num:,}: {error}", hint="a quote that is never closed looks so"
        ) from None
    yield batch


def _even(rows: list[Row], width: int) -> tuple[list[Row], int]:
    if set(map(len, rows)) <= {width}:
        return rows, 0
    uneven = sum(len(row) != width for row in rows)
    return [row if len(row) == width else _fitted(row, width) for row in rows], uneven


def _fitted(row: Row, width: int) -> Row:
    if len(row) < width:
        return [*row, *itertools.repeat(None, width - len(row))]
    return [*row[: width - 1], tuple(map(str, row[width - 1 :]))]
