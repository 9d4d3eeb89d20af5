"""Packs: one write-once file that holds many objects and the table that finds them (docs/formats.md)."""

from __future__ import annotations

import os
import re
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, overload

from vcs_ml import hashing
from vcs_ml.errors import CorruptError
from vcs_ml.hashing import SHA256, Algorithm, Buffer
from vcs_ml.store import compress, objects
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.remotes.protocol import Backend, Upload

MAGIC = b"VMLP"
VERSION = 1
FOOTER = struct.Struct("<4sBBBxQ32s")  # magic, version, algorithm, digest width, rows, SHA-256 of the table
TARGET = 48 << 20  # a pack is closed when it has this many bytes
ROWS_MAX = 1 << 20
BUFFER = 4 << 20
_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})")
NAME_BYTES = 24  # 16 of the table's digest, 8 random: a name is never used twice

RAW, ZSTD = 0, 1


class Row(NamedTuple):
    """Where one object lies: `stored` bytes at `offset` of pack number `pack`, `raw` bytes once decoded."""

    oid: ObjectId
    pack: int
    offset: int
    stored: int
    raw: int
    flags: int


class Columns(Sequence[Row]):
    """Rows of one pack, a column each: 100 bytes a row, where tuples of numbers take 300."""

    __slots__ = ("flags", "offsets", "oids", "raw", "stored")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.oids: list[ObjectId] = []
        self.offsets, self.stored, self.raw = array("Q"), array("Q"), array("Q")
        self.flags = bytearray()
        for row in rows:
            self.append(row.oid, row.offset, row.stored, row.raw, row.flags)

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Columns:
        """The same rows as columns."""
        return rows if isinstance(rows, Columns) else cls(rows)

    def append(self, oid: ObjectId, offset: int, stored: int, raw: int, flags: int) -> None:
        """Add one row."""
        self.oids.append(oid)
        self.offsets.append(offset)
        self.stored.append(stored)
        self.raw.append(raw)
        self.flags.append(flags)

    def __len__(self) -> int:
        return len(self.oids)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        return Row(self.oids[at], 0, self.offsets[at], self.stored[at], self.raw[at], self.flags[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def pick(self, order: Sequence[int]) -> Columns:
        """The rows at these places, in this order."""
        found = Columns()
        found.oids = list(map(self.oids.__getitem__, order))
        found.flags = bytearray(map(self.flags.__getitem__, order))
        found.offsets, found.stored, found.raw = (
            array("Q", map(column.__getitem__, order)) for column in (self.offsets, self.stored, self.raw)
        )
        return found

    def extend(self, more: Columns) -> None:
        """Add the rows of others."""
        self.oids += more.oids
        self.flags += more.flags
        self.offsets += more.offsets
        self.stored += more.stored
        self.raw += more.raw


class Pack(NamedTuple):
    """A finished pack: its binary name (NAME_BYTES) and its rows, sorted by key."""

    name: bytes
    rows: Sequence[Row]


Plain = list[tuple[Any, ...]]


def to_plain(packs: Iterable[Pack]) -> Plain:
    """Packs as plain values, as they travel from a worker to its parent."""
    return [
        (name, rows.oids, bytes(rows.flags), rows.offsets.tobytes(), rows.stored.tobytes(), rows.raw.tobytes())
        for name, rows in ((each.name, Columns.of(each.rows)) for each in packs)
    ]


def from_plain(packs: Plain) -> list[Pack]:
    """The inverse of `to_plain`."""
    found = []
    for name, oids, flags, *columns in packs:
        rows = Columns()
        rows.oids, rows.flags = oids, bytearray(flags)
        rows.offsets, rows.stored, rows.raw = (array("Q", column) for column in columns)
        found.append(Pack(name, rows))
    return found


def text_name(name: bytes) -> str:
    """`<32 hex of the id>-<16 hex nonce>`."""
    return f"{name[:16].hex()}-{name[16:].hex()}"


def parse_name(text: str) -> bytes | None:
    """The binary name that `text_name` wrote; None for anything else."""
    match = _NAME.fullmatch(text)
    return bytes.fromhex(match[1] + match[2]) if match else None


def key(name: bytes) -> str:
    """The key a pack is stored under."""
    text = text_name(name)
    return f"packs/{text[:2]}/{text}.pack"


def parse_key(text: str) -> bytes | None:
    """The name of the pack that is stored under this key; None if it is no pack's."""
    name = parse_name(text[len("packs/00/") : -len(".pack")])
    return name if name is not None and key(name) == text else None


def row_key(oid: ObjectId, width: int) -> bytes:
    """An id as tables hold it: the digest padded to `width` bytes, then the kind."""
    return oid if len(oid) > width else oid[:-1].ljust(width, b"\0") + oid[-1:]


def ordered(rows: Columns, algorithm: Algorithm, numbers: Sequence[int] = ()) -> tuple[int, list[int]]:
    """(digest bytes a table's keys need, where its rows stand in order); of several rows of one object, one.

    With `numbers`, the pack of each row in rising order, one for each pack.
    """
    width = max(map(len, rows.oids), default=algorithm.size + 1) - 1
    keys = [row_key(oid, width) for oid in rows.oids]
    order = sorted(range(len(keys)), key=keys.__getitem__)  # which leaves equal ones in their order
    if len(set(keys)) == len(keys):
        return width, order

    def same(i: int, j: int) -> bool:
        return keys[i] == keys[j] and (not numbers or numbers[i] == numbers[j])

    return width, [i for at, i in enumerate(order, 1) if at == len(order) or not same(i, order[at])]


def little_endian(values: array[int]) -> bytes:
    """An array's bytes as files hold them."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def from_little_endian(code: str, data: Buffer) -> array[int]:
    """The inverse of `little_endian`."""
    values = array(code)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def encode_columns(rows: Columns, width: int, numbers: array[int] | None = None) -> bytes:
    """Sorted rows as columns: keys, flags, [pack numbers,] offsets, stored lengths, raw lengths."""
    keys = b"".join(rows.oids)
    if len(keys) != len(rows) * (width + 1):
        keys = b"".join(row_key(oid, width) for oid in rows.oids)
    middle = [] if numbers is None else [little_endian(numbers)]
    columns = map(little_endian, (rows.offsets, rows.stored, rows.raw))
    return b"".join([keys, rows.flags, *middle, *columns])


def parse_oid(raw: bytes, algorithm: Algorithm, *, source: str) -> ObjectId:
    """The id in a table's key; CorruptError if its kind is unknown or its padding is not zero."""
    kind = raw[-1]
    if kind not in objects.KINDS:
        raise CorruptError(f"{source}: unknown kind of object {kind}")
    size = objects.digest_size(kind, algorithm)
    if len(raw) - 1 < size or any(raw[size:-1]):
        raise CorruptError(f"{source}: a key is not a digest")
    return ObjectId(raw[:size] + raw[-1:])


class Builder:
    """Packs objects into as many packs as they need; nothing is visible before `finish`.

    Small objects gather in one buffer that is written 4 MiB at a time. `room` and `keep` let a reader fill
    that buffer itself, so that a file's bytes are copied once on their way from disk to pack. A pack is closed when it
    has `target` bytes, by default TARGET, and appended to `packs` when it is durable.
    """

    def __init__(
        self,
        backend: Backend,
        algorithm: Algorithm,
        *,
        zstd: bool = False,
        target: int = 0,
        packs: list[Pack] | None = None,
    ) -> None:
        self._backend = backend
        self._algorithm = algorithm
        self._target = target or TARGET
        self._squeezer = compress.Squeezer() if zstd else None
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._used = 0
        self._upload: Upload | None = None
        self._offset = 0
        self._rows = Columns()
        self.packs: list[Pack] = [] if packs is None else packs

    def room(self, size: int) -> memoryview:
        """A place for at least `size` bytes (at most BUFFER) in the pack that is being filled."""
        if BUFFER - self._used < size:
            self._flush()
        return self._view[self._used :]

    def keep(self, oid: ObjectId, size: int) -> None:
        """Make the first `size` bytes of the last `room` the object `oid`."""
        self._record(oid, size, size, RAW)
        self._used += size
        self._close_if_full()

    def add(self, oid: ObjectId, data: Buffer) -> None:
        """Pack one object, compressed where that was asked for and pays."""
        squeezed = self._squeezer.squeeze(data) if self._squeezer else None
        if squeezed is None:
            self.add_stored(oid, data, len(data), RAW)
        else:
            self.add_stored(oid, squeezed, len(data), ZSTD)

    def add_stored(self, oid: ObjectId, stored: Buffer, raw: int, flags: int) -> None:
        """Pack one object as another pack holds it: of `raw` bytes, encoded as `flags` say."""
        size = len(stored)
        if size <= BUFFER >> 2:
            self.room(size)[:size] = stored
            self._record(oid, size, raw, flags)
            self._used += size
        else:
            self._flush()
            self._record(oid, size, raw, flags)
            self._sink().write(stored)
        self._close_if_full()

    def finish(self) -> list[Pack]:
        """Close the last pack; every pack is then durable. No index names them yet."""
        if self._rows:
            self._close()
        return self.packs

    def abort(self) -> None:
        """Forget the pack that is being filled."""
        if self._upload is not None:
            self._upload.abort()
            self._upload = None

    def discard(self) -> None:
        """Remove the packs that are finished, which nobody knows of yet, and forget the one that is being filled."""
        self.abort()
        for each in self.packs:
            self._backend.delete(key(each.name))

    def _sink(self) -> Upload:
        if self._upload is None:
            self._upload = self._backend.create()
        return self._upload

    def _record(self, oid: ObjectId, stored: int, raw: int, flags: int) -> None:
        self._rows.append(oid, self._offset, stored, raw, flags)
        self._offset += stored

    def _flush(self) -> None:
        if self._used:
            self._sink().write(self._view[: self._used])
            self._used = 0

    def _close_if_full(self) -> None:
        if self._offset >= self._target or len(self._rows) >= ROWS_MAX:
            self._close()

    def _close(self) -> None:
        self._flush()
        width, order = ordered(self._rows, self._algorithm)
        rows = self._rows.pick(order)
        table = encode_columns(rows, width)
        digest = SHA256.digest(table)
        name = digest[:16] + os.urandom(8)
        sink = self._sink()
        sink.write(table + FOOTER.pack(MAGIC, VERSION, self._algorithm.code, width, len(rows), digest))
        sink.commit(key(name))
        self.packs.append(Pack(name, rows))
        self._upload, self._rows, self._offset = None, Columns(), 0


def table_size(rows: int, width: int) -> int:
    """Bytes that follow the objects of a pack with so many rows, whose digests are at most `width` long."""
    return rows * (width + 26) + FOOTER.size


def read_table(
    name: bytes, size: int, read_range: Callable[[int, int], bytes], algorithm: Algorithm, *, source: str
) -> Pack:
    """The table of a stored pack of `size` bytes, checked against its footer, its name and its bounds.

    `read_range(start, length)` gives the file's bytes. Raises CorruptError.
    """
    if size < FOOTER.size:
        raise CorruptError(f"{source}: it is cut short: {size} bytes are less than any pack has")
    footer = read_range(size - FOOTER.size, FOOTER.size)
    magic, version, code, width, count, digest = FOOTER.unpack(footer)
    row_bytes = width + 1 + 1 + 24
    if magic != MAGIC:
        raise CorruptError(f"{source}: it is cut short, or damaged at its end")
    if version != VERSION or footer[7]:
        raise CorruptError(f"{source}: not a pack of a version this vml reads")
    if code != algorithm.code or hashing.by_code(code) is None:
        raise CorruptError(f"{source}: its algorithm is not {algorithm.name}")
    start = size - FOOTER.size - count * row_bytes
    if width > SHA256.size or count > ROWS_MAX or start < 0:
        raise CorruptError(f"{source}: its table does not fit the file")
    table = read_range(start, count * row_bytes)
    if SHA256.digest(table) != digest or digest[:16] != name[:16]:
        raise CorruptError(f"{source}: its table is damaged")
    return Pack(name, decode_rows(table, count, width, start, algorithm, source=source))


def decode_rows(table: bytes, count: int, width: int, payload: int, algorithm: Algorithm, *, source: str) -> list[Row]:
    """The rows of a pack's table, bounds checked against its `payload` bytes."""
    step = width + 1
    flags = count * step
    offsets = from_little_endian("Q", memoryview(table)[flags + count :])
    rows, last = [], b""
    for i in range(count):
        raw_key = table[i * step : (i + 1) * step]
        row = Row(
            parse_oid(raw_key, algorithm, source=source),
            0,
            offsets[i],
            offsets[count + i],
            offsets[2 * count + i],
            table[flags + i],
        )
        if raw_key <= last or row.offset + row.stored > payload or row.flags not in (RAW, ZSTD):
            raise CorruptError(f"{source}: row {i} of its table is out of order or out of bounds")
        if row.flags == RAW and row.raw != row.stored:
            raise CorruptError(f"{source}: row {i} of its table contradicts itself")
        rows.append(row)
        last = raw_key
    return rows


def decode_object(row: Row, stored: Buffer, algorithm: Algorithm) -> Buffer:
    """An object's bytes from what is stored, verified against its id; CorruptError."""
    data = stored if row.flags == RAW else compress.expand(stored, row.raw)
    if len(data) != row.raw:
        raise CorruptError(f"{objects.describe(row.oid, algorithm)}: {len(data)} bytes where {row.raw} are listed")
    objects.verify(row.oid, data, algorithm)
    return data
