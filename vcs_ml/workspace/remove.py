"""Ending to track, and moving: pointers, their lines in .gitignore, and workspace files that the store has."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from vcs_ml import locks
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.progress import Meter
from vcs_ml.store import manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.page import Entry
from vcs_ml.workspace import pointer_files, saved, single, snapshot, tracked
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project


def remove(
    project: Project,
    store: LocalStore,
    path: str,
    *,
    cached: bool = False,
    force: bool = False,
    meter: Meter,
) -> list[saved.Saved]:
    """End tracking `path` (project-relative), or drop it from the directory it lies in.

    Workspace files go too, unless `cached`; those whose bytes no store has are refused (UserError), or with
    `force` stored first and returned. The data of earlier commits stays in the stores.
    """
    owner = tracked.owner_in_workspace(project, path)
    if owner is None:
        raise UserError(f"{quote(path)} is not tracked", hint="vml ls lists what is")
    each, inner = owner
    with locks.lock(project.lock_dir / "index", timeout=project.config.lock_timeout):
        kept = [] if cached else _secure(project, store, each, inner, force=force, meter=meter)
        if inner:
            if each.kind != "tree":
                raise UserError(f"{quote(path)} is not tracked", hint=f"{quote(each.path)} is a file")
            _drop_inner(project, store, each, os.fsencode(inner))
        if not cached:
            _delete(project.root / path)
        if not inner:
            pointer_files.drop(project, [each.path])
            _forget(project, each)
    return kept


def _secure(
    project: Project, store: LocalStore, each: Pointer, inner: str, *, force: bool, meter: Meter
) -> list[saved.Saved]:
    """Make sure the store has every byte that is about to go."""
    unsaved = _unsaved(project, store, each, inner, meter)
    if not unsaved:
        return []
    if not force:
        raise saved.refusal(
            unsaved,
            "removed",
            hint="vml add keeps them; --cached leaves the files alone; --force stores them, then removes them",
        )
    return saved.keep(project, store, unsaved, meter)


def _unsaved(project: Project, store: LocalStore, each: Pointer, inner: str, meter: Meter) -> list[str]:
    if each.kind != "tree":
        here, _ = single.Files(project).look(each.path, meter=meter)
        return [] if here is None or objects.blob(here.digest) in store else [each.path]
    nothing = Ignore(project.root)
    shot = snapshot.take(project, each.path, nothing, snapshot.measurer(project, meter), prefix=os.fsencode(inner))
    found = {path: entry for path, entry in shot.edits.items() if entry is not None}
    known = {entry.path: entry for entry in shot.past.entries(shot.prefix)}
    for folder in shot.walk.folders:
        for name in folder.names:
            path = b"%b/%b" % (folder.path, name) if folder.path else name
            if path in known:
                found.setdefault(path, known[path])
    return [
        f"{each.path}/{os.fsdecode(path)}"
        for path, entry in sorted(found.items())
        if objects.blob(entry.digest) not in store
    ]


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _drop_inner(project: Project, store: LocalStore, each: Pointer, prefix: bytes) -> None:
    gone: dict[bytes, Entry | None] = {
        entry.path: None for entry in manifest.under(each.oid, prefix, store.algorithm, store.read)
    }
    index = Index.load(project.index_dir, each.path, project.algorithm)
    if not gone:
        raise UserError(
            f"{quote(each.path)} has no {quote(prefix)}", hint=f"vml ls {quote(each.path)} lists what it has"
        )
    with store.batch() as batch:
        summary = manifest.edit(each.oid, gone, store.algorithm, store.read, batch.add)
        base = summary.root
        if index.base is not None and index.base != each.oid:
            base = manifest.edit(index.base, gone, store.algorithm, store.read, batch.add).root
    new = each._replace(oid=summary.root, size=summary.size, nfiles=summary.count)
    pointer_files.write(project, [new])
    if index.loaded:
        index.update({}, gone)
        index.base = base
        index.save()


def _forget(project: Project, each: Pointer) -> None:
    Index.load(project.index_dir, each.path, project.algorithm).remove()
    files = single.Files(project)
    files.forget(each.path)
    files.save()


def move(project: Project, store: LocalStore, old: str, new: str) -> str:
    """Rename what is tracked at `old`, in the workspace and in its pointer; inside one tracked directory, too.

    `new` may be a directory to move it into. Returns the new path. Killed halfway, the same command completes
    it. UserError where the new place is taken.
    """
    if (project.root / new).is_dir() and tracked.owner_in_workspace(project, new) is None:
        new = f"{new}/{old.rpartition('/')[2]}"
    tracked.check_name(new)
    source = tracked.owner_in_workspace(project, old)
    target = tracked.owner_in_workspace(project, new)
    if source is None:
        if target is not None and not target[1] and not os.path.lexists(project.root / old):
            return new  # a killed move had got this far
        raise UserError(f"{quote(old)} is not tracked", hint="vml ls lists what is; git mv moves other files")
    if source[1]:
        return _move_inner(project, store, source, target, old=old, new=new)
    if target is not None and target[1]:
        raise UserError(
            f"{quote(new)} lies inside {quote(target[0].path)}, which is tracked",
            hint=f"vml rm --cached {quote(old)}, move the files, then vml add {quote(target[0].path)}",
        )
    with locks.lock(project.lock_dir / "index", timeout=project.config.lock_timeout):
        _move_root(project, source[0], target[0] if target else None, new)
    return new


def _move_root(project: Project, each: Pointer, there: Pointer | None, new: str) -> None:
    data, place = project.root / each.path, project.root / new
    resumed = there is not None and there.oid == each.oid
    if (there is not None and not resumed) or (os.path.lexists(place) and not (resumed and not os.path.lexists(data))):
        raise UserError(f"{quote(new)} exists already", hint=f"vml rm {quote(new)}, or choose another name")
    if new.startswith(f"{each.path}/"):
        raise UserError(f"{quote(each.path)} cannot be moved into itself", hint="choose a place outside of it")
    if not place.parent.is_dir():
        raise UserError(f"{quote(new)}: its directory does not exist", hint=f"mkdir -p {quote(place.parent)}")
    pointer_files.write(project, [each._replace(path=new)])
    if os.path.lexists(data):
        data.rename(place)
    _move_index(project, each, new)
    pointer_files.drop(project, [each.path])


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
) -> str:
    each = source[0]
    if target is None or target[0].path != each.path or not target[1]:
        raise UserError(
            f"{quote(old)} lies inside {quote(each.path)}, {quote(new)} does not",
            hint="move the file yourself, then vml add both places",
        )
    inner_old, inner_new = os.fsencode(source[1]), os.fsencode(target[1])
    data, place = project.root / old, project.root / new
    if place.is_dir() and not place.is_symlink():
        place, inner_new = place / data.name, inner_new + b"/" + os.fsencode(data.name)
    there = list(manifest.under(each.oid, inner_new, store.algorithm, store.read))
    if there or os.path.lexists(place):
        raise UserError(f"{quote(place.relative_to(project.root))} exists already", hint="choose another name")
    entries = list(manifest.under(each.oid, inner_old, store.algorithm, store.read))
    if not entries:
        raise UserError(f"{quote(old)} is not tracked", hint=f"vml ls {quote(each.path)} lists what is")
    edits: dict[bytes, Entry | None] = {entry.path: None for entry in entries}
    edits.update(
        (path, entry._replace(path=path)) for entry in entries for path in [inner_new + entry.path[len(inner_old) :]]
    )
    with locks.lock(project.lock_dir / "index", timeout=project.config.lock_timeout):
        with store.batch() as batch:
            summary = manifest.edit(each.oid, edits, store.algorithm, store.read, batch.add)
        if os.path.lexists(data):
            place.parent.mkdir(parents=True, exist_ok=True)
            data.rename(place)
            with contextlib.suppress(OSError):
                data.parent.rmdir()
        pointer_files.write(project, [each._replace(oid=summary.root, size=summary.size, nfiles=summary.count)])
        index = Index.load(project.index_dir, each.path, project.algorithm)
        if index.loaded:
            known = index.files()
            put = {
                path: known[entry.path]
                for entry in entries
                for path in [inner_new + entry.path[len(inner_old) :]]
                if entry.path in known
            }
            same = index.base == each.oid
            index.update(put, [entry.path for entry in entries])
            index.base = summary.root if same else index.base
            index.save()
    return place.relative_to(project.root).as_posix()
