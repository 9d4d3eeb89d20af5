"""Pointers on the disk: written and removed together with the lines that keep their data out of Git."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from vcs_ml import fs, git
from vcs_ml.workspace import gitignore, pointer
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project

T = TypeVar("T")


def write(project: Project, pointers: Sequence[Pointer]) -> None:
    """Write the lines that keep data out of Git, then pointers: killed in between, it can be repeated.

    Staged where core.autostage is set, but for pointers with conflicts: for Git, that would settle them.
    """
    touched = ignore(project, [each.path for each in pointers], add=True)
    sources = {pointer.pointer_path(each.path): each for each in pointers}
    contents = {project.root / source: pointer.serialize(each, project.algorithm) for source, each in sources.items()}
    fs.write_many(contents, scratch=project.tmp_dir)
    stage(project, [*touched, *(source for source, each in sources.items() if not each.conflicts)])


def drop(project: Project, paths: Sequence[str]) -> None:
    """Remove pointers and, before them, their lines in .gitignore: killed in between, it can be repeated."""
    touched = ignore(project, paths, add=False)
    for path in paths:
        (project.root / (path + SUFFIX)).unlink(missing_ok=True)
    stage(project, [*touched, *(path + SUFFIX for path in paths)])


def ignore(project: Project, paths: Iterable[str], *, add: bool) -> list[str]:
    """Put the names of `paths` into .gitignore files of directories that are there, or take them out; the files that
    this changed.
    """
    touched = []
    for folder, some in sorted(_by_folder(dict.fromkeys(paths)).items()):
        project.refuse_link_above(join(folder, min(some)))  # it may have become one while data was read
        place = project.root / folder
        if not place.is_dir():
            continue
        if gitignore.update(
            place, some.keys() if add else set(), set() if add else some.keys(), scratch=project.tmp_dir
        ):
            touched.append(join(folder, ".gitignore"))
    return touched


def keep_out(project: Project, pointers: Iterable[Pointer]) -> None:
    """Let Git ignore this data where it does not, as after a merge of a branch that had ended tracking it."""
    asked = {}
    for folder, some in _by_folder({each.path: each for each in pointers}).items():
        listed = gitignore.listed(project.root / folder, some)
        for each in (each for name, each in some.items() if name not in listed):
            asked[project.in_git(each.path) + "/" * (each.kind == "tree")] = each.path
    lost = asked.keys() - git.ignored(project.git, list(asked))
    stage(project, ignore(project, [asked[each] for each in lost], add=True))


def _by_folder(things: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """What has these paths, by directory and then by name."""
    found: dict[str, dict[str, T]] = {}
    for path, thing in things.items():
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, {})[name] = thing
    return found


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def stage(project: Project, paths: Sequence[str]) -> None:
    """Remember what a command wrote for Git, and `git add` it where core.autostage is set."""
    project.written.update(paths)
    if paths and project.config.autostage and project.git.worktree is not None:
        gone = [project.in_git(path) for path in paths if not os.path.lexists(project.root / path)]
        never_there = set(gone) - git.tracked(project.git, gone)
        git.stage(project.git, [path for path in map(project.in_git, paths) if path not in never_there])
