"""What the packed layout needs from a place that keeps bytes: few operations on immutable keys, and its time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from vcs_ml.errors import RemoteError
from vcs_ml.hashing import Buffer


class NotFound(RemoteError):
    """There is nothing under this key (any more)."""


class Item(NamedTuple):
    """One stored key: its size in bytes and, by the server's clock, when it was written (seconds)."""

    key: str
    size: int
    modified: float


class Upload(Protocol):
    """Bytes on their way in; nothing is visible before `commit`."""

    def write(self, data: Buffer) -> None: ...
    def commit(self, key: str) -> None: ...
    def abort(self) -> None: ...


class Backend(Protocol):
    """A directory or a bucket. Keys are `/`-separated ASCII; what a key holds never changes."""

    url: str

    def is_empty(self) -> bool:
        """Whether there is nothing at all, of ours or of anybody's."""
        ...

    def read(self, key: str) -> bytes:
        """Everything under `key`; NotFound if there is nothing."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`; NotFound, or RemoteError if the key holds fewer."""
        ...

    def create(self) -> Upload:
        """Begin to store something whose key is known only at the end."""
        ...

    def write_new(self, key: str, data: Buffer) -> bool:
        """Store `data` under a key that nothing has yet; False, and nothing stored, where something has."""
        ...

    def list(self, prefix: str) -> Iterator[Item]:
        """Everything below `prefix` (a key ending in `/`), sorted by key."""
        ...

    def stat(self, key: str) -> Item | None:
        """The item, None if there is nothing under `key`."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is fine."""
        ...

    def now(self) -> float:
        """The time by the clock that `Item.modified` is taken from (seconds)."""
        ...

    def sweep(self, before: float) -> int:
        """Remove uploads that were never finished and are older than `before`; how many there were."""
        ...
