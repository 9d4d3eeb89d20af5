"""`vml fetch`: brings data from a remote into the local store."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UsageError
from vcs_ml.options import DryTransfer, Groups, Jobs, Json, Paths, Remote
from vcs_ml.pipeline import shared_runs
from vcs_ml.session import Session
from vcs_ml.workspace import dry_run as forecast
from vcs_ml.workspace import opening, sync
from vcs_ml.workspace.groups import Selection
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Scope

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def fetch(
    ctx: typer.Context,
    paths: Paths = None,
    *,
    group: Groups = None,
    remote: Remote = None,
    jobs: Jobs = None,
    all_branches: Annotated[bool, typer.Option("--all-branches", help="What any branch names, too.")] = False,
    all_tags: Annotated[bool, typer.Option("--all-tags", help="What any tag names, too.")] = False,
    all_commits: Annotated[bool, typer.Option("--all-commits", help="What any commit names, too.")] = False,
    metadata: Annotated[bool, typer.Option("--metadata", help="Only the lists of files, not the files.")] = False,
    runs: Annotated[
        bool, typer.Option("--run-cache", help="Also what is known of runs of stages; vml repro --pull uses it.")
    ] = False,
    dry_run: DryTransfer = False,
    json: Json = False,
) -> None:
    """Bring data from a remote into the local store; the workspace stays as it is.

    Everything that arrives is checked against its id before it is stored.

    \b
    Examples:
      vml fetch
      vml fetch data/train --jobs 16
      vml fetch --metadata data     (then `vml ls` and `vml diff` work without the files)
    """
    session: Session = ctx.obj
    if metadata and dry_run:
        raise UsageError("--dry-run brings the lists of files itself", hint="leave --metadata out")
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    targets = [project.relative(path, session.directory) for path in paths or ()]
    scope = Scope(all_branches, all_tags, all_commits)
    selection = Selection(targets, group or (), optional=metadata)  # lists are small, and much can be done with them
    name = sync.remote_name(project, remote)
    stages = (1, 2, 3) if metadata else (2, 3)  # of what is unmerged; a merge needs the lists of files alone
    items = sync.wanted(
        project, targets, scope, groups=selection.groups, optional=metadata, remote=name, unmerged=stages
    )
    if targets and (said := sync.left_out(project, sync.with_unmerged(project, stages)[0], selection)):
        session.note(said)
    config = project.remote(remote)
    session.debug(f"store: {project.cache_dir}\nremote {config.name}: {config.address}")
    there = opening.remote_at(project, config, note=session.note)
    if dry_run:
        plan = forecast.fetch(store, there, items, jobs=sync.jobs(project, jobs))
        if json:
            session.json({"schema": 1, "remote": config.name, "dry_run": True, **plan.as_json()})
        elif plan.loads:
            session.out(plan.table())
        else:
            session.note("the local store has everything already")
        return
    moved = sync.fetch(store, there, items, jobs=sync.jobs(project, jobs), show=session.progress, metadata=metadata)
    new_runs = shared_runs.fetch(store, there) if runs else 0
    if json:
        session.json({"schema": 1, "remote": config.name, **moved.as_json(), **({"runs": new_runs} if runs else {})})
    elif moved.objects:
        session.note(f"fetched from {config.name}: {sync.summary(moved, sent=False)}")
    else:
        session.note("the local store has everything already" if not metadata else "the lists of files are here")
    if new_runs and not json:
        session.note(f"run cache: {output.count(new_runs, 'run')} new here")
