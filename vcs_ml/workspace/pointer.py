"""Pointers: the small committed files `NAME.vml` that name data by its hash (docs/formats.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final, NamedTuple, NoReturn

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote, word
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import conflicts, item, strictjson
from vcs_ml.workspace.conflicts import Conflicts
from vcs_ml.workspace.item import Item, Kind
from vcs_ml.workspace.strictjson import HasMarkers, NotReadable

SUFFIX: Final = ".vml"
SCHEMA: Final = 1
MAX_SIZE: Final = 16 << 20  # a merge may leave many conflicts in it
_OURS: Final = item.KEYS | {"schema", "path"}


class Pointer(NamedTuple):
    """What is tracked at `path`, the path of the data from the project's top, and its version; `size` is in bytes.

    `nfiles` is for trees. `extra` keeps every other key of a pointer: desc, meta, pull, groups, and what we do not
    know. The output of a stage is recorded in the lock file `lock` under the name `stage`, and its `extra` has the
    keys `push` and `remote` where they are not as usual; `lock` is "" where a pointer beside the data records it.
    """

    path: str
    oid: ObjectId
    kind: Kind
    size: int
    nfiles: int | None
    extra: Mapping[str, object]
    stage: str = ""
    lock: str = ""

    @property
    def source(self) -> str:
        """The project-relative path of the file that records it."""
        return self.lock or self.path + SUFFIX

    @property
    def maker(self) -> str:
        """The stage whose output it is, as commands name it: `train`, `sub/vml.yaml:train`."""
        folder = self.lock.rpartition("/")[0]
        return f"{folder}/vml.yaml:{self.stage}" if folder else self.stage

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

    @property
    def conflicts(self) -> Mapping[str, str]:
        """What a merge left to be settled, by the path inside the data; "" is the data as a whole."""
        found = self.extra.get(conflicts.KEY)
        return found["paths"] if isinstance(found, dict) else {}

    @property
    def stays(self) -> bool:
        """Whether this is an output that goes to no remote."""
        return bool(self.lock) and self.extra.get("push") is False

    @property
    def remote(self) -> str | None:
        """The only remote that this output goes to; None: to any."""
        return str(self.extra["remote"]) if self.lock and "remote" in self.extra else None

    def travels(self, remote: str | None) -> bool:
        """Whether it goes to, and comes from, the remote of this name."""
        return not self.stays and self.remote in (None, remote)


def pointer_path(data_path: str) -> str:
    """The project-relative path of the pointer of this data. UserError if its name would be too long."""
    name = data_path.rpartition("/")[2]
    if len(os.fsencode(name + SUFFIX)) > paths.NAME_MAX:
        raise UserError(
            f"the name of {quote(data_path)} is too long for a pointer beside it",
            hint=f"names may have {paths.NAME_MAX - len(SUFFIX)} bytes; rename it, or add its directory",
        )
    return data_path + SUFFIX


def parse(raw: bytes, source: str, algorithm: Algorithm, *, moved: bool = False) -> Pointer:
    """The pointer in `raw`, found at the project-relative `source`; UserError for what we never write. One that was
    `moved` there may still have the name that it had elsewhere.
    """
    data_path = source.removesuffix(SUFFIX)
    if data_path == source or data_path.rpartition("/")[2] == "":
        _refuse(source, f"the name of a pointer ends in {SUFFIX}", hint=f"rename it to NAME{SUFFIX}")
    if why := paths.problem(data_path):
        _refuse(source, f"it would stand for {quote(data_path)}: {why}", hint=f"nobody needs it: git rm {word(source)}")
    fields = _load(raw, source)

    def refuse(why: str) -> NoReturn:
        _refuse(source, why)

    item.check_schema(fields, SCHEMA, "pointer", source, refuse)
    if fields.get("path") != data_path.rpartition("/")[2] and not moved:
        name = data_path.rpartition("/")[2]
        refuse(f"its path is {fields.get('path')!r}, but beside it lies {name!r}")
    found = item.parse(fields, algorithm, source=source, refuse=refuse)
    extra = {key: value for key, value in fields.items() if key not in _OURS}
    _check_extra(extra, source)
    if conflicts.KEY in extra:
        unsettled = conflicts.parse(extra[conflicts.KEY], algorithm, source=source, refuse=refuse)
        if "" not in unsettled.paths and found.kind != "tree":
            refuse("it has conflicts inside of it, but is no directory")
    return Pointer(data_path, *found, extra)


def unsettled(pointer: Pointer, algorithm: Algorithm) -> Conflicts:
    """The conflicts of a pointer that has some."""

    def refuse(why: str) -> NoReturn:
        _refuse(pointer.source, why)

    return conflicts.parse(pointer.extra.get(conflicts.KEY), algorithm, source=pointer.source, refuse=refuse)


def serialize(pointer: Pointer, algorithm: Algorithm) -> bytes:
    """The bytes of the pointer file: the same pointer always gives the same bytes."""
    content = Item(pointer.oid, pointer.kind, pointer.size, pointer.nfiles)
    fields: dict[str, object] = {
        **pointer.extra,
        "schema": SCHEMA,
        "path": pointer.path.rpartition("/")[2],
        **item.fields(content, algorithm),
    }
    text = json.dumps(fields, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _load(raw: bytes, source: str) -> dict[str, object]:
    try:
        return strictjson.load(raw, MAX_SIZE)
    except NotReadable as error:
        if error.conflict:
            raise HasMarkers(source, error) from None
        _refuse(source, str(error))


def _check_extra(extra: Mapping[str, object], source: str) -> None:
    if not isinstance(extra.get("desc", ""), str):
        _refuse(source, "its desc is not text")
    if not isinstance(extra.get("pull", True), bool):
        _refuse(source, "its pull is neither true nor false")
    groups = extra.get("groups", [])
    if not isinstance(groups, list) or not all(isinstance(name, str) and name for name in groups):
        _refuse(source, "its groups are not a list of names")


def _refuse(source: str, why: str, *, hint: str | None = None) -> NoReturn:
    if hint is None:
        data = quote(source.removesuffix(SUFFIX))
        hint = f"git checkout {word(source)} brings the committed one back; or remove it, then vml add {data}"
    raise UserError(f"{quote(source)}: {why}", hint=hint)
