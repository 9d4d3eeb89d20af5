"""Templates: what becomes of `${}` in text, keys and commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.files import only, refused
from vcs_ml.pipeline.shape import Fault
from vcs_ml.pipeline.template import Room, is_template, resolve, resolve_command

CONTEXT: dict[str, Any] = {
    "text": "hello",
    "whole": 3,
    "small": 1e-5,
    "yes": True,
    "nothing": None,
    "a": {"b": [{"c": "deep"}, 2]},
    "tricky": "${text} it's",
    "odd": {"dot}": 1, "a.dot": 1},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain $text {x} $(ls)", "plain $text {x} $(ls)"),
        ("${text}", "hello"),
        ("${ text }", "hello"),
        ("${whole}", 3),
        ("${small}", 1e-5),
        ("${yes}", True),
        ("${nothing}", None),
        ("${a.b[0].c}", "deep"),
        ("${a.b.1}", 2),
        ("${text}${whole}", "hello3"),
        ("x${yes}y${nothing}z${small}", "xtrueyNonez1e-05"),
        (" ${whole}", " 3"),
        ("${tricky}", "${text} it's"),
        ("<${tricky}>", "<${text} it's>"),
        (r"\${text}", "${text}"),
        (r"a \${HOME} ${whole} \${", "a ${HOME} 3 ${"),
        (r"\\${text}", r"\${text}"),
    ],
)
def test_text(text: str, expected: object) -> None:
    found = resolve(text, CONTEXT, Room())
    assert found == expected
    assert type(found) is type(expected)


def test_lists_mappings_and_keys() -> None:
    value = {"${text}.csv": ["${whole}", {"x": "${yes}"}], "n": 5, "k${whole}": None}
    assert resolve(value, CONTEXT, Room()) == {"hello.csv": [3, {"x": True}], "n": 5, "k3": None}
    assert value["n"] == 5
    assert is_template(value)
    assert not is_template({"a": ["$x", {"b": "{"}], "c": 1})


@pytest.mark.parametrize(
    ("value", "words", "hint", "path"),
    [
        ("${txet}", "${txet}: there is no value 'txet'", "did you mean ${text}?", ()),
        (["x", {"y": "${c}"}], "there is no value 'c'", "did you mean ${a.b[0].c}?", (1, "y")),
        ("${HOME}", "there is no value 'HOME'", r"\${HOME} is left to the shell", ()),
        ("${}", "there is no value ''", "a path of keys and nothing else", ()),
        ("${whole + 1}", "there is no value 'whole + 1'", "a path of keys and nothing else", ()),
        ("${text:-${HOME}}", "there is no value 'text:-${HOME'", r"write \${ in the place of each ${ (\\${ in", ()),
        ("${a.b[2]}", "there is no value 'a.b[2]'", "a.b has 2 items, and the first is a.b[0]", ()),
        ("${a.b.7}", "there is no value 'a.b.7'", "a.b has 2 items", ()),
        ("${item.c}", "there is no value 'item.c'", "item is there with matrix, and with foreach", ()),
        ("${key}", "there is no value 'key'", "with foreach over a mapping", ()),
        ("${dot}", "there is no value 'dot'", "define it in params.yaml", ()),
        ("${a}", "${a} is a mapping", "only a command", ()),
        ("x ${a.b}", "${a.b} is a list", "only a command", ()),
        ("x ${text", "${ without }", r"\${", ()),
        ({"${text}": 1, "hello": 2}, "the key 'hello' stands here twice", "", ("hello",)),
        ({"${a}": 1}, "${a} is a mapping", "", ("${a}",)),
    ],
)
def test_refused(value: object, words: str, hint: str, path: tuple[object, ...]) -> None:
    with pytest.raises(Fault) as caught:
        resolve(value, CONTEXT, Room())
    assert words in caught.value.message
    assert hint in str(caught.value.hint)
    assert caught.value.path == path


def test_composite_values_where_they_are_asked_for() -> None:
    assert resolve("${a.b}", CONTEXT, Room(), composite=True) == [{"c": "deep"}, 2]
    assert resolve(["${a}"], CONTEXT, Room(), composite=True) == [CONTEXT["a"]]
    with pytest.raises(Fault, match="is a list"):
        resolve("x${a.b}", CONTEXT, Room(), composite=True)


def test_mappings_in_commands_become_arguments() -> None:
    train = {
        "lr": 0.1,
        "name": "it's here",
        "empty": "",
        "quick": True,
        "slow": False,
        "none": None,
        "sizes": [1, "a b", True],
        "no sizes": [],
        "opt": {"kind": "adam", "betas": {"one": 0.9}},
        "a;b": 1,
    }
    command = resolve_command("run ${t} --end ${t.lr}", {"t": train}, Room())
    assert command == (
        "run --lr 0.1 --name 'it'\"'\"'s here' --empty '' --quick --none None --sizes 1 'a b' true "
        "--opt.kind adam --opt.betas.one 0.9 '--a;b' 1 --end 0.1"
    )
    for bad in ({"x": [[1]]}, {"x": [{"y": 1}]}, {"x": {"y": [[]]}}):
        with pytest.raises(Fault, match="is a list of lists or mappings"):
            resolve_command("${t}", {"t": bad}, Room())
    with pytest.raises(Fault, match="is a list"):
        resolve_command("${t}", {"t": [1]}, Room())


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab '\"$\\;\n-", max_size=6)


@given(st.dictionaries(st.text("abc", min_size=1), SCALARS | st.lists(SCALARS, min_size=1, max_size=3)))
def test_a_shell_sees_the_arguments_as_they_are(values: dict[str, Any]) -> None:
    def spelt(value: object) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    expected = []
    for key, value in values.items():
        if isinstance(value, list):
            expected += [f"--{key}", *map(spelt, value)]
        elif isinstance(value, bool):
            expected += [f"--{key}"] if value else []
        else:
            expected += [f"--{key}", spelt(value)]
    assert shlex.split(resolve_command("${values}", {"values": values}, Room())) == expected


PIECES = st.lists(
    st.text("ab$ {}.\\", max_size=4) | st.sampled_from(["${x}", "${d.y}", r"\${x}", "${ x }"]), max_size=8
)


@given(PIECES)
def test_text_against_a_plain_model(pieces: list[str]) -> None:
    """The model walks from left to right and knows nothing of regular expressions."""
    text, context = "".join(pieces), {"x": "X${d.y}", "d": {"y": 7}}
    out, rest = "", text
    fails = False
    while rest:
        if rest.startswith(r"\${"):
            out, rest = out + "${", rest[3:]
        elif rest.startswith("${"):
            inner, end, rest = rest[2:].partition("}")
            found = {"x": "X${d.y}", "d.y": "7"}.get(inner.strip()) if end else None
            fails = fails or found is None
            out += found or ""
        else:
            out, rest = out + rest[0], rest[1:]
    if fails:
        with pytest.raises(Fault):
            resolve(text, context, Room())
    else:
        assert str(resolve(text, context, Room())) == out


def test_a_missing_value_names_its_line(tmp_path: Path) -> None:
    error = refused(
        tmp_path,
        "stages:\n  a:\n    cmd: x\n    deps:\n    - ok\n    - data/${lrr}\n",
        params_yaml="train: {lrr: 1}",
    )
    assert error.message == "vml.yaml:6: stages.a.deps.1: ${lrr}: there is no value 'lrr'"
    assert error.hint == "did you mean ${train.lrr}?"


def test_templates_everywhere_in_a_stage(tmp_path: Path) -> None:
    stage = only(
        tmp_path,
        r"""
        stages:
          a:
            cmd: ["run ${model}", "echo \\${HOME} ${name}"]
            wdir: ${name}
            deps: ["${name}.csv"]
            params: ["model.${name}", {"${name}.json": ["${name}"]}]
            outs: [{"${name}.pt": {cache: "${flag}", remote: "${name}"}}]
            metrics: ["${name}.json"]
            env: ["${upper}"]
            resources: {cpu: "${cores}", mem: "${mem}"}
            mutex: "${name}"
            retries: "${cores}"
            timeout: "${cores}"
            frozen: ${flag}
            shell: "${shell}"
            desc: about ${name}
            meta: {x: ["${cores}"]}
        """,
        params_yaml="{name: n, model: {n: 1, deep: true}, flag: false, upper: UP, cores: 2, mem: 1k, shell: bash}",
    )
    assert stage.cmds == ("run --n 1 --deep", "echo ${HOME} n")
    assert (stage.wdir, stage.deps, stage.env, stage.mutex) == ("n", ("n/n.csv",), ("UP",), ("n",))
    assert stage.params == (("n/params.yaml", ("model.n",)), ("n/n.json", ("n",)))
    assert [(out.path, out.cache, out.remote) for out in stage.outs] == [
        ("n/n.pt", False, "n"),
        ("n/n.json", True, None),
    ]
    assert (stage.resources.cpu, stage.resources.mem, stage.retries, stage.timeout) == (2.0, 1000, 2, 2.0)
    assert (stage.frozen, stage.shell, stage.desc, stage.meta) == (False, "bash", "about n", {"x": [2]})


def test_what_a_template_came_to_is_checked(tmp_path: Path) -> None:
    text = "stages:\n  a:\n    cmd: x\n    KEY: VALUE\n"
    for key, value, words in (
        ("retries", "${name}", "stages.a.retries: expected a whole number, found the text 'n'"),
        ("frozen", "${cores}", "stages.a.frozen: expected true or false, found the number 2"),
        ("shell", "${name}", "stages.a.shell: expected sh or bash, found the text 'n'"),
        ("deps", '["${cores}"]', "stages.a.deps.0: expected a path, found the number 2"),
        ("retries", r"'\${x}'", "stages.a.retries: expected a whole number, found the text '${x}'"),
        ("deps", '["${none}"]', "stages.a.deps.0: expected a path, found nothing"),
    ):
        error = refused(
            tmp_path, text.replace("KEY", key).replace("VALUE", value), params_yaml="{name: n, cores: 2, none: null}"
        )
        assert error.message == f"vml.yaml:{4}: {words}"
        assert not re.search("None", str(error.hint))
