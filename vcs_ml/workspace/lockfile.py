"""Lock files: `vml.lock` beside each `vml.yaml` says from what a stage was last made, and what came of it.

docs/formats.md describes the bytes. Paths are relative to the lock file there, so that a directory can be moved with
all its stages; here they are those of the project: "sub/x", "." for its top, "../x" and "/x" outside of it.
"""

from __future__ import annotations

import datetime
import json
import math
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, NoReturn, TypeVar

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.hashing import XXH128, Algorithm
from vcs_ml.output import quote, size, word
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import item, strictjson
from vcs_ml.workspace.item import Item, Kind
from vcs_ml.workspace.strictjson import HasMarkers, NotReadable

NAME: Final = "vml.lock"
STAGES: Final = "vml.yaml"
SCHEMA: Final = 1
MERGED: Final = "merged"  # key of a stage that both sides of a merge had changed
CHECK: Final = "check"  # key of a stage with a digest of all else in it
MAX_SIZE: Final = 64 << 20
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LIKE_A_NUMBER: Final = re.compile(r"'*(?:-?\.inf|\.nan)'*")
_STAGE: Final = frozenset({CHECK, "cmd", "deps", "env", "outs", "params"})
_USUAL: Final = {"cache": True, "persist": False, "push": True}
_OUT: Final = item.KEYS | _USUAL.keys() | {"remote"}
# What Git and vml go by wherever it lies. A directory of such a name would be in its way.
_CONTROL: Final = re.compile(
    r"(?:\A|/)(?:(vml\.yaml|vml\.lock|\.gitattributes|\.gitignore|\.gitmodules|\.vmlignore)(?:/|\Z)|[^/]*\.vml\Z)"
)

T = TypeVar("T")


class Flags(NamedTuple):
    """How an output is kept. cache: it is stored, and not Git's. persist: its stage changes what is there, and does
    not make it anew. push: it goes to remotes; `remote` names the only one.
    """

    cache: bool = True
    persist: bool = False
    push: bool = True
    remote: str | None = None


class OutItem(NamedTuple):
    """An output of a stage: what it was, and the flags that it had then."""

    oid: ObjectId
    kind: Kind
    size: int
    nfiles: int | None = None
    flags: Flags = Flags()
    extra: Mapping[str, object] = {}

    @property
    def item(self) -> Item:
        """Its content alone, to be compared with that of a dependency."""
        return Item(self.oid, self.kind, self.size, self.nfiles)

    def holding(self, content: Item) -> OutItem:
        """The same output with another content."""
        return self._replace(**content._asdict())


class StageRecord(NamedTuple):
    """What a stage was when it last ran: its commands, what they read, and what they made, by path.

    `env` has the SHA-256 (hex) of variables' values, None where one was not set. `params` are values (see `plain`) by
    file and name. `extra` keeps the keys that we do not know, `dep_extra` those of dependencies.
    """

    cmd: Sequence[str] = ()
    deps: Mapping[str, Item] = {}
    env: Mapping[str, str | None] = {}
    outs: Mapping[str, OutItem] = {}
    params: Mapping[str, Mapping[str, object]] = {}
    extra: Mapping[str, object] = {}
    dep_extra: Mapping[str, Mapping[str, object]] = {}

    @property
    def is_merged(self) -> bool:
        """Whether both sides of a merge had changed it, so that nobody has made what it says of what it says."""
        return self.extra.get(MERGED) is True

    @property
    def is_edited(self) -> bool:
        """Whether something other than vml put its lines together, so that it may be of a run that never was."""
        return CHECK in self.extra

    def without(self, out: str) -> StageRecord | None:
        """The stage less one of its outputs; None if that was the last."""
        outs = {path: each for path, each in self.outs.items() if path != out}
        return self._replace(outs=outs) if outs else None


class LockFile(NamedTuple):
    """A lock file at the project-relative `source`: its stages by name. `extra` keeps keys that we do not know."""

    source: str
    stages: Mapping[str, StageRecord] = {}
    extra: Mapping[str, object] = {}


def problem(path: str) -> str | None:
    """Why a project-relative `path` cannot be an output, or None if it can: the same for what people write into a
    vml.yaml and for what a lock file or a run-cache entry, which may be a stranger's, names.
    """
    if why := paths.problem(path):
        return why
    found = _CONTROL.search(path)
    return f"files named {found[1] or '*.vml'} belong to vml and Git" if found else None


def source_in(folder: str) -> str:
    """The lock file of the `vml.yaml` in a project-relative directory ("": the top)."""
    return f"{folder}/{NAME}" if folder else NAME


def plain(value: object) -> object:
    """A value from a params file as the lock file records it: strict JSON.

    What JSON does not have becomes the text that YAML writes for it: .nan, .inf, -.inf, dates, keys that are no text.
    Text that reads like one of these numbers has quotes around it, one more pair than it brings.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_key(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        found = [plain(each) for each in value]
        return sorted(found, key=json.dumps) if isinstance(value, set | frozenset) else found
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    text = _text_of(value)
    return f"'{text}'" if _LIKE_A_NUMBER.fullmatch(text) else text


def _text_of(value: object) -> str:
    # A lone surrogate is no text that a file could hold.
    return str(value).encode("utf-8", "backslashreplace").decode()


def _key(key: object) -> str:
    found = _text_of(key) if isinstance(key, str) else plain(key)
    return found if isinstance(found, str) else json.dumps(found)


# ---------------------------------------------------------------------- reading


def parse(raw: bytes, source: str, algorithm: Algorithm) -> LockFile:
    """The lock file in `raw`, found at the project-relative `source`; UserError for what we never write."""
    try:
        fields = strictjson.load(raw, MAX_SIZE)
    except NotReadable as error:
        if error.conflict:
            raise HasMarkers(source, error) from None
        _refuse(source, str(error))
    item.check_schema(fields, SCHEMA, "lock file", source, lambda why: _refuse(source, why))
    reader = _Reader(source, algorithm)
    stages = {name: reader.stage(name, _object(each, reader)) for name, each in reader.objects(fields, "stages")}
    return LockFile(source, stages, {k: v for k, v in fields.items() if k not in ("schema", "stages")})


def _object(value: object, reader: _Reader) -> Mapping[str, object]:
    if not isinstance(value, dict):
        reader.refuse(f"{str(value)[:40]!r} is not a JSON object")
    return value


class _Reader:
    """Reads the parts of one lock file; `at` says where it is, for messages."""

    def __init__(self, source: str, algorithm: Algorithm) -> None:
        self._source, self._quoted, self._algorithm = source, quote(source), algorithm
        self._folder = source.rpartition("/")[0]
        self.at = ""

    def refuse(self, why: str) -> NoReturn:
        _refuse(self._source, f"{self.at}: {why}" if self.at else why)

    def objects(self, fields: Mapping[str, object], key: str) -> list[tuple[str, object]]:
        """The pairs of the object at `key`, none where it is absent."""
        found = fields.get(key, {})
        if not isinstance(found, dict):
            self.refuse(f"its {key} are not a JSON object")
        return list(found.items())

    def stage(self, name: str, fields: Mapping[str, object]) -> StageRecord:
        self.at = f"stage {name[:80]!r}"
        if not name or not name.isprintable():
            self.refuse("this cannot be the name of a stage")
        cmd = fields.get("cmd", [])
        if not isinstance(cmd, list) or not all(isinstance(line, str) for line in cmd):
            self.refuse("its cmd is not a list of texts")
        here = self.at
        deps: dict[str, Item] = {}
        dep_extra = {}
        for text, each in self.objects(fields, "deps"):
            path = self._path(here, "dep", text, deps)
            entry = _object(each, self)
            deps[path] = self._item(entry)
            if extra := {key: value for key, value in entry.items() if key not in item.KEYS}:
                dep_extra[path] = extra
        self.at = here
        outs: dict[str, OutItem] = {}
        for text, each in self.objects(fields, "outs"):
            path = self._path(here, "out", text, outs)
            if why := problem(path):
                self.refuse(f"it is no output: {why}")
            if f"{self._folder}/".startswith(f"{path}/"):
                self.refuse("it is no output: the lock file itself lies in it")
            outs[path] = self._out(_object(each, self))
        self.at = here
        params: dict[str, Mapping[str, object]] = {}
        for text, each in self.objects(fields, "params"):
            params[self._path(here, "params", text, params)] = _object(each, self)
        self.at = here
        env = {name: self._env(name, value) for name, value in self.objects(fields, "env")}
        extra = {key: value for key, value in fields.items() if key not in _STAGE}
        if CHECK in fields and fields[CHECK] != _check(fields):
            extra[CHECK] = fields[CHECK]  # written as it is, so that it goes on not to fit
        return StageRecord(tuple(cmd), deps, env, outs, params, extra, dep_extra)

    def _path(self, here: str, what: str, text: str, known: Mapping[str, object]) -> str:
        self.at = f"{here}, {what} {text[:200]!r}"
        try:
            path = absolute(text, self._folder)
        except ValueError as error:
            self.refuse(str(error))
        if path in known:
            self.refuse("it stands there twice")
        return path

    def _item(self, fields: Mapping[str, object]) -> Item:
        return item.parse(fields, self._algorithm, source=f"{self._quoted}: {self.at}", refuse=self.refuse)

    def _out(self, fields: Mapping[str, object]) -> OutItem:
        flags: dict[str, bool] = {}
        for key, usual in _USUAL.items():
            value = fields.get(key, usual)
            if not isinstance(value, bool):
                self.refuse(f"its {key} is neither true nor false")
            flags[key] = value
        remote = fields.get("remote")
        if remote is not None and (not isinstance(remote, str) or not remote):
            self.refuse("its remote is not a name")
        extra = {key: value for key, value in fields.items() if key not in _OUT}
        return OutItem(*self._item(fields), Flags(**flags, remote=remote), extra)

    def _env(self, name: str, value: object) -> str | None:
        if not name or "=" in name or "\0" in name:
            self.refuse(f"{name[:80]!r} cannot be the name of a variable")
        if value is not None and not (isinstance(value, str) and _SHA256.fullmatch(value)):
            self.refuse(f"the variable {name[:80]!r} has neither null nor a SHA-256")
        return value


def absolute(text: str, folder: str) -> str:
    """The path that stands as `text` in the lock file of the directory `folder`. ValueError unless it is written as
    `relative` writes it.
    """
    if paths.problem(text) is None:  # so are nearly all, and the rest costs ten times as much
        return f"{folder}/{text}" if folder else text
    if "\0" in text or len(text.encode()) > paths.PATH_MAX:
        raise ValueError("it has a NUL byte" if "\0" in text else f"it is longer than {paths.PATH_MAX} bytes")
    path = posixpath.normpath(posixpath.join(folder, text))
    if not text or path.startswith("//") or relative(path, folder) != text:
        raise ValueError("the path is not in its shortest form")
    return path


def relative(path: str, folder: str) -> str:
    """The reverse: a path of the project as the lock file of `folder` has it."""
    if path.startswith("/") or not folder:
        return path
    ours, theirs = folder.split("/"), [] if path == "." else path.split("/")
    same = 0
    while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
        same += 1
    return "/".join([*[".."] * (len(ours) - same), *theirs[same:]]) or "."


def _refuse(source: str, why: str) -> NoReturn:
    hint = f"git checkout {word(source)} brings the committed one back; or remove it, then vml repro"
    raise UserError(f"{quote(source)}: {why}", hint=hint)


# ---------------------------------------------------------------------- writing


class LockWriter:
    """The bytes of one lock file that is written again and again: a stage is made text once, until it changes.

    UserError for what cannot be text, and for more than `parse` reads.
    """

    def __init__(self, lock: LockFile, algorithm: Algorithm) -> None:
        self.lock = lock
        self._algorithm = algorithm
        self._blocks: dict[str, tuple[StageRecord, str]] = {}

    def put(self, stages: Mapping[str, StageRecord | None]) -> None:
        """Set these stages; None drops one."""
        changed = {name: each for name, each in {**self.lock.stages, **stages}.items() if each is not None}
        self.lock = self.lock._replace(stages=changed)

    def serialize(self) -> bytes:
        """The whole file: the same lock file always gives the same bytes."""
        blocks = [self._block(name, each) for name, each in sorted(self.lock.stages.items())]
        stages = "{\n    " + ",\n    ".join(blocks) + "\n  }" if blocks else "{}"
        fields = {key: _text(value, 2) for key, value in self.lock.extra.items()}
        fields |= {"schema": str(SCHEMA), "stages": stages}
        lines = ",\n  ".join(f"{_text(key, 0)}: {text}" for key, text in sorted(fields.items()))
        try:
            raw = f"{{\n  {lines}\n}}\n".encode()
        except UnicodeEncodeError as error:
            near = error.object[max(error.start - 40, 0) : error.end + 40]
            raise UserError(
                f"{quote(self.lock.source)} cannot be written: {near!r} is not UTF-8",
                hint="rename the file that is called so",
            ) from None
        if len(raw) > MAX_SIZE:
            largest = max(self.lock.stages, key=lambda name: len(self._blocks[name][1]))
            raise UserError(
                f"{quote(self.lock.source)} would have {size(len(raw))}, which is more than is read of one "
                f"({size(MAX_SIZE)}); most is of the stage {quote(largest)}",
                hint=f"let its params name fewer keys; or move stages into the {STAGES} of another directory",
            )
        return raw

    def _block(self, name: str, stage: StageRecord) -> str:
        known = self._blocks.get(name)
        if known is None or known[0] is not stage:
            fields = _stage_fields(stage, self.lock.source, self._algorithm)
            text = f"{_text(name, 0)}: {_text({CHECK: _check(fields), **fields}, 4)}"
            known = self._blocks[name] = (stage, text)
        return known[1]


def serialize(lock: LockFile, algorithm: Algorithm) -> bytes:
    """The bytes of a lock file."""
    return LockWriter(lock, algorithm).serialize()


def _text(value: object, indent: int) -> str:
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.replace("\n", "\n" + " " * indent)


def _check(fields: Mapping[str, object]) -> str:
    """What `check` has to be in a stage of these fields. Two branches that change one stage both change this line, so
    Git cannot put two halves of it together as text; and who has done that otherwise does not know the digest.
    """
    rest = {key: value for key, value in fields.items() if key != CHECK}
    # json's fast encoder has no indent, and whoever reads a thousand stages does this a thousand times.
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return XXH128.digest(text.encode("utf-8", "surrogatepass")).hex()


def _stage_fields(stage: StageRecord, source: str, algorithm: Algorithm) -> dict[str, object]:
    folder = source.rpartition("/")[0]

    def by_path(found: Mapping[str, T], fields: Callable[[str, T], object]) -> dict[str, object]:
        return {relative(path, folder): fields(path, each) for path, each in found.items()}

    parts = {
        "deps": by_path(
            stage.deps, lambda path, each: {**stage.dep_extra.get(path, {}), **item.fields(each, algorithm)}
        ),
        "env": stage.env,
        "outs": by_path(stage.outs, lambda _, each: _out_fields(each, algorithm)),
        "params": by_path(stage.params, lambda _, values: values),
    }
    return {**stage.extra, "cmd": list(stage.cmd), **{key: part for key, part in parts.items() if part}}


def _out_fields(out: OutItem, algorithm: Algorithm) -> dict[str, object]:
    flags = {key: value for key, value in out.flags._asdict().items() if value != _USUAL.get(key)}
    return {**out.extra, **item.fields(out.item, algorithm), **flags}
