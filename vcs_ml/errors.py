"""The errors a person can do something about, each with the exit code it ends the program with."""

from __future__ import annotations


class VmlError(Exception):
    """Something the user should read: a message that names the thing, and a hint that names the way out.

    Exit codes: 1 the answer is "no", 2 usage, 3 the user must act, 4 a remote or network fault.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(VmlError):
    """The user must act before the command can go on: a missing file, a conflict, no remote."""

    exit_code = 3


class UsageError(VmlError):
    """The command was not called in a way it understands."""

    exit_code = 2


class RemoteError(VmlError):
    """A remote could not be reached, or is not what it should be."""

    exit_code = 4


class CorruptError(VmlError):
    """Stored bytes do not match their id or their format; nothing was made of them."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or "nothing was taken from it; another remote or clone may have a good one")
