"""`vml uninstall`: takes Git's hooks and the merge driver out again."""

from __future__ import annotations

import typer

from vcs_ml.hooks import native, projects
from vcs_ml.hooks.native import Done
from vcs_ml.options import Json
from vcs_ml.output import quote
from vcs_ml.session import Session
from vcs_ml.workspace import attributes

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def uninstall(
    ctx: typer.Context,
    json: Json = False,
) -> None:
    """Undo vml install: hooks that were there before are back, those of others stay.

    An entry in .pre-commit-config.yaml stays, too: it is a line of yours.

    \b
    Examples:
      vml uninstall
    """
    session: Session = ctx.obj
    every = projects.around_or_below(session.directory, session.env)
    root = next(iter(every.values())).git
    changed = sorted(each.in_git(path) for each in every.values() for path in attributes.uninstall(each))
    done, left = native.uninstall(root)
    for each in done:
        session.note(_describe(each))
    for path in left:
        session.warn(f"{quote(path)} is not of vml, and Git does not look there any more", "move it to .git/hooks")
    if calls := native.called_by_husky(root):
        session.warn(f"the hooks in .husky still call vml ({', '.join(calls)})", "take the lines with `vml hook` out")
    if changed:
        session.note(f"merges of pointers and lock files: taken out of {', '.join(map(quote, changed))}; git add it")
    if not done and not changed:
        session.note("nothing to do: no hook of vml was here")
    if json:
        session.json({"schema": 1, "hooks": [each.as_json() for each in done], "written": changed})


def _describe(each: Done) -> str:
    if each.before is None:
        return f"{each.name}: removed"
    return f"{each.name}: removed; what was there before is back{f' (of {each.of})' if each.of else ''}"
