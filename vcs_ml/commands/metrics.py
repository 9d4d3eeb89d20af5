"""`vml metrics`: shows the metrics of revisions, and what changed between two."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml.errors import UsageError
from vcs_ml.metrics import asked, differences, table
from vcs_ml.metrics.compare import Collector
from vcs_ml.metrics.revision import Reader
from vcs_ml.metrics.table import PRECISION, Order
from vcs_ml.options import Fetch, Json, Markdown, Newer, Older, Precision, Targets
from vcs_ml.session import Session
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Scope

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def metrics() -> None:
    """Show metrics, and compare them between revisions."""


@app.command()
def show(
    ctx: typer.Context,
    revs: Annotated[
        list[str] | None, typer.Argument(metavar="[REV...]", help="Revisions, A..B, or workspace (default).")
    ] = None,
    *,
    target: Targets = None,
    all_branches: Annotated[bool, typer.Option("--all-branches", "-a", help="Every branch, too.")] = False,
    all_tags: Annotated[bool, typer.Option("--all-tags", "-T", help="Every tag, too.")] = False,
    all_commits: Annotated[bool, typer.Option("--all-commits", "-A", help="Every commit, too.")] = False,
    sort_by: Annotated[
        str | None, typer.Option("--sort-by", metavar="KEY", help="Revisions in the order of this metric.")
    ] = None,
    descending: Annotated[bool, typer.Option("--desc", help="With --sort-by: the largest first.")] = False,
    precision: Precision = PRECISION,
    md: Markdown = False,
    json: Json = False,
    fetch: Fetch = False,
) -> None:
    """Show the metrics of revisions side by side; nothing is checked out for that.

    \b
    Examples:
      vml metrics show
      vml metrics show main feature v1.0
      vml metrics show HEAD~20..HEAD --sort-by accuracy --desc
      vml metrics show --all-tags --md
    """
    session: Session = ctx.obj
    if json and md:
        raise UsageError("--json and --md are two forms: leave one out", hint="vml metrics show --json")
    if descending and sort_by is None:
        raise UsageError("--desc belongs to --sort-by", hint="vml metrics show --sort-by KEY --desc")
    project = Project.find(session.directory, session.env)
    targets = [project.relative(each, session.directory) for each in target or ()]
    store = opening.open_store(project, session.note)
    with Reader(project, store, session.progress if fetch else None) as reader:
        revisions = asked.revisions(reader, revs or (), Scope(all_branches, all_tags, all_commits))
        found = Collector(reader).collect(revisions, "metrics", targets)
    if sort_by is not None:
        found = table.by_value(found, sort_by, descending=descending)
    some = any(values for each in found for values in each.files.values())
    problems = table.problems(found)
    nothing = "there are no metrics (vml.yaml names their files)" if found else "there is no such revision"
    if problems:
        nothing = "no metrics could be read"
    if json:
        session.json({"schema": 1, "revisions": [table.values_json(each) for each in found]})
    elif not some and not md:
        session.note(nothing)
    else:
        shown = table.of_values(found, "metrics", precision=precision, markdown=md) if some else nothing
        session.out(table.with_problems(shown, found) if md else shown)
    for said in problems:
        session.warn(*said)


@app.command()
def diff(
    ctx: typer.Context,
    a: Older = "HEAD",
    b: Newer = None,
    *,
    target: Targets = None,
    every: Annotated[bool, typer.Option("--all", help="What did not change, too.")] = False,
    sort_by: Annotated[Order, typer.Option("--sort-by", help="The largest change first, or by name.")] = "name",
    precision: Precision = PRECISION,
    md: Markdown = False,
    json: Json = False,
    fetch: Fetch = False,
) -> None:
    """Show which metrics changed from A (HEAD) to B (the workspace), and by how much.

    \b
    Examples:
      vml metrics diff
      vml metrics diff main feature --md
      vml metrics diff HEAD~1 HEAD --target eval.json --all
    """
    differences.show(
        ctx.obj,
        "metrics",
        a,
        b,
        targets=target or (),
        every=every,
        sort_by=sort_by,
        precision=precision,
        md=md,
        json=json,
        fetch=fetch,
    )
