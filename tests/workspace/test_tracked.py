"""What is tracked: in the workspace, at a revision, in history."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.stages import record
from vcs_ml.errors import UserError
from vcs_ml.workspace import tracked
from vcs_ml.workspace.project import Project


def project(repo: Repo, at: str = "") -> Project:
    return Project.find(repo.path / at, os.environ)


def here(repo: Repo, at: str = "") -> list[str]:
    """What is found with what is known from before, which is what is found without."""
    found = list(tracked.in_workspace(project(repo, at)))
    assert found == list(tracked.in_workspace(project(repo, at), refresh=True))
    return found


def test_pointers_come_and_go(repo: Repo) -> None:
    assert here(repo) == []
    for path in ("z", "deep/er/a", "data/x"):
        repo.write(path, "1")
    repo.run("add", "z", "deep/er/a", "data")
    assert here(repo) == ["data", "deep/er/a", "z"]
    pointer = repo.read("deep/er/a.vml")
    (repo.path / "deep/er/a.vml").unlink()
    assert here(repo) == ["data", "z"]
    repo.write("deep/er/a.vml", pointer)
    (repo.path / "deep").rename(repo.path / "other")
    assert here(repo) == ["data", "other/er/a", "z"]


def test_files_of_stages_come_and_go(repo: Repo) -> None:
    def stage_files() -> list[str]:
        found = tracked.survey(project(repo)).stage_files
        assert found == tracked.survey(project(repo), refresh=True).stage_files
        return found

    assert stage_files() == []
    for path in ("vml.yaml", "b/vml.yaml", "a/deep/vml.yaml", "data/vml.yaml", "out/vml.yaml", "ignored/vml.yaml"):
        repo.write(path, "stages:\n")
    repo.write("link/real", "stages:\n")
    (repo.path / "link/vml.yaml").symlink_to("real")
    repo.write(".vmlignore", "ignored\n")
    repo.run("add", "data")
    record(repo, "train", ["out"])
    assert stage_files() == ["a/deep/vml.yaml", "b/vml.yaml", "link/vml.yaml", "vml.yaml"]
    (repo.path / "b/vml.yaml").unlink()
    (repo.path / "a").rename(repo.path / "c")
    assert stage_files() == ["c/deep/vml.yaml", "link/vml.yaml", "vml.yaml"]


def test_every_edit_of_a_pointer_is_seen_at_once(repo: Repo) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    raw = repo.read("one.vml")
    for i in range(30):
        digits = f"{i:032x}".encode()
        repo.write("one.vml", raw[: raw.index(b"xxh128:") + 7] + digits + raw[raw.index(b"xxh128:") + 39 :])
        assert tracked.in_workspace(project(repo))["one"].oid[:-1].hex() == digits.decode()


def test_where_nobody_looks(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    good = repo.read("one.vml")
    repo.write("data/one.vml", good)  # data
    repo.write("ignored/one.vml", good)
    repo.write("other/.git/HEAD", "x")
    repo.write("other/one.vml", good)
    repo.write("inner/.vml/config.toml", "[core]\n")
    repo.write("inner/one.vml", good)
    repo.write(".vmlignore", "ignored/\n")
    (repo.path / "link").symlink_to("inner")
    assert here(repo) == ["data", "one"]
    repo.write(".vmlignore", "")
    assert here(repo) == ["data", "ignored/one", "one"]


def test_owners(repo: Repo) -> None:
    repo.write("data/sub/x", "1")
    repo.write("data/sub.vml", "data that is named like a pointer")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    pointers = tracked.in_workspace(project(repo))
    for path, expected in {
        "data": ("data", ""),
        "data/sub/x": ("data", "sub/x"),
        "data/no/such": ("data", "no/such"),
        "one": ("one", ""),
        "one/x": ("one", "x"),
        "nosuch": None,
        "dat": None,
        "database": None,
    }.items():
        for found in (tracked.owner(path, pointers), tracked.owner_in_workspace(project(repo), path)):
            assert (found and (found[0].path, found[1])) == expected, path


def test_revisions_and_history(repo: Repo) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    first = repo.commit()
    repo.write("one", "2")
    repo.run("add", "one")
    repo.commit()
    repo.run("rm", "one")
    repo.write("two", "3")
    repo.run("add", "two")
    third = repo.commit()
    repo.write("bad.vml", "{")
    fourth = repo.commit()
    assert list(tracked.at_revision(project(repo), first)) == ["one"]
    assert list(tracked.at_revision(project(repo), third)) == ["two"]
    with pytest.raises(UserError, match=f"at {fourth}: bad.vml"):
        tracked.at_revision(project(repo), fourth)
    roots = tracked.in_history(project(repo), [fourth])
    assert sorted(root.path for root in roots) == ["one", "one", "two"]
    assert tracked.in_history(project(repo), [], every_ref=True) == roots


def test_projects_inside_each_other(repo: Repo) -> None:
    repo.write("data", "outer")
    repo.run("add", "data")
    (repo.path / "sub/deep").mkdir(parents=True)
    repo.run("init", cwd="sub")
    repo.write("sub/deep/data", "inner")
    repo.run("add", "deep/data", cwd="sub")
    head = repo.commit()
    assert here(repo) == ["data"]
    assert here(repo, "sub") == ["deep/data"]
    for at, path in (("", "data"), ("sub", "deep/data")):
        assert list(tracked.at_revision(project(repo, at), head)) == [path]
        assert [root.path for root in tracked.in_history(project(repo, at), [head])] == [path]


def test_a_directory_that_cannot_be_read(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    (repo.path / "closed").mkdir()
    real = os.scandir

    def refusing(path: object = ".") -> object:
        if Path(os.fsdecode(path)).name == "closed":  # type: ignore[arg-type]
            raise PermissionError(13, "Permission denied", path)
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refusing)
    assert here(repo) == ["one"]
