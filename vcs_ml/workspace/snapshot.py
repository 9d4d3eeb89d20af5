"""A tracked directory as it is now: what differs from the tree it was checked out from, or last recorded as."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs, paths
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, manifest
from vcs_ml.store.ingest import STAT_FIELDS, Folder, Stored
from vcs_ml.store.manifest import Read
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.page import Entry
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace import tree
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Changed, Index
from vcs_ml.workspace.project import Project

Hash = Callable[[bytes, Sequence[Folder]], list[Stored]]


class Snapshot(NamedTuple):
    """`edits` to `index.base` that give what is on disk (None: deleted), with what the base has for each.

    `prefix` is where was looked ("" everywhere); `stats` are those of every file that was looked at closely:
    path -> (stats, digest). `doubted` are files that changed although their stats did not.
    """

    prefix: bytes
    past: Index
    walk: tree.Tree
    edits: dict[bytes, Entry | None]
    before: dict[bytes, Entry | None]
    stats: dict[bytes, tuple[bytes, bytes]]
    doubted: dict[bytes, tuple[bytes, bytes]]


class Apart(NamedTuple):
    """A path at which workspace and wanted tree differ. `base` is what an earlier checkout or add left there;
    `known` is False for what was never here.
    """

    path: bytes
    here: Entry | None
    wanted: Entry | None
    base: Entry | None
    known: bool


def take(
    project: Project,
    tracked: str,
    ignore: Ignore,
    hash: Hash,
    *,
    prefix: bytes = b"",
    rehash: bool = False,
    believe_memo: bool = True,
    past: Index | None = None,
    top: Path | None = None,
) -> Snapshot:
    """Walk a tracked directory (or what is at `prefix` in it) and hash what may have changed.

    `hash` turns files into digests: by measuring them, or by storing them; then `believe_memo` is False,
    because the memo holds digests of files that were never stored. Of a directory that is not tracked, `past` is
    what is known; it need not lie in the project, but below `top`, as ignore rules do.
    """
    root = os.fsencode((top or project.root) / tracked)
    index = past or Index.load(project.index_dir, tracked, project.algorithm)
    walk = tree.walk(root, ignore, prefix=prefix, project_path=tracked, loose=project.loose)
    difference = index.compare(walk.folders, prefix, rehash=rehash)
    unknown = [c for c in difference.changed if c.digest is None or not believe_memo]
    stats = {c.path: (stat_index.file_stats(c.folder, c.i), c.digest) for c in difference.changed if c.digest}
    stats.update(_hash(root, unknown, hash, _clock(project), project.algorithm.size))
    edits: dict[bytes, Entry | None] = {entry.path: None for entry in difference.deleted}
    before: dict[bytes, Entry | None] = {entry.path: entry for entry in difference.deleted}
    for changed in difference.changed:
        known = stats.get(changed.path)
        is_now = _entry(changed, known[1]) if known else None  # gone since the walk
        if is_now != changed.before:
            edits[changed.path], before[changed.path] = is_now, changed.before
    doubted = {}
    if rehash:
        before_now = index.files()
        for path, entry in edits.items():
            if entry is not None and path in before_now and before_now[path][0] == stats[path][0]:
                doubted[path] = (stat_index.distrust(before_now[path][0]), before_now[path][1])
    return Snapshot(prefix, index, walk, edits, before, stats, doubted)


def merged(shots: Sequence[Snapshot]) -> Snapshot:
    """Looks at several places of one directory as one."""
    first, *more = shots
    for shot in more:
        first.walk.folders.extend(shot.walk.folders)
        first.edits.update(shot.edits)
        first.before.update(shot.before)
        first.stats.update(shot.stats)
    return first


def _clock(project: Project) -> tuple[int, int]:
    project.state_dir.mkdir(exist_ok=True)
    return fs.clock(project.state_dir)


def _entry(changed: Changed, digest: bytes) -> Entry:
    numbers = changed.folder.stats[changed.i * STAT_FIELDS : (changed.i + 1) * STAT_FIELDS]
    return Entry(changed.path, tree.entry_kind(numbers[4]), numbers[0], digest)


def _hash(
    root: bytes, files: Sequence[Changed], hash: Hash, clock: tuple[int, int], size: int
) -> Iterator[tuple[bytes, tuple[bytes, bytes]]]:
    groups: dict[bytes, list[Changed]] = {}
    for file in files:
        groups.setdefault(file.folder.path, []).append(file)
    folders = []
    for path, group in groups.items():
        whole = group[0].folder
        if len(group) == len(whole.names):
            folders.append(whole)
            continue
        numbers = array("q")
        for file in group:
            numbers += whole.stats[file.i * STAT_FIELDS : (file.i + 1) * STAT_FIELDS]
        folders.append(Folder(path, [whole.names[file.i] for file in group], numbers))
    if not folders:
        return
    for folder, stored in zip(folders, hash(root, folders), strict=True):
        settled = stat_index.settle(stored.stats, *clock)
        width = 8 * STAT_FIELDS
        for i, name in enumerate(folder.names):
            if stored.stats[i * STAT_FIELDS] < 0:
                continue
            yield (
                tree.join(folder.path, name),
                (settled[i * width : (i + 1) * width], stored.digests[i * size : (i + 1) * size]),
            )


def measurer(project: Project, meter: Meter, *, steady: bool = True) -> Hash:
    """A `Hash` that stores nothing; `steady` as in ingest.measure."""
    return lambda root, folders: ingest.measure(project.algorithm, root, folders, meter, steady=steady)


def remember(snapshot: Snapshot) -> None:
    """Keep the digests of this look, so that the next one hashes nothing; writes only if there is news."""
    index, prefix = snapshot.past, snapshot.prefix
    touched = {p: s for p, s in snapshot.stats.items() if p not in snapshot.edits}
    memo = {p: s for p, s in index.memo.items() if not below(p, prefix)}
    memo |= {p: snapshot.stats[p] for p, e in snapshot.edits.items() if e is not None and paths.is_utf8(p)}
    if touched or snapshot.doubted or memo != index.memo:
        index.update(touched | snapshot.doubted)
        index.memo = memo
        with contextlib.suppress(OSError):  # on a full disk this only means that the same is hashed again
            index.save()


def settle_on(snapshot: Snapshot, base: ObjectId, *, partial: bool) -> None:
    """The workspace holds `base` now, where this snapshot looked: its edits become part of what is known."""
    take_in(snapshot)
    index = snapshot.past
    index.base, index.partial = base, partial
    index.save()


def take_in(snapshot: Snapshot) -> None:
    """Make the edits part of what is known; `base` has to follow."""
    put = {p: s for p, s in snapshot.stats.items() if snapshot.edits.get(p, p) is not None}
    snapshot.past.update(put, [p for p, e in snapshot.edits.items() if e is None])


def tree_of(index: Index, write: manifest.Write) -> ObjectId:
    """The tree of the files that are known, written: a base for them where no other tree holds just these."""
    entries = sorted(index.entries(), key=lambda entry: paths.key(entry.path))
    return manifest.build(entries, index.algorithm, write).root


def apart(snapshot: Snapshot, wanted: ObjectId | None, read: Read, prefix: bytes = b"") -> Iterator[Apart]:
    """Where the workspace differs from the tree `wanted`, at or below `prefix`, sorted by path.

    Costs what differs: equal pages of the two manifests are not read. Raises MissingObject if pages of
    `wanted` are needed that `read` does not find.
    """
    index, edits = snapshot.past, snapshot.edits
    moved: dict[bytes, tuple[Entry | None, Entry | None]] = {}
    if index.base != wanted:
        for old, new in _moves(index, wanted, read, prefix):
            one = old or new
            assert one is not None
            if below(one.path, prefix):
                moved[one.path] = (old, new)
    here_before = index.files() if index.partial and moved else None
    for path in sorted(moved.keys() | edits.keys(), key=paths.key):
        if not below(path, prefix):
            continue
        known = here_before is None or path in here_before or path in edits
        if path in moved:
            old, new = moved[path]
        else:
            new = _in_both(snapshot, path, wanted, read)
            old = new
        here = edits.get(path, old if known else None)
        if here != new:
            yield Apart(path, here, new, old if known else None, known)


def _in_both(snapshot: Snapshot, path: bytes, wanted: ObjectId | None, read: Read) -> Entry | None:
    """What the base and the wanted tree, which agree there, have at `path`."""
    entry = snapshot.before.get(path)
    index = snapshot.past
    if entry is None and index.partial and wanted is not None:
        return manifest.lookup(wanted, path, index.algorithm, read)
    return entry


def _moves(
    index: Index, wanted: ObjectId | None, read: Read, prefix: bytes
) -> Iterator[tuple[Entry | None, Entry | None]]:
    try:
        yield from list(manifest.diff(index.base, wanted, index.algorithm, read))
    except MissingObject as error:
        if index.base is None or error.oid == wanted:
            raise
        # The base's manifest is gone (gc) or never was here whole, but those of its files that were are all
        # known: compare them one by one.
        old = {entry.path: entry for entry in index.entries()}
        new = {}
        if wanted is not None:
            new = {entry.path: entry for entry in manifest.under(wanted, prefix, index.algorithm, read)}
        for path in sorted(old.keys() | new.keys(), key=paths.key):
            if old.get(path) != new.get(path):
                yield old.get(path), new.get(path)


def below(path: bytes, prefix: bytes) -> bool:
    """Whether `path` is `prefix` or lies in it; everything lies in the empty one."""
    return not prefix or path == prefix or path.startswith(prefix + b"/")
