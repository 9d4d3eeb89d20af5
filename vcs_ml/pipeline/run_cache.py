"""The run cache: what commands once made of what they read, so that nobody has to run them again for that."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

from vcs_ml import fs, paths
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.stage import Stage
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import item, strictjson
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.strictjson import NotReadable

SCHEMA: Final = 1
MAX_SIZE: Final = 16 << 20
# Outputs that Git has are kept here, too, up to this size: a metric, not a model.
SMALL: Final = 1 << 20
_TRIED: Final = 50  # entries of one key that are looked at

Outs = Mapping[str, Item]


def takes(stage: Stage) -> bool:
    """Whether what the stage makes depends on nothing but what it says: else it is neither kept here nor looked for."""
    reads = stage.deps or stage.params or stage.env
    return bool(reads and stage.outs) and not (stage.always_changed or any(out.persist for out in stage.outs))


def key(stage: Stage, signature: str) -> str:
    """Under which key (hex) a stage with this signature is kept: its outputs, and how they are kept, are part of it."""
    outs = sorted([out.path, out.cache] for out in stage.outs)
    return hashlib.sha256(f"{signature}\n{json.dumps(outs, separators=(',', ':'))}\n".encode()).hexdigest()


def put(store: LocalStore, under: str, stage: Stage, outs: Outs) -> None:
    """Keep what was made. The store has the objects by now; what is lost in a power cut is only run again."""
    add(store, under, serialize(stage.address, outs, store.algorithm))


def add(store: LocalStore, under: str, raw: bytes) -> bool:
    """Keep an entry under a key; whether it is new."""
    path = _path(store, under, hashlib.sha256(raw).hexdigest())
    try:
        os.utime(path)  # the newest again
        return False
    except FileNotFoundError:
        fs.make_directory(path.parent)
        fs.write_atomic(path, raw, mode=0o444, sync=False)
        return True


def find(store: LocalStore, under: str, stage: Stage) -> Iterator[Outs]:
    """What was made under this key and fits the stage, the newest first; whether the store has it is not asked."""
    names = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(_folder(store, under)) as entries:
        names = sorted(
            ((entry.stat().st_mtime_ns, entry.name) for entry in entries if entry.name.endswith(".json")), reverse=True
        )
    for _, name in names[:_TRIED]:
        outs = read(_folder(store, under) / name, store.algorithm)
        if outs is not None and fits(stage, outs):
            yield outs


def read(path: Path, algorithm: Algorithm) -> Outs | None:
    """The outputs in an entry; None for what is damaged, or is not named by its content."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SIZE + 1)
    except OSError:
        return None
    return parse(raw, algorithm) if hashlib.sha256(raw).hexdigest() == path.stem else None


def parse(raw: bytes, algorithm: Algorithm) -> Outs | None:
    """The outputs in the bytes of an entry; None for what we never write."""

    def refuse(why: str) -> NoReturn:
        raise NotReadable(why)

    try:
        fields = strictjson.load(raw, MAX_SIZE)
        outs = fields.get("outs")
        if fields.get("schema") != SCHEMA or not isinstance(outs, dict):
            return None
        found = {}
        for path, each in outs.items():
            if paths.problem(path) or not isinstance(each, dict):
                return None
            found[path] = item.parse(each, algorithm, source=path, refuse=refuse)
        return found
    except (NotReadable, UserError):
        return None


def serialize(stage: str, outs: Outs, algorithm: Algorithm) -> bytes:
    """The bytes of an entry; `stage` is for people who look."""
    listed = {path: item.fields(each, algorithm) for path, each in outs.items()}
    fields = {"schema": SCHEMA, "stage": stage, "outs": listed}
    return f"{json.dumps(fields, sort_keys=True, indent=2, ensure_ascii=False)}\n".encode()


def fits(stage: Stage, outs: Outs) -> bool:
    """Whether these are the outputs of the stage: nothing else is written, whatever an entry says."""
    plain = {out.path for out in stage.outs if not out.is_glob}
    globs = [out.path for out in stage.outs if out.is_glob]
    more = outs.keys() - plain
    return (
        plain <= outs.keys()
        and all(any(patterns.matches(path, each) for path in more) for each in globs)
        and all(any(patterns.matches(path, each) for each in globs) for path in more)
    )


# ---------------------------------------------------------------------- all of it


def keys(store: LocalStore) -> Iterator[tuple[str, Path]]:
    """Every entry: its key, and its file."""
    for path in sorted((store.directory / "runs").glob("*/*/*.json")):
        if len(path.parent.name) == 64 and path.parent.name.startswith(path.parent.parent.name):
            yield path.parent.name, path


def is_complete(store: LocalStore, outs: Outs) -> bool:
    """Whether the store has all that an entry names."""
    return not any(store.missing(each.oid) for each in outs.values())


def prune(store: LocalStore) -> int:
    """Remove entries that are damaged, or of which something is gone from the store; how many there were."""
    removed = 0
    for _, path in keys(store):
        outs = read(path, store.algorithm)
        if outs is None or not is_complete(store, outs):
            path.unlink(missing_ok=True)
            removed += 1
            with contextlib.suppress(OSError):
                path.parent.rmdir()
                path.parent.parent.rmdir()
    return removed


def _folder(store: LocalStore, under: str) -> Path:
    return store.directory / "runs" / under[:2] / under


def _path(store: LocalStore, under: str, name: str) -> Path:
    return _folder(store, under) / f"{name}.json"
