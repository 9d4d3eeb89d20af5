"""Files at a revision, or in the workspace, wherever their bytes are: in Git, in the store, or on a remote."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from vcs_ml import git, values
from vcs_ml.errors import UserError
from vcs_ml.gittree import Trees
from vcs_ml.metrics.committed import LARGEST, Commit
from vcs_ml.metrics.stored import Data, Opener, Stored
from vcs_ml.metrics.working import WORKSPACE, Workspace, unreadable
from vcs_ml.output import quote, size
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import sync
from vcs_ml.workspace.committed import Sources
from vcs_ml.workspace.project import Project

__all__ = ["LARGEST", "WORKSPACE", "Commit", "Reader", "Revision", "Stored", "Workspace", "read"]


class Revision(Protocol):
    """What `Commit` and `Workspace` can do. Paths are those of the project."""

    @property
    def label(self) -> str:
        """What it is called here."""

    @property
    def commit(self) -> str | None:
        """The full id; None for the workspace."""

    def stage_files(self) -> list[str]:
        """The vml.yaml files."""

    def listed(self, path: str) -> list[str]:
        """The files at a path: itself, those of a directory, those that a pattern stands for; none where nothing is.

        In a directory, neither links nor what belongs to Git and vml. MissingObject where only a list of files that is
        not here would tell, and UserError for what lies outside of the project, or is recorded where it cannot be read.
        """

    def stored(self, path: str) -> Stored | None:
        """The tracked data that a path is or lies in, where its bytes have to come from the store. UserError as in
        `listed`.
        """

    def version(self, path: str) -> str | None:
        """What tells the content of this file from any other, where that is known without reading it."""

    def expect(self, paths: Iterable[str]) -> None:
        """Be ready for these files to be read one after another."""

    def opener(self, path: str) -> Opener | None:
        """What opens the file at a path, and its size; None where no file is. UserError if it cannot be had."""


class Reader:
    """Gives the revisions of one project; to be used as a context. Nothing is written outside of the store.

    With `show` (a label to a progress line), what the store lacks comes from the default remote.
    """

    def __init__(self, project: Project, store: LocalStore, show: sync.Show | None = None) -> None:
        self.project, self.store = project, store
        self.trees = Trees(project.git)
        self.fetches = show is not None
        self._data = Data(project, store, show)
        self._sources = Sources(project, self.trees)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.trees.close()

    def at(self, rev: str) -> Commit:
        """A commit, by any name that Git knows. UserError where it knows none."""
        return self.commit(rev, self.trees.commit(rev) or git.resolve(self.project.git, rev))

    def any(self, rev: str) -> Revision:
        """The workspace by the name that is WORKSPACE, also where a branch has it; else a commit, as in `at`."""
        return self.workspace() if rev == WORKSPACE else self.at(rev)

    def commit(self, label: str, commit: str) -> Commit:
        """A commit by its full id, and what it is called here."""
        return Commit(self._data, self._sources, label, commit)

    def workspace(self) -> Workspace:
        """What is in the working tree now. UserError in a bare repository."""
        if self.project.git.worktree is None:
            raise UserError("a bare repository has no workspace", hint="name the revisions to look at")
        return Workspace(self._data)

    def bring(self, wanted: Iterable[Stored]) -> None:
        """Fetch what the store lacks of these, if this was asked for. What the remote lacks too, `opener` tells of."""
        self._data.bring(wanted)


def read(revision: Revision, path: str, limit: int = values.MAX_SIZE) -> bytes | None:
    """The bytes of a file, None if there is none. UserError for what is larger than `limit`, no file, or not here.

    CorruptError where the store has other bytes than it should.
    """
    found = revision.opener(path)
    if found is None:
        return None
    opener, length = found
    if length <= limit:
        try:
            with opener() as file:
                raw = file.read(limit + 1)
        except OSError as error:
            raise unreadable(path, error) from None
        if len(raw) <= limit:
            return raw
    raise UserError(f"{quote(path)} is larger than {size(limit)}", hint="what is shown and compared are small files")
