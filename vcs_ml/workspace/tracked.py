"""What is tracked: in the workspace, in any commit, and over any stretch of history."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from vcs_ml import fs, git, hashing, history
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.store.ingest import stat_numbers
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.records import Root
from vcs_ml.workspace import ignore as ignore_files
from vcs_ml.workspace import pointer
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project

T = TypeVar("T")

_CACHE_VERSION = 2
_CONFIG = ".vml/config.toml"


class Workspace:
    """The pointers of the workspace, found through directory mtimes and parsed once.

    Directories that are tracked, ignored, or belong to another repository or project are not searched.
    """

    def __init__(self, project: Project, ignore: Ignore, *, refresh: bool = False) -> None:
        self._project = project
        self._ignore = ignore
        self._path = project.index_dir / "pointers"
        self._directories: dict[str, list[Any]] = {}
        self._parsed: dict[str, list[Any]] = {}
        self._changed = False
        self.broken: dict[str, UserError] = {}  # pointers that cannot be read, by the path of their data
        self._head = [_CACHE_VERSION, project.algorithm.name, _stamp(project.root / ignore_files.NAME)]
        if not refresh:
            self._load()

    def _load(self) -> None:
        try:
            check, _, raw = self._path.read_bytes().partition(b"\n")
            if check != _checksum(raw):
                return
            content = json.loads(raw)
            if content["head"] == self._head:
                self._directories, self._parsed = content["directories"], content["pointers"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return

    @cached_property
    def _limit(self) -> int:
        """What changed at or after this time may change again without a new time stamp."""
        now, granularity = fs.clock(self._project.state_dir)
        return now - granularity

    def find(self) -> dict[str, Pointer]:
        """Every pointer by the path of its data, sorted; `broken` has those that cannot be read."""
        found: dict[str, Pointer] = {}
        directories: dict[str, list[Any]] = {}
        parsed: dict[str, list[Any]] = {}
        root = str(self._project.root)
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
            tracked = {name.removesuffix(SUFFIX) for name in known[2]}
            for name in known[2]:
                path = f"{prefix}{name.removesuffix(SUFFIX)}"
                try:
                    record = self._pointer(f"{full}/{name}", prefix + name)
                except UserError as error:
                    self.broken[path] = error
                    continue
                if record is not None:
                    parsed[path], found[path] = record
            pending += [f"{prefix}{name}" for name in known[1] if name not in tracked]
        if self._changed or parsed.keys() != self._parsed.keys():
            self._save(directories, parsed)
        return dict(sorted(found.items()))

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
                    elif name.endswith(SUFFIX) and name != SUFFIX and entry.is_file(follow_symlinks=False):
                        names.append(name)
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            return [], []
        return sorted(below), sorted(names)

    def _pointer(self, full: str, source: str) -> tuple[list[Any], Pointer] | None:
        try:
            st = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            self._changed = True
            return None
        path = source.removesuffix(SUFFIX)
        numbers = list(stat_numbers(st))
        known = self._parsed.get(path)
        if known is not None and known[0] == numbers:
            _, oid, kind, size, nfiles, extra = known
            return known, Pointer(path, ObjectId(bytes.fromhex(oid)), kind, size, nfiles, extra)
        self._changed = True
        if max(numbers[1:3]) >= self._limit:
            numbers[1] = -1
        try:
            parsed = read_pointer(self._project, source)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return [
            numbers,
            parsed.oid.hex(),
            parsed.kind,
            parsed.size,
            parsed.nfiles,
            dict(parsed.extra),
        ], parsed

    def _save(self, directories: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
        content = {
            "head": self._head,
            "directories": directories,
            "pointers": parsed,
        }
        with contextlib.suppress(OSError):  # a read-only checkout only means that this is done again
            self._path.parent.mkdir(parents=True, exist_ok=True)
            raw = json.dumps(content, separators=(",", ":")).encode()
            fs.write_atomic(self._path, _checksum(raw) + b"\n" + raw, mode=0o644, sync=False)


def _checksum(raw: bytes) -> bytes:
    return hashing.XXH128.digest(raw).hex().encode()


def _stamp(path: Path) -> list[int]:
    try:
        return list(stat_numbers(path.stat()))
    except OSError:
        return []


def in_workspace(
    project: Project,
    ignore: Ignore | None = None,
    *,
    refresh: bool = False,
    broken: dict[str, UserError] | None = None,
) -> dict[str, Pointer]:
    """Every pointer of the workspace by the path of its data, sorted.

    Those that cannot be read are put into `broken`; without it, the first of them is raised.
    """
    workspace = Workspace(project, ignore or Ignore(project.root), refresh=refresh)
    found = workspace.find()
    if broken is None and workspace.broken:
        raise workspace.broken[min(workspace.broken)]
    if broken is not None:
        broken.update(workspace.broken)
    return found


def read_pointer(project: Project, source: str) -> Pointer:
    """The pointer file at this project-relative path. UserError if it is not one."""
    path = project.root / source
    with path.open("rb") as file:
        raw = file.read(pointer.MAX_SIZE + 1)
    return pointer.parse(raw, source, project.algorithm)


def owner(path: str, tracked: Mapping[str, T]) -> tuple[T, str] | None:
    """The tracked thing that `path` is or lies in, and the way from there; None if there is none."""
    inner: list[str] = []
    above = path
    while above:
        if found := tracked.get(above):
            return found, "/".join(reversed(inner))
        above, _, name = above.rpartition("/")
        inner.append(name)
    return None


def owner_in_workspace(project: Project, path: str) -> tuple[Pointer, str] | None:
    """`owner` by looking for pointers above `path` and beside it only: what one path costs, not all."""
    # From the top: in a tracked directory, what is named like a pointer is data.
    end = path.find("/")
    while True:
        above = path if end < 0 else path[:end]
        if above and os.path.isfile(project.root / (above + SUFFIX)):
            return read_pointer(project, above + SUFFIX), path[len(above) + 1 :]
        if end < 0:
            return None
        end = path.find("/", end + 1)


def pathspecs(project: Project) -> list[str]:
    """What Git is asked about for this project: every pointer below its directory, and where others begin."""
    top = _glob_escape(f"{project.prefix}/" if project.prefix else "")
    return [f":(glob,top){top}**/*{SUFFIX}", f":(glob,top){top}**/{_CONFIG}"]


def pointers_of(project: Project, paths: Iterable[str]) -> dict[str, str]:
    """Those of Git's `paths` that are pointers of this project and of none that lies in it: path -> its own path."""
    top = f"{project.prefix}/" if project.prefix else ""
    inside = [(path, path.removeprefix(top)) for path in paths if path.startswith(top)]
    others = {own.removesuffix(_CONFIG) for _, own in inside if own.endswith(f"/{_CONFIG}")}
    return {
        path: own
        for path, own in inside
        if own.endswith(SUFFIX)
        and os.path.basename(own) != SUFFIX
        and not (others and any(own.startswith(other) for other in others))
    }


def _glob_escape(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)


def at_revision(project: Project, rev: str) -> dict[str, Pointer]:
    """Every pointer of a commit by the path of its data, sorted. UserError for one that cannot be read."""
    commit = git.resolve(project.git, rev)
    files = {
        os.fsdecode(path): oid
        for path, mode, oid in history.ls_tree(project.git, commit, pathspecs(project))
        if mode in (0o100644, 0o100755)
    }
    found = {}
    ours = pointers_of(project, files)
    contents = history.read_blobs(project.git, [files[path] for path in ours], limit=pointer.MAX_SIZE)
    for source, raw in zip(ours.values(), contents, strict=True):
        parsed = _parse_at(raw, source, project, rev)
        found[parsed.path] = parsed
    return dict(sorted(found.items()))


def _parse_at(raw: bytes, source: str, project: Project, rev: str) -> Pointer:
    try:
        return pointer.parse(raw, source, project.algorithm)
    except UserError as error:
        raise UserError(f"at {rev}: {error.message}", hint=error.hint) from None


def roots(pointers: Iterable[Pointer]) -> list[Root]:
    """What a push of these pointers must make complete."""
    return [Root(each.path, each.oid) for each in pointers]


def in_history(
    project: Project,
    revs: list[str],
    *,
    every_ref: bool = False,
    takes: Callable[[Pointer], bool] = lambda each: True,
) -> list[Root]:
    """Every root that a pointer ever named in the commits reachable from `revs` (or from every ref).

    Those that `takes` says no to are left out. Pointers that cannot be read are left out: history is not ours to mend.
    """
    pairs = sorted(history.contents(project.git, revs, pathspecs(project), every_ref=every_ref))
    found: dict[Root, None] = {}
    ours = pointers_of(project, [path for path, _ in pairs])
    wanted = [(ours[path], oid) for path, oid in pairs if path in ours]
    contents = history.read_blobs(project.git, [oid for _, oid in wanted], limit=pointer.MAX_SIZE)
    for (source, _), raw in zip(wanted, contents, strict=True):
        with contextlib.suppress(UserError):
            parsed = pointer.parse(raw, source, project.algorithm)
            if takes(parsed):
                found[Root(parsed.path, parsed.oid)] = None
    return list(found)


def commit_of(project: Project, root: Root) -> str | None:
    """The commit that brought a root, of those that a ref or reflog leads to; None if there is none."""
    where = f":(top,literal){project.in_git(root.path + SUFFIX)}"
    command = ["log", "--all", "--reflog", "--format=%H", f"-S{root.oid[:-1].hex()}", "--", where]
    found = git.run(command, project.git.cwd).decode().split()
    return found[-1] if found else None


def check_name(path: str) -> None:
    """UserError for data that is itself named like a pointer."""
    if path.endswith(SUFFIX):
        raise UserError(f"{quote(path)} is a pointer", hint=f"name the data: {quote(path.removesuffix(SUFFIX))}")
