"""Files of values - params, metrics - in YAML, JSON, TOML or Python, and one value in them by its key."""

from __future__ import annotations

import collections
import datetime
import difflib
import itertools
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from vcs_ml import constants, regular, yaml
from vcs_ml.errors import UserError
from vcs_ml.output import quote

MAX_SIZE: Final = 32_000_000

_KEY: Final = re.compile(r"(?:[^.\[\]]+|\[[^.\[\]]+\])(?:\.[^.\[\]]+|\[[^.\[\]]+\])*")
_PART: Final = re.compile(r"[^.\[\]]+")
# Strings and comments; what is not closed ends with the line, or with the file.
_TOML_TEXT: Final = re.compile(
    r'''"""(?:[^"\\]|\\.|""?(?!"))*+"{0,5}|"(?:[^"\\\n]|\\.)*+"?|'''
    r"""'''(?:[^']|''?(?!'))*+'{0,5}|'[^'\n]*+'?|#[^\n]*""",
    re.DOTALL,
)
_NO_KEY: Final = re.compile(r"[^\w\-. \t]+|\.{2,}")
_SEARCHED: Final = 1_000  # keys of a file that are compared with one that is missing
_WORD_MAX: Final = 100
_NUMBERS: Final = frozenset({float, bool, type(None)})
_BITS_MAX: Final = 4_000  # Python refuses to print numbers of 4,300 digits


class Twice(ValueError):
    """A key that stands in an object of JSON twice; `ONE_OF_TWO` is what to do about it."""


ONE_OF_TWO: Final = "remove or rename one of the two"


def read(path: Path, *, follow: bool = True) -> bytes | None:
    """The bytes of a file; None if there is none. UserError for what is no regular file, or larger than 32 MB.

    Without `follow`, a symbolic link is no regular file either.
    """
    return regular.read(path, MAX_SIZE, follow=follow, hint="params and metrics are small files")


def parse(raw: bytes, source: str) -> Any:
    """Plain values (dict with text keys, list, str, int, float, bool, None) of a file.

    The suffix of `source` says which format: .json, .toml, .py, and YAML for any other. Dates are text. UserError
    naming the file, and the line where it is known, for what is not of its format.
    """
    try:
        return _parse(raw, source)
    except UserError:
        if yaml.CONFLICT.search(raw) is None:
            raise
    hint = "settle the merge first: git status names its files"
    raise UserError(f"{quote(source)} has conflict markers of a merge", hint=hint)


def _parse(raw: bytes, source: str) -> Any:
    suffix = os.path.splitext(source)[1]
    try:
        if suffix == ".json":
            return _plain(json.loads(raw, object_pairs_hook=unique))
        if suffix == ".toml":
            return _plain(tomllib.loads(_of_short_keys(raw.decode())))
        if suffix == ".py":
            return _plain(constants.parse(raw, source))
    except Twice as error:
        raise UserError(f"{quote(source)}: {error}", hint=ONE_OF_TWO) from None
    except ValueError as error:  # also what is not UTF-8, and numbers longer than Python takes
        name = suffix[1:].upper()
        raise UserError(f"{quote(source)} is not {name}: {error}", hint=f"the suffix says that it is {name}") from None
    except RecursionError:
        raise UserError(f"{quote(source)} is nested too deeply", hint="make it flatter") from None
    return yaml.parse(raw, source).value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The `object_pairs_hook` of a JSON decoder that takes no key twice, of which the last would win. Raises Twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = collections.Counter(key for key, _ in pairs)
        raise Twice(f"the key {next(key for key, n in counts.items() if n > 1)!r} stands there twice")
    return found


def _of_short_keys(text: str) -> str:
    """TOML without keys of more parts than values may have levels: tomllib takes the square of them.

    RecursionError for one that has.
    """
    if max(line.count(".") for line in text.split("\n")) > yaml.DEPTH_MAX:  # few files have such a line
        runs = _NO_KEY.split(_TOML_TEXT.sub("_", text))
        if max(run.count(".") for run in runs) > yaml.DEPTH_MAX:
            raise RecursionError
    return text


def _plain(value: Any, depth: int = 0) -> Any:
    kind = type(value)
    if kind is float or kind is bool or value is None:  # nearly all that a file of metrics has
        return value
    if depth > yaml.DEPTH_MAX:
        raise RecursionError
    if kind is dict:
        if _NUMBERS.issuperset(map(type, value.values())) and _is_ascii(value):  # as most are
            return value
        return {_text(key): each if type(each) is float else _plain(each, depth + 1) for key, each in value.items()}
    if kind is list or kind is tuple:
        return [_plain(each, depth + 1) for each in value]
    if kind is set:
        return sorted((_plain(each, depth + 1) for each in value), key=repr)
    if kind is int:
        if value.bit_length() > _BITS_MAX:
            raise ValueError("a number in it is too long")
        return value
    return _text(value)


def _is_ascii(keys: Iterable[Any]) -> bool:
    try:
        return "".join(keys).isascii()
    except TypeError:  # some are no text
        return False


def _text(value: object) -> str:
    if type(value) is str and value.isascii():
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    text = value if isinstance(value, str) else repr(value)
    text.encode()  # half a surrogate pair, which an escape can spell, is refused here and not where it is printed
    return text


def select(values: Any, key: str) -> Any:
    """The value at `train.layers[0].size`; a key that itself has dots is found too. KeyError if there is none."""
    if isinstance(values, dict) and key in values:
        return values[key]
    if not _KEY.fullmatch(key):
        raise KeyError(key)
    for part in _PART.findall(key):
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdecimal() and part.isascii() and int(part[:9]) < len(values):
            values = values[int(part)]
        else:
            raise KeyError(key)
    return values


def is_computed(path: Path, key: str) -> bool:
    """Whether a Python file gives this key a value that only running it could tell. UserError as in `parse`."""
    raw = read(path) if path.suffix == ".py" else None
    if raw is None:
        return False
    known: Any = constants.parse(raw, path.name, every=True)
    for part in _PART.findall(key):
        if known is None:  # what is in it is computed too
            return True
        if not isinstance(known, dict) or part not in known:
            return False
        known = known[part]
    return True


def nearest(values: Any, key: str) -> str | None:
    """The key in `values` that was probably meant: one that ends in the same way, or is spelt like it."""
    known = list(itertools.islice(keys(values), _SEARCHED))
    same_end = [each for each in known if each.endswith(f".{key.rpartition('.')[2]}")]
    return same_end[0] if len(same_end) == 1 else suggestion(key, known)


def keys(values: Any, above: str = "") -> Iterator[str]:
    """Every key that `select` finds a value for, with those of mappings and lists."""
    pairs: Iterable[tuple[str, Any]] = ()
    if isinstance(values, dict):
        pairs = ((f"{above}.{key}" if above else key, each) for key, each in values.items())
    elif isinstance(values, list):
        pairs = ((f"{above}[{index}]", each) for index, each in enumerate(values))
    for key, each in pairs:
        yield key
        yield from keys(each, key)


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """The word among `known` that is spelt most like this one, if one is."""
    # The search takes time in proportion to both lengths, and these are other people's words.
    short = [each for each in known if len(each) <= _WORD_MAX and _is_as_long(word, each)]
    cutoff = 0.7 if len(word) > 3 else 0.6  # of three letters, two that are swapped leave 0.67
    return next(iter(difflib.get_close_matches(word[:_WORD_MAX], short, n=1, cutoff=cutoff)), None)


def _is_as_long(word: str, other: str) -> bool:
    """Whether the lengths are near: `cur` is no slip of the keyboard for `current`."""
    return abs(len(word) - len(other)) <= max(1, max(len(word), len(other)) // 3)


def text(value: object) -> str:
    """A scalar as text, as it stands in commands and names: `true`, `0.001`, `None`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
