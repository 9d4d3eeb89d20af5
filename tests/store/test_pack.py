"""Packs: what goes in comes out, and whatever else a file holds is an error, not an object."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import ALGORITHMS, blob, damaged, files_below, litter, node

from vcs_ml.errors import CorruptError, RemoteError
from vcs_ml.hashing import SHA256, XXH128, Algorithm
from vcs_ml.store import compress, objects, pack
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import RAW, ZSTD, Builder, Pack, Row, decode_object, read_table
from vcs_ml.store.remotes.local import Directory

Objects = dict[ObjectId, bytes]

CONTENT = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda piece, n: piece * n, st.binary(min_size=1, max_size=8), st.integers(0, 2000)),
)


@st.composite
def contents(draw: st.DrawFn, algorithm: Algorithm) -> Objects:
    """Blobs and nodes; some bytes are both."""
    data = draw(st.lists(st.tuples(st.booleans(), CONTENT), max_size=30))
    return {(node(each) if meta else blob(each, algorithm)): each for meta, each in data}


def read_back(backend: Directory, packs: list[Pack], algorithm: Algorithm) -> Objects:
    found: Objects = {}
    for each in packs:
        key = pack.key(each.name)
        item = backend.stat(key)
        assert item is not None
        stored = read_table(
            each.name, item.size, lambda at, n, key=key: backend.read_range(key, at, n), algorithm, source=key
        )
        assert stored == each
        for row in stored.rows:
            data = decode_object(row, backend.read_range(key, row.offset, row.stored), algorithm)
            found[row.oid] = bytes(data)
    return found


@settings(max_examples=60)
@given(st.data(), st.sampled_from(ALGORITHMS), st.booleans())
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, algorithm: Algorithm, zstd: bool
) -> None:
    backend = Directory(tmp_path_factory.mktemp("packs"))
    wanted = data.draw(contents(algorithm))
    builder = Builder(backend, algorithm, zstd=zstd)
    for oid, content in wanted.items():
        builder.add(oid, content)
    packs = builder.finish()
    assert read_back(backend, packs, algorithm) == wanted
    assert len(packs) == bool(wanted)
    assert not litter(backend.root)


@settings(max_examples=40)
@given(st.data(), st.sampled_from(ALGORITHMS))
def test_files_read_into_the_buffer_lie_among_added_objects(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, algorithm: Algorithm
) -> None:
    backend = Directory(tmp_path_factory.mktemp("packs"))
    wanted = data.draw(contents(algorithm))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "BUFFER", 32 << 10)  # so that a few objects fill it
        patch.setattr(pack, "TARGET", data.draw(st.sampled_from([1, 1000, 20_000, 1 << 20])))
        builder = Builder(backend, algorithm, zstd=data.draw(st.booleans()))
        for oid, content in wanted.items():
            if data.draw(st.booleans()):
                room = builder.room(len(content) + 1)
                assert len(room) > len(content)
                room[: len(content) + 1] = content + b"!"  # more than is kept, as from a file that grew
                if data.draw(st.booleans()):
                    room = builder.room(len(content) + 1)  # not kept: read again
                    room[: len(content)] = content
                builder.keep(oid, len(content))
            else:
                builder.add(oid, content)
        assert read_back(backend, builder.finish(), algorithm) == wanted


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda each: each.name)
def test_objects_of_every_size_around_the_limits(tmp_path: Path, algorithm: Algorithm) -> None:
    backend = Directory(tmp_path)
    limits = (pack.BUFFER >> 2, pack.BUFFER)
    sizes = [0, 1, *(limit + d for limit in limits for d in (-1, 0, 1)), 30 << 20, 30 << 20, 2]
    wanted = {blob(data, algorithm): data for i, size in enumerate(sizes) if (data := bytes([i]) * size) or not size}
    builder = Builder(backend, algorithm)
    for oid, data in wanted.items():
        builder.add(oid, data)
    packs = builder.finish()
    assert read_back(backend, packs, algorithm) == wanted
    assert len(packs) == 2
    assert all(len(file) < pack.TARGET + (31 << 20) for file in files_below(tmp_path).values())


def test_an_abort_leaves_nothing_behind(tmp_path: Path) -> None:
    builder = Builder(Directory(tmp_path), XXH128)
    builder.add(blob(bytes(5 << 20)), bytes(5 << 20))
    builder.abort()
    builder.abort()
    assert files_below(tmp_path) == {}


def test_no_pack_has_more_rows_than_its_reader_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A million symlinks or labels of 40 bytes do not fill a pack by their bytes.
    monkeypatch.setattr(pack, "ROWS_MAX", 10)
    backend = Directory(tmp_path)
    wanted = {blob(data): data for data in (b"%d" % i for i in range(35))}
    builder = Builder(backend, XXH128)
    for i, (oid, data) in enumerate(wanted.items()):
        if i % 2:
            builder.add(oid, data)
        else:
            builder.room(len(data))[: len(data)] = data
            builder.keep(oid, len(data))
    assert read_back(backend, builder.finish(), XXH128) == wanted


def test_an_object_added_twice_is_stored_once(tmp_path: Path) -> None:
    backend = Directory(tmp_path)
    builder = Builder(backend, XXH128)
    for data in (b"a", b"b", b"a"):
        builder.add(blob(data), data)
    assert read_back(backend, builder.finish(), XXH128) == {blob(b"a"): b"a", blob(b"b"): b"b"}


def test_compression_saves_or_is_left_out(tmp_path: Path) -> None:
    backend = Directory(tmp_path)
    text, noise = b"the same again. " * 4096, SHA256.digest(b"") + SHA256.digest(b"1") + SHA256.digest(b"2")
    builder = Builder(backend, XXH128, zstd=True)
    for data in (text, noise, b"short"):
        builder.add(blob(data), data)
    ((_, rows),) = builder.finish()
    flags = {row.oid: row.flags for row in rows}
    assert flags == {blob(text): ZSTD, blob(noise): RAW, blob(b"short"): RAW}


# --- Hostile bytes -----------------------------------------------------------------------------------------


def reader_of(data: bytes) -> Callable[[int, int], bytes]:
    def read_range(start: int, length: int) -> bytes:
        if start < 0 or start + length > len(data):
            raise RemoteError("truncated")
        return data[start : start + length]

    return read_range


@pytest.fixture(scope="module", params=ALGORITHMS, ids=lambda each: each.name)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, bytes, Algorithm]:
    backend = Directory(tmp_path_factory.mktemp("sample"))
    builder = Builder(backend, request.param, zstd=True)
    for i in range(8):
        content = b"%d" % i * (100 * i)
        builder.add(node(content) if i % 3 == 0 else blob(content, request.param), content)
    (made,) = builder.finish()
    return made, backend.read(pack.key(made.name)), request.param


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_pack_is_refused_or_gives_the_same(
    sample: tuple[Pack, bytes, Algorithm], data: st.DataObject
) -> None:
    made, good, algorithm = sample
    bad = data.draw(damaged(good))
    try:
        found = read_table(made.name, len(bad), reader_of(bad), algorithm, source="it")
    except CorruptError:
        return
    assert found == made
    for row in found.rows:
        stored = bad[row.offset : row.offset + row.stored]
        try:
            content = decode_object(row, stored, algorithm)
        except CorruptError:
            continue
        objects.verify(row.oid, content, algorithm)


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from(ALGORITHMS))
def test_random_bytes_are_no_pack(data: bytes, algorithm: Algorithm) -> None:
    with pytest.raises(CorruptError):
        read_table(bytes(24), len(data), reader_of(data), algorithm, source="it")


@settings(max_examples=300)
@given(st.data())
def test_a_forged_table_with_a_right_digest_is_checked_row_by_row(
    sample: tuple[Pack, bytes, Algorithm], data: st.DataObject
) -> None:
    _, good, algorithm = sample
    _, _, code, width, count, _ = pack.FOOTER.unpack(good[-pack.FOOTER.size :])
    start = len(good) - pack.FOOTER.size - count * (width + 26)
    table = data.draw(damaged(good[start : -pack.FOOTER.size]))
    digest = SHA256.digest(table)
    numbers = st.one_of(st.just(count), st.just(len(table) // (width + 26)), st.integers(0, 2**64 - 1))
    footer = pack.FOOTER.pack(
        pack.MAGIC, 1, code, data.draw(st.sampled_from([width, 0, 16, 32, 255])), data.draw(numbers), digest
    )
    bad = good[:start] + table + footer
    try:
        found = read_table(digest[:16] + bytes(8), len(bad), reader_of(bad), algorithm, source="it")
    except CorruptError:
        return
    keys = [row.oid for row in found.rows]
    assert len(set(keys)) == len(keys)
    for row in found.rows:
        assert row.offset + row.stored <= len(bad)
        try:
            content = decode_object(row, bad[row.offset : row.offset + row.stored], algorithm)
        except CorruptError:
            continue
        objects.verify(row.oid, content, algorithm)


@pytest.mark.parametrize("count", [1 << 20, (1 << 20) + 1, 1 << 40, 2**64 - 1])
def test_a_footer_that_promises_too_much_takes_no_memory(count: int) -> None:
    footer = pack.FOOTER.pack(pack.MAGIC, 1, XXH128.code, 16, count, bytes(32))
    with pytest.raises(CorruptError):
        read_table(bytes(24), len(footer), reader_of(footer), XXH128, source="it")


@settings(max_examples=300)
@given(
    st.binary(max_size=200),
    st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1)),
    st.integers(0, 255),
    st.sampled_from(ALGORITHMS),
)
def test_no_bytes_become_an_object_they_are_not(data: bytes, raw: int, flags: int, algorithm: Algorithm) -> None:
    row = Row(blob(b"wanted", algorithm), 0, 0, len(data), raw, flags)
    with pytest.raises(CorruptError):
        decode_object(row, data, algorithm)


@given(CONTENT, st.integers(0, 20_000))
def test_a_frame_gives_exactly_what_is_listed(content: bytes, size: int) -> None:
    frame = zstandard.ZstdCompressor().compress(content)
    assert compress.expand(frame, len(content)) == content
    if size != len(content):
        with pytest.raises(CorruptError):
            compress.expand(frame, size)
    for bad in (frame + b"\0", frame + frame, frame[:-1]):
        if content:
            with pytest.raises(CorruptError):
                compress.expand(bad, len(content))


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_frame_gives_as_many_bytes_or_an_error(data: st.DataObject) -> None:
    content = data.draw(CONTENT)
    frame = data.draw(damaged(zstandard.ZstdCompressor(write_checksum=False).compress(content)))
    with contextlib.suppress(CorruptError):
        assert len(compress.expand(frame, len(content))) == len(content)


def test_a_frame_that_does_not_say_its_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 100)
    with pytest.raises(CorruptError, match="100 bytes"):
        compress.expand(frame, 100)


def claiming(size: int) -> bytes:
    """A frame of one short run that claims to hold `size` bytes."""
    return bytes.fromhex("28b52ffde0") + size.to_bytes(8, "little") + bytes.fromhex("0b000041")


@pytest.mark.parametrize("size", [1 << 33, 1 << 40, 1 << 62, 2**63, 2**64 - 3])
def test_a_bomb_takes_no_memory(size: int) -> None:
    tracemalloc.start()
    try:
        for listed in (size, 10):
            with pytest.raises(CorruptError):
                compress.expand(claiming(size), listed)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_real_bomb_takes_no_memory() -> None:
    squeeze = zstandard.ZstdCompressor().compressobj(size=300 << 20)
    frame = b"".join([*(squeeze.compress(bytes(10 << 20)) for _ in range(30)), squeeze.flush()])
    assert len(frame) < 1 << 20
    tracemalloc.start()
    try:
        for listed in (300 << 20, 1 << 20):
            with pytest.raises(CorruptError):
                compress.expand(frame, listed)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
