"""`vml rm`: tracking ends, and only bytes that the store has are deleted."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tests.commands.test_add import kept, metadata_clone, pointer
from tests.conftest import Repo


def test_a_directory_and_a_file(repo: Repo) -> None:
    repo.write("data/a/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    result = repo.run("rm", "data", "one")
    assert "removed: data" in result.err
    assert not (repo.path / "data").exists()
    assert not (repo.path / "one").exists()
    assert not (repo.path / "data.vml").exists()
    assert not (repo.path / ".gitignore").exists()
    assert repo.json("status")["pointers"] == [
        {"path": "data", "change": "deleted", "staged": False},
        {"path": "one", "change": "deleted", "staged": False},
    ]
    assert "deleted" in repo.run("status", "data").out
    repo.git("checkout", "-q", ".")
    repo.run("checkout")
    assert repo.files("data") == {"a/b": b"1"}


def test_cached_leaves_the_files(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.run("add", "data")
    repo.commit()
    repo.write("data/a", "unsaved")
    repo.run("rm", "--cached", "data/b")
    assert repo.changes() == {"data/a": "modified", "data/b": "added"}
    assert "no longer tracked" in repo.run("rm", "--cached", "data").err
    assert repo.files("data") == {"a": b"unsaved", "b": b"1"}
    # what was let go of on purpose is nobody's to delete later
    repo.commit()
    repo.run("diff", "HEAD~1")
    repo.run("checkout")
    assert repo.files("data") == {"a": b"unsaved", "b": b"1"}


def test_inside_a_directory(repo: Repo) -> None:
    for path in ("a", "sub/b", "sub/c", "d/e"):
        repo.write(f"data/{path}", path)
    repo.run("add", "data")
    repo.run("rm", "data/a", "data/sub")
    assert repo.files("data") == {"d/e": b"d/e"}
    assert not (repo.path / "data/sub").exists()
    assert pointer(repo, "data")["nfiles"] == 1
    assert repo.changes() == {}
    repo.run("rm", "data/d", "data/d/e")
    assert pointer(repo, "data")["nfiles"] == 0


def test_in_a_clone_without_any_file(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("whole/a", "1")
    repo.run("add", "data", "whole")
    repo.commit()
    repo.run("push")
    clone = metadata_clone(repo)
    clone.run("rm", "data/a", "whole")
    assert pointer(clone, "data")["nfiles"] == 1
    assert clone.changes() == {"data": "absent"}


def test_unsaved_bytes(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.write("data/a", "precious a")
    repo.write("data/extra", "precious extra")
    repo.write("one", "precious one")
    before = repo.files(".")
    result = repo.fails("rm", "data/b", "data", "one", code=3)
    assert "data/a" in result.err
    assert "data/extra" in result.err
    assert "  one" in result.err
    after = repo.files(".")
    assert {p: c for p, c in after.items() if not p.startswith(".vml/")} == {
        p: c for p, c in before.items() if not p.startswith(".vml/")
    }
    result = repo.run("rm", "--force", "data", "one")
    found = dict(re.findall(r"(\S+) is out of the workspace; its bytes are kept as (\S+)", result.err))
    assert {path: kept(repo, text) for path, text in found.items()} == {
        "data/a": b"precious a", "data/extra": b"precious extra", "one": b"precious one",
    }  # fmt: skip
    assert not (repo.path / "data").exists()
    assert "data/extra is out of the workspace" in repo.run("status").err
    assert "is out of the workspace" not in repo.run("status").err


def test_what_nobody_looked_at_stays(repo: Repo) -> None:
    repo.write(".vmlignore", "*.tmp\n")
    repo.write("data/a", "1")
    repo.write("data/x.tmp", "precious")
    repo.run("add", "data")
    repo.git("init", "-q", "data/clone")
    os.mkfifo(repo.path / "data/pipe")
    (repo.path / "data/empty/er").mkdir(parents=True)
    repo.run("rm", "data")
    assert repo.read("data/x.tmp") == b"precious"
    assert (repo.path / "data/clone/.git/refs/tags").is_dir()
    assert (repo.path / "data/pipe").exists()
    assert not (repo.path / "data/empty").exists()
    assert not (repo.path / "data/a").exists()


def test_something_else_stands_there(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    shutil.rmtree(repo.path / "data")
    repo.write("data", "precious")
    (repo.path / "one").unlink()
    repo.write("one/deep", "precious")
    repo.run("rm", "data", "one")
    assert repo.read("data") == b"precious"
    assert repo.read("one/deep") == b"precious"


def test_a_link_to_elsewhere(repo: Repo, tmp_path: Path) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    shutil.rmtree(repo.path / "data")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a").write_text("1")
    (repo.path / "data").symlink_to(elsewhere)
    repo.run("rm", "data")
    assert (elsewhere / "a").read_text() == "1"


def test_bad_input(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    assert "not tracked" in repo.fails("rm", "data", "nosuch", code=3).err
    assert (repo.path / "data.vml").exists()
    assert "has no nosuch" in repo.fails("rm", "data/nosuch", code=3).err
    assert "not tracked" in repo.fails("rm", "one/x", code=3).err
    assert "name the data: data" in repo.fails("rm", "data.vml", code=3).err
    assert "outside" in repo.fails("rm", "../x", code=3).err
    repo.fails("rm", "--nonsense", "data", code=2)
    repo.fails("rm", code=2)
