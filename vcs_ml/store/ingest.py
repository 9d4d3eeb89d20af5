"""Workspace files into the store: each is hashed from the store's own copy, while it is made."""

from __future__ import annotations

import errno
import os
import stat
from array import array
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
Part = list[tuple[int, int]]  # (folder, file) pairs
Result = tuple[bytes, list[tuple[int, int, Numbers]], pack.Plain]


class Folder(NamedTuple):
    """Files of one directory: its path below some base, their names, and STAT_FIELDS numbers for each."""

    path: bytes
    names: list[bytes]
    stats: array[int]


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
    few = batch if len(parts) == 1 and len(parts[0]) < FEW else None

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


def measure(algorithm: Algorithm, base: bytes, folders: Sequence[Folder], meter: Meter) -> list[Stored]:
    """The digests of files that are not stored; otherwise as `ingest`."""

    def work(part: Part, meter: Meter) -> Result:
        return *_read_part(base, folders, part, _Hasher(algorithm, meter), meter), []

    parts = _share(folders, meter)
    return _gather(folders, parts, workers.fork_map(work, parts, meter), algorithm)


def _gather(
    folders: Sequence[Folder], parts: Sequence[Part], results: Sequence[Result], algorithm: Algorithm
) -> list[Stored]:
    size = algorithm.size
    digests = [bytearray(len(folder.names) * size) for folder in folders]
    stats = [array("q", folder.stats) for folder in folders]
    for part, (part_digests, changed, _) in zip(parts, results, strict=True):
        for k, (f, i) in enumerate(part):
            digests[f][i * size : (i + 1) * size] = part_digests[k * size : (k + 1) * size]
        for f, i, numbers in changed:
            stats[f][i * STAT_FIELDS : (i + 1) * STAT_FIELDS] = array("q", numbers)
    return [Stored(bytes(d), s) for d, s in zip(digests, stats, strict=True)]


def _share(folders: Sequence[Folder], meter: Meter) -> list[Part]:
    """(folder, file) pairs for each worker, in path order."""
    every = [(f, i) for f, folder in enumerate(folders) for i in range(len(folder.names))]
    sizes = [folders[f].stats[i * STAT_FIELDS] for f, i in every]
    meter.expect(len(every), sum(sizes))
    count = workers.count()
    if count == 1 or (len(every) < _PARALLEL_FILES and sum(sizes) < _PARALLEL_BYTES):
        return [every]
    weights: dict[int, int] = {}
    for size in sizes:
        weights[size] = weights.get(size, 0) + size + 20_000  # opening a file costs what reading 20 KB does
    if max(weights.values()) > 1.5 * sum(weights.values()) / count:
        # Nearly all have one size: cut the list instead. Equal files may then be packed twice; gc repacks.
        step = -(-len(every) // count)
        return [every[at : at + step] for at in range(0, len(every), step)]
    loads, worker_of = [0] * count, {}
    for size in sorted(weights, key=weights.__getitem__, reverse=True):
        worker_of[size] = loads.index(min(loads))
        loads[worker_of[size]] += weights[size]
    parts: list[Part] = [[] for _ in range(count)]
    for pair, size in zip(every, sizes, strict=True):
        parts[worker_of[size]].append(pair)
    return [part for part in parts if part]


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
    base: bytes, folders: Sequence[Folder], part: Part, reader: _Reader, meter: Meter
) -> tuple[bytes, list[tuple[int, int, Numbers]]]:
    """(digests in order, files whose stats are newer than given) of one worker's share."""
    digests: list[bytes] = []
    changed: list[tuple[int, int, Numbers]] = []
    directory, current, path = -1, -1, b""
    try:
        for f, i in part:
            folder = folders[f]
            if f != current:
                if directory >= 0:
                    os.close(directory)
                path = os.path.join(base, folder.path) if folder.path else base
                directory, current = os.open(path, os.O_RDONLY | os.O_DIRECTORY), f
            before = tuple(folder.stats[i * STAT_FIELDS : (i + 1) * STAT_FIELDS])
            digest, after = _steady(directory, path, folder.names[i], before, reader)
            digests.append(digest)
            if after != before:
                changed.append((f, i, after))
            if not len(digests) % _REPORT:
                meter.advance(_REPORT)
        meter.advance(len(digests) % _REPORT)
        return b"".join(digests), changed
    finally:
        if directory >= 0:
            os.close(directory)


def _steady(directory: int, folder: bytes, name: bytes, before: Numbers, reader: _Reader) -> tuple[bytes, Numbers]:
    """(digest, stats) of a file that had the same stats before and after it was read.

    Hot: about 8 us a small file, four system calls; the walk's stats serve as those before.
    Raises UserError where the file does not come to rest.
    """
    for _ in range(_RETRIES):
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
    raise UserError(
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
