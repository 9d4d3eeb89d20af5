"""Bytes onto the disk: whole writes, atomic replacement, and what a file system's clock can tell apart."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

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

    `mode` are the permission bits; without it the umask decides. `sync` False is for what can be made anew.
    What a kill leaves behind lies beside `path`, or in the directory `scratch` where a rename reaches from there.
    Raises OSError that names `path`.
    """
    tmp = _place(path.parent, scratch) / tmp_name()
    try:
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666 if mode is None else 0o600)
        try:
            try:
                if mode is not None:
                    os.fchmod(fd, mode)
                write_all(fd, data)
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            tmp.replace(path)
        except BaseException:
            tmp.unlink(missing_ok=True)
            raise
    except OSError as error:
        # write() names no file, and the temporary name would mean nothing to people
        raise OSError(error.errno, error.strerror, str(path)) from error
    if sync:
        fsync_dir(path.parent)


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
    """Create `path` and its parents, each made durable in the directory that names it."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
        fsync_dir(directory.parent)


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
        tmp.unlink()
    return now, TICK_NS if now % 1000 else COARSE_NS
