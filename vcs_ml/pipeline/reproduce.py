"""Reproducing a pipeline: which stages have their turn, in which order, and what became of each."""

from __future__ import annotations

import datetime
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from vcs_ml import git
from vcs_ml.errors import UserError, VmlError
from vcs_ml.output import quote
from vcs_ml.pipeline import graph as graphs
from vcs_ml.pipeline import lacking, look, missing, open, outputs, scheduler, signature, targets, turn
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.groups import Groups
from vcs_ml.pipeline.ignored import Ignored
from vcs_ml.pipeline.ledger import Ledger
from vcs_ml.pipeline.look import Look
from vcs_ml.pipeline.scheduler import Outcome, Resources, Row
from vcs_ml.pipeline.signature import Reader, Reason
from vcs_ml.pipeline.stage import Stage
from vcs_ml.pipeline.transcript import log_name
from vcs_ml.pipeline.turn import Options, Run
from vcs_ml.progress import Meter
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import opening, tracked
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sources import Overlap
from vcs_ml.workspace.tracked import Survey

KEPT: Final = 20  # runs whose logs are kept


class Choice(NamedTuple):
    """Which stages are meant: `names` as in targets.find, seen from the directory `start`; none: all.

    With them goes what they need; or, `downstream`, what needs them; or, `alone`, nothing.
    """

    names: Sequence[str] = ()
    start: str = ""
    alone: bool = False
    downstream: bool = False


class Result(NamedTuple):
    """What became of a stage. `state` is that of a scheduler.Row, or of a dry run: would run, may run, would be cached.

    `log` is there if its command ran.
    """

    name: str
    state: str
    seconds: float
    why: str
    reasons: Sequence[Reason] = ()
    log: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "name": self.name,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "why": self.why,
            "reasons": [each.as_json() for each in self.reasons],
            "log": str(self.log) if self.log else None,
        }


class Report(NamedTuple):
    """What a run came to: each stage, data that is not what its pointer says (by path), and what went wrong."""

    results: list[Result]
    differing: list[str]
    errors: Mapping[str, VmlError]


class Voice(NamedTuple):
    """Where the words go: lines of ours, what commands write, and a progress line for transfers."""

    say: Callable[[str], None]
    write: Callable[[bytes], None]
    show: Callable[[str], Any]
    meter: Meter


def choose(graph: Graph, choice: Choice) -> list[str]:
    """The stages that are meant, each after what it needs. UserError for what is no stage."""
    if not choice.names:
        return list(graph.order)
    named = {each for name in choice.names for each in targets.find(graph, name, choice.start)}
    if choice.alone:
        return [each for each in graph.order if each in named]
    return (graphs.descendants if choice.downstream else graphs.ancestors)(graph, named)


def run(
    project: Project,
    store: LocalStore,
    choice: Choice,
    options: Options,
    *,
    env: Mapping[str, str],
    voice: Voice,
    jobs: int = 1,
    keep_going: bool = False,
) -> Report:
    """Bring these stages up to date, `jobs` at a time.

    What was wrong with a stage is in the report; the stages that need it did not run, and without `keep_going` no
    other. UserError for a vml.yaml or vml.lock that cannot be read; KeyboardInterrupt or SystemExit for signals.
    """
    _refuse_inside(project, env)
    pointers, graph = _opened(project, _settled(project, voice.say))
    chosen = choose(graph, choice)
    stages = graph.stages
    voice = _one_at_a_time(voice)
    logs = project.state_dir / "logs" / _name()
    params = signature.Params(project.root)
    differing = _Differing()
    ignored = Ignored(project, (stages[each] for each in chosen if not stages[each].frozen))
    rivals = {number for _, number in graph.outputs.rivals}
    with (
        Groups() as groups,
        Ledger(project, store, pointers, voice.meter, waiting=voice.say, check=groups.check) as ledger,
    ):

        def reader() -> Reader:
            return Reader(ledger.gauge, params, env, project.root)

        @cache
        def in_git() -> set[str]:
            return git.tracked(project.git, [project.in_git(path) for path in _cached_outs(stages, chosen, project)])

        shared = Run(
            project, store, stages, graph.outputs.paths, ledger, env, reader, groups, logs, voice.write, voice.say,
            in_git, options, jobs > 1, ignored, {}, {},
        )  # fmt: skip

        fetcher = missing.Fetcher(shared, voice.show)

        def take(address: str) -> Outcome:
            if options.pull:
                fetcher.fetch(stages[address])
            outcome = turn.take(shared, address)
            if outcome.state != "failed" and graph.numbers[address] in rivals:
                # what it has made was not there when the pipeline was opened
                outputs.refuse_shared(graph.outputs, list(stages.values()), project.root)
            with ledger.open():
                differing.look(stages[address], ledger.gauge)
            return outcome

        def work(address: str) -> Outcome:
            try:
                return take(address)
            except (VmlError, OSError) as error:
                shared.errors[address] = turn.error_of(address, error)
                return Outcome("failed", shared.errors[address].message)

        def done(row: Row) -> None:
            if row.state == "failed" and row.name in shared.errors:
                voice.say(f"{row.name}: failed ({row.why})")

        limits = scheduler.machine(env)
        rows = scheduler.run(
            graphs.waits(graph, chosen),
            work,
            groups=groups,
            slots=jobs,
            needs={each: Resources(*stages[each].resources) for each in chosen},
            mutexes={each: stages[each].mutex for each in chosen if stages[each].mutex},
            # Who asks for N jobs wants N jobs: a stage that says nothing takes one core.
            limits=limits._replace(cpu=max(limits.cpu, jobs)),
            keep_going=keep_going,
            done=done,
        )
        if ignored.told:
            with ledger.open():
                ignored.take_back(ledger.gauge.pointers)
    _drop_old_logs(logs.parent)
    results = [_result(row, shared.reasons.get(row.name, ()), logs) for row in rows]
    return Report(results, differing.found, shared.errors)


def _refuse_inside(project: Project, env: Mapping[str, str]) -> None:
    """UserError in a command of a stage of this project, which would wait for itself."""
    if (stage := env.get("VML_STAGE")) and env.get("VML_ROOT") == str(project.root):
        raise UserError(
            f"vml repro runs inside a command of the stage {quote(stage)}, which it would wait for",
            hint="take it out of cmd: what the command needs from other stages is made first if it is in deps",
        )


def _settled(project: Project, say: Callable[[str], None]) -> Survey:
    """What is in the workspace, once no two stages are recorded with the same output."""
    survey = tracked.survey(project)
    if not survey.broken or not all(isinstance(error, Overlap) for error in survey.broken.values()):
        return survey
    with opening.changing(project, say):
        survey, taken = open.settle(project)
    for each in taken:
        say(f"{quote(each.lock)}: {quote(each.path)} is no longer recorded as the output of {quote(each.maker)}")
    return survey


def _opened(project: Project, survey: Survey) -> tuple[dict[str, Pointer], Graph]:
    if survey.broken:
        raise survey.broken[min(survey.broken)]
    return survey.tracked, open.pipeline(project, survey)[1]


def _one_at_a_time(voice: Voice) -> Voice:
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            voice.say(text)

    def write(data: bytes) -> None:
        with lock:
            voice.write(data)

    return voice._replace(say=say, write=write)


def _cached_outs(stages: Mapping[str, Stage], chosen: Iterable[str], project: Project) -> list[str]:
    expanded = (signature.expanded(stages[each], project.root) for each in chosen)
    return [path for outs in expanded for path, out in outs.items() if out.cache]


class _Differing:
    """Tracked data among the deps of stages that is not what its pointer says."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._seen: set[str] = set()

    def look(self, stage: Stage, gauge: Gauge) -> None:
        for path in () if stage.frozen else stage.deps:
            above = tracked.owner(path, gauge.pointers)
            if above is None or above[0].lock or above[0].path in self._seen:
                continue
            self._seen.add(above[0].path)
            try:
                here = gauge.measure(above[0].path)
            except (UserError, OSError):  # the stage may read another part of it, or has said so
                continue
            if here is not None and (here.oid, here.kind) != (above[0].oid, above[0].kind):
                self.found.append(above[0].path)


def _result(row: Row, reasons: Sequence[Reason], logs: Path) -> Result:
    log = logs / log_name(row.name)
    return Result(row.name, row.state, row.seconds, row.why, reasons, log if log.exists() else None)


# ---------------------------------------------------------------------- what would be done


def forecast(
    project: Project,
    store: LocalStore,
    choice: Choice,
    options: Options,
    *,
    env: Mapping[str, str],
    meter: Meter,
    keep_going: bool = False,
) -> Report:
    """What `run` would do, and why, what would make stages fail included; nothing is written. Errors as there."""
    pointers, graph = _opened(project, tracked.survey(project))
    reader = Reader(Gauge(project, store, pointers, meter), signature.Params(project.root), env, project.root)
    known = LockFiles(project)
    chosen = choose(graph, choice)
    waits = graphs.waits(graph, chosen)
    moving: dict[str, str] = {}  # what will be made anew, or may be
    results: list[Result] = []
    errors: dict[str, VmlError] = {}
    differing = _Differing()

    def foresee(address: str) -> Result:
        stage = graph.stages[address]
        seen = look.look(stage, known, reader, force=options.force)
        above = [each for each in waits[address] if each in moving]
        state = _state(stage, seen, store, options, above)
        if state != "skipped":
            moving[address] = state
        reason = look.why(seen.reasons) or (f"{above[0]} {moving[above[0]]}" if above else "")
        if stage.frozen:
            reason = "frozen"
        elif not above:
            lacking.refuse(stage, seen.now or signature.inputs(stage, reader), reader, graph.outputs.paths)
        return Result(address, state, 0.0, reason, seen.reasons)

    failed: dict[str, str] = {}  # what does not run, and the stage that would fail
    for address in chosen:
        cause = next((failed[each] for each in waits[address] if each in failed), "")
        if cause or (errors and not keep_going):
            failed[address] = cause or next(iter(errors))
            why = f"upstream failed: {cause}" if cause else f"{failed[address]} failed"
            results.append(Result(address, "not run", 0.0, why))
            continue
        try:
            results.append(foresee(address))
        except (VmlError, OSError) as error:
            errors[address], failed[address] = turn.error_of(address, error), address
            results.append(Result(address, "would fail", 0.0, errors[address].message))
        differing.look(graph.stages[address], reader.gauge)
    return Report(results, differing.found, errors)


def _state(stage: Stage, seen: Look, store: LocalStore, options: Options, above: list[str]) -> str:
    if stage.frozen or not (seen.reasons or above):
        return "skipped"
    if not seen.reasons:
        return "may run"
    if not above and options.commit and not options.force:
        for outs in look.candidates(stage, seen, store, earlier_runs=options.run_cache):
            if look.is_here(store, outs):
                return "would be cached"
    return "would run"


# ---------------------------------------------------------------------- logs


def _name() -> str:
    """The name of a run: they sort by time."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z-{os.getpid()}"


def _drop_old_logs(place: Path) -> None:
    """Keep the logs of the last runs."""
    try:
        runs = sorted(entry.name for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in runs[:-KEPT]:
        shutil.rmtree(place / name, ignore_errors=True)


def final_error(report: Report) -> VmlError | None:
    """The error that a run ends with."""
    errors = list(report.errors.values())
    if len(errors) < 2:
        return errors[0] if errors else None
    names = ", ".join(map(quote, report.errors))
    return UserError(f"{len(errors)} stages failed: {names}", hint="what was wrong with each is said above")
