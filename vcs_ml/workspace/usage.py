"""How much room data takes: what is tracked, how much of it is here, and the local store as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vcs_ml.store import manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.workspace import tracked
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project


class Row(NamedTuple):
    """One tracked path, or a path inside it: its files and the sum of their sizes, and the bytes that the local
    store has of them and lacks, equal files counted once. Those two are None where the list of files is not here.
    """

    path: str
    files: int | None
    size: int | None
    here: int | None
    absent: int | None


class Store(NamedTuple):
    """The local store on the disk: files and bytes. What is in neither packs nor loose files is indexes, scratch
    and what is known of remotes.
    """

    packs: int
    pack_bytes: int
    loose: int
    loose_bytes: int
    bytes: int


class History(NamedTuple):
    """What all commits and the workspace name: versions, objects (lists of files aside), bytes here and not here.

    `unknown` versions could not be looked into, because their list of files is not here.
    """

    versions: int
    objects: int
    here: int
    absent: int
    unknown: int


def rows(store: LocalStore, chosen: Sequence[tuple[Pointer, str]]) -> list[Row]:
    """A row for each of `chosen` (a pointer and a path inside its data), then the total: each object once.

    2 us a file of a tree that is known to be complete, else 5.
    """
    found = []
    every: dict[bytes, int] = {}
    gone: set[bytes] = set()
    whole = True
    for each, inner in chosen:
        path = f"{each.path}/{inner}" if inner else each.path
        try:
            files, size, unique, lacking = _measure(store, each, os.fsencode(inner))
        except MissingObject:
            found.append(Row(path, None, None, None, None) if inner else Row(path, each.nfiles, each.size, None, None))
            whole = False
            continue
        absent = sum(unique[digest] for digest in lacking)
        found.append(Row(path, files, size, sum(unique.values()) - absent, absent))
        every |= unique
        gone |= lacking
    absent = sum(every[digest] for digest in gone)
    files, size = sum(row.files or 0 for row in found), sum(row.size or 0 for row in found)
    here = sum(every.values()) - absent
    return [*found, Row("", files, size, here, absent) if whole else Row("", files, size, None, None)]


def _measure(store: LocalStore, each: Pointer, inner: bytes) -> tuple[int, int, dict[bytes, int], set[bytes]]:
    """(files, their size, size by digest, digests that the store lacks)"""
    count = size = 0
    unique: dict[bytes, int] = {}
    if each.kind != "tree":
        count, size, unique = 1, each.size, {each.oid[:-1]: each.size}
    else:
        for entry in manifest.under(each.oid, inner, store.algorithm, store.read):
            count += 1
            size += entry.size
            unique[entry.digest] = entry.size
    if store.is_complete(each.oid):
        return count, size, unique, set()
    return count, size, unique, {oid[:-1] for oid in store.lacking(map(objects.blob, unique))}


def store(place: LocalStore) -> Store:
    """Look at every file of the local store."""
    sums = {"packs": [0, 0], "loose": [0, 0], "": [0, 0]}
    for kind, size in files(os.fspath(place.directory)):
        each = sums.get(kind, sums[""])
        each[0] += 1
        each[1] += size
    (packs, pack_bytes), (loose, loose_bytes), (_, rest) = sums.values()
    return Store(packs, pack_bytes, loose, loose_bytes, pack_bytes + loose_bytes + rest)


def files(top: str) -> Iterator[tuple[str, int]]:
    """(the name of the directory below `top`, or the file's own; bytes) of every file; 2 us each."""
    pending = [(top, "")]
    while pending:
        directory, kind = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, kind or entry.name))
                    else:
                        yield kind, entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue


def history(project: Project, local: LocalStore, now: Mapping[str, Pointer]) -> History:
    """What every commit of every ref names, and the pointers `now`."""
    versions: dict[ObjectId, Pointer] = {each.oid: each for each in now.values()}

    def take(each: Pointer) -> bool:
        versions.setdefault(each.oid, each)
        return True

    tracked.in_history(project, [], every_ref=True, takes=take)
    unique: dict[ObjectId, int] = {}
    unknown = 0
    before: dict[str, ObjectId] = {}
    for each in sorted(versions.values(), key=lambda each: (each.path, each.oid)):
        if each.kind != "tree":
            unique[each.oid] = each.size
            continue
        try:
            unique.update(_blobs(local, each.oid, before.get(each.path)))
        except MissingObject:
            unknown += 1
            continue
        before[each.path] = each.oid
    absent = sum(unique[oid] for oid in local.lacking(unique))
    return History(len(versions), len(unique), sum(unique.values()) - absent, absent, unknown)


def _blobs(local: LocalStore, root: ObjectId, base: ObjectId | None) -> Iterable[tuple[ObjectId, int]]:
    """The blobs of a tree with their sizes, less those of pages that `base`, already looked at, has too."""
    for _, entries in manifest.closure(root, local.algorithm, local.read, base=base):
        for entry in entries:
            yield objects.blob(entry.digest), entry.size
