"""Files of tracked data, whose bytes are in the store or come from a remote."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.store import manifest, objects, page, transfer
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote
from vcs_ml.workspace import opening, single, sync
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Wanted

_FILES: Final = (page.FILE, page.EXECUTABLE)

# What opens a file, and its size.
Opener = tuple[Callable[[], BinaryIO], int]


class Stored(NamedTuple):
    """A file or directory of tracked data: the tracked thing, and the way to it from there."""

    pointer: Pointer
    inner: str

    @property
    def path(self) -> str:
        """Its path in the project."""
        return f"{self.pointer.path}/{self.inner}" if self.inner else self.pointer.path


class Data:
    """Tracked data of one project, at any revision.

    With `show` (a label to a progress line), what the store lacks comes from the default remote.
    """

    def __init__(self, project: Project, store: LocalStore, show: sync.Show | None) -> None:
        self.project, self.store, self._show = project, store, show
        self._remote: Remote | None = None
        self._pages: dict[ObjectId, bytes] = {}  # of the remote

    def files(self, each: Stored) -> list[str]:
        """The files at or below a path, by their paths in the project; no links. MissingObject."""
        if each.pointer.kind != "tree":
            return [] if each.inner else [each.pointer.path]
        found = manifest.under(each.pointer.oid, os.fsencode(each.inner), self.store.algorithm, self._page)
        return [f"{each.pointer.path}/{os.fsdecode(entry.path)}" for entry in found if entry.kind in _FILES]

    def opener(self, each: Stored) -> Opener | None:
        """What opens a file, and its size; None where a tracked directory has no such file.

        UserError if its bytes are not here.
        """
        try:
            found = self._content(each)
            if found is None:
                return None
            oid, length = found
            place = self.store.locate(oid)
        except MissingObject:
            hint = "--fetch gets it from the default remote"
            if self._show is not None:
                hint = "the default remote has not got it either: vml push where it is"
            raise UserError(f"{quote(each.path)} is not in the local store", hint=hint) from None
        if isinstance(place, Path):
            return lambda: place.open("rb"), length
        return lambda: io.BytesIO(self.store.read(oid)), length

    def _content(self, each: Stored) -> tuple[ObjectId, int] | None:
        """The object that holds a file, and its size."""
        if each.pointer.kind != "tree":
            return None if each.inner else (each.pointer.oid, each.pointer.size)
        entry = manifest.lookup(each.pointer.oid, os.fsencode(each.inner), self.store.algorithm, self._page)
        if entry is None:
            return None
        single.kind_of(entry)  # no link
        return objects.blob(entry.digest), entry.size

    def _page(self, oid: ObjectId) -> bytes:
        """A page of a list of files, also from the remote if things come from there."""
        try:
            return self.store.read(oid)
        except MissingObject:
            if self._show is None:
                raise
        if oid not in self._pages:
            self._pages[oid] = transfer.reader(self.store, self._opened())(oid)
        return self._pages[oid]

    def _opened(self) -> Remote:
        if self._remote is None:
            self._remote = opening.remote_at(self.project, self.project.remote())
            self._remote.refresh_index()
        return self._remote

    def bring(self, wanted: Iterable[Stored]) -> None:
        """Fetch what the store lacks of these, if this was asked for. What the remote lacks too, `opener` tells of."""
        if self._show is None:
            return
        items = [
            Wanted(Root(each.pointer.path, each.pointer.oid), each.pointer.size, [each.inner])
            for each in {(each.pointer.oid, each.inner): each for each in wanted}.values()
            if self._exists(each)
        ]
        lacking = sync.lacking(self.store, items)
        if not lacking:
            return
        try:
            self._fetch(lacking)
        except MissingObject:
            for item in lacking:
                with contextlib.suppress(MissingObject):
                    self._fetch([item])

    def _exists(self, each: Stored) -> bool:
        """Whether there is such a file or directory, and the remote may have it."""
        if not each.inner:
            return not each.pointer.stays
        try:
            return bool(self.files(each))
        except MissingObject:
            return False

    def _fetch(self, items: list[Wanted]) -> None:
        assert self._show is not None
        jobs = sync.jobs(self.project, None)
        sync.fetch(self.store, self._opened(), items, jobs=jobs, show=self._show)
