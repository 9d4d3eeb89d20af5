"""What there is to do for a stage: as it was recorded, as it is, and where its outputs could come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.pipeline import patterns, run_cache, signature
from vcs_ml.pipeline.signature import Inputs, Reader, Reason
from vcs_ml.pipeline.stage import Out, Stage
from vcs_ml.store import manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import lockfile
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.lockfile import OutItem, StageRecord
from vcs_ml.workspace.project import Project

_LINE: Final = 80  # characters


class Look(NamedTuple):
    """A stage as it was recorded and as it is: what it reads (None if it is frozen), and why it has to run."""

    record: StageRecord | None
    now: Inputs | None
    reasons: list[Reason]

    @property
    def same_inputs(self) -> bool:
        """Whether it reads what it read when it was recorded."""
        return self.record is not None and all(each.kind in ("merged", "out") for each in self.reasons)


def source_of(stage: Stage) -> str:
    """The lock file in which a stage is recorded."""
    return lockfile.source_in(stage.file.rpartition("/")[0])


def look(stage: Stage, known: LockFiles, reader: Reader, *, force: bool = False) -> Look:
    """What there is to do for a stage. UserError for what cannot be read."""
    record = known.read(source_of(stage)).stages.get(stage.name)
    now = None if stage.frozen else signature.inputs(stage, reader)
    reasons = signature.stale(stage, record, reader, now=now)
    if force and not stage.frozen:
        reasons = reasons or [Reason("force")]
    return Look(record, now, reasons)


def overlooked(stage: Stage, record: StageRecord | None, reader: Reader) -> list[Reason]:
    """What has changed that a frozen stage read: it runs for none of it, and need not have it here."""
    if record is None:
        return []
    try:
        found = signature.changes(signature.inputs(stage, reader), record, reader.gauge)
    except (UserError, OSError):
        return []
    return [each for each in found if each.what != "missing"]


def why(reasons: Sequence[Reason]) -> str:
    """The first reasons, as many as a line holds, and how many more there are."""
    shown: list[str] = []
    for each in map(str, reasons):
        if shown and len("; ".join((*shown, each))) > _LINE:
            break
        shown.append(each)
    more = f", and {len(reasons) - len(shown)} more" if len(reasons) > len(shown) else ""
    return "; ".join(shown) + more


def candidates(
    stage: Stage, seen: Look, store: LocalStore, *, earlier_runs: bool = True
) -> Iterator[Mapping[str, OutItem]]:
    """What a stage has made of what it reads now, the likeliest first; whether the store has it is not asked.

    Without `earlier_runs` only what was recorded, and only where it is gone from the workspace.
    """
    if (
        seen.record is not None
        and seen.same_inputs
        and (earlier_runs or all(each.what == "missing" for each in seen.reasons))
    ):
        known = {path: each.item for path, each in seen.record.outs.items()}
        if run_cache.fits(stage, known):
            yield _flagged(stage, known)
    if earlier_runs and seen.now is not None and run_cache.takes(stage):
        under = run_cache.key(stage, signature.signature(seen.now, store.algorithm))
        for outs in run_cache.find(store, under, stage):
            yield _flagged(stage, outs)


def _flagged(stage: Stage, outs: Mapping[str, Item]) -> dict[str, OutItem]:
    return {path: OutItem(*each, signature.flags(_out_of(stage, path))) for path, each in outs.items()}


def _out_of(stage: Stage, path: str) -> Out:
    return next(out for out in stage.outs if (patterns.matches(path, out.path) if out.is_glob else out.path == path))


def is_here(store: LocalStore, outs: Mapping[str, OutItem]) -> bool:
    """Whether the store has all of these outputs, and nobody wrote to them there. Of what Git has, only small files are
    ever kept there.
    """
    kept = all(each.flags.cache or run_cache.is_small(each.item) for each in outs.values())
    complete = run_cache.is_complete(store, {path: each.item for path, each in outs.items()})
    return kept and complete and not any(_is_damaged(store, each.oid) for each in outs.values())


def may_come(project: Project, store: LocalStore, outs: Mapping[str, OutItem]) -> bool:
    """Whether the default remote may have what the store lacks of these outputs."""
    lacking = [each for each in outs.values() if store.missing(each.oid)]
    try:
        remote = project.remote().name
    except UserError:  # there is none
        return False
    return bool(lacking) and all(
        each.flags.push and each.flags.remote in (None, remote) and (each.flags.cache or run_cache.is_small(each.item))
        for each in lacking
    )


def elsewhere(stage: Stage) -> str:
    """What to say of a stage that runs although a remote may have what it makes."""
    return f"{stage.address}: this was made before, but it is not here: vml repro --pull may bring it"


def _is_damaged(store: LocalStore, oid: ObjectId) -> bool:
    if not store.shares:
        return False
    if oid[-1] == objects.BLOB:
        return store.is_damaged(oid)
    entries = manifest.under(oid, b"", store.algorithm, store.read)
    return any(store.is_damaged(objects.blob(entry.digest)) for entry in entries)
