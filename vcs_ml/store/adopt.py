"""Workspace files that become objects as they are, without a copy, and are links into the store from then on."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs
from vcs_ml.errors import CorruptError
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import content, link, objects, seal
from vcs_ml.store.link import Numbers
from vcs_ml.store.local import REMEDY, LocalStore
from vcs_ml.store.objects import ObjectId


class _Hashed(NamedTuple):
    """A digest, and the stats that the workspace file had before and after it was hashed."""

    digest: bytes
    seen: os.stat_result


def adopt(store: LocalStore, directory: int, name: bytes, fd: int, meter: Meter) -> tuple[bytes, Numbers] | None:
    """Store the open file `name` of an open directory and make it a link: (digest, stats it has then).

    The file itself becomes the object, unless other links to it exist: then the store gets a copy. None if it
    changes meanwhile. A file for which no link can be made stays as it is.
    """
    before = os.fstat(fd)
    hashed: _Hashed | None
    try:
        if before.st_nlink > 1 or not os.path.samestat(_lstat(directory, name), before):
            hashed = _as_object(store, fd, meter) or _copied(store, directory, name, fd, meter)
        else:
            hashed = _linked(store, directory, name, fd, meter)
    except OSError as error:
        if error.errno not in link.CANNOT:
            raise
        hashed = _copied(store, directory, name, fd, meter)
    if hashed is None:
        return None
    path = linkable(store, objects.blob(hashed.digest))
    if not _replace(store, directory, name, hashed.seen, path) and not os.path.samestat(path.stat(), before):
        os.fchmod(fd, stat.S_IMODE(before.st_mode))
    after = _settled(directory, name, path, hashed.seen)
    return (hashed.digest, after) if after else None


def _linked(store: LocalStore, directory: int, name: bytes, fd: int, meter: Meter) -> _Hashed | None:
    """Make the file an object: what it holds is hashed after it was linked, write-protected and sealed."""
    before = os.fstat(fd)
    tmp = store.scratch()
    os.link(name, tmp, src_dir_fd=directory, follow_symlinks=False)
    hashed = None
    try:
        if not os.path.samestat(tmp.lstat(), before):
            return None
        os.fchmod(fd, before.st_mode & 0o444 | stat.S_IRUSR)
        seal.put(fd)
        os.fsync(fd)  # also for those who have it mapped: only what they write from now on gives it a new time
        seen = os.fstat(fd)
        digest = content.digest(fd, store.algorithm, meter)
        if seal.is_intact(seen) and seal.is_intact(os.fstat(fd)):
            if not _is_loose(store, oid := objects.blob(digest)):  # a damaged one is replaced
                store.adopt_loose(oid, tmp)
            hashed = _Hashed(digest, seen)
        return hashed
    finally:
        if hashed is None:
            os.fchmod(fd, stat.S_IMODE(before.st_mode))
        tmp.unlink(missing_ok=True)


def _as_object(store: LocalStore, fd: int, meter: Meter) -> _Hashed | None:
    """The digest of a file that is the object of its bytes already; None for any other."""
    seen = os.fstat(fd)
    if not seal.is_intact(seen):
        return None
    digest = content.digest(fd, store.algorithm, meter)
    with contextlib.suppress(FileNotFoundError):
        there = store.loose_path(objects.blob(digest)).stat()
        if os.path.samestat(there, seen) and seal.is_intact(os.fstat(fd)):
            return _Hashed(digest, seen)
    return None


def _copied(store: LocalStore, directory: int, name: bytes, fd: int, meter: Meter) -> _Hashed | None:
    seen, before = _lstat(directory, name), _key(os.fstat(fd))
    digest, _ = copy(store, fd, reflink=True, meter=meter)
    return _Hashed(digest, seen) if _key(os.fstat(fd)) == before else None


def copy(store: LocalStore, fd: int, *, reflink: bool, meter: Meter) -> tuple[bytes, bool]:
    """Store a copy of an open file, or a clone of it: (digest of the copy, whether it is a clone)."""
    tmp = store.scratch()
    try:
        digest, cloned = content.copy_in(fd, tmp, store.algorithm, reflink=reflink, meter=meter)
        # A damaged one is replaced, and one that is this very file: it has become an executable, say.
        if not store.holds(oid := objects.blob(digest)) or _is_object(fd, store.loose_path(oid)):
            seal.put(tmp)
            store.adopt_loose(oid, tmp)
        return digest, cloned
    finally:
        tmp.unlink(missing_ok=True)


def _is_object(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _is_loose(store: LocalStore, oid: ObjectId) -> bool:
    """Whether an object is a loose file, and undamaged: it is read."""
    try:
        with store.loose_path(oid).open("rb", buffering=0) as file:
            return content.digest(file.fileno(), store.algorithm, SILENT) == oid[:-1]
    except FileNotFoundError:
        return False


def linkable(store: LocalStore, oid: ObjectId) -> Path:
    """The loose file of an object that may be linked: write-protected, and not written to since it was hashed.

    Where there is none, the store gets a new one, which is hashed. CorruptError if the object is damaged.
    """
    path = store.loose_path(oid)
    with contextlib.suppress(FileNotFoundError):
        st = path.stat()
        if seal.is_intact(st) and not st.st_mode & 0o333:
            return path
    with store.batch():
        if store.is_packed(oid):
            store.put_loose(oid, store.read(oid))
        else:
            _renew(store, oid, path)
    return path


def _renew(store: LocalStore, oid: ObjectId, path: Path) -> None:
    tmp = store.scratch()
    try:
        with path.open("rb", buffering=0) as file:
            digest, _ = content.copy_in(file.fileno(), tmp, store.algorithm, reflink=True, meter=SILENT)
        if digest != oid[:-1]:
            raise CorruptError("its object in the store is damaged", hint=REMEDY)
        seal.put(tmp)
        store.adopt_loose(oid, tmp)
    finally:
        tmp.unlink(missing_ok=True)


def _replace(store: LocalStore, directory: int, name: bytes, seen: os.stat_result, path: Path) -> bool:
    """Put a link to `path` in the place of a file that has not changed since it was `seen`; False if none works."""
    if store.links[0] == "hardlink" and os.path.samestat(path.stat(), seen):
        return True
    for kind in store.links:
        if kind not in link.SHARING:
            break
        # In the store's scratch, so that a kill leaves nothing in the workspace. A rename reaches it wherever
        # a hard link does; a symlink may have to be made in its own directory.
        for tmp, place in ((os.fsencode(store.scratch()), None), (fs.tmp_name().encode(), directory)):
            try:
                if link.make([kind], path, tmp, place) is None:
                    continue
                if _key(_lstat(directory, name)) == _key(seen):
                    os.rename(tmp, name, src_dir_fd=place, dst_dir_fd=directory)
                return True
            except OSError as error:
                if error.errno not in link.CANNOT:
                    raise
            finally:
                link.discard(tmp, place)
    return False


def _settled(directory: int, name: bytes, path: Path, seen: os.stat_result) -> Numbers | None:
    """The stats of what is in the workspace now, if it is the object at `path` or the file that was `seen`."""
    here, there = _lstat(directory, name), path.stat()
    if stat.S_ISLNK(here.st_mode):
        ours = os.readlink(name, dir_fd=directory) == os.fsencode(path) and seal.is_intact(there)
        return link.numbers(here, there) if ours else None
    same = os.path.samestat(here, there) and seal.is_intact(here)
    return link.numbers(here) if same or _key(here) == _key(seen) else None


def _lstat(directory: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _key(st: os.stat_result) -> tuple[int, int, int]:
    return st.st_ino, st.st_size, st.st_mtime_ns
