"""Locks between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import oscalls
from vcs_ml import fs, locks
from vcs_ml.errors import UserError
from vcs_ml.locks import lock

HOLD = """
import sys
from pathlib import Path
from vcs_ml.locks import lock
sys.argv[0] = "/usr/bin/vml"
with lock(Path(sys.argv[2]), shared=sys.argv[3] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(path: Path, kind: str = "exclusive") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, "add", str(path), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_exclusive_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "there"
    with held(path) as other:
        with pytest.raises(UserError) as caught, lock(path, timeout=0):
            pass
        assert caught.value.message == f"{path} is locked by vml add (pid {other.pid})"
        assert caught.value.hint
        with pytest.raises(UserError), lock(path, shared=True, timeout=0.01):
            pass
    with lock(path, timeout=0):
        assert path.exists()
    assert path.exists()


def test_shared_holders_share_and_are_named(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with held(path, "shared") as first, held(path, "shared") as second:
        with lock(path, shared=True, timeout=0):
            pass
        with pytest.raises(UserError) as caught, lock(path, timeout=0):
            pass
        assert any(f"vml add (pid {pid})" in caught.value.message for pid in (first.pid, second.pid))
    with lock(path, timeout=0):
        pass


def test_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with held(path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with lock(path, timeout=5):
            pass


def test_waiting_says_for_whom_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    path = tmp_path / "store"
    said: list[str] = []
    with held(path) as other:
        with pytest.raises(UserError), lock(path, timeout=0.1, waiting=said.append):
            pass
        assert said == [f"waiting for vml add (pid {other.pid}) (lock.timeout limits how long)"]


def test_waiting_ends_when_the_holder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    path = tmp_path / "store"
    with held(path) as other:
        assert other.stdin is not None
        end = other.stdin.close
        with lock(path, timeout=30, waiting=lambda message: end()):
            pass


def test_stale_and_foreign_holders(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(b"junk\xff" * 100)
    with lock(path):
        fd = os.open(path, os.O_RDWR)
        try:
            assert f"(pid {os.getpid()})" in locks.holder(fd)
            os.pwrite(fd, b"7\tfar.example\tvml gc".ljust(128, b"\0"), os.getpid() % 32 * 128)
            assert locks.holder(fd) == "vml gc (pid 7 on far.example)"
        finally:
            os.close(fd)


def test_only_a_file_is_a_lock(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "dangling").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "dangling", "fifo"):
        with pytest.raises(UserError, match="no regular file") as caught, lock(tmp_path / name):
            pass
        assert caught.value.hint
    assert (tmp_path / "mine").read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/x/vml", "-q", "-C", "dir", "remote", "modify", "secret"], "vml remote"),
        (["/x/vcs_ml/__main__.py", "add"], "vml add"),
        (["/x/vml"], "vml"),
        (["train.py", "secret"], "train.py"),
        ([""], "python"),
    ],
)
def test_command_tells_no_arguments(argv: list[str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert locks.command() == name


def test_what_a_kill_left_beside_a_lock_is_swept_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def killed() -> None:
        with oscalls.watched(lambda name, _n, _args: os._exit(1) if name == "unlink" else None), lock(path):
            pass

    oscalls.end(oscalls.in_child(killed, tmp_path / "log"))
    (left,) = fs.scratch_in(tmp_path)
    assert os.stat(left).st_ino == path.stat().st_ino
    with lock(path):
        fs.discard(left)
        assert not os.path.exists(left)
        with pytest.raises(UserError), lock(path, timeout=0):
            pass


def test_a_lock_is_made_although_its_scratch_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def sweep(name: str, n: int, _args: tuple[object, ...]) -> None:
        if name == "link" and n < 3:
            (left,) = fs.scratch_in(tmp_path)
            fs.discard(left)

    with oscalls.watched(sweep) as names, lock(path):
        assert names.count("link") == 2
        assert not fs.scratch_in(tmp_path)
