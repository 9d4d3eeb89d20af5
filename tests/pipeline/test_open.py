"""The pipeline of a project that lies on the disk."""

from __future__ import annotations

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
