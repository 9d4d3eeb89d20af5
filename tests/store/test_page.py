"""One page of a manifest: the rule that ends it, its golden bytes, and what a reader refuses."""

from __future__ import annotations

import hashlib
import struct
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vcs_ml import paths
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.store import objects, page
from vcs_ml.store.page import Child, Entry

OID = objects.node(bytes(32))
LEAF = [
    Entry(b"a/b", page.FILE, 3, b"1" * 16),
    Entry(b"a/c", page.EXECUTABLE, 0, b"2" * 16),
    Entry("é".encode(), page.SYMLINK, 2**40, b"3" * 16),
]
UPPER = [
    Child(b"a/c", objects.node(b"1" * 32), 2, 3),
    Child("é".encode(), objects.node(b"2" * 32), 1, 2**40),
]


def h(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big")


# --- The rule, as storage.md says it -----------------------------------------------------------------------


def naive_natural(level: int, key: bytes) -> bool:
    return all(h(key) >> bit & 1 == 0 for bit in range(9 * level, 9 * level + 9))


def naive_split(run: list[bytes]) -> list[list[bytes]]:
    if len(run) <= page.PAGE_MAX:
        return [run]
    at = run.index(min(run[:-1], key=lambda key: (h(key), key)))
    return naive_split(run[: at + 1]) + naive_split(run[at + 1 :])


def naive_cut(level: int, keys: list[bytes]) -> list[int]:
    runs: list[list[bytes]] = [[]]
    for key in keys:
        runs[-1].append(key)
        if naive_natural(level, key):
            runs.append([])
    return list(accumulate(len(piece) for run in runs if run for piece in naive_split(run)))


def mine(level: int, count: int) -> list[bytes]:
    """Keys for which h has the nine bits of `level` clear, by trying names."""
    mask = 0x1FF << 9 * level
    return [key for key in (b"%d" % i for i in range(600 * count)) if not h(key) & mask][:count]


@pytest.mark.parametrize("level", range(page.LEVEL_MAX + 1))
def test_natural_ends_are_nine_clear_bits(level: int) -> None:
    keys = [b"%d" % i for i in range(3000)] + mine(level, 3)
    expected = [i for i, key in enumerate(keys, 1) if naive_natural(level, key)]
    assert page.natural_ends(level, keys) == expected
    assert len(expected) >= 3


def test_each_of_the_nine_bits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        def __init__(self, key: bytes) -> None:
            self.key = key

        def digest(self) -> bytes:
            return self.key + bytes(24)

    monkeypatch.setattr(page, "sha256", Fixed)
    for level in range(page.LEVEL_MAX + 1):
        inside = range(9 * level, 9 * level + 9)
        keys = [(1 << bit).to_bytes(8, "big") for bit in range(64)]
        assert page.natural_ends(level, keys) == [bit + 1 for bit in range(64) if bit not in inside]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.integers(1, 9), st.integers(0, 10**6), st.integers(0, 3))
def test_cut_is_the_recursive_rule(count: int, limit: int, salt: int, natural: int) -> None:
    keys = sorted([b"%d.%d" % (salt, i) for i in range(count)] + mine(0, natural))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "PAGE_MAX", limit)
        assert page.cut(0, keys) == naive_cut(0, keys)


def test_cut_of_the_real_limit_without_any_natural_end() -> None:
    keys = [key for key in (b"%06d" % i for i in range(20_000)) if not naive_natural(0, key)]
    ends = page.cut(0, keys)
    assert ends == naive_cut(0, keys)
    assert len(ends) > 4
    assert page.cut(0, keys[:4096]) == [4096]
    assert len(page.cut(0, keys[:4097])) == 2


def test_equal_hashes_split_at_the_smaller_key(monkeypatch: pytest.MonkeyPatch) -> None:
    class Same:
        def __init__(self, key: bytes) -> None: ...
        def digest(self) -> bytes:
            return b"\xff" * 32

    monkeypatch.setattr(page, "sha256", Same)
    monkeypatch.setattr(page, "PAGE_MAX", 2)
    assert page.cut(0, [b"a", b"b", b"c", b"d", b"e"]) == [1, 2, 3, 5]


def test_names_chosen_to_split_badly_are_neither_slow_nor_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rising:
        def __init__(self, key: bytes) -> None:
            self.key = key

        def digest(self) -> bytes:
            return b"\xff" + self.key + b"\xff" * 26

    monkeypatch.setattr(page, "sha256", Rising)
    keys = [b"%05d" % i for i in range(50_000)]
    assert page.cut(0, keys) == [*range(1, 50_000 - 4095), 50_000]


# --- Bytes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "rows"), [(0, LEAF), (3, UPPER), (0, [])])
def test_decode_gives_back_what_was_encoded(level: int, rows: list[Any]) -> None:
    read = page.decode(page.encode(level, rows, XXH128), OID, XXH128, low=b"")
    assert (read.level, read.rows, read.oid) == (level, rows, OID)
    assert read.keys == [paths.key(row.path) for row in rows]
    assert (read.count, read.size) == ((3, 3 + 2**40) if rows else (0, 0))


def test_golden_bytes() -> None:
    assert page.encode(0, LEAF, XXH128) == (
        b"VMLN\1\0\1\0" + struct.pack("<II", 3, 10) + b"\0\1\2" + struct.pack("<QQQ", 3, 0, 2**40)
        + b"1" * 16 + b"2" * 16 + b"3" * 16 + b"a/b\0a/c\0\xc3\xa9"
    )  # fmt: skip
    assert page.encode(2, UPPER, XXH128) == (
        b"VMLN\1\2\1\0" + struct.pack("<II", 2, 6) + struct.pack("<QQQQ", 2, 1, 3, 2**40)
        + b"1" * 32 + b"2" * 32 + b"a/c\0\xc3\xa9"
    )  # fmt: skip


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"a", 3, 0, bytes(16)),
        Entry(b"a", -1, 0, bytes(16)),
        Entry(b"a", 0, -1, bytes(16)),
        Entry(b"a", 0, 2**63, bytes(16)),
        Entry(b"a", 0, 0, bytes(32)),
    ],
)
def test_rows_without_an_encoding(entry: Entry) -> None:
    with pytest.raises(ValueError):
        page.encode(0, [entry], XXH128)


def forged(rows: list[Any], *, level: int = 0, algorithm: Algorithm = XXH128, **head: Any) -> bytes:
    """A page of rows that `encode` need not like, and with any field of its head replaced."""
    joined = b"\0".join(row[0] for row in rows)
    fields = {"magic": b"VMLN", "version": 1, "level": level, "code": algorithm.code, "zero": 0}
    fields |= {"n": len(rows), "length": len(joined)}
    if level:
        body = b"".join(struct.pack("<Q", row[column]) for column in (2, 3) for row in rows)
        body += b"".join(row[1][:32] for row in rows)
    else:
        body = bytes(row[1] for row in rows) + b"".join(struct.pack("<Q", row[2]) for row in rows)
        body += b"".join(row[3] for row in rows)
    return struct.pack("<4sBBBBII", *(fields | head).values()) + body + joined


def leaf(*names: bytes) -> list[Entry]:
    return [Entry(name, 0, 1, bytes(16)) for name in names]


REFUSED = {
    "magic": forged(LEAF, magic=b"VMLX"),
    "version": forged(LEAF, version=2),
    "zero": forged(LEAF, zero=1),
    "algorithm": forged(LEAF, code=2),
    "unknown algorithm": forged(LEAF, code=0),
    "level": forged(UPPER, level=7),
    "highest level": forged(UPPER, level=255),
    "another level": forged(LEAF, level=0) [:5] + b"\1" + forged(LEAF)[6:],
    "no bytes": b"",
    "head cut off": forged(LEAF)[:15],
    "tail cut off": forged(LEAF)[:-1],
    "trailing byte": forged(LEAF) + b"x",
    "more rows than bytes": forged(LEAF, n=4),
    "count of 4 G": forged(LEAF, n=2**32 - 1),
    "length of 4 G": forged(LEAF, length=2**32 - 1),
    "too many rows": forged(leaf(*(b"%04d" % i for i in range(4097)))),
    "far too long": bytes(page.BYTES_MAX + 1),
    "unsorted": forged(leaf(b"b", b"a")),
    "sorted by / instead of NUL": forged(leaf(b"a-", b"a/b")),
    "duplicate": forged(leaf(b"a", b"a")),
    "file and directory": forged(leaf(b"a", b"a/b")),
    "kind": forged([Entry(b"a", 3, 0, bytes(16))]),
    "size": forged([Entry(b"a", 0, 2**63, bytes(16))]),
    "sum of sizes": forged([Entry(b"a", 0, 2**62, bytes(16)), Entry(b"b", 0, 2**62, bytes(16))]),
    "absolute": forged(leaf(b"/a")),
    "climbing": forged(leaf(b"../../x")),
    "git": forged(leaf(b"a/.GIT/config")),
    "not UTF-8": forged(leaf(b"caf\xe9")),
    "0xff": forged(leaf(b"a\xffb")),
    "empty path": forged(leaf(b"")),
    "NUL hidden in a path": forged(leaf(b"a\0b")),
    "goes on behind its end": forged(leaf(*sorted([mine(0, 1)[0], b"zzz"]))),
    "empty above level 0": forged([], level=1),
    "child without entries": forged([Child(b"a", OID, 0, 0), Child(b"b", OID, 1, 0)], level=1),
    "sum of counts": forged([Child(b"a", OID, 2**63, 0), Child(b"b", OID, 2**63, 0)], level=1),
    "sum of bytes": forged([Child(b"a", OID, 1, 2**63), Child(b"b", OID, 1, 0)], level=1),
    "upper level goes on behind its end": forged(
        [Child(name, OID, 1, 1) for name in sorted([mine(1, 1)[0], b"zzz"])], level=1
    ),
}  # fmt: skip


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: bytes) -> None:
    with pytest.raises(CorruptError, match=r"^node sha256:0000"):
        page.decode(data, OID, XXH128)


def test_forged_pages_are_good_where_nothing_is_replaced() -> None:
    assert forged(LEAF) == page.encode(0, LEAF, XXH128)
    assert forged(UPPER, level=1) == page.encode(1, UPPER, XXH128)
    page.decode(forged(leaf(*mine(0, 1))), OID, XXH128)
    page.decode(forged([Child(name, OID, 1, 1) for name in sorted(mine(0, 2))], level=1), OID, XXH128)


def test_low_is_the_neighbour_before() -> None:
    data = page.encode(0, LEAF, XXH128)
    page.decode(data, OID, XXH128, low=paths.key(b"a/a") + b"\1")
    for before in (b"a/b", b"a", b"b"):
        with pytest.raises(CorruptError):
            page.decode(data, OID, XXH128, low=paths.key(before) + b"\1")


def test_check_order_names_the_file_and_the_directory() -> None:
    page.check_order([b"a", b"a\1", b"a\1b", b"b"])
    with pytest.raises(UserError, match="'a/b' is a file, so there can be no 'a/b/c'"):
        page.check_order([b"a\0b", b"a\0b\0c"])
    with pytest.raises(ValueError):
        page.check_order([b"b", b"a"])


# --- Fuzz --------------------------------------------------------------------------------------------------


def assert_refused_or_canonical(data: bytes, algorithm: Algorithm) -> None:
    try:
        read = page.decode(data, OID, algorithm)
    except CorruptError:
        return
    assert page.encode(read.level, read.rows, algorithm) == data


PAGES = [page.encode(0, LEAF, XXH128), page.encode(1, UPPER, XXH128), page.encode(0, [], XXH128)]


@settings(max_examples=2000, deadline=None)
@given(st.sampled_from(PAGES), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4))
def test_changed_bytes(data: bytes, changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(data)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    assert_refused_or_canonical(bytes(mutated), XXH128)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PAGES), st.integers(0, 120), st.integers(0, 120), st.binary(max_size=9))
def test_spliced_bytes(data: bytes, start: int, stop: int, between: bytes) -> None:
    assert_refused_or_canonical(data[:start] + between + data[stop:], XXH128)


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"VMLN\1\0\2\0" + bytes(8))
def test_any_bytes(data: bytes) -> None:
    assert_refused_or_canonical(data, SHA256)
    assert_refused_or_canonical(b"VMLN\1\0\2\0" + data, SHA256)


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab/.\0\1\xff"), max_size=6), max_size=5))
def test_any_paths(names: list[str]) -> None:
    assert_refused_or_canonical(forged(leaf(*(name.encode() for name in names))), XXH128)
