"""Git's index, as read in one go: every file in it, also of odd names, conflicts and first commits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml import git as vgit
from vcs_ml import gitindex
from vcs_ml.gitindex import Entry, Index

ODD = [
    b"plain",
    b"with space",
    b"new\nline",
    b'quo"te',
    b"caf\xc3\xa9",
    b"not-utf8-\xff",
    b"-dash",
    b":(glob)*",
    b"a/b/c",
    b"a.b",
    b"a0",
]


@pytest.fixture
def root(tmp_path: Path) -> vgit.GitRoot:
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    found = vgit.root(tmp_path)
    assert found is not None
    return found


def run(root: vgit.GitRoot, *args: str | bytes, input: bytes | None = None) -> bytes:
    return subprocess.run(["git", *args], cwd=root.cwd, check=True, capture_output=True, input=input).stdout


def index_of(root: vgit.GitRoot) -> Index:
    return Index(vgit.run(gitindex.FILES, root.cwd))


def changes(root: vgit.GitRoot) -> dict[str, tuple[Entry | None, Entry | None]]:
    found = gitindex.changes(vgit.run(gitindex.CHANGES, root.cwd))
    return {each.path: (each.now, each.before) for each in found}


def blob(root: vgit.GitRoot, content: bytes) -> str:
    return run(root, "hash-object", "-w", "--stdin", input=content).decode().strip()


def test_files_of_any_name(root: vgit.GitRoot) -> None:
    for name in ODD:
        path = os.path.join(os.fsencode(root.cwd), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(name)
    run(root, "add", "-A")

    index = index_of(root)

    assert len(index) == len(ODD)
    for name in ODD:
        entry = index.get(os.fsdecode(name))
        assert entry == Entry(0o100644, blob(root, name))
    assert index.get("a") is None
    assert index.get("a/b") is None
    assert index.below("a") == ["a/b/c"]
    assert index.below("a/b") == ["a/b/c"]
    assert sorted(index.below("")) == sorted(map(os.fsdecode, ODD))
    assert index.named("c") == ["a/b/c"]
    wanted = [b"a/b/c", b"new\nline", b'quo"te', b"with space"]
    assert index.blobs((b"/c", b"e")) == {os.fsdecode(name): blob(root, name) for name in wanted}


def test_an_empty_index(root: vgit.GitRoot) -> None:
    index = index_of(root)

    assert (len(index), index.get("a"), index.below(""), index.below("a"), index.named("a")) == (0, None, [], [], [])
    assert index.blobs((b"a",)) == {}
    assert changes(root) == {}


def test_before_the_first_commit_all_is_new(root: vgit.GitRoot) -> None:
    (root.cwd / "a").write_text("a")
    run(root, "add", "a")

    assert changes(root) == {"a": (Entry(0o100644, blob(root, b"a")), None)}


def test_what_differs_from_head(root: vgit.GitRoot) -> None:
    for name in ("gone", "moved", "changed", "mode", "same"):
        (root.cwd / name).write_text(name * 50)
    run(root, "add", "-A")
    run(root, "commit", "-qm", "one")
    run(root, "config", "diff.renames", "copies")
    (root.cwd / "changed").write_text("new")
    run(root, "rm", "-q", "gone")
    run(root, "mv", "moved", "there")
    (root.cwd / "mode").chmod(0o755)
    (root.cwd / "link").symlink_to("same")
    run(root, "add", "-A")

    found = changes(root)

    old = Entry(0o100644, blob(root, b"moved" * 50))
    mode = blob(root, b"mode" * 50)
    assert found == {
        "gone": (None, Entry(0o100644, blob(root, b"gone" * 50))),
        "moved": (None, old),
        "there": (old, None),
        "changed": (Entry(0o100644, blob(root, b"new")), Entry(0o100644, blob(root, b"changed" * 50))),
        "mode": (Entry(0o100755, mode), Entry(0o100644, mode)),
        "link": (Entry(gitindex.LINK, blob(root, b"same")), None),
    }


def test_a_conflict_is_neither_a_file_nor_a_change(root: vgit.GitRoot) -> None:
    (root.cwd / "a").write_text("base")
    run(root, "add", "a")
    run(root, "commit", "-qm", "base")
    run(root, "checkout", "-qb", "other")
    (root.cwd / "a").write_text("theirs")
    run(root, "commit", "-qam", "theirs")
    run(root, "checkout", "-q", "main")
    (root.cwd / "a").write_text("ours")
    run(root, "commit", "-qam", "ours")
    assert subprocess.run(["git", "merge", "other"], cwd=root.cwd, check=False, capture_output=True).returncode == 1

    assert index_of(root).get("a") is None
    assert changes(root) == {}
    assert vgit.operation(root) == "merge"


def test_what_git_is_in_the_middle_of(root: vgit.GitRoot) -> None:
    assert vgit.operation(root) is None
    (root.cwd / "a").write_text("base")
    run(root, "add", "a")
    run(root, "commit", "-qm", "base")
    run(root, "checkout", "-qb", "other")
    (root.cwd / "a").write_text("theirs")
    run(root, "commit", "-qam", "theirs")
    run(root, "checkout", "-q", "main")
    (root.cwd / "a").write_text("ours")
    run(root, "commit", "-qam", "ours")

    for command, ends in (("rebase", "rebase"), ("cherry-pick", "cherry-pick"), ("revert", "revert")):
        target = "HEAD~1" if command == "revert" else "other"
        if command == "revert":
            (root.cwd / "a").write_text("later")
            run(root, "commit", "-qam", "later")
        assert subprocess.run(["git", command, target], cwd=root.cwd, check=False, capture_output=True).returncode == 1
        assert vgit.operation(root) == ends
        run(root, command, "--abort")
        assert vgit.operation(root) is None


def test_sizes_leave_out_what_is_not_there(root: vgit.GitRoot) -> None:
    ids = [blob(root, b"x" * size) for size in (0, 1, 70_000)]

    assert gitindex.sizes(root, [*ids, "1" * 40]) == dict(zip(ids, (0, 1, 70_000), strict=True))
    assert gitindex.sizes(root, []) == {}


names = st.lists(st.sampled_from(["a", "b", "a.b", "a0", "a-", "é", "B"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(names, max_size=12), names)
def test_lookups_are_those_of_a_plain_list(paths: set[str], asked: str) -> None:
    every = sorted(map(os.fsencode, paths))
    index = Index(b"".join(b"H 100644 %040x 0\t%b\0" % (at, path) for at, path in enumerate(every)))

    assert (asked in index) == (asked in paths)
    assert index.below(asked) == [os.fsdecode(path) for path in every if os.fsdecode(path).startswith(f"{asked}/")]
    assert index.named(asked) == [
        each for each in map(os.fsdecode, every) if each == asked or each.endswith(f"/{asked}")
    ]
