"""Stages that are stale in a commit, and not only in the workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vcs_ml import git
from vcs_ml.hooks.problem import Problem
from vcs_ml.hooks.staged import Staged, in_git
from vcs_ml.workspace import lockfile
from vcs_ml.workspace.project import Project

if TYPE_CHECKING:
    from vcs_ml.pipeline.staleness import StageState, Staleness


def stale_for_commit(staged: Staged, project: Project, stages: Staleness, told: Sequence[Problem]) -> list[StageState]:
    """The stages that would run for what is about to be committed, but for those of which a problem was `told`.

    Those that would run only for changes which stay in the workspace are left out, and those behind them.
    """
    known = {name for each in told if staged.project_of(each.path) == project.prefix for name in each.stages}
    counting = [each for each in stages.stages if each.counts and each.state != "behind" and each.name not in known]
    paths = {path for each in counting for path in _files(each)}
    if not paths:
        return counting
    asked = [f":(top,literal){in_git(project.prefix, path)}" for path in sorted(paths)]
    args = ["status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=all", "--", *asked]
    here = {each.path: each for each in git.parse_status(git.run(args, staged.root.cwd))}
    return [each for each in counting if not _is_in_workspace_alone(project, each, here)]


def _files(each: StageState) -> list[str]:
    """The files and directories that Git may have, and that are why a stage would run; empty where there is another
    reason.
    """
    found = []
    for reason in each.reasons:
        if reason.kind in ("dep", "param"):
            found.append(reason.name)
        elif reason.kind in ("cmd", "shell", "wdir", "never", "callback"):
            found.append(f"{_folder(each)}{lockfile.STAGES}")
        else:
            return []
    return found if each.state in ("stale", "frozen") else []


def _is_in_workspace_alone(project: Project, each: StageState, here: Mapping[str, git.FileStatus]) -> bool:
    files = _files(each)
    return bool(files) and all(_differs_there_alone(in_git(project.prefix, path), here) for path in files)


def _differs_there_alone(path: str, here: Mapping[str, git.FileStatus]) -> bool:
    """Whether a file or directory differs from the index, and the index not from HEAD."""
    inside = [each for name, each in here.items() if name == path or name.startswith(f"{path}/")]
    return bool(inside) and all(each.staged in ".?" for each in inside)


def lock_of(each: StageState) -> str:
    """The lock file of a stage."""
    return f"{_folder(each)}{lockfile.NAME}"


def _folder(each: StageState) -> str:
    """The directory of its vml.yaml, with a slash at the end; "" for the top."""
    file, colon, _ = each.name.rpartition(f"/{lockfile.STAGES}:")
    return f"{file}/" if colon else ""
