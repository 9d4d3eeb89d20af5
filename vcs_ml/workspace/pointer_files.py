"""Pointers on the disk: written and removed together with the lines that keep their data out of Git."""

from __future__ import annotations

import os
from collections.abc import Sequence

from vcs_ml import fs, git
from vcs_ml.workspace import gitignore, pointer
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project


def write(project: Project, pointers: Sequence[Pointer]) -> None:
    """Write the lines that keep data out of Git, then pointers: killed in between, it can be repeated.

    Staged where core.autostage is set, but for pointers with conflicts: for Git, that would settle them.
    """
    ignored: dict[str, set[str]] = {}
    touched = []
    for each in pointers:
        folder, _, name = each.path.rpartition("/")
        ignored.setdefault(folder, set()).add(name)
    for folder, names in ignored.items():
        project.refuse_link_above(join(folder, min(names)))  # it may have become one while the data was read
        if gitignore.update(project.root / folder, names, set(), scratch=project.tmp_dir):
            touched.append(join(folder, ".gitignore"))
    sources = {pointer.pointer_path(each.path): each for each in pointers}
    contents = {project.root / source: pointer.serialize(each, project.algorithm) for source, each in sources.items()}
    fs.write_many(contents, scratch=project.tmp_dir)
    stage(project, [*touched, *(source for source, each in sources.items() if not each.conflicts)])


def drop(project: Project, paths: Sequence[str]) -> None:
    """Remove pointers and, before them, their lines in .gitignore: killed in between, it can be repeated."""
    ignored: dict[str, set[str]] = {}
    touched = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        ignored.setdefault(folder, set()).add(name)
        touched.append(path + SUFFIX)
    for folder, names in ignored.items():
        project.refuse_link_above(join(folder, min(names)))
        place = project.root / folder
        if place.is_dir() and gitignore.update(place, set(), names, scratch=project.tmp_dir):
            touched.append(join(folder, ".gitignore"))
    for path in paths:
        (project.root / (path + SUFFIX)).unlink(missing_ok=True)
    stage(project, touched)


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def stage(project: Project, paths: Sequence[str]) -> None:
    """Remember what a command wrote for Git, and `git add` it where core.autostage is set."""
    project.written.update(paths)
    if paths and project.config.autostage and project.git.worktree is not None:
        gone = [project.in_git(path) for path in paths if not os.path.lexists(project.root / path)]
        never_there = set(gone) - git.tracked(project.git, gone)
        git.stage(project.git, [path for path in map(project.in_git, paths) if path not in never_there])
