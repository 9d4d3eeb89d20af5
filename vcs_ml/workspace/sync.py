"""What commands and the API share: the store, the worktree's lock, and what push, fetch and pull move where."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from vcs_ml import git, locks
from vcs_ml.config import RemoteConfig
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.progress import Progress
from vcs_ml.store import download, manifest, objects, transfer, upload
from vcs_ml.store import remote as remote_state
from vcs_ml.store.local import FEW, LocalStore
from vcs_ml.store.page import Entry
from vcs_ml.store.records import Record, Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes import open_remote
from vcs_ml.store.transfer import NOTHING, Moved, Need
from vcs_ml.workspace import status, tracked
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

JOBS = 8
_A_JOB = 2 * transfer.LARGE  # bytes one transfer holds: what it reads, and the pack it fills

# label -> a progress line
Show = Callable[[str], Progress]


class Scope(NamedTuple):
    """Which revisions a transfer covers besides the workspace."""

    all_branches: bool = False
    all_tags: bool = False
    all_commits: bool = False


def open_store(project: Project, waiting: Callable[[str], None] | None = None) -> LocalStore:
    """The project's local store, with its settings."""
    config = project.config
    return LocalStore(
        project.cache_dir,
        project.algorithm,
        lock=project.store_lock,
        lock_timeout=config.lock_timeout,
        waiting=waiting,
        pack_below=config.pack_below,
        link=config.links,
    )


def jobs(project: Project, wanted: int | None) -> int:
    """How many transfers run at a time: as asked for or configured, within `transfer.memory`."""
    most = max(project.config.transfer_memory // _A_JOB, 1)
    return min(wanted or project.config.jobs or JOBS, most)


@contextmanager
def changing(project: Project, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold this worktree's lock: what is read of pointers and files in the body stays so until it ends."""
    with locks.lock(project.lock_dir / "index", timeout=project.config.lock_timeout, waiting=waiting):
        yield


@contextmanager
def looking(project: Project) -> Iterator[bool]:
    """Whether what is found in the body may be kept in the stat index: not while somebody else changes things."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.lock(project.lock_dir / "index", timeout=0))
            mine = True
        except (UserError, OSError):  # held by another, or nothing can be written there
            mine = False
        yield mine


def remote_at(project: Project, config: RemoteConfig, *, create: bool = False) -> Remote:
    """A configured remote, opened. Raises RemoteError, UserError."""
    backend = open_remote(config.url, base=project.main_root, create=create)
    remote = Remote(config.name, backend, project.algorithm, project.cache_dir)
    remote.open(create=create)
    return remote


class NotPushed(NamedTuple):
    """Paths of tracked things that a remote is not known to have; `asked`: it was asked just now."""

    remote: str | None
    paths: list[str]
    asked: bool


def not_pushed(project: Project, pointers: Sequence[Pointer], name: str | None) -> NotPushed:
    """What the default remote lacks as far as is known; with a `name` ("" is the default) it is asked."""
    remotes = project.config.remotes()
    if name is None and project.config.default_remote not in remotes and len(remotes) != 1:
        return NotPushed(None, [], False)
    config = project.remote(name or None)
    if name is None:
        place = remote_state.cache_directory(project.cache_dir, config.url)
        complete = remote_state.known_complete(place, project.algorithm)
    else:
        complete = remote_at(project, config).refresh_complete()
    return NotPushed(config.name, [each.path for each in pointers if each.oid not in complete], name is not None)


def roots(project: Project, targets: Sequence[str], scope: Scope) -> list[Root]:
    """What a transfer of these targets (project-relative, none: everything) must make complete."""
    found: dict[Root, None] = {}
    if project.git.worktree is not None:
        pointers = tracked.in_workspace(project)
        chosen = status.selected(pointers, targets)
        check_targets(pointers, targets)
        found.update((Root(each.path, each.oid), None) for each, _ in chosen)
    elif not scope.all_commits:
        pointers = tracked.at_revision(project, "HEAD")
        found.update((Root(each.path, each.oid), None) for each, _ in status.selected(pointers, targets))
    found.update((root, None) for root in _historic(project, scope) if _concerns(root.path, targets))
    return list(found)


def check_targets(pointers: Mapping[str, Pointer], targets: Sequence[str], *, where: str = "") -> None:
    """UserError for a target that is not tracked, nor holds or lies in something that is."""
    for target in targets:
        chosen = status.selected(pointers, [target])
        if target and (not chosen or any(inner and each.kind != "tree" for each, inner in chosen)):
            raise UserError(
                f"{quote(target)} is not tracked{' ' if where else ''}{where}",
                hint=f"vml ls lists what is; vml add {quote(target)} tracks it",
            )


def _concerns(path: str, targets: Sequence[str]) -> bool:
    return not targets or any(t in ("", path) or path.startswith(f"{t}/") or t.startswith(f"{path}/") for t in targets)


def _historic(project: Project, scope: Scope) -> list[Root]:
    if scope.all_commits:
        return tracked.in_history(project, [], every_ref=True)
    found: dict[Root, None] = {}
    refs = git.refs(project.git) if scope.all_branches or scope.all_tags else []
    commits = {ref.commit for ref in refs if (scope.all_tags if ref.kind == "tag" else scope.all_branches)}
    for commit in sorted(commits):
        found.update((root, None) for root in tracked.roots(tracked.at_revision(project, commit).values()))
    return list(found)


# ---------------------------------------------------------------------- push


class Pushed(NamedTuple):
    """What a push did: objects and bytes sent, and how many roots are newly complete over there."""

    moved: Moved
    roots: int

    def as_json(self) -> dict[str, int]:
        """The numbers for programs."""
        return {
            "objects": self.moved.objects,
            "bytes": self.moved.bytes,
            "stored": self.moved.stored,
            "roots": self.roots,
        }


def push(
    project: Project,
    store: LocalStore,
    remote: Remote,
    wanted: Sequence[Root],
    *,
    jobs: int,
    show: Show,
    check: bool = False,
) -> Pushed:
    """Make `wanted` complete on the remote and write that down there; with `check`, believing no record of it."""

    def send(needs: list[Need]) -> Moved:
        with show(f"pushing to {remote.name}") as meter:
            meter.expect(len(needs), sum(need.size for need in needs if need.size > 0))
            return upload.push(store, remote, needs, jobs=jobs, meter=meter)

    record = Record(project.id, git.head(project.git), tuple(wanted))
    return Pushed(*upload.make_complete(store, remote, record, send, check=check))


# ---------------------------------------------------------------------- fetch


class Wanted(NamedTuple):
    """A root to be fetched, and the paths inside it ("": all of it).

    `base` is the other tree of which a part is checked out here: to bring this part up to date, both lists of
    files are needed whole.
    """

    root: Root
    size: int
    inner: list[str]
    base: objects.ObjectId | None = None


def wanted(project: Project, targets: Sequence[str], scope: Scope) -> list[Wanted]:
    """What a fetch of these targets means."""
    found: dict[Root, Wanted] = {}
    pointers = (
        tracked.in_workspace(project) if project.git.worktree is not None else tracked.at_revision(project, "HEAD")
    )
    check_targets(pointers, targets)
    for each, inner in status.selected(pointers, targets):
        root = Root(each.path, each.oid)
        if root not in found:
            past = Index.load(project.index_dir, each.path, project.algorithm) if inner else None
            base = past.base if past is not None and past.base != each.oid else None
            found[root] = Wanted(root, each.size, [], base)
        found[root].inner.append(inner)
    for root in _historic(project, scope):
        if root not in found and _concerns(root.path, targets):
            found[root] = Wanted(root, -1, [""])
    return list(found.values())


def fetch(
    store: LocalStore,
    remote: Remote,
    items: Sequence[Wanted],
    *,
    jobs: int,
    show: Show,
    metadata: bool = False,
) -> Moved:
    """Bring what the store lacks of these roots; with `metadata`, the manifests only."""
    needed = lacking(store, items)
    if not needed:
        return NOTHING
    remote.refresh_index()
    remote.refresh_complete()  # what status says of it afterwards
    trees = [item for item in needed if item.root.oid[-1] == objects.NODE]
    whole = [item.root.oid for item in trees if metadata or "" in item.inner]
    lists = [item.root.oid for item in trees if item.base is not None]
    for item in trees:
        if item.base is not None:
            with contextlib.suppress(objects.MissingObject):  # never pushed: then it is compared as far as it is here
                download.fetch_nodes(store, remote, [item.base], jobs=jobs)
    try:
        download.fetch_nodes(store, remote, [*whole, *lists], jobs=jobs)
        if metadata:
            return NOTHING
        fresh = not store.has_loose_blobs()
        large: dict[objects.ObjectId, list[objects.ObjectId]] = {oid: [] for oid in whole}
        needs = download.plan(store, _needs(store, remote, needed, large))
    except objects.MissingObject as error:
        raise _name_missing(store, remote, needed, error) from None
    with show(f"fetching from {remote.name}") as meter:
        meter.expect(len(needs), sum(max(need.size, 0) for need in needs))
        moved = download.fetch(store, remote, needs, jobs=jobs, meter=meter)
    if fresh and len(needs) >= FEW:
        for oid, loose in large.items():
            store.remember_stored(oid, loose)
    return moved


def lacking(store: LocalStore, items: Sequence[Wanted]) -> list[Wanted]:
    """Those of `items` that are not completely in the local store."""
    return [item for item in items if not _is_here(store, item)]


def _is_here(store: LocalStore, item: Wanted) -> bool:
    if "" in item.inner or item.root.oid[-1] != objects.NODE:
        return not store.missing(item.root.oid)
    try:
        return all(
            objects.blob(entry.digest) in store
            for inner in item.inner
            for entry in manifest.under(item.root.oid, os.fsencode(inner), store.algorithm, store.read)
        )
    except objects.MissingObject:
        return False


def page_reader(project: Project, store: LocalStore, *, fetch: bool) -> manifest.Read:
    """Reads pages of manifests from the store, with `fetch` from the default remote where it lacks them."""
    if not fetch:
        return store.read
    remote = remote_at(project, project.remote())
    remote.refresh_index()
    return transfer.reader(store, remote)


def _name_missing(
    store: LocalStore, remote: Remote, items: Sequence[Wanted], error: objects.MissingObject
) -> objects.MissingObject:
    """The same error with the path of the directory whose manifest is nowhere."""
    path = next((item.root.path for item in items if item.root.oid == error.oid), "")
    return transfer.missing_on(remote, [Need(error.oid, -1, path)]) if path else error


def _needs(
    store: LocalStore,
    remote: Remote,
    items: Sequence[Wanted],
    large: Mapping[objects.ObjectId, list[objects.ObjectId]],
) -> Iterable[Need]:
    """Every blob of `items`; those of whole trees that are too large for packs are also named in `large`."""
    with store.batch() as batch:

        def read(oid: objects.ObjectId) -> bytes:
            data = transfer.reader(store, remote)(oid)
            batch.add(oid, data)
            return data

        for item in items:
            root = item.root
            if root.oid[-1] != objects.NODE:
                yield Need(root.oid, _blob_size(remote, root, item.size), root.path)
                continue
            for inner in [""] if "" in item.inner else item.inner:
                prefix = os.fsencode(inner)
                entries: Iterable[Entry] = manifest.under(root.oid, prefix, store.algorithm, read)
                for entry in entries:
                    oid = objects.blob(entry.digest)
                    if entry.size > store.pack_below and root.oid in large:
                        large[root.oid].append(oid)
                    yield Need(oid, entry.size, root.path, entry.path)


def _blob_size(remote: Remote, root: Root, size: int) -> int:
    """A blob's size: its pointer's, or what the remote lists where no pointer says it (history)."""
    if size >= 0:
        return size
    found = remote.find(root.oid)
    return found[1].raw if found else -1
