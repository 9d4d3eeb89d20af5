"""Which pushes a remote has seen, and which of them a gc has to keep data for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from vcs_ml.errors import CorruptError
from vcs_ml.store import records, threads
from vcs_ml.store.records import RETAIN, Record
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.protocol import NotFound


class Pushes(NamedTuple):
    """Confirmed pushes as (ulid, time), newest first; the times of announced ones; what each says."""

    listed: list[tuple[str, float]]
    announced: dict[str, float]
    known: dict[str, Record]

    def superfluous(self, now: float, forgotten: Collection[str] = ()) -> list[str]:
        """The keys of those that keep no data alive: expired ones, and confirmed ones of `forgotten` projects.

        They count until they are deleted: what is not in this list does. With them go announcements of what was
        confirmed.
        """
        expired = {*records.expired(self.listed, self.known, now)}
        lost = {ulid for ulid, _ in self.listed if self.known[ulid].project in forgotten}
        confirmed = {ulid for ulid, _ in self.listed}
        over = {ulid for ulid, time in self.announced.items() if ulid in confirmed or now - time > RETAIN}
        return [
            *(f"pushing/{ulid}.json" for ulid in sorted(over)),
            *(f"roots/{ulid}.json" for ulid in sorted(expired | lost)),
        ]

    def without(self, keys: Collection[str]) -> Pushes:
        """All but those."""
        gone = frozenset(keys)
        return Pushes(
            [each for each in self.listed if f"roots/{each[0]}.json" not in gone],
            {ulid: time for ulid, time in self.announced.items() if f"pushing/{ulid}.json" not in gone},
            self.known,
        )


class Project(NamedTuple):
    """A project that has pushed: when last by the server's time, at which commit, which paths."""

    time: float
    commit: str | None
    paths: list[str]


def projects(pushes: Pushes) -> dict[str, Project]:
    """Who has pushed. A gc must be given the refs of each of them, or be told to forget it."""
    found: dict[str, Project] = {}
    for ulid, time in [*pushes.listed, *pushes.announced.items()]:
        record = pushes.known[ulid]
        paths = sorted({root.path for root in record.roots})
        found.setdefault(record.project, Project(time, record.commit, paths))
    return found


def read_pushes(remote: Remote, *, jobs: int, known: Mapping[str, Record] | None = None) -> Pushes:
    """Every push, those in `known` without reading them again. Whoever depends on when it looks has to `forget` before.

    CorruptError for a record that cannot be read: what it keeps alive is not known.
    """
    # In this order: an announcement goes only after it was confirmed, so that every push is seen in one of the two.
    announced = {
        key[1]: item.modified
        for item in remote.listing.below("pushing/")
        if (key := records.parse_key(item.key)) and key[0] == "pushing"
    }
    listed = records.newest_first(remote.listing.below("roots/"))
    keys = {ulid: f"pushing/{ulid}.json" for ulid in announced} | {ulid: f"roots/{ulid}.json" for ulid, _ in listed}
    have = dict(known or {})
    news = [ulid for ulid in keys if ulid not in have]
    with threads.pool(jobs) as pool:
        read = zip(news, pool.map(lambda ulid: _read(remote, keys[ulid]), news), strict=True)
        have |= {ulid: record for ulid, record in read if record is not None}
    listed = [each for each in listed if each[0] in have]
    return Pushes(listed, {ulid: time for ulid, time in announced.items() if ulid in have}, have)


def _read(remote: Remote, key: str) -> Record | None:
    try:
        record = records.parse_record(remote.backend.read(key), remote.algorithm, source=key)
    except NotFound:  # another gc removed it
        return None
    if record is None:
        raise CorruptError(
            f"remote {remote.name!r}: {key} is damaged, so what it keeps alive is not known",
            hint="no data was deleted; move it away over there if every project has pushed since",
        )
    return record
