"""`vml hook`: what Git's hooks and the pre-commit framework call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from vcs_ml.errors import VmlError
from vcs_ml.git import GitRoot
from vcs_ml.hooks import checkout as checking
from vcs_ml.hooks import moves, projects, updates
from vcs_ml.hooks import push as pushing
from vcs_ml.hooks.moves import Move
from vcs_ml.hooks.push import Data
from vcs_ml.hooks.skip import is_skipped, naming_the_way_past
from vcs_ml.hooks.updates import Push
from vcs_ml.session import Session

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="What Git's hooks call. `vml install` puts them in place; VML_SKIP_HOOKS=1, or names of hooks, skips them.",
)

# ---------------------------------------------------------------------- pushes


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
        lambda data: pushing.verify(data, note=_noting(session), warn=session.warn),
    )


def _send(session: Session) -> Callable[[Data], None]:
    return lambda data: pushing.send(data, note=_noting(session), warn=session.warn, show=session.progress)


def _pushed(
    session: Session, names: tuple[str, ...], told: Callable[[GitRoot], Push | None], act: Callable[[Data], None]
) -> None:
    root = projects.repository(session.directory)
    if root is None or is_skipped(session.env, *names):
        return
    with naming_the_way_past(names[0], "git push"):
        push = told(root)
        if push is not None:
            found = pushing.of_push(root, session.env, push, session.warn)
            for data in found:
                act(data)
    if push is None:  # by hand
        found = pushing.of_head(root, session.env)
        for data in found:
            act(data)
    if not found:
        _noting(session)(pushing.NOTHING)


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
    root = projects.repository(session.directory)
    if root is None or root.worktree is None or is_skipped(session.env, "checkout", name):
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
