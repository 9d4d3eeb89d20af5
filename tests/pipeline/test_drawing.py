"""What is drawn of a graph, and that names break no format."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.test_graph import stage
from vcs_ml.pipeline import drawing, graph
from vcs_ml.pipeline.drawing import Drawing, Node

GRAPH = graph.build(
    [
        stage("report", deps=["plots", "score.json"]),
        stage("prepare", deps=["raw/a", "prepare.py"], outs=["data"]),
        stage("train@small", deps=["data/x"], outs=["m/small"]),
        stage("train@large", deps=["data"], outs=["m/large"]),
        stage("eval", deps=["m", "notes.txt"], outs=["score.json", "plots/*.csv"]),
    ],
    ["raw", "notes.txt", "unused"],
)
DATA = ["notes.txt", "raw", "unused"]


def lines(found: Drawing, width: int = 100) -> list[str]:
    return [" ".join(line.split()) for line in drawing.text(found, width)]


def test_stages() -> None:
    assert lines(drawing.draw(GRAPH, DATA)) == [
        "raw (data)",
        "prepare <- raw",
        "train@small <- prepare",
        "train@large <- prepare",
        "notes.txt (data)",
        "eval <- train@small, train@large, notes.txt",
        "report <- eval",
    ]


def test_groups() -> None:
    found = drawing.draw(GRAPH, DATA, collapse=True)
    assert lines(found) == [
        "raw (data)",
        "prepare <- raw",
        "train (2 stages) <- prepare",
        "notes.txt (data)",
        "eval <- train, notes.txt",
        "report <- eval",
    ]
    assert lines(drawing.part(found, ["train"])) == ["raw (data)", "prepare <- raw", "train (2 stages) <- prepare"]


def test_outs() -> None:
    found = drawing.draw(GRAPH, DATA, outs=True)
    assert lines(found) == [
        "raw (data)",
        "data <- raw",
        "m/small <- data",
        "m/large <- data",
        "notes.txt (data)",
        "score.json <- m/small, m/large, notes.txt",
        "plots/*.csv <- m/small, m/large, notes.txt",
    ]
    assert lines(drawing.part(found, ["data"])) == ["raw (data)", "data <- raw"]


def test_what_is_long_is_folded() -> None:
    nodes = [Node(f"stage number {i}", "stage") for i in range(9)]
    shown = list(drawing.text(Drawing(nodes, [[]] * 8 + [list(range(8))]), 60))
    assert max(map(len, shown)) <= 60
    assert [line[:14].strip() for line in shown] == [node.name for node in nodes] + [""] * 3
    assert " ".join(shown[8:]).count("stage number") == 9


def test_groups_may_need_each_other() -> None:
    twisted = graph.build(
        [
            stage("a@1", outs=["1"]),
            stage("b@1", deps=["1"], outs=["2"]),
            stage("a@2", deps=["2"], outs=["3"]),
            stage("b@2", deps=["3"]),
        ]
    )
    assert lines(drawing.draw(twisted, [], collapse=True)) == ["a (2 stages) <- b", "b (2 stages) <- a"]


NAMES = st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=6, unique=True)


@given(names=NAMES)
def test_any_name_is_drawn(names: list[str]) -> None:
    nodes = [Node(name, "data" if i == 0 else "group" if i == 1 else "stage", i + 1) for i, name in enumerate(names)]
    found = Drawing(nodes, [[i - 1] if i else [] for i in range(len(nodes))])
    head, *chart = drawing.mermaid(found)
    assert head == "flowchart TD"
    boxes, arrows = chart[: len(nodes)], chart[len(nodes) :]
    for line in boxes:
        assert re.fullmatch(r'    n\d+(\[\("|\[\["|\[")[^"<>`\[\](){}\n\r|]*("\)\]|"\]\]|"\])', line), line
    assert arrows == [f"    n{i} --> n{i + 1}" for i in range(len(nodes) - 1)]
    _, *drawn, _ = drawing.dot(found)
    for line in drawn[: len(nodes)]:
        assert re.fullmatch(r'    n\d+ \[label="(?:[^"\\\n\r]|\\["\\])*", shape=\w+\]', line), line
    assert len(list(drawing.text(found, 1000))) == len(nodes)


@given(edges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), start=st.integers(0, 9))
def test_every_need_is_an_edge_and_a_part_has_all_of_them(edges: list[tuple[int, int]], start: int) -> None:
    needs = {number: sorted({min(edge) for edge in edges if max(edge) == number != min(edge)}) for number in range(10)}
    built = graph.build([stage(f"s{i}", deps=[f"o{j}" for j in needs[i]], outs=[f"o{i}"]) for i in range(10)])
    whole = drawing.draw(built, [])

    def named(found: Drawing) -> dict[str, set[str]]:
        return {
            node.name: {found.nodes[each].name for each in below}
            for node, below in zip(found.nodes, found.needs, strict=True)
        }

    assert named(whole) == {f"s{i}": {f"s{j}" for j in needs[i]} for i in range(10)}
    assert all(each < number for number, below in enumerate(whole.needs) for each in below)
    ancestors = graph.ancestors(built, [f"s{start}"])
    assert named(drawing.part(whole, [f"s{start}"])) == {each: named(whole)[each] for each in ancestors}
