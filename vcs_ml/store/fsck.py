"""The check of a local store: what of it is damaged, and what roots need and do not find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml.hashing import Algorithm
from vcs_ml.output import count, quote, size
from vcs_ml.progress import Meter
from vcs_ml.store import holdings, pack
from vcs_ml.store.holdings import Holdings
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.reach import Reach, reach
from vcs_ml.store.remote import Root

# An object -> the remote that had it when it was last looked at, None if no such remote is known.
Elsewhere = Callable[[ObjectId], str | None]


class Problem(NamedTuple):
    """Something wrong. `path` is from the top of the store or remote, of what is missing from the project's top."""

    kind: str  # format, index, pack, object, missing, tree, name, pointer, record
    path: str
    message: str
    oid: ObjectId | None = None
    repaired: bool = False


class Info(NamedTuple):
    """Something that is not wrong, but good to know."""

    kind: str
    message: str
    hint: str | None = None


class Checked(NamedTuple):
    """How much was looked at."""

    packs: int = 0
    indexes: int = 0
    loose: int = 0
    objects: int = 0
    bytes: int = 0
    roots: int = 0


class Report(NamedTuple):
    """What a check found."""

    checked: Checked
    problems: list[Problem]
    infos: list[Info]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong any more."""
        return all(each.repaired for each in self.problems)


class Wants(NamedTuple):
    """What a check is held against: roots in order of importance, and what is known of remotes.

    `unasked` names remotes that nothing is known of.
    """

    roots: Sequence[Root]
    elsewhere: Elsewhere
    unasked: Sequence[str]


class Verdict(NamedTuple):
    """A report, with what it rests on."""

    report: Report
    holdings: Holdings
    reach: Reach


def check(directory: Path, algorithm: Algorithm, wants: Wants, meter: Meter) -> Verdict:
    """Read the whole store and follow every root. Changes nothing but proofs in `complete/` that are wrong."""
    found = holdings.scan(directory, algorithm, meter)
    reached = reach(wants.roots, algorithm, found.__contains__, found.read)
    whole = {root.oid for root in reached.whole}
    for root in wants.roots:
        if root.oid not in whole:
            (directory / "complete" / root.oid[:-1].hex()).unlink(missing_ok=True)
    problems = [*_damage(found, reached), *_absent(found, reached, wants)]
    checked = Checked(*found.counts)._replace(roots=len({root.oid for root in wants.roots}))
    return Verdict(Report(checked, problems, _infos(found, reached, wants)), found, reached)


def _damage(found: Holdings, reached: Reach) -> Iterator[Problem]:
    if found.format:
        yield Problem("format", "vml.json", found.format)
    for path, why in sorted(found.bad_indexes.items()):
        yield Problem("index", path, why)
    for name in sorted(found.gone):
        yield Problem("pack", pack.key(name), "an index names this pack, and it is not there")
    for name in sorted(found.tables):
        yield Problem("pack", pack.key(name), found.tables[name])
    for name, bad in sorted(found.damaged.items()):
        for oid, why in sorted(bad.items()):
            yield Problem("object", pack.key(name), _needed(why, reached, oid), oid)
    for path, (oid, why) in sorted(found.bad_loose.items()):
        yield Problem("object", path, _needed(why, reached, oid), oid)
    for path in found.strays:
        yield Problem("name", path, "nothing of this name belongs there")
    for name, held in found.unlisted.items():
        needed = held & reached.absent.keys()
        if needed and not found.bad_indexes:  # they would have named it
            some = count(len(needed), "object")
            yield Problem("index", pack.key(name), f"no index names this pack, and {some} in it are needed")
    for root, why in reached.broken.items():
        yield Problem("tree", root.path, why, root.oid)


def _needed(why: str, reached: Reach, oid: ObjectId) -> str:
    need = reached.absent.get(oid)
    return f"{why}; {quote(need.path)} needs it" if need else why


def _absent(found: Holdings, reached: Reach, wants: Wants) -> Iterator[Problem]:
    """What the roots need and nobody is known to have, or an index here should have."""
    known = found.lost().keys() | {oid for held in found.unlisted.values() for oid in held}
    for oid, need in reached.absent.items():
        if oid in known:
            continue
        if found.was_here(oid):
            yield Problem("missing", need.path, "an index lists it here, but it is gone", oid)
        elif wants.elsewhere(oid) is None and not wants.unasked:
            yield Problem("missing", need.path, "it is not here, and on no remote that is known here", oid)


def _infos(found: Holdings, reached: Reach, wants: Wants) -> list[Info]:
    infos = []
    known = found.lost()
    places = [wants.elsewhere(oid) for oid in reached.absent if oid not in known and not found.was_here(oid)]
    for name in sorted({place for place in places if place is not None}):
        some = count(places.count(name), "object")
        infos.append(Info("elsewhere", f"{some} not here, on {name} as of the last look", "vml fetch brings them"))
    if None in places and wants.unasked:
        names = ", ".join(wants.unasked)
        some = count(places.count(None), "object")
        infos.append(
            Info(
                "unknown",
                f"{some} not here; {names} was never asked from here",
                f"vml fsck --remote {wants.unasked[0]}",
            )
        )
    spare = [name for name, held in found.unlisted.items() if not held & reached.absent.keys()]
    if spare:
        bytes_ = size(sum(found.packs[name] for name in spare))
        infos.append(
            Info("unlisted", f"{count(len(spare), 'pack')} ({bytes_}) that no index names", "vml gc removes them")
        )
    if found.leftovers:
        infos.append(Info("leftover", f"{count(found.leftovers, 'temporary file')} of a killed command"))
    return infos
