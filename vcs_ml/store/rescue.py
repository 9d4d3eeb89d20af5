"""Living objects out of packs that a gc takes away: copied on the remote as they are stored, each verified."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import Buffer
from vcs_ml.store import objects, pack
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Builder, Row
from vcs_ml.store.remote import Remote, remedy
from vcs_ml.store.transfer import NOTHING, ROUND, Moved, Need, Range, again, limit, ranges_of

_Place = tuple[bytes, Row]


def stranded(remote: Remote, alive: Iterable[ObjectId], doomed: Collection[bytes]) -> Iterator[_Place]:
    """Where those living objects lie that are in `doomed` packs alone; what is in no pack is not there to be lost."""
    for oid in alive:
        if remote.find(oid, without=doomed) is None and (place := remote.find(oid)):
            yield place


def rescue(remote: Remote, alive: Collection[ObjectId], doomed: Collection[bytes]) -> Moved:
    """Copy what is stranded to new packs and publish them, every so often, so that a kill loses little.

    Raises CorruptError for an object that is damaged over there.
    """

    def copy_all() -> Moved:
        moved, part, filled = NOTHING, [], 0
        for place in list(stranded(remote, alive, doomed)):
            part.append(place)
            filled += place[1].stored
            if filled >= ROUND:
                moved, part, filled = moved.plus(_copy(remote, part)), [], 0
        return moved.plus(_copy(remote, part)) if part else moved

    return again(remote, copy_all)  # another gc may copy and delete the same


def check_twins(remote: Remote, alive: Iterable[ObjectId], doomed: Collection[bytes], going: Collection[bytes]) -> None:
    """Read the copies that stay of living objects of which another copy goes; CorruptError if one is damaged."""
    staying = [
        place
        for oid in alive
        if (place := remote.find(oid, without=doomed)) and any(name in going for name, _ in remote.catalog.places(oid))
    ]
    for each in ranges_of([_bounded(remote, *place) for place in staying]):
        key = pack.key(each.pack)
        data = memoryview(remote.backend.read_range(key, each.start, each.length))
        for _, row in each.wanted:
            _check(remote, key, row, data[row.offset - each.start :][: row.stored])


def _bounded(remote: Remote, name: bytes, row: Row) -> tuple[bytes, Row, Need]:
    """A place as `ranges_of` takes it; CorruptError where more is listed than any object has."""
    if max(row.raw, row.stored) > limit(row.oid):
        what = objects.describe(row.oid, remote.algorithm)
        raise _damaged(remote, pack.key(name), f"{what} cannot have {row.raw} bytes")
    return name, row, Need(row.oid, row.raw, "")


def _check(remote: Remote, key: str, row: Row, stored: Buffer) -> None:
    try:
        pack.decode_object(row, stored, remote.algorithm)
    except CorruptError as error:
        raise _damaged(remote, key, error.message) from None


def _copy(remote: Remote, places: list[_Place]) -> Moved:
    packs = []
    for is_meta in (False, True):
        builder = Builder(remote.backend, remote.algorithm)
        mine = [_bounded(remote, name, row) for name, row in places if objects.is_meta(row.oid) == is_meta]
        try:
            for each in ranges_of(mine):
                _copy_range(remote, builder, each)
            packs += builder.finish()
        finally:
            builder.abort()
    remote.publish_index(packs)
    rows = [row for each in packs for row in each.rows]
    return Moved(len(rows), sum(row.raw for row in rows), sum(row.stored for row in rows))


def _copy_range(remote: Remote, builder: Builder, each: Range) -> None:
    key = pack.key(each.pack)
    data = memoryview(remote.backend.read_range(key, each.start, each.length))
    for _, row in each.wanted:
        stored = data[row.offset - each.start :][: row.stored]
        _check(remote, key, row, stored)
        builder.add_stored(row.oid, stored, row.raw, row.flags)


def _damaged(remote: Remote, key: str, message: str) -> CorruptError:
    return CorruptError(
        f"remote {remote.name!r}, {key}: {message}",
        hint=f"no data was deleted; {remedy(remote.name)}",
    )
