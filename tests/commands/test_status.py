"""`vml status`: what it says, what it costs to be sure, and what it must never overlook."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import Repo


def test_clean_and_dirty(repo: Repo) -> None:
    assert "nothing is tracked yet" in repo.run("status").out
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    assert "new:        data" in repo.run("status").out
    assert repo.run("status", "--exit-code", ok=False).code == 1
    repo.commit()
    assert repo.run("status", "--exit-code").out == "nothing changed\n"
    repo.write("data/a", "changed")
    repo.write("data/c", "")
    (repo.path / "data/b").unlink()
    repo.write("one", "22")
    out = repo.run("status").out
    assert "modified:   data/a  (1 B -> 7 B)" in out
    assert "added:      data/c  (0 B)" in out
    assert "deleted:    data/b  (1 B)" in out
    assert "modified:   one  (1 B -> 2 B)" in out
    assert repo.run("status", "--exit-code", ok=False).code == 1
    assert repo.run("status", "--exit-code", "nothing", ok=False).code == 3
    (repo.path / "one").unlink()
    shutil.rmtree(repo.path / "data")
    assert repo.changes() == {"data": "deleted", "one": "deleted"}


def test_only_some_paths(repo: Repo) -> None:
    for path in ("a/x", "a/sub/y", "b/x"):
        repo.write(f"data/{path}", "1")
    repo.write("other", "1")
    repo.run("add", "data/a", "data/b", "other")
    for path in ("a/x", "a/sub/y", "b/x"):
        repo.write(f"data/{path}", "22")
    repo.write("other", "22")
    assert repo.changes("data") == dict.fromkeys(["data/a/x", "data/a/sub/y", "data/b/x"], "modified")
    assert repo.changes("data/a/sub") == {"data/a/sub/y": "modified"}
    assert repo.changes("data/a/x", "other") == dict.fromkeys(["data/a/x", "other"], "modified")
    assert len(repo.json("status", "data/a", "data/a/sub", "data/a/sub/y")["data"]) == 2
    assert [each["path"] for each in repo.json("status", "other")["pointers"]] == ["other"]


def test_renames(repo: Repo) -> None:
    repo.write("data/old", "content")
    repo.write("data/empty", "")
    repo.run("add", "data")
    (repo.path / "data/old").rename(repo.path / "data/new")
    (repo.path / "data/empty").rename(repo.path / "data/void")
    assert "renamed:    data/old -> data/new" in repo.run("status").out
    rows = {each["path"]: each for each in repo.json("status")["data"]}
    assert rows["data/new"]["from"] == "data/old"
    assert rows["data/void"]["change"] == "added"


def test_json_shape(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    found = repo.json("status")
    keys = "schema clean conflicts data pointers missing not_pushed stages optional partial unmade left"
    assert list(found) == keys.split()
    assert found["clean"] is False
    assert found["pointers"] == [
        {"path": "data", "change": "new", "staged": False},
        {"path": "one", "change": "new", "staged": False},
    ]
    assert found["not_pushed"] == [{"path": "data", "remote": "origin"}, {"path": "one", "remote": "origin"}]
    repo.commit()
    repo.write("one", "22")
    (row,) = repo.json("status")["data"]
    assert row["path"] == "one"
    assert row["change"] == "modified"
    assert row["old"]["size"] == 1
    assert row["new"]["size"] == 2
    assert row["new"]["hash"].startswith("xxh128:")
    (repo.path / "one").unlink()
    assert repo.json("status")["data"][0]["new"] is None


def test_missing(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    found = clone.json("status")
    assert [(each["path"], each["objects"]) for each in found["missing"]] == [("data", 1), ("one", 1)]
    assert found["not_pushed"] == []
    assert not found["clean"]
    here = "Not in the workspace:\n  ({} brings it)\n\tabsent:     data\n\tabsent:     one\n\n"
    assert clone.run("status").out == here.format("vml pull")
    clone.run("fetch", "one")
    assert clone.run("status").out == here.format("vml pull")
    clone.run("fetch")
    assert clone.run("status").out == here.format("vml checkout")


def test_remote(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    repo.commit()
    for _ in range(2):  # before the first push, which would make the directory; and where it is there, but empty
        assert "not pushed: data" in repo.run("status", "--remote").out
        assert repo.run("status", "--remote", "--exit-code", ok=False).code == 1
        remote.mkdir(exist_ok=True)
    repo.run("push")
    assert repo.run("status", "--remote").out == "nothing changed\n"
    repo.write("data/a", "22")
    repo.run("commit")
    for option in (["--remote"], ["--remote", "origin"], ["--remote=origin"], []):
        assert "not pushed: data" in repo.run("status", *option).out
    assert "no remote" in repo.fails("status", "--remote", "nosuch", code=3).err
    # a colleague's push is seen when the remote is asked, and only then
    repo.commit()
    colleague = repo.clone("colleague")
    shutil.copytree(repo.path / ".vml/cache", colleague.path / ".vml/cache")
    colleague.run("push")
    assert repo.json("status")["not_pushed"] != []
    assert repo.json("status", "--remote")["not_pushed"] == []
    shutil.rmtree(remote)
    assert repo.json("status")["not_pushed"] == []
    assert "does not exist" in repo.fails("status", "--remote", code=4).err


def test_touch_is_no_change(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    for path in ("data/a", "one"):
        os.utime(repo.path / path, (1, 1))
    assert repo.changes() == {}
    for path in ("data/a", "one"):
        os.utime(repo.path / path)
    assert repo.changes() == {}


def test_the_same_size_in_the_same_moment(repo: Repo) -> None:
    target = repo.write("data/a", "0000")
    one = repo.write("one", "0000")
    repo.run("add", "data", "one")
    for i in range(1, 30):
        with target.open("r+b") as file, one.open("r+b") as other:  # in place: the inode stays
            file.write(b"%04d" % i)
            other.write(b"%04d" % i)
        assert repo.changes() == {"data/a": "modified", "one": "modified"}, i
        repo.run("add", "data", "one")
        assert repo.changes() == {}


def test_rehash_finds_what_times_hide(repo: Repo) -> None:
    target = repo.write("data/a", "1111")
    old = time.time_ns() - 10**12
    os.utime(target, ns=(old, old))
    repo.run("add", "data")
    # hard links hide the ctime, and utime sets the mtime back: nothing in the stats tells
    os.link(target, repo.path / "elsewhere")
    repo.run("status")
    with target.open("r+b") as file:
        file.write(b"2222")
    os.utime(target, ns=(old, old))
    assert repo.json("status", "--rehash")["data"][0]["path"] == "data/a"
    assert repo.changes() == {"data/a": "modified"}  # and what it found is remembered


def test_refresh(repo: Repo) -> None:
    repo.write("deep/er/one", "1")
    repo.run("add", "deep/er/one")
    repo.run("status")
    assert repo.changes() == {}
    shutil.copy(repo.path / "deep/er/one.vml", repo.path / "deep/two.vml")
    repo.write("deep/two.vml", repo.read("deep/er/one.vml").replace(b'"one"', b'"two"'))
    assert repo.changes() == {"deep/two": "absent"}
    assert repo.json("status", "--refresh")["data"][0]["path"] == "deep/two"


def test_looking_changes_nothing(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    repo.commit()
    repo.write("data/a", "22")
    before = {p: c for p, c in repo.files(".").items() if not p.startswith((".vml/index", ".git/"))}
    repo.run("status")
    repo.run("diff")
    repo.run("ls")
    assert {p: c for p, c in repo.files(".").items() if not p.startswith((".vml/index", ".git/"))} == before


def test_quoting(repo: Repo) -> None:
    repo.write("data/new\nline", "1")
    repo.run("add", "data")
    repo.write("data/new\nline", "22")
    assert r"$'data/new\nline'" in repo.run("status").out


def test_a_file_became_a_directory_and_back(repo: Repo) -> None:
    repo.write("one", "1")
    repo.write("data/a", "1")
    repo.run("add", "one", "data")
    (repo.path / "one").unlink()
    repo.write("one/deep", "1")
    shutil.rmtree(repo.path / "data")
    repo.write("data", "1")
    found = repo.changes()
    assert found["one"] == "modified"
    assert "deleted" in {found.get("data"), found.get("data/a")}
    repo.run("add", "one", "data")
    assert repo.changes() == {}
    kinds = {each["path"]: each["kind"] for each in repo.json("ls")["entries"]}
    assert kinds == {"data": "file", "one": "tree"}


def test_bad_input(repo: Repo, tmp_path: Path) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    for path, code, words in (
        ("nosuch", 3, "not tracked"),
        ("README", 3, "not tracked"),
        ("../x", 3, "outside of the project"),
        (".git", 3, "belongs to Git"),
    ):
        assert words in repo.fails("status", path, code=code).err
    repo.fails("status", "--nonsense", code=2)
    bare = tmp_path / "bare.git"
    repo.commit()
    repo.git("clone", "-q", "--bare", ".", str(bare))
    assert "no workspace" in repo.fails("status", code=3, cwd=bare).err


GOOD = {"schema": 1, "path": "data", "kind": "file", "hash": "xxh128:" + "ab" * 16, "size": 3}
CONFLICT = "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n"


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        (CONFLICT, "conflict markers"),
        ("[]", "not a JSON object"),
        (json.dumps({**GOOD, "hash": "xxh128:../../etc"}), "is not a hash"),
        (json.dumps({**GOOD, "hash": "sha256:" + "ab" * 32}), "but this project uses xxh128"),
        (json.dumps({**GOOD, "kind": "tree"}), "its kind is tree"),
        (json.dumps({**GOOD, "kind": "socket"}), "its kind 'socket'"),
        (json.dumps({**GOOD, "size": -1}), "size"),
        (json.dumps({**GOOD, "size": "3"}), "size"),
        (json.dumps({**GOOD, "path": "../data"}), "its path is"),
        (json.dumps({**GOOD, "schema": 2}), "newer vml"),
        ("\xff".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_bad_pointer(repo: Repo, remote: Path, content: str | bytes, words: str) -> None:
    repo.write("data", "abc")
    repo.write("other", "1")
    repo.run("add", "data", "other")
    good = repo.commit()
    repo.run("push")
    repo.write("data.vml", content)
    before = repo.files(".")
    for command in (
        ["status"], ["diff"], ["ls"], ["checkout"], ["commit"], ["push"], ["fetch"], ["pull"],
        ["add", "data"], ["rm", "data"], ["mv", "data", "raw"], ["checkout", "data", "--rev", good],
    ):  # fmt: skip
        result = repo.fails(*command, code=3)
        assert "data.vml" in result.err, command
        assert words in result.err, command
    bad = repo.commit()
    for command in (["ls", "--rev", bad], ["diff", good, bad], ["checkout", "--rev", bad]):
        assert words in repo.fails(*command, code=3).err, command
    assert repo.read("data") == before["data"]
    # the hint's way out works
    repo.git("checkout", "-q", good, "data.vml")
    repo.run("status")


def test_a_pointer_that_is_named_for_something_else(repo: Repo) -> None:
    for name in ("...vml", ".git.vml", ".vml.vml", "sub/.GIT.vml"):
        repo.write(name, json.dumps(GOOD))
        result = repo.fails("status", code=3)
        assert name.rpartition("/")[2] in result.err
        (repo.path / name).unlink()
    repo.run("status")


def test_one_broken_pointer_hides_nothing_else(repo: Repo) -> None:
    repo.write("one", "1")
    repo.write("two", "2")
    repo.run("add", "one", "two")
    repo.commit()
    repo.write("one.vml", "<<<<<<< ours\n")
    repo.write("two", "22")
    found = repo.fails("status", code=3)
    assert "modified:   two" in found.out
    assert "one.vml" in found.err


@pytest.mark.parametrize(
    "line", ["fetch data/nope", "fetch --metadata data/nope", "push data/nope", "pull -n data/nope",
             "unprotect data/nope", "pull data/nope", "checkout data/nope"]
)  # fmt: skip
def test_a_path_inside_that_leads_nowhere_is_an_error(repo: Repo, remote: Path, line: str) -> None:
    for i in range(3):
        repo.write(f"data/{i}", f"{i}")
    repo.run("add", "data")
    repo.run("push")
    assert "data has no nope" in repo.fails(*line.split(), code=3).err


def test_a_remote_that_is_asked_knows_more_than_its_records(repo: Repo, remote: Path) -> None:
    for i in range(3):
        repo.write(f"data/{i}", f"{i}")
    repo.run("add", "data")
    repo.run("push")
    shutil.rmtree(remote / "roots")
    assert repo.json("status", "--remote")["not_pushed"] == []
    next(remote.glob("packs/*/*")).unlink()
    assert [each["path"] for each in repo.json("status", "--remote")["not_pushed"]] == ["data"]


def test_paths_are_relative_to_where_one_stands(repo: Repo) -> None:
    repo.write("photos/apple/1", "1")
    repo.write("photos/pear/1", "1")
    repo.write("table", "1")
    repo.run("add", "photos", "table")
    repo.commit()
    repo.write("photos/apple/1", "22")
    repo.write("table", "22")
    found = repo.run("status", cwd="photos/pear").out
    assert "modified:   ../apple/1  (1 B -> 2 B)" in found
    assert "modified:   ../../table  (1 B -> 2 B)" in found
    repo.run("checkout", "--force", "../apple/1", cwd="photos/pear")
    assert repo.changes() == {"table": "modified"}
    assert [each["path"] for each in repo.json("status", cwd="photos/pear")["data"]] == ["table"]
