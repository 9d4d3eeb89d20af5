"""`vml gc`: removes data that nothing needs any more, here or on a remote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vcs_ml import output, settings
from vcs_ml.errors import UsageError
from vcs_ml.options import Json
from vcs_ml.pipeline import run_cache
from vcs_ml.session import Session
from vcs_ml.store.condemn import GRACE, NOTHING, Done, Plan
from vcs_ml.workspace import collect, collect_remote, opening, sync
from vcs_ml.workspace.collect import Collected
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.retention import Horizon

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def gc(
    ctx: typer.Context,
    *,
    remote: Annotated[
        str | None, typer.Option("--remote", metavar="[NAME]", help="Of a remote, not of the local store.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do it; otherwise only say what would be done.")] = False,
    include_unpushed: Annotated[
        bool, typer.Option("--include-unpushed", help="Locally: also what no remote is known to have.")
    ] = False,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", metavar="N", min=0, help="Of history, only the last N days.")
    ] = None,
    keep_last: Annotated[
        int | None,
        typer.Option("--keep-last", metavar="N", min=1, help="Of history, N commits of each branch and tag."),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option("--also", metavar="DIR", help="A clone of another project with data there.")
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option("--forget", metavar="PROJECT", help="A project that is gone for good.")
    ] = None,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="TIME", help="On a remote: between condemning and deleting (14d).")
    ] = None,
    json: Json = False,
) -> None:
    """Remove data that nothing needs any more, from the local store or a remote. Without --force: say what would go.

    Needed is what the workspace, Git's index, or any commit of a branch, tag, stash or reflog names, in every
    working tree; and for 30 days what --force replaced. Locally, what no remote is known to have stays, too.
    On a remote, what was pushed in the last 90 days stays; the rest is condemned, and deleted by a later run.

    \b
    Examples:
      vml gc
      vml gc --force
      vml gc --keep-days 90 --force
      vml gc --remote storage --force
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    horizon = Horizon(keep_days, keep_last)
    if remote is None:
        if grace is not None or also:
            raise UsageError("--grace and --also are for remotes", hint="vml gc --remote NAME")
        done = _local(session, project, horizon, forget or (), include_unpushed=include_unpushed, force=force)
        if json:
            place = str(project.cache_dir)
            session.json({"schema": 1, "dry_run": not force, "store": place, **_as_json(done)})
        else:
            _show(session, done, force=force)
        return
    if include_unpushed:
        raise UsageError("--include-unpushed is for the local store", hint="vml gc --include-unpushed")
    config = project.remote(remote or None)
    there = opening.remote_if_set_up(project, config)
    if there is None:
        if json:
            session.json({"schema": 1, "dry_run": not force, "remote": config.name, **NOTHING.as_json()})
        else:
            session.note(f"nothing there yet: {config.url} is empty")
        return
    jobs = sync.jobs(project, None)
    others = [Path(session.directory, path) for path in also or ()]
    whose = collect_remote.owners(project, there, others, set(forget or ()), session.env, jobs=jobs)
    for id in whose.unknown:
        session.note(f"the project {id} has nothing on {config.name}")
    store = opening.open_store(project, session.note)
    todo, ran = collect_remote.collect(
        whose, store, there, horizon, grace=_seconds(grace), jobs=jobs, env=session.env, force=force
    )
    if json:
        session.json({"schema": 1, "dry_run": not force, "remote": config.name, **todo.as_json()})
    else:
        _show_remote(session, todo, ran)
        if unsent := collect_remote.unsent(project, todo.incomplete):
            session.note(f"not wholly there: {', '.join(unsent)}")
            session.note(f"hint: vml push --all-commits -r {config.name}, in a clone that has it, sends it")


def _seconds(grace: str | None) -> float:
    try:
        return GRACE if grace is None else settings.parse_duration(grace)
    except ValueError as error:
        raise UsageError(f"--grace: {error}", hint="for example 14d, 12h or 30min") from None


def _local(
    session: Session,
    project: Project,
    horizon: Horizon,
    forget: list[str] | tuple[()],
    *,
    include_unpushed: bool,
    force: bool,
) -> Collected:
    store = opening.open_store(project, session.note)
    named = {name: {name, str((session.directory / name).resolve())} for name in forget}  # an id, or a directory
    for name, meant in named.items():
        if not collect.shares(project, meant):
            session.warn(f"no project {name!r} uses this store", "vml doctor lists those that do")
    forgotten = {each for meant in named.values() for each in meant}
    if not force:
        everybody = collect.sharers(project, session.env, forgotten)
        return collect.look(store, everybody, horizon, include_unpushed=include_unpushed)
    with (
        collect.alone(project, store, session.env, forgotten, session.note) as everybody,
        session.progress("collecting") as meter,
    ):
        done = collect.collect(store, everybody, horizon, include_unpushed=include_unpushed, meter=meter)
        run_cache.prune(store)
        return done


def _as_json(done: Collected) -> dict[str, object]:
    plan = done.plan
    return {
        "roots": done.roots,
        "live": done.live,
        "objects": plan.dead,
        "bytes": plan.freed,
        "packs": {"removed": len(plan.remove), "rewritten": len(plan.rewrite), "stray": len(plan.stray)},
        "loose": len(plan.loose),
        "leftovers": done.leftovers,
        "unpushed": {"objects": plan.unpushed[0], "bytes": plan.unpushed[1]},
    }


def _show(session: Session, done: Collected, *, force: bool) -> None:
    plan = done.plan
    rows = [
        (len(plan.remove), "pack", "nothing needs it"),
        (len(plan.rewrite), "pack", "small or mostly unneeded: packed anew"),
        (len(plan.stray), "pack", "a killed command left it"),
        (len(plan.loose), "single file", "nothing needs it"),
        (done.leftovers, "temporary file", "a killed command left it"),
    ]
    if _table(session, rows):
        what = f"{output.count(plan.dead, 'object')}, {output.size(max(plan.freed, 0))} of disk"
        session.note(f"removed: {what}" if force else f"to be removed: {what}; --force does it")
    else:
        session.note("nothing to remove")
    if plan.unpushed[0]:
        session.note(
            f"{output.count(plan.unpushed[0], 'more object')} ({output.size(plan.unpushed[1])}) nothing needs, but no "
            "remote is known to have: kept (--include-unpushed removes them)"
        )


def _show_remote(session: Session, todo: Plan, ran: Done | None) -> None:
    copied = ran.copied if ran else todo.copied
    them = "it" if len(todo.condemn.packs) == 1 else "them"
    later = f"a run after {output.moment(todo.due)} deletes {them}"
    rows = [
        (len(todo.condemn.packs), "pack", f"condemned ({output.size(todo.condemned_bytes)}): {later}"),
        (len(todo.delete.packs), "pack", f"deleted ({output.size(todo.deleted_bytes)})"),
        (copied.objects, "object", f"needed: copied out of such packs ({output.size(copied.stored)})"),
        (len(todo.condemn.indexes), "superseded list of objects", "condemned"),
        (len(todo.delete.indexes), "superseded list of objects", "deleted"),
        (sum(key.startswith("roots/") for key in todo.records), "push record", "no longer counts"),
        (ran.uploads if ran else 0, "unfinished upload", "removed"),
    ]
    waiting = todo.waiting
    if _table(session, rows):
        if ran is None:
            session.note("this is what --force does")
    elif not waiting.packs:
        session.note("nothing to remove")
    if waiting.packs:
        packs = f"{output.count(waiting.packs, 'pack')} ({output.size(waiting.size)})"
        are = "is" if waiting.packs == 1 else "are"
        session.note(f"{packs} of pushes that did not finish {are} kept until {output.moment(waiting.until)}")


def _table(session: Session, rows: list[tuple[int, str, str]]) -> bool:
    """Show the rows that have a number; whether there are any."""
    cells = [(output.count(n, noun), what) for n, noun, what in rows if n]
    width = max((len(what) for what, _ in cells), default=0)
    for what, why in cells:
        session.out(f"{what.rjust(width)}  {why}")
    return bool(cells)
