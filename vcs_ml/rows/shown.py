"""Cells and rows for people: short, and of characters that every output can hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from vcs_ml.rows.result import Shown
from vcs_ml.rows.table import Cell

_LENGTH_MAX: Final = 200
_COLUMNS_MAX: Final = 100


def plain(text: str) -> str:
    """`text` with an escape for each surrogate, which stands for a byte that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def cell(value: Cell) -> Shown:
    """A cell as text, cut at 200 characters; None for nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.hex() if isinstance(value, bytes) else ",".join(value) if isinstance(value, tuple) else str(value)
    return plain(text if len(text) <= _LENGTH_MAX else text[: _LENGTH_MAX - 1] + "…")


def row(names: Iterable[str], cells: Sequence[Cell]) -> dict[str, Shown]:
    """The first 100 columns of a row."""
    return {plain(name): cell(value) for name, value in zip(names, cells[:_COLUMNS_MAX], strict=False)}
