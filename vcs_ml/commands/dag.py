"""`vml dag`: shows which stage needs which."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from vcs_ml.errors import UsageError
from vcs_ml.options import Json
from vcs_ml.pipeline import drawing, targets
from vcs_ml.pipeline.drawing import Drawing
from vcs_ml.pipeline.open import pipeline
from vcs_ml.session import Session
from vcs_ml.workspace import tracked
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_WIDTH = 100


@app.command()
def dag(
    ctx: typer.Context,
    wanted: Annotated[
        list[str] | None, typer.Argument(metavar="[TARGET...]", help="Only these, with what they need.")
    ] = None,
    *,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
    md: Annotated[bool, typer.Option("--md", help="The same in Markdown, as forges show it.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="For Graphviz.")] = False,
    json: Json = False,
    outs: Annotated[bool, typer.Option("--outs", help="Outputs in the place of stages.")] = False,
    collapse: Annotated[bool, typer.Option("--collapse", help="A foreach or matrix as one.")] = False,
) -> None:
    """Show the graph: a line for each stage, in the order in which they run, and what it needs.

    \b
    Examples:
      vml dag
      vml dag train --collapse
      vml dag --md >> README.md
      vml dag --dot | dot -Tsvg > dag.svg
    """
    if mermaid + md + dot + json > 1:
        raise UsageError("--mermaid, --md, --dot and --json exclude each other", hint="vml dag --help")
    if outs and collapse:
        raise UsageError("--outs and --collapse exclude each other", hint="vml dag --help")
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    survey = tracked.survey(project)
    _, graph = pipeline(project, survey)
    data = (path for path, each in survey.tracked.items() if not each.lock)
    found = drawing.draw(graph, data, outs=outs, collapse=collapse)
    if wanted:
        start = project.relative(".", session.directory)
        chosen = [graph.stages[address] for target in wanted for address in targets.find(graph, target, start)]
        made = {out.path for stage in chosen for out in stage.outs}
        found = drawing.part(found, made if outs else {name for each in chosen for name in (each.address, each.group)})
    if json:
        session.json(_as_json(found))
    elif dot:
        session.out("\n".join(drawing.dot(found)))
    elif mermaid or md:
        lines = "\n".join(drawing.mermaid(found))
        session.out(f"```mermaid\n{lines}\n```" if md else lines)
    elif found.nodes:
        width = shutil.get_terminal_size((_WIDTH, 0)).columns if session.stdout_tty else _WIDTH
        session.out("\n".join(drawing.text(found, width)))
    else:
        session.note(targets.none_left(graph) or "there is nothing to draw (vml stage add makes a stage)")


def _as_json(found: Drawing) -> dict[str, object]:
    return {
        "schema": 1,
        "nodes": [{"id": number, **node._asdict()} for number, node in enumerate(found.nodes)],
        "edges": [{"from": each, "to": number} for number, needs in enumerate(found.needs) for each in needs],
    }
