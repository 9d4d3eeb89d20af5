"""Charts: a template filled with the points of a plot, several revisions in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from vcs_ml.plots import looks, points, templates, thin
from vcs_ml.plots.definition import Plot
from vcs_ml.plots.looks import Looks
from vcs_ml.plots.points import Points, Series
from vcs_ml.plots.series import Table
from vcs_ml.plots.templates import Template

_HEIGHT: Final = 280  # pixels
_BAR: Final = 16
_MARKED_MAX: Final = 60  # points of a line that are shown as points
_CELLS_MAX: Final = 12  # classes of a matrix with numbers in its cells
_NAMED_MAX: Final = 8
_KINDS: Final = {"line": "line chart", "points": "scatter plot", "counts": "confusion matrix", "bars": "bar chart"}
# A page must scroll over a chart: only the wheel with Ctrl, which is also what a trackpad's pinch sends, zooms.
_WHEEL: Final = "wheel![event.ctrlKey]"
_DRAG: Final = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
_ESCAPED: Final = str.maketrans({letter: f"\\{letter}" for letter in ".[]\\'\""})


class Summary(NamedTuple):
    """A line in numbers: how many points, which is the last, the lowest, the highest."""

    series: str
    points: int
    last: float
    low: float
    high: float


class Chart(NamedTuple):
    """One chart: Vega-Lite in which `templates.POINTS` stands for the points of `series`.

    `label` says in a sentence what it shows. `line` has the columns x and y of a line, which a page reads at the
    pointer. `ours` is false for a project's own template, which makes its own legend.
    """

    id: str
    title: str
    label: str
    template: dict[str, Any]
    series: Sequence[Series]
    notes: Sequence[str]
    summaries: Sequence[Summary]
    looks: Looks
    ours: bool
    line: tuple[str, str] | None
    x_title: str


def draw(plot: Plot, tables: Mapping[str, Mapping[str, Table]], template: Template | None = None) -> Chart:
    """The chart of a plot at several revisions.

    `tables` has every revision of the page in its order, also one without any file of this plot: colours go by this
    order. What is missing is left out and noted; a chart of nothing has no series. `template` is the project's own;
    without it the plot's is one of ours. UserError if there is none of this name.
    """
    template = template or templates.built_in(plot.template)
    found = points.gather(plot, tables, wants=template.mentions if template.thinning is None else None)
    found = points.finite(found, gaps=template.thinning == "line")
    shown = thin.points(found, template.thinning)
    look = looks.choose(shown, list(tables))
    is_line = template.thinning == "line"
    return Chart(
        id=plot.id,
        title=plot.title or plot.id,
        label=_label(plot, template, shown),
        template=templates.fill(template.content, _given(plot, shown, look)),
        series=shown.series,
        notes=shown.notes,
        summaries=_summaries(found) if is_line else (),
        looks=look,
        ours=template.thinning is not None,
        line=(shown.x, shown.y) if is_line and shown.type_of(shown.x) != "nominal" else None,
        x_title=plot.x_label or shown.x_title,
    )


def spec(chart: Chart) -> dict[str, Any]:
    """The chart as Vega-Lite with its data inside."""
    rows = [
        {**each.labels, **dict(zip(each.columns, cells, strict=True))}
        for each in chart.series
        for cells in zip(*each.columns.values(), strict=True)
    ]
    filled: dict[str, Any] = templates.with_points(chart.template, rows)
    return filled


def _given(plot: Plot, shown: Points, look: Looks) -> dict[str, Any]:
    """What stands in the places of a template's anchors."""
    x, y = _name(shown.x), _name(shown.y)
    x_type, y_type = shown.type_of(shown.x), shown.type_of(shown.y)
    many = len(shown.labels("field")) > 1
    group = [look.by] if look.by == look.then else [look.by, look.then]
    classes = _classes(shown)
    of_series = "series" if many else "rev"
    panels = {"field": of_series, "type": "nominal", "title": None, "sort": shown.labels(of_series)}
    tips = [
        {"field": x, "type": x_type, "title": plot.x_label or shown.x_title},
        {"field": y, "type": y_type, "title": plot.y_label or shown.y_title},
        *({"field": name, "type": "nominal", "title": name} for name in group),
    ]
    zoom = {"name": "zoom", "select": {"type": "interval", "zoom": _WHEEL, "translate": _DRAG}, "bind": "scales"}
    return {
        "data": templates.POINTS,
        "title": plot.title or plot.id,
        "x": x,
        "y": y,
        "x_type": x_type,
        "y_type": y_type,
        "x_label": plot.x_label or shown.x_title,
        "y_label": plot.y_label or shown.y_title,
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
        "point": max((len(each.columns[shown.y]) for each in shown.series), default=0) <= _MARKED_MAX,
        "categories": classes,
        "few": "true" if len(classes) <= _CELLS_MAX else "false",
        "plot_width": "container",
        "plot_height": {"step": _BAR * max(1, len(shown.labels(of_series)))} if y_type == "nominal" else _HEIGHT,
        "zoom_and_pan": zoom if "nominal" not in (x_type, y_type) else None,
    }


def _name(column: str) -> str:
    """A column as a field of Vega-Lite, where a dot would lead into an object."""
    return column.translate(_ESCAPED)


def _classes(shown: Points) -> list[Any]:
    """All words on both axes, once and in order, if points were counted."""
    cells = (each.columns[name] for each in shown.series for name in (shown.x, shown.y) if "count" in each.columns)
    found = {cell for column in cells for cell in column}
    return sorted(found, key=lambda each: (isinstance(each, str), each))


def _label(plot: Plot, template: Template, shown: Points) -> str:
    kind = _KINDS[template.thinning] if template.thinning is not None else "chart"
    names = shown.labels("series")
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    axes = f"{plot.y_label or shown.y_title} over {plot.x_label or shown.x_title}"
    return f"{kind} of {axes}: {', '.join(names[:_NAMED_MAX])}{more}"


def _summaries(found: Points) -> list[Summary]:
    made = []
    for each in found.series:
        cells = each.columns[found.y]
        known = [cell for cell in cells if type(cell) in (int, float)]
        if known:
            made.append(Summary(each.labels["series"], len(known), known[-1], min(known), max(known)))
    return made
