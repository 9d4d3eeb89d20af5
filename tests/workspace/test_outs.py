"""Recording outputs: stored before they are named, ignored by Git before that, and one flush for several stages."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests import oscalls
from tests.conftest import Repo
from tests.stages import drop, lock_of, project_of, record
from vcs_ml import git
from vcs_ml.errors import UserError
from vcs_ml.progress import SILENT
from vcs_ml.store import objects
from vcs_ml.workspace import opening, tracked
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.lockfile import Flags, StageRecord
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.outs import Recording


def test_a_flush_that_fails_is_forgotten(repo: Repo) -> None:
    project = project_of(repo)
    store = opening.open_store(project)
    repo.write("out", "1")
    with opening.changing(project):
        gauge = Gauge(project, store, tracked.in_workspace(project), SILENT)
        with Recording(project, store, gauge, LockFiles(project), SILENT) as recording:
            recording.stage("vml.lock", "a", StageRecord(("x",), {}, {}, recording.outs({"out": Flags()})))
            (repo.path / "vml.lock").mkdir()
            with pytest.raises(UserError, match="no regular file"):
                recording.flush()
            (repo.path / "vml.lock").rmdir()
            assert not recording.pending
        assert not (repo.path / "vml.lock").exists()


def test_a_stage_that_cannot_be_written_is_not_written_with_another(repo: Repo) -> None:
    project = project_of(repo)
    store = opening.open_store(project)
    repo.write("w/out", "1")
    repo.write("other", "2")
    (repo.path / "w/.gitignore").symlink_to("nowhere")
    with opening.changing(project):
        gauge = Gauge(project, store, tracked.in_workspace(project), SILENT)
        with Recording(project, store, gauge, LockFiles(project), SILENT) as recording:
            recording.stage("vml.lock", "a", StageRecord(("x",), {}, {}, recording.outs({"w/out": Flags()})))
            recording.stage("vml.lock", "b", StageRecord(("x",), {}, {}, recording.outs({"other": Flags()})))
            lost = recording.flush_each()
            assert lost.keys() == {("vml.lock", "a")}
            assert gauge.pointers.keys() == {"other"}
            recording.stage("vml.lock", "c", StageRecord(("x",), {}, {}, {}))
    assert lock_of(repo).stages.keys() == {"b", "c"}


def test_one_flush_for_a_chain(repo: Repo) -> None:
    project = project_of(repo)
    store = opening.open_store(project)
    with opening.changing(project):
        gauge = Gauge(project, store, tracked.in_workspace(project), SILENT)
        with Recording(project, store, gauge, LockFiles(project), SILENT) as recording:
            assert not recording.pending
            before = "start"
            repo.write(before, "0")
            for i in range(20):
                repo.write(f"step{i}", f"{i}")
                outs = recording.outs({f"step{i}": Flags()})
                item = gauge.measure(before)
                assert item is not None
                recording.stage("vml.lock", f"s{i}", StageRecord((f"cp {before} step{i}",), {before: item}, {}, outs))
                before = f"step{i}"
            assert recording.pending
            assert not (repo.path / "vml.lock").exists()
            recording.flush()
            assert not recording.pending
            for i in range(20):
                out = lock_of(repo).stages[f"s{i}"].outs[f"step{i}"]
                assert out.oid in store
                if i:
                    assert lock_of(repo).stages[f"s{i}"].deps == {
                        f"step{i - 1}": lock_of(repo).stages[f"s{i - 1}"].outs[f"step{i - 1}"].item
                    }
            repo.write("more", "more")
            recording.stage("sub/vml.lock", "more", StageRecord(outs=recording.outs({"more": Flags()})))
            (repo.path / "sub").mkdir()
    repo.commit()
    assert repo.json("status")["clean"]
    assert list(lock_of(repo, "sub/vml.lock").stages["more"].outs) == ["more"]


def test_the_gauge_knows_at_once_which_stage_tracks_what(repo: Repo) -> None:
    project = project_of(repo)
    for path in ("old", "x", "y"):
        repo.write(path, path)
    record(repo, "first", ["old", "x"])
    with opening.changing(project):
        gauge = Gauge(project, opening.open_store(project), tracked.in_workspace(project), SILENT)
        with Recording(project, opening.open_store(project), gauge, LockFiles(project), SILENT) as recording:

            def owners(stage: str, *paths: str, cache: bool = True) -> dict[str, str]:
                outs = recording.outs(dict.fromkeys(paths, Flags(cache=cache)))
                recording.stage("vml.lock", stage, StageRecord(outs=outs))
                return {path: each.stage for path, each in gauge.pointers.items()}

            assert owners("second", "x") == {"old": "first", "x": "second"}
            assert owners("first", "y") == {"y": "first", "x": "second"}
            assert owners("first") == {"x": "second"}
            assert owners("second", "x", cache=False) == {}
            assert owners("first", "x", "y") == {"x": "first", "y": "first"}
            recording.stage("vml.lock", "first", None)
            assert gauge.pointers == {}


def test_an_error_names_nothing(repo: Repo) -> None:
    project = project_of(repo)
    store = opening.open_store(project)
    repo.write("good", "1")
    with opening.changing(project), pytest.raises(UserError, match="the output bad was not made"):
        gauge = Gauge(project, store, {}, SILENT)
        with Recording(project, store, gauge, LockFiles(project), SILENT) as recording:
            outs = recording.outs({"good": Flags()})
            recording.stage("vml.lock", "one", StageRecord(outs=outs))
            recording.outs({"bad": Flags()})
    assert outs["good"].oid not in store
    assert not (repo.path / "vml.lock").exists()
    assert not (repo.path / ".gitignore").exists()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", ".git/x", "x.vml", "vml.lock", "link/x"])
def test_outputs_lie_in_the_project(repo: Repo, path: str, tmp_path: Path) -> None:
    (repo.path / "link").symlink_to(tmp_path)
    (tmp_path / "x").write_text("x")
    with pytest.raises(UserError):
        record(repo, "train", [path])
    assert not (repo.path / "vml.lock").exists()


def test_a_directory_made_anew_is_what_is_there(repo: Repo, remote: Path) -> None:
    for name in ("a", "b", "c"):
        repo.write(f"out/{name}", name)
    record(repo, "train", ["out"])
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    for part in (clone, repo.clone("never")):
        if part is clone:
            part.run("pull", "out/a")
        part.write("out/a", "anew")
        assert record(part, "train", ["out"])["out"].nfiles == 1
        part.commit()
        assert part.json("status")["clean"]
        part.run("checkout")
        assert part.files("out") == {"a": b"anew"}


def test_files_become_directories_and_back(repo: Repo) -> None:
    repo.write("out", "file")
    file = record(repo, "train", ["out"])["out"]
    (repo.path / "out").unlink()
    repo.write("out/a", "directory")
    tree = record(repo, "train", ["out"])["out"]
    assert (file.kind, tree.kind) == ("file", "tree")
    (repo.path / "out/a").unlink()
    (repo.path / "out").rmdir()
    repo.write("out", "file")
    assert record(repo, "train", ["out"])["out"] == file
    repo.commit()
    assert repo.json("status")["clean"]


def test_gitignore_follows_the_outputs(repo: Repo) -> None:
    for path in ("a", "sub/b", "sub/c"):
        repo.write(path, path)
    record(repo, "train", ["a", "sub/b"])
    assert repo.read(".gitignore") == b"# >>> vml\n/a\n# <<< vml\n"
    assert repo.read("sub/.gitignore") == b"# >>> vml\n/b\n# <<< vml\n"
    record(repo, "train", ["a", "sub/c"])
    assert repo.read("sub/.gitignore") == b"# >>> vml\n/c\n# <<< vml\n"
    record(repo, "other", ["sub/c"], source="sub/vml.lock")
    drop(repo, "train")
    assert not (repo.path / ".gitignore").exists()
    # What another stage has taken over stays out of Git.
    assert repo.read("sub/.gitignore") == b"# >>> vml\n/c\n# <<< vml\n"


def test_lock_files_are_staged_where_that_is_set(repo: Repo) -> None:
    repo.run("config", "core.autostage", "true")
    repo.write("a", "a")
    record(repo, "train", ["a"])
    assert repo.git("diff", "--cached", "--name-only").split() == [".gitignore", "vml.lock"]


def test_what_others_wrote_meanwhile_stays(repo: Repo) -> None:
    project = project_of(repo)
    locks = LockFiles(project)
    for path in ("a", "b"):
        repo.write(path, path)
    assert not locks.read("vml.lock").stages
    record(repo, "one", ["a"])
    locks.write({"vml.lock": {"two": StageRecord(("x",))}})
    assert list(lock_of(repo).stages) == ["one", "two"]
    record(repo, "three", ["b"])
    locks.write({"vml.lock": {"two": None}})
    assert list(lock_of(repo).stages) == ["one", "three"]


def test_an_unchanged_output_is_not_stored_again(repo: Repo) -> None:
    repo.write("big", b"x" * 1_000_000)
    first = record(repo, "train", ["big"])["big"]
    place = opening.open_store(project_of(repo)).loose_path(objects.blob(first.oid[:-1]))
    inode = place.stat().st_ino
    assert record(repo, "train", ["big"])["big"] == first
    assert place.stat().st_ino == inode


def test_killed_anywhere_nothing_is_named_that_is_not_stored(repo: Repo, tmp_path: Path, soak: int) -> None:
    def run(version: str) -> None:
        repo.write("table", version)
        for i in range(3):
            repo.write(f"sub/model/{i}", f"{version} {i}")
        record(repo, "train", ["table", "sub/model"])

    run("first")
    with oscalls.watched(oscalls.ignore) as names:
        run("second")
    rng = random.Random(len(names))
    for n in rng.sample(range(len(names)), min(soak, len(names))):
        drop(repo, "train")

        def work(n: int = n) -> None:
            with oscalls.watched(oscalls.kill_at(n)):
                run(f"version {n}")

        assert oscalls.end(oscalls.in_child(work, tmp_path / "log")), (tmp_path / "log").read_text()
        project = project_of(repo)
        store = opening.open_store(project)
        for each in tracked.in_workspace(project).values():
            assert not store.missing(each.oid)
            assert git.ignored(project.git, [each.path])
        run("after")
        assert repo.json("status")["data"] == []
        assert repo.json("status")["missing"] == []
    repo.commit()
    assert repo.json("status")["clean"]
    assert repo.run("fsck").out.endswith("no damage found\n")
