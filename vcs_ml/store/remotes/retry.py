"""Requests: how often one is tried again, how long the pauses are, what is said of them, and how many were sent."""

from __future__ import annotations

import mmap
import os
import random
import struct
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from vcs_ml.output import one_line

TRIES: Final = 6  # of one request, the first one included
TIMEOUT: Final = 30.0  # seconds of silence before a request is tried again
_FIRST: Final = 0.2  # seconds, the most before the second try; doubled before each next one
_LONGEST: Final = 8.0

_UNNOTICED: Final = 2.0  # seconds a request may take, with all its tries, before it is worth a word
_PAUSE: Final = 30.0  # seconds between two words

_SLOTS: Final = 1024  # one a process, by its number: siblings never share one
_SLOT: Final = struct.Struct("<Q")
_SINCE: Final = struct.Struct("<d")

T = TypeVar("T")
Note = Callable[[str], None]  # says something to people


class Counter:
    """Counts in this process and in those it forks."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _SLOTS * _SLOT.size)
        self._guard = threading.Lock()

    def count(self) -> None:
        """One more."""
        at = os.getpid() % _SLOTS * _SLOT.size
        with self._guard:
            _SLOT.pack_into(self._shared, at, _SLOT.unpack_from(self._shared, at)[0] + 1)

    def total(self) -> int:
        """How many there were in all."""
        return sum(n for (n,) in _SLOT.iter_unpack(self._shared))


class Waiting:
    """Says, through `note`, that requests take long because they are tried again: once for many, in all processes.

    With `patience`, for who can go on without an answer, no try begins so many seconds after the first one.
    """

    def __init__(self, note: Note | None, patience: float | None = None) -> None:
        self._note = note
        self._patience = patience
        self._shared = mmap.mmap(-1, _SINCE.size)  # when something was said last

    def is_over(self, start: float) -> bool:
        """Whether a request that began at `start` (by the monotonic clock) is not tried again."""
        return self._patience is not None and time.monotonic() - start >= self._patience

    def tell(self, start: float, tried: int, reason: str) -> None:
        """A request that began at `start` has failed `tried` times."""
        now = time.monotonic()
        if self._note is None or tried >= TRIES or now - start < _UNNOTICED:
            return
        (last,) = _SINCE.unpack_from(self._shared)
        if not last or now - last >= _PAUSE:
            _SINCE.pack_into(self._shared, 0, now)
            self._note(f"waiting: {one_line(reason)} (try {tried + 1} of {TRIES})")


def again(work: Callable[[], T], broken: tuple[type[BaseException], ...], waiting: Waiting | None = None) -> T:
    """What `work` returns, tried anew after each of the `broken` errors; the last one is raised.

    Pauses are random up to a bound that doubles, so that many clients do not come back at once.
    """
    start = time.monotonic()
    for attempt in range(TRIES - 1):
        try:
            return work()
        except broken as error:
            if waiting and waiting.is_over(start):
                raise
            if waiting:
                waiting.tell(start, attempt + 1, str(error) or type(error).__name__)
            time.sleep(random.uniform(0, min(_LONGEST, _FIRST * 2**attempt)))
    return work()
