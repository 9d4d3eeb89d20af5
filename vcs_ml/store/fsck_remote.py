"""The check of a remote: its indexes, its packs, and whether what its root records promise is there."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vcs_ml.errors import CorruptError, RemoteError, UserError
from vcs_ml.hashing import NAMES, SHA256, by_code
from vcs_ml.output import count, quote, size
from vcs_ml.progress import Meter
from vcs_ml.store import catalog, inspect, objects, pack, recipe, threads, transfer, workers
from vcs_ml.store.catalog import Index
from vcs_ml.store.fsck import Checked, Info, Problem, Report, damage, named
from vcs_ml.store.holdings import Holdings, judge_indexes, take_pack
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.promises import Record, read_records
from vcs_ml.store.reach import Reach, reach
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.protocol import Backend, NotFound
from vcs_ml.store.strays import RemoteFile, Strays

_PACK_NAME = re.compile(rb"[0-9a-f]{32}-[0-9a-f]{16}")
_INDEX_MAX = 1 << 30
_PROMISED = "promised by a root record, and not there"
_LOST = "promised by a root record before a repair, and not there"
_NAMED = 5  # paths in one line
_SEVERAL = 16  # fewer packs than this are looked at by one process


class RemoteVerdict(NamedTuple):
    """A report, with what it rests on. `useless` are packs that may not be given an index again: damaged, or
    condemned by a gc.
    """

    report: Report
    holdings: Holdings
    reach: Reach
    records: list[Record]
    unreadable: list[str]
    useless: set[bytes]
    strays: Strays


def check_format(remote: Remote) -> str:
    """Why the remote's vml.json says nothing; "" if it does. Raises as `Remote.open` for what is no remote of ours."""
    try:
        raw = remote.backend.read("vml.json")
        content = json.loads(raw)
        good = isinstance(content["format"], int) and content["algorithm"] in NAMES
    except NotFound:
        if remote.has_remains():
            _check_algorithm(remote)
            return "it is gone"
        remote.open()  # which says that this never was a remote
        return ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it is damaged"
    if not good:
        return "it is damaged"
    remote.check_format(raw)
    return ""


def _check_algorithm(remote: Remote) -> None:
    """UserError where an index of another algorithm is there: what belongs to another project is not ours to mend."""
    for item in remote.backend.list("index/"):
        if catalog.parse_key(item.key) and item.size >= catalog.HEADER.size:
            magic, _, code, *_ = catalog.HEADER.unpack(remote.backend.read_range(item.key, 0, catalog.HEADER.size))
            theirs = by_code(code)
            if magic == catalog.MAGIC and theirs and theirs != remote.algorithm:
                raise UserError(
                    f"{remote.backend.url} names data with {theirs.name}, this project with {remote.algorithm.name}",
                    hint="use another remote, or mend this one in a clone of its project",
                )


def check(
    remote: Remote,
    store: LocalStore,
    wanted: Mapping[Root, bool],
    *,
    deep: bool,
    jobs: int,
    meter: Meter,
    damaged: Mapping[bytes, Mapping[ObjectId, str]] | None = None,
) -> RemoteVerdict:
    """Look at every index, pack and root record; with `deep` at every byte. Pages that are also in `store` are read
    there. What is `damaged` in which packs is known. `wanted` is what pointers name, each with whether a plain push
    sends it: what a record promised once must be there, what none ever did is only noted. Raises RemoteError where
    the remote cannot be reached, and as `check_format`.
    """
    found = Holdings(remote.cache, remote.algorithm)
    found.format = check_format(remote)
    records, unreadable = read_records(remote)  # first: what a push promises, it has sent before
    indexes = _read_indexes(remote, found)
    condemned, deleted = (_packs_named(remote.backend, f"gc/{what}/") for what in ("condemned", "deleted"))
    _read_packs(remote, found, indexes, deep=deep, jobs=jobs, meter=meter)
    found.gone -= deleted  # that is how gc takes a pack out of an index
    roots = list(dict.fromkeys(root for record in reversed(records) for root in record.roots))
    once = {root.oid for record in records for root in record.lost} - {root.oid for root in roots}
    lost = [root for root in wanted if root.oid in once]
    promised = [*roots, *lost]
    strays = Strays(remote, found, damaged or {})
    everything = reach(
        [*promised, *wanted],
        remote.algorithm,
        partial(_has, found),
        _reader(remote, store, found, strays),
        partial(_parts, remote, found, strays),
    )
    reached = everything.of(promised)
    spoiled = _take_strays(found, reached, strays)
    problems = [*damage(found, reached), *_missing(found, reached, lost)]
    problems += [Problem("record", key, "it cannot be read") for key in unreadable]
    if problems and check_format(remote) != found.format:  # its disk was taken away, perhaps
        raise RemoteError(f"remote {remote.name!r} went away while it was checked", hint="run the command again")
    checked = Checked(*found.counts)._replace(roots=len({root.oid for root in promised}))
    unpushed = _unpushed(remote, everything, wanted, {root.oid for root in promised})
    report = Report(checked, problems, [*unpushed, *_infos(remote, found, reached, spoiled)])
    return RemoteVerdict(report, found, reached, records, unreadable, condemned | deleted | spoiled, strays)


def _take_strays(found: Holdings, reached: Reach, strays: Strays) -> set[bytes]:
    """Note what strays hold, where something is needed. Those that are damaged and hold nothing that is, as an earlier
    repair leaves them there, are no problem: their names.
    """
    spoiled = set()
    for name in strays.names:
        held = set(strays.rows(name)) if reached.absent else set()
        if strays.is_damaged(name) and held.isdisjoint(reached.absent):
            spoiled.add(name)
            del found.unlisted[name]
            found.damaged.pop(name, None)
            found.tables.pop(name, None)
        else:
            found.unlisted[name] = held
    return spoiled


def _read_indexes(remote: Remote, found: Holdings) -> dict[str, Index]:
    """Every index that can be read, by its key; the local copies become those that are whole over there."""
    directory = remote.cache / "index"
    indexes: dict[str, Index] = {}
    for item in list(remote.backend.list("index/")):
        if not (name := catalog.parse_key(item.key)):
            found.strays.append(item.key)
            continue
        copy = directory / Path(item.key).name
        try:
            if item.size > _INDEX_MAX:
                raise CorruptError("it is larger than anything that vml wrote")
            content = remote.backend.read(item.key)
            if SHA256.digest(content)[:16] != name[:16]:
                raise CorruptError("its bytes do not match its name")
            catalog.publish(directory, name, content)
            indexes[item.key] = Index(copy, name, remote.algorithm)
            found.counts[4] += len(content)
        except NotFound:
            continue  # superseded and deleted since the listing
        except CorruptError as error:
            found.bad_indexes[item.key] = error.message
            copy.unlink(missing_ok=True)
    for copy in directory.glob("*.idx"):
        if f"index/{copy.name}" not in indexes:
            copy.unlink(missing_ok=True)
    found.counts[1] = len(indexes) + len(found.bad_indexes)
    found.loaded = list(indexes.values())
    return indexes


def _read_packs(
    remote: Remote, found: Holdings, indexes: dict[str, Index], *, deep: bool, jobs: int, meter: Meter
) -> None:
    listed: dict[bytes, list[Index]] = {}
    totals: dict[str, list[int]] = {}
    for key, index in indexes.items():
        for name in set(index.packs):
            listed.setdefault(name, []).append(index)
        why, totals[key] = inspect.check_index(index, remote.cache / key)
        if why:
            found.bad_indexes[key] = why
            index.path.unlink(missing_ok=True)
    files: list[tuple[bytes, RemoteFile]] = []
    for item in remote.backend.list("packs/"):
        if pack_name := pack.parse_key(item.key):
            files.append((pack_name, RemoteFile(remote.backend, item.key, item.size)))
        else:
            found.strays.append(item.key)
    meter.expect(len(files), sum(file.size for _, file in files) if deep else 0)
    workers_ = min(workers.count(), -(-len(files) // _SEVERAL)) or 1

    def work(part: Sequence[int], meter: Meter) -> list[tuple[int, inspect.PackState]]:
        def look(i: int) -> tuple[int, inspect.PackState]:
            name, file = files[i]
            state = inspect.check_pack(file, name, remote.algorithm, listed.get(name, ()), meter, deep=deep)
            meter.advance(1)
            return i, state

        with threads.pool(max(jobs // workers_, 1)) as pool:
            return list(pool.map(look, part))

    same: dict[tuple[bytes, bytes], int] = {}
    for part in workers.fork_map(work, [range(at, len(files), workers_) for at in range(workers_)], meter):
        for i, state in part:
            name, file = files[i]
            take_pack(found, name, file.size, state, same)
            found.counts[4] += file.size if deep else 0
    found.counts[0] = len(files)
    judge_indexes(found, indexes, totals, same)


def _packs_named(backend: Backend, prefix: str) -> set[bytes]:
    """Every pack that the files below `prefix` name, in whatever form."""
    texts = (text.decode() for item in backend.list(prefix) for text in _PACK_NAME.findall(_read(backend, item.key)))
    return {name for text in texts if (name := pack.parse_name(text))}


def _read(backend: Backend, key: str) -> bytes:
    try:
        return backend.read(key)
    except NotFound:
        return b""


# ---------------------------------------------------------------------- what is promised


def _reader(remote: Remote, store: LocalStore, found: Holdings, strays: Strays) -> Callable[[ObjectId], bytes]:
    """Nodes from the store where it has them, else from a good place of the remote."""

    def read(oid: ObjectId) -> bytes:
        try:
            return store.read(oid)
        except (MissingObject, CorruptError):
            pass  # the store's damage is not asked for here
        return _read_one(remote, found, strays, oid)

    return read


def _read_one(remote: Remote, found: Holdings, strays: Strays, oid: ObjectId) -> bytes:
    """A node or recipe from a good place of the remote; MissingObject. Damage that is met is noted."""
    place = found.place(oid)
    if not isinstance(place, tuple):
        for stray in strays.places(oid):  # what it names is needed, too
            with contextlib.suppress(CorruptError, RemoteError):
                data = transfer.read_one(remote, *stray)
                inspect.check_form(oid, data, remote.algorithm)
                return data
        raise MissingObject(oid, f"{objects.describe(oid, remote.algorithm)} is not on {remote.name}")
    name, row = place
    try:
        data = transfer.read_one(remote, name, row)
        inspect.check_form(oid, data, remote.algorithm)
        return data
    except CorruptError as error:
        found.damaged.setdefault(name, {})[oid] = error.message
        raise MissingObject(oid, error.message) from None


def _has(found: Holdings, oid: ObjectId) -> bool:
    """Whether a pack that is there holds an object, of a size that it can have."""
    place = found.place(oid)
    return isinstance(place, tuple) and place[1].raw <= transfer.limit(oid)


def _parts(remote: Remote, found: Holdings, strays: Strays, blob: ObjectId, size: int) -> list[ObjectId]:
    """What a remote should have of a blob: itself, or where it is large its recipe and the chunks that that names."""
    whole = objects.recipe(blob)
    if size <= transfer.LARGE and (size >= 0 or _has(found, blob)):
        return [blob]
    try:
        data = _read_one(remote, found, strays, whole)
        return [whole, *dict.fromkeys(recipe.decode(data, whole, remote.algorithm).chunks)]
    except (MissingObject, CorruptError):
        known = size >= 0 or found.place(whole) or any(whole in bad for bad in found.damaged.values())
        return [whole if known else blob]


def _missing(found: Holdings, reached: Reach, lost: Collection[Root]) -> Iterator[Problem]:
    known = found.lost().keys() | {oid for held in found.unlisted.values() for oid in held}
    for oid, need in reached.absent.items():
        if oid not in known:
            why = _LOST if reached.by[oid] in lost else _PROMISED
            yield named("missing", need.path, why, oid, reached)


def _unpushed(
    remote: Remote, reached: Reach, wanted: Mapping[Root, bool], promised: Collection[ObjectId]
) -> list[Info]:
    """What pointers name that no record promises, and that is not wholly there."""
    whole = {root.oid for root in reached.whole}
    roots = [root for root in wanted if root.oid not in whole and root.oid not in promised]
    if not roots:
        return []
    paths = sorted({root.path for root in roots})
    shown = ", ".join(map(quote, paths[:_NAMED])) + (" ..." if paths[_NAMED:] else "")
    some = f"{len(roots):,} of {count(len(wanted), 'version')} that pointers name"
    all_commits = "" if all(wanted[root] for root in roots) else " --all-commits"
    hint = f"vml push{all_commits} -r {remote.name}; with --check where it was pushed before"
    return [Info("unpushed", f"not wholly on {remote.name}, and no record says so: {some} ({shown})", hint)]


def _infos(remote: Remote, found: Holdings, reached: Reach, spoiled: Collection[bytes]) -> list[Info]:
    spare = [*spoiled, *(name for name, held in found.unlisted.items() if not held & reached.absent.keys())]
    infos = []
    if spare:
        amount = size(sum(found.packs[name] for name in spare))
        hint = f"vml gc --remote {remote.name} removes {'it' if len(spare) == 1 else 'them'} after the grace"
        infos.append(Info("unlisted", f"{count(len(spare), 'pack')} ({amount}) that no index names", hint))
    if found.strays:
        infos.append(Info("name", f"{count(len(found.strays), 'key')} that vml never wrote, such as {found.strays[0]}"))
    return infos
