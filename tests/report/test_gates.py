"""Gates: which values pass which rules, and what is said of those that do not."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.errors import UserError
from vcs_ml.metrics.compare import MISSING, Values
from vcs_ml.report import gates
from vcs_ml.report.gates import Gate, Result

NAN, INF = math.nan, math.inf
FILE, KEY = "eval.json", "accuracy"


def values(label: str, value: Any) -> Values:
    return Values(label, {FILE: {"other": 1} if value is MISSING else {KEY: value, "other": 1}}, {})


def result(rules: dict[str, Any], old: Any, new: Any) -> Result:
    (found,) = gates.evaluate([(FILE, KEY, rules)], values("a", old), values("b", new), before=None)
    return found


# rules, old, new, faults
TABLE: list[tuple[dict[str, Any], Any, Any, list[str]]] = [
    ({}, 1, 1, []),
    ({}, MISSING, "text", []),
    ({}, 1, NAN, ["NaN"]),
    ({}, 1, MISSING, ["gone"]),
    ({"required": False}, 1, MISSING, []),
    ({"required": False, "min": 1}, MISSING, MISSING, []),
    ({"required": False, "min": 1}, MISSING, 0, ["below 1"]),
    ({"required": False}, 1, NAN, ["NaN"]),
    # min, max
    ({"min": 0.8}, MISSING, 0.8, []),
    ({"min": 0.8}, MISSING, 0.7999999999999999, ["below 0.8"]),
    ({"min": 0.8}, 0.1, INF, []),
    ({"min": 0.8}, 0.1, -INF, ["below 0.8"]),
    ({"min": -1}, 0, -2, ["below -1"]),
    ({"max": 1.0}, 0, 1, []),
    ({"max": 1.0}, 0, 1.5, ["above 1.0"]),
    ({"max": 1.0}, 0, INF, ["above 1.0"]),
    ({"max": 5}, 0, 10**400, ["above 5"]),
    ({"min": 0, "max": 1}, 0, 0.5, []),
    ({"min": 0, "max": 1}, 0, 2, ["above 1"]),
    ({"min": 2, "max": 1}, 0, 1.5, ["no value can be ≥ 2 and ≤ 1"]),
    ({"min": 2, "max": 1, "required": False}, 0, MISSING, ["no value can be ≥ 2 and ≤ 1"]),
    ({"min": 0}, 0, "1", ["no number"]),
    ({"min": 0}, 0, True, ["no number"]),
    ({"min": 0, "max": 1}, 0, [1], ["no number"]),
    ({"min": 0}, 0, None, ["no number"]),
    # max_drop, max_rise
    ({"max_drop": 0.1}, 0.8, 0.7, []),  # as floats, 0.8 - 0.7 is more than 0.1
    ({"max_drop": 0.1}, 0.8, 0.69, ["fell by 0.11, more than 0.1"]),
    ({"max_drop": 0.1}, 0.8, 5, []),
    ({"max_drop": "2%"}, 100, 98, []),
    ({"max_drop": "2%"}, 100, 97.9, ["fell by 2.1, more than 2%"]),
    ({"max_drop": "2.5 %"}, -100, -102.5, []),
    ({"max_drop": "2.5 %"}, -100, -102.6, ["fell by 2.6, more than 2.5 %"]),
    ({"max_drop": "50%"}, 0, 0, []),
    ({"max_drop": "50%"}, 0, -0.001, ["fell by 0.001, more than 50%"]),
    ({"max_drop": "50%"}, INF, INF, []),
    ({"max_drop": "50%"}, INF, 1, ["fell by inf, more than 50%"]),
    ({"max_drop": 1}, 1, -INF, ["fell by inf, more than 1"]),
    ({"max_drop": 1}, -INF, 1, []),
    ({"max_drop": 1}, MISSING, 1, []),
    ({"max_drop": 1}, NAN, 1, []),
    ({"max_drop": 1}, "text", 1, []),
    ({"max_drop": 1}, MISSING, "text", ["no number"]),
    ({"max_rise": 0}, 1, 1.0, []),
    ({"max_rise": 0}, 1, 1.5, ["rose by 0.5, more than 0"]),
    ({"max_rise": "10%"}, 10**400, 2 * 10**400, ["rose by inf, more than 10%"]),
    ({"max_rise": "10%"}, 10, 11, []),
    ({"max_drop": 0, "max_rise": 0}, 1, 2, ["rose by 1, more than 0"]),
    # better
    ({"better": "higher"}, 1, 1, []),
    ({"better": "higher"}, 1, 2, []),
    ({"better": "higher"}, 1, 0.5, ["fell by 0.5, more than 0"]),
    ({"better": "lower"}, 1, 2, ["rose by 1, more than 0"]),
    ({"better": "lower"}, MISSING, 2, []),
    ({"better": "lower"}, 1, MISSING, ["gone"]),
    ({"better": "higher", "min": 0.2}, 1, 0.5, []),
    # equals
    ({"equals": 3}, 1, 3.0, []),
    ({"equals": 3}, 1, "3", ["not 3"]),
    ({"equals": "abc"}, 1, "abc", []),
    ({"equals": True}, 1, True, []),
    ({"equals": True}, 1, 1, ["not true"]),
    ({"equals": 1}, 1, True, ["not 1"]),
    ({"equals": 1, "min": 5}, 1, 2, ["below 5", "not 1"]),
    ({"equals": 1}, 1, NAN, ["NaN"]),
]


@pytest.mark.parametrize(("rules", "old", "new", "faults"), TABLE)
def test_truth_table(rules: dict[str, Any], old: Any, new: Any, faults: list[str]) -> None:
    found = result(rules, old, new)
    assert list(found.faults) == faults
    assert found.passed == (not faults)


def test_notes_say_what_could_not_be_compared() -> None:
    assert result({"max_drop": 1}, MISSING, 1).notes == ("new",)
    assert result({"max_drop": 1}, NAN, 1).notes == ("was NaN",)
    assert result({"better": "lower"}, "x", 1).notes == ("was no number",)
    assert result({"min": 1}, MISSING, 1).notes == ()
    assert result({"required": False}, MISSING, MISSING).notes == ("missing, as it may be",)


def test_a_file_that_cannot_be_read_fails_also_where_it_may_be_missing() -> None:
    broken = Values("b", {}, {FILE: UserError("it is not JSON")})
    good = values("a", 1)
    named = [(FILE, KEY, {"required": False})]
    (found,) = gates.evaluate(named, good, broken, before=None)
    assert found.faults == ("cannot be read: it is not JSON",)
    (found,) = gates.evaluate([(FILE, KEY, {"max_drop": 1})], broken, good, before=None)
    assert (found.faults, found.notes) == (("cannot be read at BASE: it is not JSON",), ())
    for rules in ({"better": "higher"}, {"max_rise": "5%", "min": 0}):
        (found,) = gates.evaluate([(FILE, KEY, rules)], broken, good, before=None)
        assert found.faults == ("cannot be read at BASE: it is not JSON",)
    (found,) = gates.evaluate([(FILE, KEY, {"min": 0, "max": 2, "equals": 1})], broken, good, before=None)
    assert found.passed
    in_folder = Values("b", {}, {"out": UserError("its list of files is not here")})
    (found,) = gates.evaluate([("out/eval.json", KEY, {})], good, in_folder, before=None)
    assert found.faults == ("cannot be read: its list of files is not here",)


def test_a_gate_for_nothing_says_what_was_probably_meant() -> None:
    def fault(file: str, key: str) -> str:
        (found,) = gates.evaluate([(file, key, {})], values("a", 1), values("b", 1), before=None)
        return found.faults[0]

    assert fault(FILE, "acuracy") == "eval.json has no value 'acuracy'; did you mean accuracy?"
    assert fault("evil.json", KEY) == "there is no file evil.json of values; did you mean eval.json?"
    assert fault(FILE, "zzz") == "eval.json has no value 'zzz'"
    lists = Values("b", {FILE: {"p": [1, 2]}}, {})
    (found,) = gates.evaluate([(FILE, "p[0]", {})], lists, lists, before=None)
    assert found.faults == ("eval.json has no value 'p[0]': 'p' is a list, which is one value",)


def test_what_became_of_the_gates_themselves() -> None:
    before = [(FILE, KEY, {"min": 0.9}), (FILE, "other", {"equals": 1})]
    named = [(FILE, KEY, {"min": 0.5}), (FILE, "third", {"required": False})]
    one, two = gates.evaluate(named, values("a", 1), values("b", 1), before=before)
    assert one.notes == ("the gate was: ≥ 0.9",)
    assert two.notes == ("missing, as it may be", "new gate")
    assert [str(each) for each in gates.removed(named, before)] == ["= 1"]
    assert gates.removed(named, None) == []


def test_words() -> None:
    rules = {"max": 1, "min": 0.5, "max_drop": "2%", "max_rise": 0, "equals": "x", "required": False}
    assert str(Gate(FILE, KEY, rules)) == "≥ 0.5, ≤ 1, = x, drop ≤ 2%, no rise, may be missing"
    assert str(Gate(FILE, KEY, {"better": "higher"})) == "no drop"
    assert str(Gate(FILE, KEY, {"better": "lower", "max": 2})) == "≤ 2"
    assert str(Gate(FILE, KEY, {})) == "must be there"


NUMBERS = st.decimals(-1000, 1000, places=3).map(float) | st.integers(-1000, 1000)


@given(NUMBERS, NUMBERS, st.decimals(0, 200, places=2))
def test_differences_are_those_of_the_numbers_as_they_are_written(old: float, new: float, limit: Any) -> None:
    before, after, most = Fraction(repr(old)), Fraction(repr(new)), Fraction(str(limit))
    assert result({"max_drop": float(limit)}, old, new).passed == (before - after <= most)
    assert result({"max_rise": f"{limit}%"}, old, new).passed == (after - before <= abs(before) * most / 100)


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(MISSING)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "min": NUMBERS,
        "max": NUMBERS,
        "max_drop": NUMBERS.map(abs) | st.just("5%"),
        "max_rise": NUMBERS.map(abs) | st.just("5%"),
        "equals": ANY.filter(lambda each: each is not MISSING and each is not None),
        "better": st.sampled_from(["higher", "lower"]),
        "required": st.booleans(),
    },
)


@given(RULES, ANY, ANY)
def test_any_value_is_either_right_or_told(rules: dict[str, Any], old: Any, new: Any) -> None:
    found = result(rules, old, new)
    assert found.passed == (not found.faults)
    if isinstance(new, float) and math.isnan(new):
        assert not found.passed
    if new is MISSING:
        assert found.passed != (rules.get("required", True) or rules.get("min", -2000) > rules.get("max", 2000))
