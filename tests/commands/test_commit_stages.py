"""`vml commit STAGE` takes what is there as what the stage made."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Repo
from tests.stages import lock_of

YAML = """\
stages:
  prepare: {cmd: touch RAN, deps: [raw.csv], outs: [data]}
  train:
    cmd: touch RAN
    deps: [data]
    params: [lr]
    env: [SEED]
    outs: [model, "logs/*.txt"]
    metrics: [{m.json: {cache: false}}]
"""


def made(repo: Repo) -> None:
    repo.write("raw.csv", "1\n")
    repo.write("params.yaml", "lr: 1\n")
    repo.write("vml.yaml", YAML)
    for path in ("data/a", "data/b", "model", "logs/1.txt", "logs/2.txt", "m.json"):
        repo.write(path, path)


def states(repo: Repo) -> dict[str, str]:
    return {each["name"]: each["state"] for each in repo.json("status")["stages"]}


def test_a_stage_that_never_ran(repo: Repo, remote: object) -> None:
    made(repo)
    result = repo.run("commit", "train")
    assert (
        result.err
        == "train: recorded as it is\n\nTo record this in Git:\n  git add vml.lock .gitignore logs/.gitignore m.json\n"
    )
    found = lock_of(repo).stages["train"]
    assert found.cmd == ("touch RAN",)
    assert (list(found.deps), found.params, found.env) == (["data"], {"params.yaml": {"lr": 1}}, {"SEED": None})
    assert sorted(found.outs) == ["logs/1.txt", "logs/2.txt", "m.json", "model"]
    assert not found.outs["m.json"].flags.cache
    assert repo.read("logs/.gitignore") == b"# >>> vml\n/1.txt\n/2.txt\n# <<< vml\n"
    assert states(repo) == {"prepare": "stale", "train": "behind"}
    repo.run("commit", "prepare")
    assert repo.json("commit", "prepare")["stages"] == [{"name": "prepare", "source": "vml.lock", "changed": False}]
    assert states(repo) == {}
    repo.commit()
    assert "2 stages up to date" in repo.run("repro").err
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.json("status")["clean"]
    for each in (repo, clone):
        assert not (each.path / "RAN").exists()


def test_what_changed_is_recorded(repo: Repo) -> None:
    made(repo)
    repo.run("commit", "vml.yaml")
    repo.write("params.yaml", "lr: 2\n")
    repo.write("data/a", "other")
    repo.write("model", "other")
    assert states(repo) == {"prepare": "stale", "train": "stale"}
    repo.run("commit", "model")  # an output by its path: nothing else is recorded
    assert lock_of(repo).stages["train"].params == {"params.yaml": {"lr": 1}}
    repo.run("commit", "train", "raw.csv:no", ok=False)
    assert lock_of(repo).stages["train"].params == {"params.yaml": {"lr": 1}}
    repo.run("commit", "train", "data")
    assert lock_of(repo).stages["train"].params == {"params.yaml": {"lr": 2}}
    assert states(repo) == {}


def test_an_output_that_is_not_recorded_names_its_stage(repo: Repo) -> None:
    made(repo)
    repo.run("commit", "m.json")
    assert set(lock_of(repo).stages) == {"train"}


def test_a_path_comes_before_a_stage(repo: Repo) -> None:
    made(repo)
    repo.write("train", "tracked")
    repo.run("add", "train")
    repo.write("train", "changed")
    repo.run("commit", "train")
    assert not (repo.path / "vml.lock").exists()
    repo.run("commit", "vml.yaml:train")
    assert set(lock_of(repo).stages) == {"train"}


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        ("data", "the dep data does not exist"),
        ("params.yaml", "the params file params.yaml does not exist"),
        ("model", "the output model was not made"),
        ("logs", "nothing matches logs/*.txt"),
    ],
)
def test_what_is_not_there_is_not_recorded(repo: Repo, gone: str, why: str) -> None:
    made(repo)
    (repo.path / gone).rename(repo.path / "gone")
    assert why in repo.fails("commit", "train", code=3).err
    assert not (repo.path / "vml.lock").exists()


def test_what_git_has_is_not_taken(repo: Repo) -> None:
    made(repo)
    repo.git("add", "model")
    assert "its output model is tracked by Git" in repo.fails("commit", "train", code=3).err


def test_names_that_mean_nothing(repo: Repo) -> None:
    made(repo)
    assert "did you mean train?" in repo.fails("commit", "trian", code=3).err
    assert "raw.csv is not tracked" in repo.fails("commit", "raw.csv", code=3).err
    assert json.loads(repo.run("commit", "--json").out)["stages"] == []
