"""Forked workers: one function over several parts of a job, on as many cores as there are."""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

from vcs_ml.errors import CorruptError, RemoteError, UsageError, UserError, VmlError
from vcs_ml.progress import Meter
from vcs_ml.store.remotes.protocol import NotFound, TooShort

T = TypeVar("T")
Plain = tuple[str, Any]  # an error as values that marshal carries
_KINDS = (NotFound, TooShort, UserError, UsageError, RemoteError, CorruptError, VmlError)
_BY_NAME = {each.__name__: each for each in _KINDS}
_PATIENCE = 5.0  # seconds a child has to remove what it has half written
_SLOT = struct.Struct("<QQ")  # files, bytes that one worker has done


def count() -> int:
    """How many workers pay: one a core, at most eight."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)


class _Stopped(SystemExit):
    """This worker is to end."""


class _SharedMeter:
    """A worker's progress, written where its parent can read it."""

    def __init__(self, shared: mmap.mmap, slot: int) -> None:
        self._shared, self._at = shared, slot * _SLOT.size
        self._files = self._bytes = 0
        self._lock = threading.Lock()

    def expect(self, files: int = 0, bytes: int = 0) -> None:
        """Totals are the parent's to say."""

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        with self._lock:
            self._files += files
            self._bytes += bytes
            _SLOT.pack_into(self._shared, self._at, self._files, self._bytes)


class _SumMeter:
    """The parent's own progress plus what its workers have reported since it last looked."""

    def __init__(self, meter: Meter, shared: mmap.mmap) -> None:
        self._meter, self._shared = meter, shared
        self._seen = (0, 0)
        self._lock = threading.Lock()  # transfers report from several threads

    def expect(self, files: int = 0, bytes: int = 0) -> None:
        self._meter.expect(files, bytes)

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        with self._lock:
            done = [sum(column) for column in zip(*_SLOT.iter_unpack(self._shared), strict=True)]
            self._meter.advance(files + done[0] - self._seen[0], bytes + done[1] - self._seen[1])
            self._seen = (done[0], done[1])


def fork_map(work: Callable[[T, Meter], Any], parts: Sequence[T], meter: Meter) -> list[Any]:
    """`[work(part, meter) for part in parts]`, each part but the last in a forked child.

    Results must be plain values (marshal carries them through a pipe between our own processes). An error in
    a child is raised here after the others have been stopped.
    """
    if len(parts) == 1:
        return [work(parts[0], meter)]
    shared = mmap.mmap(-1, _SLOT.size * len(parts))
    meter = _SumMeter(meter, shared)
    children = [_fork(work, part, _SharedMeter(shared, i)) for i, part in enumerate(parts[:-1])]
    try:
        last = work(parts[-1], meter)
        results = [_result(pipe) for _, pipe in children]
        meter.advance()
        return [*results, last]
    except BaseException:
        _end([pid for pid, _ in children])
        raise
    finally:
        for pid, pipe in children:
            os.close(pipe)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _end(children: Sequence[int]) -> None:
    """Ask children to end, and make those end that do not."""
    until = time.monotonic() + _PATIENCE
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid in children:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            while not os.waitpid(pid, os.WNOHANG)[0]:
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                    break
                time.sleep(0.01)


def _fork(work: Callable[[T, Meter], Any], part: T, meter: Meter) -> tuple[int, int]:
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.close(reader)
    signal.signal(signal.SIGTERM, _stop)
    status = 1
    try:
        with os.fdopen(writer, "wb") as out:
            out.write(marshal.dumps(_outcome(work, part, meter)))
        status = 0
    finally:
        os._exit(status)  # never back into the parent's stack, whatever happened


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Our parent wants us to end: by an exception, so that what is half-written is removed."""
    raise _Stopped(128 + number)


def _outcome(work: Callable[[T, Meter], Any], part: T, meter: Meter) -> tuple[str, Any]:
    try:
        return "done", work(part, meter)
    except (VmlError, OSError) as error:
        return to_plain(error)
    except _Stopped:  # nobody asks why
        raise
    except BaseException:
        return "crash", traceback.format_exc()


def to_plain(error: VmlError | OSError) -> Plain:
    """An error as it travels from a worker to its parent."""
    if isinstance(error, VmlError):
        kind = next((each.__name__ for each in _KINDS if isinstance(error, each)), "VmlError")
        return kind, (error.message, error.hint, error.exit_code)
    if error.errno is None:
        return "plain", str(error)
    return "os", (error.errno, error.strerror, os.fsdecode(error.filename) if error.filename else None)


def from_plain(plain: Plain) -> VmlError | OSError:
    """The inverse of `to_plain`."""
    kind, value = plain
    if kind == "plain":
        return OSError(value)
    if kind == "os":
        return OSError(*value)
    message, hint, code = value
    failure = _BY_NAME[kind](message, hint=hint)
    failure.exit_code = code
    return failure


def _result(pipe: int) -> Any:
    with open(pipe, "rb", closefd=False) as stream:
        data = stream.read()
    try:
        kind, value = marshal.loads(data)
    except (EOFError, ValueError, TypeError):  # nothing, or cut short
        raise VmlError("a worker process was killed", hint="run the command again") from None
    if kind == "done":
        return value
    if kind == "crash":
        raise RuntimeError(f"in a worker process:\n{value}")
    raise from_plain((kind, value))
