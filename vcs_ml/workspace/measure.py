"""What paths hold, by content: whatever a stage may depend on, tracked or not, hashed where it may have changed."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import manifest
from vcs_ml.store.ingest import STAT_FIELDS
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.workspace import single, snapshot, tracked, tree
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot

_TOP: Final = Path("/")


class Gauge:
    """Measures paths of the project ("x/y"), and others ("../x", "/x"), through the stat index; stores nothing.

    Costs one stat a file where nothing changed. `pointers` is what is tracked in the workspace, to be kept up to date
    by whoever uses this for longer. The caller holds the worktree's lock from `refresh` (or the making) to `save`, or
    never saves. While nothing can change, `directories` may be set to a mapping: it keeps what was measured, and a
    directory that many stages read is walked once. `refresh` ends that. What is in `assumed` is taken as that, whatever
    is there. With `rehash` no stat is believed of what is not tracked.
    """

    def __init__(
        self,
        project: Project,
        store: LocalStore,
        pointers: Mapping[str, Pointer],
        meter: Meter,
        *,
        rehash: bool = False,
    ) -> None:
        self.pointers = dict(pointers)
        self.files = single.Files(project)
        self.algorithm = project.algorithm
        self.store = store
        self.assumed: dict[str, Item] = {}
        self._project, self._meter = project, meter
        self._rehash: set[str] | None = set() if rehash else None  # what was read already
        # Not with what is tracked: a checkout would take it away where no pointer names it.
        self._inside = single.Files(project, directory=project.read_index_dir)
        self._outside = single.Files(project, directory=project.read_index_dir / "outside", root=_TOP)
        self._indexes: dict[tuple[Path, str], Index] = {}
        self._changed: list[Index] = []
        self._shots: list[Snapshot] = []
        self.refresh()

    def refresh(self) -> None:
        """Forget what was learned and not saved, and learn what others have saved."""
        for files in (self.files, self._inside, self._outside):
            files.refresh()
        self._ignore, self._ignore_outside = Ignore(self._project.root), Ignore(_TOP)
        self._indexes, self._changed, self._shots = {}, [], []
        self._nodes: dict[ObjectId, bytes] = {}
        self._links: dict[str, list[bytes]] = {}  # of each directory, by its place
        self.directories: dict[str, Item] | None = None

    def save(self) -> None:
        """Keep what was learned, so that the next one hashes nothing."""
        for files in (self.files, self._inside, self._outside):
            files.save()
        for index in self._changed:
            index.save()
        for shot in self._shots:
            snapshot.remember(shot)
        self._changed, self._shots = [], []

    def measure(self, path: str, *, again: bool = False) -> Item | None:
        """The content of a file or directory, None where nothing is. A symbolic link counts as what it leads to.

        A directory has the id that it would have if it were tracked. With `again` it is walked, even if `directories`
        has it. UserError for what has no content, changes while it is read, or is the whole project.
        """
        if path in self.assumed:
            return self.assumed[path]
        known = self.directories
        if known is not None and path in known and not again:
            return known[path]
        item = self._measure(path)
        if known is not None and item is not None and item.kind == "tree":
            known[path] = item
        return item

    def _measure(self, path: str) -> Item | None:
        project = self._project
        full = self._place(path)
        try:
            mode = os.lstat(full).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        inside = full.startswith(f"{project.root}/")
        rel = full.removeprefix(f"{project.root}/") if inside else full.lstrip("/")
        if full == str(project.root) or not rel:
            raise UserError(f"{quote(path)} is too much to depend on", hint="name the directories that are read")
        if stat.S_ISDIR(mode):
            if not inside:
                return self._untracked(rel, project.read_index_dir / "outside", _TOP, self._ignore_outside)
            if rel in self.pointers and self.pointers[rel].kind == "tree":
                return self._tracked(rel)
            return self._untracked(rel, project.read_index_dir, project.root, self._ignore)
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise UserError(f"{quote(path)} is neither a file nor a directory", hint="stages read and make only such")
        files = self._outside if not inside else self.files if rel in self.pointers else self._inside
        entry, _ = files.look(rel, meter=self._meter, rehash=files is not self.files and self._is_doubted(full))
        return single.item_of(entry) if entry is not None and entry.size >= 0 else None

    def _place(self, path: str) -> str:
        full = os.path.normpath(self._project.root / path)
        if os.path.islink(full) and not tree.is_object(os.fsencode(full), self._project.loose):
            full = os.path.realpath(full)
        return full

    def leading_out(self, path: str) -> list[str]:
        """Where links in a directory, which was measured since `refresh`, lead outside of it: paths of files and
        directories for `measure`, sorted. Those that hold the directory, or the project, are left out.
        """
        full, root = self._place(path), str(self._project.root)
        links = self._links.get(full)
        if not links:
            return []
        here = os.path.realpath(full)
        found = set()
        for link in links:
            target = os.path.realpath(os.path.join(full, os.fsdecode(link)))
            if any(f"{each}/".startswith(f"{target.rstrip('/')}/") for each in (here, root)):
                continue
            if not target.startswith(f"{here}/") and (os.path.isfile(target) or os.path.isdir(target)):
                is_near = not os.readlink(os.path.join(os.fsencode(full), link)).startswith(b"/")
                near = target.startswith(f"{root}/") or is_near  # the same wherever the project lies
                found.add(os.path.relpath(target, root) if near else target)
        return sorted(found)

    def read(self, oid: ObjectId) -> bytes:
        """A page of a list of files: of a stored directory, or of a tracked one that was measured since `refresh`.

        MissingObject, CorruptError.
        """
        data = self._nodes.get(oid)
        return self.store.read(oid) if data is None else data

    def _tracked(self, path: str) -> Item:
        project = self._project
        shot = snapshot.take(project, path, self._ignore, snapshot.measurer(project, self._meter))
        self._shots.append(shot)
        self._links[str(project.root / path)] = _links(shot)
        base = shot.past.base
        if base is None or shot.past.partial:
            return _build(shot)
        if not shot.edits:
            return _known(shot.past, base)
        try:
            # Few pages, and without them nobody can say what changed.
            found = manifest.edit(base, shot.edits, project.algorithm, self.store.read, self._nodes.__setitem__)
        except MissingObject:
            return _build(shot)
        return Item(found.root, "tree", found.size, found.count)

    def _untracked(self, path: str, place: Path, top: Path, ignore: Ignore) -> Item:
        project = self._project
        index = self._indexes.get((place, path))
        if index is None:
            index = self._indexes[place, path] = Index.load(place, path, project.algorithm)
            if not index.loaded and top == project.root:
                self._seed(index, path)
        measure, rehash = snapshot.measurer(project, self._meter), self._is_doubted(f"{top}/{path}")
        shot = snapshot.take(project, path, ignore, measure, rehash=rehash, past=index, top=top)
        self._links[str(top / path)] = _links(shot)
        if shot.edits or index.base is None:
            snapshot.take_in(shot)
            index.base = snapshot.tree_of(index, _discard)
            self._changed.append(index)
        elif shot.stats:
            self._shots.append(shot)
        return _known(index, index.base)

    def _is_doubted(self, full: str) -> bool:
        """Whether to read this, whatever its stats say: once, if at all."""
        if self._rehash is None or full in self._rehash:
            return False
        self._rehash.add(full)
        return True

    def _seed(self, index: Index, path: str) -> None:
        """What is known of a tracked directory is known of a directory in it."""
        above = tracked.owner(path, self.pointers)
        if above is None or above[0].kind != "tree":
            return
        prefix = os.fsencode(above[1])
        whole = Index.load(self._project.index_dir, above[0].path, self._project.algorithm)
        for folder, known in whole.folders.items():
            if snapshot.below(folder, prefix):
                index.folders[folder[len(prefix) + 1 :]] = known


def measure(
    project: Project, store: LocalStore, wanted: Iterable[str], *, meter: Meter = SILENT, keep: bool = True
) -> dict[str, Item | None]:
    """`Gauge.measure` of these paths; with `keep` the caller holds the worktree's lock."""
    gauge = Gauge(project, store, tracked.in_workspace(project), meter)
    found = {path: gauge.measure(path) for path in wanted}
    if keep:
        gauge.save()
    return found


def _discard(oid: ObjectId, data: bytes) -> None:
    """What is only measured is not stored."""


def _known(index: Index, base: ObjectId) -> Item:
    """The item of all files that are known, which are those of `base`."""
    size = sum(sum(array("q", known.stats)[::STAT_FIELDS]) for known in index.folders.values())
    count = sum(len(known.stats) for known in index.folders.values()) // (8 * STAT_FIELDS)
    return Item(base, "tree", size, count)


def _links(shot: Snapshot) -> list[bytes]:
    """The symbolic links that a walk has met, but for those that stand for objects."""
    found = []
    for folder in shot.walk.folders:
        modes = folder.stats[STAT_FIELDS - 1 :: STAT_FIELDS]
        if any(map(stat.S_ISLNK, set(modes))):
            names = (name for name, mode in zip(folder.names, modes, strict=True) if stat.S_ISLNK(mode))
            found += [tree.join(folder.path, name) for name in names]
    return found


def _build(shot: Snapshot) -> Item:
    """The item of all files that are here."""
    here = {entry.path: entry for entry in shot.past.entries()} | shot.edits
    entries = sorted(filter(None, here.values()), key=lambda entry: paths.key(entry.path))
    found = manifest.build(entries, shot.past.algorithm, _discard)
    return Item(found.root, "tree", found.size, found.count)
