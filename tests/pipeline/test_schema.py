"""The table of keys: the JSON Schema that is shipped says what the loader says."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.files import pipeline
from tests.pipeline.test_load import EVERYTHING
from vcs_ml import yaml
from vcs_ml.errors import UserError
from vcs_ml.pipeline import graph, schema
from vcs_ml.pipeline.load import load
from vcs_ml.pipeline.shape import Fault

EDITOR = jsonschema.Draft7Validator(json.loads(schema.JSON_FILE.read_text()))

VALID = [
    "",
    "stages: {}",
    "stages:",
    EVERYTHING,
    "stages: {a: {cmd: x}, b@c: {cmd: [x]}, d/e.f-g_h: {cmd: x}}",
    "stages: {a: {cmd: x, outs: [{o: }], params: [{p: }, {q: []}], deps: [], metrics: [], vars: []}}",
    "stages: {a: {cmd: x, if: '${x}', frozen: '${x}', retries: '${one}', timeout: '${one}', shell: '${sh}'}}",
    "stages: {a: {cmd: x, resources: {cpu: '${one}', gpu: 0, mem: 3 MiB}, mutex: m, env: ['${up}']}}",
    "stages: {a: {cmd: x, retries: 2.0, timeout: 0.5, if: 1}, b: {cmd: x, if: 'false'}, c: {cmd: x, if: }}",
    "stages: {a: {foreach: [1, {b: c}], do: {cmd: x, vars: [{v: 1}]}}}",
    "stages: {a: {foreach: {b: 1}, do: {cmd: x}}, c: {foreach: '${list}', do: {cmd: x}}}",
    "stages: {a: {matrix: {b: [1, x], c: '${list}'}, cmd: x}}",
    "stages: {a: {cmd: x, plots: [{p: {x: a, y: b, x_label: c, y_label: d, title: e, template: f, header: '${x}'}}]}}",
    "vars: ['v.json:a', {b: {c: [1]}}]",
    "params: [p]\nmetrics: [m]\nplots: [a, {b: }, {c: {x: {f: g}, y: {f: [g, h], i: j}}}, {d: {y: [k]}}]",
    "artifacts: {a: {path: p}, b-c/d_e: {path: p, type: t, desc: d, labels: [l], meta: [m]}}",
    "gates: {'m.json:acc': {better: higher, min: 0.8, max_drop: 2%}, 'a:b:c': {}}",
    "gates: {'m.json:acc': {max: -1, max_rise: 1.5 %, equals: text, required: '${x}'}, a:b: {equals: true}}",
    "gates: {'m.json:${up}': {max: '${one}', max_drop: '${one}', equals: '${up}', better: '${higher}'}}",
]
INVALID = [
    "[]",
    "text",
    "5",
    "stage: {}",
    "stages: []",
    "stages: {a: }",
    "stages: {a: {}}",
    "stages: {a: {deps: [x]}}",
    "stages: {a: {cmd: }}",
    "stages: {a: {cmd: 5}}",
    "stages: {a: {cmd: []}}",
    "stages: {a: {cmd: [5]}}",
    "stages: {a b: {cmd: x}}",
    "stages: {-a: {cmd: x}}",
    "stages: {'a:b': {cmd: x}}",
    "stages: {'${x}': {cmd: x}}",
    "stages: {a: {cmd: x, dep: [y]}}",
    "stages: {a: {cmd: x, deps: y}}",
    "stages: {a: {cmd: x, deps: [5]}}",
    "stages: {a: {cmd: x, deps: [{y: }]}}",
    "stages: {a: {cmd: x, deps: '${list}'}}",
    "stages: {a: {cmd: x, wdir: [y]}}",
    "stages: {a: {cmd: x, params: [{p: a}]}}",
    "stages: {a: {cmd: x, params: [{p: [1]}]}}",
    "stages: {a: {cmd: x, outs: {o: {cache: true}}}}",
    "stages: {a: {cmd: x, outs: [{o: {cache: 1}}]}}",
    "stages: {a: {cmd: x, outs: [{o: {chache: true}}]}}",
    "stages: {a: {cmd: x, outs: [{o: {x: y}}]}}",
    "stages: {a: {cmd: x, metrics: [{o: {title: y}}]}}",
    "stages: {a: {cmd: x, plots: [{o: {x: [y]}}]}}",
    "stages: {a: {cmd: x, env: ['A B']}}",
    "stages: {a: {cmd: x, env: A}}",
    "stages: {a: {cmd: x, if: maybe}}",
    "stages: {a: {cmd: x, if: 2}}",
    "stages: {a: {cmd: x, frozen: yes}}",
    "stages: {a: {cmd: x, always_changed: 1}}",
    "stages: {a: {cmd: x, retries: -1}}",
    "stages: {a: {cmd: x, retries: 1.5}}",
    "stages: {a: {cmd: x, retries: true}}",
    "stages: {a: {cmd: x, timeout: 0}}",
    "stages: {a: {cmd: x, timeout: 3 weeks}}",
    "stages: {a: {cmd: x, timeout: .inf}}",
    "stages: {a: {cmd: x, shell: fish}}",
    "stages: {a: {cmd: x, resources: {cpu: 0}}}",
    "stages: {a: {cmd: x, resources: {gpu: -1}}}",
    "stages: {a: {cmd: x, resources: {mem: lots}}}",
    "stages: {a: {cmd: x, resources: {disk: 1}}}",
    "stages: {a: {cmd: x, mutex: 5}}",
    "stages: {a: {cmd: x, desc: [y]}}",
    "stages: {a: {cmd: x, matrix: [y]}}",
    "stages: {a: {cmd: x, matrix: {b: c}}}",
    "stages: {a: {cmd: x, do: {cmd: x}}}",
    "stages: {a: {foreach: [1], cmd: x}}",
    "stages: {a: {foreach: [1], do: {matrix: {b: [1]}, cmd: x}}}",
    "stages: {a: {foreach: x, do: {cmd: x}}}",
    "vars: {a: 1}",
    "vars: [1]",
    "params: p",
    "plots: {a: }",
    "plots: [{a: {x: [1]}}]",
    "artifacts: {a: {type: t}}",
    "artifacts: {a-: {path: p}}",
    "gates: []",
    "gates: {acc: {min: 1}}",
    "gates: {':acc': {min: 1}}",
    "gates: {m:acc: 0.8}",
    "gates: {m:acc: }",
    "gates: {m:acc: {minimum: 1}}",
    "gates: {m:acc: {min: high}}",
    "gates: {m:acc: {better: more}}",
    "gates: {m:acc: {max_drop: -1}}",
    "gates: {m:acc: {max_drop: 2 percent}}",
    "gates: {m:acc: {equals: [1]}}",
    "gates: {m:acc: {required: 1}}",
]
# What only the loader knows: paths, templates, names that come out of them, and that .nan is no number.
ONLY_THE_LOADER = [
    "stages: {a: {cmd: ' '}}",
    "stages: {a: {cmd: x, outs: [../../x]}}",
    "stages: {a: {cmd: x, outs: [x, x]}}",
    "stages: {a: {cmd: x, deps: ['']}}",
    "stages: {a: {cmd: x, wdir: /}}",
    "stages: {a: {cmd: '${nope}'}}",
    "stages: {a: {cmd: x, retries: '${list}'}}",
    "stages: {a: {foreach: [1, 1], do: {cmd: x}}}",
    "stages: {a: {cmd: x, matrix: {b: '${one}'}}}",
    "stages: {a: {cmd: x, timeout: .nan}}",
    "gates: {m:acc: {min: '${sh}'}}",
    "gates: {m:acc: {equals: .nan}}",
    "vars: ['${one}']",
    "vars: [none.json]",
    "vars: [{one: 2}]",
]


PARAMS = "{x: true, one: 1, list: [p, q], sh: sh, up: UP, higher: higher}"


def loads(root: Path, text: str) -> bool:
    files = {"vml.yaml": text, "params.yaml": PARAMS, "v.json": '{"a": 1}'}
    try:
        pipeline(root, files)
    except UserError:
        return False
    return True


def editor_takes(document: Any) -> bool:
    return bool(EDITOR.is_valid(document))


def test_the_shipped_file_is_the_generated_one() -> None:
    assert schema.JSON_FILE.read_text() == schema.json_text(), (
        "write it anew: schema.JSON_FILE.write_text(schema.json_text())"
    )
    jsonschema.Draft7Validator.check_schema(EDITOR.schema)


@pytest.mark.parametrize("text", VALID)
def test_valid(tmp_path: Path, text: str) -> None:
    assert loads(tmp_path, text)
    assert editor_takes(yaml.parse(text.encode(), "vml.yaml").value)


@pytest.mark.parametrize("text", INVALID)
def test_invalid(tmp_path: Path, text: str) -> None:
    assert not loads(tmp_path, text)
    assert not editor_takes(yaml.parse(text.encode(), "vml.yaml").value)


@pytest.mark.parametrize("text", ONLY_THE_LOADER)
def test_what_only_the_loader_knows(tmp_path: Path, text: str) -> None:
    assert not loads(tmp_path, text)
    assert editor_takes(yaml.parse(text.encode(), "vml.yaml").value)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(each for key, below in inner for each in places(below, (*at, key)))]


PIECES = st.one_of(
    st.sampled_from([None, True, 0, 1, -1, 2.5, 2.0]),
    st.sampled_from(["x", "${x}", "4G", "2h", "sh", "true", ""]),
    st.sampled_from([[], ["x"], [1], {}, {"x": None}, {"x": "y"}, {"x": ["y"]}, {"cache": True}, {"path": "p"}]),
    st.sampled_from([{"cmd": "x"}, {"foreach": [], "do": {"cmd": "x"}}]),
)


@given(st.sampled_from(VALID), st.data())
def test_documents_with_one_thing_replaced(text: str, data: st.DataObject) -> None:
    document = [copy.deepcopy(yaml.parse(text.encode(), "vml.yaml").value)]
    *above, last = data.draw(st.sampled_from(places(document)[1:]))
    inside: Any = document
    for key in above:
        inside = inside[key]
    if isinstance(inside, dict) and data.draw(st.booleans()):
        known = [key for key in ("cmd", "outs", "x", "do", "path", "if", "vars", "a b", "${x}") if key not in inside]
        inside[data.draw(st.sampled_from(known))] = inside.pop(last)
    else:
        inside[last] = data.draw(PIECES)
    try:
        schema.validate(document[0])
        taken = True
    except Fault:
        taken = False
    assert taken == editor_takes(document[0])
    files = {"vml.yaml": json.dumps(document[0]).encode(), "params.yaml": PARAMS.encode(), "v.json": b'{"a": 1}'}
    try:
        graph.build(load(Path("/project"), ["vml.yaml"], files.get).stages)
    except UserError:
        return
    assert taken


def test_every_key_is_in_the_reference() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()
    reference = page.partition("## Reference of every key")[2]
    named = set(re.findall(r"`([a-z_]+)`", reference))
    known = set(re.findall(r'"([a-z_]+)": \{\n\s+"description"', schema.json_text()))
    assert {"cmd", "cache", "x_label", "gates", "cpu", "foreach"} <= known
    assert known <= named
