"""`vml params diff`; what it shares with `vml metrics` is tested there."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Repo


def two_versions(repo: Repo) -> None:
    repo.write("params.yaml", "train:\n  lr: 0.1\n  layers: [64, 32]\nseed: 7\nname: cnn\n")
    repo.commit("first")
    repo.write("params.yaml", "train:\n  lr: 0.05\n  layers: [64, 64]\nseed: 7\nname: '7'\ndropout: 0.5\n")
    repo.commit("second")


def test_params_yaml_without_a_vml_yaml(repo: Repo) -> None:
    two_versions(repo)
    assert repo.run("params", "diff", "HEAD~1").out.splitlines() == [
        "file         param           HEAD~1    workspace    change        %",
        "params.yaml  train.lr           0.1         0.05     -0.05  -50.0 %",
        "params.yaml  train.layers  [64, 32]     [64, 64]",
        "params.yaml  name               cnn            7",
        "params.yaml  dropout              -          0.5",
    ]
    assert repo.run("params", "diff").out == ""
    assert "no params changed" in repo.run("params", "diff").err
    assert len(repo.run("params", "diff", "--all").out.splitlines()) == 6
    assert repo.json("params", "diff", "HEAD~1", "HEAD")["files"]["params.yaml"]["train.layers"] == {
        "old": [64, 32], "new": [64, 64],
    }  # fmt: skip


def test_types_are_told_apart(repo: Repo) -> None:
    repo.write("params.yaml", "a: 1\nb: 1\nc: 1\nd: yes\ne: 1e-3\nf: 010\n")
    repo.commit()
    repo.write("params.yaml", "a: '1'\nb: true\nc: 1.0\nd: 'yes'\ne: 0.001\nf: 10\n")
    assert [line.split()[1:] for line in repo.run("params", "diff").out.splitlines()[1:]] == [
        ["a", "1", '"1"'], ["b", "1", "true"],
    ]  # fmt: skip


def test_only_the_keys_that_stages_name(repo: Repo) -> None:
    repo.write("vml.yaml", "stages: {s: {cmd: 'true', params: [{conf.toml: [train]}, {code.py: [Model.depth]}]}}\n")
    repo.write("conf.toml", "other = 1\n[train]\nlr = 0.1\n")
    repo.write("code.py", "class Model:\n  depth = 3\n  width = 5\n")
    repo.commit()
    repo.write("conf.toml", "other = 2\n[train]\nlr = 0.2\n")
    repo.write("code.py", "class Model:\n  depth = 4\n  width = 6\n")
    assert [line.split()[:2] for line in repo.run("params", "diff").out.splitlines()[1:]] == [
        ["code.py", "Model.depth"], ["conf.toml", "train.lr"],
    ]  # fmt: skip
    assert len(repo.run("params", "diff", "-t", "conf.toml").out.splitlines()) == 3


def test_params_outside_of_the_project(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("hunter2: 1\n")
    repo.write("vml.yaml", "params: [../secret.yaml]\n")
    repo.write("params.yaml", "a: 1")
    result = repo.run("params", "diff", "--all")
    assert "a" in result.out
    assert "secret.yaml leads out of the project" in result.err
    assert "hunter2" not in result.out + result.err


def test_a_broken_vml_yaml_is_told(repo: Repo) -> None:
    two_versions(repo)
    repo.write("vml.yaml", "stagse: {}\n")
    result = repo.run("params", "diff", "HEAD~1")
    assert len(result.out.splitlines()) == 5
    assert "warning: vml.yaml:1" in result.err
    assert "(at workspace)" in result.err
    assert list(repo.json("params", "diff", "HEAD~1")["errors"]["b"]) == ["vml.yaml"]


def test_many_problems_are_cut(repo: Repo) -> None:
    for n in range(30):
        repo.write(f"conf/{n}.json", "{")
    repo.write("vml.yaml", "params: [conf]\n")
    result = repo.run("params", "diff", "--md")
    assert result.err.count("warning:") == 21
    assert "10 more problems of this kind" in result.err
    assert len(result.out.splitlines()) == 23
    assert len(repo.json("params", "diff")["errors"]["b"]) == 30


def test_bad_arguments(repo: Repo) -> None:
    two_versions(repo)
    assert "unknown revision" in repo.fails("params", "diff", "nosuch", code=3).err
    assert "is nowhere in" in repo.fails("params", "diff", "-t", "nosuch.yaml", code=3).err
    repo.fails("params", "diff", "a", "b", "c", code=2)
    repo.fails("params", "nosuch", code=2)
