"""`vml install`: puts Git's hooks and the merge driver in place, or the configuration of the pre-commit framework."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from vcs_ml import fs, regular
from vcs_ml.errors import UserError
from vcs_ml.git import GitRoot
from vcs_ml.hooks import framework, native, projects
from vcs_ml.hooks.native import Done, Place
from vcs_ml.options import Json
from vcs_ml.output import quote
from vcs_ml.session import Session
from vcs_ml.workspace import attributes

_SIZE_MAX: Final = 10_000_000

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_WORDS = {"installed": "installed", "updated": "brought up to date", "unchanged": "there already", "removed": "removed"}


@app.command()
def install(
    ctx: typer.Context,
    pre_commit: Annotated[bool, typer.Option("--pre-commit", help=f"Write {framework.NAME} instead of hooks.")] = False,
    json: Json = False,
) -> None:
    """Let Git run vml: before a commit and a push, after a checkout, merge and rebase; and in merges of pointers.

    A hook that is there already runs first. The hooks serve all projects of the repository, and all its worktrees.
    Run it again after an update of vml, or to see that all is in place.

    With --pre-commit, the hooks are written into the configuration of the pre-commit framework, which installs them.

    \b
    Examples:
      vml install
      vml install --pre-commit
      VML_SKIP_HOOKS=push git push  (goes past a hook, once)
    """
    session: Session = ctx.obj
    every = projects.around_or_below(session.directory, session.env)
    root = next(iter(every.values())).git
    shown: dict[str, Any] = {"schema": 1}
    # First, so that merges are safe also where hooks cannot be installed.
    changed = sorted(each.in_git(path) for each in every.values() for path in attributes.install(each))
    if changed:
        session.note(f"merges of pointers and lock files: {', '.join(map(quote, changed))} written; git add it")
    if pre_commit:
        shown |= _configure(session, root)
    elif native.are_called_by_husky(root):
        session.note("the hooks that husky runs call vml: there is nothing to put in place")
    else:
        where, done = native.install(root)
        _say(session, where, done)
        shown |= {"directory": str(where.directory), "shared": where.shared, "chained": where.chained}
        shown["hooks"] = [each.as_json() for each in done]
    if json:
        session.json({**shown, "written": [*shown.pop("written", []), *changed]})


def _say(session: Session, where: Place, done: list[Done]) -> None:
    session.note(f"hooks in {quote(where.directory)}:")
    for each in done:
        session.note(f"  {describe(each)}")
    if where.shared:
        session.note("this directory lies in the working tree: commit it, and colleagues have the hooks, too")
    if where.chained is not None:
        session.note(f"core.hooksPath leads there in this repository; the hooks in {quote(where.chained)} run first")


def describe(each: Done) -> str:
    """One line on what became of a hook."""
    text = f"{each.name}: {_WORDS[each.state]}"
    if each.before is None:
        return text
    of = f" (of {each.of})" if each.of else ""
    if each.state == "removed":
        return f"{text}; what was there before is back{of}"
    return f"{text}; {quote(each.before)}{of} runs first"


def _configure(session: Session, root: GitRoot) -> dict[str, Any]:
    path = root.cwd / framework.NAME
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{quote(path)} is a link, and vml does not write through it", hint="replace it by a file")
    before = regular.read(path, _SIZE_MAX)
    edited = framework.with_ours(before or b"")
    is_new = edited.raw != before
    if is_new:
        fs.write_atomic(path, edited.raw, mode=None if before is None else path.stat().st_mode & 0o777)
    session.note(f"{framework.NAME}: {'written' if is_new else 'names this version already'}")
    command = f"pre-commit install{''.join(f' -t {name}' for name in edited.lacking)}"
    session.note(f"next: git add {framework.NAME} && {command}")
    if ours := native.present(root):
        session.note(f"the hooks {', '.join(ours)} of vml install do the same: vml uninstall takes them out")
    return {"next": command, "written": [framework.NAME] if is_new else []}
