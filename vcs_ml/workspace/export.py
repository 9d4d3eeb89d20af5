"""Data of another repository, fetched and written to a place outside of any project."""

from __future__ import annotations

import difflib
import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import fs, history, paths
from vcs_ml.config import RemoteConfig
from vcs_ml.errors import CorruptError, RemoteError, UserError
from vcs_ml.foreign import Foreign
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote
from vcs_ml.progress import Meter
from vcs_ml.settings import REMOTE_NAME
from vcs_ml.store import manifest, objects, page, transfer
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes import open_remote
from vcs_ml.store.transfer import NOTHING, Moved
from vcs_ml.workspace import elsewhere, opening, place, single, sync, write
from vcs_ml.workspace.elsewhere import Found, Plain, Tracked
from vcs_ml.workspace.project import Project, located
from vcs_ml.workspace.sync import Show, Wanted

_LOOKED_AT: Final = 10_000  # files, for a hint
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Result(NamedTuple):
    """What came from a remote, and the files that were written, with their bytes."""

    moved: Moved
    written: int
    bytes: int


class _Source(NamedTuple):
    """A store, and the files of it that go to paths below the place that is being filled.

    Of a store that is `ours`, large objects become these files.
    """

    store: LocalStore
    entries: list[Entry]
    ours: bool


class _Work(NamedTuple):
    """What every step works with; `top` is the name of the place that is being filled."""

    foreign: Foreign
    top: bytes
    directory: Path
    remote: str | None
    jobs: int | None
    show: Show


def export(
    foreign: Foreign,
    found: Found,
    target: Path,
    *,
    scratch: Path,
    directory: Path,
    remote: str | None,
    jobs: int | None,
    show: Show,
    force: bool = False,
) -> Result:
    """Write what was found to `target`: it is there whole or not at all. `scratch` is of `place.scratch_beside`.

    `remote` is the name of one that the repository has, or an address seen from `directory`; without it, each project's
    default one is asked, or the one that an output goes to, for what the store of a local repository does not have.
    Raises UserError, MissingObject, CorruptError, RemoteError.
    """
    if foreign.url is None:
        place.check_does_not_hold(target, foreign.git.cwd, "the repository")
    new = scratch / "new"
    new.mkdir()
    work = _Work(foreign, os.fsencode(target.name), directory, remote, jobs, show)
    sources, moved = [], NOTHING
    for n, ((project, own), data) in enumerate(_by_remote(found).items()):
        some, got = _gather(work._replace(remote=remote or own), project, data, scratch / f"store{n}")
        sources += some
        moved = moved.plus(got)
    base = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with show("writing") as meter:
            done = _write(work, found, sources, base, meter)
    finally:
        os.close(base)
    place.reveal(new / target.name, target, scratch, force=force)
    return Result(moved, *done)


def _by_remote(found: Found) -> dict[tuple[Project, str | None], list[Tracked]]:
    """By the project, and the only remote that it goes to, if there is one."""
    places: dict[tuple[Project, str | None], list[Tracked]] = {}
    for each in found.data:
        places.setdefault((each.project, each.pointer.remote), []).append(each)
    return places


def _gather(work: _Work, project: Project, data: Sequence[Tracked], scratch: Path) -> tuple[list[_Source], Moved]:
    """The stores that have this data of one project: its own, and one at `scratch` for what has to be fetched."""
    sources: list[_Source] = []
    lacking = list(data)
    if work.remote is not None:
        _remote_config(work, project)  # a wrong name is an error in any case
    if work.foreign.url is None:
        project.refuse_links_in_store()
        # With the project's settings, files might be linked into it.
        own = LocalStore(project.cache_dir, project.algorithm)
        found = [(each, _entries_here(work, own, each)) for each in data]
        lacking = [each for each, entries in found if entries is None]
        sources.append(_Source(own, [entry for _, entries in found for entry in entries or ()], ours=False))
    if not lacking:
        return sources, NOTHING
    store = LocalStore(scratch, project.algorithm)
    there = _open(work, project, scratch)
    items = [Wanted(Root(each.pointer.path, each.pointer.oid), each.pointer.size, [each.inner]) for each in lacking]
    try:
        moved = sync.fetch(store, there, items, jobs=sync.jobs(project, work.jobs), show=work.show)
    except opening.NothingInside:  # one is named alone where a part of it is
        raise _nothing_inside(work.foreign, lacking[0], store.algorithm, transfer.reader(store, there)) from None
    entries = [entry for each in lacking for entry in _entries(work, store, each)]
    return [*sources, _Source(store, entries, ours=True)], moved


def _entries_here(work: _Work, store: LocalStore, each: Tracked) -> list[Entry] | None:
    """The files of tracked data if a store has all of them, else None. Nothing is written into the store."""
    try:
        entries = _entries(work, store, each)
    except (MissingObject, CorruptError):
        return None
    return None if store.lacking(objects.blob(entry.digest) for entry in entries) else entries


def _entries(work: _Work, store: LocalStore, each: Tracked) -> list[Entry]:
    """The files of tracked data, with paths below the place that is being filled.

    UserError for what is not there, or a link that would lead out of it; MissingObject, CorruptError.
    """
    at = _below(work, each.at)
    if each.pointer.kind != "tree":
        return [single.entry_of(each.pointer)._replace(path=at)]
    inner = os.fsencode(each.inner)
    placed = []
    for entry in manifest.under(each.pointer.oid, inner, store.algorithm, store.read):
        below = entry.path[len(inner) :].lstrip(b"/")
        if entry.kind == page.SYMLINK:
            _check_link(work.foreign, f"{each.pointer.path}/{os.fsdecode(entry.path)}", below, _target(store, entry))
        placed.append(entry._replace(path=at + b"/" + below if below else at))
    if inner and not placed:
        raise _nothing_inside(work.foreign, each, store.algorithm, store.read)
    return placed


def _below(work: _Work, at: str) -> bytes:
    return work.top + b"/" + os.fsencode(at) if at else work.top


def _target(store: LocalStore, entry: Entry) -> bytes:
    oid = objects.blob(entry.digest)
    if store.size(oid) > paths.PATH_MAX:
        raise CorruptError(f"{quote(entry.path)}: no link leads to {store.size(oid)} bytes")
    return store.read(oid)


def _check_link(foreign: Foreign, path: str, below: bytes, target: bytes) -> None:
    """UserError for a link at `below` in what is written, if it would lead out of that."""
    if not below:
        raise UserError(
            f"{foreign.name} at {foreign.rev}: {quote(path)} is a symbolic link to {quote(target)}",
            hint="name what it leads to, or the directory that holds both",
        )
    if why := paths.link_problem(below, target):
        why = "it leads out of what would be written" if "leads out" in why else why
        raise UserError(
            f"{foreign.name} at {foreign.rev}: refusing {quote(path)}, a link to {quote(target)}: {why}",
            hint="name a directory that holds both, or a part without the link",
        )


def _nothing_inside(foreign: Foreign, each: Tracked, algorithm: Algorithm, read: manifest.Read) -> UserError:
    """The error for a part that tracked data does not have, with what is near."""
    above = each.inner
    here: list[str] = []
    while above and not here:
        above = above.rpartition("/")[0]
        start = len(above) + 1 if above else 0
        entries = manifest.under(each.pointer.oid, os.fsencode(above), algorithm, read)
        names = (os.fsdecode(entry.path)[start:].partition("/")[0] for entry in islice(entries, _LOOKED_AT))
        here = list(dict.fromkeys(filter(None, names)))
    wanted = each.inner[len(above) :].lstrip("/").partition("/")[0]
    near = difflib.get_close_matches(wanted, here, n=3)
    top = "/".join(filter(None, (each.project.prefix, each.pointer.path, above)))
    shown = [quote(f"{top}/{name}") for name in (near or here[:3])]
    if near:
        hint = f"did you mean {' or '.join(shown)}?"
    else:
        hint = f"there are: {', '.join(shown)}{', …' if len(here) > len(shown) else ''}" if shown else "it is empty"
    what = f"{quote(each.pointer.path)} has no {quote(each.inner)}"
    return UserError(f"{foreign.name} at {foreign.rev}: {what}", hint=hint)


# ---------------------------------------------------------------------- the remote


def _open(work: _Work, project: Project, scratch: Path) -> Remote:
    config = _remote_config(work, project)
    options, other = dict(config.options), "-r names another remote of the repository, or a URL"
    key = f"remote.{config.name}.profile"
    if work.foreign.url and config.name in project.config.remotes() and project.config.get(key, "project"):
        # A stranger does not choose whose credentials are used, or which program makes them.
        profile = shlex.quote(str(options.pop("profile")))
        other = f"the profile that the repository names is not used: AWS_PROFILE={profile} vml get ..."
    try:
        backend = open_remote(config.url, options, base=work.directory, name=config.name)
        there = Remote(config.name, backend, project.algorithm, scratch)
        there.open()
    except RemoteError as error:
        hint = error.hint if error.hint and "vml remote" not in error.hint else None
        raise RemoteError(error.message, hint=hint or other) from None
    return there


def _remote_config(work: _Work, project: Project) -> RemoteConfig:
    """The remote that is called so, or is at this address; its settings are those of the repository."""
    config, remote, foreign = project.config, work.remote, work.foreign
    if remote is not None and remote not in config.remotes() and not REMOTE_NAME.fullmatch(remote):
        address = located(RemoteConfig(remote, remote, {}, "local"), work.directory)
        base = elsewhere.base_of(foreign, project)
        same = (located(each, base) for each in config.remotes().values())
        return next((each for each in same if each.url.rstrip("/") == address.url.rstrip("/")), address)
    try:
        return located(config.remote(remote), elsewhere.base_of(foreign, project))
    except UserError as error:
        names = ", ".join(config.remotes())
        known = f"its remotes are {names}; " if names else ""
        raise UserError(
            f"{foreign.name} at {foreign.rev}: {error.message}",
            hint=f"{known}-r takes a name or a URL (s3://, https://, /path or ./path)",
        ) from None


# ---------------------------------------------------------------------- writing


def _write(work: _Work, found: Found, sources: Sequence[_Source], base: int, meter: Meter) -> tuple[int, int]:
    """Fill the open directory `base`, in which nothing is yet; files and bytes written."""
    for each in found.data:
        if each.pointer.kind == "tree" and not each.inner:  # also where it has no files
            os.close(write.open_directory(base, _below(work, each.at), create=True))
    files = size = 0
    for source in sources:
        _write_entries(source, base, meter)
        files += len(source.entries)
        size += sum(entry.size for entry in source.entries)
    meter.expect(len(found.plain))
    plain = sorted(found.plain, key=lambda each: (each.is_link, each.at))  # nothing is written through a link
    contents = history.stream_blobs(work.foreign.git, [each.oid for each in plain])
    for one, pieces in zip(plain, contents, strict=True):
        length = _write_plain(work.foreign, one, pieces, base, _below(work, one.at))
        meter.advance(1, length)
        size += length
    return files + len(plain), size


def _write_entries(source: _Source, base: int, meter: Meter) -> None:
    """Write files of a store; of one that is ours, large ones are moved and not copied."""
    store = source.store
    moved = {}
    if source.ours:
        large = (entry for entry in source.entries if entry.kind != page.SYMLINK and entry.size > store.pack_below)
        moved = {entry.digest: entry for entry in large if store.is_loose(objects.blob(entry.digest))}
    copied = [entry for entry in source.entries if moved.get(entry.digest) is not entry]
    write.write(store, base, copied, meter, scratch=None)
    meter.expect(len(moved), sum(entry.size for entry in moved.values()))
    for entry in moved.values():
        _move(store.loose_path(objects.blob(entry.digest)), entry, base)
        meter.advance(1, entry.size)


def _move(loose: Path, entry: Entry, base: int) -> None:
    """Make a loose object, which was checked when it came, the file of an entry."""
    with _new_file(base, entry.path, executable=entry.kind == page.EXECUTABLE) as (folder, name, fd):
        mode = stat.S_IMODE(os.fstat(fd).st_mode)  # what the umask lets a new file have
        os.chmod(loose, mode)
        os.utime(loose)
        os.rename(loose, name, dst_dir_fd=folder)


def _write_plain(foreign: Foreign, one: Plain, pieces: Iterator[bytes], base: int, path: bytes) -> int:
    """Write a file of Git's; its size."""
    if one.is_link:
        target = b"".join(islice(pieces, 1))
        _check_link(foreign, one.at, os.fsencode(one.at), target)
        folder = write.open_directory(base, os.path.dirname(path), create=True)
        try:
            os.symlink(target, os.path.basename(path), dir_fd=folder)
        finally:
            os.close(folder)
        return len(target)
    length = 0
    with _new_file(base, path, executable=one.executable) as (_, _, fd):
        for piece in pieces:
            fs.write_all(fd, piece)
            length += len(piece)
    return length


@contextmanager
def _new_file(base: int, path: bytes, *, executable: bool) -> Iterator[tuple[int, bytes, int]]:
    """A new file below `base`: its open directory, its name there, and itself."""
    folder = write.open_directory(base, os.path.dirname(path), create=True)
    try:
        name = os.path.basename(path)
        fd = os.open(name, _CREATE, 0o777 if executable else 0o666, dir_fd=folder)
        try:
            yield folder, name, fd
        finally:
            os.close(fd)
    finally:
        os.close(folder)
