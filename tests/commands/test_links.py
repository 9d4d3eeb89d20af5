"""`cache.link` hardlink and symlink, from the first add to a store that somebody wrote through."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo
from vcs_ml.hashing import XXH128
from vcs_ml.store import objects
from vcs_ml.store.local import LocalStore

KINDS = pytest.mark.parametrize("kind", ["hardlink", "symlink"])
LARGE = b"large" * 70_000
CONTENT = {"data/large": LARGE, "data/sub/small": b"small", "data/empty": b"", "one": b"one"}


def object_of(repo: Repo, data: bytes) -> Path:
    return LocalStore(repo.path / ".vml/cache", XXH128).loose_path(objects.blob(XXH128.digest(data)))


def is_link(repo: Repo, path: str, kind: str) -> bool:
    file = repo.path / path
    return file.is_symlink() == (kind == "symlink") and file.samefile(object_of(repo, file.read_bytes()))


def begin(repo: Repo, kind: str) -> str:
    repo.run("config", "cache.link", kind)
    for path, data in CONTENT.items():
        repo.write(path, data)
    repo.write("data/run", "#!").chmod(0o755)
    (repo.path / "data/rel").symlink_to("sub/small")
    repo.run("add", "data", "one")
    return repo.commit()


def write_through(repo: Repo, path: str, data: bytes) -> None:
    """Change a file in place, as an editor or a program with enough rights does."""
    (repo.path / path).chmod(0o644)
    with (repo.path / path).open("r+b") as file:
        file.write(data)


@KINDS
def test_files_are_one_with_their_objects(repo: Repo, kind: str) -> None:
    begin(repo, kind)
    for _ in range(2):
        for path, data in CONTENT.items():
            assert repo.read(path) == data
            assert is_link(repo, path, kind) == bool(data), path
            assert (repo.path / path).stat().st_mode & 0o777 == (0o444 if data else 0o644)
        assert (repo.path / "data/run").stat().st_mode & 0o777 == 0o755
        assert not (repo.path / "data/run").is_symlink()
        assert os.readlink(repo.path / "data/rel") == "sub/small"
        assert repo.run("status").out == "nothing changed\n"
        assert "unchanged" in repo.run("add", "data", "one").err
        assert repo.json("diff", "HEAD")["modified"] == []
        shutil.rmtree(repo.path / "data")
        (repo.path / "one").unlink()
        repo.run("checkout")
    assert "nothing to do" in repo.run("checkout").err


@KINDS
def test_every_part_of_the_life_of_a_linked_file(repo: Repo, kind: str) -> None:
    first = begin(repo, kind)
    repo.run("mv", "one", "two")
    repo.run("mv", "data/sub", "data/other")
    assert repo.changes() == {}
    (repo.path / "two").rename(repo.path / "by-hand")
    assert repo.changes() == {"two": "deleted"}
    repo.run("add", "by-hand")
    repo.run("rm", "two")
    repo.run("rm", "data/other")
    assert repo.changes() == {}
    assert object_of(repo, b"one").read_bytes() == b"one"
    assert object_of(repo, b"small").read_bytes() == b"small"
    repo.commit()
    repo.git("checkout", "-q", first)
    repo.run("checkout")
    assert {path: repo.read(path) for path in CONTENT} == CONTENT
    assert not (repo.path / "by-hand").exists()


@KINDS
def test_a_new_version_replaces_the_link_and_not_the_object(repo: Repo, kind: str) -> None:
    first = begin(repo, kind)
    (repo.path / "one").unlink()
    repo.write("one", "newer")
    repo.run("add", "one")
    second = repo.commit()
    for commit, data in ((first, b"one"), (second, b"newer"), (first, b"one")):
        repo.git("checkout", "-q", commit)
        repo.run("checkout")
        assert repo.read("one") == data
        assert object_of(repo, b"one").read_bytes() == b"one"
        assert object_of(repo, b"newer").read_bytes() == b"newer"


@KINDS
def test_a_write_through_a_link_is_seen_and_told(repo: Repo, remote: Path, kind: str) -> None:
    first = begin(repo, kind)
    write_through(repo, "one", b"bad")
    assert repo.changes() == {"one": "modified"}
    assert "warning: one is linked into the store" in repo.run("status").err
    assert "is damaged" in repo.run("status", "--json").err
    assert "in no store" in repo.fails("checkout", code=3).err
    pushed = repo.fails("push", code=3)
    assert "damaged object" in pushed.err
    assert "fsck --repair" in pushed.err
    assert "its former version is damaged" in repo.run("add", "one").err
    second = repo.commit()
    assert repo.read("one") == b"bad"
    assert repo.run("status", "one").err == ""
    repo.git("checkout", "-q", first)
    failed = repo.fails("checkout", code=3)
    assert "its object in the store is damaged" in failed.err
    assert "fsck --repair" in failed.err
    assert repo.read("one") == b"bad"

    repo.git("checkout", "-q", second)
    (repo.path / "one").unlink()
    repo.write("one", "one")  # the bytes are at hand again: adding them mends the store
    repo.run("add", "one")
    assert object_of(repo, b"one").read_bytes() == b"one"


def test_mending_an_object_does_not_undo_what_was_written_through_a_symlink(repo: Repo) -> None:
    begin(repo, "symlink")
    write_through(repo, "one", b"bad")
    repo.write("copy", "one")
    repo.run("add", "copy")
    assert (repo.read("one"), repo.read("copy")) == (b"bad", b"one")
    assert repo.changes() == {"one": "modified"}

    write_through(repo, "copy", b"too")
    (repo.path / "copy").rename(repo.path / "moved")  # nobody knows of this link
    repo.write("copy", "one")
    assert "vml add it first" in repo.fails("add", "copy", code=3).err
    assert repo.read("moved") == b"too"
    assert (repo.path / "copy").stat().st_mode & 0o200
    repo.run("add", "moved")
    repo.run("add", "copy")
    assert (repo.read("moved"), repo.read("copy")) == (b"too", b"one")


@KINDS
def test_force_keeps_what_was_written_through(repo: Repo, kind: str) -> None:
    begin(repo, kind)
    write_through(repo, "data/large", b"bad")
    bad = b"bad" + LARGE[3:]
    (repo.path / "data/sub/small").unlink()
    repo.fails("checkout", "--force", code=3)  # the good one is nowhere
    assert repo.read("data/large") == bad
    assert object_of(repo, bad).read_bytes() == bad
    repo.run("rm", "--force", "data/large")
    assert object_of(repo, bad).read_bytes() == bad


@KINDS
def test_the_last_good_copy_is_not_replaced(repo: Repo, kind: str) -> None:
    repo.run("config", "cache.link", kind)
    repo.write("a", "good")
    repo.write("b", "good")
    repo.run("add", "a", "b")
    repo.commit()
    repo.run("unprotect", "b")
    write_through(repo, "a", b"evil")
    (repo.path / "b.vml").write_bytes(repo.read("a.vml").replace(b'"a"', b'"b"'))
    repo.run("add", "a")
    (repo.path / "b.vml").write_bytes(repo.read("a.vml").replace(b'"a"', b'"b"'))
    assert "in no store" in repo.fails("checkout", "b", code=3).err
    assert "in no store" in repo.fails("rm", "b", code=3).err
    assert repo.read("b") == b"good"
    repo.git("checkout", "-q", "b.vml")
    repo.run("add", "b")
    assert object_of(repo, b"good").read_bytes() == b"good"


def test_a_symlink_to_a_lost_object_is_a_missing_file(repo: Repo, remote: Path) -> None:
    begin(repo, "symlink")
    repo.run("push")
    shutil.rmtree(repo.path / ".vml/cache")
    assert repo.changes("one") == {"one": "deleted"}
    status = repo.run("status").out
    assert "Missing from the local store" in status
    assert "vml pull brings it" in status
    assert "vml pull" in repo.fails("add", "one", code=3).err
    assert "vml pull" in repo.fails("add", "data", code=3).err
    repo.run("pull")
    assert {path: repo.read(path) for path in CONTENT} == CONTENT
    assert repo.run("status").out == "nothing changed\n"
    assert is_link(repo, "one", "symlink")


def test_symlinks_are_put_right_where_the_repository_was_moved(repo: Repo) -> None:
    begin(repo, "symlink")
    repo.path = repo.path.rename(repo.path.with_name("moved"))
    assert repo.changes()["one"] == "deleted"
    repo.run("checkout")
    assert {path: repo.read(path) for path in CONTENT} == CONTENT
    assert repo.run("status").out == "nothing changed\n"


def test_other_symlinks_are_what_they_were(repo: Repo, tmp_path: Path) -> None:
    begin(repo, "symlink")
    (tmp_path / "other").write_bytes(b"one")
    (repo.path / "one").unlink()
    (repo.path / "one").symlink_to(tmp_path / "other")
    assert repo.changes() == {"one": "modified"}
    repo.fails("checkout", code=3)
    repo.fails("add", "one", code=3)
    (repo.path / "data/abs").symlink_to(tmp_path / "other")
    assert "absolute" in repo.fails("add", "data", code=3).err


def test_a_linked_file_makes_way_for_a_directory_and_back(repo: Repo) -> None:
    first = begin(repo, "symlink")
    repo.run("rm", "one")
    repo.write("one/inside", "inside")
    repo.run("add", "one")
    second = repo.commit()
    for commit, there in ((first, {"one": b"one"}), (second, {"one/inside": b"inside"}), (first, {"one": b"one"})):
        repo.git("checkout", "-q", commit)
        repo.run("checkout")
        assert {path: repo.read(path) for path in there} == there


@KINDS
def test_relink_follows_the_setting(repo: Repo, kind: str) -> None:
    begin(repo, "copy")
    assert "nothing to do" in repo.run("checkout", "--relink").err
    repo.run("config", "cache.link", kind)
    repo.write("data/sub/new", "not recorded")
    (repo.path / "one").write_bytes(b"modified")
    assert "2 files relinked" in repo.run("checkout", "--relink").err
    assert is_link(repo, "data/large", kind)
    assert is_link(repo, "data/sub/small", kind)
    assert repo.read("one") == b"modified"
    assert repo.changes() == {"data/sub/new": "added", "one": "modified"}
    assert "nothing to do" in repo.run("checkout", "--relink").err
    repo.run("config", "cache.link", "copy")
    assert "1 file relinked" in repo.run("checkout", "--relink", "data/sub").err
    assert "1 file relinked" in repo.run("checkout", "--relink").err
    assert repo.changes() == {"data/sub/new": "added", "one": "modified"}
    for path in ("data/large", "data/sub/small"):
        file = repo.path / path
        assert file.read_bytes() == CONTENT[path]
        assert file.lstat().st_nlink == 1
        assert file.stat().st_mode & 0o200


def test_relink_says_what_it_does_not_do(repo: Repo) -> None:
    begin(repo, "hardlink")
    repo.fails("checkout", "--relink", "--force", code=2)
    repo.fails("checkout", "--relink", "--rev", "HEAD", code=2)
    repo.fails("checkout", "--relink", "nosuch", code=3)


@KINDS
def test_pulled_files_are_links(repo: Repo, remote: Path, kind: str) -> None:
    begin(repo, kind)
    repo.run("push")
    there = repo.clone("clone")
    there.run("pull")
    assert {path: there.read(path) for path in CONTENT} == CONTENT
    assert all(is_link(there, path, kind) for path, data in CONTENT.items() if data)
    assert there.run("status").out == "nothing changed\n"


@KINDS
def test_two_projects_share_files_through_one_store(repo: Repo, tmp_path: Path, kind: str) -> None:
    there = repo.clone("there")
    for each in (repo, there):
        each.run("config", "--local", "cache.dir", str(tmp_path / "shared"))
        each.run("config", "cache.link", kind)
        each.write("data", LARGE)
        each.run("add", "data")
        assert each.run("status", "--exit-code", "data", ok=False).code == 1  # only the pointer is new
        assert each.changes() == {}
    assert (repo.path / "data").samefile(there.path / "data")


def test_an_executable_bit_on_a_linked_file(repo: Repo) -> None:
    begin(repo, "hardlink")
    (repo.path / "one").chmod(0o755)
    assert repo.changes() == {"one": "modified"}
    repo.run("add", "one")
    assert repo.changes() == {}
    first = repo.commit()
    repo.git("checkout", "-q", "HEAD~1")
    repo.run("checkout")
    assert (repo.path / "one").stat().st_mode & 0o777 == 0o444
    assert repo.changes() == {}
    repo.git("checkout", "-q", first)
    repo.run("checkout")
    assert (repo.path / "one").stat().st_mode & 0o111
    assert repo.changes() == {}


def test_gc_keeps_what_symlinks_in_the_workspace_lead_to(repo: Repo, remote: Path) -> None:
    repo.run("config", "--local", "cache.link", "symlink")
    repo.write("one", "first")
    repo.write("data/a", "first")
    repo.run("add", "one", "data")
    repo.commit()
    for path in ("one", "data/a"):
        (repo.path / path).unlink()
        repo.write(path, "second")
    repo.run("add", "one", "data")
    repo.run("push")
    repo.git("checkout", "-q", "one.vml", "data.vml")  # the pointers go back, the workspace does not
    repo.run("gc", "--force", "--include-unpushed")
    assert repo.read("one") == repo.read("data/a") == b"second"
    assert repo.changes() == {"one": "modified", "data/a": "behind"}
    shutil.rmtree(repo.path / ".vml/index")
    (repo.path / "data").rename(repo.path / "elsewhere")
    repo.run("gc", "--force", "--include-unpushed")
    assert repo.read("one") == repo.read("elsewhere/a") == b"second"


def test_rm_cached_leaves_bytes_and_not_links_into_the_store(repo: Repo, remote: Path) -> None:
    repo.run("config", "--local", "cache.link", "symlink")
    repo.write("one", "single")
    repo.write("data/a", "a")
    repo.write("data/in/b", "b")
    repo.run("add", "one", "data")
    repo.run("push")
    repo.run("rm", "--cached", "one", "data/in")
    repo.run("rm", "--cached", "data")
    repo.run("gc", "--force")
    assert not list((repo.path / ".vml/cache").glob("loose/xxh128/*/*"))
    assert (repo.read("one"), repo.files("data")) == (b"single", {"a": b"a", "in/b": b"b"})


@pytest.mark.parametrize("pushed", [True, False])
def test_repair_leaves_what_was_written_through_a_symlink(repo: Repo, remote: Path, pushed: bool) -> None:
    repo.run("config", "--local", "cache.link", "symlink")
    repo.write("one", "as recorded")
    repo.write("data/a", "as recorded, too")
    repo.run("add", "one", "data")
    if pushed:
        repo.run("push")
    for path in ("one", "data/a"):
        (repo.path / path).resolve().chmod(0o644)
        repo.write(path, "my edit")
    repo.run("fsck", "--repair", ok=pushed)
    assert repo.read("one") == repo.read("data/a") == b"my edit"
    assert repo.changes() == {"one": "modified", "data/a": "modified"}


def test_a_partial_clone_with_links_may_be_copied(repo: Repo, remote: Path) -> None:
    for i in range(6):
        repo.write(f"data/{i % 2}/{i}", f"{i}" * 100)
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("config", "--local", "cache.link", "symlink")
    clone.run("pull", "data/0")
    copy = repo.beside("copy")
    shutil.copytree(clone.path, copy.path, symlinks=True)
    shutil.rmtree(copy.path / "data")  # its links lead to the store of the clone
    copy.run("pull")
    assert copy.files("data").keys() == repo.files("data").keys()


def test_what_becomes_an_executable_is_a_file_of_its_own(repo: Repo) -> None:
    repo.run("config", "cache.link", "hardlink")
    repo.write("data/run", "#!/bin/sh\n" * 100)
    repo.run("add", "data")
    (repo.path / "data/run").chmod(0o755)
    repo.run("add", "data")
    assert (repo.path / "data/run").stat().st_nlink == 1
    (repo.path / "data/run").write_text("changed")
    assert repo.changes() == {"data/run": "modified"}
    assert repo.json("fsck")["clean"]
