"""Shapes of YAML documents: what a value may be, the check of a value, and the JSON Schema that says the same."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.values import suggestion, text

_MOST: Final = 1e15
_BEGIN: Final = "${"
_TEMPLATE: Final = r"\$\{"
_TEMPLATED: Final = {"$ref": "#/definitions/template"}


class Fault(UserError):
    """What is wrong at a path of keys; whoever knows the file adds its name and the line."""

    def __init__(self, message: str, *, hint: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.path = path

    def under(self, key: str | int) -> Fault:
        """The same, seen from one level above."""
        self.path = (key, *self.path)
        return self


class Text(NamedTuple):
    """Text; `pattern` is a regular expression of both Python and JavaScript that all of it must match."""

    what: str = "text"
    pattern: str | None = None
    choices: tuple[str, ...] = ()


class Flag(NamedTuple):
    """true or false."""


class Number(NamedTuple):
    """A number from `least` on, or above it, up to `most`, which keeps arithmetic with it harmless."""

    what: str = "a number"
    least: float = 0
    above: bool = False
    whole: bool = False
    most: float = _MOST


class Null(NamedTuple):
    """Nothing: the key stands there without a value."""


class Anything(NamedTuple):
    """Any value at all."""


class ListOf(NamedTuple):
    """A list of one shape."""

    item: Shape
    least: int = 0


class MapOf(NamedTuple):
    """A mapping whose keys are names that people choose; where these have a pattern, no template passes for one."""

    value: Shape
    keys: Text = Text("a name")


class Key(NamedTuple):
    """A key that is known: the shape of its value, and what it does."""

    shape: Shape
    help: str
    required: bool = False


class Keys(NamedTuple):
    """A mapping of known keys. `name` is what it is called in messages; `hints` say what to do about keys that it does
    not have and somebody may expect.
    """

    name: str
    keys: Mapping[str, Key]
    hints: Mapping[str, str] = {}


class Either(NamedTuple):
    """One of several shapes, which the type of the value decides between."""

    shapes: tuple[Shape, ...]


class Forms(NamedTuple):
    """A mapping of known keys that has two forms; one of the keys of `second` makes it that one."""

    first: Keys
    second: Keys


Shape = Text | Flag | Number | Null | Anything | ListOf | MapOf | Keys | Either | Forms


def check(shape: Shape, value: Any, *, resolved: bool = False) -> None:
    """Raise Fault, with the path inside `value`, unless it is of this shape.

    Before templates are `resolved`, text with `${` passes for a number, a flag, or text of any pattern.
    """
    match shape:
        case Text(what, pattern, choices):
            if type(value) is not str:
                raise _unexpected(shape, value, resolved)
            bad = (choices and value not in choices) or (pattern and not re.fullmatch(pattern, value))
            if bad and (resolved or _BEGIN not in value):
                near = suggestion(value, choices)
                expected = f"expected {_expected(shape)}, found {found(value)}"
                raise Fault(expected, hint=_did_you_mean(near, f"write {what}"))
        case ListOf(item, least):
            if type(value) is not list:
                raise _unexpected(shape, value, resolved)
            if len(value) < least:
                raise Fault("the list is empty", hint=f"write {_expected(item)} into it, or remove the key")
            for index, each in enumerate(value):
                try:
                    check(item, each, resolved=resolved)
                except Fault as fault:
                    raise fault.under(index) from None
        case Keys(name, keys, hints):
            if type(value) is not dict:
                raise _unexpected(shape, value, resolved)
            for key, each in value.items():
                known = keys.get(key)
                if known is None:
                    near = _did_you_mean(suggestion(key, keys), f"{name} has the keys {', '.join(keys)}")
                    hint = hints.get(key, near)
                    raise Fault("unknown key", hint=hint, path=(key,))
                try:
                    check(known.shape, each, resolved=resolved)
                except Fault as fault:
                    raise fault.under(key) from None
            for key, known in keys.items():
                if known.required and key not in value:
                    raise Fault(f"the key {key} is missing", hint=f"{key}: {known.help}")
        case MapOf(inner, names):
            if type(value) is not dict:
                raise _unexpected(shape, value, resolved)
            for key, each in value.items():
                try:
                    check(names, key, resolved=True)
                    check(inner, each, resolved=resolved)
                except Fault as fault:
                    if not fault.path and key in _keys(inner) and key != (first := next(iter(value))):
                        fault.hint = f"indent {key} further, if it belongs to {quote(first)}"
                    raise fault.under(key) from None
        case Either(shapes):
            fitting = next((each for each in shapes if _fits(each, value, resolved)), None)
            if fitting is None:
                raise _unexpected(shape, value, resolved)
            try:
                check(fitting, value, resolved=resolved)
            except Fault:
                if isinstance(fitting, Text):  # what else it could have been is of use
                    raise _unexpected(shape, value, resolved) from None
                raise
        case Forms(first, second):
            is_second = type(value) is dict and not second.keys.keys().isdisjoint(value)
            check(second if is_second else first, value, resolved=resolved)
        case _:
            if not _fits(shape, value, resolved):
                raise _unexpected(shape, value, resolved)


def _fits(shape: Shape, value: Any, resolved: bool) -> bool:
    """Whether the type, or for what has no parts the value, is right."""
    match shape:
        case Anything():
            return True
        case Text():
            return type(value) is str
        case Null():
            return value is None
        case ListOf():
            return type(value) is list
        case MapOf() | Keys() | Forms():
            return type(value) is dict
        case Either(shapes):
            return any(_fits(each, value, resolved) for each in shapes)
    if type(value) is str:
        return not resolved and _BEGIN in value
    if isinstance(shape, Flag):
        return type(value) is bool
    if type(value) not in (int, float) or not shape.least <= value <= shape.most:
        return False
    return not (shape.whole and value != int(value)) and not (shape.above and value == shape.least)


def _keys(shape: Shape) -> Collection[str]:
    """The keys that a mapping of this shape may have, where they are known."""
    if isinstance(shape, Either):
        return {key for each in shape.shapes for key in _keys(each)}
    return shape.keys.keys() if isinstance(shape, Keys) else ()


def _unexpected(shape: Shape, value: Any, resolved: bool) -> Fault:
    expected = _expected(shape, value)
    hint = f"write {expected}"
    if isinstance(shape, ListOf) and type(value) is dict:
        hint = "write a list: a line that begins with - for each key"
    if type(value) in (int, float, bool) and _takes_text(shape, text(value)):
        hint = f"quote it{' where it comes from' if resolved else ''}: '{text(value)}'"
    return Fault(f"expected {expected}, found {found(value)}", hint=hint)


def _takes_text(shape: Shape, written: str) -> bool:
    if isinstance(shape, Either):
        return any(_takes_text(each, written) for each in shape.shapes)
    if not isinstance(shape, Text):
        return False
    return not (shape.choices and written not in shape.choices) and bool(re.fullmatch(shape.pattern or ".*", written))


def _did_you_mean(near: str | None, otherwise: str) -> str:
    return f"did you mean {near}?" if near else otherwise


def _expected(shape: Shape, value: Any = None) -> str:
    """What is expected in the place of `value`."""
    match shape:
        case Text(what, _, choices):
            return " or ".join(choices) or what
        case Number(what, least, above, _, most):
            if type(value) not in (int, float) or most < _MOST:  # then `what` says all
                return what
            if value > most:
                return f"{what} not above {most:g}"
            too_small = value < least or (above and value == least)
            return f"{what} {'above' if above else 'not below'} {least:g}" if too_small else what
        case Flag():
            return "true or false"
        case Null():
            return "nothing"
        case ListOf():
            return "a list"
        case Either(shapes):
            return " or ".join(dict.fromkeys(_expected(each, value) for each in shapes))
    return "a mapping"


def found(value: Any) -> str:
    """What a value is, in a few words of a message."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value if len(value) < 40 else value[:40] + '…'!r}"
    if isinstance(value, bool):
        return text(value)
    return f"the number {value}" if isinstance(value, int | float) else "a list" if type(value) is list else "a mapping"


def json_schema(shape: Shape) -> dict[str, Any]:
    """The JSON Schema (draft 7) of documents that `check` accepts while their templates are not resolved."""
    definitions: dict[str, Any] = {"template": {"type": "string", "pattern": _TEMPLATE}}
    top = _json(shape, definitions)
    return {"$schema": "http://json-schema.org/draft-07/schema#", **top, "definitions": definitions}


def _json(shape: Shape, definitions: dict[str, Any]) -> dict[str, Any]:
    match shape:
        case Text(_, pattern, choices):
            if choices:
                return {"anyOf": [{"enum": list(choices)}, _TEMPLATED]}
            return {"type": "string"} | ({"pattern": f"^(?:{pattern})$|{_TEMPLATE}"} if pattern else {})
        case Flag():
            return {"anyOf": [{"type": "boolean"}, _TEMPLATED]}
        case Number(_, least, above, whole, most):
            number = {"type": "integer" if whole else "number", "exclusiveMinimum" if above else "minimum": least}
            return {"anyOf": [number | {"maximum": most}, _TEMPLATED]}
        case Null():
            return {"type": "null"}
        case ListOf(item, least):
            return {"type": "array", "items": _json(item, definitions)} | ({"minItems": least} if least else {})
        case MapOf(value, names):
            inner = {"type": "object", "additionalProperties": _json(value, definitions)}
            return inner | ({"propertyNames": {"pattern": f"^(?:{names.pattern})$"}} if names.pattern else {})
        case Either(shapes):
            return {"anyOf": [_json(each, definitions) for each in shapes]}
        case Forms(first, second):
            one_of_its = {"anyOf": [{"required": [key]} for key in second.keys]}
            return {"if": one_of_its, "then": _json(second, definitions), "else": _json(first, definitions)}
        case Keys(name, keys, _):
            if name not in definitions:
                definitions[name] = {}
                definitions[name] = {
                    "type": "object",
                    "properties": {key: _described(each, definitions) for key, each in keys.items()},
                    "required": [key for key, each in keys.items() if each.required],
                    "additionalProperties": False,
                }
            return {"$ref": f"#/definitions/{name.replace(' ', '%20')}"}
    return {}


def _described(key: Key, definitions: dict[str, Any]) -> dict[str, Any]:
    # In draft 7, what stands beside a $ref does not count.
    inner = _json(key.shape, definitions)
    return {"description": key.help} | ({"allOf": [inner]} if "$ref" in inner else inner)
