"""Workspace files into the store: each is hashed from the store's own copy, while it is made."""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.progress import Meter
from vcs_ml.store import adopt, content, link, objects, pack, seal, workers
from vcs_ml.store.content import WINDOW
from vcs_ml.store.link import Numbers
from vcs_ml.store.local import FEW, Batch, LocalStore
from vcs_ml.store.pack import Builder, Pack

_PARALLEL_FILES = 500  # below both, a second process costs more than it saves
_PARALLEL_BYTES = 16 << 20
_RETRIES = 3
# What system calls say of a file that is gone, or that became a link, a directory, a FIFO, a socket.
_BECAME_ANOTHER = frozenset(
    {errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ESPIPE, errno.EAGAIN, errno.ENXIO}
)
_REPORT = 64  # files between two reports of progress

# Five numbers a file: size, mtime_ns, ctime_ns (0 where links share the inode), inode, mode.
STAT_FIELDS = 5
Result = tuple[bytes, list[tuple[int, int, Numbers]], pack.Plain]


class Folder(NamedTuple):
    """Files of one directory: its path below some base, their names, and STAT_FIELDS numbers for each."""

    path: bytes
    names: list[bytes]
    stats: array[int]


class Part(NamedTuple):
    """One worker's files: the number of each one's folder, and its own in there."""

    folders: array[int]
    files: array[int]


class Stored(NamedTuple):
    """One folder's result: digests one after another, and the stats each digest belongs to."""

    digests: bytes
    stats: array[int]


stat_numbers = link.numbers


def ingest(
    store: LocalStore, batch: Batch, base: bytes, folders: Sequence[Folder], meter: Meter, *, share: bool = True
) -> list[Stored]:
    """Store every file of `folders`, directories below `base`.

    A file that others keep changing is an error and nothing is recorded. Workers share the files by size, so
    that equal files meet in one worker and are stored once. Where the store shares its files with workspaces, the
    files become links to it, unless `share` is False.
    """
    share = share and store.shares  # found out before workers fork
    parts = _share(folders, meter)
    # Only in this process: what a forked worker put into the batch would be lost.
    few = batch if len(parts) == 1 and len(parts[0].files) < FEW else None

    def work(part: Part, meter: Meter) -> Result:
        reader = _Storer(store, few, meter, shares=share)
        try:
            digests, changed = _read_part(base, folders, part, reader, meter)
            packs = pack.to_plain(reader.finish())
        finally:
            reader.abort()
        return digests, changed, packs

    results = workers.fork_map(work, parts, meter)
    for _, _, packs in results:
        batch.adopt(pack.from_plain(packs))
    return _gather(folders, parts, results, store.algorithm)


def measure(
    algorithm: Algorithm, base: bytes, folders: Sequence[Folder], meter: Meter, *, steady: bool = True
) -> list[Stored]:
    """The digests of files that are not stored; otherwise as `ingest`.

    Without `steady` nothing has to come to rest: a file that keeps changing has the digest of what was read and
    times that no file has; one that is gone has the size -1.
    """

    def work(part: Part, meter: Meter) -> Result:
        return *_read_part(base, folders, part, _Hasher(algorithm, meter), meter, steady=steady), []

    parts = _share(folders, meter)
    return _gather(folders, parts, workers.fork_map(work, parts, meter), algorithm)


def _gather(
    folders: Sequence[Folder], parts: Sequence[Part], results: Sequence[Result], algorithm: Algorithm
) -> list[Stored]:
    size = algorithm.size
    digests = [bytearray(len(folder.names) * size) for folder in folders]
    stats = [array("q", folder.stats) for folder in folders]
    for part, (part_digests, changed, _) in zip(parts, results, strict=True):
        for k, (f, i) in enumerate(zip(*part, strict=True)):
            digests[f][i * size : (i + 1) * size] = part_digests[k * size : (k + 1) * size]
        for f, i, numbers in changed:
            stats[f][i * STAT_FIELDS : (i + 1) * STAT_FIELDS] = array("q", numbers)
    return [Stored(bytes(d), s) for d, s in zip(digests, stats, strict=True)]


def _share(folders: Sequence[Folder], meter: Meter) -> list[Part]:
    """The files that each worker reads, in path order."""
    every = Part(array("I"), array("I"))
    sizes = array("q")
    for f, folder in enumerate(folders):
        every.folders.extend(array("I", [f]) * len(folder.names))
        every.files.extend(range(len(folder.names)))
        sizes.extend(folder.stats[::STAT_FIELDS])
    meter.expect(len(sizes), sum(sizes))
    count = workers.count()
    if count == 1 or (len(sizes) < _PARALLEL_FILES and sum(sizes) < _PARALLEL_BYTES):
        return [every]
    weights = {size: n * (size + 20_000) for size, n in Counter(sizes).items()}  # opening costs what reading 20 KB does
    if max(weights.values()) > 1.5 * sum(weights.values()) / count:
        # Nearly all have one size: cut the list instead. Equal files may then be packed twice; gc repacks.
        step = -(-len(sizes) // count)
        return [Part(*(numbers[at : at + step] for numbers in every)) for at in range(0, len(sizes), step)]
    loads, worker_of = [0] * count, {}
    for size in sorted(weights, key=weights.__getitem__, reverse=True):
        worker_of[size] = loads.index(min(loads))
        loads[worker_of[size]] += weights[size]
    parts = [Part(array("I"), array("I")) for _ in range(count)]
    for f, i, size in zip(*every, sizes, strict=True):
        part = parts[worker_of[size]]
        part.folders.append(f)
        part.files.append(i)
    return [part for part in parts if part.files]


class _Reader(Protocol):
    """What is done with a file's bytes: they are hashed, and stored or not. Counts bytes, not files."""

    shares: bool  # whether `share` is to be used where a file can be one with its object

    def take_file(self, fd: int, size: int) -> bytes | None:
        """The digest of an open file; None if it does not have the expected size."""
        ...

    def take_bytes(self, data: bytes) -> bytes:
        """The digest of the target of a symbolic link."""
        ...

    def share(self, directory: int, name: bytes, fd: int) -> tuple[bytes, Numbers] | None:
        """(digest, stats) of an open file that becomes a link to its object; None if it changed."""
        ...


def _read_part(
    base: bytes, folders: Sequence[Folder], part: Part, reader: _Reader, meter: Meter, *, steady: bool = True
) -> tuple[bytes, list[tuple[int, int, Numbers]]]:
    """(digests in order, files whose stats are newer than given) of one worker's share."""
    digests = bytearray()
    done = 0
    changed: list[tuple[int, int, Numbers]] = []
    directory, current, path = -1, -1, b""
    try:
        for f, i in zip(*part, strict=True):
            folder = folders[f]
            if f != current:
                if directory >= 0:
                    os.close(directory)
                    directory = -1  # should the next one not open, this must not be closed again
                path = os.path.join(base, folder.path) if folder.path else base
                directory, current = _open_folder(path), f
            before = tuple(folder.stats[i * STAT_FIELDS : (i + 1) * STAT_FIELDS])
            try:
                digest, after = _steady(directory, path, folder.names[i], before, reader)
            except _Unsteady:
                if steady:
                    raise
                digest, after = _passing(directory, folder.names[i], reader)
            digests += digest
            if after != before:
                changed.append((f, i, after))
            done += 1
            if not done % _REPORT:
                meter.advance(_REPORT)
        meter.advance(done % _REPORT)
        return bytes(digests), changed
    finally:
        if directory >= 0:
            os.close(directory)


class _Unsteady(UserError):
    """A file changed each time it was read, or is gone."""


def _open_folder(path: bytes) -> int:
    """A descriptor, -1 where the directory is gone: so are its files."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _passing(directory: int, name: bytes, reader: _Reader) -> tuple[bytes, Numbers]:
    """(digest, stats) of what a file holds for a moment; what is gone, or is no file any more, has no size."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return reader.take_bytes(b""), (-1,) * STAT_FIELDS
    try:
        size, _, _, inode, mode = stat_numbers(os.fstat(fd))
        digest = reader.take_file(fd, size) if stat.S_ISREG(mode) else None
        if digest is None:
            return reader.take_bytes(b""), (size if stat.S_ISREG(mode) else -1, -1, -1, inode, mode)
        return digest, (size, -1, -1, inode, mode)
    finally:
        os.close(fd)


def _steady(directory: int, folder: bytes, name: bytes, before: Numbers, reader: _Reader) -> tuple[bytes, Numbers]:
    """(digest, stats) of a file that had the same stats before and after it was read.

    Hot: about 8 us a small file, four system calls; the walk's stats serve as those before.
    Raises UserError where the file does not come to rest.
    """
    for _ in range(_RETRIES if directory >= 0 else 0):
        digest: bytes | None = None
        if not (stat.S_ISREG(before[4]) or stat.S_ISLNK(before[4])):
            break
        try:
            if stat.S_ISLNK(before[4]):
                digest = reader.take_bytes(os.readlink(name, dir_fd=directory))
                after = stat_numbers(os.stat(name, dir_fd=directory, follow_symlinks=False))
            elif before[4] & link.THROUGH:
                digest, after = _through(directory, name, before, reader)
            else:
                fd = _open(directory, folder, name)
                try:
                    if reader.shares and before[0] and not before[4] & stat.S_IXUSR:
                        if shared := reader.share(directory, name, fd):
                            return shared
                    else:
                        digest = reader.take_file(fd, before[0])
                finally:
                    after = stat_numbers(os.fstat(fd))
                    os.close(fd)
        except OSError as error:
            if error.errno not in _BECAME_ANOTHER:
                raise OSError(error.errno, error.strerror, os.path.join(folder, name)) from None
            break
        if digest is not None and after == before:
            return digest, after
        before = after
    raise _Unsteady(
        f"{os.fsdecode(os.path.join(folder, name))} changed while it was being read",
        hint="wait until whatever writes it has finished, then run the command again",
    )


def _through(directory: int, name: bytes, before: Numbers, reader: _Reader) -> tuple[bytes | None, Numbers]:
    """(digest, stats) of a symlink into the store: of the object there, which is read only if it was written to."""
    there = os.stat(name, dir_fd=directory)
    if seal.is_intact(there):
        digest: bytes | None = link.digest(os.readlink(name, dir_fd=directory))
    else:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=directory)
        try:
            if reader.shares:
                shared = reader.share(directory, name, fd)
                return shared if shared else (None, before)
            digest = reader.take_file(fd, there.st_size)
        finally:
            os.close(fd)
    here = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return digest, stat_numbers(here, os.stat(name, dir_fd=directory) if stat.S_ISLNK(here.st_mode) else None)


def _open(directory: int, folder: bytes, name: bytes) -> int:
    try:
        # Nothing is waited for, if the file has become a FIFO since it was found.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except PermissionError:
        path = os.fsdecode(os.path.join(folder, name))
        raise UserError(f"cannot read {path}: permission denied", hint=f"chmod u+r {path}") from None


class _Hasher:
    """Hashes files and keeps nothing."""

    shares = False

    def __init__(self, algorithm: Algorithm, meter: Meter) -> None:
        self._algorithm = algorithm
        self._meter = meter
        self._window = memoryview(bytearray(WINDOW))

    def take_file(self, fd: int, size: int) -> bytes | None:
        if size >= WINDOW:
            return content.digest(fd, self._algorithm, self._meter)
        n = os.readv(fd, [self._window])
        self._meter.advance(0, n)
        return self._algorithm.digest(self._window[:n]) if n == size else None

    def take_bytes(self, data: bytes) -> bytes:
        return self._algorithm.digest(data)

    def share(self, directory: int, name: bytes, fd: int) -> tuple[bytes, Numbers] | None:
        raise NotImplementedError


class _Storer:
    """Puts small files into packs and large ones into loose objects of one store."""

    def __init__(self, store: LocalStore, few: Batch | None, meter: Meter, *, shares: bool) -> None:
        self.shares = shares
        self._store = store
        self._few = few  # where a handful of files go: the batch then decides that no pack is worth it
        self._meter = meter
        self._digest = store.algorithm.digest
        self._builder = Builder(store.backend, store.algorithm)
        self._seen: set[bytes] = set()
        self._empty = not store.catalog.indexes
        self._reflink = "reflink" in store.links
        self._unreported = 0

    def take_file(self, fd: int, size: int) -> bytes | None:
        if size > self._store.pack_below:
            return self._large(fd)
        room = self._builder.room(size + 1)
        # One byte more than expected shows a file that grew.
        if os.readv(fd, [room[: size + 1]]) != size:
            return None
        self._unreported += size
        if self._unreported >= WINDOW:
            self._meter.advance(0, self._unreported)
            self._unreported = 0
        digest = self._digest(room[:size])
        self._keep(digest, room, size)
        return digest

    def take_bytes(self, data: bytes) -> bytes:
        room = self._builder.room(len(data))
        room[: len(data)] = data
        digest = self._digest(data)
        self._keep(digest, room, len(data))
        return digest

    def _keep(self, digest: bytes, room: memoryview, size: int) -> None:
        if digest in self._seen:
            return
        self._seen.add(digest)
        oid = objects.blob(digest)
        if not self._empty and self._store.is_packed(oid):
            return
        if self._store.pack_below == 0:
            self._store.put_loose(oid, room[:size])
        elif self._few is not None:
            self._few.add(oid, bytes(room[:size]))
        else:
            self._builder.keep(oid, size)

    def _large(self, fd: int) -> bytes:
        digest, self._reflink = adopt.copy(self._store, fd, reflink=self._reflink, meter=self._meter)
        return digest

    def share(self, directory: int, name: bytes, fd: int) -> tuple[bytes, Numbers] | None:
        return adopt.adopt(self._store, directory, name, fd, self._meter)

    def finish(self) -> list[Pack]:
        return self._builder.finish()

    def abort(self) -> None:
        self._builder.abort()
