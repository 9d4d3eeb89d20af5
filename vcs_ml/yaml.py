"""YAML into plain values and the line of every key; the one module before PyYAML.

Scalars are those of YAML 1.2, with what most loaders add: `yes` and `on` are text, `1e-3` is a number, `010` is ten,
`0o17` and `1_000` are numbers, dates stay text. Keys are text, as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote

if TYPE_CHECKING:
    from yaml.events import Event

DEPTH_MAX: Final = 100
CONFLICT: Final = re.compile(rb"^<{7} ", re.MULTILINE)  # of a merge
DIGITS_MAX: Final = 1_000
# How many values aliases may add: nine levels of nine aliases, which fit on nine lines, would be 400 million.
ALIASED_MAX: Final = 1_000_000

# The line of a key or item, and those of what it holds.
Lines = tuple[int, dict[str, "Lines"] | list["Lines"] | None]

_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_DECIMAL: Final = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*")
_BASED: Final = re.compile(r"[-+]?0(?:o[0-7]+|x[0-9a-fA-F]+|b[01]+)")
_FLOAT: Final = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
)
_NUMBER_BEGINS: Final = frozenset("0123456789+-.")
_TAG: Final = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final = {"int": int, "float": float, "bool": bool, "null": NoneType}
_MERGE: Final = object()


class Document(NamedTuple):
    """What a file says: plain values (dict, list, str, int, float, bool, None), and where it says it.

    Aliases share their values, so that nothing may change them.
    """

    value: Any
    source: str
    lines: Lines

    def line(self, path: Sequence[str | int]) -> int:
        """The line, from 1, of the last part of this path of keys and indices that the document has."""
        line, below = self.lines
        for part in path:
            if isinstance(below, dict) and part in below:
                line, below = below[str(part)]
            elif isinstance(below, list) and isinstance(part, int) and part < len(below):
                line, below = below[part]
            else:
                break
        return line


class _Frame:
    """A list or mapping whose end was not read yet. `before` counts the values above it, `height` the levels in it."""

    __slots__ = ("anchor", "before", "height", "key", "key_line", "line", "lines", "merged", "value")

    def __init__(self, anchor: str | None, value: Any, lines: Any, before: int, line: int) -> None:
        self.anchor, self.value, self.lines, self.before, self.line = anchor, value, lines, before, line
        self.height = 1
        self.key: Any = None
        self.key_line = 0
        self.merged: list[tuple[dict[str, Any], dict[str, Lines]]] = []


def parse(raw: bytes, source: str) -> Document:
    """The one document of a file; an empty file is None. `source` names it in errors.

    UserError with file and line for what is no YAML, for two equal keys, more than one document, tags of other
    programs, and for what is nested or multiplied beyond any use.
    """
    import yaml  # noqa: PLC0415 - costs 17 ms, and most commands read none

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # Not yaml.compose: its C part recurses, and a line of brackets is a segmentation fault.
        return _build(yaml.parse(raw, Loader=loader), source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{quote(source)}:{mark.line + 1}" if mark else quote(source)
        why = getattr(error, "problem", None) or str(error).partition("\n")[0]
        hint = "YAML indents with spaces, and quotes text that begins with a special character"
        if "unknown escape" in why:
            hint = r"in double quotes a backslash is written twice: \\${HOME}; in single ones, or without any, once"
        elif mark and "expected ',' or" in why and b"${" in _line(raw, mark.line):
            hint = "in { } and [ ], text with ${x} has to be quoted: '${x}'"
        elif mark and why.startswith("mapping values are not allowed"):
            before = _line(raw, mark.line).decode(errors="replace")[: mark.column]
            hint = "text with ': ' in it has to be quoted" if ": " in before else "is a line indented too far?"
        if CONFLICT.search(raw):
            hint = "it has conflict markers: settle the merge first"
        raise UserError(f"{where}: this is not YAML: {why}", hint=hint) from None


def is_text(text: str) -> bool:
    """Whether this is text, and neither a number nor another constant, where it stands without quotes."""
    return not (text in _CONSTANTS or any(each.fullmatch(text) for each in (_DECIMAL, _BASED, _FLOAT)))


def _line(raw: bytes, number: int) -> bytes:
    lines = raw.split(b"\n", number + 1)
    return lines[number] if number < len(lines) else b""


def _build(events: Iterator[Event], source: str) -> Document:
    from yaml import events as kinds  # noqa: PLC0415

    scalar, alias = kinds.ScalarEvent, kinds.AliasEvent
    begins, ends = (kinds.MappingStartEvent, kinds.SequenceStartEvent), (kinds.MappingEndEvent, kinds.SequenceEndEvent)
    # What an anchor stands for: the value, its lines, how many values it has and how many levels.
    anchors: dict[str, tuple[Any, Any, int, int]] = {}
    root = _Frame(None, [], [], 0, 1)
    stack = [root]
    count = aliased = 0
    # This loop is most of what loading costs: about a microsecond for each event.
    for event in events:
        kind = type(event)
        top = stack[-1]
        line = event.start_mark.line + 1
        below: Any = None
        height = 0
        if kind is scalar:
            count += 1
            is_key = top.key is None and type(top.value) is dict
            value = event.value if is_key else _scalar(event, source)
            if event.anchor:
                anchors[event.anchor] = value, None, 1, 0
            if is_key:
                _take_key(top, event, line, source)
                continue
        elif kind in ends:
            stack.pop()
            value, below, height, line = top.value, top.lines, top.height, top.line
            if top.merged:
                value, below = _merge(top)
            if top.anchor:
                anchors[top.anchor] = value, below, count - top.before, height
            top = stack[-1]
        elif kind is alias:
            name = event.anchor
            if name not in anchors:
                raise _error(source, line, f"*{name} stands for nothing above it", f"&{name} marks what it stands for")
            value, below, size, height = anchors[name]
            count += size
            aliased += size
            if aliased > ALIASED_MAX:
                raise _error(source, line, f"aliases make more than {ALIASED_MAX:,} values", "take fewer aliases")
        elif kind in begins:
            is_map = kind is begins[0]
            if event.tag not in (None, "!", _TAG + ("map" if is_map else "seq")):
                raise _unknown_tag(event, source)
            if top.key is None and type(top.value) is dict:
                raise _error(source, line, "a key must be text, not a list or mapping", "quote it if it is text")
            stack.append(_Frame(event.anchor, {} if is_map else [], {} if is_map else [], count, line))
            count += 1
            if len(stack) > DEPTH_MAX:
                raise _too_deep(source, line)
            continue
        elif kind is kinds.DocumentStartEvent and root.value:
            raise _error(source, line, "a second document begins", "one file holds one document: remove the line ---")
        else:
            continue
        if height >= top.height:
            top.height = height + 1
            if len(stack) + height > DEPTH_MAX:  # aliases may make it deeper than what is written
                raise _too_deep(source, line)
        if type(top.value) is list:
            top.value.append(value)
            top.lines.append((line, below))
        elif top.key is None:
            raise _error(source, line, "a key must be text, not an alias", "write it out")
        elif top.key is _MERGE:
            _take_merged(top, value, below, line, source)
            top.key = None
        else:
            top.value[top.key] = value
            top.lines[top.key] = (top.key_line, below)
            top.key = None
    return Document(root.value[0] if root.value else None, source, root.lines[0] if root.value else (1, None))


def _too_deep(source: str, line: int) -> UserError:
    return _error(source, line, f"nested more than {DEPTH_MAX} levels deep", "make it flatter")


def _take_key(frame: _Frame, event: Any, line: int, source: str) -> None:
    key = event.value
    if key == "<<" and event.implicit[0]:
        if frame.merged:
            raise _error(source, line, "<< stands here a second time", "merge several at once: <<: [*a, *b]")
        frame.key = _MERGE
        return
    if key in frame.value:
        before = frame.lines[key][0]
        raise _error(
            source, line, f"the key {key!r} stands in line {before} already", "remove or rename one of the two"
        )
    frame.key, frame.key_line = key, line


def _take_merged(frame: _Frame, value: Any, below: Any, line: int, source: str) -> None:
    parts = [(value, below)] if isinstance(value, dict) else None
    if isinstance(value, list):
        parts = [(each, lines[1]) for each, lines in zip(value, below, strict=True)]
    if not parts or not all(isinstance(each, dict) for each, _ in parts):
        raise _error(source, line, "<< merges mappings, and this is none", "<<: *name, or <<: [*one, *two]")
    frame.merged = parts


def _merge(frame: _Frame) -> tuple[dict[str, Any], dict[str, Lines]]:
    """The mapping with what `<<` brings: its own keys win, then those of the mapping named first."""
    value: dict[str, Any] = {}
    lines: dict[str, Lines] = {}
    for each, below in reversed(frame.merged):
        value |= each
        lines |= below
    return value | frame.value, lines | frame.lines


def _scalar(event: Any, source: str) -> Any:
    text: str = event.value
    if event.implicit[0]:
        if not text or text[0] in _NUMBER_BEGINS or text in _CONSTANTS:
            return _plain(text, event, source)
        return text
    if event.tag is None or event.tag in ("!", _TAG + "str"):
        return text
    value = _plain(text, event, source)
    name = event.tag.removeprefix(_TAG)
    if name == "float" and type(value) is int:
        return float(value)
    if type(value) is not _SCALAR_TAGS.get(name):
        raise _unknown_tag(event, source)
    return value


def _plain(text: str, event: Any, source: str) -> Any:
    """What unquoted text means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    is_decimal, is_based = _DECIMAL.fullmatch(text), _BASED.fullmatch(text)
    if not (is_decimal or is_based or _FLOAT.fullmatch(text)):
        return text
    if len(text) > DIGITS_MAX:  # Python reads longer ones in base 16, and then refuses to print them
        raise _error(source, event.start_mark.line + 1, "this number is too long", "quote it if it is text")
    if is_based:
        return int(text, 0)
    return int(text) if is_decimal else float(text.replace("_", ""))


def _unknown_tag(event: Any, source: str) -> UserError:
    tag = quote(event.tag.replace(_TAG, "!!"))
    return _error(source, event.start_mark.line + 1, f"the tag {tag} does not fit here", "remove the tag")


def _error(source: str, line: int, message: str, hint: str) -> UserError:
    return UserError(f"{quote(source)}:{line}: {message}", hint=hint)
