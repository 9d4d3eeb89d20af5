"""Bringing back what commands took out of the workspace, from the records in `.vml/saved/`."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping

from vcs_ml import fs, paths
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.progress import SILENT
from vcs_ml.store import objects, page
from vcs_ml.store.local import LocalStore
from vcs_ml.store.page import Entry
from vcs_ml.workspace import detach, saved, tree, write
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.saved import Record, Saved


def newest(project: Project, wanted: str, path: str) -> Record:
    """The saving that a user means by a hash, or by a `path` (project-relative) of which it is the last. UserError."""
    for record in saved.records(project):
        if wanted == record.hash or path == record.path:
            return record
    raise UserError(f"nothing is kept of {quote(wanted)}", hint="vml checkout --saved lists what is")


def bring_back(project: Project, store: LocalStore, record: Record) -> list[Saved]:
    """Write a file to where it was. What lies there is kept in its turn, and returned. The caller holds the worktree's
    lock. UserError, with nothing done, where a directory lies there or the bytes are gone.
    """
    oid = objects.parse_hash(record.hash, project.algorithm, source=".vml/saved")
    if objects.kind(oid) != objects.BLOB or oid not in store:
        raise UserError(
            f"the bytes of {quote(record.path)} are not in the store any more",
            hint="vml gc keeps such bytes for 30 days; vml checkout --saved lists others",
        )
    project.refuse_link_above(record.path)
    path, full = os.fsencode(record.path), os.fsencode(project.root / record.path)
    if os.path.isdir(full) and not os.path.islink(full):
        raise UserError(f"{quote(record.path)} is a directory now", hint="move it away first")
    seen: dict[bytes, bytes] = {}
    replaced: list[Saved] = []
    if os.path.lexists(full):
        seen[path] = array("q", tree.look(full, os.lstat(full), project.loose) or ()).tobytes()
        replaced = saved.keep(project, store, [record.path], SILENT)
    entry = Entry(path, record.kind, store.size(oid), oid[:-1])
    if entry.kind == page.SYMLINK:
        _link(project, store, entry, seen)
        return replaced
    base = os.open(project.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write.write(store, base, [entry], SILENT, scratch=write.scratch(project, project.root), seen=seen)
    finally:
        os.close(base)
    detach.below(project, record.path, read_only=store.shares)  # the stat index does not know it as a link
    return replaced


def _link(project: Project, store: LocalStore, entry: Entry, seen: Mapping[bytes, bytes]) -> None:
    """Make a symbolic link again. It may lead anywhere: it did so before, and nothing is written through it."""
    target = store.read(objects.blob(entry.digest)) if entry.size <= paths.PATH_MAX else b""
    if not target or b"\0" in target:
        raise UserError(f"{quote(entry.path)} was no link: no target is kept of it", hint="vml checkout --saved")
    directory, name = os.path.split(entry.path)
    tmp = os.fsencode(write.scratch(project, project.root) / fs.tmp_name())
    folder = write.open_below(project.root, os.fsdecode(directory), create=True)
    try:
        os.symlink(target, tmp)
        try:
            write.check_unchanged(folder, name, entry.path, seen)
            os.rename(tmp, name, dst_dir_fd=folder)
        except BaseException:
            os.unlink(tmp)
            raise
    finally:
        os.close(folder)
