"""What may come of posting a report: a comment, no right to write one, or a request that failed."""

from __future__ import annotations

from typing import Literal, NamedTuple

from vcs_ml.errors import RemoteError


class Posted(NamedTuple):
    """Where a comment is, and what was done to have it there."""

    url: str
    action: Literal["created", "updated"]


class NotPosted(RemoteError):
    """There is nowhere to post to, or no right to, by the nature of this run: nothing has failed."""


class Passing(RemoteError):
    """What may be better a moment later; whether a write was done before it is not known."""


class Refused(RemoteError):
    """An answer with this HTTP status, which would be the same again."""

    def __init__(self, message: str, status: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status
