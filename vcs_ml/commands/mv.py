"""`vml mv`: renames tracked data together with its pointer."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.session import Session
from vcs_ml.workspace import opening, remove
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def mv(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="Tracked data, or something inside it.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name, or a directory to move it into.")],
) -> None:
    """Rename or move tracked data, its pointer and its line in .gitignore. No byte is copied.

    \b
    Examples:
      vml mv data.csv raw.csv
      vml mv raw.csv archive/
      vml mv data/a.png data/b.png  (inside one tracked directory)
    """
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    store = opening.open_store(project, session.note)
    source = project.relative(old, session.directory)
    with opening.changing(project, session.note):
        target = project.relative(new, session.directory)
        place = remove.move(project, store, source, target, into=new.endswith("/"))
    session.note(f"{output.quote(source)} -> {output.quote(place)}")
