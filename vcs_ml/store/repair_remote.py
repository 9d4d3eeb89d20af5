"""The repair of a remote: good objects are sent again, an index stands in for damaged ones, false records go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vcs_ml import fs
from vcs_ml.errors import VmlError
from vcs_ml.progress import Meter
from vcs_ml.store import catalog, fsck_remote, inspect, objects, pack, records, transfer, upload
from vcs_ml.store.fsck import Report, after_repair
from vcs_ml.store.fsck_remote import Record, RemoteFile, RemoteVerdict
from vcs_ml.store.holdings import Holdings
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Builder, Pack
from vcs_ml.store.remote import Remote, format_text
from vcs_ml.store.repair import Note, from_remote, staging
from vcs_ml.store.transfer import Need


def repair(remote: Remote, store: LocalStore, verdict: RemoteVerdict, *, jobs: int, meter: Meter, note: Note) -> Report:
    """Mend what `verdict` found: the report of it afterwards. The store's lock must be held, shared is enough.

    Nothing is taken away before what replaces it is there. Damaged packs stay; no index names them any more.
    """
    found = verdict.holdings
    if found.format:
        remote.backend.delete("vml.json")
        remote.backend.write_new("vml.json", format_text(remote.algorithm))
    remote.open()
    usable = _usable(remote, verdict, meter)
    _send_again(remote, store, verdict, usable, jobs=jobs, meter=meter, note=note)
    _replace_indexes(remote, verdict, usable)
    for key in (*found.bad_indexes, *verdict.unreadable):
        _take_away(remote, store, key)
    after = fsck_remote.check(remote, store, deep=False, jobs=jobs, meter=meter, damaged=found.damaged)
    for record in after.records:
        _correct(remote, store, record, after, note)
    lost = {oid for each in verdict.report.problems if (oid := each.oid) and oid not in after.holdings}
    return after_repair(verdict.report, after.report, lost)


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
    """Send what lies only in damaged packs, or is promised and not there: from the store, or from those packs."""
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
    # Chunks and recipes are not for the local store: they are copied over there, or made again from their blob.
    pieces = [oid for oid in wanted if oid[-1] in (objects.CHUNK, objects.RECIPE) and oid not in spare]
    _copy(remote, found, pieces, note)
    large = [need for need, lost in verdict.reach.large.values() if not spare.issuperset(lost)]
    whole = {oid: need for oid, need in wanted.items() if oid not in spare and oid[-1] in (objects.BLOB, objects.NODE)}
    here = [need for need in (*whole.values(), *large) if store.holds(need.oid)]
    upload.push(store, remote, here, bad | verdict.useless, jobs=jobs, meter=meter)
    with staging(store) as scratch:
        sent = {need.oid for need in here}
        needs = [need for oid, need in whole.items() if oid not in sent and found.place(oid)]
        from_remote(remote, jobs=jobs, meter=meter, note=note)(scratch, needs)
        saved = [need for need in needs if need.oid in scratch]
        upload.push(scratch, remote, saved, jobs=jobs, meter=meter)


def _copy(remote: Remote, found: Holdings, oids: Iterable[ObjectId], note: Note) -> None:
    """Copy what is good in damaged packs to a new one."""
    packs: list[Pack] = []
    builders = {meta: Builder(remote.backend, remote.algorithm) for meta in (False, True)}
    try:
        for oid in oids:
            place = found.place(oid)
            if isinstance(place, tuple):
                try:
                    builders[objects.is_meta(oid)].add(oid, transfer.read_one(remote, *place))
                except VmlError as error:
                    note(error.message)
        packs = [each for builder in builders.values() for each in builder.finish()]
    finally:
        for builder in builders.values():
            builder.abort()
    if packs:
        remote.publish_index(packs)


def _usable(remote: Remote, verdict: RemoteVerdict, meter: Meter) -> list[bytes]:
    """Packs that lost their index, or hold what is needed, and that can be trusted: every object in them is read."""
    found, absent = verdict.holdings, verdict.reach.absent
    names = []
    for name, held in found.unlisted.items():
        if (found.bad_indexes or held & absent.keys()) and name not in verdict.useless:
            file = RemoteFile(remote.backend, pack.key(name), found.packs[name])
            why, rows = inspect.table_of(name, file, remote.algorithm)
            if not why and not inspect.survey(rows, file, remote.algorithm, meter):
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
    if good:  # gc goes by them
        remote.confirm(records.new_ulid(), records.Record(record.project, record.commit, tuple(good)))
    _take_away(remote, store, record.key)
    note(f"{record.key} promised what is not there: removed")
