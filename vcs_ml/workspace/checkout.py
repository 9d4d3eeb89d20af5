"""Checkout: make the workspace what pointers say, without losing a byte that is in no store."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs, locks
from vcs_ml.errors import UserError
from vcs_ml.output import count, quote
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.page import Entry
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace import saved, single, snapshot, tree, write
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index, Known
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot


class Plan(NamedTuple):
    """What must happen to one tracked thing. Paths of entries are relative to its root.

    `shot` is None for a file, and for a directory that is not there yet: it is built and renamed once.
    `unsaved` are files in the way whose bytes are in no store, `extras` untracked files that stay.
    """

    each: Pointer
    inner: bytes
    shot: Snapshot | None
    puts: list[Entry]
    removals: list[bytes]
    unsaved: list[Entry]
    extras: list[bytes]


class Result(NamedTuple):
    """Files written and removed, bytes written, and what `--force` put into the store first."""

    written: int
    removed: int
    bytes: int
    saved: list[saved.Saved]


class _Work(NamedTuple):
    """What every step of one checkout works with."""

    project: Project
    store: LocalStore
    files: single.Files
    ignore: Ignore
    meter: Meter


def checkout(
    project: Project,
    store: LocalStore,
    wanted: Iterable[tuple[Pointer, str]],
    *,
    gone: Iterable[str] = (),
    force: bool = False,
    meter: Meter,
) -> Result:
    """Write what `wanted` names (a pointer, and a path inside its data or ""), touching only what differs.

    `gone` are things that were tracked before and are no longer: they are removed where they are unchanged and
    in the store. Untracked files are left alone. Nothing is touched at all if something is missing
    (MissingObject), or if bytes that no store has are in the way and `force` is not set (UserError); with
    `force` those are stored first.
    """
    with locks.lock(project.lock_dir / "index", timeout=project.config.lock_timeout):
        _clean_scratch(project)
        files = single.Files(project)
        work = _Work(project, store, files, Ignore(project.root), meter)
        plans = [_plan(work, each, os.fsencode(inner)) for each, inner in wanted]
        _check_present(store, plans)
        kept = _save_or_refuse(project, store, plans, force=force, meter=meter)
        written = removed = size = 0
        for plan in plans:
            _apply(work, plan)
            written += len(plan.puts)
            removed += len(plan.removals)
            size += sum(entry.size for entry in plan.puts)
        for path in gone:
            removed += _remove_gone(work, path)
        files.save()
        return Result(written, removed, size, kept)


def _clean_scratch(project: Project) -> None:
    """Remove what a killed checkout left; the lock is ours, so nobody else is writing there."""
    with contextlib.suppress(FileNotFoundError):
        for left in os.scandir(project.tmp_dir):
            if left.is_dir(follow_symlinks=False):
                shutil.rmtree(left.path)
            else:
                Path(left.path).unlink()


# ---------------------------------------------------------------------- plan


def _plan(work: _Work, each: Pointer, inner: bytes) -> Plan:
    if each.kind != "tree":
        return _plan_file(work, each)
    project, store = work.project, work.store
    root = project.root / each.path
    if not os.path.lexists(root):
        puts = list(manifest.under(each.oid, inner, store.algorithm, store.read))
        _check_found(each, inner, puts)
        return Plan(each, inner, None, puts, [], [], [])
    if not root.is_dir() or root.is_symlink():
        raise UserError(
            f"{quote(each.path)} is not a directory, but a directory is tracked there",
            hint="move it away, then run the command again",
        )
    shot = snapshot.take(project, each.path, work.ignore, snapshot.measurer(project, work.meter), prefix=inner)
    if inner and not shot.walk.folders:
        _check_found(each, inner, list(manifest.under(each.oid, inner, store.algorithm, store.read)))
    puts, removals, extras, unsaved = [], [], [], {}
    for path, here, wanted, base, _ in snapshot.apart(shot, each.oid, store.read, inner):
        if wanted is None and base is None:
            extras.append(path)
            continue
        if wanted is not None:
            puts.append(wanted)
        elif here is not None:
            removals.append(path)
        if here is not None and objects.blob(here.digest) not in store:
            unsaved[path] = here
        elif here is None and wanted is not None and _is_file(root / os.fsdecode(path)):
            unsaved[path] = wanted  # an ignored file: the walk passed it by, so nobody knows its bytes
    blockers = _blockers(shot, puts, removals)
    for path, entry in blockers.items():
        removals.append(path)
        if path in extras:
            extras.remove(path)
        if entry.digest == b"" or objects.blob(entry.digest) not in store:
            unsaved[path] = entry
    return Plan(each, inner, shot, puts, removals, list(unsaved.values()), extras)


def _is_file(path: Path) -> bool:
    return os.path.lexists(path) and (path.is_symlink() or not path.is_dir())


def _check_found(each: Pointer, inner: bytes, puts: Sequence[Entry]) -> None:
    if inner and not puts:
        raise UserError(
            f"{quote(each.path)} has no {quote(inner)}", hint=f"vml ls {quote(each.path)} lists what it has"
        )


def _blockers(shot: Snapshot, puts: Sequence[Entry], removals: Sequence[bytes]) -> dict[bytes, Entry]:
    """Files that stand where a directory must be, or lie below where a file must be."""
    here = {tree.join(folder.path, name) for folder in shot.walk.folders for name in folder.names}
    here.difference_update(removals)
    wanted = {entry.path for entry in puts}
    folders = {folder.path for folder in shot.walk.folders}
    above = {path.rpartition(b"/")[0] for path in wanted}
    for path in list(above):
        while path := path.rpartition(b"/")[0]:
            above.add(path)
    blocking = here & above
    if wanted & folders or any(p in wanted for f in folders for p in _parents(f)):
        blocking |= {path for path in here if any(p in wanted for p in _parents(path))}
    known = {entry.path: entry for entry in shot.past.entries()} if blocking else {}
    return {
        path: entry if (entry := shot.edits.get(path) or known.get(path)) else Entry(path, 0, 0, b"")
        for path in sorted(blocking)
    }


def _parents(path: bytes) -> Iterable[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


def _plan_file(work: _Work, each: Pointer) -> Plan:
    wanted = single.entry_of(each)
    here, _ = work.files.look(each.path, meter=work.meter)
    if here == wanted:
        return Plan(each, b"", None, [], [], [], [])
    if here is not None and here.size < 0:
        raise UserError(
            f"{quote(each.path)} is a directory, but a file is tracked there",
            hint="move it away, then run the command again",
        )
    unsaved = [here] if here is not None and objects.blob(here.digest) not in work.store else []
    return Plan(each, b"", None, [wanted], [], unsaved, [])


def _check_present(store: LocalStore, plans: Sequence[Plan]) -> None:
    wanted = {
        objects.blob(entry.digest): (plan.each.path, entry)
        for plan in plans
        if plan.puts and store.missing(plan.each.oid)  # what is known to be complete needs no look at each file
        for entry in plan.puts
    }
    lacking = store.lacking(wanted)
    if not lacking:
        return
    path, entry = wanted[lacking[0]]
    oid = objects.blob(entry.digest)
    name = path if os.fsencode(path) == entry.path else f"{path}/{os.fsdecode(entry.path)}"
    more = f", and {count(len(lacking) - 1, 'more file')}" if len(lacking) > 1 else ""
    raise MissingObject(
        oid,
        f"{quote(name)} is not in the local store{more}: {objects.describe(oid, store.algorithm)}",
        hint=f"vml pull {quote(path)} brings it from the default remote, -r NAME from another",
    )


def _save_or_refuse(
    project: Project, store: LocalStore, plans: Sequence[Plan], *, force: bool, meter: Meter
) -> list[saved.Saved]:
    risks = [(plan, entry) for plan in plans for entry in plan.unsaved]
    if not risks:
        return []
    if not force:
        raise saved.refusal(
            [_full(plan, entry.path) for plan, entry in risks],
            "overwritten or removed",
            hint="vml add keeps them as a new version; --force stores them, then replaces them",
        )
    return saved.keep(project, store, [_full(plan, entry.path) for plan, entry in risks], meter)


def _full(plan: Plan, path: bytes) -> str:
    return plan.each.path if plan.each.kind != "tree" else f"{plan.each.path}/{os.fsdecode(path)}"


# ---------------------------------------------------------------------- apply


def _apply(work: _Work, plan: Plan) -> None:
    if plan.each.kind != "tree":
        if plan.puts:
            _write_file(work, plan)
    elif plan.shot is None:
        _write_fresh(work.project, work.store, plan, work.meter)
    else:
        root = os.open(work.project.root / plan.each.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _remove(root, plan.removals)
            stats = write.write(work.store, root, plan.puts, work.meter, scratch=_scratch(work.project, root))
        finally:
            os.close(root)
        _settle(work.project, work.store, plan, plan.shot, stats)


def _write_file(work: _Work, plan: Plan) -> None:
    project = work.project
    parent, _, name = plan.each.path.rpartition("/")
    top = os.open(project.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        folder = write.open_directory(top, os.fsencode(parent), create=True)
    finally:
        os.close(top)
    try:
        entry = plan.puts[0]._replace(path=os.fsencode(name))
        (stats,) = write.write(work.store, folder, [entry], work.meter, scratch=_scratch(project, folder))
    finally:
        os.close(folder)
    work.files.learn(plan.each.path, ingest.Stored(entry.digest, stat_index.unpack(stats)))


def _scratch(project: Project, directory: int) -> Path:
    """A directory for temporary files from which a rename reaches `directory`."""
    project.tmp_dir.mkdir(parents=True, exist_ok=True)
    if project.tmp_dir.stat().st_dev == os.fstat(directory).st_dev:
        return project.tmp_dir
    return Path(os.readlink(f"/proc/self/fd/{directory}"))


def _write_fresh(project: Project, store: LocalStore, plan: Plan, meter: Meter) -> None:
    """Build the directory beside its place and rename it once: it is there whole or not at all."""
    parent, _, name = plan.each.path.rpartition("/")
    top = os.open(project.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        beside = write.open_directory(top, os.fsencode(parent), create=True)
    finally:
        os.close(top)
    try:
        place = _scratch(project, beside) / fs.tmp_name()
        place.mkdir()
        base = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            stats = write.write(store, base, plan.puts, meter, scratch=None)
        finally:
            os.close(base)
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


def _remove(root: int, paths: Iterable[bytes]) -> None:
    """Unlink files below an open directory, and the directories that this empties."""
    emptied: set[bytes] = set()
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        try:
            directory = write.open_directory(root, folder, create=False)
        except FileNotFoundError:
            continue
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)
        emptied.update(_parents(path))
    for path in sorted(emptied, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(path, dir_fd=root)


def _settle(project: Project, store: LocalStore, plan: Plan, shot: Snapshot, stats: Sequence[bytes]) -> None:
    """Bring the index to what the workspace now holds: the wanted tree, and extras that stay in the memo."""
    index = shot.past
    now, granularity = fs.clock(project.state_dir)
    put = {
        entry.path: (stat_index.settle(stat_index.unpack(raw), now, granularity), entry.digest)
        for entry, raw in zip(plan.puts, stats, strict=True)
    }
    gone = {*plan.removals, *plan.extras}
    right = {p: s for p, s in shot.stats.items() if p not in put and p not in gone}
    memo = {p: s for p, s in index.memo.items() if not snapshot.below(p, plan.inner)}
    base = _new_base(store, plan, index)
    index.update(right | put, plan.removals)
    index.memo = memo | {p: shot.stats[p] for p in plan.extras}
    index.partial = bool(plan.inner) and (index.partial or not index.loaded)
    index.base = base
    index.save()


def _new_base(store: LocalStore, plan: Plan, index: Index) -> ObjectId:
    """The tree that the workspace is a checkout of, once this plan is carried out."""
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


def formerly(project: Project, pointers: Iterable[str]) -> list[str]:
    """Paths of things that were checked out here and that no pointer names now."""
    now = set(pointers)
    known = {index.tracked for index in Index.all(project.index_dir, project.algorithm) if index.tracked}
    singles = Index.load(project.index_dir, "", project.algorithm).files()
    return sorted((known | {os.fsdecode(path) for path in singles}) - now)


def _remove_gone(work: _Work, path: str) -> int:
    """Remove what an earlier checkout put there, if it is unchanged and the store has it; files removed."""
    project, store = work.project, work.store
    index = Index.load(project.index_dir, path, project.algorithm)
    if not index.loaded:
        return _remove_gone_file(work, path)
    shot = snapshot.take(project, path, work.ignore, snapshot.measurer(project, work.meter))
    known = [entry.path for entry in index.entries()]
    safe = all(objects.blob(entry.digest) in store for entry in index.entries())
    changed = any(before is not None for before in shot.before.values())
    if changed or not safe:
        return 0
    index.remove()
    try:
        root = os.open(project.root / path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        _remove(root, known)
    finally:
        os.close(root)
    with contextlib.suppress(OSError):
        (project.root / path).rmdir()
    return len(known)


def _remove_gone_file(work: _Work, path: str) -> int:
    before = work.files.known(path)
    here, _ = work.files.look(path, meter=work.meter)
    if here is None or before is None or here.digest != before or objects.blob(before) not in work.store:
        return 0
    (work.project.root / path).unlink()
    work.files.forget(path)
    return 1
