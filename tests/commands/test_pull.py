"""`vml pull`: all of it, or a part, and again after news."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.test_add import kept, pointer
from tests.commands.test_fetch import pushed
from tests.conftest import Repo


def test_everything(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    got = clone.json("pull")
    assert got["fetched"].pop("seconds") > 0
    assert got == {
        "schema": 1,
        "fetched": {
            "objects": 21, "bytes": 4000, "stored": 369, "saved_by_dedup": 0, "saved_by_zstd": 3631, "requests": 0,
        },
        "written": 21, "removed": 0, "bytes": 4000,
    }  # fmt: skip
    assert clone.files("data") == repo.files("data")
    assert clone.json("status")["clean"]
    assert "everything is here already" in clone.run("pull").err
    repo.write("data/0/0", "changed")
    (repo.path / "data/1/1").unlink()
    repo.run("commit")
    repo.commit()
    repo.run("push")
    clone.git("pull", "-q")
    found = clone.json("pull")
    assert (found["written"], found["removed"]) == (1, 1)
    assert clone.files("data") == repo.files("data")


def test_a_part_then_another_then_all(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    clone.run("pull", "data/1")
    assert sorted(clone.files("data")) == sorted(f"1/{i}" for i in range(1, 20, 2))
    assert clone.changes() == {"one": "absent"}
    clone.write("data/1/1", "edited")
    clone.write("data/1/new", "new")
    clone.run("commit")
    clone.run("add", "data")
    assert pointer(clone, "data")["nfiles"] == 21
    assert clone.changes() == {"one": "absent"}
    clone.run("pull", "data/0/0", "data/0/2")
    assert {"0/0", "0/2"} < set(clone.files("data"))
    assert clone.changes() == {"one": "absent"}
    clone.run("pull")
    assert clone.files("data") == repo.files("data") | {"1/1": b"edited", "1/new": b"new"}
    assert clone.changes() == {}


def test_two_parts_of_a_directory_that_is_not_there(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    clone.run("pull", "data/1", "data/0/0", "one")
    assert len(clone.files("data")) == 11
    assert clone.changes() == {}


def test_a_part_after_news(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    clone.run("pull", "data/1")
    repo.write("data/1/1", "news")
    repo.write("data/0/0", "news")
    repo.run("commit")
    repo.commit()
    repo.run("push")
    clone.git("pull", "-q")
    clone.run("pull", "data/1")
    assert clone.read("data/1/1") == b"news"
    assert len(clone.files("data")) == 10
    assert clone.changes() == {"one": "absent"}
    clone.run("pull")
    assert clone.files("data") == repo.files("data")
    assert clone.changes() == {}


def test_a_part_of_a_large_directory_after_news(repo: Repo, remote: Path) -> None:
    # many pages: those of other parts are not here
    for i in range(3000):
        repo.write(f"data/{i % 3}/{i}", "x")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull", "data/1")
    for part in range(3):
        for i in range(part, 3000, 300):
            repo.write(f"data/{part}/{i}", "news")
    repo.run("commit")
    repo.commit()
    repo.run("push")
    clone.git("pull", "-q")
    clone.run("pull", "data/1")
    assert clone.files("data/1") == repo.files("data/1")
    assert clone.changes() == {}
    clone.run("pull")
    assert clone.files("data") == repo.files("data")


def test_unsaved_bytes(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    clone.write("data/1/1", "precious")
    clone.write("one", "precious")
    result = clone.fails("pull", code=3)
    assert "data/1/1" in result.err
    assert "  one" in result.err
    assert clone.files("data") == {"1/1": b"precious"}
    err = clone.run("pull", "--force").err
    assert clone.files("data") == repo.files("data")
    for line in err.splitlines():
        if "kept as" in line:
            assert kept(clone, line.partition("kept as ")[2].split()[0]) == b"precious"
    assert err.count("kept as") == 2


def test_what_is_here_needs_no_remote(repo: Repo) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    (repo.path / "one").unlink()
    repo.run("pull")
    assert repo.read("one") == b"1"


def test_bad_input(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    assert "has no nosuch" in clone.fails("pull", "data/nosuch", code=3).err
    assert "no remote" in clone.fails("pull", "-r", "nosuch", code=3).err


@pytest.mark.parametrize("form", ["file://{}", "../remote"])
def test_forms_of_an_address(repo: Repo, tmp_path: Path, form: str) -> None:
    repo.run("remote", "add", "-d", "origin", form.format(tmp_path / "remote"))
    repo.commit()
    clone = pushed(repo)
    clone.run("pull")
    assert clone.files("data") == repo.files("data")
    assert (tmp_path / "remote/vml.json").exists()
