"""What `fsck` is held against in a project, and where lost objects are sought."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from vcs_ml import history, locks, paths
from vcs_ml.config import RemoteConfig
from vcs_ml.errors import CorruptError, UserError, VmlError
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import catalog, fsck, fsck_remote, holdings, ingest, manifest, objects, pack, repair, repair_remote
from vcs_ml.store import remote as remote_state
from vcs_ml.store.catalog import Catalog
from vcs_ml.store.fsck import Problem, Report, Wants
from vcs_ml.store.ingest import Folder
from vcs_ml.store.local import LOCK, Batch, LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes import open_remote
from vcs_ml.store.repair import Note, Source
from vcs_ml.store.transfer import Need
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace import opening, sharing, sync, tracked
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

_REVISIONS = 20  # how many problems are traced to a commit: each costs a walk through history
_WORKSPACE, _HISTORY = "workspace", "history"


class Named(NamedTuple):
    """Everything that pointers name, each with where the first of them is, and pointers that cannot be read."""

    roots: dict[Root, str]
    broken: list[Problem]


def named(project: Project) -> Named:
    """The roots of the workspace, of Git's index and of every ref; of outputs that no remote gets, those that are here:
    the others need not be anywhere.
    """
    roots: dict[Root, str] = {}
    broken: dict[str, UserError] = {}
    if project.git.worktree is not None:
        here = tracked.in_workspace(project, broken=broken).values()
        needed = (each for each in here if not each.stays or os.path.lexists(project.root / each.path))
        for root in tracked.roots(needed):
            roots.setdefault(root, _WORKSPACE)
        for root in tracked.of_blobs(project, history.staged(project.git, tracked.pathspecs(project)), _may_be_sought):
            roots.setdefault(root, "index")
    for root in tracked.in_history(project, [], every_ref=True, takes=_may_be_sought):
        roots.setdefault(root, _HISTORY)
    return Named(roots, [Problem("pointer", source, error.message) for source, error in sorted(broken.items())])


def _may_be_sought(each: Pointer) -> bool:
    return not each.stays


def revisions(project: Project, problems: Sequence[Problem], roots: Mapping[Root, str]) -> dict[Root, str]:
    """Where the roots of these problems are named: `workspace`, `index`, or a commit, `history` where not traced."""
    found: dict[Root, str] = {}
    for each in problems:
        if each.root is None or each.root in found:
            continue
        found[each.root] = roots.get(each.root, _HISTORY)
        if found[each.root] == _HISTORY and len(found) <= _REVISIONS:
            found[each.root] = tracked.commit_of(project, each.root) or _HISTORY
    return found


# ---------------------------------------------------------------------- what is known of remotes


class Known(NamedTuple):
    """A remote as it was when it was last looked at."""

    name: str
    catalog: Catalog
    complete: Mapping[ObjectId, str]


def known_remotes(project: Project) -> tuple[list[Known], list[str]]:
    """(what is known of remotes, names of those that were never asked from here); none is asked now."""
    known, unasked = [], []
    for name in project.config.remotes():
        cache = remote_state.cache_directory(project.cache_dir, project.remote(name).address)
        if any(place.is_symlink() for place in (cache / "index", cache, cache.parent)):
            unasked.append(name)  # not ours: nothing is read or removed behind a link
            continue
        for path in (cache / "index").glob("*.idx"):
            try:
                catalog.Index(path, pack.parse_name(path.stem) or b"", project.algorithm, verify=True)
            except (CorruptError, OSError):  # only a copy
                with contextlib.suppress(OSError):
                    path.unlink()
        if (cache / "index").is_dir():
            complete = remote_state.known_complete(cache, project.algorithm)
            known.append(Known(name, Catalog(cache / "index", project.algorithm), complete))
        else:
            unasked.append(name)
    return known, unasked


def _wants(project: Project, roots: Mapping[Root, str]) -> Wants:
    known, unasked = known_remotes(project)

    def elsewhere(oid: ObjectId) -> str | None:
        for each in known:
            with contextlib.suppress(CorruptError):  # a stranger's index
                if oid in each.complete or oid in each.catalog or objects.recipe(oid) in each.catalog:
                    return each.name
        return None

    current = {root for root, place in roots.items() if place == _WORKSPACE}
    return Wants(list(roots), current, elsewhere, unasked)


# ---------------------------------------------------------------------- the local store


class Checkup(NamedTuple):
    """A report, for each root that a problem names where it stands, and how many chunks some files have on a remote."""

    report: Report
    revisions: dict[Root, str]
    chunks: Mapping[str, int]


def check(project: Project, *, show: sync.Show, note: Note) -> Checkup:
    """Check the local store; nothing is changed."""
    _check_algorithm(project)
    names = named(project)
    wants = _wants(project, names.roots)
    with _locked(project, note, shared=True), show("checking") as meter:
        report = fsck.check(project.cache_dir, project.algorithm, wants, meter).report
    return _checkup(project, report, names)


def mend(project: Project, *, jobs: int, show: sync.Show, note: Note) -> Checkup:
    """Check the local store and repair what is wrong with it; writers wait meanwhile."""
    _check_algorithm(project)
    with opening.changing(project, note), _locked(project, note, shared=False):
        names = named(project)
        wants = _wants(project, names.roots)
        with show("checking") as meter:
            before = fsck.check(project.cache_dir, project.algorithm, wants, meter)
        # Where nobody knows what remotes have, what the workspace needs may be lost, and the workspace may have it.
        doubtful = wants.unasked and any(root in wants.current for root in before.reach.by.values())
        if not before.report.problems and not doubtful:
            return _checkup(project, before.report, names)
        if before.holdings.format:
            repair.restore_format(project.cache_dir, project.algorithm)
        store = opening.open_store(project)
        with show("repairing") as meter:
            repair.repair(store, before, wants, list(_sources(project, jobs, meter, note)), meter)
        with show("checking again") as meter:
            after = fsck.check(project.cache_dir, project.algorithm, wants, meter)
        lost = set(after.reach.absent)
        if project.config.cache_dir or sharing.users(project.cache_dir)[1:]:  # what we do not need, another may
            lost.update(each.oid for each in before.report.problems if each.oid and each.oid not in after.holdings)
        report = fsck.after_repair(before.report, after.report, lost)
        return _checkup(project, report, names)


def _checkup(project: Project, report: Report, names: Named) -> Checkup:
    report = report._replace(problems=[*report.problems, *names.broken])
    return Checkup(report, revisions(project, report.problems, names.roots), {})


def _check_algorithm(project: Project) -> None:
    """UserError where the store needs another vml, or belongs to another algorithm."""
    if not holdings.check_format(project.cache_dir):
        opening.open_store(project)


@contextmanager
def _locked(project: Project, waiting: Note, *, shared: bool) -> Iterator[None]:
    """Hold the store's lock: gc and other repairs wait, and unless `shared` everybody who writes."""
    timeout = project.config.lock_timeout
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.lock(project.cache_dir / LOCK, shared=shared, timeout=timeout, waiting=waiting))
        except OSError:
            if not shared:
                raise
        # else: a store that cannot be written can be read, and nobody changes it
        yield


# ---------------------------------------------------------------------- a remote


def check_remote(
    project: Project, config: RemoteConfig, *, deep: bool, mend: bool, jobs: int, show: sync.Show, note: Note
) -> Checkup:
    """Check a remote, and with `mend` repair it from what is here. Raises RemoteError where it cannot be reached."""
    backend = open_remote(config.url, config.options, base=project.main_root, name=config.name, note=note)
    remote = Remote(config.name, backend, project.algorithm, project.cache_dir)
    store = opening.open_store(project)
    wanted = {root: place == _WORKSPACE for root, place in named(project).roots.items()}
    with _locked(project, note, shared=True):
        with show(f"checking {config.name}") as meter:
            verdict = fsck_remote.check(remote, store, wanted, deep=deep, jobs=jobs, meter=meter)
        if mend and verdict.report.problems:
            with show(f"repairing {config.name}") as meter:
                verdict = repair_remote.repair(remote, store, wanted, verdict, jobs=jobs, meter=meter, note=note)
    chunks = {lack.need.path: lack.parts - 1 for lack in verdict.reach.large.values()}  # one part is the recipe
    return Checkup(verdict.report, {each.root: "record" for each in verdict.report.problems if each.root}, chunks)


# ---------------------------------------------------------------------- where lost objects are sought


def _sources(project: Project, jobs: int, meter: Meter, note: Note) -> Iterator[Source]:
    if project.git.worktree is not None:
        yield _from_workspace(project)
    for known in known_remotes(project)[0]:
        try:
            there = opening.remote_at(project, project.remote(known.name))
        except VmlError as error:
            note(error.message)
            continue
        try:
            there.refresh_index()
        except VmlError as error:  # what its other indexes list can be had
            note(error.message)
        yield repair.from_remote(there, jobs=jobs, meter=meter, note=note)


def _from_workspace(project: Project) -> Source:
    """Files that still hold what was lost, and lists of files made anew from the stat index."""

    def seek(scratch: LocalStore, needs: Sequence[Need]) -> None:
        root = os.fsencode(project.root)
        indexes = list(Index.all(project.index_dir, project.algorithm))
        wanted = {need.oid for need in needs}
        with scratch.batch() as batch:
            for path in dict.fromkeys([*_candidates(indexes, wanted), *(n.path for n in needs if n.tracked)]):
                _take(scratch, batch, root, path, wanted)
            for index in indexes if any(oid[-1] == objects.NODE for oid in wanted) else ():
                with contextlib.suppress(UserError, ValueError):
                    entries = sorted(index.entries(), key=lambda entry: paths.key(entry.path))
                    manifest.build(
                        entries, project.algorithm, lambda oid, data: batch.add(oid, data) if oid in wanted else None
                    )

    return seek


def _candidates(indexes: Iterable[Index], wanted: set[ObjectId]) -> Iterator[str]:
    """Paths at which the stat index saw files with these digests."""
    for index in indexes:
        prefix = f"{index.tracked}/" if index.tracked else ""
        known = {**index.memo, **index.files()}
        for path, (_, digest) in known.items():
            if objects.blob(digest) in wanted:
                yield prefix + os.fsdecode(path)


def _take(scratch: LocalStore, batch: Batch, root: bytes, path: str, wanted: set[ObjectId]) -> None:
    """Store the file at `path` below `root` if its bytes, as they are now, are wanted."""
    raw = os.fsencode(path)
    try:
        numbers = stat_index.numbers(os.lstat(os.path.join(root, raw)))
        folder = Folder(os.path.dirname(raw), [os.path.basename(raw)], numbers)
        (seen,) = ingest.measure(scratch.algorithm, root, [folder], SILENT)
        if objects.blob(seen.digests) in wanted:
            ingest.ingest(scratch, batch, root, [folder], SILENT)
    except (OSError, UserError):
        return
