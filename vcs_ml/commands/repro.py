"""`vml repro`: brings stages up to date."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vcs_ml import fs, output
from vcs_ml.errors import UsageError
from vcs_ml.options import Json
from vcs_ml.pipeline import forecast, junit, reproduce, targets
from vcs_ml.pipeline.reproduce import Choice, Report, Result, Voice
from vcs_ml.pipeline.scheduler import Row
from vcs_ml.pipeline.turn import Options
from vcs_ml.progress import SILENT
from vcs_ml.session import Session
from vcs_ml.workspace import opening, recorded
from vcs_ml.workspace.project import Project

_SHOWN = 10
_WORDS = {
    "ran": "ran",
    "cached": "cached",
    "skipped": "up to date",
    "frozen": "frozen",
    "failed": "failed",
    "stopped": "stopped",
    "not run": "not run",
}

# Options of `dvc repro` that are not needed here.
_ELSEWHERE = {
    ("-p", "--pipeline"): "vml repro STAGE brings it up to date with all that it needs",
    ("-P", "--all-pipelines"): "vml repro means all stages of the project",
    ("-R", "--recursive"): "vml repro DIR means all stages below it",
    ("-i", "--interactive"): "vml repro --dry says what would run, vml repro STAGE runs only that",
    ("-m", "--metrics"): "vml metrics show prints them after vml repro",
    ("--glob",): "patterns need no option: vml repro 'train*'",
    ("--allow-missing",): "vml repro --pull fetches what is missing; vml status needs no data to compare stages",
    ("--force-downstream",): "vml repro --force --downstream STAGE",
    ("--ignore-errors",): "vml repro --keep-going",
}

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class _Command(TyperCommand):
    """`repro`, which knows how others call what it does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for word in args[: args.index("--")] if "--" in args else args:
            for names, hint in _ELSEWHERE.items():
                if word in names:
                    raise UsageError(f"vml repro has no {word}", hint=hint)
        return super().parse_args(ctx, args)


@app.command(cls=_Command)
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
    json: Json = False,
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
        option = "--single-item" if single_item else "--downstream"
        raise UsageError(f"{option} of which stage?", hint=f"vml repro {option} STAGE")
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    start = os.path.relpath(session.directory.resolve(), project.root)
    choice = Choice(stages or (), "" if start == "." else start, alone=single_item, downstream=downstream)
    options = Options(force=force, run_cache=not no_run_cache, commit=not no_commit, explain=explain, pull=pull)
    flags = {
        f"--jobs={jobs}": jobs > 1,
        "--force": force,
        "--keep-going": keep_going,
        "--single-item": single_item,
        "--downstream": downstream,
        "--pull": pull,
        "--no-run-cache": no_run_cache,
        "--no-commit": no_commit,
    }
    again = shlex.join(["vml", "repro", *(flag for flag, given in flags.items() if given), *(stages or ())])
    if junit_file is not None:
        junit.refuse_place(project, *reproduce.opened(project), session.directory / junit_file)
    if dry:
        report = forecast.forecast(project, store, choice, options, env=session.env, meter=SILENT, say=session.note)
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
            stopped=lambda results: _sum_up(session, results, again, errors=True),
        )
    if junit_file is not None:
        _write_junit(session.directory / junit_file, report)
    if json:
        session.json(_as_json(report, dry=dry))
    elif dry or not _ran_nothing(report):
        _show(session, report, every=explain or dry, skipped=explain)
        if not report.results and not report.off:
            _, graph = reproduce.opened(project)
            session.note(targets.none_left(graph) or "there are no stages: vml stage add makes one")
    for path in report.differing:
        name = output.word(path)
        session.warn(f"{name} differs from {output.quote(path + '.vml')}", f"vml commit {name} records what was used")
    if len(report.errors) > 1:
        for error in list(report.errors.values())[:_SHOWN]:
            session.warn(error.message, error.hint)
        if len(report.errors) > _SHOWN:
            session.warn(f"{len(report.errors) - _SHOWN} more stages have failed")
    if report.errors and not dry:
        if _ran_nothing(report):
            session.note(f"nothing was run; once that is mended: {again}")
        else:
            _sum_up(session, report.results, again)
    if final := reproduce.final_error(report):
        raise final
    if not json and (command := recorded.for_git(project, session.directory)):
        session.note(f"to record this in Git: {command}")


def _write_junit(path: Path, report: Report) -> None:
    logs = {each.name: each.log for each in report.results if each.log}
    rows = [Row(each.name, each.state, each.seconds, each.why) for each in report.results]  # type: ignore[arg-type]
    fs.write_output(path, junit.render(rows, logs=logs))


def _as_json(report: Report, *, dry: bool) -> dict[str, object]:
    return {
        "schema": 1,
        "dry_run": dry,
        "stages": [each.as_json() for each in report.results],
        "differing": report.differing,
    }


def _show(session: Session, report: Report, *, every: bool, skipped: bool) -> None:
    """The table; with `every` reason, and also those that were `skipped` where something is to be said of them."""
    rows = [each for each in report.results if each.state != "skipped" or (each.why and skipped)]
    if rows:
        whys = [map(str, each.reasons) if every and each.reasons else [each.why] for each in rows]
        cells = [
            (each.name, each.state, f"{each.seconds:.1f}", "\n".join(map(output.line, why)))
            for each, why in zip(rows, whys, strict=True)
        ]
        session.out(output.table(cells, ("stage", "state", "seconds", "why"), align="llrl"))
    same = len(report.results) - len(rows)
    for name in report.off:
        session.note(f"{output.quote(name)}: skipped, its `if` is false")
    if same:
        session.note(f"{output.count(same, 'stage')} up to date")


def _ran_nothing(report: Report) -> bool:
    """Whether what was wrong from the start kept all stages from running."""
    return bool(report.early) and all(each.state in ("failed", "not run") for each in report.results)


def _sum_up(session: Session, results: Sequence[Result], again: str, *, errors: bool = False) -> None:
    """How many stages came to what, which did not run, and how to go on; with `errors`, also what failed."""
    states = [each.state for each in results]
    counts = [(states.count(state), words) for state, words in _WORDS.items()]
    session.note(f"of {output.count(len(results), 'stage')}: {', '.join(f'{n:,} {words}' for n, words in counts if n)}")
    for each in results:
        if each.state == "stopped" or (errors and each.state == "failed"):
            where = f", its output is in {output.quote(each.log)}" if each.log else ""
            session.note(f"  {each.state}: {output.quote(each.name)}{f' ({each.why})' if each.why else ''}{where}")
    left: dict[str, list[str]] = {}
    for each in results:
        if each.state == "not run":
            left.setdefault(each.why, []).append(output.quote(each.name))
    for why, names in left.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        session.note(f"  not run{f' ({why})' if why else ''}: {', '.join(names[:_SHOWN])}{more}")
    session.note(f"to go on: {again}")
