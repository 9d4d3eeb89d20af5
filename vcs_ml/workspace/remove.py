"""Ending to track, and moving: pointers, their lines in .gitignore, and workspace files that the store has."""

from __future__ import annotations

import contextlib
import os
import shlex
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import git
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.progress import Meter
from vcs_ml.store import manifest, objects
from vcs_ml.store.link import THROUGH
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import (
    conflicts,
    delete,
    detach,
    lock_files,
    pointer_files,
    saved,
    single,
    snapshot,
    tracked,
    tree,
    write,
)
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project


def remove(
    project: Project,
    store: LocalStore,
    paths: Sequence[str],
    *,
    cached: bool = False,
    force: bool = False,
    is_made: Callable[[Pointer], bool],
    meter: Meter,
) -> list[saved.Saved]:
    """End tracking `paths` (project-relative), or drop them from the directories they lie in.

    Workspace files go too, unless `cached`; those whose bytes no store has are refused (UserError, and nothing
    is done), or with `force` stored first and returned. What is ignored stays where it is. The data of earlier
    commits stays in the stores. Outputs that by `is_made` a stage makes are refused. The caller holds the worktree's
    lock.
    """
    owners = _owners(project, store, paths, is_made)
    looks = [_look(project, *owner, meter) for owner in owners]
    kept = [] if cached else _secure(project, store, looks, force=force, meter=meter)
    for look in looks:  # before the pointers, so that a killed rm can be repeated
        if cached:
            _detach(project, look)
        else:
            _delete(project, look)
    for path in paths:
        owner = tracked.owner_in_workspace(project, path)
        if owner is None:
            continue  # it lay in another one of `paths`
        if owner[1]:
            _drop_inner(project, store, owner[0], os.fsencode(owner[1]))
        else:
            if owner[0].lock:
                lock_files.drop(project, [owner[0]])
            else:
                pointer_files.drop(project, [path])
            _forget(project, owner[0])
    return kept


def _owners(
    project: Project, store: LocalStore, paths: Sequence[str], is_made: Callable[[Pointer], bool]
) -> list[tuple[Pointer, str]]:
    """What each of `paths` is or lies in, without those that a killed removal of the same paths has done already."""
    owners: list[tuple[Pointer, str]] = []
    gone: dict[str, UserError] = {}
    known = tracked.Owners(project)
    for path in paths:
        if (owner := known.of(path)) and owner[0].lock:
            if is_made(owner[0]):
                tracked.refuse_out(owner[0], "removed")
            if owner[1]:
                name, maker = quote(owner[0].path), quote(owner[0].maker)
                raise UserError(
                    f"{quote(path)} lies in {name}, once the output of the stage {maker}: only all of it can go",
                    hint=f"vml rm --cached {name} ends tracking it; then vml add {name} may track it as data",
                )
        try:
            owners.append(_owner(known, store, path))
        except UserError as error:
            gone[path] = error
    if gone and not (owners and _were_committed(project, store, gone)):
        raise next(iter(gone.values()))
    return owners


def _were_committed(project: Project, store: LocalStore, paths: Iterable[str]) -> bool:
    """Whether all these paths were tracked in the last commit."""
    try:
        before = tracked.at_revision(project, "HEAD")
        found = [tracked.owner(path, before) for path in paths]
        return all(
            each
            and (not each[1] or any(manifest.under(each[0].oid, os.fsencode(each[1]), store.algorithm, store.read)))
            for each in found
        )
    except UserError:  # no commit yet, or a list of files that is not here
        return False


def _owner(known: tracked.Owners, store: LocalStore, path: str) -> tuple[Pointer, str]:
    owner = known.of(path)
    if owner is None or (owner[1] and owner[0].kind != "tree"):
        hint = "vml ls lists what is"
        if path.endswith(SUFFIX) and known.of(path.removesuffix(SUFFIX)):
            hint = f"name the data: {quote(path.removesuffix(SUFFIX))}"
        raise UserError(f"{quote(path)} is not tracked", hint=hint)
    each, inner = owner
    if inner and not _under(store, each, os.fsencode(inner)):
        raise UserError(f"{quote(each.path)} has no {quote(inner)}", hint=f"vml ls {word(each.path)} lists what it has")
    return owner


def _under(store: LocalStore, each: Pointer, prefix: bytes) -> list[Entry]:
    """What a tracked directory has at or below `prefix`, here or not. MissingObject says how to get the list."""
    try:
        return list(manifest.under(each.oid, prefix, store.algorithm, store.read))
    except MissingObject as error:
        raise _no_list(each, error) from None


def _edit(store: LocalStore, each: Pointer, edits: Mapping[bytes, Entry | None]) -> Pointer:
    """The pointer of a tracked directory after `edits`; only its list of files is read."""
    try:
        with store.batch() as batch:
            summary = manifest.edit(each.oid, edits, store.algorithm, store.read, batch.add)
    except MissingObject as error:
        raise _no_list(each, error) from None
    return each._replace(oid=summary.root, size=summary.size, nfiles=summary.count)


def _no_list(each: Pointer, error: MissingObject) -> MissingObject:
    name = word(each.path)
    return MissingObject(
        error.oid,
        f"the list of files of {name} is not in the local store",
        hint=f"vml fetch --metadata {name} brings it, without the files",
    )


def _settle(store: LocalStore, index: Index, old: Pointer, new: Pointer) -> None:
    """Bring the index, from which files were just dropped or moved, to the new pointer: a workspace that was
    behind the old one stays behind.
    """
    if index.base == old.oid:
        index.base = new.oid
    elif index.base is not None:
        with store.batch() as batch:
            index.base = snapshot.tree_of(index, batch.add)
    index.save()


class _Look(NamedTuple):
    """Workspace files that are about to go, by their paths below `top`, with the stats they had; `inner` is the
    part of it that is meant.
    """

    top: str
    inner: str
    files: dict[bytes, Entry]
    seen: dict[bytes, bytes]


def _look(project: Project, each: Pointer, inner: str, meter: Meter) -> _Look:
    if each.kind == "tree":
        measure = snapshot.measurer(project, meter)
        shot = snapshot.take(project, each.path, Ignore(project.root), measure, prefix=os.fsencode(inner))
        here = delete.files_here(shot)
        return _Look(each.path, inner, here, delete.seen(project.root / each.path, here, shot))
    seen = delete.seen(project.root, [os.fsencode(each.path)])
    file, _ = single.Files(project).look(each.path, meter=meter)
    return _Look("", "", {file.path: file} if file is not None and file.size >= 0 else {}, seen)


def _secure(
    project: Project, store: LocalStore, looks: Sequence[_Look], *, force: bool, meter: Meter
) -> list[saved.Saved]:
    """Make sure the store has every byte that is about to go."""
    found = {f"{look.top}/{os.fsdecode(path)}".lstrip("/"): e for look in looks for path, e in look.files.items()}
    # Read, not only looked for: after this the store's bytes may be the only ones.
    unsaved = [path for path, entry in sorted(found.items()) if not store.holds(objects.blob(entry.digest))]
    if not unsaved:
        return []
    if not force:
        raise saved.refusal(
            unsaved,
            "removed",
            hint="vml add keeps them; --cached leaves the files alone; --force stores them, then removes them",
        )
    return saved.keep(project, store, unsaved, meter)


def _detach(project: Project, look: _Look) -> None:
    """Put the bytes in the place of symlinks into the store, which keeps them for what is tracked only."""
    top = project.root / look.top
    for path, entry in look.files.items():
        full = os.path.join(os.fsencode(top), path)
        stats = array("q", tree.look(full, os.lstat(full), project.loose) or ())
        if stats and stats[4] & THROUGH:
            detach.file(project, top, entry, stats.tobytes())


def _delete(project: Project, look: _Look) -> None:
    place = project.root / look.top
    if look.files:
        top = write.open_below(project.root, look.top)
        try:
            delete.files(top, look.files, look.seen)
        finally:
            os.close(top)
    place = place / look.inner
    if look.top and place.is_dir() and not place.is_symlink():
        delete.empty_directories(place)


def _drop_inner(project: Project, store: LocalStore, each: Pointer, prefix: bytes) -> None:
    gone: dict[bytes, Entry | None] = {entry.path: None for entry in _under(store, each, prefix)}
    new = _edit(store, each, gone)
    new = new._replace(extra=conflicts.without(new.extra, [os.fsdecode(prefix)]))
    index = Index.load(project.index_dir, each.path, project.algorithm)
    pointer_files.write(project, [new])
    if index.loaded:
        # Of a workspace that is behind its pointer, also what only the older version had there.
        index.update({}, [*gone, *(entry.path for entry in index.entries(prefix))])
        _settle(store, index, each, new)


def _forget(project: Project, each: Pointer) -> None:
    Index.load(project.index_dir, each.path, project.algorithm).remove()
    files = single.Files(project)
    files.forget(each.path)
    files.save()


def move(project: Project, store: LocalStore, old: str, new: str, *, into: bool = False) -> str:
    """Rename what is tracked at `old`, in the workspace and in its pointer; inside one tracked directory, too.

    `new` may be a directory to move it into, with `into` it must be. Returns the new path. Killed halfway, the same
    command completes it. UserError where the new place is taken. The caller holds the worktree's lock.
    """
    if new.startswith(f"{old}/"):
        raise UserError(f"{quote(old)} cannot be moved into itself", hint="choose a place outside of it")
    known = tracked.Owners(project)
    around = known.of(new)
    if into and around is None and not (project.root / new).is_dir():
        raise _no_directory(new)
    if around is None and (project.root / new).is_dir():
        new = f"{new}/{old.rpartition('/')[2]}"
    project.refuse_link_above(new)
    source, target = known.of(old), known.of(new)
    if source is not None:
        tracked.refuse_out(source[0], "moved")
    if target is None or not target[1]:
        tracked.check_name(new)
    if source is None:
        moved = target is not None and not target[1] and not os.path.lexists(project.root / old)
        if moved and git.is_tracked(project.git, project.in_git(old + SUFFIX)):
            return new  # a killed move had got this far
        raise UserError(f"{quote(old)} is not tracked", hint="vml ls lists what is; git mv moves other files")
    if source[1]:
        return _move_inner(project, store, source, target, old=old, new=new, into=into)
    if target is not None and target[1]:
        raise UserError(
            f"{quote(new)} lies inside {quote(target[0].path)}, which is tracked",
            hint=f"vml rm --cached {word(old)}, move the files, then vml add {word(target[0].path)}",
        )
    _move_root(project, source[0], target[0] if target else None, new)
    return new


def _move_root(project: Project, each: Pointer, there: Pointer | None, new: str) -> None:
    data, place = project.root / each.path, project.root / new
    resumed = there is not None and there.oid == each.oid
    if (there is not None and not resumed) or (os.path.lexists(place) and not (resumed and not os.path.lexists(data))):
        raise UserError(f"{quote(new)} exists already", hint="choose another name")
    if not place.parent.is_dir():
        raise UserError(f"{quote(new)}: its directory does not exist", hint=f"mkdir -p {word(place.parent)}")
    pointer_files.write(project, [each._replace(path=new)])
    if os.path.lexists(data):
        data.rename(place)
    _move_index(project, each, new)
    pointer_files.drop(project, [each.path])


def _no_directory(path: str) -> UserError:
    return UserError(f"{quote(f'{path}/')} is no directory", hint=f"mkdir {shlex.quote(f'{path}/')}")


def _move_index(project: Project, each: Pointer, new: str) -> None:
    if each.kind != "tree":
        files = single.Files(project)
        files.forget(each.path)
        files.save()
        return
    index = Index.load(project.index_dir, each.path, project.algorithm)
    if index.loaded:
        moved = Index.new(project.index_dir, new, project.algorithm)
        moved.base, moved.partial, moved.folders, moved.memo = (
            index.base,
            index.partial,
            index.folders,
            index.memo,
        )
        moved.save()
        index.remove()


def _move_inner(
    project: Project,
    store: LocalStore,
    source: tuple[Pointer, str],
    target: tuple[Pointer, str] | None,
    *,
    old: str,
    new: str,
    into: bool,
) -> str:
    each, inner_old = source[0], os.fsencode(source[1])
    if target is None or target[0].path != each.path:
        raise UserError(
            f"{quote(old)} lies inside {quote(each.path)}, {quote(new)} does not",
            hint="move the file yourself, then vml add both places",
        )
    entries = _under(store, each, inner_old)
    if not entries:
        raise UserError(f"{quote(old)} is not tracked", hint=f"vml ls {word(each.path)} lists what is")
    index = Index.load(project.index_dir, each.path, project.algorithm)
    known = {entry.path for entry in index.entries(inner_old)}
    here = os.path.lexists(project.root / old)
    # Where the old one was here and is not now, what lies at the new place came there by a move that was killed.
    resumed = bool(known) and not here
    inner_new = _destination(project, store, each, os.fsencode(target[1]), inner_old, resumed=resumed)
    if into and inner_new == os.fsencode(target[1]):
        raise _no_directory(new)
    data, place = project.root / old, project.root / each.path / os.fsdecode(inner_new)
    if _under(store, each, inner_new) or (os.path.lexists(place) and not resumed):
        raise UserError(f"{quote(place.relative_to(project.root))} exists already", hint="choose another name")
    for above in delete.parents(inner_new):
        way = project.root / each.path / os.fsdecode(above)
        if os.path.lexists(way) and (way.is_symlink() or not way.is_dir()):
            raise UserError(f"{quote(way.relative_to(project.root))} is no directory", hint="choose another name")
    moves = {entry.path: inner_new + entry.path[len(inner_old) :] for entry in entries}
    edits: dict[bytes, Entry | None] = dict.fromkeys(moves)
    edits.update((moves[entry.path], entry._replace(path=moves[entry.path])) for entry in entries)
    moved = _edit(store, each, edits)
    if here:
        project.refuse_link_above(old)
        project.refuse_link_above(place.relative_to(project.root).as_posix())
        place.parent.mkdir(parents=True, exist_ok=True)
        data.rename(place)
        _remove_emptied(data.parent, project.root / each.path)
    pointer_files.write(project, [moved])
    if index.loaded:
        stats = index.files()
        put = {inner_new + path[len(inner_old) :]: stats[path] for path in known}
        index.update(put, known)
        _settle(store, index, each, moved)
    return place.relative_to(project.root).as_posix()


def _destination(project: Project, store: LocalStore, each: Pointer, new: bytes, old: bytes, *, resumed: bool) -> bytes:
    """Where `old` goes: `new`, or into it if that is a directory, here or in the list of files."""
    place = project.root / each.path / os.fsdecode(new)
    is_directory = not new or any(entry.path != new for entry in _under(store, each, new))
    if not resumed and place.is_dir() and not place.is_symlink():
        is_directory = True
    return tree.join(new, old.rpartition(b"/")[2]) if is_directory and new != old else new


def _remove_emptied(directory: Path, top: Path) -> None:
    """Remove `directory` and those above it, up to `top`, as far as nothing is left in them."""
    with contextlib.suppress(OSError):
        while directory != top:
            directory.rmdir()
            directory = directory.parent
