"""Which projects use a shared store: each is written down there before its first object."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from vcs_ml import fs
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256
from vcs_ml.output import quote
from vcs_ml.workspace.project import Project

SCHEMA = 1
_DIRECTORY = "projects"
_NAME = re.compile(r"[0-9a-f]{32}\.json")
_LONGEST = 64 << 10  # a path has 4096 bytes, each at most six characters in JSON


class Shared(NamedTuple):
    """A project that uses a store: its top directory, and the file that says so with the id it had ("" for none).

    The project in whose own directory the store lies needs no such file.
    """

    path: Path
    id: str = ""
    record: Path | None = None


def register(project: Project) -> None:
    """Write down in the store that this project uses it: a linked worktree through its main one.

    Called while the store's lock is held, so that no gc can have missed it. Costs one read if it is there.
    """
    root, state = project.main_root, project.main_state_dir
    if project.git.worktree is not None and not (state / "config.toml").exists():
        root, state = project.root, project.state_dir  # nothing is checked out there that could be opened
    record = _record(project.cache_dir, state)
    content = json.dumps({"id": project.config.project_id or "", "path": str(root), "schema": SCHEMA}).encode() + b"\n"
    try:
        if record.read_bytes() == content:
            return
    except FileNotFoundError:
        fs.make_directory(record.parent)
    fs.write_atomic(record, content)


def users(cache_dir: Path) -> list[Shared]:
    """Every project that uses a store, sorted by path: those that are written down, and the one it lies in.

    CorruptError for a record that cannot be read: it stands for a project whose data nobody would know of.
    """
    try:
        names = [name for name in os.listdir(cache_dir / _DIRECTORY) if _NAME.fullmatch(name)]
    except (FileNotFoundError, NotADirectoryError):
        names = []
    found = {each.path: each for name in names for each in [_read(cache_dir / _DIRECTORY / name)]}
    if owner := _owner(cache_dir):
        found.setdefault(owner, Shared(owner))
    return sorted(found.values(), key=lambda each: each.path)


def _owner(cache_dir: Path) -> Path | None:
    """The project of which this is the own store: in `.vml` of a working tree, or in `vml` of a git directory."""
    state = cache_dir.parent
    if cache_dir.name == "cache" and (
        (state.name == ".vml" and (state / "config.toml").exists())
        or (state.name == "vml" and (state.parent / "HEAD").exists())
    ):
        return state.parent
    return None


def _record(cache_dir: Path, state_dir: Path) -> Path:
    return cache_dir / _DIRECTORY / f"{SHA256.digest(os.fsencode(state_dir))[:16].hex()}.json"


def _read(record: Path) -> Shared:
    with record.open("rb") as file:
        raw = file.read(_LONGEST)
    try:
        found = json.loads(raw)
        schema, id, path = found["schema"], found["id"], found["path"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged(record) from None
    if type(schema) is not int or schema < SCHEMA:
        raise _damaged(record)
    if schema > SCHEMA:
        raise UserError(f"{quote(record)} was written by a newer vml (schema {schema})", hint="upgrade vml")
    if not _is_text(id) or not _is_text(path) or not os.path.isabs(path):
        raise _damaged(record)
    # `.vml` in a working tree, `vml` in a bare repository: the record's name belongs to one of them.
    places = (_record(record.parent.parent, Path(path, name)) for name in (".vml", "vml"))
    if record.name not in {place.name for place in places}:
        raise _damaged(record)
    return Shared(Path(path), id, record)


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return False
    return True


def _damaged(record: Path) -> CorruptError:
    return CorruptError(
        f"{quote(record)} does not say which project uses this store",
        hint="remove it, then run vml commit in each project that uses this store: that writes it again",
    )
