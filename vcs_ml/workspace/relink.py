"""The form of workspace files, private copies or links into the store, and bringing them from one into the other."""

from __future__ import annotations

import contextlib
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs
from vcs_ml.errors import CorruptError
from vcs_ml.progress import Meter
from vcs_ml.store import manifest, objects, page
from vcs_ml.store.ingest import Stored
from vcs_ml.store.link import THROUGH
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import delete, detach, single, snapshot, tree, write
from vcs_ml.workspace import index as stat_index
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.snapshot import Snapshot
from vcs_ml.workspace.status import Change


class _File(NamedTuple):
    """A workspace file: its path below some directory with what it holds, and its stats."""

    entry: Entry
    stats: bytes

    @property
    def mode(self) -> int:
        return array("q", self.stats)[4]

    @property
    def is_link(self) -> bool:
        """Whether it is one file with an object, or with something else."""
        shared = array("q", self.stats)[2] == 0  # no ctime: there are other links
        return bool(self.mode & THROUGH) or (stat.S_ISREG(self.mode) and shared)


# Files below a directory -> those of them that have another form now, with their new stats.
_Change = Callable[[Path, list[_File]], list[_File]]


def unprotect(project: Project, wanted: Iterable[tuple[Pointer, str]], meter: Meter) -> list[Entry]:
    """Make files that are linked or read-only private and writable; the files that were.

    They keep the bytes that they have, also where those are not the object's any more. The caller holds the
    worktree's lock.
    """

    def change(top: Path, files: list[_File]) -> list[_File]:
        chosen = [f for f in files if f.is_link or (stat.S_ISREG(f.mode) and not f.mode & stat.S_IWUSR)]
        return _detach(project, top, chosen, meter)

    return _each(project, wanted, change, meter)


def relink(project: Project, store: LocalStore, wanted: Iterable[tuple[Pointer, str]], meter: Meter) -> list[Entry]:
    """Bring files whose bytes the store has into the form that `cache.link` asks for; the files that were changed.

    A reflink is made anew for each file: whether one has it already does not show. Raises CorruptError. The
    caller holds the worktree's lock.
    """
    kind = store.links[0]

    def change(top: Path, files: list[_File]) -> list[_File]:
        if kind == "copy":
            return _detach(project, top, [file for file in files if file.is_link], meter)
        chosen = [file for file in files if _can_be_link(store, file.entry) and _form(store, top, file) != kind]
        return _attach(project, store, top, chosen, meter)

    return _each(project, wanted, change, meter)


def _can_be_link(store: LocalStore, entry: Entry) -> bool:
    return bool(entry.kind == page.FILE and entry.size and store.is_loose(objects.blob(entry.digest)))


def _form(store: LocalStore, top: Path, file: _File) -> str:
    if file.mode & THROUGH:
        return "symlink"
    return "hardlink" if _is_same(store, top / os.fsdecode(file.entry.path), file.entry) else "copy"


def _is_same(store: LocalStore, path: Path, entry: Entry) -> bool:
    """Whether a workspace file is one with an object, or a symlink to it."""
    try:
        return path.samefile(store.loose_path(objects.blob(entry.digest)))
    except OSError:  # gone, or a link that leads to itself
        return False


def written_through(project: Project, store: LocalStore, changes: Iterable[Change]) -> list[str]:
    """Those of the modified files that took the store's object with them, because they are linked to it."""
    return [
        each.path
        for each in changes
        if each.change == "modified" and each.old is not None and each.old.kind == page.FILE
        and each.new is not None and each.new.digest != each.old.digest
        and store.was_written(objects.blob(each.old.digest))
        and _is_same(store, project.root / each.path, each.old)
    ]  # fmt: skip


def damaged(project: Project, store: LocalStore, wanted: Iterable[tuple[Pointer, str]]) -> list[str]:
    """Those files of what is tracked, as it was recorded, that took the store's object with them when somebody wrote
    to them. Costs a stat a file; only what shows a write is read.
    """
    found = []
    for path, entry in _recorded(store, wanted) if store.shares else ():
        oid = objects.blob(entry.digest)
        if (
            entry.kind == page.FILE
            and store.was_written(oid)
            and _is_same(store, project.root / path, entry)
            and not store.holds(oid)
        ):
            found.append(path)
    return found


def _recorded(store: LocalStore, wanted: Iterable[tuple[Pointer, str]]) -> Iterator[tuple[str, Entry]]:
    """Each file by its path in the project, as far as lists of files are here."""
    for each, inner in wanted:
        if each.kind != "tree":
            yield each.path, single.entry_of(each)
            continue
        with contextlib.suppress(MissingObject, CorruptError):
            for entry in manifest.under(each.oid, os.fsencode(inner), store.algorithm, store.read):
                yield f"{each.path}/{os.fsdecode(entry.path)}", entry


# ---------------------------------------------------------------------- every file


def _each(project: Project, wanted: Iterable[tuple[Pointer, str]], change: _Change, meter: Meter) -> list[Entry]:
    """Change the files of tracked things; the stat index follows, so that nothing is hashed again."""
    done: list[Entry] = []
    files, ignore = single.Files(project), Ignore(project.root)
    for each, inner in wanted:
        if each.kind == "tree":
            hash = snapshot.measurer(project, meter)
            shot = snapshot.take(project, each.path, ignore, hash, prefix=os.fsencode(inner))
            done += _tree(project, shot, each.path, change)
        else:
            done += _file(project, files, each.path, change, meter)
    files.save()
    return done


def _tree(project: Project, shot: Snapshot, path: str, change: _Change) -> list[Entry]:
    here = delete.files_here(shot)
    seen = delete.seen(project.root / path, here, shot)
    done = change(project.root / path, [_File(entry, seen[p]) for p, entry in sorted(here.items())])
    now, granularity = fs.clock(project.state_dir)
    for file in done:
        settled = stat_index.settle(stat_index.unpack(file.stats), now, granularity)
        shot.stats[file.entry.path] = settled, file.entry.digest
    if done:
        snapshot.remember(shot)
    return [file.entry._replace(path=os.fsencode(path) + b"/" + file.entry.path) for file in done]


def _file(project: Project, files: single.Files, path: str, change: _Change, meter: Meter) -> list[Entry]:
    entry, _ = files.look(path, meter=meter)
    if entry is None or entry.size < 0:
        return []
    full = project.root / path
    numbers = tree.look(os.fsencode(full), full.lstat(), project.loose)
    assert numbers is not None
    here = _File(entry._replace(path=os.fsencode(full.name)), array("q", numbers).tobytes())
    done = change(full.parent, [here])
    for file in done:
        files.learn(path, Stored(file.entry.digest, stat_index.unpack(file.stats)))
    return [entry] if done else []


# ---------------------------------------------------------------------- changing them


def _attach(project: Project, store: LocalStore, top: Path, files: Sequence[_File], meter: Meter) -> list[_File]:
    """Write files again as the store's settings say."""
    entries, seen = [file.entry for file in files], {file.entry.path: file.stats for file in files}
    directory = write.open_below(project.root, os.fspath(top.relative_to(project.root)))
    try:
        stats = write.write(store, directory, entries, meter, scratch=write.scratch(project, top), seen=seen)
    finally:
        os.close(directory)
    return [file._replace(stats=raw) for file, raw in zip(files, stats, strict=True)]


def _detach(project: Project, top: Path, files: Sequence[_File], meter: Meter) -> list[_File]:
    """Replace files by private copies of what they hold."""
    meter.expect(len(files), sum(file.entry.size for file in files))
    done = []
    for file in files:
        done.append(file._replace(stats=detach.file(project, top, file.entry, file.stats)))
        meter.advance(1, file.entry.size)
    return done
