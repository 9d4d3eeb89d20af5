"""Checkout: make the workspace what pointers say, without losing a byte that is in no store."""

from __future__ import annotations

import contextlib
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs, git, paths
from vcs_ml.errors import UserError
from vcs_ml.output import count, quote
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.page import Entry
from vcs_ml.workspace import delete, litter, saved, single, snapshot, tracked, tree, write
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index, Known
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot


class Plan(NamedTuple):
    """What must happen to one tracked thing. Paths of entries are relative to its root.

    `shot` is the directory that is there now: None where there is none, also if a file must make way for one.
    `unsaved` are files in the way whose bytes are in no store, `extras` untracked files that stay; `seen` the
    stats of everything that is to be replaced or removed (of a file in the place of a directory under "").
    """

    each: Pointer
    inner: bytes
    shot: Snapshot | None
    puts: list[Entry]
    removals: list[bytes]
    unsaved: list[Entry]
    extras: list[bytes]
    seen: Mapping[bytes, bytes]


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
    now: Mapping[str, Pointer] | None = None,
    force: bool = False,
    meter: Meter,
) -> Result:
    """Write what `wanted` names (a pointer, and a path inside its data or ""), touching only what differs.

    With `now`, all pointers there are, what was checked out here before and none of them names is removed where
    it is unchanged and in the store. Untracked files are left alone. Nothing is touched at all if something is missing
    (MissingObject), or if bytes that no store has are in the way and `force` is not set (UserError); with
    `force` those are stored first. The caller holds the worktree's lock, and read the pointers under it.
    """
    litter.clean_scratch(project)
    store.enter()
    files = single.Files(project)
    work = _Work(project, store, files, Ignore(project.root), meter)
    plans = [_plan(work, each, os.fsencode(inner)) for each, inner in wanted]
    _check_present(store, plans)
    kept = _save_or_refuse(project, store, plans, force=force, meter=meter)
    written = removed = size = 0
    changed: set[str] = set()
    for first in plans:
        # Another part of a directory that was just changed is planned anew.
        again = first.each.path in changed
        plan = _plan(work, first.each, first.inner) if again else first
        _apply(work, plan)
        changed.add(plan.each.path)
        written += len(plan.puts)
        removed += len(plan.removals)
        size += sum(entry.size for entry in plan.puts)
    if now is not None:
        removed += _remove_gone(work, now)
    files.save()
    return Result(written, removed, size, kept)


# ---------------------------------------------------------------------- plan


def _plan(work: _Work, each: Pointer, inner: bytes) -> Plan:
    work.project.refuse_link_above(each.path)
    if each.kind != "tree":
        return _plan_file(work, each)
    try:
        return _plan_tree(work, each, inner)
    except MissingObject as error:
        raise MissingObject(
            error.oid,
            f"the list of files of {quote(each.path)} is not in the local store",
            hint=f"vml pull {quote(each.path)} brings it from the default remote, -r NAME from another",
        ) from None


def _plan_tree(work: _Work, each: Pointer, inner: bytes) -> Plan:
    project, store = work.project, work.store
    root = project.root / each.path
    if (root.is_symlink() and not tree.is_object(os.fsencode(root), project.loose)) or not (
        root.is_dir() or root.is_file() or not root.exists()
    ):
        raise UserError(
            f"{quote(each.path)} is not a directory, but a directory is tracked there",
            hint="move it away, then run the command again",
        )
    if not root.is_dir():
        fresh = list(manifest.under(each.oid, inner, store.algorithm, store.read))
        _check_found(each, inner, fresh)
        seen = delete.seen(root, [b""])
        file, _ = work.files.look(each.path, meter=work.meter)
        return Plan(each, inner, None, fresh, [], _unsaved(store, [file] if file else []), [], seen)
    shot = snapshot.take(project, each.path, work.ignore, snapshot.measurer(project, work.meter), prefix=inner)
    if inner and not shot.walk.folders:
        _check_found(each, inner, list(manifest.under(each.oid, inner, store.algorithm, store.read)))
    puts = {entry.path: entry for entry in _never_here(store, each, shot, inner)}
    in_the_way: dict[bytes, Entry] = {}
    removals, extras = [], []
    for path, here, wanted, base, _ in snapshot.apart(shot, each.oid, store.read, inner):
        if wanted is None and base is None:
            extras.append(path)
            continue
        if wanted is not None:
            puts[path] = wanted
        elif here is not None:
            removals.append(path)
        if here is not None:
            in_the_way[path] = here
    in_the_way.update(_unseen(work, root, [path for path in puts if path not in in_the_way]))
    wanted_files = sorted(puts.values(), key=lambda entry: paths.key(entry.path))
    blockers = _blockers(shot, wanted_files, removals)
    extras = [path for path in extras if path not in blockers]
    unsaved = _unsaved(store, (in_the_way | blockers).values())
    removals += blockers
    seen = delete.seen(root, [*removals, *puts], shot)
    return Plan(each, inner, shot, wanted_files, removals, unsaved, extras, seen)


def _unsaved(store: LocalStore, entries: Iterable[Entry]) -> list[Entry]:
    looked_at = list(entries)
    absent = set(store.unsafe(objects.blob(entry.digest) for entry in looked_at if entry.digest))
    return [entry for entry in looked_at if not entry.digest or objects.blob(entry.digest) in absent]


def _never_here(store: LocalStore, each: Pointer, shot: Snapshot, inner: bytes) -> Iterator[Entry]:
    """What an earlier checkout of a part left out; `apart` tells it only where trees differ."""
    if shot.past.partial:
        known = shot.past.files()
        for entry in manifest.under(each.oid, inner, store.algorithm, store.read):
            if entry.path not in known and entry.path not in shot.edits:
                yield entry


def _unseen(work: _Work, root: Path, wanted: Iterable[bytes]) -> Iterator[tuple[bytes, Entry]]:
    """Files where others will be written and that the walk left out, because they are ignored."""
    base = os.fsencode(root)
    for path in delete.not_through_links(base, wanted):
        try:
            st = os.lstat(os.path.join(base, path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode):
            loose = work.project.loose if stat.S_ISLNK(st.st_mode) else None
            if (numbers := tree.look(os.path.join(base, path), st, loose)) is None:
                continue
            folder = ingest.Folder(os.path.dirname(path), [os.path.basename(path)], array("q", numbers))
            (stored,) = ingest.measure(work.project.algorithm, base, [folder], work.meter)
            yield path, Entry(path, tree.entry_kind(numbers[4]), numbers[0], stored.digests)


def _check_found(each: Pointer, inner: bytes, puts: Sequence[Entry]) -> None:
    if inner and not puts:
        raise UserError(
            f"{quote(each.path)} has no {quote(inner)}", hint=f"vml ls {quote(each.path)} lists what it has"
        )


def _blockers(shot: Snapshot, puts: Sequence[Entry], removals: Sequence[bytes]) -> dict[bytes, Entry]:
    """Files that stand where a directory must be, or lie below where a file must be."""
    if not puts:
        return {}
    here = {tree.join(folder.path, name) for folder in shot.walk.folders for name in folder.names}
    here.difference_update(removals)
    wanted = {entry.path for entry in puts}
    folders = {folder.path for folder in shot.walk.folders}
    above = {path.rpartition(b"/")[0] for path in wanted}
    for path in list(above):
        while path := path.rpartition(b"/")[0]:
            above.add(path)
    blocking = here & above
    if wanted & folders or any(p in wanted for f in folders for p in delete.parents(f)):
        blocking |= {path for path in here if any(p in wanted for p in delete.parents(path))}
    known = {entry.path: entry for entry in shot.past.entries()} if blocking else {}
    return {
        path: entry if (entry := shot.edits.get(path) or known.get(path)) else Entry(path, 0, 0, b"")
        for path in sorted(blocking)
    }


def _plan_file(work: _Work, each: Pointer) -> Plan:
    wanted = single.entry_of(each)
    place = work.project.root / each.path
    seen = delete.seen(place, [b""])
    here, _ = work.files.look(each.path, meter=work.meter)
    if here == wanted:
        return Plan(each, b"", None, [], [], [], [], {})
    if here is not None and here.size < 0:
        return _plan_file_for_directory(work, each, wanted)
    return Plan(each, b"", None, [wanted], [], _unsaved(work.store, [here] if here else []), [], seen)


def _plan_file_for_directory(work: _Work, each: Pointer, wanted: Entry) -> Plan:
    shot = snapshot.take(work.project, each.path, work.ignore, snapshot.measurer(work.project, work.meter))
    here = delete.files_here(shot)
    root = os.fsencode(work.project.root / each.path)
    found = {os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names}
    if others := found - here.keys():
        raise UserError(
            f"{quote(each.path)} is a directory with {quote(min(others))} in it, but a file is tracked there",
            hint="move it away, then run the command again",
        )
    seen = delete.seen(work.project.root / each.path, here, shot)
    return Plan(each, b"", shot, [wanted], list(here), _unsaved(work.store, here.values()), [], seen)


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
    return plan.each.path if plan.shot is None else f"{plan.each.path}/{os.fsdecode(path)}"


# ---------------------------------------------------------------------- apply


def _apply(work: _Work, plan: Plan) -> None:
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


def _make_way(work: _Work, plan: Plan) -> None:
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


def _write_file(work: _Work, plan: Plan) -> None:
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
    gone = {*plan.removals, *plan.extras}
    right = {p: s for p, s in shot.stats.items() if p not in put and p not in gone}
    memo = {p: s for p, s in index.memo.items() if not snapshot.below(p, plan.inner)}
    base = _new_base(store, plan, index)
    # What was deleted by hand and is not wanted either is not among the removals.
    deleted = [path for path, entry in shot.edits.items() if entry is None and path not in put]
    index.update(right | put, [*plan.removals, *deleted])
    index.memo = memo | {p: shot.stats[p] for p in plan.extras}
    index.partial = bool(plan.inner) and (index.partial or index.base is None)
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


def _remove_gone(work: _Work, now: Mapping[str, Pointer]) -> int:
    """Remove what an earlier checkout put here and no pointer names; files removed."""
    project = work.project
    indexes = {index.tracked for index in Index.all(project.index_dir, project.algorithm) if index.tracked}
    gone = sorted((indexes | work.files.paths()) - now.keys())
    if not gone:
        return 0
    in_git = set(git.run(["ls-files", "-z"], project.git.cwd).split(b"\0"))

    def is_ours(path: str) -> bool:
        # Since then it may have become part of something else that is tracked, or a file of Git's.
        return tracked.owner(path, now) is None and os.fsencode(project.in_git(path)) not in in_git

    return sum(_remove_gone_thing(work, path, is_ours) for path in gone)


def _remove_gone_thing(work: _Work, path: str, is_ours: Callable[[str], bool]) -> int:
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
    if changed or _unsaved(store, here):
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


def _remove_gone_file(work: _Work, path: str) -> int:
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
