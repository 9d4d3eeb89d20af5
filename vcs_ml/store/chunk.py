"""Where a large blob is cut into chunks: FastCDC, so that an edit changes only the chunks it touches."""

from __future__ import annotations

import os
from collections.abc import Iterator

# How large blobs are cut is part of a remote's identity: another cut would end all sharing between versions.
ABOVE = 8 << 20  # a blob larger than this is cut when it is pushed
MINIMUM, AVERAGE, MAXIMUM = 256 << 10, 1 << 20, 4 << 20  # bytes; only the last chunk may be smaller
PARAMETERS = {
    "above": ABOVE,
    "average": AVERAGE,
    "maximum": MAXIMUM,
    "method": "fastcdc",
    "minimum": MINIMUM,
}


class _File:
    """An open file, read from its beginning."""

    def __init__(self, fd: int) -> None:
        self._fd, self._at = fd, 0

    def readinto(self, buffer: memoryview) -> int:
        """Fill what can be filled; 0 at the end."""
        n = os.preadv(self._fd, [buffer], self._at)
        self._at += n
        return n


def cut(fd: int) -> Iterator[memoryview]:
    """The chunks of an open file in order, each good until the next is asked for; 8 MiB of memory in all.

    FastCDC of 2020 (Xia and others, IEEE TPDS 31.9) as in fastcdc-rs `v2020`: normalisation level 1, its gear table.
    """
    from pyfastcdc import FastCDC  # noqa: PLC0415 - 15 ms: paid only by pushes of large files

    cutter = FastCDC(AVERAGE, min_size=MINIMUM, max_size=MAXIMUM, normalized_chunking=1, seed=0)
    for each in cutter.cut_stream(_File(fd)):
        yield each.data
