"""Large blobs on their way in: a part file is filled from chunks, and becomes an object when it is what its id says."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path

from vcs_ml import fs
from vcs_ml.errors import CorruptError
from vcs_ml.hashing import SHA256, Algorithm, Buffer
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import content, objects, pack, seal, transfer
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Row
from vcs_ml.store.recipe import Recipe
from vcs_ml.store.remote import Remote, remedy
from vcs_ml.store.transfer import NOTHING, Moved, Need, Range

Spots = dict[ObjectId, list[int]]  # chunk -> the offsets at which it belongs


def fetch(store: LocalStore, remote: Remote, need: Need, *, jobs: int, meter: Meter) -> Moved:
    """Bring one large blob; within a batch of the store. What a killed fetch has left is used, and chunks that other
    large blobs of the store have.

    The rest is read in ranges by `jobs` threads, each holding one range at a time. Raises MissingObject; CorruptError
    for what does not match after a second try.
    """
    recipe = transfer.parts(remote, need)
    with _part(store, need) as (fd, path):
        if need.oid in store:  # another process had it meanwhile
            path.unlink(missing_ok=True)
            return NOTHING
        spots, lengths = _lacking(fd, recipe, jobs)
        os.truncate(fd, recipe.size)
        for oid in _reuse(store, remote, recipe, fd, spots, jobs=jobs):
            del spots[oid]
        needs = [Need(oid, lengths[oid], need.tracked, need.inner) for oid in spots]
        places = transfer.locate(remote, needs)
        meter.advance(0, recipe.size - sum(lengths[oid] * len(at) for oid, at in spots.items()))
        _fill(remote, fd, list(transfer.ranges_of(places)), spots, jobs=jobs, meter=meter)
        _finish(store, remote, need, fd, path)
        meter.advance(1, 0)
    raw, stored = sum(row.raw for _, row, _ in places), sum(row.stored for _, row, _ in places)
    return Moved(1, recipe.size, stored, recipe.size - raw, raw - stored)


def _finish(store: LocalStore, remote: Remote, need: Need, fd: int, path: Path) -> None:
    seal.put(fd)
    os.lseek(fd, 0, os.SEEK_SET)
    if content.digest(fd, store.algorithm, SILENT) != need.oid[:-1]:
        path.unlink(missing_ok=True)  # no chunk of it is wrong, so none would be asked for again
        raise CorruptError(
            f"{need.path}: the chunks that remote {remote.name!r} lists for it do not make "
            f"{objects.describe(need.oid, store.algorithm)}",
            hint=remedy(remote.name),
        )
    os.fchmod(fd, 0o444)
    os.fsync(fd)
    store.adopt_loose(need.oid, path)


# ---------------------------------------------------------------------- the part file


@contextmanager
def _part(store: LocalStore, need: Need) -> Iterator[tuple[int, Path]]:
    """The part file of a blob, ours alone; it stays where the body ends by an error that leaves it of use."""
    path = lasting = store.directory / "tmp" / f"{fs.TMP_PREFIX}{need.oid[:-1].hex()}.part"
    fs.make_directory(path.parent)
    fd = -1
    try:
        if (found := _open(path)) is None:
            path = store.scratch()
            found = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fd = found
        yield fd, path
    except OSError as error:
        if fd >= 0 and error.errno in (errno.ENOSPC, errno.EDQUOT):
            path.unlink(missing_ok=True)  # a full disk gets its room back
        if error.filename and not fs.is_tmp(os.path.basename(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, str(store.loose_path(need.oid))) from error
    finally:
        if fd >= 0:
            os.close(fd)
        if path != lasting:
            path.unlink(missing_ok=True)


def _open(path: Path) -> int | None:
    """The file, locked; whoever has it is waited for. None where it is not for us: another user's, or no locks."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except PermissionError:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            mine = os.fstat(fd)
            if stat.S_ISREG(mine.st_mode) and mine.st_uid == os.geteuid() and mine.st_nlink <= 1:
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(mine, os.lstat(path)):
                        return fd
                os.close(fd)  # it has become an object: look again
                continue
        except OSError:
            pass
        os.close(fd)
        return None


def _lacking(fd: int, recipe: Recipe, jobs: int) -> tuple[Spots, dict[ObjectId, int]]:
    """(where the chunks go that a part file does not hold yet, their lengths)."""
    offsets = list(accumulate(recipe.lengths, initial=0))[:-1]
    spots: Spots = {}
    look = partial(_holds, fd)
    if os.fstat(fd).st_size != recipe.size:
        here: Iterator[bool] = iter([False] * len(offsets))
    else:
        with ThreadPoolExecutor(jobs) as pool:
            here = iter(list(pool.map(look, recipe.chunks, offsets, recipe.lengths)))
    for oid, at, is_here in zip(recipe.chunks, offsets, here, strict=True):
        if not is_here:
            spots.setdefault(oid, []).append(at)
    return spots, dict(zip(recipe.chunks, recipe.lengths, strict=True))


def _holds(fd: int, oid: ObjectId, offset: int, length: int) -> bool:
    """Whether a chunk is in its place; what was never written is not read."""
    if _is_hole(fd, offset, length):
        return False
    return SHA256.digest(os.pread(fd, length, offset)) == oid[:-1]


# ---------------------------------------------------------------------- chunks into their places


def _reuse(store: LocalStore, remote: Remote, recipe: Recipe, fd: int, spots: Spots, *, jobs: int) -> list[ObjectId]:
    """Copy the chunks that other large blobs here have, by the recipes that were kept of them; which ones."""
    done: list[ObjectId] = []
    for blob, other in remote.kept_recipes(recipe):
        wanted: dict[ObjectId, tuple[int, int]] = {}
        for oid, at, length in zip(other.chunks, accumulate(other.lengths, initial=0), other.lengths, strict=False):
            if oid in spots:
                wanted[oid] = at, length
        for oid in done:
            wanted.pop(oid, None)
        if wanted and store.is_loose(blob):
            with store.loose_path(blob).open("rb") as file, ThreadPoolExecutor(jobs) as pool:
                copied = pool.map(partial(_copy, file.fileno(), fd, spots), wanted, wanted.values())
                done += [oid for oid, good in zip(wanted, copied, strict=True) if good]
        if len(done) == len(spots):
            break
    return done


def _copy(source: int, fd: int, spots: Spots, oid: ObjectId, place: tuple[int, int]) -> bool:
    """Copy one chunk from where another blob should have it; False if that has something else there."""
    at, length = place
    data = os.pread(source, length, at)
    if SHA256.digest(data) != oid[:-1]:
        return False
    for spot in spots[oid]:
        _write(fd, data, spot)
    return True


def _fill(remote: Remote, fd: int, ranges: Sequence[Range], spots: Spots, *, jobs: int, meter: Meter) -> None:
    failures: list[CorruptError] = []

    def put(need: Need, data: Buffer) -> None:
        for at in spots[need.oid]:
            _write(fd, data, at)
            meter.advance(0, len(data))

    with ThreadPoolExecutor(jobs) as pool:
        for failed in pool.map(lambda each: _place(remote, each, put), ranges):
            failures += failed
    if failures:
        raise failures[0]


def _place(remote: Remote, each: Range, put: Callable[[Need, Buffer], None]) -> list[CorruptError]:
    """Read one range and put every chunk of it where it belongs; those that cannot be had."""
    data = memoryview(remote.backend.read_range(pack.key(each.pack), each.start, each.length))
    failures = []
    for need, row in each.wanted:
        try:
            put(need, _decode(remote, each, need, row, data))
        except CorruptError as error:
            failures.append(error)
    return failures


def _decode(remote: Remote, each: Range, need: Need, row: Row, data: memoryview) -> Buffer:
    algorithm: Algorithm = remote.algorithm
    try:
        return pack.decode_object(row, data[row.offset - each.start :][: row.stored], algorithm)
    except CorruptError:
        return transfer.read_one(remote, each.pack, row, path=need.path)


def _write(fd: int, data: Buffer, at: int) -> None:
    """Put a chunk into its place; a hole stays one where zeros belong."""
    view, done = memoryview(data), 0
    if not view[0] and _is_hole(fd, at, len(view)) and bytes(view) == bytes(len(view)):
        return
    while done < len(view):
        done += os.pwrite(fd, view[done:], at + done)


def _is_hole(fd: int, at: int, length: int) -> bool:
    """Whether nothing was ever written there."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA) >= at + length
    except OSError:  # nothing but a hole from there on
        return True
