"""Listing tracked data: names, sizes and ids, from pointers and manifests alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote, word
from vcs_ml.store import manifest, objects, page
from vcs_ml.store.manifest import Read
from vcs_ml.workspace import status, tracked
from vcs_ml.workspace.pointer import Pointer


class Row(NamedTuple):
    """A file, or a directory with the number of its files; `oid` is None for a directory inside a tracked one,
    `pointer` for everything that is not tracked by itself.
    """

    path: str
    kind: str
    size: int
    nfiles: int | None
    oid: objects.ObjectId | None
    pointer: Pointer | None = None

    def as_json(self, algorithm: Algorithm) -> dict[str, object]:
        """The row for programs."""
        found: dict[str, object] = {"path": self.path, "kind": self.kind, "size": self.size}
        if self.nfiles is not None:
            found["nfiles"] = self.nfiles
        if self.oid is not None:
            found["hash"] = objects.format_hash(self.oid, algorithm)
        if self.pointer is not None:
            found |= {"pull": not self.pointer.optional, "groups": self.pointer.groups}
            found |= {"stage": self.pointer.maker} if self.pointer.lock else {}
        return found


def rows(
    pointers: Mapping[str, Pointer], target: str, algorithm: Algorithm, read: Read, *, recursive: bool
) -> list[Row]:
    """What is tracked at or below `target`: tracked things, or what a tracked directory holds there.

    Raises UserError where there is nothing, MissingObject where a manifest is not here.
    """
    owner = tracked.owner(target, pointers) if target else None
    if owner is not None and owner[0].kind == "tree":
        return _inside(*owner, algorithm, read, recursive=recursive)
    chosen = [each for each, _ in status.selected(pointers, [target])]
    if target and (not chosen or (owner is not None and owner[1])):
        raise UserError(f"{quote(target)} is not tracked", hint="vml ls lists what is")
    found: list[Row] = []
    for each in chosen:
        if recursive and each.kind == "tree":
            found += _inside(each, "", algorithm, read, recursive=True)
        else:
            found.append(Row(each.path, each.kind, each.size, each.nfiles, each.oid, each))
    return found


def _inside(each: Pointer, inner: str, algorithm: Algorithm, read: Read, *, recursive: bool) -> list[Row]:
    prefix = os.fsencode(inner)
    found: dict[str, Row] = {}
    for entry in manifest.under(each.oid, prefix, algorithm, read):
        path = f"{each.path}/{os.fsdecode(entry.path)}"
        below = entry.path[len(prefix) :].lstrip(b"/") if inner else entry.path
        name, slash, _ = below.partition(b"/")
        if recursive or not slash:
            found[path] = Row(path, page.KINDS[entry.kind], entry.size, None, objects.blob(entry.digest))
            continue
        folder = "/".join(filter(None, (each.path, inner, os.fsdecode(name))))
        before = found.get(folder, Row(folder, "directory", 0, 0, None))
        found[folder] = before._replace(size=before.size + entry.size, nfiles=(before.nfiles or 0) + 1)
    if inner and not found:
        raise UserError(f"{quote(each.path)} has no {quote(inner)}", hint=f"vml ls {word(each.path)} lists what it has")
    return list(found.values())
