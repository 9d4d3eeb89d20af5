"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vcs_ml import fs


def test_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fs.write_atomic(path, b"one")
    fs.write_atomic(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_is_no_file_is_written_into(tmp_path: Path) -> None:
    """Only in a directory of its own: as root, a mistake here would replace a device."""
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    fs.write_named(file, b"one")
    link.symlink_to(file)
    fs.write_named(link, b"two")
    assert link.is_symlink()
    assert file.read_bytes() == b"two"
    fs.write_named(file, b"three")
    assert file.read_bytes() == b"three"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fs.write_named(pipe, b"four")
        assert os.read(reader, 10) == b"four"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    with pytest.raises(IsADirectoryError):
        fs.write_named(tmp_path, b"")


def test_umask_decides_without_a_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        fs.write_atomic(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_failure_names_the_file_and_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fs.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fs.write_atomic(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("count", [3, 300])
def test_many_files_appear_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    scratch = tmp_path / "scratch"
    files = {tmp_path / str(i): b"%d" % i for i in range(count)}
    fs.write_many(files, scratch=scratch)
    assert {path: path.read_bytes() for path in files} == files
    assert list(scratch.iterdir()) == []

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fs.os, "sync", full)
    if count == 300:
        with pytest.raises(OSError, match="No space left"):
            fs.write_many(dict.fromkeys(files, b"new"), scratch=scratch)
        assert {path: path.read_bytes() for path in files} == files
        assert list(scratch.iterdir()) == []


def test_tmp_names_are_recognised() -> None:
    assert fs.is_tmp(fs.tmp_name())
    assert fs.tmp_name() != fs.tmp_name()
    assert not fs.is_tmp("data")
