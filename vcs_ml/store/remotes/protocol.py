"""What the packed layout needs from a place that keeps bytes: few operations on immutable keys, and its time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from vcs_ml.errors import RemoteError
from vcs_ml.hashing import Buffer

# What is read whole is an index or a record; packs are read in ranges.
_INDEX_MAX: Final = 1 << 30
_RECORD_MAX: Final = 64 << 20
PROBE: Final = "tmp/probe"  # one key for all, so that they do not pile up where nothing may be deleted
_KEY: Final = re.compile(r"[a-z]+(?:[/._-][A-Za-z0-9]+)*")
# What a TLS client says of a server that does not speak it.
_PLAIN: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")


class NotFound(RemoteError):
    """There is nothing under this key (any more)."""


class NotSetUp(RemoteError):
    """An empty place, which the first push would make a remote."""


class TooShort(RemoteError):
    """There are fewer bytes under this key than were asked for."""


class CannotList(RemoteError):
    """Keys can be read there by those who know them, but nobody is told which there are."""


class Denied(RemoteError):
    """This may not be read, or it is not there: who may not list is not told which."""


class Place(NamedTuple):
    """What errors call a remote: its name in the settings, where that is known, and its address."""

    called: str
    address: str

    def __str__(self) -> str:
        return f"remote {self.called!r}: {self.address}" if self.called else self.address

    @property
    def name(self) -> str:
        """The name as a hint needs it."""
        return self.called or "NAME"

    @property
    def repair(self) -> str:
        """What to do about damage."""
        return f"vml fsck --remote {self.name} --repair, in a clone that has the data"


class Item(NamedTuple):
    """One stored key: its size in bytes and, by the server's clock, when it was written (seconds)."""

    key: str
    size: int
    modified: float


class Traits(NamedTuple):
    """What is peculiar to a place: whether `write_new` can refuse to replace, and what a delete does not do there."""

    conditional: bool
    deletes: tuple[str, ...]


class Upload(Protocol):
    """Bytes on their way in; nothing is visible before `commit`."""

    def write(self, data: Buffer) -> None: ...
    def commit(self, key: str) -> None: ...
    def abort(self) -> None: ...


class Backend(Protocol):
    """A directory or a bucket. Keys are `/`-separated ASCII; what a key holds never changes."""

    url: str
    gathers: bool  # whether an upload is held in memory until it is committed

    def is_empty(self) -> bool:
        """Whether there is nothing at all, of ours or of anybody's, but scratch of ours."""
        ...

    def read(self, key: str) -> bytes:
        """Everything under `key`; NotFound if there is nothing."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`; NotFound, or TooShort if the key holds fewer."""
        ...

    def create(self) -> Upload:
        """Begin to store something whose key is known only at the end."""
        ...

    def write_new(self, key: str, data: Buffer) -> bool:
        """Store `data` under a key that nothing has yet; False, and nothing stored, where something has.

        Some S3 servers know no conditions and store it all the same: what must not be replaced is read back.
        """
        ...

    def replace(self, key: str, data: Buffer) -> None:
        """Store `data` under `key`, also where something else is: only for what may be lost."""
        ...

    def list(self, prefix: str) -> Iterator[Item]:
        """Everything below `prefix` (a key ending in `/`), sorted by key. CannotList."""
        ...

    def stat(self, key: str) -> Item | None:
        """The item, None if there is nothing under `key`."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is fine."""
        ...

    def peek(self) -> Sequence[Item] | None:
        """Everything there is, of ours or of anybody's, sorted by key, if one request tells; else None."""
        ...

    def now(self) -> float:
        """The time by the clock that `Item.modified` is taken from (seconds)."""
        ...

    def sweep(self, before: float) -> int:
        """Remove uploads that were never finished and are older than `before`; how many there were."""
        ...

    def traits(self, scratch: str) -> Traits:
        """Found by asking, and by writing once more to the key `scratch`, which the caller has made."""
        ...

    def requests(self) -> int:
        """How many requests were sent so far, by forked processes too; 0 where there is no such thing."""
        ...


def valid_key(key: str) -> bool:
    """Whether this is a key as vml makes them; whatever a listing says is checked before it is used."""
    return _KEY.fullmatch(key) is not None


def is_scratch(key: str) -> bool:
    """Whether vml itself puts this into a bucket for a moment. Nobody else's keys below tmp/ are ours to remove."""
    return key == PROBE


def check_key(place: Place, key: str) -> None:
    """RemoteError for what is no key."""
    if not valid_key(key):
        raise RemoteError(f"{place}: refusing the key {key!r}")


def size_limit(key: str) -> int:
    """The most bytes that what is read whole can have."""
    return _INDEX_MAX if key.startswith("index/") else _RECORD_MAX


def check_size(place: Place, key: str, size: int) -> None:
    """RemoteError for more bytes than that, before memory is taken for it."""
    if size > size_limit(key):
        raise RemoteError(f"{place}: {key} has {size} bytes, more than vml ever wrote there", hint=place.repair)


def too_short(place: Place, key: str, start: int, length: int) -> TooShort:
    """The error for a range that a key does not have."""
    return TooShort(f"{place}: {key} is truncated: it has no bytes {start}-{start + length}", hint=place.repair)


def not_found(place: Place, key: str) -> NotFound:
    """The error for a key that is not there."""
    return NotFound(
        f"{place}: there is no {key}",
        hint=f"run the command again; if it is gone for good: vml fsck --remote {place.name} --repair",
    )


def insecure(place: Place, error: BaseException, setting: str) -> RemoteError:
    """The error where TLS failed; `setting` holds the server's address."""
    if any(mark in str(error).upper().replace(" ", "_") for mark in _PLAIN):
        return RemoteError(
            f"{place}: the server does not speak TLS there ({error})",
            hint=f"is the port right? without TLS: vml remote modify {place.name} {setting} http://...",
        )
    if "CERTIFICATE" in str(error).upper():
        hint = f"for a server with certificates of its own: vml remote modify {place.name} ca_bundle FILE"
        return RemoteError(f"{place}: the certificate is not trusted ({error})", hint=hint)
    return RemoteError(f"{place}: no secure connection ({error})", hint="is the address right, and its port?")
