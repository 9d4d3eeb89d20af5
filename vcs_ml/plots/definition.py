"""A plot: which columns of which files it shows, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import count, quote

DEFAULT_TEMPLATE: Final = "linear"

_WORDS_MAX: Final = 500  # letters of a title


class Column(NamedTuple):
    """A column of a file; None is the last one."""

    source: str
    name: str | None


class Pair(NamedTuple):
    """A column over another; without x, over the number of the row."""

    y: Column
    x: Column | None = None


class Plot(NamedTuple):
    """What to draw: pairs of columns in one chart, and the words around it; empty ones are chosen."""

    id: str
    pairs: tuple[Pair, ...]
    template: str = DEFAULT_TEMPLATE
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    header: bool = True

    @property
    def sources(self) -> dict[str, list[str]]:
        """The files it takes its data from, each with the columns that it names."""
        found: dict[str, list[str]] = {}
        for each in (column for pair in self.pairs for column in pair if column is not None):
            found.setdefault(each.source, []).extend([each.name] if each.name is not None else [])
        return found


def define(id: str, properties: Mapping[str, Any]) -> Plot:
    """A plot as `plots` of a `vml.yaml` describes it, which its schema has checked.

    `x` is a column, or {file: column}; `y` a column, a list of them, or {file: columns}. Where no file is named, `id`
    is the file. Files are named as they are written there. UserError if the columns of x and y do not pair up.
    """
    y, x = _columns(properties.get("y"), id), properties.get("x")
    if not isinstance(x, Mapping):
        pairs = [Pair(each, Column(each.source, x) if x is not None else None) for each in y]
    else:
        over = _columns(x, id)
        if len(over) not in (1, len(y)):
            raise UserError(
                f"the plot {quote(id)} has {count(len(over), 'column')} for x and {len(y)} for y",
                hint="give one column for x, or one for each column of y",
            )
        pairs = [Pair(each, over[at % len(over)]) for at, each in enumerate(y)]
    given = {key: properties[key] for key in ("template", "title", "x_label", "y_label", "header") if key in properties}
    given |= {key: given[key][:_WORDS_MAX] for key in ("title", "x_label", "y_label") if key in given}
    return Plot(id, tuple(pairs), **given)


def _columns(value: Any, source: str) -> tuple[Column, ...]:
    if isinstance(value, Mapping):
        return tuple(column for file, names in value.items() for column in _columns(names, file))
    names = value if isinstance(value, list | tuple) else [value]
    return tuple(Column(source, name) for name in names)
