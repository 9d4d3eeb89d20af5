"""Reproducing a pipeline: which stages have their turn, in which order, and what became of each."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from vcs_ml.errors import UserError, VmlError
from vcs_ml.output import quote
from vcs_ml.pipeline import ahead, ignored, look, missing, open, scheduler, signature, targets, turn
from vcs_ml.pipeline import graph as graphs
from vcs_ml.pipeline.ahead import Lacking
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.groups import Groups
from vcs_ml.pipeline.ignored import Ignored
from vcs_ml.pipeline.ledger import Ledger
from vcs_ml.pipeline.scheduler import Outcome, Resources, Row
from vcs_ml.pipeline.signature import Reader, Reason
from vcs_ml.pipeline.stage import Stage
from vcs_ml.pipeline.transcript import drop_old_logs, log_name, run_name
from vcs_ml.pipeline.turn import Options, Run
from vcs_ml.progress import Meter
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import opening, tracked
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.outs import StageKey
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sources import Overlap
from vcs_ml.workspace.tracked import Survey

_DVC: Final = "dvc.yaml"


class Choice(NamedTuple):
    """Which stages are meant: `names` as in targets.find, seen from the directory `start`; none: all.

    With them goes what they need; or, `downstream`, what needs them; or, `alone`, nothing.
    """

    names: Sequence[str] = ()
    start: str = ""
    alone: bool = False
    downstream: bool = False


class Result(NamedTuple):
    """What became of a stage. `state` is that of a scheduler.Row, or stopped: a signal came in its turn; in
    a dry run it begins with would or may.

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
    """What a run came to: each stage, data that is not what its pointer says (by path), and what went wrong.

    `early` are the stages of `errors` with which something was wrong before anything ran, `off` those that were
    named and are switched off.
    """

    results: list[Result]
    differing: list[str]
    errors: Mapping[str, VmlError]
    early: Collection[str] = ()
    off: Sequence[str] = ()


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
    wanted = named(graph, choice)
    if choice.alone:
        return [each for each in graph.order if each in wanted]
    return (graphs.descendants if choice.downstream else graphs.ancestors)(graph, wanted)


def named(graph: Graph, choice: Choice) -> set[str]:
    """The stages that are named themselves. UserError for what is no stage."""
    off = switched_off(graph, choice)
    return {each for name in choice.names if name not in off for each in targets.find(graph, name, choice.start)}


def switched_off(graph: Graph, choice: Choice) -> list[str]:
    """The names of stages that are switched off: there is nothing to do for them."""
    return [name for name in choice.names if targets.is_off(graph, name, choice.start)]


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
    stopped: Callable[[list[Result]], None] | None = None,
) -> Report:
    """Bring these stages up to date, `jobs` at a time.

    What was wrong with a stage is in the report; the stages that need it did not run, and without `keep_going` no
    other: nothing at all where that could be seen before. UserError for a vml.yaml or vml.lock that cannot be read;
    KeyboardInterrupt or SystemExit for signals; `stopped` is told what there was until then.
    """
    _refuse_inside(project, env)
    survey = _settled(project, voice.say)
    pointers, graph = opened(project, survey)
    chosen = choose(graph, choice)
    stages = graph.stages
    files = {stages[each].file for each in chosen} if choice.names else survey.stage_files
    voice = _one_at_a_time(voice)
    logs = project.state_dir / "logs" / run_name()
    course = _Course(graph, chosen, logs, voice.say)
    params = signature.Params(project.root)
    with (
        _telling(course, stopped),
        Groups() as groups,
        Ledger(
            project, store, pointers, voice.meter, waiting=voice.say, check=groups.check, lost=course.lose
        ) as ledger,
    ):

        def reader() -> Reader:
            return Reader(ledger.gauge, params, env, project.root)

        in_git = ignored.in_git(project, (stages[each] for each in chosen))
        with ledger.open():
            for source, name in open.gone(graph, files, ledger.locks) if options.commit else ():
                voice.say(f"{quote(source)}: {quote(name)} is no longer recorded, for it is no stage any more")
                ledger.recording.stage(source, name, None)
            early = ahead.errors(project, graph, chosen, reader(), ledger.locks, in_git=in_git, options=options)
        if early and not keep_going:
            return Report(_refused(graph, chosen, early), [], early, early, switched_off(graph, choice))
        for address, error in early.items():
            voice.say(f"{address}: cannot run ({error.why})")
        hidden = Ignored(project, (stages[each] for each in chosen if not stages[each].frozen and each not in early))
        shared = Run(
            project, store, graph, ledger, env, reader, groups, logs, voice.write, voice.say,
            in_git, named(graph, choice), options, jobs > 1, hidden, course.reasons, {**early}, course.waits,
        )  # fmt: skip
        turns = _Turns(shared, course, early, voice.show)
        _schedule(turns, jobs=jobs, keep_going=keep_going)
        if hidden.told:
            # What has come of the stages is told also where this fails, as on a full disk.
            with contextlib.suppress(VmlError, OSError), ledger.open():
                hidden.take_back(ledger.gauge.pointers)
    drop_old_logs(logs.parent)
    errors = {**shared.errors, **course.lost}
    return Report(course.results(), turns.differing.found, errors, early, switched_off(graph, choice))


def _refuse_inside(project: Project, env: Mapping[str, str]) -> None:
    """UserError in a command of a stage of this project, which would wait for itself."""
    if (stage := env.get("VML_STAGE")) and env.get("VML_ROOT") == str(project.root):
        raise UserError(
            f"vml repro runs inside a command of the stage {quote(stage)}, which it would wait for",
            hint="take it out of cmd: what the command needs from other stages is made first if it is in deps",
        )


class _Course:
    """How far a run has come, the reasons that its stages had, and those that ended well and could not be recorded."""

    def __init__(self, graph: Graph, chosen: Sequence[str], logs: Path, say: Callable[[str], None]) -> None:
        self.graph, self.chosen, self.logs, self.say = graph, chosen, logs, say
        self.begun: set[str] = set()
        self.ended: dict[str, Row] = {}
        self.reasons: dict[str, list[Reason]] = {}
        self.waits: dict[str, str] = {}
        self.lost: dict[str, VmlError] = {}

    def lose(self, key: StageKey, why: VmlError | OSError) -> None:
        """A stage ended well, and what it made could not be recorded."""
        stages = self.graph.stages
        keys = {(look.source_of(stages[each]), stages[each].name): each for each in self.chosen}
        address = keys.get(key)
        if address is None:  # one that is gone
            return
        error = turn.error_of(address, why)
        text = f"stage {address}: what it made cannot be recorded: {error.message.removeprefix(f'stage {address}: ')}"
        self.lost[address] = UserError(text, hint=error.hint)
        self.say(f"{address}: failed (what it made cannot be recorded)")

    def results(self) -> list[Result]:
        """What became of each stage until now."""
        doomed = ahead.doomed(self.graph, [each.name for each in self.ended.values() if each.state == "failed"])
        return [self._result(each, doomed.get(each, "")) for each in self.chosen]

    def _result(self, address: str, doom: str) -> Result:
        holder = self.waits.get(address)
        pending = Row(address, "not run", 0.0, f"was waiting for {holder}" if holder else doom)
        state, seconds, why = self.ended.get(address, pending)[1:]
        if address in self.lost:
            state, why = "failed", self.lost[address].message.removeprefix(f"stage {address}: ")
        log = self.logs / log_name(address)
        return Result(
            address,
            "stopped" if address in self.begun and address not in self.ended and not holder else state,
            seconds,
            why,
            self.reasons.get(address, ()),
            log if log.exists() else None,
        )


class _Turns:
    """The turns of the stages that `run` shares; of those in `early` it is known that they cannot run."""

    def __init__(self, run: Run, course: _Course, early: Mapping[str, Lacking], show: Callable[[str], Any]) -> None:
        self.run, self.course, self.early = run, course, early
        self.differing = Differing()
        self._fetcher = missing.Fetcher(run, show)

    def work(self, address: str) -> Outcome:
        """Bring a stage up to date."""
        self.course.begun.add(address)
        if address in self.early:
            return Outcome("failed", self.early[address].why)
        try:
            return self._take(address)
        except (VmlError, OSError) as error:
            self.run.errors[address] = turn.error_of(address, error)
            return Outcome("failed", self.run.errors[address].message)

    def _take(self, address: str) -> Outcome:
        stage, ledger = self.run.graph.stages[address], self.run.ledger
        if self.run.options.pull:
            self._fetcher.fetch(stage)
        outcome = turn.take(self.run, address)
        with ledger.open():
            self.differing.look(stage, ledger.gauge)
        return outcome


def _schedule(turns: _Turns, *, jobs: int, keep_going: bool) -> None:
    """Give each stage of the course its turn, once those that it waits for have ended."""
    run, course = turns.run, turns.course
    stages = {each: run.graph.stages[each] for each in course.chosen}
    limits = scheduler.machine(run.env)
    # Who asks for N jobs wants N jobs: a stage that says nothing takes one core.
    limits = limits._replace(cpu=max(limits.cpu, jobs))
    needs = {each: Resources(*stage.resources) for each, stage in stages.items()}
    beyond = {each: what for each, need in needs.items() if (what := scheduler.beyond(need, limits))}

    def done(row: Row) -> None:
        course.ended[row.name] = row
        if row.state == "failed" and row.name not in turns.early:
            run.say(f"{row.name}: failed ({row.why})")
        if row.state == "ran" and row.name in beyond:
            run.say(f"{row.name}: it asks for more than there is ({beyond[row.name]}), and had all of that alone")
            beyond.clear()  # said once

    rows = scheduler.run(
        graphs.waits(run.graph, course.chosen),
        turns.work,
        groups=run.groups,
        slots=jobs,
        needs=needs,
        mutexes={each: stage.mutex for each, stage in stages.items() if stage.mutex},
        limits=limits,
        keep_going=keep_going,
        done=done,
        late=lambda: next(iter(course.lost), ""),
    )
    course.ended.update((row.name, row) for row in rows)


@contextlib.contextmanager
def _telling(course: _Course, stopped: Callable[[list[Result]], None] | None) -> Iterator[None]:
    """Tell what there was until then if a signal ends the body."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if stopped is not None:
            stopped(course.results())
        raise


def _refused(graph: Graph, chosen: Sequence[str], early: Mapping[str, Lacking]) -> list[Result]:
    """What becomes of stages of which these cannot run."""
    doomed = ahead.doomed(graph, early)
    rest = f"{next(iter(early))} failed"
    return [
        Result(each, "failed", 0.0, early[each].why)
        if each in early
        else Result(each, "not run", 0.0, doomed.get(each, rest))
        for each in chosen
    ]


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


def opened(project: Project, survey: Survey | None = None) -> tuple[dict[str, Pointer], Graph]:
    """What is tracked, and the graph of the stages. UserError for what cannot be read."""
    survey = survey or tracked.survey(project)
    if survey.broken:
        raise survey.broken[min(survey.broken)]
    if not survey.stage_files and (project.root / _DVC).exists():
        raise UserError(
            f"there is no vml.yaml, and {_DVC} is not read",
            hint=f"git mv {_DVC} vml.yaml takes its stages over; docs/coming-from-dvc.md says what differs",
        )
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


class Differing:
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


def final_error(report: Report) -> VmlError | None:
    """The error that a run ends with."""
    errors = list(report.errors.values())
    if len(errors) < 2:
        return errors[0] if errors else None
    names = ", ".join(map(quote, report.errors))
    verb = "cannot run" if len(report.early) == len(errors) else "failed"
    return UserError(f"{len(errors)} stages {verb}: {names}", hint="what is wrong with each is said above")
