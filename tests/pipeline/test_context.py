"""What templates can use: params.yaml, `vars`, and how they are merged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.files import only, pipeline, refused, stages
from vcs_ml.errors import UserError


def command(root: Path, head: str, cmd: str, **files: str) -> str:
    return only(root, f"{head}\nstages: {{a: {{cmd: '{cmd}'}}}}", **files).cmds[0]


def test_params_yaml_is_there_by_itself(tmp_path: Path) -> None:
    assert command(tmp_path, "", "${a.b}", params_yaml="a: {b: 1}") == "1"


def test_vars_are_merged_in_order(tmp_path: Path) -> None:
    assert (
        command(
            tmp_path,
            "vars: [one.json, 'two.toml:y,w', {a: {c: 3}, z: 4}, params.yaml, 'one.json:x', one.json]",
            "${a.b} ${a.c} ${a.d} ${x} ${y} ${w} ${z}",
            params_yaml="a: {b: 1}",
            one_json='{"a": {"d": 5}, "x": 6}',
            two_toml="y = 7\nw = 8\na = 9",
        )
        == "1 3 5 6 7 8 4"
    )


def test_a_file_with_keys_gives_no_others(tmp_path: Path) -> None:
    error = refused(tmp_path, "vars: ['v.py:x']\nstages: {a: {cmd: '${y}'}}", v_py="x = 1\ny = 2")
    assert "there is no value 'y'" in error.message


def test_the_rest_of_a_file_may_follow(tmp_path: Path) -> None:
    assert command(tmp_path, "vars: ['v.json:x', v.json]", "${x} ${y}", v_json='{"x": 1, "y": 2}') == "1 2"


def test_paths_of_vars_start_at_their_file(tmp_path: Path) -> None:
    files = {
        "sub/vml.yaml": "vars: [v.json, ../shared.json]\nstages: {a: {cmd: '${x} ${y} ${z}'}}",
        "sub/v.json": '{"x": 1}',
        "shared.json": '{"y": 2}',
        "sub/params.yaml": "z: 3",
        "params.yaml": "z: 4",
    }
    assert pipeline(tmp_path, files).stages[0].cmds == ("1 2 3",)


def test_vars_of_a_stage(tmp_path: Path) -> None:
    found = stages(
        tmp_path,
        """
        vars: [{dir: work, top: {x: 1}}]
        stages:
          a:
            cmd: ${top.x} ${top.y} ${z}
            wdir: ${dir}
            vars: [v.json, {top: {y: 2}}]
          b: {cmd: "${top.x}"}
        """,
        work__v_json='{"z": 3}',
    )
    assert found["a"].cmds == ("1 2 3",)
    assert found["b"].cmds == ("1",)


def test_vars_of_a_stage_are_its_own(tmp_path: Path) -> None:
    error = refused(tmp_path, "stages:\n  a: {cmd: x, vars: [{y: 1}]}\n  b: {cmd: '${y}'}\n")
    assert error.message == "vml.yaml:3: stages.b.cmd: ${y}: there is no value 'y'"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("vars: [{x: 1}, {x: 1}]", "vml.yaml:1: vars.1: x is defined in vars and again in vars"),
        ("vars:\n- {a: {b: {c: 1}}}", "vml.yaml:2: vars.0: a.b is defined in params.yaml and again in vars"),
        ("vars: [{a: 1}]", "vars.0: a is defined in params.yaml and again in vars"),
        ("vars: [v.json]", "vars.0: a.b is defined in params.yaml and again in v.json"),
        ("vars: [{x: '${a.b}'}]", "vars.0: vars hold no templates"),
        ("vars: ['${a.b}.json']", "vars.0: vars hold no templates"),
        ("vars: [w.json]", "vars.0: w.json does not exist"),
        ("vars: ['v.json:a,aa']", "vars.0: v.json has no key 'aa'"),
        ("vars: [../v.json]", "vars.0: '../v.json' cannot be read for vars: it has the part '..'"),
        ("vars: [/etc/passwd]", "vars.0: '/etc/passwd' cannot be read for vars: it is absolute"),
        ("vars: [.git/config]", "belongs to Git or vml"),
        ("vars: [list.json]", "vars.0: list.json is no mapping"),
        ("vars: {a: 1}", "vars: expected a list, found a mapping"),
        ("vars: [3]", "vars.0: expected a file, or file:key,key or a mapping, found the number 3"),
    ],
)
def test_refused(tmp_path: Path, head: str, words: str) -> None:
    # No template asks for them: they are wrong all the same.
    error = refused(
        tmp_path,
        f"{head}\nstages: {{a: {{cmd: x}}}}",
        params_yaml="a: {b: 1}",
        v_json='{"a": {"b": 2}}',
        list_json="[1]",
    )
    assert words in error.message


def test_refused_in_a_stage(tmp_path: Path) -> None:
    error = refused(tmp_path, "stages:\n  a:\n    cmd: x\n    vars:\n    - {y: 1}\n    - {y: 2}\n")
    assert error.message == "vml.yaml:6: stages.a.vars.1: y is defined in vars and again in vars"


def test_params_yaml_that_is_no_mapping(tmp_path: Path) -> None:
    assert only(tmp_path, "stages: {a: {cmd: x}}", params_yaml="[1]").cmds == ("x",)
    with pytest.raises(UserError, match=r"params\.yaml is no mapping"):
        stages(tmp_path, "stages: {a: {cmd: '${x}'}}")


def test_values_are_not_templates(tmp_path: Path) -> None:
    assert command(tmp_path, "", "${a}", params_yaml="a: '${b}'") == "${b}"
