"""The bytes of open files: hashed, copied while they are hashed, or cloned."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vcs_ml import fs
from vcs_ml.hashing import Algorithm
from vcs_ml.progress import Meter

WINDOW = 1 << 20
_HOLE = bytes(WINDOW)
FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


def clone(source: int, target: int) -> bool:
    """Make `target` share the blocks of `source` (FICLONE); False where the file system cannot."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:
        return False
    return True


def copy(source: int, target: int, algorithm: Algorithm, meter: Meter) -> bytes:
    """Copy all bytes of one open file to another; the digest is of what was written. Holes stay holes."""
    hasher = algorithm.new()
    window = memoryview(bytearray(WINDOW))
    has_holes = (st := os.fstat(source)).st_blocks * 512 < st.st_size
    while n := os.readv(source, [window]):
        hasher.update(window[:n])
        if has_holes and bytes(window) == _HOLE:
            os.truncate(target, os.lseek(target, n, os.SEEK_CUR))
        else:
            fs.write_all(target, window[:n])
        meter.advance(0, n)
    return hasher.digest()


def copy_in(source: int, target: Path, algorithm: Algorithm, *, reflink: bool, meter: Meter) -> tuple[bytes, bool]:
    """Copy or clone an open file to a new, synced one: (digest of what `target` holds, whether it is a clone)."""
    out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        fs.share(out, target.parent)
        os.lseek(source, 0, os.SEEK_SET)
        cloned = reflink and clone(source, out)
        found = digest(out, algorithm, meter) if cloned else copy(source, out, algorithm, meter)
        os.fsync(out)
        return found, cloned
    finally:
        os.close(out)


def digest(fd: int, algorithm: Algorithm, meter: Meter) -> bytes:
    """The digest of an open file, from where it stands."""
    hasher = algorithm.new()
    window = memoryview(bytearray(WINDOW))
    while n := os.readv(fd, [window]):
        hasher.update(window[:n])
        meter.advance(0, n)
    return hasher.digest()
