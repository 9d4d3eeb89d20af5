"""Items: what a pointer or a lock file says of one file or directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, NoReturn, TypeGuard

from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote
from vcs_ml.store import objects
from vcs_ml.store.objects import ObjectId

Kind = Literal["file", "executable", "tree"]
KEYS: Final = frozenset({"hash", "kind", "size", "nfiles"})


class Item(NamedTuple):
    """A file or directory by its content: its id, kind and size in bytes; of a directory, the number of its files."""

    oid: ObjectId
    kind: Kind
    size: int
    nfiles: int | None = None


def parse(
    fields: Mapping[str, object], algorithm: Algorithm, *, source: str, refuse: Callable[[str], NoReturn]
) -> Item:
    """The item in the fields of a JSON object; `refuse` is told what is wrong. UserError for a hash that is none."""
    oid = objects.parse_hash(fields.get("hash"), algorithm, source=source)
    kind = fields.get("kind")
    if kind not in ("file", "executable", "tree"):
        refuse(f"its kind {kind!r} is none of file, executable, tree")
    if (kind == "tree") != (objects.kind(oid) == objects.NODE):
        refuse(f"its kind is {kind}, but its hash is {fields['hash']!r}")
    nfiles = _number(fields, "nfiles", refuse) if "nfiles" in fields else None
    if nfiles is not None and kind != "tree":
        refuse(f"it has nfiles, but its kind is {kind}")
    return Item(oid, kind, _number(fields, "size", refuse), nfiles)


def fields(item: Item, algorithm: Algorithm) -> dict[str, object]:
    """The item as it stands in a JSON object."""
    found: dict[str, object] = {
        "hash": objects.format_hash(item.oid, algorithm),
        "kind": item.kind,
        "size": item.size,
    }
    return found if item.nfiles is None else found | {"nfiles": item.nfiles}


def check_schema(
    fields: Mapping[str, object], newest: int, what: str, source: str, refuse: Callable[[str], NoReturn]
) -> None:
    """Refuse the file `source` where it is no `what`; UserError where a newer vml wrote it."""
    schema = fields.get("schema")
    if not is_whole(schema) or schema < 1:
        refuse(f"it is not a vml {what}: it has no schema")
    if schema > newest:
        raise UserError(
            f"{quote(source)}: it was written by a newer vml (schema {schema}, this one reads {newest})",
            hint="pip install --upgrade vcs-ml",
        )


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _number(fields: Mapping[str, object], key: str, refuse: Callable[[str], NoReturn]) -> int:
    value = fields.get(key)
    if not is_whole(value) or not 0 <= value < 1 << 63:
        refuse(f"its {key} {str(value)[:40]!r} is not a whole number from 0 to 2^63")
    return value
