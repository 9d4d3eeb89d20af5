"""`vml diff`: which files changed between two revisions, or a revision and the workspace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UsageError, UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.metrics import tables
from vcs_ml.metrics.revision import Reader
from vcs_ml.metrics.tables import TableChange
from vcs_ml.rows import words
from vcs_ml.session import Session
from vcs_ml.store import objects
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import diff as comparing
from vcs_ml.workspace import groups, opening
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.status import Change

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_COLOURS = {"added": "green", "modified": "yellow", "deleted": "red", "renamed": "cyan"}


@app.command()
def diff(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="[A]", help="The older revision.", show_default=False)] = "HEAD",
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The newer one (default: the workspace).")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", metavar="PATH", help="Only this file or directory.")
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Of changed tables, the rows and columns, too.")] = False,
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="COLUMN", help="With --rows: rows with the same are one row.")
    ] = None,
    md: Annotated[bool, typer.Option("--md", help="A markdown table.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get what is not here from the default remote.")] = False,
) -> None:
    """Show which files of tracked data changed, with sizes, from A (HEAD) to B (the workspace).

    \b
    Examples:
      vml diff
      vml diff HEAD~1 HEAD
      vml diff main --md
      vml diff --rows --key id --target data/train.csv
    """
    session: Session = ctx.obj
    if key and not rows:
        raise UsageError("--key belongs to --rows", hint=f"vml diff --rows --key {key[0]}")
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    if b is None and project.git.worktree is None:
        raise UserError("a bare repository has no workspace to compare", hint=f"vml diff {a} BRANCH")
    read = opening.page_reader(project, store, fetch=fetch)
    try:
        with opening.looking(project) as keep, session.progress("hashing") as meter:
            changes = comparing.between(project, store, a, b, read=read, meter=meter, keep=keep)
    except MissingObject as error:
        raise UserError(
            f"cannot compare: {error.message}",
            hint="vml fetch --metadata --all-commits brings the lists of files; or `vml diff --fetch`",
        ) from error
    targets = [project.relative(each, session.directory) for each in target or ()]
    changes = [each for each in changes if not targets or _concerns(each, targets)]
    compared: dict[str, TableChange] = {}
    if rows:
        with Reader(project, store, session.progress if fetch else None) as reader:
            old, new = reader.at(a), reader.workspace() if b is None else reader.at(b)
            found = tables.compare(reader, old, new, tables.changed(changes), key=key or ())
            compared = {each.path: each for each in found}
    if json:
        more = {"tables": [each.as_json() for each in compared.values()]} if rows else {}
        session.json({"schema": 1, "a": a, "b": b, **_as_json(changes, store.algorithm), **more})
    elif md:
        _print_markdown(session, changes, compared.values())
    else:
        _print(session, changes, compared)
    for each in compared.values():
        if each.problem is not None:
            session.warn(each.problem.message, each.problem.hint)


def _concerns(change: Change, targets: Sequence[str]) -> bool:
    paths = (change.path,) if change.source is None else (change.path, change.source)
    return any(groups.concerns(each, targets) for each in paths)


def _file(path: str, entry: Entry, algorithm: Algorithm) -> dict[str, object]:
    return {"path": path, **_content(entry, algorithm)}


def _content(entry: Entry, algorithm: Algorithm) -> dict[str, object]:
    return {"hash": objects.format_hash(objects.blob(entry.digest), algorithm), "size": entry.size}


def _as_json(changes: list[Change], algorithm: Algorithm) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {"added": [], "deleted": [], "modified": [], "renamed": []}
    for path, _, old, new, source in changes:
        if source is not None and new:
            found["renamed"].append({"from": source, "to": path, **_content(new, algorithm)})
        elif old and new:
            found["modified"].append({"path": path, "old": _content(old, algorithm), "new": _content(new, algorithm)})
        elif old:
            found["deleted"].append(_file(path, old, algorithm))
        elif new:
            found["added"].append(_file(path, new, algorithm))
    return found


def _sizes(change: Change) -> str:
    old = output.size(change.old.size) if change.old else ""
    new = output.size(change.new.size) if change.new else ""
    return f"{old} -> {new}" if old and new and old != new else new or old


def _name(change: Change) -> str:
    name = output.quote(change.path)
    return f"{output.quote(change.source)} -> {name}" if change.source is not None else name


def _print(session: Session, changes: list[Change], compared: Mapping[str, TableChange]) -> None:
    for each in changes:
        label = output.paint(f"{each.change + ':':<10}", _COLOURS[each.change], on=session.colour)
        session.out(f"{label} {_name(each)}  ({_sizes(each)})")
        table = compared.get(each.path)
        if table is not None and table.diff is not None:
            session.out("\n".join(f"    {output.one_line(line)}" for line in words.lines(table.diff)))
    session.note(_total(changes))


def _print_markdown(session: Session, changes: list[Change], compared: Iterable[TableChange]) -> None:
    rows = [(each.change, output.code(_name(each)), _sizes(each)) for each in changes]
    session.out(output.table(rows, ["change", "path", "size"], markdown=True) if rows else "No data changed.")
    lines = [line for each in compared for line in _items(each)]
    if lines:
        session.out("\n".join(["", *lines]))


def _items(table: TableChange) -> Iterator[str]:
    """What changed in a table, as items of a list."""
    yield f"- {output.code(output.quote(table.path))}"
    if table.diff is not None:
        yield from (f"  - {output.code(line)}" for line in words.lines(table.diff))
    elif table.problem is not None:
        yield f"  - {output.code(table.problem.message)}"


def _total(changes: list[Change]) -> str:
    if not changes:
        return "no data changed"
    kinds = [(sum(each.change == kind for each in changes), kind) for kind in _COLOURS]
    grown = sum((each.new.size if each.new else 0) - (each.old.size if each.old else 0) for each in changes)
    sign = "+" if grown >= 0 else "-"
    return f"{', '.join(f'{n:,} {kind}' for n, kind in kinds if n)} ({sign}{output.size(abs(grown))})"
