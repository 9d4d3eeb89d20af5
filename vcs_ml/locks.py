"""Locks between processes: flock on files that are never unlinked and say who holds them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vcs_ml import fs
from vcs_ml.errors import UserError
from vcs_ml.output import quote

# How long a wait stays silent, in seconds.
PATIENCE: Final = 2.0
# Each holder writes into a slot chosen by its pid: shared holders need no order among themselves, and the
# file stays small. Two pids on one slot cost a worse message, nothing else.
_SLOT: Final = 128
_SLOTS: Final = 32
# What link(2) says where a file system, such as FAT, has no hard links.
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def lock(
    path: Path,
    *,
    shared: bool = False,
    timeout: float | None = None,
    waiting: Callable[[str], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Hold the lock for the body; the kernel frees it with the process, however that ends.

    `timeout` is in seconds (None: for ever; 0: try once); `waiting` is told once, after two seconds, for
    whom we wait, and `check`, which may raise, is called again and again while we do. Taking the same lock
    twice in one process waits for itself. Raises UserError naming the holder.
    """
    fd = _open(path)
    try:
        acquire(fd, path, shared=shared, timeout=timeout, waiting=waiting, check=check)
        # Without its signature, as on a full disk, a lock holds just as well.
        with contextlib.suppress(OSError):
            _sign(fd)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _unsign(fd)
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    # Holders write into the file: it must not be a link that somebody put there.
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        try:
            fd = os.open(path, flags)
        except FileNotFoundError:
            fs.make_directory(path.parent)
            _create(path)
            fd = os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise _no_file(path) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _no_file(path)
    return fd


def _create(path: Path) -> None:
    """Make an empty lock file. It has its mode before it has its name, so that nobody meets one closed to him."""
    tmp = path.with_name(fs.tmp_name())
    fd = os.open(tmp, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        fs.share(fd, path.parent, write=True)
        with contextlib.suppress(FileExistsError):
            os.link(tmp, path)
    except FileNotFoundError:  # swept meanwhile
        _create(path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666))
    finally:
        os.close(fd)
        tmp.unlink(missing_ok=True)


def _no_file(path: Path) -> UserError:
    return UserError(f"the lock {quote(path)} is no regular file", hint="remove it; vml makes a new one")


def acquire(
    fd: int,
    path: Path,
    *,
    shared: bool = False,
    timeout: float | None = None,
    waiting: Callable[[str], None] | None = None,
    check: Callable[[], None] | None = None,
    who: str = "",
) -> None:
    """Lock an open file as `lock` does. `who` may have it is said where the file itself does not tell."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    start = time.monotonic()
    pause = 0.001
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            raise UserError(
                f"{path}: this file system has no file locks ({error.strerror})",
                hint="keep .vml on a local disk; cache.dir may point elsewhere",
            ) from error
        waited = time.monotonic() - start
        if timeout is not None and waited >= timeout:
            raise UserError(
                f"{path} is locked by {who or holder(fd)}",
                hint="run it again when that is done; vml config --local lock.timeout SECONDS lets it wait longer",
            )
        if waiting is not None and waited >= PATIENCE:
            waiting(f"waiting for {who or holder(fd)} (lock.timeout limits how long)")
            waiting = None
        if check is not None:
            check()
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def holder_of(path: Path) -> str:
    """Who holds the lock at `path`, as `holder`."""
    fd = _open(path)
    try:
        return holder(fd)
    finally:
        os.close(fd)


def holder(fd: int) -> str:
    """Who holds the lock, for messages: `vml add (pid 123)`."""
    raw = os.pread(fd, _SLOT * _SLOTS, 0)
    here = platform.node()
    for start in range(0, len(raw), _SLOT):
        fields = raw[start : start + _SLOT].strip(b"\0").decode("utf-8", "replace").split("\t")
        if len(fields) != 3 or not fields[0].isdecimal():
            continue
        pid, host, command = fields
        if host != here:
            return f"{command} (pid {pid} on {host})"
        if _alive(int(pid)):
            return f"{command} (pid {pid})"
    return "another process"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _sign(fd: int) -> None:
    # Written after the lock is ours; a reader in between says "another process".
    line = f"{os.getpid()}\t{platform.node()[:40]}\t{command()}".encode()
    os.pwrite(fd, line[:_SLOT].ljust(_SLOT, b"\0"), _offset())


def _unsign(fd: int) -> None:
    if os.pread(fd, _SLOT, _offset()).startswith(b"%d\t" % os.getpid()):
        os.pwrite(fd, bytes(_SLOT), _offset())


def _offset() -> int:
    return os.getpid() % _SLOTS * _SLOT


def command() -> str:
    """This program and its command, without arguments: those may hold secrets, and others read the file."""
    name = Path(sys.argv[0]).name or "python"
    if name not in ("vml", "vcs-ml", "__main__.py"):
        return name[:40]
    words = iter(sys.argv[1:])
    for word in words:
        if word == "-C":
            next(words, None)
        elif not word.startswith("-"):
            return f"vml {word}"[:40]
    return "vml"
