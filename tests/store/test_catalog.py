"""Index files: every row is found, nothing else is, merging loses nothing, damage is an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import ALGORITHMS, blob, damaged, no_hang, start, status_of

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.store import catalog, objects
from vcs_ml.store.catalog import HEADER, MERGE_AT, Catalog, Index
from vcs_ml.store.objects import BLOB, CHUNK, NODE, RECIPE, ObjectId
from vcs_ml.store.pack import NAME_BYTES, RAW, ZSTD, Pack, Row


@st.composite
def oids(draw: st.DrawFn, algorithm: Algorithm) -> ObjectId:
    """Ids with much in common, so that parts of one look like another at a wrong place."""
    kind = draw(st.sampled_from([BLOB, NODE, CHUNK, RECIPE]))
    size = objects.digest_size(kind, algorithm)
    letters = st.sampled_from([b"\0", b"\1", b"\2", b"\xff"])
    digest = draw(st.one_of(st.binary(min_size=size, max_size=size), st.lists(letters, min_size=size, max_size=size)))
    return ObjectId((digest if isinstance(digest, bytes) else b"".join(digest)) + bytes([kind]))


@st.composite
def packs(draw: st.DrawFn, algorithm: Algorithm) -> list[Pack]:
    made = []
    for number in range(draw(st.integers(0, 4))):
        rows = []
        for oid in draw(st.lists(oids(algorithm), max_size=8, unique=True)):
            stored = draw(st.integers(0, 2**40))
            flags = draw(st.sampled_from([RAW, ZSTD]))
            raw = stored if flags == RAW else stored + draw(st.integers(0, 2**40))
            rows.append(Row(oid, 0, draw(st.integers(0, 2**40)), stored, raw, flags))
        made.append(Pack(bytes([number]) * NAME_BYTES, rows))
    return made


def places(made: list[Pack]) -> dict[ObjectId, set[tuple[bytes, Row]]]:
    found: dict[ObjectId, set[tuple[bytes, Row]]] = {}
    for each in made:
        for row in each.rows:
            found.setdefault(row.oid, set()).add((each.name, row._replace(pack=0)))
    return found


def ask(index: Index | Catalog, oid: ObjectId) -> tuple[bytes, Row] | None:
    if isinstance(index, Catalog):
        found = index.find(oid)
        return found and (found[0], found[1]._replace(pack=0))
    row = index.find(oid)
    return row and (index.packs[row.pack], row._replace(pack=0))


def opened(directory: Path, name: bytes, content: bytes, algorithm: Algorithm, *, verify: bool = False) -> Index:
    path = directory / "it.idx"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return Index(path, name, algorithm, verify=verify)


@settings(max_examples=150)
@given(st.data(), st.sampled_from(ALGORITHMS))
def test_an_index_finds_what_it_was_made_of_and_nothing_else(
    tmp_path: Path, data: st.DataObject, algorithm: Algorithm
) -> None:
    made = data.draw(packs(algorithm))
    old = data.draw(st.lists(st.binary(min_size=NAME_BYTES, max_size=NAME_BYTES), max_size=3))
    wanted = places(made)
    index = opened(tmp_path, *catalog.encode(made, algorithm, old), algorithm, verify=True)
    assert index.packs == [each.name for each in made]
    assert index.supersedes == sorted(old)
    assert len(index) == sum(len(each.rows) for each in made)
    for oid, where in wanted.items():
        assert ask(index, oid) in where
        assert {(index.packs[row.pack], row._replace(pack=0)) for row in index.find_all(oid)} == where
    payloads = {each.name: sum(row.stored for row in each.rows) for each in made}
    assert index.payloads() == payloads
    for oid in data.draw(st.lists(oids(algorithm), max_size=20)):
        assert (index.find(oid) is not None) == (oid in wanted)
    rows = list(index.rows())
    assert {row.oid for row in rows} == wanted.keys()
    assert all(row in index.find_all(row.oid) for row in rows)


def test_the_same_packs_have_the_same_index(tmp_path: Path) -> None:
    made = [Pack(bytes(24), [Row(blob(b"%d" % i), 0, i, 1, 1, RAW) for i in order]) for order in ([1, 2, 3], [3, 1, 2])]
    assert catalog.encode(made[:1], XXH128)[1] == catalog.encode(made[1:], XXH128)[1]
    assert catalog.encode(made[:1], XXH128)[0] != catalog.encode(made[:1], XXH128)[0]  # a name is never used twice


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda each: each.name)
def test_a_large_index_finds_every_row(tmp_path: Path, algorithm: Algorithm) -> None:
    rows = [Row(blob(b"%d" % i, algorithm), 0, i, i, i, RAW) for i in range(20_000)]
    rows += [Row(objects.node(SHA256.digest(b"%d" % i)), 0, i, i, i, RAW) for i in range(500)]
    index = opened(tmp_path, *catalog.encode([Pack(bytes(24), rows)], algorithm), algorithm)
    assert all(index.find(row.oid) == row for row in rows)
    assert not any(index.find(blob(b"-%d" % i, algorithm)) for i in range(5000))
    assert sorted(index.rows()) == sorted(rows)


# --- Merging -----------------------------------------------------------------------------------------------


def merge(directory: Path, known: Catalog) -> bool:
    """What a writer does after it has published."""
    merged = known.merge()
    if merged is None:
        return False
    catalog.publish(directory, *merged)
    known.refresh()
    for old in known.superseded():
        (directory / Path(catalog.key(old)).name).unlink(missing_ok=True)
    known.refresh()
    return True


@settings(max_examples=25)
@given(st.data(), st.sampled_from(ALGORITHMS))
def test_merging_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, algorithm: Algorithm
) -> None:
    directory = tmp_path_factory.mktemp("index")
    every = [data.draw(packs(algorithm)) for _ in range(data.draw(st.integers(MERGE_AT - 1, MERGE_AT + 4)))]
    names = iter(range(1000))
    every = [[each._replace(name=next(names).to_bytes(NAME_BYTES, "big")) for each in made] for made in every]
    for made in every:
        catalog.publish(directory, *catalog.encode(made, algorithm))
    known = Catalog(directory, algorithm)
    wanted = places([each for made in every for each in made])
    listed = known.packs()
    assert listed == {each.name for made in every for each in made}
    merge(directory, known)
    for reader in (known, Catalog(directory, algorithm)):
        assert reader.packs() == listed
        assert reader.superseded() == []
        for oid, where in wanted.items():
            assert ask(reader, oid) in where


def test_small_indexes_do_not_pile_up(tmp_path: Path) -> None:
    known = Catalog(tmp_path, XXH128)
    for i in range(300):
        catalog.publish(tmp_path, *catalog.encode([one(i)], XXH128))
        known.refresh()
        merge(tmp_path, known)
    assert len(list(tmp_path.iterdir())) < 3 * MERGE_AT
    assert all(blob(b"%d" % i) in known for i in range(300))


def one(i: int) -> Pack:
    return Pack(i.to_bytes(NAME_BYTES, "big"), [Row(blob(b"%d" % i), 0, 0, 1, 1, RAW)])


def test_what_another_process_publishes_and_merges_stays_found(tmp_path: Path) -> None:
    reader, writer = os.pipe()

    def write() -> None:
        known = Catalog(tmp_path, XXH128)
        for i in range(200):
            catalog.publish(tmp_path, *catalog.encode([one(i)], XXH128))
            os.write(writer, b".")
            known.refresh()
            merge(tmp_path, known)

    pid = start(write)
    os.close(writer)
    known, count = Catalog(tmp_path, XXH128), 0
    while news := os.read(reader, 100):
        count += len(news)
        known.refresh()
        assert all(blob(b"%d" % i) in known for i in range(count))
    os.close(reader)
    assert status_of(pid) == 0
    assert count == 200


def test_a_refresh_says_whether_there_is_something_new(tmp_path: Path) -> None:
    known = Catalog(tmp_path / "index", XXH128)
    assert not known.refresh()
    catalog.publish(tmp_path / "index", *catalog.encode([one(1)], XXH128))
    assert blob(b"1") not in known
    assert known.refresh()
    assert blob(b"1") in known
    assert not known.refresh()


def test_two_that_merge_the_same_at_once_lose_nothing(tmp_path: Path) -> None:
    for i in range(MERGE_AT):
        catalog.publish(tmp_path, *catalog.encode([one(i)], XXH128))
    first, second = Catalog(tmp_path, XXH128), Catalog(tmp_path, XXH128)
    merged = second.merge()
    assert merged is not None
    assert merge(tmp_path, first)
    catalog.publish(tmp_path, *merged)
    for known in (first, second):
        known.refresh()
        assert all(blob(b"%d" % i) in known for i in range(MERGE_AT))


# --- Hostile bytes -----------------------------------------------------------------------------------------


def sample(algorithm: Algorithm) -> tuple[bytes, bytes, list[ObjectId]]:
    rows = [Row(blob(b"%d" % i, algorithm), 0, i, 5, 5, RAW) for i in range(20)]
    rows += [Row(objects.node(SHA256.digest(b"%d" % i)), 0, i, 5, 9, ZSTD) for i in range(3)]
    made = [Pack(bytes(24), rows[:11]), Pack(b"\1" * 24, rows[11:])]
    return *catalog.encode(made, algorithm, [b"\2" * 24]), [row.oid for row in rows]


def use(index: Index, wanted: list[ObjectId]) -> None:
    """All that can be asked of an index; what it says may be wrong, for objects are verified, but not absurd."""
    for oid in wanted:
        row = index.find(oid)
        assert row is None or row.oid == oid
    for row in index.rows():
        assert index.packs[row.pack]


@settings(max_examples=300)
@given(st.data(), st.sampled_from(ALGORITHMS))
def test_a_damaged_index_is_refused_when_it_arrives(tmp_path: Path, data: st.DataObject, algorithm: Algorithm) -> None:
    name, good, _ = sample(algorithm)
    bad = data.draw(damaged(good))
    with pytest.raises(CorruptError):
        opened(tmp_path, name, bad, algorithm, verify=True)


@settings(max_examples=400)
@given(st.data(), st.sampled_from(ALGORITHMS))
def test_a_forged_index_ends_in_an_error_or_in_rows(tmp_path: Path, data: st.DataObject, algorithm: Algorithm) -> None:
    name, good, wanted = sample(algorithm)
    if data.draw(st.booleans()):  # of the right length
        changed = bytearray(good)
        for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=6)):
            changed[at] = data.draw(st.sampled_from([0, 1, 2, 8, 16, 32, 255]))
        bad = bytes(changed)
    else:
        bad = data.draw(damaged(good))
    try:
        use(opened(tmp_path, name, bad, algorithm), wanted)
    except CorruptError:
        return


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_index(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CorruptError):
        opened(tmp_path, bytes(24), data, XXH128)


def header(width: int = 16, bits: int = 8, rows: int = 0, packs: int = 0, supersedes: int = 0) -> bytes:
    return HEADER.pack(catalog.MAGIC, catalog.VERSION, XXH128.code, width, bits, rows, packs, supersedes)


def test_an_index_of_nothing_is_one(tmp_path: Path) -> None:
    index = opened(tmp_path, *catalog.encode([], XXH128), XXH128)
    use(index, [blob(b"")])
    assert len(index) == 0


@pytest.mark.parametrize(
    "head",
    [
        header(rows=2**64 - 1),
        header(packs=2**32 - 1, supersedes=2**32 - 1),
        header(bits=255),
        header(bits=0),
        header(width=255, rows=1 << 40),
    ],
)
def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(CorruptError):
        opened(tmp_path, bytes(24), head + bytes(5000), XXH128)


def test_a_fan_out_that_leads_out_of_the_keys_finds_nothing(tmp_path: Path) -> None:
    # The flag, pack, offset and length of the only row spell a key of their own behind the keys.
    row = Row(ObjectId(b"\xff" * 16 + b"\1"), 0, 7, 1 << 24, 1 << 24, RAW)
    name, good = catalog.encode([Pack(bytes(24), [row])], XXH128)
    fan = HEADER.size + NAME_BYTES
    keys = fan + (4 << 8)
    spelled = ObjectId(good[keys + 17 : keys + 34])
    assert spelled[-1] == BLOB
    bad = good[:fan] + (2).to_bytes(4, "little") + good[fan + 4 :]
    try:
        assert opened(tmp_path, name, bad, XXH128).find(spelled) is None
    except CorruptError:
        return


@pytest.mark.parametrize("change", [{"stored": 1 << 62}, {"raw": 4}, {"flags": 7}])
def test_a_row_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    row = Row(blob(b"x"), 0, 0, 5, 5, RAW)._replace(**change)
    with pytest.raises(CorruptError):
        opened(tmp_path, *catalog.encode([Pack(bytes(24), [row])], XXH128), XXH128).find(row.oid)


# --- The directory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".bak", "", ".idx~", ".idx.part"])
def test_a_stray_file_beside_the_indexes_is_ignored(tmp_path: Path, suffix: str) -> None:
    catalog.publish(tmp_path, *catalog.encode([one(1)], XXH128))
    (tmp_path / f"{'0' * 32}-{'0' * 16}{suffix}").write_bytes(b"what is this")
    with no_hang():
        assert blob(b"1") in Catalog(tmp_path, XXH128)


def test_an_index_whose_file_is_gone_is_forgotten(tmp_path: Path) -> None:
    name, content = catalog.encode([one(1)], XXH128)
    catalog.publish(tmp_path, name, content)
    known = Catalog(tmp_path, XXH128)
    (tmp_path / Path(catalog.key(name)).name).unlink()
    known.refresh()
    assert blob(b"1") not in known
