"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vcs_ml import fs
from vcs_ml.errors import UserError


def test_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fs.write_atomic(path, b"one")
    fs.write_atomic(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


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


def test_output_goes_into_a_pipe_and_not_behind_a_link(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to("file")

    fs.write_output(pipe, b"text")
    fs.write_output(file, b"text")
    with pytest.raises(UserError, match="is a link"):
        fs.write_output(link, b"more")

    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert file.read_bytes() == b"text"
    with pytest.raises(IsADirectoryError):
        fs.write_output(tmp_path, b"text")
