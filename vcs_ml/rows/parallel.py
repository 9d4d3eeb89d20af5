"""Several jobs side by side, in forked processes."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from vcs_ml.errors import VmlError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")


def run(jobs: Sequence[Callable[[], T]], *, forked: bool) -> list[T]:
    """The results of all jobs; if `forked`, the first one runs in this process and each other one in a fork.

    An error of a job is raised here, after the others have been stopped.
    """
    if not forked or len(jobs) == 1:
        return [job() for job in jobs]
    import multiprocessing  # noqa: PLC0415 - costs 15 ms, and most commands compare no tables

    context = multiprocessing.get_context("fork")  # what a job reads is inherited; its result comes through a pipe
    with contextlib.ExitStack() as stack:
        receivers = []
        for job in jobs[1:]:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_work, args=(job, sender), daemon=True)
            child.start()
            sender.close()
            stack.callback(child.join)
            stack.callback(child.kill)  # it has sent its result, or nobody waits for it
            receivers.append(stack.enter_context(receiver))
        return [jobs[0](), *map(_received, receivers)]


def _work(job: Callable[[], T], sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our parent has had it, too, and ends us
    try:
        outcome: tuple[T | None, Exception | None] = job(), None
    except (VmlError, OSError) as error:
        outcome = None, error
    except Exception:
        outcome = None, RuntimeError(f"in a forked job:\n{traceback.format_exc()}")
    sender.send(outcome)


def _received(receiver: Connection) -> Any:
    try:
        result, error = receiver.recv()
    except EOFError:
        raise VmlError("a process that compares tables was killed", hint="it may need more memory") from None
    if error is not None:
        raise error
    return result
