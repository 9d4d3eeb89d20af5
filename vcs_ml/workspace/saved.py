"""What commands took out of the workspace: stored first, and named here so that it is found again (gc keeps it)."""

from __future__ import annotations

import contextlib
import json
import os
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs, paths, regular
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import count, quote
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, objects, page
from vcs_ml.store.ingest import Folder
from vcs_ml.store.local import REMEDY, LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.records import new_ulid
from vcs_ml.workspace import tree
from vcs_ml.workspace.project import Project

_SHOWN = 20
_SIZE_MAX = 64 << 20  # bytes of a record; ours end with the file that makes them larger than the next number
_WRITTEN_MAX = 8 << 20
_LATEST = 1 << 40  # a time that every clock can show


class Saved(NamedTuple):
    """A file that was replaced: its path in the project, the blob that now holds its bytes, and its page.FILE,
    EXECUTABLE or SYMLINK.
    """

    path: str
    oid: ObjectId
    size: int
    kind: int

    def line(self, algorithm: Algorithm) -> str:
        """What to tell whoever ran the command."""
        return _line(self.path, objects.format_hash(self.oid, algorithm))


class Unsaved(UserError):
    """Files are in the way whose bytes would be lost."""


def refusal(paths: Sequence[str], what: str, *, hint: str) -> Unsaved:
    """The error for files in the way whose bytes would be lost; it lists them."""
    shown = [f"  {quote(path)}" for path in paths[:_SHOWN]]
    if len(paths) > _SHOWN:
        shown.append(f"  ... and {len(paths) - _SHOWN} more")
    lines = "\n".join(shown)
    return Unsaved(f"{count(len(paths), 'file')} would be {what}, and the bytes are in no store:\n{lines}", hint=hint)


def keep(project: Project, store: LocalStore, files: Sequence[str], meter: Meter) -> list[Saved]:
    """Store workspace files (project-relative) that are about to go, and name them in `.vml/saved/`."""
    kept = []
    root = os.fsencode(project.root)
    with store.batch() as batch:
        for path in files:
            raw = os.fsencode(path)
            full = os.path.join(root, raw)
            numbers = array("q", tree.look(full, os.lstat(full), project.loose) or ())
            folder = Folder(os.path.dirname(raw), [os.path.basename(raw)], numbers)
            (stored,) = ingest.ingest(store, batch, root, [folder], meter, share=False)
            kept.append(Saved(path, objects.blob(stored.digests), stored.stats[0], tree.entry_kind(stored.stats[4])))
    for each in kept:
        if not store.holds(each.oid):  # a damaged object of this id was there before
            raise CorruptError(f"{quote(each.path)}: the store could not keep it", hint=REMEDY)
    record(project, kept)
    return kept


def record(project: Project, files: Sequence[Saved]) -> None:
    """Name these files in `.vml/saved/`, in as many records as keep each far below what is read."""
    directory = _directory(project)
    listing: list[dict[str, object]] = []
    room = _WRITTEN_MAX
    for number, each in enumerate(files, 1):
        name = objects.format_hash(each.oid, project.algorithm)
        kind = {} if each.kind == page.FILE else {"kind": page.KINDS[each.kind]}
        listing.append({"hash": name, **kind, "path": each.path, "size": each.size})
        room -= len(json.dumps(listing[-1], indent=2)) + 40
        if room < 0 or number == len(files):
            content = {"files": listing, "schema": 1, "time": int(time.time())}
            fs.write_atomic(directory / f"{new_ulid()}.new.json", json.dumps(content, indent=2).encode() + b"\n")
            listing, room = [], _WRITTEN_MAX


def merged(project: Project, root: ObjectId, path: str) -> None:
    """Name there, too, a directory that a merge is about to store: until Git has written the pointer to its place,
    nothing else does.
    """
    directory = _directory(project)
    listing = [{"hash": objects.format_hash(root, project.algorithm), "path": path}]
    content = {"merged": listing, "schema": 1, "time": int(time.time())}
    fs.write_atomic(directory / f"{new_ulid()}.json", json.dumps(content, indent=2).encode() + b"\n")


def _directory(project: Project) -> Path:
    directory = project.state_dir / "saved"
    fs.make_ignored(directory)
    return directory


class Record(NamedTuple):
    """A file in `.vml/saved/`: where it was, the id of its bytes, its size, when (seconds since 1970) it went, and its
    kind as in `Saved`.
    """

    path: str
    hash: str
    size: int
    time: int
    kind: int


def records(project: Project) -> list[Record]:
    """What is named in `.vml/saved/`, the last first; what cannot be read is passed over."""
    found = []
    kinds = {name: kind for kind, name in page.KINDS.items()}
    for file in sorted((project.state_dir / "saved").glob("*.json"), reverse=True):
        with contextlib.suppress(
            OSError, ValueError, AttributeError, KeyError, TypeError, OverflowError, RecursionError
        ):
            content = json.loads(regular.read(file, _SIZE_MAX) or b"")
            when = min(max(int(content["time"]), 0), _LATEST)
            read = [
                Record(str(one["path"]), str(one["hash"]), int(one["size"]), when, kinds[one.get("kind", "file")])
                for one in content["files"]
            ]
            found += [record for record in read if not paths.problem(record.path)]
    return found


def news(project: Project) -> list[str]:
    """Lines about savings that were not mentioned yet; after this they have been."""
    lines = []
    for path in sorted((project.state_dir / "saved").glob("*.new.json")):
        try:
            files = json.loads(regular.read(path, _SIZE_MAX) or b"")["files"]
            lines += [_line(each["path"], each["hash"]) for each in files]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        with contextlib.suppress(OSError):  # another status was quicker, or nothing can be written here
            path.rename(path.with_name(path.name.replace(".new.json", ".json")))
    return lines


def _line(path: str, hash: str) -> str:
    return f"{quote(path)} is out of the workspace; its bytes are kept as {quote(hash)} (vml checkout --saved)"
