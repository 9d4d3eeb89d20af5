"""Conflicts of a merge, settled: one side is taken, in the pointer and in the workspace; or the merge is made again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

from vcs_ml import fs, history
from vcs_ml.errors import UserError
from vcs_ml.git import Unmerged
from vcs_ml.output import quote, word
from vcs_ml.progress import Meter
from vcs_ml.store import manifest, merge
from vcs_ml.store.local import LocalStore
from vcs_ml.store.manifest import Read
from vcs_ml.store.objects import MissingObject
from vcs_ml.workspace import (
    checkout,
    conflicts,
    lock_files,
    meanwhile,
    merging,
    pointer,
    pointer_files,
    sources,
    tracked,
)
from vcs_ml.workspace import unmerged as unmerged_files
from vcs_ml.workspace.merging import Merged
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.strictjson import HasMarkers

Side = Literal["ours", "theirs"]


class Settled(NamedTuple):
    """What became of a pointer, or of another file that was unmerged: conflicts that are settled now, and left."""

    source: str
    settled: int
    left: int


class Open(NamedTuple):
    """What there is to be settled: pointers with conflicts by the path of the data, files that are unmerged in Git's
    index by theirs, which of these cannot be read, and which hold our version as a driver that was killed leaves it.
    """

    pointers: dict[str, Pointer]
    files: dict[str, Unmerged]
    broken: dict[str, UserError]
    untouched: set[str]


def look(project: Project) -> Open:
    """What there is to be settled in the workspace."""
    broken: dict[str, UserError] = {}
    found = tracked.in_workspace(project, broken=broken)
    files = unmerged_files.find(project)
    ours = {source: each for source, each in files.items() if history.holds(project.root / source, each.ours)}
    untouched = {source for source in ours.keys() - meanwhile.settled(project, ours) if sources.is_source(source)}
    return Open({path: each for path, each in found.items() if each.conflicts}, files, broken, untouched)


def settle(
    project: Project, store: LocalStore, targets: Sequence[str], side: Side, *, force: bool, meter: Meter
) -> tuple[list[Settled], checkout.Result]:
    """Take one side of every conflict at, below or above the targets (project-relative; "" is the project), bring that
    into the workspace, and write it down, in this order: killed in between, it can be repeated. Data that is not in the
    workspace, and of which the store lacks something, stays away.

    UserError for a target without conflicts, and for a file that one side deleted; errors of checkout.checkout, with
    nothing changed. The caller holds the worktree's lock.
    """
    there = look(project)
    chosen = _chosen(project, there, targets)
    changed: dict[str, Pointer] = {}
    wanted: list[tuple[Pointer, str]] = []
    for path, inner in chosen.pointers.items():
        old = there.pointers[path]
        changed[path] = new = _settled(project, store, old, inner, side)
        if os.path.lexists(project.root / path) or not store.missing(new.oid):
            wanted += [(new, part) for part in inner if _is_somewhere(project, store, new, part)]
    files = {source: _version(project, source, there.files[source], side) for source in chosen.files}
    for source, raw in files.items():
        for each in sources.parse(raw, source, project.algorithm):
            # What a stage made can be made again; and who has none of the data needs none to say which is right.
            can_wait = each.lock or not os.path.lexists(project.root / each.path)
            if not (can_wait and store.missing(each.oid)):
                wanted.append((each, ""))
    try:
        done = checkout.checkout(project, store, wanted, force=force, meter=meter)
    except MissingObject as error:
        raise MissingObject(error.oid, error.message, hint=_bring(wanted)) from None
    pointer_files.write(project, list(changed.values()))
    for source, raw in files.items():
        _write(project, source, raw)
    meanwhile.remember(project, [*(each.source for each in changed.values()), *files], there.files)
    settled = [_counted(there.pointers[path], each) for path, each in changed.items()]
    return [*settled, *(Settled(source, 1, 0) for source in files)], done


def merge_again(project: Project, store: LocalStore, targets: Sequence[str], elsewhere: Read) -> dict[str, Merged]:
    """Merge what is unmerged in Git's index at or below the targets once more, from the versions there, and write that,
    by path; what was settled since the first time is forgotten. The data in the workspace is not touched; lists of
    files that the store lacks are read `elsewhere`.

    UserError for a target of which Git has no versions, and for versions that cannot be read; MissingObject. The caller
    holds the worktree's lock.
    """
    there = look(project)
    chosen: dict[str, None] = {}
    for target in targets:
        found = [source for source in there.files if _is_meant(source, target)]
        if not found:
            for source, error in there.broken.items():
                if isinstance(error, HasMarkers) and _is_meant(source, target):
                    raise unmerged_files.forgotten(project, source, error)
            raise UserError(
                f"Git has no unmerged versions of {quote(target or '.')}",
                hint="git status lists what is unmerged; git log shows commits with a version that can be read",
            )
        chosen |= dict.fromkeys(found)
    done = {}
    for source in chosen:
        base, ours, theirs = unmerged_files.read(project, there.files[source])
        if ours is None or theirs is None:
            if "" in targets:
                continue
            raise _deleted(source, "ours" if ours is None else "theirs")
        done[source] = _merged(project, store, source, (base, ours, theirs), elsewhere)
    if chosen and not done:
        source = next(iter(chosen))
        raise _deleted(source, "ours" if there.files[source].ours is None else "theirs")
    for source, merged in done.items():
        _write(project, source, merged.raw, add=not merged.conflicts)
    return done


class _Chosen(NamedTuple):
    """Parts of pointers ("": all of one), and files."""

    pointers: dict[str, list[str]]
    files: list[str]


def _chosen(project: Project, there: Open, targets: Sequence[str]) -> _Chosen:
    parts: dict[str, dict[str, None]] = {}
    files: dict[str, None] = {}
    holding = {
        path: {*each.conflicts, *(above for at in each.conflicts for above in conflicts.above(at))}
        for path, each in there.pointers.items()
    }
    for target in targets:
        meant = [source for source in there.files if _is_open(there, source) and _is_meant(source, target)]
        files |= dict.fromkeys(meant)
        is_something = bool(meant)
        for path, each in there.pointers.items():
            inner = _inside(target, each)
            if inner is None:
                continue
            if inner in holding[path]:
                parts.setdefault(path, {})[inner] = None
                is_something = True
            elif around := [above for above in conflicts.above(inner) if above in each.conflicts]:
                name = word(f"{path}/{around[0]}".rstrip("/"))
                raise UserError(
                    f"{quote(target)} is only a part of the conflict {name}",
                    hint=f"vml checkout --ours {name}, or --theirs {name}, settles it",
                )
        if not is_something:
            raise _nothing(project, there, target)
    # A part of what is taken whole needs no look of its own.
    return _Chosen({path: [""] if "" in inner else list(inner) for path, inner in parts.items()}, list(files))


def _is_open(there: Open, source: str) -> bool:
    return source in there.broken or (source in there.untouched and None not in there.files[source][1:])


def _inside(target: str, each: Pointer) -> str | None:
    """The part of the data that a target means; None if it means something else."""
    if _is_meant(each.source, target):
        return ""
    return target.removeprefix(f"{each.path}/") if target.startswith(f"{each.path}/") else None


def _is_meant(source: str, target: str) -> bool:
    """Whether a target is a file that records something, the data that it is for, or a directory above it."""
    return target in ("", source) or f"{source.removesuffix(SUFFIX)}/".startswith(f"{target}/")


def _nothing(project: Project, there: Open, target: str) -> UserError:
    """Why there is nothing to be settled at a target."""
    name = word(target or ".")
    for source, versions in there.files.items():
        if source.removesuffix(SUFFIX) == target.removesuffix(SUFFIX):
            if None in (versions.ours, versions.theirs):
                return _deleted(source, "ours" if versions.ours is None else "theirs")
            return UserError(
                f"{name} has no conflicts that are not settled",
                hint=f"git add {word(source)} tells Git; vml checkout --merge {word(source)} begins again",
            )
    for source, error in there.broken.items():
        if _is_meant(source, target) or target.startswith(f"{source.removesuffix(SUFFIX)}/"):
            is_forgotten = isinstance(error, HasMarkers) and source not in there.files
            return unmerged_files.forgotten(project, source, error) if is_forgotten else error
    return UserError(f"{name} has no conflicts", hint="vml status lists them")


def _deleted(source: str, by: Side) -> UserError:
    name = word(source)
    return UserError(
        f"{name} was deleted by {'us' if by == 'ours' else 'them'} and changed by the other side",
        hint=f"git add {name} keeps it, git rm {name} drops it",
    )


def _settled(project: Project, store: LocalStore, old: Pointer, inner: Sequence[str], side: Side) -> Pointer:
    """The pointer with one side's version of the conflicts in these parts."""
    extra = conflicts.without(old.extra, inner)
    left = pointer.unsettled(old, project.algorithm)
    if side == "ours":
        return old._replace(extra=extra)
    if "" in left.paths:
        return old._replace(**left.theirs._asdict(), extra=extra)
    at = {path.encode() for path in left.paths if conflicts.covers(inner, path)}
    try:
        with store.batch() as batch:
            found = merge.take(
                old.oid, left.theirs.oid, at, algorithm=store.algorithm, read=store.read, write=batch.add
            )
    except MissingObject as error:
        name = word(old.path)
        raise MissingObject(
            error.oid,
            f"the list of files of {name} is not in the local store",
            hint=f"vml fetch {name} brings both sides",
        ) from None
    return old._replace(oid=found.root, size=found.size, nfiles=found.count, extra=extra)


def _is_somewhere(project: Project, store: LocalStore, each: Pointer, inner: str) -> bool:
    """Whether there is anything to do for a part: what both sides deleted, and is not here, is not."""
    if not inner or os.path.lexists(project.root / each.path / inner):
        return True
    return any(manifest.under(each.oid, os.fsencode(inner), store.algorithm, store.read))


def _version(project: Project, source: str, each: Unmerged, side: Side) -> bytes:
    """One side of an unmerged file."""
    _, ours, theirs = unmerged_files.read(project, each)
    raw = ours if side == "ours" else theirs
    if raw is None:
        raise _deleted(source, side)
    return raw


def _bring(wanted: Sequence[tuple[Pointer, str]]) -> str:
    if len({each.path for each, _ in wanted}) == 1:
        return f"vml fetch {word(wanted[0][0].path)} brings both sides from the default remote, -r NAME from another"
    return "vml fetch brings both sides from the default remote, -r NAME from another"


def _merged(
    project: Project, store: LocalStore, source: str, versions: tuple[bytes | None, bytes, bytes], elsewhere: Read
) -> Merged:
    if not sources.is_source(source):
        raw, left = merging.merge_ignored((versions[0] or b"", *versions[1:]), scratch=project.tmp_dir)
        return Merged(raw, {source: "both modified"} if left else {}, [])
    try:
        return merging.merge(project, store, source, versions, elsewhere)
    except MissingObject as error:
        name = word(source.removesuffix(SUFFIX))
        raise MissingObject(
            error.oid,
            f"a list of files of {name} is not in the local store",
            hint=f"vml fetch --metadata {name} brings the lists of all versions",
        ) from None


def _write(project: Project, source: str, raw: bytes, *, add: bool = True) -> None:
    """Write a file that was unmerged, and the lines that keep data out of Git; with `add` it may be staged."""
    if sources.is_source(source) and not sources.is_lock(source):
        pointer_files.write(project, [pointer.parse(raw, source, project.algorithm)])
        return
    project.refuse_link_above(source)
    fs.write_atomic(project.root / source, raw, scratch=project.tmp_dir)
    if sources.is_lock(source):
        lock_files.ignore(project, [each.path for each in sources.parse(raw, source, project.algorithm)])
    pointer_files.stage(project, [source] if add else [])


def _counted(old: Pointer, new: Pointer) -> Settled:
    return Settled(old.source, len(old.conflicts) - len(new.conflicts), len(new.conflicts))
