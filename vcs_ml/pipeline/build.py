"""One stage out of what its definition came to: its paths from the project's top, its flags, its defaults."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vcs_ml import paths
from vcs_ml.output import quote
from vcs_ml.pipeline.shape import Fault
from vcs_ml.pipeline.stage import PARAMS, Out, OutKind, ParamSet, Resources, Stage
from vcs_ml.settings import parse_duration, parse_size
from vcs_ml.workspace import lockfile

_KINDS: Final[Mapping[str, OutKind]] = {"outs": "out", "metrics": "metric", "plots": "plot"}
_OUT_FLAGS: Final = frozenset(("cache", "persist", "push", "remote", "desc", "type", "meta"))
_MAGIC: Final = frozenset("*?[")


def stage(root: str, file: str, name: str, line: int, definition: Mapping[str, Any]) -> Stage:
    """The stage that a definition, valid and resolved, describes. Raises Fault.

    `root` is the absolute path of the project's top.
    """
    wdir = directory(root, file, definition)
    command = definition["cmd"]
    timeout = definition.get("timeout")
    resources = definition.get("resources", {})
    mutex = definition.get("mutex", ())
    return Stage(
        file,
        name,
        _commands((command,) if isinstance(command, str) else command),
        wdir,
        tuple(dict.fromkeys(needed_paths(root, wdir, "deps", definition))),
        _params(root, wdir, definition.get("params", ())),
        tuple(_outs(root, wdir, definition)),
        tuple(dict.fromkeys(definition.get("env", ()))),
        Resources(float(resources.get("cpu", 1)), float(resources.get("gpu", 0)), _size(resources.get("mem", 0))),
        (mutex,) if isinstance(mutex, str) else tuple(mutex),
        int(definition.get("retries", 0)),
        parse_duration(timeout) if isinstance(timeout, str) else timeout if timeout is None else float(timeout),
        definition.get("frozen", False),
        definition.get("always_changed", False),
        _condition(definition.get("if", True)),
        definition.get("shell", "sh"),
        definition.get("desc"),
        definition.get("meta"),
        line,
    )


def directory(root: str, file: str, definition: Mapping[str, Any]) -> str:
    """Where a stage runs. Raises Fault where that is outside of the project."""
    here = posixpath.dirname(file)
    wdir = definition.get("wdir")
    if wdir is None:
        return here
    try:
        path = _located(root, here, wdir)
        why = "it is outside of the project" if path.startswith("/") else path and paths.problem(path)
        if why:
            raise Fault(f"{wdir!r} cannot be a wdir: {why}", hint="the command may cd to wherever it has to run")
    except Fault as fault:
        raise fault.under("wdir") from None
    return path


def _located(root: str, base: str, path: str) -> str:
    """A path written in `base`, from the project's top; absolute if it is outside. Raises Fault for URLs and ""."""
    if not path:
        raise Fault("an empty path", hint="the directory itself is .")
    if "://" in path:
        raise Fault(f"{path!r} is a URL", hint="let a stage download it, and depend on what that makes")
    joined = f"{base}/{path}" if base and path[0] != "/" else path
    # Most paths are clean already, and normpath is what loading would spend most time in.
    if joined[0] in "./" or joined[-1] == "/" or "/." in joined or "//" in joined:
        joined = posixpath.normpath(joined)
        if joined.startswith("//"):  # which POSIX lets mean something else, and nobody does
            joined = joined[1:]
        if joined == ".":
            return ""
        if joined == ".." or joined.startswith("../"):
            joined = posixpath.normpath(f"{root}/{joined}")
        if joined == root:
            return ""
        joined = joined.removeprefix(f"{root}/")
    return joined


def needed_paths(root: str, base: str, key: str, definition: Mapping[str, Any]) -> Iterator[str]:
    """The paths in the list at `key`, of things that are read. Raises Fault."""
    for index, path in enumerate(definition.get(key, ())):
        try:
            yield _needed(root, base, path)
        except Fault as fault:
            raise fault.under(index).under(key) from None


def _needed(root: str, base: str, path: str) -> str:
    """`_located` for what is read. Raises Fault for the project as a whole and what belongs to Git or vml."""
    found = _located(root, base, path)
    if found == "":
        raise Fault("the project as a whole is no dep: it holds what the stage makes", hint="name what it reads")
    if why := paths.problem(found.lstrip("/")):
        raise Fault(f"{path!r} cannot be a dep: {why}", hint="name a file or directory that the command reads")
    return found


def _params(root: str, wdir: str, items: Sequence[Any]) -> tuple[ParamSet, ...]:
    found: dict[str, dict[str, None] | None] = {}
    for index, item in enumerate(items):
        for file, keys in ({PARAMS: [item]} if isinstance(item, str) else item).items():
            try:
                path = _needed(root, wdir, file)
            except Fault as fault:
                raise fault.under(file).under(index).under("params") from None
            before = found.setdefault(path, {})
            if not keys or before is None:  # the whole file
                found[path] = None
            else:
                before.update(dict.fromkeys(keys))
    return tuple(ParamSet(file, None if keys is None else tuple(keys)) for file, keys in found.items())


def _outs(root: str, wdir: str, definition: Mapping[str, Any]) -> Iterator[Out]:
    seen: set[str] = set()
    for section, kind in _KINDS.items():
        for index, item in enumerate(definition.get(section, ())):
            for path, flags in ({item: None} if isinstance(item, str) else item).items():
                try:
                    out = _out(root, wdir, path, kind, flags or {})
                    if out.path in seen:
                        raise Fault(f"{quote(out.path)} stands here twice", hint="one entry is enough")
                except Fault as fault:
                    raise (fault if item == path else fault.under(path)).under(index).under(section) from None
                seen.add(out.path)
                yield out


def _out(root: str, wdir: str, written: str, kind: OutKind, flags: Mapping[str, Any]) -> Out:
    path = _located(root, wdir, written)
    if path.startswith("/"):
        raise Fault(f"{written!r} is outside of the project", hint="write it inside, and let the command copy it there")
    why = "it is the project itself" if path == "" else lockfile.problem(path)
    is_glob = not _MAGIC.isdisjoint(path)
    if is_glob and path.split("/").count("**") > 1:
        why = "it has more than one **"
    if why:
        raise Fault(f"{written!r} cannot be an output: {why}", hint="name a file or directory that the command makes")
    known = {key: value for key, value in flags.items() if key in _OUT_FLAGS}
    plot = {key: value for key, value in flags.items() if key not in _OUT_FLAGS and key != "labels"}
    return Out(
        path,
        kind,
        is_glob=is_glob,
        labels=tuple(flags.get("labels", ())),
        plot=plot if kind == "plot" else None,
        **known,
    )


def _commands(commands: Sequence[str]) -> tuple[str, ...]:
    for command in commands:
        if not command.strip() or "\0" in command:
            why = "holds a NUL byte" if command.strip() else "is empty"
            raise Fault(f"the command {why}", hint="cmd is what a shell runs", path=("cmd",))
    return tuple(commands)


def _size(value: object) -> int:
    return int(value) if isinstance(value, float) else parse_size(value)


def _condition(value: object) -> bool:
    return value in (1, "true")  # 1 is also True
