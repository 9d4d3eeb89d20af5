"""JSON Lines as tables: an object a line, its top-level keys as columns (https://jsonlines.org)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.rows import lines
from vcs_ml.rows.table import COLUMNS_MAX, Cell, Opener, Row, Table, cut, length, nested, unique

_decode: Final = json.JSONDecoder(object_pairs_hook=values.unique).decode
_DEPTH_MAX: Final = 500  # half of what Python takes, which also depends on who calls


def read(opener: Opener, path: str) -> Table:
    """The table in a file; its columns stand in the order in which their keys appear.

    A key that an object does not have is the same as null there. UserError naming the line that is no JSON object.
    """
    keys, types, most = _look(opener, path)

    def batches() -> Iterator[list[str]]:
        return cut((list(filter(str.strip, batch)) for batch in lines.batches(opener, path)), len(keys))

    def rows(units: Iterable[str]) -> tuple[list[Row], int]:
        return [[_cell(value.get(key)) for key in keys] for value in map(json.loads, units)], 0

    return Table(
        names=unique(keys, path),
        types=None,
        typed=True,
        dialect=None,
        bytes=length(opener),
        most=most,
        batches=batches,
        rows=rows,
        numbers=[types[key] & {int, float} for key in keys],
    )


def _look(opener: Opener, path: str) -> tuple[list[str], dict[str, set[type]], int]:
    """The keys in the order in which they appear, the types of their values, and the number of lines."""
    keys: dict[str, None] = {}
    found: set[tuple[str, type]] = set()
    line = 0
    for text in lines.blocks(opener, path):
        for each in text.removesuffix("\n").split("\n"):
            line += 1
            if each.strip():
                value = _object(each, path, line)
                keys |= dict.fromkeys(value)
                found.update(zip(value, map(type, value.values()), strict=True))
            if len(keys) > COLUMNS_MAX:  # which is refused where names are made
                break
    types: dict[str, set[type]] = {}
    for key, kind in found:
        types.setdefault(key, set()).add(kind)
    return list(keys), types, line


def _object(text: str, path: str, line: int) -> dict[str, Any]:
    hint = "each line of JSON Lines is one object"
    try:
        value = _decode(text)
    except values.Twice as error:
        raise UserError(f"{quote(path)}, line {line:,}: {error}", hint=values.ONE_OF_TWO) from None
    except (ValueError, RecursionError) as error:  # also numbers longer than Python takes
        raise UserError(f"{quote(path)}, line {line:,} is not JSON: {error}", hint=hint) from None
    if text.count("[") + text.count("{") > _DEPTH_MAX and _deep(value):
        raise UserError(
            f"{quote(path)}, line {line:,} is nested deeper than {_DEPTH_MAX}",
            hint=f"lines of up to {_DEPTH_MAX} levels are compared",
        )
    if not isinstance(value, dict):
        raise UserError(f"{quote(path)}, line {line:,} is no JSON object", hint=hint)
    return value


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEPTH_MAX):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, dict | list) for each in level)


def _cell(value: Any) -> Cell:
    if isinstance(value, dict | list):
        return nested(value, ascii=False)
    found: Cell = value
    return found
