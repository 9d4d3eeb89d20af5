"""What is about to be committed: Git's index, what of it differs from HEAD, the projects in it, and its files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Final, Self

from vcs_ml import git, gitindex, history
from vcs_ml.git import FileStatus, GitRoot, Running
from vcs_ml.gitindex import Change, Index
from vcs_ml.hooks.typed import Typed
from vcs_ml.workspace import lockfile, sources
from vcs_ml.workspace.pointer import SUFFIX
from vcs_ml.workspace.status import Asked

CONFIG: Final = ".vml/config.toml"
_RECORDS: Final = (os.fsencode(SUFFIX), os.fsencode(lockfile.NAME), os.fsencode(CONFIG))


class Staged:
    """The index of a repository, read while something else is done; to be used as a context.

    Paths go from the top of the worktree. A project is named by its directory, "" at the top.
    """

    def __init__(self, root: GitRoot, env: Mapping[str, str]) -> None:
        self.root = root
        self.env = env
        self.typed = Typed(root, env)
        self._stack = ExitStack()
        self._contents: dict[str, bytes] = {}
        self._around: dict[str, str | None] = {}
        self._status: Running | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._changes = stack.enter_context(git.start(gitindex.CHANGES, self.root.cwd))
            self._files = stack.enter_context(git.start(gitindex.FILES, self.root.cwd))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def index(self) -> Index:
        """All files."""
        return Index(self._files.wait())

    @cached_property
    def changes(self) -> list[Change]:
        """What differs from HEAD."""
        return gitindex.changes(self._changes.wait())

    def begin_status(self) -> None:
        """Have Git compare the workspace meanwhile, too."""
        if self._status is None:
            specs = [f":(glob,top)**/{name}" for name in (f"*{SUFFIX}", lockfile.NAME, CONFIG)]
            self._status = self._stack.enter_context(git.start([*git.STATUS, "--", *specs], self.root.cwd))

    @cached_property
    def _differing(self) -> list[FileStatus]:
        self.begin_status()
        assert self._status is not None
        return git.parse_status(self._status.wait())

    @cached_property
    def _blobs(self) -> dict[str, str]:
        return self.index.blobs(_RECORDS)

    @cached_property
    def unseen(self) -> dict[str, str]:
        """Those that differ in the workspace and that Git was told not to look at, as history.unseen."""
        return history.unseen(self.root, self.index.unwatched(_RECORDS))

    @property
    def asked(self) -> Asked:
        """The same of all files that record something, and of settings, with what of them differs in the workspace."""
        return Asked(lambda: self._differing, lambda: self._blobs, lambda: self.unseen)

    @cached_property
    def projects(self) -> frozenset[str]:
        """All projects of the repository."""
        return frozenset(path.removesuffix(CONFIG).rstrip("/") for path in self.index.named(CONFIG))

    def project_of(self, path: str) -> str | None:
        """The project that a path lies in; None: in none."""
        folder = path.rpartition("/")[0]
        if folder not in self._around:
            found: str | None = folder if folder in self.projects else None
            self._around[folder] = self.project_of(folder) if found is None and folder else found
        return self._around[folder]

    def expect(self, paths: Iterable[str]) -> None:
        """Read these files, through one git, before each is asked for."""
        found = {}
        for path in paths:
            entry = self.index.get(path) if path not in self._contents else None
            if entry is not None and entry.mode in gitindex.REGULAR:
                found[path] = entry.oid
        contents = history.read_blobs(self.root, list(found.values()), limit=sources.MAX_SIZE) if found else ()
        self._contents |= zip(found, contents, strict=True)

    @cached_property
    def operation(self) -> str | None:
        """What Git is in the middle of, as git.operation."""
        return git.operation(self.root)

    def read_blob(self, oid: str) -> bytes:
        """The bytes of an object of Git, as `read`."""
        return next(history.read_blobs(self.root, [oid], limit=sources.MAX_SIZE))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, one too many of what is too large to be read; None for what is no file."""
        self.expect([path])
        return self._contents.get(path)


def own_path(project: str, path: str) -> str:
    """A path in a project, as that names it."""
    return path.removeprefix(f"{project}/") if project else path


def in_git(project: str, own: str) -> str:
    """The reverse."""
    return f"{project}/{own}" if project else own
