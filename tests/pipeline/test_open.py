"""The pipeline of a project that lies on the disk."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import Repo
from tests.stages import project_of
from vcs_ml.errors import UserError
from vcs_ml.pipeline.open import pipeline


def test_every_file_of_the_project_counts(repo: Repo) -> None:
    loaded, graph = pipeline(project_of(repo))
    assert (loaded.stages, graph.order) == ((), ())
    repo.write("raw.csv", "1")
    repo.run("add", "raw.csv")
    repo.write("vml.yaml", "stages: {train: {cmd: x, deps: [sub/clean.csv], outs: [model]}}\n")
    repo.write("sub/vml.yaml", "stages: {clean: {cmd: x, deps: [../raw.csv], outs: [clean.csv]}}\n")
    _, graph = pipeline(project_of(repo))
    assert graph.order == ("sub/vml.yaml:clean", "train")
    repo.write("sub/vml.yaml", "stages: {clean: {cmd: x, outs: [../raw.csv]}}\n")
    with pytest.raises(UserError, match=r"overlaps with raw\.csv, which vml add tracks"):
        pipeline(project_of(repo))


def test_a_link_is_refused(repo: Repo) -> None:
    repo.write("elsewhere", "stages: {a: {cmd: echo > x, outs: [x]}}\n")
    for name in ("vml.yaml", "sub/vml.yaml"):
        repo.write(name, "").unlink()
        (repo.path / name).symlink_to(repo.path / "elsewhere")
        for command in (["repro"], ["repro", "--dry"], ["status"], ["dag"], ["stage", "list"]):
            result = repo.fails(*command, code=3)
            assert f"{name} is a symbolic link" in result.err
        repo.write("data", "1")
        repo.run("add", "data")  # what has nothing to do with stages goes on
        hint = result.err.partition("hint: ")[2]
        subprocess.run(["sh", "-c", hint], cwd=repo.path, check=True)
        repo.run("repro")
        (repo.path / name).unlink()
    (repo.path / "vml.yaml").symlink_to("nowhere")
    assert "vml.yaml is a symbolic link" in repo.fails("repro", code=3).err


def test_an_output_in_another_repository_is_refused(repo: Repo) -> None:
    repo.write("other/f", "1")
    repo.git("init", "-q", "other/deep")
    for out in ("other/deep/f", "other/deep/sub/f", "other/deep/*.txt"):
        repo.write("vml.yaml", f"stages: {{a: {{cmd: x, outs: [other/f, '{out}']}}}}\n")
        with pytest.raises(UserError, match="of a would lie in other/deep, which is a Git repository of its own"):
            pipeline(project_of(repo))
    repo.write("vml.yaml", "stages: {a: {cmd: x, deps: [other/deep/f], outs: [other/f, 'other/*.txt']}}\n")
    pipeline(project_of(repo))
