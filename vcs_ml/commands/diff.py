"""`vml diff`: which files changed between two revisions, or a revision and the workspace."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from vcs_ml import git, output
from vcs_ml.errors import UsageError, UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.metrics import asked, tables
from vcs_ml.metrics.revision import WORKSPACE, Reader
from vcs_ml.metrics.tables import TableChange
from vcs_ml.options import Fetch, Json, Newer, Older
from vcs_ml.rows import words
from vcs_ml.session import Session
from vcs_ml.store import objects
from vcs_ml.store.manifest import Read
from vcs_ml.store.page import Entry
from vcs_ml.workspace import diff as comparing
from vcs_ml.workspace import groups, opening, sources
from vcs_ml.workspace.diff import Pair
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.status import Change

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_UNLISTED_MAX: Final = 5  # that are named
_AS_FAR: Final = " as far as is known"
_COLOURS = {"added": "green", "modified": "yellow", "deleted": "red", "renamed": "cyan"}


@app.command()
def diff(
    ctx: typer.Context,
    a: Older = "HEAD",
    b: Newer = None,
    others: Annotated[
        list[str] | None, typer.Argument(metavar="[GIT...]", help="With --files: what else Git gives.")
    ] = None,
    *,
    json: Json = False,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", metavar="PATH", help="Only this file or directory.")
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Of changed tables, the rows and columns, too.")] = False,
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="COLUMN", help="With --rows: rows with the same are one row.")
    ] = None,
    md: Annotated[bool, typer.Option("--md", help="A markdown table.")] = False,
    fetch: Fetch = False,
    files: Annotated[
        bool, typer.Option("--files", help="A and B are pointers or lock files; or what Git gives to a diff command.")
    ] = False,
) -> None:
    """Show which files of tracked data changed, with sizes, from A (HEAD) to B (the workspace).

    \b
    Examples:
      vml diff
      vml diff HEAD~1 HEAD
      vml diff main --md
      vml diff --rows --key id --target data/train.csv
      git -c diff.external="vml diff --files" diff -- data.vml
    """
    session: Session = ctx.obj
    if json and md:
        raise UsageError("--json and --md are two forms: leave one out", hint="vml diff --json")
    if key and not rows:
        raise UsageError("--key belongs to --rows", hint=f"vml diff --rows --key {key[0]}")
    project = Project.find(session.directory, session.env)
    if files:
        if json or md or rows or target:
            raise UsageError("--files shows plain lines", hint="vml diff --files A B")
        _print_files(session, project, [a, *([b] if b is not None else []), *(others or ())], fetch=fetch)
        return
    if others:
        raise UsageError(f"two revisions are compared, and {others[0]!r} is a third", hint="-t PATH is for paths")
    a, b = asked.pair(project.git, a, b, session.note)
    store = opening.open_store(project, session.note)
    if b is None and project.git.worktree is None:
        raise UserError("a bare repository has no workspace to compare", hint=f"vml diff {a} BRANCH")
    if a == WORKSPACE:
        hint = shlex.join(["vml", "diff", b or "HEAD"])
        raise UsageError("the workspace is the newer of the two: name the other first", hint=hint)
    read = opening.page_reader(project, store, fetch=fetch, at_once=False)
    targets = [project.relative(each, session.directory) for each in target or ()]
    lost: dict[str, Pair] = {}
    with opening.looking(project) as keep, session.progress("hashing") as meter:
        changes = comparing.between(project, store, a, b, read=read, meter=meter, keep=keep, lost=lost)
    changes = [each for each in changes if not targets or _concerns(each, targets)]
    unlisted = {path: pair for path, pair in lost.items() if not targets or groups.concerns(path, targets)}
    for wanted in targets:
        seen = any(_concerns(change, [wanted]) for change in changes)
        if not seen and not comparing.is_anywhere(project, a, b, wanted, read):
            where = f"the data of {a}, {b or WORKSPACE}"
            hint = (
                f"{shlex.join(['vml', 'diff', *_revisions(a, b)])} without it shows all; vml ls lists what is tracked"
            )
            raise UserError(f"{output.quote(wanted)} is nowhere in {where}", hint=hint)
    compared: dict[str, TableChange] = {}
    if rows:
        with Reader(project, store, session.progress if fetch else None) as reader:
            old, new = asked.two(reader, a, b, session.note)
            found = tables.compare(reader, old, new, tables.changed(changes), key=key or ())
            compared = {each.path: each for each in found}
    if json:
        more = {"tables": [each.as_json() for each in compared.values()]} if rows else {}
        session.json({"schema": 1, "a": a, "b": b, **_as_json(changes, unlisted, store.algorithm), **more})
    elif md:
        _print_markdown(session, changes, compared.values(), unlisted)
    else:
        _print(session, changes, compared, unlisted)
    for each in compared.values():
        if each.problem is not None:
            session.warn(each.problem.message, each.problem.hint)
    if unlisted:
        hint = "the default remote has not got it either: vml push where it is"
        if not fetch:
            again = shlex.join(["vml", "diff", *_revisions(a, b), *_options(target, key, rows=rows), "--fetch"])
            hint = f"{again} gets it from the default remote; vml fetch --metadata --all-commits keeps all of them here"
        raise UserError(_not_here(unlisted, a, b, read), hint=hint)


def _print_files(session: Session, project: Project, words: Sequence[str], *, fetch: bool) -> None:
    """Two versions of a file that records something: A B, as git difftool gives them; or PATH OLD-FILE OLD-HEX OLD-MODE
    NEW-FILE NEW-HEX NEW-MODE [NEW-PATH HEADER], as Git gives them to an external diff (git(1), GIT_EXTERNAL_DIFF).
    """
    if len(words) in (7, 9):
        old_path, old, new = words[0], words[1], words[4]
        new_path = words[7] if len(words) == 9 else old_path
    elif len(words) == 2:
        old, new = words
        old_path, new_path = (session.env.get("BASE", Path(each).name) for each in words)  # git difftool sets it
    else:
        raise UsageError("--files takes two files, or what Git gives to an external diff", hint="vml diff --files A B")
    session.out(output.paint(output.quote(new_path), "bold", on=session.colour))
    if len(words) > 2 and not any(sources.is_source(path) for path in (old_path, new_path)):
        # Set up for all files (diff.external): the others are shown as Git shows them.
        session.out(_plain(session, old, new))
        return
    store = opening.open_store(project, session.note)
    try:
        before = _recorded(project, session.directory / old, old_path)
        now = _recorded(project, session.directory / new, new_path)
    except UserError as error:  # Git would take a failure for a fault of its own
        session.warn(error.message, error.hint)
        return
    lost: dict[str, Pair] = {}
    read = opening.page_reader(project, store, fetch=fetch, at_once=False)
    _print(session, comparing.of_tracked(store, before, now, read, lost), {}, lost)
    for path in lost:
        session.warn(f"the list of files of {output.quote(path)} is not here", "vml fetch --metadata --all-commits")


def _plain(session: Session, old: str, new: str) -> str:
    """What Git itself shows of two files, without the lines that name them."""
    colour = "--color=always" if session.colour else "--color=never"
    args = ["diff", "--no-index", "--no-ext-diff", colour, "--", old, new]
    lines = git.run(args, session.directory, ok=(0, 1)).decode("utf-8", "replace").splitlines()
    at = next((i for i, line in enumerate(lines) if "@@ -" in line), -1)
    return "\n".join(lines[at:])


def _recorded(project: Project, file: Path, path: str) -> dict[str, Pointer]:
    """What one version of a file records, which lies at `path` from the top of the worktree."""
    if str(file) == os.devnull:
        return {}
    with file.open("rb") as opened:
        raw = opened.read(sources.MAX_SIZE + 1)
    found = sources.parse(raw, project.own_path(path) or path, project.algorithm)
    return {each.path: each for each in found}


def _revisions(a: str, b: str | None) -> list[str]:
    if b is not None:
        return [a, b]
    return [] if a == "HEAD" else [a]


def _options(target: Sequence[str] | None, key: Sequence[str] | None, *, rows: bool) -> list[str]:
    given = [*(("-t", each) for each in target or ()), *(("--key", each) for each in key or ())]
    return [*(["--rows"] if rows else []), *itertools.chain(*given)]


def _not_here(unlisted: Mapping[str, Pair], a: str, b: str | None, read: Read) -> str:
    """Of which data nobody can tell what changed, and at which revision its list of files is not here."""
    told = []
    for path, pair in itertools.islice(unlisted.items(), _UNLISTED_MAX):
        lacks = comparing.unlisted_sides(pair, read)
        names = (name for name, lacking in zip((a, b or WORKSPACE), lacks, strict=True) if lacking)
        told.append(f"{output.quote(path)} (at {', '.join(names)})")
    if more := len(unlisted) - len(told):
        told.append(f"{more:,} more")
    return f"the list of files is not here of {', '.join(told)}"


def _concerns(change: Change, targets: Sequence[str]) -> bool:
    paths = (change.path,) if change.source is None else (change.path, change.source)
    return any(each in ("", path) or path.startswith(f"{each}/") for path in paths for each in targets)


def _file(path: str, entry: Entry, algorithm: Algorithm) -> dict[str, object]:
    return {"path": path, **_content(entry, algorithm)}


def _content(entry: Entry, algorithm: Algorithm) -> dict[str, object]:
    return {"hash": objects.format_hash(objects.blob(entry.digest), algorithm), "size": entry.size}


def _pointer(each: Pointer | None, algorithm: Algorithm) -> dict[str, object] | None:
    return None if each is None else {"hash": objects.format_hash(each.oid, algorithm), "size": each.size}


def _as_json(
    changes: list[Change], unlisted: Mapping[str, Pair], algorithm: Algorithm
) -> dict[str, list[dict[str, object]]]:
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
    if unlisted:
        found["unlisted"] = [
            {"path": path, "old": _pointer(before, algorithm), "new": _pointer(now, algorithm)}
            for path, (before, now) in unlisted.items()
        ]
    return found


def _sizes(change: Change) -> str:
    old = output.size(change.old.size) if change.old else ""
    new = output.size(change.new.size) if change.new else ""
    return f"{old} -> {new}" if old and new and old != new else new or old


def _name(change: Change) -> str:
    name = output.quote(change.path)
    return f"{output.quote(change.source)} -> {name}" if change.source is not None else name


def _print(
    session: Session, changes: list[Change], compared: Mapping[str, TableChange], unlisted: Mapping[str, Pair]
) -> None:
    for each in changes:
        label = output.paint(f"{each.change + ':':<10}", _COLOURS[each.change], on=session.colour)
        session.out(f"{label} {_name(each)}  ({_sizes(each)})")
        table = compared.get(each.path)
        if table is not None and table.diff is not None:
            session.out("\n".join(f"    {output.one_line(line)}" for line in words.lines(table.diff)))
    session.note(_total(changes) + (_AS_FAR if unlisted else ""))


def _print_markdown(
    session: Session, changes: list[Change], compared: Iterable[TableChange], unlisted: Mapping[str, Pair]
) -> None:
    rows = [(each.change, output.code(_name(each)), _sizes(each)) for each in changes]
    nothing = f"No data changed{_AS_FAR if unlisted else ''}."
    session.out(output.table(rows, ["change", "path", "size"], markdown=True) if rows else nothing)
    lines = [line for each in compared for line in _items(each)]
    lines += [f"- {output.code(output.quote(path))}: its list of files is not here" for path in unlisted]
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
