"""One page of a directory manifest: where it ends, its bytes, and every check bytes from outside must pass.

Layout, all integers little-endian (docs/formats.md):

    "VMLN", u8 version = 1, u8 level, u8 algorithm, u8 zero, u32 n, u32 length of the joined paths
    level 0:  kinds n * u8,  sizes n * u64,  blob digests n * algorithm.size
    above:    entries below n * u64,  bytes below n * u64,  SHA-256 of the child pages n * 32
    paths joined by NUL; above level 0 the last path at or below each child

Columns, because `struct` and `bytes.split` then do the work of a loop.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import accumulate, chain, pairwise, repeat
from operator import le
from typing import Any, NamedTuple

from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.paths import PATH_MAX, check_joined
from vcs_ml.store import objects
from vcs_ml.store.objects import ObjectId

FILE, EXECUTABLE, SYMLINK = 0, 1, 2
KINDS = {FILE: "file", EXECUTABLE: "executable", SYMLINK: "symlink"}

PAGE_MAX = 4096  # entries in a page
LEVEL_MAX = 6  # the highest level for which a 64-bit h has nine bits left; honest names never need it
SIZE_MAX = 2**63 - 1
_HEAD = struct.Struct("<4sBBBBII")
BYTES_MAX = _HEAD.size + PAGE_MAX * (8 + 8 + 32 + PATH_MAX + 1)  # 16.2 MiB: no page is longer

_TO_KEYS = bytes.maketrans(b"/\0", b"\0\xff")  # 0xff is no part of UTF-8: it keeps the joined keys apart


class Entry(NamedTuple):
    """One file. `size` in bytes, `digest` of its blob; the blob of a symlink is its target."""

    path: bytes
    kind: int
    size: int
    digest: bytes


class Child(NamedTuple):
    """A row of an upper page: the last path at or below a page one level down, its id, what it sums up to."""

    path: bytes
    oid: ObjectId
    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody calls
    size: int


Row = Entry | Child


class Page(NamedTuple):
    """A checked page: `entries` at level 0, `children` above; `count` and `size` are sums over its rows.

    `keys` are the sort keys of the rows. `low` is the smallest key the page may begin with: the key of the
    path before it, followed by \\1; empty where nothing comes before.
    """

    oid: ObjectId
    level: int
    low: bytes
    keys: list[bytes]
    entries: list[Entry]
    children: list[Child]
    count: int  # type: ignore[assignment]
    size: int

    @property
    def rows(self) -> Sequence[Row]:
        return self.children if self.level else self.entries

    def low_of(self, at: int) -> bytes:
        """`low` of the child in row `at`."""
        return self.keys[at - 1] + b"\1" if at else self.low


def natural_ends(level: int, keys: Iterable[bytes]) -> list[int]:
    """Where runs end by themselves: i such that h of keys[i - 1] has bits 9 * level .. 9 * level + 8 zero.

    h is the first 8 bytes of SHA-256(key), big-endian. 0.29 us a key, nearly all of it SHA-256: the lower
    of the two bytes that hold the nine bits turns all but one in 256 away.
    """
    at, low, high = 7 - 9 * level // 8, 0xFF << level & 0xFF, (2 << level) - 1
    return [
        i
        for i, key in enumerate(keys, 1)
        if not sha256(key).digest()[at] & low and not sha256(key).digest()[at - 1] & high
    ]


def cut(level: int, keys: Sequence[bytes]) -> list[int]:
    """Where the pages of one whole level, or of whole natural runs of it, end; the last is len(keys)."""
    ends = natural_ends(level, keys)
    if keys and (not ends or ends[-1] < len(keys)):
        ends.append(len(keys))
    if max((end - start for start, end in pairwise([0, *ends])), default=0) <= PAGE_MAX:
        return ends
    pieces: list[int] = []
    for start, end in pairwise([0, *ends]):
        pieces += [start + at for at in _split(keys[start:end])] if end - start > PAGE_MAX else []
        pieces.append(end)
    return pieces


def _split(run: Sequence[bytes]) -> list[int]:
    """Where a run too long for a page is split: after its smallest (h, key), the last entry excluded; again.

    Without recursion, so that no choice of names makes it slow or deep: the piece that gets split after i
    reaches from behind the nearest smaller h on i's left up to the nearest smaller on its right.
    """
    hashes = [sha256(key).digest()[:8] for key in run[:-1]]
    ends, stack = [], [-1]
    for i, h in enumerate([*hashes, b""]):  # b"" is smaller than all: the run's last entry closes every piece
        while len(stack) > 1 and h < hashes[stack[-1]]:
            top = stack.pop()
            if i - stack[-1] > PAGE_MAX:
                ends.append(top + 1)
        stack.append(i)
    return sorted(ends)


def check_cut(pages: Iterable[Page]) -> Iterable[Page]:
    """The same pages, which are one whole level in order; CorruptError where the rule would cut elsewhere."""
    run: list[Page] = []
    for page in pages:
        run.append(page)
        yield page
        if natural_ends(page.level, page.keys[-1:]):
            _check_run(run)
            run = []
    _check_run(run)


def _check_run(run: list[Page]) -> None:
    ends = accumulate(len(page.keys) for page in run)
    if len(run) > 1 and list(ends) != cut(run[0].level, list(chain.from_iterable(page.keys for page in run))):
        raise CorruptError(f"{_name(run[0].oid)}: the page does not end where it has to")


def check_order(keys: Sequence[bytes], low: bytes = b"") -> None:
    """Nothing, if `keys` are sorted, unique, no file is also a directory, and the first is not below `low`.

    One comparison does it: no key lies in [k + NUL, k + \\1) unless k is a directory. 50 ns a key.
    Raises UserError naming the file and the directory, ValueError for the rest.
    """
    floors = [low, *[key + b"\1" for key in keys]]
    if all(map(le, floors, keys)):
        return
    before, after = next((a[:-1], b) for a, b in zip(floors, keys, strict=False) if a > b)
    first, second = (key.replace(b"\0", b"/").decode() for key in (before, after))
    if after.startswith(before + b"\0"):
        raise UserError(f"{first!r} is a file, so there can be no {second!r}", hint="remove one of the two")
    raise ValueError(f"{second!r} comes after {first!r}, but sorts before it or is the same")


def sort_keys(joined: bytes) -> list[bytes]:
    """`paths.key` of each of the NUL-separated paths, which are known to be UTF-8."""
    return joined.translate(_TO_KEYS).split(b"\xff")


def encode(level: int, rows: Sequence[Row], algorithm: Algorithm) -> bytes:
    """A page's bytes; of the empty tree, if there are no rows. ValueError for a row that has no encoding.

    `rows` (Entry at level 0, Child above) are in order, their paths checked, and no more than PAGE_MAX.
    """
    n = len(rows)
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [(), (), (), ()]
    joined = b"\0".join(columns[0])
    head = _HEAD.pack(b"VMLN", 1, level, algorithm.code, 0, n, len(joined))
    if level:
        _, ids, counts, sizes = columns
        body = struct.pack(f"<{2 * n}Q", *counts, *sizes) + b"".join([oid[:-1] for oid in ids])
    else:
        _, kinds, sizes, digests = columns
        if not _are_kinds(bytes(kinds)) or set(map(len, digests)) - {algorithm.size} or min(sizes, default=0) < 0:
            raise ValueError(f"a kind, a size or a digest is out of range between {rows[0]} and {rows[-1]}")
        body = bytes(kinds) + struct.pack(f"<{n}Q", *sizes) + b"".join(digests)
    if sum(sizes) > SIZE_MAX:
        raise ValueError("the files add up to more than 2**63 bytes")
    return head + body + joined


# What NamedTuple's own constructor does, without a Python call per row: 0.1 us instead of 0.17.
_entry: Callable[[type[Entry], tuple[bytes, int, int, bytes]], Entry] = tuple.__new__


def decode(data: bytes, oid: ObjectId, algorithm: Algorithm, low: bytes = b"") -> Page:
    """The page that `data` encodes; `low` as in Page. 0.7 us an entry, of which h is 0.3.

    Raises CorruptError unless `data` is exactly what `encode` makes of these rows, all paths and their order
    are good, and no row but the last ends the page. That `data` hashes to `oid` is for the caller to check.
    """
    level, n, body = _head(data, oid, algorithm)
    if n == 0:
        return Page(oid, 0, low, [], [], [], 0, 0)
    at = _HEAD.size
    joined = data[at + body :]
    try:
        paths = check_joined(joined, source="a row")
        keys = sort_keys(joined)
        check_order(keys, low)
    except (UserError, ValueError) as error:
        raise CorruptError(f"{_name(oid)}: {error}") from None
    if len(paths) != n:
        raise CorruptError(f"{_name(oid)}: {len(paths)} paths for {n} rows")
    if natural_ends(level, keys)[:1] not in ([], [n]):
        raise CorruptError(f"{_name(oid)}: the page does not end where it has to")
    entries: list[Entry] = []
    children: list[Child] = []
    if level:
        counts = struct.unpack_from(f"<{n}Q", data, at)
        sizes = struct.unpack_from(f"<{n}Q", data, at + 8 * n)
        ids = [objects.node(data[i : i + 32]) for i in range(at + 16 * n, at + body, 32)]
        children = list(map(Child, paths, ids, counts, sizes))
    else:
        kinds, counts = data[at : at + n], (n,)
        sizes = struct.unpack_from(f"<{n}Q", data, at + n)
        digests = chain.from_iterable(struct.iter_unpack(f"{algorithm.size}s", data[at + 9 * n : at + body]))
        entries = list(map(_entry, repeat(Entry), zip(paths, kinds, sizes, digests, strict=True)))
        if not _are_kinds(kinds):
            raise CorruptError(f"{_name(oid)}: a row is no file, executable or symlink")
    count, size = sum(counts), sum(sizes)
    if min(counts) < 1 or count > SIZE_MAX or size > SIZE_MAX:
        raise CorruptError(f"{_name(oid)}: a count or a size is out of range")
    return Page(oid, level, low, keys, entries, children, count, size)


def _head(data: bytes, oid: ObjectId, algorithm: Algorithm) -> tuple[int, int, int]:
    """Level, rows and length of the columns, once the length of `data` is known to agree with them."""
    if not _HEAD.size <= len(data) <= BYTES_MAX:
        raise CorruptError(f"{_name(oid)}: {len(data)} bytes cannot be a page")
    magic, version, level, code, zero, n, length = _HEAD.unpack_from(data)
    if (magic, zero) != (b"VMLN", 0):
        raise CorruptError(f"{_name(oid)}: not a page")
    if version != 1:
        raise CorruptError(f"{_name(oid)}: unknown version {version} of the format", hint="a newer vml may know it")
    if code != algorithm.code:
        raise CorruptError(f"{_name(oid)}: made for another hash algorithm than {algorithm.name}")
    body = n * (8 + 8 + 32 if level else 1 + 8 + algorithm.size)
    fits = len(data) == _HEAD.size + body + length and length <= n * (PATH_MAX + 1)
    if level > LEVEL_MAX or n > PAGE_MAX or not fits or (n == 0 and level):
        raise CorruptError(f"{_name(oid)}: {len(data)} bytes are no page of {n} rows at level {level}")
    return level, n, body


def _are_kinds(kinds: bytes) -> bool:
    return not kinds.translate(None, b"\0\1\2")


def _name(oid: ObjectId) -> str:
    return f"node sha256:{oid[:-1].hex()}"
