"""Nested values as rows: keys that are unique and found again, and when two values are the same."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml import values
from vcs_ml.metrics import flat

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.text("ab0_- é", min_size=1, max_size=3)
ANY_NAMES = st.text('ab.[]"0', max_size=4)


def flatten(content: Any, keys: Collection[str] | None = None) -> flat.Flat:
    return flat.flatten(content, keys)[0]


def nested(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=15,
    )


def leaves(content: Any) -> list[Any]:
    """What a table has to show: every value, and what is empty, in order."""
    if isinstance(content, dict) and content:
        return [leaf for each in content.values() for leaf in leaves(each)]
    if isinstance(content, list) and any(isinstance(each, dict | list) for each in content):
        return [leaf for each in content for leaf in leaves(each)]
    return [content]


def test_values_have_keys() -> None:
    content = {"train": {"lr": 0.1, "layers": [{"size": 1}, {"size": 2}], "seeds": [1, 2]}, "name": "x", "none": None}
    assert flatten(content) == {
        "train.lr": 0.1,
        "train.layers[0].size": 1,
        "train.layers[1].size": 2,
        "train.seeds": [1, 2],
        "name": "x",
        "none": None,
    }


def test_what_is_empty_is_a_value_unless_it_is_the_file() -> None:
    assert flatten({"a": {}, "b": [], "c": [[], {}]}) == {"a": {}, "b": [], "c[0]": [], "c[1]": {}}
    assert flatten({}) == flatten(None) == {}
    assert flatten(0.5) == {"": 0.5}
    assert flatten([1, 2]) == {"": [1, 2]}
    assert flatten([{"a": 1}]) == {"[0].a": 1}


def test_two_values_never_share_a_key() -> None:
    assert flatten({"map@0.5": 1, "a": {"b": 2}}) == {"map@0.5": 1, "a.b": 2}
    assert flatten({"a.b": 1, "a": {"b": 2}}) == {'["a.b"]': 1, "a.b": 2}
    assert flatten({"x": {"a.b": 1, "a": {"b": 2}}}) == {'x["a.b"]': 1, "x.a.b": 2}
    assert flatten({"": {"a": 1}, "a": 2}) == {".a": 1, "a": 2}
    assert flatten({"a[0]": 1, "a": [[], 1]}) == {'["a[0]"]': 1, "a[0]": [], "a[1]": 1}


def alike(*contents: Any) -> list[flat.Flat]:
    return flat.alike([flat.flatten(each) for each in contents])


def test_a_key_stands_for_one_place_in_all_tables() -> None:
    nested, dotted = {"a": {"b": 6}}, {"a.b": 5, "a": 6}
    assert alike(nested, dotted) == [{"a.b": 6}, {'["a.b"]': 5, "a": 6}]
    assert alike(nested, dotted, nested) == [{"a.b": 6}, {'["a.b"]': 5, "a": 6}, {"a.b": 6}]
    assert alike(dotted, {"a.b": 1}) == [{"a.b": 5, "a": 6}, {"a.b": 1}]
    assert alike({"a.b": 1, "a": {"b": 2}}, {"a.b": 3}) == [{'["a.b"]': 1, "a.b": 2}, {'["a.b"]': 3}]
    assert alike({"a.b": {"c": 1}}, {"a": {"b.c": 2}}) == [{'["a.b"].c': 1}, {'a["b.c"]': 2}]
    assert alike({"x": {"a[0]": [{"b": 1}]}}, {"x": {"a": [[{"b": 2}]]}}) == [
        {'x["a[0]"][0].b': 1}, {"x.a[0][0].b": 2},
    ]  # fmt: skip
    assert alike({'"': 1, "\n.": 1, "a.b": 1}, {"a": {"b": 1}})[0] == {'["\\""]': 1, '["\\n."]': 1, '["a.b"]': 1}
    assert alike({"map@0.5": 1}, {"map@0.5": 2, "b": {"c.d": 3}}) == [{"map@0.5": 1}, {"map@0.5": 2, "b.c.d": 3}]


@given(nested(ANY_NAMES), nested(ANY_NAMES))
def test_keys_of_two_tables_are_places(one: Any, other: Any) -> None:
    def places(content: Any, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        is_list = isinstance(content, list) and any(isinstance(each, dict | list) for each in content)
        if not is_list and not (isinstance(content, dict) and content):
            return [at] if at or content not in (None, {}) else []
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        return [place for key, each in pairs for place in places(each, (*at, key))]

    both = [
        dict(zip(places(each), table, strict=True)) for each, table in zip((one, other), alike(one, other), strict=True)
    ]
    for place, key in both[0].items():
        for there, same in both[1].items():
            assert (place == there) == (key == same)


@given(nested(NAMES).filter(lambda content: content is not None))
def test_every_key_is_found_again(content: Any) -> None:
    for key, value in flatten(content).items():
        if key:
            assert values.select(content, key) is value


@given(nested(ANY_NAMES))
def test_no_value_is_lost(content: Any) -> None:
    expected = [] if content is None or content == {} else leaves(content)
    found = list(flatten(content).values())
    assert len(found) == len(expected)
    assert all(one is other for one, other in zip(found, expected, strict=True))


def test_some_keys_and_what_is_below_them() -> None:
    content = {"train": {"lr": 0.1, "layers": [{"size": 1}]}, "seeds": [7, 8], "x.y": 1, "trainer": 5}
    assert flatten(content, {"train"}) == {"train.lr": 0.1, "train.layers[0].size": 1}
    assert flatten(content, {"train", "train.lr"}) == flatten(content, {"train"})
    assert flatten(content, {"seeds[1]", "x.y", "nosuch"}) == {"seeds[1]": 8, "x.y": 1}
    assert flatten(content, {"train.layers.0.size"}) == {"train.layers.0.size": 1}
    assert flatten({"a.b": 1, "a": {"b": 2}}, {"a.b", "a"}) == {'["a.b"]': 1, "a.b": 2}
    assert flatten([1], {"a"}) == {}


@given(nested(NAMES), st.sets(st.sampled_from(["a", "b", "a.a", "a.b", "a[0]", "b[1]", "a.0"])))
def test_some_keys_are_a_part_of_all(content: Any, keys: set[str]) -> None:
    whole, part = list(flatten(content).values()), flatten(content, keys)
    for key, value in part.items():
        assert values.select(content, key) is value
        assert any(value is each for each in whole) or not isinstance(value, dict | list)


@pytest.mark.parametrize(
    "content",
    [
        dict.fromkeys(map(str, range(flat.ROWS_MAX + 1)), 0),
        {"a": [0] * (flat.ROWS_MAX + 1)},
        {"k" * 1_000_000: {str(n): n for n in range(100)}},
        {str(n): text for text in ["v" * 1_000_000] for n in range(100)},
        {"a": [["v" * 1_000_000] * 20] * 2},
    ],
    ids=["values", "items", "long keys", "long texts", "long texts in lists"],
)
def test_what_would_grow_beyond_any_use_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="more than"):
        flatten(content)


def test_what_is_empty_counts() -> None:
    for each in ([], {}):
        with pytest.raises(ValueError, match="more than 100,000 values"):
            flatten([each] * (flat.ROWS_MAX + 1))


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 99_999 + "1]",
        '{"a": "' + "," * 200_000 + '", "b": "\\\\", "c": "\\",' + "," * 200_000 + '"}',
        json.dumps({"a": [1] * 50_000, "b": [[1, {}]] * 25_000}),
    ],
)
def test_json_that_is_not_too_much(text: str) -> None:
    flat.refuse_many(text.encode())
    flat.refuse_many(text.encode("utf-16"))
    flatten(json.loads(text))


@pytest.mark.parametrize(
    "text", ["[" + "[]," * 100_000 + "1]", json.dumps({"a": [1] * 50_001, "b": [[1, {}]] * 25_000})]
)
def test_json_that_is_too_much(text: str) -> None:
    with pytest.raises(ValueError, match="more than 100,000 values"):
        flat.refuse_many(text.encode())
    with pytest.raises(ValueError, match="more than 100,000 values"):
        flatten(json.loads(text))


def test_same() -> None:
    nan = math.nan
    assert flat.same(1, 1.0)
    assert flat.same(nan, -nan)
    assert flat.same([1, nan, ["a"]], [1.0, nan, ["a"]])
    assert flat.same({}, {})
    for one, other in [
        (1, True), (1, "1"), (0, False), (0, None), (True, "true"), (2**53 + 1, 2.0**53), ([], {}), ([1], 1),
        ([1], [1, 1]), ([1], [True]), (nan, 0.0), (math.inf, -math.inf), ("NaN", nan),
    ]:  # fmt: skip
        assert not flat.same(one, other)
        assert not flat.same(other, one)


@given(
    *[st.sampled_from([0, 1, 1.0, True, False, "1", None, math.nan, -0.0, 2**60, 2.0**60, [1], [1.0], [True], [], {}])]
    * 3
)
def test_same_is_an_equivalence(one: Any, other: Any, third: Any) -> None:
    assert flat.same(one, one)
    assert flat.same(one, other) == flat.same(other, one)
    if flat.same(one, other) and flat.same(other, third):
        assert flat.same(one, third)


def test_text() -> None:
    assert flat.text(0.123456789, 5) == "0.12346"
    assert flat.text(0.1 + 0.2) == "0.30000000000000004"
    assert [flat.text(each, 5) for each in (True, None, 10**20, {}, [])] == ["true", "null", str(10**20), "{}", "[]"]
    assert [flat.text(each, 5) for each in (math.nan, math.inf, -math.inf)] == ["NaN", "Infinity", "-Infinity"]
    assert flat.text([1.00001, "a", None], 3) == "[1, a, null]"
    assert flat.text([1, "1"], exact=True) == '[1, "1"]'


@given(nested(ANY_NAMES))
def test_json_has_only_what_json_may_have(content: Any) -> None:
    found = {key: flat.json_value(value) for key, value in flatten(content).items()}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
