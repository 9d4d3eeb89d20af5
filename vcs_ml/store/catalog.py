"""Index files and their union: in which pack, and where in it, an object lies (docs/formats.md)."""

from __future__ import annotations

import mmap
import os
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from operator import add, le
from pathlib import Path
from typing import Literal

from vcs_ml import fs
from vcs_ml.errors import CorruptError
from vcs_ml.hashing import SHA256, Algorithm
from vcs_ml.store import pack
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import NAME_BYTES, Columns, Pack, Row

MAGIC = b"VMLI"
VERSION = 1
HEADER = struct.Struct("<4sBBBBQII")  # magic, version, algorithm, digest width, fan-out bits, rows, packs, supersedes
MERGE_AT = 16  # index files of one size class, before they are merged into one


def key(name: bytes) -> str:
    """The key an index is stored under."""
    return f"index/{pack.text_name(name)}.idx"


def parse_key(text: str) -> bytes | None:
    """The name of the index that is stored under this key; None if it is no index's."""
    name = pack.parse_name(text[len("index/") : -len(".idx")])
    return name if name is not None and key(name) == text else None


def encode(packs: Sequence[Pack], algorithm: Algorithm, supersedes: Sequence[bytes] = ()) -> tuple[bytes, bytes]:
    """(name, content) of one index over `packs`; an object that lies in several has a row for each.

    All rows are kept, because gc may delete any one of those packs.
    """
    every, numbers = Columns(), array("I")
    for number, each in enumerate(packs):
        every.extend(Columns.of(each.rows))
        numbers.extend(array("I", [number]) * len(each.rows))
    width, order = pack.ordered(every, algorithm, numbers)
    rows = every.pick(order)
    # Buckets of at most a few hundred keys keep the search of one id near a microsecond.
    bits = 8 if len(rows) < 1 << 14 else 16
    counts = array("I", bytes(4 << bits))
    for oid in rows.oids:
        counts[oid[0] if bits == 8 else oid[0] << 8 | oid[1]] += 1
    content = b"".join(
        (
            HEADER.pack(MAGIC, VERSION, algorithm.code, width, bits, len(rows), len(packs), len(supersedes)),
            b"".join(each.name for each in packs),
            b"".join(sorted(supersedes)),
            pack.little_endian(array("I", accumulate(counts))),
            pack.encode_columns(rows, width, array("I", map(numbers.__getitem__, order))),
        )
    )
    return SHA256.digest(content)[:16] + os.urandom(8), content


class Index:
    """One index file, mapped and searched in place; nothing is parsed per row before it is asked for."""

    def __init__(self, path: Path, name: bytes, algorithm: Algorithm, *, verify: bool = False) -> None:
        """Map the file. `verify` hashes it against its name: once, when it arrives from elsewhere.

        Raises CorruptError if it is not a whole index of this algorithm, FileNotFoundError.
        """
        self.path, self.name, self._algorithm = path, name, algorithm
        with path.open("rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise CorruptError(f"{path}: an empty index") from None
        if verify and SHA256.digest(memoryview(self._map))[:16] != name[:16]:
            raise CorruptError(f"{path}: this index does not match its name")
        self._layout()

    def _layout(self) -> None:
        data = self._map
        if len(data) < HEADER.size:
            raise CorruptError(f"{self.path}: too short for an index")
        magic, version, code, *numbers = HEADER.unpack(data[: HEADER.size])
        width, bits, count, packs, old = map(int, numbers)
        if magic != MAGIC or version != VERSION or code != self._algorithm.code:
            raise CorruptError(f"{self.path}: not an index this project reads")
        names = HEADER.size
        fan = names + (packs + old) * NAME_BYTES
        keys = fan + (4 << bits)
        flags = keys + count * (width + 1)
        end = flags + count * (1 + 4 + 24)
        if bits not in (8, 16) or width > SHA256.size or end != len(data):
            raise CorruptError(f"{self.path}: its length does not fit its header")
        self.packs = [data[at : at + NAME_BYTES] for at in range(names, names + packs * NAME_BYTES, NAME_BYTES)]
        middle = names + packs * NAME_BYTES
        self.supersedes = [data[at : at + NAME_BYTES] for at in range(middle, fan, NAME_BYTES)]
        self._fan = pack.from_little_endian("I", data[fan:keys])
        if count != self._fan[-1]:
            raise CorruptError(f"{self.path}: its fan-out does not fit its rows")
        self._count, self._width, self._bits, self._keys, self._flags = count, width, bits, keys, flags
        first = flags + count
        values = first + 4 * count
        self._numbers = self._column("I", first, 4 * count)
        self._offsets, self._stored, self._raw = (
            self._column("Q", values + column * 8 * count, 8 * count) for column in range(3)
        )

    def check_order(self) -> None:
        """CorruptError for a fan-out that ever decreases, by which each search would read all keys: 4 ms at most, paid
        once, when an index comes from elsewhere.
        """
        if not all(map(le, self._fan, islice(self._fan, 1, None))):
            raise CorruptError(f"{self.path}: its fan-out does not fit its rows")

    def _column(self, code: Literal["I", "Q"], start: int, length: int) -> Sequence[int]:
        """Numbers of the file, in place where the machine's byte order is the file's."""
        if sys.byteorder == "little":
            return memoryview(self._map)[start : start + length].cast(code)
        return pack.from_little_endian(code, self._map[start : start + length])

    def __len__(self) -> int:
        return self._count

    def find(self, oid: ObjectId) -> Row | None:
        """The first row of `oid`, None if it is not here: about 1 us."""
        i = self._search(oid)
        return self._row(oid, i) if i >= 0 else None

    def find_all(self, oid: ObjectId) -> Iterator[Row]:
        """Every row of `oid`, each for another pack."""
        i, step = self._search(oid), self._width + 1
        wanted = pack.row_key(oid, self._width)
        while 0 <= i < self._count and self._map[self._keys + i * step : self._keys + (i + 1) * step] == wanted:
            yield self._row(oid, i)
            i += 1

    def _search(self, oid: ObjectId) -> int:
        """The number of the first row of `oid`, -1 if there is none."""
        width = self._width
        if len(oid) - 1 > width:
            return -1
        wanted = pack.row_key(oid, width)
        bucket = oid[0] if self._bits == 8 else oid[0] << 8 | oid[1]
        step, keys = width + 1, self._keys
        end = keys + self._fan[bucket] * step
        at = self._map.find(wanted, keys + (self._fan[bucket - 1] * step if bucket else 0), end)
        while at >= 0 and (at - keys) % step:
            at = self._map.find(wanted, at + 1, end)
        return (at - keys) // step if at >= 0 else -1

    def _row(self, oid: ObjectId, i: int) -> Row:
        if i >= self._count:
            raise CorruptError(f"{self.path}: its fan-out does not fit its rows")
        number, stored, raw, flags = self._numbers[i], self._stored[i], self._raw[i], self._map[self._flags + i]
        if number >= len(self.packs):
            raise CorruptError(f"{self.path}: a row names a pack that is not listed")
        if flags not in (pack.RAW, pack.ZSTD) or (raw != stored if flags == pack.RAW else raw < stored):
            raise CorruptError(f"{self.path}: a row contradicts itself")
        return Row(oid, number, self._offsets[i], stored, raw, flags)

    def payloads(self) -> dict[bytes, int]:
        """How many bytes the objects of each pack take, by this index."""
        sums = dict.fromkeys(range(len(self.packs)), 0)
        for number, stored in zip(self._numbers, self._stored, strict=True):  # 0.1 us a row
            if number not in sums:
                raise CorruptError(f"{self.path}: a row names a pack that is not listed")
            sums[number] += stored
        return {self.packs[number]: size for number, size in sums.items()}

    def sizes(self) -> dict[bytes, int]:
        """How many bytes each pack has at least, by this index: objects, table and footer."""
        ends, counts = [0] * len(self.packs), [0] * len(self.packs)
        for number, end in zip(self._numbers, map(add, self._offsets, self._stored), strict=True):  # 0.1 us a row
            if number >= len(ends):
                raise CorruptError(f"{self.path}: a row names a pack that is not listed")
            counts[number] += 1
            if end > ends[number]:  # noqa: PLR1730 - max() takes three times as long
                ends[number] = end
        return {
            name: end + pack.table_size(n, self._algorithm.size)
            for name, end, n in zip(self.packs, ends, counts, strict=True)
        }

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of keys."""
        step = self._width + 1
        for i in range(self._count):
            at = self._keys + i * step
            yield self._row(pack.parse_oid(self._map[at : at + step], self._algorithm, source=str(self.path)), i)


class Catalog:
    """The union of the index files in one directory, less those that another supersedes."""

    def __init__(self, directory: Path, algorithm: Algorithm) -> None:
        self.directory = directory
        self._algorithm = algorithm
        self._open: dict[bytes, Index] = {}
        self._listed: set[bytes] = set()
        self.refresh()

    def refresh(self) -> bool:
        """Look at the directory again; True if it holds something new."""
        while True:
            try:
                return self._load(self._list())
            except FileNotFoundError:
                continue  # merged away between the listing and the opening

    def _list(self) -> set[bytes]:
        """The indexes in the directory. What is made and removed while it is read may be missed: where something
        is gone, another took its place, and it is read once more.
        """
        while True:
            try:
                names = {name for path in self.directory.glob("*.idx") if (name := pack.parse_name(path.stem))}
            except FileNotFoundError:
                names = set()
            if self._listed <= names:
                self._listed = names
                return names
            self._listed = names

    def _load(self, names: set[bytes]) -> bool:
        new = names - self._open.keys()
        self._open = {name: index for name, index in self._open.items() if name in names}
        for name in sorted(new):
            self._open[name] = Index(self.directory / Path(key(name)).name, name, self._algorithm)
        gone = {old for index in self._open.values() for old in index.supersedes}
        # The largest first: most objects are found in the first file asked.
        self.indexes = sorted((i for i in self._open.values() if i.name not in gone), key=len, reverse=True)
        return bool(new)

    def add(self, name: bytes) -> None:
        """Take in an index that was just stored in the directory."""
        if name not in self._open:
            self.refresh()

    def find(self, oid: ObjectId) -> tuple[bytes, Row] | None:
        """(name of the pack, row) of an object, None if no index names it."""
        for index in self.indexes:
            if row := index.find(oid):
                return index.packs[row.pack], row
        return None

    def places(self, oid: ObjectId) -> Iterator[tuple[bytes, Row]]:
        """Every (name of the pack, row) of an object: one of the packs may be gone."""
        for index in self.indexes:
            for row in index.find_all(oid):
                yield index.packs[row.pack], row

    def __contains__(self, oid: ObjectId) -> bool:
        return any(index.find(oid) for index in self.indexes)

    def packs(self) -> set[bytes]:
        """The names of every pack that an index lists."""
        return {name for index in self.indexes for name in index.packs}

    def superseded(self) -> list[bytes]:
        """The names of indexes in the directory that another one replaces."""
        return sorted(self._open.keys() - {index.name for index in self.indexes})

    def merge(self) -> tuple[bytes, bytes] | None:
        """(name, content) of an index in place of many small ones, None while there are few.

        Size classes grow by four, so that a row is rewritten a logarithmic number of times.
        """
        classes: dict[int, list[Index]] = {}
        for index in self.indexes:
            classes.setdefault(len(index).bit_length() // 2, []).append(index)
        crowd = next((c for _, c in sorted(classes.items()) if len(c) >= MERGE_AT), None)
        if crowd is None:
            return None
        return encode(merged_packs(crowd), self._algorithm, [index.name for index in crowd])


def merged_packs(indexes: Iterable[Index]) -> list[Pack]:
    """The packs of several indexes, each once, with the rows those indexes have of it."""
    rows: dict[bytes, Columns] = {}
    for index in indexes:
        for name in index.packs:
            rows.setdefault(name, Columns())
        for row in index.rows():
            rows[index.packs[row.pack]].append(row.oid, row.offset, row.stored, row.raw, row.flags)
    return [Pack(name, rows[name]) for name in sorted(rows)]


def publish(directory: Path, name: bytes, content: bytes) -> None:
    """Put an index file into a local directory of them."""
    fs.make_directory(directory)
    fs.write_atomic(directory / Path(key(name)).name, content, mode=0o444)
