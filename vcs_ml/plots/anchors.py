"""What stands in the places of a template's anchors."""

from __future__ import annotations

from typing import Any, Final

from vcs_ml.plots import looks, templates
from vcs_ml.plots.definition import Plot
from vcs_ml.plots.looks import Looks
from vcs_ml.plots.points import Axis, Points
from vcs_ml.plots.templates import Thinning

_HEIGHT: Final = 280  # pixels
_BAR: Final = 16
_MARGIN: Final = 8  # pixels from the outermost points to the edges, where they would be cut in half
_MARKED_MAX: Final = 60  # points of a line that are shown as points
_DENSE: Final = 500  # points of a line that is drawn thin
_CELLS_MAX: Final = 10  # classes of a matrix with numbers in its cells
_STEPS_MAX: Final = 30
_WRITTEN_OUT_MAX: Final = 1e15  # larger ones have an exponent
# A page must scroll over a chart: only the wheel with Ctrl, which is also what a trackpad's pinch sends, zooms.
_WHEEL: Final = "wheel![event.ctrlKey]"
_DRAG: Final = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
_ESCAPED: Final = str.maketrans({letter: f"\\{letter}" for letter in ".[]\\'\""})


def given(plot: Plot, shown: Points, look: Looks, thinning: Thinning | None) -> dict[str, Any]:
    """The value of every anchor, by its name in small letters; None for one that goes, with its key."""
    x, y = _name(shown.x.column), _name(shown.y.column)
    x_label, y_label = plot.x_label or shown.x.title, plot.y_label or shown.y.title
    many = len(shown.labels("field")) > 1
    group = [look.by] if look.by == look.then else [look.by, look.then]
    classes = _classes(shown)
    longest = max((len(each.columns[shown.y.column]) for each in shown.series), default=0)
    of_series = "series" if many else "rev"
    panels = {"field": of_series, "type": "nominal", "title": None, "sort": shown.labels(of_series)}
    tips = [
        {"field": x, "type": shown.x.type, "title": x_label},
        {"field": y, "type": shown.y.type, "title": y_label},
        *({"field": name, "type": "nominal", "title": name} for name in group),
    ]
    zoom = {"name": "zoom", "select": {"type": "interval", "zoom": _WHEEL, "translate": _DRAG}, "bind": "scales"}
    return {
        "data": templates.POINTS,
        "title": plot.title or plot.id,
        "x": x,
        "y": y,
        "x_steps": steps(shown, shown.x),
        "y_steps": steps(shown, shown.y),
        "x_type": shown.x.type,
        "y_type": shown.y.type,
        "x_label": x_label,
        "y_label": y_label,
        "x_axis": _ticks(shown, shown.x, from_zero=thinning == "bars"),
        "y_axis": _ticks(shown, shown.y),
        "x_padding": _padding(shown.x),
        "y_padding": _padding(shown.y),
        **looks.encodings(look),
        "offset": {"field": of_series, "type": "nominal", "sort": shown.labels(of_series)},
        "tooltip": tips,
        "group_by": group,
        "group_by_x": [*group, x],
        "group_by_y": [*group, y],
        "pivot_field": " + '::' + ".join(f"datum.{name}" for name in group),
        "facet": panels,
        "column": {"field": "rev", "type": "nominal", "title": None},
        "row": {"field": "field", "type": "nominal", "title": None} if many else None,
        "point": longest <= _MARKED_MAX,
        "line_width": 1 if longest > _DENSE else 2,
        "categories": classes,
        "few": "true" if len(classes) <= _CELLS_MAX else "false",
        "plot_width": "container",
        "plot_height": {"step": _BAR} if thinning == "bars" else _HEIGHT,
        "zoom_and_pan": zoom if "nominal" not in (shown.x.type, shown.y.type) else None,
    }


def _ticks(shown: Points, axis: Axis, *, from_zero: bool = False) -> dict[str, Any] | None:
    """Where Vega-Lite would number an axis badly: no parts of integers, and one value alone as it is."""
    columns = (each.columns[axis.column] for each in shown.series) if axis.type == "quantitative" else ()
    cells = set[Any]().union(*columns) - {None}
    if not cells:
        return None
    whole = set(map(type, cells)) == {int} or all(float(each).is_integer() for each in cells)
    if len(cells | {0} if from_zero else cells) > 1:
        return {"tickMinStep": 1} if whole else None
    (only,) = cells
    return {"values": [only], "format": ",d" if whole and abs(only) < _WRITTEN_OUT_MAX else ".6~g"}


def _padding(axis: Axis) -> int | None:
    return _MARGIN if axis.type != "nominal" else None  # of words it would be a number of steps


def steps(shown: Points, axis: Axis) -> str:
    """The type of an axis on which a few numbers are steps with room between them."""
    different = set()
    for cell in shown.cells(axis):
        different.add(cell)
        if len(different) > _STEPS_MAX:
            return axis.type
    return "ordinal"


def _name(column: str) -> str:
    """A column as a field of Vega-Lite, where a dot would lead into an object."""
    return column.translate(_ESCAPED)


def _classes(shown: Points) -> list[Any]:
    """All words on both axes, once and in order, if points were counted."""
    if not all("count" in each.columns for each in shown.series):
        return []
    found = {*shown.cells(shown.x), *shown.cells(shown.y)}
    return sorted(found, key=lambda each: (isinstance(each, str), each))
