"""The search for pointers, lock files and files of stages in the workspace, with what earlier searches have found."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from vcs_ml import fs, hashing, regular
from vcs_ml.errors import UserError
from vcs_ml.store.ingest import stat_numbers
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import ignore as ignore_files
from vcs_ml.workspace import lockfile, sources
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project

_CACHE_VERSION: Final = 6
_SIZE_MAX: Final = 1 << 30

Vouched = Callable[[], Mapping[str, str]]


class Workspace:
    """What pointers and lock files of the workspace name, found through directory mtimes, each file parsed once.

    Directories that are tracked, ignored, or belong to another repository or project are not searched. Of pointers that
    Git vouches to be a blob (`vouched` gives them by project-relative path), the file is not even looked at.
    """

    def __init__(
        self, project: Project, ignore: Ignore, *, refresh: bool = False, vouched: Vouched | None = None
    ) -> None:
        self._project = project
        self._ignore = ignore
        self._vouched = vouched
        self._path = project.index_dir / "pointers"
        self._directories: dict[str, list[Any]] = {}
        self._parsed: dict[str, list[Any]] = {}
        self._locks: dict[str, list[Any]] = {}
        self._changed = False
        self.broken: dict[str, UserError] = {}  # what cannot be read, by the path of the file
        self.stage_files: list[str] = []
        self._head = [_CACHE_VERSION, project.algorithm.name, _stamp(project.root / ignore_files.NAME)]
        if not refresh:
            self._load()

    def _load(self) -> None:
        try:
            check, _, raw = (regular.read(self._path, _SIZE_MAX) or b"").partition(b"\n")
            if check != _checksum(raw):
                return
            content = json.loads(raw)
            if content["head"] == self._head:
                self._directories, self._parsed = content["directories"], content["pointers"]
                self._locks = content["locks"]
        except (OSError, UserError, ValueError, KeyError, TypeError, RecursionError):
            return

    @cached_property
    def _limit(self) -> int:
        """What changed at or after this time may change again without a new time stamp."""
        now, granularity = fs.clock(self._project.state_dir)
        return now - granularity

    def find(self) -> dict[str, Pointer]:
        """All that is tracked by the path of the data, sorted; `broken` has the files that cannot be read, or that
        name what another one names, `stage_files` the vml.yaml files. What lies below an output is data, whatever it
        is called.
        """
        found: dict[str, Pointer] = {}
        outs: dict[str, list[Pointer]] = {}
        directories: dict[str, list[Any]] = {}
        parsed: dict[str, list[Any]] = {}
        locks: dict[str, list[Any]] = {}
        root = str(self._project.root)
        vouched = self._vouched() if self._vouched else {}
        pending = [""]
        while pending:
            rel = pending.pop()
            full = f"{root}/{rel}" if rel else root
            try:
                mtime = os.stat(full).st_mtime_ns
            except (FileNotFoundError, NotADirectoryError):
                continue
            known = self._directories.get(rel)
            if known is None or known[0] != mtime:
                # The clock is read before the directory is.
                known = [mtime if mtime < self._limit else -1, *self._list(full, rel)]
                self._changed = True
            directories[rel] = known
            prefix = f"{rel}/" if rel else ""
            names = set(known[2])
            for name in known[2]:
                if name == lockfile.STAGES:
                    self.stage_files.append(prefix + name)
                    continue
                try:
                    if name == lockfile.NAME:
                        if lock := self._lock(f"{full}/{name}", prefix + name):
                            locks[prefix + name], each = lock
                            for out in each:
                                outs.setdefault(out.path, []).append(out)
                        continue
                    source = prefix + name
                    path = source.removesuffix(SUFFIX)
                    row = self._parsed.get(path)
                    if row is not None and vouched.get(source) == row[6]:
                        parsed[path], found[path] = row, _pointer(path, row)
                    elif pointer := self._pointer(f"{full}/{name}", source):
                        parsed[path], found[path] = pointer
                except UserError as error:
                    self.broken[prefix + name] = error
            pending += [
                f"{prefix}{name}" for name in known[1] if name + SUFFIX not in names and f"{prefix}{name}" not in outs
            ]
        if self._changed or parsed.keys() != self._parsed.keys() or locks.keys() != self._locks.keys():
            self._save({"directories": directories, "pointers": parsed, "locks": locks})
        self.stage_files.sort()
        if not outs:
            return dict(sorted(found.items()))
        # A lock file that was met later may name a directory that was searched.
        outs = {path: [out for out in each if not _below(out.lock, outs)] for path, each in outs.items()}
        self.broken = {source: error for source, error in self.broken.items() if not _below(source, outs)}
        self.stage_files = [source for source in self.stage_files if not _below(source, outs)]
        ours = [each for path, each in found.items() if not _below(path, outs)]
        return sources.together([*ours, *itertools.chain(*outs.values())], self.broken)

    def _list(self, full: str, rel: str) -> tuple[list[str], list[str]]:
        ignored = self._ignore.at(rel)
        below, names = [], []
        try:
            with os.scandir(full) as entries:
                for entry in entries:
                    name = entry.name
                    is_dir = entry.is_dir(follow_symlinks=False)
                    if name in (".git", ".vml") and rel:
                        if name == ".git" or os.path.exists(f"{full}/.vml/config.toml"):
                            return [], []  # another repository or project: not ours
                        continue
                    if name in (".git", ".vml") or (ignored is not None and ignored(name, is_dir)):
                        continue
                    if is_dir:
                        below.append(name)
                    elif (sources.is_source(name) and entry.is_file(follow_symlinks=False)) or (
                        # A link is no file of stages; that is said by whoever would read it.
                        name == lockfile.STAGES and (entry.is_symlink() or entry.is_file())
                    ):
                        names.append(name)
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            return [], []
        return sorted(below), sorted(names)

    def _pointer(self, full: str, source: str) -> tuple[list[Any], Pointer] | None:
        path = source.removesuffix(SUFFIX)
        numbers, known = self._look(full, self._parsed.get(path))
        if known is not None:
            return known, _pointer(path, known)
        if numbers is None or (raw := _read(self._project, source)) is None:
            return None
        (found,) = sources.parse(raw, source, self._project.algorithm)
        _, oid, kind, size, nfiles, extra, *_ = found
        return [numbers, oid.hex(), kind, size, nfiles, dict(extra), _blob(raw)], found

    def _lock(self, full: str, source: str) -> tuple[list[Any], list[Pointer]] | None:
        numbers, known = self._look(full, self._locks.get(source))
        if known is not None:
            rows = known[1]
            return known, [
                Pointer(path, ObjectId(bytes.fromhex(oid)), kind, size, nfiles, extra, stage, source)
                for path, oid, kind, size, nfiles, extra, stage in rows
            ]
        if numbers is None or (raw := _read(self._project, source)) is None:
            return None
        found = sources.parse(raw, source, self._project.algorithm)
        return [numbers, [[out.path, out.oid.hex(), *out[2:-1]] for out in found]], found

    def _look(self, full: str, known: list[Any] | None) -> tuple[list[int] | None, list[Any] | None]:
        """(a file's numbers, None if it is gone; what is known of it, None if it may have changed)"""
        try:
            numbers = list(stat_numbers(os.lstat(full)))
        except (FileNotFoundError, NotADirectoryError):
            self._changed = True
            return None, None
        if known is not None and known[0] == numbers:
            return numbers, known
        self._changed = True
        if max(numbers[1:3]) >= self._limit:
            numbers[1] = -1
        return numbers, None

    def _save(self, content: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # a read-only checkout only means that this is done again
            self._path.parent.mkdir(parents=True, exist_ok=True)
            raw = json.dumps({"head": self._head, **content}, separators=(",", ":")).encode()
            fs.write_atomic(self._path, _checksum(raw) + b"\n" + raw, mode=0o644, sync=False)


def _pointer(path: str, row: list[Any]) -> Pointer:
    return Pointer(path, ObjectId(bytes.fromhex(row[1])), row[2], row[3], row[4], row[5])


def _below(path: str, outs: Mapping[str, object]) -> bool:
    return sources.owner(path.rpartition("/")[0], outs) is not None


def _read(project: Project, source: str) -> bytes | None:
    """The bytes of a file of the workspace, None if it is gone."""
    return regular.read(project.root / source, sources.MAX_SIZE)


def _blob(raw: bytes) -> str:
    """What Git names these bytes, where it uses SHA-1; one that uses SHA-256 vouches for nothing here."""
    return hashlib.sha1(b"blob %d\0%b" % (len(raw), raw), usedforsecurity=False).hexdigest()


def _checksum(raw: bytes) -> bytes:
    return hashing.XXH128.digest(raw).hex().encode()


def _stamp(path: Path) -> list[int]:
    try:
        return list(stat_numbers(path.stat()))
    except OSError:
        return []
