"""Recipes: of which chunks a large blob is made, in order (docs/formats.md)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import MutableSequence
from typing import NamedTuple

from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256, Algorithm, Buffer
from vcs_ml.store import chunk, objects, pack
from vcs_ml.store.objects import ObjectId

MAGIC = b"VMLR"
VERSION = 1
HEADER = struct.Struct("<4sB3sIQ")  # magic, version, zeros, chunks, bytes of the blob
BYTES_MAX = 64 << 20  # of a recipe: blobs up to about 2 TB
_ROW = SHA256.size + 4
COUNT_MAX = (BYTES_MAX - HEADER.size - SHA256.size) // _ROW


class Recipe(NamedTuple):
    """The chunks of a blob, in order and as often as they occur, and the bytes of each."""

    chunks: list[ObjectId]
    lengths: MutableSequence[int]

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return sum(self.lengths)


def encoded_size(count: int) -> int:
    """Bytes of a recipe of so many chunks."""
    return HEADER.size + count * _ROW + SHA256.size


def encode(recipe: Recipe) -> bytes:
    """A recipe's bytes. UserError for a blob of more chunks than a recipe may have."""
    count = len(recipe.chunks)
    if count > COUNT_MAX:
        raise UserError(
            f"a file of {recipe.size} bytes has {count} chunks: a remote takes {COUNT_MAX}", hint="split it"
        )
    head = HEADER.pack(MAGIC, VERSION, bytes(3), count, recipe.size)
    body = b"".join([head, *(oid[:-1] for oid in recipe.chunks), pack.little_endian(array("I", recipe.lengths))])
    return body + SHA256.digest(body)


def decode(data: Buffer, oid: ObjectId, algorithm: Algorithm) -> Recipe:
    """The recipe `oid`. CorruptError for whatever `encode` would not have written."""
    name = objects.describe(oid, algorithm)
    if not HEADER.size + SHA256.size <= len(data) <= BYTES_MAX:
        raise CorruptError(f"{name}: {len(data)} bytes are no recipe")
    objects.verify(oid, data, algorithm)
    magic, version, zeros, count, total = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or any(zeros):
        raise CorruptError(f"{name}: not a recipe of a version this vml reads")
    middle = HEADER.size + count * SHA256.size
    end = middle + count * 4
    if end + SHA256.size != len(data):
        raise CorruptError(f"{name}: its length does not fit its {count} chunks")
    view = memoryview(data)
    lengths = pack.from_little_endian("I", view[middle:end])
    if not count or sum(lengths) != total or min(lengths) < 1 or max(lengths) > chunk.MAXIMUM:
        raise CorruptError(f"{name}: the lengths of its chunks do not make {total} bytes")
    digests = bytes(view[HEADER.size : middle])
    chunks = [objects.chunk(digests[at : at + SHA256.size]) for at in range(0, len(digests), SHA256.size)]
    return Recipe(chunks, lengths)
