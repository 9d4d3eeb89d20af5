"""`vml gc`: removes data that nothing needs any more, here or on a remote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vcs_ml import config, output
from vcs_ml.errors import UsageError
from vcs_ml.session import Session
from vcs_ml.store.condemn import GRACE, Done, Plan
from vcs_ml.workspace import collect, collect_remote, opening, sync
from vcs_ml.workspace.collect import Collected
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.retention import History

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
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
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
    history = History(keep_days, keep_last)
    if remote is None:
        if grace is not None or also:
            raise UsageError("--grace and --also are for remotes", hint="vml gc --remote NAME")
        done = _local(session, project, history, forget or (), include_unpushed=include_unpushed, force=force)
        if json:
            place = str(project.cache_dir)
            session.json({"schema": 1, "dry_run": not force, "store": place, **_as_json(done)})
        else:
            _show(session, done, force=force)
        return
    if include_unpushed:
        raise UsageError("--include-unpushed is for the local store", hint="vml gc --include-unpushed")
    settings = project.remote(remote or None)
    there = opening.remote_at(project, settings)
    jobs = sync.jobs(project, None)
    others = [Path(session.directory, path) for path in also or ()]
    whose = collect_remote.owners(project, there, others, set(forget or ()), session.env, jobs=jobs)
    store = opening.open_store(project, session.note)
    todo, ran = collect_remote.collect(
        whose, store, there, history, grace=_seconds(grace), jobs=jobs, env=session.env, force=force
    )
    if json:
        session.json({"schema": 1, "dry_run": not force, "remote": settings.name, **todo.as_json()})
    else:
        _show_remote(session, todo, ran)


def _seconds(grace: str | None) -> float:
    try:
        return GRACE if grace is None else config.parse_duration(grace)
    except ValueError as error:
        raise UsageError(f"--grace: {error}", hint="for example 14d, 12h or 30min") from None


def _local(
    session: Session,
    project: Project,
    history: History,
    forget: list[str] | tuple[()],
    *,
    include_unpushed: bool,
    force: bool,
) -> Collected:
    store = opening.open_store(project, session.note)
    gone = [each for name in forget for each in collect.named(project, name)]
    if not force:
        everybody = collect.sharers(project, session.env, gone)
        return collect.look(store, everybody, history, include_unpushed=include_unpushed)
    collect.forget(gone)
    with (
        collect.alone(project, store, session.env, session.note) as everybody,
        session.progress("collecting") as meter,
    ):
        return collect.collect(store, everybody, history, include_unpushed=include_unpushed, meter=meter)


def _as_json(done: Collected) -> dict[str, object]:
    plan = done.plan
    return {
        "roots": done.roots,
        "live": done.live,
        "objects": plan.dead,
        "bytes": plan.freed,
        "packs": {"removed": len(plan.remove), "rewritten": len(plan.rewrite), "stray": len(plan.stray)},
        "loose": len(plan.loose),
        "unpushed": {"objects": plan.unpushed[0], "bytes": plan.unpushed[1]},
    }


def _show(session: Session, done: Collected, *, force: bool) -> None:
    plan = done.plan
    rows = [
        (len(plan.remove), "packs that nothing needs"),
        (len(plan.rewrite), "packs to be packed anew: small, or mostly unneeded"),
        (len(plan.stray), "packs that a killed command left"),
        (len(plan.loose), "single files that nothing needs"),
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
    rows = [
        (len(todo.condemn.packs), f"packs condemned ({output.size(todo.condemned_bytes)}): a later run deletes them"),
        (len(todo.delete.packs), f"packs deleted ({output.size(todo.deleted_bytes)})"),
        (copied.objects, f"objects copied out of them, because they are needed ({output.size(copied.stored)})"),
        (len(todo.condemn.indexes) + len(todo.delete.indexes), "indexes condemned or deleted"),
        (sum(key.startswith("roots/") for key in todo.records), "records of pushes that no longer count"),
        (ran.uploads if ran else 0, "unfinished uploads removed"),
    ]
    if not _table(session, rows):
        session.note("nothing to remove")
    elif ran is None:
        session.note("this is what --force does")
    if todo.incomplete:
        paths = sorted({root.path for root in todo.incomplete})
        session.note(f"not wholly there: {', '.join(map(output.quote, paths[:5]))}{' ...' if paths[5:] else ''}")


def _table(session: Session, rows: list[tuple[int, str]]) -> bool:
    """Show the rows that have a number; whether there are any."""
    rows = [row for row in rows if row[0]]
    if rows:
        session.out("\n".join(output.table(rows, ["", ""], align="rl").splitlines()[1:]))
    return bool(rows)
