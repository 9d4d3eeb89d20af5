"""A directory that keeps packs: the local store's, and a remote on a disk or a network mount."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vcs_ml import fs
from vcs_ml.hashing import Buffer
from vcs_ml.store.remotes.protocol import Item, Place, Traits, check_key, check_size, not_found, too_short, valid_key

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DirectoryUpload:
    """A temporary file beside its final place, renamed there once its bytes are on the disk.

    It is made by the first `write`, so that whoever holds this object can always `abort` what there is.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._path = directory.root / "tmp" / fs.tmp_name()
        self._fd = -1

    def write(self, data: Buffer) -> None:
        if self._fd < 0:
            fs.make_directory(self._path.parent)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
            fs.share(self._fd, self._path.parent)
        fs.write_all(self._fd, data)

    def commit(self, key: str) -> None:
        target = self._finish(key)
        self._path.rename(target)
        fs.fsync_dir(target.parent)

    def commit_new(self, key: str) -> bool:
        """Like `commit`, but False where `key` is taken: link(2) never replaces, also on NFS."""
        target = self._finish(key)
        try:
            os.link(self._path, target)
        except FileExistsError:
            return False
        fs.fsync_dir(target.parent)
        return True

    def _finish(self, key: str) -> Path:
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        target = self._directory.path(key)
        fs.make_directory(target.parent)
        return target

    def abort(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)


class Directory:
    """The backend protocol on a directory."""

    gathers = False

    def __init__(self, path: Path, name: str = "") -> None:
        self.root = path
        self.url = str(path)
        self._place = Place(name, self.url)

    def path(self, key: str) -> Path:
        """Where `key` lies; keys come from listings, so they are checked before they touch a path."""
        check_key(self._place, key)
        return self.root / key

    def is_empty(self) -> bool:
        if not self.root.exists():  # a place that nothing has made yet
            return True
        with os.scandir(self.root) as entries:
            # A scratch directory of a push that was killed at its very start is nobody's.
            return all(entry.name in ("tmp", "lost+found") or fs.is_tmp(entry.name) for entry in entries)

    def read(self, key: str) -> bytes:
        item = self.stat(key)  # before it is opened: a FIFO would be waited for
        if item is None:
            raise not_found(self._place, key)
        check_size(self._place, key, item.size)
        try:
            with self.path(key).open("rb") as file:
                return file.read(item.size)
        except _ABSENT:
            raise not_found(self._place, key) from None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        item = self.stat(key)
        if item is None:
            raise not_found(self._place, key)
        if start + length > item.size:  # before memory is taken: an index from elsewhere may list any length
            raise too_short(self._place, key, start, length)
        try:
            fd = os.open(self.path(key), os.O_RDONLY)
        except _ABSENT:
            raise not_found(self._place, key) from None
        try:
            data = os.pread(fd, length, start)
            while len(data) < length:  # one read returns at most 2 GiB, less on a signal
                more = os.pread(fd, length - len(data), start + len(data))
                if not more:
                    raise too_short(self._place, key, start, length)
                data += more
            return data
        finally:
            os.close(fd)

    def create(self) -> DirectoryUpload:
        return DirectoryUpload(self)

    def write_new(self, key: str, data: Buffer) -> bool:
        upload = self.create()
        try:
            upload.write(data)
            return upload.commit_new(key)
        finally:
            upload.abort()

    def replace(self, key: str, data: Buffer) -> None:
        fs.write_atomic(self.path(key), data, scratch=self.root / "tmp")

    def list(self, prefix: str) -> Iterator[Item]:
        base = self.path(prefix.rstrip("/"))
        try:
            # A directory sorts as its keys do: behind "a.b" and "a-b", whose next byte is below "/".
            entries = sorted(
                (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name) for entry in os.scandir(base)
            )
        except _ABSENT:
            return
        for name in entries:
            key = f"{prefix}{name}"
            if not valid_key(key.rstrip("/")):
                continue  # what a file server keeps there for itself: .snapshot, @eaDir
            if name.endswith("/"):
                yield from self.list(key)
            elif item := self.stat(key):
                yield item

    def stat(self, key: str) -> Item | None:
        try:
            st = self.path(key).stat()
        except _ABSENT:
            return None
        return Item(key, st.st_size, st.st_mtime_ns / 1e9) if stat.S_ISREG(st.st_mode) else None

    def delete(self, key: str) -> None:
        with contextlib.suppress(*_ABSENT):
            self.path(key).unlink()

    def peek(self) -> Sequence[Item] | None:
        return None

    def now(self) -> float:
        """The file system's time, which on a network mount is the server's; where it cannot be written, ours."""
        try:
            fs.make_directory(self.root / "tmp")
        except OSError:
            return time.time()
        return fs.clock(self.root / "tmp")[0] / 1e9

    def sweep(self, before: float) -> int:
        removed = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root / "tmp") as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # finished or removed meanwhile
                    st = entry.stat(follow_symlinks=False)
                    if fs.is_tmp(entry.name) and stat.S_ISREG(st.st_mode) and st.st_mtime < before:
                        Path(entry.path).unlink()
                        removed += 1
        return removed

    def traits(self, scratch: str) -> Traits:
        return Traits(True, ())

    def requests(self) -> int:
        return 0
