"""What a remote says of itself: its identity, its index, the roots that are complete there."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import at_once, blob, damaged, node, rewrite

from vcs_ml.errors import CorruptError, RemoteError, UserError, VmlError
from vcs_ml.hashing import SHA256, XXH128, Buffer
from vcs_ml.store import catalog, pack, records, remote
from vcs_ml.store.pack import RAW, Pack, Row
from vcs_ml.store.records import Record, Root, new_ulid
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Item, NotFound

A, B = Root("a", blob(b"a")), Root("b/c", node(b"b"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "remote").mkdir()
    return tmp_path / "remote"


def clone(place: Path, name: str = "one") -> Remote:
    """The remote as one clone sees it."""
    return Remote("origin", Directory(place), XXH128, place.parent / name)


def created(place: Path, name: str = "one") -> Remote:
    made = clone(place, name)
    made.open(create=True)
    return made


def one(i: int) -> Pack:
    return Pack(i.to_bytes(24, "big"), [Row(blob(b"%d" % i), 0, 0, 1, 1, RAW)])


def record(here: Remote, *roots: Root) -> None:
    made = Record("p", None, roots)
    here.confirm(here.announce(made), made)


# --- vml.json ----------------------------------------------------------------------------------------------


def test_an_empty_place_is_made_a_remote_only_when_asked(place: Path) -> None:
    with pytest.raises(RemoteError, match="not a vml remote"):
        clone(place).open()
    assert list(place.iterdir()) == []
    created(place)
    clone(place).open()
    assert json.loads((place / "vml.json").read_bytes())["algorithm"] == "xxh128"


def test_two_that_set_it_up_at_once_agree(place: Path) -> None:
    at_once(*(lambda: created(place) and None for _ in range(4)))
    clone(place).open()


def test_a_remote_that_lost_its_vml_json_is_not_set_up_again(place: Path) -> None:
    created(place).backend.write_new("packs/ab/x.pack", b"x")
    (place / "vml.json").unlink()
    with pytest.raises(RemoteError, match=r"is not empty, and no vml remote"):
        clone(place).open(create=True)
    (place / f"packs/ab/{'ab' * 16}-{'1' * 16}.pack").write_bytes(b"x")
    for create in (True, False):
        with pytest.raises(RemoteError, match=r"has data of vml, but lost its vml.json"):
            clone(place).open(create=create)
    assert not (place / "vml.json").exists()


@pytest.mark.parametrize("shown", [0, 1])
def test_a_listing_that_is_late_does_not_make_it_set_up_again(place: Path, shown: int) -> None:
    """By a server that would replace what is there."""

    class Late(Directory):
        def peek(self) -> Sequence[Item]:
            return [Item("packs/ab/x.pack", 1, 0.0)] * shown

        def write_new(self, key: str, data: Buffer) -> bool:
            self.replace(key, data)
            return True

    created(place)
    with pytest.raises(UserError, match=r"names data with 'xxh128', this project with 'sha256'"):
        Remote("origin", Late(place), SHA256, place.parent / "other").open(create=True)
    clone(place).open()


def test_another_algorithm_is_refused(place: Path) -> None:
    created(place)
    with pytest.raises(UserError, match=r"names data with 'xxh128', this project with 'sha256'"):
        Remote("origin", Directory(place), SHA256, place.parent / "other").open(create=True)


@settings(max_examples=150)
@given(st.data())
def test_a_strangers_vml_json_is_refused(place: Path, data: st.DataObject) -> None:
    good = b'{"algorithm": "xxh128", "format": 1}'
    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just("xxh128"))
    values = st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["algorithm", "format", "chunking", ""]), inner, max_size=3),
        ),
        max_leaves=6,
    )
    raw = data.draw(
        st.one_of(damaged(good), st.binary(max_size=50), values.map(lambda value: json.dumps(value).encode()))
    )
    (place / "vml.json").write_bytes(raw)
    try:
        clone(place).open(create=True)
    except VmlError:
        return
    found = json.loads(raw)
    assert (found["format"], found["algorithm"]) == (1, "xxh128")


@pytest.mark.parametrize("raw", [b"", b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}", b"\xff", b"{}", b"null"])
def test_a_damaged_vml_json_is_an_error_that_says_so(place: Path, raw: bytes) -> None:
    (place / "vml.json").write_bytes(raw)
    with pytest.raises(RemoteError, match="damaged"):
        clone(place).open()


def test_a_newer_format_asks_for_a_newer_vml(place: Path) -> None:
    (place / "vml.json").write_bytes(b'{"algorithm": "shake", "format": 2}')
    with pytest.raises(RemoteError, match="newer vml"):
        clone(place).open()


def test_another_cut_of_large_files_is_refused(place: Path) -> None:
    created(place)
    content = json.loads((place / "vml.json").read_bytes())
    content["chunking"]["above"] += 1
    (place / "vml.json").chmod(0o644)
    (place / "vml.json").write_text(json.dumps(content))
    with pytest.raises(RemoteError, match="cuts large files in another way"):
        clone(place).open(create=True)
    del content["chunking"]
    (place / "vml.json").write_text(json.dumps(content))
    clone(place).open(create=True)


# --- The index ---------------------------------------------------------------------------------------------


def test_what_one_clone_publishes_another_finds(place: Path) -> None:
    one_, two = created(place), clone(place, "two")
    one_.publish_index([one(1), one(2)])
    assert blob(b"1") in one_.catalog
    assert blob(b"1") not in two.catalog
    two.refresh_index()
    found = two.catalog.find(blob(b"2"))
    assert found is not None
    assert found[0] == one(2).name


def test_an_index_that_is_gone_over_there_is_dropped(place: Path) -> None:
    here = created(place)
    here.publish_index([one(1)])
    for path in (place / "index").iterdir():
        path.unlink()
    assert blob(b"1") in here.catalog
    here.refresh_index()
    assert blob(b"1") not in here.catalog
    assert blob(b"1") not in clone(place).catalog


class Vanishing(Directory):
    """A directory whose indexes are merged, and deleted, just before the n-th is read."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__(path)
        self.times = times

    def read(self, key: str) -> bytes:
        if key.startswith("index/") and self.times:
            self.times -= 1
            names = [name for path in (self.root / "index").iterdir() if (name := pack.parse_name(path.stem))]
            merged = [catalog.Index(self.path(catalog.key(name)), name, XXH128) for name in names]
            self.write_new(*_stored(catalog.encode(catalog.merged_packs(merged), XXH128, names)))
            for name in names:
                self.delete(catalog.key(name))
        return super().read(key)


def _stored(encoded: tuple[bytes, bytes]) -> tuple[str, bytes]:
    return catalog.key(encoded[0]), encoded[1]


@pytest.mark.parametrize("times", [1, 4])
def test_an_index_that_goes_after_the_listing_is_looked_for_again(place: Path, times: int) -> None:
    here = created(place)
    for i in range(3):
        here.publish_index([one(i)])
    fresh = Remote("origin", Vanishing(place, times), XXH128, place.parent / "fresh")
    assert fresh.refresh_index()
    assert all(blob(b"%d" % i) in fresh.catalog for i in range(3))
    assert not fresh.refresh_index()


def test_a_remote_whose_indexes_always_vanish_is_an_error(place: Path) -> None:
    created(place).publish_index([one(1)])
    fresh = Remote("origin", Vanishing(place, 1000), XXH128, place.parent / "fresh")
    with pytest.raises(NotFound):
        fresh.refresh_index()


def test_many_pushes_are_merged_and_nothing_is_deleted_over_there(place: Path) -> None:
    here = created(place)
    for i in range(40):
        here.publish_index([one(i)])
    listed = list(here.backend.list("index/"))
    assert len(listed) == 42
    fresh = clone(place, "fresh")
    fresh.refresh_index()
    for known in (here, fresh):
        assert all(blob(b"%d" % i) in known.catalog for i in range(40))
        assert len(known.catalog.indexes) < 16


def test_clones_that_publish_at_once_lose_nothing(place: Path) -> None:
    created(place)

    def publish(number: int) -> None:
        mine = clone(place, f"clone{number}")
        for i in range(12):
            mine.refresh_index()
            mine.publish_index([one(100 * number + i)])

    at_once(*(lambda number=number: publish(number) for number in range(4)))
    fresh = clone(place, "fresh")
    fresh.refresh_index()
    assert all(blob(b"%d" % (100 * number + i)) in fresh.catalog for number in range(4) for i in range(12))


def test_two_processes_of_one_clone_share_its_cache(place: Path) -> None:
    created(place)

    def publish(number: int) -> None:
        mine = clone(place)
        for i in range(12):
            mine.publish_index([one(100 * number + i)])
            mine.refresh_index()
            assert blob(b"%d" % (100 * number + i)) in mine.catalog

    at_once(*(lambda number=number: publish(number) for number in range(3)))


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_index_is_refused_and_not_kept(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place = tmp_path_factory.mktemp("damaged") / "remote"
    place.mkdir()
    created(place).publish_index([one(1)])
    (path,) = (place / "index").iterdir()
    good = path.read_bytes()
    rewrite(path, data.draw(damaged(good)))
    fresh = clone(place, "fresh")
    with pytest.raises(CorruptError, match="index/"):
        fresh.refresh_index()
    assert not list(fresh.cache.rglob("*.idx"))
    rewrite(path, good)
    fresh.refresh_index()
    assert blob(b"1") in fresh.catalog


@pytest.mark.parametrize("content", [b"", b"VMLI", catalog.encode([one(1)], SHA256)[1]])
def test_a_strangers_index_with_a_right_name_is_refused_and_not_kept(place: Path, content: bytes) -> None:
    here = created(place)
    here.backend.write_new(catalog.key(SHA256.digest(content)[:16] + bytes(8)), content)
    for _ in range(2):
        with pytest.raises(CorruptError):
            here.refresh_index()
        assert not list(here.cache.rglob("*.idx"))


def test_an_index_whose_fan_out_decreases_is_refused(place: Path) -> None:
    """Every search in it would read all of its keys."""
    here = created(place)
    _, content = catalog.encode([one(1), one(2)], XXH128)
    fan = catalog.HEADER.size + 2 * 24
    content = content[:fan] + struct.pack("<255I", *([2, 0] * 128)[:255]) + content[fan + 4 * 255 :]
    here.backend.write_new(catalog.key(SHA256.digest(content)[:16] + bytes(8)), content)
    with pytest.raises(CorruptError, match="fan-out"):
        here.refresh_index()
    assert not list(here.cache.rglob("*.idx"))


def test_what_is_no_index_is_ignored(place: Path) -> None:
    here = created(place)
    here.publish_index([one(1)])
    for key in ("index/readme.txt", "index/x.idx", f"index/{'0' * 32}-{'0' * 16}.bak"):
        here.backend.write_new(key, b"hello")
    for each in (here, clone(place, "fresh")):
        each.refresh_index()
        assert blob(b"1") in each.catalog


def test_a_cache_that_was_cut_short_mends_itself(place: Path) -> None:
    here = created(place)
    here.publish_index([one(1)])
    (path,) = here.cache.rglob("*.idx")
    rewrite(path, path.read_bytes()[:100])
    again = clone(place)
    again.refresh_index()
    assert blob(b"1") in again.catalog


# --- Records of complete roots -----------------------------------------------------------------------------


def test_a_record_is_believed_by_every_clone(place: Path) -> None:
    here, there = created(place), clone(place, "two")
    record(here, A, B, A)
    for each in (here, there, clone(place)):
        assert each.refresh_complete() == {A.oid: "a", B.oid: "b/c"}
    assert remote.known_complete(there.cache, XXH128) == {A.oid: "a", B.oid: "b/c"}


def test_a_record_says_who_and_when(place: Path) -> None:
    here = created(place)
    made = Record("p", "c0ffee", (B, A))
    ulid = here.announce(made)
    assert here.refresh_complete() == {}  # announced, not confirmed
    here.confirm(ulid, made)
    (item,) = here.backend.list("roots/")
    content = json.loads(here.backend.read(item.key))
    assert [root["path"] for root in content["roots"]] == ["a", "b/c"]
    assert (content["project"], content["commit"]) == ("p", "c0ffee")


def test_a_deleted_record_is_not_believed(place: Path) -> None:
    here, there = created(place), clone(place, "two")
    record(here, A)
    record(here, B)
    assert set(there.refresh_complete()) == {A.oid, B.oid}
    gone = next(p for p in (place / "roots").iterdir() if '"a"' in p.read_text())
    gone.unlink()
    for each in (here, there, clone(place)):
        assert set(each.refresh_complete()) == {B.oid}
    (last,) = (place / "roots").iterdir()
    last.unlink()
    for each in (here, there):
        assert each.refresh_complete() == {}
        assert remote.known_complete(each.cache, XXH128) == {}


def test_a_deleted_record_is_not_believed_however_many_came_after(place: Path) -> None:
    here = created(place)
    record(here, A)
    (first,) = (place / "roots").iterdir()
    there = clone(place, "two")
    there.refresh_complete()
    for i in range(70):
        record(here, Root(f"{i}", blob(b"%d" % i)))
    here.refresh_complete()
    there.refresh_complete()
    first.unlink()
    assert A.oid not in here.refresh_complete()
    assert A.oid not in there.refresh_complete()


BAD_RECORDS: list[Any] = [
    None, 1, [], {}, {"roots": 1}, {"roots": None}, {"roots": [1]}, {"roots": ["a"]}, {"roots": [{}]},
    {"roots": {"a": 1}},
    {"roots": [{"hash": 1, "path": "x"}]}, {"roots": [{"hash": "xxh128:../../x", "path": "x"}]},
    {"roots": [{"hash": "sha256:" + "0" * 64, "path": "x"}]}, {"roots": [{"hash": "xxh128:" + "0" * 32}]},
    {"roots": [{"hash": "xxh128:" + "0" * 32 + "\n", "path": "x"}]},
]  # fmt: skip


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[" * 100_000, b"9" * 5000, *map(json.dumps, BAD_RECORDS)])
def test_a_record_that_cannot_be_read_is_not_believed(place: Path, raw: bytes | str) -> None:
    here = created(place)
    record(here, A)
    here.backend.write_new(f"roots/{new_ulid()}.json", raw if isinstance(raw, bytes) else raw.encode())
    here.backend.write_new("roots/readme.json", b"x")
    for each in (here, clone(place, "two")):
        assert each.refresh_complete() == {A.oid: "a"}
        assert each.refresh_complete() == {A.oid: "a"}


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_record_or_memory_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("record") / "remote"
    place.mkdir()
    here = created(place)
    record(here, A)
    (path,) = (place / "roots").iterdir()
    rewrite(path, data.draw(damaged(path.read_bytes())))
    (here.cache / "complete.json").write_bytes(data.draw(damaged((here.cache / "complete.json").read_bytes())))
    for each in (here, clone(place, "two")):
        each.refresh_complete()
        remote.known_complete(each.cache, XXH128)


def test_a_remote_never_asked_is_known_to_have_nothing(place: Path) -> None:
    assert remote.known_complete(place / "nowhere", XXH128) == {}


# --- Identifiers -------------------------------------------------------------------------------------------


def test_ulids_sort_by_time_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for now in (0.0, 1.0, 1.5, 1e9, 2e9, 2e9 + 0.5, 2**47 / 1000):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        made.append(new_ulid())
    assert made == sorted(made)
    assert len({new_ulid() for _ in range(1000)}) == 1000
    assert all(records.parse_key(f"roots/{each}.json") == ("roots", each) for each in made)
