"""Trees: a tracked directory as pages of sorted entries, cut by its names alone; built, edited, compared.

The same files have the same root id, whatever the order of edits (docs/formats.md, "A directory is a paged
manifest"). `page` knows one page, `tree` how pages stand on each other. Paths are relative to the tracked
directory; entries are in order of `paths.key`. Whatever is read may come from a stranger: every function
here raises CorruptError for a page that is not canonical or not what its parent and neighbours say, and lets
through what `read` raises. Functions that return iterators raise while they are iterated.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.hashing import SHA256, Algorithm
from vcs_ml.store import objects, page
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.page import EXECUTABLE, FILE, SYMLINK, Child, Entry, Page, Row
from vcs_ml.store.tree import Node, Read, Tree, apart

__all__ = [
    "EXECUTABLE",
    "FILE",
    "SYMLINK",
    "Entry",
    "Read",
    "Summary",
    "Write",
    "build",
    "closure",
    "diff",
    "edit",
    "empty",
    "extract",
    "load",
    "lookup",
    "summary",
    "under",
]

Write = Callable[[ObjectId, bytes], None]  # takes a node; children come before parents

_END = b"\xff"  # sorts behind every key: 0xff is no part of UTF-8


class Summary(NamedTuple):
    """A tree: the id of its root page, how many entries it has, and the sum of their sizes in bytes."""

    root: ObjectId
    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody calls
    size: int


def empty(algorithm: Algorithm) -> ObjectId:
    """The id of the tree without entries."""
    return objects.node(SHA256.digest(page.encode(0, [], algorithm)))


# --- Writing ---------------------------------------------------------------------------------------------


def build(entries: Sequence[Entry], algorithm: Algorithm, write: Write) -> Summary:
    """The tree of `entries`, which are sorted by `paths.key` and unique; writes all its nodes.

    1 us an entry. UserError for a path that may not be tracked and for a file that is also a directory;
    ValueError for entries out of order or with a kind, size or digest that cannot be.
    """
    keys: list[bytes] = []
    for at in range(0, len(entries), page.PAGE_MAX):  # in slices, to join little at a time
        names = [entry.path for entry in entries[at : at + page.PAGE_MAX]]
        _check_names(names)
        part = page.sort_keys(b"\0".join(names))
        page.check_order(part, keys[-1] + b"\1" if keys else b"")
        keys += part
    if not keys:
        write(empty(algorithm), page.encode(0, [], algorithm))
        return Summary(empty(algorithm), 0, 0)
    return _stack(0, _write_pages(0, keys, entries, algorithm, write), algorithm, write)


def edit(
    root: ObjectId, changes: Mapping[bytes, Entry | None], algorithm: Algorithm, read: Read, write: Write
) -> Summary:
    """The tree with each path of `changes` put to its entry, or deleted where that is None.

    Deleting what is not there changes nothing. Reads the natural runs around the changes and their ancestors,
    writes only nodes the old tree lacks, and returns what `build` would for the resulting entries: an edit
    repeats `build` where it must, one level after the other. Errors as in `build`; what was written by then
    belongs to no tree.
    """
    _check_names(list(changes))
    if any(entry is not None and entry.path != path for path, entry in changes.items()):
        raise ValueError("a change is filed under another path than its entry's")
    old = Tree(root, algorithm, read)
    todo: list[tuple[bytes, Row | None]]  # what changes on the level at hand, by key
    pages: list[Child]
    todo = sorted(((paths.key(path), entry) for path, entry in changes.items()), key=itemgetter(0))

    def write_new(oid: ObjectId, data: bytes) -> None:
        if oid not in old.seen:
            write(oid, data)

    if not old.root.count:
        return build([entry for _, entry in todo if isinstance(entry, Entry)], algorithm, write_new)
    level = 0
    while True:  # up to the level of the old root, which is replaced whole
        runs: Iterable[_Run] = _runs(old, level, todo)
        if level:  # are the files of a single page left?
            runs = list(runs)
            if sum(len(run.keys) for run in runs) == 1 and sum(run.count for run in runs) == old.root.count:
                return _summary(old.only_page(level - 1, next(run.keys[0] for run in runs if run.keys)))
        todo, pages, replaced = [], [], 0
        for run in runs:
            fresh = _write_pages(level, run.keys, run.rows, algorithm, write_new)
            pages += fresh
            todo += _news(run.stale, fresh)
            replaced += run.count
        if not todo:
            return _summary(old.root)
        if replaced == old.root.count:  # nothing else is on this level, so all above it is new
            return _stack(level, pages, algorithm, write_new) if pages else build([], algorithm, write_new)
        level += 1


def extract(root: ObjectId, prefix: bytes, algorithm: Algorithm, read: Read, write: Write) -> Summary:
    """The directory `prefix` as the tree it would be if it alone were tracked; empty if there is none.

    UserError if `prefix` is a file.
    """
    if not prefix:
        return summary(root, algorithm, read)
    below = list(under(root, prefix, algorithm, read))
    if below and below[0].path == prefix:
        raise UserError(f"{prefix.decode()!r} is a file, not a directory")
    at = len(prefix) + 1
    return build([Entry(p[at:], kind, size, digest) for p, kind, size, digest in below], algorithm, write)


def _check_names(names: list[bytes]) -> None:
    if names and paths.check_joined(b"\0".join(names), source="the tracked directory") != names:
        raise ValueError("a path has a NUL byte")


def _write_pages(
    level: int, keys: Sequence[bytes], rows: Sequence[Row], algorithm: Algorithm, write: Write
) -> list[Child]:
    """The pages of a level, or of whole natural runs of it, cut and written: the rows of the level above."""
    pages = []
    start = 0
    for end in page.cut(level, keys):
        part = rows[start:end]
        data = page.encode(level, part, algorithm)
        oid = objects.node(SHA256.digest(data))
        write(oid, data)
        count = sum([row.count for row in part if isinstance(row, Child)]) if level else len(part)
        pages.append(Child(part[-1].path, oid, count, sum([row.size for row in part])))
        start = end
    return pages


def _stack(level: int, pages: list[Child], algorithm: Algorithm, write: Write) -> Summary:
    """Levels above the complete `level`, until one page holds all."""
    while len(pages) > 1:
        level += 1
        if level > page.LEVEL_MAX:
            raise UserError(
                f"these file names would need more than {page.LEVEL_MAX + 1} levels of pages",
                hint="only names made up to that end do: look where the files come from",
            )
        pages = _write_pages(level, [paths.key(child.path) for child in pages], pages, algorithm, write)
    return Summary(pages[0].oid, pages[0].count, pages[0].size)


class _Run(NamedTuple):
    """A stretch of one level that an edit cuts anew: natural runs as they were, and the rows there now."""

    stale: dict[bytes, ObjectId]  # the pages it was: last key, id
    count: int  # type: ignore[assignment]  # entries below those
    keys: list[bytes]
    rows: list[Row]


def _runs(old: Tree, level: int, todo: list[tuple[bytes, Row | None]]) -> Iterator[_Run]:
    """The stretches of `level` that the sorted changes `todo` fall into, changed."""
    at = 0
    while at < len(todo):
        here = old.find(level, todo[at][0])
        while here.low and not page.natural_ends(level, [here.low[:-1]]):
            here = old.find(level, here.low[:-1])  # the page before was cut from the same natural run
        low, run = here.low, _Run({}, 0, [], [])
        while True:
            last = here.keys[-1]
            is_end = last == old.root.keys[-1]
            stop = len(todo) if is_end else bisect_right(todo, last, at, key=itemgetter(0))
            rows = dict(zip(here.keys, here.rows, strict=True))
            for key, row in todo[at:stop]:
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row
            at = stop
            run.keys.extend(sorted(rows))  # on sorted keys this costs a comparison each
            run.rows.extend(map(rows.__getitem__, run.keys[len(run.rows) :]))
            run.stale[last] = here.oid
            run = run._replace(count=run.count + here.count)
            # What ended the old run still does, so that nothing behind it can change or clash.
            if is_end or (run.keys[-1:] == [last] and page.natural_ends(level, [last])):
                break
            here = old.find(level, last + b"\0")
        page.check_order(run.keys, low)
        yield run


def _news(stale: dict[bytes, ObjectId], fresh: list[Child]) -> list[tuple[bytes, Row | None]]:
    """What replacing the pages `stale` by `fresh` changes one level up, by key."""
    new: dict[bytes, Child] = {paths.key(child.path): child for child in fresh}
    both = sorted(stale.keys() | new.keys())
    return [(key, new.get(key)) for key in both if key not in new or new[key].oid != stale.get(key)]


# --- Reading ---------------------------------------------------------------------------------------------


def summary(root: ObjectId, algorithm: Algorithm, read: Read) -> Summary:
    """Count and size of a tree, from its root page alone."""
    return _summary(Tree(root, algorithm, read).root)


def _summary(top: Page) -> Summary:
    return Summary(top.oid, top.count, top.size)


def load(root: ObjectId, algorithm: Algorithm, read: Read) -> list[Entry]:
    """All entries in order, the whole tree checked; 1 us an entry."""
    leaves, _, _ = apart(Tree(root, algorithm, read), None)
    return [entry for leaf in page.check_cut(node.open() for node in leaves) for entry in leaf.entries]


def lookup(root: ObjectId, path: bytes, algorithm: Algorithm, read: Read) -> Entry | None:
    """The entry of one file, None if there is none; reads one page a level."""
    key = paths.key(path)
    leaf = next(Tree(root, algorithm, read).leaves(key, key), None)
    if leaf is None:
        return None
    at = bisect_left(leaf.keys, key)
    return leaf.entries[at] if leaf.keys[at] == key else None


def under(root: ObjectId, prefix: bytes, algorithm: Algorithm, read: Read) -> Iterator[Entry]:
    """The entries at or below `prefix` (b"": all) in order, with full paths; reads only their pages."""
    first = paths.key(prefix)
    end = first + b"\1" if prefix else _END
    for leaf in Tree(root, algorithm, read).leaves(first, end):
        yield from leaf.entries[bisect_left(leaf.keys, first) : bisect_left(leaf.keys, end)]


def diff(
    a: ObjectId | None, b: ObjectId | None, algorithm: Algorithm, read: Read
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """What differs between two trees, in order: (entry in a, entry in b), None where it has no such path.

    None as a tree stands for the empty one. Reads only pages that are not in both, see apart.
    """
    if a == b:
        return
    left, right, _ = apart(*(Tree(root, algorithm, read) if root else None for root in (a, b)))
    ours, theirs = _rows(left), _rows(right)
    over: tuple[bytes, Entry | None] = (_END, None)
    x, y = next(ours, over), next(theirs, over)
    while x is not over or y is not over:  # 0.2 us an entry, beside reading its page
        if x[0] < y[0]:
            yield x[1], None
            x = next(ours, over)
        elif x[0] > y[0]:
            yield None, y[1]
            y = next(theirs, over)
        else:
            if x[1] != y[1]:
                yield x[1], y[1]
            x, y = next(ours, over), next(theirs, over)


def closure(
    root: ObjectId, algorithm: Algorithm, read: Read, *, base: ObjectId | None = None
) -> Iterator[tuple[ObjectId, list[Entry]]]:
    """Every node of the tree, children before parents, with the entries it holds (none above level 0).

    With `base`, another tree, leaves out the nodes both have, and the entries whose blob is named in a
    leaf that only `base` has: those digests are in memory meanwhile.
    """
    if root == base:
        return
    leaves, theirs, upper = apart(Tree(root, algorithm, read), Tree(base, algorithm, read) if base else None)
    known = {entry.digest for node in theirs for entry in node.open().entries}
    opened = (node.open() for node in leaves)
    for leaf in opened if base else page.check_cut(opened):
        yield leaf.oid, [entry for entry in leaf.entries if entry.digest not in known]
    for oid in reversed(upper):
        yield oid, []


def _rows(leaves: list[Node]) -> Iterator[tuple[bytes, Entry]]:
    for node in leaves:
        leaf = node.open()
        yield from zip(leaf.keys, leaf.entries, strict=True)
