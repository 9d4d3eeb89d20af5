"""`vml push`: sends data to a remote."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.options import DryTransfer, Groups, Jobs, Json, Paths, Remote
from vcs_ml.pipeline import shared_runs
from vcs_ml.pipeline.shared_runs import Shared
from vcs_ml.session import Session
from vcs_ml.workspace import dry_run as forecast
from vcs_ml.workspace import opening, status, sync
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Scope

NONE = Shared({}, [])

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def push(
    ctx: typer.Context,
    paths: Paths = None,
    *,
    group: Groups = None,
    remote: Remote = None,
    jobs: Jobs = None,
    all_branches: Annotated[bool, typer.Option("--all-branches", help="What any branch names, too.")] = False,
    all_tags: Annotated[bool, typer.Option("--all-tags", help="What any tag names, too.")] = False,
    all_commits: Annotated[bool, typer.Option("--all-commits", help="What any commit names, too.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Look for every object there; believe no record.")] = False,
    runs: Annotated[bool, typer.Option("--run-cache", help="Also what stages made in all their runs.")] = False,
    dry_run: DryTransfer = False,
    json: Json = False,
) -> None:
    """Send the data that the workspace's pointers name to a remote; only what it lacks travels.

    Every byte is checked against its id on the way. A remote that is an empty place is set up.

    \b
    Examples:
      vml push
      vml push data -r backup
      vml push --all-commits
      vml push --check              (something over there was lost)
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    scope = Scope(all_branches, all_tags, all_commits)
    targets = [project.relative(path, session.directory) for path in paths or ()]
    config = project.remote(remote)
    roots, kept = sync.roots(project, targets, scope, groups=group or (), remote=config.name)
    if targets:
        opening.check_inside(store, status.selected(sync.pointers_of(project), targets))
    for message, hint in sync.nowhere(project, kept):
        session.warn(message, hint)
    if said := sync.kept_back(project, (each for each in kept if targets or not each.stays)):
        session.note(said)
    shared = shared_runs.local(store, project.id, config.name) if runs else NONE
    roots = list(dict.fromkeys((*roots, *shared.roots)))
    session.debug(f"store: {project.cache_dir}\nremote {config.name}: {config.address}")
    there = opening.remote_at(project, config, create=True, dry_run=dry_run, note=session.note)
    if dry_run:
        plan = forecast.push(store, there, roots, check=check)
        if json:
            session.json({"schema": 1, "remote": config.name, "dry_run": True, **plan.as_json()})
        elif plan.loads:
            session.out(plan.table())
        else:
            session.note(f"{config.name} has everything already")
        return
    if there.is_new:
        session.note(f"set up a new remote at {config.address}")
    done = sync.push(project, store, there, roots, jobs=sync.jobs(project, jobs), show=session.progress, check=check)
    new_runs = shared_runs.push(there, shared.raw) if shared.raw else 0
    if json:
        session.json({"schema": 1, "remote": config.name, **done.as_json(), **({"runs": new_runs} if runs else {})})
    elif done.moved.objects:
        session.note(f"pushed to {config.name}: {sync.summary(done.moved, sent=True)}")
    else:
        session.note(f"{config.name} has everything already")
    if new_runs and not json:
        session.note(f"run cache: {output.count(new_runs, 'run')} new there")
