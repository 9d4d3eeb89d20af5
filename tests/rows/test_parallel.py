"""Jobs in forked processes: their results, and every way in which one can fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable

import pytest

from vcs_ml.errors import UserError, VmlError
from vcs_ml.rows import parallel


def fails(error: BaseException) -> Callable[[], int]:
    def job() -> int:
        raise error

    return job


def dies() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize("forked", [True, False])
def test_results_come_in_order(forked: bool) -> None:
    pids = parallel.run([os.getpid] * 3, forked=forked)
    assert pids[0] == os.getpid() and len(set(pids)) == (3 if forked else 1)
    assert parallel.run([lambda: "a" * 10**6, lambda: "b" * 10**6], forked=forked) == ["a" * 10**6, "b" * 10**6]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_ends_all_jobs(place: int) -> None:
    jobs: list[Callable[[], int]] = [lambda: 1, lambda: 2, lambda: 3]
    jobs[place] = fails(UserError("no table", hint="look"))
    with pytest.raises(UserError, match="no table") as error:
        parallel.run(jobs, forked=True)
    assert error.value.hint == "look"
    assert not multiprocessing.active_children()


def test_errors_that_are_not_ours() -> None:
    with pytest.raises(FileNotFoundError):
        parallel.run([lambda: 1, fails(FileNotFoundError(2, "gone"))], forked=True)
    with pytest.raises(RuntimeError, match=r"(?s)in a forked job:.*ZeroDivisionError: x"):
        parallel.run([lambda: 1, fails(ZeroDivisionError("x"))], forked=True)
    with pytest.raises(KeyboardInterrupt):
        parallel.run([fails(KeyboardInterrupt()), signal.pause], forked=True)
    with pytest.raises(VmlError, match="was killed"):
        parallel.run([lambda: 1, dies], forked=True)
    assert not multiprocessing.active_children()
