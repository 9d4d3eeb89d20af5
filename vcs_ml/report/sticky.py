"""One comment that a report has at a pull request: how it is found again, made or brought up to date."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final, Literal, NamedTuple, Protocol

from vcs_ml.errors import UsageError
from vcs_ml.report.outcome import Passing, Posted, Refused
from vcs_ml.store.remotes import retry

_KEY: Final = re.compile(r"[A-Za-z0-9_./-]{0,100}")


class Comment(NamedTuple):
    """A comment of ours: the newest has the largest number."""

    number: int
    url: str


class Site(Protocol):
    """The comments of one pull request. Methods raise Passing, Refused, RemoteError."""

    def own(self, marker: str) -> list[Comment]:
        """Those whose first line is the marker and which the token's owner wrote."""

    def create(self, text: str) -> Comment: ...

    def update(self, number: int, text: str) -> Comment: ...

    def delete(self, number: int) -> None: ...


def marker(key: str) -> str:
    """The line by which a comment is known, invisible to readers. UsageError for a key that would show."""
    if not _KEY.fullmatch(key) or "--" in key:
        raise UsageError(f"{key!r} cannot be a report's key", hint="letters, digits and . _ / - make one")
    return f"<!-- vml-report:{key} -->" if key else "<!-- vml-report -->"


def begins_with(text: object, marker: str) -> bool:
    """Whether the first line of a comment is the marker; one that quotes it further down is another comment."""
    return isinstance(text, str) and text.partition("\n")[0].rstrip() == marker


def put(site: Site, marker: str, text: str) -> Posted:
    """Make `text`, which begins with the marker, the one comment of it.

    Two runs at a time may each have made one. Then the newest stays, and whoever comes last removes the others.
    """
    # The whole is tried again and not one request: after a failed one it may be there nonetheless.
    return retry.again(lambda: _once(site, marker, text), (Passing,))


def _once(site: Site, marker: str, text: str) -> Posted:
    action: Literal["created", "updated"] = "updated"
    found = site.own(marker)
    if found:
        kept = site.update(max(found).number, text)
    else:
        action = "created"
        found = [site.create(text), *site.own(marker)]
        kept = max(found)
    for number in {each.number for each in found} - {kept.number}:
        with suppress(Refused):  # another run was faster
            site.delete(number)
    return Posted(kept.url, action)
