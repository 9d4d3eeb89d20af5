"""Private copies in the place of links: of one file, or of all that lead to an object which is to be put right."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator
from pathlib import Path

from vcs_ml import fs
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.progress import SILENT
from vcs_ml.store import content, page
from vcs_ml.store.ingest import stat_numbers
from vcs_ml.store.link import THROUGH
from vcs_ml.store.page import Entry
from vcs_ml.workspace import tree, write
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.project import Project


def file(project: Project, top: Path, entry: Entry, stats: bytes) -> bytes:
    """Replace a file below `top` by a writable copy of it; the new stats.

    `entry` and `stats` are what it was seen to hold (no digest: whatever it holds) and to be: UserError if that is no
    longer so.
    """
    folder, _, name = entry.path.rpartition(b"/")
    directory = write.open_below(project.root, os.path.normpath(top.relative_to(project.root) / os.fsdecode(folder)))
    try:
        return _file(project, directory, name, entry, stats)
    finally:
        os.close(directory)


def below(project: Project, path: str, *, read_only: bool = False) -> bool:
    """Replace every file at or below `path`, ignored or not, that is a symlink to an object or has other hard links,
    with `read_only` also one that may not be written to, by a private copy, whatever is tracked there; whether there
    was one. The caller holds the worktree's lock.
    """
    found = False
    for full in _files(os.fsencode(project.root / path)):
        st = os.lstat(full)
        shared = st.st_nlink > 1 or (read_only and not st.st_mode & stat.S_IWUSR)
        chosen = stat.S_ISLNK(st.st_mode) or (stat.S_ISREG(st.st_mode) and shared)
        numbers = tree.look(full, st, project.loose) if chosen else None
        if numbers is None or stat.S_ISLNK(numbers[4]):
            continue
        top = Path(os.fsdecode(os.path.dirname(full)))
        entry = Entry(os.path.basename(full), tree.entry_kind(numbers[4]), numbers[0], b"")
        file(project, top, entry, array("q", numbers).tobytes())
        found = True
    return found


def _files(path: bytes) -> Iterator[bytes]:
    if os.path.islink(path) or not os.path.isdir(path):
        yield path
        return
    for folder, _, names in os.walk(path):  # a link to a directory stands for no object
        yield from (os.path.join(folder, name) for name in names)


def _file(project: Project, directory: int, name: bytes, entry: Entry, stats: bytes) -> bytes:
    follow = 0 if array("q", stats)[4] & THROUGH else os.O_NOFOLLOW
    source = os.open(name, os.O_RDONLY | os.O_NONBLOCK | follow, dir_fd=directory)
    tmp = write.scratch(project, project.root) / fs.tmp_name()
    try:
        mode = 0o777 if entry.kind == page.EXECUTABLE else 0o666
        target = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            cloned = content.clone(source, target)
            copied = None if cloned else content.copy(source, target, project.algorithm, SILENT)
            if copied and entry.digest and copied != entry.digest:
                raise UserError(f"{quote(entry.path)} changed meanwhile", hint="run the command again")
            write.check_unchanged(directory, name, entry.path, {entry.path: stats})
            os.rename(tmp, name, dst_dir_fd=directory)
            return array("q", stat_numbers(os.fstat(target))).tobytes()
        finally:
            os.close(target)
    finally:
        os.close(source)
        tmp.unlink(missing_ok=True)


def links_to(project: Project, place: Path, digest: bytes) -> bool:
    """Detach every workspace file that is known to be a symlink to the loose object at `place`, which holds
    `digest`; whether there was one.
    """
    found = False
    for path, _ in known_links(project):
        full = os.fsencode(project.root / os.fsdecode(path))
        try:
            if os.readlink(full) != os.fsencode(place):
                continue
            st, there = os.lstat(full), place.stat()
        except OSError:
            continue
        seen = array("q", stat_numbers(st, there)).tobytes()
        file(project, project.root, Entry(path, page.FILE, there.st_size, digest), seen)
        found = True
    return found


def known_links(project: Project) -> Iterator[tuple[bytes, bytes]]:
    """(path, digest) of every symlink in the workspace that was seen to lead to a loose object."""
    for index in Index.all(project.index_dir, project.algorithm):
        top = os.fsencode(index.tracked)
        for path, (stats, digest) in [*index.files().items(), *index.memo.items()]:
            full = os.path.join(top, path)
            if array("q", stats)[4] & THROUGH and os.path.islink(os.path.join(os.fsencode(project.root), full)):
                yield full, digest
