"""Collecting garbage in the local store: who shares it, all their locks, then mark and sweep."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from vcs_ml import locks
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.progress import Meter
from vcs_ml.store import gc
from vcs_ml.store import remote as remote_state
from vcs_ml.store.gc import Kept, Plan
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import litter, retention, sharing, tracked
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.retention import SAVED_DAYS, Horizon
from vcs_ml.workspace.sharing import Shared


class Sharer(NamedTuple):
    """A project whose data lies in the store, and its working trees."""

    project: Project
    trees: list[Project]


class Collected(NamedTuple):
    """What a collection did, or would do: its plan, how many roots and objects are needed, and how many temporary
    files killed commands have left (without `--force`, some may be those of commands that run).
    """

    plan: Plan
    roots: int
    live: int
    leftovers: int


def sharers(project: Project, env: Mapping[str, str], forgotten: Collection[str] = ()) -> list[Sharer]:
    """Everybody whose data lies in this project's store, but those who are `forgotten` (paths or ids).

    UserError where one of them is not there.
    """
    users = sharing.users(project.cache_dir)
    others = [_open(shared, env) for shared in users if not _is_named(shared, forgotten)]
    found = {each.main_state_dir.resolve(): each for each in (*others, project)}
    return [Sharer(each, retention.working_trees(each, env)) for each in found.values()]


def _open(shared: Shared, env: Mapping[str, str]) -> Project:
    try:
        if shared.path.is_dir():
            found = Project.find(shared.path, env)
            if shared.path.resolve() in (found.root, found.main_root.resolve()):
                return found
    except UserError as error:
        raise UserError(f"{quote(shared.path)} uses this store: {error.message}", hint=error.hint) from None
    raise UserError(
        f"the project {quote(shared.path)} uses this store, and is not there",
        hint=f"mount its disk; if it is gone for good: vml gc --forget {word(shared.path)}",
    )


def _is_named(shared: Shared, names: Collection[str]) -> bool:
    return shared.record is not None and (shared.id in names or str(shared.path) in names)


def shares(project: Project, names: Collection[str]) -> bool:
    """Whether one of these paths or ids is a project of this store."""
    return any(_is_named(shared, names) for shared in sharing.users(project.cache_dir))


@contextmanager
def alone(
    project: Project,
    store: LocalStore,
    env: Mapping[str, str],
    forgotten: Collection[str],
    waiting: Callable[[str], None] | None,
) -> Iterator[list[Sharer]]:
    """Keep every command out that changes pointers or objects: between storing and naming them, nothing is a root.

    Gives everybody who uses the store, and forgets the `forgotten`. Waits as long as `project` says. UserError as in
    `sharers`.
    """
    while True:
        everybody = sharers(project, env, forgotten)
        trees = _trees(everybody)
        with ExitStack() as stack:
            for _, tree in sorted(trees.items()):  # in one order, so that two collections do not wait for each other
                stack.enter_context(
                    locks.lock(tree.lock_dir / "index", timeout=project.config.lock_timeout, waiting=waiting)
                )
            stack.enter_context(store.exclusive())
            # Who came while we waited holds a lock that is not ours: between its objects and its pointers, perhaps.
            if _trees(sharers(project, env, forgotten)).keys() <= trees.keys():
                for shared in sharing.users(project.cache_dir):
                    if shared.record is not None and _is_named(shared, forgotten):
                        shared.record.unlink(missing_ok=True)
                yield everybody
                return


def _trees(everybody: Iterable[Sharer]) -> dict[Path, Project]:
    return {tree.root: tree for sharer in everybody for tree in sharer.trees}


def look(store: LocalStore, everybody: Sequence[Sharer], horizon: Horizon, *, include_unpushed: bool) -> Collected:
    """What a collection would do now."""
    return _decide(store, everybody, horizon, include_unpushed=include_unpushed)[0]


def collect(
    store: LocalStore, everybody: Sequence[Sharer], horizon: Horizon, *, include_unpushed: bool, meter: Meter
) -> Collected:
    """Remove what nothing needs; within `alone`. Raises CorruptError for damage, UserError for what cannot be known."""
    done, live = _decide(store, everybody, horizon, include_unpushed=include_unpushed)
    gc.sweep(store, done.plan, live, meter)
    for tree in (tree for sharer in everybody for tree in sharer.trees):
        litter.clean(tree, _pointers(tree))
        _drop_old_records(tree)
    return done


def _decide(
    store: LocalStore, everybody: Sequence[Sharer], horizon: Horizon, *, include_unpushed: bool
) -> tuple[Collected, set[ObjectId]]:
    kept = Kept({}, set())
    for sharer in everybody:
        needed = retention.of_project(sharer.project, sharer.trees, horizon)
        kept.roots.update(needed.roots)
        kept.lists.update(needed.lists)
    live = gc.mark(store, kept)
    plan = gc.plan(store, live, _known_remotes(store, everybody), include_unpushed=include_unpushed)
    left = sum(1 for sharer in everybody for tree in sharer.trees for _ in litter.found(tree, _pointers(tree)))
    leftovers = left + sum(1 for _ in gc.litter(store.directory))
    return Collected(plan, len(kept.roots), len(live), leftovers), live


def _pointers(project: Project) -> Iterable[Pointer]:
    return tracked.in_workspace(project, broken={}).values()


def _known_remotes(store: LocalStore, everybody: Sequence[Sharer]) -> list[Path]:
    """Where the store keeps what it knows of the remotes in somebody's settings: no other may be relied on."""
    projects = [project for sharer in everybody for project in (sharer.project, *sharer.trees)]
    urls = {project.remote(name).address for project in projects for name in project.config.remotes()}
    return [remote_state.cache_directory(store.directory, url) for url in sorted(urls)]


def _drop_old_records(project: Project) -> None:
    """Forget what `--force` replaced long ago; its bytes went with this collection, or the next."""
    for path in retention.saved_records(project.state_dir):
        if path.lstat().st_mtime < time.time() - (SAVED_DAYS + 1) * 86400:
            path.unlink(missing_ok=True)
