"""Charts: a template filled with the points of a plot, several revisions in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.plots import anchors, looks, points, templates, thin
from vcs_ml.plots.definition import Plot
from vcs_ml.plots.looks import Looks
from vcs_ml.plots.points import Note, Points, Series, Source
from vcs_ml.plots.templates import Template

_NAMED_MAX: Final = 8
_KINDS: Final = {"line": "line chart", "points": "scatter plot", "counts": "confusion matrix", "bars": "bar chart"}


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
    pointer. Of the columns in `measured` a page may leave out digits that nobody sees: they are no names, and on no
    scale of others. `ours` is false for a project's own template, which makes its own legend; `drawn_by` is what it is
    called. Without `series` there is nothing to draw; `notes` say why.
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
    measured: Sequence[str]
    x_title: str
    drawn_by: str


def draw(plot: Plot, tables: Mapping[str, Mapping[str, Source]], template: Template | None = None) -> Chart:
    """The chart of a plot at several revisions.

    `tables` has every revision of the page in its order, also one without any file of this plot: colours go by this
    order. What is missing is left out and noted; a chart of nothing has no series. `template` is the project's own;
    without it the plot's is one of ours. UserError if there is none of this name, or if it becomes too large.
    """
    template = template or templates.built_in(plot.template)
    found = points.gather(plot, tables, wants=template.mentions if template.thinning is None else None)
    found = points.finite(found, gaps=template.thinning == "line")
    shown = thin.points(found, template.thinning)
    look = looks.choose(shown, list(tables))
    is_line = template.thinning == "line"
    content = template.content if template.thinning is not None else templates.with_colours(template.content)
    try:
        filled = templates.fill(content, anchors.given(plot, shown, look, template.thinning))
    except ValueError as error:
        raise UserError(
            f"the template {quote(template.name)} of the plot {quote(plot.id)} {error}",
            hint="shorten the names in the plot, or name fewer anchors in the template",
        ) from None
    return Chart(
        id=plot.id,
        title=plot.title or plot.id,
        label=_label(plot, template, shown),
        template=filled,
        series=shown.series,
        notes=_merged([*shown.notes, *_same(found)]),
        summaries=_summaries(found) if is_line else (),
        looks=look,
        ours=template.thinning is not None,
        line=(shown.x.column, shown.y.column) if is_line and shown.x.type != "nominal" else None,
        measured=_measured(shown) if template.thinning in ("line", "points") else (),
        x_title=plot.x_label or shown.x.title,
        drawn_by=template.name,
    )


def failed(id: str, title: str, notes: Sequence[str]) -> Chart:
    """In the place of the chart of a plot that cannot be made: its notes alone, and an empty template."""
    nothing = Looks("rev", {}, "rev", {}, {})
    return Chart(
        id, title or id, "", {}, (), notes, (), nothing, ours=True, line=None, measured=(), x_title="", drawn_by=""
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


def _measured(shown: Points) -> list[str]:
    """The columns on axes that have a place for every number."""
    return [axis.column for axis in (shown.x, shown.y) if anchors.steps(shown, axis) == "quantitative"]


def _label(plot: Plot, template: Template, shown: Points) -> str:
    kind = _KINDS[template.thinning] if template.thinning is not None else "chart"
    axes = f"{plot.y_label or shown.y.title} over {plot.x_label or shown.x.title}"
    return f"{kind} of {axes}: {_listed(shown.labels('series'))}"


def _same(found: Points) -> list[Note]:
    """Of lines that lie on each other only the last is seen."""
    notes: list[Note] = []
    for at, each in enumerate(found.series):
        for before in found.series[:at]:
            same_y = before.columns[found.y.column] == each.columns[found.y.column]  # seldom, where x often is
            if same_y and before.labels["field"] == each.labels["field"] and before.columns == each.columns:
                notes.append((each.labels["series"], f"the same as {before.labels['series']}"))
                break
    return notes


def _merged(notes: Sequence[Note]) -> list[str]:
    """What is the same of several revisions is said once."""
    about: dict[str, list[str]] = {}
    for who, what in notes:
        about.setdefault(what, []).append(who)
    return [f"{_listed(names)}: {what}" for what, names in about.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"{', '.join(names[:_NAMED_MAX])}{more}"


def _summaries(found: Points) -> list[Summary]:
    made = []
    for each in found.series if found.y.type == "quantitative" else ():
        cells = each.columns[found.y.column]
        known = [cell for cell in cells if cell is not None] if None in cells else cells
        if known:
            made.append(Summary(each.labels["series"], len(known), known[-1], min(known), max(known)))
    return made
