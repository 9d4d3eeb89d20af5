"""`vml params`: shows which params changed between two revisions."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml.errors import UsageError
from vcs_ml.metrics import asked, compare, table
from vcs_ml.metrics.revision import Reader
from vcs_ml.metrics.table import PRECISION, Order
from vcs_ml.session import Session
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def params() -> None:
    """Compare params between revisions."""


@app.command()
def diff(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="[A]", help="The older revision.", show_default=False)] = "HEAD",
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The newer one (default: the workspace).")] = None,
    *,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", metavar="PATH", help="Only this file, directory or pattern.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="What did not change, too.")] = False,
    sort_by: Annotated[Order, typer.Option("--sort-by", help="The largest change first, or by name.")] = "name",
    precision: Annotated[
        int, typer.Option("--precision", metavar="N", min=1, max=17, help="Significant digits.")
    ] = PRECISION,
    md: Annotated[bool, typer.Option("--md", help="A Markdown table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get what is not here from the default remote.")] = False,
) -> None:
    """Show which params changed from A (HEAD) to B (the workspace), and by how much.

    \b
    Examples:
      vml params diff
      vml params diff main feature --md
      vml params diff HEAD~1 HEAD --target params.yaml --all
    """
    session: Session = ctx.obj
    if json and md:
        raise UsageError("--json and --md are two forms: leave one out", hint="vml params diff --json")
    project = Project.find(session.directory, session.env)
    targets = [project.relative(each, session.directory) for each in target or ()]
    store = opening.open_store(project, session.note)
    with Reader(project, store, session.progress if fetch else None) as reader:
        found = compare.between(reader, asked.two(reader, a, b, session.note), "params", targets, every=every)
    both = [found.old, found.new]
    problems = table.problems(both)
    nothing = ("there are no params" if every else "no params changed") + (" as far as is known" if problems else "")
    if json:
        session.json({"schema": 1, **table.as_json(found, sort_by)})
    elif not found.rows and not md:
        session.note(nothing)
    else:
        shown = table.of_rows(found, "params", by=sort_by, precision=precision, markdown=md) if found.rows else nothing
        session.out(table.with_problems(shown, both) if md else shown)
    for said in problems:
        session.warn(*said)
