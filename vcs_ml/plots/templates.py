"""Templates: Vega-Lite charts with anchors, in whose places data and words are put."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
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
_ROWS: Final = ("values", "datasets")
# What makes data out of nothing, which takes as long as a number in it says.
_MAKING: Final = ("sequence", "graticule", "sphere")
_CALLED: Final = re.compile(r"\b(?:sequence|pad|repeat)\s*\(|\\u")
# How many of something there are to be, or of how many pixels.
_COUNTS: Final = ("steps", "minsteps", "maxsteps", "maxbins", "tickCount", "width", "height")
_COUNT_MAX: Final = 10_000
_FILLED_MAX: Final = 5_000_000
_MARKS: Final = (
    "arc", "area", "bar", "boxplot", "circle", "errorband", "errorbar", "geoshape", "image", "line", "point", "rect",
    "rule", "square", "text", "tick", "trail",
)  # fmt: skip
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


def built_in(name: str, own: Sequence[str] = ()) -> Template:
    """One of ours. UserError if there is none of this name; `own` ones of the project may have been meant."""
    if name not in _THINNING:
        like = values.suggestion(name, [*NAMES, *own])
        raise UserError(
            f"there is no template {quote(name)}",
            hint=f"did you mean {like}?" if like else f"templates are {', '.join([*NAMES, *own])}",
        )
    return Template(name, json.loads(text(name)), _THINNING[name])


@functools.cache
def text(name: str) -> str:
    """The JSON of one of ours, to begin a template with."""
    return (_FILES / f"{name}{SUFFIX}").read_text(encoding="utf-8")


def parse(raw: bytes, source: str) -> Template:
    """A template that a project brings along: Vega-Lite in JSON with anchors such as `<VML_X>` or `<DVC_METRIC_X>`.

    UserError for what is no such file, has no place for the data, loads anything from elsewhere, or
    makes data itself.
    """
    if len(raw) > _SIZE_MAX:
        raise UserError(f"the template {quote(source)} is larger than 1 MB", hint="data belongs into other files")
    content = values.parse(raw, source if source.endswith(SUFFIX) else source + SUFFIX)
    if not isinstance(content, dict):
        raise UserError(f"{quote(source)} is no template: it is no mapping", hint="a template is a chart of Vega-Lite")
    if (found := _first(content, _loading)) is not None:
        raise UserError(
            f"the template {quote(source)} loads something: {found}",
            hint="a plot has all that it shows inside: remove it, and name the data by <VML_DATA>",
        )
    chart = _without_rows(content)
    if (found := _first(chart, _making)) is not None:
        raise UserError(
            f"the template {quote(source)} makes data, or much of something: {found}",
            hint="a plot shows the data of its files: remove it, and name the data by <VML_DATA>",
        )
    if json.dumps(chart).count('"flatten"') > 1:
        raise UserError(f"the template {quote(source)} flattens data more than once", hint="flatten it once")
    if (found := _first(chart, _no_mark)) is not None:
        like = values.suggestion(found, _MARKS)
        raise UserError(
            f"the template {quote(source)} has the mark {quote(found)}, which Vega-Lite does not have",
            hint=f"did you mean {like}?" if like else f"marks are {', '.join(_MARKS)}",
        )
    template = Template(source, content, None)
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError:
        raise UserError(
            f"the template {quote(source)} has a number that is not finite", hint="write null, or a number"
        ) from None
    if "DATA" not in _ANCHOR.findall(text):
        raise UserError(f"the template {quote(source)} has no place for data", hint='"data": {"values": "<VML_DATA>"}')
    return template


def _first(value: Any, problem: Callable[[str, Any], str | None], key: str = "") -> str | None:
    """What `problem` finds first with a key and the value there; items of a list have the key of the list."""
    found = problem(key, value)
    if found is None and isinstance(value, dict):
        return next((found for key, each in value.items() if (found := _first(each, problem, key)) is not None), None)
    if found is None and isinstance(value, list):
        return next((found for each in value if (found := _first(each, problem, key)) is not None), None)
    return found


def _without_rows(value: Any) -> Any:
    """A chart without the data that stands in it, in which any name is a column."""
    if isinstance(value, dict):
        return {key: _without_rows(each) for key, each in value.items() if key not in _ROWS}
    return [_without_rows(each) for each in value] if isinstance(value, list) else value


def _loading(key: str, _: Any) -> str | None:
    return f'"{key}"' if key in _LOADING else None


def _making(key: str, value: Any) -> str | None:
    if key in _MAKING or (key == "keyvals" and isinstance(value, dict)):
        return f'"{key}"'
    if isinstance(value, str):
        return quote(value) if _CALLED.search(value) else None
    if type(value) in (int, float) and key in _COUNTS and value > _COUNT_MAX:
        return f'"{key}" is {value}'
    return None


def _no_mark(key: str, value: Any) -> str | None:
    mark = value.get("type") if key == "mark" and isinstance(value, dict) else value if key == "mark" else None
    return mark if isinstance(mark, str) and mark not in _MARKS and not _ANCHOR.search(mark) else None


def fill(value: Any, given: Mapping[str, Any]) -> Any:
    """A template's content with `given` (by anchor, in small letters) in the places of its anchors.

    An anchor that is a whole text becomes any value; inside a text it becomes text. Where the value is None, the key
    or item goes. Anchors that are not given stay as they are. ValueError if it becomes larger than 5 MB.
    """
    return _Filling(given).fill(value)


class _Filling:
    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._room = _FILLED_MAX

    def fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            pairs = ((key, self.fill(each)) for key, each in value.items())
            return {key: each for key, each in pairs if each is not _NOTHING}
        if isinstance(value, list):
            items = (self.fill(each) for each in value)
            return [each for each in items if each is not _NOTHING]
        if not isinstance(value, str):
            return value
        whole = _ANCHOR.fullmatch(value)
        if whole is not None and whole[1].lower() in self._given:
            found = self._given[whole[1].lower()]
            self._take(found)
            return _NOTHING if found is None else found
        for match in _ANCHOR.finditer(value):
            self._take(self._inside(match))
        return _ANCHOR.sub(self._inside, value)

    def _inside(self, match: re.Match[str]) -> str:
        found = self._given.get(match[1].lower())
        return found if isinstance(found, str) else match[0]

    def _take(self, value: Any) -> None:
        """Account for what is filled in, as long as it is written out: what is in several places counts in each."""
        self._room -= len(value) if isinstance(value, str) else 1
        if self._room < 0:
            raise ValueError(f"becomes larger than {_FILLED_MAX:,} letters")
        if isinstance(value, dict | list):
            for each in value.items() if isinstance(value, dict) else value:
                self._take(list(each) if isinstance(each, tuple) else each)


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
