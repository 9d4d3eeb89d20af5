"""Bytes onto the disk: whole writes, atomic replacement, and what a file system's clock can tell apart."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vcs_ml.errors import UserError
from vcs_ml.hashing import Buffer

TMP_PREFIX: Final = ".vml-tmp-"
_RAW_PREFIX: Final = TMP_PREFIX.encode()

# The kernel stamps files with the time of its last tick, which is 1 to 10 ms old (CONFIG_HZ 1000 to 100).
TICK_NS: Final = 20_000_000
COARSE_NS: Final = 2_000_000_000
_MANY = 64  # files from which one sync of everything beats one of each


def is_tmp(name: str | bytes) -> bool:
    """Whether a file of this name is scratch of ours, left behind if a process was killed."""
    return os.fsencode(name).startswith(_RAW_PREFIX)


def tmp_name() -> str:
    """A name that no other writer uses."""
    return TMP_PREFIX + os.urandom(8).hex()


def write_all(fd: int, data: Buffer) -> None:
    """Write every byte; a single write may stop early (2 GiB, a full disk, a signal)."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def write_atomic(
    path: Path, data: Buffer, *, mode: int | None = None, sync: bool = True, scratch: Path | None = None
) -> None:
    """Make `path` hold `data`: after a crash it holds the old bytes or the new ones, never a mixture.

    `mode` are the permission bits; without it the umask and the directory's group (`share`) decide. `sync` False
    is for what can be made anew. What a kill leaves behind lies beside `path`, or in the directory `scratch` where
    a rename reaches from there.
    Raises OSError that names `path`.
    """
    try:
        tmp, fd = _create(_place(path.parent, scratch), 0o666 if mode is None else 0o600)
        try:
            try:
                if mode is not None:
                    os.fchmod(fd, mode)
                else:
                    share(fd, path.parent)
                write_all(fd, data)
                if sync:
                    os.fsync(fd)
                tmp.replace(path)
            finally:
                os.close(fd)
        except BaseException:
            tmp.unlink(missing_ok=True)
            raise
    except OSError as error:
        # write() names no file, and the temporary name would mean nothing to people
        raise OSError(error.errno, error.strerror, str(path)) from error
    if sync:
        fsync_dir(path.parent)


def write_output(path: Path, data: Buffer) -> None:
    """Write where a person said: a file as `write_atomic` does, into a device or a pipe as it is.

    A rename would put a file in the place of /dev/null. Raises UserError for a link, which somebody else may have
    committed, and OSError that names `path`.
    """
    if is_link(path):
        raise UserError(f"{path} is a link, and nothing is written behind it", hint="name another file")
    if path.exists() and not path.is_file():
        with path.open("wb") as there:
            there.write(data)
    else:
        write_atomic(path.resolve(), data)


def is_link(path: Path) -> bool:
    """Whether this is a symbolic link, other than those by which the system names what is open: /dev/stdout."""
    return path.is_symlink() and not path.absolute().is_relative_to("/dev") and not path.is_relative_to("/proc")


def _create(directory: Path, mode: int) -> tuple[Path, int]:
    """A new temporary file, locked as long as it is open, so that `discard` leaves it alone."""
    while True:
        tmp = directory / tmp_name()
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # being swept this very moment
        except OSError:
            return tmp, fd  # a file system without locks: nobody can sweep there either
        else:
            if os.fstat(fd).st_nlink:
                return tmp, fd
        os.close(fd)


def scratch_in(directory: str | Path) -> list[str]:
    """Temporary files and directories of ours in a directory, by their paths."""
    try:
        return sorted(os.path.join(directory, name) for name in os.listdir(directory) if is_tmp(name))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def remove(path: str) -> None:
    """Remove a file or a link, or a directory with all that is in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def discard(path: str) -> None:
    """Remove a temporary file that `write_atomic` made, or other scratch, unless somebody is writing it."""
    if os.path.islink(path) or os.path.isdir(path):
        remove(path)
        return
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    try:
        if os.fstat(fd).st_nlink == 1:  # else it is a lock that has its own name, too, and may be held by that
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except (BlockingIOError, FileNotFoundError):
        return
    finally:
        os.close(fd)


def write_many(files: Mapping[Path, Buffer], *, scratch: Path) -> None:
    """`write_atomic` of each of these files; of many, all are synced at once: one by one takes milliseconds each."""
    if len(files) < _MANY:
        for path, data in files.items():
            write_atomic(path, data, scratch=scratch)
        return
    waiting: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            tmp = _place(path.parent, scratch) / tmp_name()
            waiting[tmp] = path
            try:
                write_atomic(tmp, data, sync=False)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
        os.sync()
        for tmp, path in waiting.items():
            tmp.replace(path)
    except BaseException:
        for tmp in waiting:
            tmp.unlink(missing_ok=True)
        raise
    for directory in dict.fromkeys(path.parent for path in files):
        fsync_dir(directory)


def _place(directory: Path, scratch: Path | None) -> Path:
    if scratch is None:
        return directory
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch if scratch.stat().st_dev == directory.stat().st_dev else directory


def make_directory(path: Path) -> None:
    """Create `path` and its parents, each made durable in the directory that names it.

    In a directory that a group may write to, the new one is that group's too, whatever the umask.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        _make(directory)
        fsync_dir(directory.parent)


def make_ignored(path: Path) -> None:
    """The same, for what Git is to leave alone on every branch, also one that knows nothing of vml.

    Its `.gitignore` ignores itself, too: `git clean` and `git stash -u` pass the directory by.
    """
    make_directory(path)
    if not (path / ".gitignore").exists():
        write_atomic(path / ".gitignore", b"*\n")


def _make(directory: Path) -> None:
    group = _group(directory.parent)
    if group is None:
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
        return
    # It gets its name when the group may use it: others of the group may meet it at any moment.
    tmp = directory.with_name(tmp_name())
    try:
        tmp.mkdir()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(directory)) from error
    try:
        _give(tmp, group, stat.S_ISGID | stat.S_IRWXG)
        tmp.rename(directory)  # may replace one that another has just made, as long as that is empty
    except OSError as error:
        tmp.rmdir()
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def share(fd: int, directory: Path, *, write: bool = False) -> None:
    """Let the group that may write to `directory` read (and `write`) a new file in it, whatever the umask."""
    if (group := _group(directory)) is not None:
        _give(fd, group, stat.S_IRGRP | (stat.S_IWGRP if write else 0))


def _group(directory: Path) -> int | None:
    """The group that shares a directory: it may write there, and not only because everybody may, as in /tmp."""
    st = directory.stat()
    return st.st_gid if st.st_mode & stat.S_IWGRP and not st.st_mode & stat.S_ISVTX else None


def _give(new: int | Path, group: int, bits: int) -> None:
    st = os.stat(new)
    if st.st_gid != group:
        try:
            os.chown(new, -1, group)
        except PermissionError:  # it is not a group of ours: nothing is given to another one
            return
    if st.st_mode & bits != bits or st.st_gid != group:
        os.chmod(new, stat.S_IMODE(st.st_mode) | bits)


def fsync_dir(path: Path) -> None:
    """Make renames and unlinks in this directory last through a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def clock(directory: Path) -> tuple[int, int]:
    """(now, granularity) of the file system of `directory`, in nanoseconds, by its own time stamps.

    Two changes of a file closer together than the granularity may leave the same time stamp. A file system
    whose stamps have digits below the microsecond is stamped by the kernel's tick; others are taken as coarse.
    """
    tmp = directory / tmp_name()
    try:
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:  # nothing can be written there: the system's clock has to do
        return time.time_ns(), COARSE_NS
    try:
        now = os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)
        tmp.unlink(missing_ok=True)  # a sweep may have been quicker
    return now, TICK_NS if now % 1000 else COARSE_NS
