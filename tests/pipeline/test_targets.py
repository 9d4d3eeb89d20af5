"""What a user means by a target."""

from __future__ import annotations

import pytest

from tests.pipeline.test_graph import stage
from vcs_ml.errors import UserError
from vcs_ml.pipeline import graph
from vcs_ml.pipeline.targets import find

SUB = "sub/vml.yaml"
GRAPH = graph.build(
    [
        stage("train@a", outs=["m/a"]),
        stage("train@b", outs=["m/b/best"]),
        stage("train2", outs=["m/c"]),
        stage("data/clean", outs=["clean.csv"]),
        stage("off", condition=False),
        stage("some@1", condition=False),
        stage("some@2"),
        stage("none@1", condition=False),
        stage("train", file=SUB, outs=["sub/out"]),
        stage("eval", file=SUB, outs=["sub/logs/*.txt", "elsewhere"]),
        stage("deep", file="sub/deep/vml.yaml"),
    ]
)


@pytest.mark.parametrize(
    ("target", "start", "expected"),
    [
        ("train2", "", ["train2"]),
        ("train@b", "", ["train@b"]),
        ("train", "", ["train@a", "train@b"]),
        ("train@*", "", ["train@a", "train@b"]),
        ("train*", "", ["train@a", "train@b", "train2"]),
        ("data/clean", "", ["data/clean"]),
        ("some", "", ["some@2"]),
        ("vml.yaml:train2", "", ["train2"]),
        ("sub/vml.yaml:train", "", [f"{SUB}:train"]),
        ("sub/vml.yaml:*", "", [f"{SUB}:train", f"{SUB}:eval"]),
        ("sub/vml.yaml", "", [f"{SUB}:train", f"{SUB}:eval"]),
        ("vml.yaml", "sub", [f"{SUB}:train", f"{SUB}:eval"]),
        ("vml.yaml:train", "sub", [f"{SUB}:train"]),
        ("sub/vml.yaml:train", "sub", [f"{SUB}:train"]),
        ("../vml.yaml:train2", "sub", ["train2"]),
        ("./vml.yaml:train2", "", ["train2"]),
        ("train", "sub", [f"{SUB}:train"]),
        ("train2", "sub", ["train2"]),
        ("m/a", "", ["train@a"]),
        ("m/b/best/part", "", ["train@b"]),
        ("m/b", "", ["train@b"]),
        ("m", "", ["train@a", "train@b", "train2"]),
        ("m/", "", ["train@a", "train@b", "train2"]),
        ("../m/c", "sub", ["train2"]),
        ("out", "sub", [f"{SUB}:train"]),
        ("sub/logs/x.txt", "", [f"{SUB}:eval"]),
        ("sub/logs", "", [f"{SUB}:eval"]),
        ("elsewhere", "", [f"{SUB}:eval"]),
        ("sub", "", [f"{SUB}:train", f"{SUB}:eval", "sub/deep/vml.yaml:deep"]),
        (".", "sub/deep", ["sub/deep/vml.yaml:deep"]),
        (".", "", list(GRAPH.stages)),
    ],
)
def test_targets(target: str, start: str, expected: list[str]) -> None:
    assert find(GRAPH, target, start) == expected


@pytest.mark.parametrize(
    ("target", "words", "hint"),
    [
        ("trian", "trian is no stage", "did you mean train?"),
        ("eval", "eval is no stage", "did you mean sub/vml.yaml:eval?"),
        ("sub/vml.yaml:evil", "is no stage", "did you mean sub/vml.yaml:eval?"),
        ("clean.cvs", "is no stage", "did you mean clean.csv?"),
        ("zzzzz", "zzzzz is no stage, and no stage makes it", "vml stage list"),
        ("off", "the stage off is switched off", "if"),
        ("none", "the stage none is switched off", "if"),
        ("some@1", "the stage some@1 is switched off", "if"),
        ("nope/vml.yaml:x", "is no stage", ""),
        ("/etc/passwd", "is no stage", ""),
        ("../..", "is no stage", ""),
    ],
)
def test_refused(target: str, words: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        find(GRAPH, target)
    assert words in caught.value.message
    assert hint in str(caught.value.hint)
