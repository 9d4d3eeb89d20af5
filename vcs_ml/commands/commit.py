"""`vml commit`: records changes of what is tracked already, and what is there as the result of stages."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UserError
from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import opening, record, recorded, sources, tracked
from vcs_ml.workspace import targets as targeting
from vcs_ml.workspace.project import Project

if TYPE_CHECKING:
    from vcs_ml.pipeline.committing import Committed

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def commit(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH|STAGE...]", help="Only these.")] = None,
    json: Json = False,
) -> None:
    """Record every change of tracked data: what `vml add` does, for all that is tracked already.

    What is not in the workspace at all is left as it is. Git's own commit stays yours to make. For a stage that is
    named, what it reads and what it should have made are recorded as they are now, as if it had run.

    \b
    Examples:
      vml commit
      vml commit data models/best.pt
      vml commit train
    """
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    store = opening.open_store(project, session.note)
    taken: list[Committed] = []
    with opening.changing(project, session.note):
        if paths:
            rest, take = _stages(project, store, session, paths)
            targets = targeting.targets(project, project.expand(rest, session.directory), outs=True)
            for target in targets:
                if target.pointer is None:
                    raise UserError(
                        f"{output.quote(target.path)} is not tracked", hint=f"vml add {output.word(target.path)}"
                    )
            taken = take()
        else:
            targets, strange = targeting.present(project, tracked.in_workspace(project))
            for path in strange:
                name = output.word(path)
                session.warn(
                    f"{name} is left as it was recorded: what lies there was never checked out here",
                    hint=f"vml checkout {name} completes it; vml add {name} records it as it is",
                )
        with session.progress("recording") as meter:
            done = record.add(project, store, targets, meter=meter)
    for text, hint in recorded.warnings(done):
        session.warn(text, hint)
    changed = [each for each in done if each.state != "unchanged"]
    if json:
        session.json(
            {
                "schema": 1,
                "recorded": [each.as_json(project.algorithm) for each in changed],
                "stages": [each._asdict() for each in taken],
            }
        )
        return
    if not changed and not taken:
        session.note(f"nothing changed ({output.count(len(done), 'path')} looked at)")
    for each in taken:
        session.note(f"{output.quote(each.name)}: {'recorded as it is' if each.changed else 'nothing changed'}")
    if not changed and (command := recorded.for_git(project, session.directory)):
        session.note(f"\nTo record this in Git:\n  {command}")
    for line in recorded.report(project, changed, session.directory):
        session.note(line)


def _stages(
    project: Project, store: LocalStore, session: Session, names: Sequence[str]
) -> tuple[list[str], Callable[[], list[Committed]]]:
    """The names that mean no stages, and what commits those that do. What is tracked under a name is meant first."""
    survey = tracked.survey(project)
    if not survey.stage_files:
        return list(names), list
    # Costs 40 ms, and only pipelines need it.
    from vcs_ml.pipeline import committing, targets  # noqa: PLC0415
    from vcs_ml.pipeline.open import pipeline  # noqa: PLC0415

    paths = {name: project.relative(name, session.directory) for name in names}
    asked = [name for name in names if paths[name] and not sources.owner(paths[name], survey.tracked)]
    if not asked:
        return list(names), list
    _, graph = pipeline(project, survey)
    start = project.relative(".", session.directory)
    found: dict[str, list[str]] = {}
    for name in asked:
        try:
            found[name] = targets.find(graph, name, start)
        except UserError:
            if not os.path.lexists(project.root / paths[name]) and not glob.has_magic(name):
                raise
    chosen = [address for each in found.values() for address in each]

    def take() -> list[Committed]:
        with session.progress("recording") as meter:
            return committing.commit(project, store, survey, graph, chosen, env=session.env, meter=meter)

    return [name for name in names if name not in found], take
