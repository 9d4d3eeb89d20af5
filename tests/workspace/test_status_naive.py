"""Status and add against a naive model: read every file and compare, on random trees with random edits."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Repo

# Few names and contents, so that files and directories change places and equal files appear.
PARTS = st.sampled_from(["a", "b", "c", "a.txt", "\u00e9"])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
CONTENTS = st.sampled_from([b"", b"1", b"2", b"long" * 20_000])
MODES = st.sampled_from([0o644, 0o755])
LINKS = st.sampled_from([b"a", b"b/c", b"nowhere"])

# (content or link target, mode; a link has mode 0)
File = tuple[bytes, int]
Tree = dict[str, File]


def fits(files: Tree) -> Tree:
    """The same tree without files that would also be directories."""
    kept: Tree = {}
    for path in sorted(files):
        if not any(path.startswith(f"{other}/") for other in kept):
            kept[path] = files[path]
    return kept


FILES = st.one_of(st.tuples(CONTENTS, MODES), st.tuples(LINKS, st.just(0)))
TREES = st.dictionaries(PATHS, FILES, max_size=8).map(fits)


def make(root: Path, tree: Tree) -> None:
    """Make the directory hold exactly this tree, by the smallest set of writes."""
    root.mkdir(exist_ok=True)
    for path in sorted(look(root), reverse=True):
        if path not in tree or look(root)[path] != tree[path]:
            (root / path).unlink()
    for folder, _, _ in os.walk(root, topdown=False):
        if folder != str(root) and not os.listdir(folder):
            os.rmdir(folder)
    for path, (content, mode) in tree.items():
        target = root / path
        if os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode:
            target.write_bytes(content)
            target.chmod(mode)
        else:
            target.symlink_to(os.fsdecode(content))


def look(root: Path) -> Tree:
    found: Tree = {}
    for folder, folders, names in os.walk(root):
        for name in [*names, *(n for n in folders if Path(folder, n).is_symlink())]:
            path = Path(folder, name)
            if path.is_symlink():
                found[path.relative_to(root).as_posix()] = (os.fsencode(os.readlink(path)), 0)
            else:
                mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
                found[path.relative_to(root).as_posix()] = (path.read_bytes(), mode)
    return found


def naive(old: Tree, new: Tree) -> dict[str, str]:
    """What status says, renames undone."""
    found = {}
    for path in old.keys() | new.keys():
        if path not in new:
            found[path] = "deleted"
        elif path not in old:
            found[path] = "added"
        elif old[path] != new[path]:
            found[path] = "modified"
    return found


def said(repo: Repo, *paths: str) -> dict[str, str]:
    found = {}
    for each in repo.json("status", *paths)["data"]:
        if each["change"] == "renamed":
            found[each["path"].removeprefix("data/")] = "added"
            found[each["from"].removeprefix("data/")] = "deleted"
        else:
            found[each["path"].removeprefix("data/")] = each["change"]
    return found


def fresh(repo: Repo) -> Path:
    """The repository as if nothing had ever been tracked; the store keeps what it has."""
    for name in ("data", ".vml/index", ".vml/saved"):
        shutil.rmtree(repo.path / name, ignore_errors=True)
    for name in ("data", "data.vml", ".gitignore"):
        (repo.path / name).unlink(missing_ok=True)
    return repo.path / "data"


@settings(max_examples=40)
@given(TREES, st.lists(TREES, min_size=1, max_size=3))
def test_status_is_the_naive_comparison(repo: Repo, first: Tree, then: list[Tree]) -> None:
    root = fresh(repo)
    make(root, first)
    repo.run("add", "data")
    assert said(repo) == {}
    for tree in then:
        make(root, tree)
        assert said(repo) == naive(first, tree)
        assert said(repo, "data/a") == {
            p: c for p, c in naive(first, tree).items() if p == "a" or p.startswith("a/")
        }  # fmt: skip
        assert said(repo) == naive(first, tree)
    if then:
        repo.run("commit")
        assert said(repo) == {}


@settings(max_examples=30)
@given(TREES, TREES, st.randoms(use_true_random=False))
def test_adding_part_by_part_is_adding_the_whole(repo: Repo, first: Tree, second: Tree, chance: object) -> None:
    root = fresh(repo)
    make(root, second)
    repo.run("add", "data")
    whole = json.loads(repo.read("data.vml"))
    fresh(repo)
    make(root, first)
    repo.run("add", "data")
    make(root, second)
    # A file that became a directory, or the reverse, is one change: it is named by its first part.
    parts = sorted({path.partition("/")[0] for path in naive(first, second)})
    chance.shuffle(parts)  # type: ignore[attr-defined]
    for part in parts:
        repo.run("add", f"data/{part}")
    assert json.loads(repo.read("data.vml")) == whole
    assert said(repo) == {}
