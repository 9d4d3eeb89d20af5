"""Seals: modification times by which a loose object shows that nobody wrote to it since it was hashed."""

from __future__ import annotations

import os
import struct

import xxhash

# The low bits of an object's mtime, about 17 ms of it. Whoever writes to the file sets another time; that it
# fits by chance happens once in 2^24 times.
_MASK = (1 << 24) - 1


def time_of(st: os.stat_result) -> int:
    """The mtime (ns) of a sealed file of this inode and size; within 17 ms of the one it has."""
    high = st.st_mtime_ns & ~_MASK
    inode = st.st_ino & (1 << 64) - 1
    return high | xxhash.xxh3_64_intdigest(struct.pack("<QQq", inode, st.st_size, high)) & _MASK


def is_intact(st: os.stat_result) -> bool:
    """Whether a file has its seal: since then its bytes were not written, nor copied to another inode."""
    return st.st_mtime_ns == time_of(st)


def put(file: int | str | os.PathLike[str]) -> None:
    """Seal a file (a path or a descriptor), before it is hashed or while it is nobody else's.

    A seal that is put after hashing could cover up a write in between.
    """
    st = os.stat(file)
    os.utime(file, ns=(st.st_atime_ns, time_of(st)))
