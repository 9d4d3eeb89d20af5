"""Values of params and metrics at several revisions, and what changed between two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.metrics import flat, revision
from vcs_ml.metrics.declared import Declarations, Declared
from vcs_ml.metrics.flat import Flat
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.output import quote
from vcs_ml.pipeline import patterns
from vcs_ml.store.objects import MissingObject

Kind = Literal["params", "metrics"]


class Missing(Enum):
    """Stands where a revision has no value."""

    MISSING = "-"


MISSING: Final = Missing.MISSING


class Values(NamedTuple):
    """What one revision holds: values by file and key, and why a file, or a vml.yaml, could not be read."""

    label: str
    files: Mapping[str, Flat]
    errors: Mapping[str, UserError]

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
        if not (flat.is_number(self.old) and flat.is_number(self.new)):
            return None
        try:
            delta: float | int = self.new - self.old
        except OverflowError:  # an int that no float can hold
            return None
        return None if isinstance(delta, float) and math.isnan(delta) else delta

    @property
    def percent(self) -> float | None:
        """The change in % of the old value, for numbers."""
        delta = self.delta
        try:
            return None if delta is None or not self.old or math.isinf(self.old) else 100 * delta / abs(self.old)
        except OverflowError:
            return None


class Collector:
    """Reads values at revisions of one project, each file with the same bytes once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._declarations = Declarations(reader.project.root)
        self._parsed: dict[tuple[str, bytes], Flat] = {}

    def declared(self, at: Revision) -> Declared:
        """What a revision declares."""
        return self._declarations.of(at)

    def collect(self, revisions: Sequence[Revision], kind: Kind, targets: Sequence[str] = ()) -> list[Values]:
        """The values at each of these revisions.

        They are those of the files that any of them declares, or of the `targets`: files, directories and patterns of
        the project. What cannot be read is in the `errors` of its revision. UserError for a target that none has.
        """
        declared = [self.declared(each) for each in revisions]
        keys: dict[str, frozenset[str] | None] = {}
        if targets:
            keys = dict.fromkeys(targets)
        for each in declared if not targets else ():
            for path, some in (each.params if kind == "params" else dict.fromkeys(each.metrics)).items():
                before = keys.get(path, frozenset())
                keys[path] = None if some is None or before is None else before | some
        found = [
            self._values(at, keys, {} if targets or one.error is None else {"vml.yaml": one.error})
            for at, one in zip(revisions, declared, strict=True)
        ]
        for target in targets:
            if not any(_is_under(file, target) for each in found for file in (*each.files, *each.errors)):
                where = ", ".join(each.label for each in revisions)
                raise UserError(f"{quote(target)} is nowhere in {where}", hint=f"vml {kind} diff without it shows all")
        return found

    def _values(
        self, at: Revision, keys: Mapping[str, frozenset[str] | None], errors: Mapping[str, UserError]
    ) -> Values:
        wrong = dict(errors)
        wanted: dict[str, frozenset[str] | None] = {}
        self._reader.bring(each for path in keys if (each := at.stored(path)) is not None)
        for path, some in keys.items():
            try:
                for file in at.listed(path):
                    wanted[file] = some
            except MissingObject as error:
                wrong[path] = UserError(error.message, hint="--fetch gets it from the default remote")
            except UserError as error:
                wrong[path] = error
        files = {}
        for file, some in sorted(wanted.items()):
            try:
                found = self._parse(at, file)
            except UserError as error:
                wrong[file] = error
                continue
            if found is not None:
                files[file] = found if some is None else _chosen(found, some)
        return Values(at.label, files, wrong)

    def _parse(self, at: Revision, file: str) -> Flat | None:
        raw = revision.read(at, file)
        if raw is None:
            return None
        if (file, raw) not in self._parsed:
            try:
                self._parsed[file, raw] = flat.flatten(values.parse(raw, file))
            except ValueError as error:
                raise UserError(f"{quote(file)} has {error}", hint="params and metrics are small files") from None
        return self._parsed[file, raw]


def _chosen(found: Flat, keys: frozenset[str]) -> Flat:
    """The values at these keys, and below them."""
    below = tuple(f"{key}{sign}" for key in keys for sign in ".[")
    return {key: value for key, value in found.items() if key in keys or key.startswith(below)}


def _is_under(file: str, target: str) -> bool:
    return patterns.matches(file, target)


class Comparison(NamedTuple):
    """What two revisions hold, and the values that are shown of it."""

    old: Values
    new: Values
    rows: list[Row]


def between(
    reader: Reader, a: str, b: str | None, kind: Kind, targets: Sequence[str] = (), *, every: bool = False
) -> Comparison:
    """What changed from revision `a` to `b` (None: the workspace); errors and `targets` as in `Collector.collect`."""
    revisions = (reader.at(a), reader.workspace() if b is None else reader.at(b))
    old, new = Collector(reader).collect(revisions, kind, targets)
    return Comparison(old, new, rows(old, new, every=every))


def rows(old: Values, new: Values, *, every: bool = False) -> list[Row]:
    """What changed between two revisions, sorted by file, in the order of the newer file; with `every`, all values.

    A file that could not be read on one side is left out: nobody knows what changed in it.
    """
    found = []
    for file in sorted(old.files.keys() | new.files.keys()):
        if file in old.errors or file in new.errors:
            continue
        for key in {**new.files.get(file, {}), **old.files.get(file, {})}:
            row = Row(file, key, old.get(file, key), new.get(file, key))
            if every or row.changed:
                found.append(row)
    return found
