"""One stage's turn: it is found up to date, its outputs come from the store, or its command runs and is recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import faults, hashing, locks
from vcs_ml.errors import CorruptError, UserError, VmlError
from vcs_ml.output import count, quote, word
from vcs_ml.pipeline import ignored, lacking, look, outputs, patterns, run_cache, runner, signature
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.groups import Groups
from vcs_ml.pipeline.ignored import Ignored
from vcs_ml.pipeline.ledger import Ledger
from vcs_ml.pipeline.look import Look, candidates, is_here, source_of, why
from vcs_ml.pipeline.scheduler import Outcome
from vcs_ml.pipeline.signature import Inputs, Reader, Reason
from vcs_ml.pipeline.stage import Out, Stage
from vcs_ml.pipeline.transcript import Write, log_name
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import clearing, detach, relink, status
from vcs_ml.workspace.clearing import Doomed
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lockfile import OutItem, StageRecord
from vcs_ml.workspace.project import Project

_SHOWN: Final = 20  # files that were kept


class Options(NamedTuple):
    """What a run was asked for. run_cache: what other runs made may be used; commit: what it makes is recorded; pull:
    what is missing comes from the default remote.
    """

    force: bool = False
    run_cache: bool = True
    commit: bool = True
    explain: bool = False
    pull: bool = False


class Run(NamedTuple):
    """What all turns of one run share. `say` and `write` may be called by several threads.

    `in_git` are the outputs that Git has, `named` the stages that were asked for by name. The turns fill `reasons`,
    `errors` and `waits` (for whom they wait just now), by the address of the stage.
    """

    project: Project
    store: LocalStore
    graph: Graph
    ledger: Ledger
    env: Mapping[str, str]
    reader: Callable[[], Reader]
    groups: Groups
    logs: Path
    write: Write
    say: Callable[[str], None]
    in_git: Collection[str]
    named: Collection[str]
    options: Options
    prefix: bool
    ignored: Ignored
    reasons: dict[str, list[Reason]]
    errors: dict[str, VmlError]
    waits: dict[str, str]


def error_of(address: str, error: VmlError | OSError) -> VmlError:
    """What is wrong with a stage. An OSError that tells a user nothing is raised again: it is a bug."""
    if isinstance(error, VmlError):
        return error
    if (refused := faults.as_user_error(error)) is None:
        raise error
    return UserError(f"stage {address}: {refused.message}", hint=refused.hint)


def take(run: Run, address: str) -> Outcome:
    """Bring one stage up to date. Signals end it after its command. VmlError, OSError for what is wrong with it; of a
    command that failed, that is in `run.errors`.
    """
    with run.groups.held():
        return _take(run, run.graph.stages[address])


def _take(run: Run, stage: Stage) -> Outcome:
    ledger = run.ledger
    with ExitStack() as locked:
        with ledger.open():
            seen = _look(run, stage)
            if done := _nothing_to_do(run, stage, seen):
                return done
            mine = _try_lock(run, stage, locked)
            generation = ledger.generation
        if not mine:
            ledger.settle()  # who holds it may wait for the worktree
            with ledger.closed():  # also where another thread opens the ledger meanwhile
                _wait(run, stage, locked)
        with ledger.open():
            if not mine or ledger.generation != generation:
                seen = _look(run, stage)
                if done := _nothing_to_do(run, stage, seen):
                    return done
            assert seen.now is not None
            if done := _restored(run, stage, seen):
                return done
            lacking.refuse(stage, seen.now, run.reader(), run.graph)
            lacking.refuse_wdir(stage, run.reader(), run.graph.outputs.paths)
            _make_room(run, stage, seen)
        return _make(run, stage, seen, seen.now)


def _look(run: Run, stage: Stage) -> Look:
    seen = look.look(stage, run.ledger.locks, run.reader(), force=run.options.force)
    run.reasons[stage.address] = seen.reasons
    return seen


def _lock_path(run: Run, stage: Stage) -> Path:
    return run.project.lock_dir / f"stage-{hashing.SHA256.digest(stage.address.encode()).hex()[:32]}"


def _try_lock(run: Run, stage: Stage, locked: ExitStack) -> bool:
    """Take the stage's lock if nobody has it."""
    try:
        locked.enter_context(locks.lock(_lock_path(run, stage), timeout=0))
    except UserError:
        return False
    return True


def _wait(run: Run, stage: Stage, locked: ExitStack) -> None:
    """Take the stage's lock when whoever has it is done."""

    def waiting(text: str) -> None:
        run.say(f"{stage.address}: {text}")

    timeout = run.project.config.lock_timeout
    place = _lock_path(run, stage)
    run.waits[stage.address] = locks.holder_of(place)
    locked.enter_context(locks.lock(place, timeout=timeout, waiting=waiting, check=run.groups.check))
    del run.waits[stage.address]


# ---------------------------------------------------------------------- nothing to run


def _nothing_to_do(run: Run, stage: Stage, seen: Look) -> Outcome | None:
    if stage.frozen:
        return _frozen(run, stage, seen)
    if seen.reasons:
        return None
    assert seen.record is not None and seen.now is not None
    ours = signature.expanded(stage, run.project.root)
    if (
        all(seen.record.outs[path].flags == signature.flags(out) for path, out in ours.items())
        or not run.options.commit
    ):
        return Outcome("skipped")
    _refuse_in_git(run, stage)
    _record(run, stage, seen.now, seen.record, ours)
    return Outcome("skipped", "recorded with other flags")


def _frozen(run: Run, stage: Stage, seen: Look) -> Outcome:
    """A frozen stage is not run. What is gone of its outputs comes back, if the store has it."""
    if seen.record is None:
        return Outcome("frozen", why(seen.reasons))
    gone = {each.name for each in seen.reasons if each.kind == "out" and each.what == "missing"}
    outs = {path: each for path, each in seen.record.outs.items() if path in gone}
    if outs and run.options.commit and is_here(run.store, outs):
        _bring_back(run, stage, outs)
        return Outcome("cached", "frozen")
    reasons = run.reasons[stage.address] = [*look.overlooked(stage, seen.record, run.reader()), *seen.reasons]
    return frozen(stage, reasons, asked=run.options.force or stage.address in run.named)


def frozen(stage: Stage, reasons: Sequence[Reason], *, asked: bool) -> Outcome:
    """What to say of a frozen stage, which would have these reasons to run; whether it was `asked` to."""
    if reasons or asked:
        return Outcome("frozen", why(reasons) or f"vml unfreeze {word(stage.address)} lets it run")
    return Outcome("skipped", "frozen")


# ---------------------------------------------------------------------- from the store


def _restored(run: Run, stage: Stage, seen: Look) -> Outcome | None:
    """Bring the outputs from the store, if they were once made of what is here now, and are not damaged there."""
    if run.options.force or not run.options.commit:
        return None
    gauge = run.ledger.gauge
    may_come = False
    for outs in candidates(stage, seen, run.store, earlier_runs=run.options.run_cache):
        ours = {path: gauge.measure(path) for path in {**signature.expanded(stage, run.project.root), **outs}}
        other = {path: here for path, here in ours.items() if path not in outs or here != outs[path].item}
        wanted = {path: outs[path] for path in other if path in outs}
        try:
            if is_here(run.store, wanted):
                _restore(run, stage, seen, outs, other)
                return Outcome("cached", why(seen.reasons))
            may_come = may_come or look.may_come(run.project, run.store, wanted)
        except CorruptError as error:
            run.say(f"{stage.address}: not from the store: {error.message} ({error.hint})")
            gauge.refresh()  # some of it may be here now
            run.ledger.forget()
    if may_come and not run.options.pull:
        run.say(look.elsewhere(stage))
    return None


def _restore(run: Run, stage: Stage, seen: Look, outs: Mapping[str, OutItem], other: Mapping[str, Item | None]) -> None:
    """Let `outs` be what the workspace has; `other` is what it has in the places where it differs."""
    assert seen.now is not None
    _refuse_in_git(run, stage)
    _keep_small(run, seen)
    _clear(run, [Doomed(path, here) for path, here in other.items()])
    _bring_back(run, stage, {path: outs[path] for path in other if path in outs})
    run.say(f"{stage.address}: cached ({_told(run, seen)})")
    record = seen.now.record(outs, seen.record)
    if record != seen.record:
        run.ledger.recording.stage(source_of(stage), stage.name, record)


def _bring_back(run: Run, stage: Stage, outs: Mapping[str, OutItem]) -> None:
    for each in run.ledger.restore(outs, (source_of(stage), stage.name)):
        run.say(each.line(run.store.algorithm))
    _refuse_shared(run, stage)


def _told(run: Run, seen: Look) -> str:
    return "; ".join(map(str, seen.reasons)) if run.options.explain else why(seen.reasons)


def _clear(run: Run, doomed: list[Doomed]) -> None:
    kept = clearing.clear(run.project, run.ledger.gauge, doomed, run.ledger.meter)
    for each in kept[:_SHOWN]:
        run.say(each.line(run.store.algorithm))
    if len(kept) > _SHOWN:
        run.say(f"... and so are {count(len(kept) - _SHOWN, 'more file')}: vml status lists them")
    run.ledger.forget()


def _keep_small(run: Run, seen: Look) -> None:
    """Store what the run cache may need of outputs that go: after a clone, only Git has the small ones."""
    for path, out in seen.record.outs.items() if seen.record else ():
        if out.flags.cache or not run_cache.is_small(out.item) or out.oid in run.store:
            continue
        if run.ledger.gauge.measure(path) == out.item:
            run.ledger.recording.keep(path, out.oid)


# ---------------------------------------------------------------------- by its command


def _make_room(run: Run, stage: Stage, seen: Look) -> None:
    """Take the outputs away before the command makes them anew, and make the directories that they lie in."""
    _refuse_in_git(run, stage)
    gauge = run.ledger.gauge
    ours = signature.expanded(stage, run.project.root)
    there = {path: out for path, out in ours.items() if os.path.lexists(run.project.root / path)}
    _keep_small(run, seen)
    doomed = [Doomed(path, gauge.measure(path), out.persist) for path, out in there.items()]
    _clear(run, [each for each in doomed if not (each.stays and _is_only_continued(seen, each))])
    kept = [path for path, out in there.items() if out.persist]
    # What is one file with an object must not be written to; what was one may still be read-only.
    detached = [detach.below(run.project, path, read_only=run.store.shares) for path in kept]
    if any(detached):
        gauge.refresh()
    for out in stage.outs:
        folder = patterns.directory(out.path) if out.is_glob else os.path.dirname(out.path)
        if folder:
            run.project.refuse_link_above(f"{folder}/x")
            (run.project.root / folder).mkdir(parents=True, exist_ok=True)
    if run.options.commit:
        run.ignored.tell(stage)


def _is_only_continued(seen: Look, doomed: Doomed) -> bool:
    """Whether a persistent output is what the stage made, and nothing is to be stored of it: that is the command's."""
    known = seen.record.outs.get(doomed.path) if seen.record else None
    return known is not None and not known.flags.cache and known.item == doomed.here


def _refuse_in_git(run: Run, stage: Stage) -> None:
    ignored.refuse_in_git(run.project, stage, run.in_git)


def _make(run: Run, stage: Stage, seen: Look, now: Inputs) -> Outcome:
    address = stage.address
    log = run.logs / log_name(address)
    run.say(f"{address}: running ({_told(run, seen)})")
    try:
        result = _command(run, stage, seen, log)
    finally:
        if run.options.commit and any(out.cache and out.is_glob for out in stage.outs):
            with run.ledger.open():
                run.ignored.tell_matches(stage)
    if result.failed is not None:
        with run.ledger.open():
            if damaged := _damaged(run, stage):
                run.say(f"{address}: {damaged.message} ({damaged.hint})")
        run.errors[address] = runner.failure(address, result, stage.cmds, log)
        return Outcome("failed", runner.reason(result, stage.cmds))
    with run.ledger.open():
        _refuse_changed(run, stage, now)
        made = signature.expanded(stage, run.project.root)
        _refuse_unmade(run, stage, made, log)
        _refuse_shared(run, stage)
        if run.options.commit:
            _record(run, stage, now, seen.record, made)
    return Outcome("ran", why(seen.reasons))


def _command(run: Run, stage: Stage, seen: Look, log: Path) -> runner.Result:
    def again() -> None:
        with run.ledger.open():
            _make_room(run, stage, seen)

    with run.ledger.closed():
        return runner.run(
            stage.address,
            stage.cmds,
            directory=run.project.root / stage.wdir,
            root=run.project.root,
            env=run.env,
            log=log,
            write=run.write,
            groups=run.groups,
            prefix=run.prefix,
            shell=stage.shell,
            timeout=stage.timeout,
            retries=stage.retries,
            again=again,
        )


def _refuse_changed(run: Run, stage: Stage, before: Inputs) -> None:
    reader = run.reader()
    changed = signature.changes(signature.inputs(stage, reader), before.record({}), reader.gauge)
    if changed and (damaged := _damaged(run, stage)):
        raise UserError(f"stage {stage.address}: {damaged.message}", hint=damaged.hint)
    if changed:
        names = ", ".join(dict.fromkeys(quote(each.name) for each in changed))
        raise UserError(
            f"stage {stage.address}: {names} changed while it ran, so what it made is not recorded",
            hint="if the command itself writes there, it is an output and no dep; else: vml repro",
        )


def _damaged(run: Run, stage: Stage) -> UserError | None:
    """The error for a dep that is linked into the store and was written to: the object there is damaged."""
    read = status.selected(run.ledger.gauge.pointers, stage.deps) if stage.deps else []
    written = relink.damaged(run.project, run.store, read)
    if not written:
        return None
    name = quote(written[0])
    more = f" (and {count(len(written) - 1, 'more file')})" if len(written) > 1 else ""
    return UserError(
        f"its dep {name}{more} was written to; it is linked into the store, where the recorded version is damaged now",
        hint=f"vml fsck --repair, then vml checkout --force {name}; a command that changes what it reads needs a copy",
    )


def _refuse_unmade(run: Run, stage: Stage, made: Mapping[str, Out], log: Path) -> None:
    missing = [path for path in made if not os.path.lexists(run.project.root / path)]
    unmatched = [out.path for out in stage.outs if out.is_glob and out not in made.values()]
    lacking.refuse_literal(run.project.root, stage, unmatched)
    if missing := missing + unmatched:
        more = f" (and {count(len(missing) - 1, 'more output')})" if len(missing) > 1 else ""
        raise UserError(
            f"stage {stage.address}: its command ended well, but did not make {quote(missing[0])}{more}",
            hint=f"does it write elsewhere? its output is in {quote(log)}",
        )


def _refuse_shared(run: Run, stage: Stage) -> None:
    """UserError for what matches two patterns and was not there when the pipeline was opened."""
    globs = {out.path for out in stage.outs if out.is_glob}
    if globs and any(pattern in globs for pattern, _ in run.graph.outputs.rivals):
        outputs.refuse_shared(run.graph.outputs, list(run.graph.stages.values()), run.project.root)


def _record(run: Run, stage: Stage, now: Inputs, before: StageRecord | None, made: Mapping[str, Out]) -> None:
    """Store what is there, and put it into the lock file and the run cache, with the next flush."""
    recording = run.ledger.recording
    outs = recording.outs({path: signature.flags(out) for path, out in made.items()})
    small = {path: out for path, out in outs.items() if not out.flags.cache and run_cache.is_small(out.item)}
    for path, out in small.items():
        recording.keep(path, out.oid)
    recording.stage(source_of(stage), stage.name, now.record(outs, before))
    if run.options.run_cache and run_cache.takes(stage) and all(o.flags.cache or p in small for p, o in outs.items()):
        under = run_cache.key(stage, signature.signature(now, run.store.algorithm))
        items = {path: out.item for path, out in outs.items()}
        entry = run_cache.Entry(items, run.project.id, run_cache.remotes(stage))
        run.ledger.after_flush(partial(run_cache.put, run.store, under, stage, entry))
    if any(out.kind == "tree" for out in outs.values()):
        # Whoever reads it next would hash it once more: the stat index has it only then.
        run.ledger.flush()
