"""`vml doctor`: looks whether everything is as vml needs it, and says what a bug report should say."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from vcs_ml import output
from vcs_ml.hooks import health as hooks
from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.workspace import health
from vcs_ml.workspace.finding import Finding

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@app.command()
def doctor(
    ctx: typer.Context,
    remote: Annotated[
        str | None, typer.Option("--remote", metavar="[NAME]", help="Ask this remote (all), used before or not.")
    ] = None,
    json: Json = False,
) -> None:
    """Look at the installation, the project, its store, file systems, remotes and hooks. Exit code 1: a problem.

    A remote is asked only if it was used from here before, or with --remote.

    \b
    Examples:
      vml doctor
      vml doctor --remote storage
      vml doctor --json > report.json
    """
    session: Session = ctx.obj
    found = []
    everything = health.check(session.directory, session.env, remote=remote)
    for finding in itertools.chain(everything, hooks.check(session.directory, session.env)):
        found.append(finding)
        if not json and (finding.level == "problem" or not session.quiet):
            _print(session, finding)
    healthy = all(each.level != "problem" for each in found)
    if json:
        session.json({"schema": 1, "healthy": healthy, "findings": [each.as_json() for each in found]})
    if not healthy:
        raise typer.Exit(1)


def _print(session: Session, finding: Finding) -> None:
    label = output.paint(f"{finding.level:<8}", _COLOURS[finding.level], on=session.colour)
    session.out(f"{label} {finding.what}: {finding.text}")
    if finding.hint:
        session.out(f"         hint: {finding.hint}")
