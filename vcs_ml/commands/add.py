"""`vml add`: stores data and writes the pointers that stand for it in Git."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.workspace import opening, record, recorded
from vcs_ml.workspace import targets as targeting
from vcs_ml.workspace.groups import Labels, check_names
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def add(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, directories, or 'quoted globs'.")],
    *,
    group: Annotated[list[str] | None, typer.Option("--group", metavar="NAME", help="Make it part of a group.")] = None,
    no_group: Annotated[list[str] | None, typer.Option("--no-group", metavar="NAME", help="Take it out.")] = None,
    pull: Annotated[
        bool | None, typer.Option("--pull/--no-pull", help="Whether a plain pull brings it.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Track data: store it, write NAME.vml beside it, keep it out of Git.

    A path inside a tracked directory updates that directory by this path alone; none of its other files
    need be there.

    --group and --no-pull label a tracked path: what is not to be pulled is optional, and brought only by name or
    by group. On what is tracked already they change the pointer alone, whatever the data is like.

    \b
    Examples:
      vml add data images/train
      vml add 'runs/*.csv'
      vml add data/new.csv          (data is tracked: one file joins it)
      vml add --no-pull --group raw data/raw
    """
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    store = opening.open_store(project, session.note)
    labels = Labels(pull, group or (), no_group or ())
    check_names(labels.join)
    with opening.changing(project, session.note), session.progress("adding") as meter:
        targets = targeting.targets(project, project.expand(paths, session.directory))
        if labels:
            done = record.label(project, store, targets, labels, meter=meter)
        else:
            done = record.add(project, store, targets, meter=meter)
    for text, hint in recorded.warnings(done):
        session.warn(text, hint)
    if json:
        session.json({"schema": 1, "recorded": [each.as_json(project.algorithm) for each in done]})
        return
    for line in recorded.report(project, done, session.directory):
        session.note(line)
