"""Pointers: the small committed files `NAME.vml` that name data by its hash (docs/formats.md)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, NoReturn, TypeGuard

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote
from vcs_ml.store import objects
from vcs_ml.store.objects import ObjectId

Kind = Literal["file", "executable", "tree"]

SUFFIX: Final = ".vml"
SCHEMA: Final = 1
MAX_SIZE: Final = 1 << 20
_CONFLICT: Final = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
_OURS: Final = frozenset({"schema", "path", "kind", "hash", "size", "nfiles"})


class Pointer(NamedTuple):
    """What stands in a pointer: `path` is that of the data, from the project's top; `size` is in bytes.

    `nfiles` is for trees. `extra` keeps every other key: desc, meta, pull, groups, and what we do not know.
    """

    path: str
    oid: ObjectId
    kind: Kind
    size: int
    nfiles: int | None
    extra: Mapping[str, object]

    @property
    def optional(self) -> bool:
        """Whether it is brought only when it is named, by its path or by a group."""
        return self.extra.get("pull") is False

    @property
    def groups(self) -> list[str]:
        """The groups it belongs to."""
        groups = self.extra.get("groups", [])
        assert isinstance(groups, list)  # checked by `parse`
        return groups


def pointer_path(data_path: str) -> str:
    """The project-relative path of the pointer of this data. UserError if its name would be too long."""
    name = data_path.rpartition("/")[2]
    if len(os.fsencode(name + SUFFIX)) > paths.NAME_MAX:
        raise UserError(
            f"the name of {quote(data_path)} is too long for a pointer beside it",
            hint=f"names may have {paths.NAME_MAX - len(SUFFIX)} bytes; rename it, or add its directory",
        )
    return data_path + SUFFIX


def parse(raw: bytes, source: str, algorithm: Algorithm) -> Pointer:
    """The pointer in `raw`, found at the project-relative `source`; UserError for what we never write."""
    data_path = source.removesuffix(SUFFIX)
    if data_path == source or data_path.rpartition("/")[2] == "":
        _refuse(source, f"the name of a pointer ends in {SUFFIX}", hint=f"rename it to NAME{SUFFIX}")
    if why := paths.problem(data_path):
        _refuse(
            source, f"it would stand for {quote(data_path)}: {why}", hint=f"nobody needs it: git rm {quote(source)}"
        )
    fields = _load(raw, source)
    _check_schema(fields, source)
    if fields.get("path") != data_path.rpartition("/")[2]:
        name = data_path.rpartition("/")[2]
        _refuse(source, f"its path is {fields.get('path')!r}, but beside it lies {name!r}")
    oid = objects.parse_hash(fields.get("hash"), algorithm, source=source)
    kind = fields.get("kind")
    if kind not in ("file", "executable", "tree"):
        _refuse(source, f"its kind {kind!r} is none of file, executable, tree")
    if (kind == "tree") != (objects.kind(oid) == objects.NODE):
        _refuse(source, f"its kind is {kind}, but its hash is {fields['hash']!r}")
    nfiles = _number(fields, "nfiles", source) if "nfiles" in fields else None
    if nfiles is not None and kind != "tree":
        _refuse(source, f"it has nfiles, but its kind is {kind}")
    extra = {key: value for key, value in fields.items() if key not in _OURS}
    _check_extra(extra, source)
    return Pointer(data_path, oid, kind, _number(fields, "size", source), nfiles, extra)


def serialize(pointer: Pointer, algorithm: Algorithm) -> bytes:
    """The bytes of the pointer file: the same pointer always gives the same bytes."""
    fields: dict[str, object] = {
        **pointer.extra,
        "schema": SCHEMA,
        "path": pointer.path.rpartition("/")[2],
        "kind": pointer.kind,
        "hash": objects.format_hash(pointer.oid, algorithm),
        "size": pointer.size,
    }
    if pointer.nfiles is not None:
        fields["nfiles"] = pointer.nfiles
    text = json.dumps(fields, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _load(raw: bytes, source: str) -> dict[str, object]:
    if len(raw) > MAX_SIZE:
        _refuse(source, f"it is larger than {MAX_SIZE} bytes, which no pointer is")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        _refuse(source, f"it is not UTF-8 (byte {error.start})")
    try:
        loaded = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite_float)
        if "\\u" in text:
            # A lone surrogate can be written as an escape, but it is no text and could not be written back.
            json.dumps(loaded, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        if _CONFLICT.search(text):
            _refuse(
                source,
                "it has conflict markers from a merge",
                hint=f"git checkout --ours (or --theirs) {quote(source)}, then vml checkout",
            )
        what = "it is nested too deeply" if isinstance(error, RecursionError) else f"not valid JSON: {error}"
        _refuse(source, what)
    if not isinstance(loaded, dict):
        _refuse(source, "it is not a JSON object")
    return loaded


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands there twice")
    return fields


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if value - value != 0:  # infinity
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _check_schema(fields: Mapping[str, object], source: str) -> None:
    schema = fields.get("schema")
    if not _is_whole(schema) or schema < 1:
        _refuse(source, "it is not a vml pointer: it has no schema")
    if schema > SCHEMA:
        _refuse(
            source,
            f"it was written by a newer vml (schema {schema}, this one reads {SCHEMA})",
            hint="pip install --upgrade vcs-ml",
        )


def _number(fields: Mapping[str, object], key: str, source: str) -> int:
    value = fields.get(key)
    if not _is_whole(value) or not 0 <= value < 1 << 63:
        _refuse(source, f"its {key} {str(value)[:40]!r} is not a whole number from 0 to 2^63")
    return value


def _check_extra(extra: Mapping[str, object], source: str) -> None:
    if not isinstance(extra.get("desc", ""), str):
        _refuse(source, "its desc is not text")
    if not isinstance(extra.get("pull", True), bool):
        _refuse(source, "its pull is neither true nor false")
    groups = extra.get("groups", [])
    if not isinstance(groups, list) or not all(isinstance(name, str) and name for name in groups):
        _refuse(source, "its groups are not a list of names")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse(source: str, why: str, *, hint: str | None = None) -> NoReturn:
    if hint is None:
        data = quote(source.removesuffix(SUFFIX))
        hint = f"git checkout {quote(source)} brings the committed one back; or remove it, then vml add {data}"
    raise UserError(f"{quote(source)}: {why}", hint=hint)
