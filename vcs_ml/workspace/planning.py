"""What a checkout has to do, decided before anything is touched: what comes, what goes, what would be lost."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.output import count, quote, word
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import delete, opening, saved, single, snapshot, tree
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot


class Plan(NamedTuple):
    """What must happen to one tracked thing. Paths of entries are relative to its root.

    `shot` is the directory that is there now: None where there is none, also if a file must make way for one.
    `unsaved` are files in the way whose bytes are in no store, `extras` untracked files that stay; `seen` the
    stats of everything that is to be replaced or removed (of a file in the place of a directory under ""). `stay`
    are edited files that are left as they are, with what they were edited from.
    """

    each: Pointer
    inner: bytes
    shot: Snapshot | None
    puts: list[Entry]
    removals: list[bytes]
    unsaved: list[Entry]
    extras: list[bytes]
    seen: Mapping[bytes, bytes]
    stay: Mapping[bytes, Entry | None] = {}


class Work(NamedTuple):
    """What every step of one checkout works with."""

    project: Project
    store: LocalStore
    files: single.Files
    ignore: Ignore
    meter: Meter


def plan(work: Work, each: Pointer, inner: bytes) -> Plan:
    work.project.refuse_link_above(each.path)
    if each.kind != "tree":
        return _plan_file(work, each)
    try:
        return _plan_tree(work, each, inner)
    except MissingObject as error:
        raise MissingObject(
            error.oid,
            f"the list of files of {quote(each.path)} is not in the local store",
            hint=f"vml pull {word(each.path)} brings it from the default remote, -r NAME from another",
        ) from None


def _plan_tree(work: Work, each: Pointer, inner: bytes) -> Plan:
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
        return Plan(each, inner, None, fresh, [], in_no_store(store, [file] if file else []), [], seen)
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
    unsaved = in_no_store(store, (in_the_way | blockers).values())
    removals += blockers
    seen = delete.seen(root, [*removals, *puts], shot)
    return Plan(each, inner, shot, wanted_files, removals, unsaved, extras, seen)


def in_no_store(store: LocalStore, entries: Iterable[Entry]) -> list[Entry]:
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


def _unseen(work: Work, root: Path, wanted: Iterable[bytes]) -> Iterator[tuple[bytes, Entry]]:
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
        raise opening.nothing_inside(each.path, os.fsdecode(inner))


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


def _plan_file(work: Work, each: Pointer) -> Plan:
    wanted = single.entry_of(each)
    place = work.project.root / each.path
    seen = delete.seen(place, [b""])
    here, _ = work.files.look(each.path, meter=work.meter)
    if here == wanted:
        return Plan(each, b"", None, [], [], [], [], {})
    if here is not None and here.size < 0:
        return _plan_file_for_directory(work, each, wanted)
    return Plan(each, b"", None, [wanted], [], in_no_store(work.store, [here] if here else []), [], seen)


def _plan_file_for_directory(work: Work, each: Pointer, wanted: Entry) -> Plan:
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
    return Plan(each, b"", shot, [wanted], list(here), in_no_store(work.store, here.values()), [], seen)


def check_present(store: LocalStore, plans: Sequence[Plan]) -> None:
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
        hint=f"vml pull {word(path)} brings it from the default remote, -r NAME from another",
    )


def past_unsaved(plan: Plan) -> Plan | None:
    """The same without what would replace or remove unsaved files: these stay as edits. None where something else
    depends on them: they are in the place of a directory or below that of a file, or are ignored.
    """
    stay = {entry.path for entry in plan.unsaved}
    if plan.shot is None or not stay <= plan.shot.edits.keys():
        return None
    wanted = {entry.path for entry in plan.puts}
    if stay & {above for path in wanted for above in delete.parents(path)}:
        return None
    if any(above in wanted for path in stay for above in delete.parents(path)):
        return None
    return plan._replace(
        puts=[entry for entry in plan.puts if entry.path not in stay],
        removals=[path for path in plan.removals if path not in stay],
        unsaved=[],
        stay={path: plan.shot.before.get(path) for path in sorted(stay)},
    )


def save_or_refuse(
    project: Project, store: LocalStore, plans: Sequence[Plan], *, force: bool, meter: Meter
) -> list[saved.Saved]:
    risks = [(plan, entry) for plan in plans for entry in plan.unsaved]
    if not risks:
        return []
    if not force:
        verb = "commit" if any(plan.each.lock for plan, _ in risks) else "add"
        raise saved.refusal(
            [_full(plan, entry.path) for plan, entry in risks],
            "overwritten or removed",
            hint=f"vml {verb} keeps them as a new version; --force stores them, then replaces them",
        )
    return saved.keep(project, store, [_full(plan, entry.path) for plan, entry in risks], meter)


def _full(plan: Plan, path: bytes) -> str:
    return plan.each.path if plan.shot is None else f"{plan.each.path}/{os.fsdecode(path)}"
