"""Zstandard, and the guess whether it is worth trying."""

from __future__ import annotations

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import Buffer

LEVEL = 3
WORTH = 0.95  # stored compressed only where at least 5 % is saved
SMALLEST = 64  # below this a frame's header eats the gain
LARGEST = 64 << 20  # above this an object is stored raw: a frame that claims more is a bomb


class Squeezer:
    """Compresses what compresses: after a few failures in a row it looks only at every n-th object.

    Already compressed data (images, archives) thus costs nearly nothing.
    """

    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - 8 ms: paid only by what writes to a remote

        self._compress = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress
        self._misses = 0
        self._skip = 0

    def squeeze(self, data: Buffer) -> bytes | None:
        """The compressed bytes, None where raw is as good."""
        if self._skip:
            self._skip -= 1
            return None
        if not SMALLEST <= len(data) <= LARGEST:
            return None
        packed = self._compress(data)
        if len(packed) <= WORTH * len(data):
            self._misses = 0
            return packed
        self._misses += 1
        self._skip = min(self._misses * self._misses, 100)
        return None


def expand(data: Buffer, size: int) -> bytes:
    """The raw bytes of one frame that holds exactly `size` of them; CorruptError otherwise.

    A frame that announces another size, none, or more than LARGEST is refused before any memory is taken for it.
    """
    import zstandard  # noqa: PLC0415 - as above

    if size > LARGEST:
        raise CorruptError(f"a compressed object of {size} bytes: none is larger than {LARGEST}")
    try:
        if zstandard.frame_content_size(data) != size:
            raise CorruptError(f"a compressed object does not have the {size} bytes that are listed for it")
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"a compressed object is damaged: {error}") from None
