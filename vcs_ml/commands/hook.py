"""`vml hook`: what Git's hooks call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vcs_ml import git
from vcs_ml.errors import UsageError, UserError
from vcs_ml.git import GitRoot
from vcs_ml.hooks import differences, large_files, skip, validate
from vcs_ml.hooks.problem import Problem
from vcs_ml.hooks.staged import Staged
from vcs_ml.hooks.verdict import Verdict
from vcs_ml.output import quote
from vcs_ml.session import Session
from vcs_ml.settings import parse_size

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def hook() -> None:
    """What Git's hooks call; vml install and the pre-commit framework put the calls in place."""


class _Files(TyperCommand):
    """A command that ends with names of files as Git lists them. A name may be that of an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = 0
        while at < len(args) and args[at].partition("=")[0] == "--limit":
            at += 1 if "=" in args[at] else 2
        if args[at:] not in (["--help"], ["-h"]) and args[at : at + 1] != ["--"]:
            args = [*args[:at], "--", *args[at:]]
        return super().parse_args(ctx, args)


@app.command("large-files", cls=_Files)
def large(
    ctx: typer.Context,
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE...]", help="Only these.")] = None,
    *,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="SIZE", help="Up to which size; default: hooks.large_files, 5 MB.")
    ] = None,
) -> None:
    """Keep files that are too large for Git out of it: those staged, or FILEs, as Git's index has them.

    \b
    Examples:
      vml hook large-files
      vml hook large-files --limit 500kB
    """
    session: Session = ctx.obj
    if skip.is_skipped(session.env, large_files.NAME):
        return
    try:
        most = None if limit is None else parse_size(limit)
    except ValueError as error:
        raise UsageError(f"--limit: {error}", hint="a size is such as 500kB or 5MB") from None
    root = _root(session)
    with Staged(root, session.env) as staged:
        chosen = _in_index(session, staged, files)
        _end(session, [large_files.look(staged, files=chosen, limit=most)])


@app.command("validate", cls=_Files)
def valid(
    ctx: typer.Context,
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE...]", help="These too.")] = None,
) -> None:
    """Check pointers, vml.lock, vml.yaml and .vml/config.toml as they are staged, and FILEs, as Git's index has them.

    \b
    Examples:
      vml hook validate
      git ls-files -z | xargs -0 vml hook validate
    """
    session: Session = ctx.obj
    if skip.is_skipped(session.env, validate.NAME):
        return
    with Staged(_root(session), session.env) as staged:
        verdict, _ = validate.look(staged, files=_in_index(session, staged, files) or ())
        _end(session, [verdict])


@app.command("status")
def status(ctx: typer.Context) -> None:
    """Stop a commit that would not have what is in the workspace: data, stages, pointers and lock files.

    \b
    Examples:
      vml hook status
    """
    session: Session = ctx.obj
    if skip.is_skipped(session.env, differences.NAME):
        return
    with Staged(_root(session), session.env) as staged, session.progress("hashing") as meter:
        verdict = differences.look(staged, meter=meter)
    _end(session, [verdict])


@app.command("pre-commit")
def pre_commit(ctx: typer.Context) -> None:
    """All that has to hold before a commit: large-files, validate and status in one.

    \b
    Examples:
      vml hook pre-commit
    """
    session: Session = ctx.obj
    wanted = [
        name
        for name in (large_files.NAME, validate.NAME, differences.NAME)
        if not skip.is_skipped(session.env, name, "pre-commit")
    ]
    if not wanted:
        return
    found: dict[str, Verdict] = {}
    with Staged(_root(session), session.env) as staged, session.progress("hashing") as meter:
        problems: Sequence[Problem] = ()
        if validate.NAME in wanted:
            found[validate.NAME], problems = validate.look(staged)
        if differences.NAME in wanted:
            found[differences.NAME] = differences.look(staged, meter=meter, told=problems)
        if large_files.NAME in wanted:
            found[large_files.NAME] = large_files.look(staged)
    _end(session, [found[name] for name in wanted])


def _root(session: Session) -> GitRoot:
    root = git.root(session.directory.resolve())
    if root is None or root.worktree is None:
        raise UserError(f"{quote(session.directory)} is not in a working tree of Git", hint="cd to one")
    return root


def _in_index(session: Session, staged: Staged, files: Sequence[str] | None) -> list[str] | None:
    """Files that were named, from the top of the working tree; None where none were."""
    if not files:
        return None
    here = os.path.relpath(session.directory.resolve(), staged.root.cwd)
    paths = [os.path.normpath(os.path.join(here, each)) for each in files]
    for path in paths:
        if path not in staged.index:
            session.debug(f"{quote(path)} is not in Git's index")
    return paths


def _end(session: Session, verdicts: Sequence[Verdict]) -> None:
    """Say what was found; Blocked if something ends the commit."""
    for note in (note for each in verdicts for note in each.notes):
        session.note(f"note: {note}")
    errors = [error for each in verdicts for error in each.errors]
    if not errors:
        session.note(f"vml: {', '.join(each.fine for each in verdicts)}")
        return
    for message, hint in errors[:-1]:
        session.error(message, hint)
    message, hint = errors[-1]
    raise skip.Blocked(message, hint=hint)
