"""`vml ls`: lists what is tracked, and what tracked directories hold."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UserError
from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.store.objects import MissingObject
from vcs_ml.workspace import listing, opening, tracked
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def ls(
    ctx: typer.Context,
    path: Annotated[str | None, typer.Argument(metavar="[PATH]", help="Tracked data, or a directory of it.")] = None,
    *,
    rev: Annotated[str | None, typer.Option("--rev", metavar="R", help="As of this commit.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Every file below.")] = False,
    json: Json = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Ask the default remote for lists not here.")] = False,
) -> None:
    """List tracked data, with sizes; a path lists what it holds. The files need not be here.

    \b
    Examples:
      vml ls
      vml ls data/train
      vml ls -R data --rev v1.0 --json
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    target = project.relative(path, session.directory) if path is not None else ""
    if rev is None and project.git.worktree is None:
        rev = "HEAD"
    pointers = tracked.at_revision(project, rev) if rev is not None else tracked.in_workspace(project)
    read = opening.page_reader(project, store, fetch=fetch)
    try:
        rows = listing.rows(pointers, target, store.algorithm, read, recursive=recursive)
    except MissingObject as error:
        raise UserError(
            f"the list of files of {output.quote(path or '')} is not here",
            hint="vml fetch --metadata brings it, or ask for it on the way: vml ls --fetch",
        ) from error
    if json:
        session.json({"schema": 1, "entries": [row.as_json(store.algorithm) for row in rows]})
        return
    for row in rows:
        files = f"{row.nfiles:,}" if row.nfiles is not None else ""
        session.out(
            f"{output.size(row.size):>10}  {files:>9}  {output.quote(row.path)}{'/' if row.nfiles is not None else ''}"
        )
