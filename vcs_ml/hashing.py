"""The digests that name bytes: xxh128, sha256 and, as an extra, blake3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

import xxhash

from vcs_ml.errors import UserError

Buffer = bytes | bytearray | memoryview

DEFAULT = "xxh128"


class Hasher(Protocol):
    """What hashlib, xxhash and blake3 objects have in common."""

    def update(self, data: Buffer, /) -> object: ...
    def digest(self) -> bytes: ...


class Algorithm(NamedTuple):
    """One way to name bytes. `code` is its number in binary formats, `size` its digest length in bytes."""

    name: str
    code: int
    size: int
    digest: Callable[[Buffer], bytes]
    new: Callable[[], Hasher]


def _sha256(data: Buffer) -> bytes:
    return hashlib.sha256(data).digest()


def _xxh128(data: Buffer) -> bytes:
    return xxhash.xxh3_128_digest(data)


XXH128 = Algorithm("xxh128", 1, 16, _xxh128, xxhash.xxh3_128)
SHA256 = Algorithm("sha256", 2, 32, _sha256, hashlib.sha256)


def _blake3() -> Algorithm:
    try:
        import blake3  # noqa: PLC0415 - the extra: imported only where a project asks for it
    except ImportError:
        raise UserError(
            "this project names its data with blake3, which is not installed",
            hint="pip install 'vcs-ml[blake3]'",
        ) from None
    return Algorithm("blake3", 3, 32, lambda data: bytes(blake3.blake3(data).digest()), blake3.blake3)


NAMES = ("xxh128", "sha256", "blake3")


def by_name(name: str) -> Algorithm:
    """The algorithm called `name`; UserError if there is none or its extra is missing."""
    if name == "xxh128":
        return XXH128
    if name == "sha256":
        return SHA256
    if name == "blake3":
        return _blake3()
    raise UserError(f"unknown hash algorithm {name!r}", hint=f"one of: {', '.join(NAMES)}")


def by_code(code: int) -> Algorithm | None:
    """The algorithm with this number in a binary format, None if there is none."""
    return by_name(NAMES[code - 1]) if 1 <= code <= len(NAMES) else None
