"""Nested values as a flat table: one row for each value, by its key."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from vcs_ml import values

Flat = dict[str, Any]  # of None, bool, int, float, str; lists of these; [] and {} where nothing is in them
# Of keys with special names in them, those with all of these in quotes; None where a file has no others.
Exact = Mapping[str, str] | None

ROWS_MAX: Final = 100_000
# Aliases of YAML repeat a text that is in the file once, and each key repeats those above it.
LETTERS_MAX: Final = 32_000_000

_JSON_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SPECIAL: Final = frozenset('.[]"')
_FLOATS: Final = frozenset({float})
_PLAIN: Final = frozenset({float, int, bool, type(None)})


def flatten(content: Any, keys: Collection[str] | None = None) -> tuple[Flat, Exact]:
    """The values in a file, or those at some `keys` and below, by keys such as `train.layers[0].size`, which
    `values.select` finds again; and their exact keys.

    A list of plain values is one value, and a file of nothing has none. Where two values would have one key, because a
    name has dots, brackets or quotes, or is empty, such names are in brackets and quotes in that file: `["a.b"].c`.
    ValueError above ROWS_MAX values, and where these and their keys have more than LETTERS_MAX letters.
    """
    parts = [("", content)] if keys is None else list(_chosen(content, keys))
    table = _Table(parts, quoted=False)
    if len(table.found) == table.count:
        return table.found, table.exact
    return _Table(parts, quoted=True).found, None


def alike(tables: Sequence[tuple[Flat, Exact]]) -> list[Flat]:
    """The same tables, in which a key stands for one place: where one of them has it for another, all are quoted."""
    if len(tables) < 2 or not any(exact is None or exact for _, exact in tables):
        return [found for found, _ in tables]
    places: dict[str, str] = {}
    for _, exact in tables:
        places |= exact or {}
    if all(
        exact is not None
        and (exact == places or all(exact.get(key, key) == places[key] for key in places.keys() & found.keys()))
        for found, exact in tables
    ):
        return [found for found, _ in tables]
    return [{exact.get(key, key): each for key, each in found.items()} if exact else found for found, exact in tables]


def refuse_many(raw: bytes) -> None:
    """ValueError for JSON of which `flatten` would refuse the whole as more than ROWS_MAX values.

    A comma stands between any two, so that these are counted before a hundred bytes are taken for each.
    """
    if raw.count(b",") < ROWS_MAX or not json.detect_encoding(raw).startswith("utf-8"):
        return
    if _JSON_TEXT.sub(b"", raw).count(b",") >= ROWS_MAX:
        raise _too_many()


def _too_many() -> ValueError:
    return ValueError(f"more than {ROWS_MAX:,} values")


def _chosen(content: Any, keys: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The parts of a file at these keys, none of them inside another."""
    direct = [key for key in keys if isinstance(content, dict) and key in content and _is_special(key)]
    yield "", {key: content[key] for key in sorted(direct)}
    below = tuple(f"{key}{sign}" for key in keys for sign in ".[")
    for key in sorted(set(keys).difference(direct)):
        if not key.startswith(below):
            with contextlib.suppress(KeyError):
                yield key, values.select(content, key)


class _Table:
    """The values of these parts of a file by their keys, and how many there are: keys may be the same."""

    def __init__(self, parts: Iterable[tuple[str, Any]], *, quoted: bool) -> None:
        self.found: Flat = {}
        self.exact: dict[str, str] = {}
        self.count = 0
        self._items = self._letters = 0
        self._quoted = quoted
        for above, part in parts:
            self._take(part, above, above, top=not above)

    def _take(self, value: Any, above: str, exact: str, *, top: bool = False) -> None:
        if isinstance(value, dict) and (value or top):
            dot = "" if top else f"{above}."
            self._take_mapping(value, exact, dot, dot if exact is above else f"{exact}.")
        elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
            for index, each in enumerate(value):
                self._add(0, len(above))
                key = f"{above}[{index}]"
                self._take(each, key, key if exact is above else f"{exact}[{index}]")
        elif value is not None or not top:
            self.found[above] = value
            self.count += 1
            if exact is not above:
                self.exact[above] = exact
            texts = value if isinstance(value, list) else [value]
            self._add(len(texts) or 1, sum(len(each) for each in texts if isinstance(each, str)))

    def _take_mapping(self, value: dict[str, Any], exact: str, dot: str, exact_dot: str) -> None:
        names = "".join(value)
        self._add(0, len(dot) * len(value) + len(names))  # before there are so many keys
        special = "." in names or "[" in names or "]" in names or '"' in names or "" in value
        if not self._quoted and _PLAIN.issuperset(map(type, value.values())):  # as in most
            self.found |= {dot + name: each for name, each in value.items()}
            self.count += len(value)
            self._add(len(value), 0)
            if special:
                self.exact |= {dot + name: exact + _bracket(name) for name in value if _is_special(name)}
            if exact_dot is not dot:
                self.exact |= {dot + name: exact_dot + name for name in value if not (special and _is_special(name))}
            return
        for name, each in value.items():
            key = dot + name
            if special and _is_special(name):
                quoted = exact + _bracket(name)
                self._take(each, quoted if self._quoted else key, quoted)
            else:
                self._take(each, key, key if exact_dot is dot else exact_dot + name)

    def _add(self, items: int, letters: int) -> None:
        self._items += items
        self._letters += letters
        if self._items > ROWS_MAX:
            raise _too_many()
        if self._letters > LETTERS_MAX:
            raise ValueError(f"more than {LETTERS_MAX:,} letters in values and keys")


def _bracket(name: str) -> str:
    # To make JSON of each would take ten times as long.
    return f'["{name}"]' if name.isprintable() and '"' not in name and "\\" not in name else _in_json(name)


def _in_json(name: str) -> str:
    return f"[{json.dumps(name, ensure_ascii=False)}]"


def _is_special(name: str) -> bool:
    return not name or not _SPECIAL.isdisjoint(name)


def is_number(value: object) -> bool:
    """Whether it makes sense to subtract from this value."""
    return type(value) is float or type(value) is int  # not bool


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same: 1 and 1.0 are, NaN and NaN are, 1 and True and "1" are not."""
    kind = type(one)
    if kind is not type(other):
        return is_number(one) and is_number(other) and bool(one == other)
    if kind is list:
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (kind is float and math.isnan(one) and math.isnan(other))


def text(value: Any, precision: int | None = None, *, exact: bool = False) -> str:
    """A value for people, floats with so many significant digits; strings as they are, or as JSON if `exact`."""
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            return str(json_value(value))
        return repr(value) if precision is None else f"{value:.{precision}g}"
    if kind is str:
        return json.dumps(value, ensure_ascii=False) if exact else str(value)
    if kind is list:
        return f"[{', '.join(text(each, precision, exact=exact) for each in value)}]"
    return repr(value) if kind is int else json.dumps(value)


def json_values(found: Flat) -> Flat:
    """Values by key, each as `json_value` has it."""
    if _FLOATS.issuperset(map(type, found.values())) and all(map(math.isfinite, found.values())):
        return found
    return {key: json_value(each) for key, each in found.items()}


def json_value(value: Any) -> Any:
    """A value as JSON has it: NaN and infinities, which it does not have, as "NaN", "Infinity", "-Infinity"."""
    if type(value) is float:  # as most are
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [json_value(each) for each in value]
    return value
