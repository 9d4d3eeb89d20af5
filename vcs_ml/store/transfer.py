"""What pushes and fetches share: what is to be moved, within which bounds, and what a remote has of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from vcs_ml.errors import CorruptError, RemoteError, VmlError
from vcs_ml.store import chunk, objects, pack, page, recipe
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.pack import Row
from vcs_ml.store.recipe import Recipe
from vcs_ml.store.remote import Remote, remedy
from vcs_ml.store.remotes.protocol import NotFound, TooShort

T = TypeVar("T")
LARGE = chunk.ABOVE  # a blob above this is never held in memory, and lies on a remote as chunks
A_JOB = 2 * LARGE  # bytes that one transfer holds: what it reads, and the part of a pack that is not written yet
GAP = 1 << 20  # unwanted bytes worth reading to save a request
TRIES = 5  # how often a transfer begins anew because a gc moved what it was reading
ROUND = 128 << 20  # bytes between two publications: what a kill can cost
_TOO_MANY = 3  # requests that failed for good: it is not one pack, it is the remote

Failure = VmlError | OSError  # why one thing among several cannot be had


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


class Range(NamedTuple):
    """One read of a pack and the objects in it."""

    pack: bytes
    start: int
    length: int
    wanted: list[tuple[Need, Row]]


class Moved(NamedTuple):
    """What a transfer did: objects (a large file is one) and their bytes, bytes written to the remote or read from it.

    `deduped` are bytes of chunks that were there already, `squeezed` those that compression saved; `requests` were
    made of a server in `seconds`.
    """

    objects: int
    bytes: int
    stored: int
    deduped: int = 0
    squeezed: int = 0
    requests: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, int | float]:
        """The numbers for programs."""
        return {
            "objects": self.objects,
            "bytes": self.bytes,
            "stored": self.stored,
            "saved_by_dedup": self.deduped,
            "saved_by_zstd": self.squeezed,
            "requests": self.requests,
            "seconds": round(self.seconds, 3),
        }

    def plus(self, other: Moved) -> Moved:
        """The sum of two transfers."""
        sums = [mine + its for mine, its in zip(self[:-1], other[:-1], strict=True)]
        return Moved(*map(int, sums))._replace(seconds=self.seconds + other.seconds)


NOTHING = Moved(0, 0, 0)
_LIMITS = {objects.NODE: page.BYTES_MAX, objects.CHUNK: chunk.MAXIMUM, objects.RECIPE: recipe.BYTES_MAX}


def limit(oid: ObjectId) -> int:
    """How many bytes an object may have where it is read as a whole, as in packs."""
    return _LIMITS.get(oid[-1], LARGE)


def again(remote: Remote, work: Callable[[], T]) -> T:
    """What `work` returns, which reads what `find` names on the remote and may be begun anew.

    A gc over there may move objects to other packs meanwhile. So what is not found is looked for once more, with a
    new index; what is in no index only if that is another than before. What lies in a pack that was cut short may lie
    in another, too.
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
        except TooShort:
            if not left or not remote.avoid_short():
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


def find(remote: Remote, oid: ObjectId, *, without: Collection[bytes] = ()) -> tuple[bytes, Row] | None:
    """Where a remote has an object in one piece, as `Remote.find`; a blob too large for that does not count."""
    place = remote.find(oid, without=without)
    return place if place is None or oid[-1] != objects.BLOB or place[1].raw <= LARGE else None


def find_recipe(
    remote: Remote,
    blob: ObjectId,
    *,
    path: str = "",
    without: Collection[bytes] = (),
    read: Mapping[ObjectId, bytes] | None = None,
) -> Recipe | None:
    """The recipe of a large blob, None where the remote has none. It proves nothing about the chunks it names.

    Those that were `read` already, each verified, are not read again. A copy is kept, by which a gc here knows what is
    over there. Raises CorruptError.
    """
    oid = objects.recipe(blob)

    def find() -> Recipe | None:
        place = remote.find(oid, without=without)
        if place is None:
            return None
        data = (read or {}).get(oid) or read_one(remote, *place, path=path)
        try:
            found = recipe.decode(data, oid, remote.algorithm)
        except CorruptError as error:
            where = f"{path}: " if path else ""
            raise CorruptError(f"{where}remote {remote.name!r}: {error.message}", hint=remedy(remote.name)) from None
        remote.keep_recipe(oid, data)
        return found

    return again(remote, find)


def has(
    remote: Remote,
    oid: ObjectId,
    size: int = -1,
    *,
    without: Collection[bytes] = (),
    read: Mapping[ObjectId, bytes] | None = None,
) -> bool:
    """Whether a remote has an object of `size` bytes (-1 where not known), of a large blob every chunk.

    As of the last `refresh_index`; packs named in `without` count as absent. Recipes may be `read` already. Raises
    CorruptError for a damaged one.
    """
    if size <= LARGE and find(remote, oid, without=without):
        return True
    if oid[-1] != objects.BLOB or 0 <= size <= LARGE:
        return False
    found = find_recipe(remote, oid, without=without, read=read)
    if found is None or 0 <= size != found.size:
        return False
    return all(remote.find(each, without=without) for each in dict.fromkeys(found.chunks))


def ranges_of(places: Sequence[tuple[bytes, Row, Need]]) -> Iterator[Range]:
    """Neighbours in one pack share a read, across gaps below GAP, up to LARGE bytes."""
    current: Range | None = None
    for name, row, need in sorted(places, key=lambda place: (place[0], place[1].offset)):
        end = row.offset + row.stored
        if (
            current is not None
            and current.pack == name
            and row.offset <= current.start + current.length + GAP
            and end - current.start <= LARGE
        ):
            length = max(current.length, end - current.start)
            current.wanted.append((need, row))
            current = current._replace(length=length)
            continue
        if current is not None:
            yield current
        current = Range(name, row.offset, row.stored, [(need, row)])
    if current is not None:
        yield current


def locate(remote: Remote, needs: Sequence[Need]) -> list[tuple[bytes, Row, Need]]:
    """Where each of these lies. Raises what `seek` finds in the way."""
    found, failures = seek(remote, needs)
    raise_first(failures)
    return found


def seek(remote: Remote, needs: Sequence[Need]) -> tuple[list[tuple[bytes, Row, Need]], list[Failure]]:
    """(where these lie, why not): MissingObject naming the first that the remote does not have; CorruptError where it
    lists another size than is known, or one that cannot be.
    """
    found: list[tuple[bytes, Row, Need]] = []
    failures: list[Failure] = []
    lacking = []
    for need in needs:
        place = remote.find(need.oid)
        if place is None:
            lacking.append(need)
            continue
        name, row = place
        if need.size < 0 and row.raw > limit(need.oid):
            failures.append(
                CorruptError(f"{need.path}: the remote lists {row.raw} bytes for it", hint=remedy(remote.name))
            )
        elif 0 <= need.size != row.raw:
            failures.append(
                CorruptError(
                    f"{need.path}: remote {remote.name!r} lists {row.raw} bytes where {need.size} are recorded",
                    hint=remedy(remote.name),
                )
            )
        else:
            found.append((name, row, need))
    if lacking:
        failures.append(missing_on(remote, lacking))
    return found, failures


def raise_first(failures: Sequence[Failure]) -> None:
    """Raise one of these, if there are any: where there is one that a new index may help, that."""
    if not failures:
        return
    first = next((each for each in failures if isinstance(each, MissingObject | NotFound | TooShort)), failures[0])
    more = len(failures) - 1
    if more and isinstance(first, CorruptError):
        raise CorruptError(f"{first.message} (and {more} more)", hint=first.hint)
    raise first


def is_hopeless(failures: Sequence[Failure]) -> bool:
    """Whether there is no use in asking for more: no room here, or not one pack of the remote fails but all of it."""
    broken = [each for each in failures if isinstance(each, RemoteError) and not isinstance(each, NotFound)]
    return len(broken) >= _TOO_MANY or any(isinstance(each, OSError) for each in failures)


def parts(remote: Remote, need: Need, *, read: Mapping[ObjectId, bytes] | None = None) -> Recipe:
    """The recipe of a large blob that is to be fetched, `read` already or not. Raises MissingObject, CorruptError."""
    found = find_recipe(remote, need.oid, path=need.path, read=read)
    if found is None:
        raise missing_on(remote, [need])
    if found.size != need.size:
        raise CorruptError(
            f"{need.path}: remote {remote.name!r} has a recipe for {found.size} bytes where {need.size} are recorded",
            hint=remedy(remote.name),
        )
    return found


def sized(remote: Remote, need: Need) -> Need:
    """The need with the size that the remote has for a blob, where it has it and none was known."""
    if need.size >= 0:
        return need
    if place := find(remote, need.oid):
        return need._replace(size=place[1].raw)
    found = find_recipe(remote, need.oid, path=need.path) if need.oid[-1] == objects.BLOB else None
    return need._replace(size=found.size) if found else need


def missing_on(remote: Remote, lacking: Sequence[Need]) -> MissingObject:
    """The error for objects that a remote does not have."""
    first = lacking[0]
    what = objects.describe(first.oid, remote.algorithm)
    named = f"{first.path}: {what}" if first.path else what
    more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
    return MissingObject(
        first.oid,
        f"{named} is not on remote {remote.name!r}{more}",
        hint=f"somebody who has it must run `vml push --check -r {remote.name}`; or try another remote with `-r NAME` "
        "(vml remote list)",
    )
