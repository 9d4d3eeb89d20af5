"""Reading vml.yaml files: everything that they say, resolved."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from vcs_ml import values, yaml
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline import build, context, expand, schema
from vcs_ml.pipeline.context import Context, ValuesOf
from vcs_ml.pipeline.shape import Fault
from vcs_ml.pipeline.stage import Declared, Stage, address, place
from vcs_ml.pipeline.template import Room, is_template, resolve, resolve_command

# What a key is quoted for, so that it is seen where it ends.
_APART: Final = re.compile(r"[./\s]")
# The bytes of the file at a project-relative path; None if there is none.
Read = Callable[[str], bytes | None]


class Pipeline(NamedTuple):
    """The stages of all files, those of the topmost file first, and what each file says beside them. `empty` are the
    addresses of a `foreach` or `matrix` that stands for no stage.
    """

    stages: tuple[Stage, ...]
    declared: tuple[Declared, ...]
    empty: tuple[str, ...] = ()


def load(
    root: Path,
    files: Iterable[str],
    read: Read | None = None,
    *,
    unwritten: Collection[str] = (),
    strict: bool = True,
) -> Pipeline:
    """What these vml.yaml files, given by their project-relative paths, say.

    `read` gives the bytes of any file, for another revision than the workspace. UserError with file, line and key for
    whatever is wrong with one of them. Of the files `unwritten` it gives what shall be written into the workspace:
    lines are those of what is there, and a stage that is not there so has the line 0. Unless `strict`, a gate that is
    wrong is one of the `faults` of its file.
    """

    def read_workspace(path: str) -> bytes | None:
        return values.read(root / path)

    take = read or read_workspace

    @cache
    def values_of(path: str) -> Any:
        raw = take(path)
        return None if raw is None else values.parse(raw, path)

    stages: list[Stage] = []
    declared = []
    empty: list[str] = []
    room = Room()
    for file in sorted(set(files), key=lambda path: path.split("/")[:-1]):
        raw = take(file)
        if raw is None:
            raise UserError(f"{quote(file)} does not exist", hint="git status shows whether it was deleted")
        document = yaml.parse(raw, file)
        if file in unwritten:
            document = _as_there(document, yaml.parse(read_workspace(file) or b"", file))
        try:
            left = expand.INSTANCES_MAX - len(stages)
            more, none, beside = _load_file(str(root), document, values_of, room, left, strict=strict)
        except Fault as fault:
            raise _located(fault, document) from None
        stages += more
        declared.append(beside)
        empty += (address(file, name) for name in none)
    return Pipeline(tuple(stages), tuple(declared), tuple(empty))


def document(raw: bytes, source: str) -> yaml.Document:
    """What a vml.yaml says, once its keys were seen to be right. UserError as in `load`."""
    found = yaml.parse(raw, source)
    try:
        schema.validate(found.value)
    except Fault as fault:
        raise _located(fault, found) from None
    return found


def _located(fault: Fault, document: yaml.Document) -> UserError:
    where = place(document.source, document.line(fault.path))
    keys = ".".join(_key(str(key)) for key in fault.path)
    return UserError(": ".join(filter(None, (where, keys, fault.message))), hint=fault.hint)


def _key(text: str) -> str:
    shown = quote(text)
    return shown if shown[0] == '"' or not _APART.search(shown) else f'"{shown}"'


def _as_there(document: yaml.Document, there: yaml.Document) -> yaml.Document:
    """A document to be written, in which only stages differ, with the lines of what is there."""
    line, lines = there.lines
    known = lines if isinstance(lines, dict) else {}
    at, below = known.get("stages", (0, None))
    old, before = (below if isinstance(below, dict) else {}), (there.value or {}).get("stages") or {}
    stages = {
        name: old[name] if name in old and before[name] == stage else (0, None)
        for name, stage in document.value["stages"].items()
    }
    return document._replace(lines=(line, {**known, "stages": (at, stages)}))


class _File(NamedTuple):
    """One vml.yaml, and how to get at what it names."""

    root: str
    document: yaml.Document
    values_of: ValuesOf
    top: Callable[[], Context]
    room: Room

    @property
    def path(self) -> str:
        return self.document.source

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.document.source)


def _load_file(
    root: str, document: yaml.Document, values_of: ValuesOf, room: Room, most: int, *, strict: bool
) -> tuple[list[Stage], list[str], Declared]:
    """The stages of one file, at `most` so many, the names that stand for none, and what it says beside them. Raises
    Fault.
    """
    strict = strict or not isinstance(document.value, dict) or not isinstance(document.value.get("gates"), dict)
    schema.validate(document.value if strict else {**document.value, "gates": {}})
    content: Mapping[str, Any] = document.value or {}

    @cache
    def top() -> Context:
        try:
            return context.of_file(posixpath.dirname(document.source), content.get("vars", ()), values_of)
        except Fault as fault:
            raise fault.under("vars") from None

    if "vars" in content:
        top()  # what is wrong with them is said also where no template needs them
    file = _File(root, document, values_of, top, room)
    stages: dict[str, Stage] = {}
    empty: list[str] = []
    for name, definition in (content.get("stages") or {}).items():
        before = len(stages)
        try:
            for stage in _stages(file, name, definition):
                if stage.name in stages:
                    hint = f"{place(file.path, stages[stage.name].line)} has it already: rename one of the two"
                    raise Fault(f"a second stage is named {stage.name!r}", hint=hint)
                stages[stage.name] = stage
                if len(stages) > most:
                    raise Fault(f"more than {expand.INSTANCES_MAX:,} stages in all", hint="take shorter lists")
        except Fault as fault:
            raise fault.under(name).under("stages") from None
        if len(stages) == before:
            empty.append(name)
    return list(stages.values()), empty, _declared(file, content, strict=strict)


def _stages(file: _File, name: str, definition: Mapping[str, Any]) -> Iterator[Stage]:
    """The stages of one entry."""
    line = file.document.line(("stages", name))
    if definition.keys().isdisjoint(("foreach", "matrix", "vars")) and not is_template(definition):
        yield build.stage(file.root, file.path, name, line, definition)
        return
    top = file.top().values

    @cache
    def with_vars(wdir: str) -> Mapping[str, Any]:
        items = definition.get("do", definition)["vars"]
        try:
            return context.extended(file.top(), wdir, items, file.values_of).values
        except Fault as fault:
            raise fault.under("vars") from None

    for instance in expand.instances(name, definition, top, file.room):
        try:
            found = {**top, **instance.loop}
            if "vars" in instance.definition:
                own = with_vars(_wdir(file, instance.definition, found))
                if clash := [key for key in instance.loop if key in own and key not in top]:
                    raise Fault(f"{clash[0]} belongs to the loop", hint="give the value another name", path=("vars",))
                found = {**own, **instance.loop}
            resolved = _resolved(instance.definition, found, file.room)
            schema.validate_stage(resolved)
            yield build.stage(file.root, file.path, instance.name, line, resolved)
        except Fault as fault:
            for key in reversed(instance.at):
                fault.under(key)
            raise


def _wdir(file: _File, definition: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    wdir = _resolved_at("wdir", definition.get("wdir"), found, file.room)
    return build.directory(file.root, file.path, {"wdir": values.text(wdir) if wdir is not None else None})


def _resolved(definition: Mapping[str, Any], found: Mapping[str, Any], room: Room) -> dict[str, Any]:
    keys = [key for key in definition if key not in ("vars", "matrix")]
    return {key: _resolved_at(key, definition[key], found, room) for key in keys}


def _resolved_at(key: str, value: Any, found: Mapping[str, Any], room: Room) -> Any:
    try:
        if key != "cmd":
            return resolve(value, found, room)
        if isinstance(value, str):
            return resolve_command(value, found, room)
        room.take(len(value))
        return [resolve_command(each, found, room) for each in value]
    except Fault as fault:
        raise fault.under(key) from None


def _declared(file: _File, content: Mapping[str, Any], *, strict: bool) -> Declared:
    found = _beside(file, {key: content[key] for key in ("params", "metrics", "plots", "artifacts") if key in content})
    gates, faults = _gates(file, content.get("gates", {}), strict=strict)
    params, metrics = (
        tuple(build.needed_paths(file.root, file.directory, key, found)) for key in ("params", "metrics")
    )
    plots = [{each: None} if isinstance(each, str) else each for each in found.get("plots", ())]
    return Declared(
        file.path,
        params,
        metrics,
        tuple((name, props or {}) for each in plots for name, props in each.items()),
        found.get("artifacts", {}),
        gates,
        faults,
    )


def _gates(
    file: _File, content: Mapping[str, Any], *, strict: bool
) -> tuple[dict[str, Mapping[str, Any]], dict[str, UserError]]:
    """The gates of a file, and, unless `strict`, what is wrong with others. Raises Fault if it is."""
    if strict:
        return _beside(file, {"gates": content})["gates"], {}
    found: dict[str, Mapping[str, Any]] = {}
    faults: dict[str, UserError] = {}
    for name, gate in content.items():
        one = {"gates": {name: gate}}
        try:
            schema.validate(one)
            more = _beside(file, one)["gates"]
            if not found.keys().isdisjoint(more):
                raise Fault(
                    f"the key {next(iter(more))!r} stands here twice", hint="look at what its templates come to"
                )
            found |= more
        except Fault as fault:
            faults[name] = _located(fault, file.document)
    return found, faults


def _beside(file: _File, content: dict[str, Any]) -> dict[str, Any]:
    """What a file says beside stages, with its templates resolved."""
    if not is_template(content):
        return content
    found = _resolved(content, file.top().values, file.room)
    schema.validate(found, resolved=True)
    return found
