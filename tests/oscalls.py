"""Every call by which a command changes the disk: counted, and the n-th of them killed, failed or made an occasion."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import stat
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = (
    "write", "pwrite", "fsync", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir", "mkdir",
    "ftruncate", "truncate", "fchmod", "chmod", "utime",
)  # fmt: skip
# What takes space. On a full disk only these fail.
GROWING = ("open", "write", "pwrite", "link", "symlink", "mkdir")

# (name of the call, how many there were before, its arguments)
Act = Callable[[str, int, tuple[Any, ...]], None]


@contextmanager
def watched(act: Act) -> Iterator[list[str]]:
    """Calls `act` before each change of the disk, in this process and those it forks; the names so far."""
    names: list[str] = []
    guard = threading.Lock()

    def tell(name: str, args: tuple[Any, ...]) -> None:
        with guard:
            names.append(name)
            n = len(names) - 1
        act(name, n, args)

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not (name == "write" and stat.S_ISFIFO(os.fstat(args[0]).st_mode)):
                tell(name, args)
            return real(*args, **kwargs)

        call.real = real  # type: ignore[attr-defined]
        return call

    def open_fd(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and path != os.devnull:
            tell("open", (path, flags))
        return real_open(path, flags, *args, **kwargs)

    def open_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not isinstance(file, int) and set(mode) & set("wax+"):
            tell("open", (file, mode))
        return real_io_open(file, mode, *args, **kwargs)

    real = {name: getattr(os, name) for name in NAMES}
    real_open, real_io_open = os.open, io.open
    for name in NAMES:
        setattr(os, name, wrap(name, real[name]))
    os.open, io.open = open_fd, open_file  # type: ignore[assignment]
    try:
        yield names
    finally:
        for name in NAMES:
            setattr(os, name, real[name])
        os.open, io.open = real_open, real_io_open


def kill_at(wanted: int) -> Act:
    """kill -9 of the process group before call number `wanted`; a write is half done, what an open empties is empty."""
    write, open_fd = os.write, os.open

    def act(name: str, n: int, args: tuple[Any, ...]) -> None:
        if n == wanted:
            if name == "write" and len(args[1]) > 1:
                write(args[0], memoryview(args[1])[: len(args[1]) // 2])
            if name == "open" and ("w" in args[1] if isinstance(args[1], str) else args[1] & os.O_TRUNC):
                open_fd(args[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.killpg(0, signal.SIGKILL)

    return act


def fail_at(wanted: int, number: int, *, then: tuple[str, ...] = ()) -> Act:
    """Call number `wanted` fails with this errno; and every later one whose name is in `then`."""

    def act(name: str, n: int, args: tuple[Any, ...]) -> None:
        if n == wanted or (n > wanted and name in then):
            named = args and isinstance(args[0], str | bytes | os.PathLike)
            raise OSError(number, os.strerror(number), *([args[0]] if named else []))

    return act


def ignore(name: str, n: int, args: tuple[Any, ...]) -> None:
    """Only count."""


def in_child(work: Callable[[], object], log: Path) -> int:
    """Run `work` in a forked process with a group of its own, its output in `log`; the process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)  # never back into the tests that the parent runs


def end(pid: int, *, kill: bool = False, alone: bool = False) -> bool:
    """Wait for a child, after killing its group (or it `alone`) if so told; whether it was killed."""
    if kill and alone:
        os.kill(pid, signal.SIGKILL)
    elif kill:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has no group yet
            os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not alone:
        with contextlib.suppress(ProcessLookupError):  # its own children, where it was killed by itself
            os.killpg(pid, signal.SIGKILL)
    return os.WIFSIGNALED(status)


def killed_after(seconds: float, work: Callable[[], object], log: Path) -> bool:
    """Run `work` in a process and kill its group after so many seconds; whether it was still at work."""
    pid = in_child(work, log)
    time.sleep(seconds)
    return end(pid, kill=True)


def duration(work: Callable[[], object], log: Path) -> float:
    """How long `work` takes in a process of its own, in seconds: the range of moments to choose from."""
    start = time.monotonic()
    assert not end(in_child(work, log))
    return time.monotonic() - start


@contextmanager
def synced() -> Iterator[Callable[[], list[Path]]]:
    """Follows what is written and synced; gives those files whose bytes or names a power cut could still take."""
    dirty: set[tuple[int, int]] = set()  # inodes with bytes, or directories with names, that were not synced
    placed: dict[Path, tuple[tuple[int, int], tuple[int, int]]] = {}
    real = {name: getattr(os, name) for name in ("write", "fsync", "rename", "replace", "link")}

    def inode(place: Any) -> tuple[int, int]:
        st = os.fstat(place) if isinstance(place, int) else os.stat(place)
        return st.st_dev, st.st_ino

    def write(fd: int, data: Any) -> int:
        dirty.add(inode(fd))
        return int(real["write"](fd, data))

    def fsync(fd: int) -> None:
        real["fsync"](fd)
        dirty.discard(inode(fd))

    def moving(name: str) -> Callable[..., None]:
        def move(source: Any, target: Any, **kwargs: Any) -> None:
            real[name](source, target, **kwargs)
            # Below a descriptor lie workspace files, which are copies; locks hold nothing.
            if not kwargs and os.path.isfile(target) and "lock" not in Path(target).parts[-2:]:
                path = Path(target)
                placed[path] = inode(path), inode(path.parent)
                dirty.add(inode(path.parent))

        return move

    os.write, os.fsync = write, fsync
    for name in ("rename", "replace", "link"):
        setattr(os, name, moving(name))
    try:
        yield lambda: [
            path
            for path, inodes in placed.items()
            if path.exists() and inode(path) in inodes and dirty.intersection(inodes)
        ]
    finally:
        for name, function in real.items():
            setattr(os, name, function)
