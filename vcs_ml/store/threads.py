"""Threads that work for one piece of code, and how it leaves them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final

_PATIENCE: Final = 0.5  # seconds that an interrupt leaves to threads


@contextmanager
def pool(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for the body, which are waited for at its end.

    Where an error ends it, what has not begun is not begun any more. Where an interrupt does, nobody waits for a thread
    that hangs in a socket: it may go on until the program ends, so what it was given must stay open and unchanged.
    """
    made = ThreadPoolExecutor(count)
    try:
        yield made
    except BaseException as error:
        stop(made, error)
        raise
    made.shutdown()


def stop(made: ThreadPoolExecutor, error: BaseException) -> bool:
    """Begin nothing more, and wait for what was begun: after an interrupt not for long. Whether all has ended."""
    end = partial(made.shutdown, cancel_futures=True)
    if not isinstance(error, Exception):
        return within(_PATIENCE, end)
    end()
    return True


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Do `work`, but wait only so long for it; whether it has ended. It must not raise."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
