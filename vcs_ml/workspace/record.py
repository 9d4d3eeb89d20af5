"""Add and commit: workspace content becomes objects, then pointers, then lines in .gitignore."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from vcs_ml import fs, output, paths
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.progress import Meter
from vcs_ml.store import ingest, manifest, objects
from vcs_ml.store.ingest import Folder, Stored
from vcs_ml.store.local import Batch, LocalStore
from vcs_ml.store.manifest import Summary
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.store.page import SYMLINK, Entry
from vcs_ml.workspace import conflicts, lock_files, pointer_files, single, snapshot, tree
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace.groups import Labels
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index, Known
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.recorded import Recorded
from vcs_ml.workspace.snapshot import Snapshot
from vcs_ml.workspace.targets import Target, check_pointers


class Job(NamedTuple):
    """What every step of one `add` works with."""

    project: Project
    store: LocalStore
    batch: Batch
    ignore: Ignore
    meter: Meter
    nodes: dict[ObjectId, bytes]

    def write(self, oid: ObjectId, data: bytes) -> None:
        """Store a page of a manifest, and keep it at hand until the batch is published."""
        self.nodes[oid] = data
        self.batch.add(oid, data)

    def read(self, oid: ObjectId) -> bytes:
        """A page of a manifest, stored before or by this job."""
        data = self.nodes.get(oid)
        return self.store.read(oid) if data is None else data


class Done(NamedTuple):
    """A result, and what is left to do once its pointer is written: the stat index follows the pointer."""

    recorded: Recorded
    settle: Callable[[], None]
    shot: Snapshot | None = None


def add(project: Project, store: LocalStore, wanted: Sequence[Target], *, meter: Meter) -> list[Recorded]:
    """Store what is at each target and write its pointer; objects are durable before any pointer names them.

    Raises UserError, with no pointer written, for what cannot be read, changes meanwhile or cannot be tracked.
    The caller holds the worktree's lock, and found `wanted` under it.
    """
    files = single.Files(project)
    with store.batch() as batch:
        done = take(Job(project, store, batch, Ignore(project.root), meter, {}), files, wanted)
    changed = [each.recorded.new for each in done if each.recorded.old != each.recorded.new]
    pointer_files.write(project, [each for each in changed if not each.lock])
    pointer_files.keep_out(project, [new for old, new in (each.recorded[1:3] for each in done) if old == new])
    lock_files.record(project, [each for each in changed if each.lock])
    for each in done:
        each.settle()
    files.save()
    order = {target.path: i for i, target in enumerate(wanted)}
    done.sort(key=lambda each: order[each.recorded.path])
    return [_counted(store, each) for each in done]


def take(job: Job, files: single.Files, wanted: Sequence[Target]) -> list[Done]:
    """Store what is at each target, which nothing names yet; errors as in `add`. Where `settle` is called after the
    batch has ended, and then `files` saved, the stat index knows what was stored.
    """
    trees = {target.path for target in wanted if _is_tree(job.project, target)}
    done = list(_add_files(job, files, [target for target in wanted if target.path not in trees]))
    return done + [_add_tree(job, target) for target in wanted if target.path in trees]


def label(
    project: Project, store: LocalStore, wanted: Sequence[Target], labels: Labels, *, meter: Meter
) -> list[Recorded]:
    """Add what is not tracked yet, and put labels on all of `wanted`; no other data is looked at.

    UserError for something inside a tracked directory.
    """
    for target in wanted:
        if target.inner:
            name = word(target.path)
            raise UserError(
                f"{quote(f'{target.path}/{target.inner[0]}')} lies inside {name}, which has its labels as a whole",
                hint=f"name {name}",
            )
    new = iter(add(project, store, [target for target in wanted if target.pointer is None], meter=meter))
    done = [next(new) if t.pointer is None else Recorded(t.path, t.pointer, t.pointer, 0, 0, 0) for t in wanted]
    labelled = [each._replace(new=labels.on(each.new)) for each in done]
    pointer_files.write(project, [b.new for a, b in zip(done, labelled, strict=True) if a.new != b.new])
    return labelled


def _is_tree(project: Project, target: Target) -> bool:
    if target.inner:
        return True
    full = project.root / target.path
    if target.pointer is not None and not os.path.lexists(full):
        raise UserError(
            f"{quote(target.path)} is tracked, but it is not in the workspace",
            hint=f"vml checkout {word(target.path)} brings it back, vml rm {word(target.path)} ends tracking it",
        )
    return full.is_dir() and not full.is_symlink()


# ---------------------------------------------------------------------- single files


def _add_files(job: Job, files: single.Files, wanted: Sequence[Target]) -> Iterable[Done]:
    project, size = job.project, job.project.algorithm.size
    groups: dict[bytes, list[Target]] = {}
    for target in wanted:
        if not _is_as_recorded(job, files, target):
            groups.setdefault(os.fsencode(os.path.dirname(target.path)), []).append(target)
    folders = []
    for folder, group in groups.items():
        numbers = stat_index.unpack(b"")
        for target in group:
            numbers.extend(_look(project, target.path))
        folders.append(Folder(folder, [os.fsencode(os.path.basename(t.path)) for t in group], numbers))
    entries: dict[str, Entry] = {}
    stored = ingest.ingest(job.store, job.batch, os.fsencode(project.root), folders, job.meter) if folders else []
    for group, each in zip(groups.values(), stored, strict=True):
        for i, target in enumerate(group):
            stats = each.stats[i * ingest.STAT_FIELDS : (i + 1) * ingest.STAT_FIELDS]
            one = Stored(each.digests[i * size : (i + 1) * size], stats)
            entries[target.path] = files.learn(target.path, one)
    return [
        Done(_recorded_file(job.store, target, entries.get(target.path)), partial(_forget_tree, job, target))
        for target in wanted
    ]


def _look(project: Project, path: str) -> Sequence[int]:
    full = os.fsencode(project.root / path)
    loose = project.loose if os.path.islink(full) else None
    if (found := tree.look(full, os.lstat(full), loose)) is None:
        raise UserError(
            f"{quote(path)} cannot be tracked: {tree.GONE}",
            hint=f"vml pull {word(path)} brings it, where a remote has it; vml fsck tells what else is missing",
        )
    return found


def _forget_tree(job: Job, target: Target) -> None:
    """A file stands where a directory was tracked."""
    if target.pointer is not None and target.pointer.kind == "tree":
        Index.new(job.project.index_dir, target.path, job.project.algorithm).remove()


def _is_as_recorded(job: Job, files: single.Files, target: Target) -> bool:
    """Whether the file is what its pointer says, and the store has it: then nothing is read again."""
    if target.pointer is None or target.pointer.kind == "tree" or job.store.unsafe([target.pointer.oid]):
        return False
    here, _ = files.look(target.path, meter=job.meter)
    return here == single.entry_of(target.pointer)


def _recorded_file(store: LocalStore, target: Target, entry: Entry | None) -> Recorded:
    old = target.pointer
    if entry is None:
        assert old is not None
        return Recorded(target.path, old, _holding(target, Item(old.oid, old.kind, old.size)), 0, 0, 0)
    new = _holding(target, single.item_of(entry))
    changed = old is not None and old.oid != new.oid
    damaged = (target.path,) if changed and old is not None and store.is_damaged(old.oid) else ()
    return Recorded(target.path, old, new, int(old is None), int(changed), 0, damaged)


# ---------------------------------------------------------------------- directories


def _add_tree(job: Job, target: Target) -> Done:
    past = Index.load(job.project.index_dir, target.path, job.project.algorithm)
    if target.inner:
        return _add_edits(job, target)
    _check_merged(target, past)
    if past.partial and target.pointer is None:  # it was made anew: nothing is recorded that could be missing here
        return _add_whole(job, target)
    if past.partial:  # what was never here is known from the manifest alone
        lost = job.store.lacking(objects.blob(entry.digest) for entry in past.entries())
        return _add_edits(job, target, rehash=bool(lost))
    if past.base is None or past.base not in job.store or job.store.missing(past.base):
        return _add_whole(job, target)
    return _add_edits(job, target)


def _check_merged(target: Target, past: Index) -> None:
    """Refuse to record a whole directory as it was before a merge, which would undo what the other side changed."""
    old = target.pointer
    if old is not None and old.kind == "tree" and old.conflicts and past.base not in (None, old.oid):
        name = word(target.path)
        raise UserError(
            f"{name} is not checked out as it was merged: adding it would undo what the other side changed",
            hint=f"vml checkout {name} brings the merged version, then vml add {name}; vml add {name}/FILE adds one",
        )


def _add_whole(job: Job, target: Target) -> Done:
    """Read and store every file: a first add, or one whose index or store was lost."""
    project, store, algorithm = job.project, job.store, job.project.algorithm
    root = os.fsencode(project.root / target.path)
    walk = tree.walk(root, job.ignore, project_path=target.path, loose=project.loose)
    _check_refused(target, walk)
    if target.pointer is None:
        check_pointers(job.project, target.path, walk.folders)
    now, granularity = fs.clock(project.state_dir)
    index = Index.new(project.index_dir, target.path, algorithm)
    entries: list[Entry] = []
    stored = ingest.ingest(store, job.batch, root, walk.folders, job.meter)
    for folder, each in zip(walk.folders, stored, strict=True):
        entries += stat_index.entries(folder.path, folder.names, each.stats, each.digests)
        settled = stat_index.settle(each.stats, now, granularity)
        index.folders[folder.path] = Known(b"\0".join(folder.names), settled, each.digests)
    _check_names(target, (entry.path for entry in entries))
    tree.check_links(root, [entry.path for entry in entries if entry.kind == SYMLINK])
    entries.sort(key=lambda entry: paths.key(entry.path))
    summary = manifest.build(entries, algorithm, job.write if target.pointer else job.batch.add)
    _check_nothing_lost(job, target, summary)
    index.base = summary.root
    large = [objects.blob(entry.digest) for entry in entries if entry.size > store.pack_below]

    def settle() -> None:
        index.save()
        store.remember_stored(summary.root, large)

    return Done(_recorded_tree(target, summary), settle)


def _check_nothing_lost(job: Job, target: Target, summary: Summary) -> None:
    """Refuse to record a directory that was never checked out here and lacks files of the recorded version."""
    old, past = target.pointer, Index.load(job.project.index_dir, target.path, job.project.algorithm)
    if old is None or old.kind != "tree" or old.oid == summary.root or past.base is not None:
        return
    name = word(target.path)
    try:
        lost = sum(new is None for _, new in manifest.diff(old.oid, summary.root, job.store.algorithm, job.read))
    except MissingObject as error:
        raise MissingObject(
            error.oid,
            f"{name} was never checked out here, and the list of its files is not in the local store",
            hint=f"vml pull {name} brings them; vml fetch --metadata {name} only the list",
        ) from None
    if lost:
        raise UserError(
            f"{name} was never checked out here: adding it would drop {output.count(lost, 'file')} from it",
            hint=f"vml checkout {name} (or vml pull) brings them first; vml add {name}/FILE adds one file alone",
        )


def _add_edits(job: Job, target: Target, *, rehash: bool = False) -> Done:
    """Store what changed since the last look (with `rehash`, everything), and edit the manifest there."""

    def hash(root: bytes, folders: Sequence[Folder]) -> list[Stored]:
        return ingest.ingest(job.store, job.batch, root, folders, job.meter)

    shots = [
        snapshot.take(
            job.project,
            target.path,
            job.ignore,
            hash,
            prefix=os.fsencode(inner),
            rehash=rehash,
            believe_memo=False,
        )
        for inner in target.inner or ("",)
    ]
    root = os.fsencode(job.project.root / target.path)
    try:
        for shot in shots:
            _check_refused(target, shot.walk)
            if shot.prefix:
                _check_there(job.store, target, shot)
        edits = _against_pointer(job.store, target, shots)
        shot = snapshot.merged(shots)
        _check_names(target, shot.edits)
        tree.check_links(root, [p for p, e in shot.edits.items() if e is not None and e.kind == SYMLINK])
        summary = _edit(job, target, shot, edits)
    except MissingObject as error:
        raise MissingObject(
            error.oid,
            f"the manifest of {quote(target.path)} is not in the local store",
            hint=f"vml fetch --metadata {word(target.path)} brings it, without the files",
        ) from None
    done = _recorded_tree(target, summary)._replace(damaged=_damaged(job.store, target, shot))
    return Done(done, partial(_settle, job.store, done, shot), shot)


def _onto_pointer(target: Target, past: Index) -> bool:
    """Whether what is not looked at, or never was here, is as the pointer says, and not as it was checked out."""
    return target.pointer is not None and target.pointer.kind == "tree" and (bool(target.inner) or past.partial)


def _damaged(store: LocalStore, target: Target, shot: Snapshot) -> tuple[str, ...]:
    return tuple(
        f"{target.path}/{os.fsdecode(path)}"
        for path, old in shot.before.items()
        if old is not None and shot.edits[path] is not None and store.is_damaged(objects.blob(old.digest))
    )


def _against_pointer(store: LocalStore, target: Target, shots: Sequence[Snapshot]) -> dict[bytes, Entry | None]:
    """What the parts that are here change in the pointer's tree, where that is not the one that is checked out."""
    past = shots[0].past
    if not _onto_pointer(target, past) or target.pointer is None or past.base in (None, target.pointer.oid):
        return {}
    return {
        each.path: each.here
        for shot in shots
        for each in snapshot.apart(shot, target.pointer.oid, store.read, shot.prefix)
        if each.known or each.here is not None
    }


def _edit(job: Job, target: Target, shot: Snapshot, more: dict[bytes, Entry | None]) -> Summary:
    base = shot.past.base
    if _onto_pointer(target, shot.past) and target.pointer is not None:
        base = target.pointer.oid
    assert base is not None
    edits = shot.edits | more
    if not edits:
        return manifest.summary(base, job.store.algorithm, job.store.read)
    return manifest.edit(base, edits, job.store.algorithm, job.store.read, job.batch.add)


def _settle(store: LocalStore, done: Recorded, shot: Snapshot) -> None:
    """Bring the index to what was recorded; if only a part was added to a workspace that was behind its
    pointer, to the tree that this makes of the workspace.
    """
    past = shot.past
    base = done.new.oid
    partial = past.partial or (bool(shot.prefix) and past.base is None)
    if shot.prefix and done.old is not None and past.base not in (None, done.old.oid):
        snapshot.take_in(shot)
        with store.batch() as batch:
            base = snapshot.tree_of(past, batch.add)
    snapshot.settle_on(shot, base, partial=partial)
    if done.old is not None and done.state == "changed":
        store.missing(done.new.oid, base=done.old.oid)  # remembered while the two differ in little


def _recorded_tree(target: Target, summary: Summary) -> Recorded:
    old = target.pointer
    new = _holding(target, Item(summary.root, "tree", summary.size, summary.count))
    return Recorded(target.path, old, new, 0, 0, 0)


def _holding(target: Target, content: Item) -> Pointer:
    """The pointer of a target, or a new one, with another content, in which conflicts are settled by what is there."""
    old = target.pointer or Pointer(target.path, *content, {})
    extra = conflicts.without(old.extra, target.inner or None) if old.conflicts else old.extra
    return old._replace(**content._asdict(), extra=extra)


def _counted(store: LocalStore, done: Done) -> Recorded:
    """The result with the numbers of files that came, changed and went, now that all manifests are stored."""
    each, shot = done.recorded, done.shot
    if each.new.kind != "tree" or each.state == "unchanged":
        return each
    if each.old is None or each.old.kind != "tree":
        return each._replace(added=each.new.nfiles or 0)
    added = modified = deleted = 0
    behind: set[bytes] = set()
    try:
        for old, new in manifest.diff(each.old.oid, each.new.oid, store.algorithm, store.read):
            added += old is None
            deleted += new is None
            modified += old is not None and new is not None
            if shot is not None and (one := old or new) is not None and one.path not in shot.edits:
                behind.add(one.path)
    except MissingObject:  # the old manifest is not here: count against what was
        if shot is not None:
            added = sum(shot.before[path] is None for path in shot.edits)
            deleted = sum(entry is None for entry in shot.edits.values())
            modified = len(shot.edits) - added - deleted
    edited = [f"{each.path}/{os.fsdecode(path)}" for path in shot.edits] if shot is not None and behind else []
    counts = each._replace(added=added, modified=modified, deleted=deleted)
    return counts._replace(behind=len(behind), edited=tuple(sorted(edited)))


def _check_refused(target: Target, walk: tree.Tree) -> None:
    if walk.refused:
        path, why = walk.refused[0]
        where = quote(os.path.join(os.fsencode(target.path), path))
        hint = "remove it, or name it in .vmlignore"
        if why == tree.GONE:
            hint = "vml pull brings it, where a remote has it; to record that it was deleted, remove the link"
        raise UserError(f"{where} cannot be tracked: {why}", hint=hint)


def _check_names(target: Target, names: Iterable[bytes]) -> None:
    try:
        paths.check_joined(b"\0".join(names) or b"-", source=quote(target.path))
    except UserError as error:
        hint = "rename it (convmv -f latin1 -t utf8 helps where it is not UTF-8), or name it in .vmlignore"
        raise UserError(error.message, hint=hint) from None


def _check_there(store: LocalStore, target: Target, shot: Snapshot) -> None:
    """Refuse a path at which nothing is and nothing was: what is deleted was there once."""
    if shot.walk.folders or shot.edits or target.pointer is None:
        return
    missing = quote(f"{target.path}/{os.fsdecode(shot.prefix)}")
    if any(manifest.under(target.pointer.oid, shot.prefix, store.algorithm, store.read)):
        raise UserError(
            f"{missing} is not in the workspace, and never was",
            hint=f"vml checkout {missing} brings it, vml rm {missing} drops it from the directory",
        )
    raise UserError(f"{missing} does not exist", hint="check the path: ls, vml ls")
