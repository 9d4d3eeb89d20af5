"""A remote's state: what it is, where its objects lie, and which roots are complete there (docs/formats.md)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vcs_ml import fs, locks
from vcs_ml.errors import CorruptError, RemoteError, UserError
from vcs_ml.hashing import SHA256, Algorithm
from vcs_ml.store import catalog, objects, pack
from vcs_ml.store.catalog import Catalog, Index
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Pack, Row
from vcs_ml.store.remotes.protocol import Backend, NotFound

FORMAT = 1
# How large blobs are cut is part of a remote's identity: another cut would end all sharing between versions.
CHUNKING = {
    "above": 8 << 20,
    "average": 1 << 20,
    "maximum": 4 << 20,
    "method": "fastcdc",
    "minimum": 256 << 10,
}
_ULID = re.compile(r"roots/([0-9A-HJKMNP-TV-Z]{26})\.json")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RECORDS_READ = 64  # newest first; each lists all that its project had, so older ones say nothing new


class Root(NamedTuple):
    """A tracked file or directory, at the path its pointer gives it."""

    path: str
    oid: ObjectId


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
        self._packs: set[str] | None = None
        self._whole = False
        self.is_new = False  # set up by this run

    def open(self, *, create: bool = False, dry_run: bool = False) -> None:
        """Check that this is a remote of our format and algorithm; `create` makes an empty place one, unless this
        is a `dry_run`.

        Raises RemoteError (gone, not a remote) and UserError (another algorithm, a newer format).
        """
        try:
            raw = self.backend.read("vml.json")
        except NotFound:
            if not create:
                raise RemoteError(
                    f"remote {self.name!r}: {self.backend.url} is not a vml remote (it has no vml.json)",
                    hint="check the address with `vml remote list`; the first `vml push` sets up an empty place",
                ) from None
            self._check_empty()
            if dry_run:
                self.is_new = True
                return
            self._create()
            raw = self.backend.read("vml.json")
        self._check(raw)

    def _check_empty(self) -> None:
        lost = (self.cache / "complete.json").exists()
        taken = not self.backend.is_empty()
        if (lost or taken) and self.backend.stat("vml.json"):
            return  # another push has set it up in this moment
        if lost:
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} was a vml remote, and is none any more (no vml.json)",
                hint=f"is its disk mounted? if it was emptied on purpose: rm -r {self.cache}, and push again",
            )
        if taken:
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} is not empty, and no vml remote (it has no vml.json)",
                hint="name an empty or new directory: vml remote modify NAME url DIRECTORY",
            )

    def _create(self) -> None:
        self.is_new = self.backend.write_new("vml.json", format_text(self.algorithm))

    def _check(self, raw: bytes) -> None:
        try:
            found = json.loads(raw)
            version, name = found["format"], found["algorithm"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url}/vml.json is damaged",
                hint=remedy(self.name),
            ) from None
        if version != FORMAT:
            raise RemoteError(
                f"remote {self.name!r}: {self.backend.url} was set up by a newer vml (format {version!r})",
                hint="upgrade vml",
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

    def refresh_index(self) -> None:
        """Bring the index files that are new, drop those that are gone: one LIST, one read for each new one."""
        known, directory = self.catalog, self.cache / "index"
        # In this order: what another process brings here meanwhile must not look as if it was gone over there.
        have = {catalog.parse_name(path.stem) for path in directory.iterdir()} if directory.is_dir() else set()
        listed = {name: item.key for item in self.backend.list("index/") if (name := _index_name(item.key))}
        for old in have - listed.keys():
            if old is not None:
                (directory / Path(catalog.key(old)).name).unlink(missing_ok=True)
        for name in sorted(listed.keys() - have):
            try:
                content = self.backend.read(listed[name])
            except NotFound:
                continue  # superseded and deleted since the listing
            if SHA256.digest(content)[:16] != name[:16]:
                raise CorruptError(
                    f"remote {self.name!r}: {listed[name]} does not match its name",
                    hint=remedy(self.name),
                )
            catalog.publish(directory, name, content)
            try:
                Index(directory / Path(catalog.key(name)).name, name, self.algorithm)
            except FileNotFoundError:
                continue  # another process has seen that it is gone over there
            except CorruptError:
                (directory / Path(catalog.key(name)).name).unlink()
                raise
        known.refresh()
        self._packs = None

    def find(self, oid: ObjectId) -> tuple[bytes, Row] | None:
        """(pack, row) of an object, as of the last `refresh_index`; a row counts only where its pack is there.

        The first question costs one LIST.
        """
        if self._packs is None:
            self._packs = {item.key for item in self.backend.list("packs/")}
            self._whole = all(pack.key(name) in self._packs for name in self.catalog.packs())
        if self._whole:
            return self.catalog.find(oid)
        return next((place for place in self.catalog.places(oid) if pack.key(place[0]) in self._packs), None)

    def publish_index(self, packs: Sequence[Pack]) -> None:
        """Make `packs`, already stored, part of the remote."""
        self._store_index(*catalog.encode(packs, self.algorithm))
        self._packs = None
        if merged := self.catalog.merge():
            self._store_index(*merged)

    def _store_index(self, name: bytes, content: bytes) -> None:
        self.backend.write_new(catalog.key(name), content)
        catalog.publish(self.cache / "index", name, content)
        self.catalog.refresh()

    # ------------------------------------------------------------------ which roots are complete

    def refresh_complete(self) -> dict[ObjectId, str]:
        """Roots that are complete on the remote now: one LIST, and the newest records that are new."""
        known, roots = self._known()
        records = known
        listed = sorted(m[1] for item in self.backend.list("roots/") if (m := _ULID.fullmatch(item.key)))
        deleted = not records <= set(listed)
        if deleted:
            records, roots = set(), {}  # believe only what still stands
        fresh = [ulid for ulid in listed[-_RECORDS_READ:] if ulid not in records]
        for ulid in fresh:
            roots.update(self._read_record(f"roots/{ulid}.json"))
        # Also those that are among the newest no longer: `roots` rests on them until they are deleted.
        records = records.union(fresh)
        if records != known:
            self._remember(records, roots, anew=deleted)
        return roots

    def _read_record(self, key: str) -> dict[ObjectId, str]:
        try:
            return _parse_roots(json.loads(self.backend.read(key))["roots"], self.algorithm, key)
        except NotFound:
            return {}
        except (ValueError, KeyError, TypeError, RecursionError, UserError):
            return {}  # a record that cannot be read only means that nothing is skipped on its word

    def record_complete(self, roots: Iterable[Root], *, project: str, commit: str | None) -> None:
        """Write down that `roots` are complete here now."""
        ulid = new_ulid()
        listing = [{"hash": objects.format_hash(r.oid, self.algorithm), "path": r.path} for r in sorted(set(roots))]
        content = {
            "commit": commit,
            "gc": [item.key for item in self.backend.list("gc/")],
            "project": project,
            "roots": listing,
            "schema": 1,
        }
        self.backend.write_new(f"roots/{ulid}.json", json.dumps(content, indent=1).encode() + b"\n")
        self._remember({ulid}, {root.oid: root.path for root in roots})

    def _known(self) -> tuple[set[str], dict[ObjectId, str]]:
        return _read_known(self.cache, self.algorithm)

    def _remember(self, records: set[str], roots: dict[ObjectId, str], *, anew: bool = False) -> None:
        """Add to what is known here, which others add to at the same time; `anew`, put this in its place."""
        with contextlib.suppress(OSError):  # a store that is only read from: then it is asked for each time
            fs.make_directory(self.cache)
            with locks.lock(self.cache / "lock"):
                others, known = (set(), {}) if anew else self._known()
                every = {objects.format_hash(oid, self.algorithm): path for oid, path in (known | roots).items()}
                content = {
                    "records": sorted(others | records),
                    "roots": [{"hash": hash, "path": path} for hash, path in every.items()],
                }
                fs.write_atomic(self.cache / "complete.json", json.dumps(content).encode(), sync=False)


def remedy(name: str) -> str:
    """What to do about damage on a remote."""
    return f"vml fsck --remote {name} --repair, in a clone that has the data"


def format_text(algorithm: Algorithm) -> bytes:
    """What a remote's vml.json holds."""
    content = {"algorithm": algorithm.name, "chunking": CHUNKING, "format": FORMAT}
    return json.dumps(content, indent=2).encode() + b"\n"


def cache_directory(store_directory: Path, url: str) -> Path:
    """Where a local store keeps what it knows of the remote at `url`."""
    return store_directory / "remotes" / SHA256.digest(url.encode())[:8].hex()


def known_complete(cache: Path, algorithm: Algorithm) -> dict[ObjectId, str]:
    """Roots that were complete at the last look, with a path each had; the remote is not asked."""
    return _read_known(cache, algorithm)[1]


def _read_known(cache: Path, algorithm: Algorithm) -> tuple[set[str], dict[ObjectId, str]]:
    try:
        content = json.loads((cache / "complete.json").read_bytes())
        return set(content["records"]), _parse_roots(content["roots"], algorithm, "complete.json")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError):
        return set(), {}


def _parse_roots(listing: Any, algorithm: Algorithm, source: str) -> dict[ObjectId, str]:
    return {objects.parse_hash(each["hash"], algorithm, source=source): str(each["path"]) for each in listing}


def _index_name(key: str) -> bytes | None:
    path = Path(key)
    return catalog.parse_name(path.stem) if path.suffix == ".idx" else None


def new_ulid() -> str:
    """26 characters that sort by time: 48 bits of milliseconds, 80 random ones (github.com/ulid/spec)."""
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10))
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
