"""`vml hook large-files`: what Git's index holds counts, whatever lies in the workspace."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.hooked import git, install

LARGE = b"\0" * 5_000_001


def large(repo: Repo, *args: str) -> set[str]:
    """The files that are named as too large."""
    result = repo.run("hook", "large-files", *args, ok=False)
    found = set(re.findall(r"^  (\S.*?)  \([0-9.]+ .?B\)$", result.err, re.MULTILINE))
    assert result.code == bool(found), result
    assert not found or "VML_SKIP_HOOKS=large-files git commit goes past this" in result.err
    return found


def test_what_is_staged_counts_and_not_what_lies_there(repo: Repo) -> None:
    repo.write("staged", LARGE)
    repo.write("small", b"")
    repo.git("add", "-A")
    repo.write("staged", b"")
    repo.write("small", LARGE)
    repo.write("untracked", LARGE)

    assert large(repo) == {"staged"}


def test_five_million_bytes_may_be_committed(repo: Repo) -> None:
    repo.write("just", LARGE[1:])
    repo.git("add", "-A")

    assert large(repo) == set()
    assert large(repo, "--limit", "4MB") == {"just"}
    assert large(repo, "--limit=4999999") == {"just"}
    repo.run("config", "hooks.large_files", "4900kB")
    assert large(repo) == {"just"}
    repo.fails("hook", "large-files", "--limit", "many", code=2)


def test_what_git_has_already_is_no_news(repo: Repo) -> None:
    repo.write("old", LARGE)
    repo.write("moved", b"1" + LARGE)
    repo.commit()
    repo.git("mv", "moved", "there")
    repo.path.joinpath("old").chmod(0o755)
    repo.write("new", b"2" + LARGE)
    repo.git("add", "-A")

    assert large(repo) == {"new"}
    assert large(repo, "old", "there", "new") == {"new"}
    repo.git("commit", "-qm", "two")
    assert large(repo) == set()
    assert large(repo, "old", "there", "new", "nowhere") == {"old", "there", "new"}


def test_what_is_removed_or_no_file_is_not_measured(repo: Repo, tmp_path: Path) -> None:
    repo.write("gone", LARGE)
    repo.commit()
    repo.git("rm", "-q", "gone")
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    (other / "big").write_bytes(LARGE)
    for command in (["add", "-A"], ["commit", "-qm", "big"]):
        subprocess.run(["git", *command], cwd=other, check=True)
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    (repo.path / "link").symlink_to("sub/big")
    repo.git("add", "-A")

    assert large(repo) == set()
    assert large(repo, "gone", "sub", "link") == set()


def test_pointers_of_git_lfs_are_small(repo: Repo) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5000001\n"
    oid = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=repo.path,
        input=pointer,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    repo.write("model.bin", LARGE)
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{oid},model.bin")

    assert large(repo) == set()


def test_the_first_commit(tmp_path: Path, repo: Repo) -> None:
    new = repo.beside("new")
    subprocess.run(["git", "init", "-q", str(new.path)], check=True)
    new.write("big", LARGE)
    new.git("add", "-A")

    assert large(new) == {"big"}


def test_commands_of_the_message_do_what_they_say(repo: Repo) -> None:
    odd = ["a b", "glob[1]*", "-dash", "quo'te", "tab\there", "new\nline", "sub/:(top)x"]
    repo.write("glob1", b"small, and what the pattern would match")
    for name in odd:
        repo.write(name, LARGE)
    repo.git("add", "-A")

    said = repo.run("hook", "large-files", ok=False).err
    lines = re.findall(r"^    ((?:git|vml) .*)$", said, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["git", "vml"]
    subprocess.run(["bash", "-ec", lines[0]], cwd=repo.path, check=True, capture_output=True)
    add = subprocess.run(["bash", "-ec", f"printf '%s\\0' {lines[1]}"], check=True, capture_output=True).stdout
    words = add.decode().split("\0")[:-1]
    assert words[:2] == ["vml", "add"]
    repo.run(*words[1:])
    repo.git("add", "-A")

    assert large(repo) == set()
    assert "glob1" in repo.git("ls-files")
    assert {each["path"] for each in repo.json("ls")["entries"]} == set(odd)


def test_commands_begin_where_the_commit_was_typed(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = repo.beside("repo/inner")
    inner.path.mkdir()
    inner.run("init")
    repo.commit()
    repo.write("raw/big", LARGE)
    repo.write("inner/big", LARGE)
    repo.git("add", "-A")
    monkeypatch.setenv("GIT_PREFIX", "raw/")

    said = repo.run("hook", "large-files", ok=False).err

    assert "    git rm --cached ../inner/big big\n    vml -C ../inner add big\n    vml add big\n" in said


def test_a_repository_without_a_project(repo: Repo) -> None:
    other = repo.beside("other")
    subprocess.run(["git", "init", "-q", str(other.path)], check=True)
    other.write("sub/big", LARGE)
    other.git("add", "-A")

    said = other.run("hook", "large-files", ok=False).err

    assert "    git rm --cached sub/big\n    vml init\n    vml add sub/big\n" in said
    assert "vml config --global hooks.large_files SIZE" in said


def test_many_files_are_counted_and_few_shown(repo: Repo) -> None:
    for i in range(25):
        repo.write(f"{i:02}", b"x" * (2000 + i))
    repo.git("add", "-A")

    said = repo.run("hook", "large-files", "--limit", "1kB", ok=False).err

    assert "25 staged files are too large" in said
    assert "  and 5 more\n" in said
    assert "\n  19  (2.0 kB)\n" in said


@pytest.mark.parametrize("command", [("commit", "-am", "all"), ("commit", "-m", "some", "old")])
def test_commits_that_bring_their_own_index(repo: Repo, command: tuple[str, ...]) -> None:
    install(repo)
    repo.write("old", b"small")
    repo.commit()
    repo.write("old", LARGE)

    assert "old  (5.0 MB)" in git(repo, *command, ok=False).err
    repo.write("other", LARGE)
    repo.git("add", "other")
    repo.write("old", b"also small")
    git(repo, "commit", "-m", "some", "old")


def test_a_file_by_its_absolute_path_and_all_below_a_directory(repo: Repo) -> None:
    for path in ("sub/-x", "sub/in/y", "z"):
        repo.write(path, "x" * 2000)
    repo.git("add", "sub", "z")
    for args, found in (
        (str(repo.path / "sub/-x"), {"sub/-x"}),
        ("sub", {"sub/-x", "sub/in/y"}),
        ("sub/", {"sub/-x", "sub/in/y"}),
        (".", {"sub/-x", "sub/in/y", "z"}),
        (str(repo.path), {"sub/-x", "sub/in/y", "z"}),
    ):
        assert large(repo, "--limit=1kB", args) == found
