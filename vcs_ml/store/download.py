"""Fetch: manifests level by level, then blobs in few, large reads, each verified before it is stored."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain

from vcs_ml.errors import CorruptError, RemoteError, VmlError
from vcs_ml.hashing import Buffer
from vcs_ml.progress import Meter
from vcs_ml.store import assembly, objects, pack, page, threads, transfer, workers
from vcs_ml.store.local import FEW, Batch, LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Builder, Row
from vcs_ml.store.remote import Remote
from vcs_ml.store.transfer import (
    LARGE,
    NOTHING,
    ROUND,
    Failure,
    Moved,
    Need,
    Range,
    again,
    is_hopeless,
    limit,
    locate,
    raise_first,
    ranges_of,
    read_one,
    seek,
)

_PARALLEL_BYTES = 16 << 20  # below this, a second process costs more than it saves
_PORTION = 32 << 20  # bytes of nodes or recipes in memory at a time
_RECIPES = 32  # the most of them
_SHORT = 1 << 20  # a recipe of this many bytes, of about 30 GB, is read together with others
_READERS = 8

_Objects = Iterable[tuple[Need, Row, Buffer | VmlError]]  # of one range, or why they cannot be had
# packs written, objects, bytes, bytes read, what cannot be had
_Received = tuple[pack.Plain, int, int, int, list[workers.Plain]]


def fetch_nodes(store: LocalStore, remote: Remote, roots: Iterable[ObjectId], *, jobs: int) -> None:
    """Bring the manifests of trees, level by level; nothing else.

    Every page is validated before it enters the store. Raises MissingObject, CorruptError, UserError.
    """
    frontier = [root for root in dict.fromkeys(roots) if root[-1] == objects.NODE]
    with store.batch() as batch:
        while frontier:
            children: dict[ObjectId, None] = {}

            def keep(oid: ObjectId, raw: bytes, children: dict[ObjectId, None] = children) -> None:
                children.update((child.oid, None) for child in page.decode(raw, oid, store.algorithm).children)

            fresh = store.lacking(frontier)
            for part in portions(remote, fresh):
                for oid, raw in read_nodes(remote, part, jobs=jobs).items():
                    keep(oid, raw)
                    batch.add(oid, raw)
            brought = set(fresh)
            for oid in frontier:
                if oid not in brought:
                    keep(oid, store.read(oid))
            frontier = list(children)


def portions(remote: Remote, oids: Iterable[ObjectId], *, most: int = 0) -> Iterator[list[ObjectId]]:
    """Runs of nodes or recipes of which each fits into memory, by the bytes that the remote lists for them; of `most`
    so many, if that is not 0.
    """
    part: list[ObjectId] = []
    filled = 0
    for oid in oids:
        place = remote.find(oid)
        size = min(place[1].raw, limit(oid)) if place else 0
        if part and (filled + size > _PORTION or len(part) == most):
            yield part
            part, filled = [], 0
        part.append(oid)
        filled += size
    if part:
        yield part


def read_nodes(remote: Remote, oids: Sequence[ObjectId], *, jobs: int) -> dict[ObjectId, bytes]:
    """Manifest pages and recipes from a remote, all in memory: one of the `portions`. Raises MissingObject,
    CorruptError.
    """
    found: dict[ObjectId, bytes] = {}

    def keep(need: Need, data: Buffer) -> None:
        found[need.oid] = bytes(data)

    def bring() -> None:
        ranges = ranges_of(locate(remote, [Need(oid, -1, "") for oid in oids]))
        raise_first(_read_ranges(remote, ranges, keep, jobs=jobs)[3])

    again(remote, bring)
    return found


def lacking(remote: Remote, blobs: Sequence[Need], *, without: Collection[bytes] = ()) -> list[Need]:
    """Those of these large blobs that a remote has not, as `transfer.has` tells, with many recipes read at a time."""
    found = []
    for part, read in with_recipes(remote, blobs, without=without):
        for need in part:
            try:
                if not transfer.has(remote, need.oid, need.size, without=without, read=read):
                    found.append(need)
            except CorruptError as error:
                raise CorruptError(f"{need.path}: {error.message}", hint=error.hint) from None
    return found


def with_recipes(
    remote: Remote, blobs: Sequence[Need], *, without: Collection[bytes] = (), jobs: int = _READERS
) -> Iterator[tuple[list[Need], dict[ObjectId, bytes]]]:
    """Large blobs, some at a time, and the recipes of those that have one, unless it is so long that it is better read
    when it is needed; where one cannot be had, no recipes.
    """

    def is_short(oid: ObjectId) -> bool:
        place = remote.find(oid, without=without)
        return place is not None and place[1].raw <= _SHORT

    wanted = {objects.recipe(need.oid): need for need in blobs}
    for part in portions(remote, wanted, most=_RECIPES):
        read: dict[ObjectId, bytes] = {}
        # Each is then asked for by itself, which tells whose it is.
        with contextlib.suppress(MissingObject, CorruptError, RemoteError):
            read = read_nodes(remote, list(filter(is_short, part)), jobs=jobs)
        yield [wanted[oid] for oid in part], read


def plan(store: LocalStore, needs: Iterable[Need]) -> list[Need]:
    """Those of `needs` that the store lacks, each once."""
    wanted: dict[ObjectId, Need] = {}
    for need in needs:
        wanted.setdefault(need.oid, need)
    return [wanted[oid] for oid in store.lacking(wanted)]


def fetch(store: LocalStore, remote: Remote, needs: Sequence[Need], *, jobs: int, meter: Meter) -> Moved:
    """Bring blobs; each enters the store only when it matches its id.

    What has arrived is published every so often, so that a kill loses little. What cannot be had is an error once the
    rest of its round is stored: MissingObject naming the file for what the remote does not have, CorruptError for what
    does not match after a second try, RemoteError; OSError where there is no room here.
    """
    moved = NOTHING
    for part in _rounds(needs):
        moved = moved.plus(_bring_round(store, remote, part, jobs=jobs, meter=meter))
    return moved


def _bring_round(store: LocalStore, remote: Remote, part: Sequence[Need], *, jobs: int, meter: Meter) -> Moved:
    moved, left = NOTHING, part

    def bring() -> None:
        nonlocal moved, left
        failures: list[Failure] = []
        for fetch_some in (_fetch_small, _fetch_large):
            if is_hopeless(failures):
                break
            try:
                more, failed = fetch_some(store, remote, left, jobs=jobs, meter=meter)
                moved, failures = moved.plus(more), failures + failed
            except VmlError as error:
                failures.append(error)
        if failures:
            left = plan(store, left)
            raise_first(failures)

    again(remote, bring)
    return moved


def _fetch_small(
    store: LocalStore, remote: Remote, part: Sequence[Need], *, jobs: int, meter: Meter
) -> tuple[Moved, list[Failure]]:
    """Bring those of a round that fit into memory; why some cannot be had."""
    places, failures = seek(remote, [need for need in part if need.size <= LARGE])
    if not places:
        return NOTHING, failures
    parts = _share(list(ranges_of(places)))
    moved = NOTHING
    with store.batch() as batch:
        # Only in this process: what a forked worker put into the batch would be lost.
        few = batch if len(part) < FEW and len(parts) == 1 else None

        def work(part: Sequence[Range], meter: Meter) -> _Received:
            return _receive(store, remote, part, few, jobs=jobs, meter=meter)

        for packs, count, size, stored, failed in workers.fork_map(work, parts, meter):
            batch.adopt(pack.from_plain(packs))
            moved = moved.plus(Moved(count, size, stored, 0, size - stored))
            failures += map(workers.from_plain, failed)
    return moved, failures


def _fetch_large(
    store: LocalStore, remote: Remote, part: Sequence[Need], *, jobs: int, meter: Meter
) -> tuple[Moved, list[Failure]]:
    """Bring those of a round that are assembled from chunks; why some cannot be had."""
    moved = NOTHING
    failures: list[Failure] = []
    large = [need for need in part if need.size > LARGE]
    with store.batch() if large else contextlib.nullcontext():
        for some, read in with_recipes(remote, large, jobs=jobs):
            if not is_hopeless(failures):
                more, failed = assembly.fetch(store, remote, some, read=read, jobs=jobs, meter=meter)
                moved, failures = moved.plus(more), failures + failed
    return moved, failures


def _share(ranges: Sequence[Range]) -> list[Sequence[Range]]:
    """One run of ranges for each worker; one in all where there is little to do."""
    count = workers.count() if sum(each.length for each in ranges) > _PARALLEL_BYTES else 1
    step = -(-len(ranges) // count) or 1
    return [ranges[at : at + step] for at in range(0, len(ranges), step)] or [ranges]


def _receive(
    store: LocalStore, remote: Remote, ranges: Sequence[Range], few: Batch | None, *, jobs: int, meter: Meter
) -> _Received:
    """Read ranges and store what is in them."""
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

    count = size = stored = 0
    try:
        try:
            count, size, stored, failures = _read_ranges(remote, ranges, keep, jobs=jobs)
            builder.finish()
        except (VmlError, OSError) as error:  # no room, mostly: the packs that are finished count
            failures = [error]
        return pack.to_plain(builder.packs), count, size, stored, list(map(workers.to_plain, failures))
    except BaseException:
        builder.discard()
        raise
    finally:
        builder.abort()


def _rounds(needs: Iterable[Need]) -> Iterator[list[Need]]:
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


def _read_ranges(
    remote: Remote, ranges: Iterable[Range], keep: Callable[[Need, Buffer], None], *, jobs: int
) -> tuple[int, int, int, list[Failure]]:
    """Read ranges, verify each object, hand it to `keep` (in this thread): (objects, bytes, bytes read, failures).

    What `keep` raises is raised.
    """
    count = size = stored = 0
    failures: list[Failure] = []

    def take(future: Future[_Objects]) -> None:
        nonlocal count, size, stored
        try:
            found = future.result()
        except (VmlError, OSError) as error:
            failures.append(error)
            return
        for need, row, data in found:
            if isinstance(data, VmlError):
                failures.append(data)
                continue
            keep(need, data)
            count += 1
            size += len(data)
            stored += row.stored

    with threads.pool(jobs) as pool:
        pending: deque[Future[_Objects]] = deque()
        for each in ranges:
            if is_hopeless(failures):
                break
            pending.append(pool.submit(_read_range, remote, each))
            if len(pending) > jobs:  # so many ranges of at most 8 MiB are in memory, whatever the size of the data
                take(pending.popleft())
        for future in pending:
            take(future)
    return count, size, stored, failures


def _read_range(remote: Remote, each: Range) -> _Objects:
    """Every object of a range, or why it cannot be had.

    The first ones are decoded here; what would take more memory than a range of raw ones, whoever takes them decodes.
    """
    data = memoryview(remote.backend.read_range(pack.key(each.pack), each.start, each.length))
    rest = _decoded(remote, each, data)
    ahead: list[tuple[Need, Row, Buffer | VmlError]] = []
    filled = 0
    for found in rest:
        ahead.append(found)
        filled += found[1].raw
        if filled >= LARGE:
            break
    return chain(ahead, rest)


def _decoded(remote: Remote, each: Range, data: memoryview) -> Iterator[tuple[Need, Row, Buffer | VmlError]]:
    """The objects of a range, one by one; what does not match is read once more by itself."""
    for need, row in each.wanted:
        at = row.offset - each.start
        found: Buffer | VmlError
        try:
            found = pack.decode_object(row, data[at : at + row.stored], remote.algorithm)
        except CorruptError:
            try:
                found = read_one(remote, each.pack, row, path=need.path)
            except (CorruptError, RemoteError) as error:
                found = error
        yield need, row, found
