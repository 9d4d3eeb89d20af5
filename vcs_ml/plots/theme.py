"""Colours, dashes and shapes of revisions, and how axes look."""

from __future__ import annotations

from typing import Any, Final

# The first four are of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/); the others were sought for the
# largest distance to these under three kinds of colour blindness (at least 0.07 in OKLab). All have a contrast of 3:1
# or more to white and to the pages' dark background.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#696660", "#b32fe0", "#bb3112")
DASHES: Final = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [1, 4])
SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

_LABEL_MAX: Final = 220  # pixels


def config(ink: str, background: str | None = None) -> dict[str, Any]:
    """The Vega-Lite config of all charts. `ink` is the colour of text and axes; a page says currentColor."""
    text = {"labelColor": ink, "titleColor": ink, "labelLimit": _LABEL_MAX, "titleLimit": 2 * _LABEL_MAX}
    return {
        "background": background,
        "font": "system-ui, sans-serif",
        "axis": text
        | {
            "domainColor": ink,
            "domainOpacity": 0.4,
            "gridColor": ink,
            "gridOpacity": 0.12,
            "labelFontSize": 12,
            "labelOpacity": 0.8,
            "tickColor": ink,
            "tickOpacity": 0.4,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titleOpacity": 0.8,
        },
        "axisDiscrete": {"labelOverlap": "greedy"},
        "axisXDiscrete": {"labelAngle": -30, "labelLimit": 120},
        "header": text | {"labelFontSize": 13, "labelFontWeight": 600, "titleFontSize": 12},
        "legend": text | {"labelFontSize": 12, "orient": "top", "columns": 3, "symbolStrokeWidth": 2.5},
        "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
        "mark": {"color": COLOURS[0]},
        "point": {"filled": True, "size": 30},
        "range": {"category": list(COLOURS), "heatmap": ["#dbe9f6", "#084a86"], "ramp": ["#dbe9f6", "#084a86"]},
        "text": {"color": ink, "fontSize": 12},
        "title": {"color": ink, "anchor": "start", "fontSize": 14, "offset": 12},
        "view": {"stroke": None},
    }
