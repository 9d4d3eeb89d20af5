"""`vml unfreeze`: lets frozen stages run again."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml.output import quote
from vcs_ml.pipeline import freezing
from vcs_ml.session import Session
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def unfreeze(
    ctx: typer.Context,
    stages: Annotated[list[str], typer.Argument(metavar="STAGE...", help="A stage, a group, or what one makes.")],
) -> None:
    """Let frozen stages run again: takes `frozen: true` out of vml.yaml.

    Comments and everything else in the file stay as they are.

    \b
    Examples:
      vml unfreeze prepare
      vml unfreeze sub/vml.yaml:train
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    with opening.changing(project, session.note):
        start = project.relative(".", session.directory)
        done = freezing.set_frozen(project, stages, start, frozen=False)
    for address in done:
        session.note(f"no longer frozen: {quote(address)}")
    if not done:
        session.note("not frozen: nothing changed")
