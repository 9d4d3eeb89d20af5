"""After a checkout, merge or rebase of Git, the data is what the pointers say, and nothing is lost."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.hooked import commit, git, install, version
from vcs_ml.hooks.moves import BEHIND
from vcs_ml.workspace import meanwhile


@pytest.fixture
def two(repo: Repo) -> Repo:
    """Branches `main` and `side`, with other bytes in a and d/b, the same in same."""
    version(repo, {"a": "a main", "d/b": "b main", "same": "same"})
    install(repo)
    git(repo, "checkout", "-q", "-b", "side")
    version(repo, {"a": "a side", "d/b": "b side"})
    git(repo, "checkout", "-q", "main")
    return repo


def data(repo: Repo, *paths: str) -> list[str]:
    return [repo.read(path).decode() for path in paths]


def test_data_follows_the_branch(two: Repo) -> None:
    assert data(two, "a", "d/b") == ["a main", "b main"]

    said = git(two, "checkout", "side")

    assert data(two, "a", "d/b") == ["a side", "b side"]
    assert "vml: 2 files written (12 B)" in said.err
    assert two.json("status")["clean"]


def test_only_what_differs_is_looked_at(two: Repo) -> None:
    two.write("same", "changed by hand")
    shutil.rmtree(two.path / ".vml/index")

    said = git(two, "checkout", "side")

    assert data(two, "same", "a") == ["changed by hand", "a side"]
    assert "warning" not in said.err


def test_commits_without_other_data_say_so_in_one_line(two: Repo) -> None:
    two.write("code.py", "x = 1")
    commit(two)

    assert git(two, "checkout", "-q", "HEAD~1").err == "vml: no data differs\n"


@pytest.mark.parametrize("command", [("checkout", "-b", "new"), ("checkout", "--", "a.vml"), ("checkout",)])
def test_where_no_commit_changes_nothing_is_done(two: Repo, command: tuple[str, ...]) -> None:
    two.write("a", "changed by hand")

    assert "vml" not in git(two, *command).err
    assert data(two, "a") == ["changed by hand"]


def test_unsaved_bytes_stay_and_the_rest_comes(two: Repo) -> None:
    two.write("a", "unsaved")

    said = git(two, "checkout", "side")

    assert said.code == 0
    assert data(two, "a", "d/b") == ["unsaved", "b side"]
    assert "1 file would be overwritten or removed" in said.err
    assert "hint: vml checkout --force a" in said.err
    two.run("checkout", "--force", "a")
    assert data(two, "a") == ["a side"]


def test_unsaved_files_of_a_directory_stay_and_its_others_come(repo: Repo) -> None:
    for i in range(6):
        repo.write(f"d/{i}", "main")
    repo.run("add", "d")
    commit(repo)
    install(repo)
    git(repo, "checkout", "-q", "-b", "side")
    for i in (1, 2, 3):
        repo.write(f"d/{i}", "side")
    (repo.path / "d/4").unlink()
    repo.write("d/new", "side")
    repo.run("add", "d")
    commit(repo)
    for path in ("d/3", "d/5", "d/new"):
        repo.write(path, "edited")

    said = git(repo, "switch", "main")

    edited = dict.fromkeys(("3", "5", "new"), b"edited")
    assert repo.files("d") == dict.fromkeys("0124", b"main") | edited
    assert "3 files written (12 B)" in said.err
    assert "  d/3\n  d/5\n  d/new\nhint: vml checkout --force d " in said.err
    assert repo.changes() == {"d/3": "modified", "d/5": "modified", "d/new": "added"}
    repo.write("d/3", "side")  # as it was before it was edited
    assert repo.changes() == {"d/3": "behind", "d/5": "modified", "d/new": "added"}
    repo.run("add", "d/5")
    repo.run("checkout", "d/3")
    assert repo.read("d/3") == b"main"
    repo.run("add", "d")
    assert repo.files("d") == dict.fromkeys("01234", b"main") | {"5": b"edited", "new": b"edited"}
    assert repo.changes() == {}


def test_an_unsaved_file_in_the_place_of_a_directory_keeps_all_of_it(repo: Repo) -> None:
    repo.write("d/a/x", "main")
    repo.write("d/b", "main")
    repo.run("add", "d")
    commit(repo)
    install(repo)
    git(repo, "checkout", "-q", "-b", "side")
    shutil.rmtree(repo.path / "d/a")
    repo.write("d/a", "side")
    repo.write("d/b", "side")
    repo.run("add", "d")
    commit(repo)
    repo.write("d/a", "edited")

    said = git(repo, "switch", "main")

    assert repo.files("d") == {"a": b"edited", "b": b"side"}
    assert "  d/a\nhint: vml checkout --force d " in said.err


def test_what_the_store_lacks_is_told(two: Repo, tmp_path: Path) -> None:
    shutil.rmtree(two.path / ".vml/cache")

    said = git(two, "checkout", "side")

    assert said.code == 0
    assert data(two, "a", "d/b") == ["a main", "b main"]
    assert said.err.endswith("'side'\nwarning: not in the local store: a, d/b\nhint: vml pull\n")


def test_data_of_a_pointer_that_is_gone_goes_if_it_is_safe(two: Repo) -> None:
    version(two, {"new": "new", "changed": "changed"})
    two.write("changed", "changed by hand")

    said = git(two, "checkout", "HEAD~1")

    assert not (two.path / "new").exists()
    assert data(two, "changed") == ["changed by hand"]
    assert "1 file removed" in said.err
    assert "no longer tracked, but changed or in no store, and left here: changed" in said.err
    git(two, "checkout", "main")
    assert data(two, "new", "changed") == ["new", "changed by hand"]


def test_a_directory_becomes_files_and_back(repo: Repo) -> None:
    for name in ("x", "y"):
        repo.write(f"d/{name}", name)
    repo.run("add", "d")
    first = commit(repo)
    install(repo)
    repo.run("rm", "d", "--cached")
    repo.run("add", "d/x")
    (repo.path / "d/y").unlink()
    second = commit(repo)

    for _ in range(2):
        git(repo, "checkout", "-q", first)
        assert repo.files("d") == {"x": b"x", "y": b"y"}
        git(repo, "checkout", "-q", second)
        assert {"x", "y"} & repo.files("d").keys() == {"x"}


def test_a_branch_before_the_project_has_no_data(repo: Repo) -> None:
    before = repo.git(
        "commit-tree", "-m", "empty", repo.git("mktree", "--missing", "/dev/null").strip() or "HEAD^{tree}"
    )
    version(repo, {"a": "a", "d/b": "b"})
    install(repo)

    git(repo, "checkout", before.strip())
    gone = repo.files("d"), (repo.path / "a").exists()
    git(repo, "checkout", "main")

    assert gone == ({}, False)
    assert data(repo, "a", "d/b") == ["a", "b"]


def test_outputs_of_stages_follow(repo: Repo) -> None:
    repo.write("vml.yaml", "stages:\n  s:\n    cmd: cp in out\n    deps: [in]\n    outs: [out]\n")
    repo.write("in", "1")
    repo.run("repro")
    first = commit(repo)
    repo.write("in", "2")
    repo.run("repro")
    second = commit(repo)
    install(repo)

    git(repo, "checkout", "-q", first)
    assert data(repo, "out") == ["1"]
    git(repo, "checkout", "-q", second)
    assert data(repo, "out") == ["2"]
    git(repo, "checkout", "-q", f"{first}~1")
    assert not (repo.path / "out").exists()


def test_a_pointer_that_cannot_be_read_is_a_warning(two: Repo) -> None:
    git(two, "checkout", "-q", "side")
    two.write("a.vml", "{")
    commit(two)

    said = git(two, "checkout", "-q", "main")
    assert data(two, "a") == ["a main"]
    said = git(two, "checkout", "-q", "side")

    assert said.code == 0
    assert "warning: a.vml: " in said.err
    assert data(two, "a", "d/b") == ["a main", "b side"]


@pytest.mark.parametrize("names", ["1", "checkout", "status,post-checkout"])
def test_it_can_be_skipped(two: Repo, names: str) -> None:
    said = git(two, "checkout", "-q", "side", VML_SKIP_HOOKS=names)

    assert said.err == ""
    assert data(two, "a") == ["a main"]


# ---------------------------------------------------------------------- merges


def test_merges_bring_data(two: Repo) -> None:
    git(two, "merge", "-q", "side")
    assert data(two, "a", "d/b") == ["a side", "b side"]

    git(two, "checkout", "-q", "-b", "other", "HEAD~1")
    version(two, {"other": "other"})
    git(two, "merge", "-q", "-m", "merge", "main")

    assert data(two, "a", "d/b", "other") == ["a side", "b side", "other"]


def test_a_squash_merge_brings_data_before_it_is_committed(two: Repo) -> None:
    git(two, "merge", "-q", "--squash", "side")

    assert data(two, "a", "d/b") == ["a side", "b side"]


def test_a_pull_brings_data(two: Repo) -> None:
    git(two, "checkout", "-q", "side")
    clone = two.clone("clone")
    shutil.copytree(two.path / ".vml/cache", clone.path / ".vml/cache")
    git(clone, "checkout", "-q", "-b", "mine", "HEAD~1")
    clone.run("checkout")
    install(clone)

    git(clone, "pull", "-q", "--no-rebase", "--no-edit", "origin", "side")

    assert data(clone, "a", "d/b", "same") == ["a side", "b side", "same"]


# ---------------------------------------------------------------------- rebases


@pytest.fixture
def apart(two: Repo) -> Repo:
    """`side` as before; main with another version of `same`, checked out."""
    version(two, {"same": "same main"})
    return two


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_rebase_brings_data_at_its_end(apart: Repo, backend: str) -> None:
    git(apart, "checkout", "-q", "side")

    git(apart, "rebase", "-q", backend, "main")

    assert data(apart, "a", "d/b", "same") == ["a side", "b side", "same main"]
    assert apart.json("status")["clean"]


def test_a_rebase_of_another_branch(apart: Repo) -> None:
    git(apart, "rebase", "-q", "main", "side")

    assert data(apart, "a", "d/b", "same") == ["a side", "b side", "same main"]


def test_a_rebase_that_only_goes_forward(apart: Repo) -> None:
    git(apart, "checkout", "-q", "-b", "old", "HEAD~1")
    assert data(apart, "same") == ["same"]

    git(apart, "rebase", "-q", "main")

    assert data(apart, "same") == ["same main"]


def test_data_is_left_alone_while_a_rebase_waits(apart: Repo) -> None:
    apart.write("code", "main")
    commit(apart)
    git(apart, "checkout", "-q", "side")
    apart.write("code", "side")
    commit(apart)

    assert git(apart, "rebase", "-q", "main", ok=False).code == 1
    assert data(apart, "a", "same") == ["a side", "same"]

    apart.write("code", "both")
    apart.git("add", "code")
    git(apart, "-c", "core.editor=true", "rebase", "--continue")
    assert data(apart, "a", "same") == ["a side", "same main"]
    assert not (apart.path / ".git" / BEHIND).exists()


def test_an_aborted_rebase_leaves_nothing_behind(apart: Repo) -> None:
    apart.write("code", "main")
    commit(apart)
    git(apart, "checkout", "-q", "side")
    apart.write("code", "side")
    commit(apart)
    git(apart, "rebase", "-q", "main", ok=False)
    git(apart, "rebase", "--abort")
    assert data(apart, "a", "same") == ["a side", "same"]
    version(apart, {"a": "a newer"})

    git(apart, "checkout", "-q", "main")

    assert data(apart, "a", "d/b", "same") == ["a main", "b main", "same main"]


@pytest.fixture
def torn(repo: Repo) -> Repo:
    """`side` with two more versions of t, one commit each; main with another one, and `other` without any of them."""
    version(repo, {"t": "base", "same": "same"})
    install(repo)
    git(repo, "branch", "other")
    git(repo, "checkout", "-q", "-b", "side")
    version(repo, {"t": "side 1"})
    version(repo, {"t": "side 2"})
    git(repo, "checkout", "-q", "main")
    version(repo, {"t": "main"})
    git(repo, "checkout", "-q", "side")
    return repo


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
@pytest.mark.parametrize("by", ["settled", "checked out"])
def test_data_follows_after_a_conflict_in_a_rebase(torn: Repo, backend: str, by: str) -> None:
    assert git(torn, "rebase", "-q", backend, "main", ok=False).code == 1
    if by == "settled":
        torn.run("checkout", "--theirs", "t")
    else:
        torn.git("checkout", "side~1", "--", "t.vml")
        torn.run("checkout", "t")
    assert data(torn, "t") == ["side 1"]
    torn.git("add", "t.vml")

    git(torn, "-c", "core.editor=true", "rebase", "--continue")

    assert data(torn, "t") == ["side 2"]
    assert torn.json("status")["clean"]
    assert not (torn.path / ".git" / meanwhile.NAME).exists()


def test_data_follows_after_a_merge_that_was_ended(torn: Repo) -> None:
    git(torn, "checkout", "-q", "other")
    version(torn, {"t": "other"})
    git(torn, "branch", "twin")
    git(torn, "merge", "-q", "main", ok=False)
    torn.run("checkout", "--theirs", "t")
    git(torn, "merge", "--abort")
    assert data(torn, "t") == ["main"]
    assert [each["change"] for each in torn.json("status")["data"]] == ["behind"]
    torn.write("code", "x")
    commit(torn)

    git(torn, "checkout", "-q", "twin")

    assert data(torn, "t") == ["other"]


def test_what_was_settled_and_committed_is_not_looked_at_again(torn: Repo) -> None:
    git(torn, "merge", "-q", "main", ok=False)
    torn.run("checkout", "--theirs", "t")
    commit(torn)
    git(torn, "branch", "twin")
    torn.write("code", "x")
    commit(torn)
    torn.write("t", "edited")

    assert git(torn, "checkout", "-q", "twin").err == "vml: no data differs\n"


def test_an_amended_commit_changes_no_data(two: Repo) -> None:
    two.write("a", "changed by hand")

    said = git(two, "commit", "--amend", "-q", "--no-verify", "-m", "other words")

    assert said.err == ""
    assert data(two, "a") == ["changed by hand"]


# ---------------------------------------------------------------------- other layouts


def test_a_new_worktree_has_all_data(two: Repo, tmp_path: Path) -> None:
    git(two, "worktree", "add", "-q", str(tmp_path / "linked"), "side")
    linked = two.beside("linked")
    assert data(linked, "a", "d/b", "same") == ["a side", "b side", "same"]

    git(two, "-C", str(linked.path), "checkout", "-q", "-b", "more", "main")

    assert data(linked, "a", "d/b") == ["a main", "b main"]
    assert data(two, "a", "d/b") == ["a main", "b main"]


def test_all_projects_of_a_repository_are_served(repo: Repo) -> None:
    (repo.path / "sub/inner").mkdir(parents=True)
    repo.run("init", cwd="sub")
    repo.run("init", cwd="sub/inner")
    versions = []
    for content in ("1", "2"):
        for folder in ("", "sub/", "sub/inner/"):
            repo.write(f"{folder}x", folder + content)
            repo.run("add", "x", cwd=folder)
        versions.append(commit(repo))
    repo.run("install", cwd="sub")
    commit(repo)

    said = git(repo, "checkout", "-q", versions[0])

    assert data(repo, "x", "sub/x", "sub/inner/x") == ["1", "sub/1", "sub/inner/1"]
    assert "vml: sub/inner: 1 file written" in said.err


def test_a_project_with_broken_settings_is_told_and_the_others_are_served(repo: Repo) -> None:
    (repo.path / "sub").mkdir()
    repo.run("init", cwd="sub")
    install(repo)
    versions = []
    for content in ("1", "2"):
        for folder in ("", "sub/"):
            repo.write(f"{folder}x", content)
            repo.run("add", "x", cwd=folder)
        versions.append(commit(repo))
    repo.write("sub/.vml/config.toml", "[core\n")

    said = git(repo, "checkout", "-q", versions[0])

    assert data(repo, "x", "sub/x") == ["1", "2"]
    assert "warning: " in said.err
    assert "sub/.vml/config.toml" in said.err


def test_a_random_walk_ends_as_the_commit_says(repo: Repo, chance: random.Random) -> None:
    install(repo)
    places = ["a", "b", "d/a", "d/b", "d/e/f"]
    states: dict[str, dict[str, bytes]] = {}
    for _ in range(6):
        if states:
            git(repo, "checkout", "-q", "--detach", chance.choice(list(states)))
        for path in chance.sample(places, 3):
            if (repo.path / f"{path}.vml").exists() and chance.random() < 0.4:
                repo.run("rm", path)
            else:
                repo.write(path, str(chance.random()))
                repo.run("add", path)
        states[commit(repo)] = {path: repo.read(path) for path in places if (repo.path / path).exists()}

    for each in [chance.choice(list(states)) for _ in range(8)]:
        git(repo, "checkout", "-q", each)
        assert {path: repo.read(path) for path in places if (repo.path / path).exists()} == states[each]
        assert repo.json("status")["clean"]
