"""Packs on a remote that no index names, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vcs_ml.store import inspect, pack
from vcs_ml.store.holdings import Holdings
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Row
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes.protocol import Backend


class RemoteFile(NamedTuple):
    """A pack on a remote, read in ranges."""

    backend: Backend
    key: str
    size: int

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`; RemoteError."""
        return self.backend.read_range(self.key, start, length)


class Strays:
    """What packs that no index names hold, by their own tables, which are read when they are first asked for."""

    def __init__(self, remote: Remote, found: Holdings, damaged: Mapping[bytes, Mapping[ObjectId, str]]) -> None:
        self._remote, self._found, self._damaged = remote, found, damaged
        self._tables: dict[bytes, dict[ObjectId, Row]] = {}
        self.names = list(found.unlisted)

    def is_damaged(self, name: bytes) -> bool:
        """Whether something in one of them is."""
        return name in self._found.damaged or name in self._damaged

    def rows(self, name: bytes) -> dict[ObjectId, Row]:
        """What one of them holds, as far as it is not known to be damaged; nothing where its table is."""
        if name not in self._tables:
            file = RemoteFile(self._remote.backend, pack.key(name), self._found.packs[name])
            rows = inspect.table_of(name, file, self._remote.algorithm)[1]
            self._tables[name] = {row.oid: row for row in rows}
        bad = {**self._damaged.get(name, {}), **self._found.damaged.get(name, {})}
        return {oid: row for oid, row in self._tables[name].items() if oid not in bad} if bad else self._tables[name]

    def places(self, oid: ObjectId) -> Iterator[tuple[bytes, Row]]:
        """Where an object lies in them."""
        for name in self.names:
            if row := self.rows(name).get(oid):
                yield name, row
