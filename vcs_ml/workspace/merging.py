"""Three-way merges of the files that record what is tracked, from their bytes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vcs_ml import git
from vcs_ml.store.local import LocalStore
from vcs_ml.store.manifest import Read
from vcs_ml.workspace import gitignore, lockfile, merge_lock, merge_pointer, pointer, saved, sources
from vcs_ml.workspace.lockfile import LockFile
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project


class Merged(NamedTuple):
    """The bytes that a merge left, its conflicts (what happened, by the path of the data, sorted), and what else people
    should know.
    """

    raw: bytes
    conflicts: dict[str, str]
    notes: list[str]


def merge(
    project: Project, store: LocalStore, source: str, versions: tuple[bytes | None, bytes, bytes], elsewhere: Read
) -> Merged:
    """Merge three versions (common, None where there is none; ours; theirs) of the pointer or lock file at the
    project-relative `source`. The workspace is not looked at; the local store gets the lists of files that it makes,
    and those that it lacked, which are read `elsewhere`.

    UserError for a version that cannot be read, and errors of merge_pointer.merge.
    """
    base, ours, theirs = versions
    algorithm = project.algorithm
    if sources.is_lock(source):

        def lock_of(raw: bytes) -> LockFile:
            return lockfile.parse(raw, source, algorithm)

        lock, notes = merge_lock.merge(None if base is None else lock_of(base), lock_of(ours), lock_of(theirs))
        return Merged(lockfile.serialize(lock, algorithm), {}, notes)

    def read(raw: bytes) -> Pointer:
        # One side may have renamed it, which Git follows.
        return pointer.parse(raw, source, algorithm, moved=True)

    mine = read(ours)
    keep = partial(saved.merged, project, path=mine.path)
    found, notes = merge_pointer.merge(
        None if base is None else read(base), mine, read(theirs), store, keep, elsewhere=elsewhere
    )
    return Merged(pointer.serialize(found, algorithm), conflicts_of(found), notes)


def merge_ignored(versions: tuple[bytes, bytes, bytes], *, scratch: Path, marker_size: int = 7) -> tuple[bytes, int]:
    """Merge three versions of a .gitignore: the result, its conflicts. `scratch` and errors as in git.merge_file."""

    def merge_texts(*texts: str) -> tuple[str, int]:
        base, ours, theirs = (text.encode("utf-8", "surrogateescape") for text in texts)
        raw, left = git.merge_file(base, ours, theirs, scratch=scratch, marker_size=marker_size)
        return raw.decode("utf-8", "surrogateescape"), left

    base, ours, theirs = (raw.decode("utf-8", "surrogateescape") for raw in versions)
    merged, left = gitignore.merge(base, ours, theirs, merge_texts)
    return merged.encode("utf-8", "surrogateescape"), left


def conflicts_of(each: Pointer) -> dict[str, str]:
    """What is left to be settled of a pointer, by the path of the data."""
    return {os.path.join(each.path, inner).rstrip("/"): word for inner, word in sorted(each.conflicts.items())}
