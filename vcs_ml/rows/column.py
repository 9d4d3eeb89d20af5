"""The statistics of one column, gathered batch by batch in bounded memory."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vcs_ml.rows.moments import Moments
from vcs_ml.rows.result import Statistics, Texts
from vcs_ml.rows.shown import plain
from vcs_ml.rows.sketch import Distinct, Frequent
from vcs_ml.rows.table import Cell

# What pandas and R write, and what people type.
MISSING: Final = frozenset(("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A"))
_BOOLEANS: Final = frozenset(("true", "True", "TRUE", "false", "False", "FALSE"))
_NUMBER: Final = re.compile(
    r"\s*[+-]?(?:(?P<integer>\d{1,4000})|(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)\s*",
    re.ASCII | re.IGNORECASE,
)


class Column:
    """What the cells of one column have in common. `typed`: their own types count; otherwise all are text, in which
    numbers, true and false, and words for "missing" are recognised. `bound` limits the values that are remembered.
    """

    __slots__ = ("_distinct", "_frequent", "_kinds", "_longest", "_missing", "_moments", "_shortest", "_typed")

    def __init__(self, *, typed: bool, bound: int) -> None:
        self._typed, self._missing = typed, 0
        self._kinds: Counter[str] = Counter()
        self._distinct, self._frequent = Distinct(bound), Frequent(bound)
        self._moments = Moments()
        self._shortest, self._longest = 0, 0  # of texts, if there are any

    def add(self, cells: Sequence[Cell]) -> None:
        """Take the cells of some rows. Costs 0.1 to 0.5 microseconds a cell, most for many different texts."""
        types = set(map(type, cells))
        for each in sorted(types, key=lambda each: each.__name__):
            self._add_type(each, cells if len(types) == 1 else [cell for cell in cells if type(cell) is each])

    def add_texts(self, cells: Sequence[str]) -> None:
        """Take cells that are all text, in which numbers and what else there may be are recognised."""
        if not self._kinds["text"]:  # then probably all are numbers, which one call converts
            present = cells
            if (numbers := _numbers(cells)) is None:
                present = [cell for cell in cells if cell not in MISSING]
                numbers = _numbers(present)
            if numbers is not None:
                self._missing += len(cells) - len(present)
                self._add_numbers("integer" if type(next(iter(numbers), 0)) is int else "number", numbers, present)
                return
        self._classify(Counter(cells))

    def merge(self, other: Column) -> None:
        """Take what another one has taken."""
        if other._kinds["text"] or other._kinds["boolean"]:
            self._lengths(other._shortest, other._longest)
        self._missing += other._missing
        self._kinds.update(other._kinds)
        self._distinct.merge(other._distinct)
        self._frequent.merge(other._frequent)
        self._moments.merge(other._moments)

    def statistics(self, declared: str | None) -> Statistics:
        """Of all cells taken; the `declared` type, if there is one, is the type."""
        texts = None
        if self._kinds["text"] or self._kinds["boolean"]:
            frequent = tuple((plain(text), count) for text, count in self._frequent.top())
            texts = Texts(self._shortest, self._longest, frequent, self._frequent.exact)
        return Statistics(
            type=declared or self._type(),
            missing=self._missing,
            distinct=min(self._distinct.count, self._kinds.total()),
            exact=self._distinct.exact,
            numbers=self._moments.numbers(),
            texts=texts,
        )

    def _type(self) -> str:
        kinds = +self._kinds
        if not kinds:
            return "empty"
        if len(kinds) == 1:
            return next(iter(kinds))
        if kinds.keys() == {"integer", "number"}:
            return "number"
        # In a column of names some may look like numbers; in one of numbers, "n.a." is worth a word.
        return "text" if not self._typed and 2 * kinds["text"] >= kinds.total() else "mixed"

    def _add_type(self, kind: type, cells: Sequence[Any]) -> None:
        if kind is type(None):
            self._missing += len(cells)
        elif kind is bool:
            self._add_words("boolean", Counter("true" if cell else "false" for cell in cells))
        elif kind is int:
            self._add_numbers("integer", cells, map(str, cells))
        elif kind is float:
            present = [cell for cell in cells if not math.isnan(cell)]
            self._missing += len(cells) - len(present)
            self._add_numbers("number", present, map(str, present))
        elif kind is str and not self._typed:
            self.add_texts(cells)
        elif kind is bytes:
            self._add_words("text", Counter(cell.hex() for cell in cells))
        else:
            self._add_words("text", Counter(cells if kind is str else map(",".join, cells)))

    def _classify(self, counts: Mapping[str, int]) -> None:
        words: dict[str, dict[str, int]] = {"boolean": {}, "text": {}}
        numbers: dict[str, tuple[list[float], list[str]]] = {"integer": ([], []), "number": ([], [])}
        for cell, count in counts.items():
            if cell in MISSING:
                self._missing += count
            elif match := _NUMBER.fullmatch(cell):
                kind, number = ("integer", int(cell)) if match["integer"] else ("number", float(cell))
                numbers[kind][0].extend([number] * count)
                numbers[kind][1].append(cell)
            else:
                words["boolean" if cell in _BOOLEANS else "text"][cell] = count
        for kind, found in words.items():
            self._add_words(kind, found)
        for kind, (values, cells) in numbers.items():
            self._add_numbers(kind, values, cells)

    def _add_numbers(self, kind: str, numbers: Sequence[float], cells: Iterable[str]) -> None:
        """Numbers, and the cells in which they stand."""
        self._kinds[kind] += len(numbers)
        self._moments.add(numbers)
        self._distinct.add(cells)

    def _add_words(self, kind: str, counts: Mapping[str, int]) -> None:
        if not counts:
            return
        self._lengths(min(map(len, counts)), max(map(len, counts)))
        self._kinds[kind] += sum(counts.values())
        self._distinct.add(counts)
        self._frequent.add(counts)

    def _lengths(self, shortest: int, longest: int) -> None:
        known = self._kinds["text"] or self._kinds["boolean"]
        self._shortest = min(self._shortest, shortest) if known else shortest
        self._longest = max(self._longest, longest)


def _numbers(cells: Sequence[str]) -> Sequence[float] | None:
    """All cells as integers, or all as numbers; None if one is neither."""
    joined = "".join(cells)
    if not joined.isascii() or "_" in joined:  # Python reads 1_000 and the digits of all scripts
        return None
    try:
        return list(map(int, cells))
    except ValueError:
        pass
    try:
        found = list(map(float, cells))
    except ValueError:
        return None
    return None if any(map(math.isnan, found)) else found
