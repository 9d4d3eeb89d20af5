"""Records of pushes and gc files: which are believed, which are kept, and that none of them can do harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import blob, damaged, node

from vcs_ml.hashing import XXH128
from vcs_ml.store import records
from vcs_ml.store.records import DAY, RETAIN, WEEK, Doomed, Record, Root
from vcs_ml.store.remotes.protocol import Item

A, B = Root("a", blob(b"a")), Root("b/c", node(b"b"))
NOW = 1_000 * DAY
ULIDS = [f"{i:026d}" for i in range(8)]


def listing(*ages: float) -> list[tuple[str, float]]:
    items = [Item(f"roots/{ulid}.json", 1, NOW - age) for ulid, age in zip(ULIDS, ages, strict=False)]
    return records.newest_first(items)


def of(*projects: str) -> dict[str, Record]:
    return {ulid: Record(project, None, (A,)) for ulid, project in zip(ULIDS, projects, strict=False) if project}


@pytest.mark.parametrize(
    ("ages", "projects", "trusted", "kept"),
    [
        ([1 * DAY], "p", [0], [0]),
        ([500 * DAY], "p", [0], [0]),  # a project's latest, for ever
        ([84 * DAY, 1 * DAY], "pp", [1], [0, 1]),  # a week before it expires it is believed no more
        ([91 * DAY, 8 * DAY], "pp", [1], [1]),
        ([91 * DAY, 6 * DAY], "pp", [1], [0, 1]),  # was the latest until six days ago
        ([91 * DAY, 8 * DAY], "pq", [0, 1], [0, 1]),
        ([1 * DAY, 1 * DAY], "pp", [0, 1], [0, 1]),
    ],
)
def test_how_long_a_record_counts(ages: list[float], projects: str, trusted: list[int], kept: list[int]) -> None:
    listed, known = listing(*ages), of(*projects)
    assert sorted(records.believed(listed, known, NOW)) == [ULIDS[i] for i in trusted]
    gone = records.expired(listed, known, NOW)
    assert sorted(ulid for ulid, _ in listed if ulid not in gone) == [ULIDS[i] for i in kept]


def test_an_old_record_is_not_the_latest_while_a_newer_one_is_unread() -> None:
    listed = listing(200 * DAY, 100 * DAY, 95 * DAY)
    assert records.believed(listed, of("p", "", "q"), NOW) == [ULIDS[2]]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from("pqr")), max_size=8), st.data())
def test_what_is_believed_is_kept_for_another_week(history: list[tuple[int, str]], data: st.DataObject) -> None:
    """Whatever is read of it, and whatever is pushed in that week."""
    listed = listing(*(days * DAY for days, _ in history))
    known = of(*(project for _, project in history))
    read = {ulid: record for ulid, record in known.items() if data.draw(st.booleans())}
    trusted = records.believed(listed, read, NOW)
    later = data.draw(st.floats(0, WEEK * 0.99))
    times = data.draw(st.lists(st.floats(0, later), max_size=3))
    news = {f"{'Z' * 25}{i}": NOW + time for i, time in enumerate(times)}
    known |= {ulid: Record(data.draw(st.sampled_from("pqr")), None, (A,)) for ulid in news}
    after = sorted([*listed, *news.items()], key=lambda each: (each[1], each[0]), reverse=True)
    assert not set(trusted) & set(records.expired(after, known, NOW + later))


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record("p", "c0ffee", (A, B))
    assert records.parse_record(records.encode_record(record, XXH128), XXH128, source="x") == record


def test_a_gc_file_is_read_as_it_was_written() -> None:
    doomed = Doomed(frozenset({bytes(24), b"x" * 24}), frozenset({b"y" * 24}))
    assert records.parse_doomed(records.encode_doomed(doomed)) == doomed


@settings(max_examples=200)
@given(st.data())
def test_a_strangers_record_or_gc_file_is_refused_or_whole(data: st.DataObject) -> None:
    good = records.encode_record(Record("p", None, (A, B)), XXH128)
    records.parse_record(data.draw(st.one_of(damaged(good), st.binary(max_size=60))), XXH128, source="x")
    good = records.encode_doomed(Doomed(frozenset({bytes(24)}), frozenset({b"y" * 24})))
    try:
        found = records.parse_doomed(data.draw(st.one_of(damaged(good), st.binary(max_size=60))))
    except ValueError:
        return
    assert all(len(name) == 24 for name in found.packs | found.indexes)


NAME = f"{'0' * 32}-{'0' * 16}"


@pytest.mark.parametrize(
    "content",
    [
        None, [], {}, {"packs": []}, {"packs": 1, "indexes": []}, {"packs": [1], "indexes": []},
        {"packs": ["../../x.pack"], "indexes": []}, {"packs": [f"{NAME}.idx"], "indexes": []},
        {"packs": [None], "indexes": []}, {"packs": [f"packs/00/{NAME}\n.pack"], "indexes": []},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_gc_file_is_refused(content: object) -> None:
    with pytest.raises(ValueError):
        records.parse_doomed(json.dumps(content).encode())


@settings(max_examples=100)
@given(st.data())
def test_what_is_remembered_is_whole_or_nothing(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "complete.json"
    kept = {ULIDS[0]: Record("p", None, (A, B)), ULIDS[1]: Record("q", None, (B,)), ULIDS[2]: Record("", None, ())}
    records.remember(path, kept, XXH128)
    assert records.remembered(path, XXH128) == kept
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    records.remembered(path, XXH128)


def test_another_version_of_the_memory_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "complete.json"
    path.write_text(json.dumps({"records": [ULIDS[0]], "roots": [{"hash": "xxh128:" + "0" * 32, "path": "a"}]}))
    assert records.remembered(path, XXH128) == {}
    assert RETAIN == 90 * DAY
