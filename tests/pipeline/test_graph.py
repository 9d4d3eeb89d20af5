"""The graph: who needs whom, in which order they run, and which outputs are refused."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.errors import UserError
from vcs_ml.pipeline import graph, outputs
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.stage import Out, ParamSet, Stage


def stage(name: str, deps: Sequence[str] = (), outs: Sequence[str] = (), **more: object) -> Stage:
    return Stage(
        "vml.yaml",
        name,
        ("x",),
        deps=tuple(deps),
        outs=tuple(Out(path, is_glob="*" in path) for path in outs),
    )._replace(**more)


def edges(found: Graph) -> set[tuple[str, str]]:
    return {(address, need) for address, needs in graph.waits(found, found.stages).items() for need in needs}


@pytest.mark.parametrize(
    ("made", "needed", "is_edge"),
    [
        ("a", "a", True),
        ("a", "a/b", True),
        ("a/b", "a", True),
        ("a/b/c", "a", True),
        ("a", "a/b/c/d", True),
        ("a", "ab", False),
        ("ab", "a", False),
        ("a/b", "a/c", False),
        ("a", "/a", False),
        ("m/*.pt", "m/x.pt", True),
        ("m/*.pt", "m/x.pt/inside", True),
        ("m/*.pt", "m/x.txt", False),
        ("m/*.pt", "m", True),
        ("m/*.pt", "n", False),
        ("m/*.pt", "m/sub/x.pt", False),
        ("a/m/*.pt", "a", True),
        ("m/*/x", "m/run", True),
        ("m/*/x", "m/run/x", True),
        ("m/*/x", "m/run/y", False),
        ("m/**/x", "m/x", True),
        ("m/**/x", "m/a/b/x", True),
        ("m/**/x", "m/a/b", True),
        ("m/**", "m/a/b", True),
        ("*.pt", "x.pt", True),
        ("*.pt", "x/x.pt", False),
        ("m/r*", "m/run/deep", True),
        ("m/run-*", "m/ru", False),
    ],
)
def test_an_edge(made: str, needed: str, is_edge: bool) -> None:
    found = graph.build([stage("reader", [needed]), stage("maker", outs=[made])])
    assert edges(found) == ({("reader", "maker")} if is_edge else set())
    assert found.order == (("maker", "reader") if is_edge else ("reader", "maker"))


def test_params_files_are_needed_too() -> None:
    found = graph.build(
        [
            stage("train", params=(ParamSet("p.yaml", ("lr",)), ParamSet("q/all.json", None))),
            stage("tune", outs=["p.yaml", "q"]),
        ]
    )
    assert edges(found) == {("train", "tune")}


def test_the_order_is_that_of_the_files_where_there_is_a_choice() -> None:
    found = graph.build(
        [
            stage("z", ["c"]),
            stage("y"),
            stage("x", ["y1"], ["c"]),
            stage("w", outs=["y1"]),
            stage("v"),
        ]
    )
    assert found.order == ("y", "w", "x", "z", "v")
    assert tuple(found.stages) == ("z", "y", "x", "w", "v")


def chain() -> list[Stage]:
    return [
        stage("prepare", ["raw"], ["data"]),
        stage("features", ["data/train"], ["features"]),
        stage("train", ["features"], ["model"], frozen=True),
        stage("evaluate", ["model", "data/test"], ["scores"]),
        stage("report", ["scores"]),
        stage("lint", ["src"]),
    ]


def test_ancestors_and_descendants() -> None:
    found = graph.build([each._replace(frozen=False) for each in chain()])
    assert graph.ancestors(found, ["evaluate"]) == ["prepare", "features", "train", "evaluate"]
    assert graph.ancestors(found, ["features", "lint"]) == ["prepare", "features", "lint"]
    assert graph.descendants(found, ["features"]) == ["features", "train", "evaluate", "report"]
    assert graph.descendants(found, ["report"]) == ["report"]
    assert sorted(graph.waits(found, found.stages)["evaluate"]) == ["prepare", "train"]


def test_a_frozen_stage_holds_back_what_is_behind_it() -> None:
    found = graph.build(chain())
    assert graph.ancestors(found, ["train"]) == ["train"]
    assert graph.ancestors(found, ["report"]) == ["prepare", "train", "evaluate", "report"]
    assert graph.descendants(found, ["features"]) == ["features"]
    assert graph.descendants(found, ["train"]) == ["train", "evaluate", "report"]
    assert graph.descendants(found, ["prepare"]) == ["prepare", "features", "evaluate", "report"]


def test_stages_that_are_off_are_not_in_it() -> None:
    on = stage("gpu", ["x"], ["model"])
    off = stage("cpu", ["model"], ["model", "x"], condition=False)
    found = graph.build([on, off])
    assert (found.order, found.off) == (("gpu",), {"cpu"})


@pytest.mark.parametrize(
    ("stages", "path"),
    [
        ([stage("a", ["a1"], ["a1"])], "a -> a"),
        ([stage("a", ["d"], ["d/x"])], "a -> a"),
        ([stage("a", ["d"], ["d/x", "d/y"]), stage("b", outs=["d/z"])], "a -> a"),
        ([stage("a", ["d/x"], ["d"])], "a -> a"),
        ([stage("a", ["d/x.pt"], ["d/*.pt"])], "a -> a"),
        ([stage("a", ["y"], ["x"]), stage("b", ["x"], ["y"])], "a -> b -> a"),
        ([stage("c", ["y"], ["z"]), stage("b", ["x"], ["y"]), stage("a", ["z"], ["x"])], "c -> a -> b -> c"),
        ([stage("a", ["d"], ["x"]), stage("b", ["x"], ["d/1", "d/2"]), stage("c", outs=["d/3"])], "a -> b -> a"),
    ],
)
def test_cycles(stages: list[Stage], path: str) -> None:
    with pytest.raises(UserError) as caught:
        graph.build(stages)
    assert caught.value.message == f"the stages form a cycle: {path}"
    assert caught.value.hint


def test_a_long_cycle_is_shortened() -> None:
    with pytest.raises(UserError) as caught:
        graph.build([stage(f"s{i}", [f"o{i}"], [f"o{(i + 1) % 3000}"]) for i in range(3000)])
    assert caught.value.message.startswith("the stages form a cycle: s0 -> s1 -> ")
    assert caught.value.message.endswith(" -> s2999 -> s0")
    assert len(caught.value.message) < 500


def test_what_a_pattern_may_hold_is_no_cycle_of_one_stage() -> None:
    assert graph.build([stage("a", ["runs/config"], ["runs/*/model"])]).order == ("a",)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("x", "x", "b makes x, as a in vml.yaml:1"),
        ("m/*.pt", "m/*.pt", "b makes m/*.pt, as a"),
        ("d", "d/x", "d/x of b lies inside d of a"),
        ("d/e/f", "d", "d/e/f of a lies inside d of b"),
        ("d", "d/*.pt", "d/*.pt of b lies inside d of a"),
        ("d/e", "d/e/f/*", "d/e/f/* of b lies inside d/e of a"),
        ("d/*.pt", "d/x.pt", "b makes d/x.pt, which d/*.pt of a matches too"),
        ("d/*", "d/x/deep", "b makes d/x/deep, which d/* of a matches too"),
        ("d/**/x", "d/1/2/x", "b makes d/1/2/x, which"),
    ],
)
def test_outputs_that_overlap(first: str, second: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        graph.build([stage("a", outs=[first]), stage("b", outs=[second])])
    assert words in caught.value.message
    assert caught.value.message.startswith("vml.yaml:1: ")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("first", "second"), [("d", "dd"), ("d/x", "d/y"), ("d/*.pt", "d/x.txt"), ("d/*/x", "d/best"), ("d/*.a", "d/*.b")]
)
def test_outputs_that_do_not(first: str, second: str) -> None:
    assert graph.build([stage("a", outs=[first]), stage("b", outs=[second])]).order == ("a", "b")


@pytest.mark.parametrize(
    ("made", "tracked", "refused"),
    [
        ("data", "data", True),
        ("data/x", "data", True),
        ("data", "data/deep/x", True),
        ("data/*.csv", "data", True),
        ("data/*.csv", "data/x.csv", True),
        ("data/*.csv", "data/x.txt", False),
        ("data/x", "data/y", False),
        ("data", "database", False),
    ],
)
def test_outputs_and_tracked_data(made: str, tracked: str, refused: bool) -> None:
    stages = [stage("a", [tracked] if not refused else [], [made])]
    if not refused:
        assert graph.build(stages, ["other", tracked]).order == ("a",)
        return
    with pytest.raises(UserError, match=f"overlaps with {tracked}, which vml add tracks"):
        graph.build(stages, ["other", tracked])


@pytest.mark.parametrize("made", ["sub", "sub/*", "sub/vml.*"])
def test_an_output_around_a_vml_yaml(made: str) -> None:
    inner = stage("b", file="sub/vml.yaml")
    with pytest.raises(UserError, match=r"a makes what holds sub/vml\.yaml"):
        graph.build([stage("a", outs=[made]), inner])


def test_many_writers_and_readers_of_one_directory_are_few_edges() -> None:
    writers = [stage(f"w{i}", outs=[f"d/{i}"]) for i in range(300)]
    readers = [stage(f"r{i}", ["d"]) for i in range(300)]
    found = graph.build([*readers, *writers])
    assert sum(map(len, found.needs)) == 600
    assert graph.waits(found, found.stages)["r7"] == [f"w{i}" for i in range(300)]
    assert graph.descendants(found, ["w3"]) == ["w3", *(f"r{i}" for i in range(300))]
    assert found.order[:300] == tuple(f"w{i}" for i in range(300))


NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map("/".join)


def touch(one: str, other: str) -> bool:
    """The naive model: equal, or one inside the other."""
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


@given(
    st.lists(st.tuples(st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=2, unique=True)), max_size=6),
    st.lists(NAMES, max_size=2),
)
def test_paths_against_all_pairs(pairs: list[tuple[list[str], list[str]]], pointers: list[str]) -> None:
    stages = [stage(f"s{number}", deps, outs) for number, (deps, outs) in enumerate(pairs)]
    made = [(path, number) for number, (_, outs) in enumerate(pairs) for path in outs]
    clash = any(touch(one, other) for index, (one, _) in enumerate(made) for other, _ in made[:index])
    clash = clash or any(touch(path, pointer) for path, _ in made for pointer in pointers)
    if clash:
        with pytest.raises(UserError):
            outputs.collect(stages, pointers)
        return
    expected = {
        (f"s{reader}", f"s{maker}")
        for reader, (deps, _) in enumerate(pairs)
        for dep in deps
        for path, maker in made
        if touch(dep, path)
    }
    try:
        found = graph.build(stages, pointers)
    except UserError:
        assert _has_cycle(expected)
        return
    assert not _has_cycle(expected)
    assert edges(found) == expected


def _has_cycle(pairs: set[tuple[str, str]]) -> bool:
    reach = set(pairs)
    while more := {(a, d) for a, b in reach for c, d in reach if b == c} - reach:
        reach |= more
    return any(one == other for one, other in reach)


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[Stage], set[tuple[int, int]]]:
    """Stages in any order of their names, and who needs whom."""
    size = draw(st.integers(1, 12))
    ranks = draw(st.permutations(range(size)))
    needs = draw(st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=30))
    needs = {(one, other) for one, other in needs if ranks[one] > ranks[other]}
    through_directory = draw(st.sets(st.integers(0, size - 1)))
    stages = [
        stage(
            f"s{number}",
            [
                f"o{other}" if other in through_directory else f"o{other}/file"
                for one, other in sorted(needs)
                if one == number
            ],
            [f"o{number}/file", f"o{number}/log"] if number in through_directory else [f"o{number}"],
        )
        for number in range(size)
    ]
    return stages, needs


@given(dags())
def test_random_dags(given_: tuple[list[Stage], set[tuple[int, int]]]) -> None:
    stages, needs = given_
    found = graph.build(stages)
    assert edges(found) == {(f"s{one}", f"s{other}") for one, other in needs}
    order = [int(address[1:]) for address in found.order]
    assert sorted(order) == list(range(len(stages)))
    done: set[int] = set()
    for number in order:
        ready = [each for each in range(len(stages)) if each not in done and {b for a, b in needs if a == each} <= done]
        assert number == min(ready)
        done.add(number)
    for number in range(len(stages)):
        up, down = {number}, {number}
        for _ in stages:
            up |= {b for a, b in needs if a in up}
            down |= {a for a, b in needs if b in down}
        assert graph.ancestors(found, [f"s{number}"]) == [f"s{each}" for each in order if each in up]
        assert graph.descendants(found, [f"s{number}"]) == [f"s{each}" for each in order if each in down]


@given(dags(), st.randoms(use_true_random=False))
def test_a_cycle_is_found_and_is_one(given_: tuple[list[Stage], set[tuple[int, int]]], random: object) -> None:
    stages, needs = given_
    reach = set(needs)
    while more := {(a, d) for a, b in reach for c, d in reach if b == c} - reach:
        reach |= more
    # The first of a path now needs the last of it as well.
    first, last = random.choice(sorted(reach)) if reach else (0, 0)  # type: ignore[attr-defined]
    stages[last] = stages[last]._replace(deps=(*stages[last].deps, stages[first].outs[0].path))
    with pytest.raises(UserError) as caught:
        graph.build(stages)
    names = caught.value.message.removeprefix("the stages form a cycle: ").split(" -> ")
    steps = needs | {(last, first)}
    assert names[0] == names[-1]
    assert all((int(after[1:]), int(before[1:])) in steps for before, after in itertools.pairwise(names))
