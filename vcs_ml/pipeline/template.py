"""Templates: `${a.b[0].c}` in text becomes a value of the context."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vcs_ml import values
from vcs_ml.output import count, one_line, quote
from vcs_ml.pipeline.shape import Fault

BEGIN: Final = "${"
ROOM: Final = 100_000_000

# What no path of keys has, but a shell's ${x:-y}, ${#x} or ${x%.*}, or arithmetic.
_NO_PATH: Final = re.compile(r"[\s:#%!?+*/=@^,$|&<>(){}'\"\\]|\A\Z")
_FOR_THE_SHELL: Final = r"for the shell write \${ in the place of each ${ (\\${ in double quotes of YAML)"

# An escaped beginning, a whole template, or a beginning without end.
_TEMPLATE: Final = re.compile(r"\\\$\{|\$\{([^}]*)\}|\$\{")


class Room:
    """How much the templates of a pipeline may still come to: characters of text, and items of lists and mappings. What
    shares a value, as one that is a template as a whole, takes nothing.
    """

    def __init__(self, left: int = ROOM) -> None:
        self._left = left

    def take(self, size: int) -> None:
        """Take some of it. Raises Fault where that is too much."""
        self._left -= size
        if self._left < 0:
            raise Fault(
                f"here the templates come to more than {ROOM:,} characters",
                hint="let commands read long values from files, and take shorter lists",
            )


def is_template(value: Any) -> bool:
    """Whether there is a `${`, escaped or not, anywhere in it."""
    if isinstance(value, str):
        return BEGIN in value
    if isinstance(value, dict):
        return any(BEGIN in key or is_template(each) for key, each in value.items())
    return isinstance(value, list) and any(map(is_template, value))


def resolve(value: Any, context: Mapping[str, Any], room: Room, *, composite: bool = False) -> Any:
    """A copy of `value` with every template in it, also in keys, replaced, as far as there is `room`.

    Text that is one template takes the value with its type; in longer text it becomes text. Only with `composite` may
    that be a list or mapping. `\\${` stands for `${`. Raises Fault.
    """
    if isinstance(value, str):
        return _resolve_text(value, context, room, composite) if BEGIN in value else value
    if isinstance(value, dict):
        room.take(len(value))
        found: dict[str, Any] = {}
        for key, each in value.items():
            try:
                name = values.text(_resolve_text(key, context, room, False)) if BEGIN in key else key
                if name in found:
                    raise Fault(f"the key {name!r} stands here twice", hint="look at what its templates come to")
                found[name] = resolve(each, context, room, composite=composite)
            except Fault as fault:
                raise fault.under(key) from None
        return found
    if isinstance(value, list):
        room.take(len(value))
        items = []
        for index, each in enumerate(value):
            try:
                items.append(resolve(each, context, room, composite=composite))
            except Fault as fault:
                raise fault.under(index) from None
        return items
    return value


def resolve_command(command: str, context: Mapping[str, Any], room: Room) -> str:
    """`command` with its templates replaced, as far as there is `room`; a mapping becomes arguments, `--name value`,
    quoted for a shell.
    """

    def replaced(match: re.Match[str]) -> str:
        value = _value(match, context)
        return " ".join(_arguments(value, "", room)) if isinstance(value, dict) else _embedded(value, match, room)

    if BEGIN not in command:
        return command
    room.take(len(command))
    return _TEMPLATE.sub(replaced, command)


def _resolve_text(text: str, context: Mapping[str, Any], room: Room, composite: bool) -> Any:
    match = _TEMPLATE.fullmatch(text)
    if match is None or match[1] is None:
        room.take(len(text))
        return _TEMPLATE.sub(lambda match: _embedded(_value(match, context), match, room), text)
    value = _value(match, context)
    return value if composite else _scalar(value, match)


def _value(match: re.Match[str], context: Mapping[str, Any]) -> Any:
    if match[0] == "\\" + BEGIN:
        return BEGIN
    if match[1] is None:
        raise Fault("${ without }", hint=_FOR_THE_SHELL)
    key = match[1].strip()
    try:
        return values.select(context, key)
    except KeyError:
        hint = one_line(_hint(match[0], key, context))
        raise Fault(f"{quote(match[0])}: there is no value {key!r}", hint=hint) from None


def _hint(written: str, key: str, context: Mapping[str, Any]) -> str:
    """What to do about a key without a value."""
    if _NO_PATH.search(key):
        return f"between the braces stands a path of keys and nothing else; {_FOR_THE_SHELL}"
    first = re.split(r"[.\[]", key, maxsplit=1)[0]
    if first in ("item", "key") and first not in context:
        return f"{first} is there with matrix, and with foreach{' over a mapping' if first == 'key' else ''}"
    above, _, index = key.removesuffix("]").rpartition("[" if key.endswith("]") else ".")
    with contextlib.suppress(KeyError):
        if index.isdecimal() and isinstance(found := values.select(context, above), list):
            return f"{above} has {count(len(found), 'item')}, and the first is {above}[0]"
    near = values.nearest(context, key)
    if near and "}" not in near:
        with contextlib.suppress(KeyError):  # a key below the top that itself has dots cannot be named
            values.select(context, near)
            return f"did you mean {quote(f'${{{near}}}')}?"
    return rf"define it in params.yaml or vars; \{written} is left to the shell (\\{written} in double quotes of YAML)"


def _scalar(value: Any, match: re.Match[str]) -> Any:
    if isinstance(value, dict | list):
        what = "mapping" if isinstance(value, dict) else "list"
        raise Fault(f"{quote(match[0])} is a {what}", hint="take one value of it; only a command can unpack a mapping")
    return value


def _embedded(value: Any, match: re.Match[str], room: Room) -> str:
    text = values.text(_scalar(value, match))
    room.take(len(text))
    return text


def _arguments(value: Mapping[str, Any], above: str, room: Room) -> Iterator[str]:
    for key, each in value.items():
        name = f"{above}{key}"
        room.take(len(name))
        if isinstance(each, dict):
            yield from _arguments(each, f"{name}.", room)
        elif each is True:
            yield shlex.quote(f"--{name}")
        elif isinstance(each, list):
            if any(isinstance(item, dict | list) for item in each):
                raise Fault(f"{name} is a list of lists or mappings", hint="a command takes lists of plain values")
            if each:
                yield " ".join((shlex.quote(f"--{name}"), *(_quoted(item, room) for item in each)))
        elif each is not False:
            yield f"{shlex.quote(f'--{name}')} {_quoted(each, room)}"


def _quoted(value: Any, room: Room) -> str:
    text = values.text(value)
    room.take(len(text) + 1)
    return shlex.quote(text)
