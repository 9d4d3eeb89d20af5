"""Reproducing pipelines: what runs and what does not, side by side, killed, interrupted, and by several at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import pipelines
from tests.conftest import Repo
from tests.pipelines import Dag, lock, states, whys, write
from tests.stages import project_of
from vcs_ml.pipeline import ledger
from vcs_ml.store import objects
from vcs_ml.workspace import opening

CHAIN = """
    stages:
      clean:
        cmd: sort raw > clean && echo clean >> .ran
        deps: [raw]
        outs: [clean]
      train:
        cmd: cat clean > model && echo train >> .ran
        deps: [clean]
        params: [lr]
        outs: [model]
"""


@pytest.fixture
def chain(repo: Repo) -> Repo:
    write(repo, CHAIN, raw="b\na\n", params_yaml="lr: 0.1\nother: 1\n")
    return repo


def ran(repo: Repo) -> list[str]:
    """The stages whose commands ran since the last time this was asked."""
    path = repo.path / ".ran"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def clean(repo: Repo) -> None:
    """Nothing is damaged, and nothing is lacking."""
    assert repo.json("fsck")["clean"]


def kept(repo: Repo) -> dict[str, bytes]:
    """The files that were taken out of the workspace and kept, with their bytes."""
    store = opening.open_store(project_of(repo))
    records = [json.loads(path.read_bytes())["files"] for path in (repo.path / ".vml/saved").glob("*.json")]
    every = [each for files in records for each in files]
    return {each["path"]: store.read(objects.parse_hash(each["hash"], store.algorithm, source="")) for each in every}


# ---------------------------------------------------------------------- what runs


def test_only_what_changed_runs(chain: Repo) -> None:
    assert states(chain) == {"clean": "ran", "train": "ran"}
    assert ran(chain) == ["clean", "train"]
    assert states(chain) == {"clean": "skipped", "train": "skipped"}
    assert ran(chain) == []
    chain.write("params.yaml", "lr: 0.2\nother: 1\n")
    assert whys(chain)["train"] == ["params.yaml: lr 0.1 -> 0.2"]
    assert ran(chain) == ["train"]
    chain.write("params.yaml", "lr: 0.2\nother: 2\n")
    assert states(chain) == {"clean": "skipped", "train": "skipped"}
    chain.write("raw", "b\na\nc\n")
    assert states(chain) == {"clean": "ran", "train": "ran"}
    assert chain.read("model") == b"a\nb\nc\n"
    clean(chain)


def test_same_output_ends_the_chain(chain: Repo) -> None:
    states(chain)
    chain.write("raw", "a\nb\n")
    assert states(chain) == {"clean": "ran", "train": "skipped"}


def test_going_back_comes_from_the_cache(chain: Repo) -> None:
    states(chain)
    chain.write("raw", "z\n")
    states(chain)
    ran(chain)
    chain.write("raw", "b\na\n")
    assert states(chain) == {"clean": "cached", "train": "cached"}
    assert (ran(chain), chain.read("model")) == ([], b"a\nb\n")
    assert states(chain) == {"clean": "skipped", "train": "skipped"}
    clean(chain)


def test_missing_outputs_come_back(chain: Repo) -> None:
    states(chain)
    ran(chain)
    (chain.path / "model").unlink()
    assert whys(chain)["train"] == ["model: missing"]
    assert (ran(chain), chain.read("model")) == ([], b"a\nb\n")


def test_a_hand_on_an_output_is_seen_and_its_bytes_are_kept(chain: Repo) -> None:
    states(chain)
    chain.write("model", "by hand")
    result = chain.run("repro")
    assert "model: changed in the workspace" in result.out
    assert "its bytes are kept as" in result.err
    assert chain.read("model") == b"a\nb\n"
    saved = json.loads(next((chain.path / ".vml/saved").glob("*.json")).read_bytes())["files"]
    assert [each["path"] for each in saved] == ["model"]
    digits = saved[0]["hash"].removeprefix("xxh128:")
    assert (chain.path / f".vml/cache/loose/xxh128/{digits[:2]}/{digits[2:]}").read_bytes() == b"by hand"


def test_what_lay_there_before_the_first_run_is_kept(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: mkdir out && echo x > out/x, outs: [out]}}")
    repo.write("out/mine/deep", "mine")
    repo.write(".vmlignore", "*.tmp\n")
    repo.write("out/scratch.tmp", "ignored")
    repo.run("repro")
    assert repo.files("out") == {"x": b"x\n"}
    records = [json.loads(path.read_bytes())["files"] for path in (repo.path / ".vml/saved").glob("*.json")]
    assert {each["path"] for files in records for each in files} == {"out/mine/deep", "out/scratch.tmp"}


def test_directories_are_made_for_outputs(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: echo x > deep/er/x, outs: [deep/er/x]}}")
    repo.run("repro")
    assert repo.read("deep/er/x") == b"x\n"
    assert repo.read("deep/er/.gitignore").startswith(b"# >>> vml")


def test_a_directory_says_how_it_differs(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: ls data > list, deps: [data], outs: [list]}}")
    for i in range(3):
        repo.write(f"data/{i}", str(i))
    repo.run("add", "data")
    repo.run("repro")
    repo.write("data/3", "3")
    repo.write("data/0", "new")
    result = repo.run("repro")
    assert "data: 1 added, 1 modified" in result.out
    assert "data differs from data.vml" in result.err
    assert "vml commit data" in result.err
    assert lock(repo)["a"]["deps"]["data"]["nfiles"] == 4
    repo.run("commit", "data")
    assert "differs" not in repo.run("repro").err


def test_globs_are_recorded_file_by_file(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: cp src/* out, deps: [src], outs: ['out/*.txt']}}")
    repo.write("src/1.txt", "1")
    repo.write("src/2.txt", "2")
    repo.write("src/no.log", "3")
    repo.run("repro")
    assert set(lock(repo)["a"]["outs"]) == {"out/1.txt", "out/2.txt"}
    (repo.path / "src/2.txt").unlink()
    assert states(repo) == {"a": "ran"}
    assert set(repo.files("out")) == {"1.txt", "no.log", ".gitignore"}
    (repo.path / "out/1.txt").unlink()
    assert states(repo) == {"a": "cached"}
    assert repo.read("out/1.txt") == b"1"


def test_persistent_outputs_are_continued(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: cat in >> log, deps: [in], outs: [{log: {persist: true}}]}}")
    repo.write("in", "1\n")
    repo.run("repro")
    repo.write("in", "2\n")
    repo.run("repro")
    assert repo.read("log") == b"1\n2\n"
    repo.write("in", "1\n")
    assert states(repo) == {"a": "ran"}


def test_small_outputs_of_git_come_back_too(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: cp in out && cp in m.json, deps: [in], outs: [out], metrics: [{m.json: {cache: false}}]}
        """,
    )
    repo.write("in", "1")
    repo.run("repro")
    repo.write("in", "2")
    repo.run("repro")
    repo.write("in", "1")
    assert states(repo) == {"a": "cached"}
    assert repo.read("m.json") == b"1"
    assert b"m.json" not in repo.read(".gitignore")
    repo.git("add", "-A")
    repo.run("checkout")
    assert repo.read("m.json") == b"1"


def test_a_large_output_of_git_that_is_there_is_enough(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: cp in out && cat in in > large, deps: [in], outs: [out, {large: {cache: false}}]}
        """,
    )
    repo.write("in", b"x" * (2 << 20))
    repo.run("repro")
    assert not (repo.path / ".vml/cache/runs").exists()
    (repo.path / "out").unlink()
    assert states(repo) == {"a": "cached"}
    (repo.path / "large").unlink()
    assert states(repo) == {"a": "ran"}


@pytest.mark.parametrize("text", ["cmd: date +%N > out, always_changed: true, deps: [in]", "cmd: date +%N > out"])
def test_what_is_not_cached(repo: Repo, text: str) -> None:
    write(repo, f"stages: {{a: {{{text}, outs: [out]}}}}")
    repo.write("in", "1")
    states(repo)
    assert not (repo.path / ".vml/cache/runs").exists()


def test_always(repo: Repo) -> None:
    write(
        repo, "stages: {a: {cmd: 'true', always_changed: true}, b: {cmd: 'true'}, c: {cmd: 'true', deps: [vml.yaml]}}"
    )
    states(repo)
    assert whys(repo) == {"a": ["always_changed"], "b": ["it has neither deps nor outs"], "c": []}


def test_frozen_stages_stay(chain: Repo) -> None:
    states(chain)
    write(chain, CHAIN.replace("deps: [raw]", "deps: [raw]\n        frozen: true"))
    chain.write("raw", "new\n")
    ran(chain)
    for args in ((), ("--dry",)):
        assert states(chain, *args) == {"clean": "frozen", "train": "skipped"}
        assert whys(chain, *args) == {"clean": ["raw: changed"], "train": []}
    result = chain.run("repro")
    assert "clean    frozen         0.0  raw: changed\n" in result.out
    assert "1 stage up to date" in result.err
    chain.write("raw", "b\na\n")
    for args in ((), ("train",)):
        assert states(chain, *args) == {"clean": "skipped", "train": "skipped"}
    for args in (("clean",), ("--force", "clean"), ("--dry", "clean")):
        assert states(chain, *args) == {"clean": "frozen"}
        assert "vml unfreeze clean lets it run" in chain.run("repro", *args).out
    (chain.path / "raw").unlink()
    assert states(chain) == {"clean": "skipped", "train": "skipped"}
    (chain.path / "clean").unlink()
    assert states(chain) == {"clean": "cached", "train": "skipped"}
    assert (ran(chain), chain.read("clean")) == ([], b"a\nb\n")


def test_other_flags_are_recorded_without_a_run(chain: Repo) -> None:
    states(chain)
    ran(chain)
    write(chain, CHAIN.replace("outs: [model]", "outs: [{model: {push: false}}]"))
    assert states(chain)["train"] == "skipped"
    assert lock(chain)["train"]["outs"]["model"]["push"] is False
    assert ran(chain) == []


def test_env_wdir_and_shell_are_part_of_it(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", "1")
    repo.write("sub/x", "")
    text = "stages: {a: {cmd: 'echo $SEED > x.out', wdir: sub, env: [SEED], outs: [x.out]}}"
    write(repo, text)
    states(repo)
    assert repo.read("sub/x.out") == b"1\n"
    monkeypatch.setenv("SEED", "2")
    assert whys(repo)["a"] == ["env SEED changed"]
    assert b'"2"' not in repo.read("vml.lock")
    write(repo, text.replace("wdir: sub,", "wdir: sub, shell: bash,"))
    assert whys(repo)["a"] == ["shell changed"]
    write(repo, text.replace("wdir: sub, ", "").replace("x.out]", "sub/x.out]").replace("> x.out", "> sub/x.out"))
    assert whys(repo)["a"] == ["cmd: … > x.out -> … > sub/x.out", "wdir changed", "shell changed"]
    assert states(repo) == {"a": "skipped"}


# ---------------------------------------------------------------------- what is wrong


def failed(repo: Repo, text: str, *args: str) -> str:
    """The error and hint that a run of this pipeline ends with."""
    write(repo, text)
    return repo.fails("repro", *args, code=3).err


def test_command_that_fails(repo: Repo) -> None:
    err = failed(repo, "stages: {a: {cmd: 'echo words; exit 7', outs: [x]}}")
    assert "error: stage a failed (exit code 7): echo words; exit 7" in err
    log = Path(err.rpartition("its output is in ")[2].strip())
    assert log.read_text() == "words\n"
    assert "command not found" in failed(repo, "stages: {a: {cmd: no-such-program, outs: [x]}}")
    assert "killed by SIGTERM" in failed(repo, "stages: {a: {cmd: 'kill -TERM $$', outs: [x]}}")
    assert "timed out" in failed(repo, "stages: {a: {cmd: sleep 30, timeout: 0.1, outs: [x]}}")
    assert not (repo.path / "vml.lock").exists()


def test_output_that_is_not_made(repo: Repo) -> None:
    err = failed(repo, "stages: {a: {cmd: echo > x, outs: [x, y]}}")
    assert "did not make y" in err
    assert "did not make out/*.txt" in failed(repo, "stages: {a: {cmd: 'true', outs: ['out/*.txt']}}")
    assert not (repo.path / "vml.lock").exists()


def test_output_that_git_has(repo: Repo) -> None:
    repo.write("out/x", "mine")
    repo.commit()
    err = failed(repo, "stages: {a: {cmd: mkdir -p out && echo > out/x, outs: [out]}}")
    assert "its output out is tracked by Git" in err
    assert "git rm -r --cached out" in err
    assert repo.read("out/x") == b"mine"


def test_what_is_missing_is_named_with_the_nearest(repo: Repo) -> None:
    repo.write("data/train.csv", "")
    err = failed(repo, "stages: {a: {cmd: 'true', deps: [data/trian.csv]}}")
    assert "the dep data/trian.csv does not exist" in err
    assert "did you mean data/train.csv?" in err
    repo.write("params.yaml", "train: {rate: 1}\n")
    err = failed(repo, "stages: {a: {cmd: 'true', params: [train.rat]}}")
    assert "params.yaml has no train.rat" in err
    assert "did you mean train.rate?" in err
    err = failed(repo, "stages: {a: {cmd: 'true', params: [{parms.yaml: [x]}]}}")
    assert "the params file parms.yaml does not exist" in err
    assert "did you mean params.yaml?" in err


def test_dep_that_changes_meanwhile(repo: Repo) -> None:
    err = failed(repo, "stages: {a: {cmd: echo more >> in; echo > x, deps: [vml.yaml, in], outs: [x]}}")
    assert "the dep in does not exist" in err
    repo.write("in", "1\n")
    err = failed(repo, "stages: {a: {cmd: echo more >> in; echo > x, deps: [vml.yaml, in], outs: [x]}}")
    assert "stage a: in changed while it ran" in err
    assert not (repo.path / "vml.lock").exists()


def test_failure_leaves_what_was_recorded(chain: Repo) -> None:
    states(chain)
    before = lock(chain)
    write(chain, CHAIN.replace("cat clean > model", "echo half > model && false"))
    chain.write("raw", "c\n")
    chain.fails("repro", code=3)
    assert lock(chain)["train"] == before["train"]
    assert lock(chain)["clean"] != before["clean"]
    assert chain.read("model") == b"half\n"
    assert chain.read(".gitignore").splitlines()[1:3] == [b"/clean", b"/model"]
    chain.run("checkout", "model", "--force")
    assert chain.read("model") == b"a\nb\n"
    clean(chain)


def test_what_a_failed_command_left_is_kept(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: 'mkdir o && echo half > o/model && ln -s model o/best && exit 1', outs: [o]}}")
    repo.fails("repro", code=3)
    repo.write("o/notes", "mine")  # as somebody may while the command runs
    repo.fails("repro", code=3)
    assert kept(repo) == {"o/best": b"model", "o/model": b"half\n", "o/notes": b"mine"}
    clean(repo)


def test_many_files_that_are_kept_are_not_all_told(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: mkdir -p o && touch o/x, outs: [o]}}")
    for i in range(25):
        repo.write(f"o/{i}", str(i))
    err = repo.run("repro").err
    assert err.count("its bytes are kept") == 20
    assert "and so are 5 more files: vml status lists them" in err
    assert repo.run("status").err.count("its bytes are kept") == 25


def test_each_try_begins_with_its_outputs_cleared(repo: Repo) -> None:
    outs = "[o, '*.txt', {log: {persist: true}}]"
    cmd = "cat o/f x.txt >> seen || true; mkdir -p o; echo >> o/f; echo >> x.txt; echo >> log; test $(wc -l < log) = 3"
    write(repo, f"stages: {{a: {{cmd: '{cmd}', outs: {outs}, retries: 5}}}}")
    assert states(repo) == {"a": "ran"}
    assert [repo.read(path) for path in ("o/f", "x.txt", "log", "seen")] == [b"\n", b"\n", b"\n\n\n", b""]
    clean(repo)


@pytest.mark.parametrize("cache", ["true", "false"])
def test_symbolic_links_in_an_output_are_kept(repo: Repo, cache: str) -> None:
    outs = f"[{{o: {{cache: {cache}}}}}, {{p: {{cache: false}}}}]"
    write(repo, f"stages: {{a: {{cmd: mkdir o && cp in o/x && cp in p, deps: [in], outs: {outs}}}}}")
    repo.write("in", "1")
    states(repo)
    (repo.path / "o/best").symlink_to("x")
    (repo.path / "p").unlink()
    (repo.path / "p").symlink_to("in")
    repo.write("in", "2")
    assert states(repo) == {"a": "ran"}
    assert kept(repo) == {"o/best": b"x", "p": b"in"}


def test_after_a_failure(repo: Repo) -> None:
    text = """
        stages:
          bad: {cmd: 'false', outs: [bad]}
          below: {cmd: cp bad below, deps: [bad], outs: [below]}
          other: {cmd: echo > other, outs: [other]}
          worse: {cmd: exit 2, outs: [worse]}
    """
    write(repo, text)
    assert states(repo, ok=False) == {"bad": "failed", "below": "not run", "other": "not run", "worse": "not run"}
    result = repo.run("repro", "--keep-going", ok=False)
    assert result.code == 3
    assert "2 stages failed: bad, worse" in result.err
    assert set(lock(repo)) == {"other"}


def test_git_ignores_what_a_failed_command_left(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          good: {cmd: echo > good, outs: [good]}
          bad: {cmd: mkdir -p p && echo half > m && echo > p/x.bin && exit 1, deps: [good], outs: [m, never, p/*.bin]}
          below: {cmd: cp m below, deps: [m], outs: [below, p/below]}
        """,
    )
    repo.fails("repro", code=3)
    repo.git("add", "-A")
    ours = {".gitignore", ".vml/.gitignore", ".vml/config.toml", "vml.lock", "vml.yaml"}
    assert set(repo.git("ls-files").split()) == {*ours, "p/.gitignore"}
    assert repo.read(".gitignore").splitlines()[1:-1] == [b"/good", b"/m"]
    (repo.path / "m").unlink()
    write(repo, "stages: {good: {cmd: echo > good, outs: [good]}, bad: {cmd: exit 1, outs: [m]}}")
    repo.fails("repro", code=3)
    assert repo.read(".gitignore").splitlines()[1:-1] == [b"/good"]


def test_git_ignores_what_comes_from_the_store(repo: Repo) -> None:
    stage = "stages: {a: {cmd: cp in o/x && cp in o/1.bin, deps: [in], outs: [o/x, o/*.bin]}}"
    write(repo, stage, **{"in": "1"})
    states(repo)
    lines = repo.read("o/.gitignore")
    for text in (stage, stage.replace("}}", ", frozen: true}}")):
        write(repo, text)
        shutil.rmtree(repo.path / "o")
        assert states(repo) == {"a": "cached"}
        assert repo.read("o/.gitignore") == lines


def test_a_directory_where_git_can_ignore_nothing(repo: Repo) -> None:
    (repo.path / "w/.gitignore").mkdir(parents=True)
    write(repo, "stages: {bad: {cmd: echo > w/x, outs: [w/x]}, other: {cmd: echo > other, outs: [other]}}")
    assert states(repo, "-k", ok=False) == {"bad": "failed", "other": "ran"}
    assert not (repo.path / "w/x").exists()
    assert states(repo, "-k", ok=False) == {"bad": "failed", "other": "skipped"}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_the_system_refuses_is_the_failure_of_one_stage(repo: Repo, jobs: str) -> None:
    repo.write("file", "")
    write(
        repo,
        """
        stages:
          bad: {cmd: 'true', outs: [file/x]}
          below: {cmd: 'true', deps: [file/x], outs: [below]}
          other: {cmd: echo > other, outs: [other]}
        """,
    )
    result = repo.run("repro", "-k", "-j", jobs, ok=False)
    assert result.code == 3
    assert f"stage bad: {repo.path}/file: file exists" in result.err
    assert states(repo, "-k", ok=False)["other"] == "skipped"


@pytest.mark.parametrize("options", [("-k",), ("-k", "-j", "2"), ()])
def test_what_cannot_be_recorded_is_the_failure_of_its_own_stage(repo: Repo, options: tuple[str, ...]) -> None:
    write(
        repo,
        """
        stages:
          first: {cmd: echo > first, outs: [first]}
          bad: {cmd: 'echo > w/x; rm -f w/.gitignore; ln -s nowhere w/.gitignore', outs: [w/x]}
          waits: {cmd: 'until grep first vml.lock; do sleep 0.02; done; echo > waits', outs: [waits]}
          last: {cmd: echo > last, outs: [last]}
        """,
    )
    result = repo.run("repro", *options, ok=False)
    told = {line.split()[0]: line.split()[1] for line in result.out.splitlines()[1:]}
    assert told == {"first": "ran", "bad": "failed", "waits": "ran", "last": "ran" if options else "not"}
    assert "stage bad: what it made cannot be recorded" in result.err
    assert f"{repo.path}/w/.gitignore is a symlink" in result.err
    assert lock(repo).keys() == {name for name, state in told.items() if state == "ran"}


def test_on_a_disk_that_is_nearly_full_all_is_recorded_before_the_next_command(
    chain: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "ROOM", 1 << 62)
    chain.write("vml.yaml", chain.read("vml.yaml").replace(b"cat clean > model", b"cp vml.lock model"))
    assert states(chain) == {"clean": "ran", "train": "ran"}
    assert lock(chain, "model").keys() == {"clean"}


def test_more_params_than_are_recorded_are_refused_before_a_command(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          some: {cmd: echo > some, params: [lr], outs: [some]}
          all: {cmd: echo > all, params: [params.yaml: ], outs: [all]}
        """,
        params_yaml=f"lr: 1\nbig: {'x' * (5 << 20)}\n",
    )
    result = repo.fails("repro", code=3)
    assert "stage all: params.yaml: the params come to 5.2 MB, and at most 4.2 MB go into vml.lock" in result.err
    assert not (repo.path / "some").exists()
    repo.write("vml.yaml", repo.read("vml.yaml").replace(b"params: [params.yaml: ]", b"deps: [params.yaml]"))
    assert states(repo) == {"some": "ran", "all": "ran"}


def test_an_output_that_is_no_file(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: mkfifo pipe, outs: [pipe]}}")
    assert "the output pipe is neither a file nor a directory" in repo.fails("repro", code=3).err


def test_a_dry_run_says_what_would_fail(repo: Repo) -> None:
    repo.write("in", "1")
    (repo.path / "loop").symlink_to("loop")
    write(
        repo,
        """
        stages:
          bad: {cmd: 'true', deps: [none], outs: [bad]}
          below: {cmd: 'true', deps: [bad]}
          loop: {cmd: 'true', deps: [loop/x]}
          other: {cmd: 'true', deps: [in]}
        """,
    )
    whole = {"bad": "would fail", "below": "would not run", "loop": "would fail", "other": "would run"}
    assert states(repo, "--dry", ok=False) == whole
    err = repo.fails("repro", "--dry", code=3).err
    assert "the dep none does not exist" in err
    assert "stage loop: " in err


# ---------------------------------------------------------------------- options


def test_targets(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: echo > a, outs: [a]}
          b: {cmd: cp a b, deps: [a], outs: [b]}
          c: {cmd: cp b c, deps: [b], outs: [c]}
          d: {cmd: echo > d, outs: [d]}
        """,
    )
    assert states(repo, "b") == {"a": "ran", "b": "ran"}
    assert states(repo, "--single-item", "d", "b") == {"b": "skipped", "d": "ran"}
    assert states(repo, "--downstream", "b") == {"b": "skipped", "c": "ran"}
    assert states(repo, "--force", "a") == {"a": "ran"}
    assert repo.fails("repro", "--downstream", code=2).err
    assert "did you mean" in repo.fails("repro", "aa", code=3).err
    repo.write("sub/vml.yaml", "stages: {a: {cmd: echo > x, outs: [x]}}")
    found = json.loads(repo.run("repro", "--json", "a", cwd="sub").out)
    assert [each["name"] for each in found["stages"]] == ["sub/vml.yaml:a"]


def test_dry_writes_nothing(chain: Repo) -> None:

    def everything() -> dict[Path, int]:
        """All but what is known of directories, which every command may keep."""
        found = (path for path in chain.path.rglob("*") if ".vml/index" not in str(path) and path.name != ".vml")
        return {path: path.stat().st_mtime_ns for path in found}

    before = everything()
    assert states(chain, "--dry") == {"clean": "would run", "train": "would run"}
    assert everything() == before
    states(chain)
    chain.write("raw", "z\n")
    assert states(chain, "--dry") == {"clean": "would run", "train": "may run"}
    states(chain)
    chain.write("raw", "b\na\n")
    assert states(chain, "--dry") == {"clean": "would be cached", "train": "would be cached"}
    assert chain.read("model") == b"z\n"


def test_reasons_name_params_first(chain: Repo) -> None:
    states(chain)
    write(chain, CHAIN.replace("cat clean", "cat  clean"))
    chain.write("params.yaml", "lr: 3\n")
    every = ["params.yaml: lr 0.1 -> 3", "cmd: cat clean … -> cat  clean …"]
    assert whys(chain, "--dry")["train"] == every
    rows = chain.run("repro", "--dry").out.splitlines()
    assert [line.partition("0.0")[2].strip() or line.strip() for line in rows[1:]] == every
    assert f"train: running ({'; '.join(every)})" in chain.run("repro").err


def test_reasons_are_shortened_and_with_explain_all_told(chain: Repo) -> None:
    states(chain)
    write(chain, CHAIN.replace("cat clean", "cat  clean"))
    chain.write("params.yaml", f"lr: {'long' * 20}\n")
    chain.write("clean", "mine")
    first = "params.yaml: lr 0.1 -> longlonglonglonglonglonglonglonglonglon…"
    assert f"train: running ({first}, and 1 more)" in chain.run("repro").err
    write(chain, CHAIN)
    chain.write("params.yaml", "lr: 1\n")
    result = chain.run("repro", "--explain")
    assert "-> 1; cmd: cat" in result.err
    assert len(result.out.splitlines()) == 3


def test_without_run_cache(chain: Repo) -> None:
    states(chain, "--no-run-cache")
    assert not (chain.path / ".vml/cache/runs").exists()
    states(chain, "--force")
    chain.write("raw", "z\n")
    states(chain)
    chain.write("raw", "b\na\n")
    assert states(chain, "--no-run-cache") == {"clean": "ran", "train": "ran"}


def test_without_commit(chain: Repo) -> None:
    assert states(chain, "--no-commit") == {"clean": "ran", "train": "ran"}
    assert chain.read("model") == b"a\nb\n"
    assert not (chain.path / "vml.lock").exists()
    assert not list((chain.path / ".vml").glob("cache/loose/*/*/*"))


def test_junit(chain: Repo) -> None:
    write(chain, CHAIN.replace("cat clean", "echo words; exit 3; cat clean"))
    chain.fails("repro", "--junit", "out.xml", code=3)
    text = chain.read("out.xml").decode()
    assert 'failures="1"' in text
    assert "words" in text


def test_pull(repo: Repo, remote: Path) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: cp data/x out && echo a >> .ran, deps: [data], outs: [out]}
          b: {cmd: cp out last && echo b >> .ran, deps: [out], outs: [last]}
        """,
    )
    repo.write("data/x", "1")
    repo.run("add", "data")
    repo.run("repro")
    repo.write(".gitignore", repo.read(".gitignore") + b".ran\n")
    repo.commit()
    repo.run("push")
    there = repo.clone("clone")
    assert "the dep data does not exist" in there.fails("repro", code=3).err
    assert states(there, "--pull") == {"a": "cached", "b": "cached"}
    assert (ran(there), there.read("last")) == ([], b"1")
    again = repo.clone("again")
    again.write("vml.yaml", again.read("vml.yaml").replace(b"cp data/x out", b"cp  data/x out"))
    assert states(again, "--pull") == {"a": "ran", "b": "cached"}


def test_pull_is_proposed_only_where_it_may_help(repo: Repo, tmp_path: Path) -> None:
    stages = """
        stages:
          a: {cmd: cp in a, deps: [in], outs: [a]}
          b: {cmd: cp in b, deps: [in], outs: [{b: {push: false}}]}
          c: {cmd: cp in c, deps: [in], outs: [{c: {remote: other}}]}
          d: {cmd: head -c 2000000 /dev/zero > d, deps: [in], outs: [{d: {cache: false}}]}
    """
    write(repo, stages, **{"in": "1"})
    repo.run("repro")

    def said(*args: str) -> list[str]:
        shutil.rmtree(repo.path / ".vml/cache/loose")
        for name in "abcd":
            (repo.path / name).unlink(missing_ok=True)
        err = repo.run("repro", *args).err
        return [name for name in "abcd" if f"{name}: this was made before, but it is not here: vml repro --pull" in err]

    assert said() == []
    (tmp_path / "remote").mkdir()
    repo.run("remote", "add", "-d", "storage", str(tmp_path / "remote"))
    assert said() == ["a"]
    assert said("--dry") == ["a"]


def test_pull_from_nowhere_and_from_the_remote_of_an_output(repo: Repo, tmp_path: Path) -> None:
    write(
        repo,
        """
        stages:
          a:
            cmd: cp in out; cp in near; echo a >> .ran
            deps: [in]
            outs: [out: {remote: far}, near]
        """,
        **{"in": "1"},
    )
    repo.write(".gitignore", ".ran\n")
    repo.run("repro")
    repo.commit()
    assert ran(repo) == ["a"]
    there = repo.clone("nowhere")
    assert states(there, "--pull") == {"a": "ran"}
    for name in ("far", "main"):
        repo.run("remote", "add", *(["-d"] if name == "main" else []), name, str(tmp_path / name))
    repo.commit()
    there = repo.clone("empty")
    assert states(there, "--pull") == {"a": "ran"}
    for name in ("far", "main"):
        repo.run("push", "-r", name)
    there = repo.clone("clone")
    assert states(there, "--pull") == {"a": "cached"}
    assert (there.read("out"), there.read("near"), ran(there)) == (b"1", b"1", [])


def test_logs_of_the_last_runs_are_kept(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: echo words, always_changed: true}}")
    for i in range(25):
        (repo.path / f".vml/logs/20200101T0000{i:02}.000Z-1").mkdir(parents=True)
    repo.run("repro")
    kept = sorted((repo.path / ".vml/logs").iterdir())
    assert len(kept) == 20
    assert (kept[-1] / "a.log").read_text() == "words\n"


# ---------------------------------------------------------------------- side by side


def test_parallel_equals_serial_equals_the_model(repo: Repo, chance: random.Random) -> None:
    dag = Dag(chance, 25)
    dag.put(repo)
    repo.commit()
    serial, parallel = repo.clone("serial"), repo.clone("parallel")
    states(serial)
    states(parallel, "-j", "4")
    dag.check(serial)
    dag.check(parallel)
    assert serial.read("vml.lock") == parallel.read("vml.lock")
    assert serial.read(".gitignore") == parallel.read(".gitignore")
    for _ in range(3):
        name = chance.choice(list(dag.sources))
        dag.sources[name] = f"{chance.random()}\n"
        for each in (serial, parallel):
            each.write(name, dag.sources[name])
            ran(each)
        first, second = states(serial), states(parallel, "-j", "4")
        assert first == second
        assert {name for name, state in first.items() if state == "ran"} == dag.affected({name})
        assert sorted(ran(serial)) == sorted(ran(parallel)) == sorted(dag.affected({name}))
        dag.check(parallel)
        assert serial.read("vml.lock") == parallel.read("vml.lock")
    clean(parallel)


def test_eight_at_once(repo: Repo, chance: random.Random) -> None:
    dag = Dag(chance, 10)
    dag.put(repo)
    processes = [pipelines.start(repo, "-j", str(1 + i % 2)) for i in range(8)]
    for process in processes:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
    dag.check(repo)
    assert sorted(ran(repo)) == sorted(name for name, *_ in dag.stages)
    assert set(states(repo).values()) == {"skipped"}
    clean(repo)


def test_who_waits_for_a_stage_lets_others_record(repo: Repo) -> None:
    stages = "".join(f"  s{i}: {{cmd: 'sleep 0.3; echo s{i} >> .ran; echo > s{i}', outs: [s{i}]}}\n" for i in range(6))
    write(repo, f"stages:\n{stages}")
    processes = [pipelines.start(repo, "-j", "2") for _ in range(6)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    assert sorted(ran(repo)) == [f"s{i}" for i in range(6)]
    clean(repo)


def test_kill_at_any_moment(repo: Repo, chance: random.Random, soak: int) -> None:
    dag = Dag(chance, 12)
    dag.put(repo)
    start = time.monotonic()
    repo.run("repro")
    length = time.monotonic() - start + 0.5
    for _ in range(max(soak // 2, 1)):
        for name in dag.sources:
            dag.sources[name] = f"{chance.random()}\n"
            repo.write(name, dag.sources[name])
        process = pipelines.start(repo, "-j", str(chance.randint(1, 3)))
        time.sleep(chance.uniform(0, length))
        pipelines.kill(process)
        clean(repo)
        assert set(states(repo).values()) <= {"ran", "cached", "skipped"}
        dag.check(repo)
        assert set(states(repo).values()) == {"skipped"}
        clean(repo)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(repo: Repo, number: int) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: echo > a, outs: [a]}
          b: {cmd: 'echo half > b; echo $$ > .pid; sleep 60', deps: [a], outs: [b]}
        """,
    )
    process = pipelines.start(repo)
    until = time.monotonic() + 60
    while not (repo.path / ".pid").exists() or not repo.read(".pid").endswith(b"\n"):
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out + err
    with pytest.raises(ProcessLookupError):
        os.kill(int(repo.read(".pid")), 0)
    assert list(lock(repo)) == ["a"]
    write(repo, "stages: {a: {cmd: echo > a, outs: [a]}, b: {cmd: echo all > b, deps: [a], outs: [b]}}")
    assert states(repo) == {"a": "skipped", "b": "ran"}
    clean(repo)


def held(repo: Repo) -> subprocess.Popen[str]:
    """A run in the midst of its command, which ends when there is `.go`."""
    write(repo, "stages: {a: {cmd: 'echo > .started; while ! test -e .go; do sleep 0.05; done; echo > a', outs: [a]}}")
    process = pipelines.start(repo)
    until = time.monotonic() + 60
    while not (repo.path / ".started").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


def test_waiting_for_another_names_it(repo: Repo) -> None:
    first = held(repo)
    second = pipelines.start(repo)
    assert second.stderr is not None
    said = second.stderr.readline()
    assert said.startswith(f"a: waiting for vml repro (pid {first.pid})")
    repo.write(".go", "")
    assert first.wait(60) == 0
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "1 stage up to date" in err
    first.communicate()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupt_while_waiting(repo: Repo, jobs: str) -> None:
    first = held(repo)
    second = pipelines.start(repo, "-j", jobs)
    assert second.stderr is not None
    assert second.stderr.readline().startswith("a: waiting for")
    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 130, err
    assert f"of 1 stage: 1 not run\n  not run (was waiting for vml repro (pid {first.pid})): a\nto go on:" in err
    repo.write(".go", "")
    assert first.wait(60) == 0
    first.communicate()


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_outputs_that_are_linked_to_the_store(repo: Repo, link: str) -> None:
    repo.run("config", "cache.link", link)
    write(
        repo,
        """
        stages:
          a: {cmd: mkdir d && cp in d/x && cp in out, deps: [in], outs: [out, d]}
          b: {cmd: cat out d/x >> log, deps: [out, d], outs: [{log: {persist: true}}]}
        """,
    )
    for text in ("1", "2", "1", "3"):
        repo.write("in", text)
        states(repo)
        assert (repo.read("out"), repo.files("d").keys()) == (text.encode(), {"x"})
        assert set(states(repo).values()) == {"skipped"}
        clean(repo)
    assert repo.read("log") == b"11221133"
    for path in ("out", "d/x", "log"):
        (repo.path / path).unlink()
    assert set(states(repo).values()) == {"cached"}
    clean(repo)


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_to_the_store_that_no_lock_file_names(repo: Repo, link: str) -> None:
    repo.run("config", "cache.link", link)
    outs = "[{m: {persist: true}}, {d: {persist: true}}]"
    write(repo, f"stages: {{a: {{cmd: mkdir -p d && cat in >> m && cat in >> d/x, outs: {outs}}}}}")
    repo.write("in", "1")
    states(repo)
    (repo.path / "vml.lock").unlink()
    repo.write("in", "2")
    assert states(repo, "--force") == {"a": "ran"}
    assert (repo.read("m"), repo.read("d/x")) == (b"12", b"12")
    clean(repo)


def test_a_persistent_output_that_was_an_object_can_be_written_to(repo: Repo) -> None:
    repo.run("config", "cache.link", "hardlink")
    write(repo, "stages: {a: {cmd: cat in >> d/x; ls -l d > mode, outs: [{d: {persist: true}}, mode]}}")
    repo.write("in", "1")
    repo.write("d/x", "0")
    states(repo)
    for place in (repo.path / ".vml/cache/loose").glob("*/*/*"):
        place.unlink()
    assert (repo.path / "d/x").stat().st_nlink == 1
    assert states(repo, "--force") == {"a": "ran"}
    assert repo.read("mode").split()[2].startswith(b"-rw")
    assert repo.read("d/x") == b"011"


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_that_another_has_made_meanwhile(repo: Repo, link: str) -> None:
    repo.run("config", "cache.link", link)
    write(
        repo,
        "stages: {a: {cmd: sleep 1; echo x >> m, always_changed: true, outs: [{m: {persist: true}}]}}",
    )
    both = [pipelines.start(repo), pipelines.start(repo)]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert repo.read("m") == b"x\nx\n"
    clean(repo)


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
@pytest.mark.parametrize("end", ["cp in out", "exit 1"])
def test_a_command_that_writes_through_a_link_into_the_store_is_told_of(repo: Repo, link: str, end: str) -> None:
    repo.run("config", "cache.link", link)
    repo.write("in", "1")
    repo.write("data/x", "tracked")
    repo.write("data/y", "tracked too")
    repo.run("add", "in", "data")
    write(
        repo,
        f"""
        stages:
          make: {{cmd: sed s/1/2/ in > made, deps: [in], outs: [made]}}
          a: {{cmd: chmod -R u+w data made; echo >> data/x; echo >> made; {end}, deps: [in, data, made], outs: [out]}}
        """,
    )
    err = repo.fails("repro", code=3).err
    assert "its dep data/x (and 1 more file) was written to; it is linked into the store" in err
    assert "vml fsck --repair" in err
    assert sorted(lock(repo)) == ["make"]
    write(repo, "stages: {a: {cmd: exit 1, outs: [out]}}")
    assert "was written to" not in repo.fails("repro", code=3).err  # it does not read them
    repo.write("data/x", "tracked")
    repo.run("fsck", "--repair", ok=False)
    repo.run("checkout", "--force", "data/x")
    write(
        repo,
        """
        stages:
          make: {cmd: sed s/1/2/ in > made, deps: [in], outs: [made]}
          a: {cmd: cp in out, deps: [in, data, made], outs: [out]}
        """,
    )
    assert states(repo) == {"make": "ran", "a": "ran"}
    assert (repo.read("data/x"), repo.read("made")) == (b"tracked", b"2")
    clean(repo)


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_an_output_whose_object_was_written_to_is_made_anew(repo: Repo, link: str) -> None:
    repo.run("config", "cache.link", link)
    write(repo, "stages: {a: {cmd: mkdir d && cp in d/x && cat in in > o, deps: [in], outs: [o, d]}}")
    repo.write("in", "1")
    states(repo)
    for path in ("o", "d/x"):
        (repo.path / path).chmod(0o644)
        with (repo.path / path).open("a") as file:
            file.write("mine")
    assert states(repo) == {"a": "ran"}
    assert (repo.read("o"), repo.read("d/x")) == (b"11", b"1")
    assert kept(repo) == {"o": b"11mine", "d/x": b"1mine"}
    clean(repo)


def test_ignored_files_in_an_output_that_is_not_stored_are_kept(repo: Repo) -> None:
    repo.write(".vmlignore", "*.tmp\n")
    write(repo, "stages: {a: {cmd: mkdir o && cp in o/x, deps: [in], outs: [{o: {cache: false}}]}}")
    repo.write("in", "1")
    states(repo)
    repo.write("o/notes.tmp", "precious")
    repo.write("in", "2")
    assert states(repo) == {"a": "ran"}
    assert kept(repo)["o/notes.tmp"] == b"precious"


UNSTORED = """
    stages:
      a: {cmd: test $(cat in) = 1 && head -c SIZE /dev/zero > o, deps: [in], outs: [{o: {cache: false}}]}
"""


@pytest.mark.parametrize("how", ["large", "by hand", "gone from the store"])
def test_an_output_that_nobody_else_has_is_kept(repo: Repo, how: str) -> None:
    write(repo, UNSTORED.replace("SIZE", "2000000" if how == "large" else "2000"), **{"in": "1"})
    if how == "by hand":
        repo.write("o", bytes(2000))
        repo.run("commit", "a")
    else:
        repo.run("repro")
    if how == "gone from the store":
        shutil.rmtree(repo.path / ".vml/cache")
    before = repo.read("o")
    repo.write("in", "2")
    assert "o is out of the workspace; its bytes are kept as" in repo.fails("repro", code=3).err
    assert kept(repo) == {"o": before}


@pytest.mark.parametrize("where", ["HEAD", "the index"])
def test_an_output_that_git_has_is_not_stored_too(repo: Repo, where: str) -> None:
    write(repo, UNSTORED.replace("SIZE", "2000000"), **{"in": "1"})
    repo.run("repro")
    repo.git("add", "-A")
    if where == "HEAD":
        repo.commit()
        repo.git("rm", "-q", "--cached", "o")
    repo.write("in", "2")
    repo.fails("repro", code=3)
    assert kept(repo) == {}
    if where == "HEAD":
        repo.git("checkout", "-q", "HEAD", "--", "o")
    else:
        repo.git("checkout", "-q", "--", "o")
    repo.write("o", repo.read("o") + b"mine")
    repo.fails("repro", code=3)
    assert kept(repo) == {"o": bytes(2000000) + b"mine"}


@pytest.mark.parametrize("earlier", ["run cache", "lock file"])
def test_a_clone_can_go_back_to_what_only_git_had_of_a_stage(repo: Repo, remote: Path, earlier: str) -> None:
    write(
        repo,
        """
        stages:
          a:
            cmd: cp in a && echo m$(cat in) > m.json && echo a >> .ran
            deps: [in]
            outs: [a]
            metrics: [{m.json: {cache: false}}]
        """,
        **{"in": "1"},
    )
    repo.run("repro")
    repo.write(".gitignore", repo.read(".gitignore") + b".ran\n")
    repo.commit()
    repo.run("push", "--run-cache")
    clone = repo.clone("clone")
    clone.run("pull", *(["--run-cache"] if earlier == "run cache" else []))
    assert states(clone) == {"a": "skipped"}
    clone.write("in", "2")
    assert states(clone) == {"a": "ran"}
    clone.git("checkout", "-q", "in", *([] if earlier == "run cache" else ["vml.lock"]))
    assert states(clone) == {"a": "cached"}
    assert (clone.read("a"), clone.read("m.json")) == (b"1", b"m1\n")


def test_a_renamed_stage_takes_its_outputs_along(repo: Repo) -> None:
    stage = "{cmd: cp in o && cp in p, deps: [in], outs: [o, p]}"
    write(repo, f"stages: {{a: {stage}}}")
    repo.write("in", "1")
    states(repo)
    write(repo, f"stages: {{b: {stage}}}")
    states(repo)
    assert (sorted(lock(repo)), states(repo)) == (["b"], {"b": "skipped"})
    write(repo, "stages: {a: {cmd: cp in p, deps: [in], outs: [p]}, b: {cmd: cp in o, deps: [in], outs: [o]}}")
    states(repo, "a")
    assert {name: sorted(each["outs"]) for name, each in lock(repo).items()} == {"a": ["p"], "b": ["o"]}
    clean(repo)


def test_an_output_that_lock_files_name_twice_goes_to_the_stage_that_makes_it(repo: Repo) -> None:
    def merged(name: str, path: str) -> None:
        """As a merge leaves it: what stage a was recorded with once more, for another one that has `path` for o."""
        held = json.loads(repo.read("vml.lock"))
        entry = json.loads(json.dumps(held["stages"]["a"]).replace('"o"', json.dumps(path)))
        held["stages"][name] = entry
        repo.write("vml.lock", json.dumps(held))

    def problem() -> str:
        result = repo.fails("status", code=3)
        assert "then vml repro" in result.err
        assert repo.fails("repro", "--dry", code=3).err == result.err
        return result.err

    write(repo, "stages: {a: {cmd: cp in o && cp in p, deps: [in], outs: [o, p]}}")
    repo.write("in", "1")
    states(repo)
    merged("gone", "o")
    merged("away", "o/x")
    assert "o, the output of gone, is tracked a second time as the output of a" in problem()
    result = repo.run("repro")
    assert "vml.lock: o is no longer recorded as the output of gone" in result.err
    assert "1 stage up to date" in result.err
    assert sorted(lock(repo)) == ["a"]
    merged("b", "o")
    write(repo, "stages: {b: {cmd: cp in o && cp in p, deps: [in], outs: [o, p]}}")
    problem()
    assert (states(repo), sorted(lock(repo))) == ({"b": "skipped"}, ["b"])
    repo.write("sub/vml.yaml", "stages: {c: {cmd: cp ../in ../o, deps: [../in], outs: [../o]}}")
    write(repo, "stages: {b: {cmd: cp in p, deps: [in], outs: [p]}}")
    (item,) = {json.dumps(each) for each in lock(repo)["b"]["outs"].values()}
    repo.write("sub/vml.lock", f'{{"schema": 1, "stages": {{"c": {{"cmd": [], "outs": {{"../o": {item}}}}}}}}}')
    problem()
    assert set(states(repo).values()) == {"ran"}
    assert sorted(lock(repo)["b"]["outs"]) == ["p"]
    assert sorted(lock(repo, "sub/vml.lock")["c"]["outs"]) == ["../o"]
    assert "/o" in repo.read(".gitignore").decode()
    clean(repo)


def test_who_loses_to_what_goes_itself_keeps_its_output(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: mkdir -p o; cp in o/x, deps: [in], outs: [o/x]}
          b: {cmd: mkdir -p o; cp in o/y, deps: [in], outs: [o/y]}
        """,
        **{"in": "1"},
    )
    states(repo)
    held = json.loads(repo.read("vml.lock"))
    held["stages"]["c"] = json.loads(json.dumps(held["stages"]["a"]).replace('"o/x"', '"o"'))
    held["stages"]["also"] = held["stages"]["a"]
    repo.write("vml.lock", json.dumps(held))
    write(repo, "stages: {a: {cmd: mkdir -p o; cp in o/x, deps: [in], outs: [o/x]}}")
    result = repo.run("repro")
    lost = [line.split(" is no longer")[0] for line in result.err.splitlines() if "is no longer" in line]
    assert lost == ["vml.lock: o", "vml.lock: o/x"]
    assert {name: list(each["outs"]) for name, each in lock(repo).items()} == {"a": ["o/x"], "b": ["o/y"]}


def test_what_a_stage_made_that_is_gone_can_be_released(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: mkdir d && cp in d/x && cp in p && cp in q, deps: [in], outs: [d, p, q]}
          b: {cmd: cp in b, deps: [in], outs: [b]}
        """,
    )
    repo.write("in", "1")
    states(repo)
    assert "it cannot be removed" in repo.fails("rm", "p", code=3).err
    repo.commit()
    write(repo, "stages: {b: {cmd: cp in b, deps: [in], outs: [b], if: false}}")
    assert repo.run("status").out.splitlines() == [
        "nothing changed",
        *(f"{n} is recorded for a, which is no stage any more (vml rm --cached {n} ends tracking it)" for n in "dpq"),
    ]
    assert repo.json("status", "d/x")["left"] == [{"path": "d", "stage": "a"}]
    result = repo.fails("rm", "d/x", code=3)
    assert "d/x lies in d, once the output of the stage a" in result.err
    assert "vml rm --cached d ends tracking it" in result.err
    repo.run("rm", "--cached", "d", "q")
    repo.run("add", "d")
    repo.run("rm", "p")
    assert (sorted(lock(repo)), repo.read("d/x"), repo.read("q")) == (["b"], b"1", b"1")
    assert not (repo.path / "p").exists()
    assert [line for line in repo.read(".gitignore").decode().split() if line.startswith("/")] == ["/b", "/d"]
    repo.write("vml.yaml", "")
    assert [each["path"] for each in repo.json("status")["left"]] == ["b"]
    clean(repo)


def test_a_stage_that_is_gone_and_tracks_nothing_is_no_longer_recorded(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: cp in p; cp in m, deps: [in], outs: [p], metrics: [m: {cache: false}]}
          b: {cmd: cp in b, deps: [in], outs: [b: {cache: false}]}
        """,
        **{"in": "1"},
    )
    states(repo)
    write(repo, "stages: {b: {cmd: cp in b, deps: [in], outs: [b: {cache: false}], if: false}}")
    repo.run("repro")
    assert sorted(lock(repo)) == ["a", "b"]
    repo.run("rm", "p")
    repo.write("vml.yaml", "stages: {}")
    repo.run("repro", "--dry")
    repo.run("repro", "--no-commit")
    assert sorted(lock(repo)) == ["a", "b"]
    assert "vml.lock: a is no longer recorded" in repo.run("repro").err
    assert (lock(repo), repo.read("m")) == ({}, b"1")


def test_what_a_terminal_would_obey_is_shown_as_escapes(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: cp params.yaml o, params: [lr], outs: [o]}}", params_yaml="lr: a\n")
    states(repo)
    repo.write("params.yaml", 'lr: "\\x9b31mRED\\u202e\\x7f"\n')
    shown = [repo.run("status").out, repo.run("repro", "--dry", "--explain").out]
    result = repo.run("repro", "--junit", "j.xml")
    for text in (*shown, result.out, result.err, repo.read("j.xml").decode()):
        assert "RED" in text
        assert not set(text) & set("\x9b\u202e\x7f")


def test_repro_inside_of_a_stage_is_refused(repo: Repo) -> None:
    write(repo, f"stages: {{a: {{cmd: {sys.executable} -m vcs_ml repro, deps: [in], outs: [o]}}}}", **{"in": "1"})
    result = pipelines.start(repo)
    _, said = result.communicate(timeout=30)
    assert result.returncode == 3
    assert "vml repro runs inside a command of the stage a, which it would wait for" in said


def test_a_file_that_two_patterns_match_is_an_error_that_names_both(repo: Repo) -> None:
    write(
        repo,
        """
        stages:
          a: {cmd: cp in ab.txt && cp in a1, deps: [in], outs: ['a*']}
          b: {cmd: cp in 1b.txt, deps: [in], outs: ['*b.txt']}
        """,
    )
    repo.write("in", "1")
    why = "ab.txt matches a* of a, and *b.txt of b too"
    for command in ("repro", "status", "repro --dry", "commit b"):
        assert why in repo.fails(*command.split(), code=3).err
    assert not (repo.path / "vml.lock").exists()
    write(repo, "stages: {a: {cmd: cp in ab.txt, deps: [in], outs: ['a*'], metrics: ['*b.txt']}}")
    assert "ab.txt matches a* of a, and *b.txt of a too" in repo.fails("repro", code=3).err
    write(repo, "stages: {a: {cmd: cp in ab.txt && cp in a1, deps: [in], outs: ['a?.txt', 'a?']}}")
    assert states(repo) == {"a": "ran"}


def test_what_links_in_a_dep_lead_to_is_read_too(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: 'cat k/file k/dir/x > o', deps: [k], outs: [o]}}")
    for path in ("k/own", "file", "far/x", "far/deep/y"):
        repo.write(path, "1")
    (repo.path.parent / "else").write_text("1")
    for link, target in {
        "k/file": "../file",
        "k/dir": "../far",
        "k/inner": "own",
        "k/up": "..",
        "k/self": "self",
        "k/none": "../none",
        "k/made": "../o",
        "far/back": "../k",
        "far/deep/out": "../../../else",
        "far/deep/abs": str(repo.path.parent / "else"),
    }.items():
        (repo.path / link).symlink_to(target)
    assert (states(repo), whys(repo)) == ({"a": "ran"}, {"a": []})
    outside = str(repo.path.parent / "else")
    assert sorted(lock(repo)["a"]["deps"]) == sorted(["k", "file", "far", "../else", outside])
    for path in ("file", "far/x", "far/deep/y"):
        repo.write(path, "2")
        assert whys(repo)["a"] == [f"{path.split('/')[0]}: changed"]
    (repo.path.parent / "else").write_text("2")
    assert whys(repo)["a"] == ["../else: changed", f"{outside}: changed"]
    repo.write("none", "now it is there")
    assert whys(repo)["a"] == ["none: new dep"]
    (repo.path / "k/dir").unlink()
    repo.write("k/dir/x", "3")
    assert "far: no longer a dep" in whys(repo)["a"]
    assert whys(repo)["a"] == []


def test_a_pattern_leaves_the_files_of_git_and_vml_where_they_are(repo: Repo) -> None:
    write(repo, "stages: {a: {cmd: cp in o/x, deps: [in], outs: ['o/*']}}")
    repo.write("in", "1")
    for name in (".gitattributes", ".vmlignore"):
        repo.write(f"o/{name}", "# mine\n")
    assert (states(repo), list(lock(repo)["a"]["outs"])) == ({"a": "ran"}, ["o/x"])
    assert repo.read("o/.vmlignore") == b"# mine\n"


def test_others_get_in_while_a_command_runs(repo: Repo) -> None:
    process = held(repo)
    repo.write("data", "1")
    repo.run("add", "data")
    repo.write(".go", "")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert repo.changes() == {}
    assert sorted(lock(repo)) == ["a"]


def test_a_worktree_shares_the_store_and_the_runs(chain: Repo) -> None:
    chain.write(".gitignore", ".ran\n")
    chain.commit()
    tree = chain.beside("tree")
    chain.git("worktree", "add", "-q", str(tree.path))
    states(chain)
    assert states(tree) == {"clean": "cached", "train": "cached"}
    assert tree.read("model") == b"a\nb\n"
    assert ran(tree) == []
    subprocess.run(["git", "-C", str(tree.path), "status"], check=True, capture_output=True)
