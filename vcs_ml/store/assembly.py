"""Large blobs on their way in: a part file is filled from chunks, and becomes an object when it is what its id says."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from io import FileIO
from itertools import accumulate, chain, repeat
from pathlib import Path
from typing import TypeVar

from vcs_ml import fs
from vcs_ml.errors import CorruptError, VmlError
from vcs_ml.hashing import SHA256, Algorithm, Buffer
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import content, objects, pack, seal, threads, transfer
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Row
from vcs_ml.store.recipe import Recipe
from vcs_ml.store.remote import Remote, remedy
from vcs_ml.store.transfer import NOTHING, Failure, Moved, Need, Range, is_hopeless

T = TypeVar("T")
Spots = dict[ObjectId, list[int]]  # chunk -> the offsets at which it belongs
_Steps = Generator[int, None, Moved]

_AT_ONCE = 8  # blobs that are under way, while there are few reads for each
_BUSY = -1
_RUN = 16  # chunks that one thread looks at or copies


def fetch(
    store: LocalStore,
    remote: Remote,
    needs: Sequence[Need],
    *,
    read: Mapping[ObjectId, bytes],
    jobs: int,
    meter: Meter,
) -> tuple[Moved, list[Failure]]:
    """Bring large blobs, within a batch of the store: (what was moved, why some cannot be had).

    What a killed fetch has left is used, and chunks that other large blobs of the store have. The rest is read in
    ranges by `jobs` threads, each holding one range at a time; while one blob is ended, they go on with the next ones.
    Recipes that were `read` are not read again.
    """
    moved = NOTHING
    failures: list[Failure] = []
    under_way: deque[tuple[_Steps, int]] = deque()

    def go_on(steps: _Steps) -> int | None:
        nonlocal moved
        try:
            return next(steps)
        except StopIteration as end:
            moved = moved.plus(end.value)
        except (VmlError, OSError) as error:
            failures.append(error)
        return None

    with threads.pool(jobs) as pool:
        for need in needs:
            while under_way and (len(under_way) >= _AT_ONCE or sum(reads for _, reads in under_way) > 2 * jobs):
                go_on(under_way.popleft()[0])
            if is_hopeless(failures):
                break
            steps = _assemble(store, remote, need, pool, read=read, meter=meter)
            reads = go_on(steps)
            if reads == _BUSY:
                while under_way:  # nobody waits for another while he has what that one may wait for
                    go_on(under_way.popleft()[0])
                reads = go_on(steps)
            if reads is not None:
                under_way.append((steps, reads))
        for steps, _ in under_way:
            go_on(steps)
    return moved, failures


def _assemble(
    store: LocalStore,
    remote: Remote,
    need: Need,
    pool: ThreadPoolExecutor,
    *,
    read: Mapping[ObjectId, bytes],
    meter: Meter,
) -> _Steps:
    """Begin with one blob, tell how many reads are under way for it, then end it.

    Before that it may say _BUSY: another process has begun with it, and the next step waits for that. Raises
    MissingObject; CorruptError for what does not match after a second try.
    """
    recipe = transfer.parts(remote, need, read=read)
    with ExitStack() as stack:
        try:
            file, path = stack.enter_context(_part(store, need, wait=False))
        except BlockingIOError:
            yield _BUSY
            file, path = stack.enter_context(_part(store, need, wait=True))
        if need.oid in store:  # another process had it meanwhile
            path.unlink(missing_ok=True)
            return NOTHING
        spots, lengths = _lacking(file, recipe, pool)
        os.truncate(file.fileno(), recipe.size)
        for oid in _reuse(store, remote.kept_recipes(need.oid, recipe), file, spots, pool):
            del spots[oid]
        places = transfer.locate(remote, [Need(oid, lengths[oid], need.tracked, need.inner) for oid in spots])
        meter.advance(0, recipe.size - sum(lengths[oid] * len(at) for oid, at in spots.items()))

        def put(need: Need, data: Buffer) -> None:
            for at in spots[need.oid]:
                _write(file, data, at)
                meter.advance(0, len(data))

        reads = [pool.submit(_place, remote, each, put) for each in transfer.ranges_of(places)]
        with _awaited(reads):
            yield len(reads)
            transfer.raise_first([failure for each in reads for failure in each.result()])
        _finish(store, remote, need, file.fileno(), path)
        meter.advance(1, 0)
    raw, stored = sum(row.raw for _, row, _ in places), sum(row.stored for _, row, _ in places)
    return Moved(1, recipe.size, stored, recipe.size - raw, raw - stored)


@contextmanager
def _awaited(begun: Sequence[Future[T]]) -> Iterator[None]:
    """Where an error ends the body, none of these goes on behind it."""
    try:
        yield
    except Exception:
        for each in begun:
            each.cancel()
        wait(begun)
        raise


def _all(pool: ThreadPoolExecutor, work: Callable[[int], T], indexes: Iterable[int]) -> list[T]:
    begun = [pool.submit(work, i) for i in indexes]
    with _awaited(begun):
        return [each.result() for each in begun]


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
def _part(store: LocalStore, need: Need, *, wait: bool) -> Iterator[tuple[FileIO, Path]]:
    """The part file of a blob, ours alone; it stays where the body ends by an error that leaves it of use.

    Another process that has it is waited for, or else it is a BlockingIOError. Where an interrupt ends the body,
    threads may still write: the file closes when the last of them has let it go.
    """
    path = lasting = store.directory / "tmp" / f"{fs.TMP_PREFIX}{need.oid[:-1].hex()}.part"
    fs.make_directory(path.parent)
    file = None
    try:
        if (file := _open(store, path, need, wait=wait)) is None:
            path = store.scratch()
            file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+")
        yield file, path
    except OSError as error:
        if file and error.errno in (errno.ENOSPC, errno.EDQUOT):
            path.unlink(missing_ok=True)  # a full disk gets its room back
        if isinstance(error, BlockingIOError) or (error.filename and not fs.is_tmp(os.path.basename(error.filename))):
            raise
        raise OSError(error.errno, error.strerror, str(store.loose_path(need.oid))) from error
    except BaseException as error:
        if not isinstance(error, Exception):
            file = None
        raise
    finally:
        if file:
            file.close()
        if path != lasting:
            path.unlink(missing_ok=True)


def _open(store: LocalStore, path: Path, need: Need, *, wait: bool) -> FileIO | None:
    """The file, locked. None where it is not for us: another user's, or no locks."""
    while True:
        try:
            file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600), "r+")
        except PermissionError:
            return None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR):
                raise
            return None
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                store.wait_for(file.fileno(), path, f"another process that fetches {need.path}")
            except OSError:  # a file system without locks
                file.close()
                return None
            mine = os.fstat(file.fileno())
            if not stat.S_ISREG(mine.st_mode) or mine.st_uid != os.geteuid() or mine.st_nlink > 1:
                file.close()
                return None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(mine, os.lstat(path)):
                    return file
            file.close()  # it has become an object: look again
        except BaseException:
            file.close()
            raise


def _lacking(file: FileIO, recipe: Recipe, pool: ThreadPoolExecutor) -> tuple[Spots, dict[ObjectId, int]]:
    """(where the chunks go that a part file does not hold yet, their lengths)."""
    offsets = list(accumulate(recipe.lengths, initial=0))[:-1]
    spots: Spots = {}

    def look(start: int) -> list[bool]:
        run = slice(start, start + _RUN)
        return list(map(partial(_holds, file.fileno()), recipe.chunks[run], offsets[run], recipe.lengths[run]))

    here: Iterable[bool] = repeat(False, len(offsets))
    if os.fstat(file.fileno()).st_size == recipe.size:
        here = chain.from_iterable(_all(pool, look, range(0, len(offsets), _RUN)))
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


def _reuse(
    store: LocalStore, others: Iterable[tuple[ObjectId, Recipe]], file: FileIO, spots: Spots, pool: ThreadPoolExecutor
) -> list[ObjectId]:
    """Copy the chunks that `others` have, large blobs which may be here; which ones."""
    done: list[ObjectId] = []
    for blob, other in others:
        wanted: dict[ObjectId, tuple[int, int]] = {}
        for oid, at, length in zip(other.chunks, accumulate(other.lengths, initial=0), other.lengths, strict=False):
            if oid in spots:
                wanted[oid] = at, length
        for oid in done:
            wanted.pop(oid, None)
        if wanted and store.is_loose(blob):
            done += _copy_all(store.loose_path(blob), wanted, file, spots, pool)
        if len(done) == len(spots):
            break
    return done


def _copy_all(
    source: Path, wanted: Mapping[ObjectId, tuple[int, int]], file: FileIO, spots: Spots, pool: ThreadPoolExecutor
) -> list[ObjectId]:
    items = list(wanted.items())
    with source.open("rb") as stream:

        def copy(start: int) -> list[ObjectId]:
            run = items[start : start + _RUN]
            return [oid for oid, place in run if _copy(stream.fileno(), file, spots, oid, place)]

        return list(chain.from_iterable(_all(pool, copy, range(0, len(items), _RUN))))


def _copy(source: int, file: FileIO, spots: Spots, oid: ObjectId, place: tuple[int, int]) -> bool:
    """Copy one chunk from where another blob should have it; False if that has something else there."""
    at, length = place
    data = os.pread(source, length, at)
    if SHA256.digest(data) != oid[:-1]:
        return False
    for spot in spots[oid]:
        _write(file, data, spot)
    return True


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


def _write(file: FileIO, data: Buffer, at: int) -> None:
    """Put a chunk into its place; a hole stays one where zeros belong."""
    fd, view, done = file.fileno(), memoryview(data), 0
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
