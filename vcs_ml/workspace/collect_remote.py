"""Collecting garbage on a remote: whose commits count, and whether this clone knows all of them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import history
from vcs_ml.errors import UserError
from vcs_ml.output import count, quote
from vcs_ml.store import condemn, pushes
from vcs_ml.store.condemn import Done, Plan
from vcs_ml.store.local import LocalStore
from vcs_ml.store.records import Record, Root
from vcs_ml.store.remote import Remote
from vcs_ml.workspace import retention, tracked
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.retention import Horizon

_SHOWN = 5


class Owners(NamedTuple):
    """Whose data is on the remote: the projects that are at hand, and the ids of those that are to be forgotten.

    `unknown` are those of them that have nothing there (any more). `records` are those that this was read from.
    """

    projects: Sequence[Project]
    forgotten: Collection[str]
    unknown: Sequence[str]
    records: Mapping[str, Record]


def owners(
    project: Project,
    remote: Remote,
    also: Sequence[Path],
    forget: Collection[str],
    env: Mapping[str, str],
    *,
    jobs: int,
) -> Owners:
    """This project and `also`, other clones. UserError while somebody else has pushed there and is not in `forget`,
    or where one of the clones does not know every commit.
    """
    found = [project, *(Project.find(path, env) for path in also)]
    for each in found:
        if lacks := history.lacks_history(each.git):
            why, hint = lacks
            raise UserError(f"{quote(each.git.cwd)} does not know every commit: {why}", hint=hint)
    seen = pushes.read_pushes(remote, jobs=jobs)
    pushed = pushes.projects(seen)
    for each in found:
        if (latest := pushed.get(each.id)) and not history.is_up_to_date(each.git, latest.commit, latest.time):
            raise UserError(
                f"{quote(each.git.cwd)} may not know every commit: somebody has pushed data for one that is not here",
                hint=f"git -C {shlex.quote(str(each.git.cwd))} fetch --all",
            )
    if others := pushed.keys() - {each.id for each in found} - set(forget):
        one = min(others)
        what = f"{_paths(pushed[one])} of the project {one}" if one else "records that cannot be read"
        more = f", and {count(len(others) - 1, 'other project')}" if len(others) > 1 else ""
        raise UserError(
            f"{remote.name} also holds {what}{more}: what its commits need is not known here",
            hint=f"--also DIR names a clone of it; --forget {one} gives its data up",
        )
    return Owners(found, forget, sorted(set(forget) - pushed.keys()), seen.known)


def _paths(pushed: pushes.Project) -> str:
    shown = ", ".join(map(quote, pushed.paths[:3]))
    return f"{shown} and more" if len(pushed.paths) > 3 else shown or "nothing"


def unsent(project: Project, incomplete: Sequence[Root]) -> list[str]:
    """What a remote has not whole, in words: each with the commit that brought it, for the first few."""
    found, roots = [], list(dict.fromkeys(incomplete))
    for root in roots[:_SHOWN]:
        path = root.path.removeprefix(f"{project.prefix}/") if project.prefix else root.path
        commit = tracked.commit_of(project, Root(path, root.oid))
        found.append(f"{quote(path)} ({f'commit {commit[:12]}' if commit else 'of no commit here'})")
    return found + ([f"and {len(roots) - _SHOWN:,} more"] if roots[_SHOWN:] else [])


def collect(
    whose: Owners,
    store: LocalStore,
    remote: Remote,
    horizon: Horizon,
    *,
    grace: float,
    jobs: int,
    env: Mapping[str, str],
    force: bool,
) -> tuple[Plan, Done | None]:
    """What a run does, and with `force` does it: condemn what nothing needs, delete what was condemned a `grace` ago.

    Raises CorruptError where what is needed cannot be known for certain, RemoteError.
    """
    roots: list[Root] = []
    for project in whose.projects:
        kept = retention.of_project(project, retention.working_trees(project, env), horizon)
        roots += [Root(path, oid) for oid, path in kept.roots.items()]
    found = condemn.survey(remote, store, roots, jobs=jobs, forgotten=whose.forgotten, known=whose.records)
    todo = condemn.plan(found, grace=grace)
    return todo, condemn.carry_out(found, todo) if force else None
