"""A remote's state: what it is, where its objects lie, and which roots are complete there (docs/formats.md)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from vcs_ml import fs, locks
from vcs_ml.errors import CorruptError, RemoteError, UserError
from vcs_ml.hashing import SHA256, Algorithm
from vcs_ml.store import catalog, chunk, objects, pack, recipe, records, threads
from vcs_ml.store.catalog import Catalog, Index
from vcs_ml.store.listing import LATEST, Listing, write_latest
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Pack, Row
from vcs_ml.store.recipe import Recipe
from vcs_ml.store.records import Doomed, Record, Root
from vcs_ml.store.remotes.protocol import Backend, CannotList, Item, NotFound, NotSetUp, is_scratch

T = TypeVar("T")
R = TypeVar("R")

FORMAT = 1
_RECORDS_READ = 64  # newest first; each lists all that its project had, so older ones say nothing new
_READERS = 16
_ALIKE = 8  # recipes that are looked at for chunks that are here already
_LISTINGS = 5  # how often an index may vanish between a listing and its reading


class Remote:
    """One remote as a project sees it: its backend, and a local copy of its immutable index files.

    `cache` is a directory of the local store that belongs to this remote's URL. Everything in it can be lost.
    """

    def __init__(self, name: str, backend: Backend, algorithm: Algorithm, store_directory: Path) -> None:
        self.name = name
        self.backend = backend
        self.algorithm = algorithm
        self.cache = cache_directory(store_directory, backend.url)
        self._catalog: Catalog | None = None
        self._packs: dict[str, int | None] | None = None
        self.index_times: dict[bytes, float] = {}  # of the index files, as of the last `refresh_index`
        self._short: frozenset[bytes] = frozenset()
        self._whole = False
        self.listing = Listing(backend)
        self.is_public = False  # keeps a latest.json up to date
        self._has_latest = False
        self.is_new = False  # set up by this run
        self.is_empty = False  # as a bucket was when it was opened

    def open(self, *, create: bool = False, dry_run: bool = False) -> None:
        """Check that this is a remote of our format and algorithm; `create` makes an empty place one, unless this
        is a `dry_run`.

        Raises RemoteError (gone, not a remote, a newer format, another cut of large files) and UserError (another
        algorithm).
        """
        seen = self.listing.look()
        if create and self.listing.is_advised:
            raise CannotList(
                f"remote {self.name!r}: {self.backend.url} can only be read by you",
                hint="to push, credentials need s3:ListBucket, s3:GetObject and s3:PutObject (docs/remotes.md)",
            )
        self.is_empty = seen is not None and all(is_scratch(item.key) for item in seen)
        self._has_latest = seen is not None and any(item.key == LATEST for item in seen)
        there = seen is None or self.listing.is_advised or any(item.key == "vml.json" for item in seen)
        try:
            raw = self.backend.read("vml.json") if there else None
        except NotFound:
            raw = None
        if raw is None:
            empty = self.is_empty if seen is not None else self.backend.is_empty()
            if not create:
                self._check_not_lost(seen)
                raise (NotSetUp if empty else RemoteError)(
                    f"remote {self.name!r}: {self.backend.url} is not a vml remote (it has no vml.json)",
                    hint="check the address with `vml remote list`; the first `vml push` sets up an empty place",
                )
            if not self._appeared(seen, taken=not empty):
                if dry_run:
                    self.is_new = True
                    return
                self._create()
            raw = self.backend.read("vml.json")
        self.check_format(raw)

    def _appeared(self, seen: Sequence[Item] | None, *, taken: bool) -> bool:
        """Whether there is a vml.json though the listing did not show it: another push has set it up in this moment, or
        the listing is late. RemoteError where there is none and the place is not free.
        """
        if self.backend.stat("vml.json"):
            return True
        self._check_not_lost(seen)
        if (self.cache / "complete.json").exists():
            mounted = "" if "://" in self.backend.url else "is its disk mounted? "
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} was a vml remote, and is none any more (no vml.json)",
                hint=f"{mounted}if it was emptied on purpose: rm -r {self.cache}, and push again",
            )
        if taken:
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} is not empty, and no vml remote (it has no vml.json)",
                hint=f"name an empty or new place: vml remote modify {self.name} url URL",
            )
        return False

    def _check_not_lost(self, seen: Sequence[Item] | None) -> None:
        if self.has_remains(seen):
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} has data of vml, but lost its vml.json",
                hint=f"vml fsck --remote {self.name} --repair makes it again",
            )

    def has_remains(self, seen: Sequence[Item] | None = None) -> bool:
        """Whether there is something that only pushes leave; `seen` is all there is, where that is known."""
        prefixes = () if self.listing.is_advised else ("packs/", "index/", "roots/")
        items = seen if seen is not None else (item for prefix in prefixes for item in self.backend.list(prefix))
        keys = (item.key for item in items)
        return any(pack.parse_key(key) or catalog.parse_key(key) or records.parse_key(key) for key in keys)

    def _create(self) -> None:
        self.is_new = self.backend.write_new("vml.json", format_text(self.algorithm))

    def check_format(self, raw: bytes) -> None:
        """Check what vml.json says; raises as `open` does."""
        try:
            found = json.loads(raw)
            version, name = found["format"], found["algorithm"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url}: vml.json is damaged",
                hint=remedy(self.name),
            ) from None
        if version != FORMAT:
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} was set up by a newer vml (format {version!r})",
                hint="upgrade vml",
            )
        # They say from which size on a blob is in chunks, which readers and gc have to know.
        if found.get("chunking", chunk.PARAMETERS) != chunk.PARAMETERS:
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} cuts large files in another way (chunking in vml.json)",
                hint="upgrade vml, or use another remote",
            )
        if name != self.algorithm.name:
            raise UserError(
                f"remote {self.name!r}: {self.backend.url} names data with {name!r}, this project with "
                f"{self.algorithm.name!r}",
                hint="use another remote, or `vml init --hash` in a new project",
            )

    # ------------------------------------------------------------------ where objects lie

    @property
    def catalog(self) -> Catalog:
        """What is known here of the remote's index, as of the last `refresh_index`."""
        if self._catalog is None:
            try:
                self._catalog = Catalog(self.cache / "index", self.algorithm)
            except CorruptError:  # cut short by a power failure: all of it can be had again
                shutil.rmtree(self.cache / "index")
                self._catalog = Catalog(self.cache / "index", self.algorithm)
        return self._catalog

    def refresh_index(self) -> bool:
        """Bring the index files that are new, drop those that are gone: one LIST, one read for each new one.

        True if anything changed. An index that vanishes after the listing was superseded, by one that the listing
        may not have had: then all is listed again.
        """
        for left in reversed(range(_LISTINGS)):
            try:
                return self._bring_index()
            except NotFound:
                if not left:
                    raise
        return False

    def _bring_index(self) -> bool:
        known, directory = self.catalog, self.cache / "index"
        # In this order: what another process brings here meanwhile must not look as if it was gone over there.
        have = {pack.parse_name(path.stem) for path in directory.iterdir()} if directory.is_dir() else set()
        items = {name: item for item in self.listing.below("index/") if (name := catalog.parse_key(item.key))}
        listed = {name: item.key for name, item in items.items()}
        fresh = sorted(listed.keys() - have)
        contents = _side_by_side(lambda name: self.backend.read(listed[name]), fresh)
        for name, content in zip(fresh, contents, strict=True):
            if SHA256.digest(content)[:16] != name[:16]:
                raise CorruptError(
                    f"remote {self.name!r}: {listed[name]} does not match its name",
                    hint=remedy(self.name),
                )
            catalog.publish(directory, name, content)
            try:
                Index(directory / Path(catalog.key(name)).name, name, self.algorithm).check_order()
            except FileNotFoundError:
                continue  # another process has seen that it is gone over there
            except CorruptError:
                (directory / Path(catalog.key(name)).name).unlink()
                raise
        gone = [old for old in have - listed.keys() if old is not None]
        for old in gone:  # last: what replaces them is here now
            (directory / Path(catalog.key(old)).name).unlink(missing_ok=True)
        known.refresh()
        self.index_times = {name: item.modified for name, item in items.items()}
        self._packs = None
        if gone:
            self._drop_recipes()
        return bool(gone or listed.keys() - have)

    def find(self, oid: ObjectId, *, without: Collection[bytes] = ()) -> tuple[bytes, Row] | None:
        """(pack, row) of an object, as of the last `refresh_index`; a row counts only where its pack is there.

        Packs named in `without` count as absent; those that are known to be cut short are the last resort. The first
        question costs one LIST.
        """
        there = self._list_packs()
        if self._whole and not without and not self._short:
            return self.catalog.find(oid)
        found = None
        for place in self.catalog.places(oid):
            if place[0] not in without and pack.key(place[0]) in there:
                if place[0] not in self._short:
                    return place
                found = found or place
        return found

    def _list_packs(self) -> dict[str, int | None]:
        """The keys of the packs that are there, with their sizes where these are known."""
        if self._packs is None:
            indexed = {pack.key(name) for name in self.catalog.packs()}
            if self.listing.is_advised:
                self._packs = dict.fromkeys(indexed)
            else:
                self._packs = {item.key: item.size for item in self.listing.below("packs/")}
            self._whole = indexed <= self._packs.keys()
        return self._packs

    def find_short(self) -> frozenset[bytes]:
        """Packs that have fewer bytes over there than an index says: they were cut short. 0.4 us an object."""
        there = self._list_packs()
        self._short = frozenset(
            name
            for index in self.catalog.indexes
            for name, size in index.sizes().items()
            if (found := there.get(pack.key(name))) is not None and found < size
        )
        return self._short

    def avoid_short(self) -> bool:
        """Look for packs that were cut short; True if there are others than were known."""
        return not self._short >= self.find_short()

    def publish_index(self, packs: Sequence[Pack]) -> None:
        """Make `packs`, already stored, part of the remote."""
        there = self._packs
        self.store_index(*catalog.encode(packs, self.algorithm))
        if merged := self.catalog.merge():
            self.store_index(*merged)
        if there is not None:
            self._packs = there | dict.fromkeys(pack.key(each.name) for each in packs)

    def store_index(self, name: bytes, content: bytes) -> None:
        """Store one encoded index, here and there."""
        self.backend.write_new(catalog.key(name), content)
        catalog.publish(self.cache / "index", name, content)
        self.catalog.refresh()
        self._packs = None

    def keep_recipe(self, oid: ObjectId, data: bytes) -> None:
        """Keep a copy of a recipe that is over there."""
        path = recipe_path(self.cache, oid)
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == data:
                return
        with contextlib.suppress(OSError):  # a store that is only read from
            fs.make_directory(path.parent)
            fs.write_atomic(path, data, sync=False)

    def kept_recipes(self, oid: ObjectId, like: Recipe) -> Iterator[tuple[ObjectId, Recipe]]:
        """(blob, recipe) of a few of the recipes that were kept of other blobs than `oid`: those with about as many
        chunks as its own.
        """
        found = []
        with contextlib.suppress(OSError), os.scandir(self.cache / "recipes") as entries:
            found = [(entry.stat().st_size, entry.name) for entry in entries if entry.name != oid[:-1].hex()]
        size = recipe.encoded_size(len(like.chunks))
        for _, name in sorted(found, key=lambda each: abs(each[0] - size))[:_ALIKE]:
            with contextlib.suppress(CorruptError, OSError, ValueError):  # what is not ours is left alone
                blob = objects.blob(bytes.fromhex(name))
                raw = recipe_path(self.cache, blob).read_bytes()
                yield blob, recipe.decode(raw, objects.recipe(blob), self.algorithm)

    def _drop_recipes(self) -> None:
        for path in (self.cache / "recipes").glob("*"):
            with contextlib.suppress(ValueError):  # not ours
                if self.catalog.find(objects.recipe(objects.blob(bytes.fromhex(path.name)))) is None:
                    path.unlink(missing_ok=True)

    # ------------------------------------------------------------------ which roots are complete

    def refresh_complete(self) -> dict[ObjectId, str]:
        """Roots that are complete on the remote now, newest last: one LIST, and the newest records that are new."""
        known = self._known()
        listed = records.newest_first(self.listing.below("roots/"))
        now = self.backend.now() if listed else 0.0
        read = {ulid: known[ulid] for ulid, _ in listed if ulid in known}
        fresh = [ulid for ulid, _ in listed[:_RECORDS_READ] if ulid not in read]
        found = _side_by_side(lambda ulid: self._read_record(f"roots/{ulid}.json"), fresh)
        read |= {ulid: record for ulid, record in zip(fresh, found, strict=True) if record}
        trusted = records.believed(listed, read, now)
        roots: dict[ObjectId, str] = {}
        for ulid in reversed(trusted):
            for path, oid in read[ulid].roots:
                roots.pop(oid, None)
                roots[oid] = path
        # What is not believed is remembered only as read.
        kept = {ulid: record if ulid in trusted else record._replace(roots=()) for ulid, record in read.items()}
        if kept != known:
            self._remember(kept, gone=known.keys() - kept.keys())
        return roots

    def _read_record(self, key: str) -> Record | None:
        """None for what is gone; a record that cannot be read names nothing, so nothing is skipped on its word."""
        try:
            raw = self.backend.read(key)
        except NotFound:
            return None
        record = records.parse_record(raw, self.algorithm, source=key)
        return record._replace(commit=None) if record else Record("", None, ())

    def announce(self, record: Record) -> str:
        """Tell every gc that the roots of `record` are in use from now on; nobody takes them for complete yet."""
        ulid = records.new_ulid()
        self.backend.write_new(f"pushing/{ulid}.json", records.encode_record(record, self.algorithm))
        return ulid

    def confirm(self, ulid: str, record: Record, lost: Sequence[Root] = ()) -> None:
        """Write down that the announced roots are complete here now, and which were `lost`."""
        self.backend.write_new(f"roots/{ulid}.json", records.encode_record(record, self.algorithm, lost))
        self._remember({ulid: record._replace(commit=None)})

    def advise(self, *, changed: bool) -> None:
        """Bring latest.json up to date, if this remote has one or is to have one."""
        if (self._has_latest and changed) or (self.is_public and (changed or not self._has_latest)):
            write_latest(self.backend)
            self._has_latest = True

    def _known(self) -> dict[str, Record]:
        return records.remembered(self.cache / "complete.json", self.algorithm)

    def _remember(self, read: Mapping[str, Record], *, gone: Collection[str] = ()) -> None:
        """Add to what is known here, which others add to at the same time, and drop the records that are gone."""
        with contextlib.suppress(OSError):  # a store that is only read from: then it is asked for each time
            fs.make_directory(self.cache)
            with locks.lock(self.cache / "lock"):
                known = {ulid: record for ulid, record in self._known().items() if ulid not in gone}
                records.remember(self.cache / "complete.json", known | dict(read), self.algorithm)

    # ------------------------------------------------------------------ what gc has said

    def read_gc(self) -> list[tuple[Item, Doomed]]:
        """Every gc file that is there now: one LIST, and those that are new. They never change, so they are kept.

        Raises CorruptError: what a damaged one names is not known, so nothing may be relied on.
        """
        directory = self.cache / "gc"
        found: list[tuple[Item, Doomed]] = []
        names = set()
        for item in self.listing.below("gc/"):
            if not (key := records.parse_key(item.key)):
                continue
            path = directory / f"{key[1]}.json"
            names.add(path.name)
            try:
                found.append((item, records.parse_doomed(path.read_bytes())))
                continue
            except (FileNotFoundError, ValueError):
                pass
            try:
                raw = self.backend.read(item.key)
                found.append((item, records.parse_doomed(raw)))
            except NotFound:
                continue  # all that it named was gone
            except ValueError:
                raise CorruptError(
                    f"remote {self.name!r}: {item.key} is damaged",
                    hint="move it away over there; then vml push --check sends again what may have been deleted",
                ) from None
            with contextlib.suppress(OSError):  # a store that is only read from
                fs.make_directory(directory)
                fs.write_atomic(path, raw, sync=False)
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name not in names and not fs.is_tmp(path.name):
                path.unlink(missing_ok=True)
        return found


def _side_by_side(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """`map`, a few at a time."""
    if len(items) < 2:
        yield from map(work, items)
        return
    with threads.pool(_READERS) as pool:
        for at in range(0, len(items), _READERS):
            yield from pool.map(work, items[at : at + _READERS])


def remedy(name: str) -> str:
    """What to do about damage on a remote."""
    return f"vml fsck --remote {name} --repair --deep, in a clone that has the data"


def format_text(algorithm: Algorithm) -> bytes:
    """What a remote's vml.json holds."""
    content = {"algorithm": algorithm.name, "chunking": chunk.PARAMETERS, "format": FORMAT}
    return json.dumps(content, indent=2).encode() + b"\n"


def cache_directory(store_directory: Path, url: str) -> Path:
    """Where a local store keeps what it knows of the remote at `url`."""
    return store_directory / "remotes" / SHA256.digest(url.encode())[:8].hex()


def recipe_path(cache: Path, oid: ObjectId) -> Path:
    """Where the copy of a remote's recipe lies."""
    return cache / "recipes" / oid[:-1].hex()


def known_complete(cache: Path, algorithm: Algorithm) -> dict[ObjectId, str]:
    """Roots that were complete at the last look, with a path each had; the remote is not asked."""
    known = records.remembered(cache / "complete.json", algorithm)
    return {oid: path for record in known.values() for path, oid in record.roots}
