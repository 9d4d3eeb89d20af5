"""Where large files are cut, and recipes: the same cuts for ever, whatever is edited, and no recipe but a good one."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import tempfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import damaged

from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.store import chunk, objects, recipe
from vcs_ml.store.recipe import Recipe

MIB = 1 << 20


def cut(data: bytes) -> list[bytes]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return [bytes(piece) for piece in chunk.cut(file.fileno())]


def noise(size: int) -> bytes:
    """The same bytes on every machine: SHA-256 of 0, 1, 2, ..."""
    blocks = (hashlib.sha256(struct.pack("<Q", i)).digest() for i in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def table(rows: int) -> bytes:
    marks = (hashlib.sha256(b"%d" % i).hexdigest().encode() for i in range(rows))
    return b"".join(b"%d,%d,%s\n" % (i, i * i % 9973, mark) for i, mark in enumerate(marks))


# A cut that moves ends all sharing with what was pushed before: whoever changes these numbers changes the format.
GOLDEN: dict[str, tuple[Callable[[], bytes], list[int]]] = {
    "noise": (lambda: noise(6 * MIB), [1197658, 1030097, 2259670, 1733911, 70120]),
    "zeros": (lambda: bytes(9 * MIB), [4194304, 4194304, 1048576]),
    "table": (lambda: table(60_000), [1497798, 1165187, 1357517, 521595]),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_cuts_never_move(name: str) -> None:
    make, lengths = GOLDEN[name]
    assert [len(piece) for piece in cut(make())] == lengths


def gear() -> list[int]:
    return [int.from_bytes(hashlib.md5(bytes([byte]) * 64).digest()[:8], "big") for byte in range(256)]


def by_hand(data: bytes) -> list[int]:
    """As docs/formats.md says it."""
    table, lengths, at = gear(), [], 0
    while at < len(data):
        left = min(len(data) - at, 4 * MIB)
        cut_at, value = left, 0
        if left > 256 << 10:
            for i in range(256 << 10, left // 2 * 2):
                value = (value * 2 + table[data[at + i]]) % 2**64
                if not value & (0x0000D91767537000 if i < MIB else 0x0000D91707537000):
                    cut_at = i
                    break
        lengths.append(cut_at)
        at += cut_at
    return lengths


def test_cuts_are_where_the_description_says() -> None:
    data = noise(3 * MIB + 17)
    assert [len(piece) for piece in cut(data)] == by_hand(data)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 12 * MIB), st.integers(0, 2**32), st.data())
def test_an_edit_changes_the_chunks_around_it(size: int, seed: int, draw: st.DataObject) -> None:
    old = random.Random(seed).randbytes(size)
    at = draw.draw(st.integers(0, size))
    put, gone = draw.draw(st.binary(max_size=100)), draw.draw(st.integers(0, 1000))
    new = old[:at] + put + old[at + gone :]
    before, after = cut(old), cut(new)
    assert b"".join(after) == new
    assert all(len(piece) <= chunk.MAXIMUM for piece in after)
    assert all(len(piece) >= chunk.MINIMUM for piece in after[:-1])
    assert len(set(after) - set(before)) <= 8  # of random bytes, cuts meet again after a few


# --- Recipes -----------------------------------------------------------------------------------------------

DIGESTS = st.binary(min_size=32, max_size=32).map(objects.chunk)
ROWS = st.lists(st.tuples(DIGESTS, st.integers(1, chunk.MAXIMUM)), min_size=1, max_size=20)
OID = objects.recipe(objects.blob(bytes(16)))


def made(rows: list[tuple[objects.ObjectId, int]]) -> bytes:
    return recipe.encode(Recipe([oid for oid, _ in rows], [length for _, length in rows]))


@given(ROWS)
@pytest.mark.parametrize("algorithm", [XXH128, SHA256], ids=lambda each: each.name)
def test_a_recipe_comes_back(algorithm: Algorithm, rows: list[tuple[objects.ObjectId, int]]) -> None:
    oid = objects.recipe(objects.blob(bytes(algorithm.size)))
    found = recipe.decode(made(rows), oid, algorithm)
    assert list(zip(found.chunks, found.lengths, strict=True)) == rows
    assert found.size == sum(length for _, length in rows)
    assert recipe.encode(found) == made(rows)


@given(ROWS, st.data())
def test_no_other_bytes_are_a_recipe(rows: list[tuple[objects.ObjectId, int]], draw: st.DataObject) -> None:
    wrong = draw.draw(damaged(made(rows)))
    with pytest.raises(CorruptError):
        recipe.decode(wrong, OID, XXH128)


@given(ROWS, st.data())
def test_a_forged_recipe_is_what_encode_would_write_or_refused(
    rows: list[tuple[objects.ObjectId, int]], draw: st.DataObject
) -> None:
    """With a checksum that fits."""
    body = draw.draw(damaged(made(rows)[:-32]))
    forged = body + hashlib.sha256(body).digest()
    try:
        assert recipe.encode(recipe.decode(forged, OID, XXH128)) == forged
    except CorruptError as error:
        assert "recipe xxh128:" in error.message


@pytest.mark.parametrize(
    ("count", "total", "lengths"),
    [
        (0, 0, []), (1, 0, [0]), (1, 2, [1]), (2, 1, [1]), (1, chunk.MAXIMUM + 1, [chunk.MAXIMUM + 1]),
        (2**32 - 1, 1, [1]), (1, 2**64 - 1, [1]), (2, 5, [5, 0]),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be(count: int, total: int, lengths: list[int]) -> None:
    head = struct.pack("<4sB3xIQ", b"VMLR", 1, count, total)
    body = head + bytes(32 * len(lengths)) + struct.pack(f"<{len(lengths)}I", *lengths)
    with pytest.raises(CorruptError):
        recipe.decode(body + hashlib.sha256(body).digest(), OID, XXH128)


def test_a_recipe_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "COUNT_MAX", 2)
    with pytest.raises(UserError, match="3 chunks"):
        made([(objects.chunk(os.urandom(32)), 1)] * 3)
