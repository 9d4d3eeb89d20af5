"""Which revisions a command was asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.metrics.test_revision import reading
from vcs_ml.errors import UserError
from vcs_ml.metrics import asked
from vcs_ml.workspace.sync import Scope


def labels(repo: Repo, *names: str, at: str = "", **scope: bool) -> list[str]:
    with reading(repo, at) as reader:
        return [each.label for each in asked.revisions(reader, names, Scope(**scope))]


@pytest.fixture
def history(repo: Repo) -> tuple[Repo, list[str]]:
    """A repository with branches and tags, and its commits as they are shown, the newest first."""
    for n in range(4):
        repo.git("commit", "-q", "--allow-empty", "-m", f"{n}", "--date", f"2026-01-0{n + 1}T00:00")
        if n == 1:
            repo.git("branch", "side")
            repo.git("tag", "-m", "annotated", "v1")
    repo.git("tag", "v2")
    repo.git("tag", "blob", repo.git("hash-object", "-w", ".vml/config.toml").strip())
    return repo, repo.git("log", "--format=%h").split()


def test_names(history: tuple[Repo, list[str]]) -> None:
    repo, _ = history
    assert labels(repo) == ["workspace"]
    assert labels(repo, "main", "v1", "HEAD", "main") == ["main", "v1", "HEAD"]  # each by its name, though two are one
    with reading(repo) as reader:
        (found,) = asked.revisions(reader, ["v1"], Scope())
        assert found.commit == repo.git("rev-parse", "v1^{commit}").strip()
        assert asked.revisions(reader, [], Scope())[0].commit is None


def test_the_workspace_beside_others(history: tuple[Repo, list[str]], tmp_path: Path) -> None:
    repo, _ = history
    assert labels(repo, "v1", "workspace", "HEAD") == ["v1", "workspace", "HEAD"]
    repo.git("clone", "-q", "--bare", "--single-branch", ".", str(tmp_path / "bare"))
    with pytest.raises(UserError, match="a bare repository has no workspace"):
        labels(repo.beside("bare"), "workspace")
    repo.git("branch", "workspace", "v1")
    repo.git("tag", "workspace", "v1")
    with reading(repo) as reader:
        (found,) = asked.revisions(reader, ["workspace"], Scope())
        assert found.commit is None
        old, new = asked.two(reader, "refs/heads/workspace", "workspace", print)
        assert (old.commit, new.commit) == (repo.git("rev-parse", "v1^{commit}").strip(), None)
    assert {"refs/heads/workspace", "refs/tags/workspace"} < set(labels(repo, all_branches=True, all_tags=True))


def test_ranges(history: tuple[Repo, list[str]]) -> None:
    repo, commits = history
    assert labels(repo, "HEAD~2..HEAD") == commits[:2]
    assert labels(repo, "side..") == commits[:2]
    assert labels(repo, "HEAD~2..HEAD", "main") == [commits[1], "main"]
    assert labels(repo, "side...main") == commits[:2]
    assert labels(repo, "HEAD..side") == []


def test_scopes(history: tuple[Repo, list[str]]) -> None:
    repo, commits = history
    assert labels(repo, all_branches=True) == ["main", "side"]
    assert labels(repo, all_tags=True) == ["v1", "v2"]
    assert labels(repo, "HEAD", all_branches=True, all_tags=True) == ["HEAD", "main", "side", "v1", "v2"]
    assert labels(repo, all_commits=True) == commits
    assert labels(repo, "HEAD", "v1", all_commits=True) == ["HEAD", "v1", *(commits[n] for n in (1, 3, 4))]


def test_a_repository_without_commits(tmp_path: Path, repo: Repo) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "new")], check=True)
    new = repo.beside("new")
    new.run("init")
    assert labels(new) == ["workspace"]
    assert labels(new, all_branches=True, all_tags=True, all_commits=True) == []
    for name in ("HEAD", "HEAD..HEAD"):
        with pytest.raises(UserError, match="there is no commit yet"):
            labels(new, name)


def test_a_bare_repository(history: tuple[Repo, list[str]], tmp_path: Path) -> None:
    repo, _ = history
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    assert labels(repo.beside("bare")) == ["HEAD"]


@pytest.mark.parametrize(
    "name",
    [
        "nosuch",
        "",
        "--all",
        "-h",
        "nosuch..HEAD",
        "HEAD..nosuch",
        "--all..HEAD",
        "blob",
        "a\0b",
        "x y",
        "HEAD~99..HEAD",
    ],
)
def test_unknown_names(history: tuple[Repo, list[str]], name: str) -> None:
    with pytest.raises(UserError, match="unknown revision"):
        labels(history[0], name)
