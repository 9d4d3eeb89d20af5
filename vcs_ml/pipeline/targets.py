"""What a user means by the name of a stage, a vml.yaml, or a path."""

from __future__ import annotations

import posixpath
from fnmatch import fnmatchcase
from typing import Final

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.stage import FILE, address
from vcs_ml.values import suggestion

_EMPTY: Final = "its foreach or matrix is empty"
_SHOWN: Final = 5


def find(graph: Graph, target: str, start: str = "") -> list[str]:
    """The addresses of the stages that `target` means to somebody in the directory `start`, in the order of the files.

    In this order: a stage, group or pattern of names in the vml.yaml there, then in the topmost one; `FILE:name` with
    the same; a vml.yaml, for all of its stages; a path, for the stage that makes it, or for all that are written in it
    or make something in it.
    UserError with the nearest name if it is none of these.
    """
    file, name = _split(target)
    for place in _places(target, start):
        if found := _named(graph, place, name):
            return found
    if is_off(graph, target, start):
        raise UserError(f"the stage {quote(target)} is switched off: its if is false", hint="change what its if names")
    if any(address(place, name) in graph.empty for place in _places(target, start)):
        raise UserError(f"{quote(target)} has no instances: {_EMPTY}", hint="give it a value")
    if not file:
        path = posixpath.normpath(posixpath.join(start, target))
        path = "" if path == "." else path
        makers = set(graph.outputs.makers(path) or graph.outputs.inside({path}).get(path, []))
        inside = f"{path}/" if path else ""
        found = [
            each
            for each, stage in graph.stages.items()
            if graph.numbers[each] in makers or stage.file == path or stage.file.startswith(inside)
        ]
        if found:
            return found
    raise _unknown(graph, target)


def is_off(graph: Graph, target: str, start: str = "") -> bool:
    """Whether `target` is the name of a stage, or group, whose condition does not hold, and of no other."""
    _, name = _split(target)
    places = _places(target, start)
    wanted = [address(place, name) for place in places]
    off = any(each == one or each.startswith(f"{one}@") for each in graph.off for one in wanted)
    return off and not any(_named(graph, place, name) for place in places)


def none_left(graph: Graph) -> str | None:
    """Why there are no stages where a vml.yaml has some; None if none has."""
    reasons = [f"{quote(each)} is switched off (its if is false)" for each in sorted(graph.off)]
    reasons += [f"{quote(each)} has no instances ({_EMPTY})" for each in graph.empty]
    more = [f"and {len(reasons) - _SHOWN:,} more"] if len(reasons) > _SHOWN else []
    return f"no stage is left: {', '.join([*reasons[:_SHOWN], *more])}" if reasons else None


def _places(target: str, start: str) -> tuple[str, str]:
    """The files in which a stage of this name is sought."""
    file, _ = _split(target)
    if not file:
        return posixpath.join(start, FILE), FILE
    return posixpath.normpath(posixpath.join(start, file)), posixpath.normpath(file)


def _split(target: str) -> tuple[str, str]:
    """The file and the name in `sub/vml.yaml:train`; no file where there is none."""
    end = target.find(f"{FILE}:")
    if end < 0 or (end > 0 and target[end - 1] != "/"):
        return "", target
    end += len(FILE)
    return target[:end], target[end + 1 :]


def _named(graph: Graph, file: str, name: str) -> list[str]:
    wanted = address(file, name)
    if wanted in graph.stages:
        return [wanted]
    ours = {each: stage for each, stage in graph.stages.items() if stage.file == file}
    if group := [each for each, stage in ours.items() if stage.group == wanted]:
        return group
    return [each for each, stage in ours.items() if fnmatchcase(stage.name, name)]


def _unknown(graph: Graph, target: str) -> UserError:
    known = [*graph.stages, *{stage.group: None for stage in graph.stages.values()}, *graph.outputs.paths]
    same_name = [each for each, stage in graph.stages.items() if stage.name == target]
    near = same_name[0] if same_name else suggestion(target, known)
    return UserError(
        f"{quote(target)} is no stage, and no stage makes it",
        hint=f"did you mean {quote(near)}?" if near else "vml stage list shows the stages",
    )
