"""`vml commit`: records changes of what is tracked already."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UserError
from vcs_ml.session import Session
from vcs_ml.workspace import opening, record, recorded, tracked
from vcs_ml.workspace import targets as targeting
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def commit(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH...]", help="Only these.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Record every change of tracked data: what `vml add` does, for all that is tracked already.

    What is not in the workspace at all is left as it is. Git's own commit stays yours to make.

    \b
    Examples:
      vml commit
      vml commit data models/best.pt
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    with opening.changing(project, session.note):
        if paths:
            targets = targeting.targets(project, project.expand(paths, session.directory), outs=True)
            for target in targets:
                if target.pointer is None:
                    raise UserError(
                        f"{output.quote(target.path)} is not tracked", hint=f"vml add {output.quote(target.path)}"
                    )
        else:
            targets, strange = targeting.present(project, tracked.in_workspace(project))
            for path in strange:
                name = output.quote(path)
                session.warn(
                    f"{name} is left as it was recorded: what lies there was never checked out here",
                    hint=f"vml checkout {name} completes it; vml add {name} records it as it is",
                )
        with session.progress("recording") as meter:
            done = record.add(project, store, targets, meter=meter)
    for text in recorded.warnings(done):
        session.warn(text, recorded.MEND)
    changed = [each for each in done if each.state != "unchanged"]
    if json:
        session.json({"schema": 1, "recorded": [each.as_json(project.algorithm) for each in changed]})
        return
    if not changed:
        session.note(f"nothing changed ({output.count(len(done), 'path')} looked at)")
    for line in recorded.report(project, changed, session.directory):
        session.note(line)
