"""`vml push`: what travels, and what a remote must be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import Repo
from tests.store.stores import rewrite


def test_what_travels(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/{i}", str(i))
    repo.write("one", "1" * 1000)
    repo.run("add", "data", "one")
    repo.commit()
    assert "pushed to origin" in repo.run("push").err
    assert "has everything already" in repo.run("push").err
    nothing = repo.json("push")
    assert nothing.pop("seconds") >= 0
    assert nothing == {
        "schema": 1, "remote": "origin", "objects": 0, "bytes": 0, "stored": 0, "saved_by_dedup": 0,
        "saved_by_zstd": 0, "requests": 0, "roots": 0,
    }  # fmt: skip
    repo.write("data/0", "changed")
    repo.run("commit")
    found = repo.json("push")
    assert found["stored"] < found["bytes"]
    assert found["objects"] == 2  # a file and the list
    assert found["roots"] == 1


def test_some_paths_and_other_remotes(repo: Repo, remote: Path, tmp_path: Path) -> None:
    repo.run("remote", "add", "backup", str(tmp_path / "backup"))
    repo.write("a", "1")
    repo.write("b", "2")
    repo.run("add", "a", "b")
    repo.commit()
    assert repo.json("push", "a", "-r", "backup")["objects"] == 1
    assert repo.json("push", "b", "--remote", "backup", "--jobs", "2")["objects"] == 1
    clone = repo.clone("clone")
    clone.run("pull", "-r", "backup")
    assert clone.read("a") == b"1"
    assert not remote.exists()


def test_history(repo: Repo, remote: Path) -> None:
    for i in range(3):
        repo.write("one", str(i))
        repo.run("add", "one")
        repo.commit()
        repo.git("tag", f"v{i}")
    repo.git("checkout", "-qb", "side", "v0")
    repo.write("one", "side")
    repo.run("add", "one")
    repo.commit()
    repo.git("checkout", "-q", "main")
    assert repo.json("push")["objects"] == 1
    assert repo.json("push", "--all-branches")["objects"] == 1
    assert repo.json("push", "--all-tags")["objects"] == 2
    assert repo.json("push", "--all-commits")["objects"] == 0
    clone = repo.clone("clone")
    assert clone.json("fetch", "--all-commits")["objects"] == 4
    clone.git("checkout", "-q", "v1")
    clone.run("checkout")
    assert clone.read("one") == b"1"


def test_the_committed_version_travels_not_the_edited_one(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    repo.commit()
    repo.write("data/a", "not added")
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.files("data") == {"a": b"1"}


def test_from_a_clone_that_has_only_some_files(repo: Repo, remote: Path, tmp_path: Path) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "2")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("fetch", "--metadata")
    clone.write("data/c", "3")
    clone.run("add", "data/c")
    assert clone.json("push")["objects"] == 2
    # another remote lacks what this clone does not have either
    clone.run("remote", "add", "other", str(tmp_path / "other"))
    result = clone.fails("push", "-r", "other", code=3)
    assert "data/a" in result.err
    assert "xxh128:" in result.err


def test_a_missing_object(repo: Repo, remote: Path) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    repo.commit()
    shutil.rmtree(repo.path / ".vml/cache")
    result = repo.fails("push", code=3)
    assert "one" in result.err
    assert "xxh128:" in result.err


def test_a_damaged_object_stops_it(repo: Repo, remote: Path) -> None:
    repo.write("one", "1" * 1000)
    repo.run("add", "one")
    (loose,) = [p for p in (repo.path / ".vml/cache/loose").rglob("*") if p.is_file()]
    loose.chmod(0o644)
    loose.write_bytes(b"2" * 1000)
    assert "damaged" in repo.run("push", ok=False).err
    assert not list(remote.glob("packs/*/*"))


def test_bad_remotes(repo: Repo, remote: Path, tmp_path: Path) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    repo.commit()
    repo.run("push")
    repo.run("remote", "add", "far", str(tmp_path / "no/such/mount"))
    for command in ("push", "fetch", "status"):
        assert "does not exist" in repo.fails(command, "--remote", "far", code=4).err
    repo.write("../afile", "")
    repo.run("remote", "add", "file", str(tmp_path / "afile"))
    assert "not a directory" in repo.fails("push", "-r", "file", code=4).err
    (tmp_path / "empty").mkdir()
    repo.run("remote", "add", "empty", str(tmp_path / "empty"))
    assert "is not a vml remote" in repo.fails("fetch", "-r", "empty", code=4).err
    for content, words, code in (
        (b"{", "damaged", 4),
        (b"[]", "damaged", 4),
        (b"[" * 100_000, "damaged", 4),
        (json.dumps({"format": 99, "algorithm": "xxh128"}).encode(), "newer", 4),
        (json.dumps({"format": 1, "algorithm": "sha256"}).encode(), "sha256", 3),
    ):
        (tmp_path / "empty/vml.json").write_bytes(content)
        assert words in repo.fails("push", "-r", "empty", code=code).err
    (tmp_path / "empty/vml.json").unlink()
    shutil.copytree(remote / "packs", tmp_path / "empty/packs")
    for command in ("push", "status"):
        refused = repo.fails(command, "--remote", "empty", code=4).err
        assert "lost its vml.json" in refused
        assert "hint: vml fsck --remote empty --repair" in refused
    repo.run("fsck", "--remote", "empty", "--repair")
    assert repo.json("push", "-r", "empty")["objects"] == 1
    (tmp_path / "empty/vml.json").unlink()
    other = repo.beside("other")
    subprocess.run(["git", "init", "-q", str(other.path)], check=True)
    other.run("init", "--hash", "sha256")
    other.run("remote", "add", "empty", str(tmp_path / "empty"))
    assert "names data with xxh128" in other.fails("fsck", "--remote", "empty", "--repair", code=3).err
    shutil.rmtree(remote)
    gone = repo.fails("push", code=4)  # a disk that is not mounted, perhaps: nothing is set up in its place
    assert "was a vml remote" in gone.err
    shutil.rmtree(repo.path / ".vml/cache/remotes")  # as the hint says
    assert repo.json("push")["objects"] == 1
    assert "no remote" in repo.fails("push", "-r", "nosuch", code=3).err


def test_no_remote(repo: Repo) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    for command in ("push", "fetch"):
        assert "vml remote add" in repo.fails(command, code=3).err
    shutil.rmtree(repo.path / ".vml/cache")
    assert "vml remote add" in repo.fails("pull", code=3).err


def test_bad_input(repo: Repo, remote: Path) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    for command in ("push", "fetch", "pull"):
        assert "not tracked" in repo.fails(command, "nosuch", code=3).err
        assert "not tracked" in repo.fails(command, "one/x", code=3).err
        repo.fails(command, "--jobs", "0", code=2)
        repo.fails(command, "--jobs", "x", code=2)


def test_what_a_remote_lost_is_sent_again(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/{i}", f"content {i}")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    shutil.rmtree(remote / "packs")
    assert repo.json("push")["objects"] == 0  # on the word of its own record
    assert repo.json("push", "--check")["objects"] > 20
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.files("data") == repo.files("data")


def test_a_pack_that_was_cut_short_is_sent_again(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/{i}", os.urandom(5000))
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    pack = max(remote.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    rewrite(pack, pack.read_bytes()[:-1])  # of all objects nothing is lost
    assert repo.json("push", "--check", "--dry-run")["objects"] == 20
    rewrite(pack, pack.read_bytes()[:40_000])
    clone = repo.clone("clone")
    clone.fails("pull", code=4)
    assert repo.json("push")["objects"] == 0  # on the word of its own record
    assert repo.json("push", "--check")["objects"] == 20
    clone.run("pull")
    assert clone.files("data") == repo.files("data")
    assert repo.json("push", "--check")["objects"] == 0


def test_a_check_that_finds_nothing_missing_writes_nothing(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "a")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    repo.run("push")
    before = sorted(remote.rglob("*"))
    assert repo.json("push", "--check")["roots"] == 0
    assert sorted(remote.rglob("*")) == before
    shutil.rmtree(remote / "packs")
    repo.write("one", "2")
    repo.run("commit")
    assert repo.json("push", "--check")["roots"] == 2
    (remote / "roots").rename(remote / "old")
    assert repo.json("push", "--check", "data")["roots"] == 1
    assert len(list(remote.glob("roots/*"))) == 1


def test_what_is_missing_over_there_is_sent_as_the_hint_says(repo: Repo, remote: Path) -> None:
    """Though a record says that all of it is there."""
    repo.write("one", "1")
    repo.run("add", "one")
    repo.commit()
    repo.run("push")
    shutil.rmtree(remote / "packs")
    assert "vml push --check -r origin" in repo.clone("clone").fails("pull", code=3).err
    repo.run("push", "--check", "-r", "origin")
    repo.clone("another").run("pull")


def test_other_peoples_directories_are_left_alone(repo: Repo, tmp_path: Path) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter").write_text("dear")
    repo.run("remote", "add", "-d", "home", str(tmp_path / "home"))
    assert "is not empty" in repo.fails("push", code=4).err
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter"]
