"""`vml checkout`: the workspace becomes what pointers say, and no unsaved byte is lost on the way."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands.test_add import kept
from tests.conftest import Repo
from vcs_ml.workspace import saved, write


def outside(repo: Repo) -> dict[str, bytes]:
    return {p: c for p, c in repo.files(".").items() if not p.startswith((".vml/", ".git/"))}


# ---------------------------------------------------------------------- there and back


def test_branches_back_and_forth(repo: Repo) -> None:
    base = repo.git("rev-parse", "HEAD").strip()
    repo.write("data/a", "1")
    repo.write("data/only-1", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    first = repo.files("data")
    repo.git("checkout", "-qb", "other")
    repo.write("data/a", "2")
    repo.write("data/only/2", "2")
    (repo.path / "data/only-1").unlink()
    repo.write("one", "22")
    repo.run("commit")
    repo.commit()
    second = repo.files("data")
    repo.git("branch", "-q", "nothing", base)
    for _ in range(2):
        repo.git("checkout", "-q", "main")
        assert set(repo.changes()) == {"data/a", "data/only-1", "data/only/2", "one"}
        assert "removed" in repo.run("checkout").err
        assert repo.files("data") == first
        assert repo.read("one") == b"1"
        repo.git("checkout", "-q", "nothing")
        assert repo.changes() == {}
        repo.run("checkout")
        assert not (repo.path / "data").exists()
        assert not (repo.path / "one").exists()
        repo.git("checkout", "-q", "other")
        repo.run("checkout")
        assert repo.files("data") == second
        assert repo.json("status")["clean"]
        assert "nothing to do" in repo.run("checkout").err


def test_what_is_gone_keeps_what_is_not_ours(repo: Repo) -> None:
    base = repo.git("rev-parse", "HEAD").strip()
    repo.write("data/a", "1")
    repo.write("edited/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "edited", "one")
    repo.commit()
    repo.write("data/extra", "precious")
    repo.write("edited/a", "precious")
    repo.write("one", "precious")
    repo.git("checkout", "-q", base)
    repo.run("checkout")
    assert repo.files("data") == {"extra": b"precious"}
    assert repo.files("edited") == {"a": b"precious"}
    assert repo.read("one") == b"precious"


def test_data_that_git_tracked_before(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    old = repo.commit()
    repo.git("rm", "-rq", "--cached", "data", "one")
    repo.run("add", "data", "one")
    repo.commit()
    repo.git("checkout", "-qf", old)
    repo.run("checkout")
    assert repo.git("status", "--porcelain") == ""
    assert repo.files("data") == {"a": b"1"}


def test_a_directory_split_in_two_and_joined(repo: Repo) -> None:
    repo.write("data/a/x", "1")
    repo.write("data/b/y", "2")
    repo.run("add", "data/a", "data/b")
    split = repo.commit()
    repo.run("rm", "--cached", "data/a", "data/b")
    repo.git("rm", "-rq", "--cached", "data")
    repo.run("add", "data")
    joined = repo.commit()
    for commit in (split, joined, split, joined):
        repo.git("checkout", "-q", commit)
        repo.run("checkout")
        assert {p: c for p, c in repo.files("data").items() if not p.endswith((".vml", ".gitignore"))} == {
            "a/x": b"1", "b/y": b"2",
        }  # fmt: skip
        assert repo.changes() == {}


def test_a_file_and_a_directory_change_places(repo: Repo) -> None:
    repo.write("x", "file")
    repo.write("y/deep/f", "in a directory")
    repo.write("data/x", "file")
    repo.write("data/y/deep/f", "in a directory")
    repo.run("add", "x", "y", "data")
    first = repo.commit()
    for place in ("", "data/"):
        (repo.path / f"{place}x").unlink()
        shutil.rmtree(repo.path / f"{place}y")
        repo.write(f"{place}x/deep/f", "in a directory")
        repo.write(f"{place}y", "file")
    repo.run("add", "x", "y", "data")
    second = repo.commit()
    expected = {second: outside(repo)}
    repo.git("checkout", "-q", first)
    repo.run("checkout")
    expected[first] = outside(repo)
    assert repo.read("x") == repo.read("data/x") == b"file"
    for commit in (second, first, second):
        repo.git("checkout", "-q", commit)
        repo.run("checkout")
        assert outside(repo) == expected[commit]
        assert repo.json("status")["clean"]
    # with unsaved bytes in the way
    repo.write("x/precious", "p1")
    repo.write("y", "p2")
    repo.write("data/x/precious", "p3")
    repo.write("data/y", "p4")
    repo.git("checkout", "-q", first)
    before = outside(repo)
    result = repo.fails("checkout", code=3)
    assert all(f"  {path}\n" in result.err for path in ("x/precious", "y", "data/x/precious", "data/y"))
    assert outside(repo) == before
    found = dict(
        re.findall(r"(\S+) is out of the workspace; its bytes are kept as (\S+)", repo.run("checkout", "-f").err)
    )
    assert {path: kept(repo, text) for path, text in found.items()} == {
        "x/precious": b"p1", "y": b"p2", "data/x/precious": b"p3", "data/y": b"p4",
    }  # fmt: skip
    assert outside(repo) == expected[first]


def test_a_directory_that_hides_ignored_files_does_not_become_a_file(repo: Repo) -> None:
    repo.write("x", "file")
    repo.run("add", "x")
    repo.write(".vmlignore", "*.tmp\n")
    (repo.path / "x").unlink()
    repo.write("x/a.tmp", "precious")
    assert "a.tmp" in repo.fails("checkout", "--force", code=3).err
    assert repo.read("x/a.tmp") == b"precious"


# ---------------------------------------------------------------------- some paths, some revision


def test_some_paths(repo: Repo) -> None:
    for path in ("a/x", "a/y", "b/x"):
        repo.write(f"data/{path}", path)
    repo.write("one", "1")
    repo.run("add", "data", "one")
    shutil.rmtree(repo.path / "data")
    (repo.path / "one").unlink()
    repo.run("checkout", "data/a/x", "data/b")
    assert repo.files("data") == {"a/x": b"a/x", "b/x": b"b/x"}
    assert repo.changes() == {"one": "deleted"}  # the rest of data is absent, not deleted
    repo.run("checkout", "y", "x", "../b", cwd="data/a")
    repo.run("checkout", "one", "data")
    assert repo.files("data") == {"a/x": b"a/x", "a/y": b"a/y", "b/x": b"b/x"}
    assert repo.changes() == {}


def test_two_parts_of_one_directory_after_a_switch(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("data/c", "1")
    repo.run("add", "data")
    first = repo.commit()
    for name in "abc":
        repo.write(f"data/{name}", "22")
    repo.run("commit")
    repo.commit()
    repo.git("checkout", "-q", first)
    repo.run("checkout", "data/a", "data/b")
    assert repo.changes() == {"data/c": "behind"}
    assert repo.files("data") == {"a": b"1", "b": b"1", "c": b"22"}
    repo.run("checkout")
    assert repo.changes() == {}


def test_a_revision_leaves_the_pointer(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    first = repo.commit()
    repo.write("data/a", "22")
    repo.write("data/c", "22")
    repo.write("one", "22")
    repo.run("commit")
    repo.commit()
    pointers = {p: c for p, c in outside(repo).items() if p.endswith(".vml")}
    repo.run("checkout", "--rev", first, "data", "one")
    assert {p: c for p, c in outside(repo).items() if p.endswith(".vml")} == pointers
    assert repo.files("data") == {"a": b"1", "b": b"1"}
    assert repo.changes() == {"data/a": "behind", "data/c": "behind", "one": "behind"}
    repo.run("checkout")
    assert repo.changes() == {}
    repo.run("checkout", "--rev", first)
    assert repo.read("one") == b"1"
    repo.run("commit")
    assert repo.json("diff", first)["modified"] == []


def test_stashed_data_is_behind(repo: Repo) -> None:
    repo.write("one", "committed")
    repo.run("add", "one")
    repo.commit()
    for content in ("stashed", "stashed later"):
        repo.write("one", content)
        repo.run("add", "one")
        repo.git("stash", "-q")

        assert repo.changes() == {"one": "behind"}
        assert "vml checkout PATH brings it" in repo.run("status").out

    repo.run("checkout", "one")
    assert repo.read("one") == b"committed"


def test_only_what_differs_is_touched(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.run("add", "data")
    stats = os.stat(repo.path / "data/a")
    repo.write("data/b", "22")
    repo.run("checkout", "--force")
    after = os.stat(repo.path / "data/a")
    assert (after.st_ino, after.st_ctime_ns) == (stats.st_ino, stats.st_ctime_ns)
    assert repo.read("data/b") == b"1"


# ---------------------------------------------------------------------- unsaved bytes


def test_unsaved_bytes_are_refused_then_kept(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    first = repo.commit()
    repo.write("data/a", "22")
    (repo.path / "data/b").unlink()
    repo.write("data/c", "22")
    repo.write("one", "22")
    repo.run("commit")
    repo.commit()
    repo.write("data/a", "precious a")
    repo.write("data/b", "precious b")  # untracked here, but the other version has one
    repo.write("data/c", "precious c")  # to be removed
    repo.write("one", "precious one")
    repo.write("data/extra", "stays")
    before = outside(repo)
    repo.git("checkout", "-q", first)
    result = repo.fails("checkout", code=3)
    assert "4 files" in result.err
    assert all(f"  {path}\n" in result.err for path in ("data/a", "data/b", "data/c", "one"))
    assert {p: c for p, c in outside(repo).items() if not p.endswith(".vml")} == {
        p: c for p, c in before.items() if not p.endswith(".vml")
    }
    found = dict(
        re.findall(r"(\S+) is out of the workspace; its bytes are kept as (\S+)", repo.run("checkout", "--force").err)
    )
    assert {path: kept(repo, text) for path, text in found.items()} == {
        "data/a": b"precious a", "data/b": b"precious b", "data/c": b"precious c", "one": b"precious one",
    }  # fmt: skip
    assert repo.files("data") == {"a": b"1", "b": b"1", "extra": b"stays"}
    assert repo.changes() == {"data/extra": "added"}


def test_many_unsaved_files_are_not_all_listed(repo: Repo) -> None:
    for i in range(30):
        repo.write(f"data/{i:02}", "1")
    repo.run("add", "data")
    for i in range(30):
        repo.write(f"data/{i:02}", f"unsaved {i}")
    err = repo.fails("checkout", code=3).err
    assert "30 files" in err
    assert "10 more" in err


def test_ignored_files_are_not_overwritten(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/x", "tracked before it was ignored")
    repo.run("add", "data")
    repo.write(".vmlignore", "x\n")
    repo.run("checkout")
    repo.write("data/x", "precious")
    assert "data/x" in repo.fails("checkout", code=3).err
    assert repo.read("data/x") == b"precious"
    (text,) = re.findall(r"kept as (\S+)", repo.run("checkout", "--force").err)
    assert kept(repo, text) == b"precious"


def test_an_empty_directory_in_the_way_of_a_file(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.run("add", "data")
    (repo.path / "data/a").unlink()
    (repo.path / "data/a/empty/er").mkdir(parents=True)
    repo.run("checkout")
    assert repo.files("data") == {"a": b"1", "b": b"1"}


def test_a_link_in_the_way_is_never_followed(repo: Repo, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f").write_text("precious")
    repo.write("data/sub/f", "1")
    repo.write("dir/one", "1")
    repo.run("add", "data", "dir/one")
    shutil.rmtree(repo.path / "data/sub")
    (repo.path / "data/sub").symlink_to(elsewhere)
    repo.fails("checkout", "data", code=3)
    repo.run("checkout", "--force", "data")
    assert repo.files("data") == {"sub/f": b"1"}
    shutil.rmtree(repo.path / "data")
    (repo.path / "data").symlink_to(elsewhere)
    for args in (["data"], ["--force", "data"]):
        assert "not a directory" in repo.fails("checkout", *args, code=3).err
    assert "outside of the project" in repo.fails("checkout", "--force", "data/sub/f", code=3).err
    assert [p.name for p in elsewhere.iterdir()] == ["f"]
    assert (elsewhere / "f").read_text() == "precious"


def test_the_store_lacks_something(repo: Repo) -> None:
    for i in range(3):
        repo.write(f"data/{i}", str(i))
    repo.write("data/big", os.urandom(300_000))
    repo.write("one", "1")
    repo.run("add", "data", "one")
    (big,) = [p for p in (repo.path / ".vml/cache/loose").rglob("*") if p.is_file() and p.stat().st_size == 300_000]
    big.unlink()
    shutil.rmtree(repo.path / "data")
    (repo.path / "one").unlink()
    result = repo.fails("checkout", code=3)
    assert "data/big" in result.err
    assert re.search(r"xxh128:[0-9a-f]{32}", result.err)
    assert "vml pull data" in result.err
    assert not (repo.path / "one").exists()  # nothing is touched at all
    repo.run("checkout", "one", "data/1")
    shutil.rmtree(repo.path / ".vml/cache")
    assert "vml pull data" in repo.fails("checkout", "data", code=3).err


def test_a_damaged_object_is_not_written(repo: Repo) -> None:
    content = os.urandom(300_000)
    repo.write("data/big", content)
    repo.run("add", "data")
    (big,) = [p for p in (repo.path / ".vml/cache/loose").rglob("*") if p.is_file() and p.stat().st_size == 300_000]
    big.chmod(0o644)
    with big.open("r+b") as file:
        file.write(b"damage")
    shutil.rmtree(repo.path / "data")
    result = repo.fails("checkout", code=3)
    assert "big" in result.err
    assert not (repo.path / "data").exists()


def test_bad_input(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    for args, words in (
        (["nosuch"], "not tracked"),
        (["one/x"], "not tracked"),
        (["data/nosuch"], "has no nosuch"),
        (["../x"], "outside"),
        (["--rev", "nosuch"], "unknown revision"),
        (["--rev", "HEAD~1", "data"], "not tracked at HEAD~1"),
        (["--rev", ""], "unknown revision"),
    ):
        assert words in repo.fails("checkout", *args, code=3).err, args
    repo.fails("checkout", "--nonsense", code=2)


@pytest.mark.parametrize("link", ["copy", "reflink,copy"])
def test_links(repo: Repo, link: str) -> None:
    repo.run("config", "cache.link", link)
    repo.write("data/big", os.urandom(300_000))
    repo.run("add", "data")
    before = repo.files("data")
    shutil.rmtree(repo.path / "data")
    repo.run("checkout")
    assert repo.files("data") == before


def test_an_edit_made_meanwhile_is_not_lost(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.write("data/a", "old")
    repo.run("add", "data")
    first = repo.commit()
    repo.write("data/a", "new")
    repo.run("add", "data")
    repo.commit()
    repo.git("checkout", "-q", first)
    check = write.check_unchanged

    def edited(directory: int, name: bytes, path: bytes, seen: Mapping[bytes, bytes]) -> None:
        repo.write("data/a", "precious")
        check(directory, name, path, seen)

    monkeypatch.setattr(write, "check_unchanged", edited)
    assert "changed meanwhile" in repo.fails("checkout", code=3).err
    assert repo.read("data/a") == b"precious"


@pytest.mark.parametrize("sweep", [["clean", "-ffd"], ["stash", "-u"]])
def test_git_sweeps_no_store_where_nothing_ignores_it(repo: Repo, sweep: list[str]) -> None:
    """A branch from before `vml init` has no .vml/.gitignore."""
    repo.git("checkout", "-q", "--orphan", "old")
    repo.git("rm", "-rq", "--cached", ".")
    repo.git("commit", "-q", "--allow-empty", "-m", "old")
    repo.git("checkout", "-qf", "main")
    repo.write("data", "recorded")
    repo.run("add", "data")
    repo.commit()
    repo.write("data", "unrecorded")
    repo.run("checkout", "--force", "data")
    repo.git("checkout", "-q", "old")
    repo.git(*sweep)
    assert not (repo.path / "data").exists()
    repo.git("checkout", "-qf", "main")
    repo.run("checkout")
    assert repo.read("data") == b"recorded"
    repo.run("checkout", "--saved", "data")
    assert repo.read("data") == b"unrecorded"


def test_a_store_without_it_gets_its_gitignore(repo: Repo) -> None:
    repo.write("data", "1")
    repo.run("add", "data")
    (repo.path / ".vml/cache/.gitignore").unlink()
    repo.write("data", "2")
    repo.run("add", "data")
    assert repo.read(".vml/cache/.gitignore") == b"*\n"


def test_a_store_elsewhere_hides_nothing_from_git(repo: Repo) -> None:
    repo.write("pool/notes", "mine")
    repo.run("config", "--local", "cache.dir", "pool")
    repo.write("data", "1")
    repo.run("add", "data")
    assert "?? pool/notes" in repo.git("status", "--short", "-uall").splitlines()


def test_what_was_saved_comes_back(repo: Repo) -> None:
    repo.write("sub/one", "1")
    repo.write("large", "1")
    repo.run("add", "sub/one", "large")
    assert repo.run("checkout", "--saved").err == "nothing is kept\n"
    big = random.Random(1).randbytes(1_000_000)
    repo.write("sub/one", "mine")
    repo.write("large", big)
    assert "(vml checkout --saved)" in repo.run("checkout", "--force").err
    rows = [line.split()[-2:] for line in repo.run("checkout", "--saved").out.splitlines()[1:]]
    assert sorted(path for path, _ in rows) == ["large", "sub/one"]
    err = repo.run("-C", "sub", "checkout", "--saved", "one", dict(rows)["large"]).err
    assert re.search(r"^sub/one is out of the workspace; .*\nsub/one: as it was at ", err)
    assert (repo.read("sub/one"), repo.read("large")) == (b"mine", big)
    assert repo.changes() == {"sub/one": "modified", "large": "modified"}
    (repo.path / "sub/one").unlink()
    repo.run("checkout", "--saved", "sub/one")  # what lay there when it came back was kept, too
    assert repo.read("sub/one") == b"1"
    assert "nothing is kept of none" in repo.fails("checkout", "--saved", "none", code=3).err
    repo.fails("checkout", "--saved", "--force", "large", code=2)
    (repo.path / "large").unlink()
    (repo.path / "large").mkdir()
    assert "is a directory now" in repo.fails("checkout", "--saved", "large", code=3).err


@pytest.mark.parametrize("target", ["b", "/nowhere/at all"])
def test_what_was_saved_comes_back_as_what_it_was(repo: Repo, target: str) -> None:
    repo.write("d/a", "1")
    repo.write("d/b", "2")
    repo.run("add", "d")
    place = repo.path / "d/a"
    repo.write("d/a", "#!/bin/sh")
    place.chmod(0o755)
    repo.run("checkout", "--force", "d")
    assert not os.access(place, os.X_OK)
    repo.run("checkout", "--saved", "d/a")
    assert os.access(place, os.X_OK)
    assert repo.read("d/a") == b"#!/bin/sh"
    place.unlink()
    place.symlink_to(target)
    repo.run("checkout", "--force", "d")
    assert not place.is_symlink()
    repo.run("checkout", "--saved", "d/a")
    assert os.readlink(place) == target
    for each in (repo.path / ".vml/saved").iterdir():  # as they were written before kinds were
        each.write_text(re.sub(r' *"kind": .*\n', "", each.read_text()))
    place.unlink()
    repo.run("checkout", "--saved", "d/a")
    assert not place.is_symlink()


def test_many_saved_files_are_in_several_records(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        repo.write(f"d/{number}", "1")
    repo.run("add", "d")
    for number in range(30):
        repo.write(f"d/{number}", f"mine {number}")
    monkeypatch.setattr(saved, "_WRITTEN_MAX", 1_000)
    repo.run("checkout", "--force", "d")
    sizes = [each.stat().st_size for each in (repo.path / ".vml/saved").iterdir()]
    assert len(sizes) > 3
    assert max(sizes) < 1_300
    assert repo.run("checkout", "--saved").out.count("d/") == 30


def test_what_was_saved_comes_back_as_a_file_of_its_own(repo: Repo) -> None:
    repo.run("config", "cache.link", "hardlink")
    repo.run("config", "cache.pack_below", "0")
    repo.write("one", "1")
    repo.run("add", "one")
    repo.run("unprotect", "one")
    repo.write("one", "mine")
    repo.run("checkout", "--force")
    repo.run("checkout", "--saved", "one")
    assert os.stat(repo.path / "one").st_nlink == 1
    repo.write("one", "other")
    assert "no damage" in repo.run("fsck").out


def test_a_forged_record_leads_nowhere(repo: Repo) -> None:
    repo.write("one", "1")
    repo.run("add", "one")
    repo.write("one", "mine")
    repo.run("checkout", "--force")
    (record,) = (repo.path / ".vml/saved").glob("*.json")
    record.write_text(record.read_text().replace('"one"', '".git/config"'))
    assert repo.run("checkout", "--saved").err == "nothing is kept\n"
    (repo.path / ".vml/saved/x.json").write_text("[")
    record.write_text('{"files": [{"hash": "\\u001b[2J", "path": "b", "size": 1}], "schema": 1, "time": 1e300}')
    assert "$'\\033[2J'" in repo.run("checkout", "--saved").out
    assert "is not a hash" in repo.fails("checkout", "--saved", "b", code=3).err


def test_data_that_a_merge_took_out_of_gitignore_is_kept_out_of_git_again(repo: Repo) -> None:
    repo.write("d/1", "1")
    repo.write("single", "1")
    repo.run("add", "d", "single")
    repo.commit()
    repo.git("checkout", "-q", "-b", "topic")
    repo.write("d/2", "2")
    repo.write("single", "2")
    repo.run("add", "d", "single")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.run("checkout")
    repo.run("rm", "d", "single")
    repo.commit()
    subprocess.run(["git", "merge", "-q", "topic"], cwd=repo.path, check=False, capture_output=True)
    repo.commit()  # keeps the pointers
    assert not (repo.path / ".gitignore").exists()

    assert "Git ignores this data again: git add .gitignore" in repo.run("checkout").err

    assert repo.git("status", "--porcelain") == "?? .gitignore\n"
    assert "again" not in repo.run("checkout").err
    repo.write(".gitignore", "s*\nd/\n")  # which does as well
    shutil.rmtree(repo.path / "d")
    assert "again" not in repo.run("checkout").err
    assert "again" not in repo.run("add", "d", "single").err
    repo.write(".gitignore", "")
    assert "Git ignores this data again: git add .gitignore" in repo.run("add", "d", "single").err
    assert repo.git("status", "--porcelain") == "?? .gitignore\n"


def test_a_gitignore_that_is_a_link_is_left_alone(repo: Repo) -> None:
    repo.write("d/1", "1")
    repo.run("add", "d")
    (repo.path / ".gitignore").rename(repo.path / "elsewhere")
    (repo.path / ".gitignore").symlink_to("elsewhere")
    shutil.rmtree(repo.path / "d")
    repo.run("checkout")
    assert repo.files("d") == {"1": b"1"}
    assert (repo.path / ".gitignore").is_symlink()
