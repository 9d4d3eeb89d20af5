"""Gates: what metrics must fulfil at the newer of two revisions, and whether they do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any, Final, NamedTuple

from vcs_ml import output, values
from vcs_ml.errors import VmlError
from vcs_ml.metrics import flat
from vcs_ml.metrics.compare import MISSING, Values
from vcs_ml.pipeline import patterns

Rules = Mapping[str, Any]  # those of one gate, as pipeline.schema describes them
Named = Sequence[tuple[str, str, Rules]]  # with file and key, which several may share: then all must hold

_WORDS: Final = {"min": "≥ {}", "max": "≤ {}", "equals": "= {}", "max_drop": "drop ≤ {}", "max_rise": "rise ≤ {}"}
_NONE: Final = {"max_drop": "no drop", "max_rise": "no rise"}
# Numbers are compared as they are written: 0.8 - 0.7 is no more than 0.1, which is not so for floats.
_EXACT: Final = Context(prec=60, traps=[])


class Gate(NamedTuple):
    """What one metric must fulfil. One that cannot be read has no rules; without a key that is a whole vml.yaml."""

    file: str
    key: str
    rules: Rules
    readable: bool = True

    @property
    def name(self) -> str:
        """As the vml.yaml at the top of a project names it."""
        return f"{self.file}:{self.key}" if self.key else self.file

    @property
    def better(self) -> str | None:
        """higher, lower, or None where nobody said."""
        found: str | None = self.rules.get("better")
        return found

    @property
    def limits(self) -> Rules:
        """The rules that a value can break; `better` alone says that it must not get worse."""
        found = {name: self.rules[name] for name in _WORDS if name in self.rules}
        if not found and self.better:
            found["max_drop" if self.better == "higher" else "max_rise"] = 0
        return found

    def __str__(self) -> str:
        words = [
            _NONE[name] if name in _NONE and limit == 0 else _WORDS[name].format(flat.text(limit))
            for name, limit in self.limits.items()
        ]
        if not self.rules.get("required", True):
            words.append("may be missing")
        return ", ".join(words) or ("must be there" if self.readable else "must be readable")


class Result(NamedTuple):
    """What came of a gate: both values (MISSING where there is none), which rules do not hold, what else there is to
    know.
    """

    gate: Gate
    old: Any
    new: Any
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: bool = False  # it was another one before

    @property
    def passed(self) -> bool:
        """Whether all rules hold."""
        return not self.faults


def evaluate(named: Named, old: Values, new: Values, *, before: Named | None) -> list[Result]:
    """Look at all gates, in their order. `before` are those of the older revision, None where they are not known."""
    replaced, _ = _replaced(named, before or ())
    found = []
    for at, gate in enumerate(named):
        result = _result(Gate(*gate), old, new)
        if before is not None and at in replaced:
            known = replaced[at]
            changed = "new gate" if known is None else f"the gate was: {known}"
            result = result._replace(notes=(*result.notes, changed), changed=known is not None)
        found.append(result)
    return found


def removed(named: Named, before: Named | None) -> list[Gate]:
    """The gates of the older revision that the newer one does not have, nor another one in their place."""
    return _replaced(named, before or ())[1]


def _replaced(named: Named, before: Named) -> tuple[dict[int, Gate | None], list[Gate]]:
    """Of each gate that is not as before, by its place, the one that it replaces, if any; and those that are gone."""
    now, was = _by_name(named), _by_name(before)
    left = {name: [each for each in rules if each not in now.get(name, ())] for name, rules in was.items()}
    replaced: dict[int, Gate | None] = {}
    for at, (file, key, rules) in enumerate(named):
        if rules not in was.get((file, key), ()):
            rest = left.get((file, key))
            replaced[at] = Gate(file, key, rest.pop(0)) if rest else None
    return replaced, [Gate(*name, each) for name, rest in left.items() for each in rest]


def _by_name(named: Named) -> dict[tuple[str, str], list[Rules]]:
    found: dict[tuple[str, str], list[Rules]] = {}
    for file, key, rules in named:
        found.setdefault((file, key), []).append(rules)
    return found


def _result(gate: Gate, old: Values, new: Values) -> Result:
    was, now = old.get(gate.file, gate.key), new.get(gate.file, gate.key)
    result = Result(gate, was, now)
    low, high = gate.rules.get("min"), gate.rules.get("max")
    if low is not None and high is not None and low > high:
        return result._replace(faults=(f"no value can be ≥ {flat.text(low)} and ≤ {flat.text(high)}",))
    if error := _error(gate.file, new):
        return result._replace(faults=(f"cannot be read: {error.message}",))
    if now is MISSING:
        return _missing(result, old, new)
    if flat.same(now, math.nan):
        return result._replace(faults=("NaN",))
    with localcontext(_EXACT):
        faults = tuple(_faults(gate.limits, was, now))
    if not _needs_base(gate) or _is_comparable(was):
        return result._replace(faults=faults)
    if was is MISSING and (error := _error(gate.file, old)):  # whoever can take it away would pass every gate
        return result._replace(faults=(*faults, f"cannot be read at BASE: {error.message}"))
    return result._replace(faults=faults, notes=(_before(was),))


def _error(file: str, found: Values) -> VmlError | None:
    """Why a file, or the directory that it lies in, could not be read."""
    return next((error for path, error in found.errors.items() if patterns.matches(file, path)), None)


def _missing(result: Result, old: Values, new: Values) -> Result:
    if not result.gate.rules.get("required", True):
        return result._replace(notes=("missing, as it may be",))
    if result.old is not MISSING or _error(result.gate.file, old):
        return result._replace(faults=("gone",))
    return result._replace(faults=(_nowhere(result.gate, old, new),))


def _nowhere(gate: Gate, old: Values, new: Values) -> str:
    """What is wrong with a gate for what neither revision has, with what was probably meant."""
    known = new.files.get(gate.file, old.files.get(gate.file))
    if known is None:
        near = values.suggestion(gate.file, sorted({*new.files, *old.files}))
        what = f"there is no file {output.quote(gate.file)} of values"
    else:
        near = values.nearest(dict.fromkeys(known), gate.key)
        what = f"{output.quote(gate.file)} has no value {gate.key!r}"
        if isinstance(known.get(above := gate.key.rpartition("[")[0]), list):
            return f"{what}: {above!r} is a list, which is one value"
    return f"{what}; did you mean {output.quote(near)}?" if near else what


def _faults(limits: Rules, old: Any, new: Any) -> Iterator[str]:
    """The limits that do not hold, in words."""
    for name, limit in limits.items():
        if name == "equals":
            if not flat.same(limit, new):
                yield f"not {flat.text(limit)}"
        elif not flat.is_number(new):
            yield "no number"
            return
        elif name == "min" and _exact(new) < _exact(limit):
            yield f"below {flat.text(limit)}"
        elif name == "max" and _exact(new) > _exact(limit):
            yield f"above {flat.text(limit)}"
        elif name in _NONE and _is_comparable(old):
            moved = _moved(name, old, new)
            if moved > _allowed(limit, old):
                verb = "fell" if name == "max_drop" else "rose"
                yield f"{verb} by {float(moved):.5g}, more than {flat.text(limit)}"


def _needs_base(gate: Gate) -> bool:
    return any(name in gate.limits for name in _NONE)


def _before(was: Any) -> str:
    """Why rules about the difference have nothing to say."""
    return "new" if was is MISSING else f"was {flat.text(was) if flat.is_number(was) else 'no number'}"


def _is_comparable(value: Any) -> bool:
    """Whether this is a number, as infinity is and NaN is not."""
    return flat.is_number(value) and value == value  # noqa: PLR0124 - only NaN differs from itself


def _moved(name: str, old: Any, new: Any) -> Decimal:
    """How far a value fell or rose; less than 0 if it went the other way."""
    if old == new:  # also infinity, which less itself is no number
        return Decimal(0)
    return _exact(old) - _exact(new) if name == "max_drop" else _exact(new) - _exact(old)


def _allowed(limit: float | str, old: Any) -> Decimal:
    """How far a value may move; of infinity, no part is a number, so it may not move at all."""
    if not isinstance(limit, str):
        return _exact(limit)
    part = Decimal(limit.removesuffix("%").strip()) / 100
    base = abs(_exact(old))
    return base * part if base.is_finite() else Decimal(0)


def _exact(value: float) -> Decimal:
    return Decimal(value if isinstance(value, int) else repr(value))
