"""Values at revisions: which files they come from, what could not be read, and what changed between two."""

from __future__ import annotations

import math
from operator import is_
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Repo
from tests.metrics.test_revision import reading
from vcs_ml.errors import UserError
from vcs_ml.metrics import compare, flat, naming
from vcs_ml.metrics.compare import MISSING, Collector, Kind, Values
from vcs_ml.metrics.flat import Flat

VALUES = st.sampled_from([1, 1.0, True, "1", None, math.nan, [1], [True], 0.5, {}])
FLAT = st.dictionaries(st.sampled_from(["a", "b", "c.d"]), VALUES)
FILES = st.dictionaries(st.sampled_from(["m.json", "res/x.json", "res/y.json", "n.yaml"]), FLAT)
ERRORS = st.sets(st.sampled_from(["m.json", "res", "res/*.json", "*.yaml", "other", "vml.yaml"]), max_size=2)


def collected(repo: Repo, *revs: str, kind: Kind = "metrics", targets: tuple[str, ...] = ()) -> list[Values]:
    """Values of revisions, "" being the workspace."""
    with reading(repo) as reader:
        revisions = [reader.at(rev) if rev else reader.workspace() for rev in revs]
        return Collector(reader).collect(revisions, kind, targets)


def files(repo: Repo, rev: str = "", kind: Kind = "metrics", *targets: str) -> dict[str, Flat]:
    (found,) = collected(repo, rev, kind=kind, targets=targets)
    assert not found.errors
    return dict(found.files)


# --- Rows ------------------------------------------------------------------------------------------------


@given(FILES, FILES, ERRORS, ERRORS, st.booleans())
def test_rows_against_a_plain_model(
    old: dict[str, Flat], new: dict[str, Flat], wrong: set[str], bad: set[str], every: bool
) -> None:
    a = Values("a", old, {path: UserError("x") for path in wrong})
    b = Values("b", new, {path: UserError("x") for path in bad})
    hidden = {
        "m.json": {"m.json"}, "res": {"res/x.json", "res/y.json"}, "res/*.json": {"res/x.json", "res/y.json"},
        "*.yaml": {"n.yaml"},
    }  # fmt: skip
    unknown = set().union(*(hidden.get(path, set()) for path in wrong | bad))
    expected: dict[tuple[str, str], tuple[Any, Any]] = {}
    for file in {*old, *new} - unknown:
        for key in {*old.get(file, {}), *new.get(file, {})}:
            pair = old.get(file, {}).get(key, MISSING), new.get(file, {}).get(key, MISSING)
            if every or MISSING in pair or not flat.same(*pair):
                expected[file, key] = pair
    found = compare.rows(a, b, every=every)
    assert len(found) == len(expected)
    for row in found:
        assert all(map(is_, expected[row.file, row.key], (row.old, row.new)))
        assert row.changed == (MISSING in (row.old, row.new) or not flat.same(row.old, row.new))
    assert [row.file for row in found] == sorted(row.file for row in found)


@given(VALUES | st.floats() | st.integers(), VALUES | st.floats() | st.integers())
def test_delta_and_percent_are_numbers_or_nothing(old: Any, new: Any) -> None:
    row = compare.Row("m.json", "a", old, new)
    back = compare.Row("m.json", "a", new, old)
    assert row.changed == back.changed
    assert row.delta is None or not math.isnan(row.delta)
    assert row.percent is None or (math.isfinite(row.percent) and row.delta is not None)
    assert (row.delta is None) == (back.delta is None)
    if row.delta is not None and back.delta is not None and row.changed:
        assert row.delta == -back.delta
    if not row.changed:
        assert not row.delta


# --- Which files -----------------------------------------------------------------------------------------


def test_every_format_and_every_way_to_declare(repo: Repo) -> None:
    repo.write(
        "vml.yaml",
        """
params: [more.toml]
metrics: [top.json, res, "runs/*/m.json"]
stages:
  train:
    cmd: "true"
    params: [lr, {conf.py: [Train]}, {conf.json: [a.b, "list[1]", "x.y"]}]
    outs: [model]
    metrics: [out.yaml, {plain.json: {cache: false}}]
  two:
    cmd: "true"
    params: [{conf.json: [a]}]
    metrics: ["glob/*.json"]
""",
    )
    repo.write("sub/vml.yaml", "metrics: [m.json, ../up.json]\nstages: {s: {cmd: 'true', params: [k]}}\n")
    repo.write("params.yaml", "lr: 0.1\nother: x\n")
    repo.write("more.toml", "[t]\nx = 1\n")
    repo.write("conf.py", "SEED = 1\nclass Train:\n  epochs = 3\n")
    repo.write("conf.json", '{"a": {"b": 1, "c": 2}, "list": [5, 6], "x.y": 7, "z": 8}')
    repo.write("sub/params.yaml", "k: 5\nl: 6\n")
    for path in ("top.json", "res/a.json", "res/deep/b.json", "runs/1/m.json", "runs/2/m.json", "runs/2/other.json",
                 "out.yaml", "plain.json", "glob/g.json", "sub/m.json", "up.json", "undeclared.json"):  # fmt: skip
        repo.write(path, '{"v": 1}')
    repo.commit()
    expected = {
        "top.json", "res/a.json", "res/deep/b.json", "runs/1/m.json", "runs/2/m.json", "out.yaml", "plain.json",
        "glob/g.json", "sub/m.json", "up.json",
    }  # fmt: skip
    for rev in ("", "HEAD"):
        assert files(repo, rev) == {path: {"v": 1} for path in sorted(expected)}
        assert files(repo, rev, "params") == {
            "params.yaml": {"lr": 0.1, "other": "x"},
            "more.toml": {"t.x": 1},
            "conf.py": {"Train.epochs": 3},
            "conf.json": {"a.b": 1, "a.c": 2, "list[1]": 6, "x.y": 7},
            "sub/params.yaml": {"k": 5},
        }


def test_a_file_that_is_named_twice_is_meant_as_a_whole(repo: Repo) -> None:
    repo.write("vml.yaml", "params: ['c*.yaml']\nstages: {s: {cmd: 'true', params: [{conf.yaml: [a]}]}}\n")
    repo.write("conf.yaml", "a: 1\nb: 2\n")
    assert files(repo, "", "params") == {"conf.yaml": {"a": 1, "b": 2}}


def test_params_yaml_alone(repo: Repo) -> None:
    repo.write("params.yaml", "lr: 0.1\n")
    repo.commit()
    repo.write("params.yaml", "lr: 0.2\n")
    then, now = collected(repo, "HEAD", "", kind="params")
    assert [(row.key, row.old, row.new) for row in compare.rows(then, now)] == [("lr", 0.1, 0.2)]
    assert collected(repo, "HEAD", "") == [
        Values("HEAD", {}, {}, repo.git("rev-parse", "HEAD").strip()), Values("workspace", {}, {}),
    ]  # fmt: skip


def test_what_one_revision_declares_is_looked_for_in_all(repo: Repo) -> None:
    repo.write("m.json", '{"v": 1}')
    repo.write("old.json", '{"v": 2}')
    repo.write("vml.yaml", "metrics: [old.json]")
    repo.commit()
    repo.write("vml.yaml", "metrics: [m.json]")
    for found in collected(repo, "HEAD", ""):
        assert found.files == {"m.json": {"v": 1}, "old.json": {"v": 2}}


def test_targets(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [res/m.json, res/n.json, top.json, 'runs/*.json']")
    for path in ("res/m.json", "res/n.json", "top.json", "runs/1.json", "any/x.json", "any/y.json"):
        repo.write(path, f'{{"{path}": 1}}')
    repo.write("res/picture.png", b"\x89PNG\0\xff")
    repo.commit()
    repo.write("runs/2.json", "{}")

    def shown(*targets: str) -> list[list[str]]:
        return [list(each.files) for each in collected(repo, "HEAD", "", targets=targets)]

    declared = ["res/m.json", "res/n.json", "runs/1.json"]
    assert shown("res") == [["res/m.json", "res/n.json"]] * 2
    assert shown("") == [[*declared, "top.json"], [*declared, "runs/2.json", "top.json"]]
    assert shown("runs") == [["runs/1.json"], ["runs/1.json", "runs/2.json"]]
    assert shown("*/m.json", "top.json") == [["res/m.json", "top.json"]] * 2
    assert shown("any/x.json") == [["any/x.json"]] * 2
    assert shown("any") == shown("any/*") == [["any/x.json", "any/y.json"]] * 2
    assert shown("runs/2.json") == [[], ["runs/2.json"]]
    for nothing in ("nosuch", "res/nosuch.json", "*.txt"):
        with pytest.raises(UserError, match="is nowhere in HEAD, workspace"):
            shown(nothing)
    (one, _) = collected(repo, "HEAD", "", targets=("res/picture.png",))
    assert list(one.errors) == ["res/picture.png"]


def test_a_target_is_the_whole_file(repo: Repo) -> None:
    repo.write("vml.yaml", "stages: {s: {cmd: 'true', params: [{conf/c.yaml: [a]}]}}\n")
    repo.write("conf/c.yaml", "a: 1\nb: 2\n")
    assert files(repo, "", "params", "conf/c.yaml") == {"conf/c.yaml": {"a": 1, "b": 2}}
    assert files(repo, "", "params", "conf") == {"conf/c.yaml": {"a": 1}}


# --- What cannot be read ---------------------------------------------------------------------------------


def test_what_cannot_be_read_does_not_hide_the_rest(repo: Repo) -> None:
    bad = {
        "broken.json": b'{"a": 1', "binary.json": b"\x89PNG\0\xff", "binary.yaml": b"\x89PNG\0\xff",
        "twice.yaml": b"a: 1\na: 2\n", "broken.toml": b"= 1", "broken.py": b"def", "merge.yaml": b"<<<<<<< a\nb: 1",
        "deep.json": b"[" * 500 + b"]" * 500, "long.json": b'{"a": 1' + b"0" * 5000 + b"}",
        "surrogate.json": b'"\\ud800"',
    }  # fmt: skip
    repo.write("vml.yaml", f"metrics: [good.json, {', '.join(bad)}]")
    repo.write("good.json", '{"v": 1}')
    for path, raw in bad.items():
        repo.write(path, raw)
    repo.commit()
    for path in bad:
        repo.write(path, "")
        if path.endswith(".json"):
            repo.write(path, "{}")
    repo.write("good.json", '{"v": 2}')
    then, now = collected(repo, "HEAD", "")
    assert set(then.errors) == set(bad)
    assert not now.errors
    for path, error in then.errors.items():
        assert path in error.message
        assert error.hint
    assert [(row.file, row.old, row.new) for row in compare.rows(then, now)] == [("good.json", 1, 2)]


def test_a_file_that_is_too_large(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [good.json, large.json]")
    repo.write("good.json", '{"v": 1}')
    with (repo.path / "large.json").open("wb") as file:
        file.truncate(32_000_001)
    (found,) = collected(repo, "")
    assert "is larger than 32.0 MB" in found.errors["large.json"].message
    assert list(found.files) == ["good.json"]


def test_too_many_values(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcs_ml.metrics.flat.ROWS_MAX", 10)
    monkeypatch.setattr("vcs_ml.metrics.compare.VALUES_MAX", 15)
    repo.write("vml.yaml", "metrics: [a.json, b.json, c.json, d.json]")
    repo.write("a.json", str(list(range(11))))
    for path in ("b.json", "c.json", "d.json"):
        repo.write(path, str([[n] for n in range(9)]))
    (found,) = collected(repo, "")
    assert list(found.files) == ["b.json", "c.json"]
    assert found.errors["a.json"].message == "a.json has more than 10 values"
    assert found.errors["d.json"].message == "d.json was not read: those before it have more than 15 values"
    monkeypatch.setattr("vcs_ml.metrics.compare.BYTES_MAX", 30)
    (found,) = collected(repo, "")
    assert list(found.files) == []
    assert found.errors["b.json"].message == "b.json was not read: those before it have more than 30 B"


def test_a_name_with_dots_is_no_path(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [m.json]")
    repo.write("m.json", '{"a": {"b": 6}}')
    repo.commit()
    repo.write("m.json", '{"a.b": 5, "a": 6}')
    with reading(repo) as reader:
        found = compare.between(reader, (reader.at("HEAD"), reader.workspace()), "metrics")
    assert [(row.key, row.old, row.new) for row in found.rows] == [
        ('["a.b"]', compare.MISSING, 5), ("a", compare.MISSING, 6), ("a.b", 6, compare.MISSING),
    ]  # fmt: skip


def test_too_many_values_are_refused_before_they_are_parsed(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [m.json]\n")
    repo.write("m.json", "[" + "[]," * flat.ROWS_MAX + "]")  # no JSON, which nobody came to see
    (found,) = collected(repo, "")
    assert found.errors["m.json"].message == "m.json has more than 100,000 values"


NAMES = st.text("ab/*[]?", max_size=6).filter(lambda name: "//" not in name and name.strip("/") == name)


@given(st.lists(NAMES, max_size=4), NAMES.filter(bool))
def test_coverage_is_what_covers_says(asked: list[str], file: str) -> None:
    assert naming.coverage(asked)(file) == any(naming.covers(path, file) for path in asked)


def test_an_unreadable_directory_says_nothing_of_its_files(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [res, 'runs/*.json', other.json]")
    for path in ("res/a.json", "runs/1.json", "other.json"):
        repo.write(path, '{"v": 1}')
    repo.run("add", "res", "runs")
    repo.commit()
    clone = repo.clone("clone")
    for path in ("res/a.json", "runs/1.json"):
        clone.write(path, '{"v": 2}')
    clone.write("other.json", '{"v": 2}')
    then, now = collected(clone, "HEAD", "")
    assert set(then.errors) == {"res", "runs/*.json"}
    assert "--fetch" in (then.errors["res"].hint or "")
    assert [row.file for row in compare.rows(then, now)] == ["other.json"]
    assert set(now.files) == {"res/a.json", "runs/1.json", "other.json"}


def test_a_broken_vml_yaml(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [m.json]")
    repo.write("m.json", '{"v": 1}')
    repo.write("params.yaml", "a: 1")
    repo.commit()
    repo.write("vml.yaml", "stages: 5")
    repo.write("m.json", '{"v": 2}')
    then, now = collected(repo, "HEAD", "")
    assert not then.errors
    assert list(now.errors) == ["vml.yaml"]
    assert [(row.old, row.new) for row in compare.rows(then, now)] == [(1, 2)]
    assert [each.files for each in collected(repo, "HEAD", "", kind="params")] == [{"params.yaml": {"a": 1}}] * 2
    assert not collected(repo, "", targets=("m.json",))[0].errors


def test_what_a_vml_yaml_needs_cannot_be_read(repo: Repo) -> None:
    repo.write("vml.yaml", "vars: [x.yaml]\nmetrics: ['${file}']")
    repo.write("x.yaml", "file: m.json")
    repo.write("m.json", '{"v": 1}')
    first = repo.commit()
    (repo.path / "x.yaml").unlink()
    (repo.path / "x.yaml").symlink_to("m.json")
    second = repo.commit()
    repo.write("vml.yaml", "metrics: [m.json]")
    third = repo.commit()
    one, two, three = collected(repo, first, second, third)
    assert list(two.errors) == ["vml.yaml"]
    assert not one.errors
    assert not three.errors
    assert one.files == two.files == three.files == {"m.json": {"v": 1}}


def test_templates_are_resolved_at_their_own_revision(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: ['${name}.json']")
    repo.write("params.yaml", "name: a")
    for name in "ab":
        repo.write(f"{name}.json", f'{{"v": "{name}"}}')
    first = repo.commit()
    repo.write("params.yaml", "name: b")
    second = repo.commit()
    assert files(repo, first) == {"a.json": {"v": "a"}}
    assert files(repo, second) == {"b.json": {"v": "b"}}
    assert set(collected(repo, first, second, "")[0].files) == {"a.json", "b.json"}


def test_paths_out_of_the_project_are_told_and_not_read(repo: Repo) -> None:
    repo.path.with_name("x").mkdir()
    repo.path.with_name("x").joinpath("secret.yaml").write_text("hunter2: 1")
    repo.write("vml.yaml", f"metrics: [/etc/passwd, ../x/secret.yaml, ../x, '{repo.path.parent}/x/*']")
    repo.commit()
    for rev in ("HEAD", ""):
        (found,) = collected(repo, rev)
        assert not found.files
        assert len(found.errors) == 4
        assert all("leads out of the project" in error.message for error in found.errors.values())
        assert "hunter2" not in repr(found)
