"""Which objects are alive: everything below some roots, for gc of a remote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vcs_ml.errors import CorruptError
from vcs_ml.store import download, objects, page, recipe
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote, remedy
from vcs_ml.store.transfer import LARGE, find

AT_ONCE = 256  # pages in memory
RECIPES_AT_ONCE = 32


class Marks:
    """The objects that were found alive, and the pages and recipes that could not be had."""

    def __init__(self, store: LocalStore, remote: Remote, *, jobs: int) -> None:
        self._store, self._remote, self._jobs = store, remote, jobs
        self.alive: set[ObjectId] = set()
        self.absent: dict[ObjectId, Root] = {}

    def mark(self, roots: Iterable[Root], *, complete: bool) -> set[ObjectId]:
        """Mark what is below `roots`; what is newly alive.

        Pages are read from the store or the remote, recipes from the remote, and verified. One that is nowhere is an
        error where the roots are known to be `complete` on the remote, and goes to `absent` otherwise. Complete ones
        come first: a page is looked at once. Raises CorruptError.
        """
        every = set(roots)
        fresh: set[ObjectId] = set()
        todo = [(root.oid, root) for root in every if root.oid[-1] == objects.NODE]
        large = {root.oid: root for root in every if root.oid[-1] == objects.RECIPE}
        for root in every:
            if root.oid[-1] == objects.BLOB:
                fresh.add(root.oid)
                if self._is_large(root.oid):
                    large[objects.recipe(root.oid)] = root
        while todo:
            part: dict[ObjectId, Root] = {}
            while todo and len(part) < AT_ONCE:
                oid, root = todo.pop()
                if oid not in self.alive and oid not in fresh:
                    part.setdefault(oid, root)
            pages = self._read(list(part))
            for oid, root in part.items():
                if oid in pages:
                    fresh.add(oid)
                    here = page.decode(pages[oid], oid, self._store.algorithm)
                    todo += [(child.oid, root) for child in here.children]
                    for entry in here.entries:
                        blob = objects.blob(entry.digest)
                        fresh.add(blob)
                        if entry.size > LARGE:
                            large[objects.recipe(blob)] = root
                else:
                    self._miss(oid, root, complete)
        fresh |= self._mark_large(large, complete)
        fresh -= self.alive
        self.alive |= fresh
        return fresh

    def _is_large(self, blob: ObjectId) -> bool:
        """Whether a blob that nothing tells the size of is on the remote as chunks, or may be."""
        if find(self._remote, blob) or blob in self.alive:
            return False
        try:
            return self._store.size(blob) > LARGE
        except MissingObject:
            return True

    def _mark_large(self, large: Mapping[ObjectId, Root], complete: bool) -> set[ObjectId]:
        """The recipes of large blobs and all chunks that they name."""
        fresh: set[ObjectId] = set()
        todo = [oid for oid in large if oid not in self.alive]
        for at in range(0, len(todo), RECIPES_AT_ONCE):
            part = todo[at : at + RECIPES_AT_ONCE]
            found = self._read_there(part)
            for oid in part:
                if oid in found:
                    fresh.add(oid)
                    fresh.update(recipe.decode(found[oid], oid, self._store.algorithm).chunks)
                else:
                    self._miss(oid, large[oid], complete)
        return fresh

    def _miss(self, oid: ObjectId, root: Root, complete: bool) -> None:
        if complete:
            raise self._incomplete(oid, root)
        self.absent[oid] = root

    def mark_absent(self) -> set[ObjectId]:
        """Look once more for the pages that could not be had; what is newly alive."""
        again = [Root(root.path, oid) for oid, root in self.absent.items()]
        self.absent = {}
        return self.mark(again, complete=False)

    def _read(self, oids: Sequence[ObjectId]) -> dict[ObjectId, bytes]:
        found: dict[ObjectId, bytes] = {}
        for oid in oids:
            try:
                found[oid] = self._store.read(oid)
            except (MissingObject, CorruptError):  # the remote may have a good one
                continue
        return found | self._read_there([oid for oid in oids if oid not in found])

    def _read_there(self, lacking: Sequence[ObjectId]) -> dict[ObjectId, bytes]:
        """Those of these nodes or recipes that the remote has."""
        there = [oid for oid in lacking if self._remote.find(oid) is not None]
        if len(there) < len(lacking) and self._remote.refresh_index():  # another gc may have moved them
            there = [oid for oid in lacking if self._remote.find(oid) is not None]
        while there:
            try:
                return download.read_nodes(self._remote, there, jobs=self._jobs)
            except MissingObject as error:  # deleted since: by another gc, which did not need it
                there.remove(error.oid)
            except CorruptError as error:
                raise CorruptError(error.message, hint=self._hint()) from None
        return {}

    def _incomplete(self, oid: ObjectId, root: Root) -> CorruptError:
        what = objects.describe(oid, self._store.algorithm)
        return CorruptError(
            f"{root.path}: {what} is not on remote {self._remote.name!r}, though a push recorded it; "
            "what it keeps alive is not known",
            hint=self._hint(),
        )

    def _hint(self) -> str:
        return f"no data was deleted; {remedy(self._remote.name)}"
