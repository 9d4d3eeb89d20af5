"""What the tests of tables share: files from bytes, CSV from rows, and a plain model of what changed."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from vcs_ml.rows import comparison
from vcs_ml.rows.result import TableDiff

Row = tuple[str, ...]


def opener(raw: bytes | str | None) -> Callable[[], BinaryIO] | None:
    """Opens a file of these bytes; None for no file."""
    if raw is None:
        return None
    data = raw.encode() if isinstance(raw, str) else raw
    return lambda: io.BytesIO(data)


def compare(
    scratch: Path,
    old: bytes | str | None,
    new: bytes | str | None,
    path: str = "a.csv",
    *,
    key: Sequence[str] = (),
    examples: int = 5,
) -> TableDiff:
    """The comparison of two files, which must leave nothing in scratch and have a form as JSON."""
    found = comparison.compare(path, opener(old), opener(new), key=key, examples=examples, scratch=scratch)
    assert not list(scratch.iterdir())
    json.dumps(found.as_json(), allow_nan=False, ensure_ascii=False).encode()
    return found


def text(names: Sequence[str], rows: Sequence[Row], *, quoting: int = csv.QUOTE_MINIMAL, end: str = "\n") -> str:
    """A table as CSV. No row may be a single empty cell, which is an empty line."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=end)
    writer.writerow(names)
    writer.writerows(rows)
    return out.getvalue()


class Expected(NamedTuple):
    """What a comparison counts; `cells` by column name."""

    added: int
    removed: int
    changed: int
    cells: dict[str, int]
    duplicates: tuple[int, int]


def model(names: Sequence[str], old: Sequence[Row], new: Sequence[Row], key: Sequence[str] = ()) -> Expected:
    """The same by loops over all rows: equal ones cancel out, the last of too many are left, and match by key."""
    gone, come = _left(old, new), _left(new, old)
    if not key:
        return Expected(len(come), len(gone), 0, {}, (0, 0))
    places = [names.index(name) for name in key]

    def key_of(row: Row) -> Row:
        return tuple(row[place] for place in places)

    waiting = defaultdict(list)
    for row in gone:
        waiting[key_of(row)].append(row)
    pairs = [(waiting[key_of(row)].pop(0), row) for row in come if waiting[key_of(row)]]
    cells = {name: sum(a[i] != b[i] for a, b in pairs) for i, name in enumerate(names)}
    twice = tuple(len(rows) - len(set(map(key_of, rows))) for rows in (old, new))
    return Expected(len(come) - len(pairs), len(gone) - len(pairs), len(pairs), cells, (twice[0], twice[1]))


def _left(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    theirs, left = Counter(others), []
    for row in rows:
        if theirs[row]:
            theirs[row] -= 1
        else:
            left.append(row)
    return left
