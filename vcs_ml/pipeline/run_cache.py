"""The run cache: what commands once made of what they read, so that nobody has to run them again for that."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from vcs_ml import fs, regular
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.stage import Stage
from vcs_ml.store import manifest
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import item, lockfile, sources, strictjson
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.strictjson import NotReadable

SCHEMA: Final = 1
MAX_SIZE: Final = 16 << 20
# Outputs that Git has are kept here, too, up to this size: a metric, not a model.
_SMALL: Final = 1 << 20
_TRIED: Final = 50  # entries of one key that are looked at
_KEY: Final = re.compile(r"[0-9a-f]{64}")

Outs = Mapping[str, Item]


class Entry(NamedTuple):
    """What one run made. `project` is whose run it was; `remotes` are where all of it may go, None: anywhere."""

    outs: Outs
    project: str
    remotes: frozenset[str] | None = None

    def travels(self, project: str, remote: str) -> bool:
        """Whether it goes from this project to the remote of this name."""
        return self.project == project and (self.remotes is None or remote in self.remotes)


def takes(stage: Stage) -> bool:
    """Whether what the stage makes depends on nothing but what it says: else it is neither kept here nor looked for."""
    reads = stage.deps or stage.params or stage.env
    return bool(reads and stage.outs) and not (stage.always_changed or any(out.persist for out in stage.outs))


def key(stage: Stage, signature: str) -> str:
    """Under which key (hex) a stage with this signature is kept: its outputs, and how they are kept, are part of it."""
    outs = sorted([out.path, out.cache] for out in stage.outs)
    return hashlib.sha256(f"{signature}\n{json.dumps(outs, separators=(',', ':'))}\n".encode()).hexdigest()


def put(store: LocalStore, under: str, stage: Stage, entry: Entry) -> None:
    """Keep what was made. The store has the objects by now; what is lost in a power cut is only run again."""
    add(store, under, serialize(stage.address, entry, store.algorithm))


def is_small(each: Item) -> bool:
    """Whether an output that Git has is kept here, too."""
    return each.kind != "tree" and each.size <= _SMALL


def remotes(stage: Stage) -> frozenset[str] | None:
    """The remotes to which all outputs of a stage go; None: any."""
    found: frozenset[str] | None = None
    for out in stage.outs:
        if not out.push:
            return frozenset()
        if out.remote is not None:
            found = frozenset((out.remote,)) if found is None else found & {out.remote}
    return found


def add(store: LocalStore, under: str, raw: bytes) -> bool:
    """Keep an entry under a key; whether it is new."""
    path = _folder(store, under) / f"{under}-{name_of(raw)}.json"
    try:
        os.utime(path)  # the newest again
        return False
    except FileNotFoundError:
        fs.make_directory(path.parent)
        fs.write_atomic(path, raw, mode=0o444, sync=False)
        return True


def find(store: LocalStore, under: str, stage: Stage) -> Iterator[Outs]:
    """What was made under this key and fits the stage, the newest first; whether the store has it is not asked."""
    names: list[tuple[int, str]] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(_folder(store, under)) as entries:
        names = [(entry.stat().st_mtime_ns, entry.name) for entry in entries if entry.name.startswith(f"{under}-")]
    for _, name in sorted(names, reverse=True)[:_TRIED]:
        entry = read(_folder(store, under) / name, store.algorithm)
        if entry is not None and fits(stage, entry.outs) and _is_credible(store, stage, entry.outs):
            yield entry.outs


def read(path: Path, algorithm: Algorithm) -> Entry | None:
    """The entry in a file; None for what is damaged, or is not named by its content."""
    raw = load(path)
    return parse(raw, algorithm) if raw is not None else None


def load(path: Path) -> bytes | None:
    """The bytes of an entry; None where they are not what the name of the file says."""
    try:
        raw = regular.read(path, MAX_SIZE)
    except UserError:
        return None
    return raw if raw is not None and path.stem.endswith(f"-{name_of(raw)}") else None


def name_of(raw: bytes) -> str:
    """How an entry is called under its key: by its content, so that it never changes."""
    return hashlib.sha256(raw).hexdigest()


def parse(raw: bytes, algorithm: Algorithm) -> Entry | None:
    """The entry in some bytes; None for what we never write."""

    def refuse(why: str) -> NoReturn:
        raise NotReadable(why)

    try:
        fields = strictjson.load(raw, MAX_SIZE)
        outs, project, places = fields.get("outs"), fields.get("project"), fields.get("remotes")
        if fields.get("schema") != SCHEMA or not isinstance(outs, dict) or not isinstance(project, str):
            return None
        if places is not None and not (isinstance(places, list) and all(isinstance(name, str) for name in places)):
            return None
        found = {}
        for path, each in outs.items():
            if lockfile.problem(path) or not isinstance(each, dict):
                return None
            found[path] = item.parse(each, algorithm, source=path, refuse=refuse)
        if any(sources.owner(path.rpartition("/")[0], found) for path in found):
            return None
    except (NotReadable, UserError):
        return None
    return Entry(found, project, None if places is None else frozenset(places))


def serialize(stage: str, entry: Entry, algorithm: Algorithm) -> bytes:
    """The bytes of an entry; `stage` is for people who look."""
    fields = {
        "schema": SCHEMA,
        "stage": stage,
        "project": entry.project,
        "outs": {path: item.fields(each, algorithm) for path, each in entry.outs.items()},
    }
    if entry.remotes is not None:
        fields["remotes"] = sorted(entry.remotes)
    return f"{json.dumps(fields, sort_keys=True, indent=2, ensure_ascii=False)}\n".encode()


def fits(stage: Stage, outs: Outs) -> bool:
    """Whether these are the outputs of the stage: nothing else is written, whatever an entry says."""
    plain = {out.path for out in stage.outs if not out.is_glob}
    globs = [out.path for out in stage.outs if out.is_glob]
    more = outs.keys() - plain
    return (
        plain <= outs.keys()
        and not any(outs[path].kind == "tree" for path in more)  # a pattern stands for files
        and all(any(patterns.matches(path, each) for path in more) for each in globs)
        and all(any(patterns.matches(path, each) for each in globs) for path in more)
    )


def _is_credible(store: LocalStore, stage: Stage, outs: Outs) -> bool:
    """Whether an entry tells nothing but the truth of what the store has, and names nothing that is never kept."""
    return all(is_small(outs[out.path]) for out in stage.outs if not (out.cache or out.is_glob)) and all(
        _size(store, each) == (each.size, each.nfiles) for each in outs.values() if each.oid in store
    )


def _size(store: LocalStore, each: Item) -> tuple[int, int | None]:
    """The size of what the store has, and of a directory the number of its files; where that is damaged, as is said."""
    if each.kind != "tree":
        return store.size(each.oid), None
    try:
        found = manifest.summary(each.oid, store.algorithm, store.read)
    except CorruptError:  # whoever brings it tells of that
        return each.size, each.nfiles
    return found.size, found.count


# ---------------------------------------------------------------------- all of it


def every(store: LocalStore) -> Iterator[tuple[str, Path]]:
    """Every entry: its key, and its file."""
    for path in sorted((store.directory / "runs").glob("*/*.json")):
        under = path.name.partition("-")[0]
        if is_key(under):
            yield under, path


def is_key(text: str) -> bool:
    """Whether this is a key as `key` makes them: it becomes a path."""
    return _KEY.fullmatch(text) is not None


def is_complete(store: LocalStore, outs: Outs) -> bool:
    """Whether the store has all that an entry names."""
    return not any(store.missing(each.oid) for each in outs.values())


def prune(store: LocalStore) -> int:
    """Remove entries that are damaged, or of which something is gone from the store; how many there were."""
    removed = 0
    for _, path in every(store):
        entry = read(path, store.algorithm)
        if entry is None or not is_complete(store, entry.outs):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _folder(store: LocalStore, under: str) -> Path:
    return store.directory / "runs" / under[:2]
