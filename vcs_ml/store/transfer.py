"""Objects between the local store and a remote: plan first, then move, every byte hashed on the way."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs
from vcs_ml.errors import CorruptError
from vcs_ml.hashing import Buffer
from vcs_ml.progress import Meter
from vcs_ml.store import manifest, objects, pack, page, workers
from vcs_ml.store.local import FEW, Batch, LocalStore, decode
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Builder, Pack, Row
from vcs_ml.store.page import Entry
from vcs_ml.store.remote import Remote, Root

LARGE = 8 << 20  # above this an object is streamed, never held in memory
WINDOW = 4 << 20
GAP = 1 << 20  # unwanted bytes worth reading to save a request
ROUND = 1 << 30  # bytes between two publications: what a kill can cost
_PARALLEL_BYTES = 16 << 20  # below this, a second process costs more than it saves


class Need(NamedTuple):
    """An object to be moved: its size (-1 where not known), and the tracked thing and path inside it it is for."""

    oid: ObjectId
    size: int
    tracked: str
    inner: bytes = b""

    @property
    def path(self) -> str:
        """Where people know it."""
        return f"{self.tracked}/{os.fsdecode(self.inner)}" if self.inner else self.tracked


class Moved(NamedTuple):
    """What a transfer did: objects and their bytes before compression, bytes written to the remote or read."""

    objects: int
    bytes: int
    stored: int


NOTHING = Moved(0, 0, 0)


# ---------------------------------------------------------------------- push


def plan_push(store: LocalStore, remote: Remote, roots: Iterable[Root]) -> tuple[list[Need], list[Root]]:
    """(what the remote lacks in path order, nodes last; the roots that are not yet recorded as complete there).

    A subtree is skipped only on the word of a root record; everything else is looked up id by id. Raises
    MissingObject where an object is neither here nor there.
    """
    complete = remote.refresh_complete()
    news = [root for root in dict.fromkeys(roots) if root.oid not in complete]
    if not news:
        return [], []
    remote.refresh_index()
    bases = {path: oid for oid, path in complete.items() if oid[-1] == objects.NODE}
    blobs: dict[ObjectId, Need] = {}
    nodes: dict[ObjectId, Need] = {}
    there = remote.catalog
    for root in news:
        if root.oid[-1] != objects.NODE:
            if root.oid not in there:
                blobs.setdefault(root.oid, Need(root.oid, _size_here(store, root.oid), root.path))
            continue
        try:
            for oid, entries in _closure(store, remote, root, bases.get(root.path)):
                if oid not in there:
                    nodes.setdefault(oid, Need(oid, -1, root.path))
                for entry in entries:
                    blob = objects.blob(entry.digest)
                    if blob not in blobs and blob not in there:
                        blobs[blob] = Need(blob, entry.size, root.path, entry.path)
        except MissingObject as error:
            raise _nowhere(store, remote, Need(error.oid, -1, root.path)) from None
    needs = [*blobs.values(), *nodes.values()]
    _check_present(store, remote, news, needs)
    return needs, news


def _size_here(store: LocalStore, oid: ObjectId) -> int:
    """An object's size, -1 where it is not here."""
    try:
        return store.size(oid)
    except MissingObject:
        return -1


def _closure(
    store: LocalStore, remote: Remote, root: Root, base: ObjectId | None
) -> Iterator[tuple[ObjectId, Sequence[Entry]]]:
    read = reader(store, remote)
    if base is not None and base in store:
        try:
            yield from manifest.closure(root.oid, store.algorithm, read, base=base)
            return
        except MissingObject as error:
            if error.oid == root.oid:
                raise
    yield from manifest.closure(root.oid, store.algorithm, read)


def reader(store: LocalStore, remote: Remote) -> Callable[[ObjectId], bytes]:
    """Nodes from the store, or from what is known of a remote where the store lacks them."""

    def read(oid: ObjectId) -> bytes:
        try:
            return store.read(oid)
        except MissingObject:
            found = remote.catalog.find(oid)
            if found is None:
                raise
            return bytes(_fetch_one(remote, *found))

    return read


def _check_present(store: LocalStore, remote: Remote, news: Sequence[Root], needs: Sequence[Need]) -> None:
    # What is known to be complete needs no look at each of its objects.
    broken = {root.path for root in news if store.missing(root.oid)}
    asked = {need.oid: need for need in needs if need.tracked in broken}
    absent = store.lacking(asked)
    if absent:
        raise _nowhere(store, remote, asked[absent[0]], len(absent) - 1)


def _nowhere(store: LocalStore, remote: Remote, need: Need, more: int = 0) -> MissingObject:
    others = f" (and {more} more)" if more else ""
    return MissingObject(
        need.oid,
        f"cannot push {need.path}{others}: {objects.describe(need.oid, store.algorithm)} is neither in the local "
        f"store nor on remote {remote.name!r}",
        hint="push from a clone that has it, or `vml fetch` it first from another remote",
    )


def push(store: LocalStore, remote: Remote, needs: Sequence[Need], *, jobs: int, meter: Meter) -> Moved:
    """Send `needs` in order, in packs; an index is published every so often, so that a kill loses little.

    Raises CorruptError, with nothing of it sent, for a local object that does not match its id.
    """
    stored = total = waiting = 0
    packs: list[Pack] = []
    # Nodes come after what they name, and go to packs of their own.
    blobs = [need for need in needs if need.oid[-1] != objects.NODE]
    nodes = [need for need in needs if need.oid[-1] == objects.NODE]
    for part in (*_rounds(_slices(store, blobs)), *_rounds(_slices(store, nodes))):
        for plain, size in _send_round(store, remote, part, jobs, meter):
            packs += pack.from_plain(plain)
            total += size
            waiting += size
        if waiting >= ROUND:
            stored += _publish(remote, packs)
            packs, waiting = [], 0
    if packs:
        stored += _publish(remote, packs)
    return Moved(len(needs), total, stored)


def _send_round(
    store: LocalStore, remote: Remote, slices: Sequence[list[Need]], jobs: int, meter: Meter
) -> list[tuple[pack.Plain, int]]:
    """Send slices from one process a core, each with its share of the jobs: (packs, bytes) of each."""
    parts = [slices[i :: workers.count()] for i in range(min(workers.count(), len(slices)))]

    def work(part: Sequence[list[Need]], meter: Meter) -> list[tuple[pack.Plain, int]]:
        with ThreadPoolExecutor(max(jobs // len(parts), 1)) as pool:
            done = pool.map(lambda slice: _send(store, remote, slice, meter), part)
            return [(pack.to_plain(packs), size) for packs, size in done]

    return [each for result in workers.fork_map(work, parts, meter) for each in result]


def _publish(remote: Remote, packs: Sequence[Pack]) -> int:
    remote.publish_index(packs)
    return sum(row.stored for each in packs for row in each.rows)


def _slices(store: LocalStore, needs: Iterable[Need]) -> Iterator[tuple[int, list[Need]]]:
    """(bytes, needs) that fill about one pack each."""
    part: list[Need] = []
    filled = 0
    for need in needs:
        part.append(need)
        filled += need.size if need.size >= 0 else store.size(need.oid)
        if filled >= pack.TARGET or len(part) >= pack.ROWS_MAX:
            yield filled, part
            part, filled = [], 0
    if part:
        yield filled, part


def _rounds(slices: Iterable[tuple[int, list[Need]]]) -> Iterator[list[list[Need]]]:
    round_: list[list[Need]] = []
    filled = 0
    for size, part in slices:
        round_.append(part)
        filled += size
        if filled >= ROUND:
            yield round_
            round_, filled = [], 0
    if round_:
        yield round_


def _send(store: LocalStore, remote: Remote, needs: Sequence[Need], meter: Meter) -> tuple[list[Pack], int]:
    builder = Builder(remote.backend, store.algorithm, zstd=True)
    total = 0
    try:
        for need in needs:
            place = store.locate(need.oid)
            try:
                size = _send_one(store, builder, need.oid, place, meter)
            except CorruptError as error:
                raise CorruptError(f"{need.path}: {error.message}", hint=store.remedy(need.oid)) from None
            total += size
            meter.advance(1, 0 if size > LARGE else size)  # large ones report as they go
        return builder.finish(), total
    finally:
        builder.abort()


def _send_one(
    store: LocalStore, builder: Builder, oid: ObjectId, place: Path | tuple[mmap.mmap, Row], meter: Meter
) -> int:
    if not isinstance(place, Path):
        data = decode(place, store.algorithm)
        builder.add(oid, data)
        return len(data)
    with place.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGE:
            builder.stream(oid, _windows(store, oid, file.fileno(), meter), size)
        else:
            raw = file.readall() or b""
            objects.verify(oid, raw, store.algorithm)
            builder.add(oid, raw)
    return size


def _windows(store: LocalStore, oid: ObjectId, fd: int, meter: Meter) -> Iterator[memoryview]:
    """A file's bytes; CorruptError at the end, before the pack is closed, if they are not what `oid` names."""
    hasher = store.algorithm.new()
    window = memoryview(bytearray(WINDOW))
    while n := os.readv(fd, [window]):
        hasher.update(window[:n])
        meter.advance(0, n)
        yield window[:n]
    if hasher.digest() != oid[:-1]:
        raise CorruptError(f"damaged object {objects.describe(oid, store.algorithm)}")


# ---------------------------------------------------------------------- fetch


def fetch_nodes(store: LocalStore, remote: Remote, roots: Iterable[ObjectId], *, jobs: int) -> None:
    """Bring the manifests of trees, level by level; nothing else.

    Every page is validated before it enters the store. Raises MissingObject, CorruptError, UserError.
    """
    frontier = [root for root in dict.fromkeys(roots) if root[-1] == objects.NODE]
    with store.batch() as batch:
        while frontier:
            fresh: dict[ObjectId, bytes] = {}
            absent = store.lacking(frontier)

            def keep(need: Need, data: Buffer, fresh: dict[ObjectId, bytes] = fresh) -> None:
                fresh[need.oid] = bytes(data)

            _read_ranges(remote, _ranges(_locate(remote, [Need(oid, -1, "") for oid in absent])), keep, jobs=jobs)
            children: dict[ObjectId, None] = {}
            for oid in frontier:
                raw = fresh.get(oid) or store.read(oid)
                children.update((child.oid, None) for child in page.decode(raw, oid, store.algorithm).children)
            for oid, raw in fresh.items():
                batch.add(oid, raw)
            frontier = list(children)


def plan_fetch(store: LocalStore, needs: Iterable[Need]) -> list[Need]:
    """Those of `needs` that the store lacks, each once."""
    wanted: dict[ObjectId, Need] = {}
    for need in needs:
        wanted.setdefault(need.oid, need)
    return [wanted[oid] for oid in store.lacking(wanted)]


def fetch(store: LocalStore, remote: Remote, needs: Sequence[Need], *, jobs: int, meter: Meter) -> Moved:
    """Bring blobs; each enters the store only when it matches its id.

    What has arrived is published every so often, so that a kill loses little. Raises MissingObject naming the
    file for what the remote does not have, CorruptError for what does not match after a second try.
    """
    moved = NOTHING
    for part in _fetch_rounds(needs):
        large = [need for need in part if need.size > LARGE]
        ranges = list(_ranges(_locate(remote, [need for need in part if need.size <= LARGE])))
        with store.batch() as batch:
            few = batch if len(part) < FEW else None

            def work(part: Sequence[_Range], meter: Meter, few: Batch | None = few) -> tuple[pack.Plain, int, int]:
                return _receive(store, remote, part, few, jobs=jobs, meter=meter)

            size = stored = sum(need.size for need in large)
            for plain, *sums in workers.fork_map(work, _share(ranges), meter):
                batch.adopt(pack.from_plain(plain))
                size, stored = size + sums[0], stored + sums[1]
            for need in large:
                _fetch_large(store, remote, need, meter)
        moved = Moved(moved.objects + len(part), moved.bytes + size, moved.stored + stored)
    return moved


def _share(ranges: Sequence[_Range]) -> list[Sequence[_Range]]:
    """One run of ranges for each worker; one in all where there is little to do."""
    count = workers.count() if sum(each.length for each in ranges) > _PARALLEL_BYTES else 1
    step = -(-len(ranges) // count) or 1
    return [ranges[at : at + step] for at in range(0, len(ranges), step)] or [ranges]


def _receive(
    store: LocalStore, remote: Remote, ranges: Sequence[_Range], few: Batch | None, *, jobs: int, meter: Meter
) -> tuple[pack.Plain, int, int]:
    """Read ranges and store what is in them: (packs written, bytes, bytes read)."""
    builder = Builder(store.backend, store.algorithm)
    seen: set[ObjectId] = set()

    def keep(need: Need, data: Buffer) -> None:
        if few is not None:
            few.add(need.oid, bytes(data))
        elif len(data) > store.pack_below or store.pack_below == 0:
            store.put_loose(need.oid, data)
        elif need.oid not in seen:
            seen.add(need.oid)
            builder.add(need.oid, data)
        meter.advance(1, len(data))

    try:
        size, stored = _read_ranges(remote, ranges, keep, jobs=jobs)
        return pack.to_plain(builder.finish()), size, stored
    finally:
        builder.abort()


def _fetch_rounds(needs: Iterable[Need]) -> Iterator[list[Need]]:
    part: list[Need] = []
    filled = 0
    for need in needs:
        part.append(need)
        filled += max(need.size, 0)
        if filled >= ROUND:
            yield part
            part, filled = [], 0
    if part:
        yield part


class _Range(NamedTuple):
    """One read of a pack and the objects in it."""

    pack: bytes
    start: int
    length: int
    wanted: list[tuple[Need, Row]]


def _read_ranges(
    remote: Remote, ranges: Iterable[_Range], keep: Callable[[Need, Buffer], None], *, jobs: int
) -> tuple[int, int]:
    """Read ranges, verify each object, hand it to `keep` (in this thread): (bytes, bytes read)."""
    total = stored = 0
    with ThreadPoolExecutor(jobs) as pool:
        pending: list[Future[list[tuple[Need, Buffer, int]]]] = []
        for each in ranges:
            pending.append(pool.submit(_read_range, remote, each))
            if len(pending) > jobs:  # so many ranges of at most 8 MiB are in memory, whatever the size of the data
                stored, total = _take(pending.pop(0), keep, stored, total)
        for future in pending:
            stored, total = _take(future, keep, stored, total)
    return total, stored


def _take(
    future: Future[list[tuple[Need, Buffer, int]]],
    keep: Callable[[Need, Buffer], None],
    stored: int,
    total: int,
) -> tuple[int, int]:
    for need, data, size in future.result():
        keep(need, data)
        stored += size
        total += len(data)
    return stored, total


def _locate(remote: Remote, needs: Sequence[Need]) -> list[tuple[bytes, Row, Need]]:
    found, lacking = [], []
    for need in needs:
        place = remote.catalog.find(need.oid)
        if place is None:
            lacking.append(need)
            continue
        name, row = place
        if row.raw > LARGE and (need.size < 0 or need.size <= LARGE):
            raise CorruptError(f"{need.path}: the remote lists {row.raw} bytes for it", hint="vml push it again")
        if 0 <= need.size != row.raw:
            raise CorruptError(
                f"{need.path}: remote {remote.name!r} lists {row.raw} bytes where {need.size} are recorded",
                hint="the index over there is damaged; push again from a clone that has the data",
            )
        found.append((name, row, need))
    if lacking:
        raise missing_on(remote, lacking)
    return found


def missing_on(remote: Remote, lacking: Sequence[Need]) -> MissingObject:
    """The error for objects that a remote does not have."""
    first = lacking[0]
    what = objects.describe(first.oid, remote.algorithm)
    named = f"{first.path}: {what}" if first.path else what
    more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
    return MissingObject(
        first.oid,
        f"{named} is not on remote {remote.name!r}{more}",
        hint="somebody who has it must `vml push`; or try another remote with `-r NAME` (vml remote list)",
    )


def _ranges(places: Sequence[tuple[bytes, Row, Need]]) -> Iterator[_Range]:
    """Neighbours in one pack share a read, across gaps below GAP, up to LARGE bytes."""
    current: _Range | None = None
    for name, row, need in sorted(places, key=lambda place: (place[0], place[1].offset)):
        end = row.offset + row.stored
        if (
            current is not None
            and current.pack == name
            and row.offset <= current.start + current.length + GAP
            and end - current.start <= LARGE
        ):
            length = max(current.length, end - current.start)
            current.wanted.append((need, row))
            current = current._replace(length=length)
            continue
        if current is not None:
            yield current
        current = _Range(name, row.offset, row.stored, [(need, row)])
    if current is not None:
        yield current


def _read_range(remote: Remote, each: _Range) -> list[tuple[Need, Buffer, int]]:
    data = memoryview(remote.backend.read_range(pack.key(each.pack), each.start, each.length))
    done = []
    for need, row in each.wanted:
        at = row.offset - each.start
        try:
            raw = pack.decode_object(row, data[at : at + row.stored], remote.algorithm)
        except CorruptError:
            raw = _fetch_one(remote, each.pack, row, path=need.path)
        done.append((need, raw, row.stored))
    return done


def _fetch_one(remote: Remote, name: bytes, row: Row, *, path: str = "") -> bytes:
    """One object by a read of its own; the second try of what did not match the first time."""
    if row.raw > LARGE or row.stored > LARGE:
        raise CorruptError(f"remote {remote.name!r} lists {row.raw} bytes for a page of a manifest")
    data = remote.backend.read_range(pack.key(name), row.offset, row.stored)
    try:
        return bytes(pack.decode_object(row, data, remote.algorithm))
    except CorruptError as error:
        where = f"{path}: " if path else ""
        raise CorruptError(
            f"{where}remote {remote.name!r}, {pack.key(name)}: {error.message}",
            hint="the pack over there is damaged; push again from a clone that has the data",
        ) from None


def _fetch_large(store: LocalStore, remote: Remote, need: Need, meter: Meter) -> None:
    """Stream one large blob into a temporary file; it becomes an object only if it matches."""
    ((name, row, _),) = _locate(remote, [need])
    if row.flags != pack.RAW:
        raise CorruptError(f"{need.path}: remote {remote.name!r} holds it in a form this vml does not read")
    key = pack.key(name)
    for attempt in (1, 2):
        tmp = store.scratch()
        hasher = store.algorithm.new()
        try:
            with tmp.open("xb", buffering=0) as file:
                for start in range(row.offset, row.offset + row.stored, WINDOW):
                    data = remote.backend.read_range(key, start, min(WINDOW, row.offset + row.stored - start))
                    hasher.update(data)
                    fs.write_all(file.fileno(), data)
                    meter.advance(0, len(data))
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            if hasher.digest() == need.oid[:-1]:
                store.adopt_loose(need.oid, tmp)
                meter.advance(1, 0)
                return
            if attempt == 2:
                raise CorruptError(
                    f"{need.path}: what remote {remote.name!r} holds in {key} does not match its id",
                    hint="the pack over there is damaged; push again from a clone that has the data",
                )
        finally:
            tmp.unlink(missing_ok=True)
