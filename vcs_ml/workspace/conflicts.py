"""Conflicts in a pointer: where a merge of the data could not choose a side (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple, NoReturn, get_args

from vcs_ml import paths
from vcs_ml.hashing import Algorithm
from vcs_ml.store import objects
from vcs_ml.store.merge import Word
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import item
from vcs_ml.workspace.item import Item

KEY: Final = "conflicts"
WORDS: Final = frozenset(get_args(Word))
SIDES: Final = ("ours", "theirs")


class Conflicts(NamedTuple):
    """What a merge left to be settled: the version that both sides come from (None: there is none), their version, and
    in `paths` what happened, by the path inside the data; "" is the data as a whole. A path stands for all below it.
    """

    base: ObjectId | None
    theirs: Item
    paths: Mapping[str, str]

    def fields(self, algorithm: Algorithm) -> dict[str, object]:
        """The conflicts as they stand in a pointer."""
        theirs = item.fields(self.theirs, algorithm)
        return {
            "base": None if self.base is None else objects.format_hash(self.base, algorithm),
            "theirs": theirs.pop("hash"),
            **theirs,
            "paths": dict(self.paths),
        }


def parse(value: object, algorithm: Algorithm, *, source: str, refuse: Callable[[str], NoReturn]) -> Conflicts:
    """The conflicts in a pointer; `refuse` is told what is wrong. UserError for a hash that is none."""
    if not isinstance(value, dict):
        refuse("its conflicts are not a JSON object")
    found = value.get("paths")
    if not isinstance(found, dict) or not found:
        refuse("its conflicts have no paths")
    theirs = item.parse({**value, "hash": value.get("theirs")}, algorithm, source=source, refuse=refuse)
    base = value.get("base")
    before = None if base is None else objects.parse_hash(base, algorithm, source=source)
    for path, word in found.items():
        if not isinstance(word, str) or word not in WORDS:
            refuse(f"a conflict is {str(word)[:40]!r}, which is none of {', '.join(sorted(WORDS))}")
        if path and (why := paths.problem(path)):
            refuse(f"a conflict is at {path[:200]!r}: {why}")
        if path and theirs.kind != "tree":
            refuse("it has conflicts inside of it, but theirs is no directory")
    if "" in found and len(found) > 1:
        refuse("it has conflicts inside of it, and one of the whole")
    return Conflicts(before, theirs, found)


def without(extra: Mapping[str, object], settled: Collection[str] | None = None) -> dict[str, object]:
    """The `extra` of a pointer, of which these conflicts (None: all of them) are settled; a path settles those at and
    below it.
    """
    conflicts = extra.get(KEY)
    if not isinstance(conflicts, dict):
        return dict(extra)
    places = frozenset([""] if settled is None else settled)
    left = {at: word for at, word in conflicts["paths"].items() if not covers(places, at)}
    rest = {key: value for key, value in extra.items() if key != KEY}
    return rest | {KEY: {**conflicts, "paths": left}} if left else rest


def covers(places: Collection[str], path: str) -> bool:
    """Whether a path in the data is one of `places`, or lies below one; "" is above all."""
    return path in places or any(each in places for each in above(path))


def above(path: str) -> Iterator[str]:
    """The directories that a path in the data lies in, the nearest first, up to "" for the data as a whole."""
    while path:
        path = path.rpartition("/")[0]
        yield path
