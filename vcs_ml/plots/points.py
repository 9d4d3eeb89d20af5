"""The points of a plot: the columns that it names, out of the tables of several revisions, checked and thinned."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from vcs_ml.output import count, quote
from vcs_ml.plots.definition import Column, Pair, Plot
from vcs_ml.plots.series import Table

Type = Literal["quantitative", "temporal", "nominal"]

STEP: Final = "step"
# What every point carries beside its columns; templates of DVC know the first three by these names.
LABELS: Final = ("rev", "filename", "field", "series")
# What is computed from points that are counted.
ADDED: Final = ("count", "share")

_LARGEST: Final = 1.7e308  # beyond it, and where it is not even comparable, a page shows nothing
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")


class Series(NamedTuple):
    """The points of one pair of columns at one revision, and what all of them share."""

    labels: Mapping[str, str]
    columns: Mapping[str, Sequence[Any]]

    def only(self, kept: Sequence[int]) -> Series:
        """The same with the points at these places."""
        return self._replace(columns={name: [cells[at] for at in kept] for name, cells in self.columns.items()})


class Points(NamedTuple):
    """All series of a plot; `x` and `y` name their columns, titles are for people, `notes` say what is not shown."""

    x: str
    y: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    notes: Sequence[str]

    def labels(self, name: str) -> list[str]:
        """The different values of a label, in their order."""
        return list(dict.fromkeys(each.labels[name] for each in self.series))

    def type_of(self, column: str) -> Type:
        """What stands on an axis: numbers, if there are more of them than of anything else; points in time; words."""
        kinds: Counter[type] = Counter()
        for each in self.series:
            kinds.update(map(type, each.columns[column]))
        gaps, numbers = kinds[type(None)], kinds[int] + kinds[float]
        if 2 * numbers >= kinds.total() - gaps:
            return "quantitative"
        cells = (cell for each in self.series for cell in each.columns[column] if cell is not None)
        return "temporal" if all(isinstance(each, str) and _DATE.fullmatch(each) for each in cells) else "nominal"


def gather(
    plot: Plot, tables: Mapping[str, Mapping[str, Table]], *, wants: Callable[[str], bool] | None = None
) -> Points:
    """The points of a plot. `tables` has for every revision the tables of its sources, as far as they are there.

    What is missing is left out and noted. Columns that the plot does not name come along where `wants` says so.
    """
    notes: list[str] = []
    ys = [_name(pair.y, tables) for pair in plot.pairs]
    xs = [_name(pair.x, tables) if pair.x is not None else STEP for pair in plot.pairs]
    x = _free(xs[0], (*LABELS, *ADDED))
    y = _free(ys[0] if len(set(ys)) == 1 else "value", (*LABELS, *ADDED, x))
    fields = _short_names([(pair.y.source, name) for pair, name in zip(plot.pairs, ys, strict=True)])
    found = []
    for rev, here in tables.items():
        for pair, field in zip(plot.pairs, fields, strict=True):
            columns = _columns(pair, here, rev, notes)
            if columns is None:
                continue
            length = len(columns[0])
            more = {
                name: cells[:length]
                for name, cells in here[pair.y.source].items()
                if wants is not None and name not in LABELS and wants(name)
            }
            named = f"{rev}: {field}" if len(fields) > 1 else rev
            labels = {"rev": rev, "filename": pair.y.source, "field": field, "series": named}
            found.append(Series(labels, more | {x: columns[0], y: columns[1]}))
    x_title, y_title = (", ".join(dict.fromkeys(names)) for names in (xs, ys))
    return Points(x, y, x_title, y_title, found, notes)


def finite(points: Points, *, gaps: bool) -> Points:
    """Without points that have no place on the axes; where y is the number that is missing, `gaps` keeps None."""
    notes = list(points.notes)
    numbers = {name: points.type_of(name) == "quantitative" for name in (points.x, points.y)}
    clean = []
    for each in points.series:
        x, y = (_places(each.columns[name], number=numbers[name]) for name in (points.x, points.y))
        series = each._replace(columns={**each.columns, points.x: x, points.y: y})
        if None in x or (None in y and not gaps):
            at = [at for at in range(len(x)) if x[at] is not None and (gaps or y[at] is not None)]
            series = series.only(at)
        lost = [at for at in range(len(x)) if x[at] is None or y[at] is None] if None in x or None in y else []
        if lost:
            where = f"the first in row {lost[0] + 1:,}"
            notes.append(f"{each.labels['series']}: {count(len(lost), 'point')} without a finite value, {where}")
        clean.append(series)
    return points._replace(series=clean, notes=notes)


def _places(cells: Sequence[Any], *, number: bool) -> Sequence[Any]:
    """The cells with None for each that has no place on an axis."""
    if not number:
        return [None if type(each) is float and math.isnan(each) else each for each in cells]
    try:  # three passes in C, for columns without gaps
        if min(cells) >= -_LARGEST and max(cells) <= _LARGEST and not math.isnan(sum(cells)):
            return cells
    except (TypeError, ValueError, OverflowError):
        pass
    return [each if type(each) in (int, float) and -_LARGEST <= each <= _LARGEST else None for each in cells]


def _columns(
    pair: Pair, here: Mapping[str, Table], rev: str, notes: list[str]
) -> tuple[Sequence[Any], Sequence[Any]] | None:
    y = _column(pair.y, here, rev, notes)
    x = range(len(y)) if pair.x is None and y is not None else _column(pair.x, here, rev, notes) if pair.x else None
    if x is None or y is None:
        return None
    if len(x) != len(y):
        both = min(len(x), len(y))
        notes.append(f"{rev}: {len(x):,} values for x and {len(y):,} for y; the first {both:,} are shown")
        return x[:both], y[:both]
    return x, y


def _column(column: Column, here: Mapping[str, Table], rev: str, notes: list[str]) -> Sequence[Any] | None:
    table = here.get(column.source)
    if table is None:
        note = f"{rev}: there is no {quote(column.source)}"
    elif not table:
        note = f"{rev}: {quote(column.source)} is empty"
    else:
        name = column.name if column.name is not None else next(reversed(table))
        if name in table:
            return table[name]
        note = f"{rev}: {quote(column.source)} has no column {quote(name)}"
    if note not in notes:
        notes.append(note)
    return None


def _name(column: Column, tables: Mapping[str, Mapping[str, Table]]) -> str:
    if column.name is not None:
        return column.name
    known = (here[column.source] for here in tables.values() if here.get(column.source))
    return next((next(reversed(table)) for table in known), "value")


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _short_names(columns: Sequence[tuple[str, str]]) -> list[str]:
    """What tells columns from each other: their names, else their files, else both."""
    names, files = [name for _, name in columns], [file for file, _ in columns]
    if len(set(names)) == len(names):
        return names
    return files if len(set(files)) == len(files) else [f"{file}: {name}" for file, name in columns]
