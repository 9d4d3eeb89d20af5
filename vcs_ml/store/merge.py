"""Three-way merges of trees: what two sides made of one directory, put together file by file.

Both sides are compared with the common version, so pages that they share with it are not read; the result is an edit of
our side. Work is in proportion to what changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

from vcs_ml import paths
from vcs_ml.hashing import Algorithm
from vcs_ml.store import manifest, page
from vcs_ml.store.manifest import Read, Summary, Write
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.page import Entry

Word = Literal["both modified", "both added", "deleted by us", "deleted by them"]  # those of `git status`

T = TypeVar("T")


class Merged(NamedTuple):
    """A merged tree. `conflicts` are the paths that both sides changed in different ways; there, and below them, it is
    as our side has it. None of them lies below another.
    """

    summary: Summary
    conflicts: dict[bytes, Word]


class _Change(NamedTuple):
    """A path that at least one side changed: what each has there, None where that is no file."""

    path: bytes
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None


def pick(base: T, ours: T, theirs: T) -> tuple[T, bool]:
    """(what a three-way merge makes of these values; whether both sides changed it, and differ: then it is ours)"""
    if ours in (theirs, base):
        return theirs, False
    return ours, theirs != base


def merge(
    base: ObjectId | None,
    ours: ObjectId,
    theirs: ObjectId,
    *,
    algorithm: Algorithm,
    read: Read,
    write: Write,
    unsure: Collection[bytes] = (),
) -> Merged:
    """Merge `theirs` into `ours`; without a base, both sides added all they have. Writes the nodes that `ours` lacks.

    Content and executable bit of a file are merged one by one, as Git does it; a renamed file was deleted and added. A
    file on one side where the other has a directory is one conflict, at the file's path. `unsure` are paths at and
    below which `base` does not tell what was before: whatever differs there is a conflict. Raises what `read` does, and
    CorruptError as in manifest.
    """
    taken: dict[bytes, Entry | None] = {}
    conflicts: dict[bytes, Word] = {}
    clashes: set[bytes] = set()
    above: list[tuple[bytes, bool]] = []  # files that a side put, which hold the path at hand; whether that was ours
    for change in _changes(base, ours, theirs, algorithm, read):
        path, before, mine, other = change
        while above and not path.startswith(above[-1][0] + b"/"):
            above.pop()
        doubtful = mine != other and covers(unsure, path)
        put = [side for side, entry in ((True, mine), (False, other)) if entry and (doubtful or entry != before)]
        # Where one side put a file, only the other one can have put files below it: sorted, they come right after.
        clashes.update(file for file, was_ours in above if (not was_ours) in put)
        above += [(path, side) for side in put]
        if mine == other:
            continue
        merged, both = _pick(change)
        if both or doubtful:
            conflicts[path] = _word(change)
        elif merged != mine:
            taken[path] = merged
    conflicts |= {path: "both modified" if _had(base, path, algorithm, read) else "both added" for path in clashes}
    if clashes:
        taken = {path: entry for path, entry in taken.items() if not covers(clashes, path)}
    conflicts = {path: word for path, word in conflicts.items() if not _lies_below(conflicts, path)}
    return Merged(manifest.edit(ours, taken, algorithm, read, write), conflicts)


def take(
    root: ObjectId, theirs: ObjectId, at: Collection[bytes], *, algorithm: Algorithm, read: Read, write: Write
) -> Summary:
    """The tree `root` with all that lies at or below the paths `at` as it is in `theirs`; b"" stands for everything.

    A file that stands where a directory comes goes. Raises as `merge`.
    """
    changes: dict[bytes, Entry | None] = {}
    blocking: set[bytes] = set()
    parents = {above for path in at for above in _above(path)}
    for mine, other in manifest.diff(root, theirs, algorithm, read):
        path = (mine or other).path  # type: ignore[union-attr]  # at least one of them is there
        if covers(at, path):
            changes[path] = other
        elif mine is not None and other is None and path in parents:
            blocking.add(path)
    for path in [path for path, entry in changes.items() if entry is not None] if blocking else ():
        changes |= dict.fromkeys(blocking.intersection(_above(path)))
    return manifest.edit(root, changes, algorithm, read, write)


def covers(places: Collection[bytes], path: bytes) -> bool:
    """Whether a path is one of `places`, or lies below one; b"" is above all."""
    return bool(places) and (path in places or _lies_below(places, path))


def _lies_below(places: Collection[bytes], path: bytes) -> bool:
    return any(above in places for above in _above(path)) or (path != b"" and b"" in places)


def _above(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


def _changes(
    base: ObjectId | None, ours: ObjectId, theirs: ObjectId, algorithm: Algorithm, read: Read
) -> Iterator[_Change]:
    """Every path that a side changed, in order of `paths.key`."""
    over = (b"\xff", None, None)  # sorts behind every key
    left, right = (_keyed(manifest.diff(base, side, algorithm, read)) for side in (ours, theirs))
    x, y = next(left, over), next(right, over)
    while x is not over or y is not over:
        if x[0] == y[0]:
            yield _Change(_path(x), x[1], x[2], y[2])
            x, y = next(left, over), next(right, over)
        elif x[0] < y[0]:
            yield _Change(_path(x), x[1], x[2], x[1])
            x = next(left, over)
        else:
            yield _Change(_path(y), y[1], y[1], y[2])
            y = next(right, over)


_Keyed = tuple[bytes, Entry | None, Entry | None]


def _keyed(pairs: Iterable[tuple[Entry | None, Entry | None]]) -> Iterator[_Keyed]:
    for old, new in pairs:
        yield paths.key((old or new).path), old, new  # type: ignore[union-attr]  # at least one of them is there


def _path(each: _Keyed) -> bytes:
    return (each[1] or each[2]).path  # type: ignore[union-attr]  # at least one of them is there


def _pick(change: _Change) -> tuple[Entry | None, bool]:
    """`pick` of a file; where all three are there and no links, of its content and of its executable bit."""
    path, base, ours, theirs = change
    if base is None or ours is None or theirs is None or page.SYMLINK in (base.kind, ours.kind, theirs.kind):
        return pick(base, ours, theirs)
    kind, _ = pick(base.kind, ours.kind, theirs.kind)  # of two kinds, no two sides choose different ones
    (size, digest), both = pick(base[2:], ours[2:], theirs[2:])
    return (ours, True) if both else (Entry(path, kind, size, digest), False)


def _word(change: _Change) -> Word:
    if change.ours is None:
        return "deleted by us"
    if change.theirs is None:
        return "deleted by them"
    return "both added" if change.base is None else "both modified"


def _had(root: ObjectId | None, path: bytes, algorithm: Algorithm, read: Read) -> bool:
    """Whether a tree has something at or below a path."""
    return root is not None and any(manifest.under(root, path, algorithm, read))


def words(conflicts: Mapping[bytes, Word]) -> dict[str, Word]:
    """The same by paths as text: those of a tree are UTF-8."""
    return {path.decode(): word for path, word in conflicts.items()}
