"""Pipelines out of a few files, given as text."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from vcs_ml.errors import UserError
from vcs_ml.pipeline.load import Pipeline, load
from vcs_ml.pipeline.stage import Stage


def pipeline(root: Path, files: dict[str, str]) -> Pipeline:
    """What the vml.yaml files among these say."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(textwrap.dedent(text))
    return load(root, [path for path in files if Path(path).name == "vml.yaml"])


def stages(root: Path, text: str, **files: str) -> dict[str, Stage]:
    """The stages of one vml.yaml, by address; keyword `params_yaml` is the file params.yaml."""
    named = {name.replace("__", "/").replace("_", "."): content for name, content in files.items()}
    return {stage.address: stage for stage in pipeline(root, {"vml.yaml": text, **named}).stages}


def only(root: Path, text: str, **files: str) -> Stage:
    """The one stage of a vml.yaml."""
    (stage,) = stages(root, text, **files).values()
    return stage


def refused(root: Path, text: str, **files: str) -> UserError:
    """The error that loading this ends with, which always has a hint."""
    with pytest.raises(UserError) as caught:
        stages(root, text, **files)
    assert caught.value.hint
    return caught.value
