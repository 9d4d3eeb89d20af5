"""vml gc: what is needed stays, whoever needs it; the rest goes, and a kill loses nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests import oscalls
from tests.conftest import Repo
from vcs_ml.cli import main
from vcs_ml.fs import tmp_name
from vcs_ml.rows import spill
from vcs_ml.store import objects, records
from vcs_ml.workspace import collect as collect_module
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project


def stored(repo: Repo, content: str) -> bool:
    """Whether the store has these bytes, whole."""
    project = Project.find(repo.path, os.environ)
    return opening.open_store(project).holds(objects.blob(project.algorithm.digest(content.encode())))


def collect(repo: Repo, *args: str) -> None:
    repo.run("gc", "--force", "--include-unpushed", *args)


def version(repo: Repo, content: str, path: str = "one") -> None:
    """A new version of a tracked file, not committed."""
    repo.write(path, content)
    repo.run("add", path)


def test_a_dry_run_changes_nothing(repo: Repo) -> None:
    version(repo, "first")
    version(repo, "second")
    before = repo.files(".vml/cache")
    found = repo.json("gc", "--include-unpushed")
    assert (found["dry_run"], found["objects"], found["loose"], found["bytes"]) == (True, 1, 1, 5)
    assert "1 object, 5 B" in repo.run("gc", "--include-unpushed").err
    assert repo.files(".vml/cache") == before
    found = repo.json("gc", "--include-unpushed", "--force")
    assert (found["dry_run"], found["objects"]) == (False, 1)
    assert not stored(repo, "first")
    assert stored(repo, "second")
    assert "nothing to remove" in repo.run("gc").err


def test_what_no_remote_has_stays(repo: Repo, remote: Path) -> None:
    version(repo, "pushed")
    repo.run("push")
    version(repo, "not pushed")
    version(repo, "now")
    found = repo.json("gc", "--force")
    assert found["objects"] == 1
    assert found["unpushed"] == {"objects": 1, "bytes": 10}
    assert not stored(repo, "pushed")
    assert stored(repo, "not pushed")
    collect(repo)
    assert not stored(repo, "not pushed")
    assert stored(repo, "now")


def test_commits_of_branches_tags_stashes_and_reflogs_are_needed(repo: Repo) -> None:
    version(repo, "in history")
    repo.commit()
    repo.git("checkout", "-q", "-b", "side")
    version(repo, "on a branch")
    repo.commit()
    repo.git("checkout", "-q", "main")
    version(repo, "tagged")
    repo.commit()
    repo.git("tag", "v1")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    version(repo, "stashed")
    repo.git("stash")
    version(repo, "amended away")
    repo.commit()
    version(repo, "amended")
    repo.git("commit", "-q", "--amend", "-a", "-m", "x")
    version(repo, "never committed")
    version(repo, "staged")
    repo.git("add", "one.vml")
    version(repo, "now")
    collect(repo)
    needed = ["in history", "on a branch", "tagged", "stashed", "amended away", "amended", "staged", "now"]
    assert [content for content in needed if not stored(repo, content)] == []
    assert not stored(repo, "never committed")


def test_only_the_last_days_or_commits(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, content in ((90, "a"), (50, "b"), (20, "c"), (1, "d")):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{int(time.time()) - age * 86400} +0000")
        version(repo, content)
        repo.commit()
    version(repo, "old, but at a tip", "other")
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"{int(time.time()) - 200 * 86400} +0000")
    repo.commit()
    for path in repo.path.glob(".git/logs/**/*"):
        if path.is_file():
            path.unlink()
    # A commit keeps what it replaced, too: that is what stood in the commit before it.
    for args, kept in (
        (["--keep-days", "60"], "abcd"), (["--keep-days", "30"], "bcd"),
        (["--keep-last", "2"], "cd"), (["--keep-last", "1"], "d"),
    ):  # fmt: skip
        collect(repo, *args)
        assert [content for content in "abcd" if stored(repo, content)] == list(kept)
    assert stored(repo, "old, but at a tip")


def test_every_working_tree_is_needed(repo: Repo, tmp_path: Path) -> None:
    version(repo, "main")
    repo.commit()
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = Repo(tmp_path / "linked", repo._capture)
    version(linked, "only there, not committed")
    version(linked, "staged there", "two")
    linked.git("add", "two.vml")
    (linked.path / "two.vml").unlink()
    collect(repo)
    assert stored(repo, "only there, not committed")
    assert stored(repo, "staged there")
    shutil.rmtree(linked.path)
    refused = repo.fails("gc", "--force", code=3)
    assert "git worktree prune" in refused.err
    repo.git("worktree", "prune")
    collect(repo)
    assert not stored(repo, "only there, not committed")


@pytest.mark.parametrize("spoil", ["<<<<<<< ours\n{}=======\n{}>>>>>>> theirs\n", '{{"schema": 99, "was": [{}]}}'])
def test_a_pointer_that_cannot_be_read_still_counts(repo: Repo, spoil: str) -> None:
    version(repo, "in a broken pointer")
    pointer = (repo.path / "one.vml").read_text()
    version(repo, "other")
    repo.write("one.vml", spoil.format(pointer, (repo.path / "one.vml").read_text()))
    collect(repo)
    assert stored(repo, "in a broken pointer")


def test_what_force_replaced_stays_for_a_month(repo: Repo) -> None:
    version(repo, "recorded")
    repo.write("one", "edited")
    repo.run("checkout", "--force")
    repo.run("status")
    collect(repo)
    assert stored(repo, "edited")
    (record,) = (repo.path / ".vml/saved").glob("*.json")
    long_ago = time.time() - 40 * 86400
    os.utime(record, (long_ago, long_ago))
    collect(repo)
    assert not stored(repo, "edited")
    assert not record.exists()


def test_the_list_of_files_that_a_partial_checkout_rests_on_is_needed(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/{i % 2}/{i}", f"{i}")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull", "data/0")
    clone.write("data/0/0", "edited")
    clone.run("add", "data/0/0")
    collect(clone)
    assert clone.changes() == {}
    clone.write("data/0/2", "edited")
    clone.run("add", "data/0/2")
    clone.run("push")


def scattered(repo: Repo) -> dict[str, bytes]:
    """Many small packs with dead objects, some loose files, and history."""
    for k in range(20):
        for i in range(12):
            repo.write(f"data/{i}", f"{k}.{i}" if i < 10 else f"always {i}" * 50)
        repo.run("add", "data")
        if k > 2:
            repo.commit()
    repo.write("big", b"b" * 300_000)
    repo.run("add", "big")
    repo.commit()
    return repo.files("data")


def packs(repo: Repo) -> list[Path]:
    return sorted((repo.path / ".vml/cache/packs").rglob("*.pack"))


def test_many_small_packs_become_few(repo: Repo) -> None:
    content = scattered(repo)
    assert len(packs(repo)) == 40
    assert repo.json("gc", "--force", "--include-unpushed")["packs"]["rewritten"] >= 34
    assert len(packs(repo)) == 2  # files, and lists of files
    assert len(list((repo.path / ".vml/cache/index").iterdir())) == 1
    shutil.rmtree(repo.path / "data")
    repo.run("checkout")
    assert repo.files("data") == content
    assert repo.changes() == {}
    assert repo.json("gc")["packs"] == {"removed": 0, "rewritten": 0, "stray": 0}


def test_a_reader_that_began_before_finds_everything_after(repo: Repo) -> None:
    scattered(repo)
    project = Project.find(repo.path, os.environ)
    store = opening.open_store(project)
    before = {oid for index in store.catalog.indexes for row in index.rows() for oid in [row.oid]}
    collect(repo)
    after = opening.open_store(project)
    live = {row.oid for index in after.catalog.indexes for row in index.rows()}
    assert live < before
    assert store.lacking(live) == []
    assert all(store.holds(oid) for oid in live)


def test_litter_of_killed_commands_goes(repo: Repo) -> None:
    repo.write("data/file", "content")
    repo.run("add", "data")
    places = [
        "",
        "index",
        "tmp",
        "cache",
        "cache/tmp",
        "cache/index",
        "cache/complete",
        "saved",
        "cache/loose/xxh128/ab",
    ]
    left = [repo.write(f".vml/{place}/{tmp_name()}", "half") for place in places]
    left += [repo.write(f"{place}{tmp_name()}", "half") for place in ("", "data/", "data/sub/")]
    stray = repo.write(f".vml/cache/packs/ab/ab{'0' * 30}-{'1' * 16}.pack", b"not indexed")
    collect(repo)
    assert [path for path in [*left, stray] if path.exists()] == []
    assert repo.changes() == {}


def test_nothing_goes_where_something_is_damaged(repo: Repo) -> None:
    scattered(repo)
    good = packs(repo)
    for path in good:
        raw = bytearray(path.read_bytes())
        raw[3] ^= 1
        path.chmod(0o644)
        path.write_bytes(raw)
    repo.fails("gc", "--force", "--include-unpushed", code=3)
    assert packs(repo) == good


def test_collecting_waits_for_whoever_is_changing_things(repo: Repo) -> None:
    version(repo, "one")
    repo.run("config", "lock.timeout", "0.1", "--local") if False else repo.run(
        "config", "--local", "lock.timeout", "0.1"
    )
    project = Project.find(repo.path, os.environ)
    with opening.changing(project):
        assert "locked by" in repo.fails("gc", "--force", code=3).err
        repo.run("gc")  # looking takes no lock
    with opening.open_store(project).batch():
        assert "locked by" in repo.fails("gc", "--force", code=3).err
    repo.run("gc", "--force")


def test_a_clone_without_the_lists_of_files(repo: Repo, remote: Path) -> None:
    scattered(repo)
    repo.run("push")
    clone = repo.clone("clone")
    assert clone.json("gc", "--force")["objects"] == 0
    clone.run("pull")
    collect(clone)
    assert clone.changes() == {}


def test_a_bare_repository(repo: Repo, remote: Path, tmp_path: Path) -> None:
    version(repo, "old")
    repo.commit()
    repo.run("push")
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repo.path), str(bare)], check=True)
    there = Repo(bare, repo._capture)
    there.run("fetch")
    there.run("gc", "--force", "--include-unpushed")
    assert there.json("gc")["live"] == 1


def test_killed_anywhere_it_loses_nothing(repo: Repo, soak: int, tmp_path: Path) -> None:
    content = scattered(repo)
    version(repo, "dead")
    version(repo, "alive")
    master = tmp_path / "master"
    shutil.copytree(repo.path, master, symlinks=True)
    started = time.monotonic()
    collect(repo)
    length = time.monotonic() - started
    line = ["-C", str(repo.path), "gc", "--force", "--include-unpushed"]
    for k in range(2 * soak):
        shutil.rmtree(repo.path)
        shutil.copytree(master, repo.path, symlinks=True)
        oscalls.killed_after(length * (k + 0.5) / (2 * soak), lambda: main(line), tmp_path / "log")
        shutil.rmtree(repo.path / "data")
        repo.run("checkout")
        assert repo.files("data") == content
        collect(repo)
        assert repo.changes() == {}
        assert stored(repo, "alive") and not stored(repo, "dead")
        assert len(packs(repo)) == 2
        assert not list((repo.path / ".vml").rglob(".vml-tmp-*"))
        assert json.loads(repo.run("gc", "--json").out)["objects"] == 0


def share(repo: Repo, name: str) -> Repo:
    """Another project that keeps its data in the store of `repo`."""
    other = repo.beside(name)
    subprocess.run(["git", "init", "-q", str(other.path)], check=True)
    other.run("init")
    other.run("config", "--local", "cache.dir", str(repo.path / ".vml/cache"))
    return other


def test_projects_that_share_a_store_keep_their_data(repo: Repo) -> None:
    version(repo, "of the first")
    other = share(repo, "other")
    version(other, "of the other, not committed")
    collect(repo)
    assert stored(repo, "of the other, not committed")
    collect(other)
    assert stored(other, "of the first")
    with opening.changing(Project.find(other.path, os.environ)):
        repo.run("config", "--local", "lock.timeout", "0")
        assert "locked by" in repo.fails("gc", "--force", code=3).err
    shutil.rmtree(other.path)
    assert f"vml gc --forget {other.path}" in repo.fails("gc", code=3).err
    collect(repo, "--forget", str(other.path))
    assert not stored(repo, "of the other, not committed")
    assert "no project 'nowhere'" in repo.run("gc", "--forget", "nowhere").err


def thrown_away(repo: Repo) -> None:
    """What the remote has and no commit names any more: this was pushed long ago, by the remote's clock."""
    version(repo, "old" * 1000)
    first = repo.commit()
    repo.run("push")
    version(repo, "new" * 1000)
    repo.git("commit", "-q", "-a", "--amend", "-m", "again")
    repo.run("push")
    repo.git("reflog", "expire", "--expire=now", "--all")
    assert first not in repo.git("log", "--all", "--format=%H")


def age(remote: Path, days: int) -> None:
    for path in remote.rglob("*"):
        if path.is_file() and path.name != "vml.json":
            then = path.stat().st_mtime - days * 86400
            os.utime(path, (then, then))


def test_on_a_remote_it_condemns_and_later_deletes(repo: Repo, remote: Path) -> None:
    thrown_away(repo)
    assert repo.json("gc", "--remote")["condemn"]["packs"] == 0  # pushed a moment ago
    age(remote, 60)
    assert repo.json("gc", "--remote")["condemn"]["packs"] == 0  # a record of the last 90 days names it
    age(remote, 60)
    packs = sorted(remote.glob("packs/*/*"))
    planned = repo.json("gc", "--remote", "origin")
    assert (planned["dry_run"], planned["packs"], planned["records"]) == (True, 2, 1)
    assert planned["condemn"]["packs"] == 1
    condemned = repo.run("gc", "--remote", "--force").out
    assert re.search(r"1 pack  condemned \(.*\): a run after \d{4}-\d\d-\d\d \d\d:\d\d deletes it", condemned)
    assert repo.json("gc", "--remote", "--force")["delete"]["packs"] == 0  # the grace is not over
    assert sorted(remote.glob("packs/*/*")) == packs
    age(remote, 20)
    assert repo.json("gc", "--remote", "--force")["delete"]["packs"] == 1
    assert len(list(remote.glob("packs/*/*"))) == 1
    assert repo.json("fsck", "--remote", "--deep")["clean"]
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.read("one") == b"new" * 1000
    again = repo.json("gc", "--remote")
    assert (again["condemn"]["packs"], again["delete"]["packs"], again["records"]) == (0, 0, 0)


def test_on_a_remote_where_nothing_is_yet(repo: Repo, remote: Path) -> None:
    for _ in range(2):
        assert "nothing there yet" in repo.run("gc", "--remote", "--force").err
        assert repo.json("gc", "--remote")["packs"] == 0
        assert not list(remote.glob("*"))
        remote.mkdir(exist_ok=True)


def test_on_a_remote_packs_of_unfinished_pushes_are_told_of_before_they_go(repo: Repo, remote: Path) -> None:
    version(repo, "ours")
    repo.commit()
    repo.run("push")
    stray = remote / "packs/00" / f"{'0' * 32}-{'1' * 16}.pack"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(bytes(1000))
    told = repo.run("gc", "--remote", "--force")
    assert "nothing to remove" not in told.err
    assert re.search(r"1 pack \(1.0 kB\) of pushes that did not finish is kept until \d{4}-", told.err)
    assert repo.json("gc", "--remote")["waiting"] == {"packs": 1, "bytes": 1000}
    (info,) = repo.json("fsck", "--remote")["info"]
    assert info["hint"] == "vml gc --remote origin removes it after the grace"
    age(remote, 15)
    assert repo.json("gc", "--remote")["condemn"]["packs"] == 1


def test_on_a_remote_what_was_never_pushed_is_named_with_its_commit(repo: Repo, remote: Path) -> None:
    repo.write("data", bytes(9 << 20))
    repo.run("add", "data")
    commit = repo.commit()
    repo.write("data", b"two")
    repo.run("commit")
    repo.commit()
    repo.run("push")
    told = repo.run("gc", "--remote").err
    assert f"not wholly there: data (commit {commit[:12]})" in told
    assert "vml push --all-commits -r origin" in told
    repo.run("push", "--all-commits", "-r", "origin")
    assert "not wholly there" not in repo.run("gc", "--remote").err


def test_on_a_remote_everybody_who_pushed_counts(repo: Repo, remote: Path, tmp_path: Path) -> None:
    version(repo, "ours")
    repo.commit()
    repo.run("push")
    other = repo.beside("other")
    subprocess.run(["git", "init", "-q", str(other.path)], check=True)
    other.run("init")
    other.run("remote", "add", "-d", "origin", str(remote))
    version(other, "theirs")
    other.commit()
    other.run("push")
    id = other.run("config", "core.id").out.strip()
    refused = repo.fails("gc", "--remote", code=3)
    assert "one of the project " + id in refused.err
    assert f"--forget {id}" in refused.err
    age(remote, 200)
    assert repo.json("gc", "--remote", "--also", str(other.path))["condemn"]["packs"] == 0
    assert repo.json("gc", "--remote", "--forget", id)["condemn"]["packs"] == 1
    assert "nobody has nothing" in repo.run("gc", "--remote", "--forget", id, "--forget", "nobody").err
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repo.path}", str(shallow)], check=True)
    assert "it is shallow" in Repo(shallow, repo._capture).fails("gc", "--remote", "--forget", id, code=3).err


def test_options_that_do_not_go_together(repo: Repo, remote: Path) -> None:
    repo.fails("gc", "--grace", "1d", code=2)
    repo.fails("gc", "--also", ".", code=2)
    repo.fails("gc", "--remote", "--include-unpushed", code=2)
    version(repo, "one")
    repo.run("push")
    repo.fails("gc", "--remote", "--grace", "soon", code=2)
    repo.fails("gc", "--remote", "nowhere", code=3)
    for grace in ("10s", "5 min", "12h", "1.5d", "2w", "3"):
        repo.run("gc", "--remote", "--grace", grace)


def test_a_working_tree_whose_disk_is_not_mounted_is_missed(repo: Repo, tmp_path: Path) -> None:
    linked = Repo(tmp_path / "linked", repo._capture)
    repo.git("worktree", "add", "-q", str(linked.path))
    version(linked, "only there, not committed")
    linked.path.rename(tmp_path / "unmounted")
    linked.path.mkdir()
    assert "working tree" in repo.fails("gc", "--force", "--include-unpushed", code=3).err
    subprocess.run(["git", "init", "-q", str(linked.path)], check=True)  # something else took its place
    assert "working tree" in repo.fails("gc", "--force", "--include-unpushed", code=3).err
    assert stored(repo, "only there, not committed")


def test_who_comes_while_it_waits_for_its_locks_is_kept(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.run("config", "--local", "cache.dir", str(repo.path.parent / "store"))
    version(repo, "of the first")
    others: list[Repo] = []
    find = collect_module.sharers

    def sharers(*args: Any) -> list[collect_module.Sharer]:
        found = find(*args)
        if not others:  # it has looked who is there, and has no lock yet
            others.append(repo.beside("other"))
            others[0].path.mkdir()
            others[0].git("init", "-q", "-b", "main")
            others[0].run("init")
            others[0].run("config", "--local", "cache.dir", str(repo.path.parent / "store"))
            version(others[0], "of the other")
            others.append(Repo(repo.path.parent / "linked", repo._capture))
            repo.git("worktree", "add", "-q", str(others[1].path))
            version(others[1], "of the new working tree")
        return found

    monkeypatch.setattr(collect_module, "sharers", sharers)
    collect(repo)
    assert stored(repo, "of the other")
    assert stored(repo, "of the new working tree")


def test_what_git_replace_hides_and_every_stash_are_needed(repo: Repo) -> None:
    version(repo, "behind a replacement")
    repo.commit()
    for content in ("a", "b", "now"):
        version(repo, content)
        repo.commit()
    repo.git("replace", "--graft", "HEAD~1")
    shutil.rmtree(repo.path / ".git/logs")
    collect(repo)
    assert stored(repo, "behind a replacement")
    for content in ("stashed first", "stashed last"):
        version(repo, content)
        repo.git("stash")
    version(repo, "untracked, stashed", "new")
    repo.git("stash", "-u")
    for args in (("--keep-last", "1"), ("--keep-days", "0")):
        collect(repo, *args)
        for content in ("stashed first", "stashed last", "untracked, stashed", "now"):
            assert stored(repo, content), (args, content)
    assert not stored(repo, "a")


def test_only_remotes_in_the_settings_are_relied_on(repo: Repo, remote: Path) -> None:
    version(repo, "pushed")
    repo.run("push")
    version(repo, "now")
    repo.run("remote", "remove", "origin")
    assert repo.json("gc", "--force")["unpushed"]["objects"] == 1
    assert stored(repo, "pushed")
    repo.run("remote", "add", "-d", "origin", str(remote))
    assert repo.json("gc")["objects"] == 1
    gc_files = next((repo.path / ".vml/cache/remotes").iterdir()) / "gc"
    (pack,) = (path.relative_to(remote).as_posix() for path in remote.glob("packs/*/*.pack"))
    gc_files.mkdir()
    (gc_files / "x.json").write_text(json.dumps({"packs": [pack], "indexes": [], "schema": 1}))
    assert repo.json("gc", "--force")["unpushed"]["objects"] == 1
    assert stored(repo, "pushed")


@pytest.mark.parametrize("command", ["pull", "checkout", "fetch"])
def test_who_finds_all_in_a_shared_store_is_written_down_too(repo: Repo, remote: Path, command: str) -> None:
    store = repo.path.parent / "store"
    repo.run("config", "--local", "cache.dir", str(store))
    version(repo, "one")
    repo.commit()
    repo.run("push")
    other = repo.clone("other")
    other.run("config", "--local", "cache.dir", str(store))
    other.run(command)
    repo.run("rm", "one")
    repo.git("commit", "-q", "-a", "--amend", "--allow-empty", "-m", "gone")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.run("gc", "--force")
    assert stored(other, "one")


def test_a_pointer_with_escapes_in_its_text_counts(repo: Repo) -> None:
    version(repo, "first")
    pointer = repo.read("one.vml").replace(b"xxh128:", b"xxh128\\u003A")
    repo.write("one.vml", pointer)
    repo.commit()
    assert repo.changes() == {}
    version(repo, "second")
    repo.commit()
    collect(repo)
    assert stored(repo, "first")


def test_forgetting_a_project_is_no_more_than_said_without_force(repo: Repo) -> None:
    other = share(repo, "other")
    version(other, "of the other")
    record = next((repo.path / ".vml/cache/projects").iterdir())
    assert repo.json("gc", "--include-unpushed", "--forget", "../other")["objects"] == 1
    assert record.exists()
    assert stored(repo, "of the other")
    collect(repo, "--forget", str(other.path))
    assert not record.exists()
    assert not stored(repo, "of the other")


def test_temporary_files_are_counted(repo: Repo) -> None:
    version(repo, "one")
    repo.write(f".vml/cache/tmp/{tmp_name()}", "half")
    repo.write(f".vml/tmp/{tmp_name()}/file", "half")
    assert repo.json("gc")["leftovers"] == 2
    assert "2 temporary files" in repo.run("gc", "--force").out
    assert repo.json("gc")["leftovers"] == 0


def test_scratch_of_tables_goes_unless_a_comparison_is_at_it(repo: Repo) -> None:
    version(repo, "one")
    scratch = repo.path / ".vml/tmp"
    scratch.mkdir(exist_ok=True)
    with spill.directory(scratch) as held:
        left = repo.write(".vml/tmp/rows-0011223344556677/old.0", "half").parent
        os.utime(left, (time.time() - 7200,) * 2)
        assert repo.json("gc")["leftovers"] == 1
        assert "1 file (4 B) of commands that were killed" in repo.run("doctor", ok=False).out
        repo.run("gc", "--force")
        assert (left.exists(), held.exists()) == (False, True)


def test_what_a_workspace_file_is_linked_to_frees_nothing(repo: Repo) -> None:
    repo.run("config", "--local", "cache.link", "hardlink")
    version(repo, "linked")
    repo.run("rm", "--cached", "one")
    found = repo.json("gc", "--include-unpushed", "--force")
    assert (found["objects"], found["bytes"]) == (1, 0)
    assert repo.read("one") == b"linked"


def test_on_a_remote_a_clone_that_is_behind_is_told_to_fetch(repo: Repo, remote: Path, tmp_path: Path) -> None:
    version(repo, "first")
    repo.commit()
    repo.run("push")
    behind = repo.clone("behind")
    version(repo, "second")
    repo.commit()
    repo.run("push")
    assert "fetch --all" in behind.fails("gc", "--remote", code=3).err
    behind.git("fetch", "-q")
    behind.run("gc", "--remote")
    version(behind, "third")  # of a commit that nobody will ever have: to have fetched since is enough
    behind.commit()
    behind.run("push")
    behind.git("reset", "-q", "--hard", "HEAD~1")
    behind.git("fetch", "-q")
    behind.run("gc", "--remote")
    repo.run("gc", "--remote")  # it has nowhere to fetch from


def test_on_a_remote_the_copy_that_stays_is_read_before_the_other_goes(repo: Repo, remote: Path) -> None:
    for i in range(10):
        repo.write(f"data/{i}", f"{i}" * 500)
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    twin = next(path for path in remote.glob("packs/*/*") if b"VMLN" not in path.read_bytes()[:4])
    hidden = twin.rename(twin.with_suffix(".away"))
    repo.run("push", "--check")  # sends the files once more
    hidden.rename(twin)
    fresh = {path for path in remote.glob("packs/*/*.pack") if path.stat().st_mtime_ns > twin.stat().st_mtime_ns}
    age(remote, 100)
    project = Project.find(repo.path, os.environ)
    there = opening.remote_at(project, project.remote())
    name = records.Doomed(frozenset({bytes.fromhex(twin.stem.replace("-", ""))}), frozenset())
    there.backend.write_new(f"gc/condemned/{records.new_ulid()}.json", records.encode_doomed(name))
    age(remote, 20)
    for path in fresh:
        raw = bytearray(path.read_bytes())
        raw[20] ^= 1
        path.chmod(0o644)
        path.write_bytes(raw)
    assert "no data was deleted" in repo.fails("gc", "--remote", "--force", code=3).err
    assert twin.exists()
