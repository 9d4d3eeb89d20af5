"""What pushes and fetches share: what is to be moved, within which bounds, and one object read from a remote."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from vcs_ml.errors import CorruptError
from vcs_ml.store import objects, pack, page
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Row
from vcs_ml.store.remote import Remote, remedy
from vcs_ml.store.remotes.protocol import NotFound

T = TypeVar("T")
LARGE = 8 << 20  # above this a blob is streamed, never held in memory
WINDOW = 4 << 20
TRIES = 5  # how often a transfer begins anew because a gc moved what it was reading
ROUND = 256 << 20  # bytes between two publications: what a kill can cost


class Need(NamedTuple):
    """An object to be moved: its size (-1 where not known), and the tracked thing and path inside it it is for."""

    oid: ObjectId
    size: int
    tracked: str
    inner: bytes = b""

    @property
    def path(self) -> str:
        """Where people know it."""
        return f"{self.tracked}/{os.fsdecode(self.inner)}" if self.inner else self.tracked


class Moved(NamedTuple):
    """What a transfer did: objects and their bytes before compression, bytes written to the remote or read."""

    objects: int
    bytes: int
    stored: int

    def plus(self, other: Moved) -> Moved:
        """The sum of two transfers."""
        return Moved(*map(sum, zip(self, other, strict=True)))


NOTHING = Moved(0, 0, 0)


def limit(oid: ObjectId) -> int:
    """How many bytes of an object may be taken into memory at once."""
    return page.BYTES_MAX if oid[-1] == objects.NODE else LARGE


def again(remote: Remote, work: Callable[[], T]) -> T:
    """What `work` returns, which reads what `find` names on the remote and may be begun anew.

    A gc over there may move objects to other packs meanwhile. So what is not found is looked for once more, with a
    new index; what is in no index only if that is another than before.
    """
    for left in reversed(range(TRIES)):
        try:
            return work()
        except NotFound:
            if not left:
                raise
            remote.refresh_index()
        except MissingObject:
            if not left or not remote.refresh_index():
                raise
    raise AssertionError("unreachable")


def reader(store: LocalStore, remote: Remote) -> Callable[[ObjectId], bytes]:
    """Nodes from the store, or from what is known of a remote where the store lacks them."""

    def read(oid: ObjectId) -> bytes:
        try:
            return store.read(oid)
        except MissingObject as error:
            lack = error

        def read_there() -> bytes:
            found = remote.find(oid)
            if found is None:
                raise lack
            return read_one(remote, *found)

        return again(remote, read_there)

    return read


def read_one(remote: Remote, name: bytes, row: Row, *, path: str = "") -> bytes:
    """One object by a read of its own, verified; CorruptError."""
    where = f"{path}: " if path else ""
    if max(row.raw, row.stored) > limit(row.oid):
        raise CorruptError(f"{where}remote {remote.name!r} lists {row.raw} bytes for an object that cannot have them")
    data = remote.backend.read_range(pack.key(name), row.offset, row.stored)
    try:
        return bytes(pack.decode_object(row, data, remote.algorithm))
    except CorruptError as error:
        raise CorruptError(
            f"{where}remote {remote.name!r}, {pack.key(name)}: {error.message}",
            hint=remedy(remote.name),
        ) from None


def missing_on(remote: Remote, lacking: Sequence[Need]) -> MissingObject:
    """The error for objects that a remote does not have."""
    first = lacking[0]
    what = objects.describe(first.oid, remote.algorithm)
    named = f"{first.path}: {what}" if first.path else what
    more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
    return MissingObject(
        first.oid,
        f"{named} is not on remote {remote.name!r}{more}",
        hint="somebody who has it must `vml push`; or try another remote with `-r NAME` (vml remote list)",
    )
