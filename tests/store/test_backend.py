"""The promises of store.remotes.protocol, kept by every backend: add a new one to BACKENDS."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import at_once, files_below

from tests.servers import Server
from vcs_ml.errors import RemoteError
from vcs_ml.settings import Value
from vcs_ml.store.remotes import open_remote
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import PROBE, Backend, NotFound


def directory(place: Path) -> Backend:
    place.mkdir(exist_ok=True)
    return open_remote(str(place), {}, base=place.parent)


BACKENDS = ("directory", "moto", "rclone")
Open = Callable[[], Backend]
OpenAt = Callable[[str, Path], Backend]


@pytest.fixture(scope="session")
def open_at(moto: Server, rclone: Server) -> OpenAt:
    """The backend of a kind that belongs to a place; it is the same, and empty at first, each time it is opened."""
    buckets = {server.name: server.bucket() for server in (moto, rclone)}

    def open_(kind: str, place: Path) -> Backend:
        if kind == "directory":
            return directory(place)
        bucket = buckets[kind]
        options: dict[str, Value] = {
            "endpoint_url": bucket.endpoint,
            "region": bucket.server.region,
            "access_key_id": bucket.server.access_key,
            "secret_access_key": bucket.server.secret_key,
        }
        prefix = hashlib.sha256(bytes(place)).hexdigest()[:16]
        return open_remote(f"{bucket.url}/{prefix}", options, base=place.parent)

    return open_


@pytest.fixture(params=BACKENDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reopen(kind: str, open_at: OpenAt, tmp_path: Path) -> Open:
    return lambda: open_at(kind, tmp_path / "remote")


@pytest.fixture(params=["directory", "moto"])
def exclusive(request: pytest.FixtureRequest, open_at: OpenAt, tmp_path: Path) -> Open:
    """Those that know conditional writes."""
    return lambda: open_at(str(request.param), tmp_path / "remote")


@pytest.fixture
def backend(reopen: Open) -> Backend:
    return reopen()


PREFIXES = ("packs/", "index/", "roots/", "runs/", "gc/", "tmp/")
BAD_KEYS = [
    "", "/", ".", "..", "../x", "packs/../../x", "packs/..", "/etc/passwd", "packs//x", "packs/./x", "packs/",
    "packs/x\0y", "packs/x\n", "packs/\n", "packs\\x", "packs/é", "C:/x", "~/x", "packs/.hidden", "packs/x ",
    " packs/x",
]  # fmt: skip


def put(backend: Backend, key: str, data: bytes) -> None:
    upload = backend.create()
    try:
        upload.write(data)
        upload.commit(key)
    finally:
        upload.abort()


def keys(backend: Backend) -> list[str]:
    """All that is visible."""
    return [item.key for prefix in PREFIXES for item in backend.list(prefix)]


# --- Reading and writing -----------------------------------------------------------------------------------


def test_what_is_committed_is_read(backend: Backend, reopen: Open) -> None:
    upload = backend.create()
    for part in (b"one ", bytearray(b"two "), memoryview(b"three"), b""):
        upload.write(part)
    upload.commit("packs/ab/x.pack")
    upload.abort()  # after a commit it does nothing
    for each in (backend, reopen()):
        assert each.read("packs/ab/x.pack") == b"one two three"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 9 << 20])
def test_any_size_is_kept(backend: Backend, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    put(backend, "packs/x", data)
    assert backend.write_new("index/x", data)
    for key in ("packs/x", "index/x"):
        assert backend.read(key) == data
        item = backend.stat(key)
        assert item is not None
        assert (item.key, item.size) == (key, size)


@settings(max_examples=60)
@given(start=st.integers(0, 1000), length=st.integers(0, 1000))
def test_a_range_is_exact_or_an_error(
    open_at: OpenAt, tmp_path_factory: pytest.TempPathFactory, start: int, length: int
) -> None:
    data = bytes(range(250)) * 2
    for name in BACKENDS:
        backend = open_at(name, tmp_path_factory.getbasetemp() / f"ranges-{name}")
        backend.write_new("packs/x", data)
        if start + length <= len(data):
            assert backend.read_range("packs/x", start, length) == data[start : start + length]
        elif length:
            with pytest.raises(RemoteError, match="packs/x"):
                backend.read_range("packs/x", start, length)


@pytest.mark.parametrize(("start", "length"), [(0, 1 << 40), (0, 1 << 62), (1 << 62, 1), (1 << 63, 5), (1 << 64, 1)])
def test_an_absurd_range_is_an_error_and_takes_no_memory(backend: Backend, start: int, length: int) -> None:
    backend.write_new("packs/x", b"0123456789")
    with pytest.raises(RemoteError):
        backend.read_range("packs/x", start, length)


@pytest.mark.parametrize("key", ["packs/x", "vml.json", "packs/ab/0-0.pack", "packs/ab/there/below"])
def test_what_is_not_there_is_not_found(backend: Backend, kind: str, key: str) -> None:
    if kind == "rclone" and key.endswith("below"):
        pytest.skip("rclone answers 500 for what would lie below a file")
    backend.write_new("packs/ab/there", b"x")
    with pytest.raises(NotFound):
        backend.read(key)
    with pytest.raises(NotFound):
        backend.read_range(key, 0, 1)
    assert backend.stat(key) is None
    backend.delete(key)


def test_the_name_of_a_directory_is_no_key(backend: Backend) -> None:
    backend.write_new("packs/ab/x", b"x")
    with pytest.raises(NotFound):
        backend.read("packs/ab")
    with pytest.raises(NotFound):
        backend.read_range("packs/ab", 0, 1)
    assert backend.stat("packs/ab") is None


# --- Nothing before commit, nothing after abort ------------------------------------------------------------


def test_nothing_is_visible_before_commit(backend: Backend, reopen: Open) -> None:
    upload = backend.create()
    upload.write(b"x" * 100_000)
    for each in (backend, reopen()):
        assert [key for key in keys(each) if not key.startswith("tmp/")] == []
        assert each.stat("packs/x") is None
    upload.commit("packs/x")
    assert keys(backend) == ["packs/x"]


@pytest.mark.parametrize("size", [0, 10, 9 << 20])
def test_an_abort_leaves_nothing(backend: Backend, tmp_path: Path, size: int) -> None:
    upload = backend.create()
    upload.write(bytes(size))
    upload.abort()
    upload.abort()
    assert keys(backend) == []
    assert files_below(tmp_path) == {}


def test_an_unused_upload_leaves_nothing(backend: Backend, tmp_path: Path) -> None:
    backend.create().abort()
    assert files_below(tmp_path) == {}


def test_a_refused_commit_leaves_nothing(backend: Backend, tmp_path: Path) -> None:
    upload = backend.create()
    upload.write(b"x")
    with pytest.raises(RemoteError):
        upload.commit("../outside")
    upload.abort()
    assert keys(backend) == []
    assert files_below(tmp_path) == {}


def test_many_uploads_at_once_do_not_mix(backend: Backend) -> None:
    uploads = [backend.create() for _ in range(5)]
    for turn in range(3):
        for i, upload in enumerate(uploads):
            upload.write(b"%d:%d " % (i, turn))
    uploads.pop().abort()
    for i, upload in enumerate(uploads):
        upload.commit(f"packs/{i}")
    assert [backend.read(f"packs/{i}") for i in range(4)] == [b"%d:0 %d:1 %d:2 " % (i, i, i) for i in range(4)]
    assert keys(backend) == [f"packs/{i}" for i in range(4)]


# --- Created once ------------------------------------------------------------------------------------------


def test_a_taken_key_keeps_what_it_has(exclusive: Open, tmp_path: Path) -> None:
    backend = exclusive()
    assert backend.write_new("packs/x", b"first")
    before = files_below(tmp_path)
    assert not backend.write_new("packs/x", b"second")
    assert not backend.write_new("packs/x", b"first")
    assert backend.read("packs/x") == b"first"
    assert files_below(tmp_path) == before


def test_who_knows_conditional_writes(backend: Backend, kind: str) -> None:
    backend.write_new("tmp/x", b"")
    assert backend.traits("tmp/x").conditional == (kind != "rclone")


def test_one_of_many_processes_creates_a_key(exclusive: Open, tmp_path: Path) -> None:
    backend, reopen = exclusive(), exclusive
    won = tmp_path / "won"
    won.mkdir()

    def write(i: int) -> None:
        mine = reopen()
        for key in range(10):
            if mine.write_new(f"packs/{key}", b"%d" % i):
                (won / f"{key}-{i}").touch()

    at_once(*(lambda i=i: write(i) for i in range(4)))
    winners = [name.split("-") for name in os.listdir(won)]
    assert sorted(int(key) for key, _ in winners) == list(range(10))
    for key, i in winners:
        assert backend.read(f"packs/{key}") == i.encode()
    assert keys(backend) == [f"packs/{key}" for key in range(10)]


# --- Listing and deleting ----------------------------------------------------------------------------------

NAMES = st.text("ab01", min_size=1, max_size=3)
KEYS = st.builds(
    lambda top, parts, end: top + "/".join(parts) + end,
    st.sampled_from(["packs/", "index/"]),
    st.lists(NAMES, min_size=1, max_size=3),
    st.sampled_from(["", ".pack", "-1", "_1", ".b.c"]),
)


@settings(max_examples=40)
@given(st.lists(KEYS, max_size=12, unique=True))
def test_a_listing_is_sorted_and_complete(
    open_at: OpenAt, tmp_path_factory: pytest.TempPathFactory, wanted: list[str]
) -> None:
    wanted = [key for key in wanted if not any(other.startswith(f"{key}/") for other in wanted)]
    for name in BACKENDS:
        backend = open_at(name, tmp_path_factory.mktemp("list") / name)
        for key in wanted:
            backend.write_new(key, key.encode())
        for prefix in ("packs/", "index/", "packs/a/", "packs/none/"):
            listed = list(backend.list(prefix))
            assert [item.key for item in listed] == sorted(key for key in wanted if key.startswith(prefix))
            assert all(item.size == len(item.key) for item in listed)
            for item in listed:
                there = backend.stat(item.key)
                assert there is not None
                assert there[:2] == item[:2]
                # rclone takes one from when writing began, the other from its end.
                assert abs(there.modified - item.modified) < 60


def test_the_time_is_that_of_writing(backend: Backend) -> None:
    backend.write_new("packs/1", b"")
    backend.write_new("packs/2", b"")
    first, second = backend.list("packs/")
    assert 0 < first.modified <= second.modified


def test_the_time_there_is_that_of_what_is_written(backend: Backend, kind: str) -> None:
    before = backend.now()
    backend.write_new("packs/1", b"")
    item = backend.stat("packs/1")
    assert item is not None
    slack = 0 if kind == "directory" else 1  # servers tell their time in whole seconds
    assert before - slack <= item.modified <= backend.now() + slack
    assert keys(backend) == ["packs/1"]


def test_unfinished_uploads_are_swept_by_their_age(tmp_path: Path) -> None:
    backend = directory(tmp_path / "remote")
    put(backend, "packs/1", b"x")
    upload = backend.create()
    upload.write(b"half")
    assert backend.sweep(backend.now() - 3600) == 0
    assert backend.sweep(backend.now() + 3600) == 1
    assert backend.sweep(backend.now() + 3600) == 0
    assert keys(backend) == ["packs/1"]
    upload.abort()


def test_scratch_is_swept_by_its_age(backend: Backend) -> None:
    others = {"tmp/notes", "tmp/probe2", "tmp/thesis/results.csv", "tmp/packs/ab/1.pack"}
    for key in others | {PROBE, "packs/1"}:
        backend.write_new(key, b"")
    assert backend.sweep(backend.now() - 3600) == 0
    assert backend.sweep(backend.now() + 3600) == (0 if isinstance(backend, Directory) else 1)
    assert set(keys(backend)) - {PROBE} == others | {"packs/1"}


def test_an_empty_bucket_has_nothing_of_others(backend: Backend) -> None:
    assert backend.is_empty()
    backend.replace(PROBE, b"")
    assert backend.is_empty()
    if not isinstance(backend, Directory):
        backend.replace("tmp/notes", b"mine")
        assert not backend.is_empty()


def test_one_look_shows_everything_or_nothing(backend: Backend, kind: str) -> None:
    wanted = ["gc/deleted/1.json", "index/1.idx", "packs/ab/1.pack", "vml.json"]
    for key in wanted:
        backend.write_new(key, b"x")
    seen = backend.peek()
    assert (seen is None) == (kind == "directory")
    assert seen is None or [(item.key, item.size) for item in seen] == [(key, 1) for key in wanted]


def test_what_may_be_lost_can_be_replaced(backend: Backend) -> None:
    for data in (b"one", b"", b"two"):
        backend.replace("latest.json", data)
        assert backend.read("latest.json") == data


def test_requests_of_forked_processes_are_counted(reopen: Open, kind: str) -> None:
    backend = reopen()
    backend.write_new("packs/1", b"x")
    before = backend.requests()
    at_once(*(lambda: [backend.read("packs/1") for _ in range(5)] and None for _ in range(3)))
    assert backend.requests() - before == (0 if kind == "directory" else 15)


def test_what_is_deleted_is_gone_and_can_be_written_again(backend: Backend) -> None:
    backend.write_new("packs/x", b"1")
    backend.write_new("packs/xy", b"2")
    backend.delete("packs/x")
    backend.delete("packs/x")
    assert backend.stat("packs/x") is None
    assert keys(backend) == ["packs/xy"]
    with pytest.raises(NotFound):
        backend.read("packs/x")
    assert backend.write_new("packs/x", b"3")
    assert backend.read("packs/x") == b"3"


def test_listing_goes_on_while_things_are_deleted(backend: Backend) -> None:
    for i in range(20):
        backend.write_new(f"packs/{i:02}/x", b"")
    seen = []
    for item in backend.list("packs/"):
        seen.append(item.key)
        for i in range(20):
            backend.delete(f"packs/{i:02}/x")
    assert seen[0] == "packs/00/x"


# --- Hostile keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_refused_by_every_operation(backend: Backend, tmp_path: Path, key: str) -> None:
    outside = tmp_path / "x"
    outside.write_bytes(b"secret")
    uses: list[Callable[[], object]] = [
        lambda: backend.read(key),
        lambda: backend.read_range(key, 0, 1),
        lambda: backend.write_new(key, b"x"),
        lambda: backend.stat(key),
        lambda: backend.delete(key),
    ]
    for use in uses:
        with pytest.raises(RemoteError) as caught:
            use()
        assert not isinstance(caught.value, NotFound)
    assert files_below(tmp_path) == {"x": b"secret"}


@pytest.mark.parametrize("prefix", ["../", "/", "packs/../", "packs/../../", "./"])
def test_a_bad_prefix_is_refused(backend: Backend, prefix: str) -> None:
    with pytest.raises(RemoteError):
        list(backend.list(prefix))


# --- Directories in particular -----------------------------------------------------------------------------


def test_what_others_put_into_a_directory_does_not_stop_a_listing(tmp_path: Path) -> None:
    backend = directory(tmp_path / "remote")
    backend.write_new("packs/ab/x.pack", b"1")
    packs = tmp_path / "remote" / "packs"
    for name in (".snapshot", "@eaDir", "lost+found", "ab/.nfs"):
        (packs / name).mkdir()
        (packs / name / "x").touch()
    (packs / ".DS_Store").touch()
    (packs / "ab" / "x (conflicted copy).pack").touch()
    (packs / "dangling").symlink_to("nowhere")
    assert [item.key for item in backend.list("packs/")] == ["packs/ab/x.pack"]


def test_a_read_only_directory_can_be_read(tmp_path: Path) -> None:
    backend = directory(tmp_path / "remote")
    backend.write_new("packs/x", b"1")
    before = sorted(path.name for path in (tmp_path / "remote").iterdir())
    again = directory(tmp_path / "remote")
    assert again.read("packs/x") == b"1"
    assert sorted(path.name for path in (tmp_path / "remote").iterdir()) == before


@pytest.mark.parametrize("create", [False, True])
def test_a_place_that_is_gone_or_no_directory_is_an_error(tmp_path: Path, create: bool) -> None:
    (tmp_path / "file").touch()
    for url in ("no/where", "file", "file/below"):
        with pytest.raises(RemoteError) as caught:
            open_remote(url, {}, base=tmp_path, create=create)
        assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_files_of_a_sane_size_are_read(tmp_path: Path) -> None:
    backend = directory(tmp_path / "remote")
    backend.write_new("packs/x", b"1")
    os.mkfifo(tmp_path / "remote" / "packs" / "fifo")
    (tmp_path / "remote" / "packs" / "zero").symlink_to("/dev/zero")
    for key in ("packs/fifo", "packs/zero"):
        with pytest.raises(NotFound):
            backend.read(key)
        with pytest.raises(NotFound):
            backend.read_range(key, 0, 1)
    huge = tmp_path / "remote" / "packs" / "huge"
    huge.touch()
    os.truncate(huge, (1 << 30) + 1)
    with pytest.raises(RemoteError, match="packs/huge"):
        backend.read("packs/huge")
