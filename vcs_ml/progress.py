"""One line on the terminal that says how far long work has come."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from vcs_ml import output

INTERVAL: Final = 0.1
_ERASE: Final = "\r\x1b[K"


class Meter(Protocol):
    """Whatever long work reports to."""

    def expect(self, files: int = 0, bytes: int = 0) -> None:
        """So much more is to be done."""

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        """So much more is done."""


class Progress:
    """Files and bytes done, drawn at most ten times a second and erased at the end; may be fed by threads.

    Totals that are None are not known. When not `enabled`, nothing is ever written.
    """

    __slots__ = (
        "_bytes", "_bytes_total", "_enabled", "_files", "_files_total",
        "_label", "_lock", "_next", "_shown", "_start", "_stream",
    )  # fmt: skip

    def __init__(
        self,
        label: str,
        *,
        files: int | None = None,
        bytes: int | None = None,
        stream: TextIO,
        enabled: bool,
    ) -> None:
        self._label = label
        self._files_total = files
        self._bytes_total = bytes
        self._stream = stream
        self._enabled = enabled
        self._files = 0
        self._bytes = 0
        self._start = time.monotonic()
        self._next = self._start + INTERVAL
        self._shown = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def expect(self, files: int = 0, bytes: int = 0) -> None:
        """Add to the totals, once work is found."""
        self._files_total = (self._files_total or 0) + files
        self._bytes_total = (self._bytes_total or 0) + bytes

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        """Count what was done since the last call."""
        if not self._enabled:
            return
        with self._lock:
            self._files += files
            self._bytes += bytes
            now = time.monotonic()
            if now >= self._next:
                self._next = now + INTERVAL
                self._draw(now - self._start)

    def clear(self) -> None:
        """Take the line off the terminal, so that something else can be written there."""
        with self._lock:
            if self._shown:
                self._shown = False
                self._write(_ERASE)

    def _draw(self, seconds: float) -> None:
        self._shown = True
        self._write(_ERASE + fit(self._parts(seconds), self._columns() - 1))

    def _write(self, text: str) -> None:
        output.write(text, self._stream)
        self._stream.flush()

    def _columns(self) -> int:
        # Asked every time, because the window may have been resized.
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _parts(self, seconds: float) -> list[tuple[int, str]]:
        """The pieces of the line, each with its rank: the highest is dropped first where space is short."""
        parts = [(0, f"{self._label}:")]
        if self._files or self._files_total is not None:
            total = "" if self._files_total is None else f"/{self._files_total:,}"
            parts.append((3, f"{self._files:,}{total} files"))
        if self._bytes or self._bytes_total is not None:
            total = "" if self._bytes_total is None else f"/{output.size(self._bytes_total)}"
            parts.append((1, f"{output.size(self._bytes)}{total}"))
            parts.append((4, f"{output.size(round(self._bytes / seconds))}/s"))
        if left := self._left(seconds):
            parts.append((2, left))
        return parts

    def _left(self, seconds: float) -> str:
        done, total = self._bytes, self._bytes_total
        if total is None:
            done, total = self._files, self._files_total
        # The first second tells little: what was there already goes by at once.
        if not total or not done or done >= total or seconds < 1:
            return ""
        minutes, rest = divmod(round(seconds * (total - done) / done), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


def fit(parts: list[tuple[int, str]], width: int) -> str:
    """The parts joined, without those of the highest rank that do not fit into `width`."""
    parts = list(parts)
    while len(line := f"{parts[0][1]} {', '.join(text for _, text in parts[1:])}".rstrip()) > width:
        if len(parts) == 1:
            return line[: max(width, 0)]
        parts.remove(max(parts))
    return line


SILENT: Final = Progress("", stream=sys.stderr, enabled=False)
