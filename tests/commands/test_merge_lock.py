"""Lock files and .gitignore as Git merges them, with the driver and as plain text."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import merges, pipelines
from tests.conftest import Repo
from tests.merges import branch, conflicts, git
from vcs_ml import git as vml_git
from vcs_ml.hashing import XXH128
from vcs_ml.store import objects
from vcs_ml.workspace import gitignore, lockfile, merge_lock
from vcs_ml.workspace.item import Item
from vcs_ml.workspace.lockfile import Flags, LockFile, OutItem, StageRecord

STAGES = ("a", "b", "c")
PIPELINE = "stages:\n" + "".join(
    f"  {name}:\n    cmd: 'cat p.yaml {name}.in > {name}.out'\n    deps: [{name}.in]\n    outs: [{name}.out]\n"
    f"    params: [{{p.yaml: [{name}]}}]\n"
    for name in STAGES
)
# A key a line, and lines between them: as text, YAML merges no better than what stands in it.
PARAMS = "a: 1\n#\n#\n#\nb: 1\n#\n#\n#\nc: 1\n"


@pytest.fixture
def ready(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Repo:
    """Three stages that have run, committed."""
    monkeypatch.setenv("PATH", f"{merges.program(tmp_path / 'bin')}:{os.environ['PATH']}")
    pipelines.write(repo, PIPELINE, p_yaml=PARAMS)
    for name in STAGES:
        repo.write(f"{name}.in", name)
    repo.run("repro")
    repo.commit("ran")
    return repo


def lock(repo: Repo) -> dict[str, dict[str, object]]:
    found = json.loads(repo.read("vml.lock"))["stages"]
    assert isinstance(found, dict)
    return found


def change(repo: Repo, **values: int) -> None:
    """Change params of stages, and run them."""
    text = repo.read("p.yaml").decode()
    for name, value in values.items():
        text = "".join(f"{name}: {value}\n" if line[0] == name else line for line in text.splitlines(keepends=True))
    repo.write("p.yaml", text)
    repo.run("repro")


# --- Lock files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", [True, False])
@pytest.mark.parametrize(("ours", "theirs"), [*itertools.permutations(STAGES, 2)])
def test_different_stages_merge_also_as_text(ready: Repo, ours: str, theirs: str, driver: bool) -> None:
    if driver:
        merges.install(ready)
    with branch(ready, "topic"):
        change(ready, **{theirs: 2})
    change(ready, **{ours: 3})
    ready.commit("ours")
    mine = lock(ready)[ours]
    code, said = git(ready, "merge", "topic")
    assert code == 0, said
    found = lock(ready)
    assert found[ours] == mine
    assert found[theirs]["params"] == {"p.yaml": {theirs: 2}}
    assert not any("merged" in stage for stage in found.values())
    ready.run("checkout")
    assert pipelines.states(ready) == dict.fromkeys(STAGES, "skipped")


@pytest.mark.parametrize("name", ["aa", "d"])
def test_a_new_stage_beside_one_that_changed_merges_as_text(ready: Repo, name: str) -> None:
    with branch(ready, "topic"):
        ready.write("vml.yaml", PIPELINE + f"  {name}:\n    cmd: 'echo x > x.out'\n    outs: [x.out]\n")
        ready.write(".gitattributes", ".gitignore merge=union\n")
        ready.run("repro")
    change(ready, **{"b" if name == "aa" else "c": 3})
    ready.commit("ours")
    code, said = git(ready, "merge", "topic")
    assert code == 0, said
    ready.run("checkout")
    assert pipelines.states(ready) == dict.fromkeys([*STAGES, name], "skipped")


@pytest.mark.parametrize("driver", [True, False])
def test_two_changes_to_what_a_stage_reads_are_no_run_of_both(ready: Repo, driver: bool) -> None:
    """Both branches get the same output, and a run with both changes would not."""
    pipelines.write(
        ready,
        "stages:\n  s:\n    cmd: 'cat a.txt b.txt | tr -d 1 > c; grep -q 22 c && echo BOTH > out || echo const > out'\n"
        "    deps: [a.txt, b.txt]\n    outs: [out]\n",
    )
    ready.write("a.txt", "1")
    ready.write("b.txt", "1")
    ready.run("repro")
    ready.commit("s")
    if driver:
        merges.install(ready)
    with branch(ready, "topic"):
        ready.write("a.txt", "2")
        ready.run("repro")
    ready.write("b.txt", "2")
    ready.run("repro")
    ready.commit("ours")
    assert ready.read("out") == b"const\n"
    code, said = git(ready, "merge", "topic")
    assert code == (0 if driver else 1), said
    reason = "merged"
    if not driver:  # whoever keeps both sides' lines has a record that does not fit itself
        lines = ready.read("vml.lock").decode().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("<<<<<<<", "|||||||", "=======", ">>>>>>>"))]
        kept.pop(max(at for at, line in enumerate(kept) if '"check"' in line))
        ready.write("vml.lock", "".join(kept))
        reason = "edited"
    (shown,) = ready.json("status")["stages"]
    assert (shown["state"], shown["reasons"][0]["kind"]) == ("stale", reason)
    assert pipelines.states(ready) == {"s": "ran"}
    assert ready.read("out") == b"BOTH\n"
    assert not lockfile.parse(ready.read("vml.lock"), "vml.lock", XXH128).stages["s"].extra


def test_a_stage_that_both_changed_is_stale_until_it_runs(ready: Repo) -> None:
    merges.install(ready)
    with branch(ready, "topic"):
        ready.write("b.in", "theirs")
        change(ready, a=2)
    ready.write("b.in", "ours")
    change(ready, c=3)
    ready.commit("ours")
    mine = lock(ready)["b"]
    code, said = git(ready, "merge", "topic")
    assert code == 1  # b.in is Git's, and so is its conflict
    assert "vml.lock: stage b: both sides changed it: ours is kept" in said
    assert ready.git("ls-files", "-u", "--", "vml.lock") == ""
    assert lock(ready)["b"] == {**mine, "check": lock(ready)["b"]["check"], "merged": True}
    ready.write("b.in", "both")
    ready.commit("merged")
    ready.run("checkout")
    shown = ready.json("status")["stages"]
    assert [(each["name"], each["state"]) for each in shown] == [("b", "stale")]
    assert shown[0]["reasons"][0] == {"kind": "merged", "text": "both branches changed it"}
    assert pipelines.whys(ready, "--dry")["b"][0] == "both branches changed it"
    assert pipelines.states(ready) == {"a": "skipped", "b": "ran", "c": "skipped"}
    assert "merged" not in lock(ready)["b"]
    assert ready.read("b.out").endswith(b"both")


def test_ours_is_right_where_what_it_read_is_what_there_is(ready: Repo) -> None:
    merges.install(ready)
    with branch(ready, "topic"):
        ready.write("b.in", "theirs")
        ready.run("repro")
    ready.write("b.in", "ours")
    ready.run("repro")
    ready.commit("ours")
    git(ready, "merge", "topic")
    ready.git("checkout", "--ours", "b.in")
    ready.commit("merged")
    ready.run("checkout")
    assert lock(ready)["b"]["merged"] is True
    assert pipelines.states(ready)["b"] == "cached"  # our run of it has seen just this
    assert "merged" not in lock(ready)["b"]
    assert ready.json("status")["stages"] == []


def test_a_commit_of_the_stage_settles_it_too(ready: Repo) -> None:
    merges.install(ready)
    with branch(ready, "topic"):
        ready.write("b.in", "theirs")
        ready.run("repro")
    ready.write("b.in", "ours")
    ready.run("repro")
    ready.commit("ours")
    git(ready, "merge", "topic")
    ready.git("checkout", "--theirs", "b.in")
    ready.run("commit", "b")
    assert "merged" not in lock(ready)["b"]


def test_a_lock_file_with_markers(ready: Repo) -> None:
    with branch(ready, "topic"):
        ready.write("b.in", "theirs")
        change(ready, a=2)
    ready.write("b.in", "ours")
    ready.run("repro")
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 1
    assert "both modified: vml.lock" in ready.run("status", ok=False).out
    ready.run("checkout", "--merge", "vml.lock")
    assert lock(ready)["b"]["merged"] is True
    assert lock(ready)["a"]["params"] == {"p.yaml": {"a": 2}}
    assert git(ready, "checkout", "-m", "--", "vml.lock")[0] == 0
    said = ready.run("checkout", "--theirs", "vml.lock").err
    assert said.endswith("git add vml.lock\n")
    assert ready.read("vml.lock") == ready.git("show", ":3:vml.lock").encode()
    assert ready.read("b.out").endswith(b"theirs")
    assert conflicts(ready) == {"vml.lock": "settled"}


def test_a_stage_renamed_on_one_side_and_its_output_on_the_other(ready: Repo) -> None:
    """Both sides make `new.out` now, each by a stage of another name."""
    merges.install(ready)
    for side in ("theirs", "ours"):
        text = PIPELINE + f"  {side}:\n    cmd: 'echo {side} > new.out'\n    outs: [new.out]\n"
        if side == "theirs":
            with branch(ready, "topic"):
                ready.write("vml.yaml", text)
                ready.run("repro")
        else:
            ready.write("vml.yaml", text)
            ready.run("repro")
            ready.commit("ours")
    code, said = git(ready, "merge", "topic")
    assert code == 1  # vml.yaml
    assert "vml.lock: stage theirs: new.out is also an output of ours: it stays with that" in said
    assert set(lock(ready)) == {*STAGES, "ours"}
    ready.git("checkout", "--ours", "vml.yaml")
    ready.commit("merged")
    assert ready.json("status")["clean"]


HASHES = st.integers(0, 2).map(lambda n: objects.blob(bytes([n]) * 16))
OUTS = st.dictionaries(st.sampled_from(["x", "x/y", "z", "w"]), HASHES, min_size=1, max_size=2).filter(
    lambda outs: not {"x", "x/y"} <= outs.keys()
)


@st.composite
def locks(draw: st.DrawFn) -> LockFile:
    """A lock file of few stages, whose outputs do not overlap."""
    taken: set[str] = set()
    stages = {}
    for name in draw(st.sets(st.sampled_from(["s", "t", "u", "v"]))):
        outs = {path: oid for path, oid in draw(OUTS).items() if not taken & {path, "x" if path == "x/y" else "x/y"}}
        taken |= outs.keys()
        stages[name] = StageRecord(
            (draw(st.sampled_from(["one", "two"])),),
            outs={path: OutItem(oid, "file", 1, flags=Flags(cache=draw(st.booleans()))) for path, oid in outs.items()},
            deps={"dep": Item(draw(HASHES), "file", 1)},
            extra={"later": 1} if draw(st.booleans()) else {},
        )
    return LockFile("vml.lock", stages, {"note": draw(st.integers(0, 2))} if draw(st.booleans()) else {})


@settings(max_examples=300)
@given(st.none() | locks(), locks(), locks())
def test_any_merge_can_be_read_and_names_no_output_twice(
    base: LockFile | None, ours: LockFile, theirs: LockFile
) -> None:
    found, _ = merge_lock.merge(base, ours, theirs)
    assert lockfile.parse(lockfile.serialize(found, XXH128), "vml.lock", XXH128) == found
    before = base.stages if base else {}
    outs = [(path, name) for name, each in found.stages.items() for path, out in each.outs.items() if out.flags.cache]
    for (one, _), (other, _) in itertools.combinations(outs, 2):
        assert not f"{one}/".startswith(f"{other}/") and not f"{other}/".startswith(f"{one}/")
    for name in before.keys() | ours.stages.keys() | theirs.stages.keys():
        was, mine, other_side = before.get(name), ours.stages.get(name), theirs.stages.get(name)
        result = found.stages.get(name)
        if result is not None and result.is_merged:
            assert result.outs.items() <= (mine or other_side).outs.items()  # type: ignore[union-attr]
        elif other_side in (mine, was):
            assert result == mine
        elif mine == was and result is not None:
            assert result == other_side
        else:
            assert result is None  # dropped by a side, or all of its outputs are others'
    assert merge_lock.merge(base, ours, ours).lock == ours
    if base is not None:
        assert merge_lock.merge(base, ours, base).lock == ours


# --- .gitignore ------------------------------------------------------------------------------------------


def add(repo: Repo, *names: str) -> None:
    for name in names:
        repo.write(name, name)
    repo.run("add", *names)


def test_data_that_both_sides_added_is_ignored(ready: Repo) -> None:
    merges.install(ready)
    with branch(ready, "topic"):
        add(ready, "new-b", "new-d")
        ready.run("rm", "--cached", "new-d")
        ready.run("repro")
    add(ready, "new-a", "new-c")
    ready.commit("ours")
    code, said = git(ready, "merge", "topic")
    assert code == 0, said
    assert ready.read(".gitignore").decode().splitlines() == [
        "# >>> vml", "/a.out", "/b.out", "/c.out", "/new-a", "/new-b", "/new-c", "# <<< vml",
    ]  # fmt: skip


def test_a_block_beside_lines_of_people(ready: Repo) -> None:
    merges.install(ready)
    with branch(ready, "topic"):
        ready.write("sub/.gitignore", "*.theirs\n")
        add(ready, "sub/x")
    ready.write("sub/.gitignore", "*.ours\n")
    add(ready, "sub/y")
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 1  # what people wrote is theirs to settle
    text = ready.read("sub/.gitignore").decode()
    assert text.startswith("<<<<<<< ours\n*.ours\n=======\n*.theirs\n>>>>>>> theirs\n")
    assert text.endswith("# >>> vml\n/x\n/y\n# <<< vml\n")
    ready.write("sub/.gitignore", text.replace("<<<<<<< ours\n", "").replace("=======\n", ""))
    assert git(ready, "check-ignore", "sub/x", "sub/y")[1] == "sub/x\nsub/y\n"


def test_gitignore_merged_again_where_no_driver_was(ready: Repo) -> None:
    with branch(ready, "topic"):
        add(ready, "new-b")
    add(ready, "new-a")
    ready.commit("ours")
    assert git(ready, "merge", "topic")[0] == 1
    assert b"<<<<<<<" in ready.read(".gitignore")
    assert "vml checkout --merge FILE merges them)\n\tboth modified: .gitignore\n" in ready.run("status").out
    assert ready.json("status")["conflicts"][0]["path"] == ".gitignore"
    said = ready.run("checkout", "--merge", ".").err
    assert ".gitignore: merged\n" in said
    assert said.endswith("git add .gitignore\n")
    assert b"/new-a\n/new-b\n" in ready.read(".gitignore")
    assert b"<<<<<<<" not in ready.read(".gitignore")
    assert not conflicts(ready)


LINES = st.lists(st.sampled_from(["*.log", "tmp", "", "# note", "/own"]), max_size=4)
NAMES = st.sets(st.sampled_from(["a", "b", "c", "d e", "ä"]), max_size=4)
TEXTS = st.tuples(LINES, NAMES, LINES, st.booleans())


def text_of(before: list[str], names: set[str], after: list[str], crlf: bool) -> str:
    text = "".join(f"{line}\n" for line in before)
    text = gitignore.with_entries(text, names, set()) + "".join(f"{line}\n" for line in after)
    return text.replace("\n", "\r\n") if crlf else text


@settings(max_examples=60)
@given(TEXTS, NAMES, NAMES)
def test_entries_are_merged_as_sets(
    tmp_path_factory: pytest.TempPathFactory,
    text: tuple[list[str], set[str], list[str], bool],
    one: set[str],
    two: set[str],
) -> None:
    place = tmp_path_factory.mktemp("merge")
    before, names, after, crlf = text

    def merge_texts(*texts: str) -> tuple[str, int]:
        raw, count = vml_git.merge_file(*(each.encode() for each in texts), scratch=place)
        return raw.decode(), count

    base, ours, theirs = (text_of(before, each, after, crlf) for each in (names, one, two))
    merged, left = gitignore.merge(base, ours, theirs, merge_texts)
    wanted = (one | (two - names)) - (names - two)
    assert left == 0
    found = {line.rstrip("\r") for line in merged.split("\n") if line.startswith("/") and line.rstrip("\r") != "/own"}
    assert found == {gitignore.escape(name) for name in wanted}
    people = [
        line.rstrip("\r") for line in merged.split("\n") if line.rstrip("\r") in (*before, *after) and line.strip()
    ]
    assert people == [line for line in (*before, *after) if line]


@pytest.mark.parametrize("how", ["exit 1", "exit 127", "kill -9 $$"])
def test_a_param_called_conflicts_is_no_sign_of_a_merge(ready: Repo, how: str) -> None:
    pipelines.write(ready, PIPELINE.replace("p.yaml: [a]", "p.yaml: [a, conflicts]"), p_yaml=PARAMS + "conflicts: 1\n")
    ready.run("repro")
    merges.install(ready)
    with branch(ready, "topic"):
        change(ready, a=2)
    change(ready, a=3)
    ready.commit("ours")
    place = Path(shutil.which("vml") or "")
    place.write_text(f"#!/bin/sh\n{how}\n")
    assert git(ready, "merge", "topic")[0] == 1
    assert b"<<<<<<< ours" in ready.read("vml.lock")
    ready.git("add", "-A")
    assert "conflict markers" in ready.fails("hook", "validate", code=1).err
