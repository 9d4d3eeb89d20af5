"""A server's time, as the dates of its answers tell it."""

from __future__ import annotations

import email.utils
import time


class Clock:
    """The time by a server, in whole seconds when it was last heard of; ours, until then."""

    def __init__(self) -> None:
        self._heard: tuple[float, float] | None = None  # the server's time, and our monotonic one at that moment

    @property
    def is_known(self) -> bool:
        """Whether the server has said anything yet."""
        return self._heard is not None

    def hear(self, date: str | None) -> None:
        """Take the `Date` of an answer that has just come."""
        if when := parse(date):
            self._heard = when, time.monotonic()

    def now(self) -> float:
        """The server's time now."""
        there, here = self._heard or (time.time(), time.monotonic())
        return there + time.monotonic() - here

    def skew(self) -> float:
        """Seconds by which this machine is ahead of the server."""
        return time.time() - self.now()


def parse(date: str | None) -> float | None:
    """The seconds of a date as HTTP headers have it; None where it is none."""
    try:
        parsed = email.utils.parsedate_tz(date)
        return float(email.utils.mktime_tz(parsed)) if parsed else None
    except (ValueError, OverflowError):
        return None
