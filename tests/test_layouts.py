"""Every way in which Git lays out a repository: worktrees, submodules, sparse, shallow and bare clones, and more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Repo


@pytest.fixture
def shared(repo: Repo, remote: Path) -> Repo:
    """Two versions of a/, b/ and code, all pushed."""
    for folder in ("a", "b"):
        repo.write(f"{folder}/data/one", folder)
        repo.run("add", f"{folder}/data")
    repo.write("code/x.py", "x = 1\n")
    repo.commit("first")
    repo.write("a/data/two", "second")
    repo.run("add", "a/data")
    repo.commit("second")
    repo.run("push", "--all-commits")
    return repo


def absent(repo: Repo) -> set[str]:
    return {path for path, change in repo.changes().items() if change == "absent"}


def test_a_worktree_has_its_own_data_and_the_store_of_all(shared: Repo, tmp_path: Path) -> None:
    shared.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"), "HEAD~1")
    linked = shared.beside("linked")

    assert absent(linked) == {"a/data", "b/data"}
    linked.run("checkout")
    assert linked.files("a/data") == {"one": b"a"}
    linked.write("a/data/three", "side")
    linked.run("add", "a/data")
    linked.commit("side")

    assert shared.json("status")["clean"]
    shared.git("merge", "-q", "-m", "merge", "-X", "theirs", "side")
    shared.run("checkout")
    assert shared.read("a/data/three") == b"side"
    shared.git("worktree", "remove", "--force", str(tmp_path / "linked"))
    assert shared.run("fsck").code == 0


def test_a_submodule_is_a_project_of_its_own(shared: Repo, repo: Repo) -> None:
    above = repo.beside("above")
    above.path.mkdir()
    above.git("init", "-q", "-b", "main")
    above.run("init")
    above.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(shared.path), "sub")
    above.write("own.bin", "1")
    above.run("add", "own.bin")
    above.commit()
    sub = Repo(above.path / "sub", repo._capture)

    assert absent(sub) == {"a/data", "b/data"}
    sub.run("pull")
    sub.write("a/data/more", "3")
    assert sub.changes() == {"a/data/more": "added"}
    assert above.json("status")["clean"]
    for path in ("sub", "sub/a", "sub/a/data"):
        assert "belongs to the project sub" in above.fails("add", path, code=3).err
    sub.run("add", "a/data")
    assert sub.git("status", "--porcelain").split() == ["M", "a/data.vml"]


def test_a_repository_inside_is_not_data(repo: Repo) -> None:
    repo.write("data/inner/file", "1")
    subprocess.run(["git", "init", "-q", repo.path / "data/inner"], check=True)

    assert "data/inner/.git cannot be tracked" in repo.fails("add", "data", code=3).err
    repo.write(".vmlignore", "inner/\n")
    repo.write("data/file", "2")
    repo.run("add", "data")
    assert [each["path"] for each in repo.json("ls", "-R")["entries"]] == ["data/file"]


def test_projects_in_two_directories(repo: Repo, tmp_path: Path) -> None:
    top = repo.beside("two")
    top.path.mkdir()
    top.git("init", "-q", "-b", "main")
    for name in ("one", "other"):
        (top.path / name).mkdir()
        top.run("init", cwd=name)
        top.write(f"{name}/data/x", name)
        top.run("add", "data", cwd=name)
    top.commit()

    refused = top.fails("status", code=3).err
    assert "no vml project (below it: " in refused
    assert "vml -C " in refused
    for name in ("one", "other"):
        assert [each["path"] for each in top.json("ls", cwd=name)["entries"]] == ["data"]
        assert [each["path"] for each in top.json("log", "data", cwd=name)["versions"]] == ["data"]
        assert top.json("status", cwd=f"{name}/data")["clean"]
    assert "is outside of the project" in top.fails("add", "../other/data", code=3, cwd="one").err


@pytest.mark.parametrize("mode", ["--cone", "--no-cone"])
def test_a_sparse_checkout_has_the_pointers_of_its_part(shared: Repo, mode: str) -> None:
    clone = shared.clone("sparse")
    clone.git("sparse-checkout", "set", mode, *([".vml", "a"] if mode == "--cone" else ["/.vml/", "/a/"]))

    assert absent(clone) == {"a/data"}
    assert clone.json("status")["pointers"] == []
    clone.run("pull")
    assert clone.files("a/data") == {"one": b"a", "two": b"second"}
    assert not (clone.path / "b").exists()
    clone.write("a/data/three", "3")
    clone.run("add", "a/data")
    assert clone.git("status", "--porcelain").split() == ["M", "a/data.vml"]
    clone.commit()
    assert clone.git("ls-tree", "-r", "--name-only", "HEAD", "b").split() == ["b/.gitignore", "b/data.vml"]
    clone.run("push")
    clone.run("gc", "--force")
    clone.git("sparse-checkout", "disable")
    clone.run("pull")
    assert clone.read("b/data/one") == b"b"


@pytest.mark.parametrize("mode", ["--cone", "--no-cone"])
def test_a_sparse_checkout_without_the_project(shared: Repo, mode: str) -> None:
    clone = shared.clone("sparse")
    clone.git("sparse-checkout", "set", mode, "code")
    for cwd in ("", "code"):
        result = clone.fails("status", code=3, cwd=cwd)
        assert "leaves out .vml" in result.err
        assert "hint: git sparse-checkout add .vml\n" in result.err

    clone.git("sparse-checkout", "add", ".vml", "a")
    clone.run("pull", "a/data")
    assert clone.read("a/data/one") == b"a"


def test_a_project_that_was_removed_comes_back(shared: Repo) -> None:
    clone = shared.clone("clean")
    subprocess.run(["rm", "-r", clone.path / ".vml"], check=True)

    assert "hint: git checkout -- .vml " in clone.fails("status", code=3).err
    clone.git("checkout", "--", ".vml")
    clone.run("pull")
    assert clone.json("status")["clean"]


def test_a_shallow_clone(shared: Repo, repo: Repo) -> None:
    shallow = repo.beside("shallow")
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", "--no-local", str(shared.path), str(shallow.path)], check=True
    )
    shallow.run("pull")
    assert shallow.json("status")["clean"]
    shallow.write("a/data/three", "3")
    shallow.run("add", "a/data")
    shallow.commit()
    shallow.run("push")

    result = shallow.run("log", "a/data")
    assert len(result.out.splitlines()) == 3
    assert "shallow" in result.err
    unknown = shallow.fails("diff", "HEAD~2", "HEAD", code=3)
    assert "git fetch --unshallow" in unknown.err


def test_a_bare_clone(shared: Repo, repo: Repo) -> None:
    bare = repo.beside("bare.git")
    subprocess.run(["git", "clone", "-q", "--bare", str(shared.path), str(bare.path)], check=True)

    assert [each["path"] for each in bare.json("ls")["entries"]] == ["a/data", "b/data"]
    bare.run("fetch", "--all-commits")
    assert [each["path"] for each in bare.json("diff", "HEAD~1", "HEAD")["added"]] == ["a/data/two"]
    assert len(bare.json("log", "a/data")["versions"]) == 2
    assert bare.run("fsck").code == 0
    for command in ("checkout", "add x", "commit", "rm a/data", "mv a/data x", "pull", "unprotect a/data", "status"):
        assert "a bare repository has no workspace" in bare.fails(*command.split(), code=3).err


def test_a_detached_head(shared: Repo) -> None:
    shared.git("checkout", "-q", "--detach", "HEAD~1")
    shared.run("checkout")
    assert shared.files("a/data") == {"one": b"a"}
    shared.write("a/data/other", "x")
    shared.run("add", "a/data")
    commit = shared.commit("on no branch")
    assert shared.json("log", "a/data")["versions"][0]["commit"] == commit
    shared.run("push")
    assert shared.json("status")["not_pushed"] == []


def test_a_repository_of_somebody_else(shared: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for command in ("status", "push", "log a/data", "diff"):
        result = shared.fails(*command.split(), code=3)
        assert "git does not trust the repository" in result.err
        assert f"hint: git config --global --add safe.directory {shared.path}" in result.err
    assert shared.run("ls").out
