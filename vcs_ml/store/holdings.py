"""What lies in a local store, every byte of it read: what is good, what is damaged, what is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vcs_ml import fs
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import NAMES, SHA256, Algorithm
from vcs_ml.output import quote
from vcs_ml.progress import Meter
from vcs_ml.store import catalog, inspect, objects, pack, workers
from vcs_ml.store.catalog import Index
from vcs_ml.store.inspect import LocalFile
from vcs_ml.store.local import loose_name
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Row
from vcs_ml.store.proofs import HEAD
from vcs_ml.store.transfer import limit

_PARTS = ("packs", "index", "loose", "complete", "tmp", "quarantine")
_PARALLEL_BYTES = 16 << 20  # below this, a second process costs more than it saves
_PROOF_MAX = 64 << 20
_A_FILE = 20_000  # opening a file costs what reading so many bytes does


class Holdings:
    """What of a store can be relied on, by what was read of it.

    `indexes` are whole and not superseded; `damaged` has for each pack with damage in it the objects that are lost
    there, `tables` the packs whose table is; `gone` are packs that an index names and nothing else knows.
    """

    def __init__(self, directory: Path, algorithm: Algorithm) -> None:
        self.directory, self.algorithm = directory, algorithm
        self.format = ""  # why vml.json is not as it should be
        self.indexes: list[Index] = []
        self.loaded: list[Index] = []  # damaged ones too
        self.bad_indexes: dict[str, str] = {}
        self.packs: dict[bytes, int] = {}  # those that are there, with their sizes
        self.damaged: dict[bytes, dict[ObjectId, str]] = {}
        self.tables: dict[bytes, str] = {}
        self.gone: set[bytes] = set()
        self.unlisted: dict[bytes, set[ObjectId]] = {}
        self.loose: set[str] = set()
        self.bad_loose: dict[str, tuple[ObjectId, str]] = {}
        self.proven: set[ObjectId] = set()
        self.strays: list[str] = []
        self.leftovers = 0
        self.counts = [0, 0, 0, 0, 0]  # packs, indexes, loose files, objects, bytes that were read

    def place(self, oid: ObjectId) -> tuple[bytes, Row] | Path | None:
        """Where good bytes of an object can be read, by the indexes and loose files there are."""
        for index in self.indexes:
            for row in index.find_all(oid):
                if self._is_good(index.packs[row.pack], oid):
                    return index.packs[row.pack], row
        if (name := loose_name(oid, self.algorithm)) in self.loose:
            return self.directory / name
        return None

    def _is_good(self, name: bytes, oid: ObjectId) -> bool:
        return name in self.packs and oid not in self.damaged.get(name, ())

    def __contains__(self, oid: ObjectId) -> bool:
        return self.place(oid) is not None

    def read(self, oid: ObjectId) -> bytes:
        """A node's bytes, verified once more; MissingObject where it is not here or damaged."""
        place = self.place(oid)
        try:
            if place is None:
                raise MissingObject(oid, f"{objects.describe(oid, self.algorithm)} is not here")
            if isinstance(place, Path):
                with LocalFile(place) as file:
                    data = bytes(file.read(0, min(file.size, limit(oid))))
                objects.verify(oid, data, self.algorithm)
                return data
            name, row = place
            with LocalFile(self.directory / pack.key(name)) as file:
                return bytes(pack.decode_object(row, file.read(row.offset, row.stored), self.algorithm))
        except (CorruptError, OSError) as error:  # changed since it was checked
            raise MissingObject(oid, inspect.reason(error)) from None

    def was_here(self, oid: ObjectId, root: ObjectId) -> bool:
        """Whether an index, or a proof of the root that needs it, says that an object is here: it was not left
        elsewhere, it was lost.
        """
        return root in self.proven or any(index.find(oid) for index in self.indexes)

    @property
    def blind(self) -> bool:
        """Whether nobody knows what a damaged pack held."""
        return any(not bad for bad in self.damaged.values())

    def take_proofs(self, roots: Iterable[ObjectId]) -> None:
        """Note which of these roots, none of them complete, `complete/` says are."""
        for root in roots:
            try:
                with LocalFile(self.directory / "complete" / root[:-1].hex()) as file:
                    lines = bytes(file.read(0, min(file.size, _PROOF_MAX))).decode().splitlines()
            except (CorruptError, OSError, UnicodeDecodeError):
                continue
            head, lines = lines[:1], lines[1:]
            # One that names what is gone is not believed by anybody.
            if head == [HEAD.format(len(lines))] and all(os.path.exists(f"{self.directory}/{line}") for line in lines):
                self.proven.add(root)

    def lost(self) -> dict[ObjectId, str]:
        """Damaged objects of which there is no good copy here, and how they are damaged."""
        bad = {oid: why for pack_ in self.damaged.values() for oid, why in pack_.items()}
        bad.update(self.bad_loose.values())
        return {oid: why for oid, why in bad.items() if oid not in self}


# ---------------------------------------------------------------------- what is there


class _Item(NamedTuple):
    """A file to be read."""

    what: str
    path: str
    size: int
    name: bytes


def scan(directory: Path, algorithm: Algorithm, meter: Meter) -> Holdings:
    """Read every byte of a store. Raises UserError where a part of it is a link: it may lead anywhere."""
    for part in _PARTS:
        if os.path.islink(directory / part):
            raise UserError(
                f"{quote(directory / part)} is a symlink: vml does not check what is behind it",
                hint="put the directory itself there; cache.dir may lead to another disk",
            )
    while True:
        found, listed = _scan(directory, algorithm, meter)
        if all((directory / path).exists() for path in listed):
            return found
        # A writer has merged indexes meanwhile: what they say stands in one that was not listed.


def _scan(directory: Path, algorithm: Algorithm, meter: Meter) -> tuple[Holdings, list[str]]:
    """What lies there, and the indexes that were listed."""
    found = Holdings(directory, algorithm)
    items = list(_items(found))
    found.format = check_format(directory) if items or (directory / "vml.json").exists() else ""
    indexes: dict[str, Index] = {}
    listed = [item for item in items if item.what == "index"]
    for item in listed:
        try:
            indexes[item.path] = Index(directory / item.path, item.name, algorithm)
        except (CorruptError, OSError) as error:
            found.bad_indexes[item.path] = inspect.reason(error)
    found.loaded = list(indexes.values())
    _take_in(found, items, indexes, _read(found, items, indexes, meter))
    return found, [item.path for item in listed]


def _items(found: Holdings) -> Iterator[_Item]:
    """The files of a store that are to be read; others are counted as leftovers or strays."""
    own = re.compile(f"loose/({found.algorithm.name}|sha256)/([0-9a-f]{{2}})/([0-9a-f]+)")
    for part in ("index", "packs", "loose"):  # as they are read: a writer makes the pack first, then its index
        for path, st in _files(found.directory, part):
            name = pack.parse_key(path) or catalog.parse_key(path) or b""
            if match := own.fullmatch(path):
                whole = found.algorithm.size if match[1] != SHA256.name else SHA256.size
                digest = bytes.fromhex(match[2] + match[3]) if len(match[3]) % 2 == 0 else b""
                name = digest if len(digest) == whole else b""
            if name and stat.S_ISREG(st.st_mode):
                yield _Item(part.rstrip("s"), path, st.st_size, name)
            elif fs.is_tmp(os.path.basename(path)):
                found.leftovers += 1
            else:
                found.strays.append(path)


def _files(base: Path, part: str) -> Iterator[tuple[str, os.stat_result]]:
    """(path from `base`, stat) of all that lies below a directory and is none itself; links are not followed."""
    pending = [part]
    while pending:
        rel = pending.pop()
        try:
            entries = sorted(os.scandir(base / rel), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            yield rel, os.lstat(base / rel)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{rel}/{entry.name}")
            else:
                yield f"{rel}/{entry.name}", entry.stat(follow_symlinks=False)


def check_format(directory: Path) -> str:
    """Why the store's vml.json says nothing; "" if it does, be it that another vml or algorithm is needed."""
    try:
        with LocalFile(directory / "vml.json") as file:
            content = json.loads(bytes(file.read(0, min(file.size, 1 << 16))))
        good = isinstance(content["format"], int) and content["algorithm"] in NAMES
        return "" if good else "it is damaged"
    except FileNotFoundError:
        return "it is gone"
    except (CorruptError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return "it is damaged"


def _read(found: Holdings, items: Sequence[_Item], indexes: dict[str, Index], meter: Meter) -> list[Any]:
    """Read all items, with a process a core: (number of the item, what was found) of each."""
    listed: dict[bytes, list[Index]] = {}
    for index in indexes.values():
        for name in set(index.packs):
            listed.setdefault(name, []).append(index)

    def work(part: Sequence[int], meter: Meter) -> list[Any]:
        results: list[Any] = []
        for i in part:
            item = items[i]
            if item.what == "pack":
                results.append((i, _read_pack(found, item, listed.get(item.name, ()), meter)))
            elif item.what == "loose":
                node = item.path.startswith("loose/sha256/") and found.algorithm.name != SHA256.name
                path = f"{found.directory}/{item.path}"
                results.append((i, inspect.check_loose(path, item.name, found.algorithm, meter, node=node)))
            elif item.path in indexes:
                results.append((i, inspect.check_index(indexes[item.path], found.directory / item.path)))
            meter.advance(1)
        return results

    meter.expect(len(items), sum(item.size for item in items if item.what != "index"))
    shares = _share([item.size + _A_FILE for item in items])
    return [each for result in workers.fork_map(work, shares, meter) for each in result]


def _share(weights: Sequence[int]) -> list[list[int]]:
    """Numbers of items for each worker."""
    if sum(weights) < _PARALLEL_BYTES or workers.count() == 1:
        return [list(range(len(weights)))]
    loads = [0] * workers.count()
    shares: list[list[int]] = [[] for _ in loads]
    for i in sorted(range(len(weights)), key=weights.__getitem__, reverse=True):
        least = loads.index(min(loads))
        loads[least] += weights[i]
        shares[least].append(i)
    return [share for share in shares if share]


def _read_pack(found: Holdings, item: _Item, listing: Sequence[Index], meter: Meter) -> inspect.PackState:
    try:
        with LocalFile(found.directory / item.path) as file:
            return inspect.check_pack(file, item.name, found.algorithm, listing, meter)
    except (CorruptError, OSError) as error:
        return inspect.unreadable(item.name, inspect.reason(error), listing)


def take_pack(
    found: Holdings, name: bytes, size: int, state: inspect.PackState, same: dict[tuple[bytes, bytes], int]
) -> None:
    """Note what was found in a pack; in `same`, by (pack, index), how many rows of the two agree."""
    why, number, bad, agreeing = state
    found.packs[name] = size
    found.counts[3] += number
    if why:
        found.tables[name] = why
    if why or bad:
        found.damaged[name] = {ObjectId(oid): text for oid, text in bad}
    same.update(((name, index), n) for index, n in agreeing)


def _take_in(found: Holdings, items: Sequence[_Item], indexes: dict[str, Index], results: Iterable[Any]) -> None:
    same: dict[tuple[bytes, bytes], int] = {}  # (pack, index) -> rows that agree
    totals: dict[str, list[int]] = {}
    counts = found.counts
    for i, result in results:
        item = items[i]
        if item.what == "pack":
            take_pack(found, item.name, item.size, result, same)
        elif item.what == "index":
            why, totals[item.path] = result
            if why:
                found.bad_indexes[item.path] = why
        else:
            why, _ = result
            counts[3] += 1
            if why:
                is_blob = item.path.split("/")[1] == found.algorithm.name
                found.bad_loose[item.path] = (objects.blob if is_blob else objects.node)(item.name), why
            else:
                found.loose.add(item.path)
    for i, what in enumerate(("pack", "index", "loose")):
        counts[i] = sum(item.what == what for item in items)
    counts[4] = sum(item.size for item in items)
    judge_indexes(found, indexes, totals, same)
    for name in found.unlisted:
        with contextlib.suppress(CorruptError, OSError), LocalFile(found.directory / pack.key(name)) as file:
            found.unlisted[name] = {row.oid for row in inspect.table_of(name, file, found.algorithm)[1]}


def judge_indexes(
    found: Holdings, indexes: dict[str, Index], totals: dict[str, list[int]], same: dict[tuple[bytes, bytes], int]
) -> None:
    """Which indexes count, and what they say of packs that are not there, or not of those that are."""
    for path, index in indexes.items():
        for name, total in zip(index.packs, totals[path], strict=True):
            if path not in found.bad_indexes and same.get((name, index.name), total) != total:
                found.bad_indexes[path] = f"it does not say of {pack.key(name)} what that pack's own table says"
    good = [index for path, index in indexes.items() if path not in found.bad_indexes]
    old = {name for index in good for name in index.supersedes}
    found.indexes = sorted((index for index in good if index.name not in old), key=len, reverse=True)
    named = {name for index in found.indexes for name in index.packs}
    found.gone = named - found.packs.keys()
    found.unlisted = {name: set() for name in sorted(found.packs.keys() - named)}
