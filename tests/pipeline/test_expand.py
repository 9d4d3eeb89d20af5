"""`foreach` and `matrix`: the names of their stages, and what each of them gets."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.files import refused, stages
from vcs_ml.pipeline.expand import instances
from vcs_ml.pipeline.shape import Fault
from vcs_ml.pipeline.template import Room


def test_what_templates_come_to_is_bounded(tmp_path: Path) -> None:
    many = ", ".join(map(str, range(300)))
    files = {"params_yaml": f"s: {'x' * 1_000_000}\nm: {{a: ['${{s}}']}}\nlist: [{many}]\n"}
    links = ", ".join(["*k"] * 200)
    anchored = f"vars: [m: {{k: &k {'x' * 1_000_000}, l: [{links}]}}]\nstages: {{a: {{cmd: '${{m}}'}}}}"
    for text, keys in (
        ("stages: {a: {cmd: '" + "${s}" * 200 + "'}}", "stages.a.cmd"),
        ("stages: {a: {cmd: x, deps: [" + ", ".join(["'x${s}'"] * 200) + "]}}", "stages.a.deps"),
        ("stages: {a: {foreach: ['x${s}', '" + "${s}" * 200 + "'], do: {cmd: x}}}", "stages.a.foreach"),
        (f"stages: {{a: {{foreach: '${{list}}', do: {{cmd: '{'x' * 400_000} ${{item}}'}}}}}}", "stages.a.do.cmd"),
        (anchored, "stages.a.cmd"),
    ):
        error = refused(tmp_path, text, **files)
        assert re.match(rf"vml.yaml:\d+: {keys}\S*: here the templates come to more than 100,000,000 ", error.message)
    axes = ", ".join(f"a{number}: ['{'x' * 1_000_000}']" for number in range(5))
    error = refused(tmp_path, f"stages: {{a: {{matrix: {{{axes}, b: [{many}], c: [{many}]}}, cmd: x}}}}")
    assert "stages.a.matrix" in error.message


def commands(root: Path, text: str, **files: str) -> dict[str, str]:
    return {address: stage.cmds[0] for address, stage in stages(root, text, **files).items()}


@pytest.mark.parametrize(
    ("data", "cmd", "expected"),
    [
        (
            "[small, 2, 0.5, true, null]",
            "${item}",
            {"small": "small", "2": "2", "0.5": "0.5", "true": "true", "None": "None"},
        ),
        ("[{n: a}, {n: b}]", "${item.n}", {"0": "a", "1": "b"}),
        ("[{n: a}, b]", "x", {"0": "x", "1": "x"}),
        ("[['a', b]]", "${item[1]}", {"0": "b"}),
        ("{one: 1, two: {n: 2}}", "${key}", {"one": "one", "two": "two"}),
        ("{one: {n: 1}, two: {n: 2}}", "${key} ${item.n}", {"one": "one 1", "two": "two 2"}),
        ("${list}", "${item}", {"x": "x", "y": "y"}),
        ("${dict}", "${key}=${item}", {"k": "k=v"}),
        ("['${one}', '${dict.k}']", "${item}", {"1": "1", "v": "v"}),
        ("{a: '${one}', '${dict.k}': 3}", "${item}", {"a": "1", "v": "3"}),
        ("['${dict}']", "${item.k}", {"0": "v"}),
        ("[data/a.csv, 's3://b/c d']", "x", {"data/a.csv": "x", "s3://b/c d": "x"}),
        ("[]", "x", {}),
    ],
)
def test_foreach(tmp_path: Path, data: str, cmd: str, expected: dict[str, str]) -> None:
    text = f"stages:\n  s:\n    foreach: {data}\n    do:\n      cmd: '{cmd}'\n"
    found = commands(tmp_path, text, params_yaml="{one: 1, list: [x, y], dict: {k: v}}")
    assert found == {f"s@{name}": cmd for name, cmd in expected.items()}


def test_matrix(tmp_path: Path) -> None:
    text = """
    stages:
      s:
        matrix:
          model: [cnn, {name: rnn}]
          lr: ${rates}
          on: [true]
        cmd: run ${item.model} ${item.lr} ${item.on} ${key}
        outs: ["${key}.pt"]
    """
    found = stages(tmp_path, text.replace("${item.model}", "m"), params_yaml="rates: [0.1, 1e-5]")
    assert [(address, stage.cmds[0], stage.outs[0].path) for address, stage in found.items()] == [
        (f"s@{name}", f"run m {lr} true {name}", f"{name}.pt")
        for name, lr in (
            ("cnn-0.1-true", "0.1"),
            ("cnn-1e-05-true", "1e-05"),
            ("model1-0.1-true", "0.1"),
            ("model1-1e-05-true", "1e-05"),
        )
    ]


def test_instances_have_the_line_and_group_of_their_entry(tmp_path: Path) -> None:
    found = stages(tmp_path, "stages:\n  a: {cmd: x}\n  s: {foreach: [1, 2], do: {cmd: x}}\n")
    assert [(stage.line, stage.group) for stage in found.values()] == [(2, "a"), (3, "s"), (3, "s")]


def test_vars_inside_of_a_foreach(tmp_path: Path) -> None:
    text = """
    stages:
      s:
        foreach: [one, two]
        do:
          wdir: ${item}
          cmd: ${x} ${y}
          vars: [v.json, {y: 5}]
    """
    assert commands(tmp_path, text, one__v_json='{"x": 1}', two__v_json='{"x": 2}') == {"s@one": "1 5", "s@two": "2 5"}


def test_the_loop_wins_over_params(tmp_path: Path) -> None:
    text = "stages: {s: {foreach: [1], do: {cmd: '${item} ${key}'}}}"
    assert commands(tmp_path, text, params_yaml="{item: old, key: kept}") == {"s@1": "1 kept"}


def test_an_instance_that_is_switched_off(tmp_path: Path) -> None:
    text = "stages: {s: {foreach: {a: {on: true}, b: {on: false}}, do: {cmd: x, if: '${item.on}'}}}"
    assert {address: stage.condition for address, stage in stages(tmp_path, text).items()} == {
        "s@a": True,
        "s@b": False,
    }


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{foreach: [1, '1'], do: {cmd: x}}", "stages.s.foreach: two stages would be named '1'"),
        ("{foreach: [''], do: {cmd: x}}", "stages.s.foreach: '' cannot be part of a name"),
        ('{foreach: ["a\\nb"], do: {cmd: x}}', "cannot be part of a name"),
        ("{foreach: [' a'], do: {cmd: x}}", "cannot be part of a name"),
        ("{foreach: '${one}', do: {cmd: x}}", "stages.s.foreach: expected a list or a mapping, found the number 1"),
        ("{foreach: '${nope}', do: {cmd: x}}", "stages.s.foreach: ${nope}: there is no value"),
        ("{foreach: word, do: {cmd: x}}", "stages.s.foreach: expected a list or a mapping or a template, found"),
        ("{foreach: [1], do: {cmd: '${item.x}'}}", "stages.s.do.cmd: ${item.x}: there is no value 'item.x'"),
        ("{foreach: [1], do: {cmd: x, outs: [/a]}}", "stages.s.do.outs.0: "),
        ("{foreach: [1], do: {cmd: x, vars: [{item: 2}]}}", "stages.s.do.vars: item belongs to the loop"),
        ("{matrix: {a: ['x-y', x], b: [z, y-z]}, cmd: x}", "stages.s.matrix: two stages would be named 'x-y-z'"),
        ("{matrix: {a: '${one}'}, cmd: x}", "stages.s.matrix.a: expected a list, found the number 1"),
        ("{matrix: {a: b}, cmd: x}", "stages.s.matrix.a: expected a list or a template, found the text 'b'"),
        ("{matrix: [a], cmd: x}", "stages.s.matrix: expected a mapping"),
        ("{matrix: {}, cmd: x}", "stages.s.matrix: the matrix is empty"),
        ("{cmd: '${item}'}", "there is no value 'item'"),
    ],
)
def test_refused(tmp_path: Path, entry: str, words: str) -> None:
    error = refused(tmp_path, f"stages:\n  s: {entry}\n", params_yaml="one: 1")
    assert words in error.message
    assert error.message.startswith("vml.yaml:2: ")


def test_too_many(tmp_path: Path) -> None:
    axis = list(range(100))
    with pytest.raises(Fault, match="1,000,000 combinations"):
        list(instances("s", {"matrix": {"a": axis, "b": axis, "c": axis}, "cmd": "x"}, {}, Room()))
    # The product is not made before it is counted.
    with pytest.raises(Fault, match="combinations"):
        list(instances("s", {"matrix": {f"a{number}": axis for number in range(50)}, "cmd": "x"}, {}, Room()))


SCALARS = st.integers(0, 5) | st.sampled_from(["a", "b", "x-y", True, 0.5])
VALUES = SCALARS | st.fixed_dictionaries({"n": SCALARS})


@given(st.dictionaries(st.sampled_from(["p", "q", "r"]), st.lists(VALUES, max_size=3), min_size=1))
def test_matrix_against_a_plain_model(axes: dict[str, list[object]]) -> None:
    """Nested loops, axis by axis; where two names are equal it is refused."""
    expected: list[tuple[list[str], dict[str, object]]] = [([], {})]
    for axis, data in axes.items():
        expected = [
            (
                [*names, f"{axis}{index}" if isinstance(value, dict) else str(value).replace("True", "true")],
                {**item, axis: value},
            )
            for names, item in expected
            for index, value in enumerate(data)
        ]
    names = ["-".join(each) for each, _ in expected]
    if len(set(names)) < len(names):
        with pytest.raises(Fault, match="two stages"):
            list(instances("s", {"matrix": axes, "cmd": "x"}, {}, Room()))
        return
    found = list(instances("s", {"matrix": axes, "cmd": "x"}, {}, Room()))
    assert [(each.name, each.loop) for each in found] == [
        (f"s@{name}", {"item": item, "key": name}) for name, (_, item) in zip(names, expected, strict=True)
    ]


@given(st.lists(VALUES, max_size=4) | st.dictionaries(st.text("ab", min_size=1), VALUES, max_size=4))
def test_foreach_against_a_plain_model(data: list[object] | dict[str, object]) -> None:
    if isinstance(data, dict):
        expected = [(f"s@{key}", {"item": value, "key": key}) for key, value in data.items()]
    elif any(isinstance(value, dict) for value in data):
        expected = [(f"s@{index}", {"item": value}) for index, value in enumerate(data)]
    else:
        expected = [(f"s@{str(value).replace('True', 'true')}", {"item": value}) for value in data]
    names = [name for name, _ in expected]
    definition = {"foreach": data, "do": {"cmd": "x"}}
    if any(one == other for one, other in itertools.combinations(names, 2)):
        with pytest.raises(Fault, match="two stages"):
            list(instances("s", definition, {}, Room()))
    else:
        assert [(each.name, each.loop) for each in instances("s", definition, {}, Room())] == expected
