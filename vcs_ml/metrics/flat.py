"""Nested values as a flat table: one row for each value, by its key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

Flat = dict[str, Any]  # of None, bool, int, float, str; lists of these; [] and {} where nothing is in them

ROWS_MAX: Final = 100_000


def flatten(values: Any) -> Flat:
    """The values in a file, by keys such as `train.layers[0].size`, which `values.select` finds again.

    A list of plain values is one value. Raises ValueError above ROWS_MAX values.
    """
    found: Flat = {}
    for key, value in _rows(values, ""):
        found[key] = value
        if len(found) > ROWS_MAX:
            raise ValueError(f"more than {ROWS_MAX:,} values")
    return found


def _rows(value: Any, above: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not above):
        for name, each in value.items():
            yield from _rows(each, f"{above}.{name}" if above else name)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for index, each in enumerate(value):
            yield from _rows(each, f"{above}[{index}]")
    else:
        yield above, value


def is_number(value: object) -> bool:
    """Whether it makes sense to subtract from this value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same: 1 and 1.0 are, NaN and NaN are, 1 and True and "1" are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if is_number(one) and is_number(other):
        return bool(one == other) or (_is_nan(one) and _is_nan(other))
    return type(one) is type(other) and bool(one == other)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def text(value: Any, precision: int | None = None) -> str:
    """A value for people, floats with so many significant digits; strings as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and precision is not None and math.isfinite(value):
        return f"{value:.{precision}g}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(json_value(value))
    if isinstance(value, list):
        return f"[{', '.join(text(each, precision) for each in value)}]"
    return json.dumps(value, ensure_ascii=False)


def json_value(value: Any) -> Any:
    """A value as JSON has it: NaN and infinities, which it does not have, as "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [json_value(each) for each in value]
    return value
