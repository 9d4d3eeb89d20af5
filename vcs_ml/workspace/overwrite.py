"""Where a person wants something written: over nothing that Git, vml or somebody else has, and through no link."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from vcs_ml import fs, git, paths
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.workspace import lockfile, sources, tracked
from vcs_ml.workspace.project import Project

# What a page of ours begins with.
PAGE: Final = (
    rb'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
)
_READ: Final = 65_536  # bytes, which hold the longest title that anybody wants


def refuse_other(
    project: Project, place: Path, own: re.Pattern[bytes], what: str, *, hint: str, force: bool, make: bool = False
) -> None:
    """As `refuse`, and UserError for a file that is no `what`: one with something in it that does not begin like `own`.

    With `force`, any file that neither Git nor vml has may go. What is no file, as a pipe, is written as it is.
    """
    refuse(project, place, hint=hint, make=make)
    if force or not place.is_file() or place.is_symlink():
        return
    with place.open("rb") as file:
        raw = file.read(_READ)
    if raw and not own.match(raw):
        raise UserError(f"{quote(place)} is there, and is no {what}", hint=f"--force replaces it; or {hint}")


def refuse(project: Project, place: Path, *, hint: str, make: bool = False) -> None:
    """UserError where a file cannot be written, would replace what Git or vml has, or would go where a link leads.

    Whoever may commit may commit a link. Above the repository, links are those of the machine. With `make`, the
    directories above the file may be missing.
    """
    name = quote(place)
    top = project.git.worktree or project.root
    for each in (place.absolute(), *place.absolute().parents):
        if each.is_symlink() and (_below(each.parent, top) is not None or (each == place and fs.is_link(place))):
            raise UserError(f"{quote(each)} is a link, and nothing is written behind it", hint=hint)
    above = next(each for each in place.absolute().parents if not make or os.path.lexists(each))
    if place.is_dir() or not above.is_dir():
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
