"""`vml report`: what a reviewer of a pull request wants to know, as one text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from vcs_ml import fs, output
from vcs_ml.errors import UsageError, VmlError
from vcs_ml.metrics.table import PRECISION
from vcs_ml.options import Fetch, Precision
from vcs_ml.report import collect, earlier, forge, junit, markdown, openmetrics, page, record, sides
from vcs_ml.report.collect import Job
from vcs_ml.report.model import TITLE, Report
from vcs_ml.report.outcome import NotPosted
from vcs_ml.session import Session
from vcs_ml.workspace import opening, overwrite
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Format = Literal["md", "html", "json", "junit", "openmetrics"]
Forge = Literal["github", "gitlab"]

_SUFFIXES: Final[dict[str, Format]] = {
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".xml": "junit",
    ".prom": "openmetrics",
}


@app.command()
def report(
    ctx: typer.Context,
    base: Annotated[
        str | None, typer.Argument(metavar="[BASE]", help="The older revision (default: where HEAD left its target).")
    ] = None,
    head: Annotated[
        str | None, typer.Argument(metavar="[HEAD]", help="The newer one (default: the workspace; in CI: HEAD).")
    ] = None,
    *,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="What to write (default: as FILE ends - .html .json .xml .prom - else md)."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there (default: - for standard output)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With -o: replace a file that is no report.")] = False,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="Exit with 1 if a gate fails.")] = True,
    rows: Annotated[bool, typer.Option("--rows/--no-rows", help="Compare the rows of changed tables.")] = True,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="COLUMN", help="Rows with the same are one row, in tables that have it."),
    ] = None,
    precision: Precision = PRECISION,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="What stands above it.")] = TITLE,
    fetch: Fetch = False,
    post: Annotated[
        Forge | None, typer.Option("--post", help="Comment on the pull request that this CI job runs for.")
    ] = None,
    post_key: Annotated[
        str, typer.Option("--post-key", metavar="KEY", help="Keep the comments of several reports apart.")
    ] = "",
    post_file: Annotated[
        Path | None, typer.Option("--post-file", metavar="FILE", help="Post this report; compare nothing.")
    ] = None,
) -> None:
    """Report what changed between two revisions: gates, metrics, params, data, stages. Nothing is checked out or run.

    Without BASE, it is the commit at which HEAD left the branch of the pull request, as far as a CI system names it,
    or else the default branch; on that branch itself, the commit before. Without HEAD, it is the workspace, but the
    commit HEAD in CI. `workspace` names the workspace there, too. `A..B` alone is both.

    \b
    Examples:
      vml report
      vml report main feature --format html -o report.html
      vml report v1.0 HEAD --format json --no-gate
      vml report --post github
    """
    session: Session = ctx.obj
    if post_file is not None:
        if post is None or base is not None:
            raise UsageError("--post-file takes --post, and no revisions", hint="--post github --post-file FILE")
        _post(session, post, post_key, forge.read(session.directory / post_file))
        return
    if key and not rows:
        raise UsageError("--key belongs to --rows", hint=f"vml report --key {key[0]}")
    project = Project.find(session.directory, session.env)
    place = session.directory / file if file is not None and str(file) != "-" else None
    if place is not None:
        hint = "name another file: -o vml-report.md"
        overwrite.refuse_other(project, place, earlier.BEGINNING, "report", hint=hint, force=force)
        form = form or _SUFFIXES.get(place.suffix.lower())
    older, newer = sides.both(project.git, session.env, base, head)
    store = opening.open_store(project, session.note)
    with session.progress("comparing") as meter:
        job = Job(
            project, store, older, newer, session.env, meter, session.progress if fetch else None, rows, key or ()
        )
        found = collect.collect(job, title)
    text = markdown.write(found, precision=precision)
    failed: OSError | VmlError | None = None
    try:
        if place is not None:
            fs.write_output(place, _written(found, text, form, precision, job))
        elif form == "json":
            session.json(record.write(found, store.algorithm))
        else:
            shown = output.inert(text, session.env)
            session.data(_written(found, shown, form, precision, job))
    except (OSError, VmlError) as error:  # who reads the summary and the comment is another one
        failed = error
    forge.summary(text, session.env, session.warn)
    if post is not None:
        _post(session, post, post_key, text)
    if failed is not None:
        raise failed
    if gate and not found.passed:
        raise typer.Exit(1)


def _post(session: Session, kind: Forge, key: str, text: str) -> None:
    try:
        posted = forge.post(kind, text, session.env, key=key)
    except NotPosted as error:
        session.warn(f"nothing was posted: {error.message}", error.hint)
    else:
        session.note(f"comment {posted.action}: {output.one_line(posted.url)}")


def _written(found: Report, text: str, form: Format | None, precision: int, job: Job) -> bytes:
    match form:
        case None | "md":
            return text.encode()
        case "html":
            return page.write(found, precision=precision).encode()
        case "json":
            shown = output.json_text(record.write(found, job.store.algorithm)) + "\n"
            return shown.encode("utf-8", "backslashreplace")
        case "junit":
            return junit.write(found)
        case "openmetrics":
            return openmetrics.write(found).encode()
