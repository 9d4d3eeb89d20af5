"""Which rows of two tables have no equal in the other: the difference of two multisets, held part by part."""

from __future__ import annotations

import functools
import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from vcs_ml.rows import parallel, spill
from vcs_ml.rows.result import Sides
from vcs_ml.rows.table import Table, hashes

_PART: Final = 1 << 17  # rows of each table in a part


def mark(tables: Sides[Table], columns: Sides[tuple[int, ...]], place: Path, workers: int) -> Sides[Path]:
    """For each table a file with a byte for each of its rows: 1 where the other has no equal row for it, else 0.

    Rows are equal when their cells in `columns` are; of equal ones the last are those too many. The files are new
    ones in the directory `place`, where 17 bytes a row are needed.
    """
    # Lines of the same form, under the same header, need not be parsed.
    as_they_stand = tables.old.names == tables.new.names and tables.old.dialect == tables.new.dialect is not None
    count = spill.parts(max(table.most for table in tables), _PART)
    spread = Sides(place / "old", place / "new")
    rows = parallel.run(
        [
            functools.partial(_spread, table, None if as_they_stand else chosen, pairs, count)
            for table, chosen, pairs in zip(tables, columns, spread, strict=True)
        ],
        forked=workers > 1,
    )
    marks = Sides(place / "old.apart", place / "new.apart")
    for path, each in zip(marks, rows, strict=True):
        with path.open("wb") as file:
            file.truncate(max(each, 1))  # nothing cannot be mapped
    jobs = [functools.partial(_mark, spread, marks, range(first, count, workers)) for first in range(workers)]
    parallel.run(jobs, forked=workers > 1)
    return marks


def _spread(table: Table, columns: Sequence[int] | None, place: Path, parts: int) -> int:
    pairs, rows = spill.Pairs(place, parts), 0
    for units in table.batches():
        found = map(hash, units) if columns is None else hashes(table, columns, table.rows(units)[0])
        rows += pairs.add(found, rows)
    pairs.flush()
    return rows


def _mark(spread: Sides[Path], marks: Sides[Path], parts: range) -> None:
    with ExitStack() as stack:
        mapped = [stack.enter_context(_mapped(path)) for path in marks]
        for part in parts:
            counts = [_counts(place, part) for place in spread]
            differing = {each for each, _ in counts[0].items() ^ counts[1].items()}
            for flags, place, others in zip(mapped, spread, reversed(counts), strict=True):
                for row in _surplus(place, part, {each: others[each] for each in differing}):
                    flags[row] = 1


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _counts(place: Path, part: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for each, _ in spill.pairs(place, part):
        found.update(each)
    return found


def _surplus(place: Path, part: int, others: dict[int, int]) -> Iterator[int]:
    """The numbers of rows for which the other table has no equal left; `others` says how many it has."""
    for pairs in spill.pairs(place, part):
        for each, row in zip(*pairs, strict=True):
            if each in others:
                if others[each]:
                    others[each] -= 1
                else:
                    yield row
