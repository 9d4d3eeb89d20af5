"""`vml mv`: data, pointer and ignore line move together, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

from tests.commands.test_add import metadata_clone, pointer
from tests.conftest import Repo


def test_rename_a_directory_and_a_file(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "22")
    repo.run("add", "data", "one")
    repo.commit()
    assert "data -> raw" in repo.run("mv", "data", "raw").err
    (repo.path / "archive").mkdir()
    assert "one -> archive/one" in repo.run("mv", "one", "archive/").err
    assert repo.files("raw") == {"a": b"1"}
    assert repo.read("archive/one") == b"22"
    assert pointer(repo, "raw")["path"] == "raw"
    assert repo.changes() == {}
    assert repo.read(".gitignore") == b"# >>> vml\n/raw\n# <<< vml\n"
    assert repo.read("archive/.gitignore") == b"# >>> vml\n/one\n# <<< vml\n"
    repo.commit()
    assert {(r["from"], r["to"]) for r in repo.json("diff", "HEAD~1", "HEAD")["renamed"]} == {
        ("data/a", "raw/a"), ("one", "archive/one"),
    }  # fmt: skip
    repo.run("mv", "one", "../two", cwd="archive")
    assert repo.read("two") == b"22"


def test_unsaved_changes_move_too(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.write("data/a", "unsaved")
    repo.write("data/extra", "unsaved")
    repo.write("one", "unsaved")
    repo.run("mv", "data", "raw")
    repo.run("mv", "one", "two")
    assert repo.changes() == {"raw/a": "modified", "raw/extra": "added", "two": "modified"}
    repo.run("mv", "raw/a", "raw/b")
    assert repo.changes() == {"raw/b": "modified", "raw/extra": "added", "two": "modified"}


def test_inside_a_directory(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/sub/b", "22")
    repo.write("data/sub/c", "333")
    repo.run("add", "data")
    repo.run("mv", "data/a", "data/sub")
    repo.run("mv", "data/sub", "data/other")
    repo.run("mv", "data/other/b", "data/new/deep/b")
    assert repo.files("data") == {"other/a": b"1", "other/c": b"333", "new/deep/b": b"22"}
    assert repo.changes() == {}
    assert pointer(repo, "data")["nfiles"] == 3


def test_without_the_files(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.write("data/sub/b", "1")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = metadata_clone(repo)
    clone.run("mv", "data/sub", "data/other")
    clone.run("mv", "data", "raw")
    assert [each["path"] for each in clone.json("ls", "-R")["entries"]] == ["raw/a", "raw/other/b"]
    clone.run("pull")
    assert clone.files("raw") == {"a": b"1", "other/b": b"1"}


def test_nothing_is_overwritten(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "22")
    repo.write("one", "1")
    repo.write("two", "22")
    repo.write("file", "precious")
    repo.run("add", "data", "one", "two")
    repo.write("data/extra", "precious")
    for old, new in (("one", "two"), ("one", "file"), ("data", "file"), ("data/a", "data/b"), ("data/a", "data/extra")):
        assert "exists already" in repo.fails("mv", old, new, code=3).err
    assert repo.read("file") == b"precious"
    assert repo.files("data") == {"a": b"1", "b": b"22", "extra": b"precious"}
    (repo.path / "dir").mkdir()
    repo.write("dir/one", "precious")
    assert "exists already" in repo.fails("mv", "one", "dir", code=3).err
    assert "exists already" in repo.fails("mv", "one", "one", code=3).err


def test_bad_input(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/sub/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    for old, new, words in (
        ("nosuch", "x", "not tracked"),
        ("nosuch", "data", "not tracked"),
        ("data/nosuch", "data/sub", "not tracked"),
        ("data/nosuch", "data/x", "not tracked"),
        ("data", "data/sub/x", "into itself"),
        ("data/sub", "data/sub/x", "into itself"),
        ("data/a", "data/a/b", "into itself"),
        ("data/a", "elsewhere", "lies inside data"),
        ("one", "data/one", "lies inside data"),
        ("one", "no/such/directory", "does not exist"),
        ("one", "two.vml", "is a pointer"),
        ("one", "../two", "outside"),
        ("one", ".git/two", "belongs to Git"),
        ("data/a", "data/.git", "belongs to Git"),
        ("one", "a" * 252, "too long"),
    ):
        result = repo.fails("mv", old, new, code=3)
        assert words in result.err, (old, new, result.err)
    assert repo.changes() == {}
    repo.fails("mv", "one", code=2)


def test_a_killed_move_is_completed(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/sub/b", "1")
    repo.run("add", "data")
    repo.commit()
    # as if the kill had come between the rename of the file and the new pointer
    (repo.path / "data/a").rename(repo.path / "data/c")
    repo.run("mv", "data/a", "data/c")
    (repo.path / "data/sub").rename(repo.path / "data/dir")
    repo.run("mv", "data/sub", "data/dir")
    assert repo.changes() == {}
    assert repo.files("data") == {"c": b"1", "dir/b": b"1"}
    # as if it had come before the old pointer was removed
    old = repo.read("data.vml")
    repo.run("mv", "data", "raw")
    repo.write("data.vml", old)
    repo.run("mv", "data", "raw")
    repo.run("mv", "data", "raw")
    assert repo.changes() == {}
    assert repo.read(".gitignore") == b"# >>> vml\n/raw\n# <<< vml\n"
