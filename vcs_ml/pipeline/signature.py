"""What a stage reads now: its signature, and why that is not what its lock file records."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from vcs_ml import values, yaml
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import one_line, quote, size
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.stage import Out, ParamSet, Stage
from vcs_ml.store import manifest, objects
from vcs_ml.store.objects import MissingObject, ObjectId
from vcs_ml.workspace import lockfile, sources
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lockfile import Flags, OutItem, StageRecord
from vcs_ml.workspace.measure import Gauge

SCHEMA: Final = 1
# Characters of JSON that a stage may read of one params file: all of it stands in the lock file, which is read whole.
PARAMS_MAX: Final = 4 << 20
_SHOWN: Final = 40  # characters of a value
_NEAR: Final = 15  # characters of what two values have in common, before and after where they differ
_AROUND: Final = 10  # characters that two commands may have in common at an end, and are shown nonetheless
_SETTINGS: Final = {"shell": "sh", "wdir": "."}  # of a record's `extra`, where they are not as usual

Kind = Literal[
    "always", "callback", "cmd", "dep", "edited", "env", "force", "merged", "never", "out", "param", "shell", "wdir"
]
_FIXED: Final = {
    "never": "never run",
    "always": "always_changed",
    "callback": "it has neither deps nor outs",
    "force": "--force",
    "merged": "both branches changed it",
    "edited": "its record was merged as text, or edited",
}
# The values of a project-relative params file, None where there is none.
ValuesOf = Callable[[str], Any]


class Reason(NamedTuple):
    """One reason for a stage to run: the path, params key or variable that it is about, and how that changed.

    `old` and `new` are for params and commands.
    """

    kind: Kind
    name: str = ""
    key: str = ""
    what: str = ""
    old: Any = None
    new: Any = None

    def __str__(self) -> str:
        match self.kind:
            case "param":
                return f"{quote(self.name)}: {quote(self.key)} {self.what}"
            case "dep" | "out":
                return f"{quote(self.name)}: {self.what}"
            case "cmd":
                return f"cmd: {self.what}"
            case "env":
                return f"env {quote(self.name)} changed"
        return _FIXED.get(self.kind, f"{self.kind} changed")

    def as_json(self) -> dict[str, Any]:
        """The reason for programs; `text` is how people read it."""
        fields: dict[str, Any] = {"kind": self.kind, "text": str(self)}
        if self.name:
            fields["variable" if self.kind == "env" else "path"] = self.name
        if self.kind == "param":
            fields["key"] = self.key
        if self.kind in ("param", "cmd"):
            fields |= {"old": self.old, "new": self.new}
        return fields


class Inputs(NamedTuple):
    """What a stage reads: `deps` by path, None where nothing is; `params` by file and key, as lock files have them.

    `env` and `settings` (wdir and shell, where unusual) are as a StageRecord has them. `lacking` are params that are
    not there: by file, a key or None for the whole file.
    """

    cmd: tuple[str, ...]
    deps: Mapping[str, Item | None]
    params: Mapping[str, Mapping[str, object]]
    env: Mapping[str, str | None]
    settings: Mapping[str, str]
    lacking: tuple[tuple[str, str | None], ...] = ()

    def record(self, outs: Mapping[str, OutItem], before: StageRecord | None = None) -> StageRecord:
        """What a lock file says of a stage that read this and made `outs`; unknown keys stay as they were `before`."""
        kept = before.extra if before else {}
        extra = {key: each for key, each in kept.items() if key not in {*_SETTINGS, lockfile.MERGED, lockfile.CHECK}}
        deps = {path: item for path, item in self.deps.items() if item is not None}
        dep_extra = {path: each for path, each in before.dep_extra.items() if path in deps} if before else {}
        return StageRecord(self.cmd, deps, self.env, outs, self.params, {**extra, **self.settings}, dep_extra)


class Params:
    """Values of the params files of a project; one that has not changed is parsed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parsed: dict[str, tuple[bytes, Any]] = {}

    def __call__(self, file: str) -> Any:
        """The values of a file, None where there is none. UserError as in values.read and values.parse."""
        raw = values.read(self._root / file)
        if raw is None:
            return None
        known = self._parsed.get(file)
        if known is None or known[0] != raw:
            # By its bytes: a stage may write it twice within what the clock of the file system can tell apart.
            known = self._parsed[file] = (raw, values.parse(raw, file))
        return known[1]


class Pages(Protocol):
    """What gives pages of lists of files, as a store does."""

    @property
    def algorithm(self) -> Algorithm:
        """What names the files in them."""

    def read(self, oid: ObjectId, /) -> bytes:
        """One page. MissingObject, CorruptError."""


class Contents(Pages, Protocol):
    """What tells the content of paths, as a gauge does of the workspace."""

    def measure(self, path: str) -> Item | None:
        """The content of a file or directory, None where nothing is."""

    def leading_out(self, path: str) -> list[str]:
        """Where links in a directory lead outside of it."""


class Source(Protocol):
    """What stages read from: contents of paths, values of params files, the environment."""

    @property
    def gauge(self) -> Contents:
        """What is at paths."""

    @property
    def values_of(self) -> ValuesOf:
        """What a params file says."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of commands."""


class Reader(NamedTuple):
    """The `Source` that is the workspace, and the project's top."""

    gauge: Gauge
    values_of: ValuesOf
    env: Mapping[str, str]
    root: Path


def inputs(stage: Stage, reader: Source) -> Inputs:
    """What the stage reads now. UserError for what cannot be read; what is not there is none."""
    params: dict[str, Mapping[str, object]] = {}
    lacking: list[tuple[str, str | None]] = []
    for each in stage.params:
        params[each.file] = params_of(each, reader.values_of(each.file), lacking)
    folder = stage.file.rpartition("/")[0]
    settings = {"shell": stage.shell, "wdir": lockfile.relative(stage.wdir or ".", folder)}
    return Inputs(
        stage.cmds,
        _deps(stage, reader.gauge),
        params,
        {name: _hashed(reader.env.get(name)) for name in stage.env},
        {key: value for key, value in settings.items() if value != _SETTINGS[key]},
        tuple(lacking),
    )


def _deps(stage: Stage, gauge: Contents) -> dict[str, Item | None]:
    """What is at the deps, and at the places outside of these directories to which links in them lead: a command reads
    through a link, of which a directory holds only the text.
    """
    found = {path: gauge.measure(path) for path in stage.deps}
    named = dict.fromkeys(stage.deps, True)
    pending = [path for path, item in found.items() if item is not None and item.kind == "tree"]
    while pending:
        for path in gauge.leading_out(pending.pop()):
            if path not in found and not sources.owner(path, named) and not _makes(stage, path):
                found[path] = gauge.measure(path)
                pending.append(path)
    return found


def _makes(stage: Stage, path: str) -> bool:
    """Whether a stage makes what is at a path, around it, or in it."""
    for out in stage.outs:
        place = patterns.directory(out.path) if out.is_glob else out.path
        if f"{place}/".startswith(f"{path}/") or (
            patterns.matches(path, out.path) if out.is_glob else f"{path}/".startswith(f"{place}/")
        ):
            return True
    return False


def params_of(each: ParamSet, found: Any, lacking: list[tuple[str, str | None]]) -> Mapping[str, object]:
    """The params of a stage in one file with the values `found`; what is not there goes to `lacking`. UserError."""
    read = _params_of(each, found, lacking)
    if (length := len(_json(read))) > PARAMS_MAX:
        raise UserError(
            f"{quote(each.file)}: the params come to {size(length)}, and at most {size(PARAMS_MAX)} go into vml.lock",
            hint=f"name only the keys that are read; or {quote(each.file)} under deps, and not under params",
        )
    return read


def _params_of(each: ParamSet, found: Any, lacking: list[tuple[str, str | None]]) -> Mapping[str, object]:
    if found is None and each.keys is None:
        lacking.append((each.file, None))
        return {}
    if each.keys is None:
        if not isinstance(found, dict):
            raise UserError(f"{quote(each.file)} holds no keys", hint="params are a mapping of names to values")
        return {key: lockfile.plain(value) for key, value in found.items()}
    values_of_keys = {}
    for key in each.keys:
        try:
            values_of_keys[key] = lockfile.plain(values.select(found, key))
        except KeyError:
            lacking.append((each.file, key))
    return values_of_keys


def _hashed(value: str | None) -> str | None:
    # Not the value: it may be a secret, and lock files are committed.
    return None if value is None else hashlib.sha256(os.fsencode(value)).hexdigest()


# ---------------------------------------------------------------------- one walk for both


class _Fact(NamedTuple):
    """One thing that a stage depends on; `value` is its canonical JSON."""

    kind: Kind
    name: str
    key: str
    value: str


def _facts(now: Inputs, algorithm: Algorithm) -> Iterator[_Fact]:
    """Everything that a stage depends on. The signature is made from it, and reasons are its differences."""
    yield _Fact("cmd", "", "", _json(list(now.cmd)))
    for setting in sorted(_SETTINGS):
        yield _Fact("shell" if setting == "shell" else "wdir", "", "", _json(now.settings.get(setting)))
    for path, item in sorted(now.deps.items()):
        yield _Fact("dep", path, "", _json(_content(item, algorithm)))
    for file, found in sorted(now.params.items()):
        for key, value in sorted(found.items()):
            yield _Fact("param", file, key, _json(value))
    for name, hashed in sorted(now.env.items()):
        yield _Fact("env", name, "", _json(hashed))


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _content(item: Item | None, algorithm: Algorithm) -> list[str] | None:
    return None if item is None else [objects.format_hash(item.oid, algorithm), item.kind]


def signature(now: Inputs, algorithm: Algorithm) -> str:
    """The SHA-256 (hex) of all that the stage depends on; docs/formats.md says of which bytes."""
    lines = [f"stage {SCHEMA}"]
    lines += [" ".join((each.kind, _json([each.name, each.key]), each.value)) for each in _facts(now, algorithm)]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def of_record(record: StageRecord) -> Inputs:
    """What a stage read when it was recorded."""
    settings = {key: str(record.extra[key]) for key in _SETTINGS if key in record.extra}
    return Inputs(tuple(record.cmd), record.deps, record.params, record.env, settings)


def changes(now: Inputs, record: StageRecord, pages: Pages) -> list[Reason]:
    """How what a stage reads differs from what it read when it was recorded; nothing if the signatures are equal.

    Params come first, then deps: these are what people change most, and want to be told.
    """
    before = of_record(record)
    algorithm = pages.algorithm
    old = {each[:3]: each.value for each in _facts(before, algorithm)}
    new = {each[:3]: each.value for each in _facts(now, algorithm)}
    found: list[Reason] = []
    for kind, name, key in {**new, **old}:
        if old.get((kind, name, key)) == new.get((kind, name, key)):
            continue
        if kind == "param":
            pair = (before.params.get(name, {}).get(key, _ABSENT), now.params.get(name, {}).get(key, _ABSENT))
            found += _param(name, key, *pair)
        elif kind == "dep":
            what = _dep(name in record.deps, record.deps.get(name), name in now.deps, now.deps.get(name), pages)
            found.append(Reason("dep", name, what=what))
        elif kind == "cmd":
            found.append(_cmd(before.cmd, now.cmd))
        else:
            found.append(Reason(kind, name))
    return sorted(found, key=lambda each: _ORDER.index(each.kind))


_ORDER: Final = ("param", "dep", "cmd", "wdir", "shell", "env")
_ABSENT: Final = object()


def _param(file: str, key: str, old: object, new: object) -> Iterator[Reason]:
    """A param that changed; of a mapping, what changed in it."""
    if isinstance(old, dict) and isinstance(new, dict) and _json(old) != "{}" and _json(new) != "{}":
        for each in sorted(old.keys() | new.keys()):
            before, after = old.get(each, _ABSENT), new.get(each, _ABSENT)
            if before is _ABSENT or after is _ABSENT or _json(before) != _json(after):
                yield from _param(file, f"{key}.{each}", before, after)
        return
    if old is _ABSENT:
        yield Reason("param", file, key, f"{_shown(new)} is new", None, new)
    elif new is _ABSENT:
        yield Reason("param", file, key, f"{_shown(old)} is gone", old, None)
    else:
        yield Reason("param", file, key, _around(_written(old), _written(new)), old, new)


def _cmd(old: Sequence[str], new: Sequence[str]) -> Reason:
    one, other = (one_line("; ".join(each)) for each in (old, new))
    lines, others = ([line for each in cmds for line in each.splitlines()] for cmds in (old, new))
    if lines == others:  # differently split
        what = _around(*map(_json, (list(old), list(new))))
    elif len(lines) > len(old) or len(others) > len(new):
        what = _line(lines, others)
    else:
        what = _around(one, other)
    return Reason("cmd", what=what, old=list(old), new=list(new))


def _line(old: list[str], new: list[str]) -> str:
    """The first line in which two commands of several lines differ."""
    start = _common(old, new)
    same = _common(old[start:][::-1], new[start:][::-1])
    gone, come = (each[start : len(each) - same] for each in (old, new))
    if gone and come:
        what = _around(one_line(gone[0]), one_line(come[0]))
    else:
        what = f"{_shown((gone or come)[0])} is {'gone' if gone else 'new'}"
    return f"line {start + 1}: {what}{', and more' * (max(len(gone), len(come)) > 1)}"


def _around(one: str, other: str) -> str:
    """`one -> other`, without what two long texts have in common but a word on each side, and cut."""
    start = _common(one, other)
    same = _common(one[start:][::-1], other[start:][::-1])
    head = one.rfind(" ", 0, max(one.rfind(" ", 0, start), 0)) + 1  # one word stays: --lr 0.1
    tail = len(one) - end if same and (end := one.find(" ", len(one) - same)) >= 0 else 0
    head, tail = max(head, start - _NEAR), max(tail, same - _NEAR)  # of a long word, not all
    head = 0 if head <= _AROUND and start <= _NEAR else head
    tail = 0 if tail <= _AROUND else tail
    left = "… "[: 1 + (one[head - 1] == " ")] if head else ""
    right = " …"[one[len(one) - tail] != " " :] if tail else ""
    parts = [each[head : len(each) - tail] for each in (one, other)]
    return " -> ".join(left + _cut(each) + right * (len(each) <= _SHOWN) for each in parts)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many characters two texts, or lines two lists of them, begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _shown(value: object) -> str:
    return _cut(_written(value))


def _written(value: object) -> str:
    """A value as YAML has it in one line; text without quotes where it is no other value so."""
    is_plain = isinstance(value, str) and value.isprintable() and yaml.is_text(value)
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


def _dep(was: bool, old: Item | None, is_now: bool, new: Item | None, pages: Pages) -> str:
    if not is_now:
        return "no longer a dep"
    if new is None:
        return "missing"
    if not was or old is None:
        return "new dep"
    if old.oid == new.oid:
        return "now executable" if new.kind == "executable" else "no longer executable"
    return compared(old, new, pages) or "changed"


def compared(old: Item, new: Item, pages: Pages) -> str | None:
    """How two directories differ: `3 added, 1 modified`; None where that is not known, or one is a file."""
    if old.kind != "tree" or new.kind != "tree":
        return None
    counts = {"added": 0, "modified": 0, "deleted": 0}
    try:
        for before, after in manifest.diff(old.oid, new.oid, pages.algorithm, pages.read):
            counts["added" if before is None else "deleted" if after is None else "modified"] += 1
    except (MissingObject, CorruptError):
        return None
    return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n) or None


# ---------------------------------------------------------------------- outputs


def flags(out: Out) -> Flags:
    """The flags of an output as lock files record them."""
    return Flags(out.cache, out.persist, out.push, out.remote)


def expanded(stage: Stage, root: Path) -> dict[str, Out]:
    """The outputs of a stage by their paths; of patterns, the files that match now."""
    found: dict[str, Out] = {}
    for out in stage.outs:
        for path in patterns.files(root, out.path) if out.is_glob else (out.path,):
            found[path] = out
    return found


def outs_changed(stage: Stage, record: StageRecord, reader: Reader) -> list[Reason]:
    """How the outputs of a stage, as they are in the workspace, differ from those that were recorded."""
    found: list[Reason] = []
    globs = [out.path for out in stage.outs if out.is_glob]
    ours = expanded(stage, reader.root)
    for path in sorted({**ours, **record.outs}):
        known = record.outs.get(path)
        if known is None:
            found.append(Reason("out", path, what="not recorded yet"))
        elif path not in ours and not any(patterns.matches(path, each) for each in globs):
            found.append(Reason("out", path, what="no longer an output"))
        elif what := out_changed(path, known, reader.gauge):
            found.append(Reason("out", path, what=what))
    return found


def out_changed(path: str, known: OutItem, gauge: Gauge) -> str | None:
    """How one output differs from what was recorded; None if it does not."""
    here = gauge.measure(path)
    if here is None:
        return "missing"
    return None if (here.oid, here.kind) == (known.oid, known.kind) else "changed in the workspace"


def stale(stage: Stage, record: StageRecord | None, reader: Reader, *, now: Inputs | None = None) -> list[Reason]:
    """Why the stage would run; nothing if it is up to date. Of a frozen one, only what its outputs say.

    `now` is what the stage reads, where that is known. UserError as in `inputs`.
    """
    if record is None:
        return [Reason("never")]
    found: list[Reason] = []
    if not stage.frozen:
        found += [Reason("merged")] if record.is_merged else []
        found += [Reason("edited")] if record.is_edited else []
        found += changes(now or inputs(stage, reader), record, reader.gauge)
        if stage.always_changed:
            found.append(Reason("always"))
        elif not (stage.deps or stage.outs or stage.params or stage.env):
            found.append(Reason("callback"))
    return found + outs_changed(stage, record, reader)
