"""Files that are tracked one by one: their part of the stat index."""

from __future__ import annotations

import os
import stat
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vcs_ml import fs
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import ingest, objects, page, workers
from vcs_ml.store.ingest import Folder, Stored, stat_numbers
from vcs_ml.store.page import Entry
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace import tree
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.item import Item, Kind
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

_STATS: Final = struct.Struct(f"={ingest.STAT_FIELDS}q")
_A_WORKER: Final = 4_000  # files whose stats take a worker so long that it is worth one
_NOTHING: Final = (b"", b"")
_KINDS: dict[int, Kind] = {page.FILE: "file", page.EXECUTABLE: "executable"}


def entry_of(each: Pointer) -> Entry:
    """A file's pointer in the form that directories use."""
    kind = page.EXECUTABLE if each.kind == "executable" else page.FILE
    return Entry(os.fsencode(each.path), kind, each.size, each.oid[:-1])


def kind_of(entry: Entry) -> Kind:
    """A pointer's kind for an entry. UserError for a symbolic link, which is tracked only inside a directory."""
    if entry.kind not in _KINDS:
        raise UserError(
            f"{quote(entry.path)} is a symbolic link",
            hint="track the file it leads to, or the directory that holds both",
        )
    return _KINDS[entry.kind]


def item_of(entry: Entry) -> Item:
    """What a pointer or lock file says of a file. UserError as in `kind_of`."""
    return Item(objects.blob(entry.digest), kind_of(entry), entry.size)


class Files:
    """What is known of all single files: path -> (stats, digest), loaded once, saved if it changed.

    These are the tracked ones, or others: those below `root` that the index in `directory` knows.
    """

    def __init__(self, project: Project, *, directory: Path | None = None, root: Path | None = None) -> None:
        self._project = project
        self._directory = directory or project.index_dir
        self._root = os.fsencode(root or project.root)
        self._load()

    def _load(self) -> None:
        self._stamp = self._look_at_index()
        self._index = Index.load(self._directory, "", self._project.algorithm)
        self._known = self._index.files()
        self._put: dict[bytes, tuple[bytes, bytes]] = {}
        self._dropped: set[bytes] = set()
        self._clock: tuple[int, int] | None = None

    def _look_at_index(self) -> tuple[int, ...]:
        try:
            return stat_numbers(os.stat(Index.new(self._directory, "", self._project.algorithm).path))
        except FileNotFoundError:
            return ()

    def refresh(self) -> None:
        """Begin anew, as if just loaded, after others may have saved something."""
        if self._put or self._dropped or self._stamp != self._look_at_index():
            self._load()
        self._clock = None

    def doubtful(self, pointers: Sequence[Pointer]) -> set[str]:
        """The paths of those whose files are not, by their stats alone, what they say: `look` tells."""
        size = max(-(-len(pointers) // workers.count()), _A_WORKER)
        parts = [pointers[at : at + size] for at in range(0, len(pointers), size)]
        found = workers.fork_map(lambda part, _: self._doubtful(part), parts, SILENT) if parts else []
        return {path for each in found for path in each}

    def _doubtful(self, pointers: Sequence[Pointer]) -> list[str]:
        """The same without workers; 3.5 us for each."""
        found = []
        known, root, lstat, pack = self._known, self._root + b"/", os.lstat, _STATS.pack
        paths = os.fsencode("\0".join([each.path for each in pointers])).split(b"\0")
        for each, raw in zip(pointers, paths, strict=True):
            stats, digest = known.get(raw, _NOTHING)
            if digest == each.oid[:-1]:
                try:
                    st = lstat(root + raw)
                except OSError:
                    found.append(each.path)
                    continue
                mode = st.st_mode
                if (
                    stats == pack(*stat_numbers(st))
                    and stat.S_ISREG(mode)
                    and st.st_size == each.size
                    and (mode & stat.S_IXUSR != 0) == (each.kind == "executable")
                ):
                    continue
            found.append(each.path)
        return found

    def look(self, path: str, *, meter: Meter, rehash: bool = False, steady: bool = True) -> tuple[Entry | None, bool]:
        """(what is at `path` now, None if nothing; whether it was ever here). Hashes only what may have changed.

        `steady` as in ingest.measure.
        """
        raw = os.fsencode(path)
        known = self._known.get(raw)
        try:
            st = os.lstat(self._root + b"/" + raw)
        except (FileNotFoundError, NotADirectoryError):
            return None, known is not None
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode)):
            return Entry(raw, page.FILE, -1, b""), True  # a directory, or nothing that has bytes
        loose = self._project.loose if stat.S_ISLNK(st.st_mode) else None
        if (found := tree.look(self._root + b"/" + raw, st, loose)) is None:
            return None, True  # a link to an object that is gone
        numbers = array("q", found)
        if known is not None and known[0] == numbers.tobytes() and not rehash:
            return stat_index.entry(raw, *known), True
        folder = Folder(os.path.dirname(raw), [os.path.basename(raw)], numbers)
        (stored,) = ingest.measure(self._project.algorithm, self._root, [folder], meter, steady=steady)
        if stored.stats[0] < 0:
            return None, known is not None
        return self.learn(path, stored), True

    def learn(self, path: str, stored: Stored) -> Entry:
        """Keep what was just hashed or stored at `path`."""
        raw = os.fsencode(path)
        now, granularity = self._now()
        settled = stat_index.settle(stored.stats, now, granularity)
        self._put[raw] = self._known[raw] = (settled, stored.digests)
        self._dropped.discard(raw)
        return Entry(raw, tree.entry_kind(stored.stats[4]), stored.stats[0], stored.digests)

    def known(self, path: str) -> bytes | None:
        """The digest that `path` had when it was last hashed, None if it never was."""
        known = self._known.get(os.fsencode(path))
        return known[1] if known else None

    def paths(self) -> set[str]:
        """Every path that something is known of."""
        return {os.fsdecode(raw) for raw in self._known}

    def forget(self, path: str) -> None:
        """Drop what is known of a path."""
        raw = os.fsencode(path)
        if self._known.pop(raw, None):
            self._dropped.add(raw)
            self._put.pop(raw, None)

    def save(self) -> None:
        """Write what is new."""
        if self._put or self._dropped:
            self._index.update(self._put, self._dropped)
            self._index.save()
            self._put, self._dropped, self._stamp = {}, set(), self._look_at_index()

    def _now(self) -> tuple[int, int]:
        if self._clock is None:
            self._project.state_dir.mkdir(exist_ok=True)
            self._clock = fs.clock(self._project.state_dir)
        return self._clock
