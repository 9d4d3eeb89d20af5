"""Nested values as a flat table: one row for each value, by its key."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

from vcs_ml import values

Flat = dict[str, Any]  # of None, bool, int, float, str; lists of these; [] and {} where nothing is in them

ROWS_MAX: Final = 100_000
# Aliases of YAML repeat a text that is in the file once, and each key repeats those above it.
LETTERS_MAX: Final = 32_000_000

_SPECIAL: Final = frozenset('.[]"')


def flatten(content: Any, keys: Collection[str] | None = None) -> Flat:
    """The values in a file, or those at some `keys` and below, by keys such as `train.layers[0].size`, which
    `values.select` finds again.

    A list of plain values is one value, and a file of nothing has none. Where two values would have one key, because a
    name has dots, brackets or quotes, or is empty, such names are in brackets and quotes in that file: `["a.b"].c`.
    ValueError above ROWS_MAX values, and where these and their keys have more than LETTERS_MAX letters.
    """
    parts = [("", content)] if keys is None else list(_chosen(content, keys))
    found, count = _table(parts, str)
    return found if len(found) == count else _table(parts, _quoted)[0]


def _chosen(content: Any, keys: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The parts of a file at these keys, none of them inside another."""
    direct = [key for key in keys if isinstance(content, dict) and key in content and not _SPECIAL.isdisjoint(key)]
    yield "", {key: content[key] for key in sorted(direct)}
    below = tuple(f"{key}{sign}" for key in keys for sign in ".[")
    for key in sorted(set(keys).difference(direct)):
        if not key.startswith(below):
            with contextlib.suppress(KeyError):
                yield key, values.select(content, key)


def _table(parts: Iterable[tuple[str, Any]], name: Callable[[str], str]) -> tuple[Flat, int]:
    """The values of these parts of a file by their keys, and how many there are: keys may be the same."""
    found: Flat = {}
    count = items = letters = 0
    for above, part in parts:
        for key, value in _rows(part, above, name, top=not above):
            found[key] = value
            count += 1
            items += len(value) if isinstance(value, list) else 1
            letters += len(key) + _letters(value)
            if items > ROWS_MAX:
                raise ValueError(f"more than {ROWS_MAX:,} values")
            if letters > LETTERS_MAX:
                raise ValueError(f"more than {LETTERS_MAX:,} letters in values and keys")
    return found, count


def _rows(value: Any, above: str, name: Callable[[str], str], *, top: bool = False) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or top):
        for key, each in value.items():
            shown = name(key)
            joined = shown if top else above + shown if shown.startswith('["') else f"{above}.{shown}"
            yield from _rows(each, joined, name)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for index, each in enumerate(value):
            yield from _rows(each, f"{above}[{index}]", name)
    elif value is not None or not top:
        yield above, value


def _quoted(name: str) -> str:
    return name if name and _SPECIAL.isdisjoint(name) else f"[{json.dumps(name, ensure_ascii=False)}]"


def _letters(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_letters, value))
    return len(value) if isinstance(value, str) else 0


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


def text(value: Any, precision: int | None = None, *, exact: bool = False) -> str:
    """A value for people, floats with so many significant digits; strings as they are, or as JSON if `exact`."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if exact else value
    if isinstance(value, float) and precision is not None and math.isfinite(value):
        return f"{value:.{precision}g}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(json_value(value))
    if isinstance(value, list):
        return f"[{', '.join(text(each, precision, exact=exact) for each in value)}]"
    return json.dumps(value)


def json_value(value: Any) -> Any:
    """A value as JSON has it: NaN and infinities, which it does not have, as "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [json_value(each) for each in value]
    return value
