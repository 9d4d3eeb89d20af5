"""Looking at a remote: does it answer, is it ours, what may be done there, and what does a delete mean."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from vcs_ml.errors import RemoteError, VmlError
from vcs_ml.output import count, one_line
from vcs_ml.store import remote as remote_state
from vcs_ml.store.remote import Remote
from vcs_ml.store.remotes import open_remote
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import PROBE
from vcs_ml.workspace.finding import Finding
from vcs_ml.workspace.project import Project

_DRIFT: Final = 60  # seconds a remote's clock may be off


def was_used(project: Project, name: str) -> bool:
    """Whether this store has something of the remote, so that asking it is nothing new."""
    return remote_state.cache_directory(project.cache_dir, project.remote(name).address).is_dir()


def look(project: Project, name: str) -> Iterator[Finding]:
    """Ask a configured remote. Something small is written there for a moment, if that is allowed."""
    what = f"remote {name}"
    config = project.remote(name)
    used, web = was_used(project, name), config.url.startswith(("https://", "http://"))
    try:
        # A place that nobody has used yet is one that the first push makes.
        backend = open_remote(
            config.url, config.options, base=project.main_root, name=name, create=not used and not web
        )
        remote = Remote(name, backend, project.algorithm, project.cache_dir)
        text = _described(remote, used=used)
        if remote.listing.is_advised:
            backend.read_range("vml.json", 0, 2)  # a web server may know no ranges
    except (VmlError, OSError) as error:
        yield Finding("problem", what, _said(name, error), error.hint if isinstance(error, VmlError) else None)
        return
    if remote.listing.is_advised:
        yield Finding("ok", what, f"{text}; it can only be read, as of its latest.json")
    elif remote.is_empty and isinstance(backend, Directory):  # nothing is made there before the first push
        yield Finding("ok", what, text)
    else:
        yield from _writable(what, remote, text)


def _said(name: str, error: Exception) -> str:
    """The words of an error, without the remote's name, which the finding begins with."""
    said = one_line(error.message if isinstance(error, VmlError) else str(error))
    return said.removeprefix(f"remote {name!r}: ")


def _described(remote: Remote, *, used: bool) -> str:
    """What it is, in words; RemoteError if it is neither a remote nor an empty place."""
    try:
        remote.open()
    except RemoteError:
        if isinstance(remote.backend, Directory) and not used:
            remote.is_empty = remote.backend.is_empty()
        if remote.is_empty:
            return f"{remote.backend.url} is empty; the first vml push sets it up"
        raise
    known = sum(1 for _ in remote.listing.below("roots/"))
    return f"{remote.backend.url} ({count(known, 'push')} on record)"


def _writable(what: str, remote: Remote, text: str) -> Iterator[Finding]:
    try:
        remote.backend.replace(PROBE, b"")
        before = time.time()
        item = remote.backend.stat(PROBE)
        traits = remote.backend.traits(PROBE)
    except (RemoteError, OSError) as error:
        why = _said(remote.name, error) if isinstance(error, RemoteError) else error.strerror
        yield Finding("warning", what, f"{text}; it may only be read: {why}", "vml push needs to write there")
        return
    drift = item.modified - before if item else 0.0
    if abs(drift) > _DRIFT:
        hint = "set the clocks: vml gc tells old from new by the remote's time"
        yield Finding("warning", what, f"{text}; its clock is {drift:+.0f} s off", hint)
    else:
        yield Finding("ok", what, f"{text}; it can be read and written")
    if not traits.conditional:
        hint = "nothing depends on it but the very first push: let one person make it"
        yield Finding("ok", what, "the server ignores conditional writes (If-None-Match)", hint)
    for sentence in traits.deletes:
        yield Finding("warning", what, sentence, "a lifecycle rule that removes old versions gives the room back")
    try:
        remote.backend.delete(PROBE)
    except (RemoteError, OSError):
        text = "nothing can be deleted there with these credentials: enough for push and pull, not for gc"
        yield Finding("ok", what, f"{text}; {PROBE}, which is empty, stays")
