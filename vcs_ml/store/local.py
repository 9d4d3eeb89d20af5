"""The local store: packs of small objects, loose files for large ones, and what is known to be complete."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from vcs_ml import fs, locks
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256, Algorithm, Buffer
from vcs_ml.progress import SILENT
from vcs_ml.store import catalog, content, manifest, objects, pack, seal
from vcs_ml.store.catalog import Catalog
from vcs_ml.store.link import SHARING
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Builder, Pack, Row
from vcs_ml.store.proofs import Proofs
from vcs_ml.store.remotes.local import Directory

FORMAT = 1
LOCK = "lock"
PACK_BELOW = 256 << 10
MAPS = 16  # packs mapped at a time: each map keeps a file open
UNMAP = 64 << 20  # bytes read from maps, after which their pages are given back: they count as ours, though none is
FEW = 8  # fewer objects than this in a batch are not worth a pack and an index
REMEDY = "vml fsck --repair brings back what is damaged, from the workspace or a remote"
GATHER = 4 << 20  # bytes of small objects a batch holds before it knows whether they are few


class LocalStore:
    """Objects in one directory, shared by worktrees and, where `cache.dir` says so, by projects.

    Readers take no lock: nothing that is visible ever changes, and a miss is believed only after the
    directory has been looked at again. Writers go through `batch`.
    """

    def __init__(
        self,
        directory: Path,
        algorithm: Algorithm,
        *,
        lock_timeout: float | None = None,
        waiting: Callable[[str], None] | None = None,
        pack_below: int = PACK_BELOW,
        link: Callable[[], Sequence[str]] = lambda: ("reflink", "copy"),
        register: Callable[[], None] | None = None,
        mend: Callable[[Path, bytes], bool] = lambda place, digest: False,
    ) -> None:
        self.directory = directory
        self._directory = str(directory)
        self.algorithm = algorithm
        self._pack_below = min(pack_below, pack.BUFFER >> 1)
        self._link = link
        self._mend = mend
        self._lock = directory / LOCK  # in the store itself: all who share it share the lock
        self._lock_timeout = lock_timeout
        self._waiting = waiting
        self._register = register
        self.backend = Directory(directory)
        self.proofs = Proofs(directory)
        self._catalog: Catalog | None = None
        self._maps: dict[bytes, mmap.mmap] = {}
        self._read = 0  # bytes, since pages of maps were given back
        self._check_format()

    def _check_format(self) -> None:
        path = self.directory / "vml.json"
        try:
            found = json.loads(path.read_bytes())
            version, name = found["format"], found["algorithm"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{path} is damaged", hint=REMEDY) from None
        if version != FORMAT:
            raise UserError(f"{self.directory} was written by a newer vml (format {version})", hint="upgrade vml")
        if name != self.algorithm.name:
            raise UserError(
                f"the store {self.directory} names data with {name}, this project with {self.algorithm.name}",
                hint="give this project another cache.dir",
            )

    @cached_property
    def links(self) -> Sequence[str]:
        """The ways from here into the workspace that work, in order. Found out when somebody asks."""
        return self._link()

    @cached_property
    def shares(self) -> bool:
        """Whether workspace files and objects are one file, where they can be."""
        return self.links[0] in SHARING

    @cached_property
    def pack_below(self) -> int:
        """Blobs up to this size go into packs; none where files are shared, because only a loose file can be."""
        return 0 if self.shares else self._pack_below

    # ------------------------------------------------------------------ reading

    @property
    def catalog(self) -> Catalog:
        """Where packed objects lie."""
        if self._catalog is None:
            try:
                self._catalog = Catalog(self.directory / "index", self.algorithm)
            except CorruptError as error:
                raise CorruptError(error.message, hint=REMEDY) from None
        return self._catalog

    def loose_path(self, oid: ObjectId) -> Path:
        """Where an object lies if it is a file of its own."""
        return self.directory / loose_name(oid, self.algorithm)

    def pack_path(self, name: bytes) -> Path:
        """Where a pack lies."""
        return self.directory / pack.key(name)

    def __contains__(self, oid: ObjectId) -> bool:
        return self._has(oid) or (self.catalog.refresh() and self._has(oid))

    def _has(self, oid: ObjectId) -> bool:
        # Asked for every file of a tree: strings, because a Path costs more than the system call.
        return self._packed(oid) is not None or os.path.exists(f"{self._directory}/{loose_name(oid, self.algorithm)}")

    def lacking(self, oids: Iterable[ObjectId]) -> list[ObjectId]:
        """Those of `oids` that are not here. The directory is looked at again once, not for each."""
        self.catalog.refresh()
        loose = self.has_loose_blobs()
        absent = [
            oid for oid in oids if not (self._has(oid) if loose or oid[-1] != objects.BLOB else self._packed(oid))
        ]
        if absent and self.catalog.refresh():  # gc may have moved them meanwhile
            absent = [oid for oid in absent if not self._has(oid)]
        return absent

    def has_loose_blobs(self) -> bool:
        """False where, as in a fresh clone, a look into the packs is enough to know whether a blob is here."""
        return os.path.isdir(f"{self._directory}/loose/{self.algorithm.name}")

    def is_packed(self, oid: ObjectId) -> bool:
        """Whether a pack that is there holds an object."""
        return self._packed(oid) is not None

    def _packed(self, oid: ObjectId) -> tuple[mmap.mmap, Row] | None:
        for name, row in self.catalog.places(oid):
            try:
                data = self._maps.get(name) or self._map(name)
            except FileNotFoundError:
                continue
            except ValueError:
                raise CorruptError(f"{self.pack_path(name)} is empty", hint=REMEDY) from None
            if row.offset + row.stored > len(data):
                raise CorruptError(f"{self.pack_path(name)} is shorter than its index says", hint=REMEDY)
            return data, row
        return None

    def _map(self, name: bytes) -> mmap.mmap:
        with self.pack_path(name).open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._maps) >= MAPS:
            del self._maps[next(iter(self._maps))]
        self._maps[name] = data
        return data

    def _give_back(self, read: int) -> None:
        self._read += read
        if self._read > UNMAP and hasattr(mmap, "MADV_DONTNEED"):
            self._read = 0
            for data in list(self._maps.values()):
                data.madvise(mmap.MADV_DONTNEED)  # only this process forgets them, the file keeps them

    def locate(self, oid: ObjectId) -> Path | tuple[mmap.mmap, Row]:
        """The loose file, or the pack and row, that holds an object; MissingObject."""
        if found := self._packed(oid):
            self._give_back(found[1].stored)
            return found
        path = self.loose_path(oid)
        if path.exists():
            if path.is_symlink():  # nobody's but a stranger's, and it may lead to what never ends
                raise CorruptError(f"{path} is a link", hint=REMEDY)
            return path
        if self.catalog.refresh() and self._has(oid):
            return self.locate(oid)
        raise MissingObject(
            oid,
            f"{objects.describe(oid, self.algorithm)} is not in the local store",
            hint="vml fetch brings it from a remote that has it",
        )

    def read(self, oid: ObjectId) -> bytes:
        """An object's bytes, verified; MissingObject or CorruptError. Not for large blobs: it is all in memory."""
        place = self.locate(oid)
        try:
            if isinstance(place, Path):
                data = place.read_bytes()
                objects.verify(oid, data, self.algorithm)
                return data
            return bytes(decode(place, self.algorithm))
        except CorruptError as error:
            raise CorruptError(error.message, hint=REMEDY) from None

    def holds(self, oid: ObjectId) -> bool:
        """Whether an object is here and its bytes are what it names: they are read."""
        try:
            place = self.locate(oid)
            if not isinstance(place, Path):
                decode(place, self.algorithm)
                return True
        except (MissingObject, CorruptError):
            return False
        hasher = self.algorithm.new() if oid[-1] == objects.BLOB else SHA256.new()
        with place.open("rb") as file:
            while window := file.read(GATHER):
                hasher.update(window)
        return hasher.digest() == oid[:-1]

    def unsafe(self, oids: Iterable[ObjectId]) -> list[ObjectId]:
        """Those of `oids` that are not here, or damaged by a write to a linked file; only what shows one is read."""
        wanted = list(oids)
        gone = set(absent := self.lacking(wanted))
        return absent + [oid for oid in wanted if oid not in gone and self.is_damaged(oid)]

    def is_damaged(self, oid: ObjectId) -> bool:
        """Whether a write to a file that is linked to it has changed a loose object."""
        return self.was_written(oid) and not self.holds(oid)

    def is_loose(self, oid: ObjectId) -> bool:
        """Whether an object is a file of its own."""
        return os.path.exists(f"{self._directory}/{loose_name(oid, self.algorithm)}")

    def was_written(self, oid: ObjectId) -> bool:
        """Whether an object is a loose file that may have been written to since it was hashed."""
        if self.is_packed(oid):
            return False
        try:
            return not seal.is_intact(os.stat(f"{self._directory}/{loose_name(oid, self.algorithm)}"))
        except FileNotFoundError:
            return False

    def size(self, oid: ObjectId) -> int:
        """An object's size in bytes; MissingObject."""
        place = self.locate(oid)
        return place.stat().st_size if isinstance(place, Path) else place[1].raw

    # ------------------------------------------------------------------ completeness

    def missing(self, root: ObjectId, *, base: ObjectId | None = None) -> list[tuple[ObjectId, bytes]]:
        """What the closure of `root` lacks here: (id, path of the file, or of nothing for a node).

        A tree found complete is remembered with the packs and loose files that make it so; as long as those
        are there, asking again costs one look at each of them and not one at each file of the tree. With a
        `base` that is remembered, only what differs from it is looked up, and `root` is remembered in its place.
        """
        if root[-1] != objects.NODE:
            return [] if root in self else [(root, b"")]
        if self.is_complete(root):
            return []
        if base is not None and base[-1] != objects.NODE:
            base = None
        # One in 256 is looked up whole, for a proof keeps what only older versions needed.
        proof = self.proofs.find(base) if base is not None and root[0] else None
        absent: list[tuple[ObjectId, bytes]] = []
        lines = set(proof or ())
        gone: dict[bytes, bool] = {}

        def look(oid: ObjectId, path: bytes) -> None:
            for name, _ in self.catalog.places(oid):
                if name not in gone:
                    gone[name] = not self.pack_path(name).exists()
                if not gone[name]:
                    lines.add(pack.key(name))
                    return
            if os.path.exists(f"{self._directory}/{loose_name(oid, self.algorithm)}"):
                lines.add(loose_name(oid, self.algorithm))
            else:
                absent.append((oid, path))

        self.catalog.refresh()
        known = base if proof is not None else None
        try:
            for page, entries in manifest.closure(root, self.algorithm, self.read, base=known):
                look(page, b"")
                for entry in entries:
                    look(objects.blob(entry.digest), entry.path)
        except MissingObject as error:
            return [*absent, (error.oid, b"")]
        if not absent:
            self.proofs.keep(root, lines)
            if base is not None:
                self.proofs.drop(base)
        elif self.catalog.refresh():  # gc may have moved them meanwhile
            absent = [(oid, path) for oid, path in absent if not self._has(oid)]
        return absent

    def is_complete(self, root: ObjectId) -> bool:
        """Whether a tree is remembered as complete, and the files that make it so are there; nothing is looked up."""
        return self.proofs.find(root) is not None

    def remember_stored(self, root: ObjectId, large: Iterable[ObjectId]) -> None:
        """Remember a tree whose every object was just stored: its proof are all packs there are, and the loose
        files of its `large` blobs.
        """
        if root not in self.catalog:  # a handful, all loose: looked at one by one
            self.missing(root)
            return
        packs = (pack.key(name) for name in self.catalog.packs())
        loose = (loose_name(oid, self.algorithm) for oid in large if oid not in self.catalog)
        self.proofs.keep(root, {*packs, *loose})

    # ------------------------------------------------------------------ writing

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every writer of objects out for the body; readers go on."""
        fs.make_directory(self.directory)
        with locks.lock(self._lock, timeout=self._lock_timeout, waiting=self._waiting):
            self.catalog.refresh()
            yield

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Objects that enter together: visible, and durable, when the block ends without an error.

        Where it ends by one, packs that are durable already become visible all the same.
        """
        # Where cache.dir names a directory, others may have files in it.
        (fs.make_ignored if self._register is None else fs.make_directory)(self.directory)
        with locks.lock(self._lock, shared=True, timeout=self._lock_timeout, waiting=self._waiting):
            if not (self.directory / "vml.json").exists():
                self.backend.write_new("vml.json", format_line(self.algorithm))
                self._check_format()
            if self._register is not None:
                self._register()
            # What was seen before the lock was ours may be gone: nothing is left out because of it.
            self._maps.clear()
            self.catalog.refresh()
            batch = Batch(self)
            try:
                yield batch
                batch.publish()
            except BaseException:
                batch.rescue()
                raise
            finally:
                batch.abort()

    def enter(self) -> None:
        """Write down that this project uses the store, before it relies on what others have put there."""
        if self._register is None:
            return
        with contextlib.suppress(OSError):  # a store that may only be read: who writes there is not told of us
            fs.make_directory(self.directory)
            with locks.lock(self._lock, shared=True, timeout=self._lock_timeout, waiting=self._waiting):
                self._register()

    def wait_for(self, fd: int, path: Path, who: str) -> None:
        """Lock an open file of the store that `who` has, as patiently as the store itself."""
        locks.acquire(fd, path, timeout=self._lock_timeout, waiting=self._waiting, who=who)

    def put_loose(self, oid: ObjectId, data: Buffer) -> None:
        """Store one object as a file of its own."""
        path = self.loose_path(oid)
        with contextlib.suppress(FileNotFoundError):
            if seal.is_intact(path.stat()) and path.read_bytes() == data:  # a damaged one is replaced
                return
        fs.make_directory(path.parent)
        self._before_mending(oid, path)
        fs.write_atomic(path, data, mode=0o444)
        seal.put(path)

    def adopt_loose(self, oid: ObjectId, tmp: Path) -> None:
        """Give a finished, synced and sealed temporary file of this store its final place."""
        path = self.loose_path(oid)
        fs.make_directory(path.parent)
        self._before_mending(oid, path)
        tmp.rename(path)
        fs.fsync_dir(path.parent)

    def _before_mending(self, oid: ObjectId, path: Path) -> None:
        """Tell the workspace of a loose object that was written to before it is put right: a symlink to it would
        hold other bytes then. CorruptError if no such link is known, and what was written is stored nowhere else.
        """
        if oid[-1] != objects.BLOB or not path.exists() or seal.is_intact(path.stat()):
            return  # no workspace file is a list of files
        with path.open("rb", buffering=0) as file:
            held = content.digest(file.fileno(), self.algorithm, SILENT)
        if objects.blob(held) == oid or self._mend(path, held) or "symlink" not in self.links:
            return
        if self.unsafe([objects.blob(held)]):
            raise CorruptError(
                f"{objects.describe(oid, self.algorithm)} was written to through a symlink into the store, "
                "and what was written is stored nowhere else",
                hint="vml status names the file; vml add it first, then run the command again",
            )

    def release(self, path: Path) -> None:
        """Tell the workspace of a damaged loose object that is about to be taken away or put right: what was written
        through a symlink to it is the workspace's.
        """
        with path.open("rb", buffering=0) as file:
            self._mend(path, content.digest(file.fileno(), self.algorithm, SILENT))

    def scratch(self) -> Path:
        """A new path for a temporary file on this store's file system."""
        directory = self.directory / "tmp"
        fs.make_directory(directory)
        return directory / fs.tmp_name()


def format_line(algorithm: Algorithm) -> bytes:
    """What a store's vml.json holds."""
    return json.dumps({"algorithm": algorithm.name, "format": FORMAT}).encode() + b"\n"


class Batch:
    """What one command stores: few small objects become loose files, many become packs and one index."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._waiting: dict[ObjectId, bytes] = {}
        self._waiting_bytes = 0
        self._builders: dict[bool, Builder] = {}  # by "is metadata": nodes go to packs of their own
        self._packs: list[Pack] = []
        self._packed: set[ObjectId] = set()

    def add(self, oid: ObjectId, data: bytes) -> None:
        """Store an object that fits in memory; `data` must be what `oid` names."""
        if oid in self._waiting or oid in self._packed or self._store.is_packed(oid):
            return
        if self._store.pack_below == 0:
            self._store.put_loose(oid, data)
            return
        self._waiting[oid] = data
        self._waiting_bytes += len(data)
        if self._waiting_bytes > GATHER:
            self._pack_waiting()

    def adopt(self, packs: Iterable[Pack]) -> None:
        """Take packs that a worker has written into this store's directory."""
        self._packs += packs

    def publish(self) -> None:
        """Make everything visible: one index over the packs of this batch."""
        if self._builders or self._packs or len(self._waiting) >= FEW:
            self._pack_waiting()
        for oid, data in self._waiting.items():
            self._store.put_loose(oid, data)
        for builder in self._builders.values():
            builder.finish()
        self._show()
        self._waiting, self._waiting_bytes = {}, 0

    def _show(self) -> None:
        """Publish an index over all packs that are durable."""
        packs = self._durable()
        if packs:
            directory = self._store.directory / "index"
            catalog.publish(directory, *catalog.encode(packs, self._store.algorithm))
            self._packs, self._builders = [], {}
            self._merge(directory)

    def _durable(self) -> list[Pack]:
        return [*self._packs, *(each for builder in self._builders.values() for each in builder.packs)]

    def _merge(self, directory: Path) -> None:
        known = self._store.catalog
        known.refresh()
        if merged := known.merge():
            catalog.publish(directory, *merged)
            known.refresh()
            for old in known.superseded():
                (directory / Path(catalog.key(old)).name).unlink(missing_ok=True)
            known.refresh()

    def _pack_waiting(self) -> None:
        for oid, data in self._waiting.items():
            meta = objects.is_meta(oid)
            if meta not in self._builders:
                self._builders[meta] = Builder(self._store.backend, self._store.algorithm)
            self._builders[meta].add(oid, data)
            self._packed.add(oid)
        self._waiting, self._waiting_bytes = {}, 0

    def rescue(self) -> None:
        """After an error: publish the packs that are durable; where there is no room for that, give back theirs."""
        self.abort()
        try:
            self._show()
        except OSError:
            self._store.catalog.refresh()
            named = self._store.catalog.packs()  # also by an index that is there and could not be synced
            for each in self._durable():
                if each.name not in named:
                    self._store.pack_path(each.name).unlink(missing_ok=True)

    def abort(self) -> None:
        """Drop what is not in a finished pack."""
        for builder in self._builders.values():
            builder.abort()


def decode(place: tuple[mmap.mmap, Row], algorithm: Algorithm) -> Buffer:
    """The verified bytes of a packed object."""
    data, row = place
    return pack.decode_object(row, memoryview(data)[row.offset : row.offset + row.stored], algorithm)


def loose_name(oid: ObjectId, algorithm: Algorithm) -> str:
    """Where an object lies, from the top of the store, if it is a file of its own."""
    name = algorithm.name if oid[-1] == objects.BLOB else SHA256.name
    digits = oid[:-1].hex()
    return f"loose/{name}/{digits[:2]}/{digits[2:]}"
