"""Stages are written into vml.yaml, listed, frozen, and let go again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import Repo
from vcs_ml import yaml

OURS = """\
# The pipeline of the digits.
stages:
  prepare:  # first
    cmd: python prepare.py
    outs: [data]  # a directory

# What we look at.
metrics: [all.json]
"""


def test_stages_without_any_are_empty(repo: Repo) -> None:
    repo.write("vml.yaml", "stages:\n")
    assert "there are no stages" in repo.run("repro").err
    repo.run("stage", "add", "-n", "a", "true")
    assert repo.read("vml.yaml") == b'stages:\n  a:\n    cmd: "true"\n'


def test_what_is_wrong_with_the_file_is_told_with_its_line(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: []\nstages: [a]\n")
    assert "error: vml.yaml:2: stages: expected a mapping" in repo.fails("stage", "add", "-n", "b", "true", code=3).err


def test_the_name_of_a_file_that_is_a_pattern(repo: Repo) -> None:
    repo.path.joinpath("sub").mkdir()
    repo.run("stage", "add", "-n", "a", "-w", "sub", "-o", "x[1].txt", "echo > 'x[1].txt'")
    for command in ("repro", "commit"):
        err = repo.fails(command, "a", code=3).err
        assert "sub/x[1].txt is a pattern, and not the file of this name\nhint: write x[[]1].txt in vml.yaml:2" in err
    repo.run("stage", "add", "-f", "-n", "a", "-w", "sub", "-o", "x[[]1].txt", "echo > 'x[1].txt'")
    repo.run("repro", "a")


def test_lines_to_be_put_in_by_hand_are_lines(repo: Repo) -> None:
    repo.write("vml.yaml", "stages: {a: {cmd: echo}}\n")
    err = repo.fails("stage", "add", "-n", "b", "-o", "x", "one\n\ntwo\n", code=3).err
    lines = err.partition("\n")[2].partition("hint:")[0]
    assert yaml.parse(b"stages:\n" + lines.encode(), "").value == {
        "stages": {"b": {"cmd": "one\n\ntwo\n", "outs": ["x"]}}
    }


def test_errors_name_lines_of_the_file_as_it_is(repo: Repo) -> None:
    text = "stages:\n  a:\n    cmd: echo\n    outs: [x]\n\nmetrics: ['${nope}']\n"
    repo.write("vml.yaml", text)
    assert "vml.yaml:6: metrics" in repo.fails("stage", "add", "-n", "b", "true", code=3).err
    repo.write("vml.yaml", text.partition("\nmetrics")[0])
    err = repo.fails("stage", "add", "-n", "b", "-o", "../y", "true", code=3).err
    assert err.startswith("error: the new stage: stages.b.outs")
    err = repo.fails("stage", "add", "-n", "b", "-o", "x", "true", code=3).err
    assert err.startswith("error: the new stage: b makes x, as a in vml.yaml:2\n")
    err = repo.fails("stage", "add", "-f", "-n", "a", "-o", "../y", "true", code=3).err
    assert err.startswith("error: the new stage: stages.a.outs")


def stages(repo: Repo, path: str = "vml.yaml") -> dict[str, object]:
    found = yaml.parse(repo.read(path), path).value["stages"]
    assert isinstance(found, dict)
    return found


def test_every_option_is_written(repo: Repo) -> None:
    words = (
        "stage add -n all -d a.py -d b -p lr,net.depth -p c.json:x,y -p d.toml: -o out -O log --outs-persist kept "
        "--outs-persist-no-cache notes -m m1.json -M m2.json --plots p1.csv --plots-no-cache p2.csv -w sub "
        "--always-changed --desc"
    )
    result = repo.run(*words.split(), "What it is", "python", "a.py", "-n", "--out", "a b")
    assert stages(repo) == {
        "all": {
            "desc": "What it is",
            "cmd": "python a.py -n --out 'a b'",
            "wdir": "sub",
            "deps": ["a.py", "b"],
            "params": ["lr", "net.depth", {"c.json": ["x", "y"]}, {"d.toml": None}],
            "outs": [
                "out",
                {"log": {"cache": False}},
                {"kept": {"persist": True}},
                {"notes": {"cache": False, "persist": True}},
            ],
            "metrics": ["m1.json", {"m2.json": {"cache": False}}],
            "plots": ["p1.csv", {"p2.csv": {"cache": False}}],
            "always_changed": True,
        }
    }
    assert repo.read("vml.yaml").decode() == f"stages:\n{result.out}"
    assert "vml repro all\n  git add vml.yaml" in result.err


def test_what_is_there_stays(repo: Repo) -> None:
    repo.write("vml.yaml", OURS).chmod(0o600)
    repo.run("stage", "add", "-n", "train", "-d", "data", "-o", "model", "python train.py > log")
    lines = "  train:\n    cmd: python train.py > log\n    deps:\n      - data\n    outs:\n      - model\n"
    assert repo.read("vml.yaml").decode() == OURS.replace("a directory\n", f"a directory\n{lines}")
    assert (repo.path / "vml.yaml").stat().st_mode & 0o777 == 0o600
    assert "vml.yaml:6: there is a stage train already" in repo.fails("stage", "add", "-n", "train", "x", code=3).err
    repo.run("stage", "add", "-f", "-n", "train", "x")
    assert repo.read("vml.yaml").decode() == OURS.replace("a directory\n", "a directory\n  train:\n    cmd: x\n")


def test_in_the_directory_of_the_user(repo: Repo) -> None:
    repo.write("vml.yaml", OURS)
    repo.write("sub/deeper/keep", "")
    result = repo.run("stage", "add", "-n", "train", "-d", "../../data", "-o", "model", "x", cwd="sub/deeper")
    assert "vml repro sub/deeper/vml.yaml:train\n  git add vml.yaml" in result.err
    listed = repo.json("stage", "list")["stages"]
    assert [(each["name"], each["deps"], each["outs"]) for each in listed] == [
        ("prepare", [], [{"path": "data", "kind": "out", "cache": True}]),
        ("sub/deeper/vml.yaml:train", ["data"], [{"path": "sub/deeper/model", "kind": "out", "cache": True}]),
    ]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ("-n a -o data x", 3, "a makes data, as prepare in vml.yaml:3"),
        ("-n a -o data/part x", 3, "lies inside data of prepare"),
        ("-n a -d data -o prepare.py x", 0, ""),
        ("-n prepare -f -d m -o m x", 3, "the stages form a cycle: prepare -> prepare"),
        ("-n a -o ../x x", 3, "outside of the project"),
        ("-n a.b -d s3://bucket/x x", 3, "is a URL"),
        ("-n a/../b%c x", 3, "expected a name of letters"),
        ("-n a -p : x", 2, "names no params"),
        ("-n a -o raw x", 3, "overlaps with raw, which vml add tracks"),
        ("-n a -w raw x", 0, ""),
        ("-n a", 2, "missing argument"),
        ("x", 2, "missing option"),
    ],
)
def test_what_does_not_fit_is_not_written(repo: Repo, words: str, code: int, why: str) -> None:
    repo.write("vml.yaml", OURS)
    repo.write("raw", "1")
    repo.run("add", "raw")
    result = repo.run("stage", "add", *words.split(), ok=False)
    assert result.code == code, result
    assert why in result.err
    assert (repo.read("vml.yaml").decode() == OURS) is (code != 0)


def test_where_no_stage_can_be(repo: Repo) -> None:
    repo.write("data/x", "1")
    repo.run("add", "data")
    assert "would be data" in repo.fails("stage", "add", "-n", "a", "x", code=3, cwd="data").err
    repo.write("old/deep/keep", "1")
    repo.write(".vmlignore", "/old/\n")
    assert ".vmlignore names it" in repo.fails("stage", "add", "-n", "a", "x", code=3, cwd="old/deep").err
    repo.write("elsewhere", "stages:\n")
    (repo.path / "vml.yaml").symlink_to("elsewhere")
    assert "is a symbolic link" in repo.fails("stage", "add", "-n", "a", "x", code=3).err
    (repo.path / "vml.yaml").unlink()
    repo.write("vml.yaml", "stages: {b: {cmd: x}}\n")
    assert "a way that vml does not edit" in repo.fails("stage", "add", "-n", "a", "x", code=3).err
    repo.write("vml.yaml", "stages: [1]\n")
    assert "expected a mapping" in repo.fails("stage", "add", "-n", "a", "x", code=3).err


def test_a_bare_repository_has_no_stages(repo: Repo) -> None:
    repo.write("vml.yaml", OURS)
    repo.commit()
    repo.git("clone", "-q", "--bare", ".", "../bare.git")
    bare = repo.beside("bare.git")
    for words in ("stage add -n a x", "stage list", "freeze prepare", "dag"):
        assert "has no workspace" in bare.fails(*words.split(), code=3).err
    assert not (bare.path / "vml.yaml").exists()


def test_autostage(repo: Repo) -> None:
    repo.run("config", "core.autostage", "true")
    assert "git add" not in repo.run("stage", "add", "-n", "a", "x").err
    assert "A  vml.yaml" in repo.git("status", "--porcelain")


def test_list(repo: Repo) -> None:
    assert "no stages yet" in repo.run("stage", "list").err
    repo.write(
        "vml.yaml",
        """\
stages:
  last: {cmd: x, deps: [m/a, m/b], desc: "Puts together\\x1b[31m\\nall"}
  train:
    foreach: [a, b]
    do: {cmd: "set -e\\ntrain ${item}", outs: ["m/${item}"], frozen: true}
""",
    )
    shown = [" ".join(line.split()) for line in repo.run("stage", "list").out.splitlines()[1:]]
    assert shown == [
        "train@a 0 1 set -e … frozen",
        "train@b 0 1 set -e … frozen",
        "last 2 0 x Puts together\\033[31m",
    ]
    listed = repo.json("stage", "list", "train")["stages"]
    assert [each["name"] for each in listed] == ["train@a", "train@b"]
    assert listed[0]["cmd"] == ["set -e\ntrain a"]
    assert [each["name"] for each in repo.json("stage", "list", "m/a", "last")["stages"]] == ["train@a", "last"]
    assert "did you mean last?" in repo.fails("stage", "list", "lats", code=3).err


def test_freeze_and_unfreeze(repo: Repo) -> None:
    repo.write("vml.yaml", OURS)
    sub = "stages:\n    train:\n        foreach: [1, 2]\n        do:\n            cmd: x ${item} # run\n"
    repo.write("sub/vml.yaml", sub)
    assert repo.run("freeze", "data", "sub/vml.yaml:train").err == "frozen: prepare\nfrozen: sub/vml.yaml:train\n"
    assert repo.read("vml.yaml").decode() == OURS.replace("directory\n", "directory\n    frozen: true\n")
    assert repo.read("sub/vml.yaml").decode() == f"{sub}            frozen: true\n"
    assert [each["frozen"] for each in repo.json("stage", "list")["stages"]] == [True] * 3
    assert repo.run("freeze", "prepare").err == "frozen already: nothing changed\n"
    assert "vml freeze sub/vml.yaml:train" in repo.fails("unfreeze", "train@1", code=3, cwd="sub").err
    repo.run("unfreeze", "train", cwd="sub")
    repo.run("unfreeze", "prepare")
    assert (repo.read("vml.yaml").decode(), repo.read("sub/vml.yaml").decode()) == (OURS, sub)
    assert "not frozen: nothing changed" in repo.run("unfreeze", "prepare").err
    assert "is no stage" in repo.fails("freeze", "nothing", code=3).err


def test_a_stage_whose_name_has_an_at(repo: Repo) -> None:
    repo.write("vml.yaml", "stages:\n  a@b:\n    cmd: x\n  a@c:\n    cmd: x\n")
    repo.run("freeze", "a@b")
    assert repo.read("vml.yaml") == b"stages:\n  a@b:\n    cmd: x\n    frozen: true\n  a@c:\n    cmd: x\n"


def test_two_at_once_lose_nothing(repo: Repo) -> None:
    added = [
        subprocess.Popen(
            [sys.executable, "-m", "vcs_ml", "stage", "add", "-n", f"s{i}", "x"], cwd=repo.path, env=os.environ
        )
        for i in range(6)
    ]
    assert [each.wait() for each in added] == [0] * 6
    assert sorted(stages(repo)) == [f"s{i}" for i in range(6)]
