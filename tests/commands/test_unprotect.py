"""`vml unprotect`: private, writable copies in the place of links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Repo


@pytest.fixture(params=["hardlink", "symlink"])
def linked(repo: Repo, request: pytest.FixtureRequest) -> Repo:
    repo.run("config", "cache.link", request.param)
    for path, data in {"data/a": b"a", "data/sub/b": b"b" * 300_000, "one": b"one"}.items():
        repo.write(path, data)
    repo.run("add", "data", "one")
    repo.commit()
    return repo


def is_private(repo: Repo, path: str) -> bool:
    st = (repo.path / path).lstat()
    return not (repo.path / path).is_symlink() and st.st_nlink == 1 and bool(st.st_mode & 0o200)


@pytest.mark.parametrize(
    ("paths", "private"),
    [
        (["one"], {"one"}),
        (["data"], {"data/a", "data/sub/b"}),
        (["data/sub"], {"data/sub/b"}),
        (["data/a", "one"], {"data/a", "one"}),
        (["."], {"data/a", "data/sub/b", "one"}),
    ],
)
def test_it_frees_what_is_named(linked: Repo, paths: list[str], private: set[str]) -> None:
    every = {path: linked.read(path) for path in ("data/a", "data/sub/b", "one")}
    assert f"{len(private)} file" in linked.run("unprotect", *paths).err
    assert {path for path in every if is_private(linked, path)} == private
    assert {path: linked.read(path) for path in every} == every
    assert linked.run("status").out == "nothing changed\n"
    assert "nothing to do" in linked.run("unprotect", *paths).err
    for path in private:
        linked.write(path, "edited")
    assert linked.changes() == dict.fromkeys(private, "modified")
    assert linked.run("status").err == ""  # the store has its own
    linked.run("checkout", "--force")
    assert {path: linked.read(path) for path in every} == every


def test_the_file_keeps_its_own_bytes(linked: Repo) -> None:
    (linked.path / "one").chmod(0o644)
    (linked.path / "one").write_bytes(b"written through")
    linked.run("unprotect", "one")
    assert linked.read("one") == b"written through"
    assert is_private(linked, "one")
    assert linked.changes() == {"one": "modified"}


def test_a_file_that_is_only_read_only_becomes_writable(repo: Repo) -> None:
    repo.write("one", "one").chmod(0o444)
    repo.run("add", "one")
    repo.run("unprotect", "one")
    assert is_private(repo, "one")


def test_other_links_stay(linked: Repo, tmp_path: Path) -> None:
    (linked.path / "data/rel").symlink_to("a")
    (tmp_path / "outside").write_bytes(b"x")
    os.link(tmp_path / "outside", linked.path / "data/hard")
    linked.run("unprotect", "data")
    assert os.readlink(linked.path / "data/rel") == "a"
    assert is_private(linked, "data/hard")
    assert linked.changes() == {"data/rel": "added", "data/hard": "added"}


def test_what_is_not_tracked_is_an_error(linked: Repo) -> None:
    linked.write("stranger", "1")
    linked.fails("unprotect", "stranger", code=3)
    linked.fails("unprotect", "nosuch", code=3)
    linked.fails("unprotect", code=2)


def test_nothing_is_changed_through_a_link_above(linked: Repo, tmp_path: Path) -> None:
    (linked.path / "data").rename(tmp_path / "elsewhere")
    (linked.path / "data").symlink_to(tmp_path / "elsewhere")
    linked.run("unprotect", "data", ok=False)
    assert not is_private(linked, "data/a")
