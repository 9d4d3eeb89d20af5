"""Signatures and reasons: equal where and only where nothing differs, and the words for what does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.conftest import Repo
from tests.stages import project_of
from vcs_ml.errors import UserError
from vcs_ml.hashing import XXH128
from vcs_ml.pipeline import signature
from vcs_ml.pipeline.signature import Inputs, Params, Reader, Reason
from vcs_ml.pipeline.stage import Out, ParamSet, Stage
from vcs_ml.progress import SILENT
from vcs_ml.store import objects
from vcs_ml.workspace import lockfile, opening, tracked
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lockfile import LockFile, StageRecord
from vcs_ml.workspace.measure import Gauge

words = some.text(some.sampled_from("abc./é "), min_size=1, max_size=4).filter(lambda text: text.strip("./ "))
plain: Any = some.recursive(
    some.none() | some.booleans() | some.integers(-5, 5) | some.sampled_from([0.1, 1.0, 2.0]) | words,
    lambda inner: some.lists(inner, max_size=2) | some.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
contents = some.builds(
    lambda digit, kind: Item(objects.blob(bytes([digit]) * 16), kind, 1),
    some.integers(0, 2),
    some.sampled_from(["file", "executable"]),
)
safe = some.sampled_from(["a", "b", "c/d"])
inputs = some.builds(
    Inputs,
    some.lists(words, min_size=1, max_size=2).map(tuple),
    some.dictionaries(safe, contents, max_size=2),
    some.dictionaries(safe, some.dictionaries(words, plain, max_size=2), max_size=2),
    some.dictionaries(some.sampled_from(["X", "Y"]), some.none() | some.sampled_from(["0" * 64, "1" * 64])),
    some.dictionaries(some.sampled_from(["shell"]), some.just("bash")),
)


def reader_of(repo: Repo, **env: str) -> Reader:
    project = project_of(repo)
    gauge = Gauge(project, opening.open_store(project), tracked.in_workspace(project), SILENT)
    return Reader(gauge, Params(project.root), env, project.root)


@pytest.fixture
def reader(repo: Repo) -> Reader:
    return reader_of(repo)


def test_reasons_and_signatures_agree(repo: Repo) -> None:
    gauge = reader_of(repo).gauge

    @given(old=inputs, new=inputs, same=some.booleans())
    def check(old: Inputs, new: Inputs, same: bool) -> None:
        new = old if same else new
        # By way of the lock file, as it will be.
        lock = LockFile("vml.lock", {"a": old.record({})})
        record = lockfile.parse(lockfile.serialize(lock, XXH128), "vml.lock", XXH128).stages["a"]
        reasons = signature.changes(new, record, gauge)
        equal = signature.signature(old, XXH128) == signature.signature(new, XXH128)
        assert bool(reasons) != equal
        for each in reasons:
            assert str(each) and each.as_json()["text"] == str(each)

    check()


def test_the_signature_is_what_the_formats_say() -> None:
    dep = Item(objects.blob(bytes(16)), "file", 0)
    now = Inputs(("make\nall", "é"), {"a b": dep}, {"p.yaml": {"x.y": [1, 0.5]}}, {"S": None}, {"wdir": "sub"})
    text = (
        "stage 1\n"
        'cmd ["",""] ["make\\nall","\\u00e9"]\n'
        'shell ["",""] null\n'
        'wdir ["",""] "sub"\n'
        'dep ["a b",""] ["xxh128:00000000000000000000000000000000","file"]\n'
        'param ["p.yaml","x.y"] [1,0.5]\n'
        'env ["S",""] null\n'
    )
    assert signature.signature(now, XXH128) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (0.1, 0.2, "p: k 0.1 -> 0.2"),
        (1, 1.0, "p: k 1 -> 1.0"),
        (True, 1, "p: k true -> 1"),
        ("a", None, "p: k a -> null"),
        ({"x": {"y": 1, "z": 2}}, {"x": {"y": 3, "z": 2}}, "p: k.x.y 1 -> 3"),
        ({"x": 1}, {"x": 1, "y": 2}, "p: k.y 2 is new"),
        ({"x": 1, "y": 2}, {"x": 1}, "p: k.y 2 is gone"),
        ({}, {"x": 1}, 'p: k {} -> {"x": 1}'),
        ("1", 1, 'p: k "1" -> 1'),
        ("true", "yes", 'p: k "true" -> yes'),
        ("a" * 100 + "b", "a" * 100 + "c", f"p: k …{'a' * 15}b -> …{'a' * 15}c"),
        (list(range(30)), [*range(29), 0], "p: k … 28, 29] -> … 28, 0]"),
        ("", "a" * 100, 'p: k "" -> ' + "a" * 39 + "…"),
    ],
)
def test_words_for_params(reader: Reader, old: Any, new: Any, said: str) -> None:
    def reads(value: Any) -> Inputs:
        return Inputs(("x",), {}, {"p": {"k": value}}, {}, {})

    (reason,) = signature.changes(reads(new), reads(old).record({}), reader.gauge)
    assert str(reason) == said
    assert reason.as_json()["path"] == "p"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (["x --lr 0.1"], ["x --lr 0.2"], "x --lr 0.1 -> x --lr 0.2"),
        (
            ["python train.py --lr 0.1 --epochs 30"],
            ["python train.py --lr 0.2 --epochs 30"],
            "… --lr 0.1 … -> … --lr 0.2 …",
        ),
        (["a" * 50 + "b" + "c" * 50], ["a" * 50 + "c" * 50], f"…{'a' * 15}b{'c' * 15}… -> …{'a' * 15}{'c' * 15}…"),
        ([f"sleep {'a' * 60} b"], [f"sleep {'c' * 60} b"], f"sleep {'a' * 33}… -> sleep {'c' * 33}…"),
        (["set -e\nx\ny"], ["set -e\nx 1\ny"], "line 2: x -> x 1"),
        (["set -e\nx\ny"], ["set -e\n\nz\nx\ny"], 'line 2: "" is new, and more'),
        (["x\ny\n"], ["x\n"], "line 2: y is gone"),
        (["x\ny"], ["x", "y"], '["x\\ny"] -> ["x","y"]'),
    ],
)
def test_words_for_commands(reader: Reader, old: list[str], new: list[str], said: str) -> None:
    before, now = (Inputs(tuple(each), {}, {}, {}, {}) for each in (old, new))
    (reason,) = signature.changes(now, before.record({}), reader.gauge)
    assert str(reason) == f"cmd: {said}"


def test_words_for_deps(repo: Repo) -> None:
    repo.write("f", "1")
    repo.write("d/x", "1")
    repo.write("d/y", "1")
    repo.run("add", "d")
    stage = Stage("vml.yaml", "a", ("x",), deps=("f", "d"))
    record = signature.inputs(stage, reader_of(repo)).record({})

    def said(stage: Stage = stage) -> list[str]:
        return [str(each) for each in signature.stale(stage, record, reader_of(repo))]

    assert said() == []
    (repo.path / "f").chmod(0o755)
    assert said() == ["f: now executable"]
    repo.write("f", "2")
    (repo.path / "d/x").unlink()
    repo.write("d/z", "new")
    assert said() == ["d: 1 added, 1 deleted", "f: changed"]
    (repo.path / "f").unlink()
    assert said(stage._replace(deps=("f", "g"))) == ["f: missing", "g: missing", "d: no longer a dep"]


def test_outputs_and_fixed_reasons(repo: Repo) -> None:
    stage = Stage("vml.yaml", "a", ("x",), deps=("f",), outs=(Out("o"),))
    repo.write("f", "1")
    reader = reader_of(repo)
    assert signature.stale(stage, None, reader) == [Reason("never")]
    record = signature.inputs(stage, reader).record({})
    repo.write("o", "1")
    assert [str(each) for each in signature.stale(stage, record, reader)] == ["o: not recorded yet"]
    always = stage._replace(always_changed=True, outs=())
    assert [str(each) for each in signature.stale(always, record, reader)] == ["always_changed"]
    assert signature.stale(always._replace(frozen=True), record, reader) == []


def test_a_whole_file_of_params(repo: Repo) -> None:
    stage = Stage("vml.yaml", "a", ("x",), params=(ParamSet("p.yaml", None),), deps=("f",))
    repo.write("f", "")
    repo.write("p.yaml", "a: 1\n")
    reader = reader_of(repo)
    record = signature.inputs(stage, reader).record({})
    repo.write("p.yaml", "a: 1\nb: 2\n")
    assert [str(each) for each in signature.stale(stage, record, reader)] == ["p.yaml: b 2 is new"]
    repo.write("p.yaml", "[1, 2]\n")
    with pytest.raises(UserError, match="holds no keys"):
        signature.inputs(stage, reader)


def test_unknown_keys_of_a_record_stay(tmp_path: Path) -> None:
    before = StageRecord(extra={"mine": 1, "shell": "bash"}, dep_extra={"f": {"etag": 1}, "g": {"etag": 2}})
    item = Item(objects.blob(bytes(16)), "file", 0)
    record = Inputs(("x",), {"f": item}, {}, {}, {"wdir": "sub"}).record({}, before)
    assert record.extra == {"mine": 1, "wdir": "sub"}
    assert record.dep_extra == {"f": {"etag": 1}}
