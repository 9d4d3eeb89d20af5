"""Opening what a command works on: the store, the worktree's lock, a remote, the targets that were named."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import locks
from vcs_ml.config import RemoteConfig
from vcs_ml.errors import RemoteError, UserError, VmlError
from vcs_ml.output import quote, word
from vcs_ml.store import download, link, manifest, objects, transfer
from vcs_ml.store import remote as remote_state
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes import open_remote
from vcs_ml.store.remotes.protocol import NotSetUp
from vcs_ml.store.transfer import Need
from vcs_ml.workspace import detach, sharing, status, write
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

_PATIENCE: Final = 10.0  # seconds that a merge waits for a remote, before it does without
_MINUTE: Final = 60.0


def open_store(project: Project, waiting: Callable[[str], None] | None = None) -> LocalStore:
    """The project's local store, with its settings."""
    config = project.config
    project.refuse_links_in_store()
    return LocalStore(
        project.cache_dir,
        project.algorithm,
        lock_timeout=config.lock_timeout,
        waiting=waiting,
        pack_below=config.pack_below,
        link=lambda: _links(project),
        register=partial(sharing.register, project) if config.cache_dir else None,
        mend=lambda place, digest: detach.links_to(project, place, digest),
    )


def _links(project: Project) -> Sequence[str]:
    # In a bare repository, a project below its top has no directory.
    workspace = write.scratch(project, project.state_dir if project.git.worktree is None else project.root)
    return link.working(project.config.links, project.cache_dir, workspace, project.index_dir / "links")


@contextmanager
def changing(
    project: Project, waiting: Callable[[str], None] | None = None, *, check: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold this worktree's lock: what is read of pointers and files in the body stays so until it ends.

    `waiting` and `check` as in locks.lock.
    """
    timeout = project.config.lock_timeout
    with locks.lock(project.lock_dir / "index", timeout=timeout, waiting=waiting, check=check):
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


def remote_at(
    project: Project,
    config: RemoteConfig,
    *,
    create: bool = False,
    dry_run: bool = False,
    note: Callable[[str], None] | None = None,
    patience: float | None = None,
) -> Remote:
    """A configured remote, opened; `create` sets up an empty place, but not in a `dry_run`. `note` is told of waits,
    `patience` is that of open_remote.

    Raises RemoteError, UserError.
    """
    base, options, name = project.main_root, config.options, config.name
    backend = open_remote(config.url, options, base=base, name=name, create=create, note=note, patience=patience)
    remote = Remote(config.name, backend, project.algorithm, project.cache_dir)
    remote.is_public = config.options.get("public") is True
    remote.open(create=create, dry_run=dry_run)
    return remote


def remote_if_set_up(project: Project, config: RemoteConfig) -> Remote | None:
    """A configured remote, opened; None for a place that is empty and was never one, as far as is known here."""
    try:
        return remote_at(project, config)
    except NotSetUp:
        if remote_state.known_complete(
            remote_state.cache_directory(project.cache_dir, config.address), project.algorithm
        ):
            raise
        return None


class NotPushed(NamedTuple):
    """Paths of tracked things that a remote is not known to have; `asked`: it was asked just now."""

    remote: str | None
    paths: list[str]
    asked: bool


def not_pushed(project: Project, store: LocalStore, pointers: Sequence[Pointer], name: str | None) -> NotPushed:
    """What the default remote lacks as far as is known; with a `name` ("" is the default) it is asked.

    Then what no record names is looked up object by object: the record may have expired. Outputs that do not go to
    that remote are left out.
    """
    remotes = project.config.remotes()
    if name is None and project.config.default_remote not in remotes and len(remotes) != 1:
        return NotPushed(None, [], False)
    config = project.remote(name or None)
    pointers = [each for each in pointers if each.travels(config.name)]
    if name is None:
        place = remote_state.cache_directory(project.cache_dir, config.address)
        complete = remote_state.known_complete(place, project.algorithm)
        return NotPushed(config.name, [each.path for each in pointers if each.oid not in complete], False)
    remote = remote_if_set_up(project, config)
    if remote is None:
        return NotPushed(config.name, [each.path for each in pointers], True)
    lacked = lacking(store, remote, pointers)
    return NotPushed(config.name, [each.path for each in pointers if each.path in lacked], True)


def lacking(store: LocalStore, remote: Remote, pointers: Sequence[Pointer]) -> set[str]:
    """The paths of those of which the remote, which is asked, lacks something."""
    complete = remote.refresh_complete()
    doubtful = [each for each in pointers if each.oid not in complete]
    if not doubtful:
        return set()
    remote.refresh_index()
    doomed = {name for _, each in remote.read_gc() for name in each.packs}
    large: list[Need] = []
    found = {each.path for each in doubtful if not _is_there(store, remote, each, doomed, large)}
    return found | {need.tracked for need in download.lacking(remote, large, without=doomed)}


def _is_there(
    store: LocalStore, remote: Remote, pointer: Pointer, doomed: Collection[bytes], large: list[Need]
) -> bool:
    """Whether a remote has all that a pointer names, in packs other than those `doomed` to be deleted. Blobs that may
    be there in chunks are left to be looked for: they go to `large`.
    """

    def has(oid: ObjectId, size: int = 0) -> bool:
        if size > transfer.LARGE:
            large.append(Need(oid, size, pointer.path))
            return True
        return transfer.find(remote, oid, without=doomed) is not None

    if pointer.oid[-1] != objects.NODE:
        return has(pointer.oid, pointer.size)
    try:
        pages = manifest.closure(pointer.oid, store.algorithm, transfer.reader(store, remote))
        return all(
            has(page) and all(has(objects.blob(entry.digest), entry.size) for entry in entries)
            for page, entries in pages
        )
    except MissingObject:
        return False


def check_targets(pointers: Mapping[str, Pointer], targets: Sequence[str], *, where: str = "") -> None:
    """UserError for a target that is not tracked, nor holds or lies in something that is."""
    for target in targets:
        chosen = status.selected(pointers, [target])
        if target and (not chosen or any(inner and each.kind != "tree" for each, inner in chosen)):
            raise UserError(
                f"{quote(target)} is not tracked{' ' if where else ''}{where}",
                hint=f"vml ls lists what is; vml add {word(target)} tracks it",
            )


def check_inside(store: LocalStore, chosen: Iterable[tuple[Pointer, str]]) -> None:
    """UserError for a way into a directory that leads to nothing there, as far as its list of files is here."""
    for each, inner in chosen:
        if each.kind != "tree" or not inner:
            continue
        with suppress(MissingObject):
            if not any(manifest.under(each.oid, os.fsencode(inner), store.algorithm, store.read)):
                raise nothing_inside(each.path, inner)


class NothingInside(UserError):
    """A tracked directory does not have what was named in it."""


def nothing_inside(path: str, inner: str) -> NothingInside:
    """The error for what a tracked directory does not have."""
    return NothingInside(f"{quote(path)} has no {quote(inner)}", hint=f"vml ls {word(path)} lists what it has")


def page_reader(
    project: Project,
    store: LocalStore,
    *,
    fetch: bool,
    at_once: bool = True,
    note: Callable[[str], None] | None = None,
    patience: float | None = None,
) -> manifest.Read:
    """Reads pages of manifests from the store, with `fetch` from the default remote where it lacks them.

    That remote is opened `at_once`, or when the first page is missing; `note` and `patience` are those of remote_at.
    """
    if not fetch:
        return store.read

    @cache
    def there() -> manifest.Read:
        remote = remote_at(project, project.remote(), note=note, patience=patience)
        remote.refresh_index()
        return transfer.reader(store, remote)

    if at_once:
        return there()

    def read(oid: ObjectId) -> bytes:
        try:
            return store.read(oid)
        except MissingObject:
            return there()(oid)

    return read


def lists_elsewhere(project: Project, store: LocalStore, note: Callable[[str], None]) -> manifest.Read:
    """Reads pages also from the default remote, for who can go on without them: what fails is a MissingObject.

    A remote that fails is not asked again in the next minute, by others neither: Git runs a driver for each file.
    """
    there = page_reader(project, store, fetch=True, at_once=False, note=note, patience=_PATIENCE)
    failed = project.tmp_dir / "remote-failed"

    def read(oid: ObjectId) -> bytes:
        try:
            return store.read(oid)
        except MissingObject as error:
            lack = error
        if not project.config.remotes():
            raise lack
        if _is_young(failed):
            raise MissingObject(oid, f"{lack.message}; the remote failed a moment ago", hint=lack.hint)
        try:
            return there(oid)
        except MissingObject:
            raise
        except (VmlError, OSError) as error:
            if isinstance(error, RemoteError):
                with suppress(OSError):
                    failed.parent.mkdir(parents=True, exist_ok=True)
                    failed.touch()
            why = error.message if isinstance(error, VmlError) else str(error)
            raise MissingObject(oid, f"{lack.message}; {why}", hint=lack.hint) from None

    return read


def _is_young(path: Path) -> bool:
    """Whether a file was touched in the last minute."""
    try:
        return abs(time.time() - path.stat().st_mtime) < _MINUTE
    except OSError:
        return False
