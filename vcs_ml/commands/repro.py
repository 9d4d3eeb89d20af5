"""`vml repro`: brings stages up to date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from vcs_ml import fs, output
from vcs_ml.errors import UsageError
from vcs_ml.pipeline import junit, reproduce
from vcs_ml.pipeline.reproduce import Choice, Report, Voice
from vcs_ml.pipeline.scheduler import Row
from vcs_ml.pipeline.turn import Options
from vcs_ml.progress import SILENT
from vcs_ml.session import Session
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def repro(
    ctx: typer.Context,
    stages: Annotated[
        list[str] | None, typer.Argument(metavar="[STAGE...]", help="Only these, with what they need.")
    ] = None,
    *,
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Stages that run at a time.")] = 1,
    force: Annotated[bool, typer.Option("--force", "-f", help="Run them also where nothing changed.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Say what would run, and why; write nothing.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Give every reason, not only the first.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", "-k", help="After a failure, run what does not need it.")
    ] = False,
    single_item: Annotated[bool, typer.Option("--single-item", "-s", help="Only these, not what they need.")] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="These and what needs them.")] = False,
    pull: Annotated[bool, typer.Option("--pull", help="Fetch what is missing from the default remote.")] = False,
    no_run_cache: Annotated[
        bool, typer.Option("--no-run-cache", help="Do not use what earlier runs made, nor keep this for later.")
    ] = False,
    no_commit: Annotated[bool, typer.Option("--no-commit", help="Run, but record nothing.")] = False,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write the outcome as JUnit XML.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Bring stages up to date: run those of which something changed, after what they need.

    A stage whose command, deps, params and variables are those of an earlier run is not run: its outputs come from
    the local store. What commands write goes to stderr, and to .vml/logs.

    \b
    Examples:
      vml repro
      vml repro train -j 4
      vml repro --dry --explain
      vml repro --downstream features
    """
    if single_item and downstream:
        raise UsageError("--single-item and --downstream exclude each other", hint="vml repro --help")
    if (single_item or downstream) and not stages:
        raise UsageError("of which stage?", hint="vml repro --downstream STAGE")
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    start = os.path.relpath(session.directory.resolve(), project.root)
    choice = Choice(stages or (), "" if start == "." else start, alone=single_item, downstream=downstream)
    options = Options(force=force, run_cache=not no_run_cache, commit=not no_commit, explain=explain, pull=pull)
    if dry:
        report = reproduce.forecast(project, store, choice, options, env=session.env, meter=SILENT)
    else:
        report = reproduce.run(
            project,
            store,
            choice,
            options,
            env=session.env,
            voice=Voice(session.note, session.live, session.progress, SILENT),
            jobs=jobs,
            keep_going=keep_going,
        )
    if junit_file is not None:
        _write_junit(session.directory / junit_file, report)
    if json:
        session.json(_as_json(report, dry=dry))
    else:
        _show(session, report, explain=explain)
    for path in report.differing:
        name = output.quote(path)
        session.warn(f"{name} differs from {output.quote(path + '.vml')}", f"vml commit {name} records what was used")
    if len(report.errors) > 1:
        for error in report.errors.values():
            session.warn(error.message, error.hint)
    if final := reproduce.final_error(report):
        raise final


def _write_junit(path: Path, report: Report) -> None:
    logs = {each.name: each.log for each in report.results if each.log}
    rows = [Row(each.name, each.state, each.seconds, each.why) for each in report.results]  # type: ignore[arg-type]
    fs.write_named(path, junit.render(rows, logs=logs))


def _as_json(report: Report, *, dry: bool) -> dict[str, object]:
    return {
        "schema": 1,
        "dry_run": dry,
        "stages": [each.as_json() for each in report.results],
        "differing": report.differing,
    }


def _show(session: Session, report: Report, *, explain: bool) -> None:
    rows = [each for each in report.results if each.state != "skipped" or (each.why and explain)]
    if rows:
        cells = [
            (each.name, each.state, f"{each.seconds:.1f}", "; ".join(map(str, each.reasons)) if explain else each.why)
            for each in rows
        ]
        session.out(output.table(cells, ("stage", "state", "seconds", "why"), align="llrl"))
    same = len(report.results) - len(rows)
    if not report.results:
        session.note("there are no stages: vml stage add makes one")
    elif same:
        session.note(f"{output.count(same, 'stage')} up to date")
