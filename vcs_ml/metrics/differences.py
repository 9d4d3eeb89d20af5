"""Two revisions' params or metrics beside each other, as a command shows them."""

from __future__ import annotations

from collections.abc import Sequence

from vcs_ml.errors import UsageError
from vcs_ml.metrics import asked, compare, table
from vcs_ml.metrics.compare import Kind
from vcs_ml.metrics.revision import Reader
from vcs_ml.metrics.table import Order
from vcs_ml.session import Session
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project


def show(
    session: Session,
    what: Kind,
    a: str,
    b: str | None,
    *,
    targets: Sequence[str],
    every: bool,
    sort_by: Order,
    precision: int,
    md: bool,
    json: bool,
    fetch: bool,
) -> None:
    """Say what changed from `a` to `b` (None: the workspace); with `every`, what did not, too. UserError."""
    if json and md:
        raise UsageError("--json and --md are two forms: leave one out", hint=f"vml {what} diff --json")
    project = Project.find(session.directory, session.env)
    chosen = [project.relative(each, session.directory) for each in targets]
    store = opening.open_store(project, session.note)
    with Reader(project, store, session.progress if fetch else None) as reader:
        found = compare.between(reader, asked.two(reader, a, b, session.note), what, chosen, every=every)
    both = [found.old, found.new]
    problems = table.problems(both)
    nothing = (f"there are no {what}" if every else f"no {what} changed") + (" as far as is known" if problems else "")
    if json:
        session.json({"schema": 1, **table.as_json(found, sort_by)})
    elif not found.rows and not md:
        session.note(nothing)
    else:
        shown = table.of_rows(found, what, by=sort_by, precision=precision, markdown=md) if found.rows else nothing
        session.out(table.with_problems(shown, both) if md else shown)
    for said in problems:
        session.warn(*said)
