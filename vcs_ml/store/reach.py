"""What roots need: every object below them, and which of these a place does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import Algorithm
from vcs_ml.store import manifest, objects
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.page import Entry, Page
from vcs_ml.store.records import Root
from vcs_ml.store.transfer import Need
from vcs_ml.store.tree import Read, Tree

Has = Callable[[ObjectId], bool]


# (a blob, its size or -1) -> what of it a place should have: itself, or its recipe and chunks
Parts = Callable[[ObjectId, int], Sequence[ObjectId]]


class Lack(NamedTuple):
    """A large blob of which some parts are absent, and how many it has."""

    need: Need
    absent: list[ObjectId]
    parts: int


class Reach(NamedTuple):
    """What is `absent`, each object once with the first path that needs it, and `by` which root; `broken` trees:
    their pages are what their ids say, but no tree; `whole` are the roots that are all there; `large` are the blobs of
    which parts are absent.
    """

    absent: dict[ObjectId, Need]
    by: dict[ObjectId, Root]
    broken: dict[Root, str]
    whole: list[Root]
    large: dict[ObjectId, Lack]

    def of(self, roots: Iterable[Root]) -> Reach:
        """The same of some of the roots, which came before the others."""
        mine = set(roots)
        by = {oid: root for oid, root in self.by.items() if root in mine}
        large = {oid: lack for oid, lack in self.large.items() if not by.keys().isdisjoint(lack.absent)}
        return Reach(
            {oid: need for oid, need in self.absent.items() if oid in by},
            by,
            {root: why for root, why in self.broken.items() if root in mine},
            [root for root in self.whole if root in mine],
            large,
        )


def reach(
    roots: Iterable[Root], algorithm: Algorithm, has: Has, read: Read, parts: Parts = lambda oid, size: (oid,)
) -> Reach:
    """Look up all that `roots` name. `read` gives verified nodes, from wherever; `has` asks the place in question,
    where a blob consists of `parts`.

    Versions of one path are compared with each other, so that a long history costs what changed in it.
    """
    walk = _Walk(algorithm, has, read, parts)
    done: dict[ObjectId, bool] = {}
    bases: dict[str, ObjectId] = {}
    for root in dict.fromkeys(roots):
        if root.oid not in done:
            done[root.oid] = walk.look_at(root, bases.get(root.path))
        if done[root.oid]:
            walk.found.whole.append(root)
            if root.oid[-1] == objects.NODE:
                bases[root.path] = root.oid
    return walk.found


class _Walk:
    """What was found so far; a page that was looked at is not looked at again."""

    def __init__(self, algorithm: Algorithm, has: Has, read: Read, parts: Parts) -> None:
        self.found = Reach({}, {}, {}, [], {})
        self._algorithm, self._has, self._read, self._parts = algorithm, has, read, parts
        self._seen: set[tuple[ObjectId, bytes]] = set()
        self._whole: set[ObjectId] = set()  # large blobs whose parts are all there

    def look_at(self, root: Root, base: ObjectId | None) -> bool:
        """Whether all of one root is there; what is not goes into `found`."""
        if root.oid[-1] != objects.NODE:
            return self._look(root, root.oid)
        complete = True
        try:
            for oid, entries in manifest.closure(root.oid, self._algorithm, self._read, base=base):
                complete &= self._look_at_page(root, oid, entries)
        except (MissingObject, CorruptError):
            complete = False
            for each in self._pages(root.oid):
                if isinstance(each, Page):
                    self._look_at_page(root, each.oid, each.entries)
                elif isinstance(each, str):
                    self.found.broken.setdefault(root, each)
                else:
                    self._miss(root, Need(each, -1, root.path))
        return complete

    def _look_at_page(self, root: Root, oid: ObjectId, entries: Sequence[Entry]) -> bool:
        complete = self._look(root, oid)
        for entry in entries:
            complete &= self._look(root, objects.blob(entry.digest), entry)
        return complete

    def _look(self, root: Root, oid: ObjectId, entry: Entry | None = None) -> bool:
        size, inner = (entry.size, entry.path) if entry else (-1, b"")
        if oid in self._whole:
            return True
        parts = self._parts(oid, size) if oid[-1] == objects.BLOB else (oid,)
        absent = [part for part in parts if not self._has(part)]
        need = Need(oid, size, root.path, inner)
        for part in absent:
            self._miss(root, need if part == oid else need._replace(oid=part, size=-1))
        if len(parts) > 1 and not absent:
            self._whole.add(oid)
        if absent and oid not in parts:
            self.found.large.setdefault(oid, Lack(need, absent, len(parts)))
        return not absent

    def _miss(self, root: Root, need: Need) -> None:
        self.found.absent.setdefault(need.oid, need)
        self.found.by.setdefault(need.oid, root)

    def _pages(self, root: ObjectId) -> Iterator[Page | ObjectId | str]:
        """The pages of a tree that can be had, the ids of those that cannot, and what is wrong with others."""
        try:
            tree = Tree(root, self._algorithm, self._read)
        except (MissingObject, CorruptError) as error:
            yield _gap(error)
            return
        yield tree.root
        whole = True
        pending = [(tree.root, 0)]
        while pending:
            above, at = pending.pop()
            if at == len(above.children):
                continue
            pending.append((above, at + 1))
            place = (above.children[at].oid, above.low_of(at))
            if place in self._seen:
                continue
            try:
                here = tree.open(above, at)
            except (MissingObject, CorruptError) as error:
                yield _gap(error)
                whole = False
                continue
            self._seen.add(place)
            yield here
            pending.append((here, 0))
        if whole:  # all is there, so it is cut where no vml cuts
            try:
                for _ in manifest.closure(root, self._algorithm, self._read):
                    pass
            except (MissingObject, CorruptError) as error:
                yield _gap(error)


def _gap(error: MissingObject | CorruptError) -> ObjectId | str:
    return error.oid if isinstance(error, MissingObject) else error.message
