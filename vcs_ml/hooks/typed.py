"""Commands as the person who committed would type them, in the directory where that was."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from vcs_ml.git import GitRoot
from vcs_ml.output import word

_WILD: Final = frozenset("*?[]\\")


class Typed:
    """Words for the shell of whoever ran a git command, in the directory where that was.

    Paths go from the top of the worktree, and "" is that itself.
    """

    def __init__(self, root: GitRoot, env: Mapping[str, str]) -> None:
        self._top = str(root.cwd)
        self._projects: dict[str, str | None] = {}
        # What git exports to hooks, which run at the top.
        self._base = os.path.normpath(prefix) if (prefix := env.get("GIT_PREFIX", "")) else ""

    def path(self, path: str) -> str:
        """A path."""
        return word(os.path.relpath(path or ".", self._base or "."))

    def git(self, *words: str, paths: Iterable[str]) -> str:
        """A command of git about these paths, and no others that they may be patterns for."""
        chosen = list(paths)
        literal = ["--literal-pathspecs"] if any(_WILD & set(each) for each in chosen) else []
        return " ".join(["git", *literal, *words, *map(self.path, chosen)])

    def vml(self, *words: str, paths: Iterable[str] = (), project: str) -> str:
        """A command of vml about these paths of a project."""
        if project == self.project_around(self._base) or self.path(project) == ".":
            return " ".join(["vml", *words, *map(self.path, paths)])
        own = (word(os.path.relpath(path, project or ".")) for path in paths)
        return " ".join(["vml", "-C", self.path(project), *words, *own])

    def project_around(self, folder: str) -> str | None:
        """The nearest project at or above a directory of the worktree; None: it is in none."""
        if folder not in self._projects:
            if os.path.exists(os.path.join(self._top, folder, ".vml/config.toml")):
                found: str | None = folder
            else:
                found = self.project_around(folder.rpartition("/")[0]) if folder else None
            self._projects[folder] = found
        return self._projects[folder]
