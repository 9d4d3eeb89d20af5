"""What the comparison of two tables found, as records and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
Shown = str | None  # a cell for people: at most 200 characters, each of which UTF-8 can hold


class Sides(NamedTuple, Generic[T]):
    """One thing of the old table and of the new one."""

    old: T
    new: T


class Numbers(NamedTuple):
    """Of the cells that are numbers. `std` is the sample's (n - 1); NaN or infinite where it cannot be known."""

    minimum: float
    maximum: float
    mean: float
    std: float


class Texts(NamedTuple):
    """Of the cells that are text or true and false: lengths in characters, and the values found most often.

    `frequent` holds values of at most 100 characters that occur more than once, the most frequent first. Unless
    `exact`, there were too many values to count them all, and each may occur more often than it says.
    """

    shortest: int
    longest: int
    frequent: tuple[tuple[str, int], ...]
    exact: bool


class Statistics(NamedTuple):
    """Of one column. `distinct` is the number of values that differ, a good estimate unless `exact`.

    `type` is integer, number, boolean, text, empty or mixed; for Parquet it is Arrow's name of the declared type.
    Missing is an empty cell, null, and NaN; in CSV also what stands for it, such as NA.
    """

    type: str
    missing: int
    distinct: int
    exact: bool
    numbers: Numbers | None
    texts: Texts | None


class ColumnChange(NamedTuple):
    """A column that is not as it was; None on the side that does not have it.

    `cells` is the number of changed rows whose cell of this column changed; None where there is no key.
    """

    name: str
    old: Statistics | None
    new: Statistics | None
    cells: int | None


class Retyped(NamedTuple):
    """A column that both tables have, as another type."""

    name: str
    old: str
    new: str


class ChangedRow(NamedTuple):
    """The key of a row by column, and the cells that changed."""

    key: dict[str, Shown]
    cells: dict[str, Sides[Shown]]


class Examples(NamedTuple):
    """The first rows of each kind, in the order of the new table (removed ones: of the old); 100 columns at most."""

    added: tuple[dict[str, Shown], ...]
    removed: tuple[dict[str, Shown], ...]
    changed: tuple[ChangedRow, ...]


class TableDiff(NamedTuple):
    """What changed from one table to another.

    `rows` counts the rows of each (None: there is no such file). `added`, `removed` and `changed` count rows by the
    columns that both have; without a `key` a changed row is one removed and one added, and `changed` is None.
    `ragged` counts rows with more or fewer cells than the header, `duplicates` those whose key an earlier row of
    the same table has (None without a key). `columns` are the ones with other statistics, or changed cells.
    """

    rows: Sides[int | None]
    key: tuple[str, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    retyped: tuple[Retyped, ...]
    added: int
    removed: int
    changed: int | None
    ragged: Sides[int]
    duplicates: Sides[int] | None
    columns: tuple[ColumnChange, ...]
    examples: Examples

    def as_json(self) -> dict[str, object]:
        """Plain values in a fixed order; a number that JSON does not have (NaN, infinity) is null."""
        return {
            "rows": self.rows._asdict(),
            "key": list(self.key),
            "columns_added": list(self.columns_added),
            "columns_removed": list(self.columns_removed),
            "retyped": [each._asdict() for each in self.retyped],
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "ragged": self.ragged._asdict(),
            "duplicates": None if self.duplicates is None else self.duplicates._asdict(),
            "columns": [
                {"name": each.name, "cells": each.cells, "old": _plain(each.old), "new": _plain(each.new)}
                for each in self.columns
            ],
            "examples": {
                "added": list(self.examples.added),
                "removed": list(self.examples.removed),
                "changed": [
                    {"key": each.key, "cells": {name: cell._asdict() for name, cell in each.cells.items()}}
                    for each in self.examples.changed
                ],
            },
        }


def _plain(statistics: Statistics | None) -> dict[str, object] | None:
    if statistics is None:
        return None
    numbers, texts = statistics.numbers, statistics.texts
    return {
        "type": statistics.type,
        "missing": statistics.missing,
        "distinct": statistics.distinct,
        "exact": statistics.exact,
        "numbers": None if numbers is None else _finite(numbers._asdict()),
        "texts": None
        if texts is None
        else {
            "shortest": texts.shortest,
            "longest": texts.longest,
            "frequent": [{"value": value, "count": count} for value, count in texts.frequent],
            "exact": texts.exact,
        },
    }


def _finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: each if isinstance(each, int) or math.isfinite(each) else None for name, each in numbers.items()}
