"""Zstandard, and the guess whether it is worth trying."""

from __future__ import annotations

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import Buffer

LEVEL = 3
WORTH = 0.95  # stored compressed only where at least 5 % is saved
SMALLEST = 64  # below this a frame's header eats the gain
LARGEST = 64 << 20  # above this an object is stored raw: a frame that claims more is a bomb
PROBED = 128 << 10  # from this size on, samples tell whether an object is worth compressing
_SAMPLE = 8 << 10
_SAMPLES = 4


class Squeezer:
    """Compresses what compresses: of large objects it tries samples first, and after a few small ones in a row that do
    not shrink it looks only at every n-th.

    Already compressed data (images, archives) thus costs nearly nothing.
    """

    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - 8 ms: paid only by what writes to a remote

        self._compress = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress
        self._try = zstandard.ZstdCompressor(level=1).compress
        self._misses = 0
        self._skip = 0

    def squeeze(self, data: Buffer) -> bytes | None:
        """The compressed bytes, None where raw is as good."""
        if len(data) >= PROBED:
            return self._pack(data) if len(data) <= LARGEST and self._shrinks(data) else None
        if self._skip:
            self._skip -= 1
            return None
        if len(data) < SMALLEST:
            return None
        packed = self._pack(data)
        self._misses = 0 if packed is not None else self._misses + 1
        self._skip = min(self._misses * self._misses, 100)
        return packed

    def _pack(self, data: Buffer) -> bytes | None:
        packed = self._compress(data)
        return packed if len(packed) <= WORTH * len(data) else None

    def _shrinks(self, data: Buffer) -> bool:
        view, step = memoryview(data), (len(data) - _SAMPLE) // (_SAMPLES - 1)
        samples = [view[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step)]
        return any(len(self._try(sample)) <= WORTH * _SAMPLE for sample in samples)


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
