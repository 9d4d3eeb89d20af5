"""Commands in sessions of their own, none of which outlives the program."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `timeout` and some supervisors send one signal twice at once, to the process and to its group.
_ECHO: Final = 0.05
_STAT: Final = Path("/proc/self/stat").exists()
# Reads lines that name the sessions which run now; when the program is gone, however that came, kills the last.
_GUARD: Final = """
trap '' HUP INT TERM
while read -r now; do sessions=" $now "; done
for round in 1 2; do  # twice: the first may meet a process that is about to fork
    for stat in /proc/[0-9]*/stat; do
        { read -r line < "$stat"; } 2> /dev/null || continue
        set -- ${line##*) }
        case $sessions in *" ${4:-none} "*) stat=${stat%/stat}; kill -KILL "${stat#/proc/}" ;; esac
    done
done
"""


class Groups:
    """The commands of one run, each with its children in a session of its own; to be used as a context.

    Inside, SIGINT, SIGTERM and SIGHUP count as wishes to end. The first is seen by `asked`, `fileno` and `check`,
    and raises KeyboardInterrupt or SystemExit only where nothing is `held`; the second raises everywhere.
    What still runs at the end is killed, also if the program itself is killed by -9. What left its session
    (a daemon) is out of reach.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._number = int(signal.SIGTERM)
        self._when = 0.0
        self._held: list[None] = []  # a list, because threads append to it without a lock
        self._before: dict[signal.Signals, Any] = {}
        self._live: set[int] = set()
        self._lock = threading.Lock()
        self._guard: subprocess.Popen[bytes] | None = None
        self._reader, self._writer = os.pipe()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # nohup and `&` in a script have a signal ignored, and want that to last
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in list(self._live):
            kill(session)
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
        for number, action in self._before.items():
            signal.signal(number, action)
        os.close(self._reader)
        os.close(self._writer)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked and now < self._when + _ECHO:
            return
        self._number, self._when = number, now
        self.stop()
        if self.asked > 1 or not self._held:
            self.check()

    def stop(self) -> None:
        """Ask everything to end; the second time, at once."""
        self.asked += 1
        if self.asked == 1:
            os.write(self._writer, b"\0")

    def fileno(self) -> int:
        """A descriptor that is readable as soon as the program was asked to end."""
        return self._reader

    def check(self) -> None:
        """Raise KeyboardInterrupt, or SystemExit with the code for the signal, if the program was asked to end."""
        if self.asked:
            raise KeyboardInterrupt if self._number == signal.SIGINT else SystemExit(128 + self._number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The body sees by itself that it has to end: a first signal raises only after it."""
        self._held.append(None)
        try:
            yield
        finally:
            self._held.pop()
        self.check()

    def start(self, argv: Sequence[str], *, directory: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a command: input from /dev/null, output and errors in one pipe. `ended` has to follow.

        Its session has no terminal, so a command that asks for a password there fails rather than being stopped.
        Raises OSError, and ValueError for a NUL in an argument.
        """
        self.check()
        if self._guard is None:
            self._start_guard()
        process = subprocess.Popen(
            argv,
            bufsize=0,
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # and no preexec_fn: that forks, where this is a vfork in 0.5 ms
        )
        with self._lock:
            self._live.add(process.pid)
            self._tell()
        return process

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        """Nothing of this command has to be killed any more."""
        with self._lock:
            self._live.discard(process.pid)
            self._tell()

    def _start_guard(self) -> None:
        with self._lock:
            self._guard = self._guard or subprocess.Popen(
                ["/bin/sh", "-c", _GUARD],
                bufsize=0,
                cwd="/",
                env={},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _tell(self) -> None:
        assert self._guard is not None and self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # somebody killed it; the commands run as well without
            self._guard.stdin.write(" ".join(map(str, self._live)).encode() + b"\n")


def running(session: int) -> set[int]:
    """The process groups of a session in which something runs; a zombie does not.

    A session may hold several groups: `timeout` and shells with job control make their own.
    """
    if not _STAT:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return set()
        return {session}
    found = set()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
                # proc(5): pid (name) state ppid group session; the name may hold anything
                state, _, group, owner = stat.read().rpartition(b") ")[2].split(b" ", 4)[:4]
                if int(owner) == session and state not in (b"Z", b"X"):
                    found.add(int(group))
    return found


def kill(session: int) -> None:
    """Kill everything that runs in a session, and wait until it is gone; what cannot be killed, two seconds."""
    until = time.monotonic() + 2
    while (groups := running(session)) and time.monotonic() < until:
        for group in groups:
            # another user's process (sudo) is beyond us
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        time.sleep(0.002)
