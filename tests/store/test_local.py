"""The local store: what enters it is there for every process, and what is gone is noticed."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import ALGORITHMS, at_once, blob, damaged, files_below, flip, litter, node, put_tree, read_tree, rewrite

from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.store import local, manifest, objects, pack, page
from vcs_ml.store.local import FEW, LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Builder, read_table

MANY = {b"%d" % i: b"content %d" % i for i in range(50)}
SOME = {b"a": b"1", b"b/c": b"2"}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store", XXH128)


def again(store: LocalStore) -> LocalStore:
    """The same store as another process opens it."""
    return LocalStore(store.directory, store.algorithm)


def put(store: LocalStore, *contents: bytes) -> list[ObjectId]:
    with store.batch() as batch:
        for data in contents:
            batch.add(blob(data, store.algorithm), data)
    return [blob(data, store.algorithm) for data in contents]


def kinds(store: LocalStore) -> list[str]:
    """The top directories of all files."""
    return sorted({name.partition("/")[0] for name in files_below(store.directory)})


def check_packs(store: LocalStore) -> None:
    """Every pack can be read without an index, as gc and fsck do."""
    for item in store.backend.list("packs/"):
        name = pack.parse_name(Path(item.key).stem)
        assert name is not None
        read_table(
            name, item.size, lambda at, n, key=item.key: store.backend.read_range(key, at, n), XXH128, source=item.key
        )


# --- Batches -----------------------------------------------------------------------------------------------


def test_few_objects_are_loose_files(store: LocalStore) -> None:
    ids = put(store, *(b"%d" % i for i in range(FEW - 1)))
    assert kinds(store) == [".gitignore", "loose", "vml.json"]
    assert [store.read(oid) for oid in ids] == [b"%d" % i for i in range(FEW - 1)]
    assert not os.stat(store.loose_path(ids[0])).st_mode & 0o222


def test_many_objects_are_packs_and_one_index(store: LocalStore) -> None:
    root = put_tree(store, MANY)
    assert kinds(store) == [".gitignore", "index", "packs", "vml.json"]
    names = files_below(store.directory)
    assert sum(name.startswith("index/") for name in names) == 1
    assert sum(name.startswith("packs/") for name in names) == 2  # nodes lie apart
    assert read_tree(again(store), root.oid) == MANY
    check_packs(store)


@settings(max_examples=30)
@given(
    st.sampled_from(ALGORITHMS),
    st.lists(st.lists(st.one_of(st.binary(max_size=4), st.binary(max_size=2000)), max_size=20), max_size=4),
    st.sampled_from([0, 100, local.PACK_BELOW]),
)
def test_what_is_stored_is_read(
    tmp_path_factory: pytest.TempPathFactory, algorithm: Algorithm, batches: list[list[bytes]], pack_below: int
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("store"), algorithm, pack_below=pack_below)
    stored: dict[ObjectId, bytes] = {}
    for contents in batches:
        with store.batch() as batch:
            for data in contents:
                for oid in (blob(data, algorithm), node(data)):
                    batch.add(oid, data)
                    stored[oid] = data
    for each in (store, again(store)):
        for oid, data in stored.items():
            assert oid in each
            assert each.read(oid) == data
            assert each.size(oid) == len(data)
    assert not litter(store.directory)


def test_what_is_stored_twice_takes_no_more_room(store: LocalStore) -> None:
    put_tree(store, MANY)
    before = files_below(store.directory)
    put_tree(store, MANY)
    put_tree(again(store), MANY)
    assert files_below(store.directory) == before


def test_the_same_object_before_and_behind_a_full_buffer_is_stored_once(store: LocalStore) -> None:
    big = bytes(200 << 10)
    with store.batch() as batch:
        for _ in range(3):
            for i in range(30):
                data = big + b"%d" % i
                batch.add(blob(data), data)
    check_packs(store)
    assert sum(item.size for item in store.backend.list("packs/")) < 7 << 20


def test_a_batch_that_fails_leaves_nothing_visible_and_no_litter(store: LocalStore) -> None:
    with pytest.raises(RuntimeError, match="stop"), store.batch() as batch:
        for i in range(60):
            data = bytes([i]) * (200 << 10)
            batch.add(blob(data), data)
        raise RuntimeError("stop")
    assert not any(blob(bytes([i]) * (200 << 10)) in store for i in range(60))
    assert kinds(store) == [".gitignore", "vml.json"]


def test_small_batches_do_not_pile_up_indexes(store: LocalStore) -> None:
    every = [put(store, *(b"%d %d" % (turn, i) for i in range(FEW))) for turn in range(60)]
    assert sum(name.startswith("index/") for name in files_below(store.directory)) < 40
    fresh = again(store)
    assert all(oid in fresh for ids in every for oid in ids)


# --- Processes ---------------------------------------------------------------------------------------------


def test_what_another_process_wrote_is_found_without_opening_again(store: LocalStore) -> None:
    assert blob(b"0") not in store
    for contents in ([b"0"], [b"%d" % i for i in range(20)]):
        at_once(lambda contents=contents: put(again(store), *contents) and None)
        assert [store.read(blob(data)) for data in contents] == contents


def test_batches_of_many_processes_lose_nothing(store: LocalStore) -> None:
    def write(number: int) -> None:
        mine = again(store)
        for turn in range(8):
            own = [b"%d %d %d" % (number, turn, i) for i in range(12)]
            ids = put(mine, *own, *(b"shared %d %d" % (turn, i) for i in range(12)))
            assert all(oid in mine for oid in ids)

    at_once(*(lambda number=number: write(number) for number in range(4)))
    fresh = again(store)
    for turn in range(8):
        for i in range(12):
            for data in (b"shared %d %d" % (turn, i), *(b"%d %d %d" % (n, turn, i) for n in range(4))):
                assert fresh.read(blob(data)) == data
    assert not litter(store.directory)
    check_packs(store)


def test_trees_of_many_processes_are_complete(store: LocalStore) -> None:
    def write(number: int) -> None:
        mine = again(store)
        for turn in range(4):
            root = put_tree(mine, MANY | {b"own": b"%d" % number, b"turn": b"%d" % turn})
            assert mine.missing(root.oid) == []

    at_once(*(lambda number=number: write(number) for number in range(3)))
    assert not litter(store.directory)


def test_a_store_of_more_packs_than_open_files_can_be_read(store: LocalStore) -> None:
    ids = []
    for i in range(40):
        builder = Builder(store.backend, XXH128)
        builder.add(blob(b"%d" % i), b"%d" % i)
        ids.append(blob(b"%d" % i))
        with store.batch() as batch:
            batch.adopt(builder.finish())

    def read() -> None:
        used = len(os.listdir("/proc/self/fd"))
        fresh = again(store)
        fresh.read(ids[0])
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, used + 30))
        for i, oid in enumerate(ids):
            assert fresh.read(oid) == b"%d" % i

    at_once(read)


# --- Completeness ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("files", [SOME, MANY], ids=["loose", "packed"])
def test_every_file_that_is_removed_by_hand_is_noticed(store: LocalStore, files: dict[bytes, bytes]) -> None:
    root = put_tree(store, files)
    assert store.missing(root.oid) == []
    assert store.missing(root.oid) == []
    for name, content in files_below(store.directory).items():
        if name.startswith(("loose/", "packs/")):
            (store.directory / name).unlink()
            assert store.missing(root.oid) != []
            assert again(store).missing(root.oid) != []
            (store.directory / name).write_bytes(content)
            assert store.missing(root.oid) == []


def test_what_is_missing_is_named_with_its_path(store: LocalStore) -> None:
    root = put_tree(store, SOME)
    store.loose_path(blob(b"2")).unlink()
    assert store.missing(root.oid) == [(blob(b"2"), b"b/c")]
    store.loose_path(root.oid).unlink()
    assert store.missing(root.oid) == [(root.oid, b"")]
    assert store.missing(blob(b"?")) == [(blob(b"?"), b"")]
    assert store.missing(blob(b"1")) == []


def test_with_a_base_only_the_difference_is_looked_up_and_removal_is_still_noticed(store: LocalStore) -> None:
    old = put_tree(store, SOME)
    assert store.missing(old.oid) == []
    new = put_tree(store, SOME | {b"d": b"3"})
    assert store.missing(new.oid, base=old.oid) == []
    assert store.missing(new.oid) == []
    store.loose_path(blob(b"1")).unlink()
    assert store.missing(new.oid, base=old.oid) == [(blob(b"1"), b"a")]
    assert store.missing(new.oid) == [(blob(b"1"), b"a")]


def test_a_tree_remembered_as_it_was_stored_is_not_believed_without_its_files(store: LocalStore) -> None:
    for files in (SOME, MANY):
        root = put_tree(store, files)
        store.remember_stored(root.oid, [])  # what `vml add` does: none of the files is large
        assert store.missing(root.oid) == []
        for name in files_below(store.directory):
            if name.startswith(("loose/", "packs/")):
                (store.directory / name).unlink()
        assert again(store).missing(root.oid) != []


def test_proofs_do_not_grow_with_history(store: LocalStore) -> None:
    files = {b"%d" % i: b"%d" % i for i in range(3)}
    old = put_tree(store, files)
    assert store.missing(old.oid) == []
    for version in range(300):
        new = put_tree(store, files | {b"0": b"version %d" % version})
        assert store.missing(new.oid, base=old.oid) == []
        old = new

    (proof,) = (store.directory / "complete").iterdir()
    assert len(proof.read_text().splitlines()) < 300  # were nothing dropped, 900


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_record_of_completeness_proves_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("store"), XXH128)
    root = put_tree(store, SOME)
    assert store.missing(root.oid) == []
    (record,) = (store.directory / "complete").iterdir()
    good = record.read_bytes()
    store.loose_path(blob(b"2")).unlink()
    record.write_bytes(data.draw(st.one_of(damaged(good), st.integers(0, len(good)).map(lambda n: good[:n]))))
    assert again(store).missing(root.oid) == [(blob(b"2"), b"b/c")]


def test_a_pack_removed_by_hand_can_be_stored_again(store: LocalStore) -> None:
    root = put_tree(store, MANY)
    for name in files_below(store.directory / "packs"):
        (store.directory / "packs" / name).unlink()
    fresh = again(store)
    assert blob(b"content 1") not in fresh
    with pytest.raises(MissingObject):
        fresh.read(blob(b"content 1"))
    put_tree(fresh, MANY)
    assert read_tree(fresh, root.oid) == MANY
    assert read_tree(again(store), root.oid) == MANY


# --- Damage ------------------------------------------------------------------------------------------------


def test_damaged_objects_are_not_read(store: LocalStore) -> None:
    (loose,) = put(store, b"loose")
    packed = put(store, *MANY.values())
    flip(store.loose_path(loose), 2)
    (path,) = (store.directory / "packs").rglob("*.pack")
    flip(path, 2)
    with pytest.raises(CorruptError, match=loose[:-1].hex()):
        store.read(loose)
    with pytest.raises(CorruptError):
        again(store).read(packed[0])
    assert again(store).read(packed[-1]) == MANY[b"49"]


@pytest.mark.parametrize("size", [0, 1, 40, 300])
def test_a_truncated_pack_is_an_error_that_names_it(store: LocalStore, size: int) -> None:
    ids = put(store, *MANY.values())
    (path,) = (store.directory / "packs").rglob("*.pack")
    rewrite(path, path.read_bytes()[:size])
    with pytest.raises(CorruptError, match=path.name):
        again(store).read(ids[-1])


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_index_gives_right_bytes_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("store"), XXH128)
    ids = put(store, *MANY.values())
    (path,) = (store.directory / "index").iterdir()
    rewrite(path, data.draw(damaged(path.read_bytes())))
    for oid, content in zip(ids, MANY.values(), strict=True):
        try:
            assert again(store).read(oid) == content
        except (CorruptError, MissingObject):
            continue


@settings(max_examples=60)
@given(
    st.one_of(
        st.binary(max_size=40), st.builds(lambda v: json.dumps(v).encode(), st.dictionaries(st.text(), st.integers()))
    )
)
def test_a_strangers_format_file_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "vml.json").write_bytes(raw)
    with pytest.raises(UserError):
        LocalStore(tmp_path, XXH128)


def test_another_algorithm_or_a_newer_format_is_refused(store: LocalStore) -> None:
    put(store, b"1")
    with pytest.raises(UserError, match="names data with xxh128, this project with sha256"):
        LocalStore(store.directory, SHA256)
    (store.directory / "vml.json").chmod(0o644)
    (store.directory / "vml.json").write_text('{"format": 2, "algorithm": "xxh128"}')
    with pytest.raises(UserError, match="newer vml"):
        again(store)


def test_a_reader_of_a_store_that_is_not_there_creates_nothing(store: LocalStore) -> None:
    assert blob(b"") not in store
    assert store.missing(page_of(b"")) == [(page_of(b""), b"")]
    assert not store.directory.exists()


def page_of(data: bytes) -> ObjectId:
    return objects.node(SHA256.digest(data))


def test_the_empty_tree_is_complete_once_stored(store: LocalStore) -> None:
    root = put_tree(store, {})
    assert root.oid == manifest.empty(XXH128)
    assert store.missing(root.oid) == []
    assert page.decode(store.read(root.oid), root.oid, XXH128).count == 0
    assert pack.NAME_BYTES == 24
