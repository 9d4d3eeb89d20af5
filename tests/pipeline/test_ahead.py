"""What is known before any command runs: what stages lack, and what a dry run foresees."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import pipelines
from tests.conftest import Repo
from tests.pipelines import states, write

CHAIN = """
    stages:
      a: {cmd: cp data/x out && echo a >> .ran, deps: [data], outs: [out]}
      b: {cmd: cp out last && echo b >> .ran, deps: [out], outs: [last]}
"""


@pytest.fixture
def shared(repo: Repo, remote: Path) -> Repo:
    """A pipeline that ran, committed and pushed."""
    write(repo, CHAIN)
    repo.write("data/x", "1")
    repo.run("add", "data")
    repo.run("repro")
    repo.write(".gitignore", repo.read(".gitignore") + b".ran\n")
    repo.commit()
    repo.run("push")
    return repo


# ---------------------------------------------------------------------- what stages lack

LACKING = """
    stages:
      slow: {cmd: cp in slow && touch .slow, deps: [in], outs: [slow]}
      deps: {cmd: cp in b, deps: [in, gone, also], params: [lr], outs: [b]}
      below: {cmd: cp b c, deps: [b], outs: [c]}
      params: {cmd: cp in d, deps: [in], params: [{nope.yaml: [x, y]}], outs: [d]}
      git: {cmd: cp slow e, deps: [slow], outs: [e]}
      other: {cmd: cp in o, deps: [in], outs: [o]}
"""


@pytest.fixture
def lacks(repo: Repo) -> Repo:
    write(repo, LACKING)
    repo.write("in", "1")
    repo.write("params.yaml", "{}")
    repo.write("e", "mine")
    repo.git("add", "e")
    return repo


def test_all_that_is_lacking_is_told_before_anything_runs(lacks: Repo) -> None:
    result = lacks.fails("repro", code=3)
    assert not (lacks.path / ".slow").exists()
    for text in ("the dep gone does", "the dep also does", "has no lr", "file nope.yaml does", "output e is tracked"):
        assert result.err.count(text) == 1
    assert "error: 3 stages cannot run: deps, params, git\n" in result.err
    assert "nothing was run" in result.err
    assert result.out == ""


def test_a_dry_run_tells_all_of_it_too(lacks: Repo) -> None:
    result = lacks.fails("repro", "--dry", code=3)
    assert "error: 3 stages cannot run: deps, params, git\n" in result.err
    assert states(lacks, "--dry", ok=False) == {
        "slow": "would run",
        "deps": "would fail",
        "below": "would not run",
        "params": "would fail",
        "git": "would fail",
        "other": "would run",
    }


def test_keep_going_runs_the_others(lacks: Repo) -> None:
    found = {"slow": "ran", "deps": "failed", "below": "not run", "params": "failed", "git": "failed", "other": "ran"}
    result = lacks.run("repro", "--json", "-k", ok=False)
    assert (result.code, {each["name"]: each["state"] for each in json.loads(result.out)["stages"]}) == (3, found)
    assert result.err.index("deps: cannot run") < result.err.index("slow: running")
    assert lacks.read("e") == b"mine"
    assert lacks.read(".gitignore").split() == [b"#", b">>>", b"vml", b"/o", b"/slow", b"#", b"<<<", b"vml"]


def test_what_other_stages_make_is_not_lacking(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a:
            cmd: "mkdir -p made && echo 1 > made/x && echo 'k: 1' > p.yaml && echo > g-1"
            outs: [made/x, p.yaml, 'g-*']
          b: {cmd: cat made/x > b, deps: [made, g-1], params: [{p.yaml: [k]}], outs: [b]}
        """,
    )
    assert states(repo) == {"a": "ran", "b": "ran"}
    (repo.path / "p.yaml").unlink()
    assert "hint: vml repro p.yaml makes it" in repo.fails("repro", "-s", "b", code=3).err


def test_what_a_command_makes_besides_is_not_lacking(repo: Repo) -> None:
    (repo.path / "link").symlink_to("o")
    write(
        repo,
        """
        stages:
          a: {cmd: "mkdir o && echo 1 > o/f && echo 1 > side && echo 'k: 1' > p.yaml", outs: [o]}
          b: {cmd: cat link/f side > b, deps: [o, link/f, side], params: [{p.yaml: [k]}], outs: [b]}
        """,
    )
    assert foreseen(repo) == {"a": "would run", "b": "would run"}
    for path in ("side", "b"):
        (repo.path / path).unlink()
    for args in ((), ("--dry",)):
        assert "error: stage b: the dep side does not exist\n" in repo.fails("repro", *args, code=3).err
    assert "the dep side does not exist" in repo.fails("repro", "-s", "b", code=3).err


@pytest.mark.parametrize("lacks", ["deps: [a, gone]", "deps: [a, data/x]", "deps: [a], params: [lr]"])
def test_what_no_command_can_bring_is_lacking(repo: Repo, lacks: str) -> None:
    repo.write("data/x", "1")
    repo.run("add", "data")
    shutil.rmtree(repo.path / "data")
    text = f"""
        stages:
          a: {{cmd: touch a .ran, outs: [a]}}
          gone: {{cmd: touch gone, outs: [gone], frozen: true}}
          b: {{cmd: touch b, {lacks}, outs: [b]}}
    """
    write(repo, text, params_yaml="{}")
    repo.fails("repro", code=3)
    assert not (repo.path / ".ran").exists()


def test_an_output_in_git_is_refused_even_where_nothing_is_to_be_done(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: cp in a, deps: [in], outs: [a]}}", **{"in": "1"})
    repo.run("repro")
    repo.git("add", "-f", "a")
    said = "error: stage a: its output a is tracked by Git\nhint: git rm -r --cached a; or "
    assert said in repo.fails("repro", code=3).err
    assert said in repo.fails("repro", "--dry", code=3).err
    repo.git("rm", "-rq", "--cached", "a")
    assert states(repo) == {"a": "skipped"}


def test_a_frozen_stage_makes_nothing(repo: Repo, remote: Path) -> None:
    write(
        repo,
        """
        stages:
          first: {cmd: touch .ran, outs: [.ran]}
          c:
            cmd: echo 1 > c.txt; echo 1 > c-1; echo 1 > d/x
            outs: [c.txt, 'c-*', d/x]
            frozen: true
          b: {cmd: cat c.txt > b, deps: [c.txt], outs: [b]}
          e: {cmd: cat c-1 d/x > e, deps: [c-1, d], outs: [e]}
        """,
    )
    why = "the dep c.txt does not exist, and the stage c, which makes it, is frozen"
    for args in ((), ("-s", "b"), ("--dry", "b"), ("--pull",)):
        result = repo.fails("repro", *args, code=3)
        assert f"stage b: {why}\nhint: vml unfreeze c\n" in result.err
    err = repo.fails("repro", "e", code=3).err
    assert "the dep c-1 does not exist, and the stage c, which makes it, is frozen (vml unfreeze c)" in err
    assert "the dep d does not exist, and the stage c, which makes it, is frozen (vml unfreeze c)" in err
    assert not (repo.path / ".ran").exists()
    repo.run("unfreeze", "c")
    repo.run("repro")
    repo.run("freeze", "c")
    (repo.path / "c.txt").unlink()
    (repo.path / "b").unlink()
    assert states(repo, "b") == {"c": "cached", "b": "cached"}
    repo.run("push")
    repo.write("b", "another")
    (repo.path / "c.txt").unlink()
    shutil.rmtree(repo.path / ".vml/cache")
    err = repo.fails("repro", "b", code=3).err
    assert f"{why}\nhint: vml unfreeze c; or vml pull c.txt, if a remote has it\n" in err
    assert states(repo, "--pull", "b") == {"c": "cached", "b": "cached"}


def test_links_that_lead_nowhere_are_named(repo: Repo) -> None:
    repo.write("cur", "")
    os.symlink("../nowhere", repo.path / "current")
    write(repo, "stages: {a: {cmd: 'true', deps: [current]}}")
    err = repo.fails("repro", code=3).err
    assert "the dep current is a link to ../nowhere, and nothing is there" in err
    assert "did you mean" not in err
    write(repo, "stages: {a: {cmd: 'true', deps: [current/x]}, b: {cmd: 'true', params: [{current: [x]}]}}")
    err = repo.fails("repro", code=3).err
    assert "the dep current/x does not exist: current is a link to ../nowhere, and nothing is there" in err
    assert "the params file current is a link to ../nowhere, and nothing is there" in err


def test_names_are_suggested_only_if_they_are_near(repo: Repo) -> None:
    for path in ("data/processed/long/a.csv", "data/processed/long/test.csv", "raw.csv"):
        repo.write(path, "")
    for path in ("data/processed/long/b.csv", "data/processed/long/data.csv", "raw"):
        write(repo, f"stages: {{a: {{cmd: 'true', deps: [{path}, vml.yaml]}}}}")
        err = repo.fails("repro", code=3).err
        assert ("did you mean raw.csv?" in err) == (path == "raw"), err
        assert ("did you mean" in err) == (path == "raw"), err


def test_tracked_data_that_is_not_here(shared: Repo) -> None:
    there = shared.clone("clone")
    assert "vml pull data brings it" in there.fails("repro", code=3).err
    there.run("fetch")
    assert "vml checkout data brings it" in there.fails("repro", code=3).err
    there.run("checkout", "data")
    assert states(there) == {"a": "cached", "b": "cached"}


# ---------------------------------------------------------------------- what a dry run foresees


def foreseen(repo: Repo, *args: str) -> dict[str, str]:
    """What a dry run says, which the run then does."""
    words = {"would run": "ran", "would be cached": "cached"}
    found = states(repo, "--dry", *args)
    assert states(repo, *args) == {name: words.get(state, state) for name, state in found.items()}
    return found


def test_dry_follows_what_comes_from_the_store(shared: Repo) -> None:
    for name in ("out", "last"):
        (shared.path / name).unlink()
    assert foreseen(shared) == {"a": "would be cached", "b": "would be cached"}
    (shared.path / "out").unlink()
    assert foreseen(shared) == {"a": "would be cached", "b": "skipped"}


def test_dry_with_pull_asks_the_remote(shared: Repo, remote: Path) -> None:
    there = shared.clone("clone")
    assert foreseen(there, "--pull") == {"a": "would be cached", "b": "would be cached"}
    part = shared.clone("part")
    write(part, CHAIN.replace("[data]", "[data/x]"))
    assert states(part, "--dry", "--pull") == {"a": "would run", "b": "would run"}
    assert not (part.path / "data").exists()
    write(part, CHAIN.replace("a: {", "a: {frozen: true, "))
    assert foreseen(part, "--pull") == {"a": "would be cached", "b": "would be cached"}
    for path in [each for each in remote.rglob("*") if each.suffix == ".pack" or each.parent.name == "roots"]:
        path.unlink()
    poor = shared.clone("poor")
    assert states(poor, "--dry", "--pull", ok=False) == {"a": "would fail", "b": "would not run"}


def test_dry_with_pull_finds_what_the_run_cache_knows(shared: Repo) -> None:
    shared.write("data/x", "2")
    shared.run("commit")
    shared.run("repro")
    shared.commit()
    shared.run("push", "--run-cache")
    shared.git("checkout", "-q", "HEAD~1", "--", "vml.lock")
    shared.commit()
    there = shared.clone("clone")
    there.run("fetch", "--run-cache")
    assert foreseen(there, "--pull") == {"a": "would be cached", "b": "would be cached"}
    assert there.read("last") == b"2"


# ---------------------------------------------------------------------- how a run ended

FAILING = """
    stages:
      good: {cmd: echo > good, outs: [good]}
      bad: {cmd: exit 3, outs: [bad]}
      below: {cmd: cp bad below, deps: [bad], outs: [below]}
      worse: {cmd: exit 4, deps: [good], outs: [worse]}
      under: {cmd: cp worse under, deps: [worse], outs: [under]}
      left: {cmd: cp good left, deps: [good], outs: [left]}
"""


def test_a_run_that_failed_is_summed_up(repo: Repo) -> None:
    write(repo, FAILING)
    repo.run("repro", "good")
    err = repo.fails("repro", "-k", "-j", "2", code=3).err
    assert "of 6 stages: 1 ran, 1 up to date, 2 failed, 2 not run\n" in err
    assert "  not run (upstream failed: bad): below\n" in err
    assert "  not run (upstream failed: worse): under\n" in err
    assert "to go on: vml repro --jobs=2 --keep-going\n" in err
    assert "/bad.log\n" in err
    assert "/worse.log\n" in err
    err = repo.fails("repro", "worse", "left", "--no-run-cache", code=3).err
    assert "of 3 stages: 1 up to date, 1 failed, 1 not run\n  not run (worse failed): left\n" in err
    assert "to go on: vml repro --no-run-cache worse left\n" in err


def test_an_interrupted_run_is_summed_up(repo: Repo) -> None:
    write(repo, FAILING + "      slow: {cmd: kill -INT $PPID; sleep 60, deps: [left], outs: [slow]}\n")
    process = pipelines.start(repo, "-k")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "of 7 stages: 2 ran, 2 failed, 1 stopped, 2 not run\n" in err
    assert "  failed: bad (exit code 3), its output is in " in err
    assert "  stopped: slow, its output is in " in err
    assert "  not run (upstream failed: bad): below\n" in err
    assert err.endswith("to go on: vml repro --keep-going\ninterrupted\n")
