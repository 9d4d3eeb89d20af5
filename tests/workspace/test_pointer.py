"""Pointers: what is written is read again, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml import paths
from vcs_ml.errors import UserError
from vcs_ml.hashing import SHA256, XXH128
from vcs_ml.store import objects
from vcs_ml.workspace import pointer
from vcs_ml.workspace.pointer import Pointer, parse, pointer_path, serialize

HASH = "xxh128:" + "ab" * 16
GOOD = {"schema": 1, "path": "a", "kind": "file", "hash": HASH, "size": 3}
BLOB = objects.blob(b"\xab" * 16)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
RESERVED = {"schema", "path", "kind", "hash", "size", "nfiles", "desc", "pull", "groups"}
extras = st.dictionaries(text.filter(lambda key: key not in RESERVED), values, max_size=3)
component = text.filter(lambda name: "/" not in name and paths.problem(name) is None)
sizes = st.integers(0, 2**63 - 1)
blobs = st.binary(min_size=16, max_size=16).map(objects.blob)
nodes = st.binary(min_size=32, max_size=32).map(objects.node)
known = st.fixed_dictionaries({}, optional={"desc": text, "pull": st.booleans(), "meta": values})


@given(st.lists(component, min_size=1, max_size=3).map("/".join), sizes, extras, known, st.data())
def test_round_trip(
    path: str, size: int, extra: dict[str, object], more: dict[str, object], data: st.DataObject
) -> None:
    if data.draw(st.booleans()):
        one = Pointer(path, data.draw(nodes), "tree", size, data.draw(st.none() | sizes), extra | more)
    else:
        one = Pointer(
            path,
            data.draw(blobs),
            data.draw(st.sampled_from(["file", "executable"])),
            size,
            None,
            extra | more,
        )
    raw = serialize(one, XXH128)
    assert parse(raw, f"{path}.vml", XXH128) == one
    assert serialize(parse(raw, f"{path}.vml", XXH128), XXH128) == raw


def test_form() -> None:
    raw = serialize(Pointer("sub/ö", BLOB, "file", 3, None, {"desc": "é", "groups": ["b", "a"]}), XXH128)
    assert raw.decode() == (
        '{\n  "desc": "é",\n  "groups": [\n    "b",\n    "a"\n  ],\n'
        f'  "hash": "{HASH}",\n  "kind": "file",\n  "path": "ö",\n  "schema": 1,\n  "size": 3\n}}\n'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "newer vml"),
        ({"schema": True}, "no schema"),
        ({"schema": "1"}, "no schema"),
        ({"schema": 0}, "no schema"),
        ({"path": "b"}, "its path is 'b', but beside it lies 'a'"),
        ({"path": "../a"}, "its path"),
        ({"path": None}, "its path"),
        ({"kind": "tree"}, "its kind is tree, but its hash"),
        ({"kind": "link"}, "its kind 'link'"),
        ({"kind": ["file"]}, "its kind"),
        ({"hash": "tree:sha256:" + "ab" * 32}, "its kind is file"),
        ({"hash": "sha256:" + "ab" * 32}, "this project uses xxh128"),
        ({"hash": HASH.upper()}, "is not a hash"),
        ({"hash": 3}, "is not a hash"),
        ({"size": -1}, "its size"),
        ({"size": 2**63}, "its size"),
        ({"size": True}, "its size"),
        ({"size": 1.0}, "its size"),
        ({"size": None}, "its size"),
        ({"nfiles": 1}, "has nfiles"),
        ({"nfiles": None}, "its nfiles"),
        ({"desc": 3}, "its desc"),
        ({"pull": "no"}, "its pull"),
        ({"groups": "a"}, "its groups"),
        ({"groups": [""]}, "its groups"),
    ],
)
def test_wrong_fields_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse(json.dumps(GOOD | change).encode(), "sub/a.vml", XXH128)
    assert caught.value.message.startswith("sub/a.vml: ")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply|not valid JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
        (b'{"schema": 1, "schema": 1}', "twice"),
        (b'{"x": NaN}', "NaN is not a JSON number"),
        (b'{"x": 1e999}', "too large"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"x": "\\ud800"}', "not valid JSON"),
        (b" " * (pointer.MAX_SIZE + 1), "larger than"),
        (b'{\n<<<<<<< HEAD\n"size": 1\n=======\n"size": 2\n>>>>>>> x\n}', "conflict markers"),
    ],
)
def test_bad_bytes_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse(raw, "a.vml", XXH128)
    assert caught.value.hint


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_a_user_error(raw: bytes) -> None:
    with pytest.raises(UserError):
        parse(raw, "a.vml", SHA256)


@pytest.mark.parametrize("source", ["a", ".vml", "sub/.vml", "../a.vml", ".git/a.vml", "/a.vml", "a//b.vml"])
def test_bad_places_are_refused(source: str) -> None:
    with pytest.raises(UserError):
        parse(json.dumps(GOOD).encode(), source, XXH128)


def test_pointer_path() -> None:
    assert pointer_path("sub/a") == "sub/a.vml"
    assert pointer_path("x" * 251) == "x" * 251 + ".vml"
    for name in ("x" * 252, "ä" * 126, "sub/" + "x" * 252):
        with pytest.raises(UserError, match="too long") as caught:
            pointer_path(name)
        assert "251 bytes" in (caught.value.hint or "")


def test_a_real_file(tmp_path: Path) -> None:
    path = tmp_path / "a.vml"
    path.write_bytes(serialize(Pointer("a", BLOB, "executable", 0, None, {}), XXH128))
    assert parse(path.read_bytes(), "a.vml", XXH128).kind == "executable"
