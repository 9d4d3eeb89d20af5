"""Files into the store: every kind and size, files that do not hold still, and workers that fail."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import ALGORITHMS, files_below, litter, no_hang, start, status_of, walk

from vcs_ml.errors import UserError, VmlError
from vcs_ml.hashing import XXH128, Algorithm
from vcs_ml.progress import SILENT
from vcs_ml.store import ingest, objects, workers
from vcs_ml.store.local import PACK_BELOW, LocalStore

K = 1 << 10


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store", XXH128)


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


def digests(folders: list[ingest.Folder], stored: list[ingest.Stored], size: int) -> dict[str, bytes]:
    return {
        os.fsdecode(os.path.join(folder.path, name)): each.digests[i * size : (i + 1) * size]
        for folder, each in zip(folders, stored, strict=True)
        for i, name in enumerate(folder.names)
    }


def take(store: LocalStore, base: Path, folders: list[ingest.Folder] | None = None) -> dict[str, bytes]:
    folders = folders or walk(base)
    with store.batch() as batch:
        stored = ingest.ingest(store, batch, os.fsencode(base), folders, SILENT)
    return digests(folders, stored, store.algorithm.size)


def measure(algorithm: Algorithm, base: Path) -> dict[str, bytes]:
    folders = walk(base)
    return digests(folders, ingest.measure(algorithm, os.fsencode(base), folders, SILENT), algorithm.size)


def content(path: Path) -> bytes:
    return os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()


def check(store: LocalStore, base: Path, taken: dict[str, bytes]) -> None:
    """Every file is stored under its digest, also for whoever opens the store next."""
    fresh = LocalStore(store.directory, store.algorithm)
    for name, digest in taken.items():
        assert fresh.read(objects.blob(digest)) == content(base / name), name
    assert taken == {
        name: store.algorithm.digest(content(base / name))
        for folder in walk(base)
        for name in (os.fsdecode(os.path.join(folder.path, each)) for each in folder.names)
    }
    assert not litter(store.directory)


def fill(base: Path, count: int, size: Callable[[int], int]) -> None:
    for i in range(count):
        folder = base / f"d{i % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"{i:05}").write_bytes(b"%d " % i + bytes(size(i)))


# --- Kinds and sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda each: each.name)
@pytest.mark.parametrize("pack_below", [0, 1000, PACK_BELOW])
def test_every_kind_and_size_is_stored(tmp_path: Path, base: Path, algorithm: Algorithm, pack_below: int) -> None:
    sizes = [0, 1, 999, 1000, 1001, 256 * K - 1, 256 * K, 256 * K + 1, 1024 * K - 1, 1024 * K, 1024 * K + 1, 5 << 20]
    for size in sizes:
        (base / f"f{size}").write_bytes(os.urandom(size))
    (base / "sub" / "deep").mkdir(parents=True)
    (base / "sub" / "deep" / "x").write_text("x")
    (base / "run").write_text("#!/bin/sh")
    (base / "run").chmod(0o755)
    (base / "link").symlink_to("sub/deep/x")
    (base / "dangling").symlink_to("nowhere/é")
    (base / "to-directory").symlink_to("sub")
    os.link(base / "f999", base / "hard")
    store = LocalStore(tmp_path / "store", algorithm, pack_below=pack_below)
    taken = take(store, base)
    check(store, base, taken)
    assert taken == measure(algorithm, base)


@settings(max_examples=25)
@given(st.lists(st.one_of(st.binary(max_size=30), st.integers(200_000, 300_000).map(bytes)), max_size=12))
def test_any_files_are_stored(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    place = tmp_path_factory.mktemp("any")
    (place / "base").mkdir()
    for i, data in enumerate(contents):
        (place / "base" / f"{i}").write_bytes(data)
    store = LocalStore(place / "store", XXH128)
    check(store, place / "base", take(store, place / "base"))


def test_a_handful_of_files_is_loose_and_many_are_packed(store: LocalStore, base: Path, tmp_path: Path) -> None:
    fill(base, 7, lambda i: i)
    take(store, base)
    assert {name.partition("/")[0] for name in files_below(store.directory)} == {".gitignore", "loose", "vml.json"}
    fill(base, 20, lambda i: i)
    other = LocalStore(tmp_path / "other", XXH128)
    take(other, base)
    assert {name.partition("/")[0] for name in files_below(other.directory)} == {
        ".gitignore",
        "packs",
        "index",
        "vml.json",
    }


def test_a_large_file_is_one_loose_file_at_any_number(store: LocalStore, base: Path) -> None:
    fill(base, 20, lambda i: 10)
    (base / "large").write_bytes(b"x" * (PACK_BELOW + 1))
    taken = take(store, base)
    path = store.loose_path(objects.blob(taken["large"]))
    assert path.stat().st_size == PACK_BELOW + 1
    assert not path.stat().st_mode & 0o222


@pytest.mark.parametrize("small", ["a", "z"])
def test_a_small_file_beside_a_large_one_is_stored_whichever_worker_reads_it(
    store: LocalStore, base: Path, small: str
) -> None:
    (base / small).write_bytes(b"small")
    (base / "m").write_bytes(bytes(17 << 20))  # enough bytes for a second process
    (base / "n").symlink_to("m")
    check(store, base, take(store, base))


def test_stats_belong_to_what_was_read(store: LocalStore, base: Path) -> None:
    fill(base, 3, lambda i: i)
    folders = walk(base)
    changed = base / "d1" / "00001"
    changed.write_bytes(b"changed since the walk")
    with store.batch() as batch:
        stored = ingest.ingest(store, batch, os.fsencode(base), folders, SILENT)
    assert [list(each.stats) for each in stored] == [list(folder.stats) for folder in walk(base)]
    check(store, base, digests(folders, stored, 16))


def test_nothing_is_written_for_what_the_store_has(store: LocalStore, base: Path) -> None:
    fill(base, 30, lambda i: i * 10_000)
    taken = take(store, base)
    before = files_below(store.directory)
    assert take(LocalStore(store.directory, XXH128), base) == taken
    assert files_below(store.directory) == before


# --- Two workers -------------------------------------------------------------------------------------------


def packed(store: LocalStore) -> Counter[bytes]:
    """How often each object lies in the packs."""
    return Counter(
        row.oid for index in LocalStore(store.directory, store.algorithm).catalog.indexes for row in index.rows()
    )


def test_many_files_are_shared_by_workers_and_all_stored(store: LocalStore, base: Path) -> None:
    fill(base, 700, lambda i: i % 400)
    (base / "large").write_bytes(os.urandom(3 << 20))
    taken = take(store, base)
    assert len(list(store.backend.list("packs/"))) == 2
    check(store, base, taken)
    assert taken == measure(XXH128, base)


def test_equal_files_are_stored_once_over_two_workers(store: LocalStore, base: Path) -> None:
    for i in range(600):
        (base / f"{i}").write_bytes(b"x" * (i % 50))
    check(store, base, take(store, base))
    assert len(packed(store)) == 50
    total = sum(item.size for item in store.backend.list("packs/"))
    assert total < sum(range(50)) + 50 * 42 + 2 * 52 + 100


def test_equal_large_files_in_two_workers_are_stored_once(store: LocalStore, base: Path) -> None:
    for i in range(4):
        (base / f"{i}").write_bytes(b"same" * (2 << 20))
    check(store, base, take(store, base))
    assert sum(name.startswith("loose/") for name in files_below(store.directory)) == 1


def test_files_of_one_size_are_shared_too(store: LocalStore, base: Path) -> None:
    for i in range(600):
        (base / f"{i}").write_bytes(b"%05d" % (i // 2))
    check(store, base, take(store, base))
    assert len(packed(store)) == 300


@pytest.mark.parametrize("where", [0, 1, 599, 600])
def test_a_worker_that_fails_is_an_error_here_and_leaves_no_litter(store: LocalStore, base: Path, where: int) -> None:
    fill(base, 601, lambda i: i)
    folders = walk(base)
    every = [base / os.fsdecode(os.path.join(folder.path, name)) for folder in folders for name in folder.names]
    every[where].unlink()
    with pytest.raises(VmlError, match=f"{every[where].name} changed while"):
        take(store, base, folders)
    assert litter(store.directory) == []
    assert list(store.backend.list("index/")) == []


def test_a_worker_that_is_stopped_in_the_middle_of_a_file_leaves_no_litter(
    store: LocalStore, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (base / name).write_bytes(name.encode() * (9 << 20))
    here, readv = os.getpid(), os.readv
    reader, writer = os.pipe()

    def blocked(fd: int, buffers: list[memoryview]) -> int:
        if os.getpid() != here:  # the child has begun its copy, and is as slow as a tape
            os.write(writer, b".")
            signal.pause()
        os.read(reader, 1)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "readv", blocked)
    with pytest.raises(OSError, match="Input/output"), no_hang():
        take(store, base)
    monkeypatch.setattr(os, "readv", readv)
    assert litter(store.directory) == []
    check(store, base, take(store, base))


def test_there_are_as_many_workers_as_cores() -> None:
    assert workers.count() == 2


# --- Files that do not hold still --------------------------------------------------------------------------


def while_read(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, int], None]) -> None:
    """`change(turn, n)` happens right after the read number `turn`, which gave `n` bytes."""
    readv, count = os.readv, iter(range(1, 1 << 30))

    def read(fd: int, buffers: list[memoryview]) -> int:
        n = readv(fd, buffers)
        change(next(count), n)
        return n

    monkeypatch.setattr(os, "readv", read)


SIZES = [10, PACK_BELOW, PACK_BELOW + 1, 3 << 20]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("delta", [-5, 0, 5, 2 << 20])
def test_a_file_that_changes_once_is_read_again(
    store: LocalStore, base: Path, monkeypatch: pytest.MonkeyPatch, size: int, delta: int
) -> None:
    path = base / "x"
    path.write_bytes(b"a" * size)

    def change(turn: int, n: int) -> None:
        if turn == 1:
            path.write_bytes(b"b" * (size + delta))
            os.utime(path, ns=(0, 0))

    while_read(monkeypatch, change)
    taken = take(store, base)
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    check(store, base, taken)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_never_holds_still_is_an_error(
    store: LocalStore, base: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = base / "x"
    path.write_bytes(b"a" * size)

    def grow(turn: int, n: int) -> None:
        if n == 0 or path.stat().st_size <= PACK_BELOW:  # once for each time it is opened
            with path.open("ab") as file:
                file.write(b"more")
            os.utime(path, ns=(turn, turn))

    while_read(monkeypatch, grow)
    with pytest.raises(UserError, match=r"base/x changed while it was being read") as caught:
        take(store, base)
    assert caught.value.hint
    assert litter(store.directory) == []
    assert not list(store.backend.list("index/"))


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_is_replaced_between_walk_and_read_is_stored_as_it_is(
    store: LocalStore, base: Path, size: int
) -> None:
    (base / "x").write_bytes(b"a" * 10)
    folders = walk(base)
    (base / "x").unlink()
    (base / "x").write_bytes(b"b" * size)
    check(store, base, take(store, base, folders))


def become_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def become_fifo(path: Path) -> None:
    os.mkfifo(path)


def become_directory(path: Path) -> None:
    path.mkdir()


def become_file(path: Path) -> None:
    path.write_text("file")


def vanish(path: Path) -> None:
    pass


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("become", [become_link, become_fifo, become_directory, vanish, become_file])
def test_a_file_that_became_something_else_is_an_error_that_names_it(
    store: LocalStore, base: Path, become: Callable[[Path], None], link: bool
) -> None:
    path = base / "x"
    if link:
        path.symlink_to("target")
    else:
        path.write_text("file")
    folders = walk(base)
    path.unlink()
    become(path)
    if (become is become_file and not link) or (become is become_link and link):
        check(store, base, take(store, base, folders))
        return
    with pytest.raises(UserError, match="base/x"), no_hang(3):
        take(store, base, folders)
    assert litter(store.directory) == []


def test_an_unreadable_file_is_an_error_that_says_what_to_do(base: Path) -> None:
    (base / "x").write_text("secret")
    (base / "x").chmod(0)
    base.chmod(0o755)

    def read() -> None:
        os.chdir(base)
        os.setresuid(65534, 65534, 65534)  # root reads everything
        with pytest.raises(UserError, match=r"cannot read .*x: permission denied") as caught:
            ingest.measure(XXH128, b".", walk(Path()), SILENT)
        assert caught.value.hint == "chmod u+r ./x"

    assert status_of(start(read)) == 0


def test_a_writer_that_never_stops_gives_an_error_or_a_whole_file(store: LocalStore, base: Path) -> None:
    path, done = base / "x", threading.Event()

    def write() -> None:
        for i in range(10_000):
            if done.is_set():
                return
            path.write_bytes(b"%d" % (i % 10) * 100_000)

    path.write_bytes(b"0" * 100_000)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            try:
                taken = take(store, base)
            except UserError:
                continue
            data = store.read(objects.blob(taken["x"]))
            assert XXH128.digest(data) == taken["x"]
    finally:
        done.set()
        thread.join()


def test_a_look_takes_things_as_they_are(base: Path) -> None:
    """What has gone since the walk, or is rewritten all the time, is an error only where it must hold still."""
    for name in ("kept", "gone", "linked", "folder/a", "other/b"):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(b"1" * 3000)
    folders = walk(base)
    for name in ("gone", "linked", "folder/a", "other/b"):
        (base / name).unlink()
    (base / "linked").symlink_to("kept")
    (base / "folder").rmdir()
    (base / "kept").write_bytes(b"2" * (ingest.WINDOW + 1))
    with pytest.raises(UserError, match="changed while"):
        ingest.measure(XXH128, os.fsencode(base), folders, SILENT)
    found = ingest.measure(XXH128, os.fsencode(base), folders, SILENT, steady=False)
    sizes = {
        os.fsdecode(os.path.join(folder.path, name)): each.stats[i * ingest.STAT_FIELDS]
        for folder, each in zip(folders, found, strict=True)
        for i, name in enumerate(folder.names)
    }
    assert sizes == {"kept": ingest.WINDOW + 1, "gone": -1, "linked": -1, "folder/a": -1, "other/b": -1}
    assert digests(folders, found, XXH128.size)["kept"] == XXH128.digest(b"2" * (ingest.WINDOW + 1))


def test_a_look_at_a_file_that_never_rests(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = base / "log"
    file.write_bytes(b"1" * 3000)
    folders = walk(base)
    real = os.readv

    def growing(fd: int, buffers: list[memoryview]) -> int:
        with file.open("ab") as log:
            log.write(b"x")
        return real(fd, buffers)

    monkeypatch.setattr(os, "readv", growing)
    with pytest.raises(UserError, match="changed while"):
        ingest.measure(XXH128, os.fsencode(base), folders, SILENT)
    (found,) = ingest.measure(XXH128, os.fsencode(base), folders, SILENT, steady=False)
    assert found.stats[0] > 3000
    assert list(found.stats[1:3]) == [-1, -1]
