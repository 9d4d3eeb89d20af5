"""Which keys a remote has: from one look at all of it, prefix by prefix, or from latest.json where nobody may list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from vcs_ml.errors import RemoteError
from vcs_ml.store.remotes.protocol import Backend, CannotList, Denied, Item, NotFound, valid_key

LATEST: Final = "latest.json"
_ADVISED: Final = ("gc/", "index/", "roots/")  # what latest.json tells of
_PREFIXES: Final = (*_ADVISED, "packs/", "pushing/")


class Listing:
    """The keys of one remote.

    `look` may see everything in one request. What it saw of a prefix answers the first `below` of that prefix; later
    ones ask anew. So every answer is at least as new as the look, and where the order of two answers matters, `forget`.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._seen: dict[str, list[Item]] = {}
        self._advised = False

    def look(self) -> Sequence[Item] | None:
        """Everything there is, if that takes one request, or else what latest.json tells; None if neither.

        Raises RemoteError, CannotList where there is no latest.json either.
        """
        try:
            found = self._backend.peek()
        except CannotList as error:
            found = self._latest(error)
        if found is not None:
            self._seen = {prefix: [] for prefix in (_ADVISED if self._advised else _PREFIXES)}
            for item in filter(lambda item: valid_key(item.key), found):
                self._seen.get(item.key.partition("/")[0] + "/", []).append(item)
        return found

    @property
    def is_advised(self) -> bool:
        """Whether the remote does not list its keys, so that packs are there if an index says so."""
        return self._advised

    def forget(self) -> None:
        """Ask anew from now on."""
        self._seen = {}

    def below(self, prefix: str) -> Iterable[Item]:
        """The items below a prefix, sorted by key. CannotList for one that latest.json does not tell of."""
        if prefix not in self._seen:
            if not self._advised:
                return self._backend.list(prefix)
            self.look()
        if prefix not in self._seen:
            return self._backend.list(prefix)  # which says why it cannot
        return self._seen.pop(prefix)

    def _latest(self, error: CannotList) -> Sequence[Item]:
        try:
            raw = self._backend.read(LATEST)
        except (NotFound, Denied):  # a bucket that may not be listed says of what is not there that it is denied
            raise error from None
        self._advised = True
        return parse_latest(raw, self._backend.url)


def write_latest(backend: Backend) -> None:
    """Store what the remote has now as latest.json, for those who cannot list it."""
    items = [item for prefix in _ADVISED for item in backend.list(prefix)]
    backend.replace(LATEST, encode_latest(items))


def encode_latest(items: Iterable[Item]) -> bytes:
    """latest.json (docs/formats.md): the keys it tells of, with size and time of each."""
    keys = {item.key: [item.size, item.modified] for item in items}
    return json.dumps({"keys": keys, "schema": 1}, indent=1, sort_keys=True).encode() + b"\n"


def parse_latest(raw: bytes, url: str) -> list[Item]:
    """What a latest.json from anywhere tells, sorted by key; RemoteError where it cannot be read."""
    try:
        content = json.loads(raw)
        found = [Item(str(key), int(size), float(modified)) for key, (size, modified) in content["keys"].items()]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise RemoteError(f"{url}: {LATEST} is damaged", hint="the next push to it writes a new one") from None
    return sorted(item for item in found if valid_key(item.key) and item.key.startswith(_ADVISED))
