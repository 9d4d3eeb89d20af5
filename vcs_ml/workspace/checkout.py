"""Checkout: make the workspace what pointers say, without losing a byte that is in no store."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs, git
from vcs_ml.errors import UserError
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.page import Entry
from vcs_ml.workspace import (
    delete,
    litter,
    lock_files,
    planning,
    pointer_files,
    saved,
    single,
    snapshot,
    tracked,
    write,
)
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index, Known
from vcs_ml.workspace.planning import Plan, Work
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot


class Gone(NamedTuple):
    """Paths of which an earlier checkout may have put data here, and that nothing names any more; `is_owned` tells of a
    path whether it is, or lies in, something that is tracked now.
    """

    paths: Sequence[str]
    is_owned: Callable[[str], bool]


class Result(NamedTuple):
    """Files written and removed, bytes written, what `--force` put into the store first, and the pointers and lock
    files whose data was touched.
    """

    written: int
    removed: int
    bytes: int
    saved: list[saved.Saved]
    sources: frozenset[str]


def checkout(
    project: Project,
    store: LocalStore,
    wanted: Iterable[tuple[Pointer, str]],
    *,
    now: Mapping[str, Pointer] | None = None,
    gone: Gone | None = None,
    left: list[tuple[Pointer, UserError]] | None = None,
    force: bool = False,
    meter: Meter,
) -> Result:
    """Write what `wanted` names (a pointer, and a path inside its data or ""), touching only what differs.

    With `now`, all pointers there are, what was checked out here before and none of them names is removed where it
    is unchanged and in the store; of that, `gone` names some instead. Untracked files are left alone. Nothing is
    touched at all if something is missing (MissingObject), or if bytes that no store has are in the way and `force`
    is not set (UserError); with `force` those are stored first. With `left`, such a thing is put there and left as
    it is, of a directory the files that are in the way, and all others are written. Git ignores outputs of stages
    before they come. The caller holds the worktree's lock, and read the pointers under it.
    """
    litter.clean_scratch(project)
    store.enter()
    files = single.Files(project)
    work = Work(project, store, files, Ignore(project.root), meter)
    if left is None:
        plans = [planning.plan(work, each, os.fsencode(inner)) for each, inner in wanted]
        planning.check_present(store, plans)
    else:
        plans = list(_possible(work, wanted, left))
    kept = planning.save_or_refuse(project, store, plans, force=force, meter=meter)
    coming = [plan.each for plan in plans if plan.puts]
    _ignore(project, [each.path for each in coming if each.lock])
    written = removed = size = 0
    changed: set[str] = set()
    for first in plans:
        # Another part of a directory that was just changed is planned anew.
        again = first.each.path in changed
        plan = planning.plan(work, first.each, first.inner) if again else first
        _apply(work, plan)
        changed.add(plan.each.path)
        written += len(plan.puts)
        removed += len(plan.removals)
        size += sum(entry.size for entry in plan.puts)
    pointer_files.keep_out(project, [each for each in coming if not each.lock])
    if now is not None:
        gone = _gone(work, now)
    if gone is not None:
        removed += _remove_gone(work, gone)
    files.save()
    touched = frozenset(plan.each.source for plan in plans if plan.puts or plan.removals)
    return Result(written, removed, size, kept, touched)


def _possible(
    work: Work, wanted: Iterable[tuple[Pointer, str]], left: list[tuple[Pointer, UserError]]
) -> Iterator[Plan]:
    """The plans that can be carried out without anybody's help; what cannot goes to `left`."""
    for each, inner in wanted:
        try:
            plan = planning.plan(work, each, os.fsencode(inner))
            planning.check_present(work.store, [plan])
            planning.save_or_refuse(work.project, work.store, [plan], force=False, meter=work.meter)
        except saved.Unsaved as error:
            left.append((each, error))
            if (rest := planning.past_unsaved(plan)) is not None:
                yield rest
        except UserError as error:
            left.append((each, error))
        else:
            yield plan


def _ignore(project: Project, outs: Sequence[str]) -> None:
    """Let Git ignore outputs. The lines for them may have gone with their directory, of which `vml.lock` is no part as
    pointers are.
    """
    for folder in {path.rpartition("/")[0] for path in outs}:
        os.close(write.open_below(project.root, folder, create=True))
    lock_files.ignore(project, outs)


# ---------------------------------------------------------------------- apply


def _apply(work: Work, plan: Plan) -> None:
    if plan.each.kind != "tree":
        if plan.shot is not None:
            _make_way(work, plan)
        if plan.puts:
            _write_file(work, plan)
    elif plan.shot is None:
        _write_fresh(work.project, work.store, plan, work.meter)
    else:
        root = write.open_below(work.project.root, plan.each.path)
        try:
            delete.files(root, plan.removals, plan.seen)
            _remove_empty(work.project.root / plan.each.path, plan.puts)
            stats = write.write(
                work.store,
                root,
                plan.puts,
                work.meter,
                scratch=write.scratch(work.project, work.project.root / plan.each.path),
                seen=plan.seen,
            )
        finally:
            os.close(root)
        _settle(work.project, work.store, plan, plan.shot, stats)


def _make_way(work: Work, plan: Plan) -> None:
    """Remove the directory that stands where a file is tracked."""
    assert plan.shot is not None
    place = work.project.root / plan.each.path
    root = write.open_below(work.project.root, plan.each.path)
    try:
        delete.files(root, plan.removals, plan.seen)
    finally:
        os.close(root)
    delete.empty_directories(place)
    plan.shot.past.remove()


def _remove_empty(root: Path, puts: Sequence[Entry]) -> None:
    """Remove directories without files that stand where files must be."""
    for path in delete.not_through_links(os.fsencode(root), [entry.path for entry in puts]):
        place = root / os.fsdecode(path)
        if place.is_dir() and not place.is_symlink():
            delete.empty_directories(place)


def _write_file(work: Work, plan: Plan) -> None:
    project = work.project
    parent, _, name = plan.each.path.rpartition("/")
    folder = write.open_below(project.root, parent, create=True)
    try:
        entry = plan.puts[0]._replace(path=os.fsencode(name))
        seen = {entry.path: plan.seen[b""]} if b"" in plan.seen else {}
        scratch = write.scratch(project, project.root / parent)
        (stats,) = write.write(work.store, folder, [entry], work.meter, scratch=scratch, seen=seen)
    finally:
        os.close(folder)
    work.files.learn(plan.each.path, ingest.Stored(entry.digest, stat_index.unpack(stats)))


def _write_fresh(project: Project, store: LocalStore, plan: Plan, meter: Meter) -> None:
    """Build the directory beside its place and rename it once: it is there whole or not at all."""
    parent, _, name = plan.each.path.rpartition("/")
    beside = write.open_below(project.root, parent, create=True)
    try:
        place = write.scratch(project, project.root / parent) / fs.tmp_name()
        place.mkdir()
        base = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            stats = write.write(store, base, plan.puts, meter, scratch=None)
        finally:
            os.close(base)
        if b"" in plan.seen:  # a file, whose bytes are in the store
            write.check_unchanged(beside, os.fsencode(name), b"", plan.seen)
            os.unlink(name, dir_fd=beside)
        os.rename(place, name, dst_dir_fd=beside)
    finally:
        os.close(beside)
    index = Index.new(project.index_dir, plan.each.path, store.algorithm)
    _fill(project, index, plan.puts, stats)
    index.base, index.partial = plan.each.oid, bool(plan.inner)
    index.save()


def _fill(project: Project, index: Index, entries: Sequence[Entry], stats: Sequence[bytes]) -> None:
    now, granularity = fs.clock(project.state_dir)
    groups: dict[bytes, list[int]] = {}
    for i, entry in enumerate(entries):
        groups.setdefault(entry.path.rpartition(b"/")[0], []).append(i)
    for folder, group in groups.items():
        joined = stat_index.unpack(b"".join(stats[i] for i in group))
        index.folders[folder] = Known(
            b"\0".join(entries[i].path.rpartition(b"/")[2] for i in group),
            stat_index.settle(joined, now, granularity),
            b"".join(entries[i].digest for i in group),
        )


def _settle(project: Project, store: LocalStore, plan: Plan, shot: Snapshot, stats: Sequence[bytes]) -> None:
    """Bring the index to what the workspace now holds: the wanted tree, and extras that stay in the memo."""
    index = shot.past
    now, granularity = fs.clock(project.state_dir)
    put = {
        entry.path: (stat_index.settle(stat_index.unpack(raw), now, granularity), entry.digest)
        for entry, raw in zip(plan.puts, stats, strict=True)
    }
    apart = {*plan.extras, *plan.stay}
    gone = {*plan.removals, *apart}
    right = {p: s for p, s in shot.stats.items() if p not in put and p not in gone}
    memo = {p: s for p, s in index.memo.items() if not snapshot.below(p, plan.inner)}
    base = _new_base(store, plan, index)
    # What was deleted by hand and is not wanted either is not among the removals.
    deleted = [path for path, entry in shot.edits.items() if entry is None and path not in put]
    index.update(right | put, [*plan.removals, *deleted])
    index.memo = memo | {p: shot.stats[p] for p in apart}
    index.partial = bool(plan.inner) and (index.partial or index.base is None)
    index.base = base
    index.save()


def _new_base(store: LocalStore, plan: Plan, index: Index) -> ObjectId:
    """The tree that the workspace is a checkout of, once this plan is carried out."""
    if plan.stay:  # of a directory as a whole
        with store.batch() as batch:
            return manifest.edit(plan.each.oid, plan.stay, store.algorithm, store.read, batch.add).root
    if not plan.inner or index.base is None or index.base == plan.each.oid:
        return plan.each.oid
    moved = {
        one.path: new
        for old, new in manifest.diff(index.base, plan.each.oid, store.algorithm, store.read)
        if (one := old or new) and snapshot.below(one.path, plan.inner)
    }
    with store.batch() as batch:
        return manifest.edit(index.base, moved, store.algorithm, store.read, batch.add).root


# ---------------------------------------------------------------------- no longer tracked


def _gone(work: Work, now: Mapping[str, Pointer]) -> Gone:
    """What an earlier checkout put here and no pointer names."""
    project = work.project
    indexes = {index.tracked for index in Index.all(project.index_dir, project.algorithm) if index.tracked}
    paths = sorted((indexes | work.files.paths()) - now.keys())
    return Gone(paths, lambda path: tracked.owner(path, now) is not None)


def _remove_gone(work: Work, gone: Gone) -> int:
    """Remove what an earlier checkout put here; files removed."""
    project = work.project
    if not gone.paths:
        return 0
    in_git = set(git.run(["ls-files", "-z"], project.git.cwd).split(b"\0"))

    def is_ours(path: str) -> bool:
        # Since then it may have become part of something else that is tracked, or a file of Git's.
        return not gone.is_owned(path) and os.fsencode(project.in_git(path)) not in in_git

    return sum(_remove_gone_thing(work, path, is_ours) for path in gone.paths)


def _remove_gone_thing(work: Work, path: str, is_ours: Callable[[str], bool]) -> int:
    """Remove it if it is unchanged and the store has it; files removed."""
    project, store = work.project, work.store
    index = Index.load(project.index_dir, path, project.algorithm)
    if not index.loaded:
        return _remove_gone_file(work, path) if is_ours(path) else 0
    if project.link_above(path):
        index.remove()
        return 0
    shot = snapshot.take(project, path, work.ignore, snapshot.measurer(project, work.meter))
    here = [entry for entry in index.entries() if is_ours(f"{path}/{os.fsdecode(entry.path)}")]
    changed = any(shot.before.get(entry.path) is not None for entry in here)
    if changed or planning.in_no_store(store, here):
        return 0
    index.remove()
    try:
        root = write.open_below(project.root, path)
    except (OSError, UserError):
        return 0
    try:
        gone = [entry.path for entry in here]
        delete.files(root, gone, delete.seen(project.root / path, gone, shot))
    finally:
        os.close(root)
    with contextlib.suppress(OSError):
        (project.root / path).rmdir()
    return len(here)


def _remove_gone_file(work: Work, path: str) -> int:
    if work.project.link_above(path):
        work.files.forget(path)
        return 0
    before = work.files.known(path)
    here, _ = work.files.look(path, meter=work.meter)
    if here is None or before is None or here.digest != before or work.store.unsafe([objects.blob(before)]):
        return 0
    (work.project.root / path).unlink()
    work.files.forget(path)
    return 1
