"""Stages that are stale in a commit, and not only in the workspace."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from vcs_ml import git
from vcs_ml.errors import UserError
from vcs_ml.hooks.problem import Problem
from vcs_ml.hooks.staged import Staged, in_git, own_path
from vcs_ml.pipeline.stage import address
from vcs_ml.workspace import lockfile, sources
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
    asked = [in_git(project.prefix, path) for path in sorted(paths)]
    alone = _in_workspace_alone(git.status(staged.root, asked))
    return [each for each in counting if not _is_for_those(project, each, alone)]


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


def _in_workspace_alone(here: Iterable[git.FileStatus]) -> set[str]:
    """The files and directories that differ from the index, and the index not from HEAD."""
    found: dict[str, bool] = {}
    for each in here:
        for path in git.and_above(each.path):
            found[path] = found.get(path, True) and each.staged in ".?"
    return {path for path, alone in found.items() if alone}


def _is_for_those(project: Project, each: StageState, alone: Collection[str]) -> bool:
    files = _files(each)
    return bool(files) and all(in_git(project.prefix, path) in alone for path in files)


def left_out(staged: Staged, project: Project, stages: Staleness) -> list[str]:
    """Files that the staged records of stages are about and that are not staged as they are in the workspace: what the
    stages read, their vml.yaml, and what they made for Git. Those of which a stage is stale are not what its record
    says, and may stay.
    """
    stale = {each.name: {reason.name for reason in each.reasons} for each in stages.stages}
    read: set[str] = set()
    made: set[str] = set()
    for change in staged.changes:
        own = own_path(project.prefix, change.path)
        if change.now is None or not sources.is_lock(own) or staged.project_of(change.path) != project.prefix:
            continue
        try:
            now = lockfile.parse(staged.read(change.path) or b"", own, project.algorithm).stages
            raw = staged.read_blob(change.before.oid) if change.before else b""
            before = lockfile.parse(raw, own, project.algorithm).stages if raw else {}
        except UserError:  # which is told otherwise
            continue
        file = f"{own.removesuffix(lockfile.NAME)}{lockfile.STAGES}"
        for name, record in now.items():
            if record != before.get(name):
                reasons = stale.get(address(file, name), set())
                asked = {*record.deps, *record.params} - reasons
                read |= asked if lockfile.STAGES in reasons or "" in reasons else {file, *asked}
                made |= {path for path, out in record.outs.items() if not out.flags.cache} - reasons
    paths = sorted(path for path in read | made if path and not os.path.isabs(path))
    if not paths:
        return []
    ours = {in_git(project.prefix, path) for path in made}
    return [
        each.path
        for each in git.status(staged.root, [in_git(project.prefix, path) for path in paths])
        if each.worktree not in ".?" or (each.worktree == "?" and not ours.isdisjoint(git.and_above(each.path)))
    ]


def lock_of(each: StageState) -> str:
    """The lock file of a stage."""
    return f"{_folder(each)}{lockfile.NAME}"


def _folder(each: StageState) -> str:
    """The directory of its vml.yaml, with a slash at the end; "" for the top."""
    file, colon, _ = each.name.rpartition(f"/{lockfile.STAGES}:")
    return f"{file}/" if colon else ""
