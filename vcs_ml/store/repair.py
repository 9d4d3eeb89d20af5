"""The repair of a local store: what is good is stored anew, what was lost is sought, what is damaged is set aside.

New objects come first, then the index that names them, then the damaged files go: whoever reads meanwhile never
finds less than before, and a repair that was killed is completed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vcs_ml import fs
from vcs_ml.errors import CorruptError, UserError, VmlError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote
from vcs_ml.progress import Meter
from vcs_ml.store import catalog, download, inspect, objects, pack, transfer
from vcs_ml.store.catalog import Index
from vcs_ml.store.fsck import Verdict, Wants
from vcs_ml.store.holdings import Holdings
from vcs_ml.store.inspect import LocalFile
from vcs_ml.store.local import Batch, LocalStore, format_line
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Pack, Row
from vcs_ml.store.reach import Reach, reach
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.protocol import NotFound
from vcs_ml.store.transfer import Need

_STAGING = "fsck-"

# Puts into a scratch store what it has of the needs; each object enters only when it matches its id.
Source = Callable[[LocalStore, Sequence[Need]], None]
Note = Callable[[str], None]


def restore_format(directory: Path, algorithm: Algorithm) -> None:
    """Write vml.json anew; the damaged one is set aside."""
    set_aside(directory, "vml.json")
    fs.make_directory(directory)
    fs.write_atomic(directory / "vml.json", format_line(algorithm))


def repair(store: LocalStore, verdict: Verdict, wants: Wants, sources: Sequence[Source], meter: Meter) -> None:
    """Mend what `verdict` found, as far as that can be done. The store's lock must be held exclusively."""
    found, reached = verdict.holdings, verdict.reach
    for path in found.bad_loose:
        with contextlib.suppress(OSError):  # it cannot even be read
            store.release(store.directory / path)
    for left in (store.directory / "tmp").glob(f"{_STAGING}*"):  # of a repair that was killed
        shutil.rmtree(left, ignore_errors=True)
    needed = any(held & reached.absent.keys() for held in found.unlisted.values())
    if found.bad_indexes or needed:
        _list_again(found)
    with staging(store) as scratch:
        _salvage(found, scratch, meter)
        _adopt(found, scratch)
    tried: set[ObjectId] = set()
    while True:
        # Again each time: a list of files that is back may name files that are lost, too.
        reached = reach(wants.roots, store.algorithm, found.__contains__, found.read)
        lacking = _lacking(found, reached, wants, tried)
        if not lacking:
            break
        tried.update(lacking)
        for source in sources:
            if still := [need for oid, need in lacking.items() if oid not in found]:
                with staging(store) as scratch:
                    source(scratch, still)
                    _adopt(found, scratch)
    _retire(found)


def _lacking(found: Holdings, reached: Reach, wants: Wants, tried: set[ObjectId]) -> dict[ObjectId, Need]:
    """What is to be sought: damaged objects, and those needed that are nowhere or that should be here."""
    lost = {oid: Need(oid, -1, "") for oid in found.lost()}
    for oid, need in reached.absent.items():
        nowhere = wants.elsewhere(oid) is None and not wants.unasked
        root = reached.by[oid]
        doubtful = root in wants.current and (found.blind or wants.unasked)  # then the workspace may have it
        gone = nowhere or doubtful or found.was_here(oid, root.oid)
        if oid in lost or (oid not in found and gone):
            lost[oid] = need
    return {oid: need for oid, need in lost.items() if oid not in tried}


# ---------------------------------------------------------------------- scratch


@contextmanager
def staging(store: LocalStore) -> Iterator[LocalStore]:
    """A store inside this one's scratch, in which things gather before they are moved over; gone at the end."""
    place = store.directory / "tmp" / f"{_STAGING}{os.urandom(8).hex()}"
    try:
        yield LocalStore(place, store.algorithm, pack_below=store.pack_below, link=lambda: store.links)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _adopt(found: Holdings, scratch: LocalStore) -> None:
    """Move everything from a scratch store into the store and make it visible."""
    scratch.catalog.refresh()
    packs = catalog.merged_packs(scratch.catalog.indexes)
    for each in packs:
        _move(scratch.directory, found.directory, pack.key(each.name))
        found.packs[each.name] = (found.directory / pack.key(each.name)).stat().st_size
    if packs:
        _publish(found, packs)
    for folder, _, names in os.walk(scratch.directory / "loose"):
        for name in names:
            path = Path(folder, name).relative_to(scratch.directory).as_posix()
            if os.path.lexists(found.directory / path):
                set_aside(found.directory, path)  # it is damaged, or it would not have been sought
                found.bad_loose.pop(path, None)
            _move(scratch.directory, found.directory, path)
            found.loose.add(path)


def _move(source: Path, target: Path, path: str) -> None:
    fs.make_directory((target / path).parent)
    (source / path).rename(target / path)
    fs.fsync_dir((target / path).parent)


def _publish(found: Holdings, packs: Sequence[Pack], supersedes: Sequence[bytes] = ()) -> None:
    name, content = catalog.encode(packs, found.algorithm, supersedes)
    catalog.publish(found.directory / "index", name, content)
    index = Index(found.directory / catalog.key(name), name, found.algorithm)
    found.indexes = [index, *(each for each in found.indexes if each.name not in supersedes)]


def set_aside(directory: Path, path: str) -> None:
    """Move a file of the store to the same place below `quarantine/`; what lies there already stays."""
    source = directory / path
    if not os.path.lexists(source):
        return
    target = directory / "quarantine" / path
    for above in (target.parent, *target.parent.parents):
        if above == directory:
            break
        if above.is_symlink():
            raise UserError(f"{quote(above)} is a symlink: vml does not write through it", hint="remove it")
    fs.make_directory(target.parent)
    number = 0
    while os.path.lexists(target):
        number += 1
        target = target.with_name(f"{source.name}.{number}")
    source.rename(target)
    fs.fsync_dir(target.parent)
    fs.fsync_dir(source.parent)


# ---------------------------------------------------------------------- what is here


def _list_again(found: Holdings) -> None:
    """Publish an index over the packs that none names, by their own tables."""
    names = [name for name in sorted(found.unlisted) if name not in found.damaged]
    if packs := _tables(found, names):
        _publish(found, packs)


def _tables(found: Holdings, names: Iterable[bytes]) -> list[Pack]:
    packs = []
    for name in names:
        with LocalFile(found.directory / pack.key(name)) as file:
            why, rows = inspect.table_of(name, file, found.algorithm)
        if not why:
            packs.append(Pack(name, rows))
    return packs


def _salvage(found: Holdings, scratch: LocalStore, meter: Meter) -> None:
    """Store again what is good in damaged packs and lies nowhere else."""
    with scratch.batch() as batch:
        for name in sorted(found.damaged):
            try:
                with LocalFile(found.directory / pack.key(name)) as file:
                    why, rows = inspect.table_of(name, file, found.algorithm)
                    if why:
                        rows = inspect.indexed_rows(name, found.loaded)
                    alone = [row for row in rows if _is_only_in(found, name, row.oid)]
                    inspect.survey(alone, file, found.algorithm, meter, batch.add)
            except (CorruptError, OSError):
                continue  # nothing of it can be read


def _is_only_in(found: Holdings, name: bytes, oid: ObjectId) -> bool:
    place = found.place(oid)
    return place is None or (isinstance(place, tuple) and place[0] == name)


def _retire(found: Holdings) -> None:
    """Take what is damaged out of the store: out of the indexes first."""
    bad = found.damaged.keys() | found.gone
    affected = [index for index in found.indexes if not bad.isdisjoint(index.packs)]
    names = {name for index in affected for name in index.packs} - bad
    if packs := _tables(found, sorted(names)):
        _publish(found, packs, [index.name for index in affected])
    for index in affected:
        index.path.unlink(missing_ok=True)
    for path in (*found.bad_indexes, *map(pack.key, sorted(found.damaged)), *found.bad_loose, *found.strays):
        set_aside(found.directory, path)
    for proof in (found.directory / "complete").glob("*"):  # they may name what was set aside
        proof.unlink(missing_ok=True)


# ---------------------------------------------------------------------- remotes


def from_remote(remote: Remote, *, jobs: int, meter: Meter, note: Note) -> Source:
    """What a remote has, as of the last look at its index; `note` is told what cannot be had."""

    def seek(scratch: LocalStore, needs: Sequence[Need]) -> None:
        try:
            with scratch.batch() as batch:
                for need in needs:
                    if need.oid[-1] == objects.NODE and (place := remote.find(need.oid)):
                        _read_node(remote, need, place, batch, note)
            blobs = [found for need in needs if need.oid[-1] == objects.BLOB and (found := _there(remote, need, note))]
            _fetch(scratch, remote, blobs, jobs=jobs, meter=meter, note=note)
        except VmlError as error:
            note(f"{remote.name}: {error.message}")

    return seek


def _there(remote: Remote, need: Need, note: Note) -> Need | None:
    """A blob with its size, None where the remote does not have all of it."""
    try:
        return transfer.sized(remote, need) if transfer.has(remote, need.oid, need.size) else None
    except CorruptError as error:
        note(error.message)
        return None


def _read_node(remote: Remote, need: Need, place: tuple[bytes, Row], batch: Batch, note: Note) -> None:
    try:
        batch.add(need.oid, transfer.read_one(remote, *place, path=need.path))
    except (CorruptError, NotFound) as error:
        note(error.message)


def _fetch(scratch: LocalStore, remote: Remote, needs: Sequence[Need], *, jobs: int, meter: Meter, note: Note) -> None:
    """Fetch all at once; where something is in the way of that, one half after the other."""
    if not needs:
        return
    try:
        download.fetch(scratch, remote, needs, jobs=jobs, meter=meter)
    except VmlError as error:
        remote.backend.stat("vml.json")  # raises where the remote cannot be reached at all
        if len(needs) == 1:
            note(error.message)
            return
        missing = set(scratch.lacking(need.oid for need in needs))
        rest = [need for need in needs if need.oid in missing]
        for part in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
            _fetch(scratch, remote, part, jobs=jobs, meter=meter, note=note)
