"""What the root records of a remote promise, for its check: each of them is read, also those that do not count."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.store.records import Root, parse_roots
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.protocol import NotFound

_RECORD = re.compile(r"roots/[0-9A-Z]{26}\.json")


class Record(NamedTuple):
    """A root record: what it promises, and for whom; `lost` was promised by one in whose place a repair put it."""

    key: str
    project: str
    commit: str | None
    roots: list[Root]
    lost: list[Root]


def read_records(remote: Remote) -> tuple[list[Record], list[str]]:
    """(the root records, oldest first; keys of those that cannot be read)."""
    records, unreadable = [], []
    known: dict[Root, Root] = {}  # most records name what the one before them named
    for item in remote.backend.list("roots/"):
        if not _RECORD.fullmatch(item.key):
            continue
        try:
            records.append(_parse(item.key, remote.backend.read(item.key), remote.algorithm, known))
        except NotFound:
            continue
        except (ValueError, KeyError, TypeError, RecursionError, UserError):
            unreadable.append(item.key)
    return records, unreadable


def _parse(key: str, raw: bytes, algorithm: Algorithm, known: dict[Root, Root]) -> Record:
    content = json.loads(raw)
    if not isinstance(schema := content["schema"], int):
        raise TypeError("no number")
    # What a newer vml wrote says nothing to us, and is not ours to remove.
    listed = (content["roots"], content.get("lost", [])) if schema == 1 else ([], [])
    roots, lost = (
        [known.setdefault(root, root) for root in parse_roots(each, algorithm, source=key)] for each in listed
    )
    commit = content.get("commit")
    return Record(key, str(content.get("project")), commit if isinstance(commit, str) else None, roots, lost)
