"""`vml dag` draws the graph of a project."""

from __future__ import annotations

import pytest

from tests.conftest import Repo

YAML = """\
stages:
  prepare: {cmd: x, deps: [raw], outs: [data], frozen: true}
  train:
    foreach: [a, b]
    do: {cmd: x, deps: [data], outs: ["m/${item}"]}
"""


@pytest.fixture
def drawn(repo: Repo) -> Repo:
    repo.write("raw", "1")
    repo.run("add", "raw")
    repo.write("vml.yaml", YAML)
    repo.write("sub/vml.yaml", "stages: {eval: {cmd: x, deps: [../m], outs: [score]}}\n")
    return repo


def test_text(drawn: Repo) -> None:
    assert drawn.run("dag").out == (
        "raw (data)\n"
        "prepare (frozen)   <- raw\n"
        "train@a            <- prepare\n"
        "train@b            <- prepare\n"
        "sub/vml.yaml:eval  <- train@a, train@b\n"
    )
    collapsed = "raw (data)\nprepare (frozen)   <- raw\ntrain (2 stages)   <- prepare\nsub/vml.yaml:eval  <- train\n"
    assert drawn.run("dag", "--collapse").out == collapsed
    assert drawn.run("dag", "--collapse", "eval", cwd="sub").out == collapsed
    assert drawn.run("dag", "train@a").out == "raw (data)\nprepare (frozen)  <- raw\ntrain@a           <- prepare\n"
    assert drawn.run("dag", "--outs", "m/a").out == "raw (data)\ndata (frozen)  <- raw\nm/a            <- data\n"


def test_other_forms(drawn: Repo) -> None:
    chart = (
        'flowchart TD\n    n0[("raw #40;data#41;")]\n    n1["prepare #40;frozen#41;"]\n'
        '    n2[["train #40;2 stages#41;"]]\n'
        "    n0 --> n1\n    n1 --> n2\n"
    )
    assert drawn.run("dag", "train", "--collapse", "--mermaid").out == chart
    assert drawn.run("dag", "train", "--collapse", "--md").out == f"```mermaid\n{chart}```\n"
    assert drawn.run("dag", "prepare", "--dot").out == (
        'digraph {\n    n0 [label="raw (data)", shape=cylinder]\n    n1 [label="prepare (frozen)", shape=box]\n'
        "    n0 -> n1\n}\n"
    )
    found = drawn.json("dag", "prepare")
    assert found["edges"] == [{"from": 0, "to": 1}]
    assert found["nodes"][1] == {"id": 1, "name": "prepare", "kind": "stage", "size": 1, "frozen": True}


def test_what_cannot_be_drawn(repo: Repo) -> None:
    assert "nothing to draw" in repo.run("dag").err
    assert repo.json("dag") == {"schema": 1, "nodes": [], "edges": []}
    repo.write("vml.yaml", YAML)
    assert "did you mean train?" in repo.fails("dag", "trian", code=3).err
    repo.fails("dag", "--md", "--dot", code=2)
    repo.fails("dag", "--outs", "--collapse", code=2)
    repo.write("vml.yaml", "stages: {a: {cmd: x, deps: [a], outs: [a]}}\n")
    assert "a -> a" in repo.fails("dag", code=3).err
