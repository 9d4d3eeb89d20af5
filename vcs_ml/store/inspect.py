"""One pack, one index, one loose file looked at closely: every byte of it held against what names it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from vcs_ml.errors import CorruptError, VmlError
from vcs_ml.hashing import SHA256, Algorithm, Buffer
from vcs_ml.progress import Meter
from vcs_ml.store import objects, pack, page, recipe
from vcs_ml.store.catalog import Index
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Row
from vcs_ml.store.remotes.protocol import NotFound
from vcs_ml.store.transfer import limit

Keep = Callable[[ObjectId, bytes], None]
Bad = list[tuple[ObjectId, str]]  # what is damaged, and how
WINDOW = 4 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # neither a link nor a FIFO that somebody put there


class Readable(Protocol):
    """A file of `size` bytes; what `read(start, length)` gives is good until the next call."""

    @property
    def size(self) -> int: ...
    def read(self, start: int, length: int) -> Buffer: ...


# ---------------------------------------------------------------------- packs


def table_of(name: bytes, file: Readable, algorithm: Algorithm) -> tuple[str, Sequence[Row]]:
    """(why the table of a pack cannot be read, its rows)."""

    def read(start: int, length: int) -> bytes:
        return bytes(file.read(start, length))

    try:
        return "", pack.read_table(name, file.size, read, algorithm, source="").rows
    except (CorruptError, NotFound, OSError) as error:
        return reason(error).removeprefix(": "), []


def survey(
    rows: Iterable[Row],
    file: Readable,
    algorithm: Algorithm,
    meter: Meter,
    keep: Keep | None = None,
) -> Bad:
    """Read every object of a pack; those that are damaged. Good ones that fit in memory go to `keep`.

    Costs one read for each 4 MiB, or for a larger object, and no more memory than that.
    """
    bad: Bad = []
    for group in _groups(rows, file.size, bad):
        _survey_group(group, file, algorithm, bad, keep)
        meter.advance(0, sum(row.stored for row in group))
    return bad


def _groups(rows: Iterable[Row], size: int, bad: Bad) -> Iterator[list[Row]]:
    """Neighbours that are read at once, WINDOW bytes or one object; what cannot be read is added to `bad`."""
    group: list[Row] = []
    start = stop = 0
    for row in sorted(rows, key=lambda row: row.offset):
        end = row.offset + row.stored
        if end > size:
            bad.append((row.oid, "it lies beyond the end of the file"))
            continue
        if group and max(stop, end) - start > WINDOW:
            yield group
            group = []
        if not group:
            start = stop = row.offset
        stop = max(stop, end)
        group.append(row)
    if group:
        yield group


def _survey_group(group: Sequence[Row], file: Readable, algorithm: Algorithm, bad: Bad, keep: Keep | None) -> None:
    first = group[0]
    try:
        if first.raw > limit(first.oid) or first.stored > limit(first.oid):
            raise CorruptError(f"{first.raw} bytes are more than it can have")
        end = max(row.offset + row.stored for row in group)
        data = memoryview(file.read(first.offset, end - first.offset))
    except (CorruptError, NotFound, OSError) as error:
        if len(group) == 1:
            bad.append((first.oid, reason(error)))
            return
        for row in group:  # a disk that fails at one place may give the rest
            _survey_group([row], file, algorithm, bad, keep)
        return
    for row in group:
        at = row.offset - first.offset
        try:
            found = pack.decode_object(row, data[at : at + row.stored], algorithm)
            check_form(row.oid, found, algorithm)
        except CorruptError as error:
            bad.append((row.oid, _short(row.oid, error, algorithm)))
            continue
        if keep is not None:
            keep(row.oid, bytes(found))


def _short(oid: ObjectId, error: CorruptError, algorithm: Algorithm) -> str:
    """The message without the name of the object, which is said beside it."""
    name = objects.describe(oid, algorithm)
    return error.message.removeprefix(f"damaged object {name}: ").removeprefix(f"{name}: ")


def check_digest(oid: ObjectId, digest: bytes) -> None:
    """CorruptError unless bytes with this digest are the object."""
    if digest != oid[:-1]:
        raise CorruptError(f"its bytes hash to {digest.hex()}")


def check_form(oid: ObjectId, data: Buffer, algorithm: Algorithm) -> None:
    """CorruptError for a node that is not a page, or a recipe that is none, as we write them."""
    if oid[-1] == objects.NODE:
        page.decode(bytes(data), oid, algorithm)
    elif oid[-1] == objects.RECIPE:
        recipe.decode(data, oid, algorithm)


def reason(error: VmlError | OSError) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read: {(error.strerror or str(error)).lower()}"
    return error.message


class LocalFile:
    """A regular file that is read in pieces into one buffer: what `read` gives is good until the next call.

    Never mapped: a disk that fails would end the process by a signal. Raises OSError, CorruptError for a link or
    anything else that is no regular file.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self._fd = os.open(path, _FLAGS)
        except OSError as error:
            if os.path.islink(path):
                raise CorruptError(f"{path} is a link") from None
            raise error
        st = os.fstat(self._fd)
        if not stat.S_ISREG(st.st_mode):
            os.close(self._fd)
            raise CorruptError(f"{path} is no regular file")
        self.size = st.st_size
        self._buffer = bytearray()

    def read(self, start: int, length: int) -> memoryview:
        """`length` bytes from `start`, as many as there are."""
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view, done = memoryview(self._buffer), 0
        while done < length and (n := os.preadv(self._fd, [view[done:length]], start + done)):
            done += n
        return view[:done]

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def indexed_rows(name: bytes, indexes: Iterable[Index]) -> list[Row]:
    """What these indexes, damaged ones too, say of a pack."""
    found: dict[ObjectId, Row] = {}
    for index in indexes:
        try:
            for row in index.rows():
                if index.packs[row.pack] == name:
                    found.setdefault(row.oid, row)
        except CorruptError:
            continue  # what came before the damage is taken
    return list(found.values())


# ---------------------------------------------------------------------- indexes


def check_index(index: Index, path: Path) -> tuple[str, list[int]]:
    """(why an index is not to be believed, or ""; how many rows it has of each of its packs)."""
    counts = [0] * len(index.packs)
    try:
        with LocalFile(path) as file:
            if _sha256(file)[:16] != index.name[:16]:
                return "its bytes do not match its name", counts
        last: Row | None = None
        for row in index.rows():
            # Of an object in several packs there is a row for each; the first one is found, the others follow it.
            after = last is not None and last.oid == row.oid and last.pack < row.pack
            if not after and index.find(row.oid) != row:
                return "its rows are not in order, or its fan-out is wrong", counts
            counts[row.pack] += 1
            last = row
    except (CorruptError, OSError) as error:
        return reason(error), counts
    return "", counts


def _sha256(file: LocalFile) -> bytes:
    hasher = SHA256.new()
    for start in range(0, file.size, WINDOW):
        hasher.update(file.read(start, WINDOW))
    return hasher.digest()


PackState = tuple[str, int, list[tuple[bytes, str]], list[tuple[bytes, int]]]


def check_pack(
    file: Readable, name: bytes, algorithm: Algorithm, listing: Sequence[Index], meter: Meter, *, deep: bool = True
) -> PackState:
    """(what is wrong with a pack's table, how many objects it has, those damaged, rows of it that stand just so in
    each index of `listing`). Objects are read if `deep`, or if the table is damaged.
    """
    why, rows = table_of(name, file, algorithm)
    if why:  # the indexes tell where its objects were
        rows = indexed_rows(name, listing)
    bad = survey(rows, file, algorithm, meter) if deep or why else []
    same = [] if why else [(index.name, _agreeing(rows, name, index)) for index in listing]
    return why, len(rows), [(bytes(oid), text) for oid, text in bad], same


def unreadable(name: bytes, why: str, listing: Sequence[Index]) -> PackState:
    """The same of a pack that cannot even be opened."""
    return why, 0, [(bytes(row.oid), why) for row in indexed_rows(name, listing)], []


def _agreeing(rows: Iterable[Row], name: bytes, index: Index) -> int:
    try:
        return sum(
            any(index.packs[has.pack] == name and has[2:] == row[2:] for has in index.find_all(row.oid)) for row in rows
        )
    except CorruptError:
        return -1


# ---------------------------------------------------------------------- loose files


def check_loose(path: Path | str, digest: bytes, algorithm: Algorithm, meter: Meter, *, node: bool) -> tuple[str, int]:
    """(why a loose file is not the object that its name says, or ""; bytes read)."""
    oid = objects.node(digest) if node else objects.blob(digest)
    hasher = SHA256.new() if node else algorithm.new()
    try:
        with LocalFile(path) as file:
            if node and file.size > page.BYTES_MAX:
                return "it is too large for a node", 0
            for start in range(0, file.size, WINDOW):
                window = file.read(start, WINDOW)
                hasher.update(window)
                meter.advance(0, len(window))
            meter.advance(1)
            check_digest(oid, hasher.digest())
            if node:
                check_form(oid, file.read(0, file.size), algorithm)
            return "", file.size
    except (CorruptError, OSError) as error:
        return reason(error), 0
