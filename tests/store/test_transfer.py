"""Push and fetch against a real directory: round trips, kills, damage on either side."""

from __future__ import annotations

import os
import resource
import signal
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import (
    Clone,
    at_once,
    blob,
    files_below,
    flip,
    litter,
    pack_with,
    put_tree,
    read_tree,
    rewrite,
    start,
    status_of,
)

from vcs_ml import paths
from vcs_ml.errors import CorruptError, RemoteError, UserError
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.progress import SILENT
from vcs_ml.store import catalog, download, manifest, objects, pack, page, transfer, upload
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.pack import Pack
from vcs_ml.store.records import Root
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.transfer import Need

Files = dict[bytes, bytes]
MANY: Files = {b"%02d/%d" % (i % 5, i): b"content %d " % i * (i + 1) for i in range(60)}
MIXED: Files = MANY | {b"empty": b"", b"large": bytes(range(256)) * (9 << 12), b"zeros": bytes(300_000)}


def pages(clone: Clone, root: Root) -> int:
    return len(list(manifest.closure(root.oid, clone.store.algorithm, clone.store.read)))


def packs_of(place: Path) -> list[Path]:
    return sorted((place / "remote" / "packs").rglob("*.pack"))


def index_names(place: Path) -> list[str]:
    return [name for name in files_below(place / "remote") if name.startswith("index/")]


def records(place: Path) -> list[str]:
    return [name for name in files_below(place / "remote") if name.startswith("roots/")]


# --- Round trips -------------------------------------------------------------------------------------------

NAMES = st.lists(st.sampled_from([b"a", b"b", b"c.x", "é".encode()]), min_size=1, max_size=3).map(b"/".join)
TREES = st.dictionaries(NAMES, st.one_of(st.binary(max_size=20), st.integers(0, 300_000).map(bytes)), max_size=20).map(
    lambda files: {
        path: data for path, data in files.items() if not any(other.startswith(path + b"/") for other in files)
    }
)


@settings(max_examples=25)
@given(st.lists(TREES, min_size=1, max_size=3))
@pytest.mark.parametrize("algorithm", [XXH128, SHA256], ids=lambda each: each.name)
def test_what_is_pushed_is_fetched(
    tmp_path_factory: pytest.TempPathFactory, algorithm: Algorithm, trees: list[Files]
) -> None:
    place = tmp_path_factory.mktemp("trip")
    ours, theirs = Clone(place, "ours", algorithm), Clone(place, "theirs", algorithm)
    for files in trees:  # one version after another
        root = put_tree(ours.store, files)
        ours.push(root)
        assert ours.push(root) == transfer.NOTHING
        theirs.fetch(root)
        assert read_tree(theirs.store, root.oid) == files
        assert theirs.store.missing(root.oid) == []
        assert theirs.fetch(root).objects == 0
        assert theirs.push(root) == transfer.NOTHING
    for directory in ("ours", "theirs", "remote"):
        assert not litter(place / directory)


def test_large_and_small_go_there_and_back(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = put_tree(one.store, MIXED)
    single = Root("model.bin", blob(b"weights"))
    with one.store.batch() as batch:
        batch.add(single.oid, b"weights")
    one.push(root, single)
    two.fetch(root)
    two.fetch_blobs(Need(single.oid, 7, "model.bin"))
    assert read_tree(two.store, root.oid) == MIXED
    assert two.store.read(single.oid) == b"weights"
    assert not litter(tmp_path)


def test_an_edit_sends_and_brings_only_what_differs(one: Clone, two: Clone) -> None:
    old, new = put_tree(one.store, MANY), put_tree(one.store, MANY | {b"new": b"new"})
    one.push(old)
    two.fetch(old)
    assert one.push(new).objects <= 3  # the file, the page that lists it, the root
    assert two.fetch(new).objects == 1
    assert read_tree(two.store, new.oid) == MANY | {b"new": b"new"}


def test_pages_are_fetched_level_by_level_without_the_files(one: Clone, two: Clone) -> None:
    entries = [page.Entry(b"%05d" % i, page.FILE, 0, blob(b"")[:-1]) for i in range(20_000)]
    with one.store.batch() as batch:
        batch.add(blob(b""), b"")
        summary = manifest.build(sorted(entries, key=lambda e: paths.key(e.path)), XXH128, batch.add)
    root = Root("data", summary.root)
    one.push(root)
    two.remote.refresh_index()
    download.fetch_nodes(two.store, two.remote, [root.oid], jobs=2)
    assert page.decode(two.store.read(root.oid), root.oid, XXH128).level >= 1
    assert manifest.load(root.oid, XXH128, two.store.read) == entries
    assert two.store.missing(root.oid) == [(blob(b""), entry.path) for entry in entries]


def test_a_clone_with_the_manifest_alone_can_push_what_it_changed(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = put_tree(one.store, MANY)
    one.push(root)
    two.remote.refresh_index()
    download.fetch_nodes(two.store, two.remote, [root.oid], jobs=2)
    new = b"new"
    entry = page.Entry(b"new", page.FILE, 3, blob(new)[:-1])
    with two.store.batch() as batch:
        batch.add(blob(new), new)
        edited = manifest.edit(root.oid, {b"new": entry}, XXH128, two.store.read, batch.add)
    two.push(Root("data", edited.root))
    three = Clone(tmp_path, "three")
    three.fetch(Root("data", edited.root))
    assert read_tree(three.store, edited.root) == MANY | {b"new": new}


# --- What push believes ------------------------------------------------------------------------------------


def test_a_record_that_was_deleted_is_not_believed(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = put_tree(one.store, MANY)
    one.push(root)
    for name in files_below(tmp_path / "remote"):
        if name != "vml.json":
            (tmp_path / "remote" / name).unlink()
    assert one.push(root).objects > 0
    two.fetch(root)
    assert read_tree(two.store, root.oid) == MANY


def test_a_page_over_there_proves_nothing_about_its_files(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = put_tree(one.store, MANY)
    nodes = [Need(root.oid, -1, "data")]
    upload.push(one.store, one.remote, nodes, jobs=1, meter=SILENT)  # killed before the files, say
    assert one.push(root).objects == len(MANY) + pages(one, root) - 1
    two.fetch(root)
    assert read_tree(two.store, root.oid) == MANY


def test_two_clones_that_push_the_same_at_once_agree(tmp_path: Path) -> None:
    roots = []
    for name in ("one", "two"):
        roots.append(put_tree(Clone(tmp_path, name).store, MIXED))
    at_once(*(lambda name=name: Clone(tmp_path, name).push(roots[0]) and None for name in ("one", "two")))
    assert roots[0] == roots[1]
    three = Clone(tmp_path, "three")
    three.fetch(roots[0])
    assert read_tree(three.store, roots[0].oid) == MIXED


# --- Kills -------------------------------------------------------------------------------------------------


class Dying(Directory):
    """A directory whose process is killed at the n-th thing it makes visible."""

    def __init__(self, path: Path, left: int) -> None:
        super().__init__(path)
        self.left = left

    def path(self, key: str) -> Path:
        if key.startswith(("packs/", "index/", "roots/")) and key.endswith((".pack", ".idx", ".json")):
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().path(key)


@pytest.mark.parametrize("left", range(8))
def test_a_push_that_is_killed_anywhere_goes_on(tmp_path: Path, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "ROUND", 4000)
    monkeypatch.setattr(pack, "TARGET", 4000)
    one = Clone(tmp_path, "one")
    root = put_tree(one.store, MANY)
    whole = len(MANY) + pages(one, root)

    pid = start(lambda: Clone(tmp_path, "one", backend=Dying(tmp_path / "remote", left)).push(root) and None)
    assert status_of(pid) in (-signal.SIGKILL, 0)
    published = len(index_names(tmp_path))
    assert records(tmp_path) == []
    rest = Clone(tmp_path, "one").push(root).objects
    assert rest < whole if published else rest == whole
    two = Clone(tmp_path, "two")
    two.fetch(root)
    assert read_tree(two.store, root.oid) == MANY


def test_a_fetch_that_is_killed_keeps_what_arrived(one: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put_tree(one.store, MANY)
    one.push(root)
    monkeypatch.setattr(download, "ROUND", 4000)

    def fetch() -> None:
        mine = Clone(tmp_path, "two")
        mine.remote.refresh_index()
        mine.remote.backend = Dying(tmp_path / "remote", 9 + len(list((tmp_path / "remote/packs").iterdir())))
        mine.fetch(root)

    assert status_of(start(fetch)) == -signal.SIGKILL
    two = Clone(tmp_path, "two")
    assert two.fetch(root).objects < len(MANY)
    assert read_tree(two.store, root.oid) == MANY


# --- Damage here -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("files", [MANY, {b"00/small": b"s", b"large": bytes(9 << 20)}], ids=["packed", "loose"])
def test_a_damaged_local_object_stops_the_push_and_is_named(one: Clone, tmp_path: Path, files: Files) -> None:
    with one.store.batch() as batch:
        for data in files.values():
            if len(data) > one.store.pack_below:
                one.store.put_loose(blob(data), data)
            else:
                batch.add(blob(data), data)
    root = put_tree(one.store, files)
    victim = max(files, key=lambda path: len(files[path]))
    place = LocalStore(one.store.directory, XXH128).locate(blob(files[victim]))
    if isinstance(place, Path):
        flip(place, len(files[victim]) - 1)
    else:
        (path,) = (p for p in (one.store.directory / "packs").rglob("*.pack") if p.stat().st_size == len(place[0]))
        flip(path, place[1].offset)
    with pytest.raises(CorruptError, match=f"^data/{victim.decode()}: damaged object blob"):
        Clone(tmp_path, "one").push(root)
    # What is good may have arrived, and is named for the next push.
    there = Clone(tmp_path, "two").remote
    there.refresh_index()
    assert not transfer.has(there, blob(files[victim]), len(files[victim]))
    assert records(tmp_path) == []
    assert not litter(tmp_path / "remote")


def test_a_damaged_manifest_stops_the_push_and_its_directory_is_named(one: Clone, tmp_path: Path) -> None:
    root = put_tree(one.store, {b"a": b"1"})
    flip(one.store.loose_path(root.oid), 30)
    with pytest.raises(CorruptError, match="data"):
        one.push(root)
    assert index_names(tmp_path) == records(tmp_path) == []


def test_what_is_neither_here_nor_there_stops_the_push(one: Clone, tmp_path: Path) -> None:
    root = put_tree(one.store, {b"a": b"1", b"b": b"2"})
    one.store.loose_path(blob(b"2")).unlink()
    with pytest.raises(
        MissingObject, match=r"cannot push data/b: .* neither in the local store nor on remote"
    ) as caught:
        one.push(root)
    assert caught.value.hint
    assert packs_of(tmp_path) == records(tmp_path) == []


# --- Damage over there -------------------------------------------------------------------------------------


def pushed(one: Clone, files: Files) -> Root:
    root = put_tree(one.store, files)
    one.push(root)
    return root


def whole_store_is_sound(store: LocalStore) -> None:
    fresh = LocalStore(store.directory, store.algorithm)
    for index in fresh.catalog.indexes:
        for row in index.rows():
            fresh.read(row.oid)
    for name, data in files_below(store.directory).items():
        if name.startswith("loose/xxh128/"):
            assert XXH128.digest(data).hex() == name.removeprefix("loose/xxh128/").replace("/", "")
    assert not [name for name in litter(store.directory) if not name.endswith(".part")]  # of use to the next fetch


@settings(max_examples=25)
@given(st.data())
def test_a_damaged_remote_gives_the_same_files_or_names_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("damage")
    root = pushed(Clone(place, "one"), MANY)
    two = Clone(place, "two")
    path = data.draw(st.sampled_from(packs_of(place)))
    flip(path, data.draw(st.integers(0, path.stat().st_size - 1)))
    try:
        two.fetch(root)
    except CorruptError as error:
        assert path.name in error.message
        assert error.hint
    else:
        assert read_tree(two.store, root.oid) == MANY
    whole_store_is_sound(two.store)


@pytest.mark.parametrize("size", [300_000, 9 << 20], ids=["small", "large"])
def test_a_damaged_object_over_there_is_named_by_its_file(one: Clone, two: Clone, tmp_path: Path, size: int) -> None:
    root = pushed(one, {b"sub/noise": os.urandom(size)})
    flip(max(packs_of(tmp_path), key=lambda path: path.stat().st_size), size // 2)
    with pytest.raises(CorruptError, match=r"^data/sub/noise: .*remote 'origin'"):
        two.fetch(root)
    whole_store_is_sound(two.store)


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_a_truncated_pack_is_an_error(one: Clone, two: Clone, tmp_path: Path, size: int) -> None:
    root = pushed(one, MANY | {b"noise": os.urandom(100_000)})
    path = max(packs_of(tmp_path), key=lambda path: path.stat().st_size)
    rewrite(path, path.read_bytes()[:size])
    with pytest.raises(RemoteError, match="truncated"):
        two.fetch(root)
    whole_store_is_sound(two.store)


def test_a_pack_that_is_gone_is_an_error(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = pushed(one, MANY)
    for path in packs_of(tmp_path):
        path.unlink()
    with pytest.raises(MissingObject, match="is not on remote"):
        two.fetch(root)
    whole_store_is_sound(two.store)


def test_what_a_remote_does_not_have_is_named(one: Clone, two: Clone) -> None:
    root = pushed(one, {b"a": b"1"})
    with pytest.raises(MissingObject, match=r"x/y: blob .* is not on remote 'origin'") as caught:
        two.remote.refresh_index()
        two.fetch_blobs(Need(blob(b"?"), 1, "x", b"y"), Need(blob(b"1"), 1, "x", b"z"))
    assert caught.value.hint
    other = put_tree(one.store, {b"b": b"2"})
    with pytest.raises(MissingObject):
        two.fetch(other)
    assert root.oid not in two.store


def lying(one: Clone, place: Path, **change: int) -> None:
    """Replace the index by one whose rows say something else of all but nodes."""
    (path,) = (place / "remote" / "index").iterdir()
    name = pack.parse_name(path.stem)
    assert name is not None
    packs = catalog.merged_packs([catalog.Index(path, name, XXH128)])
    rows = [
        Pack(p.name, [row if row.oid[-1] == objects.NODE else row._replace(**change) for row in p.rows]) for p in packs
    ]
    path.unlink()
    name, content = catalog.encode(rows, XXH128)
    one.remote.backend.write_new(catalog.key(name), content)


@pytest.mark.parametrize(
    "change",
    [
        {"raw": 1 << 40}, {"raw": 0}, {"raw": 2**64 - 1}, {"stored": 1 << 40}, {"stored": 2**64 - 1}, {"stored": 0},
        {"stored": 0, "raw": 0}, {"offset": 1 << 40}, {"offset": 2**64 - 1}, {"flags": 1}, {"flags": 7},
        {"flags": 1, "raw": 1 << 40}, {"raw": 1 << 40, "stored": 1 << 40},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("size", [1000, 9 << 20], ids=["small", "large"])
def test_a_remote_that_lists_wrong_numbers_is_an_error(
    one: Clone, two: Clone, tmp_path: Path, change: dict[str, int], size: int
) -> None:
    root = pushed(one, {b"noise": os.urandom(size)})
    lying(one, tmp_path, **change)
    with pytest.raises((CorruptError, RemoteError)):
        two.fetch(root)
    whole_store_is_sound(two.store)


def test_a_remote_of_another_algorithm_is_refused(one: Clone, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names data with 'xxh128'"):
        Clone(tmp_path, "other", SHA256)


@pytest.mark.parametrize("limit", [1 << 10])
def test_a_page_larger_than_the_limit_of_streaming_goes_there_and_back(
    one: Clone, two: Clone, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    # Pages may have 16 MiB (page.BYTES_MAX), the limit is 8 MiB: both smaller here, in the same order.
    root = put_tree(one.store, {b"%d" % i * 50: b"" for i in range(6, 40)})
    assert one.store.size(root.oid) > limit
    monkeypatch.setattr(transfer, "LARGE", limit)
    one.push(root)
    two.fetch(root)
    assert len(read_tree(two.store, root.oid)) == 34


def forged(place: Path, contents: Iterable[tuple[objects.ObjectId, bytes]]) -> None:
    """Put objects on the remote that no push would send; they are compressed."""
    backend = Directory(place / "remote")
    builder = pack.Builder(backend, XXH128, zstd=True)
    for oid, data in contents:
        builder.add(oid, data)
    name, content = catalog.encode(builder.finish(), XXH128)
    backend.write_new(catalog.key(name), content)


def in_little_memory(room: int, work: Callable[[], object]) -> None:
    """In a process of its own, with so many bytes more than it has."""

    def limited() -> None:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
        resource.setrlimit(resource.RLIMIT_AS, (mapped + room,) * 2)
        work()

    assert status_of(start(limited)) == 0


def test_pages_that_expand_to_a_lot_are_looked_at_before_more_are_read(one: Clone, two: Clone, tmp_path: Path) -> None:
    raws = [struct.pack("<4sI", b"VMLN", i) + bytes(16 << 20) for i in range(40)]
    nodes = [(objects.node(SHA256.digest(raw)), raw) for raw in raws]
    names = [b"%d" % i for i in range(200)]
    names = [name for name in names if not page.natural_ends(1, page.sort_keys(name))][: len(nodes)]
    children = [page.Child(name, oid, 600, 600) for name, (oid, _) in zip(sorted(names), nodes, strict=True)]
    top = page.encode(1, children, XXH128)
    root = objects.node(SHA256.digest(top))
    forged(tmp_path, [(root, top), *nodes])
    assert sum(path.stat().st_size for path in packs_of(tmp_path)) < 1 << 20
    two.remote.refresh_index()

    def fetch() -> None:
        with pytest.raises(CorruptError):
            download.fetch_nodes(two.store, two.remote, [root], jobs=2)

    in_little_memory(250 << 20, fetch)


def test_many_small_files_that_expand_to_a_lot_take_little_memory(two: Clone, tmp_path: Path) -> None:
    files = [b"%d" % i + bytes(7 << 20) for i in range(18)]
    forged(tmp_path, [(blob(data), data) for data in files])
    needs = [Need(blob(data), len(data), "data") for data in files]
    del files
    two.remote.refresh_index()
    in_little_memory(60 << 20, lambda: two.fetch_blobs(*needs))


# --- Repair ------------------------------------------------------------------------------------------------


def test_a_local_pack_that_was_lost_is_fetched_again(one: Clone, tmp_path: Path) -> None:
    root = pushed(one, MANY)
    for path in (one.store.directory / "packs").rglob("*.pack"):
        path.unlink()
    again = Clone(tmp_path, "one")
    assert again.store.missing(root.oid) != []
    again.fetch(root)
    assert read_tree(again.store, root.oid) == MANY


def test_what_arrived_before_the_damage_is_kept(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = pushed(one, {b"%d" % i: os.urandom(1000) for i in range(50)})
    path = max(packs_of(tmp_path), key=lambda path: path.stat().st_size)
    flip(path, 49_500)
    with pytest.raises(CorruptError, match="data/"):
        two.fetch(root)
    assert len(two.store.missing(root.oid)) == 1


class Failing(Directory):
    """A remote whose packs of chunks cannot be read: that fails with `error`."""

    def __init__(self, path: Path, error: BaseException) -> None:
        super().__init__(path)
        self.error = error
        self.bad = pack.key(pack.parse_name(pack_with(path, objects.CHUNK).stem) or b"")

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if key == self.bad:
            raise self.error
        return super().read_range(key, start, length)


SMALL_AND_LARGE: Files = {b"%d" % i: os.urandom(20_000) for i in range(50)} | {b"large": os.urandom(9 << 20)}


def only_the_large_one_is_lacking(store: LocalStore, root: Root) -> None:
    fresh = LocalStore(store.directory, store.algorithm)
    assert [path for _, path in fresh.missing(root.oid)] == [b"large"]
    indexed = {pack.text_name(name) for name in fresh.catalog.packs()}
    assert {path.stem for path in store.directory.glob("packs/*/*.pack")} <= indexed


@pytest.mark.parametrize(
    "error",
    [RemoteError("fell silent", hint="?"), OSError(28, "No space left on device"), KeyboardInterrupt()],
    ids=["silent", "full", "interrupted"],
)
def test_small_files_stay_where_a_large_one_cannot_be_had(
    one: Clone, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(download, "_PARALLEL_BYTES", 1 << 10)
    root = pushed(one, SMALL_AND_LARGE)

    def fetch() -> None:
        with pytest.raises(type(error)):
            Clone(tmp_path, "two", backend=Failing(tmp_path / "remote", error)).fetch(root)

    assert status_of(start(fetch)) == 0  # in a process of its own, as an interrupt ends one
    only_the_large_one_is_lacking(Clone(tmp_path, "two").store, root)
    again = Clone(tmp_path, "two")
    assert again.fetch(root).objects == 1
    assert read_tree(again.store, root.oid) == SMALL_AND_LARGE


def test_small_files_stay_where_the_chunks_of_a_large_one_are_gone(one: Clone, two: Clone, tmp_path: Path) -> None:
    root = pushed(one, SMALL_AND_LARGE)
    pack_with(tmp_path / "remote", objects.CHUNK).unlink()
    for _ in range(2):
        with pytest.raises(MissingObject, match="large"):
            two.fetch(root)
        only_the_large_one_is_lacking(two.store, root)


@pytest.mark.parametrize("how", ["gone", "truncated"])
def test_files_of_other_packs_stay_where_one_pack_fails(one: Clone, two: Clone, tmp_path: Path, how: str) -> None:
    mine = {b"a/%d" % i: os.urandom(3000) for i in range(20)}
    pushed(one, mine)
    (bad,) = [path for path in packs_of(tmp_path) if path.stat().st_size > 50_000]
    root = pushed(one, mine | {b"b/%d" % i: os.urandom(3000) for i in range(20)})
    bad.unlink() if how == "gone" else rewrite(bad, b"")
    with pytest.raises((MissingObject, RemoteError)):
        two.fetch(root)
    assert sorted(path for _, path in two.store.missing(root.oid)) == sorted(mine)


def test_no_room_for_an_index_leaves_no_packs(one: Clone, two: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pushed(one, MANY)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    two.remote.refresh_index()
    two.store.enter()
    monkeypatch.setattr(catalog, "publish", full)
    with pytest.raises(OSError, match="No space"):
        two.fetch(root)
    assert not list(two.store.directory.glob("packs/*/*.pack"))


def test_a_few_large_files_arrive_whichever_worker_reads_them(
    one: Clone, two: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    files = {b"%d" % i: os.urandom(6 << 20) for i in range(4)}
    root = pushed(one, files)
    two.fetch(root)
    assert read_tree(two.store, root.oid) == files
