"""What the commands of a stage write: into its log byte for byte, and live to whoever looks."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vcs_ml import fs

Write = Callable[[bytes], None]

KEPT: Final = 20  # runs whose logs are kept
_NAME_MAX: Final = 200
_LINE_MAX: Final = 1 << 20


def log_name(stage: str) -> str:
    """A file name for the log of a stage, for each another one: `train@small.log`, `sub%2Fvml.yaml%3Atrain.log`."""
    safe = "".join(
        char if char.isalnum() or char in "_-+=@,." else "".join(f"%{byte:02X}" for byte in _bytes(char))
        for char in stage
    )
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    if len(_bytes(safe)) > _NAME_MAX:
        digest = hashlib.sha256(_bytes(stage)).hexdigest()[:16]
        safe = f"{_bytes(safe)[:_NAME_MAX].decode('utf-8', 'ignore')}-{digest}"
    return f"{safe}.log"


def run_name() -> str:
    """A name for the directory of the logs of one run: they sort by time."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z-{os.getpid()}"


def drop_old_logs(place: Path) -> None:
    """Keep the logs of the last runs in this directory."""
    try:
        runs = sorted(entry.name for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in runs[:-KEPT]:
        shutil.rmtree(place / name, ignore_errors=True)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class Transcript:
    """One stage's log and its live output; to be closed.

    With a prefix, `write` gets whole lines behind it: of a line that overwrites itself (a progress bar) what stays to
    be seen, and lines above 1 MiB in pieces. Without one it gets what comes as it comes.
    Raises OSError if the log cannot be made.
    """

    def __init__(self, log: Path, write: Write, prefix: str = "") -> None:
        self._write, self._prefix = write, prefix.encode("utf-8", "backslashreplace")
        self._pending = bytearray()
        self._fresh = True  # the next byte begins a line
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        try:
            self._log = os.open(log, flags, 0o666)
        except FileNotFoundError:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._log = os.open(log, flags, 0o666)

    def add(self, raw: bytes) -> None:
        """Some bytes that a command wrote."""
        fs.write_all(self._log, raw)
        self._fresh = raw.endswith(b"\n")
        if not self._prefix:
            self._write(raw)
            return
        self._pending += raw
        end = self._pending.rfind(b"\n") + 1
        if end:
            self._lines(bytes(self._pending[:end]))
            del self._pending[:end]
        if len(self._pending) > _LINE_MAX:
            del self._pending[: self._pending.rfind(b"\r") + 1]
        if len(self._pending) > _LINE_MAX:
            self._end_line()

    def say(self, text: str) -> None:
        """A line of our own, on a line of its own."""
        self._end_line()
        line = f"{text}\n".encode("utf-8", "backslashreplace")
        fs.write_all(self._log, line if self._fresh else b"\n" + line)
        self._write(line)
        self._fresh = True

    def close(self) -> None:
        """End the last line for those who look, and the log."""
        try:
            self._end_line()
        finally:
            os.close(self._log)

    def _end_line(self) -> None:
        if self._pending:
            self._lines(bytes(self._pending))
            self._pending.clear()
        elif not self._fresh and not self._prefix:
            self._write(b"\n")

    def _lines(self, raw: bytes) -> None:
        lines = raw.removesuffix(b"\n").split(b"\n")
        self._write(b"".join(self._prefix + line.rstrip(b"\r").rpartition(b"\r")[2] + b"\n" for line in lines))
