"""What commands and the API share of push, fetch and pull: what they move where."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vcs_ml import git, history, output
from vcs_ml.errors import UserError
from vcs_ml.output import count, quote
from vcs_ml.progress import Progress
from vcs_ml.store import download, manifest, objects, transfer, upload
from vcs_ml.store.local import FEW, LocalStore
from vcs_ml.store.page import Entry
from vcs_ml.store.records import Record, Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.transfer import NOTHING, Moved, Need
from vcs_ml.workspace import groups, opening, pointer, sources, status, tracked
from vcs_ml.workspace import targets as targeting
from vcs_ml.workspace import unmerged as unmerged_files
from vcs_ml.workspace.groups import Selection
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

JOBS = 8


def summary(moved: Moved, *, sent: bool) -> str:
    """What a transfer did, in the words that end a push, fetch or pull."""
    saved = [(moved.deduped, "dedup"), (moved.squeezed, "zstd")]
    parts = [f"{output.size(moved.stored)} {'sent' if sent else 'received'}"]
    parts += [f"{output.size(n)} saved by {what}" for n, what in saved if n]
    parts += [count(moved.requests, "request")] if moved.requests else []
    return f"{count(moved.objects, 'object')}, {output.size(moved.bytes)} ({', '.join(parts)}) {_took(moved.seconds)}"


def _took(seconds: float) -> str:
    return f"in {seconds:.1f} s" if seconds >= 0.1 else "in under 0.1 s"


# label -> a progress line
Show = Callable[[str], Progress]


class Scope(NamedTuple):
    """Which revisions a transfer covers besides the workspace."""

    all_branches: bool = False
    all_tags: bool = False
    all_commits: bool = False


def jobs(project: Project, wanted: int | None) -> int:
    """How many transfers run at a time: as asked for or configured, within `transfer.memory`."""
    most = max(project.config.transfer_memory // transfer.A_JOB, 1)
    return min(wanted or project.config.jobs or JOBS, most)


def roots(
    project: Project, targets: Sequence[str], scope: Scope, *, groups: Sequence[str] = (), remote: str | None = None
) -> tuple[list[Root], list[Pointer]]:
    """What a push of these targets (project-relative) and groups (neither: everything) must make complete on the
    remote of this name, and the outputs among them that it does not get. UserError for data with conflicts.
    """
    selection = Selection(targets, groups, optional=True)
    found: dict[Root, None] = {}
    kept: list[Pointer] = []
    if project.git.worktree is not None or not scope.all_commits:
        for each, _ in selected(project, pointers_of(project), selection):
            if each.conflicts:
                raise targeting.unsettled(each.path)
            if each.travels(remote):
                found[Root(each.path, each.oid)] = None
            else:
                kept.append(each)
    found.update((root, None) for root in _historic(project, scope, selection, remote))
    return list(found), kept


def remote_name(project: Project, name: str | None) -> str | None:
    """The name of the remote that a command means, None where it does not say and there is not one for all."""
    remotes = project.config.remotes()
    return name or project.config.default_remote or (next(iter(remotes)) if len(remotes) == 1 else None)


def within_reach(
    project: Project,
    store: LocalStore,
    chosen: Iterable[tuple[Pointer, str]],
    stays_away: Callable[[Pointer], bool],
) -> tuple[list[tuple[Pointer, str]], str | None]:
    """`chosen` without what `stays_away` and is not here either, and what to tell of that."""
    found, absent = [], {}
    for each, inner in chosen:
        if stays_away(each) and store.missing(each.oid):
            absent[each.path] = each
        else:
            found.append((each, inner))
    return found, kept_back(project, absent.values())


def nowhere(project: Project, outs: Iterable[Pointer]) -> Iterator[tuple[str, str]]:
    """A warning and a hint for each remote that outputs go to only, and that is not set up here."""
    remotes = project.config.remotes()
    for name, path in {each.remote: each.path for each in outs if not each.stays}.items():
        if name is not None and name not in remotes:
            there = f"here are {', '.join(remotes)}" if remotes else "here is none"
            yield (
                f"{quote(path)} goes to the remote {name} only, which is not set up here ({there})",
                f"vml remote add {name} URL; or name another one in vml.yaml, then vml repro",
            )


def brought_by(project: Project, outs: Iterable[Pointer]) -> str:
    """The commands that fetch what the store lacks of these: from the default remote, and from those that some name."""
    default = remote_name(project, None)
    names = {None if each.remote == default else each.remote for each in outs}
    return " and ".join(f"vml pull -r {name}" if name else "vml pull" for name in sorted(names, key=lambda n: n or ""))


def kept_back(project: Project, outs: Iterable[Pointer]) -> str | None:
    """What to tell of outputs that do not go to, nor come from, the remote that was asked; not those of `nowhere`."""
    remotes = project.config.remotes()
    found = [each for each in outs if each.stays or each.remote in remotes]
    if not found:
        return None
    first = found[0]
    why = f"no remote gets it, its stage {first.maker} makes it"
    if not first.stays:
        why = f"it belongs on the remote {first.remote}: -r {first.remote}"
    more = f", and {count(len(found) - 1, 'more path')}" if len(found) > 1 else ""
    return f"left out: {quote(first.path)} ({why}){more}"


def pointers_of(project: Project) -> dict[str, Pointer]:
    """The pointers of the workspace; of HEAD in a bare repository."""
    if project.git.worktree is None:
        return tracked.at_revision(project, "HEAD")
    return tracked.in_workspace(project)


def selected(
    project: Project, pointers: Mapping[str, Pointer], selection: Selection, *, where: str = ""
) -> list[tuple[Pointer, str]]:
    """What a selection means, each with the way from its data to the path that was named.

    UserError for a path that is not tracked (`where` says at which revision), or a group without members.
    """
    opening.check_targets(pointers, selection.paths, where=where)
    groups.check_known(pointers.values(), selection.groups)
    found = [(each, "") for each in pointers.values() if selection.in_group(each)]
    whole = {each.path for each, _ in found}
    if selection.paths or not selection.groups:
        found += [
            (each, inner)
            for each, inner in status.selected(pointers, selection.paths)
            if each.path not in whole and not selection.left_out(project, each)
        ]
    return sorted(found, key=lambda place: (place[0].path, place[1]))


def left_out(project: Project, pointers: Mapping[str, Pointer], selection: Selection) -> str | None:
    """What to tell those who named a directory with optional data in it, which that does not bring."""
    if not selection.paths:
        return None
    named = status.selected(pointers, selection.paths)
    paths = [quote(each.path) for each, _ in named if selection.left_out(project, each)]
    if not paths:
        return None
    more = f", and {count(len(paths) - 1, 'more path')}" if len(paths) > 1 else ""
    return f"left out, being optional: {paths[0]}{more} (to be named itself, or by --group)"


def _historic(project: Project, scope: Scope, selection: Selection, remote: str | None) -> list[Root]:
    def takes(each: Pointer) -> bool:
        return each.travels(remote) and selection.takes(project, each)

    if scope.all_commits:
        return tracked.in_history(project, [], every_ref=True, takes=takes)
    found: dict[Root, None] = {}
    refs = history.refs(project.git) if scope.all_branches or scope.all_tags else []
    commits = {ref.commit for ref in refs if (scope.all_tags if ref.kind == "tag" else scope.all_branches)}
    for commit in sorted(commits):
        chosen = filter(takes, tracked.at_revision(project, commit).values())
        found.update((root, None) for root in tracked.roots(chosen))
    return list(found)


# ---------------------------------------------------------------------- push


class Pushed(NamedTuple):
    """What a push did: objects and bytes sent, and how many roots are newly complete over there."""

    moved: Moved
    roots: int

    def as_json(self) -> dict[str, int | float]:
        """The numbers for programs."""
        return {**self.moved.as_json(), "roots": self.roots}


def push(
    project: Project,
    store: LocalStore,
    remote: Remote,
    wanted: Sequence[Root],
    *,
    jobs: int,
    show: Show,
    check: bool = False,
    commit: str | None = None,
) -> Pushed:
    """Make `wanted` complete on the remote and write that down there; with `check`, believing no record of it.

    `commit` is the one that names it, where that is not HEAD.
    """

    def send(needs: Sequence[Need], doomed: Collection[bytes]) -> Moved:
        with show(f"pushing to {remote.name}") as meter:
            meter.expect(len(needs), sum(need.size for need in needs if need.size > 0))
            return upload.push(store, remote, needs, doomed, jobs=jobs, meter=meter)

    start = time.monotonic()
    record = Record(project.id, commit or git.head(project.git), tuple(wanted))
    moved, roots = upload.make_complete(store, remote, record, send, check=check)
    return Pushed(_measured(moved, remote, start), roots)


def _measured(moved: Moved, remote: Remote, start: float) -> Moved:
    return moved._replace(requests=remote.backend.requests(), seconds=time.monotonic() - start)


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


def wanted(
    project: Project,
    targets: Sequence[str],
    scope: Scope,
    *,
    groups: Sequence[str] = (),
    optional: bool = False,
    remote: str | None = None,
    unmerged: Sequence[int] = (),
) -> list[Wanted]:
    """What a fetch of these targets and groups from the remote of this name means; without any, all. Optional data
    that is not here and not named is left out, unless `optional`. Of data with conflicts, their side of these comes
    too, and where a merge left a file that cannot be read, its versions in these `unmerged` stages of Git's index.
    """
    selection = Selection(targets, groups, optional)
    found: dict[Root, Wanted] = {}
    pointers, versions = with_unmerged(project, unmerged)
    for each, inner in selected(project, pointers, selection):
        root = Root(each.path, each.oid)
        if not each.travels(remote):
            continue
        for other in versions:
            if other.path == each.path:
                found.setdefault(Root(each.path, other.oid), Wanted(Root(each.path, other.oid), other.size, [""]))
        if each.conflicts:
            theirs = _of_theirs(project, each, inner)
            found |= {theirs.root: theirs} if theirs.inner and theirs.root not in found else {}
        if root not in found:
            past = Index.load(project.index_dir, each.path, project.algorithm) if inner else None
            base = past.base if past is not None and past.base != each.oid else None
            found[root] = Wanted(root, each.size, [], base)
        found[root].inner.append(inner)
    for root in _historic(project, scope, selection, remote):
        if root not in found:
            found[root] = Wanted(root, -1, [""])
    return list(found.values())


def _of_theirs(project: Project, each: Pointer, inner: str) -> Wanted:
    """What settling conflicts for their side takes."""
    left = pointer.unsettled(each, project.algorithm)
    concerned = [at for at, word in left.paths.items() if word != "deleted by them" and groups.concerns(at, [inner])]
    return Wanted(Root(each.path, left.theirs.oid), left.theirs.size, concerned)


def with_unmerged(project: Project, stages: Sequence[int]) -> tuple[dict[str, Pointer], list[Pointer]]:
    """`pointers_of`, with one version of those that a merge has left unreadable; and those of them that are in these
    stages of Git's index (1 common, 2 ours, 3 theirs). Without any, UserError for what cannot be read.
    """
    if project.git.worktree is None or not stages:
        return pointers_of(project), []
    broken: dict[str, UserError] = {}
    found = tracked.in_workspace(project, broken=broken)
    sides = unmerged_files.find(project) if broken else {}
    versions: list[Pointer] = []
    for source, error in sorted(broken.items()):
        if source not in sides:
            raise error
        for stage, raw in enumerate(unmerged_files.read(project, sides[source]), 1):
            each = sources.parse(raw, source, project.algorithm) if raw is not None else []
            found |= {one.path: one for one in each}
            versions += each if stage in stages else []
    return dict(sorted(found.items())), versions


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
    start = time.monotonic()
    store.enter()
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
        missing = download.plan(store, needs(store, remote, needed, large))
    except objects.MissingObject as error:
        raise name_missing(store, remote, needed, error) from None
    with show(f"fetching from {remote.name}") as meter:
        meter.expect(len(missing), sum(max(need.size, 0) for need in missing))
        moved = download.fetch(store, remote, missing, jobs=jobs, meter=meter)
    if fresh and len(missing) >= FEW:
        for oid, loose in large.items():
            store.remember_stored(oid, loose)
    return _measured(moved, remote, start)


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
            for entry in _under(store, item.root, inner, store.read)
        )
    except objects.MissingObject:
        return False


def _under(store: LocalStore, root: Root, inner: str, read: manifest.Read) -> Iterator[Entry]:
    """The entries of a part of a tree. UserError where it has none."""
    found = False
    for entry in manifest.under(root.oid, os.fsencode(inner), store.algorithm, read):
        found = True
        yield entry
    if inner and not found:
        raise opening.nothing_inside(root.path, inner)


def name_missing(
    store: LocalStore, remote: Remote, items: Sequence[Wanted], error: objects.MissingObject
) -> objects.MissingObject:
    """The same error with the path of the directory whose manifest is nowhere."""
    path = next((item.root.path for item in items if item.root.oid == error.oid), "")
    return transfer.missing_on(remote, [Need(error.oid, -1, path)]) if path else error


def needs(
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
                yield transfer.sized(remote, Need(root.oid, item.size, root.path))
                continue
            for inner in [""] if "" in item.inner else item.inner:
                for entry in _under(store, root, inner, read):
                    oid = objects.blob(entry.digest)
                    if entry.size > store.pack_below and root.oid in large:
                        large[root.oid].append(oid)
                    yield Need(oid, entry.size, root.path, entry.path)
