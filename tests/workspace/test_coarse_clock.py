"""Status where the file system's clock has two seconds: edits within one tick are seen all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Repo
from tests.workspace.test_status_naive import TREES, Tree, fresh, make, naive, said

_TICK = 2_000_000_000  # of FAT


class Coarse:
    """What the kernel says, with time stamps of so many nanoseconds."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if name in ("st_mtime_ns", "st_ctime_ns"):
            return value // _TICK * _TICK
        return value

    def stat(self, **options: Any) -> Coarse:
        """For an entry of a directory."""
        return Coarse(self._real.stat(**options))


class CoarseListing:
    def __init__(self, real: Any) -> None:
        self._real = real

    def __enter__(self) -> CoarseListing:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def __iter__(self) -> Iterator[Coarse]:
        return map(Coarse, self._real)

    def __next__(self) -> Coarse:
        return Coarse(next(self._real))

    def close(self) -> None:
        self._real.close()


@contextmanager
def coarse_clock() -> Iterator[None]:
    """The calls that tell time stamps tell coarse ones."""
    real = {name: getattr(os, name) for name in ("stat", "lstat", "fstat", "scandir")}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stat", "lstat", "fstat"):
            patch.setattr(os, name, lambda *a, _real=real[name], **k: Coarse(_real(*a, **k)))
        patch.setattr(os, "scandir", lambda *a: CoarseListing(real["scandir"](*a)))
        yield


@settings(max_examples=25)
@given(TREES, st.lists(TREES, min_size=1, max_size=3))
def test_status_is_the_naive_comparison(repo: Repo, first: Tree, then: list[Tree]) -> None:
    with coarse_clock():
        root = fresh(repo)
        make(root, first)
        repo.run("add", "data")
        assert said(repo) == {}
        for tree in then:
            make(root, tree)
            assert said(repo) == naive(first, tree)
        repo.run("commit")
        assert said(repo) == {}


def test_an_edit_of_the_same_size_within_a_tick(repo: Repo) -> None:
    with coarse_clock():
        path = repo.write("data/a", "1")
        repo.run("add", "data")
        for content in "23412":
            inode = path.stat().st_ino
            path.write_text(content)
            assert path.stat().st_ino == inode
            assert repo.changes() == ({} if content == "1" else {"data/a": "modified"})
        repo.run("checkout", "--force")
        assert repo.read("data/a") == b"1"
        repo.write("data.csv", "x")
        repo.run("add", "data.csv")
        repo.write("data.csv", "y")
        assert repo.changes() == {"data.csv": "modified"}


def test_a_pointer_edited_within_a_tick(repo: Repo) -> None:
    with coarse_clock():
        pointers = []
        for content in "12":
            repo.write("data/a", content)
            repo.run("add", "data")
            pointers.append(repo.read("data.vml"))
        for turn in (0, 1, 0, 1):
            repo.write("data.vml", pointers[turn])
            repo.run("checkout")
            assert repo.read("data/a") == b"12"[turn : turn + 1]
