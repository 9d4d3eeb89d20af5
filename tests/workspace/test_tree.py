"""The walk: which files are found, which are refused, and that no link is followed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from vcs_ml.errors import UserError
from vcs_ml.store import page
from vcs_ml.workspace import tree
from vcs_ml.workspace.ignore import Ignore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a bit of everything."""
    data = tmp_path / "data"
    for path in ("b", "a/x", "a-b", "a/deep/y", ".hidden"):
        target = data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path)
    (data / "empty").mkdir()
    (data / "link").symlink_to("a")
    return data


def found(root: Path, prefix: str = "", rules: str = "") -> list[str]:
    if rules:
        (root.parent / ".vmlignore").write_text(rules)
    walk = tree.walk(os.fsencode(root), Ignore(root.parent), prefix=os.fsencode(prefix), project_path="data")
    return [os.fsdecode(tree.join(folder.path, name)) for folder in walk.folders for name in folder.names]


def refused(root: Path, prefix: str = "") -> dict[bytes, str]:
    return dict(tree.walk(os.fsencode(root), Ignore(root.parent), prefix=os.fsencode(prefix)).refused)


def test_everything(root: Path) -> None:
    assert sorted(found(root)) == [".hidden", "a-b", "a/deep/y", "a/x", "b", "link"]


def test_a_part(root: Path) -> None:
    assert sorted(found(root, "a")) == ["a/deep/y", "a/x"]
    assert found(root, "a/deep/y") == ["a/deep/y"]
    assert found(root, "b") == ["b"]
    assert found(root, "link") == ["link"]
    for prefix in ("nosuch", "a/nosuch", "b/below-a-file", "link/x", "a/x/y/z", "empty"):
        assert found(root, prefix) == []


def test_ignored(root: Path) -> None:
    assert sorted(found(root, rules="deep/\n*.txt\n/data/b\n")) == [".hidden", "a-b", "a/x", "link"]
    assert found(root, "a/deep") == []


def test_refused(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "a/.git").mkdir()
    (root / ".vml").write_text("")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # a socket's name is short
        try:
            server.bind("sock")
        finally:
            os.chdir(here)
    assert set(refused(root)) == {b"pipe", b"sock", b"a/.git", b".vml"}
    assert set(refused(root, "pipe")) == {b"pipe"}


def test_our_scratch_is_passed_by(root: Path) -> None:
    (root / ".vml-tmp-0123456789abcdef").write_text("left by a kill")
    assert sorted(found(root)) == [".hidden", "a-b", "a/deep/y", "a/x", "b", "link"]


def test_a_link_is_not_a_directory(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    assert "out" in found(root)
    assert found(root, "out/secret") == []
    (tmp_path / "linked").symlink_to(root)
    assert found(tmp_path / "linked") == []


def test_kinds() -> None:
    assert tree.entry_kind(0o100644) == page.FILE
    assert tree.entry_kind(0o100755) == page.EXECUTABLE
    assert tree.entry_kind(0o100611) == page.FILE  # the owner's bit decides
    assert tree.entry_kind(0o120777) == page.SYMLINK


def test_links_are_checked(root: Path) -> None:
    (root / "bad").symlink_to("/etc")
    (root / "a/up").symlink_to("../b")
    raw = os.fsencode(root)
    tree.check_links(raw, [b"link", b"a/up"])
    with pytest.raises(UserError, match="absolute"):
        tree.check_links(raw, [b"link", b"bad"])
