"""Checkout from any state to any state, against a plain model: unsaved bytes are refused or found again."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Repo
from tests.workspace.test_status_naive import TREES, Tree, fresh, look, make, said
from vcs_ml.store import objects
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project


def store_of(repo: Repo) -> LocalStore:
    return opening.open_store(Project.find(repo.path, os.environ))


def versions(repo: Repo, root: Path, *trees: Tree) -> list[bytes]:
    """Pointers of these trees; the last is what the workspace holds."""
    found = []
    for tree in trees:
        make(root, tree)
        repo.run("add", "data")
        found.append(repo.read("data.vml"))
    return found


@settings(max_examples=40)
@given(TREES, TREES, st.lists(st.booleans(), min_size=1, max_size=4))
def test_between_recorded_versions(repo: Repo, first: Tree, second: Tree, way: list[bool]) -> None:
    root = fresh(repo)
    pointers = versions(repo, root, first, second)
    trees = (first, second)
    for to in way:
        repo.write("data.vml", pointers[to])
        repo.run("checkout")
        assert look(root) == trees[to]
        assert said(repo) == {}


def stored(repo: Repo, content: bytes) -> bool:
    store = store_of(repo)
    return objects.blob(store.algorithm.digest(content)) in store


@settings(max_examples=60)
@given(TREES, TREES, TREES, st.integers())
def test_from_any_state(repo: Repo, first: Tree, second: Tree, edited: Tree, salt: int) -> None:
    root = fresh(repo)
    pointers = versions(repo, root, second, first)
    # Bytes that no store has seen, in some of the files.
    edited = {
        path: (b"unsaved %d %s" % (salt, path.encode()), mode) if mode and (len(path) + salt) % 2 else (content, mode)
        for path, (content, mode) in edited.items()
    }
    make(root, edited)
    repo.write("data.vml", pointers[0])
    unsaved = {path for path, (content, _) in edited.items() if not stored(repo, content)}
    before = look(root)
    result = repo.run("checkout", ok=False)
    after = look(root)
    if result.code == 3:
        assert after == before
        listed = {line.strip().removeprefix("data/") for line in result.err.splitlines() if line.startswith("  ")}
        listed = {name.strip('"').replace("\\303\\251", "\u00e9") for name in listed}
        assert listed <= unsaved
        result = repo.run("checkout", "--force")
        after = look(root)
        for path, text in re.findall(
            r"^data/(\S+) is out of the workspace; its bytes are kept as (\S+) ", result.err, re.M
        ):
            store = store_of(repo)
            assert store.read(objects.parse_hash(text, store.algorithm, source="test")) == edited[path][0]
    assert {path: file for path, file in after.items() if path in second} == second
    # What is left besides was never tracked here, and is unchanged.
    others = {path: file for path, file in after.items() if path not in second}
    assert all(edited[path] == file and path not in first for path, file in others.items())
    # No byte is lost: it is where it was, or in the store.
    for path, (content, _) in edited.items():
        assert after.get(path, (None, 0))[0] == content or stored(repo, content), path
    assert set(said(repo)) == set(others)


@settings(max_examples=30)
@given(TREES, TREES, st.sampled_from(["a", "b", "c", "a/a", "b/c"]))
def test_a_part(repo: Repo, first: Tree, second: Tree, part: str) -> None:
    root = fresh(repo)
    pointers = versions(repo, root, first, second)

    def is_in(path: str) -> bool:
        return path == part or path.startswith(f"{part}/")

    above = part.rpartition("/")[0]
    if not any(is_in(path) for path in first) or any(p in (above,) for p in second if above):
        return
    repo.write("data.vml", pointers[0])
    repo.run("checkout", f"data/{part}")
    expected = {p: f for p, f in second.items() if not is_in(p)} | {p: f for p, f in first.items() if is_in(p)}
    assert look(root) == expected
    assert set(said(repo)) == {p for p in expected.keys() | first.keys() if expected.get(p) != first.get(p)}
    repo.run("checkout")
    assert look(root) == first
    assert said(repo) == {}
