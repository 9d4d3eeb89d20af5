"""What a run would do, and why: `vml repro --dry`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from vcs_ml.errors import CorruptError, VmlError
from vcs_ml.pipeline import ahead, ignored, lacking, look, reproduce, signature, turn
from vcs_ml.pipeline import graph as graphs
from vcs_ml.pipeline.look import Look
from vcs_ml.pipeline.reproduce import Choice, Differing, Report, Result
from vcs_ml.pipeline.signature import Reader
from vcs_ml.pipeline.stage import Stage
from vcs_ml.pipeline.turn import Options
from vcs_ml.progress import Meter
from vcs_ml.store import manifest, transfer
from vcs_ml.store.local import LocalStore
from vcs_ml.store.remote import Remote
from vcs_ml.store.transfer import Need
from vcs_ml.workspace import opening, single, sources, tracked
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.lockfile import OutItem
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

_CACHED = "would be cached"


def forecast(
    project: Project,
    store: LocalStore,
    choice: Choice,
    options: Options,
    *,
    env: Mapping[str, str],
    meter: Meter,
    say: Callable[[str], None],
) -> Report:
    """What `reproduce.run` would do, and why; nothing is written. With `--pull` the remote is asked what it has; else
    `say` is told of stages that it may have something for.

    Errors as there.
    """
    pointers, graph = reproduce.opened(project)
    gauge = Gauge(project, store, pointers, meter)
    reader = Reader(gauge, signature.Params(project.root), env, project.root)
    known = LockFiles(project)
    chosen, named = reproduce.choose(graph, choice), reproduce.named(graph, choice)
    in_git = ignored.in_git(project, (graph.stages[each] for each in chosen))
    early = ahead.errors(project, graph, chosen, reader, known, in_git=in_git, options=options)
    errors: dict[str, VmlError] = {**early}
    there = _There(project, store, pull=options.pull)
    waits = graphs.waits(graph, chosen)
    states: dict[str, str] = {}
    results = []
    differing = Differing()

    def foresee(address: str) -> Result:
        stage = graph.stages[address]
        if address in early:
            return Result(address, "would fail", 0.0, early[address].why)
        for each in waits[address]:
            if states[each] in ("would fail", "would not run"):
                return Result(address, "would not run", 0.0, f"{each} {states[each]}")
        above = [each for each in waits[address] if states[each] in ("would run", "may run")]
        try:
            if options.pull and not stage.frozen and not above:
                there.assume(stage, gauge)
            seen = look.look(stage, known, reader, force=options.force)
            certain = not above and _is_certain(stage, gauge)
            state = _state(stage, seen, gauge, there, options, certain=certain, say=say)
            if stage.frozen and state == "skipped":
                reasons = [*look.overlooked(stage, seen.record, reader), *seen.reasons]
                outcome = turn.frozen(stage, reasons, asked=options.force or address in named)
                return Result(address, outcome.state, 0.0, outcome.why, reasons)
            if certain and state == "would run" and seen.now is not None:
                lacking.refuse(stage, seen.now, reader, graph)
        except (VmlError, OSError) as error:
            errors[address] = turn.error_of(address, error)
            return Result(address, "would fail", 0.0, errors[address].message)
        differing.look(stage, gauge)
        why = look.why(seen.reasons) or (f"{above[0]} {states[above[0]]}" if above else "")
        return Result(address, state, 0.0, why, seen.reasons)

    for address in chosen:
        result = foresee(address)
        states[address] = result.state
        results.append(result)
    return Report(results, differing.found, errors, early, reproduce.switched_off(graph, choice))


def _state(
    stage: Stage,
    seen: Look,
    gauge: Gauge,
    there: _There,
    options: Options,
    *,
    certain: bool,
    say: Callable[[str], None],
) -> str:
    """What would be done; where it would come from the store, its outputs are assumed to be there afterwards."""
    if stage.frozen:
        gone = {each.name for each in seen.reasons if each.kind == "out" and each.what == "missing"}
        wanted = {path: out for path, out in seen.record.outs.items() if path in gone} if seen.record else {}
        return _CACHED if wanted and options.commit and there.brings(wanted, gauge) else "skipped"
    if not seen.reasons:
        return "skipped" if certain else "may run"
    if certain and options.commit and not options.force:
        may_come = False
        for outs in look.candidates(stage, seen, gauge.store, earlier_runs=options.run_cache):
            try:
                if there.brings(outs, gauge):
                    return _CACHED
                may_come = may_come or there.may_bring(outs, gauge)
            except CorruptError:  # as far as that shows: files are read only when they come
                continue
        if may_come:
            say(look.elsewhere(stage))
    return "would run"


def _is_certain(stage: Stage, gauge: Gauge) -> bool:
    """Whether what the stage reads is known: not if only a part of it, or more than it, is assumed."""
    params = [each.file for each in stage.params]
    return not (
        any(sources.owner(path.rpartition("/")[0], gauge.assumed) for path in stage.deps)
        or any(sources.owner(path, gauge.assumed) for path in params)
        or any(each.startswith(f"{path}/") for path in stage.deps for each in gauge.assumed)
    )


class _There:
    """What can be brought from the store, or, with `pull`, from the default remote."""

    def __init__(self, project: Project, store: LocalStore, *, pull: bool) -> None:
        self._project, self._store, self._pull = project, store, pull

    @cached_property
    def _remote(self) -> Remote:
        remote = opening.remote_at(self._project, self._project.remote())
        remote.refresh_index()
        return remote

    def brings(self, outs: Mapping[str, OutItem], gauge: Gauge) -> bool:
        """Whether it has these outputs, those that are not here already; then they are assumed to be here."""
        if self._lacks(Pointer(path, *out.item, {}) for path, out in outs.items() if gauge.measure(path) != out.item):
            return False
        gauge.assumed.update((path, out.item) for path, out in outs.items())
        return True

    def may_bring(self, outs: Mapping[str, OutItem], gauge: Gauge) -> bool:
        """Whether `pull` may bring them, which was not asked for."""
        other = {path: out for path, out in outs.items() if gauge.measure(path) != out.item}
        return not self._pull and look.may_come(self._project, self._store, other)

    def assume(self, stage: Stage, gauge: Gauge) -> None:
        """Assume that tracked data which the stage reads and which is not here is fetched. MissingObject if it is not
        there.
        """
        for path in (*stage.deps, *(each.file for each in stage.params)):
            if path in gauge.assumed or os.path.lexists(self._project.root / path):
                continue
            if above := tracked.owner(path, gauge.pointers):
                gauge.assumed[path] = self._item(*above)

    def _item(self, pointer: Pointer, inner: str) -> Item:
        if not inner:
            if self._lacks([pointer]):
                raise transfer.missing_on(self._remote, [Need(pointer.oid, -1, pointer.path)])
            return Item(*pointer[1:5])
        algorithm, prefix = self._store.algorithm, os.fsencode(inner)
        read = self._store.read if not self._store.missing(pointer.oid) else transfer.reader(self._store, self._remote)
        if entry := manifest.lookup(pointer.oid, prefix, algorithm, read):
            return single.item_of(entry)
        found = manifest.extract(pointer.oid, prefix, algorithm, read, lambda oid, data: None)
        if not found.count:
            raise opening.nothing_inside(pointer.path, inner)
        return Item(found.root, "tree", found.size, found.count)

    def _lacks(self, wanted: Iterable[Pointer]) -> bool:
        """Whether something of these is in neither."""
        lacking = [each for each in wanted if self._store.missing(each.oid)]
        return bool(lacking) and not (self._pull and not opening.lacking(self._store, self._remote, lacking))
