"""Garbage collection in the local store: what nothing needs any more goes, what is scattered is packed together."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs
from vcs_ml.errors import CorruptError
from vcs_ml.hashing import SHA256, Algorithm
from vcs_ml.progress import Meter
from vcs_ml.store import catalog, objects, pack, page, recipe, records, remote
from vcs_ml.store.catalog import Catalog
from vcs_ml.store.local import REMEDY, LocalStore, decode
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Builder, Pack, Row

SMALL = pack.TARGET // 4  # packs below this are put together ...
MANY = 16  # ... once there are so many of them
_HEX = re.compile(r"[0-9a-f]*")


class Kept(NamedTuple):
    """What must stay: `roots`, each with a path, and all they name; of the trees in `lists` only the pages."""

    roots: dict[ObjectId, str]
    lists: set[ObjectId]


class Loose(NamedTuple):
    """A file with one object: the ids it may have (a blob and a node of equal bytes are one file), its bytes, and
    those of disk that go with it: none where a workspace file is linked to it.
    """

    ids: tuple[ObjectId, ...]
    path: str
    size: int
    freed: int


class Plan(NamedTuple):
    """What a collection does.

    `remove` and `rewrite` are packs; of the latter, the living part is packed anew. `stray` are packs that no index
    names: killed commands left them. `dead` objects go, and `freed` bytes of disk in all. `unpushed` are objects (and
    their bytes) that nothing needs and no remote is known to have: they stay. `alive` are the rows of each indexed
    pack that stay, `twins` the objects of each that also lie in another one.
    """

    remove: list[bytes]
    rewrite: list[bytes]
    stray: list[bytes]
    loose: list[Loose]
    dead: int
    freed: int
    unpushed: tuple[int, int]
    alive: dict[bytes, list[Row]]
    twins: dict[bytes, list[ObjectId]]


# ---------------------------------------------------------------------- mark


def mark(store: LocalStore, kept: Kept) -> set[ObjectId]:
    """Every object that `kept` needs, as far as the lists of files are here.

    What an absent list names cannot be known: such blobs are here by accident only. CorruptError for a damaged list.
    """
    live = {root for root in kept.roots if root[-1] != objects.NODE}
    seen: set[ObjectId] = set()
    for root in kept.roots:
        for found in _pages(store, root, seen):
            live.add(found.oid)
            live.update([objects.blob(entry.digest) for entry in found.entries])
    for root in kept.lists:
        live.update(found.oid for found in _pages(store, root, seen))
    return live


def _pages(store: LocalStore, root: ObjectId, seen: set[ObjectId]) -> Iterator[page.Page]:
    """The pages of a tree that are here and not `seen` yet."""
    pending = [root] if root[-1] == objects.NODE else []
    while pending:
        oid = pending.pop()
        if oid in seen:
            continue
        seen.add(oid)
        try:
            found = page.decode(store.read(oid), oid, store.algorithm)
        except MissingObject:
            continue
        pending += [child.oid for child in found.children]
        yield found


# ---------------------------------------------------------------------- plan


def plan(store: LocalStore, live: set[ObjectId], known: Iterable[Path] = (), *, include_unpushed: bool = False) -> Plan:
    """What can go, given everything that is needed, and where the store keeps what is `known` of the remotes that
    may be relied on. Changes nothing.
    """
    remotes = [] if include_unpushed else list(_remotes(store, known))
    unpushed = [0, 0]

    def stays(ids: tuple[ObjectId, ...], size: int) -> bool:
        if any(oid in live for oid in ids):
            return True
        if include_unpushed or any(each.has(oid) for oid in ids for each in remotes):
            return False
        unpushed[0] += 1
        unpushed[1] += size
        return True

    sizes = dict(_packs(store))
    store.catalog.refresh()
    rows, twins = _placed(store.catalog, store.catalog.packs() & sizes.keys())
    alive = {name: [row for row in some if stays((row.oid,), row.raw)] for name, some in rows.items()}
    remove = sorted(name for name, some in alive.items() if not some)
    living = {name: sum(row.stored for row in some) for name, some in alive.items() if some}
    rewrite = _to_rewrite(sizes, living, alive)
    stray = sorted(sizes.keys() - alive.keys())
    loose = [each for each in loose_files(store) if not stays(each.ids, each.size)]
    dead = sum(len(rows[name]) - len(alive[name]) for name in [*remove, *rewrite]) + len(loose)
    freed = sum(sizes[name] for name in [*remove, *rewrite, *stray]) + sum(each.freed for each in loose)
    freed -= sum(living[name] for name in rewrite)
    return Plan(remove, rewrite, stray, loose, dead, freed, (unpushed[0], unpushed[1]), alive, twins)


class _Remote(NamedTuple):
    """What is known here of a remote's objects, as of the last push or fetch, and which packs will not stay there."""

    directory: Path
    algorithm: Algorithm
    catalog: Catalog
    doomed: frozenset[bytes]

    def has(self, oid: ObjectId) -> bool:
        return self._lists(oid) or (oid[-1] == objects.BLOB and self._has_chunks(objects.recipe(oid)))

    def _lists(self, oid: ObjectId) -> bool:
        return any(name not in self.doomed for name, _ in self.catalog.places(oid))

    def _has_chunks(self, oid: ObjectId) -> bool:
        if not self._lists(oid):
            return False
        try:
            found = recipe.decode(remote.recipe_path(self.directory, oid).read_bytes(), oid, self.algorithm)
        except (OSError, CorruptError):
            return False
        return all(map(self._lists, found.chunks))


def _remotes(store: LocalStore, known: Iterable[Path]) -> Iterator[_Remote]:
    for directory in known:
        doomed: set[bytes] = set()
        try:
            for path in directory.glob("gc/*.json"):
                doomed |= records.parse_doomed(path.read_bytes()).packs
            yield _Remote(directory, store.algorithm, Catalog(directory / "index", store.algorithm), frozenset(doomed))
        except (CorruptError, ValueError, OSError):
            continue  # then it vouches for nothing


def _packs(store: LocalStore) -> Iterator[tuple[bytes, int]]:
    """(name, size in bytes) of every pack that is there."""
    for item in store.backend.list("packs/"):
        if name := pack.parse_key(item.key):
            yield name, item.size


def _placed(known: Catalog, there: Collection[bytes]) -> tuple[dict[bytes, list[Row]], dict[bytes, list[ObjectId]]]:
    """The rows of the packs that are `there`, each object once: where readers find it. And those left out, by pack."""
    rows: dict[bytes, list[Row]] = {name: [] for name in there}
    twins: dict[bytes, list[ObjectId]] = {name: [] for name in there}
    seen: set[ObjectId] = set()
    for index in known.indexes:
        for row in index.rows():
            name = index.packs[row.pack]
            if name not in rows:
                continue
            if row.oid in seen:
                twins[name].append(row.oid)
            else:
                seen.add(row.oid)
                rows[name].append(row)
    return rows, twins


def _to_rewrite(sizes: dict[bytes, int], living: dict[bytes, int], alive: dict[bytes, list[Row]]) -> list[bytes]:
    """Packs less than half alive, and small ones where there are many."""
    found = {name for name, size in living.items() if 2 * (size + _table(alive[name])) < sizes[name]}
    for meta in (True, False):
        small = {name for name in living if sizes[name] < SMALL and objects.is_meta(alive[name][0].oid) == meta}
        if len(small) >= MANY:
            found |= small
    return sorted(found)


def _table(rows: list[Row]) -> int:
    """Bytes that these rows take behind a pack's objects."""
    return pack.table_size(len(rows), SHA256.size)


def loose_files(store: LocalStore) -> Iterator[Loose]:
    """Every file in `loose/` that is named as objects are."""
    for algorithm in {store.algorithm, SHA256}:
        base = f"{store.directory}/loose/{algorithm.name}"
        for folder in _names(base):
            for name in _names(f"{base}/{folder}"):
                digits = folder + name
                if len(folder) != 2 or len(digits) != 2 * algorithm.size or not _HEX.fullmatch(digits):
                    continue
                digest, path = bytes.fromhex(digits), f"{base}/{folder}/{name}"
                ids = ((objects.blob(digest),) if algorithm == store.algorithm else ()) + (
                    (objects.node(digest),) if algorithm == SHA256 else ()
                )
                st = os.lstat(path)
                yield Loose(ids, path, st.st_size, st.st_size if st.st_nlink == 1 else 0)


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


# ---------------------------------------------------------------------- sweep


def sweep(store: LocalStore, plan: Plan, live: set[ObjectId], meter: Meter) -> None:
    """Carry out a plan that was made under the store's exclusive lock, which the caller still holds.

    What stays is verified and durable in its new place before its old one goes. Killed anywhere, a reader finds all
    that is needed, and the next collection removes the rest. Raises CorruptError, before anything is removed, for
    what is damaged.
    """
    going = [*plan.remove, *plan.rewrite]
    for oid in [oid for name in going for oid in plan.twins[name]]:
        if oid in live:  # the copy that stays must be good
            _read(store, oid)
    fresh = _rewrite(store, plan, meter)
    if going or store.catalog.superseded():
        staying = [Pack(name, rows) for name, rows in sorted(plan.alive.items()) if name not in going]
        _replace_indexes(store, [*staying, *fresh])
    for name in [*going, *plan.stray]:
        store.pack_path(name).unlink(missing_ok=True)
    for each in plan.loose:
        Path(each.path).unlink(missing_ok=True)
    for root in list(store.proofs.roots()):
        if root not in live or not store.is_complete(root):
            store.proofs.drop(root)
    _sweep_litter(store.directory)


def _rewrite(store: LocalStore, plan: Plan, meter: Meter) -> list[Pack]:
    meter.expect(sum(len(plan.alive[name]) for name in plan.rewrite))
    builders = {meta: Builder(store.backend, store.algorithm) for meta in (True, False)}
    try:
        for name in plan.rewrite:
            for row in sorted(plan.alive[name], key=lambda row: row.offset):
                builders[objects.is_meta(row.oid)].add(row.oid, _read(store, row.oid))
                meter.advance(1, row.raw)
        return [each for builder in builders.values() for each in builder.finish()]
    finally:
        for builder in builders.values():
            builder.abort()


def _read(store: LocalStore, oid: ObjectId) -> bytes:
    place = store.locate(oid)
    assert not isinstance(place, Path)
    try:
        return bytes(decode(place, store.algorithm))
    except CorruptError as error:
        raise CorruptError(error.message, hint=REMEDY) from None


def _replace_indexes(store: LocalStore, packs: list[Pack]) -> None:
    """One index over `packs` in place of all there are."""
    directory = store.directory / "index"
    old = [name for path in directory.glob("*.idx") if (name := pack.parse_name(path.stem))]
    if packs:
        catalog.publish(directory, *catalog.encode(packs, store.algorithm, old))
    for name in old:
        (directory / Path(catalog.key(name)).name).unlink(missing_ok=True)
    store.catalog.refresh()


def litter(directory: Path) -> Iterator[str]:
    """The temporary files in a store, by their paths."""
    yield from fs.scratch_in(directory)
    for pattern in ("tmp", "index", "complete", "projects", "loose/*/*", "remotes/*", "remotes/*/*", "runs/*"):
        for place in directory.glob(pattern):
            yield from fs.scratch_in(place)


def _sweep_litter(directory: Path) -> None:
    for path in fs.scratch_in(directory / "tmp"):  # their writers hold the store's lock, which is ours
        fs.remove(path)
    for path in litter(directory):
        fs.discard(path)
