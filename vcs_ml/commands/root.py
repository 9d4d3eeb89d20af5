"""`vml root`: where the project begins."""

from __future__ import annotations

import typer

from vcs_ml.session import Session
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def root(ctx: typer.Context) -> None:
    """Print the project's top directory.

    \b
    Examples:
      vml root
      cd "$(vml root)"
    """
    session: Session = ctx.obj
    session.out(str(Project.find(session.directory, session.env).root))
