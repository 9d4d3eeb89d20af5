"""Fewer points, where there are more than a screen shows."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from vcs_ml.plots.points import Note, Points, Series
from vcs_ml.plots.templates import Thinning

# Two for each pixel column of a chart that is a thousand pixels wide.
LINE_MAX: Final = 2_000
POINTS_MAX: Final = 5_000
OTHERS_MAX: Final = 20_000  # of a project's own template, of which nothing is known
BARS_MAX: Final = 100
CLASSES_MAX: Final = 60


def points(found: Points, thinning: Thinning | None) -> Points:
    """The points as a chart of this kind shows them, with a note where that is not all of them."""
    if thinning == "counts":
        return _counted(found)
    if thinning == "bars":
        return _largest(found)
    if thinning == "line" and found.y.type == "quantitative":
        found = _rising(found)
        how = f"the lowest and highest of each of {LINE_MAX // 2:,} stretches"
        return _fewer(found, lambda each: line(each.columns[found.y.column]), how)
    limit = POINTS_MAX if thinning == "points" else OTHERS_MAX
    return _fewer(
        found, lambda each: evenly(len(each.columns[found.y.column]), limit), f"every so many, up to {limit:,}"
    )


def line(y: Sequence[float | None], limit: int = LINE_MAX) -> Sequence[int]:
    """Which points of a line to keep, at most about `limit`, rising.

    Of each of limit/2 runs of equal length the lowest and the highest stay, so that no peak is lost, and one gap
    (None), so that the line is broken where it was (the min-max decimation of oscilloscopes). First and last stay.
    """
    if len(y) <= limit:
        return range(len(y))
    runs = limit // 2
    kept = {0, len(y) - 1}
    begin = 0
    for at in range(1, runs + 1):  # costs 1 us for each run and 0.03 us for each point
        end = at * len(y) // runs
        part = y[begin:end]
        known: Any = [each for each in part if each is not None] if None in part else part
        if len(known) < len(part):
            kept.add(begin + part.index(None))
        if known:
            kept.add(begin + part.index(min(known)))
            kept.add(begin + part.index(max(known)))
        begin = end
    return sorted(kept)


def evenly(count: int, limit: int = POINTS_MAX) -> Sequence[int]:
    """Which of `count` points to keep where their order means nothing: every second, third, ..."""
    return range(0, count, -(-count // limit) or 1)


def _rising(found: Points) -> Points:
    """Every series in the order of x, as a line goes."""
    if found.x.type == "nominal":
        return found
    series = []
    for each in found.series:
        x = each.columns[found.x.column]
        rises = isinstance(x, range) or all(map(operator.le, x, itertools.islice(x, 1, None)))
        series.append(each if rises else each.only(sorted(range(len(x)), key=x.__getitem__)))
    return found._replace(series=series)


def _fewer(found: Points, choose: Callable[[Series], Sequence[int]], how: str) -> Points:
    notes, series = list(found.notes), []
    for each in found.series:
        kept, total = choose(each), len(each.columns[found.y.column])
        if len(kept) < total:
            notes.append((each.labels["series"], f"not all of {total:,} points are drawn, but {how}"))
            each = each.only(kept)  # noqa: PLW2901
        series.append(each)
    return found._replace(series=series, notes=notes)


def _counted(found: Points) -> Points:
    """How often each pair of classes is there, of the most frequent classes."""
    series, seen = [], Counter[Any]()
    for each in found.series:
        cells = Counter(zip(each.columns[found.x.column], each.columns[found.y.column], strict=True))
        for (x, y), times in cells.items():
            seen.update({x: times})
            seen.update({y: times})
        series.append((each, cells))
    notes = [*found.notes, *_most(len(seen), CLASSES_MAX, "classes")]
    kept = {each for each, _ in seen.most_common(CLASSES_MAX)}
    made = []
    for each, cells in series:
        rows = [(x, y, times) for (x, y), times in cells.items() if x in kept and y in kept]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
        made.append(each._replace(columns=dict(zip((found.x.column, found.y.column, "count"), columns, strict=True))))
    return found._replace(series=made, notes=notes)


def _largest(found: Points) -> Points:
    """The bars that are longest in any series."""
    longest: dict[Any, float] = {}
    for each in found.series:
        for x, y in zip(each.columns[found.x.column], each.columns[found.y.column], strict=True):
            longest[y] = max(longest.get(y, 0), abs(x) if isinstance(x, int | float) else 0)
    notes = [*found.notes, *_most(len(longest), BARS_MAX, "bars")]
    kept = set(sorted(longest, key=lambda name: -longest[name])[:BARS_MAX])
    places = ([at for at, name in enumerate(each.columns[found.y.column]) if name in kept] for each in found.series)
    series = [each.only(at) for each, at in zip(found.series, places, strict=True)]
    return found._replace(series=series, notes=notes)


def _most(number: int, limit: int, what: str) -> list[Note]:
    return [("all", f"the {limit} largest of {number:,} {what} are drawn")] if number > limit else []
