"""Object ids: what kinds of objects there are, and how an id is written in text."""

from __future__ import annotations

import re
from typing import NewType

from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import SHA256, Algorithm, Buffer

# The digest followed by one kind byte (docs/formats.md).
ObjectId = NewType("ObjectId", bytes)

BLOB, NODE, CHUNK, RECIPE = 1, 2, 3, 4
KINDS = {BLOB: "blob", NODE: "node", CHUNK: "chunk", RECIPE: "recipe"}
_TREE = re.compile(r"tree:sha256:([0-9a-f]{64})")


class MissingObject(UserError):
    """An object that ought to be in a store is not there."""

    def __init__(self, oid: ObjectId, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.oid = oid


def blob(digest: bytes) -> ObjectId:
    """The id of a file's content."""
    return ObjectId(digest + b"\x01")


def node(digest: bytes) -> ObjectId:
    """The id of one page of a directory manifest; of a whole directory, if it is the root page."""
    return ObjectId(digest + b"\x02")


def chunk(digest: bytes) -> ObjectId:
    """The id of a piece of a large blob, on a remote."""
    return ObjectId(digest + b"\x03")


def recipe(blob: ObjectId) -> ObjectId:
    """The id of the list of chunks of which a large blob is made."""
    return ObjectId(blob[:-1] + b"\x04")


def is_meta(oid: ObjectId) -> bool:
    """Whether an object says what others are made of; such ones go to packs of their own."""
    return oid[-1] in (NODE, RECIPE)


def kind(oid: ObjectId) -> int:
    """BLOB, NODE, CHUNK or RECIPE."""
    return oid[-1]


def digest_size(kind: int, algorithm: Algorithm) -> int:
    """Bytes in the digest of an object of this kind; a recipe is filed under its blob's digest."""
    return algorithm.size if kind in (BLOB, RECIPE) else SHA256.size


def verify(oid: ObjectId, data: Buffer, algorithm: Algorithm) -> None:
    """CorruptError unless `data` is what `oid` names; of a recipe, which another digest names, what it ends with."""
    if oid[-1] == RECIPE:
        if SHA256.digest(data[: -SHA256.size]) != data[-SHA256.size :]:
            raise CorruptError(f"damaged object {describe(oid, algorithm)}: its bytes do not hash to what it ends with")
        return
    digest = algorithm.digest(data) if oid[-1] == BLOB else SHA256.digest(data)
    if digest != oid[:-1]:
        raise CorruptError(f"damaged object {describe(oid, algorithm)}: its bytes hash to {digest.hex()}")


def format_hash(oid: ObjectId, algorithm: Algorithm) -> str:
    """An id as pointers and `--json` write it: `xxh128:<hex>`, `tree:sha256:<hex>` for a directory or a page of its
    list of files, `sha256:<hex>` for a chunk.
    """
    name = {NODE: "tree:sha256", CHUNK: SHA256.name}.get(oid[-1], algorithm.name)
    return f"{name}:{oid[:-1].hex()}"


def describe(oid: ObjectId, algorithm: Algorithm) -> str:
    """An id for messages, with its kind."""
    name = algorithm.name if oid[-1] in (BLOB, RECIPE) else SHA256.name
    return f"{KINDS[oid[-1]]} {name}:{oid[:-1].hex()}"


def parse_hash(text: object, algorithm: Algorithm, *, source: str) -> ObjectId:
    """The id that `text` names; UserError naming `source` unless it is exactly of a form we write."""
    if isinstance(text, str):
        if match := _TREE.fullmatch(text):
            return node(bytes.fromhex(match[1]))
        name, _, digits = text.partition(":")
        if name == algorithm.name and re.fullmatch(f"[0-9a-f]{{{2 * algorithm.size}}}", digits):
            return blob(bytes.fromhex(digits))
        if name in ("xxh128", "sha256", "blake3") and name != algorithm.name:
            raise UserError(
                f"{source}: the hash {text!r} is {name}, but this project uses {algorithm.name}",
                hint="the algorithm is fixed at `vml init --hash`; add the data again here",
            )
    raise UserError(
        f"{source}: {text!r} is not a hash",
        hint=f"expected {algorithm.name}:<{2 * algorithm.size} hex digits> or tree:sha256:<64 hex digits>",
    )
