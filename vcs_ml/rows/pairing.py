"""Rows that only one of two tables has, matched by key: which of them are one row, changed."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Iterable
from typing import Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.rows import spill
from vcs_ml.rows.result import Sides
from vcs_ml.rows.survey import Keyed
from vcs_ml.rows.table import Row, Table, hashes

_PART: Final = 1 << 22  # bytes of each table in a part
_ROW: Final = 1 << 8  # bytes that a row may well take, where the file is compressed
_BYTES_MAX: Final = 1 << 26  # of a part
_ROWS_MAX: Final = 1 << 17

Item = tuple[int, int, Row]  # the hash of a key, the number of the row, and the row


class Keys(NamedTuple):
    """Two tables, the columns that both have, the files of their surveys, and how many workers wrote each of them."""

    tables: Sides[Table]
    shared: Sides[tuple[int, ...]]
    keyed: Sides[Keyed]
    workers: int


def parts(table: Table) -> int:
    """How many parts its rows need, if all of them are apart."""
    return spill.parts(max(table.bytes, table.most * max(_ROW, len(table.names))), _PART)


class Pairing:
    """How many rows were changed, removed, added; cells changed, by shared column; rows with an earlier row's key.

    `pairs` (an old and a new row), `only_old` and `only_new` are the first rows of each kind, behind their numbers.
    """

    def __init__(self, columns: int) -> None:
        self.changed = self.removed = self.added = 0
        self.cells = [0] * columns
        self.duplicates = Sides(0, 0)
        self.pairs: list[tuple[int, Row, Row]] = []
        self.only_old: list[tuple[int, Row]] = []
        self.only_new: list[tuple[int, Row]] = []

    def merge(self, other: Pairing, examples: int) -> None:
        """Take what was found in other parts."""
        self.changed += other.changed
        self.removed += other.removed
        self.added += other.added
        self.cells = list(map(operator.add, self.cells, other.cells))
        self.duplicates = Sides(*map(operator.add, self.duplicates, other.duplicates))
        self.pairs = heapq.nsmallest(examples, self.pairs + other.pairs)
        self.only_old = heapq.nsmallest(examples, self.only_old + other.only_old)
        self.only_new = heapq.nsmallest(examples, self.only_new + other.only_new)


def match(keys: Keys, parts: Iterable[int], examples: int) -> Pairing:
    """What is in some parts of the files; up to so many rows of each kind.

    Rows of one key are matched in their order, and those left over are removed or added. UserError where so many rows
    have one key that they do not fit into memory.
    """
    found = Pairing(len(keys.shared.old))
    for part in parts:
        old, new = (_read(table, keyed, keys, part) for table, keyed in zip(keys.tables, keys.keyed, strict=True))
        each = _matched(old, new, keys.shared)
        each.duplicates = _duplicates(keys, part, Sides([key for key, _, _ in old], [key for key, _, _ in new]))
        found.merge(each, examples)
    return found


def _read(table: Table, keyed: Keyed, keys: Keys, part: int) -> list[Item]:
    """The rows of one part in their order."""
    places = [keyed.rows(worker) for worker in range(keys.workers)]
    merged = heapq.merge(*(spill.rows(place, part) for place in places))
    fits = sum(spill.bytes_of(place, part) for place in places) <= _BYTES_MAX
    rows = list(itertools.islice(merged, _ROWS_MAX + 1 if fits else 0))
    if not fits or len(rows) > _ROWS_MAX:
        raise UserError(
            f"too many rows have the same value of {quote(','.join(table.names[each] for each in keyed.columns))}",
            hint="a key is a column, or several, that tells rows apart",
        )
    found = hashes(table, keyed.columns, (row for _, row in rows))
    return [(key, number, row) for key, (number, row) in zip(found, rows, strict=True)]


def _matched(old: list[Item], new: list[Item], shared: Sides[tuple[int, ...]]) -> Pairing:
    found = Pairing(len(shared.old))
    waiting: dict[int, list[tuple[int, Row]]] = {}
    for key, number, row in reversed(old):
        waiting.setdefault(key, []).append((number, row))
    for key, number, row in new:
        if same := waiting.get(key):
            found.pairs.append((number, same.pop()[1], row))
        else:
            found.only_new.append((number, row))
    found.only_old = [each for rows in waiting.values() for each in rows]
    found.changed, found.removed, found.added = len(found.pairs), len(found.only_old), len(found.only_new)
    for _, one, other in found.pairs:
        for index in changed_cells(one, other, shared):
            found.cells[index] += 1
    return found


def changed_cells(old: Row, new: Row, shared: Sides[tuple[int, ...]]) -> list[int]:
    """In which of the shared columns two rows differ; 1 and True do, and NaN is NaN."""
    pairs = enumerate(zip(*shared, strict=True))
    return [index for index, (one, other) in pairs if repr(old[one]) != repr(new[other])]


def _duplicates(keys: Keys, part: int, apart: Sides[list[int]]) -> Sides[int]:
    """How many rows of each table have the key of an earlier row."""
    rows, seen = 0, set[int]()
    for worker in range(keys.workers):
        for same, _ in spill.pairs(keys.keyed.new.keys(worker), part):
            rows += len(same)
            seen.update(same)
    return Sides(*(rows + len(each) - len(seen.union(each)) for each in apart))
