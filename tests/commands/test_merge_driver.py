"""`vml merge-driver` as Git runs it: merges, rebases, cherry-picks, stashes, in every kind of working tree."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import merges, mutations, oscalls, servers
from tests.conftest import Repo
from tests.merges import branch, conflicts, diverge, git, is_true, pointer, record
from vcs_ml.cli import main
from vcs_ml.workspace import attributes, opening

BASE = {"data/a.csv": "a", "data/b.csv": "b", "data/in/c.csv": "c", "data/in/d.csv": "d"}


@pytest.fixture
def ready(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Repo:
    """A tracked directory, committed, and the driver installed."""
    monkeypatch.setenv("PATH", f"{merges.program(tmp_path / 'bin')}:{os.environ['PATH']}")
    for path, content in BASE.items():
        repo.write(path, content)
    repo.run("add", "data")
    merges.install(repo)
    return repo


# --- Directories -----------------------------------------------------------------------------------------


def test_changes_of_different_files_are_one_directory(ready: Repo) -> None:
    theirs = {"data/a.csv": "theirs", "data/in/new.csv": "new", "data/in/c.csv": None}
    diverge(ready, theirs, {"data/b.csv": "ours", "data/more/x": "x"})
    before = ready.files("data")
    code, said = git(ready, "merge", "topic")
    assert code == 0, said
    assert ready.files("data") == before  # the workspace is not the driver's
    assert ready.git("status", "--porcelain") == ""
    ready.run("checkout")
    assert ready.files("data") == {
        "a.csv": b"theirs", "b.csv": b"ours", "in/d.csv": b"d", "in/new.csv": b"new", "more/x": b"x",
    }  # fmt: skip
    assert is_true(ready)
    merged = pointer(ready)
    ready.git("rm", "-q", "--cached", "data.vml")
    (ready.path / "data.vml").unlink()
    ready.run("add", "data")
    assert pointer(ready) == merged  # as if these files had been added at once


def test_conflicts_file_by_file_and_everything_else_merged(ready: Repo) -> None:
    theirs = {"data/a.csv": "theirs", "data/b.csv": None, "data/in/c.csv": "theirs", "data/new": "1", "data/fine": ""}
    ours: dict[str, str | None] = {"data/a.csv": "ours", "data/b.csv": "ours", "data/in/c.csv": None, "data/new": "2"}
    diverge(ready, theirs, ours)
    code, said = git(ready, "merge", "topic")
    assert code == 1
    assert "data.vml: 4 conflicts\n" in said
    assert "  deleted by them: data/b.csv\n" in said
    assert ready.git("status", "--porcelain") == "UU data.vml\n"
    assert conflicts(ready) == {
        "data/a.csv": "both modified",
        "data/b.csv": "deleted by them",
        "data/in/c.csv": "deleted by us",
        "data/new": "both added",
    }
    ready.run("checkout")
    assert ready.files("data") == {
        "a.csv": b"ours", "b.csv": b"ours", "in/d.csv": b"d", "new": b"2", "fine": b"",
    }  # fmt: skip
    assert is_true(ready)
    shown = ready.run("status").out
    assert "\tboth modified:   data/a.csv\n" in shown
    assert "vml checkout --ours PATH or --theirs PATH" in shown
    assert ready.run("status", "--exit-code", ok=False).code == 1
    said = ready.run("checkout", "--theirs", "data/b.csv", "data/in").err
    assert "data.vml: 2 conflicts settled, 2 left\n" in said
    assert "git add" not in said
    assert conflicts(ready) == {"data/a.csv": "both modified", "data/new": "both added"}
    assert ready.files("data") == {
        "a.csv": b"ours", "in/c.csv": b"theirs", "in/d.csv": b"d", "new": b"2", "fine": b"",
    }  # fmt: skip
    ready.run("checkout", "--ours", "data/new")
    ready.write("data/a.csv", "both")
    said = ready.run("add", "data/a.csv").err
    assert conflicts(ready) == {"data.vml": "settled"}
    assert "conflicts" not in pointer(ready)
    assert "git add FILE" in ready.run("status").out
    assert is_true(ready)
    ready.git("add", "data.vml")
    assert conflicts(ready) == {}
    ready.commit("merged")
    assert ready.run("status", "--exit-code").code == 0


@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize("target", [".", "data", "data.vml", "data/a.csv"])
def test_one_conflict_settled_by_any_name(ready: Repo, side: str, target: str) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/b.csv": "theirs"}, {"data/a.csv": "ours", "data/in/c.csv": "ours"})
    assert git(ready, "merge", "topic")[0] == 1
    said = ready.run("checkout", f"--{side}", target).err
    assert "data.vml: 1 conflict settled\n" in said
    assert said.endswith("git add data.vml\n")
    assert ready.read("data/a.csv") == side.encode()
    whole = target != "data/a.csv"  # of a part, only that is brought
    assert ready.changes() == ({} if whole else {"data/b.csv": "behind"})
    ready.git("add", "data.vml")
    ready.commit("merged")
    ready.run("checkout")
    assert ready.files("data") == {
        "a.csv": side.encode(), "b.csv": b"theirs", "in/c.csv": b"ours", "in/d.csv": b"d",
    }  # fmt: skip
    assert is_true(ready)


def test_a_file_where_the_other_side_has_a_directory(ready: Repo) -> None:
    with branch(ready, "topic"):
        record(ready, {"data/new/x": "x", "data/new/y": "y", "data/a.csv": None})
        record(ready, {"data/a.csv/1": "1"})
    record(ready, {"data/new": "file", "data/a.csv": "ours"})
    ready.commit("ours")
    code, _ = git(ready, "merge", "topic")
    assert code == 1
    assert conflicts(ready) == {"data/new": "both added", "data/a.csv": "both modified"}
    ready.run("checkout")
    assert ready.files("data")["new"] == b"file"
    refused = ready.fails("checkout", "--theirs", "data/new/x", code=3)
    assert "only a part of the conflict data/new" in refused.err
    ready.run("checkout", "--theirs", "data/new")
    ready.run("checkout", "--ours", "data/a.csv")
    assert ready.files("data") == {
        "a.csv": b"ours", "b.csv": b"b", "in/c.csv": b"c", "in/d.csv": b"d", "new/x": b"x", "new/y": b"y",
    }  # fmt: skip
    assert is_true(ready)


def test_both_added_the_directory(ready: Repo) -> None:
    def add(files: dict[str, str]) -> None:
        for path, content in files.items():
            ready.write(path, content)
        ready.run("add", "new")

    with branch(ready, "topic"):
        add({"new/x": "1", "new/same": "s", "new/theirs": "t"})
    add({"new/x": "2", "new/same": "s", "new/ours": "o"})
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 1
    assert conflicts(ready) == {"new/x": "both added"}
    ready.run("checkout", "--theirs", ".")
    assert ready.files("new") == {"x": b"1", "same": b"s", "theirs": b"t", "ours": b"o"}
    assert is_true(ready, "new")


def test_one_side_renamed_what_the_other_changed(ready: Repo) -> None:
    with branch(ready, "topic"):
        record(ready, {"data/a.csv": "theirs", "data/t": "t"})
    ready.run("mv", "data", "photos")
    ready.commit("ours")
    code, said = git(ready, "merge", "topic")
    assert (code, "warning" in said) == (0, False), said
    ready.run("checkout")
    assert pointer(ready, "photos")["path"] == "photos"
    assert ready.files("photos") == {
        "a.csv": b"theirs", "b.csv": b"b", "in/c.csv": b"c", "in/d.csv": b"d", "t": b"t",
    }  # fmt: skip
    assert is_true(ready, "photos")


def test_a_path_that_is_removed_is_settled(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/b.csv": "theirs"}, {"data/a.csv": "ours", "data/b.csv": "ours"})
    git(ready, "merge", "topic")
    ready.run("rm", "data/a.csv")
    assert conflicts(ready) == {"data/b.csv": "both modified"}
    assert "a.csv" not in ready.files("data")


def test_equal_changes_are_no_conflict(ready: Repo) -> None:
    same: dict[str, str | None] = {"data/a.csv": "same", "data/b.csv": None, "data/new": "same"}
    diverge(ready, {**same, "data/t": "t"}, {**same, "data/o": "o"})
    code, said = git(ready, "merge", "topic")
    assert code == 0, said
    ready.run("checkout")
    assert set(ready.files("data")) == {"a.csv", "in/c.csv", "in/d.csv", "new", "t", "o"}
    assert is_true(ready)


def test_a_base_that_is_itself_a_merge_with_conflicts_decides_nothing(ready: Repo) -> None:
    """Criss-cross: each branch has merged the other's first commit, and settled the same conflict its own way."""
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    ready.git("tag", "one")
    ready.git("tag", "other", "topic")
    git(ready, "merge", "other")
    ready.run("checkout", "--ours", ".")
    ready.commit("ours settled")
    ready.git("checkout", "-q", "topic")
    ready.run("checkout")
    git(ready, "merge", "one")
    ready.run("checkout", "--ours", ".")  # which is the other one here
    record(ready, {"data/b.csv": "more"})
    ready.commit("theirs settled")
    ready.git("checkout", "-q", "main")
    ready.run("checkout")
    assert ready.git("merge-base", "--all", "main", "topic").count("\n") == 2
    assert git(ready, "merge", "topic")[0] == 1
    assert conflicts(ready) == {"data/a.csv": "both modified"}
    ready.run("checkout", "--theirs", ".")
    assert ready.files("data") == {
        "a.csv": b"theirs", "b.csv": b"more", "in/c.csv": b"c", "in/d.csv": b"d", "t": b"t", "o": b"o",
    }  # fmt: skip


# --- Single files, kinds, keys ---------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_single_file_that_both_changed(ready: Repo, side: str) -> None:
    ready.write("one", "1")
    ready.run("add", "one")
    ready.commit("one")
    diverge(ready, {"one": "theirs"}, {"one": "ours!"})
    assert git(ready, "merge", "topic")[0] == 1
    assert conflicts(ready) == {"one": "both modified"}
    ready.run("checkout", f"--{side}", "one")
    assert ready.read("one") == {"ours": b"ours!", "theirs": b"theirs"}[side]
    assert pointer(ready, "one")["size"] == len(ready.read("one"))
    assert "conflicts" not in pointer(ready, "one")
    assert ready.changes() == {}


def test_a_single_file_recorded_as_it_is_settles_it(ready: Repo) -> None:
    ready.write("one", "1")
    ready.run("add", "one")
    ready.commit("one")
    diverge(ready, {"one": "theirs"}, {"one": "ours!"})
    assert git(ready, "merge", "topic")[0] == 1
    ready.run("add", "one")
    assert "conflicts" not in pointer(ready, "one")
    assert ready.read("one") == b"ours!"


def test_one_made_it_executable_the_other_changed_it(ready: Repo) -> None:
    ready.write("one", "1")
    ready.run("add", "one")
    ready.commit("one")
    with branch(ready, "topic"):
        (ready.path / "one").chmod(0o755)
        ready.run("commit")
    record(ready, {"one": "ours!"})
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 0
    ready.run("checkout")
    assert (pointer(ready, "one")["kind"], ready.read("one")) == ("executable", b"ours!")
    assert os.access(ready.path / "one", os.X_OK)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_directory_here_and_a_file_there(ready: Repo, side: str) -> None:
    def change() -> None:
        for path in BASE:
            (ready.path / path).unlink()
        (ready.path / "data/in").rmdir()
        (ready.path / "data").rmdir()
        ready.write("data", "a file now")
        ready.run("add", "data")

    with branch(ready, "topic"):
        change()
    record(ready, {"data/a.csv": "ours"})
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 1
    assert conflicts(ready) == {"data": "both modified"}
    ready.run("checkout", f"--{side}", "data")
    assert ready.changes() == {}
    assert (ready.path / "data").is_dir() == (side == "ours")
    assert pointer(ready)["kind"] == ("tree" if side == "ours" else "file")


def test_other_keys_are_merged_one_by_one(ready: Repo) -> None:
    def label(**keys: object) -> None:
        ready.write("data.vml", json.dumps({**pointer(ready), **keys}))

    label(desc="base", x=1, same=1)
    ready.commit("labels")
    with branch(ready, "topic"):
        label(desc="theirs", same=2, groups=["g"])
        record(ready, {"data/a.csv": "theirs"})
    label(x=2, same=2)
    record(ready, {"data/b.csv": "ours"})
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 0
    found = pointer(ready)
    assert {key: found.get(key) for key in ("desc", "x", "same", "groups")} == {
        "desc": "theirs", "x": 2, "same": 2, "groups": ["g"],
    }  # fmt: skip
    with branch(ready, "again"):
        label(desc="theirs again")
    label(desc="ours")
    ready.commit("ours")
    code, said = git(ready, "merge", "again")
    assert (code, pointer(ready)["desc"]) == (0, "ours")
    assert "data.vml: both sides changed desc: ours is kept" in said


# --- Where Git runs it -----------------------------------------------------------------------------------


def test_rebase_where_ours_is_the_branch_below(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    assert git(ready, "rebase", "topic")[0] == 1
    assert conflicts(ready) == {"data/a.csv": "both modified"}
    ready.run("checkout", "--theirs", "data")  # as Git has it: the commit that is moved
    assert ready.read("data/a.csv") == b"ours"
    ready.git("add", "data.vml")
    assert git(ready, "-c", "core.editor=true", "rebase", "--continue")[0] == 0
    assert set(ready.files("data")) == {"a.csv", "b.csv", "in/c.csv", "in/d.csv", "t", "o"}
    assert is_true(ready)


def test_cherry_pick_and_revert(ready: Repo) -> None:
    diverge(ready, {"data/t": "t"}, {"data/o": "o"})
    assert git(ready, "cherry-pick", "topic")[0] == 0
    ready.run("checkout")
    assert {"t", "o"} < set(ready.files("data"))
    record(ready, {"data/more": "m"})
    ready.commit("more")
    assert git(ready, "revert", "--no-edit", "HEAD~1")[0] == 0
    ready.run("checkout")
    assert "t" not in ready.files("data")
    assert {"more", "o"} < set(ready.files("data"))
    assert is_true(ready)


def test_stash_pop(ready: Repo) -> None:
    record(ready, {"data/s": "s", "data/a.csv": "stashed"})
    ready.git("stash")
    ready.run("checkout")
    record(ready, {"data/o": "o"})
    ready.commit("ours")
    assert git(ready, "stash", "pop")[0] == 0
    ready.run("checkout")
    assert {"s", "o"} < set(ready.files("data"))
    ready.git("stash")
    ready.run("checkout")
    record(ready, {"data/a.csv": "mine"})
    ready.commit("mine")
    assert git(ready, "stash", "pop")[0] == 1
    assert conflicts(ready) == {"data/a.csv": "both modified"}
    ready.run("checkout", "--theirs", ".")
    assert ready.read("data/a.csv") == b"stashed"


def test_a_linked_worktree(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    ready.git("worktree", "add", "-q", "../linked", "-b", "side", "main")
    linked = ready.beside("linked")
    assert git(linked, "merge", "topic")[0] == 1
    assert conflicts(linked) == {"data/a.csv": "both modified"}
    linked.run("checkout", "--theirs", ".")
    assert linked.files("data")["a.csv"] == b"theirs"
    assert is_true(linked)
    assert conflicts(ready) == {}


def test_a_project_in_a_subdirectory_merged_from_a_directory_below(ready: Repo) -> None:
    (ready.path / "sub dir").mkdir()
    ready.run("init", cwd="sub dir")
    ready.write("sub dir/in/set/x", "x")
    ready.run("add", "in/set", cwd="sub dir")
    merges.install(ready, "sub dir")
    with branch(ready, "topic"):
        ready.write("sub dir/in/set/x", "theirs")
        ready.write("sub dir/in/set/t", "t")
        ready.run("commit", cwd="sub dir")
    ready.run("checkout", cwd="sub dir")
    ready.write("sub dir/in/set/x", "ours")
    ready.run("commit", cwd="sub dir")
    ready.commit("ours")
    code, said = git(ready, "merge", "topic", cwd="sub dir/in")
    assert code == 1
    assert "both modified: sub dir/in/set/x" in said
    assert "vml -C 'sub dir' checkout --ours PATH" in said
    shown = ready.json("status", cwd="sub dir")["conflicts"]
    assert shown == [{"path": "in/set/x", "change": "both modified", "source": "in/set.vml"}]
    assert conflicts(ready) == {}
    said = ready.run("checkout", "--theirs", "set/x", cwd="sub dir/in").err
    assert said.endswith("git add set.vml\n")
    ready.run("checkout", cwd="sub dir")
    assert ready.files("sub dir/in/set") == {"x": b"theirs", "t": b"t"}


@pytest.mark.parametrize("prefix", ["", "sub/"])
def test_a_bare_repository_that_merges_by_itself(ready: Repo, prefix: str) -> None:
    if prefix:
        (ready.path / "sub").mkdir()
        ready.run("init", cwd="sub")
        ready.write("sub/set/x", "x")
        ready.run("add", "set", cwd="sub")
        ready.commit("sub")
    name = f"{prefix}set.vml" if prefix else "data.vml"
    with branch(ready, "topic"):
        ready.write(f"{name.removesuffix('.vml')}/theirs", "t")
        ready.run("commit", cwd=prefix)
    ready.run("checkout", cwd=prefix)
    ready.write(f"{name.removesuffix('.vml')}/ours", "o")
    ready.run("commit", cwd=prefix)
    ready.commit("ours")
    bare = ready.beside("bare.git")
    subprocess.run(["git", "clone", "-q", "--bare", str(ready.path), str(bare.path)], check=True)
    store = bare.path / "vml" / prefix / "cache"
    shutil.copytree(ready.path / prefix / ".vml/cache", store)
    (bare.path / "info").mkdir(exist_ok=True)
    (bare.path / "info/attributes").write_text("*.vml merge=vml\n")
    bare.git("config", "merge.vml.driver", "vml merge-driver %O %A %B %L %P")
    code, said = git(bare, "merge-tree", "--write-tree", "main", "topic")
    assert code == 0, said
    found = json.loads(bare.git("cat-file", "-p", f"{said.splitlines()[-1]}:{name}"))
    assert found["nfiles"] == (3 if prefix else 6)


def test_what_git_leaves_of_a_pointer_that_one_side_deleted(ready: Repo) -> None:
    with branch(ready, "topic"):
        ready.run("rm", "--cached", "data")
    ready.write("data/o", "o")
    ready.run("add", "data")
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 1
    assert conflicts(ready) == {"data.vml": "deleted by them"}
    shown = ready.run("status").out
    assert "git add FILE keeps one, git rm FILE drops it" in shown
    refused = ready.fails("checkout", "--theirs", "data", code=3)
    assert "git rm data.vml drops it" in refused.err
    assert ready.fails("checkout", "--merge", "data.vml", code=3).err == refused.err
    ready.git("add", "data.vml")
    assert conflicts(ready) == {}


# --- What stays refused ----------------------------------------------------------------------------------


def test_data_with_conflicts_is_not_pushed_or_committed_as_if_it_had_none(ready: Repo, remote: Path) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours"})
    assert git(ready, "merge", "topic")[0] == 1
    for command in ("push", "commit"):
        assert "data has conflicts from a merge" in ready.fails(command, code=3).err
    assert not remote.exists() or not any(remote.glob("packs/*"))
    # What is here is as it was before the merge.
    refused = ready.fails("add", "data", code=3)
    assert "would undo what the other side changed" in refused.err
    ready.run("checkout", "data")
    ready.run("add", "data")
    assert "conflicts" not in pointer(ready)
    assert ready.files("data")["t"] == b"t"
    ready.run("push")


def test_bytes_that_are_in_no_store_are_not_replaced(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs"}, {"data/a.csv": "ours"})
    assert git(ready, "merge", "topic")[0] == 1
    before = ready.read("data.vml")
    ready.write("data/a.csv", "unsaved")
    for side in ("--ours", "--theirs"):
        refused = ready.fails("checkout", side, "data", code=3)
        assert "in no store" in refused.err
        assert ready.read("data/a.csv") == b"unsaved"
        assert ready.read("data.vml") == before
    ready.run("checkout", "--theirs", "--force", "data")
    assert ready.read("data/a.csv") == b"theirs"
    ready.run("checkout", "--saved", "data/a.csv")
    assert ready.read("data/a.csv") == b"unsaved"


def test_nothing_to_settle_is_said(ready: Repo) -> None:
    for target in ("data", "data/a.csv", "nowhere", "."):
        assert "has no conflicts" in ready.fails("checkout", "--ours", target, code=3).err
    assert "no unmerged versions" in ready.fails("checkout", "--merge", "data.vml", code=3).err
    diverge(ready, {"data/a.csv": "theirs"}, {"data/a.csv": "ours"})
    git(ready, "merge", "topic")
    assert "has no conflicts" in ready.fails("checkout", "--ours", "data/b.csv", code=3).err
    ready.run("checkout", "--ours", "data")
    assert "git add data.vml" in ready.fails("checkout", "--theirs", "data", code=3).err
    for args in (["--ours"], ["--ours", "--theirs", "data"], ["--merge", "--rev", "main", "data"]):
        ready.fails("checkout", *args, code=2)


def test_the_merge_made_again_forgets_what_was_settled(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs"}, {"data/a.csv": "ours"})
    git(ready, "merge", "topic")
    before = ready.read("data.vml")
    ready.run("checkout", "--theirs", "data")
    said = ready.run("checkout", "--merge", "data").err
    assert "data.vml: merged, with 1 conflict" in said
    assert ready.read("data.vml") == before
    ready.run("checkout", "--theirs", ".")
    assert git(ready, "checkout", "-m", "--", "data.vml")[0] == 0
    assert ready.read("data.vml") == before


def test_a_side_that_was_committed_with_conflicts(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs"}, {"data/a.csv": "ours"})
    git(ready, "merge", "topic")
    ready.commit("by mistake")
    assert conflicts(ready) == {"data/a.csv": "both modified"}
    assert ready.run("status", "--exit-code", ok=False).code == 1
    ready.run("checkout", "--merge", "data", ok=False)
    with branch(ready, "more"):
        ready.run("checkout", "--ours", "data")
        record(ready, {"data/x": "x"})
    ready.write("data/y", "y")
    ready.run("add", "data/y")
    ready.commit("y")
    code, said = git(ready, "merge", "more")
    assert code == 1
    assert "our version was committed with conflicts" in said
    assert "conflict markers" in ready.run("status", ok=False).err


# --- What is not here, or damaged ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["driver", "checkout --merge"])
@pytest.mark.parametrize("data", ["none", "ours"])
def test_lists_that_are_not_here_come_from_the_remote(ready: Repo, remote: Path, way: str, data: str) -> None:
    names = [f"data/{folder}/{n}" for folder in "xyz" for n in range(1500)]
    record(ready, {name: name[:6] for name in names})
    ready.commit("large")
    diverge(ready, {"data/x/7": "theirs", "data/t": "t"}, {"data/z/7": "ours", "data/o": "o"})
    ready.run("push", "--all-commits")
    clone = ready.clone("clone")
    if data == "ours":
        clone.run("pull")
    clone.git("branch", "-q", "topic", "origin/topic")
    if way == "driver":
        merges.install(clone)
        code, said = git(clone, "merge", "topic")
        assert code == 0, said
        assert "as text" not in said
    else:
        assert git(clone, "merge", "topic")[0] == 1
        clone.run("checkout", "--merge", "data.vml")
        clone.commit("merged")
    if data == "ours":
        assert "vml pull" in clone.fails("checkout", code=3).err
    clone.run("push")  # what only the remote has of the merged list is there
    clone.run("pull")
    files = clone.files("data")
    assert (files["x/7"], files["z/7"], files["t"], files["o"]) == (b"theirs", b"ours", b"t", b"o")
    assert is_true(clone)
    clone.run("push")
    assert clone.run("status", "--remote", "--exit-code").code == 0
    clone.run("fsck")
    other = clone.clone("other")
    other.run("pull")
    assert other.files("data") == files


def test_a_clone_without_the_lists_of_files(ready: Repo, remote: Path) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    ready.run("push", "--all-commits")
    clone = ready.clone("clone")
    clone.git("branch", "-q", "topic", "origin/topic")
    merges.install(clone)
    gone = remote.rename(remote.with_name("gone"))
    code, said = git(clone, "merge", "topic")
    assert code == 1
    assert "warning: data.vml is merged as text: " in said
    assert "is not in the local store; " in said and str(remote) in said
    assert "hint: vml fetch --metadata data; vml checkout --merge data.vml then merges it again" in said
    assert b"<<<<<<< ours\n" in clone.read("data.vml")
    shown = clone.run("status", ok=False)
    assert "\tboth modified: data.vml\n" in shown.out
    assert "vml checkout --merge data.vml" in shown.err
    refused = clone.fails("checkout", "--merge", "data.vml", code=3)
    assert "hint: vml fetch --metadata data" in refused.err
    gone.rename(remote)
    clone.run("fetch", "--metadata", "data")
    clone.run("checkout", "--merge", "data.vml")
    assert conflicts(clone) == {"data/a.csv": "both modified"}
    clone.run("pull", "data/b.csv")
    refused = clone.fails("checkout", "--theirs", "data", code=3)
    assert "hint: vml fetch data brings both sides" in refused.err
    clone.run("fetch", "data")
    clone.run("checkout", "--theirs", "data")
    assert clone.files("data") == {
        "a.csv": b"theirs", "b.csv": b"b", "in/c.csv": b"c", "in/d.csv": b"d", "t": b"t", "o": b"o",
    }  # fmt: skip
    clone.commit("merged")
    clone.run("push")
    assert clone.run("status", "--remote", "--exit-code").code == 0


def test_a_remote_that_stays_silent_is_asked_once_in_a_merge(ready: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_PATIENCE", 0.2)
    diverge(ready, {"data/t": "t"}, {"data/o": "o"})
    base = ready.git("merge-base", "main", "topic").strip()
    versions = {
        name: ready.git("show", f"{rev}:data.vml") for name, rev in zip("oab", (base, "main", "topic"), strict=True)
    }
    shutil.rmtree(ready.path / ".vml/cache")
    settings = '[remote.origin]\nurl = "{}"\n'
    asked: list[str] = []
    over = threading.Event()

    def silent(_: str, path: str) -> Iterable[bytes]:
        asked.append(path)
        over.wait(5)
        return ()

    with servers.raw_server(silent) as address:
        ready.write(".vml/config.toml", ready.read(".vml/config.toml") + settings.format(address).encode())
        for name in ("data.vml", "more.vml"):
            for each, text in versions.items():
                ready.write(each, text)
            said = ready.run("merge-driver", *versions, "7", name, ok=False)
            assert said.code == attributes.CONFLICTS
            assert f"{name} is merged as text" in said.err
            assert b"<<<<<<< ours" in ready.read("a")
        over.set()
    assert len(asked) == 1
    assert "the remote failed a moment ago" in said.err


def test_who_has_no_data_settles_the_pointer_alone(ready: Repo, remote: Path) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    ready.run("push", "--all-commits")
    clone = ready.clone("clone")
    clone.git("branch", "-q", "topic", "origin/topic")
    merges.install(clone)
    git(clone, "merge", "topic")
    clone.run("fetch", "--metadata")
    clone.run("checkout", "--merge", "data")
    clone.run("checkout", "--theirs", "data/a.csv")
    assert not (clone.path / "data").exists()
    clone.commit("merged")
    clone.run("pull")
    assert clone.files("data")["a.csv"] == b"theirs"
    assert is_true(clone)


def test_without_the_driver_and_merged_by_hand(ready: Repo) -> None:
    """As a forge leaves it: conflict markers, and Git's index."""
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    ready.git("config", "--remove-section", "merge.vml")
    assert git(ready, "merge", "topic")[0] == 1
    assert b"<<<<<<<" in ready.read("data.vml")
    shown = ready.run("status", ok=False)
    assert "Files that were not merged:" in shown.out
    assert "conflict markers" in shown.err
    assert "conflict markers" in ready.fails("checkout", "--theirs", "data/a.csv", code=3).err
    ready.run("checkout", "--merge", "data.vml")
    assert conflicts(ready) == {"data/a.csv": "both modified"}
    ready.run("checkout", "--theirs", ".")
    assert {"t", "o"} < set(ready.files("data"))


@pytest.mark.parametrize("option", ["--merge", "--ours", "--theirs"])
@pytest.mark.parametrize("committed", [False, True])
def test_markers_that_somebody_added(ready: Repo, committed: bool, option: str) -> None:
    diverge(ready, {"data/a.csv": "theirs"}, {"data/a.csv": "ours"})
    ready.git("config", "--remove-section", "merge.vml")
    assert git(ready, "merge", "topic")[0] == 1
    ready.git("add", "data.vml")
    if not committed:
        refused = ready.fails("checkout", option, "data.vml", code=3)
        assert "data.vml: it has conflict markers from a merge, and was added to Git with them" in refused.err
        assert "hint: git checkout -m -- data.vml brings" in refused.err
        assert git(ready, "checkout", "-m", "--", "data.vml")[0] == 0
        ready.run("checkout", "--merge", "data.vml")
        assert conflicts(ready) == {"data/a.csv": "both modified"}
        return
    ready.git("commit", "-q", "-m", "by mistake")
    clone = ready.clone("clone")  # whose index knows of no merge
    refused = clone.fails("checkout", option, "data.vml", code=3)
    assert "and was committed with them" in refused.err
    for side, content in (("ours", b"ours"), ("theirs", b"theirs")):
        (command,) = re.findall(rf"git (checkout \w+\^{1 + (side == 'theirs')} -- data\.vml)", refused.err)
        assert git(ready, *command.split(" "))[0] == 0
        ready.run("checkout")
        assert ready.read("data/a.csv") == content
    assert ready.run("status").code == 0


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_one_side_of_a_file_with_markers(ready: Repo, side: str) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    ready.git("config", "--remove-section", "merge.vml")
    git(ready, "merge", "topic")
    said = ready.run("checkout", f"--{side}", "data.vml").err
    assert "git add data.vml" in said
    assert ready.read("data/a.csv") == side.encode()
    assert ("o" in ready.files("data")) == (side == "ours")
    assert ready.read("data.vml") == ready.git("show", f":{2 if side == 'ours' else 3}:data.vml").encode()
    assert is_true(ready)
    assert conflicts(ready) == {"data.vml": "settled"}
    ready.git("add", "data.vml")
    assert conflicts(ready) == {}


def test_different_pointers_merge_as_text(ready: Repo) -> None:
    for name in ("data2", "data3"):
        ready.write(name, name)
    ready.run("add", "data2", "data3")
    ready.commit("more")
    ready.git("config", "--remove-section", "merge.vml")
    diverge(ready, {"data/a.csv": "theirs", "data3": "theirs"}, {"data2": "ours"})
    assert git(ready, "merge", "topic")[0] == 0
    ready.run("checkout")
    assert [ready.read(path) for path in ("data/a.csv", "data2", "data3")] == [b"theirs", b"ours", b"theirs"]
    assert ready.json("status")["clean"]


def test_a_version_that_cannot_be_read_is_merged_as_text(ready: Repo) -> None:
    with branch(ready, "topic"):
        ready.write("data.vml", ready.read("data.vml").replace(b'"kind"', b"kind"))
    record(ready, {"data/a.csv": "ours"})
    ready.commit("ours")
    code, said = git(ready, "merge", "topic")
    assert code == 1
    assert "data.vml is merged as text: data.vml: not valid JSON" in said
    assert "hint: vml checkout --ours data.vml, or --theirs, takes one side" in said
    ready.run("checkout", "--ours", "data.vml")
    assert ready.read("data/a.csv") == b"ours"
    assert "not valid JSON" in ready.fails("checkout", "--merge", "data.vml", code=3).err


def test_a_damaged_list_of_files_is_merged_as_text(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs"}, {"data/b.csv": "ours"})
    for pack in [*ready.path.glob(".vml/cache/packs/*/*"), *ready.path.glob(".vml/cache/loose/**/*")]:
        if pack.is_file():
            pack.chmod(0o644)
            raw = bytearray(pack.read_bytes())
            raw[0] ^= 255
            pack.write_bytes(raw)
    code, said = git(ready, "merge", "topic")
    assert code == 1
    assert "is merged as text: damaged object" in said
    assert b"<<<<<<<" in ready.read("data.vml")


@pytest.mark.parametrize(
    "bad",
    [
        {"paths": {"../x": "both modified"}},
        {"paths": {"/etc/passwd": "both modified"}},
        {"paths": {".git/config": "both modified"}},
        {"paths": {"": "both modified", "a": "both modified"}},
        {"paths": {"a": "somehow"}},
        {"paths": {"a": ["both modified"]}},
        {"paths": {}},
        {"paths": []},
        {"theirs": "xxh128:" + "0" * 32},
        {"theirs": "nothing"},
        {"base": 1},
        {"size": -1},
        {"kind": "link"},
    ],
)
def test_conflicts_of_a_stranger_are_refused(ready: Repo, bad: dict[str, object]) -> None:
    found = pointer(ready)
    good = {"base": None, "theirs": found["hash"], "kind": "tree", "size": 4, "paths": {"a.csv": "both modified"}}
    ready.write("data.vml", json.dumps({**found, "conflicts": good}))
    ready.run("status")
    ready.write("data.vml", json.dumps({**found, "conflicts": {**good, **bad}}))
    before = ready.files(".")
    for args in (("status",), ("checkout", "--theirs", "."), ("checkout", "--theirs", "data"), ("add", "data")):
        assert "data.vml" in ready.fails(*args, code=3).err
    assert {path: raw for path, raw in ready.files(".").items() if not path.startswith(".vml/")} == {
        path: raw for path, raw in before.items() if not path.startswith(".vml/")
    }


def test_no_path_leads_out(ready: Repo, tmp_path: Path) -> None:
    for name in ("o", "a", "b"):
        ready.write(name, "{}")
    for path in ("../x.vml", "/x.vml", "a/../../x.vml"):
        ready.fails("merge-driver", "o", "a", "b", "7", path, code=2)
    assert not list(tmp_path.glob("*.vml"))


def test_any_versions_end_in_a_result_or_in_an_error(ready: Repo, chance: random.Random) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    base = ready.git("merge-base", "main", "topic").strip()
    good = {
        name: ready.git("show", f"{rev}:data.vml").encode()
        for name, rev in (("o", base), ("a", "main"), ("b", "topic"))
    }
    good["a"] = good["a"].replace(b"{", b'{"x": {"y": [1]},', 1)
    for _ in range(60):
        for name, raw in good.items():
            bad = mutations.in_json if chance.random() < 0.7 else mutations.damage
            ready.write(name, bad(raw, chance) if chance.random() < 0.6 else raw)
        ours = ready.read("a")
        code = ready.run("merge-driver", "o", "a", "b", "7", "data.vml", ok=False).code
        assert code in (0, 2, 3, attributes.CONFLICTS)
        found = ready.read("a")
        if code == 3 and found == ours:
            continue  # what Git takes for no text
        if code == 0 or b"<<<<<<<" not in found:
            ready.write("data.vml", found)
            ready.run("status", ok=False)


# --- Killed ----------------------------------------------------------------------------------------------


def test_killed_at_any_moment_there_is_our_version_or_the_merged_one(ready: Repo, tmp_path: Path) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    base = ready.git("merge-base", "main", "topic").strip()
    versions = [ready.git("show", f"{rev}:data.vml") for rev in (base, "main", "topic")]
    args = ["-C", str(ready.path), "merge-driver", "base", "ours", "theirs", "7", "data.vml"]

    def prepare() -> None:
        for name, text in zip(("base", "ours", "theirs"), versions, strict=True):
            ready.write(name, text)

    prepare()
    with oscalls.watched(oscalls.ignore) as names:
        assert main(args) == attributes.CONFLICTS
    merged = ready.read("ours").decode()
    assert merged not in versions
    for n in range(len(names)):
        prepare()

        def killed(n: int = n) -> None:
            with oscalls.watched(oscalls.kill_at(n)):
                main(args)

        oscalls.end(oscalls.in_child(killed, tmp_path / "log"))
        assert ready.read("ours").decode() in (versions[1], merged)
        assert [path for path in ready.files(".") if ".vml-tmp-" in path and not path.startswith(".vml/")] == []
        prepare()
        assert main(args) == attributes.CONFLICTS
        assert ready.read("ours").decode() == merged


def test_a_gc_before_git_has_written_the_result(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs", "data/t": "t"}, {"data/a.csv": "ours", "data/o": "o"})
    base = ready.git("merge-base", "main", "topic").strip()
    for name, rev in (("base", base), ("ours", "main"), ("theirs", "topic")):
        ready.write(name, ready.git("show", f"{rev}:data.vml"))
    ready.run("merge-driver", "base", "ours", "theirs", "7", "data.vml", ok=False)
    ready.run("gc", "--force", "--include-unpushed")
    ready.write("data.vml", ready.read("ours"))
    ready.run("checkout")
    assert is_true(ready)
    assert ready.run("checkout", "--saved").err == "nothing is kept\n"


def test_a_gc_where_a_killed_driver_named_what_it_never_stored(ready: Repo) -> None:
    record = {"merged": [{"hash": f"tree:sha256:{'0' * 64}", "path": "data"}], "schema": 1, "time": 1}
    ready.write(".vml/saved/00000000000000000000000000.json", json.dumps(record))
    ready.run("gc", "--force", "--include-unpushed")
    assert ready.run("fsck").code == 0


@pytest.mark.parametrize("how", ["killed", "not found", "broken", "no room"])
def test_a_driver_that_does_not_run_to_its_end_leaves_marks(
    ready: Repo, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ready.path / ".gitignore").write_bytes(ready.read(".gitignore") + b"base\n")
    ready.commit()
    diverge(ready, {"data/t": "t"}, {"data/o": "o"})
    place = Path(shutil.which("vml") or "")
    if how == "no room":
        shutil.rmtree(ready.path / ".vml/tmp", ignore_errors=True)
        ready.write(".vml/tmp", "")
    elif how == "not found":
        place.unlink()
        driver = ready.git("config", "merge.vml.driver")
        ready.git("config", "merge.vml.driver", driver.replace(str(Path(sys.executable).with_name("vml")), "/no/vml"))
        monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    else:
        place.write_text("#!/bin/sh\n" + ("kill -9 $$\n" if how == "killed" else "exit 1\n"))
    assert git(ready, "merge", "topic")[0] != 0
    assert b"<<<<<<< ours" in ready.read("data.vml")
    if how == "no room":
        (ready.path / ".vml/tmp").unlink()
    found = json.loads(ready.run("status", "--json", ok=False).out or "{}")
    assert "settled" not in str(found)
    ready.run("checkout", "--merge", "data.vml")
    ready.run("checkout")
    assert {"t", "o"} <= ready.files("data").keys()


@pytest.mark.parametrize("size", [1, 4, 7, 32])
def test_marks_of_any_length_are_left_once_and_known(ready: Repo, size: int) -> None:
    attributes_file = ready.read(".gitattributes")
    ready.write(".gitattributes", attributes_file + f"*.vml conflict-marker-size={size}\n".encode())
    ready.commit()
    diverge(ready, {"data/t": "t"}, {"data/o": "o"})
    shutil.rmtree(ready.path / ".vml/cache")  # no list of files is to be had
    assert git(ready, "merge", "topic")[0] == 1
    lines = ready.read("data.vml").decode().splitlines()
    assert [line for line in lines if line.startswith("<")] == [f"{'<' * size} ours"]
    ready.git("add", "data.vml")
    assert "data.vml:2: it has conflict markers" in ready.fails("hook", "validate", code=1).err


def test_the_driver_of_this_installation_is_run_where_the_path_has_none(
    ready: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverge(ready, {"data/t": "t"}, {"data/o": "o"})
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    code, said = git(ready, "merge", "topic")
    assert code == 0, said


@pytest.mark.parametrize("name", ["-d", "--help", "--"])
def test_names_like_options_are_merged(ready: Repo, name: str) -> None:
    ready.write(f"{name}/a", "1")
    ready.run("add", "--", f"./{name}")
    ready.commit()
    diverge(ready, {f"{name}/t": "t"}, {f"{name}/o": "o"})
    code, said = git(ready, "merge", "topic")
    assert code == 0, said
    ready.run("checkout")
    assert ready.files(f"./{name}").keys() == {"a", "t", "o"}


def test_our_version_untouched_is_not_settled(ready: Repo, tmp_path: Path) -> None:
    diverge(ready, {"data/t": "t"}, {"data/o": "o"})
    ready.git("config", "merge.vml.driver", "false")  # as a clone may still have it
    assert git(ready, "merge", "topic")[0] != 0
    assert [each["change"] for each in ready.json("status")["conflicts"]] == ["both modified"]
    ready.run("checkout", "--merge", "data.vml")
    assert [each["change"] for each in ready.json("status")["conflicts"]] == ["settled"]


def test_a_file_that_both_added_is_in_conflict_alone(ready: Repo) -> None:
    with branch(ready, "topic"):
        ready.write("one", "theirs")
        ready.run("add", "one")
    ready.write("one", "ours")
    ready.run("add", "one")
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] != 0
    assert conflicts(ready) == {"one": "both added"}
    assert "new:" not in ready.run("status").out
    assert "no data had to change\n" in ready.run("checkout", "--ours", "one").err


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_is_taken_where_the_driver_did_not_run(ready: Repo, side: str) -> None:
    diverge(ready, {"data/a.csv": "theirs"}, {"data/a.csv": "ours"})
    ready.git("config", "merge.vml.driver", "false")
    assert git(ready, "merge", "topic")[0] != 0
    ready.run("checkout", f"--{side}", "data.vml")
    assert conflicts(ready) == {"data.vml": "settled"}
    assert ready.read("data/a.csv") == side.encode()
    # What is settled is not settled another way by whoever settles all.
    assert "no conflicts" in ready.fails("checkout", "--theirs", ".", code=3).err
    assert ready.read("data/a.csv") == side.encode()


def test_our_side_of_all_conflicts_is_settled(ready: Repo) -> None:
    diverge(ready, {"data/a.csv": "theirs"}, {"data/a.csv": "ours"})
    assert git(ready, "merge", "topic")[0] != 0
    ready.run("checkout", "--ours", "data/a.csv")
    assert conflicts(ready) == {"data.vml": "settled"}
    ready.git("merge", "--abort")
    ready.git("config", "merge.vml.driver", "false")
    ready.write("code", "theirs")
    with branch(ready, "later"):
        record(ready, {"data/a.csv": "later"})
    record(ready, {"data/a.csv": "mine"})
    ready.commit("mine")
    assert git(ready, "merge", "later")[0] != 0
    assert conflicts(ready) == {"data.vml": "both modified"}


def test_an_interrupt_leaves_git_with_a_conflict_and_not_with_a_wrong_merge(ready: Repo, tmp_path: Path) -> None:
    diverge(ready, {"data/t": "t"}, {"data/o": "o"})
    script = tmp_path / "die"
    script.write_text(f"#!/bin/sh\nkill -{signal.SIGKILL.value} $$\n")
    script.chmod(0o755)
    ready.git("config", "merge.vml.driver", str(script))
    before = ready.read("data.vml")
    assert git(ready, "merge", "topic")[0] != 0
    assert ready.read("data.vml") == before
