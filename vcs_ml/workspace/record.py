"""Add and commit: workspace content becomes objects, then pointers, then lines in .gitignore."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from vcs_ml import fs, git, locks, output
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, manifest, objects
from vcs_ml.store.ingest import Folder, Stored
from vcs_ml.store.local import Batch, LocalStore
from vcs_ml.store.manifest import Summary
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import SYMLINK, Entry
from vcs_ml.workspace import gitignore, pointer, single, snapshot, tracked, tree
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot


class Recorded(NamedTuple):
    """One tracked thing after `add`: its pointer as it was and is, and how many files came, changed and went."""

    path: str
    old: Pointer | None
    new: Pointer
    added: int
    modified: int
    deleted: int

    @property
    def state(self) -> Literal["new", "changed", "unchanged"]:
        if self.old is None:
            return "new"
        return "unchanged" if self.old.oid == self.new.oid and self.old.kind == self.new.kind else "changed"

    def line(self) -> str:
        """One line for people: `data: 1,797 files, 1.2 MB (3 added)`."""
        what = output.size(self.new.size)
        if self.new.nfiles is not None:
            what = f"{output.count(self.new.nfiles, 'file')}, {what}"
        counts = ((self.added, "added"), (self.modified, "modified"), (self.deleted, "deleted"))
        parts = ", ".join(f"{n:,} {word}" for n, word in counts if n)
        detail = {"new": "", "unchanged": " (unchanged)", "changed": f" ({parts})" if parts else ""}
        return f"{quote(self.path)}: {what}{detail[self.state]}"

    def as_json(self, algorithm: Algorithm) -> dict[str, object]:
        """The same for programs."""
        return {
            "path": self.path,
            "state": self.state,
            "hash": objects.format_hash(self.new.oid, algorithm),
            "size": self.new.size,
            "nfiles": self.new.nfiles,
            "added": self.added,
            "modified": self.modified,
            "deleted": self.deleted,
        }


class Target(NamedTuple):
    """What arguments mean: a tracked thing (its pointer, if it has one) and paths inside it (none: all of it)."""

    path: str
    inner: tuple[str, ...]
    pointer: Pointer | None


def targets(project: Project, arguments: Sequence[str]) -> list[Target]:
    """What project-relative paths mean to `add`. UserError for one that cannot be tracked."""
    found: dict[str, Target] = {}
    for path in arguments:
        if path == "":
            raise UserError("the whole project cannot be tracked", hint="name directories or files: vml add data")
        tracked.check_name(path)
        owner = tracked.owner_in_workspace(project, path)
        if owner is not None and owner[1] and owner[0].kind != "tree":
            raise UserError(
                f"{quote(path)} lies below {quote(owner[0].path)}, which is tracked as a file",
                hint=f"vml rm --cached {quote(owner[0].path)} ends tracking it as a file",
            )
        if owner is None or not owner[1]:
            found[path] = Target(path, (), owner[0] if owner else None)
        else:
            before = found.get(owner[0].path, Target(owner[0].path, ("",), owner[0]))
            if before.inner:
                found[before.path] = before._replace(inner=(*filter(None, before.inner), owner[1]))
    _check_new(project, [target for target in found.values() if target.pointer is None])
    return list(found.values())


def _check_new(project: Project, new: Sequence[Target]) -> None:
    """Refuse what is not there, what Git tracks, and what would overlap with something tracked."""
    if not new:
        return
    for target in new:
        full = project.root / target.path
        if not os.path.lexists(full):
            raise UserError(f"{quote(target.path)} does not exist", hint="check the path: ls, vml ls")
        if full.is_symlink():
            raise UserError(
                f"{quote(target.path)} is a symbolic link to {quote(os.readlink(full))}",
                hint="track the place it leads to, or replace the link by the data",
            )
        if not (full.is_dir() or full.is_file()):
            raise UserError(f"{quote(target.path)} is neither a file nor a directory", hint="only files can be tracked")
    in_git = git.tracked(project.git, [project.in_git(t.path) for t in new])
    for target in new:
        if project.in_git(target.path) in in_git:
            raise UserError(
                f"{quote(target.path)} is already tracked by Git",
                hint=f"git rm -r --cached {quote(target.path)}, then run the command again",
            )
    inside = [t for t in new if (project.root / t.path).is_dir()]
    if inside:
        known = tracked.in_workspace(project)
        for target in inside:
            below = [path for path in known if path.startswith(f"{target.path}/")]
            if below:
                raise UserError(
                    f"{quote(target.path)} contains {quote(below[0])}, which is tracked by itself",
                    hint=f"vml rm --cached {quote(below[0])}, then add the directory",
                )
    for one in new:
        for other in new:
            if one.path.startswith(f"{other.path}/"):
                raise UserError(
                    f"{quote(one.path)} lies inside {quote(other.path)}",
                    hint=f"vml add {quote(other.path)} is enough",
                )


def add(project: Project, store: LocalStore, wanted: Sequence[Target], *, meter: Meter) -> list[Recorded]:
    """Store what is at each target and write its pointer; objects are durable before any pointer names them.

    Raises UserError, with no pointer written, for what cannot be read, changes meanwhile or cannot be tracked.
    """
    with locks.lock(project.lock_dir / "index", timeout=project.config.lock_timeout):
        ignore = Ignore(project.root)
        files = single.Files(project)
        done: list[tuple[Recorded, Snapshot | None]] = []
        with store.batch() as batch:
            ones = [t for t in wanted if not _is_tree(project, t)]
            done += [(each, None) for each in _add_files(project, store, batch, files, ones, meter)]
            for target in wanted:
                if _is_tree(project, target):
                    done.append(_add_tree(project, store, batch, target, ignore, meter))
        write_pointers(project, [each.new for each, _ in done if each.old != each.new])
        for each, shot in done:
            if shot is not None:
                snapshot.settle_on(
                    shot,
                    _base_after(store, each, shot),
                    partial=shot.past.partial or (bool(shot.prefix) and not shot.past.loaded),
                )
        files.save()
        for each, _ in done:
            if each.old is not None and each.state == "changed":
                store.missing(each.new.oid, base=each.old.oid)  # remembered while the two differ in little
        return [each for each, _ in done]


def _is_tree(project: Project, target: Target) -> bool:
    if target.inner:
        return True
    full = project.root / target.path
    if target.pointer is not None and not os.path.lexists(full):
        raise UserError(
            f"{quote(target.path)} is tracked, but it is not in the workspace",
            hint=f"vml checkout {quote(target.path)} brings it back, vml rm {quote(target.path)} ends tracking it",
        )
    return full.is_dir() and not full.is_symlink()


# ---------------------------------------------------------------------- single files


def _add_files(
    project: Project,
    store: LocalStore,
    batch: Batch,
    files: single.Files,
    wanted: Sequence[Target],
    meter: Meter,
) -> list[Recorded]:
    root = os.fsencode(project.root)
    groups: dict[bytes, list[Target]] = {}
    for target in wanted:
        if _is_as_recorded(store, files, target, meter):
            continue
        groups.setdefault(os.fsencode(os.path.dirname(target.path)), []).append(target)
    folders = []
    for folder, group in groups.items():
        numbers = stat_index.unpack(b"")
        for target in group:
            numbers += stat_index.numbers(os.lstat(project.root / target.path))
        folders.append(Folder(folder, [os.fsencode(os.path.basename(t.path)) for t in group], numbers))
    entries: dict[str, Entry] = {}
    stored = ingest.ingest(store, batch, root, folders, meter) if folders else []
    size = store.algorithm.size
    for group, folder_stored in zip(groups.values(), stored, strict=True):
        for i, target in enumerate(group):
            one = Stored(
                folder_stored.digests[i * size : (i + 1) * size],
                folder_stored.stats[i * ingest.STAT_FIELDS : (i + 1) * ingest.STAT_FIELDS],
            )
            entries[target.path] = files.learn(target.path, one)
    return [_recorded_file(target, entries.get(target.path)) for target in wanted]


def _is_as_recorded(store: LocalStore, files: single.Files, target: Target, meter: Meter) -> bool:
    """Whether the file is what its pointer says, and the store has it: then nothing is read again."""
    if target.pointer is None or target.pointer.kind == "tree" or target.pointer.oid not in store:
        return False
    here, _ = files.look(target.path, meter=meter)
    return here == single.entry_of(target.pointer)


def _recorded_file(target: Target, entry: Entry | None) -> Recorded:
    old = target.pointer
    if entry is None:
        assert old is not None
        return Recorded(target.path, old, old, 0, 0, 0)
    extra = old.extra if old else {}
    new = Pointer(target.path, objects.blob(entry.digest), single.kind_of(entry), entry.size, None, extra)
    changed = old is not None and old.oid != new.oid
    return Recorded(target.path, old, new, int(old is None), int(changed), 0)


# ---------------------------------------------------------------------- directories


def _add_tree(
    project: Project, store: LocalStore, batch: Batch, target: Target, ignore: Ignore, meter: Meter
) -> tuple[Recorded, Snapshot]:
    def hash(root: bytes, folders: Sequence[Folder]) -> list[Stored]:
        return ingest.ingest(store, batch, root, folders, meter)

    shots = [
        snapshot.take(project, target.path, ignore, hash, prefix=os.fsencode(inner), believe_memo=False)
        for inner in target.inner or ("",)
    ]
    for shot in shots:
        _check_walk(project, target, shot)
        if shot.prefix:
            _extend_deletions(store, target, shot)
    shot = snapshot.merged(shots)
    old = target.pointer
    if old is not None and old.kind != "tree":
        old = None
    before = old.oid if old else None
    try:
        summary = _tree(store, batch, target, shot)
    except MissingObject as error:
        raise MissingObject(
            error.oid,
            f"the manifest of {quote(target.path)} is not in the local store",
            hint=f"vml fetch --metadata {quote(target.path)} brings it, without the files",
        ) from None
    added = modified = deleted = 0
    if summary.root != before:
        added, modified, deleted = _count(store, batch, before, summary, shot)
    extra = target.pointer.extra if target.pointer else {}
    new = Pointer(target.path, summary.root, "tree", summary.size, summary.count, extra)
    return Recorded(target.path, target.pointer, new, added, modified, deleted), shot


def _check_walk(project: Project, target: Target, shot: Snapshot) -> None:
    if shot.walk.refused:
        path, why = shot.walk.refused[0]
        where = quote(f"{target.path}/{os.fsdecode(path)}")
        raise UserError(f"{where} cannot be tracked: {why}", hint=f"remove it, or name it in {quote('.vmlignore')}")
    root = os.fsencode(project.root / target.path)
    for path, entry in shot.edits.items():
        try:
            path.decode()
        except UnicodeDecodeError:
            raise UserError(
                f"{quote(os.path.join(os.fsencode(target.path), path))}: this name is not UTF-8",
                hint="rename it (convmv -f latin1 -t utf8 finds such names), or name it in .vmlignore",
            ) from None
    tree.check_links(root, [path for path, e in shot.edits.items() if e is not None and e.kind == SYMLINK])


def _extend_deletions(store: LocalStore, target: Target, shot: Snapshot) -> None:
    """What the user names and is not on disk is deleted, also if it was never checked out here."""
    if shot.walk.folders or target.pointer is None:
        return
    there = list(manifest.under(target.pointer.oid, shot.prefix, store.algorithm, store.read))
    if not there and not shot.edits:
        missing = f"{target.path}/{os.fsdecode(shot.prefix)}"
        raise UserError(f"{quote(missing)} does not exist", hint="check the path: ls, vml ls")
    for entry in there:
        shot.edits[entry.path] = None
        shot.before[entry.path] = entry


def _tree(store: LocalStore, batch: Batch, target: Target, shot: Snapshot) -> Summary:
    index, algorithm = shot.past, store.algorithm
    if target.inner:
        assert target.pointer is not None
        return manifest.edit(target.pointer.oid, shot.edits, algorithm, store.read, batch.add)
    if index.base is not None and (index.partial or index.base in store):
        if not shot.edits:
            return manifest.summary(index.base, algorithm, store.read)
        return manifest.edit(index.base, shot.edits, algorithm, store.read, batch.add)
    entries = {entry.path: entry for entry in index.entries()}
    entries.update({path: entry for path, entry in shot.edits.items() if entry is not None})
    for path, entry in shot.edits.items():
        if entry is None:
            entries.pop(path, None)
    ordered = [entries[path] for path in sorted(entries, key=lambda p: p.replace(b"/", b"\0"))]
    return manifest.build(ordered, algorithm, batch.add)


def _count(
    store: LocalStore, batch: Batch, before: objects.ObjectId | None, summary: Summary, shot: Snapshot
) -> tuple[int, int, int]:
    if before is None:
        return summary.count, 0, 0
    added = modified = deleted = 0
    try:
        for old, new in manifest.diff(before, summary.root, store.algorithm, batch.read):
            added += old is None
            deleted += new is None
            modified += old is not None and new is not None
    except MissingObject:  # the old manifest is not here: say what changed since it was
        added = sum(shot.before[p] is None for p in shot.edits)
        deleted = sum(e is None for e in shot.edits.values())
        modified = len(shot.edits) - added - deleted
    return added, modified, deleted


def _base_after(store: LocalStore, each: Recorded, shot: Snapshot) -> objects.ObjectId:
    """The tree that the workspace is a checkout of after an add: the recorded one, unless only a part was added
    to a workspace that was behind its pointer.
    """
    index = shot.past
    if index.base is None or each.old is None or index.base == each.old.oid or not shot.prefix:
        return each.new.oid
    with store.batch() as batch:
        return manifest.edit(index.base, shot.edits, store.algorithm, store.read, batch.add).root


# ---------------------------------------------------------------------- pointers


def write_pointers(project: Project, pointers: Sequence[Pointer]) -> None:
    """Write pointers and the lines that keep their data out of Git; staged where core.autostage is set."""
    ignored: dict[str, set[str]] = {}
    touched = []
    for each in pointers:
        source = pointer.pointer_path(each.path)
        fs.write_atomic(project.root / source, pointer.serialize(each, project.algorithm))
        folder, _, name = each.path.rpartition("/")
        ignored.setdefault(folder, set()).add(name)
        touched.append(source)
    for folder, names in ignored.items():
        if gitignore.update(project.root / folder, names, set()):
            touched.append(_join(folder, ".gitignore"))
    stage(project, touched)


def drop_pointers(project: Project, paths: Sequence[str]) -> None:
    """Remove pointers and their lines in .gitignore."""
    ignored: dict[str, set[str]] = {}
    touched = []
    for path in paths:
        (project.root / (path + SUFFIX)).unlink(missing_ok=True)
        folder, _, name = path.rpartition("/")
        ignored.setdefault(folder, set()).add(name)
        touched.append(path + SUFFIX)
    for folder, names in ignored.items():
        if (project.root / folder).is_dir() and gitignore.update(project.root / folder, set(), names):
            touched.append(_join(folder, ".gitignore"))
    stage(project, touched)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def stage(project: Project, paths: Sequence[str]) -> None:
    """`git add` what a command wrote, where core.autostage is set."""
    if paths and project.config.autostage and project.git.worktree is not None:
        git.stage(project.git, [project.in_git(path) for path in paths])


def present(project: Project, known: Mapping[str, Pointer]) -> list[Target]:
    """Every tracked thing that is in the workspace: what `commit` without a path looks at."""
    return [Target(path, (), each) for path, each in known.items() if os.path.lexists(Path(project.root, path))]


def written(project: Project, done: Sequence[Recorded], start: Path) -> list[str]:
    """The files that Git should now be given, as a shell in `start` would write them."""
    files: dict[str, None] = {}
    for each in done:
        files[each.path + SUFFIX] = None
        ignore_file = _join(each.path.rpartition("/")[0], ".gitignore")
        if each.old is None:
            files[ignore_file] = None
    return [shlex.quote(os.path.relpath(project.root / path, start)) for path in files]
