"""What paths hold at a commit, by content: what a stage would read there, as far as that can be known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from vcs_ml.errors import CorruptError
from vcs_ml.gittree import DIRECTORY, FILE, Node
from vcs_ml.hashing import Algorithm
from vcs_ml.metrics import revision
from vcs_ml.metrics.revision import Commit, Stored
from vcs_ml.store import manifest, objects, page
from vcs_ml.store.manifest import Read
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.workspace import single, sources
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lockfile import StageRecord


class Pages(NamedTuple):
    """What gives pages of lists of files: of the store, or also of a remote."""

    algorithm: Algorithm
    read: Read


class Contents:
    """What a stage with these `deps` would find at the commit `at`; `record` is what the lock file there says of it.

    What cannot be known is as it was recorded: paths outside of the project, files that are neither tracked nor in Git
    at `before` or `at`, data whose list of files is not here, and directories in Git, where a run may have seen more.
    """

    def __init__(self, at: Commit, before: Commit, deps: Iterable[str], record: StageRecord, pages: Pages) -> None:
        self.at, self.before, self.record = at, before, record
        self._deps = dict.fromkeys(deps, True)
        self.algorithm, self.read = pages

    def measure(self, path: str) -> Item | None:
        """The content of a file or directory, None where it is gone. UserError for what cannot be read."""
        if path.startswith("/"):
            return self._recorded(path)
        node = self.at.find(path)
        if node is not None:
            return self._in_git(path, node) if node.mode in FILE else self._recorded(path)
        stored = self.at.stored(path)
        if stored is not None:
            try:
                return self._stored(stored)
            except (MissingObject, CorruptError):
                return self._recorded(path)
        was_there = self.before.find(path) is not None or self.before.stored(path) is not None
        return None if was_there else self._recorded(path)

    def leading_out(self, path: str) -> list[str]:
        """Where links in a directory lead, as recorded; nowhere if it has no links."""
        known = [each for each in self.record.deps if not sources.owner(each, self._deps)]
        return known if known and self._has_links(path) else []

    def _has_links(self, path: str) -> bool:
        stored = self.at.stored(path)
        if stored is None or stored.pointer.kind != "tree":
            return True  # of a directory in Git, this is not looked for
        try:
            entries = manifest.under(stored.pointer.oid, os.fsencode(stored.inner), self.algorithm, self.read)
            return any(entry.kind == page.SYMLINK for entry in entries)
        except (MissingObject, CorruptError):
            return True

    def folder_changed(self, path: str) -> bool:
        """Whether a directory that Git has at both commits is not the same."""
        now, then = self.at.find(path), self.before.find(path)
        return now is not None and then is not None and now.mode == then.mode == DIRECTORY and now.oid != then.oid

    def _recorded(self, path: str) -> Item:
        if path in self.record.outs:
            return self.record.outs[path].item
        # What was not recorded is a change, whatever it holds.
        return self.record.deps.get(path, Item(manifest.empty(self.algorithm), "tree", 0, 0))

    def _in_git(self, path: str, node: Node) -> Item:
        raw = revision.read(self.at, path, revision.LARGEST) or b""
        oid = objects.blob(self.algorithm.digest(raw))
        return Item(oid, "file" if node.mode == FILE[0] else "executable", len(raw))

    def _stored(self, each: Stored) -> Item | None:
        pointer = each.pointer
        if not each.inner:
            return Item(pointer.oid, pointer.kind, pointer.size, pointer.nfiles)
        if pointer.kind != "tree":
            return None
        inner = os.fsencode(each.inner)
        entry = manifest.lookup(pointer.oid, inner, self.algorithm, self.read)
        if entry is not None:
            return single.item_of(entry)
        found = manifest.extract(pointer.oid, inner, self.algorithm, self.read, _discard)
        return Item(found.root, "tree", found.size, found.count) if found.count else None


def _discard(oid: ObjectId, data: bytes) -> None:
    """What is only measured is not stored."""
