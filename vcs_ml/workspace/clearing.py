"""Outputs going from the workspace before their stage makes them anew: what no store has is stored first."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vcs_ml import history, regular
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, objects
from vcs_ml.store.ingest import Folder, stat_numbers
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import delete, gitignore, saved, tree, write
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.saved import Saved


class Doomed(NamedTuple):
    """An output that is about to be removed, or (`stays`) to be changed in its place.

    `here` is the content that it had, None where that is not known.
    """

    path: str
    here: Item | None
    stays: bool = False


def clear(project: Project, gauge: Gauge, doomed: Iterable[Doomed], meter: Meter) -> list[Saved]:
    """Store what of these paths neither a store nor Git has, name that in `.vml/saved/`, and then remove them; what was
    stored. Our own lines in a `.gitignore` are nobody's bytes.

    A file goes only with the stats that it had before its content was looked at here: whoever edits it meanwhile, or
    did so since it was last measured, loses nothing.

    UserError, with nothing removed, where a directory above is a symbolic link; for a file that changes meanwhile.
    The caller holds the worktree's lock.
    """
    seen: dict[str, Mapping[bytes, bytes]] = {}
    unsaved: list[str] = []
    every = [each for each in doomed if os.path.lexists(project.root / each.path)]
    for each in every:
        project.refuse_link_above(each.path)
        stats = _stats(project, each.path)
        seen[each.path] = stats
        unsaved += _in_no_store(project, gauge, each, stats, meter)
    unsaved = _not_in_git(project, [path for path in unsaved if not _is_generated(project, path)])
    kept = saved.keep(project, gauge.store, unsaved, meter) if unsaved else []
    for each in every:
        if not each.stays:
            _remove(project, each.path, seen[each.path])
    return kept


def _is_stored(store: LocalStore, here: Item, stats: Mapping[bytes, bytes]) -> bool:
    """Whether the store has an item, and that tells of every file."""
    if here.kind != "tree":
        return not store.unsafe([here.oid])
    # That of a directory does not tell of ignored files. Those that are linked to the store may hold other bytes than
    # its objects should: they are read.
    return here.nfiles == len(stats) and not store.shares and not store.missing(here.oid)


def _is_directory(project: Project, path: str) -> bool:
    return stat.S_ISDIR(os.lstat(project.root / path).st_mode)


def _stats(project: Project, path: str) -> dict[bytes, bytes]:
    """The stats of every file at or below a path, ignored or not; of a single one under its name."""
    full = os.fsencode(project.root / path)
    if not _is_directory(project, path):
        return {os.path.basename(full): array("q", stat_numbers(os.lstat(full))).tobytes()}
    found: dict[bytes, bytes] = {}
    pending = [b""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(full, folder)) as entries:
            for entry in entries:
                below = tree.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(below)
                else:
                    found[below] = array("q", stat_numbers(entry.stat(follow_symlinks=False))).tobytes()
    return found


def _in_no_store(project: Project, gauge: Gauge, each: Doomed, stats: Mapping[bytes, bytes], meter: Meter) -> list[str]:
    """The files at or below a path whose bytes (of a symbolic link: its target) are in no store, from the project's
    top. Their `stats` are older than this look at them.
    """
    store = gauge.store
    full = os.fsencode(project.root / each.path)
    is_link = os.path.islink(full) and not tree.is_object(full, project.loose)
    here = None if is_link else each.here  # which is what a link leads to
    if here is not None and _is_stored(store, here, stats) and gauge.measure(each.path, again=True) == here:
        return []
    top = each.path if _is_directory(project, each.path) else os.path.dirname(each.path)
    folders = _folders(project, top, stats)
    measured = ingest.measure(store.algorithm, os.fsencode(project.root / top), folders, meter)
    size = store.algorithm.size
    found: dict[ObjectId, list[str]] = {}
    for group, many in zip(folders, measured, strict=True):
        for i, name in enumerate(group.names):
            oid = objects.blob(many.digests[i * size : (i + 1) * size])
            found.setdefault(oid, []).append(os.path.join(top, os.fsdecode(tree.join(group.path, name))))
    return [path for oid in store.unsafe(found) for path in found[oid]]


def _is_generated(project: Project, path: str) -> bool:
    """Whether it is a `.gitignore` that only we have written to."""
    place = project.root / path
    if place.name != ".gitignore" or place.is_symlink():
        return False
    return gitignore.is_ours((regular.read(place, gitignore.MAX_SIZE) or b"").decode("utf-8", "surrogateescape"))


def _not_in_git(project: Project, paths: list[str]) -> list[str]:
    """Those of these files whose bytes Git does not have. Of a link into the store, it could have the text alone."""
    asked = {
        project.in_git(path): path
        for path in paths
        if not tree.is_object(os.fsencode(project.root / path), project.loose)
    }
    safe = {asked[each] for each in history.unchanged(project.git, asked)}
    return [path for path in paths if path not in safe]


def _folders(project: Project, top: str, stats: Mapping[bytes, bytes]) -> list[Folder]:
    """What has bytes among these paths below `top`; a link into the store counts as the object there."""
    groups: dict[bytes, Folder] = {}
    for path, raw in stats.items():
        numbers = array("q", raw)
        if stat.S_ISLNK(numbers[4]):
            place = os.path.join(os.fsencode(project.root / top), path)
            if (through := tree.look(place, os.lstat(place), project.loose)) is None:
                continue
            numbers = array("q", through)
        if stat.S_ISREG(numbers[4]) or stat.S_ISLNK(numbers[4]):
            folder, _, name = path.rpartition(b"/")
            group = groups.setdefault(folder, Folder(folder, [], array("q")))
            group.names.append(name)
            group.stats.extend(numbers)
    return list(groups.values())


def _remove(project: Project, path: str, seen: Mapping[bytes, bytes]) -> None:
    is_directory = _is_directory(project, path)
    base = write.open_below(project.root, path if is_directory else os.path.dirname(path))
    try:
        delete.files(base, seen, seen)
    finally:
        os.close(base)
    if is_directory:
        delete.empty_directories(project.root / path)
