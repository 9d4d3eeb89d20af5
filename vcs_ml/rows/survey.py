"""One pass over a table: statistics of its columns, and the rows that the other table does not have."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml.rows import spill
from vcs_ml.rows.column import Column
from vcs_ml.rows.table import Row, Table, Unit, hashes

_REMEMBERED: Final = 100_000  # values, by all columns of a table
_OPPOSITE: Final = bytes.maketrans(b"\0\1", b"\1\0")
_HASHES: Final = 1 << 64


class Keyed(NamedTuple):
    """The columns of the key, and the scratch files that `pairing` reads, each in so many parts."""

    columns: tuple[int, ...]
    place: Path
    parts: int

    def rows(self, worker: int) -> Path:
        """The rows that only this table has."""
        return self.place.with_suffix(f".rows.{worker}")

    def keys(self, worker: int) -> Path:
        """The keys of rows that both tables have."""
        return self.place.with_suffix(f".keys.{worker}")


class Side(NamedTuple):
    """A table, and what is asked of it.

    `apart` marks rows as `apart.mark` does; None: the other table has none of them. `same` are the columns that
    are measured in the rows which the other table has, too; None: these rows are not even parsed.
    """

    table: Table
    apart: Path | None
    same: tuple[int, ...] | None
    keyed: Keyed | None


class Found:
    """What one kind of rows of a table is like: how many there are, how many are ragged, what is in the columns.

    Two of them with equal `sums` of a column have the same values in it, each as often.
    """

    def __init__(self, table: Table, columns: Iterable[int]) -> None:
        bound = max(32, min(8192, _REMEMBERED // max(len(table.names), 1)))
        self.rows = self.ragged = 0
        self.columns = {each: Column(typed=table.typed, bound=bound) for each in columns}
        self.sums = dict.fromkeys(self.columns, 0)

    def take(self, table: Table, units: Iterable[Unit], *, summed: bool) -> list[Row]:
        """Measure some rows, and return them."""
        rows, ragged = table.rows(units)
        self.rows += len(rows)
        self.ragged += ragged
        cells = list(zip(*rows, strict=True))
        for index, column in self.columns.items() if rows else ():
            if table.typed or ragged:
                column.add(cells[index])
            else:
                column.add_texts(cells[index])
            if summed:
                found = map(hash, map(repr, cells[index]) if table.typed else cells[index])
                self.sums[index] = (self.sums[index] + sum(found)) % _HASHES
        return rows

    def merge(self, other: Found) -> None:
        """Take what another pass over the same table has found."""
        self.rows += other.rows
        self.ragged += other.ragged
        for index, column in self.columns.items():
            column.merge(other.columns[index])
            self.sums[index] = (self.sums[index] + other.sums[index]) % _HASHES


class Seen(NamedTuple):
    """The rows that the other table has, too, and those that are apart; some of these, behind their numbers."""

    same: Found
    apart: Found
    examples: list[tuple[int, Row]]

    def merge(self, other: Seen, examples: int) -> None:
        """Take what another worker has seen."""
        self.same.merge(other.same)
        self.apart.merge(other.apart)
        self.examples[:] = heapq.nsmallest(examples, self.examples + other.examples)


def look(side: Side, worker: int, workers: int, examples: int) -> Seen:
    """Every batch of the table whose turn it is among so many workers.

    With a key, all rows that are apart go to its files.
    """
    table, keyed = side.table, side.keyed
    same, apart = Found(table, side.same or ()), Found(table, range(len(table.names)))
    first: list[tuple[int, Row]] = []
    spilled = spill.Rows(keyed.rows(worker), keyed.parts) if keyed else None
    keys = spill.Pairs(keyed.keys(worker), keyed.parts) if keyed else None
    for numbers, units, marks in _turns(side, worker, workers):
        rows = apart.take(table, itertools.compress(units, marks), summed=True)
        found = itertools.compress(numbers, marks)
        if keyed and spilled:
            spilled.add(hashes(table, keyed.columns, rows), found, rows)
        else:
            first += zip(itertools.islice(found, examples - len(first)), rows, strict=False)
        if side.same is not None:
            rows = same.take(table, itertools.compress(units, marks.translate(_OPPOSITE)), summed=False)
            if keyed and keys:
                keys.add(hashes(table, keyed.columns, rows), 0)
    for each in (spilled, keys):
        if each:
            each.flush()
    return Seen(same, apart, first)


def _turns(side: Side, worker: int, workers: int) -> Iterator[tuple[range, list[Unit], bytes]]:
    """Batches with the numbers of their rows, and 1 for each row that is apart."""
    first = 0
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(side.apart.open("rb")) if side.apart else None
        for turn, units in enumerate(side.table.batches()):
            numbers = range(first, first + len(units))
            first = numbers.stop
            if turn % workers == worker:
                if file:
                    file.seek(numbers.start)
                yield numbers, units, file.read(len(units)) if file else b"\1" * len(units)
