"""The run cache: entries on the disk, which of them count, what gc leaves of them, and the way over a remote."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.conftest import Repo
from tests.pipelines import lock, states, write
from tests.stages import project_of
from vcs_ml.hashing import XXH128
from vcs_ml.pipeline import run_cache, shared_runs
from vcs_ml.pipeline.run_cache import Entry
from vcs_ml.pipeline.stage import Out, Stage
from vcs_ml.store import objects
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import opening
from vcs_ml.workspace.item import Item

KEY = "0123456789abcdef" * 4
ONE = """
    stages:
      a: {cmd: cp in out && echo a >> .ran, deps: [in], outs: [out]}
"""

items = some.builds(
    lambda digest, size, kind: Item(objects.blob(digest), kind, size),
    some.binary(min_size=16, max_size=16),
    some.integers(0, 1 << 40),
    some.sampled_from(["file", "executable"]),
)
names = some.text(some.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
entries = some.builds(
    Entry,
    some.dictionaries(
        names.filter(lambda name: name not in (".", "..") and not name.startswith(".")), items, max_size=4
    ),
    some.text(some.characters(exclude_categories=("Cs",)), max_size=10),
    some.none() | some.frozensets(names, max_size=3),
)


def store_of(repo: Repo) -> LocalStore:
    return opening.open_store(project_of(repo))


def item_of(data: bytes) -> Item:
    return Item(objects.blob(XXH128.digest(data)), "file", len(data))


@given(entry=entries)
def test_entries_are_read_as_they_were_written(entry: Entry) -> None:
    assert run_cache.parse(run_cache.serialize("train", entry, XXH128), XXH128) == entry


@given(raw=some.binary(max_size=200) | some.text(some.sampled_from('{}[]":,outsschema1project/. '), max_size=60))
def test_anything_else_is_none(raw: bytes | str) -> None:
    assert run_cache.parse(raw.encode() if isinstance(raw, str) else raw, XXH128) is None


def test_paths_that_lead_elsewhere_are_none() -> None:
    for path in ("../x", "/x", ".git/hooks/x", "a//b", ".vml/config.toml"):
        raw = run_cache.serialize("a", Entry({path: item_of(b"")}, "p"), XXH128)
        assert run_cache.parse(raw, XXH128) is None


def test_names_that_git_or_vml_go_by_and_files_that_are_directories_are_none() -> None:
    control = [".gitignore", ".gitattributes", ".gitmodules", ".vmlignore", "vml.yaml", "vml.lock", "x.vml"]
    for names in (*([f"o/{name}"] for name in control), ["o/vml.yaml/x"], ["vml.lock"], ["o/x", "o/x/y"]):
        raw = run_cache.serialize("a", Entry(dict.fromkeys(names, item_of(b"")), "p"), XXH128)
        assert run_cache.parse(raw, XXH128) is None


def test_an_entry_that_lies_is_passed_over(repo: Repo) -> None:
    write(
        repo, "stages: {a: {cmd: mkdir d && cp in d/x && cp in m, deps: [in], outs: [d], metrics: [m: {cache: false}]}}"
    )
    repo.write("in", "1")
    states(repo)
    (path,) = (repo.path / ".vml/cache/runs").rglob("*.json")
    entry = json.loads(path.read_bytes())
    d, m = entry["outs"]["d"], entry["outs"]["m"]

    def state(outs: dict[str, object]) -> str:
        raw = json.dumps({**entry, "outs": outs}).encode()
        for each in path.parent.iterdir():
            each.unlink()
        path.with_name(f"{path.name.partition('-')[0]}-{run_cache.name_of(raw)}.json").write_bytes(raw)
        (repo.path / "vml.lock").unlink()
        (repo.path / "m").unlink()
        return states(repo)["a"]

    assert state({"d": d, "m": m}) == "cached"
    assert state({"d": d, "m": {**m, "size": 99}}) == "ran"
    assert state({"d": {**d, "nfiles": 99}, "m": m}) == "ran"
    assert state({"d": d, "m": d}) == "ran"  # the list of files is not what Git should have


def test_what_a_pattern_stands_for_is_no_directory() -> None:
    stage = Stage("vml.yaml", "a", ("x",), outs=(Out("d/*", is_glob=True),))
    assert run_cache.fits(stage, {"d/x": item_of(b"1")})
    assert not run_cache.fits(stage, {"d/x": item_of(b"1")._replace(kind="tree")})


def test_the_key_is_made_of_outputs_too() -> None:
    stage = Stage("vml.yaml", "a", ("x",), outs=(Out("a"), Out("b")))
    assert run_cache.key(stage, KEY) == run_cache.key(stage._replace(outs=stage.outs[::-1], name="other"), KEY)
    assert run_cache.key(stage, KEY) != run_cache.key(stage._replace(outs=(Out("a"),)), KEY)
    assert run_cache.key(stage, KEY) != run_cache.key(stage._replace(outs=(Out("a"), Out("b", cache=False))), KEY)


def test_only_what_fits_the_stage_counts_and_the_newest_first(repo: Repo) -> None:
    store = store_of(repo)
    stage = Stage("vml.yaml", "a", ("x",), outs=(Out("a"), Out("d/*", is_glob=True)))
    good = [{"a": item_of(b"1"), "d/x": item_of(b"2")}, {"a": item_of(b"3"), "d/y": item_of(b"4")}]
    bad = [{"a": item_of(b"1")}, {"d/x": item_of(b"1")}, {**good[0], "more.txt": item_of(b"5")}]
    for outs in (*good, *bad):
        run_cache.put(store, KEY, stage, Entry(outs, "p"))
    for n, path in enumerate(sorted((store.directory / "runs").rglob("*.json"))):
        entry = run_cache.read(path, XXH128)
        assert entry is not None
        os.utime(path, (n, 1000 if entry.outs == good[1] else 1))
    assert list(run_cache.find(store, KEY, stage)) == [good[1], good[0]]


def test_damaged_entries_are_passed_over(repo: Repo) -> None:
    write(repo, ONE)
    repo.write("in", "1")
    states(repo)
    (path,) = (repo.path / ".vml/cache/runs").rglob("*.json")
    raw = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(raw.replace(b'"out"', b'"uot"'))
    assert run_cache.read(path, XXH128) is None
    (repo.path / "vml.lock").unlink()
    assert states(repo) == {"a": "ran"}


@pytest.mark.parametrize("what", ["a file", "the list of files", "a list of which nothing is remembered"])
def test_what_is_damaged_in_the_store_is_made_anew(repo: Repo, what: str) -> None:
    write(repo, "stages: {a: {cmd: mkdir o && cp in o/f, deps: [in], outs: [o]}}", **{"in": "1"})
    states(repo)
    store = store_of(repo)
    tree = objects.parse_hash(lock(repo)["a"]["outs"]["o"]["hash"], store.algorithm, source="")
    repo.write("in", "2")
    states(repo)
    repo.write("in", "1")
    damaged = store.loose_path(item_of(b"1").oid if what == "a file" else tree)
    damaged.chmod(0o644)
    damaged.write_bytes(b"9")
    if "remembered" in what:
        shutil.rmtree(store.directory / "complete")
        assert states(repo, "--dry") == {"a": "would run"}
    err = repo.run("repro").err
    assert "a: not from the store: " in err
    assert "(vml fsck --repair brings back what is damaged" in err
    assert "a: running (in: changed)" in err
    assert repo.read("o/f") == b"1"
    assert repo.json("fsck")["clean"]


def test_gc_takes_entries_whose_outputs_are_gone(repo: Repo) -> None:
    write(repo, ONE)
    for text in ("1", "2"):
        repo.write("in", text)
        states(repo)
    repo.commit()
    assert len(list((repo.path / ".vml/cache/runs").rglob("*.json"))) == 2
    repo.run("gc", "--force")
    assert len(list((repo.path / ".vml/cache/runs").rglob("*.json"))) == 2  # no remote has what the first one made
    repo.run("gc", "--force", "--include-unpushed")
    (left,) = (repo.path / ".vml/cache/runs").rglob("*.json")
    assert (entry := run_cache.read(left, XXH128)) is not None
    assert entry.outs == {"out": item_of(b"2")}
    repo.write("in", "1")
    assert states(repo) == {"a": "ran"}
    assert repo.json("fsck")["clean"]


def test_a_miss_where_the_outputs_are_nowhere(repo: Repo) -> None:
    write(repo, ONE)
    repo.write("in", "1")
    states(repo)
    for path in (repo.path / ".vml/cache/loose").glob("*/*/*"):
        path.unlink()
    (repo.path / "out").unlink()
    assert states(repo) == {"a": "ran"}


# ---------------------------------------------------------------------- over a remote


def test_runs_of_others_are_fetched(repo: Repo, remote: Path) -> None:
    write(repo, ONE)
    repo.write("in", "1")
    states(repo)
    repo.write("in", "2")
    states(repo)
    repo.write(".gitignore", repo.read(".gitignore") + b".ran\n")
    repo.commit()
    assert "run cache: 2 runs new there" in repo.run("push", "--run-cache").err
    assert "run cache" not in repo.run("push", "--run-cache").err
    there = repo.clone("clone")
    assert there.json("pull", "--run-cache")["runs"] == 2
    assert there.json("fetch", "--run-cache")["runs"] == 0
    assert states(there) == {"a": "skipped"}
    there.write("in", "1")
    assert states(there, "--dry") == {"a": "would run"}
    assert states(there, "--pull") == {"a": "cached"}
    assert there.read("out") == b"1"
    assert not (there.path / ".ran").exists()
    assert there.run("fsck", "--remote").code == 0
    other = repo.clone("other")
    other.run("pull", "--run-cache")
    other.write("in", "1")
    assert "vml repro --pull may bring it" in other.run("repro").err
    assert (other.path / ".ran").exists()


def test_what_stays_here_stays(repo: Repo, remote: Path) -> None:
    write(repo, ONE.replace("outs: [out]", "outs: [{out: {push: false}}]"))
    repo.write("in", "1")
    states(repo)
    repo.run("push", "--run-cache")
    assert not (remote / "runs").exists()
    write(repo, ONE.replace("outs: [out]", "outs: [{out: {remote: else}}]"))
    states(repo, "--force")
    repo.run("push", "--run-cache")
    assert not (remote / "runs").exists()


def test_many_bundles_become_few(repo: Repo, remote: Path) -> None:
    write(repo, ONE)
    repo.write("in", "1")
    states(repo)
    repo.run("push", "--run-cache")
    project = project_of(repo)
    there = opening.remote_at(project, project.remote())
    stage = Stage("vml.yaml", "b", ("x",), outs=(Out("b"),))
    for n in range(shared_runs.MANY + 3):
        raw = run_cache.serialize(stage.address, Entry({"b": item_of(b"%d" % n)}, project.id), XXH128)
        assert shared_runs.push(there, {(KEY, run_cache.name_of(raw)): raw}) == 1
    assert len(list((remote / "runs").iterdir())) < shared_runs.MANY
    clone = repo.clone("clone")
    clone.run("remote", "add", "-d", "origin", str(remote), ok=False)
    assert shared_runs.fetch(store_of(clone), there) == shared_runs.MANY + 4
