"""Forked workers: results in order, errors of any kind in the parent, nobody left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import no_hang

from vcs_ml.errors import CorruptError, RemoteError, UserError, VmlError
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import workers
from vcs_ml.store.workers import fork_map


class Count:
    """A meter that adds up."""

    def __init__(self) -> None:
        self.files = self.bytes = 0

    def expect(self, files: int = 0, bytes: int = 0) -> None: ...

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        self.files += files
        self.bytes += bytes


def children() -> set[int]:
    """The processes that this one has not waited for; servers of other tests among them."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def pipes() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                found.add(int(name))
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
def _nobody_left() -> Any:
    before = pipes(), children()
    with no_hang(20):
        yield
        assert (pipes(), children()) == before


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.binary(max_size=50), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple)),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_results_come_in_the_order_of_parts(parts: list[Any]) -> None:
    assert fork_map(lambda part, meter: (part, b"x" * 10), parts, SILENT) == [(part, b"x" * 10) for part in parts]


def test_each_part_but_the_last_has_a_process_of_its_own() -> None:
    pids = fork_map(lambda part, meter: os.getpid(), range(4), SILENT)
    assert len(set(pids)) == 4
    assert pids[-1] == os.getpid()
    assert fork_map(lambda part, meter: os.getpid(), [1], SILENT) == [os.getpid()]


def test_results_larger_than_a_pipe_arrive() -> None:
    assert fork_map(lambda part, meter: bytes([part]) * (5 << 20), [1, 2, 3], SILENT) == [
        bytes([part]) * (5 << 20) for part in (1, 2, 3)
    ]


def test_progress_of_all_workers_is_added_up() -> None:
    def work(part: int, meter: Meter) -> None:
        for _ in range(part):
            meter.advance(1, 1000)

    meter = Count()
    fork_map(work, [5, 10, 20], meter)
    assert (meter.files, meter.bytes) == (35, 35_000)


def failing(error: Callable[[], BaseException], where: int) -> Callable[[int, Meter], int]:
    def work(part: int, meter: Meter) -> int:
        if part == where:
            raise error()
        return part

    return work


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("kind", [UserError, CorruptError, RemoteError])
def test_an_error_of_ours_keeps_message_hint_and_exit_code(kind: type[VmlError], where: int) -> None:
    with pytest.raises(VmlError) as caught:
        fork_map(failing(lambda: kind("what", hint="how"), where), [0, 1, 2], SILENT)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == ("what", "how", kind.exit_code)
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize("where", [0, 1])
def test_an_error_of_the_system_keeps_number_and_file(where: int) -> None:
    with pytest.raises(OSError, match="No space") as caught:
        fork_map(failing(lambda: OSError(errno.ENOSPC, "No space left on device", "/a/b"), where), [0, 1], SILENT)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/a/b")
    with pytest.raises(FileNotFoundError):
        fork_map(failing(lambda: FileNotFoundError(errno.ENOENT, "No such file", b"/a/\xff"), where), [0, 1], SILENT)


@pytest.mark.parametrize("where", [0, 1])
def test_an_error_of_the_system_without_a_number_keeps_its_message(where: int) -> None:
    with pytest.raises(OSError, match="what went wrong"):
        fork_map(failing(lambda: OSError("what went wrong"), where), [0, 1], SILENT)


@pytest.mark.parametrize("error", [RuntimeError("bug"), SystemExit(3), AssertionError()])
def test_a_bug_in_a_child_is_a_bug_here_with_its_traceback(error: BaseException) -> None:
    with pytest.raises(RuntimeError, match=r"in a worker process:\n.*Traceback"):
        fork_map(failing(lambda: error, 0), [0, 1], SILENT)


def test_a_result_that_is_no_plain_value_is_an_error() -> None:
    with pytest.raises((VmlError, RuntimeError)):
        fork_map(lambda part, meter: object(), [0, 1], SILENT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_child_is_an_error(number: int) -> None:
    def work(part: int, meter: Meter) -> int:
        if part == 0:
            os.kill(os.getpid(), number)
        return part

    with pytest.raises(VmlError, match="killed"):
        fork_map(work, [0, 1], SILENT)


def test_a_child_killed_while_it_reports_is_an_error() -> None:
    known, others = pipes(), children()

    def work(part: int, meter: Meter) -> Any:
        if part == 0:
            return b"x" * (1 << 20)  # more than a pipe holds, so it waits for us
        (mine,) = pipes() - known
        waiting = 0
        while waiting < 1000:
            (waiting,) = struct.unpack("i", fcntl.ioctl(mine, termios.FIONREAD, bytes(4)))
        for pid in children() - others:
            os.kill(pid, signal.SIGKILL)
        return part

    with pytest.raises(VmlError, match="killed"):
        fork_map(work, [0, 1], SILENT)


def test_the_others_are_stopped_when_one_fails() -> None:
    def work(part: int, meter: Meter) -> int:
        if part < 2:
            signal.pause()
        raise UserError("last")

    with pytest.raises(UserError, match="last"):
        fork_map(work, [0, 1, 2], SILENT)


def test_a_child_can_be_stopped_whatever_its_parent_does_about_signals() -> None:
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited, the parent would wait for ever
    try:
        with pytest.raises(KeyboardInterrupt):
            fork_map(_wait_or_interrupt, [0, 1], SILENT)
    finally:
        signal.signal(signal.SIGTERM, old)


def _wait_or_interrupt(part: int, meter: Meter) -> int:
    if part == 0:
        signal.pause()
    raise KeyboardInterrupt


def test_an_interrupt_stops_the_children() -> None:
    with pytest.raises(KeyboardInterrupt):
        fork_map(_wait_or_interrupt, [0, 1], SILENT)


def test_there_is_at_least_one_worker() -> None:
    assert 1 <= workers.count() <= 8
