"""JSON Lines as tables: an object a line, its top-level keys as columns (https://jsonlines.org)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.rows import lines
from vcs_ml.rows.table import COLUMNS_MAX, Cell, Opener, Row, Table, length, unique


def read(opener: Opener, path: str) -> Table:
    """The table in a file; its columns stand in the order in which their keys appear.

    A key that an object does not have is the same as null there. UserError naming the line that is no JSON object.
    """
    keys, most = _look(opener, path)

    def batches() -> Iterator[list[str]]:
        for batch in lines.batches(opener, path):
            yield list(filter(str.strip, batch))

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
    )


def _look(opener: Opener, path: str) -> tuple[list[str], int]:
    keys: dict[str, None] = {}
    line = 0
    for text in lines.blocks(opener, path):
        for each in text.removesuffix("\n").split("\n"):
            line += 1
            if each.strip():
                keys |= dict.fromkeys(_object(each, path, line))
            if len(keys) > COLUMNS_MAX:
                return list(keys), line  # which is refused where names are made
    return list(keys), line


def _object(text: str, path: str, line: int) -> dict[str, Any]:
    hint = "each line of JSON Lines is one object"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers longer than Python takes
        raise UserError(f"{quote(path)}, line {line:,} is not JSON: {error}", hint=hint) from None
    if not isinstance(value, dict):
        raise UserError(f"{quote(path)}, line {line:,} is no JSON object", hint=hint)
    return value


def _cell(value: Any) -> Cell:
    if isinstance(value, dict | list):
        return (json.dumps(value, ensure_ascii=False, sort_keys=True),)
    found: Cell = value
    return found
