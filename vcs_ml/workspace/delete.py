"""Workspace files going: what a look found, and its removal through directory descriptors, never through a link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from vcs_ml.store.page import Entry
from vcs_ml.workspace import index, tree, write
from vcs_ml.workspace.snapshot import Snapshot


def files_here(shot: Snapshot) -> dict[bytes, Entry]:
    """Every file that a look found, with its digest."""
    known = {entry.path: entry for entry in shot.past.entries(shot.prefix)}
    here = (tree.join(folder.path, name) for folder in shot.walk.folders for name in folder.names)
    return {path: shot.edits.get(path) or known[path] for path in here}


def seen(top: Path, paths: Iterable[bytes], shot: Snapshot | None = None) -> dict[bytes, bytes]:
    """The stats of what is at these paths below `top`: as a look found them, or as they are now."""
    wanted = set(paths)
    found = {
        path: index.file_stats(folder, i)
        for folder in (shot.walk.folders if shot is not None else ())
        for i, name in enumerate(folder.names)
        if (path := tree.join(folder.path, name)) in wanted
    }
    for path in not_through_links(os.fsencode(top), wanted - found.keys()):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            place = os.path.join(os.fsencode(top), path) if path else top
            st = os.lstat(place)
            if not stat.S_ISDIR(st.st_mode):  # a directory goes only if it is empty by then
                found[path] = index.numbers(st).tobytes()
    return found


def not_through_links(root: bytes, wanted: Iterable[bytes]) -> Iterator[bytes]:
    """Those of the paths that lead to where they seem to."""
    links: dict[bytes, bool] = {b"": False}

    def leads_through(folder: bytes) -> bool:
        if folder not in links:
            links[folder] = leads_through(folder.rpartition(b"/")[0]) or os.path.islink(os.path.join(root, folder))
        return links[folder]

    return (path for path in wanted if not leads_through(path.rpartition(b"/")[0]))


def files(root: int, paths: Iterable[bytes], seen: Mapping[bytes, bytes]) -> None:
    """Unlink files below an open directory, and remove the directories that this empties.

    UserError for one that no longer has the stats that were `seen`.
    """
    emptied: set[bytes] = set()
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        try:
            directory = write.open_directory(root, folder, create=False)
        except FileNotFoundError:
            continue
        try:
            with contextlib.suppress(FileNotFoundError):
                os.stat(name, dir_fd=directory, follow_symlinks=False)
                write.check_unchanged(directory, name, path, seen)
                os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)
        emptied.update(parents(path))
    for path in sorted(emptied, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(path, dir_fd=root)


def empty_directories(top: Path) -> None:
    """Remove `top` if there is no file in it, else those directories below of which that is true."""
    found, todo = [], [os.fspath(top)]  # os.walk is recursive up to Python 3.11
    while todo:
        found.append(directory := todo.pop())
        with os.scandir(directory) as entries:
            below = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        todo += [entry.path for entry in below if entry.name not in (".git", ".vml")]
    for directory in reversed(found):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def parents(path: bytes) -> Iterator[bytes]:
    """The directories that `path` lies in, innermost first."""
    while path := path.rpartition(b"/")[0]:
        yield path
