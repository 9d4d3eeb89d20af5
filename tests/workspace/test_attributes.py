"""The block in .gitattributes and the settings of Git that go with it, asked of Git itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Repo
from vcs_ml.errors import UserError
from vcs_ml.workspace import attributes
from vcs_ml.workspace.attributes import with_block
from vcs_ml.workspace.project import Project

lines = st.lists(st.sampled_from(["*.png -diff", "", "# mine", "* text=auto", attributes.LINES[0]]), max_size=5)


def project(place: Path) -> Project:
    return Project.find(place, os.environ)


def attribute(repo: Repo, path: str) -> str:
    return repo.git("check-attr", "merge", path).strip().rpartition(": ")[2]


def test_git_knows_the_driver_and_forgets_it(repo: Repo) -> None:
    repo.write(".gitattributes", "*.png -diff")
    assert not attributes.is_installed(project(repo.path))
    assert attributes.install(project(repo.path)) == [".gitattributes"]
    assert attributes.is_installed(project(repo.path))
    assert attributes.install(project(repo.path)) == []
    assert [attribute(repo, path) for path in ("a/b.vml", "x/vml.lock", "c/.gitignore", "vml.yaml")] == [
        "vml",
        "vml",
        "vml",
        "unspecified",
    ]
    assert '"$vml" merge-driver -- %O %A %B %L %P' in repo.git("config", "merge.vml.driver")
    assert attributes.uninstall(project(repo.path)) == [".gitattributes"]
    assert repo.read(".gitattributes") == b"*.png -diff\n"
    assert "merge.vml" not in repo.git("config", "--list")
    assert attributes.uninstall(project(repo.path)) == []


def test_a_file_of_ours_alone_goes_with_the_block(repo: Repo) -> None:
    attributes.install(project(repo.path))
    attributes.uninstall(project(repo.path))
    assert not (repo.path / ".gitattributes").exists()


def test_a_linked_worktree_shares_the_driver(repo: Repo) -> None:
    repo.git("worktree", "add", "-q", "../linked")
    assert attributes.install(project(repo.path.parent / "linked")) == [".gitattributes"]
    assert repo.git("config", "merge.vml.driver")
    assert not (repo.path / ".gitattributes").exists()


def test_the_driver_stays_while_another_project_needs_it(repo: Repo) -> None:
    (repo.path / "sub").mkdir()
    repo.run("init", cwd="sub")
    attributes.install(project(repo.path / "sub"))
    attributes.install(project(repo.path))
    repo.commit()
    attributes.uninstall(project(repo.path))
    assert attributes.is_installed(project(repo.path / "sub"))
    attributes.uninstall(project(repo.path / "sub"))
    assert "merge.vml" not in repo.git("config", "--list")


def test_it_is_staged_where_autostage_is_set(repo: Repo) -> None:
    repo.run("config", "core.autostage", "true")
    attributes.install(project(repo.path))
    assert "A  .gitattributes" in repo.git("status", "--porcelain")


def test_no_writing_through_a_link(repo: Repo) -> None:
    repo.write("elsewhere", "")
    (repo.path / ".gitattributes").symlink_to("elsewhere")
    with pytest.raises(UserError, match="symlink"):
        attributes.install(project(repo.path))
    assert repo.read("elsewhere") == b""


@given(before=lines, after=lines, end=st.sampled_from(["\n", "\r\n"]))
def test_other_lines_stay(before: list[str], after: list[str], end: str) -> None:
    block = [attributes.BEGIN, *attributes.LINES, attributes.END]
    text = "".join(line + end for line in [*before, *block, *after])
    bare = "".join(line + end for line in [*before, *after])
    assert with_block(text, wanted=True) == text
    assert with_block(text, wanted=False) == bare
    assert with_block(with_block(bare, wanted=True), wanted=False) == bare
    doubled = "".join(line + end for line in [*before, *block, *after, *block])
    assert with_block(doubled, wanted=True) == text


def test_the_users_bytes_are_kept(repo: Repo) -> None:
    repo.write(".gitattributes", b"\xff\xfe -text\r\n*.a text")
    attributes.install(project(repo.path))
    assert repo.read(".gitattributes").startswith(b"\xff\xfe -text\r\n*.a text\r\n# >>> vml\r\n")
    done = subprocess.run(["git", "check-attr", "merge", "x.vml"], cwd=repo.path, capture_output=True, check=True)
    assert done.stdout == b"x.vml: merge: vml\n"
    attributes.uninstall(project(repo.path))
    assert repo.read(".gitattributes") == b"\xff\xfe -text\r\n*.a text\r\n"
