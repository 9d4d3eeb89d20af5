"""Tables that a click sorts, and that are plain tables where no script runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vcs_ml.html.markup import Html, join, tag


class Column(NamedTuple):
    """A column's title; numbers stand at the right and are sorted by size."""

    title: str
    number: bool = False


class Cell(NamedTuple):
    """What a cell shows, and the number or text that it is sorted by; None stands behind all others."""

    shown: str
    by: float | str | None


def write(columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]], *, caption: str) -> Html:
    """A table. The first cell of a row names it; `caption` says what it shows."""
    head = [tag("th", each.title, scope="col", class_="number" if each.number else None) for each in columns]
    body = [tag("tr", *(_cell(cell, at, columns[at]) for at, cell in enumerate(row))) for row in rows]
    table = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", join(*body, by="\n")))
    # On a phone the table scrolls inside, not the page; what scrolls must be reachable by the keyboard.
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(cell: str | Cell, at: int, column: Column) -> Html:
    shown, by = (cell.shown, "" if cell.by is None else str(cell.by)) if isinstance(cell, Cell) else (cell, None)
    kind = "number" if column.number else None
    return tag("td", shown, class_=kind, data_by=by) if at else tag("th", shown, scope="row", class_=kind, data_by=by)
