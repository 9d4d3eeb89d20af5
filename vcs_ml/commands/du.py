"""`vml du`: how much room tracked data takes, and how much of it is here."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UserError
from vcs_ml.options import Json, Paths
from vcs_ml.session import Session
from vcs_ml.workspace import opening, status, sync, usage
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.usage import History, Row, Store

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def du(
    ctx: typer.Context,
    paths: Paths = None,
    *,
    all_commits: Annotated[bool, typer.Option("--all-commits", help="Also what any commit names.")] = False,
    json: Json = False,
) -> None:
    """Show the size of tracked data, and how much of it the local store has and lacks.

    Equal files take room once, and are counted once in the store's columns. The data itself is not read.

    \b
    Examples:
      vml du
      vml du data/train data/test
      vml du --all-commits --json
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    targets = [project.relative(path, session.directory) for path in paths or ()]
    pointers = sync.pointers_of(project)
    opening.check_targets(pointers, targets)
    rows = usage.rows(store, status.selected(pointers, targets))
    for row in rows:
        if row.files == 0 and row.path and row.path not in pointers:
            raise UserError(f"{output.quote(row.path)} is not tracked", hint="vml ls lists what is")
    places = usage.store(store)
    history = usage.history(project, store, pointers) if all_commits else None
    if json:
        session.json(_as_json(rows, places, history))
        return
    _print(session, rows, places, history)


def _as_json(rows: list[Row], places: Store, history: History | None) -> dict[str, object]:
    *each, total = [row._asdict() for row in rows]
    del total["path"]
    past = history._asdict() if history is not None else None
    return {"schema": 1, "paths": each, "total": total, "store": places._asdict(), "history": past}


def _print(session: Session, rows: list[Row], places: Store, history: History | None) -> None:
    shown = [
        (
            f"{row.files:,}" if row.files is not None else "?",
            *("?" if n is None else output.size(n) for n in (row.size, row.here, row.absent)),
            output.quote(row.path) if row.path else "total",
        )
        for row in rows
    ]
    session.out(output.table(shown, ["files", "size", "here", "not here", "path"], align="rrrrl"))
    packs = f"{output.count(places.packs, 'pack')} ({output.size(places.pack_bytes)})"
    loose = f"{output.count(places.loose, 'loose file')} ({output.size(places.loose_bytes)})"
    session.out(f"\nlocal store: {packs}, {loose}, {output.size(places.bytes)} in all")
    unknown = sum(row.here is None for row in rows[:-1])
    if history is not None:
        unknown = max(unknown, history.unknown)
        what = f"{output.count(history.versions, 'version')}, {output.count(history.objects, 'object')}"
        session.out(f"all commits: {what}, {output.size(history.here)} here, {output.size(history.absent)} not here")
    if unknown:
        every = " --all-commits" if history is not None else ""
        lists, them = ("list of files is", "it") if unknown == 1 else ("lists of files are", "them")
        session.note(f"{unknown:,} {lists} not here (vml fetch --metadata{every} brings {them})")
