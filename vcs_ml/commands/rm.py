"""`vml rm`: ends tracking, and removes the data from the workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.session import Session
from vcs_ml.workspace import opening, remove
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def rm(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Tracked data, or something inside it.")],
    cached: Annotated[bool, typer.Option("--cached", help="Leave the workspace files alone.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Store unsaved bytes first, then remove them.")] = False,
) -> None:
    """Stop tracking data and remove it from the workspace; earlier commits keep it.

    Files whose bytes are in no store are not removed without --force.

    \b
    Examples:
      vml rm data
      vml rm --cached model.pt
      vml rm data/broken.csv        (data stays tracked, without this file)
    """
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    store = opening.open_store(project, session.note)
    targets = [project.relative(path, session.directory) for path in paths]

    def is_made(out: Pointer) -> bool:
        from vcs_ml.pipeline import open  # noqa: PLC0415 - costs 40 ms, and only outputs of stages need it

        return bool(out.lock) and open.is_made(out, open.pipeline(project)[1])

    with opening.changing(project, session.note), session.progress("looking") as meter:
        kept = remove.remove(project, store, targets, cached=cached, force=force, is_made=is_made, meter=meter)
    for each in kept:
        session.note(each.line(project.algorithm))
    for path in targets:
        session.note(f"{'no longer tracked' if cached else 'removed'}: {output.quote(path)}")
