"""Counts of values in bounded memory: how many there are, and which are frequent."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Final

import xxhash

_LENGTH_MAX: Final = 100  # characters of a value that is counted
_SHOWN: Final = 5


class Distinct:
    """The number of distinct values, from their hashes.

    At most `bound` hashes are kept: when there are more, only those that end in one more zero bit, which is the
    adaptive sampling of Wegman (P. Flajolet, "On adaptive sampling", 1990). Its standard error is 1.2 / sqrt(bound).
    The hash is the same in every run, so the estimate is, too.
    """

    __slots__ = ("_bits", "_bound", "_kept")

    def __init__(self, bound: int) -> None:
        self._bound, self._bits = bound, 0
        self._kept: set[int] = set()

    def add(self, values: Iterable[str]) -> None:
        """Take values, in any order, each as often as it comes."""
        # Many values are rarely the same ones; few are hashed once.
        self._keep(map(xxhash.xxh64_intdigest, _encoded(list(values if self._bits else set(values)))))

    def merge(self, other: Distinct) -> None:
        """Take what another one has seen."""
        self._bits = max(self._bits, other._bits)
        self._kept = {each for each in self._kept if not each & self._mask}
        self._keep(other._kept)

    @property
    def count(self) -> int:
        """An estimate unless `exact`."""
        return len(self._kept) << self._bits

    @property
    def exact(self) -> bool:
        return not self._bits

    @property
    def _mask(self) -> int:
        return (1 << self._bits) - 1

    def _keep(self, hashes: Iterable[int]) -> None:
        mask = self._mask
        self._kept.update([each for each in hashes if not each & mask] if mask else hashes)
        while len(self._kept) > self._bound:
            self._bits += 1
            mask = self._mask
            self._kept = {each for each in self._kept if not each & mask}


class Frequent:
    """The most frequent of many texts, those of more than 100 characters left out.

    When more than `bound` are counted, the rarest are forgotten, and the largest count among them is added to the
    possible error of all others ("lossy counting": Manku, Motwani, "Approximate frequency counts over data streams",
    2002).
    """

    __slots__ = ("_bound", "_counts", "_lost")

    def __init__(self, bound: int) -> None:
        self._bound, self._lost = bound, 0
        self._counts: dict[str, int] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """Take texts, with how often each came."""
        ours, least = self._counts, 0
        for text, count in counts.items():
            if len(text) <= _LENGTH_MAX:
                ours[text] = ours.get(text, 0) + count
        while len(ours) > self._bound:
            least = 2 * least or 1
            ours = {text: count for text, count in ours.items() if count > least}
        self._counts = ours
        self._lost += least

    def merge(self, other: Frequent) -> None:
        """Take what another one has counted."""
        self._lost += other._lost
        self.add(other._counts)

    @property
    def exact(self) -> bool:
        return not self._lost

    def top(self) -> tuple[tuple[str, int], ...]:
        """The five most frequent that came more than once, and more often than what was forgotten may have."""
        least = max(self._lost, 1)
        found = ((-count, text) for text, count in self._counts.items() if count > least)
        return tuple((text, -count) for count, text in heapq.nsmallest(_SHOWN, found))


def _encoded(texts: list[str]) -> list[bytes]:
    joined = "\n".join(texts).encode("utf-8", "surrogatepass").split(b"\n")  # half the time of one after the other
    return joined if len(joined) == len(texts) else [text.encode("utf-8", "surrogatepass") for text in texts]
