"""Strict JSON: what pointers and lock files may be, and nothing that could not be written back."""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

from vcs_ml.errors import UserError
from vcs_ml.output import quote

# Of any length: gitattributes(5), conflict-marker-size. No line of JSON begins like that.
_CONFLICT: Final = re.compile(r"^(<+|=+|>+|\|+)( |\r?$)", re.MULTILINE)


class NotReadable(ValueError):
    """Why some bytes are no object of strict JSON, and in which line, where that is one; `conflict`: a merge has left
    its markers in them.
    """

    def __init__(self, why: str, *, line: int | None = None, conflict: bool = False) -> None:
        super().__init__(why)
        self.line = line
        self.conflict = conflict


class HasMarkers(UserError):
    """A file of ours that cannot be read, since a merge has left its markers in it."""

    def __init__(self, source: str, error: NotReadable) -> None:
        name = quote(source)
        super().__init__(
            f"{name}: {error}", hint=f"vml checkout --merge {name} merges it; --ours or --theirs takes one side"
        )


def load(raw: bytes, limit: int) -> dict[str, object]:
    """The object in `raw`, of at most `limit` bytes. NotReadable for anything else, a key that stands there twice,
    and values that are not JSON: NaN, numbers too large, lone surrogates.
    """
    if len(raw) > limit:
        raise NotReadable(f"it is larger than {limit} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise NotReadable(f"it is not UTF-8 (byte {error.start})") from None
    try:
        loaded = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite_float)
        if "\\u" in text:
            # A lone surrogate can be written as an escape, but it is no text and could not be written back.
            json.dumps(loaded, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        if marker := _CONFLICT.search(text):
            line = text.count("\n", 0, marker.start()) + 1
            raise NotReadable("it has conflict markers from a merge", line=line, conflict=True) from None
        deep = isinstance(error, RecursionError)
        at = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise NotReadable("it is nested too deeply" if deep else f"not valid JSON: {error}", line=at) from None
    if not isinstance(loaded, dict):
        raise NotReadable("it is not a JSON object")
    return loaded


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name[:80]!r} stands there twice")
            seen.add(name)
    return fields


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if value - value != 0:  # infinity
        raise ValueError(f"the number {text[:20]} is too large")
    return value
