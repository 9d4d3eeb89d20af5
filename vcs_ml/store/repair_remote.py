"""The repair of a remote: good objects are sent again, an index stands in for damaged ones, false records go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vcs_ml import fs
from vcs_ml.errors import CorruptError, VmlError
from vcs_ml.output import count, size
from vcs_ml.progress import Meter
from vcs_ml.store import catalog, fsck_remote, inspect, objects, pack, records, transfer, upload
from vcs_ml.store.fsck import after_repair
from vcs_ml.store.fsck_remote import RemoteVerdict
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Builder, Pack, Row
from vcs_ml.store.promises import Record
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote, format_text
from vcs_ml.store.repair import Note
from vcs_ml.store.strays import RemoteFile
from vcs_ml.store.transfer import NOTHING, Moved, Need, Range


def repair(
    remote: Remote,
    store: LocalStore,
    wanted: Mapping[Root, bool],
    verdict: RemoteVerdict,
    *,
    jobs: int,
    meter: Meter,
    note: Note,
) -> RemoteVerdict:
    """Mend what `verdict` found: a verdict whose report says what became of that. The store's lock must be held, shared
    is enough.

    Nothing is taken away before what replaces it is there. Damaged packs stay; no index names them any more.
    """
    found = verdict.holdings
    if found.format:
        remote.backend.delete("vml.json")
        remote.backend.write_new("vml.json", format_text(remote.algorithm))
    remote.open()
    remote.listing.forget()  # what is listed from now on has what is sent
    usable = _usable(remote, verdict, meter)
    _send_again(remote, store, verdict, usable, jobs=jobs, meter=meter, note=note)
    _replace_indexes(remote, verdict, usable)
    for key in (*found.bad_indexes, *verdict.unreadable):
        _take_away(remote, store, key)
    after = fsck_remote.check(remote, store, wanted, deep=False, jobs=jobs, meter=meter, damaged=found.damaged)
    stray = {oid for held in after.holdings.unlisted.values() for oid in held}
    for record in after.records if stray.isdisjoint(after.reach.absent) else ():
        _correct(remote, store, record, after, note)
    lost = {oid for each in verdict.report.problems if (oid := each.oid) and oid not in after.holdings}
    return verdict._replace(report=after_repair(verdict.report, after.report, lost))


def _send_again(
    remote: Remote,
    store: LocalStore,
    verdict: RemoteVerdict,
    usable: Sequence[bytes],
    *,
    jobs: int,
    meter: Meter,
    note: Note,
) -> None:
    """Send what lies only in packs that no index will name, or is promised and not there: from those packs, or else
    from the store.
    """
    found, absent = verdict.holdings, verdict.reach.absent
    bad = found.damaged.keys() | found.gone
    wanted: dict[ObjectId, Need] = dict(absent)
    for name in bad:
        rows = inspect.indexed_rows(name, found.loaded)
        if name in found.packs:  # of an object in several packs, an index names one
            rows += inspect.table_of(
                name, RemoteFile(remote.backend, pack.key(name), found.packs[name]), found.algorithm
            )[1]
        for row in rows:
            place = found.place(row.oid)
            if not isinstance(place, tuple) or place[0] in bad:
                wanted.setdefault(row.oid, Need(row.oid, row.raw, ""))
    spare = {oid for name in usable for oid in found.unlisted[name]}
    wanted = {oid: need for oid, need in wanted.items() if oid not in spare}
    whole = {oid: need for oid, need in wanted.items() if oid[-1] in (objects.BLOB, objects.NODE)}
    here = {oid: need for oid, need in whole.items() if store.holds(oid)}
    # Chunks and recipes are not for the local store: they are copied over there, or made again from their blob.
    copied = _copy(remote, verdict, [oid for oid in wanted if oid not in here], note)
    large = [lack.need for lack in verdict.reach.large.values() if not spare.issuperset(lack.absent)]
    needs = [*here.values(), *(need for need in large if store.holds(need.oid))]
    sent = upload.push(store, remote, needs, bad | verdict.useless, jobs=jobs, meter=meter)
    for moved, source in (copied, f"packs of {remote.name}"), (sent, "the local store"):
        if moved.objects:
            note(f"written anew from {source}: {count(moved.objects, 'object')} ({size(moved.stored)})")


def _copy(remote: Remote, verdict: RemoteVerdict, oids: Iterable[ObjectId], note: Note) -> Moved:
    """Copy what is good in packs that no index will name to new ones, as it is stored."""
    moved = NOTHING
    places = [place for oid in oids if (place := _place(verdict, oid))]
    for is_meta in (False, True):
        builder = Builder(remote.backend, remote.algorithm)
        mine = [(name, row, Need(row.oid, row.raw, "")) for name, row in places if objects.is_meta(row.oid) == is_meta]
        try:
            for each in transfer.ranges_of(mine):
                _copy_range(remote, builder, each, note)
            if packs := builder.finish():
                remote.publish_index(packs)
        finally:
            builder.abort()
        rows = [row for each in packs for row in each.rows]
        moved = moved.plus(Moved(len(rows), sum(row.raw for row in rows), sum(row.stored for row in rows)))
    return moved


def _copy_range(remote: Remote, builder: Builder, each: Range, note: Note) -> None:
    try:
        data = memoryview(remote.backend.read_range(pack.key(each.pack), each.start, each.length))
    except VmlError as error:
        note(error.message)
        return
    for _, row in each.wanted:
        stored = data[row.offset - each.start :][: row.stored]
        try:
            pack.decode_object(row, stored, remote.algorithm)
            builder.add_stored(row.oid, stored, row.raw, row.flags)
        except CorruptError as error:
            note(f"{pack.key(each.pack)}: {error.message}")


def _place(verdict: RemoteVerdict, oid: ObjectId) -> tuple[bytes, Row] | None:
    """Where good bytes of an object are over there, in a damaged pack or one that no index names."""
    place = verdict.holdings.place(oid)
    found = place if isinstance(place, tuple) else next(verdict.strays.places(oid), None)
    return found if found and max(found[1].raw, found[1].stored) <= transfer.limit(oid) else None


def _usable(remote: Remote, verdict: RemoteVerdict, meter: Meter) -> list[bytes]:
    """Packs that lost their index, or hold what is needed, and that can be trusted: every object in them is read."""
    found, absent = verdict.holdings, verdict.reach.absent
    names = []
    for name, held in found.unlisted.items():
        if (found.bad_indexes or held & absent.keys()) and name not in verdict.useless:
            file = RemoteFile(remote.backend, pack.key(name), found.packs[name])
            why, rows = inspect.table_of(name, file, remote.algorithm)
            bad = inspect.survey(rows, file, remote.algorithm, meter)
            if bad:
                found.damaged[name] = dict(bad)
            elif not why:
                names.append(name)
    return names


def _replace_indexes(remote: Remote, verdict: RemoteVerdict, usable: Iterable[bytes]) -> None:
    """Publish an index over the good packs of those that name damaged ones, and over packs that lost theirs."""
    found = verdict.holdings
    remote.catalog.refresh()
    bad = found.damaged.keys() | found.gone
    affected = [index for index in remote.catalog.indexes if not bad.isdisjoint(index.packs)]
    names = {name for index in affected for name in index.packs} - bad
    names.update(usable)
    if affected or names:
        name, content = catalog.encode(
            _tables(remote, sorted(names)), remote.algorithm, [index.name for index in affected]
        )
        remote.backend.write_new(catalog.key(name), content)
        catalog.publish(remote.cache / "index", name, content)
        remote.catalog.refresh()


def _tables(remote: Remote, names: Iterable[bytes]) -> Sequence[Pack]:
    packs = []
    for name in names:
        if item := remote.backend.stat(pack.key(name)):
            file = RemoteFile(remote.backend, item.key, item.size)
            why, rows = inspect.table_of(name, file, remote.algorithm)
            if not why:
                packs.append(Pack(name, rows))
    return packs


def _take_away(remote: Remote, store: LocalStore, key: str) -> None:
    """Delete a key; what it held is kept in the local store's `quarantine/`."""
    try:
        content = remote.backend.read(key)
    except VmlError:  # gone, or larger than anything vml writes
        content = b""
    kept = store.directory / "quarantine" / "remotes" / remote.cache.name / key
    fs.make_directory(kept.parent)
    fs.write_atomic(kept, content)
    remote.backend.delete(key)


def _correct(remote: Remote, store: LocalStore, record: Record, after: RemoteVerdict, note: Note) -> None:
    """Replace a record that promises what is not there by one of what is."""
    whole = set(after.reach.whole)
    good = [root for root in record.roots if root in whole]
    if len(good) == len(record.roots):
        return
    # gc goes by the good ones; that the others were pushed must be known to those who have them.
    lost = [root for root in (*record.lost, *record.roots) if root not in whole]
    remote.confirm(records.new_ulid(), records.Record(record.project, record.commit, tuple(good)), lost)
    _take_away(remote, store, record.key)
    note(f"{record.key} promised what is not there: another says which of it is")
