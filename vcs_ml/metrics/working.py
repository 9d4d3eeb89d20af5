"""The files of the working tree, and what stands for data that was never checked out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from vcs_ml.errors import UserError
from vcs_ml.metrics import naming
from vcs_ml.metrics.naming import Area
from vcs_ml.metrics.stored import Data, Opener, Stored
from vcs_ml.output import quote
from vcs_ml.paths import DEPTH_MAX, problem
from vcs_ml.workspace import diff, single, sources, tracked, tree
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import SUFFIX, Pointer

WORKSPACE: Final = "workspace"


class Workspace:
    """The files of the working tree, as `Revision`; of data that was never checked out, what its pointer says."""

    label = WORKSPACE
    commit = None

    def __init__(self, data: Data) -> None:
        self._data, self._project = data, data.project
        self._survey = tracked.survey(data.project)
        self._files = single.Files(data.project)
        self._indexes: dict[str, Index] = {}

    def stage_files(self) -> list[str]:
        return self._survey.stage_files

    def stored(self, path: str) -> Stored | None:
        naming.refuse_outside(path)
        if os.path.lexists(self._project.root / path):
            return None
        if (owner := tracked.owner(path, self._survey.tracked)) is None:
            self._refuse_broken(path)
            return None
        return Stored(*owner) if self._was_never_here(*owner) else None

    def _refuse_broken(self, path: str) -> None:
        """UserError where a file that cannot be read may be what records this path."""
        broken = self._survey.broken
        for source in sorted(broken, key=sources.is_lock):  # a pointer says which path it is about
            if sources.is_lock(source) or naming.covers(source.removesuffix(SUFFIX), path):
                raise broken[source]

    def _was_never_here(self, each: Pointer, inner: str) -> bool:
        if diff.was_never_here(self._project, self._files, each):
            return True
        index = self._index(each)
        return index.partial and next(index.entries(os.fsencode(inner)), None) is None

    def _index(self, each: Pointer) -> Index:
        if each.path not in self._indexes:
            self._indexes[each.path] = Index.load(self._project.index_dir, each.path, self._project.algorithm)
        return self._indexes[each.path]

    def listed(self, path: str) -> list[str]:
        naming.refuse_outside(path)
        full = self._project.root / path
        exists = os.path.lexists(full)
        if exists and (not full.is_dir() or full.is_symlink()):
            return [path]
        area = naming.area(path, literal=exists)
        self._refuse_leading_out(area.folder)
        return naming.sorted_files(each for each in self._below(area) if area.means(each))

    def _below(self, area: Area) -> Iterator[str]:
        """Files that lie in the directory that was asked for, among them all that were asked for."""
        yield from self._walk(area.folder, area)
        if area.folder and (owner := tracked.owner(area.folder, self._survey.tracked)) is not None:
            yield from self._never_here(*owner)
            return
        prefix = f"{area.folder}/" if area.folder else ""
        for each in self._survey.tracked.values():
            if each.path.startswith(prefix) and area.enters(each.path):
                yield from self._never_here(each, "")
        for source, error in self._survey.broken.items():
            if source.startswith(prefix) and not sources.is_lock(source) and area.enters(source.removesuffix(SUFFIX)):
                raise error

    def _never_here(self, each: Pointer, inner: str) -> Iterator[str]:
        """The files of tracked data that were not checked out yet."""
        if diff.was_never_here(self._project, self._files, each):
            yield from self._data.files(Stored(each, inner))
        elif each.kind == "tree" and (index := self._index(each)).partial:
            known = {f"{each.path}/{os.fsdecode(path)}" for path in index.files()}
            yield from (path for path in self._data.files(Stored(each, inner)) if path not in known)

    def _walk(self, path: str, area: Area, depth: int = 1) -> Iterator[str]:
        """The files below a directory; no links, but for those into the store."""
        try:
            with os.scandir(self._project.root / path) as entries:
                listed = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise unreadable(path, error) from None
        for entry in listed:
            inner = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir(follow_symlinks=False):
                if depth < DEPTH_MAX and problem(entry.name) is None and area.enters(inner):
                    yield from self._walk(inner, area, depth + 1)
            elif entry.is_file(follow_symlinks=False) or self._is_object(entry.path):
                yield inner

    def _is_object(self, full: str) -> bool:
        return tree.is_object(os.fsencode(full), self._project.loose)

    def version(self, path: str) -> None:
        return None

    def expect(self, paths: Iterable[str]) -> None:
        return

    def opener(self, path: str) -> Opener | None:
        naming.refuse_outside(path)
        full = str(self._project.root / path)
        if not os.path.lexists(full):
            owner = self.stored(path)
            return self._data.opener(owner) if owner is not None else None
        if not self._is_object(full):
            self._refuse_leading_out(path)
        if os.path.isdir(full):
            if os.path.islink(full):
                raise UserError(f"{quote(path)} is a link to a directory", hint="name what it leads to")
            return None
        if not os.path.isfile(full):
            raise UserError(f"{quote(path)} is no regular file", hint="replace it by a file, or name another")
        try:
            return lambda: open(full, "rb"), os.stat(full).st_size
        except OSError as error:
            raise unreadable(path, error) from None

    def _refuse_leading_out(self, path: str) -> None:
        """UserError for a link out of the project, and for one to what belongs to Git or vml: keys are kept there."""
        root = os.path.realpath(self._project.root)
        real = os.path.realpath(f"{root}/{path}")
        if real == root:
            return
        if not real.startswith(f"{root}/"):
            raise naming.outside(path)
        inner = real.removeprefix(f"{root}/")
        if (why := problem(inner)) and not inner.startswith(f"{naming.TEMPLATES}/"):
            raise UserError(f"{quote(path)} cannot be read: {why}", hint="name a file of the project")


def unreadable(path: str, error: OSError) -> UserError:
    """The error for a file that the operating system refuses."""
    return UserError(f"{quote(path)} cannot be read: {error.strerror}", hint="ls -l shows what it is")
