"""The stat index: what it keeps, what it distrusts, and that losing it costs nothing but time."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.hashing import XXH128
from vcs_ml.paths import is_utf8, problem
from vcs_ml.store import objects
from vcs_ml.store.ingest import STAT_FIELDS, Folder
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace.index import Index

NOW = 10**18
TICK = 20_000_000
names = st.binary(min_size=1, max_size=5).filter(lambda name: b"/" not in name and b"\0" not in name)
paths = (
    st.lists(names, min_size=1, max_size=3)
    .map(b"/".join)
    .filter(lambda path: is_utf8(path) and problem(path.decode()) is None)
)
numbers = st.tuples(*[st.integers(0, 2**62)] * 3, st.integers(0, 2**62), st.sampled_from([0o100644, 0o100755]))
stats = numbers.map(lambda five: array("q", five).tobytes())
digests = st.binary(min_size=16, max_size=16)
files = st.dictionaries(paths, st.tuples(stats, digests), max_size=8)


@given(
    known=files,
    memo=files,
    partial=st.booleans(),
    base=st.none() | st.binary(min_size=32, max_size=32),
    tracked=st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(lambda t: not t or not problem(t)),
)
def test_round_trip(
    tmp_path: Path,
    *,
    known: dict[bytes, tuple[bytes, bytes]],
    memo: dict[bytes, tuple[bytes, bytes]],
    partial: bool,
    base: bytes | None,
    tracked: str,
) -> None:
    index = Index.new(tmp_path, tracked, XXH128)
    index.update(known)
    index.memo, index.partial, index.base = dict(memo), partial, objects.node(base) if base else None
    index.save()
    again = Index.load(tmp_path, tracked, XXH128)
    assert again.loaded
    assert again.files() == known
    assert (again.memo, again.partial, again.base, again.tracked) == (memo, partial, index.base, tracked)
    assert tracked in {each.tracked for each in Index.all(tmp_path, XXH128)}
    again.remove()
    assert not Index.load(tmp_path, tracked, XXH128).loaded


@given(st.data())
def test_damage_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    index = Index.new(tmp_path, "data", XXH128)
    index.update({b"a/b": (bytes(40), b"d" * 16), b"c": (bytes(40), b"e" * 16)})
    index.memo = {b"m": (bytes(40), b"f" * 16)}
    index.save()
    raw = index.path.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged = raw[:at] + data.draw(st.binary(max_size=3)) + raw[at + data.draw(st.integers(0, 3)) :]
    index.path.write_bytes(damaged)
    found = Index.load(tmp_path, "data", XXH128)
    assert not found.loaded or found.files() == index.files()


def test_forgetting_and_replacing(tmp_path: Path) -> None:
    index = Index.new(tmp_path, "data", XXH128)
    one, two = (bytes(40), b"1" * 16), (bytes(40), b"2" * 16)
    index.memo = {b"a/x": one}
    index.update({b"a/x": one, b"a/y": one, b"z": one})
    assert index.memo == {}
    index.update({b"a/y": two}, [b"a/x", b"nosuch"])
    assert index.files() == {b"a/y": two, b"z": one}
    index.update({}, [b"a/y"])
    assert set(index.folders) == {b""}


def five(size: int, mtime: int, ctime: int) -> array[int]:
    return array("q", (size, mtime, ctime, 7, 0o100644))


@pytest.mark.parametrize(
    "mtime, ctime, trusted",
    [
        (NOW - TICK - 1, NOW - TICK - 1, True),
        (NOW - TICK, 0, False),
        (0, NOW - TICK, False),
        (NOW, NOW, False),
        (NOW + 10**15, 0, False),  # a file from the future
    ],
)
def test_what_is_too_fresh_is_not_trusted(mtime: int, ctime: int, trusted: bool) -> None:
    before = five(1, mtime, ctime)
    settled = stat_index.settle(before, NOW, TICK)
    assert (settled == before.tobytes()) == trusted
    assert stat_index.entry(b"a", settled, b"d" * 16).size == 1


def compare(index: Index, folder: Folder, prefix: bytes = b"") -> tuple[list[bytes], list[bytes]]:
    found = index.compare([folder], prefix)
    return [each.path for each in found.changed], [each.path for each in found.deleted]


def test_compare(tmp_path: Path) -> None:
    index = Index.new(tmp_path, "data", XXH128)
    known = {name: (five(1, i, i).tobytes(), b"d" * 16) for i, name in enumerate([b"a", b"b", b"sub/c"])}
    index.update(known)
    same = Folder(b"", [b"a", b"b"], five(1, 0, 0) + five(1, 1, 1))
    assert compare(index, same) == ([], [b"sub/c"])
    assert compare(index, Folder(b"", [b"a", b"n"], five(1, 0, 0) + five(1, 1, 1))) == ([b"n"], [b"b", b"sub/c"])
    assert compare(index, Folder(b"", [b"a"], five(2, 0, 0)), b"a") == ([b"a"], [])
    assert compare(index, Folder(b"sub", [b"c"], five(1, 2, 2)), b"sub") == ([], [])
    assert [each.path for each in index.compare([same], rehash=True).changed] == [b"a", b"b"]
    # a memo is believed for just the stats it was made with
    index.memo = {b"a": (five(2, 5, 5).tobytes(), b"m" * 16)}
    (changed,) = index.compare([Folder(b"", [b"a"], five(2, 5, 5))], b"a").changed
    assert changed.digest == b"m" * 16
    (changed,) = index.compare([Folder(b"", [b"a"], five(2, 5, 6))], b"a").changed
    assert changed.digest is None


def test_the_numbers_of_a_file(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_bytes(b"123")
    found = stat_index.numbers(os.lstat(one))
    assert len(found) == STAT_FIELDS
    assert found[2] == one.stat().st_ctime_ns
    os.link(one, tmp_path / "two")
    assert stat_index.numbers(os.lstat(one))[2] == 0


@pytest.mark.parametrize("tracked", ["/home/victim", "../victim", "data/../../victim", ".git/hooks"])
def test_an_index_that_leads_elsewhere_is_as_good_as_none(tmp_path: Path, tracked: str) -> None:
    index = Index.new(tmp_path, "data", XXH128)
    index.base = objects.node(bytes(32))
    index.save()
    assert Index.load(tmp_path, "data", XXH128).loaded
    index.tracked = tracked
    index.save()
    assert not Index.load(tmp_path, "data", XXH128).loaded
    assert [found.tracked for found in Index.all(tmp_path, XXH128)] == []
