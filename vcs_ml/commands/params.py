"""`vml params`: shows which params changed between two revisions."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml.metrics import differences
from vcs_ml.metrics.table import PRECISION, Order
from vcs_ml.options import Fetch, Json, Markdown, Newer, Older, Precision, Targets

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def params() -> None:
    """Compare params between revisions."""


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
    """Show which params changed from A (HEAD) to B (the workspace), and by how much.

    \b
    Examples:
      vml params diff
      vml params diff main feature --md
      vml params diff HEAD~1 HEAD --target params.yaml --all
    """
    differences.show(
        ctx.obj,
        "params",
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
