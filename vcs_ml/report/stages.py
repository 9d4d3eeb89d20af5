"""Stages between two revisions: which ran again, and why; which are not what they would make now."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.metrics import revision
from vcs_ml.metrics.revision import Commit, Revision
from vcs_ml.pipeline import graph as graphs
from vcs_ml.pipeline import patterns, signature
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.look import source_of
from vcs_ml.pipeline.signature import Reason
from vcs_ml.pipeline.stage import FILE, Stage, address
from vcs_ml.pipeline.staleness import StageState, Staleness
from vcs_ml.report.contents import Contents, Pages, Recorded
from vcs_ml.workspace import lockfile
from vcs_ml.workspace.lockfile import LockFile, StageRecord


class Rerun(NamedTuple):
    """A stage of which two revisions record different things: why it ran, and which outputs became others."""

    name: str
    what: Literal["added", "removed", "reran"]
    reasons: tuple[Reason, ...] = ()
    outs: tuple[str, ...] = ()


class _Source(NamedTuple):
    """What a stage reads from, at a commit."""

    gauge: Recorded
    values_of: Callable[[str], Any]
    env: Mapping[str, str] = {}


class Locks(NamedTuple):
    """What the lock files of a revision record, by the address of the stage; and which cannot be read."""

    stages: Mapping[str, StageRecord]
    errors: Mapping[str, UserError]


def locks(at: Revision, algorithm: Algorithm) -> Locks:
    """What the lock files beside the vml.yaml files of a revision record."""
    stages: dict[str, StageRecord] = {}
    errors: dict[str, UserError] = {}
    for file in at.stage_files():
        source = lockfile.source_in(posixpath.dirname(file))
        try:
            raw = revision.read(at, source, lockfile.MAX_SIZE)
            found = lockfile.parse(raw, source, algorithm) if raw is not None else LockFile(source)
        except UserError as error:
            errors[source] = error
            continue
        stages.update((address(file, name), each) for name, each in found.stages.items())
    return Locks(stages, errors)


def reruns(old: Locks, new: Locks, order: Iterable[str], pages: Pages) -> list[Rerun]:
    """How the records of two revisions differ, those of `order` first. Lock files that cannot be read say nothing."""
    broken = old.errors.keys() | new.errors.keys()
    names = [name for name in (*order, *sorted(new.stages), *sorted(old.stages)) if _lock_of(name) not in broken]
    found = (_rerun(name, old.stages.get(name), new.stages.get(name), pages) for name in dict.fromkeys(names))
    return [each for each in found if each is not None]


def _lock_of(name: str) -> str:
    """The lock file that records the stage of this address."""
    return lockfile.source_in(posixpath.dirname(name.rpartition(":")[0] or FILE))


def _rerun(name: str, old: StageRecord | None, new: StageRecord | None, pages: Pages) -> Rerun | None:
    if old is None or new is None:
        return Rerun(name, "added" if old is None else "removed") if old is not new else None
    reasons = signature.changes(signature.of_record(new), old, pages)
    paths = sorted(old.outs.keys() | new.outs.keys())
    outs = [path for path in paths if _content(old, path) != _content(new, path)]
    return Rerun(name, "reran", tuple(reasons), tuple(outs)) if reasons or outs else None


def _content(record: StageRecord, path: str) -> object:
    out = record.outs.get(path)
    return out and (out.oid, out.kind)


# ---------------------------------------------------------------------- what a commit does not bear out


def stale(at: Commit, before: Commit, graph: Graph, known: tuple[Locks, Locks], pages: Pages) -> Staleness:
    """Which stages of a commit are not what its lock files record, as `staleness.look` says it of the workspace.

    `known` are the lock files of `before` and of `at`. Environment variables count as they were recorded: those of
    whoever looks say nothing of those under which a stage ran.
    """
    old, new = known
    found: dict[str, StageState] = {}
    errors = []

    contents = Contents(at, before, pages)

    @cache
    def values_of(file: str) -> Any:
        raw = revision.read(at, file)
        return None if raw is None else values.parse(raw, file)

    for name in graph.order:
        stage, record = graph.stages[name], new.stages.get(name)
        if source_of(stage) in new.errors:
            continue
        try:
            reasons = [Reason("never")]
            if record is not None:
                reasons = [
                    *_reasons(stage, record, Recorded(contents, stage.deps, record), values_of),
                    *_folders(stage, contents, record, old.stages.get(name)),
                ]
        except UserError as error:
            errors.append(UserError(f"{name}: {error.message}", hint=error.hint))
            continue
        if reasons:
            found[name] = StageState(name, "frozen" if stage.frozen else "stale", reasons)
    for name in graphs.descendants(graph, [name for name, each in found.items() if each.state == "stale"]):
        found.setdefault(name, StageState(name, "behind", []))
    return Staleness(len(graph.order), [found[name] for name in graph.order if name in found], set(), errors, [])


def _reasons(stage: Stage, record: StageRecord, gauge: Recorded, values_of: Callable[[str], Any]) -> Iterator[Reason]:
    """How a stage, and what Git has of what it made, differs from what was recorded."""
    if not stage.frozen:
        now = signature.inputs(stage, _Source(gauge, values_of))
        env = {name: record.env.get(name) for name in now.env}
        yield from signature.changes(now._replace(env=env), record, gauge)
    patterned = [out.path for out in stage.outs if out.is_glob]
    named = {out.path for out in stage.outs if not out.is_glob}
    for path in sorted(named | record.outs.keys()):
        known = record.outs.get(path)
        if known is None:
            yield Reason("out", path, what="not recorded yet")
        elif path not in named and not any(patterns.matches(path, each) for each in patterned):
            yield Reason("out", path, what="no longer an output")
        elif not known.flags.cache:  # of all others, the lock file alone says what they are
            here = gauge.measure(path)
            if here is None or (here.oid, here.kind) != (known.oid, known.kind):
                yield Reason("out", path, what="missing" if here is None else "not what the stage made")


def _folders(stage: Stage, contents: Contents, record: StageRecord, old: StageRecord | None) -> Iterator[Reason]:
    """The directories in Git that changed, while the lock file still records what it did before."""
    if old is None or stage.frozen:
        return
    for path in stage.deps:
        recorded = record.deps.get(path)
        if recorded is not None and recorded == old.deps.get(path) and contents.folder_changed(path):
            yield Reason("dep", path, what="changed")
