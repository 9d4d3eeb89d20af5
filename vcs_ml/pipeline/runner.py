"""Running the commands of one stage: shell, output, log, timeout, retries."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from vcs_ml import output
from vcs_ml.errors import UserError
from vcs_ml.pipeline.groups import Groups, kill, running
from vcs_ml.pipeline.transcript import Transcript, Write

# Seconds a command has to end by itself after SIGTERM.
PATIENCE: Final = 5.0
# Seconds for what a command leaves in the background, such as the `tee` of `exec > >(tee log)`.
LINGER: Final = 1.0
# Seconds to wait for what was killed: it may hang in the kernel, or be another user's.
_GONE = 2.0
_TICK = 0.02
_DAY = 86400
_BLOCK = 65536
# Linux takes no longer argument than 128 KiB, its NUL included (MAX_ARG_STRLEN).
_LONGEST: Final = 131071
_SIGNALS: Final = signal.valid_signals()
_SHELLS: Final = {"sh": "/bin/sh", "bash": "bash"}


class Result(NamedTuple):
    """How the commands of a stage ended; `code` is as shells count: 128 + n after signal n.

    `seconds` and `tries` are of all tries; `failed` is the place of the command that failed in the list.
    """

    code: int
    signal: int | None
    timed_out: bool
    seconds: float
    tries: int
    failed: int | None


def run(
    name: str,
    commands: Sequence[str],
    *,
    directory: Path,
    root: Path,
    env: Mapping[str, str],
    log: Path,
    write: Write,
    groups: Groups,
    prefix: bool = False,
    shell: Literal["sh", "bash"] = "sh",
    timeout: float | None = None,
    retries: int = 0,
    again: Callable[[], None] = lambda: None,
) -> Result:
    """Run each command as one script, in order, until one fails; all of them again up to `retries` times, each time
    after `again`, whose errors end it.

    Commands get `env` with VML_ROOT and VML_STAGE, and PYTHONUNBUFFERED unless it is set. Both output and errors
    go to `log`, byte for byte, and to `write`: as they come, or with `prefix` as whole lines behind `NAME> `.
    `timeout` is in seconds and holds for each try. A command that is to end gets SIGTERM and after five seconds
    SIGKILL, with all of its children; what it leaves behind in the background has one second, and then the same.

    Raises UserError if a command cannot be started, KeyboardInterrupt or SystemExit (see Groups) after it was stopped.
    """
    if not directory.is_dir():
        raise UserError(f"stage {name}: there is no directory {output.quote(directory)}", hint="its wdir is wrong")
    # Python would hold back what it prints into a pipe until it has 8 kB.
    env = {"PYTHONUNBUFFERED": "1", **env, "VML_ROOT": str(root), "VML_STAGE": name}
    start = time.monotonic()
    with groups.held(), contextlib.closing(Transcript(log, write, f"{name}> " if prefix else "")) as sink:
        for tries in range(1, retries + 2):
            until = None if timeout is None else time.monotonic() + timeout
            code, timed_out, at = 0, False, 0
            for at, command in enumerate(commands):  # noqa: B007 - which one failed
                process = _start(name, command, log, _SHELLS[shell], directory=directory, env=env, groups=groups)
                code, timed_out = _attend(name, process, until, sink, groups)
                if code or timed_out:
                    break
            number = code - 128 if code - 128 in _SIGNALS else None
            failed = at if code or timed_out else None
            result = Result(code, number, timed_out, time.monotonic() - start, tries, failed)
            if failed is None:
                break
            if tries <= retries:
                sink.say(f"{name}: {reason(result, commands)}; try {tries + 1} of {retries + 1}")
                again()
    return result


def reason(result: Result, commands: Sequence[str]) -> str:
    """Why a stage failed, in one line: `exit code 1`, `command 2 of 3: timed out`."""
    which = "" if len(commands) == 1 else f"command {(result.failed or 0) + 1} of {len(commands)}: "
    if result.timed_out:
        return which + "timed out"
    if result.signal is not None:
        what = f"killed by {_signal_name(result.signal)}"
        return which + what + (", perhaps out of memory" if result.signal == signal.SIGKILL else "")
    what = {126: ", cannot be executed", 127: ", command not found"}.get(result.code, "")
    return f"{which}exit code {result.code}{what}"


def failure(name: str, result: Result, commands: Sequence[str], log: Path) -> UserError:
    """The error for a stage that failed: which, why, the command, and where its output is."""
    command = commands[result.failed or 0].strip()
    first = command.split("\n", 1)[0]
    shown = first if first == command and len(first) <= 100 else first[:100] + " ..."
    hints = {
        126: "is it executable (chmod +x), and for this machine?",
        127: "is it installed, and in PATH?",
    }
    hint = "give it more time with `timeout` in vml.yaml" if result.timed_out else hints.get(result.code)
    where = f"its output is in {output.quote(log)}"
    return UserError(
        f"stage {name} failed ({reason(result, commands)}): {shown}", hint=f"{hint}; {where}" if hint else where
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _start(
    name: str, command: str, log: Path, shell: str, *, directory: Path, env: Mapping[str, str], groups: Groups
) -> subprocess.Popen[bytes]:
    try:
        return groups.start([shell, "-e", *_script(command, log)], directory=directory, env=env)
    except ValueError:
        raise UserError(
            f"stage {name}: there is a NUL, or a part of a character, in its command or the environment",
            hint="take it out",
        ) from None
    except OSError as error:
        hints = {errno.ENOENT: f"is {shell} installed?", errno.E2BIG: "the environment is too large: env | wc -c"}
        raise UserError(
            f"stage {name}: {shell} cannot be started: {error.strerror}",
            hint=hints.get(error.errno or 0, "the machine may be short of something: ulimit -a, df -h"),
        ) from None


def _script(command: str, log: Path) -> list[str]:
    """A command as arguments of a shell."""
    raw = os.fsencode(command)
    if len(raw) <= _LONGEST:
        return ["-c", "--", command]
    # The shell reads it as it goes, so it stays, beside the log.
    script = log.with_suffix(".sh")
    script.unlink(missing_ok=True)
    with script.open("xb") as stream:
        stream.write(raw)
    return ["--", str(script)]


def _attend(
    name: str, process: subprocess.Popen[bytes], until: float | None, sink: Transcript, groups: Groups
) -> tuple[int, bool]:
    """Stay with a command until nothing of it runs: its exit code as shells count, and whether its time was over."""
    command = _Running(process, sink, groups)
    try:
        timed_out = command.follow(until)
        if command.left():
            if not timed_out and not groups.asked:
                sink.say(f"{name}: what it left running in the background is stopped now (`wait` waits for it)")
            command.end()
        groups.check()
    except BaseException:
        kill(process.pid)
        raise
    finally:
        code = command.close()
        groups.ended(process)
    return (code if code >= 0 else 128 - code), timed_out


class _Running:
    """A command that runs: its process, its session, and the pipe they write to."""

    def __init__(self, process: subprocess.Popen[bytes], sink: Transcript, groups: Groups) -> None:
        assert process.stdout is not None
        self._process, self._sink, self._groups = process, sink, groups
        self._pipe = process.stdout.fileno()
        self._open, self._exited = True, False
        try:
            self._pidfd = os.pidfd_open(process.pid)
        except (AttributeError, OSError):  # not Linux, or one before 5.3
            self._pidfd = -1
        self._poll = select.poll()
        for each in (self._pipe, groups.fileno(), self._pidfd):
            if each >= 0:
                self._poll.register(each, select.POLLIN)

    def follow(self, until: float | None) -> bool:
        """Stay until it has ended, and LINGER for what it left behind, or has to end; whether its time was over."""
        while not self._exited and not self._groups.asked:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return True
            self._turn(left)
        linger = time.monotonic() + LINGER
        while not self._groups.asked and (self._open or self.left()) and (rest := linger - time.monotonic()) > 0:
            self._turn(rest if self._open else min(rest, _TICK))
        return False

    def left(self) -> bool:
        """Whether anything of it runs."""
        if self._process.poll() is None:
            return True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 0)
            return bool(running(self._process.pid))
        # Nearly always: nothing is left of the group. Looking through all processes would cost milliseconds.
        return self._open and bool(running(self._process.pid))

    def end(self) -> None:
        """Make all of it end: by SIGTERM, and after PATIENCE seconds or when asked twice by SIGKILL."""
        until = time.monotonic() + PATIENCE
        told: set[int] = set()
        while self.left() and time.monotonic() < until and self._groups.asked < 2:
            found = running(self._process.pid)
            for group in found - told:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGTERM)
            told |= found
            self._turn(_TICK)
        if self.left():
            kill(self._process.pid)
        while self._open and self._turn(0):
            pass  # what was still in the pipe

    def close(self) -> int:
        """Give back what it took; its exit code, as Popen has it."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GONE)
        return -signal.SIGKILL if self._process.returncode is None else self._process.returncode

    def _turn(self, seconds: float | None) -> bool:
        """Pass on what is written, or wait at most so long for something to happen; whether something was written."""
        if self._pidfd < 0:
            seconds = _TICK if seconds is None else min(seconds, _TICK)
        written = False
        # poll(2) counts milliseconds in 32 bits: 24 days
        for fd, _ in self._poll.poll(None if seconds is None else math.ceil(min(seconds, _DAY) * 1000)):
            if fd == self._pipe and (data := os.read(fd, _BLOCK)):
                self._sink.add(data)
                written = True
                continue
            self._poll.unregister(fd)
            self._open &= fd != self._pipe
            self._exited |= fd == self._pidfd
        if self._pidfd < 0:
            self._exited = self._process.poll() is not None
        return written
