"""`foreach` and `matrix`: one definition becomes many, each with a name and values of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from vcs_ml import values
from vcs_ml.pipeline.shape import Fault, found
from vcs_ml.pipeline.template import Room, resolve

INSTANCES_MAX: Final = 100_000
_NAME_MAX: Final = 500


class Instance(NamedTuple):
    """One stage to be: its name, what is written of it and where (the keys below its name), and its loop's values."""

    name: str
    definition: Mapping[str, Any]
    at: tuple[str, ...]
    loop: Mapping[str, Any]


def instances(name: str, definition: Mapping[str, Any], context: Mapping[str, Any], room: Room) -> Iterator[Instance]:
    """The stages that one entry of `stages` stands for. Raises Fault.

    `name@value` for a list of plain values, `name@0` where the list holds anything else, `name@key` for a mapping;
    with several axes `name@value-value`, where AXIS0 stands for a value that is not plain.
    """
    if "foreach" in definition:
        return _foreach(name, definition, context, room)
    if "matrix" in definition:
        return _matrix(name, definition, context, room)
    return iter((Instance(name, definition, (), {}),))


def _foreach(name: str, definition: Mapping[str, Any], context: Mapping[str, Any], room: Room) -> Iterator[Instance]:
    try:
        data = resolve(definition["foreach"], context, room, composite=True)
        if isinstance(data, dict):
            labels = list(data)
        elif isinstance(data, list):
            plain = all(map(_is_plain, data))
            labels = [values.text(item) if plain else str(index) for index, item in enumerate(data)]
        else:
            raise Fault(
                f"expected a list or a mapping, found {found(data)}", hint="a template has to name a list or mapping"
            )
        _check(labels)
    except Fault as fault:
        raise fault.under("foreach") from None
    for label, item in zip(labels, data.values() if isinstance(data, dict) else data, strict=True):
        loop = {"item": item, "key": label} if isinstance(data, dict) else {"item": item}
        yield Instance(f"{name}@{label}", definition["do"], ("do",), loop)


def _matrix(name: str, definition: Mapping[str, Any], context: Mapping[str, Any], room: Room) -> Iterator[Instance]:
    try:
        axes = resolve(definition["matrix"], context, room, composite=True)
        if not axes:
            raise Fault("the matrix is empty", hint="write NAME: [VALUE, ...] into it, or remove the key")
        for axis, data in axes.items():
            if not isinstance(data, list):
                raise Fault(f"expected a list, found {found(data)}", hint="a template has to name a list", path=(axis,))
        labelled = [
            [(values.text(item) if _is_plain(item) else f"{axis}{index}", item) for index, item in enumerate(data)]
            for axis, data in axes.items()
        ]
        total = math.prod(map(len, labelled))
        if total > INSTANCES_MAX:
            raise Fault(f"{total:,} combinations are more than {INSTANCES_MAX:,}", hint="take shorter lists")
        if total:
            _check_length("-".join(max((label for label, _ in axis), key=len) for axis in labelled))
        labels = ["-".join(label for label, _ in combination) for combination in itertools.product(*labelled)]
        _check(labels)
    except Fault as fault:
        raise fault.under("matrix") from None
    for label, combination in zip(labels, itertools.product(*labelled), strict=True):
        item = dict(zip(axes, (item for _, item in combination), strict=True))
        yield Instance(f"{name}@{label}", definition, (), {"item": item, "key": label})


def _check(labels: list[str]) -> None:
    """Raise Fault unless these can be parts of names of stages."""
    if len(labels) > INSTANCES_MAX:
        raise Fault(f"{len(labels):,} stages are more than {INSTANCES_MAX:,}", hint="take a shorter list")
    seen: set[str] = set()
    for label in labels:
        _check_length(label)
        if not label or not label.isprintable() or label != label.strip():
            raise _unfit(label)
        if label in seen:
            raise Fault(f"two stages would be named {label!r}", hint="a mapping gives each stage a name: its key")
        seen.add(label)


def _check_length(label: str) -> None:
    if len(label) > _NAME_MAX:
        raise _unfit(label)


def _unfit(label: str) -> Fault:
    return Fault(f"{label[:100]!r} cannot be part of a name", hint="a mapping gives each stage a name: its key")


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list)
