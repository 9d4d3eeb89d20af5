"""Objects into workspace files: through directory descriptors, never through a link; verified, cloned or linked."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

from vcs_ml import fs, paths
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.output import quote
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import adopt, content, ingest, link, objects, page, seal, workers
from vcs_ml.store.ingest import stat_numbers
from vcs_ml.store.local import REMEDY, LocalStore, decode
from vcs_ml.store.pack import Row
from vcs_ml.store.page import Entry
from vcs_ml.workspace.project import Project

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_PARALLEL_FILES = 400  # below both, a second process costs more than it saves
_PARALLEL_BYTES = 32 << 20
_REPORT = 64  # files between two reports of progress


def open_below(top: Path, path: str, *, create: bool = False) -> int:
    """`open_directory` from the directory `top`."""
    base = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return open_directory(base, os.fsencode(path), create=create)
    finally:
        os.close(base)


def open_directory(base: int, path: bytes, *, create: bool) -> int:
    """A descriptor of the directory `path` below `base`. UserError if a part of it is a link or a file."""
    current = os.dup(base)
    try:
        for part in path.split(b"/") if path else ():
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
            try:
                below = os.open(part, _DIRECTORY, dir_fd=current)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise UserError(
                        f"{quote(path)}: {quote(part)} is a link or a file where a directory should be",
                        hint="vml does not write through links; move it away and run the command again",
                    ) from None
                raise
            os.close(current)
            current = below
        return current
    except BaseException:
        os.close(current)
        raise


def check_unchanged(directory: int, name: bytes, path: bytes, seen: Mapping[bytes, bytes]) -> None:
    """UserError unless `name` in an open directory still has the stats that were `seen` at `path` (or is not there).

    Asked just before a file is replaced or removed, so that an edit made meanwhile is not lost.
    """
    if not _is_as_seen(directory, name, seen.get(path)):
        raise UserError(
            f"{quote(path or name)} changed meanwhile; it is left as it is",
            hint="run the command again: what is done stays done",
        )


def _is_as_seen(directory: int, name: bytes, stats: bytes | None) -> bool:
    before = tuple(array("q", stats)) if stats else ()
    try:
        st = os.stat(name, dir_fd=directory, follow_symlinks=False)
        through = before and before[4] & link.THROUGH and stat.S_ISLNK(st.st_mode)
        now = stat_numbers(st, os.stat(name, dir_fd=directory) if through else None)
    except FileNotFoundError:
        return not before
    if before and not before[2]:  # there were other links, which may be gone
        now = (*now[:2], 0, *now[3:])
    return now == before


def scratch(project: Project, directory: Path) -> Path:
    """A directory for temporary files from which a rename reaches `directory`."""
    project.tmp_dir.mkdir(parents=True, exist_ok=True)
    return project.tmp_dir if project.tmp_dir.stat().st_dev == directory.stat().st_dev else directory


def write(
    store: LocalStore,
    base: int,
    entries: Sequence[Entry],
    meter: Meter,
    *,
    scratch: Path | None,
    seen: Mapping[bytes, bytes] | None = None,
) -> list[bytes]:
    """Write every entry below the open directory `base`; their stats, in order.

    With `scratch` (a directory on the same file system) each file is made there and renamed into place;
    None means that `base` is new and nobody else's. `seen` are the stats of what may be replaced. Symbolic
    links come last, so that no file can be written through one. Raises MissingObject, CorruptError, UserError.
    """
    files = [i for i, entry in enumerate(entries) if entry.kind != page.SYMLINK]
    links = [i for i, entry in enumerate(entries) if entry.kind == page.SYMLINK]
    writer = _Writer(store, base, scratch, seen or {})
    meter.expect(len(entries), sum(entry.size for entry in entries))
    stats = [b""] * len(entries)

    def work(part: Sequence[int], meter: Meter) -> bytes:
        return writer.write([entries[i] for i in part], meter)

    for group in (_share(entries, files), [links]):
        for part, result in zip(group, workers.fork_map(work, group, meter), strict=True):
            width = 8 * ingest.STAT_FIELDS
            for k, i in enumerate(part):
                stats[i] = result[k * width : (k + 1) * width]
    return stats


def _share(entries: Sequence[Entry], files: Sequence[int]) -> list[Sequence[int]]:
    """The files cut into one run of about equal cost for each worker, in path order."""
    weights = [20_000 + entries[i].size for i in files]  # creating a file costs what writing 20 KB does
    total = sum(weights)
    small = len(files) < _PARALLEL_FILES and total - 20_000 * len(files) < _PARALLEL_BYTES
    count = 1 if small else workers.count()
    parts: list[Sequence[int]] = []
    start = filled = 0
    for at, weight in enumerate(weights):
        filled += weight
        if len(parts) < count - 1 and filled * count >= total * (len(parts) + 1):
            parts.append(files[start : at + 1])
            start = at + 1
    return [*parts, files[start:]]


class _Writer:
    """Writes files of one store below one directory."""

    def __init__(self, store: LocalStore, base: int, scratch: Path | None, seen: Mapping[bytes, bytes]) -> None:
        self._store = store
        self._base = base
        self._scratch = os.fsencode(scratch) if scratch else None
        self._seen = seen
        self._links = store.links
        self._reflink = "reflink" in store.links

    def write(self, entries: Sequence[Entry], meter: Meter) -> bytes:
        """Write some entries, sorted by path; their stats, joined."""
        # Hot: about 25 us a small file, most of it the kernel creating it.
        numbers = array("q")
        directory, folder = -1, None
        done = size = 0
        try:
            for entry in entries:
                path, _, name = entry.path.rpartition(b"/")
                if path != folder:
                    if directory >= 0:
                        os.close(directory)
                        directory = -1
                    directory, folder = open_directory(self._base, path, create=True), path
                try:
                    numbers.extend(self._one(directory, name, entry))
                except CorruptError as error:
                    raise CorruptError(f"{quote(entry.path)}: {error.message}", hint=REMEDY) from None
                done, size = done + 1, size + entry.size
                if done == _REPORT or size > content.WINDOW:
                    meter.advance(done, size)
                    done = size = 0
            meter.advance(done, size)
        finally:
            if directory >= 0:
                os.close(directory)
        return numbers.tobytes()

    def _one(self, directory: int, name: bytes, entry: Entry) -> tuple[int, ...]:
        oid = objects.blob(entry.digest)
        if self._store.shares and (stats := self._share(directory, name, entry)):
            return stats
        place = self._store.locate(oid)
        mode = 0o777 if entry.kind == page.EXECUTABLE else 0o666
        if entry.kind == page.SYMLINK:
            return self._symlink(directory, name, entry.path, place)
        if self._scratch is None:
            fd = os.open(name, _CREATE, mode, dir_fd=directory)
            try:
                self._fill(fd, place, entry)
                return stat_numbers(os.fstat(fd))
            finally:
                os.close(fd)
        tmp = os.path.join(self._scratch, fs.tmp_name().encode())
        fd = os.open(tmp, _CREATE, mode)
        try:
            self._fill(fd, place, entry)
            check_unchanged(directory, name, entry.path, self._seen)
            os.rename(tmp, name, dst_dir_fd=directory)
            return stat_numbers(os.fstat(fd))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(tmp)
            raise
        finally:
            os.close(fd)

    def _share(self, directory: int, name: bytes, entry: Entry) -> tuple[int, ...] | None:
        """Make a file that is one with its object; its stats, or None for one that has to be a copy: an executable
        (one inode has one mode), an empty file, a packed object, or where no such link can be made.
        """
        oid = objects.blob(entry.digest)
        if not entry.size or entry.kind != page.FILE or not self._store.is_loose(oid):
            return None
        place = adopt.linkable(self._store, oid)
        if (size := place.stat().st_size) != entry.size:
            raise CorruptError(f"{size} bytes where the manifest lists {entry.size}")
        if self._scratch is None:
            if link.make(self._links, place, name, directory) is None:
                return None
        else:
            tmp = os.path.join(self._scratch, fs.tmp_name().encode())
            if link.make(self._links, place, tmp) is None:
                return None
            try:
                check_unchanged(directory, name, entry.path, self._seen)
                os.rename(tmp, name, dst_dir_fd=directory)
            finally:
                link.discard(tmp)
        st, there = os.stat(name, dir_fd=directory, follow_symlinks=False), place.stat()
        if not seal.is_intact(there):
            raise CorruptError("its object in the store was written to just now")
        return stat_numbers(st, there if stat.S_ISLNK(st.st_mode) else None)

    def _fill(self, fd: int, place: Path | tuple[mmap.mmap, Row], entry: Entry) -> None:
        if not isinstance(place, Path):
            data = decode(place, self._store.algorithm)
            if len(data) != entry.size:
                raise CorruptError(f"{len(data)} bytes where the manifest lists {entry.size}")
            if data:
                fs.write_all(fd, data)
            return
        source = os.open(place, os.O_RDONLY)
        try:
            unwritten = seal.is_intact(os.fstat(source))
            if unwritten and self._reflink and content.clone(source, fd):
                return
            self._reflink = self._reflink and not unwritten
            if content.copy(source, fd, self._store.algorithm, SILENT) != entry.digest:
                raise CorruptError("its object in the store is damaged")
        finally:
            os.close(source)

    def _symlink(
        self, directory: int, name: bytes, path: bytes, place: Path | tuple[mmap.mmap, Row]
    ) -> tuple[int, ...]:
        target = place.read_bytes() if isinstance(place, Path) else bytes(decode(place, self._store.algorithm))
        if why := paths.link_problem(path, target):
            raise CorruptError(f"refusing the link to {quote(target)}: {why}")
        if self._scratch is None:
            os.symlink(target, name, dir_fd=directory)
        else:
            tmp = os.path.join(self._scratch, fs.tmp_name().encode())
            os.symlink(target, tmp)
            try:
                check_unchanged(directory, name, path, self._seen)
                os.rename(tmp, name, dst_dir_fd=directory)
            except BaseException:
                os.unlink(tmp)
                raise
        return stat_numbers(os.stat(name, dir_fd=directory, follow_symlinks=False))
