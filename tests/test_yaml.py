"""YAML as people write it: scalars, keys, lines, aliases, and what is refused."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml import yaml
from vcs_ml.errors import UserError

# JSON spells what lies beyond as two halves, which YAML does not take. A key of YAML has at most 1,024 letters.
TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0xD7FF), max_size=100)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def value(text: str) -> object:
    return yaml.parse(text.encode(), "f.yaml").value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(word, word) for word in ("on", "off", "yes", "no", "Y", "n", "tRUE", "nan", "inf", ".", "1.2.3", "1_")],
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+2", -150.0),
        ("-.inf", -math.inf),
        ("0", 0),
        ("017", 17),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b101", 5),
        ("-7", -7),
        ("1_000", 1000),
        ("0o18", "0o18"),
        ("190:20:30", "190:20:30"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("!!int '3'", 3),
        ("!!null ''", None),
    ],
)
def test_scalars(text: str, expected: object) -> None:
    found = value(f"a: {text}")
    assert found == {"a": expected}
    assert type(found["a"]) is type(expected)  # type: ignore[index]


def test_not_a_number() -> None:
    assert math.isnan(value("[.nan]")[0])  # type: ignore[index]


def test_keys_are_text_as_written() -> None:
    assert value("1: a\ntrue: b\n~: c\n2024-01-31: d\n0x1F: e") == {
        "1": "a",
        "true": "b",
        "~": "c",
        "2024-01-31": "d",
        "0x1F": "e",
    }


@given(TREES)
def test_json_is_yaml(tree: object) -> None:
    assert value(json.dumps({"a": tree})) == {"a": tree}


def test_without_the_c_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"a: &a {x: [1, yes, 'q'], <<: {y: 2}}\nb:\n  - *a\n  - |\n    two\n    lines\n"
    with_c = yaml.parse(text, "f.yaml")
    monkeypatch.delattr("yaml.CSafeLoader")
    assert yaml.parse(text, "f.yaml") == with_c
    for bad in ("[" * 5_000, "a: {b: 1", "a: *a"):
        with pytest.raises(UserError, match=r"^f\.yaml:[12]: "):
            value(bad)


def test_empty_files() -> None:
    assert [value(text) for text in ("", "# nothing\n", "---\n", "--- \n...\n")] == [None] * 4


def test_lines() -> None:
    document = yaml.parse(
        b"# first\na: 1\nb:\n  - x\n  - y: 2\n    z:\n      [1,\n       2]\n\n'c d': {e: 5}\n", "f.yaml"
    )
    assert document.line(()) == 2
    assert document.line(("a",)) == 2
    assert document.line(("b",)) == 3
    assert document.line(("b", 0)) == 4
    assert document.line(("b", 1, "z")) == 6
    assert document.line(("b", 1, "z", 1)) == 8
    assert document.line(("c d", "e")) == 10
    # What is not there has the line of what it would be in.
    assert document.line(("b", 1, "q", "r")) == 5
    assert document.line(("b", 7)) == 3
    assert document.line(("b", "y")) == 3


def test_aliases_and_merges() -> None:
    text = """
base: &base {x: 1, y: {z: 2}}
other: &other {x: 3, w: 4}
one:
  <<: *base
  x: 5
both: {<<: [*base, *other], v: 6}
copy: *base
word: &word hello
again: [*word, *word]
&key k: *key
'<<': text
"""
    document = yaml.parse(text.encode(), "f.yaml")
    assert document.value == {
        "base": {"x": 1, "y": {"z": 2}},
        "other": {"x": 3, "w": 4},
        "one": {"x": 5, "y": {"z": 2}},
        "both": {"x": 1, "w": 4, "y": {"z": 2}, "v": 6},
        "copy": {"x": 1, "y": {"z": 2}},
        "word": "hello",
        "again": ["hello", "hello"],
        "k": "k",
        "<<": "text",
    }
    assert document.line(("one", "x")) == 6
    assert document.line(("one", "y", "z")) == 2
    assert document.line(("copy",)) == 8


def test_an_anchored_merge_is_whole() -> None:
    assert value("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: *b\n") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 2},
    }


BOMB = "\n".join(
    ["l0: &l0 [1,2,3,4,5,6,7,8,9]", *(f"l{i}: &l{i} [{','.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 10))]
)
DEEP = "\n".join(
    ["l0: &l0 " + "[" * 40 + "]" * 40, *(f"l{i}: &l{i} {'[' * 40}*l{i - 1}{']' * 40}" for i in range(1, 5))]
)


def test_a_hundred_levels_are_taken() -> None:
    assert value("[" * 99 + "1" + "]" * 99)
    assert value("a: &a " + "[" * 49 + "]" * 49 + "\nb: " + "[" * 49 + "*a" + "]" * 49)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' stands in line 1"),
        ("1: a\n'1': b", 2, "'1' stands in line 1"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", 4, "'b' stands in line 2"),
        ("a: *x", 1, "*x stands for nothing"),
        ("a: &a [*a]", 1, "*a stands for nothing"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tag !!python/object/apply:os.system"),
        ("a: !mine 3", 1, "tag !mine"),
        ("a: !!set {x}", 1, "tag !!set"),
        ("a: !!int x", 1, "tag !!int"),
        ("a: 1\n[b, c]: 1", 2, "a key must be text"),
        ("&a x: 1\n*a : 2", 2, "a key must be text"),
        *((f"a: {begin}{'1' * 1_001}", 1, "number is too long") for begin in ("", "-", "0x", "0.", "1_", "1e")),
        ("[" * 100_000, 1, "nested more than 100"),
        ("- " * 500 + "a", 1, "nested more than 100"),
        (DEEP, 3, "nested more than 100"),
        ("a: {b: 1", 2, "not YAML"),
        ("a:\n\tb: 1", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("<<: 3", 1, "<< merges mappings"),
        ("<<: [{a: 1}, 2]", 1, "<< merges mappings"),
        ("<<: {a: 1}\n<<: {b: 1}", 2, "<< stands here a second time"),
        (BOMB, 7, "aliases make more than 1,000,000"),
    ],
)
def test_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(UserError) as caught:
        value(text)
    assert caught.value.message.startswith(f"f.yaml:{line}: ")
    assert words in caught.value.message
    assert caught.value.hint


def test_bytes_that_are_no_text() -> None:
    for raw in (b"\xff\xfe\xfa", b"a: \xff", b"a: \x00"):
        with pytest.raises(UserError, match=r"^f\.yaml: this is not YAML: "):
            yaml.parse(raw, "f.yaml")


def test_conflict_markers_are_named() -> None:
    with pytest.raises(UserError) as caught:
        value("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n")
    assert "conflict markers" in str(caught.value.hint)


@given(st.binary(max_size=60) | st.text("-:[]{}&*<!|>'\"\n ab1,?#%", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        yaml.parse(raw, "f.yaml")
    except UserError as error:
        assert error.message.startswith("f.yaml")
