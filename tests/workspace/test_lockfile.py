"""Lock files: what is written is read again, merges of different stages succeed, and nothing else is read."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workspace.test_pointer import BLOB, HASH, blobs, component, nodes, sizes, text, values
from vcs_ml.errors import UserError
from vcs_ml.hashing import XXH128
from vcs_ml.workspace import lockfile
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lockfile import Flags, LockFile, LockWriter, OutItem, StageRecord, parse, plain, serialize

ITEM = Item(BLOB, "file", 3)
GOOD = {"hash": HASH, "kind": "file", "size": 3}

inner = st.lists(component, min_size=1, max_size=3).map("/".join)
outside = st.builds(str.__add__, st.sampled_from(["../", "../../", "/"]), inner)
files = st.builds(Item, blobs, st.sampled_from(["file", "executable"]), sizes, st.none())
items = files | st.builds(Item, nodes, st.just("tree"), sizes, st.none() | sizes)
flags = st.builds(Flags, st.booleans(), st.booleans(), st.booleans(), st.none() | text.filter(bool))
unknown = st.dictionaries(text.map("x-".__add__), values, max_size=2)
outs = st.builds(lambda item, flags, extra: OutItem(*item, flags, extra), items, flags, unknown)
deps = st.dictionaries(inner | outside | st.just("."), items, max_size=3)
env = st.dictionaries(
    text.filter(lambda name: name and not set(name) & {"=", "\0"}),
    st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    max_size=2,
)
stages = st.builds(
    lambda deps, more, **fields: StageRecord(
        deps=deps, dep_extra={path: more for path in sorted(deps)[:1] if more}, **fields
    ),
    deps,
    unknown,
    cmd=st.lists(text, max_size=3).map(tuple),
    env=env,
    outs=st.dictionaries(inner, outs, max_size=3),
    params=st.dictionaries(inner | outside, st.dictionaries(text, values, max_size=2), max_size=2),
    extra=unknown,
)
names = text.filter(lambda name: name and name.isprintable())
folders = st.just("") | inner


def lock_in(folder: str, stages: dict[str, StageRecord], extra: dict[str, object]) -> LockFile:
    """A lock file, without outputs that would hold it."""
    kept = {
        name: each._replace(
            outs={path: out for path, out in each.outs.items() if not f"{folder}/".startswith(f"{path}/")}
        )
        for name, each in stages.items()
    }
    return LockFile(lockfile.source_in(folder), kept, extra)


locks = st.builds(
    lock_in,
    folders,
    st.dictionaries(names, stages, max_size=3),
    unknown,
)


@given(locks)
def test_round_trip(lock: LockFile) -> None:
    raw = serialize(lock, XXH128)
    assert parse(raw, lock.source, XXH128) == lock
    assert serialize(parse(raw, lock.source, XXH128), XXH128) == raw
    content = json.loads(raw)
    assert raw.decode() == json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


@given(inner | outside | st.just("."), folders)
def test_paths_are_relative_to_the_lock_file(path: str, folder: str) -> None:
    assert lockfile.absolute(lockfile.relative(path, folder), folder) == path


@pytest.mark.parametrize(
    "change",
    [
        {"cmd": ["x"]},
        {"deps": {"a": GOOD, "b": GOOD}},
        {"deps": {}},
        {"outs": {"out": {**GOOD, "push": False}}},
        {"params": {"p.yaml": {"lr": 2}}},
        {"env": {"HOME": "0" * 64}},
        {"later": 1},
        {"check": "0" * 32},
        {"check": None},
    ],
)
def test_a_stage_that_was_put_together_as_text_is_told_from_others(change: dict[str, object]) -> None:
    params = {"p.yaml": {"lr": 1, "é": [0.1, -0.0, 1e30, True, None, {"b": 1, "a": 2}]}}
    stage = StageRecord(("cat",), {"a": ITEM}, {"HOME": None}, {"out": OutItem(*ITEM)}, params)
    lock = LockFile("vml.lock", {"s": stage, "t": stage})
    fields = json.loads(serialize(lock, XXH128))
    assert parse(json.dumps(fields).encode(), "vml.lock", XXH128) == lock  # its form is no matter
    fields["stages"]["s"] |= change
    found = parse(json.dumps(fields).encode(), "vml.lock", XXH128)
    assert (found.stages["s"].is_edited, found.stages["t"]) == (True, stage)
    assert parse(serialize(found, XXH128), "vml.lock", XXH128) == found  # until it is made anew
    del fields["stages"]["s"]["check"]
    assert not parse(json.dumps(fields).encode(), "vml.lock", XXH128).stages["s"].is_edited  # as of an older version


def test_form() -> None:
    stage = StageRecord(
        ("python train.py", "echo é"),
        {"sub/data": Item(BLOB, "file", 3), "src": ITEM, "../far": ITEM, "/abs": ITEM},
        {"HOME": None},
        {"sub/model": OutItem(BLOB, "executable", 3, flags=Flags(push=False, remote="gpu")), "m.json": OutItem(*ITEM)},
        {"sub/params.yaml": {"lr": 0.1, "layers": [1, 2]}},
    )
    raw = serialize(LockFile("sub/vml.lock", {"train": stage}), XXH128)
    file = f'{{\n          "hash": "{HASH}",\n          "kind": "file",\n          "size": 3\n        }}'
    pushed = file.replace('"file"', '"executable"').replace(
        '"size": 3', '"push": false,\n          "remote": "gpu",\n          "size": 3'
    )
    assert raw.decode() == (
        '{\n  "schema": 1,\n  "stages": {\n    "train": {\n'
        '      "check": "CHECK",\n'
        '      "cmd": [\n        "python train.py",\n        "echo é"\n      ],\n'
        f'      "deps": {{\n        "../../far": {file},\n        "../src": {file},\n        "/abs": {file},\n'
        f'        "data": {file}\n      }},\n'
        '      "env": {\n        "HOME": null\n      },\n'
        f'      "outs": {{\n        "../m.json": {file},\n        "model": {pushed}\n      }},\n'
        '      "params": {\n        "params.yaml": {\n          "layers": [\n            1,\n            2\n'
        '          ],\n          "lr": 0.1\n        }\n      }\n    }\n  }\n}\n'
    ).replace("CHECK", json.loads(raw)["stages"]["train"]["check"])
    assert serialize(LockFile("vml.lock"), XXH128) == b'{\n  "schema": 1,\n  "stages": {}\n}\n'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cmd": "x"}, "its cmd is not a list"),
        ({"cmd": [1]}, "its cmd is not a list"),
        ({"deps": []}, "its deps are not a JSON object"),
        ({"deps": {"a": 1}}, "dep 'a': '1' is not a JSON object"),
        ({"deps": {"a": {**GOOD, "size": -1}}}, "its size"),
        ({"deps": {"": GOOD}}, "shortest form"),
        ({"deps": {"a//b": GOOD}}, "shortest form"),
        ({"deps": {"./a": GOOD}}, "shortest form"),
        ({"deps": {"../sub/a": GOOD}}, "shortest form"),
        ({"deps": {"//a": GOOD}}, "shortest form"),
        ({"deps": {"a\0": GOOD}}, "NUL"),
        ({"deps": {"a" * 5000: GOOD}}, "longer than"),
        ({"outs": {"a": {**GOOD, "hash": "x"}}}, "is not a hash"),
        ({"outs": {"a": {**GOOD, "cache": 1}}}, "its cache is neither"),
        ({"outs": {"a": {**GOOD, "remote": ""}}}, "its remote"),
        ({"outs": {"a": {**GOOD, "kind": "tree"}}}, "its kind is tree"),
        ({"outs": {"/a": GOOD}}, "it is no output: it is absolute"),
        ({"outs": {"../../a": GOOD}}, "it is no output"),
        ({"outs": {"..": GOOD}}, "it is no output"),
        *(
            ({"outs": {f"o/{name}": GOOD}}, "belong to vml and Git")
            for name in (".gitignore", ".gitattributes", ".gitmodules", ".vmlignore", "vml.yaml", "vml.lock", "x.vml")
        ),
        ({"outs": {".": GOOD}}, "the lock file itself lies in it"),
        ({"outs": {".git/hooks/x": GOOD}}, "belongs to Git or vml"),
        ({"params": {"a": [1]}}, "is not a JSON object"),
        ({"env": {"a=b": None}}, "cannot be the name of a variable"),
        ({"env": {"a": "x"}}, "SHA-256"),
        ({"env": {"a": 1}}, "SHA-256"),
    ],
)
def test_wrong_fields_are_refused(change: dict[str, object], message: str) -> None:
    raw = json.dumps({"schema": 1, "stages": {"train": change}}).encode()
    with pytest.raises(UserError, match=message) as caught:
        parse(raw, "sub/vml.lock", XXH128)
    assert caught.value.message.startswith("sub/vml.lock: stage 'train'")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not UTF-8"),
        (b"{}", "has no schema"),
        (b'{"schema": 2}', "written by a newer vml"),
        (b'{"schema": 1, "stages": []}', "its stages are not"),
        (b'{"schema": 1, "stages": {"": {}}}', "cannot be the name"),
        (b'{"schema": 1, "stages": {"a\\n": {}}}', "cannot be the name"),
        (b'{"schema": 1, "stages": {"a": 1}}', "is not a JSON object"),
        (b'{"schema": 1, "stages": {"a": {}, "a": {}}}', "stands there twice"),
        (b'{"schema": 1, "x": NaN}', "NaN is not a JSON number"),
        (b'{"schema": 1, "x": "\\ud800"}', "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * (lockfile.MAX_SIZE + 1), "larger than"),
        (b'{\n<<<<<<< HEAD\n"schema": 1\n=======\n"schema": 1\n>>>>>>> x\n}', "conflict markers"),
    ],
)
def test_bad_bytes_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse(raw, "vml.lock", XXH128)
    assert caught.value.hint


@given(locks, st.data())
def test_damage_is_a_user_error(lock: LockFile, data: st.DataObject) -> None:
    raw = bytearray(serialize(lock, XXH128))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=3))
    try:
        found = parse(bytes(raw), lock.source, XXH128)
    except UserError:
        return
    assert parse(serialize(found, XXH128), lock.source, XXH128) == found


def test_a_stage_is_made_text_once() -> None:
    one, two = StageRecord(("1",)), StageRecord(("2",))
    writer = LockWriter(LockFile("vml.lock", {"one": one}), XXH128)
    for stages in ({"two": two}, {"one": two}, {"one": StageRecord(params={"p": {"x": True}})}, {"two": None}):
        writer.put(stages)
        assert writer.serialize() == serialize(writer.lock, XXH128)
    assert list(writer.lock.stages) == ["one"]


def test_names_that_are_no_text_are_refused() -> None:
    lock = LockFile("vml.lock", {"a": StageRecord(deps={"a\udcff": ITEM})})
    with pytest.raises(UserError, match="is not UTF-8"):
        serialize(lock, XXH128)


def test_values_that_json_does_not_have() -> None:
    assert plain({"a": (1, float("nan")), 2: [float("inf"), float("-inf")]}) == {
        "a": [1, ".nan"],
        "2": [".inf", "-.inf"],
    }
    assert plain({datetime.date(2025, 1, 2), 3}) == ["2025-01-02", 3]
    texts = [".nan", ".inf", "-.inf", "'.inf'", "''.inf''", "'.inf", ".infs"]
    shown = [plain(each) for each in (float("nan"), float("inf"), float("-inf"), *texts)]
    assert len(set(map(str, shown))) == len(shown)
    assert shown[3:6] == ["'.nan'", "'.inf'", "'-.inf'"]
    assert plain("a\ud800") == "a\\ud800"
    assert plain({None: True, 1.5: 1}) == {"null": True, "1.5": 1}


strange = st.none() | st.booleans() | st.floats() | st.dates() | st.text(max_size=4) | st.frozensets(st.integers())


@given(
    st.recursive(
        strange,
        lambda each: st.lists(each, max_size=3) | st.dictionaries(st.integers() | text, each, max_size=3),
        max_leaves=6,
    )
)
def test_plain_values_can_be_written(value: object) -> None:
    lock = LockFile("vml.lock", {"a": StageRecord(params={"p.yaml": {"x": plain(value)}})})
    assert parse(serialize(lock, XXH128), "vml.lock", XXH128) == lock


def test_changes_of_different_stages_merge(tmp_path: Path) -> None:
    def version(**changed: str) -> bytes:
        found = {
            name: StageRecord((changed.get(name, name),), {f"{name}.in": ITEM}, {}, {f"{name}.out": OutItem(*ITEM)})
            for name in ("a", "b", "c", *(name for name in changed if name not in "abc"))
        }
        return serialize(LockFile("vml.lock", found), XXH128)

    for name, raw in (("ours", version(a="x")), ("base", version()), ("theirs", version(b="y", bb="z"))):
        (tmp_path / name).write_bytes(raw)
    merge = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    assert subprocess.run(merge, cwd=tmp_path, capture_output=True, check=True).stdout == version(a="x", b="y", bb="z")


def test_what_would_not_be_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = StageRecord(("x",)), StageRecord(("y" * 1000,))
    raw = serialize(LockFile("sub/vml.lock", {"a": small, "b": large}), XXH128)
    monkeypatch.setattr(lockfile, "MAX_SIZE", len(raw))
    assert parse(raw, "sub/vml.lock", XXH128).stages["b"] == large
    with pytest.raises(UserError, match=r"sub/vml\.lock would have 1\.\d kB, .*; most is of the stage b"):
        serialize(LockFile("sub/vml.lock", {"a": small, "b": large, "c": small}), XXH128)
