"""Least, greatest, mean and spread of numbers that come in batches."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from vcs_ml.rows.result import Numbers


class Moments:
    """Of all numbers taken so far: how many, bounds, mean, and the sum of squared deviations from it.

    Batches are joined as in T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", 1979, which loses no digits where the mean is large and the spread small.
    """

    __slots__ = ("_count", "_high", "_low", "_mean", "_squares")

    def __init__(self) -> None:
        self._count = 0
        self._low: float = math.inf
        self._high: float = -math.inf
        self._mean = self._squares = 0.0

    def add(self, numbers: Sequence[float]) -> None:
        """Take numbers, none of them NaN."""
        if not numbers:
            return
        batch = Moments()
        batch._count, batch._low, batch._high = len(numbers), min(numbers), max(numbers)
        try:
            mean = batch._mean = sum(numbers) / len(numbers)
            deviations = [each - mean for each in numbers]
            batch._squares = sum(map(operator.mul, deviations, deviations))
        except OverflowError:  # integers that no float can hold
            batch._mean = batch._squares = math.nan
        self.merge(batch)

    def merge(self, other: Moments) -> None:
        """Take what another one has taken."""
        if not other._count:
            return
        count = self._count + other._count
        apart = other._mean - self._mean
        self._squares += other._squares + apart * apart * self._count * other._count / count
        self._mean += apart * other._count / count
        self._count = count
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)

    def numbers(self) -> Numbers | None:
        """None if there were no numbers; a spread takes two."""
        if not self._count:
            return None
        std = math.sqrt(self._squares / (self._count - 1)) if self._count > 1 else math.nan
        return Numbers(self._low, self._high, _rounded(self._mean), _rounded(std))


def _rounded(number: float) -> float:
    """Without the last digits, which depend on how numbers fell into batches; any NaN is the same object."""
    return math.nan if math.isnan(number) else float(f"{number:.12g}")
