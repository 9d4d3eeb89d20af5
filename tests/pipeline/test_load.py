"""vml.yaml files become stages: every key, every path, and errors that name file, line and key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pipeline.files import only, pipeline, refused, stages
from vcs_ml.errors import UserError
from vcs_ml.pipeline.load import load
from vcs_ml.pipeline.stage import Declared, Out, ParamSet, Resources, Stage

EVERYTHING = """
stages:
  prepare:
    cmd: python prepare.py
  train:
    cmd:
      - python train.py
      - |
        cd models
        ls
    wdir: work
    deps: [data.csv, ../src/, ./a//b, data.csv]
    params:
      - lr
      - model.depth
      - ../other.json: [a, b.c]
      - whole.toml:
      - params.yaml: [seed, lr]
    outs:
      - model.pt
      - big:
          cache: true
          persist: true
          push: false
          remote: fast
          desc: weights
          type: model
          labels: [x, y]
          meta: {any: [thing]}
      - ../logs/*.txt: {cache: false}
    metrics:
      - scores.json: {cache: false}
    plots:
      - curve.csv: {x: step, y: loss, title: Loss, header: false, cache: false, template: smooth}
      - images
    env: [CUDA_VISIBLE_DEVICES, SEED, SEED]
    resources: {cpu: 2, gpu: 0.5, mem: 4GiB}
    mutex: [gpu, disk]
    retries: 3
    timeout: 2h
    shell: bash
    frozen: true
    always_changed: true
    if: true
    desc: trains
    meta: {owner: ada}
"""


def test_every_key(tmp_path: Path) -> None:
    prepare, train = stages(tmp_path, EVERYTHING).values()
    assert prepare == Stage("vml.yaml", "prepare", ("python prepare.py",), line=3)
    assert train == Stage(
        file="vml.yaml",
        name="train",
        cmds=("python train.py", "cd models\nls\n"),
        wdir="work",
        deps=("work/data.csv", "src", "work/a/b"),
        params=(
            ParamSet("work/params.yaml", ("lr", "model.depth", "seed")),
            ParamSet("other.json", ("a", "b.c")),
            ParamSet("work/whole.toml", None),
        ),
        outs=(
            Out("work/model.pt"),
            Out(
                "work/big",
                persist=True,
                push=False,
                remote="fast",
                desc="weights",
                type="model",
                labels=("x", "y"),
                meta={"any": ["thing"]},
            ),
            Out("logs/*.txt", cache=False, is_glob=True),
            Out("work/scores.json", "metric", cache=False),
            Out(
                "work/curve.csv",
                "plot",
                cache=False,
                plot={"x": "step", "y": "loss", "title": "Loss", "header": False, "template": "smooth"},
            ),
            Out("work/images", "plot", plot={}),
        ),
        env=("CUDA_VISIBLE_DEVICES", "SEED"),
        resources=Resources(2.0, 0.5, 4 << 30),
        mutex=("gpu", "disk"),
        retries=3,
        timeout=7200.0,
        frozen=True,
        always_changed=True,
        shell="bash",
        desc="trains",
        meta={"owner": "ada"},
        line=5,
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90.0), ("1.5", 1.5), ("30s", 30.0), ("15 min", 900.0), ("0.5h", 1800.0), ("1d", 86400)],
)
def test_timeouts(tmp_path: Path, written: str, seconds: float) -> None:
    assert only(tmp_path, f"stages: {{a: {{cmd: x, timeout: {written}}}}}").timeout == seconds


@pytest.mark.parametrize(("written", "size"), [("4G", 4 * 10**9), ("512 MiB", 512 << 20), ("100", 100), ("2e3", 2000)])
def test_memory(tmp_path: Path, written: str, size: int) -> None:
    assert only(tmp_path, f"stages: {{a: {{cmd: x, resources: {{mem: {written}}}}}}}").resources == Resources(mem=size)


@pytest.mark.parametrize("written", ["true", "1", "'true'", '"${yes}"', '"${one}"', '"${text}"'])
def test_conditions_that_hold(tmp_path: Path, written: str) -> None:
    text = f"vars: [{{yes: true, one: 1, text: 'true'}}]\nstages:\n  a:\n    cmd: x\n    if: {written}\n"
    assert only(tmp_path, text).condition is True


@pytest.mark.parametrize("written", ["false", "0", "null", "", "'false'", "${no}", "${none}"])
def test_conditions_that_do_not(tmp_path: Path, written: str) -> None:
    quoted = f'"{written}"' if "$" in written else written
    text = f"vars: [{{no: false, none: null}}]\nstages:\n  a:\n    cmd: x\n    if: {quoted}\n"
    assert only(tmp_path, text).condition is False


@pytest.mark.parametrize("written", ["maybe", "2", "-1", "0.5", "[]", "${text}", "${two}"])
def test_conditions_that_are_none(tmp_path: Path, written: str) -> None:
    quoted = f'"{written}"' if "$" in written else written
    error = refused(tmp_path, f"vars: [{{text: maybe, two: 2}}]\nstages:\n  a:\n    cmd: x\n    if: {quoted}\n")
    assert error.message.startswith("vml.yaml:5: stages.a.if: expected true or false")


def test_several_files_form_one_pipeline(tmp_path: Path) -> None:
    found = pipeline(
        tmp_path,
        {
            "sub/deep/vml.yaml": "stages: {c: {cmd: x, deps: [../d, ../../top]}}",
            "sub/vml.yaml": "stages: {b: {cmd: x, outs: [d]}}\nparams: [p.json, ../q.json]\nmetrics: [m]",
            "vml.yaml": "stages: {z: {cmd: x}, a: {cmd: x, deps: [sub/d]}}\ngates: {m:acc: {min: 0.5}}",
            "empty/vml.yaml": "# nothing yet\n",
        },
    )
    assert [stage.address for stage in found.stages] == ["z", "a", "sub/vml.yaml:b", "sub/deep/vml.yaml:c"]
    by_address = {stage.address: stage for stage in found.stages}
    assert by_address["sub/deep/vml.yaml:c"].deps == ("sub/d", "top")
    assert by_address["sub/vml.yaml:b"].outs == (Out("sub/d"),)
    assert by_address["sub/vml.yaml:b"].wdir == "sub"
    assert found.declared == (
        Declared("vml.yaml", gates={"m:acc": {"min": 0.5}}),
        Declared("empty/vml.yaml"),
        Declared("sub/vml.yaml", params=("sub/p.json", "q.json"), metrics=("sub/m",)),
        Declared("sub/deep/vml.yaml"),
    )


def test_what_stands_beside_stages(tmp_path: Path) -> None:
    text = """
    vars: [{dir: eval, model: m.pt, least: 0.5}]
    params: ["${dir}/p.yaml"]
    metrics: ["${dir}/m.json"]
    plots:
      - "${dir}/a.csv"
      - loss: {x: step, y: {"${dir}/b.csv": [train, test]}}
      - c.csv:
    artifacts:
      best-model: {path: "${model}", type: model, labels: [nlp]}
    gates:
      ${dir}/m.json:acc: {min: "${least}", max_drop: 2%}
    """
    assert pipeline(tmp_path, {"vml.yaml": text}).declared == (
        Declared(
            "vml.yaml",
            ("eval/p.yaml",),
            ("eval/m.json",),
            (
                ("eval/a.csv", {}),
                ("loss", {"x": "step", "y": {"eval/b.csv": ["train", "test"]}}),
                ("c.csv", {}),
            ),
            {"best-model": {"path": "m.pt", "type": "model", "labels": ["nlp"]}},
            {"eval/m.json:acc": {"min": 0.5, "max_drop": "2%"}},
        ),
    )


def test_another_revision_is_read_through_its_reader(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("x: today")
    files = {
        "vml.yaml": b"vars: [v.json]\nstages: {a: {cmd: '${x} ${y}'}}",
        "params.yaml": b"x: then",
        "v.json": b'{"y": 1}',
    }
    (stage,) = load(tmp_path, ["vml.yaml"], files.get).stages
    assert stage.cmds == ("then 1",)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sub/vml\.yaml does not exist"):
        load(tmp_path, ["sub/vml.yaml"])


def test_deps_outside_of_the_project_are_absolute(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    text = f"stages: {{a: {{cmd: x, wdir: sub, deps: [/data/x, ../../y, //z/./w, {tmp_path}/p/inside, ../../p/in]}}}}"
    (stage,) = pipeline(tmp_path / "p", {"vml.yaml": text}).stages
    assert stage.deps == ("/data/x", f"{tmp_path}/y", "/z/w", "inside", "in")


def line_of(key: str, value: str) -> str:
    return f"stages:\n  a:\n    cmd: x\n    {key}: {value}\n"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("outs", "[/abs]", "stages.a.outs.0: '/abs' is outside of the project"),
        ("outs", "[ok, ../x]", "stages.a.outs.1: '../x' is outside of the project"),
        ("outs", "[.]", "it is the project itself"),
        ("outs", "['']", "an empty path"),
        ("outs", "[.git/hooks/x]", "'.git' belongs to Git or vml"),
        ("outs", "[a/.vml/x]", "'.vml' belongs to Git or vml"),
        ("outs", "[data.vml]", "files named *.vml belong"),
        ("outs", "[sub/vml.lock]", "files named vml.lock belong"),
        ("outs", "[.gitignore]", "files named .gitignore belong"),
        ("outs", "[a/**/b/**/c]", "more than one **"),
        ("outs", "[s3://bucket/x]", "is a URL"),
        ("outs", '["a\\0b"]', "NUL byte"),
        ("outs", "[x, ./x]", "stages.a.outs.1: x stands here twice"),
        ("metrics", "[{m: {cache: false}}, m]", "stages.a.metrics.1: m stands here twice"),
        ("deps", "[.]", "stages.a.deps.0: the project as a whole"),
        ("deps", "['']", "an empty path"),
        ("deps", "[https://x/y]", "is a URL"),
        ("deps", "[.git/config]", "belongs to Git"),
        ("params", "[{.git/x: [a]}]", 'stages.a.params.0.".git/x": '),
        ("wdir", "../out", "stages.a.wdir: '../out' cannot be a wdir: it is outside of the project"),
        ("wdir", "/tmp", "stages.a.wdir: '/tmp' cannot be a wdir: it is outside"),
        ("wdir", ".git", "stages.a.wdir: '.git' cannot be a wdir: '.git' belongs"),
        ("cmd2", "x", "stages.a.cmd2: unknown key"),
        ("env", "[A=b]", "stages.a.env.0: expected the name of a variable, found the text 'A=b'"),
        ("shell", "zsh", "stages.a.shell: expected sh or bash, found the text 'zsh'"),
        ("timeout", "0", "stages.a.timeout: expected a number of seconds above 0 or a time such as"),
        ("timeout", "5m", "stages.a.timeout: "),
        ("timeout", ".inf", "stages.a.timeout: "),
        ("timeout", ".nan", "stages.a.timeout: "),
        ("timeout", "1" + "0" * 500, "stages.a.timeout: "),
        ("timeout", "9" * 500 + "s", "stages.a.timeout: "),
        ("retries", ".inf", "stages.a.retries: "),
        ("resources", "{mem: " + "9" * 5_000 + "G}", "stages.a.resources.mem: "),
        ("retries", "1.5", "stages.a.retries: expected a whole number, found the number 1.5"),
        ("retries", "-1", "stages.a.retries: "),
        ("retries", "true", "stages.a.retries: expected a whole number, found true"),
        ("frozen", "'yes'", "stages.a.frozen: expected true or false, found the text 'yes'"),
        ("resources", "{cpu: 0}", "stages.a.resources.cpu: expected a number of cores"),
        (
            "resources",
            "{mem: 4 apples}",
            "stages.a.resources.mem: expected a number of bytes or a size such as 4G, found the text '4 apples'",
        ),
        ("resources", "{ram: 4}", "stages.a.resources.ram: unknown key"),
        ("outs", "{a: b}", "stages.a.outs: expected a list, found a mapping"),
        ("outs", "[{x: {chache: true}}]", "stages.a.outs.0.x.chache: unknown key"),
        ("outs", "[3]", "stages.a.outs.0: expected a path or a mapping, found the number 3"),
        ("deps", "data", "stages.a.deps: expected a list, found the text 'data'"),
        ("deps", "", "stages.a.deps: expected a list, found nothing"),
    ],
)
def test_refused_in_a_stage(tmp_path: Path, key: str, value: str, message: str) -> None:
    error = refused(tmp_path, line_of(key, value))
    assert error.message.startswith("vml.yaml:4: stages.a.")
    assert message in error.message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[]", "vml.yaml:1: expected a mapping or nothing, found a list", "write"),
        ("stage: {}", "vml.yaml:1: stage: unknown key", "did you mean stages?"),
        ("stages:\n  a:\n    cmd: x\n    dep: [y]", "vml.yaml:4: stages.a.dep: unknown key", "did you mean deps?"),
        ("stages:\n  a:\n    deps: [y]", "vml.yaml:2: stages.a: the key cmd is missing", "cmd: the command"),
        ("stages:\n  a:\n    cmd: []", "vml.yaml:3: stages.a.cmd: the list is empty", "write a command"),
        ("stages:\n  a:\n    cmd: [x, ' ']", "vml.yaml:3: stages.a.cmd: the command is empty", "shell"),
        ('stages:\n  a:\n    cmd: "a\\0b"', "vml.yaml:3: stages.a.cmd: the command holds a NUL byte", "shell"),
        ("stages:\n  a b:\n    cmd: x", 'vml.yaml:2: stages."a b": expected a name of letters', "write a name"),
        ("stages:\n  a: python x.py", "vml.yaml:2: stages.a: expected a mapping, found the text", "write a mapping"),
        ("stages:\n  a: {cmd: x, plots: [{p: {y: 3}}]}", "stages.a.plots.0.p.y: expected a field", "quote it: '3'"),
        ("stages:\n  a: {foreach: [1], cmd: x}", "vml.yaml:2: stages.a.cmd: unknown key", "foreach, do"),
        ("stages:\n  a: {foreach: [1]}", "vml.yaml:2: stages.a: the key do is missing", "do: the stage"),
        ("stages:\n  a: {foreach: [1], do: {cmd: x, matrix: {b: [1]}}}", "stages.a.do.matrix: unknown key", ""),
        ("stages:\n  a: {foreach: 3, do: {cmd: x}}", "found the number 3", "write a list or a mapping or a template"),
        ("stages:\n  a: {cmd: x, retries: -1}", "expected a whole number not below 0, found the number -1", "write"),
        ("stages:\n  a: {cmd: x, if: 'no'}", "expected true or false or 0 or 1 or nothing, found the text 'no'", ""),
        (
            "stages:\n  a:\n    cmd: x\n    outs:\n    - x:\n      cache: false",
            "outs.0.cache: expected a",
            "indent cache",
        ),
        ("stages:\n  a: {cmd: x, outs: [../x: {}]}", "outs.0.\"../x\": '../x' is outside", ""),
        ("stages:\n  a:\n    cmd: echo a: b", "vml.yaml:3: this is not YAML", "text with ': ' in it has to be quoted"),
        ("stages:\n  a:\n    cmd: echo\n     deps: [b]", "vml.yaml:4: this is not YAML", "indented too far"),
        ("outs: [{path: x}]", "vml.yaml:1: outs: unknown key", "stand below stages:"),
        ("desc: x", "vml.yaml:1: desc: unknown key", "only stages, outs and artifacts have it"),
        ("datasets: []", "vml.yaml:1: datasets: unknown key", "in deps"),
        ("schema: '2.0'", "vml.yaml:1: schema: unknown key", "remove it"),
        ("plots: {p: {x: y}}", "vml.yaml:1: plots: expected a list, found a mapping", "write a list"),
        ("stages:\n  a: {cmd: x, md5: y}", "stages.a.md5: unknown key", "remove it"),
        ("stages:\n  a: {cmd: x, remote: y}", "stages.a.remote: unknown key", "it is a flag of an out"),
        ("stages:\n  a: {cmd: x, metrics_no_cache: [y]}", "metrics_no_cache: unknown key", "{cache: false}"),
        ("stages:\n  a: {foreach: [1], do: {cmd: x, outs_persist: [y]}}", "unknown key", "{persist: true}"),
        ("stages:\n  a: {cmd: x, outs: [y: {etag: z}]}", "stages.a.outs.0.y.etag: unknown key", "remove it"),
        ('stages:\n  a: {cmd: "${x} \\${HOME}"}', "vml.yaml:2: this is not YAML", r"written twice: \\${HOME}"),
        ("stages:\n  a: {cmd: x ${y}, deps: [z]}", "vml.yaml:2: this is not YAML", "has to be quoted: '${x}'"),
        ("artifacts: {m: {type: model}}", "artifacts.m: the key path is missing", "path"),
        ("artifacts: {-m: {path: x}}", "artifacts.-m: expected a name", "write"),
        ("params:\n- a\n- .git", "vml.yaml:3: params.1: '.git' cannot be a dep", "name a file"),
        (
            "vars: [{x: 5}]\nparams: ['${x}']",
            "params.0: expected a path, found the number 5",
            "where it comes from: '5'",
        ),
        (
            "stages:\n  a@b: {cmd: x}\n  a: {foreach: [b], do: {cmd: x}}",
            "vml.yaml:3: stages.a: a second stage",
            "vml.yaml:2 has it",
        ),
        ("stages:\n  a: {cmd: x}\n  a: {cmd: y}", "vml.yaml:3: the key 'a' stands in line 2", "rename"),
    ],
)
def test_refused_in_a_document(tmp_path: Path, text: str, message: str, hint: str) -> None:
    error = refused(tmp_path, text)
    assert message in error.message
    assert hint in str(error.hint)


def test_errors_name_the_file_that_they_are_in(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^sub/vml\.yaml:2: stages\.b\.dep: unknown key"):
        pipeline(tmp_path, {"vml.yaml": "", "sub/vml.yaml": "stages:\n  b: {cmd: x, dep: []}"})


def test_errors_print_no_control_characters(tmp_path: Path) -> None:
    for text in (
        'stages: {"\\e[31m": {cmd: x}}',
        'stages: {a: {cmd: x, "\\e[31m": 1}}',
        'stages: {a: {cmd: x, shell: "\\e[31m"}}',
        'stages: {a: {cmd: "${\\e[31m}"}}',
        'stages: {a: {cmd: "${\\e[31m.b}"}}',
        'stages: {a: {cmd: x, outs: [{"../\\e[31m": }]}}',
        'stages: {a: {cmd: x, vars: ["\\e[31m"]}}',
        'vars: [{"\\e[31m": 1}, {"\\e[31m": 1}]',
        "stages: !%1b {}",
    ):
        error = refused(tmp_path, text, params_yaml='{"\\e[31n": {b: 1}}')
        assert (error.message + str(error.hint)).isprintable()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "params.yaml")
    assert only(tmp_path, "stages: {a: {cmd: x}}").cmds == ("x",)
    assert "no regular file" in refused(tmp_path, "stages: {a: {cmd: '${x}'}}").message
