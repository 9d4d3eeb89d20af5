"""`vml ls`: what is tracked, without the files."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Repo


def make(repo: Repo) -> str:
    repo.write("data/a", "1")
    repo.write("data/sub/b", "22")
    repo.write("data/sub/deep/c", "333")
    repo.write("models/best.pt", "4444")
    repo.run("add", "data", "models/best.pt")
    return repo.commit()


def test_table(repo: Repo) -> None:
    make(repo)
    out = repo.run("ls").out
    assert out.split() == ["6", "B", "3", "data/", "4", "B", "models/best.pt"]
    assert repo.run("ls", "data").out.split() == ["1", "B", "data/a", "5", "B", "2", "data/sub/"]
    assert repo.run("ls", "deep", cwd="data/sub").out.split() == ["3", "B", "data/sub/deep/c"]
    assert [line.split()[-1] for line in repo.run("ls", "-R").out.splitlines()] == [
        "data/a", "data/sub/b", "data/sub/deep/c", "models/best.pt",
    ]  # fmt: skip


def test_json(repo: Repo) -> None:
    make(repo)
    found = repo.json("ls")
    assert list(found) == ["schema", "entries"]
    tree, file = found["entries"]
    assert tree["path"] == "data"
    assert (tree["kind"], tree["size"], tree["nfiles"]) == ("tree", 6, 3)
    assert tree["hash"].startswith("tree:sha256:")
    assert "nfiles" not in file
    assert file["hash"].startswith("xxh128:")
    inner = repo.json("ls", "data/sub")["entries"]
    assert [(each["path"], each["kind"]) for each in inner] == [
        ("data/sub/b", "file"), ("data/sub/deep", "directory"),
    ]  # fmt: skip
    assert repo.json("ls", "data/sub/b")["entries"][0]["size"] == 2
    assert [each["path"] for each in repo.json("ls", "models")["entries"]] == ["models/best.pt"]


def test_at_a_revision(repo: Repo) -> None:
    first = make(repo)
    repo.run("rm", "data/sub", "models/best.pt")
    repo.commit()
    repo.git("tag", "-a", "-m", "x", "v2")
    assert [each["path"] for each in repo.json("ls")["entries"]] == ["data"]
    assert [each["path"] for each in repo.json("ls", "--rev", first)["entries"]] == ["data", "models/best.pt"]
    assert [each["path"] for each in repo.json("ls", "data", "--rev", "HEAD~1")["entries"]] == ["data/a", "data/sub"]
    assert repo.json("ls", "--rev", "v2")["entries"] == repo.json("ls")["entries"]


def test_without_the_lists(repo: Repo, remote: Path) -> None:
    make(repo)
    repo.run("push")
    clone = repo.clone("clone")
    assert len(clone.json("ls")["entries"]) == 2
    result = clone.fails("ls", "data", code=3)
    assert "list of files of data" in result.err
    assert "--fetch" in result.err
    assert len(clone.json("ls", "data", "--fetch")["entries"]) == 2
    clone.run("fetch", "--metadata")
    assert len(clone.json("ls", "-R")["entries"]) == 4


def test_in_a_bare_repository(repo: Repo, remote: Path, tmp_path: Path) -> None:
    first = make(repo)
    repo.run("push")
    repo.run("rm", "data/a")
    repo.commit()
    repo.run("push")
    bare = tmp_path / "bare.git"
    repo.git("clone", "-q", "--bare", ".", str(bare))
    assert [each["path"] for each in repo.json("ls", cwd=bare)["entries"]] == ["data", "models/best.pt"]
    assert "error" in repo.fails("ls", "data", code=3, cwd=bare).err
    repo.run("remote", "list", cwd=bare)
    assert "--fetch" in repo.fails("diff", first, "HEAD", code=3, cwd=bare).err
    assert "no workspace" in repo.fails("diff", code=3, cwd=bare).err
    assert "no workspace" in repo.fails("status", code=3, cwd=bare).err


def test_bad_input(repo: Repo) -> None:
    make(repo)
    for args, words in (
        (["nosuch"], "not tracked"),
        (["data/nosuch"], "has no nosuch"),
        (["models/best.pt/x"], "not tracked"),
        (["../x"], "outside of the project"),
        (["--rev", "nosuch"], "unknown revision"),
        (["--rev", "-x"], "unknown revision"),
        (["--rev", ""], "unknown revision"),
        (["data", "--rev", "HEAD~1"], "not tracked"),
    ):
        assert words in repo.fails("ls", *args, code=3).err, args
    assert "did you mean main" in repo.fails("ls", "--rev", "mian", code=3).err
    repo.fails("ls", "a", "b", code=2)
