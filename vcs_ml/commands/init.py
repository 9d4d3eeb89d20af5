"""`vml init`: makes a directory of a Git repository a project."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml import git, hashing
from vcs_ml.output import quote
from vcs_ml.session import Session
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def init(
    ctx: typer.Context,
    hash: Annotated[
        str, typer.Option("--hash", metavar="ALG", help=f"What names the data: {', '.join(hashing.NAMES)}.")
    ] = hashing.DEFAULT,
) -> None:
    """Make the current directory, inside a Git repository, a project.

    The algorithm is fixed here. xxh128 is the fastest and finds accidents; sha256 and blake3 also stand
    against people who want two files to have one name.

    \b
    Examples:
      vml init
      vml init --hash sha256
      vml -C models init
    """
    session: Session = ctx.obj
    project = Project.init(session.directory, session.env, hash)
    made = [".vml/config.toml", ".vml/.gitignore"]
    staged = project.config.autostage
    if staged:
        git.stage(project.git, [project.in_git(path) for path in made])
    add = "" if staged else f"  git add {' '.join(made)}\n"
    session.note(
        f"made {quote(project.root)} a vml project\n\nnext:\n{add}"
        '  git commit -m "vml init"\n  vml add DATA\n  vml remote add -d NAME URL'
    )
