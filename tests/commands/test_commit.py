"""`vml commit`: records what changed in all that is tracked."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.commands.test_add import pointer
from tests.conftest import Repo


def test_everything_that_changed(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.write("two", "1")
    repo.run("add", "data", "one", "two")
    repo.commit()
    assert "nothing changed (3 paths looked at)" in repo.run("commit").err
    repo.write("data/a", "22")
    repo.write("one", "22")
    result = repo.run("commit")
    assert "data: 1 file, 2 B (1 modified)" in result.err
    assert "git add data.vml one.vml" in result.err
    assert repo.changes() == {}
    found = repo.json("commit")["recorded"]
    assert found == []
    repo.write("two", "22")
    assert [each["path"] for each in repo.json("commit")["recorded"]] == ["two"]


def test_some_paths(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    for path in ("data/a", "data/b", "one"):
        repo.write(path, "22")
    repo.run("commit", "data/a")
    assert repo.changes() == {"data/b": "modified", "one": "modified"}
    repo.run("commit", "one")
    assert repo.changes() == {"data/b": "modified"}


def test_what_is_absent_is_left_as_it_is(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    before = clone.read("data.vml")
    assert "nothing changed" in clone.run("commit").err
    assert clone.read("data.vml") == before
    shutil.rmtree(repo.path / "data")
    repo.run("commit")
    assert pointer(repo, "data")["nfiles"] == 1
    result = repo.fails("commit", "data", code=3)
    assert "not in the workspace" in result.err
    assert "vml checkout data" in result.err


def test_bad_input(repo: Repo) -> None:
    repo.write("one", "1")
    assert "not tracked" in repo.fails("commit", "one", code=3).err
    assert "does not exist" in repo.fails("commit", "nosuch", code=3).err
    repo.fails("commit", "--nonsense", code=2)
