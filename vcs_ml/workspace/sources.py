"""The files that record what is tracked, pointers and lock files alike: which they are, and what they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote, word
from vcs_ml.workspace import lockfile, pointer
from vcs_ml.workspace.lockfile import LockFile
from vcs_ml.workspace.pointer import SUFFIX, Pointer

MAX_SIZE: Final = max(lockfile.MAX_SIZE, pointer.MAX_SIZE)

T = TypeVar("T")


class Overlap(UserError):
    """A lock file names outputs that lie at, in or around something else that is tracked: `pairs` are each of them and
    the other.
    """

    def __init__(self, message: str, *, hint: str, pair: tuple[Pointer, Pointer]) -> None:
        super().__init__(message, hint=hint)
        self.pairs = [pair]


def is_lock(path: str) -> bool:
    """Whether a file of this name is a lock file."""
    return path.rpartition("/")[2] == lockfile.NAME


def is_source(path: str) -> bool:
    """Whether a file of this name records something that is tracked."""
    return is_lock(path) or (path.endswith(SUFFIX) and path.rpartition("/")[2] != SUFFIX)


def parse(raw: bytes, source: str, algorithm: Algorithm) -> list[Pointer]:
    """What the file at the project-relative `source` records. UserError where it cannot be read."""
    if is_lock(source):
        return of_lock(lockfile.parse(raw, source, algorithm))
    return [pointer.parse(raw, source, algorithm)]


def of_lock(lock: LockFile) -> list[Pointer]:
    """The outputs that a lock file records, without those that Git has (`cache: false`)."""
    found = []
    for name, stage in lock.stages.items():
        for path, out in stage.outs.items():
            if out.flags.cache:
                extra: dict[str, object] = {} if out.flags.push else {"push": False}
                if out.flags.remote is not None:
                    extra["remote"] = out.flags.remote
                found.append(Pointer(path, *out.item, extra, name, lock.source))
    return found


def together(found: Iterable[Pointer], broken: dict[str, UserError]) -> dict[str, Pointer]:
    """All of these by their paths, sorted; outputs that lie at, in or around something else that is tracked are left
    out, and make the file that records them one of the `broken`.
    """
    tracked: dict[str, Pointer] = {}
    outs = []
    for each in found:
        if each.lock:
            outs.append(each)
        else:
            tracked[each.path] = each
    if not outs:
        return dict(sorted(tracked.items()))
    within: dict[str, Pointer] = {}
    for each in tracked.values():
        path = each.path
        while path := path.rpartition("/")[0]:
            within.setdefault(path, each)
    for out in sorted(outs, key=lambda out: (out.path, out.source)):  # one around another comes first
        above = owner(out.path, tracked)
        other = above[0] if above else within.get(out.path)
        if other is None:
            tracked[out.path] = out
        elif out.source not in broken:
            broken[out.source] = overlap(out, other)
        elif isinstance(known := broken[out.source], Overlap):
            known.pairs.append((out, other))
    return dict(sorted(tracked.items()))


def overlap(out: Pointer, other: Pointer) -> Overlap:
    """The error for an output that lies at, in or around something else that is tracked; it names both files."""
    if out.path == other.path:
        where = "is tracked a second time"
    else:
        where = (
            f"{'lies in' if out.path.startswith(f'{other.path}/') else 'holds'} {quote(other.path)}, which is tracked"
        )
    by = f"as the output of {quote(other.maker)}" if other.lock else "by itself"
    hint = f"vml rm --cached {word(other.path)} ends tracking it by itself"
    if other.lock:
        hint = "let only one of the two stages write there, then vml repro"
    name = f"{quote(out.source)}: {quote(out.path)}, the output of {quote(out.maker)},"
    return Overlap(f"{name} {where} {by} ({quote(other.source)})", hint=hint, pair=(out, other))


def owner(path: str, tracked: Mapping[str, T]) -> tuple[T, str] | None:
    """The tracked thing that `path` is or lies in, and the way from there; None if there is none."""
    inner: list[str] = []
    above = path
    while above:
        if found := tracked.get(above):
            return found, "/".join(reversed(inner))
        above, _, name = above.rpartition("/")
        inner.append(name)
    return None
