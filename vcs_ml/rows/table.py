"""A table as the comparison reads it: columns by name, and rows in batches of bounded size."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Table(NamedTuple):
    """A table that is read as often as needed.

    `types` are declared ones. In a `typed` table cells have types of their own; in any other all are text that may
    stand for a number. `bytes` and `most` say how large it is: the size of the file, uncompressed as far as it says
    so, and rows at most; `unfolded` yields the bytes of one batch after the other where they may be many more.
    Units of two tables with the same names and the same `dialect` (not None) are equal only if their rows are.

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
