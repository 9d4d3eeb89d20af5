"""The comparison of two tables, from their files to what changed in them."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.output import quote, size
from vcs_ml.rows import apart, conclusion, delimited, jsonl, pairing, parallel, parquet, spill, survey
from vcs_ml.rows.pairing import Keys, Pairing
from vcs_ml.rows.result import Sides, TableDiff
from vcs_ml.rows.survey import Keyed, Seen, Side
from vcs_ml.rows.table import NONE, Opener, Table, with_whole

_READERS: Final = {
    ".csv": delimited.read,
    ".tsv": delimited.read,
    ".jsonl": jsonl.read,
    ".ndjson": jsonl.read,
    ".parquet": parquet.read,
}
_WORKERS: Final = 2  # whatever the machine has, for what is estimated may depend on how many there are
_FORKED_COLUMNS_MAX: Final = 1000
_CELL: Final = 4  # bytes that a cell counts for at least, for that is what it costs
_ALONE_BELOW: Final = 8_000_000  # bytes of both files; less is done before a fork pays


class NoColumn(UserError):
    """A table lacks a column of the key."""


def is_table(path: str) -> bool:
    """Whether rows of the file can be compared, by its suffix: .csv, .tsv, .jsonl, .ndjson, .parquet."""
    return _suffix(path) in _READERS


def compare(
    path: str,
    old: Opener | None,
    new: Opener | None,
    *,
    key: Sequence[str] = (),
    examples: int = 5,
    scratch: Path,
    largest: int | None = None,
) -> TableDiff:
    """What changed in the table at `path` from one file to another; None where there is none.

    An opener is called several times, also in forked processes, and each time must give a file of its own at its
    start. Rows are compared by the columns that both tables have, by name; their order does not count. Rows of equal
    `key` are one row, changed; without a key, whole rows are removed and added. Holds at most about 300 MB in memory;
    below `scratch` it needs 17 bytes a row, and with a key the size of the rows that differ.

    UserError for what is no table of its format, for a key whose columns are not in both, and for tables that have
    more than `largest` bytes together, uncompressed and with four bytes a cell at least.
    """
    if not is_table(path):
        raise UserError(f"{quote(path)} is no table", hint=f"rows are compared in {', '.join(_READERS)}")
    reader = _READERS[_suffix(path)]
    tables = Sides(*(NONE if opener is None else reader(opener, path) for opener in (old, new)))
    if largest is not None and _larger(tables, largest):
        raise UserError(f"larger than {size(largest)} together, uncompressed")
    key = tuple(dict.fromkeys(key))
    for which, table in tables._asdict().items():
        for name in key if table.names else ():
            if name not in table.names:
                raise _no_column(path, which, table, name)
    workers = _WORKERS if _forks(tables) else 1
    with spill.directory(scratch) as place, _uncollected():
        return _compared(tables, key, examples, place, workers)


def _larger(tables: Sides[Table], largest: int) -> bool:
    if sum(max(table.bytes, table.most * len(table.names) * _CELL) for table in tables) > largest:
        return True
    left = largest
    for unfolded in itertools.chain.from_iterable(table.unfolded() for table in tables):
        left -= unfolded
        if left < 0:
            return True
    return False


def _forks(tables: Sides[Table]) -> bool:
    if any(table.types for table in tables):
        return False  # pyarrow has threads, which a forked process lacks
    # Statistics of very many columns are large, and each process has its own.
    columns = max(len(table.names) for table in tables)
    return columns <= _FORKED_COLUMNS_MAX and sum(table.bytes for table in tables) > _ALONE_BELOW


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _no_column(path: str, which: str, table: Table, name: str) -> NoColumn:
    meant = values.suggestion(name, table.names)
    return NoColumn(
        f"{quote(path)} has no column {quote(name)} in its {which} version",
        hint=f"did you mean {quote(meant)}?" if meant else f"it has {', '.join(map(quote, table.names[:10]))}",
    )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's search for cycles: there are none here, but millions of lists, which it would look through."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _compared(tables: Sides[Table], key: tuple[str, ...], examples: int, place: Path, workers: int) -> TableDiff:
    shared = _shared(tables)
    tables = _of_equal_numbers(tables, shared)
    sides = _sides(tables, shared, key, place, workers)
    seen = _look(sides, 0 if sides.new.keyed else examples, workers)
    keyed = [side.keyed for side in sides if side.keyed]
    paired = _match(Keys(tables, shared, Sides(*keyed), workers), examples, workers) if keyed else None
    return conclusion.draw(sides, shared, key, seen, paired)


def _shared(tables: Sides[Table]) -> Sides[tuple[int, ...]]:
    """The columns that both tables have, in the order of the new one, by their places in each."""
    old = {name: index for index, name in enumerate(tables.old.names)}
    both = [(old[name], index) for index, name in enumerate(tables.new.names) if name in old]
    return Sides(tuple(each for each, _ in both), tuple(each for _, each in both))


def _of_equal_numbers(tables: Sides[Table], shared: Sides[tuple[int, ...]]) -> Sides[Table]:
    """The tables with 1 for 1.0 in columns that have both integers and floats, on one side or on both together."""
    if not all(table.numbers for table in tables):
        return tables
    pairs = zip(*shared, strict=True)
    mixed = [pair for pair in pairs if {int, float} <= {*tables.old.numbers[pair[0]], *tables.new.numbers[pair[1]]}]
    return Sides(with_whole(tables.old, {old for old, _ in mixed}), with_whole(tables.new, {new for _, new in mixed}))


def _sides(
    tables: Sides[Table], shared: Sides[tuple[int, ...]], key: tuple[str, ...], place: Path, workers: int
) -> Sides[Side]:
    """What has to be asked of each table, after their rows have been compared."""
    if not shared.new:
        return Sides(*(Side(table, None, None, None) for table in tables))
    marks = apart.mark(tables, shared, place, workers)
    parts = max(pairing.parts(table) for table in tables)
    keyed = [
        Keyed(tuple(map(table.names.index, key)), place / which, parts) if key else None
        for which, table in tables._asdict().items()
    ]
    # Rows that both tables have are measured in the new one. What they hold in other columns is in the old one only.
    others = tuple(sorted(set(range(len(tables.old.names))).difference(shared.old)))
    alike = set(tables.old.names) == set(tables.new.names)
    return Sides(
        Side(tables.old, marks.old, None if alike else others, keyed[0]),
        Side(tables.new, marks.new, tuple(range(len(tables.new.names))), keyed[1]),
    )


def _look(sides: Sides[Side], examples: int, workers: int) -> Sides[Seen]:
    def job(worker: int) -> Sides[Seen]:
        return Sides(*(survey.look(side, worker, workers, examples) for side in sides))

    first, *others = parallel.run([functools.partial(job, each) for each in range(workers)], forked=workers > 1)
    for other in others:
        for ours, theirs in zip(first, other, strict=True):
            ours.merge(theirs, examples)
    return first


def _match(keys: Keys, examples: int, workers: int) -> Pairing:
    parts = keys.keyed.new.parts
    jobs = [functools.partial(pairing.match, keys, range(each, parts, workers), examples) for each in range(workers)]
    first, *others = parallel.run(jobs, forked=workers > 1)
    for other in others:
        first.merge(other, examples)
    return first
