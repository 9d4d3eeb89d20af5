"""Outputs that go into the store, and Git: it must not have them, and ignores them before they are made.

A command may fail halfway, and `git add` come next.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Iterable

from vcs_ml import git
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.pipeline import signature
from vcs_ml.pipeline.signature import Reason
from vcs_ml.pipeline.stage import Stage
from vcs_ml.workspace import lock_files
from vcs_ml.workspace.project import Project


def in_git(project: Project, stages: Iterable[Stage]) -> set[str]:
    """Those outputs of these stages that would be in the store and are in Git, by their paths there."""
    made = (signature.expanded(stage, project.root) for stage in stages)
    return git.tracked(project.git, [project.in_git(path) for outs in made for path, out in outs.items() if out.cache])


def refuse_in_git(project: Project, stage: Stage, in_git: Collection[str]) -> None:
    """UserError for an output that would be in the store and is in Git."""
    for path in _of(stage, project, in_git):
        raise UserError(
            f"stage {stage.address}: its output {quote(path)} is tracked by Git",
            hint=f"git rm -r --cached {word(path)}; or give it the flag cache: false in {word(stage.file)}",
        )


def reasons(project: Project, stage: Stage, in_git: Collection[str]) -> list[Reason]:
    """The same for those who look on."""
    return [
        Reason("out", path, what=f"tracked by Git; git rm -r --cached {word(path)} ends that")
        for path in _of(stage, project, in_git)
    ]


def _of(stage: Stage, project: Project, in_git: Collection[str]) -> list[str]:
    made = signature.expanded(stage, project.root) if in_git else {}
    return [path for path, out in made.items() if out.cache and project.in_git(path) in in_git]


class Ignored:
    """What one run has told Git of the outputs of these stages. Asked by who has the ledger open.

    What lies in one directory is told at once, because each time costs a sync of the disk. `told` are the paths.
    """

    def __init__(self, project: Project, stages: Iterable[Stage]) -> None:
        self._project = project
        self._untold: dict[str, set[str]] = {}
        self.told: set[str] = set()
        for stage in stages:
            for path in _plain(stage):
                self._untold.setdefault(os.path.dirname(path), set()).add(path)

    def tell(self, stage: Stage) -> None:
        """Let Git ignore the outputs of a stage that is about to run; their directories are there. UserError."""
        for folder in {os.path.dirname(path) for path in _plain(stage)}:
            if paths := self._untold.get(folder):
                lock_files.ignore(self._project, paths)
                self.told |= paths
                self._untold[folder] = set()

    def tell_matches(self, stage: Stage) -> None:
        """The same for patterns, of which it is known only when the command has ended."""
        made = signature.expanded(stage, self._project.root)
        lock_files.ignore(self._project, [path for path, out in made.items() if out.cache and out.is_glob])

    def take_back(self, tracked: Container[str]) -> None:
        """Let Git ignore no more what was not made after all, and is not tracked."""
        root = self._project.root
        gone = [path for path in self.told if path not in tracked and not os.path.lexists(root / path)]
        lock_files.unignore(self._project, gone)


def _plain(stage: Stage) -> list[str]:
    return [out.path for out in stage.outs if out.cache and not out.is_glob]
