"""Three-way merges of pointers: of a directory file by file, of all else as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.store import merge as trees
from vcs_ml.store.local import LocalStore
from vcs_ml.store.manifest import Read
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.workspace import conflicts, pointer
from vcs_ml.workspace.conflicts import Conflicts
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.pointer import Pointer

_ABSENT: Final = object()


class Merged(NamedTuple):
    """A merged pointer, which says itself where it has conflicts, and what else people should know."""

    pointer: Pointer
    notes: list[str]


def merge(
    base: Pointer | None,
    ours: Pointer,
    theirs: Pointer,
    store: LocalStore,
    keep: Callable[[ObjectId], None],
    *,
    elsewhere: Read,
) -> Merged:
    """Merge `theirs` into `ours`, and store the lists of files that this makes; `base` None: both sides added it.
    `keep` is told of a new tree before it is in the store, so that no gc can take it for garbage. Lists that the store
    lacks are read `elsewhere`, and stored.

    Raises MissingObject where a list of files that is needed is nowhere, CorruptError where it is damaged,
    and UserError where a side has conflicts itself, which were never settled.
    """
    for name, side in (("our", ours), ("their", theirs)):
        if side.conflicts:
            raise UserError(
                f"{quote(ours.source)}: {name} version was committed with conflicts",
                hint=f"vml checkout --ours {word(ours.path)} (or --theirs) on that branch settles them; commit that",
            )
    extra, notes = _extra(base, ours, theirs)
    content, unsettled = _content(base, ours, theirs, store, keep, elsewhere=elsewhere)
    if unsettled is None:
        return Merged(ours._replace(**content._asdict(), extra=extra), notes)
    found = ours._replace(**content._asdict(), extra=extra | {conflicts.KEY: unsettled.fields(store.algorithm)})
    if len(pointer.serialize(found, store.algorithm)) > pointer.MAX_SIZE:
        # So many that a pointer cannot list them: one side as a whole has to do.
        whole = _whole(base, ours, theirs).fields(store.algorithm)
        found = ours._replace(extra=extra | {conflicts.KEY: whole})
    return Merged(found, notes)


def _item(each: Pointer) -> Item:
    return Item(each.oid, each.kind, each.size, each.nfiles)


def _whole(base: Pointer | None, ours: Pointer, theirs: Pointer) -> Conflicts:
    """A conflict of the data as a whole."""
    word = "both modified" if base else "both added"
    return Conflicts(base.oid if base else None, _item(theirs), {"": word})


def _content(
    base: Pointer | None,
    ours: Pointer,
    theirs: Pointer,
    store: LocalStore,
    keep: Callable[[ObjectId], None],
    *,
    elsewhere: Read,
) -> tuple[Item, Conflicts | None]:
    # Where the base is a merge itself, of several merge bases, its conflicts tell nothing of what was before.
    doubtful = base.conflicts if base else {}
    before = None if base is None or "" in doubtful else base[1:3]  # id and kind
    mine, other = ours[1:3], theirs[1:3]
    chosen, both = trees.pick(before, mine, other)
    if mine == other or not (both or doubtful):
        return _item(ours if chosen == mine else theirs), None
    if ours.kind == theirs.kind == "tree":
        return _tree(base, ours, theirs, store, keep, elsewhere=elsewhere)
    if before is not None and "tree" not in (before[1], ours.kind, theirs.kind):
        oid, both = trees.pick(before[0], ours.oid, theirs.oid)
        if not both:  # one side changed the content, the other whether it may be executed
            kind, _ = trees.pick(before[1], ours.kind, theirs.kind)
            return Item(oid, kind, (ours if oid == ours.oid else theirs).size), None
    return _item(ours), _whole(base, ours, theirs)


def _tree(
    base: Pointer | None,
    ours: Pointer,
    theirs: Pointer,
    store: LocalStore,
    keep: Callable[[ObjectId], None],
    *,
    elsewhere: Read,
) -> tuple[Item, Conflicts | None]:
    before = base.oid if base and base.kind == "tree" and "" not in base.conflicts else None
    with store.batch() as batch:

        def read(oid: ObjectId) -> bytes:
            try:
                return store.read(oid)
            except MissingObject:
                raw = elsewhere(oid)
            batch.add(oid, raw)
            return raw

        found = trees.merge(
            before,
            ours.oid,
            theirs.oid,
            algorithm=store.algorithm,
            read=read,
            write=batch.add,
            unsure=[path.encode() for path in base.conflicts] if before and base else (),
        )
        if found.summary.root not in (ours.oid, theirs.oid):
            keep(found.summary.root)
    content = Item(found.summary.root, "tree", found.summary.size, found.summary.count)
    left = Conflicts(before, _item(theirs), trees.words(found.conflicts)) if found.conflicts else None
    return content, left


def _extra(base: Pointer | None, ours: Pointer, theirs: Pointer) -> tuple[dict[str, object], list[str]]:
    """All other keys, each by itself: ours where both sides changed one."""
    sides: list[Mapping[str, object]] = [conflicts.without(each.extra) if each else {} for each in (base, ours, theirs)]
    found: dict[str, object] = {}
    notes = []
    for key in sorted(sides[1].keys() | sides[2].keys()):
        value, both = trees.pick(*(side.get(key, _ABSENT) for side in sides))
        if both:
            notes.append(f"{quote(ours.source)}: both sides changed {quote(key)}: ours is kept")
        if value is not _ABSENT:
            found[key] = value
    return found, notes
