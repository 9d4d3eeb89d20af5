"""Differences between two revisions, or a revision and the workspace, file by file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from vcs_ml.paths import key
from vcs_ml.progress import Meter
from vcs_ml.store import manifest
from vcs_ml.store.local import LocalStore
from vcs_ml.store.manifest import Read
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import groups, single, snapshot, status, tracked
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.status import Change

Pair = tuple[Pointer | None, Pointer | None]  # what tracks a path on both sides


def between(
    project: Project,
    store: LocalStore,
    a: str,
    b: str | None,
    *,
    read: Read,
    meter: Meter,
    keep: bool = True,
    lost: dict[str, Pair] | None = None,
) -> list[Change]:
    """What changed from revision `a` to revision `b` (None: the workspace), sorted by path, renames found.

    Costs what differs: equal sub-directories are not read. `keep` what was hashed in the stat index. Raises
    MissingObject where a manifest is not here; with `lost`, what it belongs to goes there instead, by its path.
    """
    old = tracked.at_revision(project, a)
    parts = (
        _to_workspace(project, store, old, read, meter, keep=keep)
        if b is None
        else _pairs(store, old, tracked.at_revision(project, b), read)
    )
    return _changes(parts, lost)


def of_tracked(
    store: LocalStore,
    old: Mapping[str, Pointer],
    new: Mapping[str, Pointer],
    read: Read,
    lost: dict[str, Pair] | None = None,
) -> list[Change]:
    """What changed from what is tracked on one side to the other, as `between`."""
    return _changes(_pairs(store, old, new, read), lost)


def _changes(parts: Iterable[Part], lost: dict[str, Pair] | None) -> list[Change]:
    found = []
    for path, pair, triples in parts:
        try:
            found += [
                Change(each, "added" if x is None else "deleted" if y is None else "modified", x, y)
                for each, x, y in triples
            ]
        except MissingObject:
            if lost is None:
                raise
            lost[path] = pair
    found.sort(key=lambda change: key(os.fsencode(change.path)))
    return status.renames(found)


def is_anywhere(project: Project, a: str, b: str | None, target: str, read: Read) -> bool:
    """Whether a path is, holds or lies in tracked data of revision `a` or `b` (None: the workspace).

    Where only a list of files that is not here would tell, it is.
    """
    sides = [tracked.at_revision(project, a)]
    sides.append(tracked.in_workspace(project) if b is None else tracked.at_revision(project, b))
    for side in sides:
        if any(groups.concerns(path, [target]) and not target.startswith(f"{path}/") for path in side):
            return True
        if (owner := tracked.owner(target, side)) is not None and owner[0].kind == "tree":
            try:
                if any(manifest.under(owner[0].oid, os.fsencode(owner[1]), project.algorithm, read)):
                    return True
            except MissingObject:
                return True
            if b is None and side is sides[-1] and os.path.lexists(project.root / target):
                return True
    return False


def unlisted_sides(pair: Pair, read: Read) -> tuple[bool, bool]:
    """Of which sides of a path in `lost` the list of files is not here; both where a part of one is missing."""
    lacking = [each is not None and each.kind == "tree" and not _is_here(each, read) for each in pair]
    if any(lacking):
        return lacking[0], lacking[1]
    old, new = (each is not None and each.kind == "tree" for each in pair)
    return old, new


def _is_here(each: Pointer, read: Read) -> bool:
    try:
        read(each.oid)
    except MissingObject:
        return False
    return True


Triple = tuple[str, Entry | None, Entry | None]
Part = tuple[str, Pair, Iterator[Triple]]  # a path that is tracked on one side at least, and what differs there


def _pairs(store: LocalStore, old: Mapping[str, Pointer], new: Mapping[str, Pointer], read: Read) -> Iterator[Part]:
    for path in sorted(old.keys() | new.keys()):
        pair = old.get(path), new.get(path)
        yield path, pair, _pair(store, path, pair, read)


def _pair(store: LocalStore, path: str, pair: Pair, read: Read) -> Iterator[Triple]:
    x, y = pair
    if x is not None and y is not None and x.kind == y.kind == "tree":
        for one, other in manifest.diff(x.oid, y.oid, store.algorithm, read):
            each = one or other
            assert each is not None
            yield _full(path, each.path), one, other
        return
    if x is not None and y is not None and "tree" not in (x.kind, y.kind):
        if single.entry_of(x) != single.entry_of(y):
            yield path, single.entry_of(x), single.entry_of(y)
        return
    yield from ((p, entry, None) for p, entry in _every(store, x, read))
    yield from ((p, None, entry) for p, entry in _every(store, y, read))


def _every(store: LocalStore, each: Pointer | None, read: Read) -> Iterator[tuple[str, Entry]]:
    if each is None:
        return
    if each.kind != "tree":
        yield each.path, single.entry_of(each)
        return
    for entry in manifest.under(each.oid, b"", store.algorithm, read):
        yield _full(each.path, entry.path), entry


def _full(path: str, inner: bytes) -> str:
    return f"{path}/{os.fsdecode(inner)}"


def _to_workspace(
    project: Project, store: LocalStore, old: Mapping[str, Pointer], read: Read, meter: Meter, *, keep: bool
) -> Iterator[Part]:
    ignore = Ignore(project.root)
    now = tracked.in_workspace(project, ignore)
    files, others = single.Files(project), single.Files(project)  # `others` is not kept: nobody tracks them now
    for path in sorted(old.keys() | now.keys()):
        pair = before, after = old.get(path), now.get(path)
        if after is not None and was_never_here(project, files, after):  # then its pointer speaks for it
            yield path, pair, _pair(store, path, pair, read)
        elif any(each is not None and each.kind == "tree" for each in pair) and (project.root / path).is_dir():
            yield path, pair, _directory(project, store, path, pair, read, ignore=ignore, meter=meter, keep=keep)
        else:
            known = files if path in now else others
            yield path, pair, _file(store, path, before, read, known.look(path, meter=meter, steady=False)[0])
    if keep:
        files.save()


def _directory(
    project: Project,
    store: LocalStore,
    path: str,
    pair: Pair,
    read: Read,
    *,
    ignore: Ignore,
    meter: Meter,
    keep: bool,
) -> Iterator[Triple]:
    before, after = pair
    if before is not None and before.kind != "tree":
        yield from ((p, entry, None) for p, entry in _every(store, before, read))
        before = None
    yield from _tree_to_workspace(project, path, (before, after), read, ignore=ignore, meter=meter, keep=keep)


def _file(store: LocalStore, path: str, before: Pointer | None, read: Read, here: Entry | None) -> Iterator[Triple]:
    if here is not None and here.size < 0:
        here = None
    if before is not None and before.kind == "tree":
        yield from ((p, entry, None) for p, entry in _every(store, before, read))
        before = None
    one = single.entry_of(before) if before else None
    if one != here:
        yield path, one, here


def was_never_here(project: Project, files: single.Files, each: Pointer) -> bool:
    """Whether tracked data was not checked out yet, so that its pointer says what it is."""
    if os.path.lexists(project.root / each.path):
        return False
    if groups.is_left_out(project, each):
        return True
    if each.kind == "tree":
        return Index.load(project.index_dir, each.path, project.algorithm).base is None
    return files.known(each.path) is None


def _tree_to_workspace(
    project: Project,
    path: str,
    pointers: tuple[Pointer | None, Pointer | None],
    read: Read,
    *,
    ignore: Ignore,
    meter: Meter,
    keep: bool,
) -> Iterator[Triple]:
    """What differs from the first of the pointers; for files that never were here, the second one speaks."""
    before, now = (each.oid if each is not None and each.kind == "tree" else None for each in pointers)
    shot = snapshot.take(project, path, ignore, snapshot.measurer(project, meter, steady=False))
    for each in snapshot.apart(shot, before, read):
        if each.known or each.here is not None:
            yield _full(path, each.path), each.wanted, each.here
    if shot.past.partial and now is not None:
        seen = shot.past.files().keys() | shot.edits.keys()
        for one, other in manifest.diff(before, now, project.algorithm, read):
            entry = one or other
            assert entry is not None
            if entry.path not in seen:
                yield _full(path, entry.path), one, other
    if keep:
        snapshot.remember(shot)
