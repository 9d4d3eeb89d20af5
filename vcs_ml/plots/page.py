"""Pages of figures: charts, which Vega draws in the browser, and pictures."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vcs_ml.html import document, table
from vcs_ml.html.document import Needs, Section
from vcs_ml.html.markup import Html, join, tag
from vcs_ml.html.table import Cell, Column
from vcs_ml.output import size
from vcs_ml.plots import looks, theme
from vcs_ml.plots.figures import Chart, Summary
from vcs_ml.plots.images import Images, Shown
from vcs_ml.plots.looks import Key

_FILES: Final = Path(__file__).parent
_DIGITS: Final = 5  # of the range of a column, which is more than pixels can show
_EXACT: Final = 22  # a double is every power of ten up to this one,
_WHOLE: Final = 2**53  # and every whole number up to this one
_LEVEL: Final = 2  # of gzip: digits become 6 % smaller at 6, and that takes six times as long
_COLUMNS: Final = (
    Column("series"),
    Column("points", number=True),
    Column("last", number=True),
    Column("lowest", number=True),
    Column("highest", number=True),
)


def write(figures: Sequence[Chart | Images], *, title: str, about: str = "") -> str:
    """A page of all figures, one file that runs offline. It carries Vega only if it has a chart."""
    sections = [Section(each.title, body(each, at)) for at, each in enumerate(figures)]
    return document.write(title, sections, about=about, gallery=True, needs=needs(figures))


def body(figure: Chart | Images, number: int) -> Html:
    """What stands below a figure's title; `number` is its place among the figures of the page."""
    notes = [tag("p", each, class_="note") for each in figure.notes]
    if isinstance(figure, Images):
        return join(_pictures(figure), *notes)
    if not figure.series:
        return join(tag("p", "Nothing to draw."), *notes)
    kind = "chart panels" if _has_panels(figure) and len(figure.series) > 1 else "chart"
    drawing = tag("div", class_=kind, data_chart=number, role="img", aria_label=figure.label)
    controls = tag("div", class_="controls")
    missing = tag("noscript", tag("p", "Charts are drawn by a script, which does not run here.", class_="note"))
    return join(_legend(figure), drawing, controls, missing, *notes, _numbers(figure))


def needs(figures: Sequence[Chart | Images]) -> Needs:
    """What the page of these figures needs, each at its place."""
    drawn = [(at, each) for at, each in enumerate(figures) if isinstance(each, Chart) and each.series]
    apart = any(isinstance(each, Images) and each.apart for each in figures)
    scripts = [_file("images.js")] if apart else []
    if not drawn:
        return Needs(_file("plots.css"), scripts)
    data = {"config": theme.config("currentColor"), "charts": [_data(chart, at) for at, chart in drawn]}
    packed = gzip.compress(json.dumps(data, separators=(",", ":"), allow_nan=False).encode(), _LEVEL, mtime=0)
    blocks = join(_block("vega", (_FILES / "vega.js.gz").read_bytes()), _block("charts", packed))
    return Needs(_file("plots.css"), [*scripts, _file("draw.js")], [_vega()], blocks)


def _block(name: str, packed: bytes) -> Html:
    # Not by id: those are made of titles, which strangers write.
    return tag("script", base64.b64encode(packed).decode(), type="text/plain", data_block=name)


def _data(chart: Chart, number: int) -> dict[str, Any]:
    """What draws a chart: its template, and its points by column."""
    series = [
        {
            "labels": each.labels,
            "columns": {
                name: _column(cells) if name in chart.measured else list(cells) for name, cells in each.columns.items()
            },
            "colour": chart.looks.colours[each.labels[chart.looks.by]],
        }
        for each in chart.series
    ]
    return {
        "number": number,
        "title": chart.title,
        "template": chart.template,
        "drawn_by": chart.drawn_by,
        "series": series,
        "line": chart.line,
        "x_title": chart.x_title,
        "ours": chart.ours,
    }


def _column(cells: Sequence[Any]) -> list[Any] | dict[str, Any]:
    """The cells; numbers without the digits that nobody sees, as whole multiples of 1/scale if there are fractions.

    So a page of many points is a quarter as large, and made in half the time.
    """
    kinds = set(map(type, cells))
    numbers = [each for each in cells if each is not None]
    if float not in kinds or not kinds <= {float, int, type(None)}:
        return list(cells)
    low, high = min(numbers), max(numbers)
    largest = max(abs(low), abs(high))
    spread = (high - low) or largest
    if not 10.0 ** (_DIGITS - _EXACT) < spread < math.inf:
        return list(cells)
    scale = 10.0 ** max(_DIGITS - math.floor(math.log10(spread)), 0)
    if largest * scale > _WHOLE:
        return list(cells)
    return {"scale": scale, "values": [None if each is None else round(each * scale) for each in cells]}


def _has_panels(chart: Chart) -> bool:
    return "facet" in chart.template


def _legend(chart: Chart) -> Html:
    keys = looks.keys(chart.looks)
    if not keys or not chart.ours or _has_panels(chart):  # panels have titles
        return Html("")
    return tag("ul", *(tag("li", _swatch(each), each.name) for each in keys), class_="legend")


def _swatch(key: Key) -> Html:
    dash = " ".join(map(str, key.dash))
    line = f'<path d="M1 5h26" stroke="{key.colour or "currentColor"}" stroke-width="3" stroke-dasharray="{dash}"/>'
    return Html(f'<svg width="28" height="10" aria-hidden="true">{line}</svg>')


def _numbers(chart: Chart) -> Html:
    rows = [_row(each) for each in chart.summaries]
    if not rows:
        return Html("")
    return tag("details", tag("summary", "Numbers"), table.write(_COLUMNS, rows, caption=chart.label))


def _row(summary: Summary) -> list[str | Cell]:
    values = (Cell(f"{each:.6g}", each) for each in (summary.last, summary.low, summary.high))
    return [summary.series, Cell(f"{summary.points:,}", summary.points), *values]


def _pictures(images: Images) -> Html:
    if not images.shown:
        return tag("p", "Nothing to show.")
    apart = f"Difference: black where {' and '.join(each.revs[0] for each in images.shown)} are equal"
    figures = (_picture(images, each) for each in images.shown)
    return tag("div", *figures, class_="pictures", data_apart=apart if images.apart else None)


def _picture(images: Images, shown: Shown) -> Html:
    kind, width, height = shown.picture
    where = ", ".join(shown.revs)
    # In an image element a script inside an SVG does not run, and nothing that it names is loaded.
    source = f"data:{kind};base64,{base64.b64encode(shown.raw).decode()}"
    image = tag("img", src=source, alt=f"{images.title} at {where}", width=width or None, height=height or None)
    pixels = f"{width:,} \u00d7 {height:,}, " if width else ""
    return tag("figure", image, tag("figcaption", tag("strong", where), f" {pixels}{size(len(shown.raw))}"))


@functools.cache
def _vega() -> str:
    return gzip.decompress((_FILES / "vega.js.gz").read_bytes()).decode()


@functools.cache
def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")
