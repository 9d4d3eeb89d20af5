"""`vml add`: stores data and writes the pointers that stand for it in Git."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml.session import Session
from vcs_ml.workspace import record, sync
from vcs_ml.workspace import targets as targeting
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def add(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, directories, or 'quoted globs'.")],
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Track data: store it, write NAME.vml beside it, keep it out of Git.

    A path inside a tracked directory updates that directory by this path alone; none of its other files
    need be there.

    \b
    Examples:
      vml add data images/train
      vml add 'runs/*.csv'
      vml add data/new.csv          (data is tracked: one file joins it)
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = sync.open_store(project, session.note)
    with sync.changing(project, session.note), session.progress("adding") as meter:
        targets = targeting.targets(project, project.expand(paths, session.directory))
        done = record.add(project, store, targets, meter=meter)
    for text in record.warnings(done):
        session.warn(text, record.MEND)
    if json:
        session.json({"schema": 1, "recorded": [each.as_json(project.algorithm) for each in done]})
        return
    for line in record.report(project, done, session.directory):
        session.note(line)
