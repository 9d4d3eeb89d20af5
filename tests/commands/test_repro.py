"""`vml repro`: what it prints, for people and for programs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from tests.conftest import Repo
from tests.pipelines import write
from tests.test_docs import keys_of

TWO = """
    stages:
      a: {cmd: echo from a && cp in a, deps: [in], outs: [a]}
      b: {cmd: echo from b && cp a b, deps: [a], params: [lr], outs: [b]}
"""


def test_the_table_has_what_was_done_and_why(repo: Repo) -> None:
    write(repo, TWO, params_yaml="lr: 1\n")
    repo.write("in", "1")
    result = repo.run("repro")
    rows = [line.split(maxsplit=3) for line in result.out.splitlines()]
    assert rows[0] == ["stage", "state", "seconds", "why"]
    assert [(name, state, why) for name, state, _, why in rows[1:]] == [
        ("a", "ran", "never run"),
        ("b", "ran", "never run"),
    ]
    assert result.err.splitlines() == [
        "a: running (never run)",
        "from a",
        "b: running (never run)",
        "from b",
        "to record this in Git: git add vml.lock .gitignore",
    ]
    result = repo.run("repro")
    assert (result.out, result.err) == ("", "2 stages up to date\n")


def test_output_side_by_side_has_names(repo: Repo) -> None:
    write(repo, TWO, params_yaml="lr: 1\n")
    repo.write("in", "1")
    err = repo.run("repro", "-j", "2").err
    assert "a> from a\n" in err
    assert "b> from b\n" in err


def test_quiet_says_what_was_asked_for(repo: Repo) -> None:
    write(repo, TWO, params_yaml="lr: 1\n")
    repo.write("in", "1")
    assert repo.run("-q", "repro").err == ""


def test_what_git_should_be_given(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: echo $X > s/a, env: [X], outs: [s/a]}, b: {cmd: exit 1, outs: [t/b]}}")
    (repo.path / "s").mkdir()
    err = repo.run("-C", "s", "repro", "vml.yaml:a").err
    command = err.splitlines()[-1].removeprefix("to record this in Git: ")
    assert command == "git add ../vml.lock .gitignore"
    assert "in Git" not in repo.run("repro", "--json", "--force", "a").err
    assert "in Git" not in repo.fails("repro", code=3).err
    repo.run("config", "core.autostage", "true")
    assert "in Git" not in repo.run("repro", "--force", "a").err


def test_git_should_be_given_outputs_without_cache_that_it_lacks(repo: Repo) -> None:
    outs = ", ".join(f"{{{name}: {{cache: false}}}}" for name in ("m.json", "ignored", "same", "plots"))
    command = "date +%N > m.json; mkdir -p plots; date +%N > plots/a; touch ignored same; echo x > model"
    write(repo, f"stages: {{a: {{cmd: {command}, outs: [model, {outs}]}}}}")
    repo.write(".git/info/exclude", "ignored\n")
    repo.write("same", "")
    repo.git("add", "same")
    expected = "to record this in Git: git add vml.lock .gitignore m.json plots"
    assert repo.run("repro").err.splitlines()[-1] == expected
    repo.commit()
    assert repo.run("repro", "--force").err.splitlines()[-1] == "to record this in Git: git add vml.lock m.json plots"


def test_a_wdir_that_is_not_there(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: echo hi > x, wdir: nope, outs: [x]}}")
    err = repo.fails("repro", code=3).err
    assert f"error: stage a: its wdir nope does not exist\nhint: mkdir -p {repo.path}/nope\n" in err
    assert not (repo.path / "nope").exists()
    repo.write("note/x", "")
    write(repo, "stages: {a: {cmd: echo hi > y, wdir: notes, outs: [y]}}")
    assert "hint: did you mean note?" in repo.fails("repro", code=3).err
    write(repo, "stages: {a: {cmd: echo hi > x, wdir: made, outs: [x]}, b: {cmd: echo > made/y, outs: [made/y]}}")
    repo.run("repro")


def test_more_than_the_machine_has(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: echo, resources: {cpu: 6400}}, b: {cmd: echo, resources: {cpu: 6400}}}")
    err = repo.run("repro").err
    assert err.count("it asks for more than there is (cpu: 6400 of ") == 1


def test_an_option_that_wants_a_stage_names_itself(repo: Repo) -> None:
    for option, shown in (("-s", "--single-item"), ("--downstream", "--downstream")):
        err = repo.fails("repro", option, code=2).err
        assert err == f"error: {shown} of which stage?\nhint: vml repro {shown} STAGE\n"
    assert "hint: vml metrics show" in repo.fails("repro", "-m", code=2).err


def test_no_stages(repo: Repo) -> None:
    assert "there are no stages" in repo.run("repro").err


def test_no_stage_is_left(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: x, if: false}, b: {matrix: {n: []}, cmd: x}, c: {foreach: {}, do: {cmd: x}}}")
    for command in (["repro"], ["repro", "--dry"], ["dag"], ["stage", "list"]):
        err = repo.run(*command).err
        assert err.startswith("no stage is left: a is switched off (its if is false), b has no instances (its foreach")
        assert err.endswith("c has no instances (its foreach or matrix is empty)\n")
    assert "error: b has no instances" in repo.fails("repro", "b", code=3).err


def test_json_is_as_documented(repo: Repo) -> None:
    write(repo, TWO, params_yaml="lr: 1\n")
    repo.write("in", "1")
    repo.run("repro")
    repo.write("params.yaml", "lr: 2\n")
    found = repo.json("repro")
    page = (Path(__file__).parents[2] / "docs/commands/repro.md").read_text("utf-8")
    assert not {key for key in keys_of(found) if f'"{key}"' not in page}
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert [list(each) for each in (example, example["stages"][0])] == [list(found), list(found["stages"][0])]
    assert found["stages"][1]["reasons"][0] == {
        "kind": "param",
        "text": "params.yaml: lr 1 -> 2",
        "path": "params.yaml",
        "key": "lr",
        "old": 1,
        "new": 2,
    }
    log = Path(found["stages"][1]["log"])
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z-\d+", log.parent.name)
    assert log.read_text() == "from b\n"


def test_json_stays_whole_when_a_stage_fails(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: echo words; exit 4}}")
    result = repo.run("repro", "--json", ok=False)
    assert result.code == 3
    assert json.loads(result.out)["stages"][0]["state"] == "failed"
    assert "stage a failed (exit code 4)" in result.err


def test_options_that_exclude_each_other(repo: Repo) -> None:
    repo.fails("repro", "--single-item", "--downstream", "a", code=2)
    repo.fails("repro", "--single-item", code=2)


def test_bad_files(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: x, dep: [y]}}")
    assert "did you mean deps?" in repo.fails("repro", code=3).err
    write(repo, "stages: {a: {cmd: x, deps: [b], outs: [a]}, b: {cmd: x, deps: [a], outs: [b]}}")
    assert "the stages form a cycle: a -> b -> a" in repo.fails("repro", code=3).err
    write(repo, TWO, params_yaml="lr: 1\n")
    repo.write("vml.lock", "<<<<<<< HEAD\n{}\n=======\n")
    assert "conflict markers" in repo.fails("repro", code=3).err
    repo.write("vml.lock", '{"schema": 99, "stages": {}}')
    assert "newer vml" in repo.fails("repro", code=3).err


def test_the_outcome_overwrites_nothing(repo: Repo) -> None:
    write(repo, TWO, params_yaml="lr: 1\n")
    repo.write("in", "1")
    repo.write("data/x", "1")
    repo.run("add", "data")
    repo.write("old.xml", "")
    repo.write("sub/x", "")
    repo.git("add", "old.xml")
    os.symlink("..", repo.path / "sub/up")
    for path, why in {
        "vml.lock": "belongs to Git or vml",
        "vml.yaml": "belongs to Git or vml",
        "data.vml": "belongs to Git or vml",
        ".vml/config.toml": "belongs to Git or vml",
        "sub/up/vml.lock": "is a link",
        "old.xml": "is tracked by Git",
        "data/x": "is tracked, and",
        "b": "is what the stage b makes",
        "in": "is what the stage a reads",
        "params.yaml": "is what the stage b reads",
        "sub": "is a directory",
        "nowhere/x.xml": "there is no directory",
    }.items():
        assert why in repo.fails("repro", "--junit", path, code=3).err
    assert not (repo.path / "a").exists()
    repo.run("repro", "--junit", "sub/new.xml")
    repo.run("repro", "--junit", "sub/new.xml")


def test_options_of_dvc_are_there_or_lead_to_ours(repo: Repo) -> None:
    write(repo, TWO, params_yaml="lr: 1\n")
    repo.write("in", "1")
    page = (Path(__file__).parents[2] / "docs/coming-from-dvc.md").read_text("utf-8")
    for option in ("-f", "-s a", "-k", "--downstream a", "--dry", "--pull", "--no-commit", "--no-run-cache"):
        repo.run("repro", *option.split())
    for option in ("-p", "-P", "-R", "-i", "-m", "--glob", "--allow-missing", "--force-downstream", "--ignore-errors"):
        result = repo.fails("repro", option, code=2)
        assert f"error: vml repro has no {option}\n" in result.err
        assert f"`{option}" in page
    assert "are no stages" not in repo.run("repro", "a*").err
    assert "no such option" in repo.fails("repro", "--nonsense", code=2).err


def test_a_project_of_dvc_is_told_how_to_move(repo: Repo) -> None:
    repo.write("dvc.yaml", "stages: {a: {cmd: echo > x, outs: [x]}}\n")
    repo.commit()
    err = repo.fails("repro", code=3).err
    hint = err.partition("hint: ")[2].partition(" takes")[0]
    repo.git(*hint.split()[1:])
    repo.run("repro")
    repo.write("dvc.yaml", "")
    repo.run("repro")


def test_stages_that_are_switched_off_are_passed_over(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          off: {cmd: echo > off, outs: [off], if: false}
          each: {matrix: {x: [1, 2]}, cmd: 'echo > each${item.x}', outs: ['each${item.x}'], if: false}
          on: {cmd: echo > on, outs: [on]}
        """,
    )
    result = repo.run("repro", "off", "each", "on")
    assert "off: skipped, its `if` is false\neach: skipped, its `if` is false\n" in result.err
    assert (repo.path / "on").exists()
    assert not (repo.path / "off").exists()
    assert repo.run("repro", "off").err == "off: skipped, its `if` is false\n"
    repo.run("repro", "off", "--dry", "--json")
    assert "switched off" in repo.fails("freeze", "off", code=3).err


def test_a_param_that_is_no_constant(repo: Repo) -> None:
    repo.write("p.py", "class T:\n    RATE = 1\n    EPOCHS = f()\n")
    write(repo, "stages: {a: {cmd: x, params: [p.py: [T.EPOCHS]]}}")
    err = repo.fails("repro", code=3).err
    assert "stage a: T.EPOCHS in p.py is no constant\nhint: p.py is not run: write its value out\n" in err
    write(repo, "stages: {a: {cmd: x, params: [p.py: [T.EPOCH]]}}")
    assert "p.py has no T.EPOCH\n" in repo.fails("repro", code=3).err
