"""Which objects are alive: everything below some roots, for gc of a remote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vcs_ml.errors import CorruptError
from vcs_ml.store import download, objects, page
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote, remedy

AT_ONCE = 256  # pages in memory


class Marks:
    """The objects that were found alive, and the pages that could not be had."""

    def __init__(self, store: LocalStore, remote: Remote, *, jobs: int) -> None:
        self._store, self._remote, self._jobs = store, remote, jobs
        self.alive: set[ObjectId] = set()
        self.absent: dict[ObjectId, Root] = {}

    def mark(self, roots: Iterable[Root], *, complete: bool) -> set[ObjectId]:
        """Mark what is below `roots`; what is newly alive.

        Pages are read from the store or the remote, and verified. One that is nowhere is an error where the roots
        are known to be `complete` on the remote, and goes to `absent` otherwise. Complete ones come first: a page
        is looked at once. Raises CorruptError.
        """
        every = set(roots)
        fresh = {root.oid for root in every if root.oid[-1] != objects.NODE}
        todo = [(root.oid, root) for root in every if root.oid[-1] == objects.NODE]
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
                    fresh.update(objects.blob(entry.digest) for entry in here.entries)
                elif complete:
                    raise self._incomplete(oid, root)
                else:
                    self.absent[oid] = root
        fresh -= self.alive
        self.alive |= fresh
        return fresh

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
        lacking = [oid for oid in oids if oid not in found]
        there = [oid for oid in lacking if self._remote.find(oid) is not None]
        if len(there) < len(lacking) and self._remote.refresh_index():  # another gc may have moved them
            there = [oid for oid in lacking if self._remote.find(oid) is not None]
        while there:
            try:
                return found | download.read_nodes(self._remote, there, jobs=self._jobs)
            except MissingObject as error:  # deleted since: by another gc, which did not need it
                there.remove(error.oid)
            except CorruptError as error:
                raise CorruptError(error.message, hint=self._hint()) from None
        return found

    def _incomplete(self, oid: ObjectId, root: Root) -> CorruptError:
        what = objects.describe(oid, self._store.algorithm)
        return CorruptError(
            f"{root.path}: {what} is not on remote {self._remote.name!r}, though a push recorded it; "
            "what it keeps alive is not known",
            hint=self._hint(),
        )

    def _hint(self) -> str:
        return f"no data was deleted; {remedy(self._remote.name)}"
