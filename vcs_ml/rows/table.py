"""A table as the comparison reads it: columns by name, and rows in batches of bounded size."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote, size

Opener = Callable[[], BinaryIO]  # opens the file anew, seekable, at its start

# Text, a number, true or false, nothing; a tuple is text that is no plain string: nested values, surplus cells.
Cell = str | int | float | bool | bytes | tuple[str, ...] | None
Row = Sequence[Cell]
Unit = Any  # a row as its format reads it: a line, or the cells

COLUMNS_MAX: Final = 10_000
CELLS_MAX: Final = 1 << 20  # of the rows of a batch, also of those that a short row has not
ROW_MAX: Final = 4_000_000  # bytes; they are held several times, as text of up to four bytes a character

_WHOLE_MAX: Final = 1e22  # larger ones are written with an exponent by all (ECMA-262, Number::toString)
_PERHAPS_WHOLE: Final = re.compile(r"\.0(?!\d)|e\+")
# Texts are matched to be passed over.
_TEXT_OR_WHOLE: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|(?<!\d)\d++(?:\.0(?!\d)|(?:\.\d++)?e\+\d++)')


class Table(NamedTuple):
    """A table that is read as often as needed.

    `types` are declared ones. In a `typed` table cells have types of their own; in any other all are text that may
    stand for a number. `bytes` and `most` say how large it is: the size of the file, uncompressed as far as it says
    so, and rows at most; `unfolded` yields the bytes of one batch after the other where they may be many more.
    Units of two tables with the same names and the same `dialect` (not None) are equal only if their rows are.
    `numbers` has, for each column of a typed table, which of int and float its cells may be.

    `batches` yields the rows as units, always in the same batches. `rows` turns units into rows of `len(names)`
    cells, and counts those that had more or fewer.
    """

    names: tuple[str, ...]
    types: tuple[str, ...] | None
    typed: bool
    dialect: str | None
    bytes: int
    most: int
    batches: Callable[[], Iterator[list[Unit]]]
    rows: Callable[[Iterable[Unit]], tuple[list[Row], int]]
    unfolded: Callable[[], Iterable[int]] = tuple
    numbers: Sequence[Collection[type]] = ()


NONE: Final = Table(
    (), None, typed=True, dialect=None, bytes=0, most=0, batches=lambda: iter(()), rows=lambda _: ([], 0)
)


def hashes(table: Table, columns: Sequence[int], rows: Iterable[Row]) -> Iterator[int]:
    """A hash of the cells in `columns` of each row; the same in this process and those forked from it.

    Python's own hash (SipHash, keyed anew in each run) is faster than any other here, and a stranger who cannot know
    the key cannot make two rows that look the same.
    """
    chosen = map(operator.itemgetter(*columns), rows)
    return map(hash, map(repr, chosen) if table.typed else chosen)  # 1, 1.0 and True have one hash, NaN has many


def cut(batches: Iterable[list[Unit]], columns: int) -> Iterator[list[Unit]]:
    """The same units, so few at a time that their rows fit into memory, however many columns there are."""
    most = max(CELLS_MAX // max(columns, 1), 1)
    for batch in batches:
        for first in range(0, len(batch), most):
            yield batch[first : first + most]


def with_whole(table: Table, columns: Collection[int]) -> Table:
    """The same table with integers in `columns` for the floats that are equal to one."""

    def rows(units: Iterable[Unit]) -> tuple[list[Row], int]:
        found, ragged = table.rows(units)
        cells = enumerate(zip(*found, strict=True))
        changed = [list(map(_whole, column)) if index in columns else column for index, column in cells]
        return list(zip(*changed, strict=True)), ragged

    return table._replace(rows=rows) if columns else table


def nested(value: Any, *, ascii: bool) -> Cell:
    """A list or mapping as a cell: JSON with sorted keys, in which 1.0 is 1."""
    text = json.dumps(value, ensure_ascii=ascii, sort_keys=True, default=str)
    if _PERHAPS_WHOLE.search(text):
        text = _TEXT_OR_WHOLE.sub(lambda found: found[0] if found[0][0] == '"' else str(_whole(float(found[0]))), text)
    return (text,)


def _whole(cell: Cell) -> Cell:
    return int(cell) if type(cell) is float and cell.is_integer() and abs(cell) < _WHOLE_MAX else cell


def unique(names: Sequence[str], path: str) -> tuple[str, ...]:
    """Names of columns, each of them once: `a`, `a (2)`; one without a name is `column 1`."""
    if len(names) > COLUMNS_MAX:
        raise UserError(
            f"{quote(path)} has {len(names):,} columns", hint=f"tables of up to {COLUMNS_MAX:,} columns are compared"
        )
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        plain = name or f"column {number}"
        again, wanted = 1, plain
        while wanted in found:
            again += 1
            wanted = f"{plain} ({again})"
        found[wanted] = None
    return tuple(found)


def length(opener: Opener) -> int:
    """Bytes of a file."""
    with opener() as file:
        return file.seek(0, 2)


def too_long(path: str, where: str) -> UserError:
    """The error for a row that is larger than we are ready to hold."""
    return UserError(
        f"{quote(path)}: the row at {where} is longer than {size(ROW_MAX)}",
        hint="a quote that is never closed, or lines without an end, look so",
    )
