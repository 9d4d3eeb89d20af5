"""Values of params and metrics at several revisions, and what changed between two."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

from vcs_ml import values
from vcs_ml.errors import CorruptError, UserError, VmlError
from vcs_ml.metrics import flat, naming, revision
from vcs_ml.metrics.declared import Declarations, Declared, Keys, together
from vcs_ml.metrics.flat import Exact, Flat
from vcs_ml.metrics.revision import Reader, Revision, Stored
from vcs_ml.output import quote, size
from vcs_ml.pipeline.stage import FILE as STAGES

Kind = Literal["params", "metrics"]

# Of one revision. A few blobs may stand for any number of files, and to parse a megabyte takes up to a second.
VALUES_MAX: Final = 1_000_000
BYTES_MAX: Final = 64_000_000
_NAMED: Final = 5  # files in a hint
_BINARY: Final = 8000  # where a zero byte makes a file binary for Git, too (buffer_is_binary)


class Missing(Enum):
    """Stands where a revision has no value."""

    MISSING = "-"


MISSING: Final = Missing.MISSING


class Values(NamedTuple):
    """What one revision holds: values by file and key, and why a file, directory or pattern could not be read.

    What is wrong with a vml.yaml stands there too. `commit` is None for the workspace.
    """

    label: str
    files: Mapping[str, Flat]
    errors: Mapping[str, VmlError]
    commit: str | None = None

    def get(self, file: str, key: str) -> Any:
        """One value, MISSING where there is none."""
        return self.files.get(file, {}).get(key, MISSING)


class Row(NamedTuple):
    """One value by its file and key at two revisions; MISSING where one has none."""

    file: str
    key: str
    old: Any
    new: Any

    @property
    def changed(self) -> bool:
        """Whether the two differ."""
        if self.old is MISSING or self.new is MISSING:
            return self.old is not self.new
        return not flat.same(self.old, self.new)

    @property
    def delta(self) -> float | int | None:
        """New less old, for numbers."""
        old, new = self.old, self.new
        if not (flat.is_number(old) and flat.is_number(new)):
            return None
        try:
            delta: float | int = new - old
        except OverflowError:  # an int that no float can hold
            return None
        return delta if delta == delta else None  # noqa: PLR0124 - NaN is not

    @property
    def percent(self) -> float | None:
        """The change in % of the old value, for numbers."""
        delta = self.delta
        if delta is None or not self.old:
            return None
        try:
            percent = 100 * delta / abs(self.old)
        except OverflowError:
            return None
        return percent if math.isfinite(percent) else None


class Collector:
    """Reads values at revisions of one project, each file with the same bytes once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._declarations = Declarations(reader.project.root)
        self._bytes = 0  # parsed for this revision
        self._parsed: dict[tuple[str, str | bytes, Keys], tuple[Flat, Exact]] = {}

    def declared(self, at: Revision) -> Declared:
        """What a revision declares."""
        return self._declarations.of(at)

    def collect(self, revisions: Sequence[Revision], kind: Kind, targets: Sequence[str] = ()) -> list[Values]:
        """The values at each of these revisions.

        They are those of the files that any of them declares. A target is a file, whether declared or not, or a
        directory or pattern: that stands for the declared files there, or for all if there are none. What cannot be
        read is in the `errors` of its revision. UserError for a target that none has.
        """
        declared = [self.declared(each) for each in revisions]
        wanted: dict[str, Keys] = {}
        for each in declared:
            for path, keys in (each.params if kind == "params" else dict.fromkeys(each.metrics)).items():
                wanted[path] = together(wanted.get(path, frozenset()), keys)
        listings = [_listing(at, wanted) for at in revisions]
        if targets:
            listings = _narrowed(revisions, listings, targets, kind)
        else:
            for one, listing in zip(declared, listings, strict=True):
                if one.error is not None:
                    listing.errors[STAGES] = one.error
        return self._read(revisions, listings)

    def read(self, revisions: Sequence[Revision], files: Sequence[str]) -> list[Values]:
        """The values of these files, whether they are declared or not, at each of these revisions."""
        listings = [_listing(at, dict.fromkeys(files)) for at in revisions]
        for listing in listings:
            for other in listing.files.keys() - set(files):  # those of a directory
                del listing.files[other]
        return self._read(revisions, listings)

    def _read(self, revisions: Sequence[Revision], listings: Sequence[_Listing]) -> list[Values]:
        self._reader.bring(_stored(revisions, listings))
        read = [self._values(at, listing) for at, listing in zip(revisions, listings, strict=True)]
        found: list[dict[str, Flat]] = [{} for _ in read]
        for file in sorted({file for files, _ in read for file in files}):
            held = [(number, files[file]) for number, (files, _) in enumerate(read) if file in files]
            for (number, _), table in zip(held, flat.alike([each for _, each in held]), strict=True):
                found[number][file] = table
        return [
            Values(at.label, files, errors, at.commit)
            for at, files, (_, errors) in zip(revisions, found, read, strict=True)
        ]

    def _values(
        self, at: Revision, listing: _Listing
    ) -> tuple[Mapping[str, tuple[Flat, Exact]], Mapping[str, VmlError]]:
        errors = dict(listing.errors)
        files: dict[str, tuple[Flat, Exact]] = {}
        count = self._bytes = 0
        at.expect(file for file, keys in listing.files.items() if (file, at.version(file), keys) not in self._parsed)
        for file, keys in sorted(listing.files.items()):
            try:
                if count > VALUES_MAX:
                    raise _too_much(file, f"{VALUES_MAX:,} values")
                if self._bytes > BYTES_MAX:
                    raise _too_much(file, size(BYTES_MAX))
                if (found := self._parse(at, file, keys)) is not None:
                    files[file] = found
                    count += len(found[0])
            except (UserError, CorruptError) as error:
                errors[file] = error
        return files, errors

    def _parse(self, at: Revision, file: str, keys: Keys) -> tuple[Flat, Exact] | None:
        version = at.version(file)
        if version is not None and (file, version, keys) in self._parsed:
            return self._parsed[file, version, keys]
        raw = revision.read(at, file)
        if raw is None:
            return None
        self._bytes += len(raw)
        key = (file, version or raw, keys)
        if key not in self._parsed:
            try:
                if keys is None and file.endswith(".json"):
                    flat.refuse_many(raw)
                self._parsed[key] = flat.flatten(values.parse(raw, file), keys)
            except ValueError as error:
                raise UserError(f"{quote(file)} has {error}", hint="params and metrics are small files") from None
            except UserError:
                if b"\0" in raw[:_BINARY]:
                    hint = "params and metrics are text: JSON, YAML, TOML or constants of Python"
                    raise UserError(f"{quote(file)} is binary", hint=hint) from None
                raise
        return self._parsed[key]


def _too_much(file: str, what: str) -> UserError:
    return UserError(
        f"{quote(file)} was not read: those before it have more than {what}", hint="--target shows a part of them"
    )


class _Listing(NamedTuple):
    """The files that are wanted of one revision, and what of each; why others are not known."""

    files: dict[str, Keys]
    errors: dict[str, VmlError]


def _listing(at: Revision, wanted: Mapping[str, Keys]) -> _Listing:
    found = _Listing({}, {})
    for path, keys in wanted.items():
        try:
            for file in at.listed(path):
                found.files[file] = together(found.files.get(file, frozenset()), keys)
        except (UserError, CorruptError) as error:
            found.errors[path] = error
    return found


def _narrowed(
    revisions: Sequence[Revision], listings: Sequence[_Listing], targets: Sequence[str], kind: Kind
) -> list[_Listing]:
    """What the targets leave of what is declared, and what they name beside it."""
    found = [_Listing({}, {}) for _ in revisions]
    for target in targets:
        known = {path for each in listings for path in (*each.files, *each.errors) if naming.covers(target, path)}
        for at, declared, chosen in zip(revisions, listings, found, strict=True):
            here = declared if known - {target} else _listing(at, {target: None})
            chosen.files.update((path, keys) for path, keys in here.files.items() if naming.covers(target, path))
            chosen.errors.update((path, why) for path, why in here.errors.items() if naming.covers(target, path))
        if not any(naming.covers(target, path) for each in found for path in (*each.files, *each.errors)):
            where = ", ".join(each.label for each in revisions)
            every = sorted({path for each in listings for path in each.files})
            raise UserError(f"{quote(target)} is nowhere in {where}", hint=_meant(target, every, kind))
    return found


def _meant(target: str, files: Sequence[str], kind: Kind) -> str:
    """Which of the declared files was probably meant, or which there are."""
    named = [each for each in files if posixpath.basename(each) == posixpath.basename(target)]
    near = named[0] if len(named) == 1 else values.suggestion(target, files)
    if near is not None:
        return f"did you mean {quote(near)}?"
    if not files:
        return f"vml.yaml names no files of {kind}"
    return f"{kind} are in {', '.join([*map(quote, files[:_NAMED]), *['...'] * (len(files) > _NAMED)])}"


def _stored(revisions: Sequence[Revision], listings: Sequence[_Listing]) -> Iterator[Stored]:
    for at, listing in zip(revisions, listings, strict=True):
        for file in listing.files:
            if (each := at.stored(file)) is not None:
                yield each


class Comparison(NamedTuple):
    """What two revisions hold, and the values that are shown of it."""

    old: Values
    new: Values
    rows: list[Row]


def between(
    reader: Reader,
    revisions: tuple[Revision, Revision],
    kind: Kind,
    targets: Sequence[str] = (),
    *,
    every: bool = False,
) -> Comparison:
    """What changed from the first of these to the second; errors and `targets` as in `Collector.collect`."""
    old, new = Collector(reader).collect(revisions, kind, targets)
    return Comparison(old, new, rows(old, new, every=every))


def rows(old: Values, new: Values, *, every: bool = False) -> list[Row]:
    """What changed between two revisions, sorted by file, in the order of the newer file; with `every`, all values.

    A file that could not be read on one side is left out, with all that an unreadable directory or pattern may stand
    for: nobody knows what changed in it.
    """
    is_unknown = naming.coverage({*old.errors, *new.errors})
    found = []
    for file in sorted(old.files.keys() | new.files.keys()):
        if is_unknown(file):
            continue
        before, now = old.files.get(file, {}), new.files.get(file, {})
        for key in {**now, **before}:
            row = Row(file, key, before.get(key, MISSING), now.get(key, MISSING))
            if every or row.changed:
                found.append(row)
    return found
