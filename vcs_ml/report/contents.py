"""What paths hold at a commit, by content: what a stage would read there, as far as that can be known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

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


class Unknown(Enum):
    """Stands for a content that cannot be known."""

    UNKNOWN = "?"


UNKNOWN: Final = Unknown.UNKNOWN


class Pages(NamedTuple):
    """What gives pages of lists of files: of the store, or also of a remote."""

    algorithm: Algorithm
    read: Read


class Contents:
    """What paths hold at the commit `at`, each looked at once."""

    def __init__(self, at: Commit, before: Commit, pages: Pages) -> None:
        self._at, self._before, self.pages = at, before, pages
        self._known: dict[str, Item | Unknown | None] = {}

    def look(self, path: str) -> Item | Unknown | None:
        """The content of a file or directory, None where it is gone. UserError for what cannot be read.

        UNKNOWN are paths outside of the project, files that are neither tracked nor in Git at both commits, data whose
        list of files is not here, and directories in Git, where a run may have seen more.
        """
        if path not in self._known:
            self._known[path] = self._look(path)
        return self._known[path]

    def _look(self, path: str) -> Item | Unknown | None:
        if path.startswith("/"):
            return UNKNOWN
        node = self._at.find(path)
        if node is not None:
            return self._in_git(path, node) if node.mode in FILE else UNKNOWN
        stored = self._at.stored(path)
        if stored is not None:
            try:
                return self._stored(stored)
            except (MissingObject, CorruptError):
                return UNKNOWN
        was_there = self._before.find(path) is not None or self._before.stored(path) is not None
        return None if was_there else UNKNOWN

    def has_links(self, path: str) -> bool:
        """Whether a directory may hold symbolic links."""
        stored = self._at.stored(path)
        if stored is None or stored.pointer.kind != "tree":
            return True  # of a directory in Git, this is not looked for
        try:
            entries = manifest.under(stored.pointer.oid, os.fsencode(stored.inner), *self.pages)
            return any(entry.kind == page.SYMLINK for entry in entries)
        except (MissingObject, CorruptError):
            return True

    def folder_changed(self, path: str) -> bool:
        """Whether a directory that Git has at both commits is not the same."""
        now, then = self._at.find(path), self._before.find(path)
        return now is not None and then is not None and now.mode == then.mode == DIRECTORY and now.oid != then.oid

    def _in_git(self, path: str, node: Node) -> Item:
        raw = revision.read(self._at, path, revision.LARGEST) or b""
        oid = objects.blob(self.pages.algorithm.digest(raw))
        return Item(oid, "file" if node.mode == FILE[0] else "executable", len(raw))

    def _stored(self, each: Stored) -> Item | None:
        pointer = each.pointer
        if not each.inner:
            return Item(pointer.oid, pointer.kind, pointer.size, pointer.nfiles)
        if pointer.kind != "tree":
            return None
        algorithm, read = self.pages
        inner = os.fsencode(each.inner)
        entry = manifest.lookup(pointer.oid, inner, algorithm, read)
        if entry is not None:
            return single.item_of(entry)
        found = manifest.extract(pointer.oid, inner, algorithm, read, _discard)
        return Item(found.root, "tree", found.size, found.count) if found.count else None


class Recorded:
    """The gauge of one stage with these `deps` at a commit: what is not known there is as it was recorded."""

    def __init__(self, contents: Contents, deps: Iterable[str], record: StageRecord) -> None:
        self._contents, self._record = contents, record
        self._deps = dict.fromkeys(deps, True)
        self.algorithm, self.read = contents.pages

    def measure(self, path: str) -> Item | None:
        """The content of a file or directory, None where it is gone. UserError as in `Contents.look`."""
        found = self._contents.look(path)
        if not isinstance(found, Unknown):
            return found
        if path in self._record.outs:
            return self._record.outs[path].item
        # What was not recorded is a change, whatever it holds.
        return self._record.deps.get(path, Item(manifest.empty(self.algorithm), "tree", 0, 0))

    def leading_out(self, path: str) -> list[str]:
        """Where links in a directory lead, as recorded; nowhere if it has no links."""
        known = [each for each in self._record.deps if not sources.owner(each, self._deps)]
        return known if known and self._contents.has_links(path) else []


def _discard(oid: ObjectId, data: bytes) -> None:
    """What is only measured is not stored."""
