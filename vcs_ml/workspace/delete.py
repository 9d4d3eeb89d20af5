"""Workspace files going: what a look found, and its removal through directory descriptors, never through a link."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vcs_ml.store.page import Entry
from vcs_ml.workspace import tree, write
from vcs_ml.workspace.snapshot import Snapshot


def files_here(shot: Snapshot) -> dict[bytes, Entry]:
    """Every file that a look found, with its digest."""
    known = {entry.path: entry for entry in shot.past.entries(shot.prefix)}
    here = (tree.join(folder.path, name) for folder in shot.walk.folders for name in folder.names)
    return {path: shot.edits.get(path) or known[path] for path in here}


def files(root: int, paths: Iterable[bytes]) -> None:
    """Unlink files below an open directory, and remove the directories that this empties."""
    emptied: set[bytes] = set()
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        try:
            directory = write.open_directory(root, folder, create=False)
        except FileNotFoundError:
            continue
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)
        emptied.update(parents(path))
    for path in sorted(emptied, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(path, dir_fd=root)


def empty_directories(top: Path) -> None:
    """Remove `top` if there is no file in it, else those directories below of which that is true."""
    with os.scandir(top) as entries:
        below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for each in below:
        if each.name not in (".git", ".vml"):
            empty_directories(each)
    with contextlib.suppress(OSError):
        top.rmdir()


def parents(path: bytes) -> Iterator[bytes]:
    """The directories that `path` lies in, innermost first."""
    while path := path.rpartition(b"/")[0]:
        yield path
