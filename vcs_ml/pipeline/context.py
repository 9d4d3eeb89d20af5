"""The context of templates: params.yaml and `vars`, merged."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vcs_ml import paths, values
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline.shape import Fault
from vcs_ml.pipeline.stage import PARAMS
from vcs_ml.pipeline.template import is_template

# The values in the file at a project-relative path; None if there is no such file.
ValuesOf = Callable[[str], Any]


class Context(NamedTuple):
    """Values for templates, and the parts that they were merged from: where each is from, and what was in it."""

    values: Mapping[str, Any] = {}
    parts: tuple[tuple[str, Mapping[str, Any]], ...] = ()


def of_file(directory: str, items: Sequence[Any], values_of: ValuesOf) -> Context:
    """What the vml.yaml in this directory can use: params.yaml beside it, if there is one, then its `vars` in order."""
    params = posixpath.join(directory, PARAMS)
    found = values_of(params)
    if found is not None and not isinstance(found, dict):
        raise UserError(f"{quote(params)} is no mapping", hint="templates need names: write name: value")
    return extended(Context(dict(found or {}), ((params, found),) if found else ()), directory, items, values_of)


def extended(context: Context, directory: str, items: Sequence[Any], values_of: ValuesOf) -> Context:
    """`context` with `vars` merged into it. Raises Fault, with the index of the item, if one redefines a value.

    What a file has given already it does not give again, so that naming it twice is no error.
    """
    for index, item in enumerate(items):
        try:
            if is_template(item):
                raise Fault("vars hold no templates", hint="write the value out, or use the template in the stage")
            if isinstance(item, str):
                source, new = _from_file(item, directory, values_of)
                given = {key for name, part in context.parts if name == source for key in part}
                new = {key: value for key, value in new.items() if key not in given}
            else:
                source, new = "vars", item
            context = Context(_merged(context, context.values, new, source, ()), (*context.parts, (source, new)))
        except Fault as fault:
            raise fault.under(index) from None
    return context


def _from_file(item: str, directory: str, values_of: ValuesOf) -> tuple[str, Mapping[str, Any]]:
    name, _, wanted = item.partition(":")
    path = posixpath.normpath(posixpath.join(directory, name))
    if why := paths.problem(path):
        raise Fault(f"{name!r} cannot be read for vars: {why}", hint="name a file inside the project")
    found = values_of(path)
    if found is None:
        raise Fault(f"{quote(path)} does not exist", hint="vars take a file, file:key,key, or a mapping")
    if not isinstance(found, dict):
        raise Fault(f"{quote(path)} is no mapping", hint="templates need names: write name: value")
    names = [each.strip() for each in wanted.split(",") if each.strip()]
    for each in names:
        if each not in found:
            near = values.suggestion(each, found)
            raise Fault(
                f"{quote(path)} has no key {each!r}",
                hint=f"did you mean {quote(near)}?"
                if near
                else "the keys after the : are those at the top of the file",
            )
    return path, {each: found[each] for each in names} if names else found


def _merged(
    context: Context, old: Mapping[str, Any], new: Mapping[str, Any], source: str, above: tuple[str, ...]
) -> Mapping[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        path = (*above, key)
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merged(context, before, value, source, path)
        elif key in merged:
            first = next(name for name, part in context.parts if _has(part, path))
            raise Fault(
                f"{quote('.'.join(path))} is defined in {quote(first)} and again in {quote(source)}",
                hint="vars cannot redefine a value: give one of the two another name",
            )
        else:
            merged[key] = value
    return merged


def _has(part: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(part, dict) or key not in part:
            return False
        part = part[key]
    return True
