"""`vml hook`: what Git's hooks and the pre-commit framework call."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vcs_ml.errors import UsageError, UserError, VmlError
from vcs_ml.git import GitRoot
from vcs_ml.hooks import checkout as checking
from vcs_ml.hooks import differences, large_files, moves, projects, updates, validate
from vcs_ml.hooks import push as pushing
from vcs_ml.hooks.moves import Move
from vcs_ml.hooks.problem import Problem
from vcs_ml.hooks.push import Data
from vcs_ml.hooks.skip import Blocked, is_skipped, naming_the_way_past, unknown
from vcs_ml.hooks.staged import CONFIG, Staged
from vcs_ml.hooks.typed import Typed
from vcs_ml.hooks.updates import Push
from vcs_ml.hooks.verdict import Verdict
from vcs_ml.output import quote
from vcs_ml.session import Session
from vcs_ml.settings import parse_size

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="What Git's hooks call. `vml install` puts them in place; VML_SKIP_HOOKS=1, or names of hooks, skips them.",
)

# ---------------------------------------------------------------------- before a commit


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
    if _is_skipped(session, large_files.NAME):
        return
    try:
        most = None if limit is None else parse_size(limit)
    except ValueError as error:
        raise UsageError(f"--limit: {error}", hint="a size is such as 500kB or 5MB") from None
    with _before_commit(session, large_files.NAME) as staged:
        verdict = large_files.look(staged, files=_in_index(session, staged, files), limit=most)
    _end(session, [verdict])


@app.command("validate", cls=_Files)
def valid(
    ctx: typer.Context,
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE...]", help="These too.")] = None,
) -> None:
    """Check pointers, vml.lock, vml.yaml and .vml/config.toml as they are staged; all of them where nothing is.

    \b
    Examples:
      vml hook validate
      vml hook validate data.vml
    """
    session: Session = ctx.obj
    if _is_skipped(session, validate.NAME):
        return
    with _before_commit(session, validate.NAME) as staged:
        chosen = _in_index(session, staged, files)
        if chosen is None and not staged.changes:  # in CI, or before a commit without changes
            chosen = staged.index.below("")
        verdict, _ = validate.look(staged, files=chosen or ())
    _end(session, [verdict])


@app.command("status")
def status(ctx: typer.Context) -> None:
    """Stop a commit that would not have what is in the workspace: data, stages, pointers and lock files.

    \b
    Examples:
      vml hook status
    """
    session: Session = ctx.obj
    if _is_skipped(session, differences.NAME):
        return
    with _before_commit(session, differences.NAME) as staged, session.progress("hashing") as meter:
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
    if _is_skipped(session, "pre-commit"):
        return
    wanted = [name for name in (large_files.NAME, validate.NAME, differences.NAME) if not is_skipped(session.env, name)]
    if not wanted:
        return
    found: dict[str, Verdict] = {}
    with _before_commit(session, "pre-commit") as staged, session.progress("hashing") as meter:
        if differences.NAME in wanted:
            staged.begin_status()
        problems: Sequence[Problem] = ()
        if validate.NAME in wanted:
            found[validate.NAME], problems = validate.look(staged)
        try:
            if any(each.path.endswith(CONFIG) for each in problems):
                wanted = [validate.NAME]  # the others read settings, too
            if differences.NAME in wanted:
                found[differences.NAME] = differences.look(staged, meter=meter, told=problems)
            if large_files.NAME in wanted:
                found[large_files.NAME] = large_files.look(staged)
        except VmlError:
            _tell(session, found.values(), [error for each in found.values() for error in each.errors])
            raise
    _end(session, [found[name] for name in wanted])


def _is_skipped(session: Session, *names: str) -> bool:
    if (wrong := unknown(session.env)) is not None:
        session.warn(*wrong)
    return is_skipped(session.env, *names)


@contextmanager
def _before_commit(session: Session, name: str) -> Iterator[Staged]:
    """Git's index, for the hook of this name, which errors in the body say how to go past."""
    with naming_the_way_past(name, "git commit"):
        root = projects.calling(session.directory, session.env)
        if root is None or root.worktree is None or not projects.is_worked_on(root, session.directory, session.env):
            raise _no_working_tree(session, root)
        with Staged(root, session.env) as staged:
            yield staged


def _no_working_tree(session: Session, root: GitRoot | None) -> UserError:
    """Why a hook that is about a working tree has none to look at."""
    if root is None or root.worktree is None:
        return UserError(f"{quote(session.directory)} is not in a working tree of Git", hint="cd to one")
    place = Path(session.env.get("GIT_WORK_TREE", ""), "").resolve()
    return UserError(
        f"Git works on {quote(place)}, which is not the working tree of {quote(root.git_dir)}: vml has no data there",
        hint=f"run git in {quote(root.worktree)}, without --git-dir and --work-tree",
    )


def _in_index(session: Session, staged: Staged, files: Sequence[str] | None) -> list[str] | None:
    """Files that were named, or lie in a directory that was, from the top of the working tree; None where none were."""
    if not files:
        return None
    here = session.directory.resolve()
    found: dict[str, None] = {}
    for name in files:
        full = Path(os.path.normpath(here / name))
        # The directory may be named through a link; the file itself may be one, and is what Git has.
        path = os.path.relpath(full.parent.resolve() / full.name, staged.root.cwd)
        below = [path] if path in staged.index else staged.index.below("" if path == "." else path)
        found |= dict.fromkeys(below or [path])
        if not below:
            if name.startswith("-"):
                raise UsageError(f"{quote(name)} is no option, and no file in Git's index", hint="vml hook --help")
            session.warn(f"{quote(path)} is not in Git's index", hint="git add comes first")
    return list(found)


def _end(session: Session, verdicts: Collection[Verdict]) -> None:
    """Say what was found; Blocked if something ends the commit."""
    errors = [error for each in verdicts for error in each.errors]
    _tell(session, verdicts, errors[:-1])
    if errors:
        message, hint = errors[-1]
        raise Blocked(message, hint=hint)
    session.note(f"vml: {', '.join(each.fine for each in verdicts)}")


def _tell(session: Session, verdicts: Iterable[Verdict], errors: Iterable[tuple[str, str]]) -> None:
    for note in (note for each in verdicts for note in each.notes):
        session.note(f"note: {note}")
    for message, hint in errors:
        session.error(message, hint)


# ---------------------------------------------------------------------- pushes

# What is done with the data of one project; commands that it names are to be typed there.
_Act = Callable[[Data, Typed], None]


@app.command("push")
def push(ctx: typer.Context) -> None:
    """Send the data of the commits that are pushed; by hand, that of HEAD. (pre-commit framework)

    \b
    Examples:
      vml hook push
    """
    _pushed(ctx.obj, ("push",), lambda root: updates.of_framework(root, ctx.obj.env), _send(ctx.obj))


@app.command("pre-push")
def pre_push(
    ctx: typer.Context,
    remote: Annotated[str, typer.Argument(metavar="NAME", help="Git's name of the other repository.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it is.")],
) -> None:
    """Send the data of the commits that are pushed, which Git tells on stdin. (Git)"""
    _pushed(
        ctx.obj,
        ("push", "pre-push"),
        lambda root: updates.of_hook(remote, url, sys.stdin.buffer.read()),
        _send(ctx.obj),
    )


@app.command("verify-remote")
def verify_remote(ctx: typer.Context) -> None:
    """Look whether the data of the commits that are pushed, or of HEAD, is on the remote. (pre-commit framework)

    No data moves. Exit code 1: something is not there.

    \b
    Examples:
      vml hook verify-remote
    """
    session: Session = ctx.obj
    _pushed(
        session,
        ("verify-remote",),
        lambda root: updates.of_framework(root, session.env),
        lambda data, typed: pushing.verify(data, typed, note=_noting(session), warn=session.warn),
    )


def _send(session: Session) -> _Act:
    return lambda data, typed: pushing.send(
        data, typed, note=_noting(session), warn=session.warn, show=session.progress
    )


def _pushed(session: Session, names: tuple[str, ...], told: Callable[[GitRoot], Push | None], act: _Act) -> None:
    if _is_skipped(session, *names):
        return
    with naming_the_way_past(names[0], "git push"):
        root = projects.calling(session.directory, session.env)
        if root is None:
            raise UserError(f"{quote(session.directory)} is not in a repository of Git", hint="cd to one")
        push = told(root)
        doubts: list[str] = []

        def doubt(text: str, hint: str | None) -> None:
            doubts.append(text)
            session.warn(text, hint)

        if push is not None:
            found = pushing.of_push(root, session.env, push, doubt)
            _each(session, found, Typed(root, session.env), act)
    if push is None:  # by hand
        found = pushing.of_head(root, session.env)
        here = os.path.relpath(session.directory.resolve(), root.cwd)
        _each(session, found, Typed(root, {"GIT_PREFIX": here}), act)
    if not found and not doubts:
        _noting(session)(pushing.NOTHING)


def _each(session: Session, found: Iterable[Data], typed: Typed, act: _Act) -> None:
    """For the data of every project, whatever is wrong with that of another; what is wrong is raised at the end."""
    errors: list[VmlError] = []
    for data in found:
        try:
            act(data, typed)
        except VmlError as error:
            errors.append(error)
    for each in errors[:-1]:
        session.error(each.message, each.hint)
    if errors:
        raise errors[-1]


# ---------------------------------------------------------------------- what comes after a checkout, merge or rebase


@app.command("checkout")
def checkout(ctx: typer.Context) -> None:
    """Bring the data that a checkout, merge or rebase changed, from the local store. (pre-commit framework)

    \b
    Examples:
      vml hook checkout
    """
    _moved(ctx.obj, "checkout", lambda root: moves.of_framework(root, ctx.obj.env))


@app.command("post-checkout")
def post_checkout(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The commit before.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The commit now.")],
    kind: Annotated[str, typer.Argument(metavar="FLAG", help="1 for a branch, 0 for files.")],
) -> None:
    """Bring the data in which two commits differ, from the local store. (Git)"""
    _moved(ctx.obj, "post-checkout", lambda root: moves.of_checkout(root, old, new, kind))


@app.command("post-merge")
def post_merge(
    ctx: typer.Context,
    squash: Annotated[str, typer.Argument(metavar="FLAG", help="1 for a squash merge.")] = "0",
) -> None:
    """Bring the data that a merge changed, from the local store. (Git)"""
    _moved(ctx.obj, "post-merge", lambda root: moves.of_merge(root, squash))


@app.command("post-rewrite")
def post_rewrite(
    ctx: typer.Context,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="amend or rebase.")],
) -> None:
    """Bring the data that a rebase changed, from the local store. (Git)"""
    _moved(ctx.obj, "post-rewrite", lambda root: moves.of_rewrite(root, command))


def _moved(session: Session, name: str, told: Callable[[GitRoot], Move | None]) -> None:
    """Never fails: what went wrong is a warning."""
    root = projects.calling(session.directory, session.env)
    if root is None or root.worktree is None or _is_skipped(session, "checkout", name):
        return
    if not projects.is_worked_on(root, session.directory, session.env):
        error = _no_working_tree(session, root)
        session.warn(f"no data was checked out: {error.message}", error.hint)
        return
    note = _noting(session)
    try:
        if (move := told(root)) is not None:
            checking.follow(
                root, session.env, move, note=note, warn=session.warn, show=lambda: session.progress("checking out")
            )
    except VmlError as error:
        session.warn(error.message, error.hint)
    except OSError as error:
        session.warn(f"no data was checked out: {error}", "vml checkout does it later")


def _noting(session: Session) -> Callable[[str], None]:
    """Messages among those of Git say whose they are."""
    return lambda text: session.note(f"vml: {text}")
