"""`vml hook validate`: everything that is wrong with what is staged is told, each with its place and a hint."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Repo
from tests.hooked import PIPELINE, change, git
from vcs_ml import git as vgit
from vcs_ml.hooks import overlaps
from vcs_ml.hooks.overlaps import Claim
from vcs_ml.hooks.staged import Staged

HASH = f"xxh128:{'0' * 32}"


def problems(repo: Repo, *files: str, code: int = 1) -> list[str]:
    """What is told, without the last line, which counts them."""
    result = repo.run("hook", "validate", *files, ok=False)
    assert result.code == code, result
    assert "Traceback" not in result.err
    said = re.findall(r"^error: (.*)\n(hint: .+)$", result.err, re.MULTILINE)
    assert len(said) == len(re.findall("^error: ", result.err, re.MULTILINE)), result.err
    if code == 0:
        assert not said
        return []
    *found, (last, hint) = [(message, hint) for message, hint in said]
    assert last == f"{len(found)} problem{'s' * (len(found) != 1)} in what is staged"
    assert hint == "hint: VML_SKIP_HOOKS=validate git commit goes past this"
    return [message for message, _ in found]


def hints(repo: Repo) -> list[str]:
    return re.findall(r"^hint: (.*)$", repo.run("hook", "validate", ok=False).err, re.MULTILINE)[:-1]


@pytest.fixture
def data(repo: Repo) -> Repo:
    """A project with data that is committed."""
    repo.write("data/a", "1")
    repo.write("table.csv", "1")
    repo.run("add", "data", "table.csv")
    repo.commit()
    return repo


@pytest.fixture
def stages(repo: Repo) -> Repo:
    """A project with a stage that ran, committed."""
    repo.write("vml.yaml", PIPELINE)
    repo.write("in.txt", "1")
    repo.run("repro")
    repo.commit()
    return repo


# ---------------------------------------------------------------------- pointers


def test_nothing_is_said_of_what_is_right(data: Repo, stages: Repo) -> None:
    assert "vml: 0 files of vml valid" in data.run("hook", "validate", "in.txt").err
    data.write("data/b", "2")
    data.run("add", "data")
    data.git("add", "-A")

    assert data.run("hook", "validate").err == "vml: 1 file of vml valid\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "data.vml:1: not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "data.vml: it is not a JSON object"),
        ('{"schema": 99}', "data.vml: it was written by a newer vml (schema 99, this one reads 1)"),
        ('{\n"schema": 1,\n"size": 1,\n"size": 2}', "data.vml: not valid JSON: the key 'size' stands there twice"),
        ('{"schema": 1, "path": "other"}', "data.vml: its path is 'other', but beside it lies 'data'"),
        ('{"schema": 1, "path": "data", "hash": "md5:00"}', "data.vml: 'md5:00' is not a hash"),
        (
            f'{{"schema": 1, "path": "data", "kind": "file", "hash": "sha256:{"0" * 64}", "size": 1}}',
            f"data.vml: the hash 'sha256:{'0' * 64}' is sha256, but this project uses xxh128",
        ),
        (
            f'{{"schema": 1, "path": "data", "kind": "tree", "hash": "{HASH}", "size": 1}}',
            f"data.vml: its kind is tree, but its hash is '{HASH}'",
        ),
        ("{\n<<<<<<< HEAD\n}\n", "data.vml:2: it has conflict markers from a merge"),
    ],
)
def test_a_pointer_that_cannot_be_read(data: Repo, content: str, said: str) -> None:
    data.write("data.vml", content)
    data.git("add", "-A")
    data.git("checkout", "-q", "HEAD", "--", ".vml")  # nothing else differs

    assert problems(data) == [said]


def test_names_that_are_no_files_of_git(data: Repo) -> None:
    assert "--all is no option, and no file in Git's index" in data.fails("hook", "validate", "--all", code=2).err
    assert "no-such.vml is not in Git's index" in data.run("hook", "validate", "no-such.vml").err


def test_what_lies_in_the_workspace_does_not_count(data: Repo) -> None:
    good = data.read("data.vml")
    data.write("data.vml", "broken")
    assert problems(data, "data.vml", code=0) == []

    data.git("add", "-A")
    data.write("data.vml", good)
    assert problems(data) == ["data.vml:1: not valid JSON: Expecting value: line 1 column 1 (char 0)"]
    assert problems(data, "table.csv.vml") == problems(data)


def test_all_problems_are_told_and_their_hints_work(data: Repo) -> None:
    change(data, "data.vml", lambda content: content.update(size=-1))
    data.write("new.vml", "{}")
    data.write("table.csv.vml", "{}")
    data.git("add", "-A")

    assert problems(data) == [
        "data.vml: its size '-1' is not a whole number from 0 to 2^63",
        "new.vml: it is not a vml pointer: it has no schema",
        "table.csv.vml: it is not a vml pointer: it has no schema",
    ]
    for hint in hints(data):
        subprocess.run(["bash", "-ec", re.split(" brings | removes ", hint)[0]], cwd=data.path, check=True)
    assert problems(data, code=0) == []


def test_conflicts_that_are_not_settled(data: Repo) -> None:
    theirs = f"tree:sha256:{'1' * 64}"
    left = {"base": None, "kind": "tree", "nfiles": 1, "paths": {"a": "both added"}, "size": 1, "theirs": theirs}
    change(data, "data.vml", lambda content: content.update(conflicts=left))

    assert problems(data) == ["data.vml:2: a merge left conflicts in it: data/a both added"]
    assert hints(data)[0].startswith("vml checkout --ours data (or --theirs) settles it")


def test_markers_that_were_staged_in_a_merge_can_be_merged_again(data: Repo) -> None:
    data.git("checkout", "-qb", "other")
    data.write("data/a", "22")
    data.run("add", "data")
    data.commit()
    data.git("checkout", "-q", "main")
    data.write("data/a", "333")
    data.run("add", "data")
    data.commit()
    assert git(data, "merge", "other", ok=False).code == 1
    data.git("add", "data.vml")

    assert problems(data)[0].endswith("it has conflict markers from a merge")
    again, merge = hints(data)[0].removesuffix(" merges it").split(" && ")
    data.git(*again.split()[1:])
    data.run(*merge.split()[1:])
    data.git("add", "data.vml")
    assert problems(data) == ["data.vml:2: a merge left conflicts in it: data/a both modified"]
    data.run("checkout", "--ours", "data")
    data.git("add", "data.vml")
    assert problems(data, code=0) == []


def test_files_of_that_name_that_are_not_ours(repo: Repo, tmp_path: Path) -> None:
    other = repo.beside("other")
    subprocess.run(["git", "init", "-q", str(other.path)], check=True)
    other.write("drawing.vml", "<v:rect/>")  # Vector Markup Language
    other.git("add", "-A")

    assert other.run("hook", "validate").code == 0


def test_a_project_that_is_not_in_git(repo: Repo) -> None:
    new = repo.beside("new")
    subprocess.run(["git", "init", "-q", str(new.path)], check=True)
    new.run("init")
    new.write("data/a", "1")
    new.run("add", "data")
    new.git("add", "data.vml", ".gitignore")

    assert problems(new) == [".vml/config.toml: it is not in Git, so that in a clone data.vml will mean nothing"]
    assert hints(new) == ["git add .vml/config.toml .vml/.gitignore adds the project"]
    new.git("add", ".vml/config.toml", ".vml/.gitignore")
    assert problems(new, code=0) == []


def test_markers_that_were_committed(data: Repo) -> None:
    data.write("data.vml", "{\n<<<<<<< HEAD\n}\n")
    data.git("commit", "-qam", "markers")
    assert problems(data) == ["data.vml:2: it has conflict markers from a merge"]
    assert hints(data) == ["vml checkout --merge data.vml says where its versions are, for it was committed like this"]
    refused = data.fails("checkout", "--merge", "data.vml", code=3).err
    assert "git checkout HEAD^1 -- data.vml" in refused.replace(
        data.git("rev-parse", "--short", "HEAD").strip(), "HEAD"
    )


# ---------------------------------------------------------------------- what is claimed twice


def test_data_that_git_has_too(data: Repo) -> None:
    data.git("add", "-f", "data/a", "table.csv")

    assert problems(data) == [
        "data.vml: data is tracked here, and Git has 1 file of it (data/a), too",
        "table.csv.vml: table.csv is tracked here, and Git has it, too",
    ]
    for hint in hints(data):
        subprocess.run(["bash", "-ec", hint.removesuffix(" leaves it to vml")], cwd=data.path, check=True)
    assert problems(data, code=0) == []


def test_a_new_pointer_for_what_git_has(repo: Repo) -> None:
    for i in range(5):
        repo.write(f"data/{i}", "1")
    repo.commit()
    repo.write("data.vml", json.dumps({"schema": 1, "path": "data", "kind": "file", "hash": HASH, "size": 1}))
    repo.git("add", "data.vml")

    assert problems(repo) == [
        "data.vml: data is tracked here, and Git has 5 files of it (data/0, data/1, data/2, ...), too"
    ]
    assert hints(repo) == ["git rm -r -q --cached data && vml add data leaves it to vml"]


def test_a_pointer_inside_of_what_another_tracks(data: Repo) -> None:
    data.git("rm", "-q", "--cached", "data.vml")
    data.git("commit", "-qm", "apart")
    pointer = data.read("table.csv.vml").decode().replace("table.csv", "a")
    data.write("data/a.vml", pointer)
    data.git("add", "-f", "data/a.vml")
    data.git("commit", "-qm", "inner")
    data.git("add", "data.vml")

    assert problems(data) == ["data/a.vml: data/a lies in data, which is tracked by itself (data.vml)"]
    assert hints(data) == ["git rm --cached data/a.vml leaves it to data.vml"]


def test_outputs_and_pointers(stages: Repo) -> None:
    pointer = {"schema": 1, "path": "model.pkl", "kind": "file", "hash": HASH, "size": 1}
    stages.write("model.pkl.vml", json.dumps(pointer))
    stages.git("add", "-f", "model.pkl.vml", "model.pkl")

    found = problems(stages)

    assert "model.pkl.vml: model.pkl is tracked a second time as the output of train (vml.lock)" in found
    line = stages.read("vml.lock").decode().splitlines().index('        "model.pkl": {') + 1
    assert f"vml.lock:{line}: model.pkl, the output of train, is tracked here, and Git has it, too" in found
    assert "vml rm --cached model.pkl ends tracking it by itself" in hints(stages)


parts = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
TWICE = re.compile(
    r"(\S+?)(?:, the output of \S+,)? (?:lies in (\S+), which is tracked|is tracked a second time) .*\((\S+)\)"
)
IN_GIT = re.compile(r"(\S+?)(?:, the output of \S+,)? is tracked here, and Git has .*")


@settings(max_examples=100)
@given(st.data())
def test_what_is_claimed_twice_is_what_comparing_all_pairs_finds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    pointers = [Claim(path, f"{path}.vml") for path in data.draw(st.sets(parts, max_size=4))]
    outs = [
        Claim(path, lock, f"of-{lock}")
        for path, lock in data.draw(st.sets(st.tuples(parts, st.sampled_from(["vml.lock", "c/vml.lock"])), max_size=4))
    ]
    files = data.draw(st.sets(parts.map(lambda path: f"{path}.txt"), max_size=3))
    claims = [*pointers, *outs]
    known = {*files, *(each.source for each in pointers)}
    checked = data.draw(st.sets(st.sampled_from(sorted({*known, "vml.lock", "c/vml.lock"}))))
    top = tmp_path_factory.mktemp("index")
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    lines = "".join(f"100644 {'1' * 40}\t{path}\n" for path in known)
    subprocess.run(["git", "update-index", "--add", "--index-info"], cwd=top, input=lines.encode(), check=True)
    root = vgit.root(top)
    assert root is not None

    with Staged(root, {}) as staged:
        problems = list(overlaps.find(staged, "", checked, outs))

    def above(path: str) -> list[Claim]:
        """The claims for the nearest directory around a path."""
        around = [each for each in claims if path.startswith(f"{each.path}/")]
        depth = max((len(each.path) for each in around), default=0)
        return [each for each in around if len(each.path) == depth]

    twice = set()
    for one in claims:
        for other in claims:
            same = one.path == other.path and one != other
            if (same and {one.source, other.source} & checked) or (
                one.path.startswith(f"{other.path}/")
                and (other.source in checked or (one.source in checked and other in above(one.path)))
            ):
                twice.add(frozenset([one[:2], other[:2]]))
    in_git = {
        each[:2]
        for each in claims
        for path in files
        if path.startswith(f"{each.path}/") and (each.source in checked or (path in checked and each in above(path)))
    }

    told = [(each.path, TWICE.fullmatch(each.what)) for each in problems]
    found = {frozenset([(m[1], source), (m[2] or m[1], m[3])]) for source, m in told if m}
    assert found == twice
    assert {(m[1], each.path) for each in problems if (m := IN_GIT.fullmatch(each.what))} == in_git
    assert len(problems) == len(twice) + len(in_git)


# ---------------------------------------------------------------------- stages


def test_every_stage_of_a_lock_file_is_told_with_its_line(stages: Repo) -> None:
    def edit(lock: dict[str, Any]) -> None:
        lock["stages"]["other"] = {"cmd": 1}
        lock["stages"]["train"]["outs"]["model.pkl"]["size"] = "x"

    change(stages, "vml.lock", edit)

    assert problems(stages) == [
        "vml.lock:4: stage 'other': its cmd is not a list of texts",
        "vml.lock:7: stage 'train', out 'model.pkl': its size 'x' is not a whole number from 0 to 2^63",
    ]


def test_a_vml_yaml_that_cannot_be_read(stages: Repo) -> None:
    stages.write("vml.yaml", PIPELINE + "    outputs: [x]\n")
    stages.write("sub/vml.yaml", "stages: [")
    stages.git("add", "-A")

    first, second = problems(stages)
    assert first.startswith("sub/vml.yaml:2: this is not YAML")
    assert second == "vml.yaml:6: stages.train.outputs: unknown key"


def test_a_file_of_values_that_templates_read(stages: Repo) -> None:
    stages.write("params.yaml", "name: model\n")
    stages.write("vml.yaml", PIPELINE.replace("[model.pkl]", "['${name}.pkl']"))
    stages.git("add", "-A")
    assert problems(stages, code=0) == []
    stages.git("commit", "-qm", "template")
    stages.write("params.yaml", "names: model\n")
    assert problems(stages, "in.txt", code=0) == []
    stages.git("add", "-A")

    assert (
        problems(stages) == ["vml.yaml:5: stages.train.outs[0]: there is no value for name"]
        or "name" in problems(stages)[0]
    )


def test_stages_that_the_lock_file_has_and_vml_yaml_has_not(stages: Repo) -> None:
    stages.write("vml.yaml", PIPELINE.replace("train", "fit"))
    stages.git("add", "-A")

    assert problems(stages) == ["vml.lock:4: stage train: vml.yaml has no such stage"]
    assert hints(stages) == ["vml repro && git add vml.lock makes the two agree"]
    stages.run("repro")
    stages.git("add", "-A")
    assert problems(stages, code=0) == []

    stages.git("commit", "-qm", "renamed")
    stages.write("vml.yaml", "stages: {}\n")
    stages.git("add", "-A")
    assert hints(stages) == ["vml rm --cached model.pkl && git add vml.lock makes the two agree"]
    stages.run("rm", "--cached", "model.pkl")
    stages.git("add", "-A")
    assert problems(stages, code=0) == []


@pytest.mark.parametrize(
    ("outs", "said"),
    [
        ("[other.pkl]", "it made model.pkl, which vml.yaml does not name"),
        ("[model.pkl, other.pkl]", "it has not made other.pkl, which vml.yaml names"),
        ("[model.pkl: {cache: false}]", "model.pkl was the store's, and vml.yaml says otherwise"),
    ],
)
def test_outputs_that_differ(stages: Repo, outs: str, said: str) -> None:
    stages.write("vml.yaml", PIPELINE.replace("[model.pkl]", outs))
    stages.git("add", "-A")

    assert problems(stages) == [f"vml.lock:4: stage train: {said}"]


def test_patterns_stand_for_what_they_match(stages: Repo) -> None:
    stages.write("vml.yaml", PIPELINE.replace("[model.pkl]", "['*.pkl']"))
    stages.git("add", "-A")

    assert problems(stages, code=0) == []


def test_a_lock_file_that_is_left_behind(stages: Repo) -> None:
    stages.git("rm", "-q", "vml.yaml")

    assert problems(stages) == ["vml.lock:4: stage train: vml.yaml has no such stage"]


# ---------------------------------------------------------------------- settings and projects


def test_settings(data: Repo) -> None:
    text = data.read(".vml/config.toml").decode()
    data.write(".vml/config.toml", text.replace("xxh128", "blake3") + "[transfer]\njobs = 0\n[core2]\nx = 1\n")
    data.git("add", "-A")

    found = problems(data)

    assert ".vml/config.toml:4: core.hash was xxh128, and is fixed when the project is made" in found
    assert ".vml/config.toml:6: transfer.jobs = 0 is not a whole number from 1 on" in found
    assert ".vml/config.toml:8: unknown setting 'core2.x'" in found
    data.write(".vml/config.toml", text + "<<<<<<< HEAD\n")
    data.git("add", "-A")
    (only,) = problems(data)
    assert only.startswith(".vml/config.toml:5: not valid TOML")


def test_each_project_of_a_repository_is_looked_at_by_itself(data: Repo) -> None:
    inner = data.beside("repo/sub/inner")
    inner.path.mkdir(parents=True)
    inner.run("init", "--hash", "sha256")
    inner.write("data/a", "1")
    inner.run("add", "data")
    data.git("add", "-A")
    assert problems(data, code=0) == []

    for path in ("data.vml", "sub/inner/data.vml"):
        change(data, path, lambda content: content.update(size=-1))
    assert [each.partition(":")[0] for each in problems(data)] == ["data.vml", "sub/inner/data.vml"]
    assert "vml -C sub/inner add data then records what is there" in hints(data)[1]


def test_in_ci_everything_is_looked_at(data: Repo) -> None:
    change(data, "data.vml", lambda content: content.update(size=-1))
    data.git("commit", "-qm", "broken")

    assert problems(data) == ["data.vml: its size '-1' is not a whole number from 0 to 2^63"]
    data.write("README", "")
    data.git("add", "-A")
    assert problems(data, code=0) == []


def test_pointers_that_are_not_staged_are_not_read(data: Repo) -> None:
    oid = data.git("rev-parse", "HEAD:data.vml").strip()
    data.write("README", "")
    data.write("data/b", "2")
    data.run("add", "data")
    data.git("add", "-A")
    (data.path / ".git/objects" / oid[:2] / oid[2:]).unlink()

    assert problems(data, code=0) == []
