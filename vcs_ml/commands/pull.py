"""`vml pull`: fetch, then checkout."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import git, output
from vcs_ml.options import DryTransfer, Groups, Jobs, Json, Paths, Remote
from vcs_ml.pipeline import shared_runs
from vcs_ml.session import Session
from vcs_ml.store.transfer import NOTHING
from vcs_ml.workspace import checkout, meanwhile, opening, recorded, sync, tracked
from vcs_ml.workspace import dry_run as forecast
from vcs_ml.workspace.groups import Selection
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Scope

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def pull(
    ctx: typer.Context,
    paths: Paths = None,
    *,
    group: Groups = None,
    remote: Remote = None,
    jobs: Jobs = None,
    all_branches: Annotated[bool, typer.Option("--all-branches", help="Fetch what any branch names.")] = False,
    all_tags: Annotated[bool, typer.Option("--all-tags", help="Fetch what any tag names.")] = False,
    all_commits: Annotated[bool, typer.Option("--all-commits", help="Fetch what any commit names.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Store unsaved bytes first, then replace them.")] = False,
    runs: Annotated[
        bool, typer.Option("--run-cache", help="Also what is known of runs of stages; vml repro --pull uses it.")
    ] = False,
    dry_run: DryTransfer = False,
    json: Json = False,
) -> None:
    """Bring data from a remote and put it into the workspace: `vml fetch`, then `vml checkout`.

    A path inside a tracked directory brings that part alone.

    \b
    Examples:
      git pull && vml pull
      vml pull data/train/0.png
    """
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    store = opening.open_store(project, session.note)
    targets = [project.relative(path, session.directory) for path in paths or ()]
    name = sync.remote_name(project, remote)
    scope = Scope(all_branches, all_tags, all_commits)
    items = sync.wanted(project, targets, scope, groups=group or (), remote=name)
    moved = NOTHING
    config = project.remote(remote) if remote is not None else None  # a wrong name is an error in any case
    plan = forecast.DryRun([])
    if sync.lacking(store, items):
        there = opening.remote_at(project, config or project.remote(), note=session.note)
        if dry_run:
            plan = forecast.fetch(store, there, items, jobs=sync.jobs(project, jobs))
        else:
            moved = sync.fetch(store, there, items, jobs=sync.jobs(project, jobs), show=session.progress)
    if dry_run:
        if json:
            session.json({"schema": 1, "dry_run": True, **plan.as_json()})
        elif plan.loads:
            session.out(plan.table())
        else:
            session.note("nothing would be fetched: the local store has everything already")
        return
    new_runs = 0
    if runs:
        new_runs = shared_runs.fetch(store, opening.remote_at(project, config or project.remote()))
    with opening.changing(project, session.note), session.progress("checking out") as meter:
        pointers = tracked.in_workspace(project)
        selection = Selection(targets, group or ())
        chosen = sync.selected(project, pointers, selection)
        wanted, absent = sync.within_reach(project, store, chosen, lambda each: not each.travels(name))
        everything = pointers if selection.everything else None
        done = checkout.checkout(project, store, wanted, now=everything, force=force, meter=meter)
        if git.operation(project.git) is not None:
            meanwhile.remember(project, done.sources)
    if json:
        session.json(
            {
                "schema": 1,
                "fetched": moved.as_json(),
                "written": done.written,
                "removed": done.removed,
                "bytes": done.bytes,
                **({"runs": new_runs} if runs else {}),
            }
        )
        return
    for message, hint in sync.nowhere(project, pointers.values()):
        session.warn(message, hint)
    for said in filter(None, (absent, sync.left_out(project, pointers, selection))):
        session.note(said)
    for each in done.saved:
        session.note(each.line(project.algorithm))
    got = f"fetched {sync.summary(moved, sent=False)}" if moved.objects else ""
    wrote = f"{output.count(done.written, 'file')} written ({output.size(done.bytes)})" if done.written else ""
    gone_now = f"{output.count(done.removed, 'file')} removed" if done.removed else ""
    known = f"run cache: {output.count(new_runs, 'run')} new" if new_runs else ""
    session.note(", ".join(filter(None, (got, wrote, gone_now, known))) or "everything is here already")
    if again := recorded.ignored_again(project, session.directory):
        session.note(again)
