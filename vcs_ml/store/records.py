"""What a remote holds besides data: records of pushes, gc files, and which of them count (docs/formats.md)."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vcs_ml import fs
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.store import catalog, objects, pack
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.remotes.protocol import Item

DAY = 86400.0
WEEK = 7 * DAY
RETAIN = 90 * DAY
_KEY = re.compile(r"(roots|pushing|gc/condemned|gc/deleted)/([0-9A-HJKMNP-TV-Z]{26})\.json")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MEMORY = 2  # version of complete.json


class Root(NamedTuple):
    """A tracked file or directory, at the path its pointer gives it."""

    path: str
    oid: ObjectId


class Record(NamedTuple):
    """What one push made complete: the project (empty where the record cannot be read), its commit, the roots."""

    project: str
    commit: str | None
    roots: tuple[Root, ...]


class Doomed(NamedTuple):
    """Packs and indexes that one gc file names."""

    packs: frozenset[bytes]
    indexes: frozenset[bytes]


def parse_key(key: str) -> tuple[str, str] | None:
    """(what it is, its ulid) of a record's or a gc file's key; None for what others left there."""
    match = _KEY.fullmatch(key)
    return (match[1], match[2]) if match else None


# --- Records -----------------------------------------------------------------------------------------------


def encode_record(record: Record, algorithm: Algorithm, lost: Iterable[Root] = ()) -> bytes:
    """A record as it is stored; `lost` are roots that one before it promised, and that are not there."""
    content = {
        "commit": record.commit,
        "project": record.project,
        "roots": _listing(record.roots, algorithm),
        "schema": 1,
    }
    if named := _listing(lost, algorithm):
        content["lost"] = named
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _listing(roots: Iterable[Root], algorithm: Algorithm) -> list[dict[str, str]]:
    return [{"hash": objects.format_hash(oid, algorithm), "path": path} for path, oid in sorted(set(roots))]


def parse_roots(listing: Any, algorithm: Algorithm, *, source: str) -> list[Root]:
    """Roots as a record lists them; TypeError, KeyError or UserError where these are none."""
    return [Root(str(each["path"]), objects.parse_hash(each["hash"], algorithm, source=source)) for each in listing]


def parse_record(raw: bytes, algorithm: Algorithm, *, source: str) -> Record | None:
    """A record from anywhere, None where it cannot be read."""
    try:
        content = json.loads(raw)
        project, commit = content["project"], content["commit"]
        roots = tuple(parse_roots(content["roots"], algorithm, source=source))
    except (ValueError, KeyError, TypeError, RecursionError, UserError):
        return None
    if not isinstance(project, str) or not isinstance(commit, str | None):
        return None
    return Record(project, commit, roots)


def newest_first(items: Iterable[Item]) -> list[tuple[str, float]]:
    """(ulid, time) of the listed root records; the server's time decides, not the clock that made the ulid."""
    found = [(key[1], item.modified) for item in items if (key := parse_key(item.key)) and key[0] == "roots"]
    return sorted(found, key=lambda each: (each[1], each[0]), reverse=True)


def believed(listed: Sequence[tuple[str, float]], known: Mapping[str, Record], now: float) -> list[str]:
    """The ulids, of those `listed` newest first, on whose word a push may skip what they name.

    A week before gc may forget a record, so that whoever relied on it has time to write one of its own or to
    push the commit. The latest of a project counts for ever, where everything newer has been read.
    """
    found, projects, gap = [], set(), False
    for ulid, modified in listed:
        record = known.get(ulid)
        if record is None:
            gap = True
            continue
        latest = not gap and record.project not in projects
        projects.add(record.project)
        if latest or now - modified < RETAIN - WEEK:
            found.append(ulid)
    return found


def expired(listed: Sequence[tuple[str, float]], known: Mapping[str, Record], now: float) -> list[str]:
    """The ulids, of those `listed` newest first and all `known`, that gc need not keep data for.

    A record counts for 90 days, and until its project has had a newer one for a week: a push may have relied on
    it just before.
    """
    found = []
    succeeded: dict[str, float] = {}  # project -> time of the next newer record
    for ulid, modified in listed:
        project = known[ulid].project
        if now - modified > RETAIN and project in succeeded and now - succeeded[project] > WEEK:
            found.append(ulid)
        succeeded[project] = modified
    return found


# --- Gc files ----------------------------------------------------------------------------------------------


def encode_doomed(doomed: Doomed) -> bytes:
    """A gc file as it is stored."""
    texts = {
        "indexes": sorted(catalog.key(name) for name in doomed.indexes),
        "packs": sorted(pack.key(name) for name in doomed.packs),
    }
    return json.dumps(texts | {"schema": 1}, indent=1).encode() + b"\n"


def parse_doomed(raw: bytes) -> Doomed:
    """A gc file from anywhere; ValueError where it is not one."""
    try:
        content = json.loads(raw)
        return Doomed(_names(content["packs"], ".pack"), _names(content["indexes"], ".idx"))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _names(texts: Any, suffix: str) -> frozenset[bytes]:
    found = set()
    for text in texts:
        path = Path(text)
        name = pack.parse_name(path.stem)
        if name is None or path.suffix != suffix:
            raise ValueError(f"{text!r} names nothing of ours")
        found.add(name)
    return frozenset(found)


# --- What is remembered of a remote ------------------------------------------------------------------------


def remember(path: Path, records: Mapping[str, Record], algorithm: Algorithm) -> None:
    """Keep what was read of root records in complete.json; each root is written once."""
    numbers: dict[Root, int] = {}
    table = {
        ulid: [record.project, [numbers.setdefault(root, len(numbers)) for root in record.roots]]
        for ulid, record in sorted(records.items())
    }
    roots = [[objects.format_hash(root.oid, algorithm), root.path] for root in numbers]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"records": table, "roots": roots, "version": _MEMORY}).encode()
    fs.write_atomic(path, content, sync=False)


def remembered(path: Path, algorithm: Algorithm) -> dict[str, Record]:
    """What `remember` kept; nothing where that is lost, damaged, or of another version."""
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != _MEMORY:
            return {}
        roots = [
            Root(str(path), objects.parse_hash(text, algorithm, source="complete.json"))
            for text, path in content["roots"]
        ]
        return {
            str(ulid): Record(str(project), None, tuple(roots[number] for number in numbers))
            for ulid, (project, numbers) in content["records"].items()
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, UserError):
        return {}


def new_ulid() -> str:
    """26 characters that sort by time: 48 bits of milliseconds, 80 random ones (github.com/ulid/spec)."""
    value = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
