"""Files at a revision, or in the workspace, wherever their bytes are: in Git, in the store, or on a remote."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Protocol, Self

from vcs_ml import git, paths, values
from vcs_ml.errors import UserError
from vcs_ml.gittree import DIRECTORY, FILE, Node, Trees
from vcs_ml.output import quote, size
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.stage import FILE as STAGES
from vcs_ml.store import manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote
from vcs_ml.workspace import diff, lockfile, opening, single, sources, sync, tracked, tree
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Wanted

WORKSPACE: Final = "workspace"
LARGEST: Final = 1 << 30  # bytes of a file in Git that are looked at: they are in memory

_CONFIG: Final = "config.toml"
_PROJECT: Final = f".vml/{_CONFIG}"


class Stored(NamedTuple):
    """A file or directory of tracked data: the tracked thing, and the way to it from there."""

    pointer: Pointer
    inner: str


class Revision(Protocol):
    """What `Commit` and `Workspace` can do. Paths are those of the project."""

    label: str

    def stage_files(self) -> list[str]:
        """The vml.yaml files."""

    def listed(self, path: str) -> list[str]:
        """The files at a path: itself, those of a directory, those that a pattern stands for; none where nothing is.

        MissingObject where only a list of files that is not here would tell.
        """

    def stored(self, path: str) -> Stored | None:
        """The tracked data that a path is or lies in, where its bytes have to come from the store."""

    def opener(self, path: str) -> tuple[Callable[[], BinaryIO], int] | None:
        """What opens the file at a path, and its size; None where no file is. UserError if it cannot be had."""


class Reader:
    """Gives the revisions of one project; to be used as a context. Nothing is written outside of the store.

    With `show` (a label to a progress line), what the store lacks comes from the default remote.
    """

    def __init__(self, project: Project, store: LocalStore, show: sync.Show | None = None) -> None:
        self.project, self.store = project, store
        self.trees = Trees(project.git)
        self._show = show
        self._remote: Remote | None = None
        self._parsed: dict[tuple[str, str], list[Pointer]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.trees.__exit__(kind, error, trace)

    def at(self, rev: str) -> Commit:
        """A commit, by any name that Git knows. UserError where Git does not."""
        return self.commit(rev, git.resolve(self.project.git, rev))

    def commit(self, label: str, commit: str) -> Commit:
        """A commit by its full id, and what it is called here."""
        return Commit(self, label, commit)

    def workspace(self) -> Workspace:
        """What is in the working tree now. UserError in a bare repository."""
        if self.project.git.worktree is None:
            raise UserError("a bare repository has no workspace", hint="name the revisions to look at")
        return Workspace(self)

    def pointers(self, node: Node, source: str) -> list[Pointer]:
        """What a pointer or lock file of a commit records. UserError where it cannot be read."""
        key = (node.oid, source)
        if key not in self._parsed:
            raw = self.trees.read(node.oid, sources.MAX_SIZE)
            self._parsed[key] = sources.parse(raw, source, self.project.algorithm)
        return self._parsed[key]

    def bring(self, wanted: Iterable[Stored]) -> None:
        """Fetch what the store lacks of these, if this was asked for."""
        if self._show is None:
            return
        once = {(each.pointer.oid, each.inner): each for each in wanted}
        items = [
            Wanted(Root(each.pointer.path, each.pointer.oid), each.pointer.size, [each.inner]) for each in once.values()
        ]
        lacking = sync.lacking(self.store, items)
        if not lacking:
            return
        if self._remote is None:
            self._remote = opening.remote_at(self.project, self.project.remote())
        sync.fetch(self.store, self._remote, lacking, jobs=sync.jobs(self.project, None), show=self._show)

    def opener(self, each: Stored) -> tuple[Callable[[], BinaryIO], int] | None:
        """What opens a file of tracked data, and its size; None where the tracked directory has no such file.

        UserError if its bytes are not here.
        """
        try:
            found = self._content(each)
            if found is None:
                return None
            oid, length = found
            place = self.store.locate(oid)
        except MissingObject:
            raise UserError(
                f"{quote('/'.join(filter(None, (each.pointer.path, each.inner))))} is not in the local store",
                hint="--fetch gets it from the default remote",
            ) from None
        if isinstance(place, Path):
            return _opens(place), length
        return lambda: io.BytesIO(self.store.read(oid)), length

    def _content(self, each: Stored) -> tuple[ObjectId, int] | None:
        """The object that holds a file, and its size."""
        if each.pointer.kind != "tree":
            return None if each.inner else (each.pointer.oid, each.pointer.size)
        entry = manifest.lookup(each.pointer.oid, os.fsencode(each.inner), self.store.algorithm, self.store.read)
        if entry is None:
            return None
        single.kind_of(entry)  # no link
        return objects.blob(entry.digest), entry.size

    def files(self, each: Stored) -> list[str]:
        """The files of tracked data at or below a path, by their paths in the project. MissingObject."""
        if each.pointer.kind != "tree":
            return [] if each.inner else [each.pointer.path]
        found = manifest.under(each.pointer.oid, os.fsencode(each.inner), self.store.algorithm, self.store.read)
        return [f"{each.pointer.path}/{os.fsdecode(entry.path)}" for entry in found]


class Commit:
    """The files of a commit, as `Revision`; of the project it was asked for, none of others that lie in that."""

    def __init__(self, reader: Reader, label: str, commit: str) -> None:
        self.label, self.commit = label, commit
        self._reader, self._trees = reader, reader.trees

    @cached_property
    def _top(self) -> str | None:
        """The tree of the project's directory, None where the commit has none."""
        found = self._trees.find(self._trees.top(self.commit), self._reader.project.prefix)
        return found.oid if found is not None and found.mode == DIRECTORY else None

    def _named(self, name: str) -> list[tuple[str, Node]]:
        """Every file of this name, but for those of projects that lie in this one."""
        if self._top is None:
            return []
        found = self._trees.named(self._top, (name, _CONFIG))
        inner = [path.removesuffix(_PROJECT) for path, _ in found if path.endswith(f"/{_PROJECT}")]
        return [(path, node) for path, node in found if path.endswith(name) and not path.startswith(tuple(inner))]

    def stage_files(self) -> list[str]:
        return [path for path, _ in self._named(STAGES)]

    @cached_property
    def _outs(self) -> dict[str, Pointer]:
        """The outputs of stages. A lock file that cannot be read records none."""
        found: dict[str, Pointer] = {}
        for path, node in self._named(lockfile.NAME):
            with contextlib.suppress(UserError):
                found.update((each.path, each) for each in self._reader.pointers(node, path))
        return found

    def find(self, path: str) -> Node | None:
        """What Git has at a path."""
        return self._trees.find(self._top, path) if self._top is not None else None

    def stored(self, path: str) -> Stored | None:
        found = self.find(path)
        if found is not None and found.mode != DIRECTORY:
            return None
        end = path.find("/")
        while True:  # from the top: in a tracked directory, what is named like a pointer is data
            above = path if end < 0 else path[:end]
            node = self.find(above + SUFFIX)
            if node is not None and node.mode in FILE:
                return Stored(self._reader.pointers(node, above + SUFFIX)[0], path[len(above) + 1 :])
            if end < 0:
                break
            end = path.find("/", end + 1)
        owner = tracked.owner(path, self._outs)
        return Stored(*owner) if owner is not None else None

    def listed(self, path: str) -> list[str]:
        if patterns.is_pattern(path):
            folder = patterns.directory(path)
            return [each for each in self._below(folder) if patterns.matches(each, path)]
        return self._below(path)

    def _below(self, path: str) -> list[str]:
        found = self.find(path)
        if found is not None and found.mode != DIRECTORY:
            return [path]
        if (owner := self.stored(path)) is not None:
            return self._reader.files(owner)
        files: list[str] = []
        prefix = f"{path}/" if path else ""
        for inner, node in self._trees.files(found.oid) if found is not None else ():
            if inner.endswith(SUFFIX):
                files += self._reader.files(Stored(self._reader.pointers(node, prefix + inner)[0], ""))
            else:
                files.append(prefix + inner)
        for out in self._outs.values():
            if out.path.startswith(prefix):
                files += self._reader.files(Stored(out, ""))
        return sorted(set(files))

    def opener(self, path: str) -> tuple[Callable[[], BinaryIO], int] | None:
        found = self.find(path)
        if found is not None and found.mode in FILE:
            data = self._trees.read(found.oid, LARGEST)
            return lambda: io.BytesIO(data), len(data)
        if found is not None and found.mode != DIRECTORY:
            raise UserError(f"{quote(path)} is a symbolic link at {self.label}", hint="name the file it leads to")
        owner = self.stored(path)
        return self._reader.opener(owner) if owner is not None else None


class Workspace:
    """The files of the working tree, as `Revision`; of data that was never checked out, what its pointer says."""

    label = WORKSPACE

    def __init__(self, reader: Reader) -> None:
        self._reader, self._project = reader, reader.project
        self._survey = tracked.survey(reader.project)
        self._files = single.Files(reader.project)

    def stage_files(self) -> list[str]:
        return self._survey.stage_files

    def stored(self, path: str) -> Stored | None:
        if os.path.lexists(self._project.root / path):
            return None
        owner = tracked.owner(path, self._survey.tracked)
        if owner is None or not diff.was_never_here(self._project, self._files, owner[0]):
            return None
        return Stored(*owner)

    def listed(self, path: str) -> list[str]:
        if patterns.is_pattern(path):
            here = patterns.files(self._project.root, path)
            folder = patterns.directory(path)
            found = {*here, *(each for each in self._never_here(folder) if patterns.matches(each, path))}
            return sorted(found)
        full = self._project.root / path
        if os.path.lexists(full) and not full.is_dir():
            return [path]
        return sorted({*_walk(self._project.root, path), *self._never_here(path)})

    def _never_here(self, path: str) -> Iterator[str]:
        owner = self.stored(path)
        if owner is not None:
            yield from self._reader.files(owner)
            return
        prefix = f"{path}/" if path else ""
        for each in self._survey.tracked.values():
            if each.path.startswith(prefix) and self.stored(each.path) is not None:
                yield from self._reader.files(Stored(each, ""))

    def opener(self, path: str) -> tuple[Callable[[], BinaryIO], int] | None:
        root = self._project.root
        full = root / path
        if not os.path.lexists(full):
            owner = self.stored(path)
            return self._reader.opener(owner) if owner is not None else None
        if not tree.is_object(os.fsencode(full), self._project.loose) and root not in full.resolve().parents:
            raise UserError(f"{quote(path)} leads out of the project", hint="what is compared lies in the project")
        if not full.is_file():
            if full.is_dir():
                return None
            raise UserError(f"{quote(path)} is no regular file", hint="replace it by a file, or name another")
        return _opens(full), full.stat().st_size


def read(revision: Revision, path: str, limit: int = values.MAX_SIZE) -> bytes | None:
    """The bytes of a file, None if there is none. UserError for what is larger than `limit`, no file, or not here."""
    found = revision.opener(path)
    if found is None:
        return None
    opener, length = found
    if length <= limit:
        with opener() as file:
            raw = file.read(limit + 1)
        if len(raw) <= limit:
            return raw
    raise UserError(f"{quote(path)} is larger than {size(limit)}", hint="what is shown and compared are small files")


def _opens(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def _walk(root: Path, path: str) -> Iterator[str]:
    """The files below a directory; neither links nor what belongs to Git and vml."""
    try:
        with os.scandir(root / path) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in listed:
        inner = f"{path}/{entry.name}" if path else entry.name
        if entry.is_dir(follow_symlinks=False):
            if paths.problem(entry.name) is None:
                yield from _walk(root, inner)
        elif entry.name != ".gitignore" and not entry.name.endswith(SUFFIX):
            yield inner
