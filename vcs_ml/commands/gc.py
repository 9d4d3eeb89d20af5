"""`vml gc`: removes data that nothing needs any more."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.session import Session
from vcs_ml.workspace import collect, opening
from vcs_ml.workspace.collect import Collected
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.retention import History

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def gc(
    ctx: typer.Context,
    *,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do it; otherwise only say what would be done.")] = False,
    include_unpushed: Annotated[
        bool, typer.Option("--include-unpushed", help="Also what no remote is known to have.")
    ] = False,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", metavar="N", min=0, help="Of history, only the last N days.")
    ] = None,
    keep_last: Annotated[
        int | None,
        typer.Option("--keep-last", metavar="N", min=1, help="Of history, N commits of each branch and tag."),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="PROJECT", help="A project that shared the store and is gone for good."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Remove data from the local store that nothing needs any more. Without --force: say what would go.

    Needed is what the workspace, Git's index, or any commit of a branch, tag, stash or reflog names, in every
    working tree; and for 30 days what --force replaced. What no remote is known to have stays, too.

    \b
    Examples:
      vml gc
      vml gc --force
      vml gc --keep-days 90 --force
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    history = History(keep_days, keep_last)
    for name in forget or ():
        collect.forget(project, name)
    everybody = collect.sharers(project, session.env)
    if force:
        with collect.alone(project, store, everybody, session.note), session.progress("collecting") as meter:
            done = collect.collect(store, everybody, history, include_unpushed=include_unpushed, meter=meter)
    else:
        done = collect.look(store, everybody, history, include_unpushed=include_unpushed)
    if json:
        session.json({"schema": 1, "dry_run": not force, "store": str(store.directory), **_as_json(done)})
        return
    _show(session, done, force=force)


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
    rows = [row for row in rows if row[0]]
    if rows:
        session.out("\n".join(output.table(rows, ["", ""], align="rl").splitlines()[1:]))
        what = f"{output.count(plan.dead, 'object')}, {output.size(max(plan.freed, 0))} of disk"
        session.note(f"removed: {what}" if force else f"to be removed: {what}; --force does it")
    else:
        session.note("nothing to remove")
    if plan.unpushed[0]:
        session.note(
            f"{output.count(plan.unpushed[0], 'more object')} ({output.size(plan.unpushed[1])}) nothing needs, but no "
            "remote is known to have: kept (--include-unpushed removes them)"
        )
