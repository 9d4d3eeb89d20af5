"""`vml status` says which stages are not up to date, and why."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Repo

YAML = """\
stages:
  evaluate: {cmd: cp model score, deps: [model], outs: [{score: {cache: false}}]}
  train:
    cmd: cat data/* > model
    deps: [data]
    params: [lr, net]
    env: [SEED]
    outs: [model]
  prepare: {cmd: "mkdir data && cp raw.csv data/a && cp raw.csv data/c", deps: [raw.csv], outs: [data]}
"""


@pytest.fixture
def done(repo: Repo) -> Repo:
    """A project whose three stages have run, committed."""
    repo.write("raw.csv", "1\n")
    repo.run("add", "raw.csv")
    repo.write("params.yaml", "lr: 0.1\nnet: {depth: 3, width: 8}\n")
    repo.write("vml.yaml", YAML)
    repo.run("repro")
    repo.commit()
    return repo


def told(repo: Repo, *paths: str) -> dict[str, list[str]]:
    """What status says of stages: `name state` -> reasons; that it is what people are shown."""
    found = repo.json("status", *paths)["stages"]
    shown = repo.run("status", *paths).out
    absent = [each["name"] for each in found if each["state"] == "absent"]
    if len(absent) > 1:  # the data is said to be missing once, and not for each who reads it
        assert f"absent:     {len(absent)} stages that read or made" in shown
        assert f"({', '.join(absent)})" in shown
    for each in found if len(absent) < 2 else [each for each in found if each["state"] != "absent"]:
        assert f"{each['state'] + ':':<12}{each['name']}  (" in shown
        assert all(reason["text"] in shown for reason in each["reasons"])
    return {f"{each['name']} {each['state']}": [reason["text"] for reason in each["reasons"]] for each in found}


def test_never_run(repo: Repo) -> None:
    repo.write("vml.yaml", YAML)
    assert told(repo) == {f"{name} stale": ["never run"] for name in ("prepare", "train", "evaluate")}
    assert repo.run("status", "--exit-code", ok=False).code == 1


def test_up_to_date(done: Repo) -> None:
    assert told(done) == {}
    assert done.json("status")["clean"]
    assert done.run("status", "--exit-code").out == "nothing changed\n"


def test_params_env_and_commands(done: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    done.write("params.yaml", "lr: 0.2\nnet: {depth: 4, width: 8}\n")
    monkeypatch.setenv("SEED", "1")
    assert told(done) == {
        "train stale": ["params.yaml: lr 0.1 -> 0.2", "params.yaml: net.depth 3 -> 4", "env SEED changed"],
        "evaluate behind": [],
    }
    assert not done.json("status")["clean"]
    done.write("vml.yaml", YAML.replace("cat data", "tac data"))
    assert "; 1 more)" in done.run("status").out
    assert len(done.json("status", "train")["stages"][0]["reasons"]) == 4


def test_data_and_outputs(done: Repo) -> None:
    done.write("raw.csv", "2\n")
    done.write("data/b", "new")
    assert told(done) == {
        "prepare stale": ["raw.csv: changed", "data: changed in the workspace"],
        "train stale": ["data: 1 added"],
        "evaluate behind": [],
    }
    assert done.changes() == {"raw.csv": "modified", "data/b": "added"}
    (done.path / "data/b").unlink()
    done.run("checkout", "--force")
    (done.path / "score").unlink()
    assert told(done) == {"evaluate stale": ["score: missing"]}
    assert done.json("status")["data"] == []


def test_targets(done: Repo) -> None:
    done.write("params.yaml", "lr: 0.2\nnet: {depth: 3, width: 8}\n")
    stale = {"train stale": ["params.yaml: lr 0.1 -> 0.2"]}
    for target in ("train", "params.yaml", "data"):
        assert told(done, target) == stale
    assert told(done, "model") == stale | {"evaluate behind": []}
    assert told(done, "prepare") == {}
    assert done.run("status", "prepare").out == "nothing changed\n"
    assert "is not tracked" in done.fails("status", "nothing", code=3).err


def test_frozen_and_always_changed(done: Repo) -> None:
    done.run("freeze", "train")
    done.write("params.yaml", "lr: 0.2\nnet: {depth: 3, width: 8}\n")
    changed = "params.yaml: lr 0.1 -> 0.2"
    assert told(done) == {"train frozen": [changed]}
    assert done.json("status")["clean"]
    done.write("model", "mine")
    both = [changed, "model: changed in the workspace"]
    assert told(done) == {"train frozen": both, "evaluate stale": ["model: changed"]}
    done.run("checkout", "--force")
    done.run("unfreeze", "train")
    done.write("params.yaml", "lr: 0.1\nnet: {depth: 3, width: 8}\n")
    done.write("vml.yaml", YAML.replace("[data]}", "[data], always_changed: true}"))
    assert told(done) == {"prepare always": ["always_changed"]}
    assert done.json("status")["clean"]


def test_outputs_in_git(done: Repo) -> None:
    done.git("add", "-f", "model")
    why = "model: tracked by Git; git rm -r --cached model ends that"
    assert told(done) == {"train error": [why]}
    assert not done.json("status")["clean"]
    done.write("params.yaml", "lr: 0.2\nnet: {depth: 3, width: 8}\n")
    assert told(done) == {"train error": [why, "params.yaml: lr 0.1 -> 0.2"], "evaluate behind": []}
    done.run("freeze", "train")
    assert not any(each.endswith(" error") for each in told(done))


def test_data_that_is_not_here(done: Repo, tmp_path: object) -> None:
    done.run("remote", "add", "-d", "origin", f"{tmp_path}/remote")
    done.commit()
    done.run("push")
    clone = done.clone("clone")
    assert told(clone) == {
        "prepare absent": ["raw.csv: missing", "data: missing"],
        "train absent": ["data: missing", "model: missing"],
        "evaluate absent": ["model: missing"],
    }
    clone.run("pull")
    assert clone.json("status")["clean"]


def test_data_that_is_here_in_part(done: Repo, tmp_path: object) -> None:
    done.run("remote", "add", "-d", "origin", f"{tmp_path}/remote")
    done.commit()
    done.run("push")
    clone = done.clone("clone")
    clone.run("pull", "raw.csv", "model", "data/a")
    assert clone.json("status")["clean"]
    assert [each.partition(" ")[2] for each in told(clone)] == ["absent", "absent"]
    # What is recorded for train is no longer what prepare is recorded to have made.
    done.write("data/b", "b")
    done.run("commit", "prepare")
    done.commit()
    done.run("push")
    clone.git("pull", "-q")
    clone.run("pull", "data/a")
    assert {each["name"]: each["state"] for each in clone.json("status")["stages"]} == {
        "prepare": "absent",
        "train": "stale",
        "evaluate": "behind",
    }


def test_many_that_wait_are_one_line(repo: Repo) -> None:
    chain = "".join(f"  s{i}: {{cmd: cp {i} {i + 1}, deps: ['{i}'], outs: ['{i + 1}']}}\n" for i in range(20))
    repo.write("0", "x")
    repo.write("vml.yaml", f"stages:\n{chain}")
    repo.run("repro")
    repo.write("0", "y")
    shown = repo.run("status").out
    assert "stale:      s0  (0: changed)\n\tbehind:     19 stages that need what others will make" in shown
    assert len(repo.json("status")["stages"]) == 20


def test_what_cannot_be_read_is_told_last(done: Repo) -> None:
    done.write("raw.csv", "2\n")
    done.write("params.yaml", "lr: [\n")
    result = done.fails("status", code=3)
    assert "modified:   raw.csv" in result.out
    assert "stale:      prepare" in result.out
    assert "params.yaml:2: this is not YAML" in result.err
    assert done.run("status", "--json", ok=False).out == ""
    assert done.run("status", "prepare").err == ""
    done.write("vml.yaml", "stages: {a: {cdm: x}}\n")
    result = done.fails("status", code=3)
    assert "modified:   raw.csv" in result.out
    assert "did you mean cmd?" in result.err
    done.write("vml.yaml", YAML)
    done.write("vml.lock", b"<<<<<<< ours\n" + done.read("vml.lock"))
    assert done.fails("status", code=3).err.count("conflict markers") == 1


def test_nothing_of_pipelines_is_imported_without_them(repo: Repo) -> None:
    repo.write("data", "1")
    repo.run("add", "data")
    code = (
        "import sys; from vcs_ml.cli import main; code = main(sys.argv[1:]); "
        "assert not [name for name in sys.modules if name.startswith(('vcs_ml.pipeline', 'yaml'))]; sys.exit(code)"
    )
    for command in ("status", "commit"):
        subprocess.run([sys.executable, "-c", code, command], cwd=repo.path, check=True)


MUTATIONS = {
    "raw.csv": "2\n",
    "params.yaml": "lr: 7\nnet: {depth: 3, width: 8}\n",
    "data/a": "other",
    "model": "other",
    "score": "other",
    "vml.yaml": YAML.replace("cat data", "tac data"),
}


@pytest.mark.parametrize("changed", [*((path,) for path in MUTATIONS), ("raw.csv", "model"), ("params.yaml", "score")])
def test_status_and_repro_agree(done: Repo, changed: tuple[str, ...]) -> None:
    for path in changed:
        done.write(path, MUTATIONS[path])
    said = {each["name"]: each["state"] for each in done.json("status")["stages"]}
    planned = {each["name"]: each["state"] for each in done.json("repro", "--dry")["stages"]}
    words = {"would run": "stale", "would be cached": "stale", "may run": "behind"}
    assert all(said[name] == words[state] for name, state in planned.items() if state != "skipped")
    found = {each["name"]: each["state"] for each in done.json("repro")["stages"]}
    outcome = {"would run": {"ran", "cached"}, "would be cached": {"cached"}, "may run": {"ran", "cached", "skipped"}}
    assert all(found[name] in outcome.get(state, {state}) for name, state in planned.items())
    assert done.json("status")["stages"] == []


def test_rehash_reads_what_is_not_tracked_too(repo: Repo, tmp_path: Path) -> None:
    outside = str(tmp_path / "outside")
    places = {"in": "in", "folder/in": "folder", "out": "out", outside: outside}
    old = time.time_ns() - 10**12
    for place in (path for path in places if path != "out"):
        os.utime(repo.write(place, "1"), ns=(old, old))
    text = f"stages: {{a: {{cmd: cp -p in out, deps: [in, folder, {outside}], outs: [out: {{cache: false}}]}}}}"
    repo.write("vml.yaml", text)
    repo.run("repro")
    for place, name in places.items():
        path = repo.path / place
        # hard links hide the ctime, and utime sets the mtime back: nothing in the stats tells
        os.link(path, f"{path}.link" if place != "folder/in" else repo.path / "link")
        assert repo.json("status")["stages"] == []
        with path.open("r+b") as file:
            file.write(b"2")
        os.utime(path, ns=(old, old))
        assert repo.json("status")["stages"] == []
        (found,) = repo.json("status", "--rehash")["stages"]
        assert [each["path"] for each in found["reasons"]] == [name]
        assert len(repo.json("status")["stages"]) == 1  # and what it found is remembered
        with path.open("r+b") as file:
            file.write(b"1")
        os.utime(path, ns=(old, old))
        assert repo.json("status", "--rehash")["stages"] == []
