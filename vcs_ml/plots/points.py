"""The points of a plot: the columns that it names, out of the tables of several revisions, checked."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from vcs_ml import values
from vcs_ml.output import count, quote
from vcs_ml.plots.definition import Column, Pair, Plot
from vcs_ml.plots.series import Table

Type = Literal["quantitative", "temporal", "nominal"]
Source = Table | str  # a table, or in words why its file cannot be read

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


# Whom it is about, a series or a revision, and what there is to say.
Note = tuple[str, str]


class Axis(NamedTuple):
    """Which column stands on an axis, what it is called, and what it holds: numbers, points in time, words."""

    column: str
    title: str
    type: Type


class Points(NamedTuple):
    """All series of a plot, and what is to be said of them."""

    x: Axis
    y: Axis
    series: Sequence[Series]
    notes: Sequence[Note]

    def labels(self, name: str) -> list[str]:
        """The different values of a label, in their order."""
        return list(dict.fromkeys(each.labels[name] for each in self.series))

    def cells(self, axis: Axis) -> Iterator[Any]:
        """What all series have on an axis."""
        return itertools.chain.from_iterable(each.columns[axis.column] for each in self.series)


def gather(
    plot: Plot, tables: Mapping[str, Mapping[str, Source]], *, wants: Callable[[str], bool] | None = None
) -> Points:
    """The points of a plot. `tables` has for every revision the tables of its sources, as far as they are there.

    What is missing is left out and noted. Columns that the plot does not name come along where `wants` says so.
    """
    notes: list[Note] = []
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
                for name, cells in _table(here, pair.y.source).items()
                if wants is not None and name not in LABELS and wants(name)
            }
            named = f"{rev}: {field}" if len(fields) > 1 else rev
            labels = {"rev": rev, "filename": pair.y.source, "field": field, "series": named}
            found.append(Series(labels, more | {x: columns[0], y: columns[1]}))
    return Points(_axis(x, xs, found), _axis(y, ys, found), found, notes)


def _axis(column: str, names: Sequence[str], series: Sequence[Series]) -> Axis:
    """Numbers stand on it if there are more of them than of anything else."""
    title = ", ".join(dict.fromkeys(names))
    kinds: Counter[type] = Counter()
    for each in series:
        cells = each.columns[column]
        here = set(map(type, cells))
        kinds.update({here.pop(): len(cells)} if len(here) == 1 else map(type, cells))
    if 2 * (kinds[int] + kinds[float]) >= kinds.total() - kinds[type(None)]:
        return Axis(column, title, "quantitative")
    known = (cell for each in series for cell in each.columns[column] if cell is not None)
    dated = all(isinstance(each, str) and _DATE.fullmatch(each) for each in known)
    return Axis(column, title, "temporal" if dated else "nominal")


def finite(points: Points, *, gaps: bool) -> Points:
    """Without points that have no place on the axes; where y is the number that is missing, `gaps` keeps None."""
    notes, clean = list(points.notes), []
    numbers = [axis.column for axis in (points.x, points.y) if axis.type == "quantitative"]
    for each in points.series:
        columns = {name: _places(cells, number=name in numbers) for name, cells in each.columns.items()}
        x, y = columns[points.x.column], columns[points.y.column]
        series = each._replace(columns=columns)
        if None in x or None in y:
            lost = [at for at in range(len(x)) if x[at] is None or y[at] is None]
            what = f"{count(len(lost), 'point')} without a finite value, the first in row {lost[0] + 1:,}"
            notes.append((each.labels["series"], what))
            series = series.only([at for at in range(len(x)) if x[at] is not None and (gaps or y[at] is not None)])
        clean.append(series)
    return points._replace(series=clean, notes=notes)


def _places(cells: Sequence[Any], *, number: bool) -> Sequence[Any]:
    """The cells with None for each that has no place on an axis."""
    if not number:
        return [None if type(each) is float and not math.isfinite(each) else each for each in cells]
    try:  # in one pass, for columns without gaps: none is larger than all of them together
        if math.hypot(*cells) <= _LARGEST and set(map(type, cells)) <= {int, float}:
            return cells
    except (TypeError, ValueError, OverflowError):
        pass
    return [each if type(each) in (int, float) and -_LARGEST <= each <= _LARGEST else None for each in cells]


def _columns(
    pair: Pair, here: Mapping[str, Source], rev: str, notes: list[Note]
) -> tuple[Sequence[Any], Sequence[Any]] | None:
    y = _column(pair.y, here, rev, notes)
    x = range(len(y)) if pair.x is None and y is not None else _column(pair.x, here, rev, notes) if pair.x else None
    if x is None or y is None:
        return None
    if len(x) != len(y):
        both = min(len(x), len(y))
        notes.append((rev, f"{len(x):,} values for x and {len(y):,} for y, of which the first {both:,} are shown"))
        return x[:both], y[:both]
    return x, y


def _column(column: Column, here: Mapping[str, Source], rev: str, notes: list[Note]) -> Sequence[Any] | None:
    source = here.get(column.source)
    if source is None:
        note = f"there is no {quote(column.source)}"
    elif isinstance(source, str):
        note = source
    elif not source:
        note = f"{quote(column.source)} is empty"
    else:
        name = column.name if column.name is not None else next(reversed(source))
        if name in source and len(source[name]):
            return source[name]
        like = values.suggestion(name, source)
        meant = f" (did you mean {quote(like)}?)" if like is not None else ""
        what = "no rows" if name in source else f"no column {quote(name)}{meant}"
        note = f"{quote(column.source)} has {what}"
    if (rev, note) not in notes:
        notes.append((rev, note))
    return None


def _table(here: Mapping[str, Source], path: str) -> Table:
    found = here.get(path)
    return found if isinstance(found, dict) else {}


def _name(column: Column, tables: Mapping[str, Mapping[str, Source]]) -> str:
    if column.name is not None:
        return column.name
    known = (_table(here, column.source) for here in tables.values())
    return next((next(reversed(table)) for table in known if table), "value")


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
