"""`vml get`: downloads data of another repository, without a project here."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from vcs_ml import foreign, output
from vcs_ml.errors import UsageError
from vcs_ml.options import Jobs, Json
from vcs_ml.session import Session
from vcs_ml.workspace import elsewhere, export, place, sync

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def get(
    ctx: typer.Context,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="A directory, or a URL that Git can clone.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="From the repository's top.")],
    *,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="OUT", help="Write there, or into it.")] = None,
    rev: Annotated[str | None, typer.Option("--rev", metavar="REV", help="As of this commit.")] = None,
    remote: Annotated[
        str | None, typer.Option("--remote", "-r", metavar="NAME|URL", help="Not its default one.")
    ] = None,
    jobs: Jobs = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")] = False,
    json: Json = False,
) -> None:
    """Download a tracked file or directory, or a part of one, from another Git repository.

    Nothing is needed here, no repository and no project, and nothing else is left behind.

    \b
    Examples:
      vml get https://example.org/team/fruit.git photos
      vml get git@example.org:team/fruit photos/apple -o apples --rev v1.0
      vml get ../fruit labels.csv
      vml get URL photos -r https://data.example.org/fruit
    """
    session: Session = ctx.obj
    for name, value in (("REPO", repo), ("--out", out), ("--rev", rev), ("--remote", remote)):
        if value == "":
            raise UsageError(f"{name} is empty", hint="vml get --help")
    wanted = elsewhere.normal(path)
    target = place.find(out, wanted, session.directory, force=force)
    with place.scratch_beside(target) as scratch:
        there = foreign.find(repo, rev, directory=session.directory, scratch=scratch / "git")
        session.debug(f"{there.name} at {there.rev}: commit {there.commit}")
        found = elsewhere.find(there, wanted, session.env)
        done = export.export(
            there,
            found,
            target,
            scratch=scratch,
            directory=session.directory,
            remote=remote,
            jobs=jobs,
            show=session.progress,
            force=force,
        )
    shown = str(target) if os.path.isabs(out or "") else os.path.relpath(target, session.directory)
    if json:
        session.json(
            {
                "schema": 1,
                "repo": there.name,
                "commit": there.commit,
                "path": wanted,
                "out": shown,
                "fetched": done.moved.as_json(),
                "written": done.written,
                "bytes": done.bytes,
                "left_out": found.left_out,
            }
        )
        return
    if found.left_out:
        more = f", and {output.count(len(found.left_out) - 1, 'more path')}" if len(found.left_out) > 1 else ""
        session.note(
            f"left out, being optional or on no remote: {output.quote(found.left_out[0])}{more} (to be named itself)"
        )
    got = f"fetched {sync.summary(done.moved, sent=False)}, " if done.moved.objects else ""
    wrote = f"{output.count(done.written, 'file')} written ({output.size(done.bytes)})"
    session.note(f"{output.quote(shown)}: {got}{wrote}")
