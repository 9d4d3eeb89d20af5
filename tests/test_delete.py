"""Empty directories go, however deep; files and links stay."""

from __future__ import annotations

import os
from pathlib import Path

from vcs_ml.workspace import delete


def test_empty_directories_may_be_nested_deeply(tmp_path: Path) -> None:
    deep = tmp_path / "data"
    for _ in range(1200):
        os.mkdir(deep)
        deep /= "d"
    delete.empty_directories(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_directories_with_files_or_links_stay(tmp_path: Path) -> None:
    for name in ("a/empty", "a/full", "b/.git/x", "elsewhere/empty"):
        (tmp_path / "top" / name).mkdir(parents=True)
    (tmp_path / "top" / "a" / "full" / "file").touch()
    (tmp_path / "top" / "elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "top" / "link").symlink_to(tmp_path / "elsewhere")
    delete.empty_directories(tmp_path / "top")
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == [
        "elsewhere", "elsewhere/empty", "top", "top/a", "top/a/full", "top/a/full/file",
        "top/b", "top/b/.git", "top/b/.git/x", "top/link",
    ]  # fmt: skip
