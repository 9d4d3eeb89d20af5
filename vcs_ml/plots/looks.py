"""How revisions and columns are told apart in a chart: colours, dashes, shapes, and the legend that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from vcs_ml.plots import theme
from vcs_ml.plots.points import Points

_SOLID: Final = theme.DASHES[0]


class Looks(NamedTuple):
    """The values of the label `by` with their colours; the values of the label `then` with their dashes and shapes."""

    by: str
    colours: Mapping[str, str]
    then: str
    dashes: Mapping[str, Sequence[int]]
    shapes: Mapping[str, str]


class Key(NamedTuple):
    """A line of the legend; without a colour it is that of text."""

    name: str
    colour: str | None
    dash: Sequence[int]


def choose(shown: Points, revs: Sequence[str]) -> Looks:
    """Revisions have colours, by their place among `revs`, and columns dashes; columns of one revision have colours."""
    there, fields = shown.labels("rev"), shown.labels("field")
    by = "field" if len(there) <= 1 < len(fields) else "rev"
    then = "field" if len(fields) > 1 else "rev"
    names, order = (fields, fields) if by == "field" else (there, revs)
    colours = {name: _one_of(theme.COLOURS, order.index(name)) for name in names}
    if then == by:  # the eighth has the colour of the first, and other dashes
        rounds = {name: order.index(name) // len(theme.COLOURS) for name in names}
        dashes = {name: _one_of(theme.DASHES, at) for name, at in rounds.items()}
        shapes = {name: _one_of(theme.SHAPES, order.index(name)) for name in names}
    else:
        dashes = {name: _one_of(theme.DASHES, at) for at, name in enumerate(fields)}
        shapes = {name: _one_of(theme.SHAPES, at) for at, name in enumerate(fields)}
    return Looks(by, colours, then, dashes, shapes)


def _one_of(values: Sequence[Any], at: int) -> Any:
    return values[at % len(values)]


def keys(looks: Looks) -> list[Key]:
    """The legend; a chart of a single series needs none."""
    if looks.then == looks.by:
        found = [Key(name, colour, looks.dashes[name]) for name, colour in looks.colours.items()]
    else:
        found = [Key(name, colour, _SOLID) for name, colour in looks.colours.items()]
        found += [Key(name, None, dash) for name, dash in looks.dashes.items()]
    return found if len(found) > 1 else []


def encodings(looks: Looks) -> dict[str, Any]:
    """The same for Vega-Lite, by channel; None for one that tells nothing apart."""
    plain = all(each == _SOLID for each in looks.dashes.values())
    return {
        "color": _encoding(looks.by, looks.colours),
        "color_scale": _scale(looks.colours) if looks.by == "rev" else None,
        "stroke_dash": None if plain else _encoding(looks.then, looks.dashes),
        "shape": _encoding(looks.then, looks.shapes),
    }


def _encoding(field: str, looks: Mapping[str, Any]) -> dict[str, Any]:
    one = {"legend": None} if len(looks) <= 1 else {}
    return {"field": field, "type": "nominal", "title": None, "scale": _scale(looks), **one}


def _scale(looks: Mapping[str, Any]) -> dict[str, Any]:
    return {"domain": list(looks), "range": list(looks.values())}
