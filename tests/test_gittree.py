"""Files of commits, held against `git ls-tree`, and repositories that are not what they should be."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcs_ml import git, gittree
from vcs_ml.errors import UserError
from vcs_ml.gittree import DIRECTORY, LINK, Node, Trees

NAMES = st.sampled_from(["a", "b", "vml.yaml", "a.b", "ä", "x y", "\udcff", "new\nline", "-", "a-"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
MODES = st.sampled_from(["100644", "100755", "120000", "160000"])


class Made:
    """A repository without a working tree, whose trees are made by hand."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        subprocess.run(["git", "init", "-q", "--bare", *options, str(path)], check=True)
        root = git.root(path)
        assert root is not None
        self.root = root

    def git(self, *args: str, input: bytes = b"") -> bytes:
        return subprocess.run(["git", *args], cwd=self.path, input=input, check=True, capture_output=True).stdout

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", input=content).decode().strip()

    def tree(self, files: dict[str, tuple[str, str]]) -> str:
        """A tree of these paths with mode and object."""
        (self.path / "index").unlink(missing_ok=True)
        lines = b"".join(f"{mode} {oid}\t".encode() + os.fsencode(path) + b"\0" for path, (mode, oid) in files.items())
        self.git("update-index", "-z", "--index-info", input=lines)
        return self.git("write-tree", "--missing-ok").decode().strip()

    def raw(self, kind: str, content: bytes) -> str:
        """An object as no Git would write it."""
        raw = f"{kind} {len(content)}\0".encode() + content
        oid = hashlib.sha1(raw).hexdigest()
        place = self.path / "objects" / oid[:2] / oid[2:]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(zlib.compress(raw))
        return oid

    def nested(self, levels: int, width: int, leaf: str) -> str:
        """A tree of trees, each with so many entries that are all the same."""
        for _ in range(levels):
            entries = b"".join(b"40000 d%d\0" % n + bytes.fromhex(leaf) for n in range(width))
            leaf = self.raw("tree", entries)
        return leaf

    def listed(self, tree: str) -> dict[str, Node]:
        """What `git ls-tree -r` says of it."""
        records = self.git("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]
        found = {}
        for record in records:
            head, _, path = record.partition(b"\t")
            mode, _, oid = head.split()
            found[os.fsdecode(path)] = Node(int(mode, 8), oid.decode())
        return found


@pytest.fixture(scope="module", params=["sha1", "sha256"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("repo"), f"--object-format={request.param}")


@pytest.fixture
def sha1(tmp_path: Path) -> Iterator[tuple[Made, Trees]]:
    repo = Made(tmp_path)
    with Trees(repo.root) as trees:
        yield repo, trees


@settings(max_examples=30)
@given(st.lists(st.tuples(PATHS, MODES), max_size=12))
def test_trees_are_those_of_git(made: Made, entries: list[tuple[str, str]]) -> None:
    oid = made.blob(b"content")
    files: dict[str, tuple[str, str]] = {}
    for path, mode in entries:
        if not any(path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in files):
            files[path] = mode, oid
    top = made.tree(files)
    expected = made.listed(top)
    assert expected.keys() == files.keys()
    plain = {path: node for path, node in expected.items() if node.mode in gittree.FILE}
    with Trees(made.root) as trees:
        assert dict(trees.files(top)) == plain
        assert {path: trees.find(top, path) for path in expected} == expected
        assert trees.find(top, "") == Node(DIRECTORY, top)
        for path in expected:
            assert trees.find(top, f"{path}/x") is None
            assert trees.find(top, path + "x") == expected.get(path + "x")
            assert path.count("/") == 0 or trees.find(top, path.rpartition("/")[0]).mode == DIRECTORY  # type: ignore
        for names in ({"vml.yaml"}, {"a", "b"}, {"nosuch"}):
            wanted = {path: node for path, node in plain.items() if path.rpartition("/")[2] in names}
            assert dict(trees.named(top, names)) == wanted
        entered: list[str] = []
        assert [path for path, _ in trees.files(top, entered.append)] == [path for path in plain if "/" not in path]  # type: ignore
        assert all("/" not in path for path in entered)


def test_contents(made: Made) -> None:
    one, empty = made.blob(b"one\n\n"), made.blob(b"")
    top = made.tree({"one": ("100644", one), "empty": ("100644", empty)})
    commit = made.git("-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-m", "x", top).decode().strip()
    with Trees(made.root) as trees:
        assert trees.top(commit) == top
        assert trees.read(one, 100) == (b"one\n\n", 5)
        assert trees.read(empty, 100) == (b"", 0)
        assert trees.read(one, 2) == (b"one", 5)
        assert trees.read(one, 5).data == b"one\n\n"
        assert set(trees.tree(top)) == {"one", "empty"}


def test_names_of_commits(made: Made) -> None:
    top = made.tree({"a": ("100644", made.blob(b"a"))})
    make = ("-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-m", "two words", top)
    commit = made.git(*make).decode().strip()
    made.git("update-ref", "refs/heads/side", commit)
    made.git("tag", "-f", "light", commit)
    made.git("-c", "user.name=x", "-c", "user.email=x", "tag", "-f", "-a", "-m", "x", "heavy", commit)
    made.git("tag", "-f", "tree", top)
    with Trees(made.root) as trees:
        for name in ("side", "light", "heavy", commit, commit[:12], "side^{/two words}", "side^0"):
            assert trees.commit(name) == commit
        for name in (
            "nosuch",
            "",
            "side~1",
            "tree",
            top,
            "side\nside",
            "--batch",
            "side^{/no such words}",
            "a commit 3",
            "\udcff",
        ):
            assert trees.commit(name) is None
        assert trees.commit("side") == commit
        assert trees.top(commit) == top


def test_a_large_file_is_not_read_to_its_end(sha1: tuple[Made, Trees], monkeypatch: pytest.MonkeyPatch) -> None:
    repo, trees = sha1
    monkeypatch.setattr(gittree, "_SKIPPED_MAX", 1000)
    large, small = repo.blob(b"x" * 100_000), repo.blob(b"small")
    assert trees.read(large, 10) == (b"x" * 11, 100_000)
    assert trees.read(small, 10).data == b"small"
    assert trees.read(large, 200_000).size == 100_000


def test_files_that_are_expected(sha1: tuple[Made, Trees], monkeypatch: pytest.MonkeyPatch) -> None:
    repo, trees = sha1
    monkeypatch.setattr(gittree, "_AT_ONCE", 3)
    monkeypatch.setattr(gittree, "_SMALL", 5000)
    monkeypatch.setattr(gittree, "_READY_MAX", 20_000)
    contents = [b"%d" % n * (n * 300) for n in range(20)]
    oids = [repo.blob(content) for content in contents]
    broken = repo.raw("blob", random.Random(1).randbytes(5000))
    place = repo.path / "objects" / broken[:2] / broken[2:]
    place.write_bytes(place.read_bytes()[:4000])
    tree = repo.tree({"a": ("100644", oids[1])})
    for odd in ([], ["0" * 40], [broken], [tree], oids):
        for at in (0, 4, 20):
            trees.expect([*oids[:at], *odd, *oids[at:]])
            for oid, content in zip(oids, contents, strict=True):
                assert trees.read(oid, 20_000) == (content, len(content))
                assert trees.read(oid, 100).data == content[:101]
            with pytest.raises(UserError, match="damaged"):
                trees.read(broken, 10_000)
            with pytest.raises(UserError, match="damaged"):
                trees.read(tree, 10_000)
    monkeypatch.setattr(gittree, "_SKIPPED_MAX", 100)
    trees.expect([oids[19], oids[1]])
    assert trees.read(oids[1], 10_000).data == contents[1]


def test_modes_of_old_commits(sha1: tuple[Made, Trees]) -> None:
    repo, trees = sha1
    oid = bytes.fromhex(repo.blob(b"x"))
    top = repo.raw("tree", b"100600 a\0" + oid + b"100664 b\0" + oid + b"100775 c\0" + oid + b"120777 d\0" + oid)
    assert {name: node.mode for name, node in trees.tree(top).items()} == {
        "a": 0o100644, "b": 0o100644, "c": 0o100755, "d": LINK,
    }  # fmt: skip


def test_objects_that_are_missing_or_damaged(sha1: tuple[Made, Trees]) -> None:
    repo, trees = sha1
    good = repo.blob(b"good")
    broken = repo.raw("blob", random.Random(1).randbytes(5000))
    place = repo.path / "objects" / broken[:2] / broken[2:]
    place.write_bytes(place.read_bytes()[:4000])
    no_tree = repo.raw("tree", b"100644 name without an end")
    short = repo.raw("tree", b"100644 name\0short")
    odd = repo.raw("tree", b"mode name\0" + bytes(20))
    for ask, words in [
        (lambda: trees.read("0" * 40, 10), "is missing"),
        (lambda: trees.read(broken, 10), "is damaged"),
        (lambda: trees.read(broken, 10_000), "is damaged"),
        (lambda: trees.tree(good), "is damaged"),
        (lambda: trees.read(no_tree, 10), "is damaged"),
        (lambda: trees.top(good), "is damaged"),
        (lambda: trees.tree(no_tree), "is damaged"),
        (lambda: trees.tree(short), "is damaged"),
        (lambda: trees.tree(odd), "is damaged"),
    ]:
        with pytest.raises(UserError, match=words):
            ask()
        assert trees.read(good, 10).data == b"good"  # and all else is still there


def test_a_partial_clone_whose_origin_is_gone(tmp_path: Path) -> None:
    origin = Made(tmp_path / "origin")
    origin.git("config", "uploadpack.allowFilter", "true")
    oid = origin.blob(b"text")
    tree = origin.git("mktree", input=f"100644 blob {oid}\ta\n".encode()).decode().strip()
    commit = origin.git("commit-tree", "-m", "x", tree).decode().strip()
    origin.git("update-ref", "HEAD", commit)
    url = f"file://{origin.path}"
    subprocess.run(["git", "clone", "-q", "--bare", "--filter=blob:none", url, tmp_path / "clone"], check=True)
    origin.path.rename(tmp_path / "gone")
    root = git.root(tmp_path / "clone")
    assert root is not None
    with Trees(root) as trees, pytest.raises(UserError, match="is not in the partial clone") as caught:
        trees.read(oid, 100)
    assert caught.value.hint == f"git cat-file -p {oid} tries it again, and tells more"


def test_a_repository_that_git_does_not_trust(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with Trees(made.root) as trees:
        assert trees.commit("HEAD") is None  # why, git.resolve tells


def test_trees_without_end(sha1: tuple[Made, Trees], monkeypatch: pytest.MonkeyPatch) -> None:
    repo, trees = sha1
    monkeypatch.setattr(gittree, "NAMED_MAX", 1000)
    monkeypatch.setattr(gittree, "ENTERED_MAX", 1000)
    leaf = repo.raw("tree", b"100644 vml.yaml\0" + bytes.fromhex(repo.blob(b"")))
    bomb = repo.nested(12, 10, leaf)
    with pytest.raises(UserError, match=r"more than 1,000 files named vml\.yaml"):
        trees.named(bomb, {"vml.yaml"})
    with pytest.raises(UserError, match="more than 1,000 directories"):
        list(trees.files(repo.nested(12, 10, repo.raw("tree", b""))))
    assert trees.named(repo.nested(12, 10, repo.raw("tree", b"")), {"vml.yaml"}) == ()
    deep = repo.nested(3000, 1, leaf)
    assert list(trees.files(deep)) == []
    assert trees.named(deep, {"vml.yaml"}) == ()
