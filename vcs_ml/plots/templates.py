"""Templates: Vega-Lite charts with anchors, in whose places data and words are put."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.output import quote

# How points that are too many become fewer.
Thinning = Literal["line", "points", "counts", "bars"]

# Stands where the points go, until a chart is drawn. No stranger's text looks like it.
POINTS: Final = {"vml": "points"}
SUFFIX: Final = ".json"

_FILES: Final = Path(__file__).parent / "templates"
_ANCHOR: Final = re.compile(r"<(?:VML|DVC_METRIC)_([A-Z_]+)>")
_SIZE_MAX: Final = 1_000_000
# What makes a browser go somewhere: data and pictures from elsewhere, and links.
_LOADING: Final = ("url", "href")
_NOTHING: Final = object()
_THINNING: Final[Mapping[str, Thinning]] = {
    "linear": "line",
    "simple": "line",
    "smooth": "line",
    "scatter": "points",
    "scatter_jitter": "points",
    "confusion": "counts",
    "confusion_normalized": "counts",
    "bar_horizontal": "bars",
    "bar_horizontal_sorted": "bars",
}
NAMES: Final = tuple(_THINNING)


class Template(NamedTuple):
    """A chart with anchors. `thinning` is None for one that a project brings along."""

    name: str
    content: Any
    thinning: Thinning | None

    def mentions(self, name: str) -> bool:
        """Whether the template itself speaks of a column of this name."""
        return json.dumps(name)[1:-1] in json.dumps(self.content)


def built_in(name: str) -> Template:
    """One of ours. UserError if there is none of this name."""
    if name not in _THINNING:
        like = values.suggestion(name, NAMES)
        raise UserError(
            f"there is no template {quote(name)}",
            hint=f"did you mean {like}?" if like else f"templates are {', '.join(NAMES)}",
        )
    return Template(name, json.loads(text(name)), _THINNING[name])


@functools.cache
def text(name: str) -> str:
    """The JSON of one of ours, to begin a template with."""
    return (_FILES / f"{name}{SUFFIX}").read_text(encoding="utf-8")


def parse(raw: bytes, source: str) -> Template:
    """A template that a project brings along: Vega-Lite in JSON with anchors such as `<VML_X>` or `<DVC_METRIC_X>`.

    UserError for what is no such file, has no place for the data, or loads anything from elsewhere.
    """
    if len(raw) > _SIZE_MAX:
        raise UserError(f"the template {quote(source)} is larger than 1 MB", hint="data belongs into other files")
    content = values.parse(raw, source if source.endswith(SUFFIX) else source + SUFFIX)
    if not isinstance(content, dict):
        raise UserError(f"{quote(source)} is no template: it is no mapping", hint="a template is a chart of Vega-Lite")
    found = _look(content)
    if found is not None:
        raise UserError(
            f"the template {quote(source)} loads something: {found}",
            hint="a plot has all that it shows inside: remove it, and name the data by <VML_DATA>",
        )
    template = Template(source, content, None)
    if "DATA" not in _ANCHOR.findall(json.dumps(content)):
        raise UserError(f"the template {quote(source)} has no place for data", hint='"data": {"values": "<VML_DATA>"}')
    return template


def _look(value: Any) -> str | None:
    """The first key that would load something."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in _LOADING:
                return f'"{key}"'
            if (found := _look(each)) is not None:
                return found
    elif isinstance(value, list):
        return next((found for each in value if (found := _look(each)) is not None), None)
    return None


def fill(value: Any, given: Mapping[str, Any]) -> Any:
    """A template's content with `given` (by anchor, in small letters) in the places of its anchors.

    An anchor that is a whole text becomes any value; inside a text it becomes text. Where the value is None, the key
    or item goes. Anchors that are not given stay as they are.
    """
    if isinstance(value, dict):
        pairs = ((key, fill(each, given)) for key, each in value.items())
        return {key: each for key, each in pairs if each is not _NOTHING}
    if isinstance(value, list):
        items = (fill(each, given) for each in value)
        return [each for each in items if each is not _NOTHING]
    if not isinstance(value, str):
        return value
    whole = _ANCHOR.fullmatch(value)
    if whole is not None and whole[1].lower() in given:
        found = given[whole[1].lower()]
        return _NOTHING if found is None else found
    return _ANCHOR.sub(lambda match: _inside(match, given), value)


def with_colours(value: Any) -> Any:
    """A project's template in which a revision has the colour that it has in all charts, unless it says which."""
    if isinstance(value, list):
        return [with_colours(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: with_colours(each) for key, each in value.items()}
    colour = made.get("color")
    if isinstance(colour, dict) and colour.get("field") == "rev" and "scale" not in colour:
        made["color"] = colour | {"scale": "<VML_COLOR_SCALE>"}
    return made


def with_points(value: Any, rows: list[dict[str, Any]]) -> Any:
    """A filled template with its points."""
    if value == POINTS:
        return rows
    if isinstance(value, dict):
        return {key: with_points(each, rows) for key, each in value.items()}
    return [with_points(each, rows) for each in value] if isinstance(value, list) else value


def _inside(match: re.Match[str], given: Mapping[str, Any]) -> str:
    found = given.get(match[1].lower())
    return found if isinstance(found, str) else match[0]
