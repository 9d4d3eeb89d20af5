"""Which stages would run, and why: what `vml status` says of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.pipeline import graph as graphs
from vcs_ml.pipeline import ignored, signature
from vcs_ml.pipeline.look import overlooked, source_of
from vcs_ml.pipeline.open import pipeline
from vcs_ml.pipeline.signature import Params, Reader, Reason
from vcs_ml.pipeline.stage import Stage
from vcs_ml.progress import Meter
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import groups, sources
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.lockfile import StageRecord
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.tracked import Survey

State = Literal["stale", "behind", "absent", "always", "frozen", "error"]


class StageState(NamedTuple):
    """A stage that is not simply up to date.

    stale: it would run. behind: it needs one that would. absent: tracked data that it read or made is not here, or only
    in part, and nothing else is known against it. always: it runs each time, and nothing has changed. frozen: what it
    read or made has changed, but it does not run. error: it is refused.
    """

    name: str
    state: State
    reasons: list[Reason]

    @property
    def counts(self) -> bool:
        """Whether what it makes may not be true. A frozen one is meant to keep it, whatever it reads by now."""
        if self.state == "frozen":
            return any(reason.kind in ("never", "out") for reason in self.reasons)
        return self.state not in ("absent", "always")


class Staleness(NamedTuple):
    """How many stages were looked at, those of them that are not up to date, in the order in which they would run,
    which targets named a stage, and what could not be looked at. `left` are outputs of stages that no vml.yaml has.
    """

    total: int
    stages: list[StageState]
    named: set[str]
    broken: list[UserError]
    left: list[Pointer]

    @property
    def clean(self) -> bool:
        """Whether no stage has to run for what it makes to be true."""
        return not self.broken and not any(each.counts for each in self.stages)


def look(
    project: Project,
    store: LocalStore,
    survey: Survey,
    env: Mapping[str, str],
    *,
    meter: Meter,
    keep: bool,
    rehash: bool = False,
    targets: Mapping[str, str] | None = None,
    strict: bool = True,
) -> Staleness:
    """Look at all stages, or at those of `targets`: names of stages, each with what it is as a project-relative path,
    at which a stage may read or make something.

    With `keep` the caller holds the worktree's lock, and what was hashed is remembered. Stages are compared with lock
    files; nothing is run or stored. With `rehash`, what stages read or made and nothing tracks is read, whatever its
    times say. `strict` is that of `load.load`.
    """
    try:
        _, graph = pipeline(project, survey, strict=strict)
    except UserError as error:
        return Staleness(0, [], set(), [error], [])
    gauge = Gauge(project, store, survey.tracked, meter, rehash=rehash)
    reader = Reader(gauge, Params(project.root), env, project.root)
    locks = LockFiles(project)
    found: dict[str, StageState] = {}
    broken: dict[str, UserError] = {}
    for address in graph.order:
        stage = graph.stages[address]
        source = source_of(stage)
        if source in survey.broken:  # which is told already
            continue
        try:
            record = locks.read(source).stages.get(stage.name)
            reasons = signature.stale(stage, record, reader)
            if stage.frozen:
                reasons = [*overlooked(stage, record, reader), *reasons]
        except UserError as error:
            broken[address] = error
            continue
        if reasons:
            found[address] = StageState(address, _state(project, stage, record, reasons, survey), reasons)
    if keep:
        gauge.save()
    stale = [address for address, each in found.items() if each.state == "stale"]
    for address in graphs.descendants(graph, stale):
        if address not in found or found[address].state in ("absent", "always"):
            found[address] = StageState(address, "behind", [])
    running = {address: stage for address, stage in graph.stages.items() if not stage.frozen}
    in_git = ignored.in_git(project, running.values())
    for address, stage in running.items() if in_git else ():
        if why := ignored.reasons(project, stage, in_git):
            found[address] = StageState(address, "error", [*why, *(found[address].reasons if address in found else ())])
    meant = {
        (address, path)
        for name, path in (targets or {}).items()
        for address in graph.order
        if _is_meant(graph.stages[address], name, path)
    }
    named = {address for address, _ in meant} if targets else graph.stages.keys()
    chosen = [each for each in graph.order if each in named]
    return Staleness(
        len(chosen),
        [found[each] for each in chosen if each in found],
        {path for _, path in meant},
        [broken[each] for each in chosen if each in broken],
        [
            each
            for path, each in survey.tracked.items()
            if each.lock
            and each.maker not in graph.stages
            and each.maker not in graph.off
            and (not targets or groups.concerns(path, targets.values()))
        ],
    )


def _state(
    project: Project, stage: Stage, record: StageRecord | None, reasons: Sequence[Reason], survey: Survey
) -> State:
    if stage.frozen:
        return "frozen"
    if all(each.kind in ("always", "callback") for each in reasons):
        return "always"
    if record is not None and all(_is_absent(project, record, each, survey.tracked) for each in reasons):
        return "absent"
    return "stale"


def _is_absent(project: Project, record: StageRecord, reason: Reason, tracked: Mapping[str, Pointer]) -> bool:
    """Whether this is about data that is not here, or only in part, and by its pointer is what was recorded."""
    found = sources.owner(reason.name, tracked) if reason.kind in ("dep", "out") else None
    if found is None:
        return False
    (pointer, inner), before = found, record.deps.get(reason.name)
    if reason.kind == "dep" and not inner and before is not None and before.oid != pointer.oid:
        return False
    return reason.what == "missing" or (
        pointer.kind == "tree" and Index.load(project.index_dir, pointer.path, project.algorithm).partial
    )


def _is_meant(stage: Stage, name: str, path: str) -> bool:
    if name in (stage.address, stage.group):
        return True
    own = (stage.file, *stage.deps, *(each.file for each in stage.params), *(out.path for out in stage.outs))
    return any(groups.concerns(each, [path]) for each in own)
