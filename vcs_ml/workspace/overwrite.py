"""Where a person wants something written: not over what Git or vml has, and not through a link to elsewhere."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from vcs_ml import fs, git, paths
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.workspace import lockfile, sources, tracked
from vcs_ml.workspace.project import Project


def refuse(project: Project, place: Path, *, hint: str) -> None:
    """UserError where a file cannot be written, would replace what Git or vml has, or would go where a link leads.

    Whoever may commit may commit a link. Above the repository, links are those of the machine.
    """
    name = quote(place)
    top = project.git.worktree or project.root
    for each in (place.absolute(), *place.absolute().parents):
        if each.is_symlink() and (_below(each.parent, top) is not None or (each == place and fs.is_link(place))):
            raise UserError(f"{quote(each)} is a link, and nothing is written behind it", hint=hint)
    if place.is_dir() or not place.parent.is_dir():
        what = "is a directory" if place.is_dir() else f"cannot be written: there is no directory {quote(place.parent)}"
        raise UserError(f"{name} {what}", hint=hint)
    path = _below(place.parent, project.root, place.name)
    if path is not None and (paths.problem(path) or place.name == lockfile.STAGES or sources.is_source(path)):
        raise UserError(f"{name} belongs to Git or vml", hint=hint)
    in_git = _below(place.parent, top, place.name) if project.git.worktree is not None else None
    if in_git is not None and ".git" in in_git.split("/"):
        raise UserError(f"{name} belongs to Git", hint=hint)
    if not os.path.lexists(place):
        return
    if in_git is not None and git.is_tracked(project.git, in_git):
        raise UserError(f"{name} is tracked by Git, and would be overwritten", hint=hint)
    if path is not None and _is_tracked(project, path):
        raise UserError(f"{name} is tracked, and would be overwritten", hint=hint)


def _below(directory: Path, top: Path, *names: str) -> str | None:
    """The path of a directory, or of a file in it, from `top`; None where it is elsewhere."""
    found = directory.resolve()
    return str(found.relative_to(top.resolve()).joinpath(*names)) if found.is_relative_to(top.resolve()) else None


def _is_tracked(project: Project, path: str) -> bool:
    with contextlib.suppress(UserError):  # what cannot be read is told by whoever needs it
        return tracked.owner_in_workspace(project, path) is not None
    return False
