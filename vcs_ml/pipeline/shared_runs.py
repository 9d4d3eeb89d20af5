"""The run cache on a remote: bundles of entries, so that many are one request and there are few to be listed."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from vcs_ml.pipeline import run_cache
from vcs_ml.pipeline.run_cache import Entry
from vcs_ml.store.local import LocalStore
from vcs_ml.store.records import Root, new_ulid
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.protocol import NotFound
from vcs_ml.workspace import strictjson
from vcs_ml.workspace.strictjson import NotReadable

SCHEMA: Final = 1
PREFIX: Final = "runs/"
MANY: Final = 32  # bundles from which they are merged into one
_BUNDLE: Final = 8 << 20  # bytes of entries in one bundle
_MAX: Final = 64 << 20
_KEPT: Final = 20_000  # entries that a merge keeps, the newest
_NAME: Final = re.compile(r"runs/[0-9A-HJKMNP-TV-Z]{26}\.json")

# The bytes of an entry, by its key and the hash of these bytes.
Raw = dict[tuple[str, str], bytes]


class Shared(NamedTuple):
    """Entries of the local run cache that may go to a remote, and what they name."""

    raw: Raw
    roots: list[Root]


def local(store: LocalStore, project: str, remote: str) -> Shared:
    """What this project would push to the remote of this name: of entries that are here wholly."""
    raw: Raw = {}
    roots: dict[Root, None] = {}
    for key, path in run_cache.every(store):
        data = run_cache.load(path)
        entry = run_cache.parse(data, store.algorithm) if data is not None else None
        if data is None or entry is None or not entry.travels(project, remote):
            continue
        if run_cache.is_complete(store, entry.outs):
            raw[key, run_cache.name_of(data)] = data
            roots.update((Root(each, item.oid), None) for each, item in entry.outs.items())
    return Shared(raw, list(roots))


def push(remote: Remote, entries: Mapping[tuple[str, str], bytes]) -> int:
    """Put entries, whose outputs the remote has, there; how many were new. Raises RemoteError."""
    bundles = _bundles(remote)
    known = {name: _read(remote, name) for name in bundles}
    there = {each for bundle in known.values() for each in bundle}
    new = {each: raw for each, raw in entries.items() if each not in there}
    _write(remote, new)
    if len(bundles) >= MANY:
        # Two that do this at once write both; what one deletes, the other has in its own.
        newest_last = {each: raw for name in bundles for each, raw in known[name].items()}
        _write(remote, dict(list(newest_last.items())[-_KEPT:]))
        for name in bundles:
            remote.backend.delete(name)
    return len(new)


def fetch(store: LocalStore, remote: Remote) -> int:
    """Bring the entries of a remote, without their outputs; how many were new. Raises RemoteError."""
    new = 0
    for name in _bundles(remote):
        for (key, _), raw in _read(remote, name).items():
            entry: Entry | None = run_cache.parse(raw, store.algorithm)
            if entry is not None:
                new += run_cache.add(store, key, raw)
    return new


def _bundles(remote: Remote) -> list[str]:
    return [item.key for item in remote.backend.list(PREFIX) if _NAME.fullmatch(item.key)]


def _read(remote: Remote, name: str) -> Raw:
    """The entries of a bundle; none of what is damaged, or was merged meanwhile."""
    found: Raw = {}
    with contextlib.suppress(NotReadable, NotFound):
        fields = strictjson.load(remote.backend.read(name), _MAX)
        listed = fields.get("runs") if fields.get("schema") == SCHEMA else None
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, list) and len(each) == 2 and all(isinstance(text, str) for text in each):
                key, text = each
                if run_cache.is_key(key):
                    raw = text.encode()
                    found[key, run_cache.name_of(raw)] = raw
    return found


def _write(remote: Remote, entries: Mapping[tuple[str, str], bytes]) -> None:
    for part in _parts(entries):
        listed = [[key, raw.decode()] for (key, _), raw in part.items()]
        data = json.dumps({"schema": SCHEMA, "runs": listed}, ensure_ascii=False).encode()
        remote.backend.write_new(f"{PREFIX}{new_ulid()}.json", data + b"\n")


def _parts(entries: Mapping[tuple[str, str], bytes]) -> Iterator[Raw]:
    part: Raw = {}
    size = 0
    for each, raw in entries.items():
        if part and size + len(raw) > _BUNDLE:
            yield part
            part, size = {}, 0
        part[each] = raw
        size += len(raw)
    if part:
        yield part
