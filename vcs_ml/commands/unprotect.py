"""`vml unprotect`: gives workspace files back to who wants to change them."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.session import Session
from vcs_ml.workspace import opening, relink, status, tracked
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def unprotect(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Tracked data, or something inside it.")],
) -> None:
    """Replace links into the store by private, writable copies, so that files can be changed in place.

    With cache.link hardlink or symlink, workspace files are read-only and are one file with the store's object.

    \b
    Examples:
      vml unprotect model.pt
      vml unprotect data/labels data/index.csv
    """
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    targets = [project.relative(path, session.directory) for path in paths]
    with opening.changing(project, session.note), session.progress("copying") as meter:
        pointers = tracked.in_workspace(project)
        opening.check_targets(pointers, targets)
        opening.check_inside(opening.open_store(project), status.selected(pointers, targets))
        done = relink.unprotect(project, status.selected(pointers, targets), meter)
    size = output.size(sum(entry.size for entry in done))
    session.note(f"{output.count(len(done), 'file')} unprotected ({size})" if done else "nothing to do")
