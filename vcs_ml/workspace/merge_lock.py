"""Three-way merges of lock files, stage by stage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from vcs_ml.output import quote
from vcs_ml.store.merge import pick
from vcs_ml.workspace import sources
from vcs_ml.workspace.lockfile import MERGED, LockFile, StageRecord

_ABSENT: Final = object()


class Merged(NamedTuple):
    """A merged lock file, and what people should know."""

    lock: LockFile
    notes: list[str]


def merge(base: LockFile | None, ours: LockFile, theirs: LockFile) -> Merged:
    """Merge `theirs` into `ours`; `base` None: both sides added it. There is always a result.

    A stage that both sides changed stays as ours and is marked, so that the next run makes it; one that a side dropped
    is dropped. An output that then stood under two stages stays with ours.
    """
    before = base or LockFile(ours.source)
    stages: dict[str, StageRecord] = {}
    taken: set[str] = set()
    notes = []
    for name in sorted(ours.stages.keys() | theirs.stages.keys()):
        was, mine, other = (lock.stages.get(name) for lock in (before, ours, theirs))
        found, both = pick(was, mine, other)
        if both and (mine is None or other is None):
            notes.append(_note(ours, name, f"{'we' if mine is None else 'they'} dropped it, the other side changed it"))
        elif both and mine is not None:
            notes.append(_note(ours, name, "both sides changed it: ours is kept, and the next vml repro makes it anew"))
            stages[name] = _marked(mine)
        elif found is not None:
            stages[name] = found
            taken |= {name} if found != mine else set()
    notes += _settle(ours, stages, taken)
    extra = {}
    for key in sorted(ours.extra.keys() | theirs.extra.keys()):
        value, both = pick(*(lock.extra.get(key, _ABSENT) for lock in (before, ours, theirs)))
        if both:
            notes.append(f"{quote(ours.source)}: both sides changed {quote(key)}: ours is kept")
        if value is not _ABSENT:
            extra[key] = value
    return Merged(LockFile(ours.source, stages, extra), notes)


def _marked(stage: StageRecord) -> StageRecord:
    return stage._replace(extra={**stage.extra, MERGED: True})


def _note(lock: LockFile, stage: str, what: str) -> str:
    return f"{quote(lock.source)}: stage {quote(stage)}: {what}"


def _settle(ours: LockFile, stages: dict[str, StageRecord], taken: Collection[str]) -> list[str]:
    """Take from stages of their side those outputs that lie at, in or around one of ours; says what was done."""
    kept = _outs({name: stage for name, stage in stages.items() if name not in taken})
    around = {above for path in kept for above in _above(path)}
    notes = []
    for name in sorted(taken):
        for path in _outs({name: stages[name]}):
            holder = sources.owner(path, kept)
            if holder is None and path not in around:
                continue
            other = holder[0] if holder else next(stage for out, stage in kept.items() if out.startswith(f"{path}/"))
            notes.append(_note(ours, name, f"{quote(path)} is also an output of {quote(other)}: it stays with that"))
            stages[name] = _marked(stages[name])
            if (rest := stages[name].without(path)) is None:
                del stages[name]
                break
            stages[name] = rest
    return notes


def _outs(stages: Mapping[str, StageRecord]) -> dict[str, str]:
    """The outputs that are tracked data, each with its stage."""
    return {path: name for name, stage in stages.items() for path, out in stage.outs.items() if out.flags.cache}


def _above(path: str) -> list[str]:
    return [path[:at] for at, char in enumerate(path) if char == "/"]
