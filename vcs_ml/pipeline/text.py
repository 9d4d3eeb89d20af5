"""A stage as the lines of YAML that a person would write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vcs_ml import yaml
from vcs_ml.errors import UserError

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def lines(key: str, value: Any, indent: str = "") -> Iterator[str]:
    """The lines, without their ends, that give `key` this value: text, true or false, nothing, lists and mappings of
    these. The caller reads them again: not everything that is text can be written.
    """
    name = _key(key)
    if isinstance(value, Mapping) and value:
        yield f"{indent}{name}:"
        for inner, each in value.items():
            yield from lines(inner, each, indent + "  ")
    elif isinstance(value, list) and value:
        yield f"{indent}{name}:"
        for each in value:
            if isinstance(each, Mapping):
                (inner, below), *_ = each.items()
                first, *rest = lines(inner, below, indent + "    ")
                yield f"{indent}  - {first.lstrip(' ')}"
                yield from rest
            else:
                yield f"{indent}  - {_scalar(each)}"
    elif isinstance(value, str) and _is_block(value):
        yield f"{indent}{name}: {'|' if value.endswith(chr(10)) else '|-'}"
        yield from (f"{indent}  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    else:
        yield f"{indent}{name}:{' ' if value is not None else ''}{_scalar(value)}"


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value if _means(f"k: {value}", {"k": value}) else _quoted(value)


def _key(text: str) -> str:
    return text if _means(f"{text}: true", {text: True}) else _quoted(text)


def _means(line: str, value: Any) -> bool:
    try:
        return line.isprintable() and yaml.parse(line.encode(), "").value == value
    except (UserError, UnicodeEncodeError):
        return False


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'


def _is_block(text: str) -> bool:
    """Whether text of several lines stays as it is behind a `|`."""
    every = text.removesuffix("\n").split("\n")
    return (
        len(every) > 1
        and bool(every[0].strip())
        and every[0][0] != " "
        and bool(every[-1])
        and all(line.replace("\t", " ").isprintable() for line in every)
    )
