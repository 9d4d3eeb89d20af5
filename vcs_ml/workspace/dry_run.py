"""What a push or fetch would move, found without moving it: `--dry-run`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vcs_ml import output
from vcs_ml.store import download, transfer, upload
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote
from vcs_ml.store.transfer import Need
from vcs_ml.workspace import sync
from vcs_ml.workspace.sync import Wanted


class Load(NamedTuple):
    """What would travel for one tracked path: objects, their bytes, and how many of those lie on the remote
    (compressed); None for a push, which compresses as it sends. What two paths share is counted for the first.
    """

    path: str
    objects: int
    bytes: int
    stored: int | None


class DryRun(NamedTuple):
    """The loads of all paths, sorted."""

    loads: list[Load]

    @property
    def total(self) -> Load:
        """All of it, under no path."""
        stored = [load.stored for load in self.loads if load.stored is not None]
        return Load(
            "",
            sum(load.objects for load in self.loads),
            sum(load.bytes for load in self.loads),
            sum(stored) if len(stored) == len(self.loads) else None,
        )

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return {**_numbers(self.total), "paths": [{"path": load.path, **_numbers(load)} for load in self.loads]}

    def table(self) -> str:
        """The same for people, with the total last."""
        rows = [
            (
                f"{load.objects:,}",
                output.size(load.bytes),
                *([] if load.stored is None else [output.size(load.stored)]),
                output.quote(load.path) if load.path else "total",
            )
            for load in (*self.loads, self.total)
        ]
        stored = [] if self.total.stored is None else ["stored"]
        return output.table(rows, ["objects", "size", *stored, "path"], align="rr" + "r" * len(stored) + "l")


def _numbers(load: Load) -> dict[str, object]:
    found: dict[str, object] = {"objects": load.objects, "bytes": load.bytes}
    return found if load.stored is None else found | {"stored": load.stored}


def fetch(store: LocalStore, remote: Remote, items: Sequence[Wanted], *, jobs: int) -> DryRun:
    """What `sync.fetch` would bring. Lists of files that it needs to know this are brought and stored.

    MissingObject for what the remote does not have, as the fetch itself.
    """
    needed = sync.lacking(store, items)
    if not needed:
        return DryRun([])
    remote.refresh_index()
    try:
        download.fetch_nodes(store, remote, [item.root.oid for item in needed if "" in item.inner], jobs=jobs)
        missing = download.plan(store, sync.needs(store, remote, needed, {}))
    except MissingObject as error:
        raise sync.name_missing(store, remote, needed, error) from None
    large = [need for need in missing if need.size > transfer.LARGE]
    lacking = [need for need in missing if need.size <= transfer.LARGE and not transfer.find(remote, need.oid)]
    if lacking := lacking + download.lacking(remote, large):
        raise transfer.missing_on(remote, lacking)
    return _sums(_stored(remote, missing, large))


def _stored(remote: Remote, needs: Sequence[Need], large: Sequence[Need]) -> Iterator[tuple[Need, int, int]]:
    """Blobs, their bytes, and the bytes that a fetch of them reads."""
    for _, row, need in transfer.locate(remote, [need for need in needs if need.size <= transfer.LARGE]):
        yield need, need.size, row.stored
    for some, read in download.with_recipes(remote, large):
        for need in some:
            chunks = dict.fromkeys(transfer.parts(remote, need, read=read).chunks)
            parts = [need._replace(oid=oid, size=-1) for oid in chunks]
            yield need, need.size, sum(row.stored for _, row, _ in transfer.locate(remote, parts))


def push(store: LocalStore, remote: Remote, wanted: Sequence[Root], *, check: bool) -> DryRun:
    """What `sync.push` would send, lists of files included; nothing is written over there."""
    needs = upload.plan(store, remote, wanted, check=check).needs
    return _sums((need, need.size if need.size >= 0 else store.size(need.oid), None) for need in needs)


def _sums(needs: Iterable[tuple[Need, int, int | None]]) -> DryRun:
    loads: dict[str, Load] = {}
    for need, size, stored in needs:
        load = loads.get(need.tracked, Load(need.tracked, 0, 0, None))
        known = None if stored is None else (load.stored or 0) + stored
        loads[need.tracked] = Load(need.tracked, load.objects + 1, load.bytes + size, known)
    return DryRun(sorted(loads.values()))
