"""Trees and pointers from strangers: refused with an error, and nothing is written outside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.commands.test_add import store_of
from tests.conftest import Repo
from vcs_ml import paths
from vcs_ml.hashing import SHA256, XXH128
from vcs_ml.store import objects, page
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Builder
from vcs_ml.store.page import EXECUTABLE, FILE, SYMLINK, Entry
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project

CONTENT = b"evil"


def tree_of(files: dict[bytes, tuple[int, bytes]], *, sort: bool = True) -> dict[ObjectId, bytes]:
    """The objects of a one-page tree, root first; encoded without any of the checks that `build` makes."""
    names = sorted(files, key=paths.key) if sort else list(files)
    rows = [Entry(name, files[name][0], len(files[name][1]), XXH128.digest(files[name][1])) for name in names]
    raw = page.encode(0, rows, XXH128)
    blobs = {objects.blob(XXH128.digest(content)): content for _, content in files.values()}
    return {objects.node(SHA256.digest(raw)): raw, **blobs}


def put_in_store(repo: Repo, found: dict[ObjectId, bytes]) -> None:
    with store_of(repo).batch() as batch:
        for oid, data in found.items():
            batch.add(oid, data)


def put_on_remote(repo: Repo, found: dict[ObjectId, bytes]) -> None:
    project = Project.find(repo.path, os.environ)
    there = opening.remote_at(project, project.remote(), create=True)
    builder = Builder(there.backend, XXH128)
    for oid, data in found.items():
        builder.add(oid, data)
    there.publish_index(builder.finish())


def point(repo: Repo, found: dict[ObjectId, bytes], name: str = "data") -> None:
    content = {
        "schema": 1, "path": name, "kind": "tree", "size": 4, "nfiles": 1,
        "hash": objects.format_hash(next(iter(found)), XXH128),
    }  # fmt: skip
    repo.write(f"{name}.vml", json.dumps(content))


def outside(repo: Repo) -> dict[str, bytes]:
    """All there is but our own state, Git's objects included."""
    above = Repo(repo.path.parent, repo._capture)
    return {p: c for p, c in above.files(".").items() if not p.startswith(("repo/.vml/", "remote/"))}


PATHS = [
    b"../x", b"..", b"a/../../x", b"/etc/x", b"//x", b"./x", b"a/./x", b"a//x", b"a/", b".git/config", b".GIT/config",
    b"a/.Git/x", b"git~1/config", b".vml/config.toml", b".vml", b".g\xe2\x80\x8cit/config", b".git./x", b".git /x",
    b"caf\xe9", b"a" * 256, b"/".join([b"d"] * 300),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("place", ["store", "remote"])
def test_paths(repo: Repo, remote: Path, path: bytes, place: str) -> None:
    found = tree_of({path: (FILE, CONTENT)})
    (put_in_store if place == "store" else put_on_remote)(repo, found)
    point(repo, found)
    before = outside(repo)
    for command in (["pull"], ["checkout"], ["checkout", "--force"], ["ls", "data"], ["add", "data/x"], ["push"]):
        result = repo.run(*command, ok=False)
        assert result.code in (3, 4), (command, result)
        assert "Traceback" not in result.err
    assert outside(repo) == before


@pytest.mark.parametrize(
    "target",
    [b"/etc", b"..", b"../x", b"../../x", b"a/../../x", b"", b"x\0y", b"sub/../../../x", b"//etc/passwd"],
)
def test_links(repo: Repo, target: bytes) -> None:
    found = tree_of({b"a": (FILE, b"fine"), b"link": (SYMLINK, target)})
    put_in_store(repo, found)
    point(repo, found)
    before = outside(repo)
    repo.run("checkout", ok=False)
    result = repo.run("checkout", "--force", ok=False)
    assert result.code == 3
    assert "Traceback" not in result.err
    assert "link" in result.err
    assert {p: c for p, c in outside(repo).items() if not p.startswith("repo/data/a")} == before
    assert not (repo.path / "data/link").is_symlink()


def test_a_file_through_a_link(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for files in (
        {b"link": (SYMLINK, b"../../elsewhere"), b"link/x": (FILE, CONTENT)},
        {b"link": (SYMLINK, b"."), b"link/x": (FILE, CONTENT)},
        {b"f": (FILE, CONTENT), b"f/x": (EXECUTABLE, CONTENT)},
    ):
        found = tree_of(files)
        put_in_store(repo, found)
        point(repo, found)
        before = outside(repo)
        assert repo.run("checkout", ok=False).code == 3
        assert repo.run("checkout", "--force", ok=False).code == 3
        assert outside(repo) == before


def test_links_of_an_earlier_version_are_not_followed(repo: Repo) -> None:
    """A link inside is checked out first; the next version has a file through it."""
    first = tree_of({b"dir/keep": (FILE, b"1"), b"link": (SYMLINK, b"dir")})
    second = tree_of({b"dir/keep": (FILE, b"1"), b"link/keep": (FILE, CONTENT)})
    put_in_store(repo, first | second)
    point(repo, first)
    repo.run("checkout")
    point(repo, second)
    repo.run("checkout")
    assert repo.files("data") == {"dir/keep": b"1", "link/keep": CONTENT}
    assert not (repo.path / "data/link").is_symlink()


@pytest.mark.parametrize(
    "files",
    [
        {b"b": (FILE, CONTENT), b"a": (FILE, CONTENT)},
        {b"a": (FILE, CONTENT), b"a/b": (FILE, CONTENT)},
        {b"a\nb": (FILE, CONTENT), b"a": (FILE, CONTENT)},
    ],
)
def test_order(repo: Repo, files: dict[bytes, tuple[int, bytes]]) -> None:
    found = tree_of(files, sort=False)
    put_in_store(repo, found)
    point(repo, found)
    assert repo.run("checkout", ok=False).code == 3
    assert not (repo.path / "data").exists()


def test_a_size_that_is_not_true(repo: Repo) -> None:
    rows = [Entry(b"a", FILE, 10**12, XXH128.digest(CONTENT))]
    raw = page.encode(0, rows, XXH128)
    found = {objects.node(SHA256.digest(raw)): raw, objects.blob(XXH128.digest(CONTENT)): CONTENT}
    put_in_store(repo, found)
    point(repo, found)
    result = repo.run("checkout", ok=False)
    assert result.code in (0, 3)
    assert "Traceback" not in result.err
    if result.code == 0:
        assert repo.read("data/a") == CONTENT


def test_a_page_that_is_not_what_its_name_says(repo: Repo, remote: Path) -> None:
    good = tree_of({b"a": (FILE, CONTENT)})
    wrong = tree_of({b"b": (FILE, CONTENT)})
    (oid, *_), (_, *_) = good, wrong
    put_on_remote(repo, {oid: next(iter(wrong.values()))})
    point(repo, good)
    result = repo.run("pull", ok=False)
    assert result.code in (3, 4)
    assert not (repo.path / "data").exists()


def test_a_tracked_root_through_a_link(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    found = tree_of({b"a": (FILE, CONTENT)})
    put_in_store(repo, found)
    (repo.path / "dir").symlink_to(tmp_path / "elsewhere")
    repo.write("real/x", "")
    point(repo, found, "data")
    os.rename(repo.path / "data.vml", tmp_path / "elsewhere/data.vml")
    repo.run("checkout", ok=False)
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["data.vml"]
