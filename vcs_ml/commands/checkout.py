"""`vml checkout`: makes the workspace what the pointers say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from vcs_ml import git, output
from vcs_ml.errors import UsageError
from vcs_ml.options import Groups, Paths
from vcs_ml.session import Session
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import checkout as checking
from vcs_ml.workspace import meanwhile, opening, recorded, recovery, resolve, sources, sync, tracked
from vcs_ml.workspace import relink as relinking
from vcs_ml.workspace import saved as saving
from vcs_ml.workspace.groups import Selection
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.resolve import Side

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def checkout(
    ctx: typer.Context,
    paths: Paths = None,
    *,
    group: Groups = None,
    rev: Annotated[str | None, typer.Option("--rev", metavar="R", help="As of this commit; pointers stay.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Store unsaved bytes first, then replace them.")] = False,
    relink: Annotated[bool, typer.Option("--relink", help="Only bring files into the form of cache.link.")] = False,
    saved: Annotated[
        bool, typer.Option("--saved", help="Bring back what a command took out; without PATH, list it.")
    ] = False,
    ours: Annotated[bool, typer.Option("--ours", help="Settle conflicts of a merge: our version.")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="Settle conflicts of a merge: their version.")] = False,
    merge: Annotated[bool, typer.Option("--merge", "-m", help="Merge pointers and lock files again.")] = False,
) -> None:
    """Bring workspace data to what the pointers say, from the local store.

    Only what differs is touched. Untracked files are left alone. Files whose bytes are in no store are never
    replaced without --force.

    --relink changes no content: copies become links, or links copies, as cache.link says now.

    --saved is about bytes that no pointer names: what --force replaced, and what vml repro took away. PATH may be a
    hash; what lies there is kept in its turn.

    --ours and --theirs settle what a merge has left, in the pointer and in the workspace; `.` is all of it. As in Git,
    ours is during a rebase the branch that is rebased onto, and theirs the commit that is moved. --merge makes the
    merge again, from what Git's index has of the file.

    \b
    Examples:
      git checkout v1 && vml checkout
      vml checkout data/labels.csv
      vml checkout --rev HEAD~2 data
      vml checkout --relink
      vml checkout --saved labels.csv
      vml checkout --theirs data/labels.csv
    """
    if ours or theirs or merge:
        others = relink or saved or group or rev is not None or (force and merge)
        if others or ours + theirs + merge > 1 or not paths:
            raise UsageError(
                "--ours, --theirs and --merge stand alone, with paths",
                hint="vml checkout --ours . settles all conflicts, vml checkout --merge . merges all again",
            )
        if merge:
            _merge_again(ctx.obj, paths)
        else:
            _settle(ctx.obj, paths, "ours" if ours else "theirs", force=force)
        return
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
        if rev is None and git.operation(project.git) is not None:
            meanwhile.remember(project, done.sources)
    report(session, project, done)
    for said in filter(None, (absent, sync.left_out(project, pointers, selection))):
        session.note(said)


def _settle(session: Session, paths: Sequence[str], side: Side, *, force: bool) -> None:
    """Take a side of conflicts."""
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    targets = [project.relative(path, session.directory) for path in paths]
    with opening.changing(project, session.note), session.progress("checking out") as meter:
        settled, done = resolve.settle(project, store, targets, side, force=force, meter=meter)
    for each in settled:
        left = f", {each.left:,} left" if each.left else ""
        session.note(f"{output.quote(each.source)}: {output.count(each.settled, 'conflict')} settled{left}")
    report(session, project, done, nothing="no data had to change")
    _for_git(session, project, [each.source for each in settled if not each.left])


def _merge_again(session: Session, paths: Sequence[str]) -> None:
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    targets = [project.relative(path, session.directory) for path in paths]
    with opening.changing(project, session.note):
        merged = resolve.merge_again(project, store, targets, opening.lists_elsewhere(project, store, session.note))
    for source, each in merged.items():
        left = f", with {output.count(len(each.conflicts), 'conflict')}: vml status" if each.conflicts else ""
        for note in (*each.notes, f"{output.quote(source)}: merged{left}"):
            session.note(note)
    if any(sources.is_source(source) for source in merged):
        session.note("vml checkout brings what was merged into the workspace")
    _for_git(session, project, [source for source, each in merged.items() if not each.conflicts])


def _for_git(session: Session, project: Project, settled: Sequence[str]) -> None:
    """Say how Git is told that files are settled, where core.autostage has not done it."""
    if settled and not project.config.autostage:
        files = " ".join(output.word(os.path.relpath(project.root / each, session.directory)) for each in settled)
        session.note(f"\nTo tell Git that this is settled:\n  git add {files}")


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


def report(
    session: Session,
    project: Project,
    done: checking.Result,
    *,
    nothing: str = "nothing to do: the workspace is what the pointers say",
) -> None:
    """Say what was done."""
    for each in done.saved:
        session.note(each.line(project.algorithm))
    parts = []
    if done.written:
        parts.append(f"{output.count(done.written, 'file')} written ({output.size(done.bytes)})")
    if done.removed:
        parts.append(f"{output.count(done.removed, 'file')} removed")
    session.note(", ".join(parts) if parts else nothing)
    if again := recorded.ignored_again(project, session.directory):
        session.note(again)
