"""`vml checkout`: makes the workspace what the pointers say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.errors import UsageError
from vcs_ml.session import Session
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import checkout as checking
from vcs_ml.workspace import opening, recovery, sync, tracked
from vcs_ml.workspace import relink as relinking
from vcs_ml.workspace import saved as saving
from vcs_ml.workspace.groups import Selection
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def checkout(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH...]", help="Only these.")] = None,
    *,
    group: Annotated[list[str] | None, typer.Option("--group", metavar="NAME", help="What belongs to it.")] = None,
    rev: Annotated[str | None, typer.Option("--rev", metavar="R", help="As of this commit; pointers stay.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Store unsaved bytes first, then replace them.")] = False,
    relink: Annotated[bool, typer.Option("--relink", help="Only bring files into the form of cache.link.")] = False,
    saved: Annotated[
        bool, typer.Option("--saved", help="Bring back what a command took out; without PATH, list it.")
    ] = False,
) -> None:
    """Bring workspace data to what the pointers say, from the local store.

    Only what differs is touched. Untracked files are left alone. Files whose bytes are in no store are never
    replaced without --force.

    --relink changes no content: copies become links, or links copies, as cache.link says now.

    --saved is about bytes that no pointer names: what --force replaced, and what vml repro took away. PATH may be a
    hash; what lies there is kept in its turn.

    \b
    Examples:
      git checkout v1 && vml checkout
      vml checkout data/labels.csv
      vml checkout --rev HEAD~2 data
      vml checkout --relink
      vml checkout --saved labels.csv
    """
    if saved and (relink or force or group or rev is not None):
        raise UsageError("--saved takes nothing but paths and hashes", hint="vml checkout --saved [PATH|HASH]...")
    if relink and (rev is not None or force):
        raise UsageError("--relink changes no content", hint="vml checkout first, then vml checkout --relink")
    session: Session = ctx.obj
    project = Project.with_worktree(session.directory, session.env)
    store = opening.open_store(project, session.note)
    if saved:
        _saved(session, project, store, paths or ())
        return
    targets = [project.relative(path, session.directory) for path in paths or ()]
    with opening.changing(project, session.note), session.progress("checking out") as meter:
        now = tracked.in_workspace(project)
        pointers = tracked.at_revision(project, rev) if rev is not None else now
        selection = Selection(targets, group or ())
        chosen = sync.selected(project, pointers, selection, where=f"at {rev}" if rev is not None else "")
        wanted, absent = sync.within_reach(project, store, chosen, lambda each: each.stays)
        if relink:
            _report_relinked(session, relinking.relink(project, store, wanted, meter))
            return
        everything = now if selection.everything and rev is None else None
        try:
            done = checking.checkout(project, store, wanted, now=everything, force=force, meter=meter)
        except MissingObject as error:
            hint = error.hint if rev is None else "vml fetch --all-commits brings every version that was pushed"
            raise MissingObject(error.oid, error.message, hint=hint) from None
    report(session, project, done)
    for said in filter(None, (absent, sync.left_out(project, pointers, selection))):
        session.note(said)


def _saved(session: Session, project: Project, store: LocalStore, wanted: Sequence[str]) -> None:
    """Bring back what was saved, or list it."""
    if not wanted:
        every = saving.records(project)
        rows = [(output.moment(each.time), output.size(each.size), *map(output.quote, each[:2])) for each in every]
        if rows:
            session.out(output.table(rows, ("when", "size", "path", "hash"), align="lrll"))
        session.note("vml checkout --saved PATH (or HASH) brings one back" if rows else "nothing is kept")
        return
    with opening.changing(project, session.note):
        found = {name: recovery.newest(project, name, project.relative(name, session.directory)) for name in wanted}
        for record in found.values():
            for each in recovery.bring_back(project, store, record):
                session.note(each.line(project.algorithm))
            session.note(f"{output.quote(record.path)}: as it was at {output.moment(record.time)}")


def _report_relinked(session: Session, done: Sequence[Entry]) -> None:
    size = output.size(sum(entry.size for entry in done))
    session.note(f"{output.count(len(done), 'file')} relinked ({size})" if done else "nothing to do")


def report(session: Session, project: Project, done: checking.Result) -> None:
    """Say what was done."""
    for each in done.saved:
        session.note(each.line(project.algorithm))
    parts = []
    if done.written:
        parts.append(f"{output.count(done.written, 'file')} written ({output.size(done.bytes)})")
    if done.removed:
        parts.append(f"{output.count(done.removed, 'file')} removed")
    session.note(", ".join(parts) if parts else "nothing to do: the workspace is what the pointers say")
