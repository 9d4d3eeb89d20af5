"""Lock files on the disk: written together with the lines that keep outputs out of Git."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from vcs_ml import fs, regular
from vcs_ml.errors import UserError
from vcs_ml.store.ingest import stat_numbers
from vcs_ml.workspace import lockfile, pointer_files, tracked
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lockfile import LockFile, LockWriter, StageRecord
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

# Stages by lock file and name; None drops one.
Changes = Mapping[str, Mapping[str, StageRecord | None]]


class LockFiles:
    """The lock files of a project: each is read once, and again after somebody else has changed it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[str, tuple[tuple[int, ...], LockWriter]] = {}

    def read(self, source: str) -> LockFile:
        """The lock file at the project-relative `source`, empty where there is none. UserError if it is damaged."""
        return self._writer(source).lock

    def changed(self) -> list[str]:
        """Those that were read, and that somebody else has changed since."""
        return [source for source, known in self._known.items() if known[0] != _stamp(self._project.root / source)]

    def _writer(self, source: str) -> LockWriter:
        path = self._project.root / source
        stamp = _stamp(path)
        known = self._known.get(source)
        if known is None or known[0] != stamp:
            lock = LockFile(source)
            if stamp and (raw := regular.read(path, lockfile.MAX_SIZE)) is not None:
                lock = lockfile.parse(raw, source, self._project.algorithm)
            known = self._known[source] = (stamp, LockWriter(lock, self._project.algorithm))
        return known[1]

    def write(self, changes: Changes) -> None:
        """Put stages into lock files, and their outputs into .gitignore, as the last thing of a stage that ran.

        What is about to be tracked is ignored by Git before the lock file names it, and what is no longer tracked
        after: killed in between, it can be repeated. Staged where core.autostage is set. The caller holds the
        worktree's lock.
        """
        project = self._project
        before: set[str] = set()
        after: set[str] = set()
        contents: dict[str, bytes] = {}
        try:
            for source, stages in changes.items():
                project.refuse_link_above(source)
                writer = self._writer(source)
                before |= _cached(writer.lock.stages.get(name) for name in stages)
                after |= _cached(stages.values())
                writer.put(stages)
                contents[source] = writer.serialize()
            touched = [*pointer_files.ignore(project, after, add=True), *contents]
            fs.write_many({project.root / source: raw for source, raw in contents.items()}, scratch=project.tmp_dir)
        except BaseException:
            for source in changes:  # what was not written must not be written later, with something else
                self._known.pop(source, None)
            raise
        for source in contents:
            self._known[source] = (_stamp(project.root / source), self._known[source][1])
        if gone := before - after:
            touched += pointer_files.ignore(project, gone - _tracked(project, gone), add=False)
        pointer_files.stage(project, touched)


def ignore(project: Project, paths: Iterable[str]) -> None:
    """Let Git ignore outputs that are about to be made, as far as their directories are there. The caller holds the
    worktree's lock, as for `unignore`.
    """
    pointer_files.stage(project, pointer_files.ignore(project, paths, add=True))


def unignore(project: Project, paths: Collection[str]) -> None:
    """Take that back, where nothing tracks them."""
    if paths:
        pointer_files.stage(project, pointer_files.ignore(project, set(paths) - _tracked(project, paths), add=False))


def record(project: Project, outs: Sequence[Pointer]) -> None:
    """Let lock files say that these outputs hold what they do now; all else in them stays."""
    locks = LockFiles(project)
    changes: dict[str, dict[str, StageRecord | None]] = {}
    for each in outs:
        stages = changes.setdefault(each.lock, {})
        stage = stages.get(each.stage) or locks.read(each.lock).stages[each.stage]
        content = Item(each.oid, each.kind, each.size, each.nfiles)
        stages[each.stage] = stage._replace(outs={**stage.outs, each.path: stage.outs[each.path].holding(content)})
    if changes:
        locks.write(changes)


def drop(project: Project, outs: Iterable[Pointer]) -> None:
    """Let lock files not name these outputs any more. The caller holds the worktree's lock."""
    locks = LockFiles(project)
    changes: dict[str, dict[str, StageRecord | None]] = {}
    for each in outs:
        stages = changes.setdefault(each.lock, {})
        before = stages[each.stage] if each.stage in stages else locks.read(each.lock).stages[each.stage]
        stages[each.stage] = before.without(each.path) if before else None
    if changes:
        locks.write(changes)


def _stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
    try:
        return stat_numbers(os.lstat(path))
    except FileNotFoundError:
        return ()


def _cached(stages: Iterable[StageRecord | None]) -> set[str]:
    return {path for stage in stages if stage for path, out in stage.outs.items() if out.flags.cache}


def _tracked(project: Project, paths: Iterable[str]) -> set[str]:
    """Those of `paths` that something else still tracks; all of them where that cannot be known."""
    owners = tracked.Owners(project)
    try:
        return {path for path in paths if owners.of(path)}
    except UserError:
        return set(paths)
