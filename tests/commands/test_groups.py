"""Optional data and groups: `--no-pull`, `--group`, `core.groups`, and what each command then means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.test_add import pointer
from tests.conftest import Repo


@pytest.fixture
def labelled(repo: Repo, remote: Path) -> Repo:
    """A project with plain data, optional data in groups, and plain data in a group; pushed."""
    for path in ("plain/a", "models/big/w", "models/small", "raw/a", "raw/b", "extra.bin"):
        repo.write(path, path)
    repo.run("add", "plain")
    repo.run("add", "--group", "model", "models/small")
    repo.run("add", "--no-pull", "--group", "raw", "raw")
    repo.run("add", "--no-pull", "--group", "model", "--group", "raw", "models/big")
    repo.run("add", "--no-pull", "extra.bin")
    repo.commit()
    repo.run("push")
    return repo


def here(repo: Repo) -> set[str]:
    """The tracked paths that are in the workspace."""
    return {each["path"] for each in repo.json("ls")["entries"] if (repo.path / each["path"]).exists()}


PLAIN = {"plain", "models/small"}


def test_labels_in_the_pointer(repo: Repo) -> None:
    repo.write("data/a", "1")
    (one,) = repo.json("add", "--no-pull", "--group", "b", "--group", "a", "data")["recorded"]
    assert (one["state"], one["pull"], one["groups"]) == ("new", False, ["a", "b"])
    assert (pointer(repo, "data")["pull"], pointer(repo, "data")["groups"]) == (False, ["a", "b"])
    repo.write("data/a", "22")
    repo.run("add", "data")
    repo.run("mv", "data", "moved")
    assert (pointer(repo, "moved")["pull"], pointer(repo, "moved")["groups"]) == (False, ["a", "b"])
    listed = repo.json("ls")["entries"][0]
    assert (listed["pull"], listed["groups"]) == (False, ["a", "b"])
    result = repo.run("add", "--no-group", "a", "moved")
    assert "moved: 1 file, 2 B, optional, in group b" in result.err
    assert "git add moved.vml" in result.err
    repo.run("add", "--pull", "--no-group", "b", "moved")
    assert not {"pull", "groups"} & pointer(repo, "moved").keys()
    assert "(unchanged)" in repo.run("add", "--pull", "moved").err


def test_labels_leave_data_alone(labelled: Repo) -> None:
    before = pointer(labelled, "plain")
    labelled.write("plain/a", "changed")
    labelled.run("add", "--group", "x", "plain")
    assert pointer(labelled, "plain") == before | {"groups": ["x"]}
    assert labelled.changes() == {"plain/a": "modified"}
    clone = labelled.clone("clone")
    clone.run("add", "--pull", "raw", "extra.bin")  # neither is here
    assert "pull" not in pointer(clone, "raw")
    clone.run("pull")
    assert here(clone) == PLAIN | {"raw", "extra.bin"}


def test_bad_labels(labelled: Repo) -> None:
    assert "cannot be the name" in labelled.fails("add", "--group", "a/b", "plain", code=3).err
    assert "as a whole" in labelled.fails("add", "--group", "a", "plain/a", code=3).err
    assert "did you mean raw?" in labelled.fails("pull", "--group", "rawe", code=3).err
    assert "model, raw" in labelled.fails("fetch", "--group", "zzzzzz", code=3).err
    assert "list of names" in labelled.fails("config", "core.groups", "a b", code=3).err


def test_plain_pull_leaves_optional_data_out(labelled: Repo) -> None:
    clone = labelled.clone("clone")
    assert {each["path"] for each in clone.json("status")["missing"]} == PLAIN
    clone.run("pull")
    assert here(clone) == PLAIN
    found = clone.json("status")
    assert (found["clean"], found["data"], found["missing"], found["not_pushed"]) == (True, [], [], [])
    assert [each["path"] for each in found["optional"]] == ["extra.bin", "models/big", "raw"]
    assert "3 optional paths are not here (vml pull --group model)" in clone.run("status", "--exit-code").out
    assert clone.run("checkout").err == "nothing to do: the workspace is what the pointers say\n"
    assert "no data changed" in clone.run("diff").err
    clone.run("push")  # all of it is over there


def test_named_by_path_or_group(labelled: Repo) -> None:
    clone = labelled.clone("clone")
    assert "left out, being optional: models/big" in clone.run("pull", "models").err
    assert here(clone) == {"models/small"}
    clone.run("pull", "raw/a")
    assert clone.files("raw") == {"a": b"raw/a"}
    clone.run("pull", "--group", "raw", "extra.bin")
    assert here(clone) == {"models/small", "models/big", "raw", "extra.bin"}
    assert clone.files("raw") == {"a": b"raw/a", "b": b"raw/b"}


def test_lists_of_files_are_not_optional(labelled: Repo) -> None:
    clone = labelled.clone("clone")
    clone.run("fetch", "--metadata")
    assert [each["path"] for each in clone.json("ls", "raw")["entries"]] == ["raw/a", "raw/b"]
    clone.run("mv", "raw/a", "raw/c")
    assert [each["path"] for each in clone.json("status")["optional"]] == ["extra.bin", "models/big", "raw"]
    assert [each["path"] for each in clone.json("status")["not_pushed"]] == ["raw"]
    clone.run("push")
    assert clone.json("status")["not_pushed"] == []


def test_once_here_it_is_like_all_else(labelled: Repo) -> None:
    clone = labelled.clone("clone")
    clone.run("pull", "--group", "raw")
    clone.write("raw/a", "changed")
    assert clone.changes()["raw/a"] == "modified"
    clone.run("checkout", "raw", "--force")
    labelled.write("raw/c", "c")
    labelled.run("add", "raw")
    labelled.commit()
    labelled.run("push")
    clone.git("pull", "-q")
    clone.run("pull")
    assert (clone.path / "raw/c").read_text() == "c"
    # and without its files it is optional again
    for path in clone.files("raw"):
        (clone.path / "raw" / path).unlink()
    (clone.path / "raw").rmdir()
    assert clone.json("status")["clean"]
    assert "no data changed" in clone.run("diff").err
    clone.run("pull")
    assert not (clone.path / "raw").exists()


def test_groups_of_a_clone(labelled: Repo) -> None:
    clone = labelled.clone("clone")
    clone.run("config", "--local", "core.groups", "raw, other")
    assert clone.changes()["raw"] == "absent"
    clone.run("pull")
    assert here(clone) == PLAIN | {"raw", "models/big"}
    assert [each["path"] for each in clone.json("status")["optional"]] == ["extra.bin"]


def test_fetch_and_checkout_and_push_by_group(labelled: Repo, tmp_path: Path) -> None:
    clone = labelled.clone("clone")
    assert clone.json("fetch", "--group", "model")["objects"] == 2
    clone.run("checkout", "--group", "model")
    assert here(clone) == {"models/big", "models/small"}
    clone.run("remote", "add", "second", str(tmp_path / "second"))
    assert clone.json("push", "--group", "model", "-r", "second")["roots"] == 2
    assert clone.json("fetch", "--all-commits")["objects"] == 1  # plain
    assert clone.json("fetch", "--all-commits", "--group", "raw")["objects"] == 2
    assert clone.json("fetch", "--all-branches", "extra.bin")["objects"] == 1


def test_an_older_version_by_group(labelled: Repo) -> None:
    labelled.write("raw/a", "newer")
    labelled.run("add", "raw")
    labelled.commit()
    labelled.run("checkout", "--rev", "HEAD~1", "--group", "raw")
    assert labelled.read("raw/a") == b"raw/a"
    assert json.loads(labelled.run("status", "--json").out)["data"][0]["path"] == "raw/a"
