"""The place that data of another repository goes to: where it is, scratch beside it, the rename at the end."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vcs_ml import fs
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word


def find(out: str | None, path: str, directory: Path, *, force: bool) -> Path:
    """Where a path of another repository goes: `out`, its own name in the directory `out`, or that name here.

    UserError where something is there, without `force`, or where nothing may be.
    """
    name = path.rpartition("/")[2]
    target = directory / (out if out is not None else name)
    if out is not None and target.is_dir():
        target /= name
    if target.name in ("", ".."):
        raise UserError(f"{quote(out or '')} is not a name for a file", hint="-o DIRECTORY or -o NAME")
    if not target.parent.is_dir():
        raise UserError(
            f"there is no directory {quote(target.parent)}", hint=f"mkdir -p {word(target.parent)} makes it"
        )
    if os.path.lexists(target):
        if not force:
            raise _in_the_way(target)
        if target.is_dir() and not target.is_symlink():
            _check_expendable(target, directory)
    return target


def _in_the_way(target: Path) -> UserError:
    return UserError(f"{quote(target)} is there already", hint="--force replaces it, -o NAME writes to another place")


def _check_expendable(target: Path, directory: Path) -> None:
    """UserError for a directory that nobody wants replaced: a repository, a project, or where we are."""
    for own in (".git", ".vml"):
        if (target / own).exists():
            raise UserError(f"{quote(target)} has a {own} in it, it is not replaced", hint="-o NAME")
    check_does_not_hold(target, directory, "where you are")


def check_does_not_hold(target: Path, directory: Path, what: str) -> None:
    """UserError if a directory that is to be replaced is another one, or has it in it."""
    place, other = target.resolve(), directory.resolve()
    if place == other or place in other.parents:
        raise UserError(f"{quote(target)} has {what} in it, it is not replaced", hint="-o NAME")


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """A directory of our own from which a rename reaches `target`; gone when the block ends, however it does."""
    place = target.parent / fs.tmp_name()
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        try:
            fs.remove(str(place))
        finally:
            fs.remove(str(place))  # what an interrupt, or a fault that has passed, left of it


def reveal(new: Path, target: Path, scratch: Path, *, force: bool) -> None:
    """Give what was written its name."""
    if force and os.path.lexists(target):
        if new.is_dir() or (target.is_dir() and not target.is_symlink()):
            old = scratch / "old"
            target.rename(old)
            try:
                new.rename(target)
            except BaseException:
                old.rename(target)
                raise
        else:
            new.replace(target)
        return
    try:
        if new.is_dir():
            new.rename(target)  # of what came meanwhile, only an empty directory is replaced
            return
        with contextlib.suppress(FileExistsError):
            os.link(new, target)
            return
    except OSError as error:
        if not new.is_dir() and not os.path.lexists(target):
            new.rename(target)  # a file system without links
            return
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
    raise _in_the_way(target)
