"""Charts as SVG and PNG, for places where no script runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vcs_ml.errors import UserError
from vcs_ml.output import line, quote
from vcs_ml.plots import figures, theme
from vcs_ml.plots.figures import Chart

_WIDTH: Final = 640  # pixels, where a page would give its own width
_REASON_MAX: Final = 300  # it may have the data inside
_INK, _PAPER = "#1c2430", "#ffffff"


class NotDrawn(UserError):
    """A chart that cannot be drawn, as others may be."""


def svg(chart: Chart) -> str:
    """The chart as SVG. UserError if vl-convert is not installed; NotDrawn for a template that is no Vega-Lite."""
    made: str = _convert(chart, lambda converter, spec, options: converter.vegalite_to_svg(spec, **options))
    return made


def png(chart: Chart, *, scale: float = 2) -> bytes:
    """The chart as PNG, `scale` pixels for each of the SVG. Errors as for `svg`."""
    made: bytes = _convert(
        chart, lambda converter, spec, options: converter.vegalite_to_png(spec, scale=scale, **options)
    )
    return made


def _convert(chart: Chart, call: Callable[[Any, dict[str, Any], dict[str, Any]], Any]) -> Any:
    try:
        import vl_convert  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("SVG and PNG need vl-convert", hint="pip install 'vcs-ml[plots]'") from None
    spec = figures.spec(chart)
    if spec.get("width") == "container":
        spec["width"] = _WIDTH
    # No address is allowed, so that nothing is loaded.
    options = {"config": theme.config(_INK, _PAPER), "allowed_base_urls": []}
    try:
        return call(vl_convert, spec, options)
    except ValueError as error:
        reason = str(error).partition("\n")[2] or str(error)  # the first line says what was tried
        raise NotDrawn(
            f"{quote(chart.id)} cannot be drawn: {line(reason)[:_REASON_MAX]}",
            hint=f"its template {quote(chart.drawn_by)} must be a chart of Vega-Lite, version 5 or 6",
        ) from None
