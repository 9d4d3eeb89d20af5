"""The stat index: which files have not changed since they were hashed.

One file for each tracked directory and one for all single files. It can be lost at any time: then files are
hashed again. docs/formats.md describes the bytes.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import lt
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs, hashing, paths, regular
from vcs_ml.errors import UserError
from vcs_ml.hashing import SHA256, Algorithm
from vcs_ml.store.ingest import STAT_FIELDS, Folder, stat_numbers
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.page import Entry
from vcs_ml.workspace.tree import entry_kind, join

MAGIC = b"VMLX"
VERSION = 1
# Magic, version, algorithm, flags, xxh128 of the rest, base, folders, memos, length of the tracked path.
_HEADER = struct.Struct("<4sBBBx16s32sIII")
_FOLDER = struct.Struct("<III")  # length of the path, of the names, number of files
_PARTIAL, _HAS_BASE = 1, 2
_SIZE_MAX = 1 << 32
_STAT_BYTES = 8 * STAT_FIELDS
_MTIME, _CTIME = 1, 2  # positions among the five numbers of a file


class Known(NamedTuple):
    """A folder as it was when its files were hashed: names joined by NUL, stats and digests in that order."""

    names: bytes
    stats: bytes
    digests: bytes

    def name_list(self) -> list[bytes]:
        """The names, sorted."""
        return self.names.split(b"\0") if self.stats else []

    def at(self, i: int, size: int) -> tuple[bytes, bytes]:
        """(stats, digest) of one file; `size` is a digest's length."""
        return self.stats[i * _STAT_BYTES : (i + 1) * _STAT_BYTES], self.digests[i * size : (i + 1) * size]

    def files(self, path: bytes, size: int) -> Iterator[tuple[bytes, bytes, bytes]]:
        """(path, stats, digest) of each file."""
        for i, name in enumerate(self.name_list()):
            yield join(path, name), *self.at(i, size)


_EMPTY = Known(b"", b"", b"")


def entries(folder: bytes, names: Sequence[bytes], stats: array[int], digests: bytes) -> Iterable[Entry]:
    """The manifest entries of a folder's files, as `entry` gives them one by one; 0.5 us each."""
    prefix = b"%b/" % folder if folder else b""
    size = len(digests) // max(len(names), 1)
    return map(
        Entry,
        [prefix + name for name in names],
        map(entry_kind, stats[4::STAT_FIELDS]),
        stats[::STAT_FIELDS],
        [digests[at : at + size] for at in range(0, len(digests), size or 1)],
    )


def entry(path: bytes, stats: bytes, digest: bytes) -> Entry:
    """The manifest entry of a file that was hashed with these stats."""
    size, _, _, _, mode = struct.unpack(f"={STAT_FIELDS}q", stats)
    return Entry(path, entry_kind(mode), size, digest)


class Changed(NamedTuple):
    """A file that may differ from what is known: its place in the walk, its digest where it was hashed as it is,
    and what `base` has for it as far as it was ever here.
    """

    folder: Folder
    i: int
    path: bytes
    digest: bytes | None
    before: Entry | None


class Index:
    """What is known of one directory.

    `base` is the tree that these files are a checkout of (None: the empty tree); `partial` says that only some
    of its files were ever here, so that what is absent is not deleted. `memo` holds files that differ from
    `base`, so that they are not hashed again until they change.
    """

    def __init__(self, path: Path, algorithm: Algorithm, tracked: str = "") -> None:
        self.path = path
        self.algorithm = algorithm
        self.tracked = tracked
        self.base: ObjectId | None = None
        self.partial = False
        self.folders: dict[bytes, Known] = {}
        self.memo: dict[bytes, tuple[bytes, bytes]] = {}  # path -> (stats, digest)
        self.loaded = False

    @classmethod
    def load(cls, directory: Path, tracked: str, algorithm: Algorithm) -> Index:
        """The index of the tracked directory `tracked`; empty (`loaded` False) where there is none that is whole."""
        return cls._read(cls.new(directory, tracked, algorithm).path, algorithm, tracked)

    @classmethod
    def new(cls, directory: Path, tracked: str, algorithm: Algorithm) -> Index:
        """An index that knows nothing yet, in the place that belongs to `tracked`."""
        return cls(directory / SHA256.digest(os.fsencode(tracked))[:16].hex(), algorithm, tracked)

    @classmethod
    def all(cls, directory: Path, algorithm: Algorithm) -> Iterator[Index]:
        """Every index in `directory`, that of single files included."""
        for path in sorted(directory.glob("?" * 32)):
            index = cls._read(path, algorithm, "")
            if index.loaded:
                yield index

    @classmethod
    def _read(cls, path: Path, algorithm: Algorithm, tracked: str) -> Index:
        index = cls(path, algorithm, tracked)
        try:
            index._parse(regular.read(path, _SIZE_MAX) or b"")
        except (FileNotFoundError, ValueError, struct.error, IndexError, UserError):
            return cls(path, algorithm, tracked)
        index.loaded = True
        return index

    def _parse(self, raw: bytes) -> None:
        magic, version, code, flags, check, base, folders, memos, length = _HEADER.unpack_from(raw)
        rest = memoryview(raw)[_HEADER.size :]
        if magic != MAGIC or version != VERSION or code != self.algorithm.code:
            raise ValueError("another format")
        if hashing.XXH128.digest(rest) != check:
            raise ValueError("damaged")
        self.partial = bool(flags & _PARTIAL)
        self.base = ObjectId(base + b"\x02") if flags & _HAS_BASE else None
        self.tracked = os.fsdecode(raw[_HEADER.size : _HEADER.size + length])
        if self.tracked:
            paths.check(self.tracked, source="the index")  # a stranger's clone may bring one along
        at, digest = _HEADER.size + length, self.algorithm.size
        for n in range(folders + memos):
            path_length, names_length, count = _FOLDER.unpack_from(raw, at)
            at += _FOLDER.size
            path = raw[at : at + path_length]
            names_at = at + path_length
            stats_at = names_at + names_length
            digests_at = stats_at + count * _STAT_BYTES
            at = digests_at + count * digest
            known = Known(raw[names_at:stats_at], raw[stats_at:digests_at], raw[digests_at:at])
            if path:
                paths.check_joined(path, source="the index")
            names = paths.check_joined(known.names, source="the index") if count else []
            if len(names) != count or not all(map(lt, names, islice(names, 1, None))):
                raise ValueError("names and numbers do not fit")
            if n < folders:
                self.folders[path] = known
            else:
                self.memo.update((p, (s, d)) for p, s, d in known.files(path, digest))

    def save(self) -> None:
        """Write it; atomic, not synced: a lost index costs time, not data."""
        memo = [(os.path.dirname(p), Known(os.path.basename(p), s, d)) for p, (s, d) in self.memo.items()]
        tracked = os.fsencode(self.tracked)
        parts = [tracked]
        for path, known in [*self.folders.items(), *memo]:
            parts += (
                _FOLDER.pack(len(path), len(known.names), len(known.stats) // _STAT_BYTES),
                path,
                *known,
            )
        rest = b"".join(parts)
        flags = (_PARTIAL if self.partial else 0) | (_HAS_BASE if self.base is not None else 0)
        header = _HEADER.pack(
            MAGIC,
            VERSION,
            self.algorithm.code,
            flags,
            hashing.XXH128.digest(rest),
            self.base[:-1] if self.base is not None else b"",
            len(self.folders),
            len(memo),
            len(tracked),
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fs.write_atomic(self.path, header + rest, mode=0o644, sync=False)

    def remove(self) -> None:
        """Forget the directory."""
        self.path.unlink(missing_ok=True)

    # ------------------------------------------------------------------ questions

    def entries(self, prefix: bytes = b"") -> Iterator[Entry]:
        """The files that are known at or below `prefix`, as `base` has them."""
        for path, known in self.folders.items():
            if prefix and not _touches(path, prefix):
                continue
            for file, stats, digest in known.files(path, self.algorithm.size):
                if not prefix or file == prefix or file.startswith(prefix + b"/"):
                    yield entry(file, stats, digest)

    def compare(self, folders: Iterable[Folder], prefix: bytes = b"", *, rehash: bool = False) -> Difference:
        """What a walk of `prefix` found against what is known.

        Costs one comparison for an unchanged folder. `rehash` believes no stats.
        """
        changed: list[Changed] = []
        deleted: list[Entry] = []
        seen = set()
        for folder in folders:
            seen.add(folder.path)
            known = self.folders.get(folder.path)
            if (
                known is not None
                and not rehash
                and known.names == b"\0".join(folder.names)
                and known.stats == folder.stats.tobytes()
            ):
                continue
            self._compare_folder(folder, known, prefix, changed, deleted, rehash=rehash)
        for path in self.folders.keys() - seen:
            if not prefix or _touches(path, prefix):
                gone = self.folders[path].files(path, self.algorithm.size)
                deleted += (entry(*file) for file in gone if _below(file[0], prefix))
        return Difference(changed, deleted)

    def _compare_folder(
        self,
        folder: Folder,
        known: Known | None,
        prefix: bytes,
        changed: list[Changed],
        deleted: list[Entry],
        *,
        rehash: bool,
    ) -> None:
        theirs = {} if known is None else {name: i for i, name in enumerate(known.name_list())}
        stats = folder.stats.tobytes()
        for i, name in enumerate(folder.names):
            at = theirs.pop(name, -1)
            mine = stats[i * _STAT_BYTES : (i + 1) * _STAT_BYTES]
            if known is None or at < 0 or rehash or known.stats[at * _STAT_BYTES : (at + 1) * _STAT_BYTES] != mine:
                path = join(folder.path, name)
                memo = None if rehash else self.memo.get(path)
                digest = memo[1] if memo and memo[0] == mine else None
                before = self._entry(folder.path, name, known, at) if known is not None and at >= 0 else None
                changed.append(Changed(folder, i, path, digest, before))
        if known is not None:
            gone = (self._entry(folder.path, name, known, at) for name, at in theirs.items())
            deleted += (entry for entry in gone if _below(entry.path, prefix))

    def _entry(self, folder: bytes, name: bytes, known: Known, at: int) -> Entry:
        return entry(join(folder, name), *known.at(at, self.algorithm.size))

    def files(self) -> dict[bytes, tuple[bytes, bytes]]:
        """path -> (stats, digest) of every known file."""
        size = self.algorithm.size
        return {p: (s, d) for folder, known in self.folders.items() for p, s, d in known.files(folder, size)}

    # ------------------------------------------------------------------ changes

    def update(self, put: Mapping[bytes, tuple[bytes, bytes]], drop: Iterable[bytes] = ()) -> None:
        """Set (stats, digest) of some files as part of `base`, and forget others."""
        touched: dict[bytes, dict[bytes, tuple[bytes, bytes] | None]] = {}
        for path, value in [*put.items(), *((path, None) for path in drop)]:
            folder, _, name = path.rpartition(b"/")
            touched.setdefault(folder, {})[name] = value
            self.memo.pop(path, None)
        for folder, files in touched.items():
            known = _merged(self.folders.get(folder, _EMPTY), files, self.algorithm.size)
            self.folders[folder] = known
            if not known.names:
                del self.folders[folder]


def _merged(known: Known, changes: Mapping[bytes, tuple[bytes, bytes] | None], size: int) -> Known:
    """A folder with the (stats, digest) of some names put or (None) dropped: what stays is copied in long runs."""
    old, at = known.name_list(), 0
    names: list[bytes] = []
    stats: list[bytes] = []
    digests: list[bytes] = []

    def keep(start: int, end: int) -> None:
        names.extend(old[start:end])
        stats.append(known.stats[start * _STAT_BYTES : end * _STAT_BYTES])
        digests.append(known.digests[start * size : end * size])

    for name in sorted(changes):
        end = bisect_left(old, name, at)
        keep(at, end)
        at = end + (old[end : end + 1] == [name])
        if value := changes[name]:
            names.append(name)
            stats.append(value[0])
            digests.append(value[1])
    keep(at, len(old))
    return Known(b"\0".join(names), b"".join(stats), b"".join(digests))


class Difference(NamedTuple):
    """Files that may have changed since they were hashed, and files that are gone."""

    changed: list[Changed]
    deleted: list[Entry]


def _below(path: bytes, prefix: bytes) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + b"/")


def _touches(folder: bytes, prefix: bytes) -> bool:
    return _below(folder, prefix) or folder == os.path.dirname(prefix)


def file_stats(folder: Folder, i: int) -> bytes:
    """The stats of one file of a walk, as the index keeps them."""
    return folder.stats[i * STAT_FIELDS : (i + 1) * STAT_FIELDS].tobytes()


def numbers(st: os.stat_result) -> array[int]:
    """A file's stats in the form that walks use."""
    return array("q", stat_numbers(st))


def unpack(stats: bytes) -> array[int]:
    """The numbers in stats as the index keeps them."""
    return array("q", stats)


def distrust(stats: bytes) -> bytes:
    """A file's stats with times that no file has: it is hashed again next time."""
    numbers = unpack(stats)
    numbers[_MTIME] = numbers[_CTIME] = -1
    return numbers.tobytes()


def settle(stats: array[int], now: int, granularity: int) -> bytes:
    """Stats as the index keeps them: of a file changed within the clock's granularity, the times are made
    impossible, so that it is hashed again next time. A change too soon after might leave the same times.
    """
    limit = now - granularity
    if max(stats[_MTIME::STAT_FIELDS], default=0) >= limit or max(stats[_CTIME::STAT_FIELDS], default=0) >= limit:
        stats = array("q", stats)
        for at in range(0, len(stats), STAT_FIELDS):
            if stats[at + _MTIME] >= limit or stats[at + _CTIME] >= limit:
                stats[at + _MTIME] = stats[at + _CTIME] = -1
    return stats.tobytes()
