"""Outputs of stages are tracked data: every command answers for them as for what a pointer names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.stages import drop, lock_of, record
from vcs_ml.errors import UserError
from vcs_ml.workspace.lockfile import Flags


def made(repo: Repo) -> str:
    """A project with a tracked table, and a stage that made a directory, a file and an executable from it."""
    repo.write("table.csv", "a,b\n1,2\n")
    repo.run("add", "table.csv")
    for i in range(12):
        repo.write(f"model/part/{i}", f"weights {i}")
    repo.write("report.txt", "good")
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    record(repo, "train", ["model", "report.txt", "run.sh"], ["table.csv"])
    return repo.commit("made")


def test_status_knows_them(repo: Repo) -> None:
    repo.write("report.txt", "good")
    record(repo, "train", ["report.txt"])
    assert repo.read(".gitignore") == b"# >>> vml\n/report.txt\n# <<< vml\n"
    assert repo.json("status")["pointers"] == [{"path": "report.txt", "change": "new", "staged": False}]
    made(repo)
    assert repo.json("status")["clean"]
    assert not repo.git("status", "--porcelain")
    repo.write("report.txt", "bad")
    repo.write("model/new", "x")
    (repo.path / "model/part/0").unlink()
    assert repo.changes() == {"report.txt": "modified", "model/new": "added", "model/part/0": "deleted"}
    assert repo.changes("model/part") == {"model/part/0": "deleted"}
    assert "(vml commit PATH records it" in repo.run("status").out
    assert "vml commit keeps them" in repo.fails("checkout", "report.txt", code=3).err


def test_what_is_to_be_committed_is_told_by_output(repo: Repo) -> None:
    made(repo)

    def uncommitted(*paths: str) -> dict[str, str]:
        return {each["path"]: each["change"] for each in repo.json("status", *paths)["pointers"]}

    repo.write("report.txt", "better")
    repo.write("new.txt", "new")
    record(repo, "train", ["model", "report.txt", "new.txt"], ["table.csv"])
    assert uncommitted() == {"report.txt": "modified", "new.txt": "new", "run.sh": "deleted"}
    assert uncommitted("report.txt") == {"report.txt": "modified"}
    repo.git("add", "vml.lock")
    assert all(each["staged"] for each in repo.json("status")["pointers"])
    repo.commit()
    record(repo, "train", ["model", "report.txt", "new.txt"])  # without its dependency: no output differs
    assert uncommitted() == {"vml.lock": "modified"}
    lines = repo.read("vml.lock")
    repo.write("vml.lock", b"<<<<<<< ours\n" + lines)
    assert "conflict markers" in repo.fails("status", code=3).err
    (repo.path / "vml.lock").unlink()
    assert uncommitted() == {"model": "deleted", "new.txt": "deleted", "report.txt": "deleted"}


def test_to_a_remote_and_back(repo: Repo, remote: Path) -> None:
    made(repo)
    assert {each["path"] for each in repo.json("status")["not_pushed"]} == {
        "table.csv",
        "model",
        "report.txt",
        "run.sh",
    }
    repo.run("push")
    assert repo.json("status", "--remote", "")["not_pushed"] == []
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.files("model") == repo.files("model")
    assert clone.read("report.txt") == b"good"
    assert (clone.path / "run.sh").stat().st_mode & 0o100
    assert clone.json("status")["clean"]
    assert clone.json("status")["not_pushed"] == []
    (clone.path / "model/part/3").unlink()
    clone.run("checkout", "model")
    assert clone.files("model") == repo.files("model")
    assert clone.run("fsck").out.endswith("no damage found\n")
    part = repo.clone("part")
    part.run("pull", "model/part/3")
    assert part.files("model") == {"part/3": b"weights 3"}


def test_between_revisions(repo: Repo) -> None:
    first = made(repo)
    repo.write("model/part/3", "other weights")
    repo.write("report.txt", "better")
    record(repo, "train", ["model", "report.txt", "run.sh"], ["table.csv"])
    second = repo.commit()
    expected = ["model/part/3", "report.txt"]
    for revisions in ((first, second), (first,)):
        assert [each["path"] for each in repo.json("diff", *revisions)["modified"]] == expected
    repo.git("checkout", "-q", first)
    repo.run("checkout")
    assert (repo.read("model/part/3"), repo.read("report.txt")) == (b"weights 3", b"good")
    repo.run("checkout", "--rev", second, "report.txt")
    assert repo.changes() == {"report.txt": "behind"}
    listed = {each["path"]: each for each in repo.json("ls", "--rev", second)["entries"]}
    assert listed["model"]["nfiles"] == 12
    assert listed["report.txt"]["stage"] == "train"
    assert "stage" not in listed["table.csv"]
    assert {each["path"] for each in repo.json("du")["paths"]} == {"table.csv", "model", "report.txt", "run.sh"}
    assert repo.json("du", "--all-commits")["history"]["versions"] == 6


def test_git_does_not_get_them_when_they_come_back(repo: Repo) -> None:
    repo.write("out/model.bin", "weights")
    repo.write("out/deep/part/0", "weights")
    record(repo, "train", ["out/model.bin", "out/deep"])
    repo.commit()
    lines = repo.read("out/.gitignore")
    shutil.rmtree(repo.path / "out")
    repo.run("checkout")
    assert repo.read("out/.gitignore") == lines
    repo.git("add", "-A")
    assert not repo.git("status", "--porcelain")


def test_where_no_lock_names_them_they_go(repo: Repo) -> None:
    first = repo.commit()
    made(repo)
    repo.write("notes", "untracked")
    repo.git("checkout", "-q", first)
    repo.run("checkout")
    assert sorted(path.name for path in repo.path.iterdir()) == [".git", ".vml", "notes"]


def test_gc_keeps_what_locks_name(repo: Repo, remote: Path) -> None:
    made(repo)
    repo.write("report.txt", "better")
    record(repo, "train", ["model", "report.txt", "run.sh"], ["table.csv"])
    repo.write("report.txt", "never committed")
    record(repo, "train", ["model", "report.txt", "run.sh"], ["table.csv"])
    repo.write("report.txt", "best")
    record(repo, "train", ["model", "report.txt", "run.sh"], ["table.csv"])
    repo.git("stash")
    repo.run("gc", "--force", "--include-unpushed")
    repo.git("stash", "pop")
    assert repo.run("fsck").out.endswith("no damage found\n")
    (repo.path / "report.txt").unlink()
    repo.run("checkout")
    assert repo.read("report.txt") == b"best"
    damaged = repo.read("vml.lock").replace(b'"schema": 1', b'"schema": 2')
    repo.write("vml.lock", damaged)
    repo.run("gc", "--force", "--include-unpushed")
    repo.write("vml.lock", damaged.replace(b'"schema": 2', b'"schema": 1'))
    assert repo.run("fsck").out.endswith("no damage found\n")
    repo.run("push")
    repo.commit()
    assert "not wholly there" not in repo.run("gc", "--remote", "origin").err


def test_fsck_says_which_lock_file_is_broken(repo: Repo) -> None:
    made(repo)
    repo.write("vml.lock", "{")
    result = repo.run("fsck", ok=False)
    assert result.code == 1
    assert "pointer: vml.lock: vml.lock: not valid JSON" in result.out


def test_only_the_stage_changes_them(repo: Repo) -> None:
    made(repo)
    repo.write("vml.yaml", "stages: {train: {cmd: x, outs: [model, report.txt, {metrics.json: {cache: false}}]}}")
    for command in (
        ("add", "report.txt"),
        ("add", "model/part/3"),
        ("add", "--group", "g", "model"),
        ("rm", "report.txt"),
        ("rm", "--cached", "model/part/3"),
        ("mv", "report.txt", "other.txt"),
        ("mv", "model/part/3", "model/part/99"),
    ):
        result = repo.fails(*command, code=3)
        assert "is the output of the stage train" in result.err
        assert "vml.yaml" in result.err
    repo.write("outer/deep/out", "x")
    record(repo, "deep", ["outer/deep/out"])
    repo.write("outer/other", "x")
    assert "contains outer/deep/out, the output of" in repo.fails("add", "outer", code=3).err
    assert "lies inside model" in repo.fails("mv", "table.csv", "model/table.csv", code=3).err
    assert "is a lock file" in repo.fails("add", "vml.lock", code=3).err
    repo.write("else/vml.yaml", "")
    assert "is a file of stages" in repo.fails("add", "else/vml.yaml", code=3).err


def test_commit_records_what_is_there(repo: Repo) -> None:
    made(repo)
    before = lock_of(repo).stages["train"]
    repo.write("report.txt", "edited")
    repo.write("model/part/3", "edited")
    repo.write("model/part/12", "new")
    repo.write("table.csv", "a\n")
    done = repo.run("commit", "report.txt", "model/part/3")
    assert "git add vml.lock" in done.err
    assert repo.changes() == {"model/part/12": "added", "table.csv": "modified"}
    repo.run("commit")
    assert repo.json("status")["data"] == []
    after = lock_of(repo).stages["train"]
    assert after._replace(outs={}) == before._replace(outs={})
    assert after.outs["run.sh"] == before.outs["run.sh"]
    assert after.outs["model"].nfiles == 13
    assert not (repo.path / "report.txt.vml").exists()
    repo.commit()
    for path in ("report.txt", "model/part/3"):
        (repo.path / path).unlink()
    repo.run("checkout")
    assert (repo.read("report.txt"), repo.read("model/part/3")) == (b"edited", b"edited")


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links(repo: Repo, link: str) -> None:
    made(repo)
    repo.run("config", "--local", "cache.link", link)
    assert "relinked" in repo.run("checkout", "--relink").err
    repo.run("unprotect", "report.txt", "model")
    repo.write("report.txt", "mine now")
    assert repo.changes() == {"report.txt": "modified"}
    repo.run("commit")
    assert repo.json("status")["data"] == []
    assert repo.run("fsck").out.endswith("no damage found\n")


def test_git_has_what_is_not_cached(repo: Repo, remote: Path) -> None:
    repo.write("metrics.json", "{}")
    repo.write("model", "weights")
    record(repo, "train", {"metrics.json": Flags(cache=False), "model": Flags()})
    assert repo.read(".gitignore") == b"# >>> vml\n/model\n# <<< vml\n"
    repo.commit()
    repo.write("metrics.json", "{1}")
    assert repo.json("status")["clean"]
    assert [each["path"] for each in repo.json("ls")["entries"]] == ["model"]
    record(repo, "train", {"metrics.json": Flags(), "model": Flags(cache=False)})
    assert repo.read(".gitignore") == b"# >>> vml\n/metrics.json\n# <<< vml\n"
    drop(repo, "train")
    assert not (repo.path / ".gitignore").exists()


def test_what_no_remote_gets(repo: Repo, remote: Path) -> None:
    repo.write("cache", "large")
    repo.write("model", "weights")
    record(repo, "train", {"cache": Flags(push=False), "model": Flags()})
    repo.commit()
    assert [each["path"] for each in repo.json("status")["not_pushed"]] == ["model"]
    assert repo.json("push")["roots"] == 1
    assert repo.json("push", "--all-commits", "--check")["roots"] == 0
    assert repo.json("status", "--remote", "")["not_pushed"] == []
    clone = repo.clone("clone")
    assert "left out: cache (no remote gets it, its stage train makes it)" in clone.run("pull").err
    assert clone.read("model") == b"weights"
    found = clone.json("status")
    assert (found["clean"], found["unmade"]) == (True, [{"path": "cache", "stage": "train"}])
    assert "cache was not made here" in clone.run("status").out
    assert "left out: cache" in clone.run("checkout").err
    assert "left out: cache" in clone.run("pull", "cache").err
    assert "left out: cache" in repo.run("push", "cache").err
    assert "left out" not in repo.run("push").err
    for each in (repo, clone):
        assert each.run("fsck").out.endswith("no damage found\n")
    # Where it was made, it comes and goes as everything else.
    (repo.path / "cache").unlink()
    assert repo.changes() == {"cache": "deleted"}
    repo.run("checkout")
    assert repo.read("cache") == b"large"


def test_what_one_remote_gets(repo: Repo, remote: Path, tmp_path: Path) -> None:
    repo.run("remote", "add", "vault", str(tmp_path / "vault"))
    repo.write("private", "secret")
    repo.write("model", "weights")
    record(repo, "train", {"private": Flags(remote="vault"), "model": Flags()})
    repo.commit()
    assert repo.json("push")["roots"] == 1
    assert repo.json("push", "-r", "vault")["roots"] == 2
    assert repo.json("status")["not_pushed"] == []
    clone = repo.clone("clone")
    assert "left out: private (it belongs on the remote vault: -r vault)" in repo.run("push").err
    assert "left out: private (it belongs on the remote vault: -r vault)" in clone.run("pull").err
    assert not (clone.path / "private").exists()
    assert "Not in the workspace:\n  (vml pull -r vault brings it)" in clone.run("status").out
    (clone.path / "model").unlink()
    assert "Not in the workspace:\n  (vml pull -r vault brings it)" in clone.run("status").out
    clone.write("vml.yaml", "stages: {b: {cmd: x, deps: [private]}}")
    assert "hint: vml pull -r vault private brings it" in clone.fails("repro", "b", code=3).err
    clone.run("pull", "-r", "vault")
    assert clone.read("private") == b"secret"


def test_a_remote_that_is_not_there(repo: Repo, remote: Path) -> None:
    repo.write("private", "secret")
    record(repo, "train", {"private": Flags(remote="nope")})
    repo.commit()
    warning = (
        "warning: private goes to the remote nope only, which is not set up here (here are origin)\nhint: vml remote"
    )
    for command in ("push", "status", "pull"):
        err = repo.run(command).err
        assert warning in err
        assert "-r nope" not in err
    assert "-r nope" not in repo.clone("clone").run("pull").err


def test_overlaps_name_both_files(repo: Repo) -> None:
    made(repo)
    lock = repo.read("vml.lock")
    content = json.loads(lock)
    outs = content["stages"]["train"]["outs"]

    def broken(source: str = "vml.lock", **more: str) -> str:
        repo.write("vml.lock", lock)
        other = {"schema": 1, "stages": {"other": {"cmd": [], "outs": {name: outs[one] for name, one in more.items()}}}}
        stages = content["stages"] | other["stages"] if source == "vml.lock" else other["stages"]
        repo.write(source, json.dumps({"schema": 1, "stages": stages}))
        result = repo.fails("checkout", code=3)
        assert result.err == repo.fails("status", code=3).err
        assert repo.files("model")
        if source != "vml.lock":
            (repo.path / source).unlink()
        return result.err

    assert "table.csv, the output of other, is tracked a second time by itself (table.csv.vml)" in broken(
        **{"table.csv": "report.txt"}
    )
    assert "lies in model, which is tracked as the output of train" in broken(**{"model/x": "report.txt"})
    error = broken("sub/vml.lock", **{"../model": "model"})
    assert "vml.lock: model, the output of train, is tracked a second time as the output of sub/vml.yaml:other" in error
    assert "(sub/vml.lock)" in error


def test_what_lies_below_an_output_is_data(repo: Repo) -> None:
    repo.write("deep/data", "1")
    repo.run("add", "deep/data")
    with pytest.raises(UserError, match="deep contains deep/data, which is tracked by itself"):
        record(repo, "train", ["deep"])
    repo.run("rm", "--cached", "deep/data")
    pointer = b'{"hash": "xxh128:%s", "kind": "file", "path": "data", "schema": 1, "size": 1}' % (b"0" * 32)
    record(repo, "train", ["deep"])
    repo.write("deep/data.vml", pointer)
    repo.write("deep/more/vml.lock", "{")
    assert repo.changes() == {"deep/data.vml": "added", "deep/more/vml.lock": "added"}
    assert "the output of the stage train" in repo.fails("rm", "deep/data", code=3).err
    first = repo.commit()
    repo.git("add", "-f", "deep/data.vml")
    assert "deep, the output of train, holds deep/data, which is tracked" in repo.fails("status", code=3).err
    repo.commit()
    assert [each["path"] for each in repo.json("ls", "--rev", first)["entries"]] == ["deep"]
    assert "deep/data.vml" in repo.fails("ls", "--rev", "HEAD", code=3).err


def test_a_strangers_lock_file_leads_nowhere(repo: Repo, tmp_path: Path) -> None:
    repo.write("real", "x")
    record(repo, "train", ["real"])
    lock = repo.read("vml.lock")
    (repo.path / "link").symlink_to(tmp_path)
    repo.write("vml.lock", lock.replace(b'"real"', b'"link/x"'))
    assert "link is a symbolic link" in repo.fails("checkout", code=3).err
    for path in ("../x", "/x", ".git/hooks/pre-commit", ".vml/config.toml", "a/../../x"):
        repo.write("vml.lock", lock.replace(b'"real"', json.dumps(path).encode()))
        assert "vml.lock: stage 'train', out" in repo.fails("checkout", code=3).err
    assert not (tmp_path / "x").exists()


def test_a_lock_file_that_is_found_late(repo: Repo) -> None:
    # The directory is searched before the lock file that names it is met.
    repo.write("a/deep/x", "1")
    repo.write("z/.keep", "")
    record(repo, "make", ["a"], source="z/vml.lock")
    repo.write("a/x.vml", "{")
    repo.write("a/deep/vml.lock", (repo.path / "z/vml.lock").read_bytes().replace(b"../a", b"y"))
    repo.write("b/vml.lock", (repo.path / "z/vml.lock").read_bytes().replace(b"../a", b"c").replace(b'"make"', b'"b"'))
    for options in ([], ["--refresh"]):
        data = repo.json("status", *options)["data"]
        found = {each["path"]: each["change"] for each in data}
        assert found == {"a/x.vml": "added", "a/deep/vml.lock": "added", "b/c": "absent"}


def test_an_output_may_lie_beside_its_lock_file(repo: Repo) -> None:
    repo.write("data/pre/x", "1")
    repo.write("pipelines/.keep", "")
    record(repo, "prepare", ["data/pre"], source="pipelines/vml.lock")
    assert b'"../data/pre"' in repo.read("pipelines/vml.lock")
    repo.commit()
    assert repo.json("status")["clean"]
    assert "is the output of the stage pipelines/vml.yaml:prepare" in repo.fails("add", "data/pre/x", code=3).err
    # The directory moves with its stages.
    (repo.path / "sub").mkdir()
    for name in ("data", "pipelines"):
        (repo.path / name).rename(repo.path / "sub" / name)
    assert [each["path"] for each in repo.json("ls")["entries"]] == ["sub/data/pre"]
    assert repo.json("status")["missing"] == []
    repo.run("checkout")
    assert repo.changes() == {}
