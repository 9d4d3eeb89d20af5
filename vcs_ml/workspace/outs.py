"""Outputs of stages: what a stage has made goes into the store, and then into the lock file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self

from vcs_ml import paths
from vcs_ml.errors import UserError, VmlError
from vcs_ml.output import quote
from vcs_ml.progress import Meter
from vcs_ml.store import objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import record, tracked
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.lockfile import Flags, OutItem, StageRecord
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.record import Done, Job
from vcs_ml.workspace.targets import Target

StageKey = tuple[str, str]  # the lock file and the name


class _Change(NamedTuple):
    """A stage that is to be recorded, and all that this changes in lock files: others may lose what it makes now."""

    key: StageKey
    stages: dict[str, dict[str, StageRecord | None]]

    def outs(self) -> Mapping[str, OutItem]:
        source, name = self.key
        stage = self.stages.get(source, {}).get(name)
        return stage.outs if stage else {}


class Recording:
    """Records what stages have made. Some short stages may share one `flush`, which costs a few syncs of the disk.

    The caller holds the worktree's lock from the first `outs` to the `flush` after it: until then nothing names the
    objects, nobody sees them, and a kill forgets them. Leaving the block flushes; with an error, it forgets.
    """

    def __init__(self, project: Project, store: LocalStore, gauge: Gauge, locks: LockFiles, meter: Meter) -> None:
        self._project, self._store, self._gauge, self._locks, self._meter = project, store, gauge, locks, meter
        self._open = ExitStack()
        self._job: Job | None = None
        self._done: list[Done] = []
        self._stages: dict[str, dict[str, StageRecord | None]] = {}
        self._changes: list[_Change] = []  # what `_stages` come from, in order
        # Directories that something tracked lies in, or once lay in: only these are looked through.
        self._around = {folder for path in gauge.pointers for folder in _above(path)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()
        else:
            self._open.__exit__(kind, error, trace)

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return self._job is not None or bool(self._stages)

    @property
    def latest(self) -> StageKey:
        """The stage that is to be recorded, and came last."""
        return self._changes[-1].key

    def outs(self, wanted: Mapping[str, Flags]) -> dict[str, OutItem]:
        """Store what is at these project-relative paths now, whatever was there before; what Git has is only measured.

        UserError for what is not there or cannot be tracked.
        """
        found: dict[str, Item] = {}
        cached = []
        for path, flags in wanted.items():
            if why := paths.problem(path):
                raise UserError(f"{quote(path)} is no output: {why}", hint="outputs lie in the project")
            tracked.check_name(path)
            self._project.refuse_link_above(path)
            full = self._project.root / path
            if not os.path.lexists(full):
                raise UserError(f"the output {quote(path)} was not made", hint="does its stage write it elsewhere?")
            if not (full.is_file() or full.is_dir() or full.is_symlink()):
                raise UserError(
                    f"the output {quote(path)} is neither a file nor a directory", hint="only these can be recorded"
                )
            if flags.cache:
                known = self._gauge.pointers.get(path)
                # A directory was made anew: its recorded version tells nothing of what has to be there.
                cached.append(Target(path, (), None if full.is_dir() else known))
            elif item := self._gauge.measure(path):
                found[path] = item
        if cached:
            for done in record.take(self._begin(), self._gauge.files, cached):
                self._done.append(done)
                new = done.recorded.new
                found[new.path] = Item(new.oid, new.kind, new.size, new.nfiles)
        return {path: OutItem(*found[path], flags) for path, flags in wanted.items()}

    def stage(self, source: str, name: str, stage: StageRecord | None) -> None:
        """With the next flush, the lock file `source` has this stage (None: not any more); its outputs are tracked,
        which the gauge knows at once. Another stage that was recorded with one of them, or with what lies in or around
        one, has that no more, and is dropped with its last output.
        """
        others = self._others(source, name, stage) if stage else []
        if stage:  # what its command wrote and the store does not take is for Git
            self._project.written.update(path for path, out in stage.outs.items() if not out.flags.cache)
        self._changes.append(_Change((source, name), {}))
        for each in others:
            self._take(each)
        self._put(source, name, stage)

    def _others(self, source: str, name: str, stage: StageRecord) -> list[Pointer]:
        """Outputs of other stages that lie at, in or around those of this one."""
        pointers = self._gauge.pointers
        ours = [path for path, out in stage.outs.items() if out.flags.cache]
        found = {above[0].path: above[0] for path in ours if (above := tracked.owner(path, pointers))}
        if inside := tuple(f"{path}/" for path in ours if path in self._around):
            found |= {path: each for path, each in pointers.items() if path.startswith(inside)}
        return [each for each in found.values() if each.lock and (each.lock, each.stage) != (source, name)]

    def _take(self, out: Pointer) -> None:
        """Take an output from the stage that was recorded with it."""
        if before := self._known(out.lock, out.stage):
            self._put(out.lock, out.stage, before.without(out.path))

    def _known(self, source: str, name: str) -> StageRecord | None:
        """What the stage is recorded with now, if only with the next flush."""
        stages = self._stages.get(source, {})
        return stages[name] if name in stages else self._locks.read(source).stages.get(name)

    def _put(self, source: str, name: str, stage: StageRecord | None) -> None:
        pointers = self._gauge.pointers
        before = self._known(source, name)
        for path in before.outs if before else ():
            each = pointers.get(path)
            if each is not None and (each.lock, each.stage) == (source, name):
                del pointers[path]
        for stages in (self._stages, self._changes[-1].stages):
            stages.setdefault(source, {})[name] = stage
        if stage:
            self._track(source, name, stage)

    def learn(self, source: str) -> None:
        """Let the gauge know what somebody else has put into this lock file."""
        stages = self._locks.read(source).stages
        pointers = self._gauge.pointers
        for path in [path for path, each in pointers.items() if each.lock == source]:
            del pointers[path]
        for name, stage in stages.items():
            self._track(source, name, stage)

    def keep(self, path: str, oid: ObjectId) -> None:
        """Store also a small file at `path` that Git has, or nobody. UserError if it no longer is `oid`."""
        raw = (self._project.root / path).read_bytes()
        if objects.blob(self._project.algorithm.digest(raw)) != oid:
            raise UserError(f"{quote(path)} changed meanwhile", hint="let its stage be done when its command ends")
        self._begin().batch.add(oid, raw)

    def _begin(self) -> Job:
        if self._job is None:
            batch = self._open.enter_context(self._store.batch())
            self._job = Job(self._project, self._store, batch, Ignore(self._project.root), self._meter, {})
        return self._job

    def flush(self) -> None:
        """Make objects durable, then name them in lock files, then bring the stat index up to date.

        After an error, nothing of it is left to be flushed: what is not durable must not be named later.
        """
        stages, _, done = self._begin_flush()
        self._open.close()
        if stages:
            self._locks.write(stages)
        self._settle(done)

    def flush_each(self) -> dict[StageKey, VmlError | OSError]:
        """`flush`, but what cannot be written for one stage is the error of that stage, and the others are recorded.

        The stages that are not recorded, and why. A stat index that cannot be written is left as it was, as by a kill.
        """
        stages, changes, done = self._begin_flush()
        lost: dict[StageKey, VmlError | OSError] = {}
        try:
            self._open.close()
        except (VmlError, OSError) as error:
            lost, done = {each.key: error for each in changes}, []
        else:
            if stages:
                lost = self._write(stages, changes)
        gone = {path for each in changes if each.key in lost for path in each.outs()}
        with contextlib.suppress(OSError):
            self._settle([each for each in done if each.recorded.path not in gone])
        for source in {source for each in changes if each.key in lost for source in each.stages}:
            with contextlib.suppress(VmlError, OSError):  # whoever looks at it next is told
                self.learn(source)
        return lost

    def _begin_flush(self) -> tuple[dict[str, dict[str, StageRecord | None]], list[_Change], list[Done]]:
        found = self._stages, self._changes, self._done
        self._stages, self._changes, self._done, self._job = {}, [], [], None
        return found

    def _write(
        self, stages: dict[str, dict[str, StageRecord | None]], changes: list[_Change]
    ) -> dict[StageKey, VmlError | OSError]:
        """Write stages together or, where that fails, one after the other: those that cannot be written."""
        lost: dict[StageKey, VmlError | OSError] = {}
        try:
            self._locks.write(stages)
        except (VmlError, OSError):
            for each in changes:
                try:
                    self._locks.write(each.stages)
                except (VmlError, OSError) as error:
                    lost[each.key] = error
        return lost

    def _settle(self, done: list[Done]) -> None:
        self._gauge.save()
        for each in done:  # after what was measured before the stage ran
            each.settle()

    def _track(self, source: str, name: str, stage: StageRecord) -> None:
        """Let the gauge know what this stage tracks."""
        for path, out in stage.outs.items():
            if out.flags.cache:
                self._gauge.pointers[path] = Pointer(path, *out.item, {}, name, source)
                self._around.update(_above(path))


def _above(path: str) -> Iterator[str]:
    """The directories that a path lies in."""
    while path := path.rpartition("/")[0]:
        yield path
