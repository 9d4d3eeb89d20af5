"""Scratch files over which items are spread by hash, so that one part after the other fits into memory."""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from vcs_ml import fs
from vcs_ml.rows.table import Row

_PAIRS_HELD: Final = 1 << 19
_BYTES_HELD: Final = 1 << 23
_READ: Final = 1 << 20  # bytes, whole pairs
PARTS_MAX: Final = 1 << 12
_PREFIX: Final = "rows-"  # not fs.TMP_PREFIX: who holds the worktree's lock empties .vml/tmp of those at once


@contextlib.contextmanager
def directory(scratch: Path) -> Iterator[Path]:
    """A new directory in `scratch`, gone when the block ends; what killed commands left of theirs there goes, too.

    It is locked by this process and those forked from it, until the last of them ends.
    """
    for left in litter(scratch):
        fs.remove(left)
    place, fd = _made(scratch)
    try:
        yield place
    finally:
        fs.remove(str(place))
        os.close(fd)


def litter(scratch: Path) -> Iterator[str]:
    """What killed commands left there of theirs; each is locked until the next is asked for, so that it may go."""
    for left in sorted(scratch.glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(os.close, _locked(left, fcntl.LOCK_EX))
            yield str(left)


def _made(scratch: Path) -> tuple[Path, int]:
    while True:
        place = scratch / f"{_PREFIX}{os.urandom(8).hex()}"
        place.mkdir(0o700)
        try:
            fd = _locked(place, fcntl.LOCK_SH)
        except (BlockingIOError, FileNotFoundError):
            continue  # swept this very moment
        if place.exists():
            return place, fd
        os.close(fd)


def _locked(place: Path, kind: int) -> int:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        # On a file system without locks nobody can sweep either.
        if kind == fcntl.LOCK_EX or isinstance(error, BlockingIOError):
            os.close(fd)
            raise
    return fd


def parts(items: int, each: int) -> int:
    """A power of two: how many parts there have to be, of about `each` items at most."""
    return min(1 << (items // each).bit_length(), PARTS_MAX)


class Pairs:
    """Pairs of a hash and the number of a row; all of one hash are in one part, in the order in which they came."""

    def __init__(self, place: Path, count: int) -> None:
        self._place, self._held = place, 0
        self._arrays = [array("q") for _ in range(count)]

    def add(self, hashes: Iterable[int], first: int) -> int:
        """Take the hashes of the rows from number `first` on; how many there were."""
        # 0.15 microseconds a row: a loop that only finds the array and appends twice.
        arrays, mask, number = self._arrays, len(self._arrays) - 1, first - 1
        for number, each in enumerate(hashes, first):
            append = arrays[each & mask].append
            append(each)
            append(number)
        taken = number + 1 - first
        self._held += taken
        if self._held >= _PAIRS_HELD:
            self.flush()
        return taken

    def flush(self) -> None:
        """Write what is held; after the last `add`, before anybody reads."""
        for part, held in enumerate(self._arrays):
            if held:
                with _file(self._place, part).open("ab") as file:
                    held.tofile(file)
                self._arrays[part] = array("q")
        self._held = 0


def pairs(place: Path, part: int) -> Iterator[tuple[array[int], array[int]]]:
    """The hashes and the numbers of one part, some at a time: many rows may have one hash."""
    path = _file(place, part)
    if path.exists():
        with path.open("rb") as file:
            while raw := file.read(_READ):
                found = array("q", raw)
                yield found[::2], found[1::2]


class Rows:
    """Rows with their numbers; all of one hash are in one part."""

    def __init__(self, place: Path, count: int) -> None:
        self._place, self._held = place, 0
        self._parts = [bytearray() for _ in range(count)]

    def add(self, hashes: Iterable[int], numbers: Iterable[int], rows: Iterable[Row]) -> None:
        mask = len(self._parts) - 1
        for each, number, row in zip(hashes, numbers, rows, strict=True):
            item = marshal.dumps((number, tuple(row)))
            self._parts[each & mask] += item
            self._held += len(item)
            if self._held >= _BYTES_HELD:
                self.flush()

    def flush(self) -> None:
        """Write what is held; after the last `add`, before anybody reads."""
        for part, held in enumerate(self._parts):
            if held:
                with _file(self._place, part).open("ab") as file:
                    file.write(held)
                self._parts[part] = bytearray()
        self._held = 0


def rows(place: Path, part: int) -> Iterator[tuple[int, Row]]:
    """The rows of one part, each with its number."""
    path = _file(place, part)
    if path.exists():
        with path.open("rb") as file:
            while file.peek(1):
                yield marshal.load(file)


def bytes_of(place: Path, part: int) -> int:
    path = _file(place, part)
    return path.stat().st_size if path.exists() else 0


def _file(place: Path, part: int) -> Path:
    return place.with_name(f"{place.name}.{part}")
