"""Push: what a remote lacks, found and sent in packs, every byte hashed as it leaves."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from vcs_ml.errors import CorruptError, RemoteError, VmlError
from vcs_ml.progress import Meter
from vcs_ml.store import cutting, download, manifest, objects, pack, threads, transfer, workers
from vcs_ml.store.cutting import Sent
from vcs_ml.store.local import REMEDY, LocalStore, decode
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Builder, Columns, Pack, Row
from vcs_ml.store.page import Entry
from vcs_ml.store.records import Record, Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.transfer import A_JOB, LARGE, NOTHING, ROUND, Moved, Need, limit, reader

LOOKS = 20  # how often a push sends again what a gc takes away

_PERIOD = 30.0  # seconds between two publications
_LAST = 3.0  # seconds for the last one, where an interrupt ends the push
_HISTORY = 64  # roots from which a look at every object costs less than one at each root


class Plan(NamedTuple):
    """What a push has to do: `needs` is what the remote lacks, in path order, large blobs later and nodes last; `news`
    are the roots that no record calls complete, or calls so wrongly; `seen` are the keys of the gc files that were
    taken into account, `doomed` the packs that they name, or that are known to be cut short.
    """

    needs: list[Need]
    news: list[Root]
    seen: frozenset[str]
    doomed: frozenset[bytes]


# what is to be sent, the packs that will go -> what was sent
Send = Callable[[Sequence[Need], Collection[bytes]], Moved]


def make_complete(
    store: LocalStore, remote: Remote, record: Record, send: Send, *, check: bool = False
) -> tuple[Moved, int]:
    """Make the roots of `record` complete on the remote and write that down there: (what was sent, new roots).

    `send` calls `push`. A gc may run meanwhile. It writes down what it will delete before it looks for
    announcements, and we announce before we look for that: so it sees us, or we see it and send again what it takes
    away (docs/architecture.md, "How push and gc see each other"). Raises what `plan` and `send` do.
    """
    plan_ = plan(store, remote, record.roots, check=check)
    news = len(plan_.news)
    moved = send(plan_.needs, plan_.doomed) if plan_.needs else NOTHING
    ulid = ""
    for _ in range(LOOKS):
        if not plan_.news:
            remote.advise(changed=news > 0)
            return moved, news
        ulid = ulid or remote.announce(record)
        if {item.key for item, _ in remote.read_gc()} <= plan_.seen:
            remote.confirm(ulid, record)
            remote.advise(changed=True)
            return moved, news
        plan_ = plan(store, remote, record.roots, check=check)
        moved = moved.plus(send(plan_.needs, plan_.doomed)) if plan_.needs else moved
    raise RemoteError(
        f"remote {remote.name!r}: a gc over there takes away what is sent as fast as it arrives",
        hint="wait until it has ended, then vml push again",
    )


def plan(store: LocalStore, remote: Remote, roots: Iterable[Root], *, check: bool = False) -> Plan:
    """What has to be sent to make `roots` complete.

    A subtree is skipped only on the word of a root record, with `check` on nobody's; everything else is looked up
    id by id, and counts only where its pack is there and no gc is about to delete it. Raises MissingObject where an
    object is neither here nor there.
    """
    # First: whoever removes a record that is there afterwards, or condemns a pack that is, writes another of these.
    gc = remote.read_gc()
    seen = frozenset(item.key for item, _ in gc)
    doomed = frozenset(name for _, each in gc for name in each.packs)
    believed = remote.refresh_complete()
    complete = {} if check else believed
    news = [root for root in dict.fromkeys(roots) if root.oid not in complete]
    if not news:
        return Plan([], [], seen, doomed)
    remote.refresh_index()
    if check:
        doomed |= remote.find_short()
    bases = {path: oid for oid, path in complete.items() if oid[-1] == objects.NODE}
    blobs: dict[ObjectId, Need] = {}
    large: dict[ObjectId, Need] = {}  # that may be there in chunks
    nodes: dict[ObjectId, Need] = {}
    for root in news:
        if root.oid[-1] != objects.NODE:
            need = Need(root.oid, _size_here(store, root.oid), root.path)
            if not 0 <= need.size <= LARGE:
                large.setdefault(root.oid, need)
            elif not transfer.find(remote, root.oid, without=doomed):
                blobs.setdefault(root.oid, need)
            continue
        try:
            for oid, entries in _closure(store, remote, root, bases.get(root.path)):
                if remote.find(oid, without=doomed) is None:
                    nodes.setdefault(oid, Need(oid, -1, root.path))
                for entry in entries:
                    blob = objects.blob(entry.digest)
                    if entry.size > LARGE:
                        large.setdefault(blob, Need(blob, entry.size, root.path, entry.path))
                    elif blob not in blobs and not transfer.find(remote, blob, without=doomed):
                        blobs[blob] = Need(blob, entry.size, root.path, entry.path)
            bases[root.path] = root.oid  # all of it is looked up now: the next version costs what differs
        except MissingObject as error:
            raise _nowhere(store, remote, Need(error.oid, -1, root.path)) from None
        except CorruptError as error:
            raise CorruptError(f"{root.path}: {error.message}", hint=error.hint) from None
    needs = [*blobs.values(), *download.lacking(remote, list(large.values()), without=doomed), *nodes.values()]
    _check_present(store, remote, news, needs)
    lacked = {need.tracked for need in needs}
    news = [root for root in news if root.oid not in believed or root.path in lacked]
    return Plan(needs, news, seen, doomed)


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


def _check_present(store: LocalStore, remote: Remote, news: Sequence[Root], needs: Sequence[Need]) -> None:
    # What is known to be complete needs no look at each of its objects; of a long history, all are looked at once.
    doubtful = {root.path for root in news if len(news) > _HISTORY or store.missing(root.oid)}
    asked = {need.oid: need for need in needs if need.tracked in doubtful}
    absent = store.lacking(asked)
    if absent:
        raise _nowhere(store, remote, asked[absent[0]], len(absent) - 1)


def _nowhere(store: LocalStore, remote: Remote, need: Need, more: int = 0) -> MissingObject:
    others = f" (and {more} more)" if more else ""
    return MissingObject(
        need.oid,
        f"cannot push {need.path}{others}: {objects.describe(need.oid, store.algorithm)} is neither in the local "
        f"store nor on remote {remote.name!r} to stay",
        hint="push from a clone that has it, or `vml fetch` it first from another remote",
    )


def push(
    store: LocalStore,
    remote: Remote,
    needs: Sequence[Need],
    doomed: Collection[bytes] = (),
    *,
    jobs: int,
    meter: Meter,
) -> Moved:
    """Send `needs` in order, in packs; an index is published every so often, so that a kill loses little.

    What has arrived is published also where the push ends by an error or Ctrl-C. Of large blobs, chunks that lie in
    other than `doomed` packs are not sent again. Raises CorruptError for a local object that does not match its id; no
    index will name it.
    """
    # Of what gathers, a job holds a whole pack.
    packers = max(jobs * A_JOB // (pack.TARGET + LARGE), 1) if remote.backend.gathers else jobs
    stored = raw = total = deduped = waiting = 0
    packs: list[Pack] = []  # durable, and in no index yet
    published = time.monotonic()

    def publish() -> None:
        nonlocal stored, raw, waiting, published
        if ready := packs[:]:
            remote.publish_index(ready)
            del packs[: len(ready)]  # more may have come meanwhile
            stored += sum(sum(Columns.of(each.rows).stored) for each in ready)
            raw += sum(sum(Columns.of(each.rows).raw) for each in ready)
        waiting, published = 0, time.monotonic()

    def publish_what_is_there() -> None:
        with contextlib.suppress(VmlError, OSError):
            publish()

    # Nodes come after what they name, and go to packs of their own.
    nodes = [need for need in needs if need.oid[-1] == objects.NODE]
    sized = [_sized(store, need) for need in needs if need.oid[-1] != objects.NODE]
    small = [need for need in sized if need.size <= LARGE]
    large = [need for need in sized if need.size > LARGE]
    try:
        for sent in chain(
            _send_small(store, remote, small, packs, jobs=packers, meter=meter),
            cutting.send(store, remote, large, packs, doomed=doomed, jobs=jobs, meter=meter),
            _send_small(store, remote, nodes, packs, jobs=packers, meter=meter),
        ):
            total += sent.size
            deduped += sent.deduped
            waiting += sent.size - sent.deduped
            if waiting >= ROUND or time.monotonic() > published + _PERIOD:
                publish()
    except BaseException as error:
        if isinstance(error, Exception):
            publish_what_is_there()
        else:
            threads.within(_LAST, publish_what_is_there)
        raise
    publish()
    return Moved(len(needs), total, stored, deduped, raw - stored)


def _sized(store: LocalStore, need: Need) -> Need:
    return need if need.size >= 0 else need._replace(size=store.size(need.oid))


def _send_small(
    store: LocalStore, remote: Remote, needs: Sequence[Need], packs: list[Pack], *, jobs: int, meter: Meter
) -> Iterator[Sent]:
    """Send what fits into memory; finished packs are appended to `packs`."""
    for part in _rounds(_slices(store, needs)):
        for plain, size in _send_round(store, remote, part, jobs, meter):
            packs += pack.from_plain(plain)
            yield Sent(size, 0)


def _send_round(
    store: LocalStore, remote: Remote, slices: Sequence[list[Need]], jobs: int, meter: Meter
) -> list[tuple[pack.Plain, int]]:
    """Send slices from one process a core, each with its share of the jobs: (packs, bytes) of each."""
    parts = [slices[i :: workers.count()] for i in range(min(workers.count(), len(slices)))]

    def work(part: Sequence[list[Need]], meter: Meter) -> list[tuple[pack.Plain, int]]:
        with threads.pool(max(jobs // len(parts), 1)) as pool:
            done = pool.map(lambda slice: _send(store, remote, slice, meter), part)
            return [(pack.to_plain(packs), size) for packs, size in done]

    return [each for result in workers.fork_map(work, parts, meter) for each in result]


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
                size = _send_one(store, builder, need.oid, place)
            except CorruptError as error:
                raise CorruptError(f"{need.path}: {error.message}", hint=REMEDY) from None
            total += size
            meter.advance(1, size)
        return builder.finish(), total
    finally:
        builder.abort()


def _send_one(store: LocalStore, builder: Builder, oid: ObjectId, place: Path | tuple[mmap.mmap, Row]) -> int:
    if not isinstance(place, Path):
        data = decode(place, store.algorithm)
        builder.add(oid, data)
        return len(data)
    with place.open("rb", buffering=0) as file:
        if (size := os.fstat(file.fileno()).st_size) > limit(oid):
            raise CorruptError(f"{objects.describe(oid, store.algorithm)} has {size} bytes, more than are recorded")
        raw = file.readall() or b""
    objects.verify(oid, raw, store.algorithm)
    builder.add(oid, raw)
    return size
