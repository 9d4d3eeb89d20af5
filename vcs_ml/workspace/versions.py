"""The versions of a tracked path: which commits changed it, who made them, and what it was after each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from vcs_ml import history
from vcs_ml.errors import UserError
from vcs_ml.gittree import Trees
from vcs_ml.history import Commit
from vcs_ml.output import quote
from vcs_ml.store import manifest, objects
from vcs_ml.store.manifest import Read
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.workspace import lockfile, tracked
from vcs_ml.workspace.committed import Committed, Sources
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project


class Content(NamedTuple):
    """What is at a path. `nfiles` is for directories. `oid` and `size` are None where that is not known: it lies in a
    directory, `within`, of which the list of files is not here.
    """

    oid: ObjectId | None
    size: int | None
    nfiles: int | None
    within: ObjectId | None = None


class Version(NamedTuple):
    """A commit after which a path was other than after any of its parents; `content` is None where it is gone."""

    commit: Commit
    path: str
    change: Literal["added", "modified", "deleted"]
    content: Content | None

    def as_json(self, project: Project) -> dict[str, Any]:
        """The version for programs."""
        commit = {"commit": self.commit.oid, **self.commit._asdict()}
        for key in ("oid", "parents"):
            del commit[key]
        found: dict[str, Any] = {**commit, "path": self.path, "change": self.change}
        if self.content is not None:
            oid, size, nfiles, _ = self.content
            found |= {"hash": objects.format_hash(oid, project.algorithm) if oid is not None else None, "size": size}
            found |= {"nfiles": nfiles} if nfiles is not None else {}
        return found


def versions(
    project: Project,
    path: str,
    revs: Sequence[str],
    read: Read,
    *,
    every_ref: bool = False,
    follow: bool = False,
) -> Iterator[Version]:
    """The versions of what is tracked at a path, or lies in it, the newest first.

    They are those in the history of `revs`, as git log takes them, or of every ref. With `follow`, what `vml mv` has
    moved is followed to where it was before. UserError for revisions that Git does not know.
    """
    with Trees(project.git) as trees:
        past = _Past(project, trees, read)
        while True:
            oldest = None
            for each in past.versions(path, revs, every_ref=every_ref):
                yield each
                oldest = each
            if not follow or oldest is None or (before := past.source_of(oldest)) is None:
                return
            path, revs, every_ref = before, oldest.commit.parents, False


class _Past:
    """What commits hold at a path; what is the same in several of them is read once."""

    def __init__(self, project: Project, trees: Trees, read: Read) -> None:
        self._project = project
        self._sources = Sources(project, trees)
        self._read = read
        self._owners: dict[tuple[str, str], tuple[Pointer, str] | None] = {}
        self._inside: dict[tuple[ObjectId, str], Content | None] = {}

    def versions(self, path: str, revs: Sequence[str], *, every_ref: bool) -> Iterator[Version]:
        pointers = (f":(top,literal){self._project.in_git(above + SUFFIX)}" for above in _around(path))
        patterns = [*pointers, *tracked.pathspecs(self._project, [lockfile.NAME])]
        for commit in history.log(self._project.git, revs, patterns, every_ref=every_ref):
            now = self._content(path, commit.oid)
            before = [self._content(path, parent) for parent in commit.parents]
            if now in before or (now is None and not before):
                continue
            is_new = all(each is None for each in before)
            yield Version(commit, path, "deleted" if now is None else "added" if is_new else "modified", now)

    def source_of(self, version: Version) -> str | None:
        """From where the commit of a version moved the data, None if it was new there."""
        commit, path = version.commit, version.path
        owner = self._owner(path, commit.oid) if version.change == "added" and commit.parents else None
        if owner is None or owner[0].lock:
            return None
        pointer, inner = owner
        for old, new in history.renamed(self._project.git, commit, f"*{SUFFIX}"):
            if self._project.own_path(new) == pointer.source and (before := self._project.own_path(old)) is not None:
                return "/".join(filter(None, (before.removesuffix(SUFFIX), inner)))
        return None

    def _owner(self, path: str, commit: str) -> tuple[Pointer, str] | None:
        if (commit, path) not in self._owners:
            try:
                self._owners[commit, path] = Committed(self._sources, commit).owner(path)
            except UserError:  # history is not ours to mend
                self._owners[commit, path] = None
        return self._owners[commit, path]

    def _content(self, path: str, commit: str) -> Content | None:
        owner = self._owner(path, commit)
        if owner is None:
            return None
        pointer, inner = owner
        if not inner:
            return Content(pointer.oid, pointer.size, pointer.nfiles)
        if pointer.kind != "tree":
            return None
        key = (pointer.oid, inner)
        if key not in self._inside:
            try:
                self._inside[key] = self._find(pointer.oid, os.fsencode(inner))
            except MissingObject:
                self._inside[key] = Content(None, None, None, within=pointer.oid)
        return self._inside[key]

    def _find(self, root: ObjectId, inner: bytes) -> Content | None:
        algorithm = self._project.algorithm
        if (entry := manifest.lookup(root, inner, algorithm, self._read)) is not None:
            return Content(objects.blob(entry.digest), entry.size, None)
        oid, nfiles, size = manifest.extract(root, inner, algorithm, self._read, lambda oid, data: None)
        return Content(oid, size, nfiles) if nfiles else None


def _around(path: str) -> Iterator[str]:
    """A path and the directories around it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def check(path: str, found: Sequence[Version]) -> None:
    """UserError where a path has no versions."""
    if not found:
        raise UserError(
            f"{quote(path)} was not tracked in any of these commits",
            hint="vml ls lists what is; vml log --all looks at every branch and tag",
        )
