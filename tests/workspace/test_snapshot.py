"""A look at a tracked directory: what it hashes, what it remembers, and where it differs from a tree."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from tests.conftest import Repo
from vcs_ml.progress import SILENT
from vcs_ml.store.ingest import Folder, Stored
from vcs_ml.workspace import opening, snapshot, tracked
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot


class Looker:
    """Takes looks at `data`, and counts what each hashes."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self.hashed: list[str] = []

    def take(self, prefix: bytes = b"", *, rehash: bool = False) -> Snapshot:
        project = Project.find(self.repo.path, os.environ)
        measure = snapshot.measurer(project, SILENT)
        self.hashed = []

        def hash(root: bytes, folders: Sequence[Folder]) -> list[Stored]:
            self.hashed += [os.fsdecode(os.path.join(f.path, name)) for f in folders for name in f.names]
            return measure(root, folders)

        return snapshot.take(project, "data", Ignore(project.root), hash, prefix=prefix, rehash=rehash)

    def apart(self, shot: Snapshot) -> dict[str, str]:
        """path -> what is wanted and here, as two letters: - nothing, x something."""
        project = Project.find(self.repo.path, os.environ)
        store = opening.open_store(project)
        wanted = tracked.in_workspace(project)["data"].oid
        return {
            os.fsdecode(each.path): ("x" if each.wanted else "-") + ("x" if each.here else "-")
            for each in snapshot.apart(shot, wanted, store.read)
        }


@pytest.fixture
def looker(repo: Repo) -> Looker:
    for path in ("a", "b", "sub/c"):
        target = repo.write(f"data/{path}", path)
        os.utime(target, (1, 1))
    repo.run("add", "data")
    return Looker(repo)


def test_what_is_hashed(repo: Repo, looker: Looker) -> None:
    repo.run("status", "--rehash")
    repo.write("data/b", "changed")
    shot = looker.take()
    assert "b" in looker.hashed
    assert set(shot.edits) == {b"b"}
    assert looker.apart(shot) == {"b": "xx"}
    looker.take(rehash=True)
    assert sorted(looker.hashed) == ["a", "b", "sub/c"]
    assert set(looker.take(b"sub").edits) == set()


def test_added_and_deleted(repo: Repo, looker: Looker) -> None:
    (repo.path / "data/sub/c").unlink()
    repo.write("data/new/x", "")
    shot = looker.take()
    assert {os.fsdecode(path): entry is None for path, entry in shot.edits.items()} == {"sub/c": True, "new/x": False}
    assert looker.apart(shot) == {"new/x": "-x", "sub/c": "x-"}
    assert set(looker.take(b"new").edits) == {b"new/x"}
    assert set(looker.take(b"sub").edits) == {b"sub/c"}
    assert set(looker.take(b"sub/c").edits) == {b"sub/c"}


def test_two_parts_are_one_look(repo: Repo, looker: Looker) -> None:
    repo.write("data/a", "changed")
    repo.write("data/sub/c", "changed")
    both = snapshot.merged([looker.take(b"a"), looker.take(b"sub")])
    assert both.edits == looker.take().edits


def test_below() -> None:
    for path, prefix, expected in (
        (b"a", b"", True),
        (b"a", b"a", True),
        (b"a/b", b"a", True),
        (b"ab", b"a", False),
        (b"a", b"a/b", False),
    ):
        assert snapshot.below(path, prefix) is expected
