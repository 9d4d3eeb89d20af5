"""`vml log`: the versions of tracked data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import Repo
from tests.stages import record


def versions(repo: Repo, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = repo.json("log", *args)["versions"]
    return found


def make(repo: Repo) -> list[str]:
    """Three versions of data/, one commit that leaves it alone."""
    commits = []
    for name, text in (("a", "1"), ("b", "22"), ("code.py", "x = 1"), ("a", "333")):
        repo.write(name if name.endswith(".py") else f"data/{name}", text)
        repo.run("add", "data")
        commits.append(repo.commit(f"write {name}"))
    return commits


def test_only_commits_that_changed_the_data_are_shown(repo: Repo) -> None:
    first, second, _, last = make(repo)

    found = versions(repo, "data")

    assert [(each["commit"], each["change"]) for each in found] == [
        (last, "modified"), (second, "modified"), (first, "added"),
    ]  # fmt: skip
    assert [(each["size"], each["nfiles"]) for each in found] == [(5, 2), (3, 2), (1, 1)]
    assert len({each["hash"] for each in found}) == 3
    assert all(each["author"] == repo.git("log", "-1", "--format=%an").strip() for each in found)
    table = repo.run("log", "data").out.splitlines()
    assert table[0].split() == ["commit", "date", "author", "size", "files", "change", "subject"]
    assert table[1].startswith(last[:10])
    assert table[1].endswith("write a")


def test_what_lies_inside_has_its_own_versions(repo: Repo) -> None:
    first, second, _, last = make(repo)
    repo.write("data/sub/deep", "4444")
    repo.run("add", "data")
    newest = repo.commit("a directory")

    assert [(each["commit"], each["size"]) for each in versions(repo, "data/a")] == [(last, 3), (first, 1)]
    assert [each["commit"] for each in versions(repo, "data/b")] == [second]
    (inner,) = versions(repo, "data/sub")
    assert (inner["commit"], inner["size"], inner["nfiles"]) == (newest, 4, 1)
    assert versions(repo, "data/sub/deep", "-n", "1")[0]["change"] == "added"


def test_what_is_gone_was_deleted(repo: Repo) -> None:
    *_, last = make(repo)
    repo.run("rm", "data/b")
    gone = repo.commit("no b")
    repo.run("rm", "data")
    ended = repo.commit("no data")

    assert [each["commit"] for each in versions(repo, "data")][:3] == [ended, gone, last]
    assert [each["change"] for each in versions(repo, "data/b")] == ["deleted", "added"]
    assert "hash" not in versions(repo, "data")[0]


def test_a_move_is_followed_if_asked_for(repo: Repo) -> None:
    *_, last = make(repo)
    repo.run("mv", "data", "kept")
    moved = repo.commit("move")

    assert [each["commit"] for each in versions(repo, "kept")] == [moved]
    followed = versions(repo, "kept", "--follow")
    assert [(each["commit"], each["path"]) for each in followed][:2] == [(moved, "kept"), (last, "data")]
    assert [each["path"] for each in versions(repo, "kept/a", "--follow")] == ["kept/a", "data/a", "data/a"]


def test_revisions_and_branches(repo: Repo) -> None:
    first, second, _, last = make(repo)
    repo.git("checkout", "-q", "-b", "side", second)
    repo.write("data/c", "side")
    repo.run("add", "data")
    side = repo.commit("side")
    repo.git("checkout", "-q", "main")

    assert side not in {each["commit"] for each in versions(repo, "data")}
    assert {each["commit"] for each in versions(repo, "data", "--all")} == {first, second, last, side}
    assert [each["commit"] for each in versions(repo, "data", "--rev", f"{first}..{last}")] == [last, second]
    assert [each["commit"] for each in versions(repo, "data", "--rev", "side", "-n", "1")] == [side]
    repo.git("commit", "-q", "--allow-empty", "-m", "one..two")
    assert [each["commit"] for each in versions(repo, "data", "--rev", ":/one..two", "-n", "1")] == [last]


def test_a_merge_counts_where_it_differs_from_both_sides(repo: Repo) -> None:
    make(repo)
    repo.git("checkout", "-q", "-b", "side")
    repo.write("data/c", "side")
    repo.run("add", "data")
    side = repo.commit("side")
    repo.git("checkout", "-q", "main")
    repo.write("code.py", "x = 2")
    repo.commit("code")
    repo.git("merge", "-q", "--no-ff", "-m", "plain", "side")
    assert versions(repo, "data", "-n", "1")[0]["commit"] == side

    repo.run("checkout")
    repo.write("data/d", "with the merge")
    repo.run("add", "data")
    repo.git("add", "-A")
    repo.git("commit", "-q", "--amend", "-m", "evil")
    assert versions(repo, "data", "-n", "1")[0]["subject"] == "evil"


def test_outputs_of_stages(repo: Repo) -> None:
    commits = []
    for text in ("1", "22"):
        repo.write("out.txt", text)
        record(repo, "train", ["out.txt"])
        commits.append(repo.commit(f"train {text}"))
        record(repo, "other", [])
        repo.commit("another stage")

    assert [(each["commit"], each["size"]) for each in versions(repo, "out.txt")] == [(commits[1], 2), (commits[0], 1)]


def test_lists_that_are_not_here(repo: Repo, remote: Path) -> None:
    make(repo)
    repo.run("push", "--all-commits")
    clone = repo.clone("clone")

    result = clone.run("log", "data/a")
    assert "?" in result.out
    assert "vml log --fetch" in result.err
    assert versions(clone, "data/a")[0]["size"] is None
    assert [each["size"] for each in versions(clone, "data/a", "--fetch")] == [3, 1]


def test_what_cannot_be_answered(repo: Repo) -> None:
    make(repo)
    assert "was not tracked" in repo.run("log", "other", ok=False).err
    assert "unknown revision 'nope'" in repo.run("log", "data", "--rev", "nope", ok=False).err
    assert "unknown revision 'nope'" in repo.run("log", "data", "--rev", "main..nope", ok=False).err
    assert "unknown revision '--output=x'" in repo.run("log", "data", "--rev=--output=x", ok=False).err
    assert "unknown revision ''" in repo.run("log", "data", "--rev", "", ok=False).err
    assert not (repo.path / "x").exists()
    assert repo.run("log", "data", "--rev", "main", "--all", ok=False).code == 2
