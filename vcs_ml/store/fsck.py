"""The check of a local store: what of it is damaged, and what roots need and do not find."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml.hashing import Algorithm
from vcs_ml.output import count, quote, size
from vcs_ml.progress import Meter
from vcs_ml.store import holdings, pack
from vcs_ml.store.holdings import Holdings
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.reach import Reach, reach
from vcs_ml.store.records import Root

# An object -> the remote that had it when it was last looked at, None if no such remote is known.
Elsewhere = Callable[[ObjectId], str | None]


class Problem(NamedTuple):
    """Something wrong. `path` is that of a file of the store or a key of the remote; of what is not there at all,
    or no file, that of the data. `needs` is the path of the data that needs `oid`, `root` what names that.
    """

    kind: str  # format, index, pack, object, missing, tree, name, record, pointer
    path: str
    message: str
    oid: ObjectId | None = None
    needs: str | None = None
    root: Root | None = None
    repaired: bool = False

    @property
    def key(self) -> tuple[str, str, ObjectId | None]:
        """What makes it the same problem in another check."""
        return self.kind, self.path, self.oid


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

    `current` are the roots of the workspace, `unasked` names remotes that nothing is known of.
    """

    roots: Sequence[Root]
    current: Collection[Root]
    elsewhere: Elsewhere
    unasked: Sequence[str]


class Verdict(NamedTuple):
    """A report, with what it rests on."""

    report: Report
    holdings: Holdings
    reach: Reach


def check(directory: Path, algorithm: Algorithm, wants: Wants, meter: Meter) -> Verdict:
    """Read the whole store and follow every root; nothing is changed."""
    found = holdings.scan(directory, algorithm, meter)
    reached = reach(wants.roots, algorithm, found.__contains__, found.read)
    whole = {root.oid for root in reached.whole}
    found.take_proofs({root.oid for root in wants.roots} - whole)
    problems = [*damage(found, reached), *_absent(found, reached, wants)]
    problems += [Problem("name", path, "nothing of this name belongs there") for path in found.strays]
    checked = Checked(*found.counts)._replace(roots=len({root.oid for root in wants.roots}))
    return Verdict(Report(checked, problems, _infos(found, reached, wants)), found, reached)


def damage(found: Holdings, reached: Reach) -> Iterator[Problem]:
    """What is wrong with files that are there, or that indexes name."""
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
            yield named("object", pack.key(name), why, oid, reached)
    for path, (oid, why) in sorted(found.bad_loose.items()):
        yield named("object", path, why, oid, reached)
    for name, held in found.unlisted.items():
        needed = held & reached.absent.keys()
        if needed and not found.bad_indexes:  # they would have named it
            some = count(len(needed), "object")
            are = "is" if len(needed) == 1 else "are"
            yield Problem("index", pack.key(name), f"no index names this pack, and {some} in it {are} needed")
    for root, why in reached.broken.items():
        yield Problem("tree", root.path, why, root.oid, root.path, root)


def named(kind: str, path: str, why: str, oid: ObjectId, reached: Reach) -> Problem:
    """A problem with an object, and who needs it."""
    need = reached.absent.get(oid)
    return Problem(kind, path, why, oid, need.path if need else None, reached.by.get(oid))


def _absent(found: Holdings, reached: Reach, wants: Wants) -> Iterator[Problem]:
    """What the roots need and nobody is known to have, or an index here should have."""
    known = found.lost().keys() | {oid for held in found.unlisted.values() for oid in held}
    for oid, need in reached.absent.items():
        if oid in known:
            continue
        if found.was_here(oid, reached.by[oid].oid):
            yield named("missing", need.path, "it was here, and is gone", oid, reached)
        elif wants.elsewhere(oid) is None and not wants.unasked:
            yield named("missing", need.path, "it is not here, and on no remote that is known here", oid, reached)


def _infos(found: Holdings, reached: Reach, wants: Wants) -> list[Info]:
    infos = []
    known = found.lost()
    lost = [oid for oid, root in reached.by.items() if oid in known or found.was_here(oid, root.oid)]
    places = [wants.elsewhere(oid) for oid in reached.absent.keys() - lost]
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
    kept = [path.stat().st_size for path in (found.directory / "quarantine").rglob("*") if path.is_file()]
    if kept:
        some = f"{count(len(kept), 'damaged file')} ({size(sum(kept))}) in {quote(found.directory / 'quarantine')}"
        infos.append(Info("quarantine", some, "delete them when nobody misses anything"))
    return infos


def after_repair(before: Report, after: Report, absent: Container[ObjectId]) -> Report:
    """The problems of `before`, those marked that `after` no longer has, and what is new. `absent` is needed, and
    not there: an object that is still missed was not brought back, wherever its damaged bytes are now.
    """
    left = {each.key for each in after.problems}
    problems = [
        each._replace(repaired=each.key not in left and (each.oid is None or each.oid not in absent))
        for each in before.problems
    ]
    known = {each.oid for each in problems if each.oid and not each.repaired} | {each.key for each in problems}
    problems += [each for each in after.problems if each.key not in known and (not each.oid or each.oid not in known)]
    return before._replace(problems=problems, infos=after.infos)
