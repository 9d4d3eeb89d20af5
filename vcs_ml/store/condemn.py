"""gc of a remote: what nothing needs any more is condemned, and deleted by a later run (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vcs_ml.errors import CorruptError, RemoteError
from vcs_ml.store import catalog, pack, records
from vcs_ml.store.local import LocalStore
from vcs_ml.store.mark import Marks
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pushes import Pushes, read_pushes
from vcs_ml.store.records import DAY, RETAIN, Doomed, Record, Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.protocol import Item, NotFound
from vcs_ml.store.rescue import check_twins, rescue, stranded
from vcs_ml.store.transfer import Moved

GRACE = 14 * DAY
_CLOCKS = 300.0  # seconds by which the clock of a server's answers may be ahead of that of its storage


class PackFact(NamedTuple):
    """What the decision needs of one pack: its bytes and age, those of its objects, and of the living ones.

    `needed`: no index names it, and it holds something that an index should have named.
    """

    name: bytes
    size: int
    modified: float
    stored: int
    alive: int
    needed: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """A remote at one moment, and what is alive there."""

    remote: Remote
    marks: Marks
    now: float
    gc: list[tuple[Item, Doomed]]
    packs: list[PackFact]
    superseded: dict[bytes, float]  # indexes that another replaces, with their times
    pushes: Pushes
    forgotten: frozenset[str]


class Waiting(NamedTuple):
    """Packs that no index names and nobody needs, too young to be condemned: their bytes, and until when that is so."""

    packs: int
    size: int
    until: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do."""

    packs: int  # that are there now
    size: int  # of those, in bytes
    condemn: Doomed
    condemned_bytes: int
    delete: Doomed
    deleted_bytes: int
    copied: Moved  # living objects that lie in such packs alone
    gone: frozenset[bytes]  # packs that no index shall name any more
    records: list[str]  # keys of records that count no more
    gc_files: list[str]  # keys of gc files that have done their work
    sweep_before: float  # unfinished uploads older than that go
    incomplete: list[Root]  # the caller's roots, and those of unfinished pushes, that the remote has not whole
    waiting: Waiting
    due: float  # from then on a run deletes what this one condemns

    def as_json(self) -> dict[str, Any]:
        """The numbers for programs."""
        return {
            "packs": self.packs,
            "bytes": self.size,
            "condemn": _numbers(self.condemn, self.condemned_bytes),
            "delete": _numbers(self.delete, self.deleted_bytes),
            "copy": {"objects": self.copied.objects, "bytes": self.copied.stored},
            "records": sum(key.startswith("roots/") for key in self.records),
            "incomplete": sorted({root.path for root in self.incomplete}),
            "waiting": {"packs": self.waiting.packs, "bytes": self.waiting.size},
        }


_NONE = Doomed(frozenset(), frozenset())
NOTHING = Plan(0, 0, _NONE, 0, _NONE, 0, Moved(0, 0, 0), frozenset(), [], [], 0, [], Waiting(0, 0, 0), 0)


def _numbers(doomed: Doomed, size: int) -> dict[str, int]:
    return {"packs": len(doomed.packs), "bytes": size, "indexes": len(doomed.indexes)}


class Done(NamedTuple):
    """What a run copied in all, and how many unfinished uploads it removed."""

    copied: Moved
    uploads: int


# --- Looking -----------------------------------------------------------------------------------------------


def survey(
    remote: Remote,
    store: LocalStore,
    roots: Iterable[Root],
    *,
    jobs: int,
    forgotten: Collection[str] = (),
    known: Mapping[str, Record] | None = None,
) -> Survey:
    """Look at a remote and mark what is alive: below `roots` and below every record that still counts.

    `roots` are what the refs of its projects name. Records of `forgotten` projects do not count. Those in `known` were
    read already. Nothing is changed. Raises CorruptError where what is alive cannot be known for certain.
    """
    # In this order: a gc file goes only after what it names; an index comes after its packs and before its push is
    # announced. `find` lists the packs once more, after the indexes: pushes bring new ones meanwhile.
    remote.listing.forget()
    now, gc = remote.backend.now(), remote.read_gc()
    packs = _by_name(remote.backend.list("packs/"))
    pushes = read_pushes(remote, jobs=jobs, known=known)
    remote.refresh_index()
    marks = Marks(store, remote, jobs=jobs)
    _mark_pushes(marks, pushes.without(pushes.superfluous(now, forgotten)))
    marks.mark(roots, complete=False)
    times = remote.index_times
    superseded = {name: times[name] for name in remote.catalog.superseded() if name in times}
    facts = _facts(remote, marks, packs, _named(gc))
    return Survey(remote, marks, now, gc, facts, superseded, pushes, frozenset(forgotten))


def _by_name(items: Iterable[Item]) -> dict[bytes, Item]:
    names = ((pack.parse_name(item.key.rpartition("/")[2].partition(".")[0]), item) for item in items)
    return {name: item for name, item in names if name is not None}


def _named(gc: Iterable[tuple[Item, Doomed]]) -> set[bytes]:
    return {name for _, each in gc for name in each.packs}


def _mark_pushes(marks: Marks, pushes: Pushes) -> set[ObjectId]:
    """Mark what pushes name; the confirmed ones first, because all of it must be there."""
    confirmed = [root for ulid, _ in pushes.listed for root in pushes.known[ulid].roots]
    announced = [root for ulid in pushes.announced for root in pushes.known[ulid].roots]
    return marks.mark(confirmed, complete=True) | marks.mark(announced, complete=False)


def _facts(remote: Remote, marks: Marks, packs: dict[bytes, Item], doomed: Collection[bytes]) -> list[PackFact]:
    """What each pack holds; a living object counts for one pack that is to stay, if it lies in any."""
    alive = dict.fromkeys(packs, 0)
    for oid in marks.alive:  # 2 us each
        if (place := remote.find(oid, without=doomed)) and place[0] in alive:
            alive[place[0]] += place[1].stored
    stored: dict[bytes, int] = {}
    for index in remote.catalog.indexes:
        for name, size in index.payloads().items():
            stored[name] = max(size, stored.get(name, 0))
    return [
        PackFact(
            name,
            item.size,
            item.modified,
            stored.get(name, 0),
            alive[name],
            name not in stored and name not in doomed and _is_needed(remote, marks, name, item),
        )
        for name, item in packs.items()
    ]


def _is_needed(remote: Remote, marks: Marks, name: bytes, item: Item) -> bool:
    """Whether a pack without an index holds something alive that no index finds: an index was lost, then."""

    def read(start: int, length: int) -> bytes:
        return remote.backend.read_range(item.key, start, length)

    try:
        rows = pack.read_table(name, item.size, read, remote.algorithm, source=item.key).rows
    except (CorruptError, NotFound):  # another gc has deleted it since
        return False
    return any((row.oid in marks.alive or row.oid in marks.absent) and remote.find(row.oid) is None for row in rows)


# --- Deciding ----------------------------------------------------------------------------------------------


def plan(found: Survey, *, grace: float = GRACE) -> Plan:
    """What a run with this `grace` (seconds) would do; nothing is changed.

    Whatever is condemned or deleted is older than the grace by the server's time. Condemnation is final: what has
    become alive again is copied, not pardoned.
    """
    before = found.now - grace
    doomed = _named(found.gc)
    condemned_indexes = {name for _, each in found.gc for name in each.indexes}
    dead = [each for each in found.packs if each.name not in doomed and _is_dead(each, before)]
    old = {name for name, modified in found.superseded.items() if modified <= before}
    condemn = Doomed(frozenset(each.name for each in dead), frozenset(old - condemned_indexes))
    due = [each for item, each in found.gc if item.modified <= before]
    due_packs = {name for each in due for name in each.packs}
    due_indexes = {name for each in due for name in each.indexes}
    going = [each for each in found.packs if each.name in due_packs]
    delete = Doomed(frozenset(each.name for each in going), frozenset(old & due_indexes))
    copied = [row for _, row in stranded(found.remote, found.marks.alive, doomed | condemn.packs)]
    present = {each.name for each in found.packs}
    young = [each for each in found.packs if _is_stray(each) and each.name not in doomed and each.modified > before]
    return Plan(
        packs=len(found.packs),
        size=sum(each.size for each in found.packs),
        condemn=condemn,
        condemned_bytes=sum(each.size for each in dead),
        delete=delete,
        deleted_bytes=sum(each.size for each in going),
        copied=Moved(len(copied), sum(row.raw for row in copied), sum(row.stored for row in copied)),
        gone=frozenset(doomed - (present - due_packs)),
        records=found.pushes.superfluous(found.now, found.forgotten),
        gc_files=_finished(found),
        # An upload that is under way is not older than a day, whatever the grace.
        sweep_before=found.now - max(grace, DAY),
        incomplete=list(found.marks.absent.values()),
        waiting=Waiting(
            len(young), sum(each.size for each in young), max((each.modified for each in young), default=0) + grace
        ),
        due=found.now + grace,
    )


def _is_dead(each: PackFact, before: float) -> bool:
    """Whether a pack is to go: old enough, and less than half of it alive."""
    return each.modified <= before and not each.needed and (each.alive == 0 or 2 * each.alive < each.stored)


def _is_stray(each: PackFact) -> bool:
    """Whether a push left a pack that nobody can find anything in."""
    return not each.stored and not each.needed


def _finished(found: Survey) -> list[str]:
    """gc files that may go: nothing they name is there or in an index, and no push that began before them still runs.

    A push compares the gc files it finds at its end with those it saw when it planned. One that came and went in
    between would not be noticed, so they stay as long as the record of a push counts, whatever the grace. Which
    records are believed does not depend on gc files, so no record gains by their removal.
    """
    there = {each.name for each in found.packs} | found.superseded.keys() | found.remote.catalog.packs()
    return [
        item.key
        for item, each in found.gc
        if found.now - item.modified > RETAIN and not (each.packs | each.indexes) & there
    ]


# --- Doing -------------------------------------------------------------------------------------------------


def carry_out(found: Survey, todo: Plan) -> Done:
    """Do what was planned. Killed at any point, another run completes it; two at once do no harm.

    Raises CorruptError, with no data deleted, for a living object that is damaged where it has to be copied;
    RemoteError, with nothing changed, where the remote has two clocks.
    """
    remote = found.remote
    _check_clock(found)
    for key in todo.records:  # before packs, so that nobody believes a record whose packs are gone
        remote.backend.delete(key)
    uploads = remote.backend.sweep(todo.sweep_before)
    doomed = _named(found.gc) | todo.condemn.packs
    copied = rescue(remote, found.marks.alive, doomed)
    if todo.condemn.packs or todo.condemn.indexes:
        _write(remote, "condemned", todo.condemn)
    if todo.delete.packs or todo.delete.indexes:
        _write(remote, "deleted", todo.delete)
        # A push that believed a record we have just removed may rely on what is about to go. Either it was announced
        # before this look, or it sees the file.
        copied = copied.plus(rescue(remote, _look_again(found, todo), doomed))
        check_twins(remote, found.marks.alive, doomed, todo.delete.packs)
    _rewrite(remote, todo.gone)
    for name in sorted(todo.delete.packs):
        remote.backend.delete(pack.key(name))
    for name in sorted(todo.delete.indexes):
        remote.backend.delete(catalog.key(name))
    for key in todo.gc_files:
        remote.backend.delete(key)
    remote.advise(changed=True)
    return Done(copied, uploads)


def _check_clock(found: Survey) -> None:
    """The age of what is there was taken from the dates of answers. A gateway may have another clock than the storage,
    so these are compared with the time that something written now has.
    """
    backend = found.remote.backend
    key = f"tmp/{records.new_ulid()}"
    backend.write_new(key, b"")
    try:
        written = backend.stat(key)
    finally:
        backend.delete(key)
    if written is not None and found.now > written.modified + _CLOCKS:
        ahead = found.now - written.modified
        raise RemoteError(
            f"remote {found.remote.name!r}: by the dates of its answers it is {ahead:.0f} s later than by the time of "
            "what is written there now; nothing was deleted",
            hint="set the clock of the server, or of the gateway before it",
        )


def _write(remote: Remote, kind: str, doomed: Doomed) -> None:
    remote.backend.write_new(f"gc/{kind}/{records.new_ulid()}.json", records.encode_doomed(doomed))


def _look_again(found: Survey, todo: Plan) -> set[ObjectId]:
    """What became alive since the survey: by pushes, whoever's, and by pages that had not arrived then."""
    pushes = read_pushes(found.remote, jobs=1, known=found.pushes.known).without(todo.records)
    found.remote.refresh_index()
    return found.marks.mark_absent() | _mark_pushes(found.marks, pushes)


def _rewrite(remote: Remote, gone: frozenset[bytes]) -> None:
    """Put one index in place of those that name packs which are gone or about to go."""
    old = [index for index in remote.catalog.indexes if not gone.isdisjoint(index.packs)]
    if old:
        kept = [each for each in catalog.merged_packs(old) if each.name not in gone]
        remote.store_index(*catalog.encode(kept, remote.algorithm, [index.name for index in old]))
