"""Outputs going before they are made anew: no byte that somebody wrote is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.stages import project_of, record
from vcs_ml.progress import SILENT
from vcs_ml.workspace import clearing, opening, tracked
from vcs_ml.workspace.clearing import Doomed
from vcs_ml.workspace.measure import Gauge


@pytest.mark.parametrize("path", ["tree", "tree/f", "one"])
def test_what_is_edited_after_it_was_measured_is_kept(repo: Repo, path: str) -> None:
    edited = "tree/f" if path != "one" else "one"
    repo.write(edited, "made")
    record(repo, "s", [path])
    project = project_of(repo)
    with opening.changing(project):
        store = opening.open_store(project)
        gauge = Gauge(project, store, tracked.in_workspace(project), SILENT)
        gauge.directories = {}
        here = gauge.measure(path)
        repo.write(edited, "edited")
        kept = clearing.clear(project, gauge, [Doomed(path, here)], SILENT)
    assert [each.path for each in kept] == [edited]
    assert store.read(kept[0].oid) == b"edited"
    assert not (repo.path / path).exists()


def test_a_link_out_of_the_project_is_kept_and_not_followed(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "far").write_text("far")
    (repo.path / "out").symlink_to(tmp_path / "far")
    project = project_of(repo)
    with opening.changing(project):
        store = opening.open_store(project)
        gauge = Gauge(project, store, {}, SILENT)
        (kept,) = clearing.clear(project, gauge, [Doomed("out", gauge.measure("out"))], SILENT)
    assert store.read(kept.oid) == str(tmp_path / "far").encode()
    assert (tmp_path / "far").read_text() == "far"


@pytest.mark.parametrize("theirs", ["", "*.tmp\n"])
def test_our_own_lines_for_git_are_not_kept(repo: Repo, theirs: str) -> None:
    repo.write("o/x", "made")
    repo.write("o/.gitignore", theirs)
    record(repo, "s", ["o/x"])
    project = project_of(repo)
    with opening.changing(project):
        gauge = Gauge(project, opening.open_store(project), {}, SILENT)
        kept = clearing.clear(project, gauge, [Doomed("o", None)], SILENT)
    assert [each.path for each in kept] == (["o/.gitignore"] if theirs else [])
    assert not (repo.path / "o").exists()
