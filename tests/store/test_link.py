"""Link types: which ones work where, seals that break, and files that become objects as they are."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stores import blob, litter, walk

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import XXH128
from vcs_ml.progress import SILENT
from vcs_ml.store import adopt, content, ingest, link, seal
from vcs_ml.store.local import LocalStore


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def sharing(tmp_path: Path, *kinds: str) -> LocalStore:
    return LocalStore(tmp_path / "store", XXH128, link=lambda: kinds)


def take(store: LocalStore, base: Path) -> None:
    with store.batch() as batch:
        ingest.ingest(store, batch, os.fsencode(base), walk(base), SILENT)


# --- What works ------------------------------------------------------------------------------------------


def working(tmp_path: Path, *wanted: str, workspace: Path | None = None) -> tuple[str, ...]:
    workspace = workspace or tmp_path
    found = link.working(wanted, tmp_path / "store", workspace, tmp_path / "memo")
    assert not litter(tmp_path / "store")
    assert not [path for path in workspace.iterdir() if path.name.startswith(".vml-tmp-")]
    return found


def test_types_are_tried_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert working(tmp_path, "symlink", "hardlink", "copy", "reflink") == ("symlink", "hardlink", "copy")
    tried: list[object] = []
    monkeypatch.setattr(os, "link", lambda *args, **kwargs: tried.append(args))
    assert working(tmp_path, "symlink", "hardlink", "copy", "reflink") == ("symlink", "hardlink", "copy")
    assert not tried
    assert working(tmp_path, "copy") == ("copy",)  # the settings changed
    assert not tried


@pytest.mark.parametrize(
    "memo", [b"", b"[]", b'{"head": 1}', b"\xff", b'{"head": [["hardlink"], 1, 1], "works": ["x"]}']
)
def test_a_damaged_memo_is_made_anew(tmp_path: Path, memo: bytes) -> None:
    (tmp_path / "memo").write_bytes(memo)
    assert working(tmp_path, "hardlink") == ("hardlink", "copy")
    assert json.loads((tmp_path / "memo").read_bytes())["works"] == ["hardlink"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system."""
    place = Path("/dev/shm")
    if not place.is_dir() or not os.access(place, os.W_OK) or place.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    made = place / f"vml-test-{os.getpid()}"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def test_no_hardlink_leads_to_another_file_system(tmp_path: Path, elsewhere: Path) -> None:
    assert working(tmp_path, "hardlink", "symlink", workspace=elsewhere) == ("symlink", "copy")
    assert working(tmp_path, "hardlink", "copy", workspace=elsewhere) == ("copy",)


def test_a_file_on_another_file_system_falls_to_the_next_type(tmp_path: Path, elsewhere: Path) -> None:
    (elsewhere / "file").write_bytes(b"bytes")
    store = sharing(tmp_path, "hardlink", "symlink", "copy")  # what works at the workspace's top
    take(store, elsewhere)
    assert (elsewhere / "file").is_symlink()
    assert store.read(blob(b"bytes")) == b"bytes"


@pytest.fixture(scope="session")
def btrfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that can clone files, in a file of this one."""
    image, place = tmp_path_factory.mktemp("btrfs") / "image", tmp_path_factory.mktemp("mounted")
    if os.geteuid() or not shutil.which("mkfs.btrfs"):
        pytest.skip("needs root and mkfs.btrfs")
    with image.open("wb") as file:
        file.truncate(128 << 20)
    for command in (["mkfs.btrfs", "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        if (done := subprocess.run(command, check=False, capture_output=True, text=True)).returncode:
            pytest.skip(f"{command[0]}: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_reflinks_work_where_the_file_system_clones(btrfs: Path) -> None:
    assert working(btrfs, "reflink", "hardlink") == ("reflink", "hardlink", "copy")
    (btrfs / "one").write_bytes(os.urandom(1 << 20))
    with (btrfs / "one").open("rb") as one, (btrfs / "two").open("w+b") as two:
        assert content.clone(one.fileno(), two.fileno())
    assert (btrfs / "two").read_bytes() == (btrfs / "one").read_bytes()


def test_a_clone_is_stored_and_sealed(btrfs: Path) -> None:
    (btrfs / "base").mkdir()
    data = os.urandom(1 << 20)
    (btrfs / "base" / "file").write_bytes(data)
    store = sharing(btrfs, "reflink", "copy")
    take(store, btrfs / "base")
    path = store.loose_path(blob(data))
    assert path.read_bytes() == data
    assert seal.is_intact(path.stat())
    assert path.stat().st_nlink == 1


# --- Seals -----------------------------------------------------------------------------------------------


def test_a_seal_breaks_with_every_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1234")
    before = file.stat().st_mtime_ns
    seal.put(file)
    sealed = file.stat()
    assert seal.is_intact(sealed)
    assert abs(sealed.st_mtime_ns - before) < 20_000_000
    seal.put(file)
    assert file.stat().st_mtime_ns == sealed.st_mtime_ns

    shutil.copy2(file, tmp_path / "copy")  # the same times, but another inode
    assert not seal.is_intact((tmp_path / "copy").stat())
    with file.open("r+b") as opened:
        opened.write(b"9")
    assert not seal.is_intact(file.stat())
    os.utime(file, ns=(0, sealed.st_mtime_ns))
    with file.open("ab") as opened:
        opened.write(b"5")
    os.utime(file, ns=(0, sealed.st_mtime_ns))  # the time is put back, but the size is another one
    assert not seal.is_intact(file.stat())


def test_every_loose_object_is_sealed(tmp_path: Path, base: Path) -> None:
    for kinds in (("copy",), ("hardlink", "copy"), ("symlink", "copy")):
        data = os.urandom(300_000)
        (base / "large").write_bytes(data)
        (base / "small").write_bytes(data[:20])
        store = sharing(tmp_path, *kinds)
        take(store, base)
        assert not store.was_written(blob(data))
        assert not store.was_written(blob(data[:20]))


def test_objects_that_were_written_to_are_unsafe(tmp_path: Path) -> None:
    store = sharing(tmp_path, "hardlink", "copy")
    data = [bytes([n]) * 10 for n in range(4)]
    good, touched, damaged, absent = map(blob, data)
    with store.batch() as batch:
        for each in data[:3]:
            batch.add(blob(each), each)
    os.utime(store.loose_path(touched), (1, 1))
    store.loose_path(damaged).chmod(0o644)
    store.loose_path(damaged).write_bytes(b"other")
    assert store.unsafe([good, touched, damaged, absent]) == [absent, damaged]


# --- Files become objects --------------------------------------------------------------------------------


def test_the_file_itself_becomes_the_object(tmp_path: Path, base: Path) -> None:
    file = base / "file"
    file.write_bytes(b"bytes")
    inode = file.stat().st_ino
    store = sharing(tmp_path, "hardlink", "copy")
    take(store, base)
    assert store.loose_path(blob(b"bytes")).stat().st_ino == file.stat().st_ino == inode
    assert file.stat().st_mode & 0o777 == 0o444
    assert not litter(store.directory)


def test_symlink_moves_the_file_into_the_store(tmp_path: Path, base: Path) -> None:
    file = base / "file"
    file.write_bytes(b"bytes")
    inode = file.stat().st_ino
    store = sharing(tmp_path, "symlink", "copy")
    take(store, base)
    path = store.loose_path(blob(b"bytes"))
    assert os.readlink(file) == str(path)
    assert (path.stat().st_ino, path.stat().st_nlink) == (inode, 1)


def test_what_cannot_be_one_with_its_object_stays(tmp_path: Path, base: Path) -> None:
    (base / "empty").touch()
    (base / "run").write_bytes(b"#!")
    (base / "run").chmod(0o755)
    (base / "link").symlink_to("run")
    store = sharing(tmp_path, "hardlink", "copy")
    take(store, base)
    assert all((base / name).lstat().st_nlink == 1 for name in ("empty", "run", "link"))
    assert (base / "run").stat().st_mode & 0o777 == 0o755
    assert store.read(blob(b"#!")) == b"#!"


def test_a_file_with_other_links_is_copied_first(tmp_path: Path, base: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"bytes")
    os.link(outside, base / "file")
    store = sharing(tmp_path, "hardlink", "copy")
    take(store, base)
    assert not outside.samefile(base / "file")
    assert store.loose_path(blob(b"bytes")).samefile(base / "file")
    with outside.open("ab") as opened:
        opened.write(b" more")
    assert store.read(blob(b"bytes")) == b"bytes"


def test_equal_files_become_one(tmp_path: Path, base: Path) -> None:
    for name in "abc":
        (base / name).write_bytes(b"bytes")
    store = sharing(tmp_path, "hardlink", "copy")
    take(store, base)
    assert {(base / name).stat().st_ino for name in "abc"} == {store.loose_path(blob(b"bytes")).stat().st_ino}


@pytest.mark.parametrize("code", [errno.EMLINK, errno.EPERM])
def test_too_many_links_make_a_copy(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    (base / "a").write_bytes(b"bytes")
    (base / "b").write_bytes(b"bytes")
    store = sharing(tmp_path, "hardlink", "copy")
    with store.batch():
        pass  # the store itself is made with links

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    take(store, base)
    assert all((base / name).stat().st_nlink == 1 for name in "ab")
    assert all((base / name).stat().st_mode & 0o200 for name in "ab")
    assert store.read(blob(b"bytes")) == b"bytes"


def at_hash(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen just after a file was hashed, once."""
    digest, left = content.digest, [act]

    def hashed(*args: object) -> bytes:
        found = digest(*args)  # type: ignore[arg-type]
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(content, "digest", hashed)


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_a_write_while_it_is_hashed_is_noticed(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = base / "file"
    file.write_bytes(b"old bytes")
    with file.open("r+b", buffering=0) as opened:  # opened before it was write-protected
        at_hash(monkeypatch, lambda: opened.write(b"new"))
        store = sharing(tmp_path, kind, "copy")
        take(store, base)
    assert file.read_bytes() == b"new bytes"
    assert store.read(blob(b"new bytes")) == b"new bytes"
    assert blob(b"old bytes") not in store


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_a_file_replaced_while_it_is_hashed_is_kept(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file, other = base / "file", tmp_path / "other"
    file.write_bytes(b"old")
    other.write_bytes(b"new")
    at_hash(monkeypatch, lambda: other.rename(file))
    store = sharing(tmp_path, kind, "copy")
    take(store, base)
    assert file.read_bytes() == b"new"
    assert store.read(blob(b"new")) == b"new"


def test_a_damaged_object_is_replaced_by_the_file(tmp_path: Path, base: Path) -> None:
    store = sharing(tmp_path, "hardlink", "copy")
    with store.batch() as batch:
        batch.add(blob(b"bytes"), b"bytes")
    store.loose_path(blob(b"bytes")).chmod(0o644)
    store.loose_path(blob(b"bytes")).write_bytes(b"other")
    (base / "file").write_bytes(b"bytes")
    take(store, base)
    assert store.read(blob(b"bytes")) == b"bytes"


def test_linking_renews_what_may_have_been_written_to(tmp_path: Path) -> None:
    store = sharing(tmp_path, "hardlink", "copy")
    oid = blob(b"bytes")
    with store.batch() as batch:
        batch.add(oid, b"bytes")
    path = store.loose_path(oid)
    os.link(path, tmp_path / "file")
    for change in (lambda: os.utime(path, (1, 1)), lambda: path.chmod(0o644)):
        change()
        assert adopt.linkable(store, oid) == path
        assert seal.is_intact(path.stat())
        assert path.stat().st_mode & 0o777 == 0o444
        assert not path.samefile(tmp_path / "file")
        (tmp_path / "file").unlink()
        os.link(path, tmp_path / "file")
    path.chmod(0o644)
    path.write_bytes(b"other")
    with pytest.raises(CorruptError):
        adopt.linkable(store, oid)
    assert path.read_bytes() == b"other"


def test_a_packed_object_is_unpacked_to_be_linked(tmp_path: Path, base: Path) -> None:
    for n in range(20):
        (base / str(n)).write_bytes(b"%d" % n)
    take(sharing(tmp_path, "copy"), base)
    store = sharing(tmp_path, "hardlink", "copy")
    assert store.is_packed(blob(b"7"))
    take(store, base)
    assert all(store.loose_path(blob(b"%d" % n)).samefile(base / str(n)) for n in range(20))


# --- Symlinks into the store -----------------------------------------------------------------------------


def test_only_links_to_loose_blobs_of_this_store_count(tmp_path: Path, base: Path) -> None:
    store, other = sharing(tmp_path, "symlink"), LocalStore(tmp_path / "other", XXH128)
    for each in (store, other):
        with each.batch() as batch:
            batch.add(blob(b"bytes"), b"bytes")
    loose = link.Loose.of(store.directory, XXH128)

    def through(target: Path | str) -> link.Numbers | None:
        file = base / "link"
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        return link.through(os.fsencode(file), file.lstat(), loose)

    path = store.loose_path(blob(b"bytes"))
    assert through(path)
    assert link.digest(os.fsencode(path)) == blob(b"bytes")[:-1]
    assert through(other.loose_path(blob(b"bytes"))) is None
    assert through(store.directory / "vml.json") is None
    assert through("nowhere") is None
    assert through(path.with_name("0" * 30)) == ()  # gone
    assert through(f"/moved{path}") == ()  # the store was there once
    long = path.with_name("0" * 40)
    long.touch()
    assert through(long) is None
