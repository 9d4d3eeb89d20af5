"""`vml add`: what is recorded, what is kept out of Git, and what cannot be tracked."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import parse_hash
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project


def store_of(repo: Repo) -> LocalStore:
    return opening.open_store(Project.find(repo.path, os.environ))


def kept(repo: Repo, text: str) -> bytes:
    """The bytes that the local store has under a hash as commands print it."""
    store = store_of(repo)
    return store.read(parse_hash(text, store.algorithm, source="test"))


def pointer(repo: Repo, path: str) -> dict[str, object]:
    return dict(json.loads(repo.read(f"{path}.vml")))


def metadata_clone(repo: Repo, name: str = "clone") -> Repo:
    """A clone that has every list of files and none of the files."""
    clone = repo.clone(name)
    clone.run("fetch", "--metadata")
    return clone


# ---------------------------------------------------------------------- forms


def test_files_and_directories(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b/c", "22")
    repo.write("model.pt", "333")
    result = repo.run("add", "data", "model.pt")
    assert result.out == ""
    assert "data: 2 files, 3 B" in result.err
    assert "model.pt: 3 B" in result.err
    assert "git add" in result.err
    assert "data.vml" in result.err
    assert pointer(repo, "data") | {"hash": ""} == {
        "schema": 1, "path": "data", "kind": "tree", "hash": "", "size": 3, "nfiles": 2,
    }  # fmt: skip
    assert pointer(repo, "model.pt")["kind"] == "file"
    assert repo.changes() == {}
    repo.commit()
    assert repo.git("ls-files").split() == [
        ".gitignore", ".vml/.gitignore", ".vml/config.toml", "data.vml", "model.pt.vml",
    ]  # fmt: skip
    assert "unchanged" in repo.run("add", "data").err
    assert repo.git("status", "--porcelain") == ""


def test_json(repo: Repo) -> None:
    repo.write("data/a", "1")
    (one,) = repo.json("add", "data")["recorded"]
    assert one == {
        "path": "data", "state": "new", "hash": pointer(repo, "data")["hash"],
        "size": 1, "nfiles": 1, "pull": True, "groups": [], "added": 1, "modified": 0, "deleted": 0,
    }  # fmt: skip
    repo.write("data/a", "22")
    repo.write("data/b", "")
    (one,) = repo.json("add", "data")["recorded"]
    assert (one["state"], one["added"], one["modified"], one["deleted"]) == ("changed", 1, 1, 0)
    (repo.path / "data/a").unlink()
    (one,) = repo.json("add", "data")["recorded"]
    assert (one["state"], one["added"], one["modified"], one["deleted"]) == ("changed", 0, 0, 1)
    (one,) = repo.json("add", "data")["recorded"]
    assert (one["state"], one["added"]) == ("unchanged", 0)


def test_globs(repo: Repo) -> None:
    repo.write("runs/a.csv", "a")
    repo.write("runs/deep/b.csv", "b")
    repo.write("runs/c.txt", "c")
    assert [each["path"] for each in repo.json("add", "runs/*.csv")["recorded"]] == ["runs/a.csv"]
    found = repo.json("add", "runs/**/*.csv")["recorded"]
    assert [(each["path"], each["state"]) for each in found] == [
        ("runs/a.csv", "unchanged"),
        ("runs/deep/b.csv", "new"),
    ]
    repo.write("odd[1].csv", "literal")
    assert repo.json("add", "odd[1].csv")["recorded"][0]["path"] == "odd[1].csv"
    assert "matches nothing" in repo.fails("add", "runs/*.parquet", code=3).err


def test_from_a_subdirectory(repo: Repo) -> None:
    repo.write("deep/er/data/a", "1")
    repo.write("top.bin", "2")
    result = repo.run("add", "data", "../../top.bin", cwd="deep/er")
    assert "data.vml" in result.err
    assert "../../top.bin.vml" in result.err
    assert sorted(p.name for p in repo.path.rglob("*.vml") if p.is_file()) == ["data.vml", "top.bin.vml"]
    repo.write("deep/er/data/a", "changed")
    assert repo.changes() == {"deep/er/data/a": "modified"}
    assert [each["path"] for each in repo.json("status", ".", cwd="deep/er/data")["data"]] == ["deep/er/data/a"]
    repo.run("add", ".", cwd="deep/er/data")
    assert repo.changes() == {}
    assert "unchanged" in repo.run("add", str(repo.path / "deep/er/data")).err


def test_autostage(repo: Repo) -> None:
    repo.run("config", "core.autostage", "true")
    repo.write("data/a", "1")
    assert "git add" not in repo.run("add", "data").err
    assert set(repo.git("diff", "--cached", "--name-only").split()) >= {".gitignore", "data.vml"}
    repo.git("reset", "-q")
    repo.run("rm", "data")  # neither pointer nor .gitignore was ever in Git's index
    repo.write("data/a", "1")
    repo.run("add", "data")
    repo.commit()
    repo.run("mv", "data", "raw")
    assert set(repo.git("diff", "--cached", "--name-only", "--no-renames").split()) == {
        ".gitignore", "data.vml", "raw.vml",
    }  # fmt: skip
    repo.run("rm", "raw")
    assert repo.git("diff", "--cached", "--name-only").split() == [".gitignore", "data.vml"]


def test_unknown_keys_of_a_pointer_stay(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    fields = pointer(repo, "data") | {"desc": "cats", "meta": {"by": "me"}, "owner": [1, 2]}
    repo.write("data.vml", json.dumps(fields))
    repo.write("data/a", "2")
    repo.run("add", "data")
    repo.write("data/b", "2")
    repo.run("add", "data/b")
    repo.run("rm", "data/a", "--cached")
    repo.run("mv", "data", "raw")
    after = pointer(repo, "raw")
    assert (after["desc"], after["meta"], after["owner"]) == ("cats", {"by": "me"}, [1, 2])


# ---------------------------------------------------------------------- one part of a tracked directory


def test_parts_of_a_tracked_directory(repo: Repo) -> None:
    for name in "abc":
        repo.write(f"data/{name}/x", name)
    repo.run("add", "data")
    for name in "abc":
        repo.write(f"data/{name}/x", name * 2)
        repo.write(f"data/{name}/new", name)
    found = repo.json("add", "data/a", "data/b/x", "data/b/new")["recorded"]
    assert [(each["path"], each["added"], each["modified"]) for each in found] == [("data", 2, 2)]
    assert repo.changes() == {"data/c/x": "modified", "data/c/new": "added"}
    (repo.path / "data/a/x").unlink()
    repo.run("add", "data/a/x")
    assert repo.changes() == {"data/c/x": "modified", "data/c/new": "added"}
    assert pointer(repo, "data")["nfiles"] == 4


def test_in_a_clone_without_any_file(repo: Repo, remote: Path) -> None:
    for i in range(5):
        repo.write(f"data/{i}", str(i))
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = metadata_clone(repo)
    clone.write("data/new/one", "new")
    clone.write("data/3", "three")
    # a look at the directory meanwhile changes nothing
    clone.run("status")
    clone.run("add", "data/new", "data/3")
    assert pointer(clone, "data")["nfiles"] == 6
    clone.run("rm", "data/1")
    clone.run("mv", "data/2", "data/two")
    assert pointer(clone, "data")["nfiles"] == 5
    assert clone.changes() == {}
    assert sorted(clone.files("data")) == ["3", "new/one"]
    # what is absent is not deleted, whichever way it is recorded
    clone.run("add", "data")
    clone.run("commit")
    assert pointer(clone, "data")["nfiles"] == 5
    clone.commit()
    clone.run("push")
    clone.run("pull")
    assert clone.files("data") == {"0": b"0", "3": b"three", "4": b"4", "new/one": b"new", "two": b"2"}
    assert clone.json("status")["clean"]


def test_a_part_while_the_workspace_is_behind_its_pointer(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.run("add", "data")
    first = repo.commit()
    repo.write("data/a", "22")
    repo.write("data/b", "22")
    repo.run("add", "data")
    repo.commit()
    repo.run("checkout", "--rev", first, "data/a")
    assert repo.changes() == {"data/a": "behind"}
    repo.run("add", "data/a")
    assert repo.changes() == {}
    assert repo.files("data") == {"a": b"1", "b": b"22"}
    repo.commit()
    repo.run("checkout")
    assert repo.files("data") == {"a": b"1", "b": b"22"}


@pytest.mark.parametrize("edited", [False, True])
def test_what_is_behind_is_recorded_with_a_warning(repo: Repo, edited: bool) -> None:
    for content in ("1", "22"):
        for name in "abc":
            repo.write(f"data/{name}", content)
        repo.run("add", "data")
        repo.commit()
    repo.run("checkout", "--rev", "HEAD~1", "data")
    if edited:
        repo.write("data/c", "mine")

    said = repo.run("add", "data").err

    assert f"warning: {2 if edited else 3} files of data were behind the pointer, and not edited: what is here" in said
    (command,) = re.findall(r"hint: (git checkout .*) brings the version of HEAD", said)
    for each in command.split(" && "):
        program, *args = each.split(" ")
        repo.git(*args) if program == "git" else repo.run(*args)
    assert repo.files("data") == {"a": b"22", "b": b"22", "c": b"mine" if edited else b"22"}
    repo.write("data/a", "edited")
    assert "warning" not in repo.run("add", "data").err


def test_a_part_that_is_gone(repo: Repo) -> None:
    repo.write("data/sub/a", "1")
    repo.write("data/b", "1")
    repo.run("add", "data")
    shutil.rmtree(repo.path / "data/sub")
    repo.run("add", "data/sub")
    assert pointer(repo, "data")["nfiles"] == 1
    assert "does not exist" in repo.fails("add", "data/sub", code=3).err
    assert "does not exist" in repo.fails("add", "data/no/such", code=3).err


def test_file_and_directory_change_places_inside(repo: Repo) -> None:
    repo.write("data/x", "file")
    repo.write("data/y/f", "in a directory")
    repo.run("add", "data")
    (repo.path / "data/x").unlink()
    repo.write("data/x/f", "now a directory")
    shutil.rmtree(repo.path / "data/y")
    repo.write("data/y", "now a file")
    assert repo.changes() == {
        "data/x": "deleted", "data/x/f": "added", "data/y": "added", "data/y/f": "deleted",
    }  # fmt: skip
    repo.run("add", "data/x", "data/y")
    assert repo.changes() == {}
    assert [each["path"] for each in repo.json("ls", "-R", "data")["entries"]] == ["data/x/f", "data/y"]


# ---------------------------------------------------------------------- kinds and names


def test_kinds(repo: Repo) -> None:
    repo.write("data/run.sh", "#!/bin/sh\n").chmod(0o755)
    repo.write("data/empty", "")
    repo.write("data/sub/plain", "x")
    (repo.path / "data/link").symlink_to("sub/plain")
    (repo.path / "data/sub/up").symlink_to("../run.sh")
    (repo.path / "data/dangling").symlink_to("nowhere")
    repo.write("tool", "#!/bin/sh\n").chmod(0o755)
    repo.run("add", "data", "tool")
    assert pointer(repo, "tool")["kind"] == "executable"
    kinds = {each["path"]: each["kind"] for each in repo.json("ls", "-R", "data")["entries"]}
    assert kinds == {
        "data/dangling": "symlink", "data/empty": "file", "data/link": "symlink", "data/run.sh": "executable",
        "data/sub/plain": "file", "data/sub/up": "symlink",
    }  # fmt: skip
    repo.commit()
    before = repo.files("data")
    (repo.path / "data/run.sh").chmod(0o644)
    (repo.path / "tool").chmod(0o644)
    assert repo.changes() == {"data/run.sh": "modified", "tool": "modified"}
    assert "tool  (10 B, executable -> file)" in repo.run("status").out
    shutil.rmtree(repo.path / "data")
    repo.run("checkout")
    assert repo.files("data") == before
    assert os.access(repo.path / "data/run.sh", os.X_OK)
    assert (repo.path / "tool").stat().st_mode & 0o100
    assert repo.changes() == {}


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "../outside"])
def test_a_link_that_leads_out(repo: Repo, target: str) -> None:
    repo.write("data/a", "1")
    (repo.path / "data/link").symlink_to(target)
    result = repo.fails("add", "data", code=3)
    assert "data/link" in result.err
    assert not (repo.path / "data.vml").exists()
    repo.write(".vmlignore", "link\n")
    repo.run("add", "data")


NAMES = [
    "with space", " leading and trailing ", "new\nline", "quote\"and'quote", "back\\slash", "tab\there", "-dash", "--",
    "emoji-\U0001f600", "e\u0301-decomposed", "\xe9-composed", "#hash", "!bang", "star*", "[x]", "a" * 255, ".hidden",
    "percent%20", "CON", "x.vml", "\u202ertl",
]  # fmt: skip


def test_names_inside_a_directory(repo: Repo, remote: Path) -> None:
    for name in NAMES:
        repo.write(f"data/{name}/{name}", name)
    repo.run("add", "data")
    assert repo.changes() == {}
    for name in NAMES:
        repo.write(f"data/{name}/{name}", "changed " + name)
    assert repo.changes() == {f"data/{name}/{name}": "modified" for name in NAMES}
    for name in NAMES:
        repo.run("add", f"data/{name}/{name}")
    assert repo.changes() == {}
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.files("data") == repo.files("data")


def test_names_of_tracked_files(repo: Repo, remote: Path) -> None:
    names = [name for name in NAMES if len(name) < 250 and not name.endswith(".vml")]
    for name in names:
        repo.write(f"d/{name}", name)
    repo.run("add", "--", *(f"d/{name}" for name in names))
    repo.commit()
    assert sorted(repo.git("ls-files", "-z", "d").split("\0")[:-1]) == sorted(
        ["d/.gitignore", *(f"d/{name}.vml" for name in names)]
    )
    assert repo.git("status", "--porcelain") == ""
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull")
    assert all(clone.read(f"d/{name}") == name.encode() for name in names)
    assert clone.json("status")["clean"]


def test_a_leading_dash_from_where_it_lies(repo: Repo) -> None:
    repo.write("d/-x", "1")
    repo.run("add", "--", "-x", cwd="d")
    assert (repo.path / "d/-x.vml").exists()


def test_a_name_too_long_for_a_pointer(repo: Repo) -> None:
    repo.write("d/" + "a" * 252, "1")
    result = repo.fails("add", "d/" + "a" * 252, code=3)
    assert "too long" in result.err
    assert not (repo.path / ".vml/cache").exists()  # found before anything was stored
    repo.write("d/" + "b" * 251, "1")
    repo.run("add", "d/" + "b" * 251)


def test_a_name_that_is_not_utf8(repo: Repo) -> None:
    repo.write("data/good", "1")
    bad = os.path.join(os.fsencode(repo.path), b"data", b"caf\xe9")
    Path(os.fsdecode(bad)).write_bytes(b"x")
    result = repo.fails("add", "data", code=3)
    assert "not UTF-8" in result.err
    assert "caf" in result.err
    assert not (repo.path / "data.vml").exists()
    assert "not UTF-8" in repo.fails("add", os.fsdecode(b"data/caf\xe9"), code=3).err
    Path(os.fsdecode(bad)).unlink()
    repo.run("add", "data")
    Path(os.fsdecode(bad)).write_bytes(b"x")
    assert "added" in repo.run("status").out
    assert repo.json("status")["data"][0]["change"] == "added"
    assert "not UTF-8" in repo.fails("add", "data", code=3).err
    assert "not UTF-8" in repo.fails("commit", code=3).err


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".vml", ".vml-tmp-x/.Vml"])
def test_names_that_belong_to_git_or_vml(repo: Repo, name: str) -> None:
    repo.write("data/good", "1")
    repo.write(f"data/{name}/config", "1")
    result = repo.fails("add", "data", code=3)
    assert "belongs to Git or vml" in result.err
    assert not (repo.path / "data.vml").exists()


def test_deep_and_wide_and_empty(repo: Repo, remote: Path) -> None:
    deep = "/".join(["d"] * 100)
    repo.write(f"data/{deep}/f", "deep")
    (repo.path / "data/empty/er").mkdir(parents=True)
    (repo.path / "none").mkdir()
    repo.run("add", "data", "none")
    assert pointer(repo, "data")["nfiles"] == 1
    assert pointer(repo, "none")["nfiles"] == 0
    assert repo.changes() == {}
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.files("data") == {f"{deep}/f": b"deep"}
    assert (clone.path / "none").is_dir()
    assert clone.json("status")["clean"]


# ---------------------------------------------------------------------- lost and found


def test_the_cache_was_deleted(repo: Repo) -> None:
    for i in range(20):
        repo.write(f"data/{i}", str(i))
    repo.write("one", "1")
    repo.run("add", "data", "one")
    shutil.rmtree(repo.path / ".vml/cache")
    assert {each["path"] for each in repo.json("status")["missing"]} == {"data", "one"}
    repo.run("add", "data", "one")
    assert repo.json("status")["missing"] == []
    shutil.rmtree(repo.path / "data")
    repo.run("checkout")
    assert repo.files("data") == {str(i): str(i).encode() for i in range(20)}


def test_the_cache_was_deleted_after_a_partial_pull(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/{i % 2}/{i}", str(i))
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.run("pull", "data/1")
    shutil.rmtree(clone.path / ".vml/cache")
    before = clone.read("data.vml")
    # the absent half is known from the manifest alone, which is not here
    assert "--metadata" in clone.fails("add", "data", code=3).err
    assert clone.read("data.vml") == before
    clone.run("fetch", "--metadata")
    clone.run("add", "data")
    assert clone.read("data.vml") == before
    shutil.rmtree(clone.path / "data/1")
    clone.run("checkout", "data/1")
    assert clone.files("data") == {f"1/{i}": str(i).encode() for i in range(1, 20, 2)}


def test_the_index_was_deleted(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.write("data/b", "1")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    before = repo.read("data.vml")
    shutil.rmtree(repo.path / ".vml/index")
    assert repo.changes() == {}
    shutil.rmtree(repo.path / ".vml/index")
    repo.run("add", "data", "one")
    assert repo.read("data.vml") == before
    for path in (repo.path / ".vml/index").iterdir():
        path.write_bytes(b"damaged")
    assert repo.changes() == {}


def test_equal_files_are_stored_once(repo: Repo) -> None:
    content = os.urandom(300_000)
    for i in range(5):
        repo.write(f"data/{i}", content)
    repo.run("add", "data")
    sizes = [p.stat().st_size for p in (repo.path / ".vml/cache").rglob("*") if p.is_file()]
    assert sum(sizes) < 400_000


# ---------------------------------------------------------------------- ignore files and other projects


def test_vmlignore(repo: Repo) -> None:
    repo.write(".vmlignore", "*.tmp\ncache/\n")
    repo.write("data/a", "1")
    repo.write("data/x.tmp", "no")
    repo.write("data/cache/x", "no")
    repo.write("data/.vmlignore", "!keep.tmp\n")
    repo.write("data/keep.tmp", "yes")
    repo.run("add", "data")
    assert [each["path"] for each in repo.json("ls", "-R", "data")["entries"]] == [
        "data/.vmlignore", "data/a", "data/keep.tmp",
    ]  # fmt: skip
    repo.write("data/y.tmp", "no")
    assert repo.changes() == {}
    repo.run("checkout")
    assert repo.read("data/y.tmp") == b"no"
    assert "vmlignore" in repo.fails("add", "data/y.tmp", code=3).err


def test_a_project_inside_a_project(repo: Repo) -> None:
    repo.write("sub/data/a", "inner")
    repo.run("init", cwd="sub")
    repo.run("add", "data", cwd="sub")
    repo.write("data/a", "outer")
    repo.run("add", "data")
    assert [each["path"] for each in repo.json("status")["pointers"]] == ["data"]
    repo.commit()
    assert [each["path"] for each in repo.json("ls", "--rev", "HEAD")["entries"]] == ["data"]
    assert [each["path"] for each in repo.json("ls", "--rev", "HEAD", cwd="sub")["entries"]] == ["data"]
    assert repo.json("ls", "--rev", "HEAD") != repo.json("ls", "--rev", "HEAD", cwd="sub")
    assert repo.json("diff")["deleted"] == []
    repo.write("sub/data/a", "changed")
    repo.run("add", "data", cwd="sub")
    assert repo.json("status")["clean"]
    assert [each["path"] for each in repo.json("status", cwd="sub")["pointers"]] == ["data"]


def test_a_project_in_a_subdirectory(repo: Repo, tmp_path: Path) -> None:
    repo.git("rm", "-rqf", ".vml")
    shutil.rmtree(repo.path / ".vml", ignore_errors=True)
    (repo.path / "ml/deep").mkdir(parents=True)
    assert "vml init" in repo.fails("status", code=3, cwd="ml").err
    repo.run("init", cwd="ml")
    repo.run("remote", "add", "-d", "origin", str(tmp_path / "there"), cwd="ml")
    repo.write("ml/data/a", "1")
    repo.run("add", "../data", cwd="ml/deep")
    repo.commit()
    assert repo.json("status", cwd="ml")["clean"]
    repo.write("ml/data/a", "2")
    repo.run("commit", cwd="ml")
    assert repo.json("status", cwd="ml")["pointers"] == [{"path": "data", "change": "modified", "staged": False}]
    repo.commit()
    assert [each["path"] for each in repo.json("diff", "HEAD~1", "HEAD", cwd="ml")["modified"]] == ["data/a"]
    repo.run("push", "--all-commits", cwd="ml")
    clone = repo.clone("clone")
    clone.run("pull", cwd="ml")
    assert clone.read("ml/data/a") == b"2"


def test_a_linked_worktree_shares_the_store(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    repo.commit()
    repo.git("worktree", "add", "-q", "../linked")
    linked = Repo(repo.path.parent / "linked", repo._capture)
    assert linked.changes() == {"data": "absent"}
    linked.run("checkout")
    assert linked.files("data") == {"a": b"1"}
    linked.write("data/b", "2")
    linked.run("add", "data")
    assert not (linked.path / ".vml/cache").exists()
    assert repo.changes() == {}
    repo.git("merge", "-q", "--ff-only", "HEAD")
    repo.write("data.vml", linked.read("data.vml"))
    repo.run("checkout")
    assert repo.files("data") == {"a": b"1", "b": b"2"}


# ---------------------------------------------------------------------- bad input


def test_what_cannot_be_tracked(repo: Repo, tmp_path: Path) -> None:
    repo.write("README.md", "hello")
    repo.write("src/code.py", "pass")
    repo.commit()
    repo.write("data/a", "1")
    repo.write("file", "1")
    os.mkfifo(repo.path / "pipe")
    (repo.path / "link").symlink_to("data")
    repo.run("add", "data", "file")
    for path, words in {
        "nosuch": "does not exist",
        "../elsewhere": "outside of the project",
        str(tmp_path): "outside of the project",
        ".": "the whole project",
        "README.md": "already tracked by Git",
        "src": "already tracked by Git",
        "data.vml": "is a pointer",
        "file/x": "tracked as a file",
        "pipe": "neither a file nor a directory",
        "link": "symbolic link",
        ".git/config": "belongs to Git",
        ".vml/cache": "belongs to Git or vml",
    }.items():
        result = repo.fails("add", path, code=3)
        assert words in result.err, (path, result.err)
    assert "missing argument 'PATH...'" in repo.fails("add", code=2).err


def test_overlaps(repo: Repo) -> None:
    repo.write("data/sub/a", "1")
    repo.write("data/b", "1")
    assert "lies inside" in repo.fails("add", "data", "data/sub", code=3).err
    repo.run("add", "data/sub")
    assert "contains data/sub" in repo.fails("add", "data", code=3).err
    assert repo.fails("add", "data", code=3).err.count("\n") == 2
    repo.run("rm", "--cached", "data/sub")
    repo.run("add", "data")
    assert sorted(repo.files("data")) == ["b", "sub/a"]


def test_a_directory_of_git_inside(repo: Repo) -> None:
    repo.write("data/a", "1")
    repo.git("init", "-q", "data/clone")
    assert "belongs to Git" in repo.fails("add", "data", code=3).err


def test_outside_of_a_repository(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "nowhere").mkdir()
    for command in (["add", "x"], ["status"], ["push"], ["ls"], ["init"]):
        assert "git init" in repo.fails(*command, code=3, cwd=tmp_path / "nowhere").err


def test_an_unreadable_file(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.write("data/a", "1")
    repo.write("data/secret", "1")
    real = os.open

    def refusing(path: object, flags: int, *args: object, **more: object) -> int:
        if os.fsencode(path).endswith(b"secret"):  # type: ignore[arg-type]
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, *args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        result = repo.fails("add", "data", code=3)
        assert "data/secret" in result.err
        assert "chmod" in result.err
        assert not (repo.path / "data.vml").exists()
        assert "data/secret" in repo.fails("add", "data/secret", code=3).err
    repo.run("add", "data")


def test_a_file_that_others_keep_changing(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    target = repo.write("data/log", "line\n")
    real = os.readv

    def growing(fd: int, buffers: list[memoryview]) -> int:
        with target.open("ab") as file:
            file.write(b"more\n")
        return real(fd, buffers)

    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", growing)
        result = repo.fails("add", "data", code=3)
    assert "changed while it was being read" in result.err
    assert not (repo.path / "data.vml").exists()
    repo.run("add", "data")
    assert repo.changes() == {}


def test_a_file_that_changes_once(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    target = repo.write("data/log", "old!")
    real, calls = os.readv, []

    def once(fd: int, buffers: list[memoryview]) -> int:
        n = real(fd, buffers)
        if not calls:
            calls.append(fd)
            target.write_bytes(b"new!")
        return n

    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", once)
        repo.run("add", "data")
    assert repo.changes() == {}
    (row,) = repo.json("ls", "-R", "data")["entries"]
    assert kept(repo, row["hash"]) == b"new!"


def test_a_pointer_that_git_ignores_is_refused(repo: Repo) -> None:
    repo.write(".gitignore", "data/\n")
    repo.write("data/raw.csv", "1")
    assert "Git ignores data/raw.csv.vml" in repo.fails("add", "data/raw.csv", code=3).err
    assert not (repo.path / "data/raw.csv.vml").exists()


def test_adding_what_was_never_checked_out_drops_nothing(repo: Repo, remote: Path) -> None:
    for i in range(3):
        repo.write(f"data/{i}", f"{i}")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    clone.write("data/new", "n")
    assert "list of its files" in clone.fails("add", "data", code=3).err
    clone.run("fetch", "--metadata")
    assert "would drop 3 files" in clone.fails("add", "data", code=3).err
    clone.run("commit")
    assert clone.read("data.vml") == repo.read("data.vml")
    clone.run("add", "data/new")
    assert json.loads(clone.read("data.vml"))["nfiles"] == 4


def test_hints_can_be_pasted(repo: Repo) -> None:
    """A name with a space is one word in each command that a hint has; else it would be two other names."""
    for name in ("my", "file", "my file"):
        repo.write(name, name)
    repo.run("add", "my", "file", "my file")
    (repo.path / "my file").unlink()
    hint = repo.fails("add", "my file", code=3).err.splitlines()[-1]
    assert hint == "hint: vml checkout 'my file' brings it back, vml rm 'my file' ends tracking it"
    command = re.compile(
        r"[\"'\s(;](vml|git|cd|mv|rm|cp|mkdir|chmod) [^\"{}]*(\{[^{}]*\}[^\"{}]*)*\{(output\.)?quote\("
    )
    prose = ("inside a command of the stage", "git in {", "vml project in {", "is kept as {")
    for source in (Path(__file__).parents[2] / "vcs_ml").rglob("*.py"):
        for line in source.read_text().splitlines():
            assert not command.search(line) or any(each in line for each in prose), f"{source}: {line}"
