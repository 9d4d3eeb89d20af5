"""What the system refused, in words: errors of files and disks as a user can do something about them."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from vcs_ml import fs, output
from vcs_ml.errors import UserError

_HINTS: Final = {
    errno.ENOSPC: "free some space and run the command again",
    errno.EDQUOT: "your quota is used up; free some space and run the command again",
    errno.EROFS: "the file system is mounted read-only",
    errno.EIO: "the disk reports a fault; look at the system's log before anything else",
    errno.EMFILE: "too many open files: ulimit -n",
}


def as_user_error(error: OSError) -> UserError | None:
    """What the system said, with its path and a hint; None where that tells a user nothing, so that it is a bug."""
    if error.filename is None and error.errno not in (*_HINTS, errno.EACCES, errno.EPERM):
        return None
    both = (error.filename, error.filename2)
    paths = [_shown(name) for name in both if isinstance(name, str | bytes | os.PathLike)]
    where = f"{' -> '.join(map(output.quote, paths))}: " if paths else ""
    reason = error.strerror or type(error).__name__
    hint = _HINTS.get(error.errno or 0) or _look(both, missing=error.errno == errno.ENOENT)
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = _whose(paths[0]) if paths else "look at the permissions and owners of its files: ls -l"
    return UserError(where + reason[:1].lower() + reason[1:], hint=hint)


def _look(names: Sequence[object], *, missing: bool) -> str:
    """What makes the directory that is missing, or else shows the paths, or what there is of the way to them."""
    paths = [os.fsdecode(name) for name in names if isinstance(name, str | bytes | os.PathLike)]
    for folder in map(os.path.dirname, paths):
        if missing and folder and not os.path.lexists(folder):
            return f"mkdir -p {shlex.quote(folder)}"
    shown = []
    for path in paths:
        there = path
        while there != "." and not os.path.lexists(there):
            there = os.path.dirname(there) or "."
        shown.append(there)
    return f"look at that path: {shlex.join(['ls', '-ld', *dict.fromkeys(shown)])}"


def _whose(name: str) -> str:
    """Who owns a path, or the nearest directory above that can be seen, and who may do what there."""
    path = Path(name).absolute()
    for place in (path, *path.parents):
        try:
            mode = stat.filemode(place.lstat().st_mode)
            return f"{output.quote(place)} belongs to {_name(place.owner)}, group {_name(place.group)} ({mode})"
        except OSError:
            continue
    return f"look at that path: ls -ld {shlex.quote(name)}"


def _name(whose: Callable[[], str]) -> str:
    try:
        return whose()
    except KeyError as error:  # a user or group without a name
        return str(error.args[0]).rpartition(" ")[2]


def _shown(name: str | bytes | os.PathLike[str]) -> str:
    """A path as people know it: of a temporary file of ours, its directory."""
    directory, base = os.path.split(os.fsdecode(name))
    return directory if directory and fs.is_tmp(base) else os.fsdecode(name)
