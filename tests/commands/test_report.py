"""`vml report`, as a reviewer and a CI system run it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import pipelines
from tests.conftest import Repo
from tests.plots.charts import png

GOLDEN = Path(__file__).parents[1] / "report" / "golden.md"

YAML = """
stages:
  prepare:
    cmd: mkdir -p clean && cat raw/* > clean/all
    deps: [raw]
    outs: [clean]
  train:
    cmd: cat clean/all params.yaml train.sh > model && sh train.sh
    deps: [clean, train.sh]
    params: [rate, layers]
    outs: [model]
    metrics:
      - eval.json: {cache: false}
    plots:
      - loss.csv: {x: step, y: loss, cache: false}
gates:
  eval.json:accuracy: {better: higher, min: 0.8, max_drop: 2%}
  eval.json:loss: {better: lower}
  eval.json:f1: {min: 0.5, required: false}
"""
TRAIN = """
if grep -q 'rate: 0.05' params.yaml; then a=0.85; l=0.05; else a=0.9; l=0.01; fi
echo "{\\"accuracy\\": $a, \\"loss\\": $l, \\"by\\": \\"m|x\\", \\"sizes\\": [1, 2]}" > eval.json
printf "step,loss\\n0,1\\n1,$l\\n" > loss.csv
"""


@pytest.fixture
def project(repo: Repo, above: Path) -> Repo:
    """A pipeline that ran at `main`, and on the branch `feature` with another param, on other data."""
    built = above / "built"
    if built.exists():
        shutil.rmtree(repo.path)
    else:
        build(repo)
        repo.path.rename(built)
    shutil.copytree(built, repo.path, symlinks=True)
    return repo


def build(repo: Repo) -> None:
    pipelines.write(repo, YAML, params_yaml="rate: 0.01\nlayers: [1, 2]\n", train_sh=TRAIN)
    for name in "abc":
        repo.write(f"raw/{name}", f"{name}\n" * 100)
        for n in range(12):
            repo.write(f"digits/{name}/{n}", f"{name}{n}")
    repo.write("table.csv", "id,value\n1,2\n2,3\n")
    repo.run("add", "raw", "digits", "table.csv")
    repo.run("repro")
    repo.commit("one")
    repo.git("checkout", "-q", "-b", "feature")
    repo.write("params.yaml", "rate: 0.05\nlayers: [1, 2]\n")
    repo.run("repro")
    for n in range(12):
        repo.write(f"digits/a/new{n}", f"new {n}")
    (repo.path / "digits/b/3").unlink()
    (repo.path / "digits/c/0").rename(repo.path / "digits/c/moved")
    repo.write("table.csv", "id,value,weight\n1,2,5\n3,3,5\n4,5,\n")
    repo.write("raw/d", "d\n")
    repo.run("commit")
    repo.write("train.sh", f"{TRAIN}\n# more\n")
    repo.commit("two")


def report(repo: Repo, *args: str, code: int = 0) -> str:
    result = repo.run("report", *args, ok=False)
    assert result.code == code, result
    return result.out


def found(repo: Repo, *args: str) -> Any:
    return json.loads(report(repo, *args, "--format", "json", "--no-gate"))


def test_markdown(project: Repo) -> None:
    text = report(project, "main", "feature", code=1)
    # After a change that is meant: GOLDEN.write_text(text)
    assert text == GOLDEN.read_text("utf-8")
    assert report(project, "main", "feature", "--no-gate") == text


def test_the_workspace_says_the_same_as_its_commit(project: Repo) -> None:
    at_commit, here = found(project, "main", "feature"), found(project, "main", "workspace")
    assert at_commit.pop("head")["rev"] == "feature"
    assert here.pop("head") == {"rev": "workspace", "commit": None, "about": None}
    assert at_commit == here
    assert {each["name"]: [one["text"] for one in each["reasons"]] for each in here["stale"]} == {
        "prepare": ["raw: 1 added"],
        "train": ["train.sh: changed"],
    }


def test_reading_changes_nothing(project: Repo) -> None:
    before = {path: data for path, data in project.files("").items() if not path.startswith((".vml/", ".git/"))}
    project.git("checkout", "-q", "main")
    project.git("checkout", "-q", "feature")
    for form in ("md", "html", "json", "junit", "openmetrics"):
        first = report(project, "main~0", "HEAD", "--format", form, "--no-gate")
        assert report(project, "main~0", "HEAD", "--format", form, "--no-gate") == first
    after = {path: data for path, data in project.files("").items() if not path.startswith((".vml/", ".git/"))}
    assert after == before
    assert project.git("status", "--porcelain") == ""


def test_into_a_file(project: Repo) -> None:
    assert report(project, "main", "-o", "report.html", "--format", "html", "--title", "<b>", code=1) == ""
    assert b"<title>&lt;b&gt;</title>" in project.read("report.html")
    assert b"new Function" not in project.read("report.html")


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("r.md", b"## r"),
        ("r.html", b"<!DOCTYPE html>"),
        ("r.JSON", b'{\n  "schema": 1'),
        ("r.xml", b"<?xml "),
        ("r.prom", b"# TYPE vml_"),
        ("r", b"## r"),
    ],
)
def test_the_name_of_the_file_says_which_form(project: Repo, name: str, begin: bytes) -> None:
    report(project, "main", "-o", name, "--title", "r", code=1)
    assert project.read(name).startswith(begin)
    report(project, "main", "-o", name, "--format", "json", code=1)
    assert project.read(name).startswith(b"{\n")


def test_a_dash_is_standard_output(project: Repo) -> None:
    assert report(project, "main", "--format", "json", "-o", "-", code=1).startswith("{\n")
    assert not (project.path / "-").exists()


def test_nothing_but_an_earlier_report_is_overwritten(project: Repo, tmp_path: Path) -> None:
    project.write("notes.md", "## Notes\n\nmine\n")
    (project.path / "link.md").symlink_to(tmp_path / "elsewhere")
    (project.path / "folder").symlink_to(tmp_path)
    names = ("notes.md", "train.sh", "table.csv", "table.csv.vml", "model", "vml.yaml", "sub/vml.yaml", ".git/config")
    project.write("sub/x", "")
    for name in (*names, "link.md", "folder/authorized_keys", "nosuch/x.md", "raw"):
        before = project.files("")
        result = project.fails("report", "main", "-o", name, code=3)
        assert "hint: " in result.err, result
        assert {k: v for k, v in project.files("").items() if k in before and k[:5] != ".vml/"} == {
            k: v for k, v in before.items() if k[:5] != ".vml/"
        }, name
        assert list(tmp_path.glob("authorized*")) == []
    assert "is tracked" in project.fails("report", "main", "-o", "table.csv", "--force", code=3).err
    report(project, "main", "-o", "notes.md", "--force", code=1)
    assert project.read("notes.md").startswith(b"## vml report")
    for form in ("html", "json", "junit", "openmetrics", "md", "html"):
        report(project, "main", "-o", "notes.md", "--format", form, code=1)
    assert project.read("notes.md").startswith(b"<!DOCTYPE html>")


def test_into_a_pipe(project: Repo) -> None:
    pipe = project.path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        report(project, "main", "feature", "-o", "pipe", code=1)
        assert os.read(reader, 13) == b"## vml report"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_nothing_changed(project: Repo) -> None:
    project.git("checkout", "-q", "main")
    project.run("checkout")
    text = report(project, "HEAD", "HEAD")
    assert "**✅ 3 gates passed.** Nothing changed." in text
    assert "### Metrics" not in text
    assert "<summary>Unchanged metrics</summary>" in text


def test_only_plots_changed(repo: Repo) -> None:
    repo.write("vml.yaml", "plots: [imgs, confusion.csv: {template: confusion, x: is, y: said}, loss.csv]\n")
    for name in ("same", "one", "two|"):
        repo.write(f"imgs/{name}.png", png(6, 6, 1))
    repo.write("confusion.csv", "is,said\n0,1\n")
    repo.write("loss.csv", "loss\n1\n")
    repo.git("add", "-A")
    repo.commit()
    for name in ("one", "two|", "new"):
        repo.write(f"imgs/{name}.png", png(6, 6, 200))
    text = report(repo)
    assert "**No gates.** 3 plots changed.\n" in text
    assert "\nChanged: `imgs/new.png`, `imgs/one.png`, <code>&#39;imgs&#47;two&#124;&#46;png&#39;</code>\n" in text
    assert "draws 6 plots, also `imgs/new.png`, `imgs/one.png`, `imgs/same.png`, " in text
    assert "`confusion.csv`." in text
    answer = found(repo)
    assert answer["plots_changed"] == ["imgs/new.png", "imgs/one.png", "imgs/two|.png"]
    assert answer["summary"] == "3 plots changed."
    repo.commit()
    repo.write("loss.csv", "loss\n1\n2\n")
    assert found(repo)["plots_changed"] == ["loss.csv"]


def test_without_pipeline_and_data(repo: Repo) -> None:
    assert report(repo) == f"## vml report\n\n**No gates.** Nothing changed.\n\n{head(repo)} → `workspace`\n"


def head(repo: Repo) -> str:
    return f"`{repo.git('rev-parse', 'HEAD')[:7]}` (`HEAD, which main has`)"


# ---------------------------------------------------------------------- which revisions


def sides(repo: Repo, *args: str) -> tuple[str, str]:
    answer = found(repo, *args)
    names = dict(
        line.split() for line in repo.git("for-each-ref", "--format=%(objectname) %(refname:short)").split("\n") if line
    )
    base, top = (names.get(answer[side]["commit"], answer[side]["rev"]) for side in ("base", "head"))
    return base, top


def test_default_revisions(project: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "JENKINS_URL", "GITHUB_BASE_REF"):
        monkeypatch.delenv(name, raising=False)
    assert sides(project) == ("main", "workspace")
    assert sides(project, "feature") == ("feature", "workspace")
    monkeypatch.setenv("CI", "false")
    assert sides(project)[1] == "workspace"
    monkeypatch.setenv("CI", "true")
    assert sides(project) == ("main", "feature")
    assert sides(project, "main", "workspace") == ("main", "workspace")
    project.git("checkout", "-q", "main")
    before = project.git("rev-parse", "main~1").strip()
    assert found(project)["base"] == {"rev": before[:7], "commit": before, "about": "the commit before"}
    project.git("branch", "workspace", "feature")
    assert found(project, "main", "workspace")["head"]["commit"] is None
    assert "hint: vml report HEAD workspace\n" in project.fails("report", "workspace", "feature", code=2).err


def test_both_revisions_in_one_word(project: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert sides(project, "main~1..main") == ("main~1", "main")
    assert sides(project, "main..") == ("main", "feature")
    assert sides(project, "main..workspace") == ("main", "workspace")
    project.git("checkout", "-q", "-b", "later", "main")
    project.git("commit", "-q", "--allow-empty", "-m", "later")
    assert sides(project, "later...feature") == ("main", "feature")
    assert "not a range" in project.fails("report", "main..later", "feature", code=3).err


@pytest.mark.parametrize("date", ["2026-01-01T00:00+0000", None])
def test_of_several_merge_bases_the_same_is_taken_and_it_is_said(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, date: str | None
) -> None:
    """Both branches were merged into each other; commits may be of the same second."""
    days = [date or f"2026-01-0{n}T00:00+0000" for n in (1, 2, 3)]

    def at(day: str, *args: str) -> str:
        monkeypatch.setenv("GIT_COMMITTER_DATE", day)
        repo.git(*args)
        return repo.git("rev-parse", "HEAD").strip()

    at(days[0], "commit", "-q", "--allow-empty", "-m", "root")
    bases = [at(days[1], "commit", "-q", "--allow-empty", "-m", "main")]
    repo.git("checkout", "-q", "-b", "feature", "HEAD~")
    bases.append(at(days[2], "commit", "-q", "--allow-empty", "-m", "feature"))
    at(days[2], "merge", "-q", "--no-edit", "main")
    repo.git("checkout", "-q", "main")
    at(days[2], "merge", "-q", "--no-edit", bases[1])
    repo.git("checkout", "-q", "feature")
    monkeypatch.setenv("CI", "true")

    newest = max(bases) if date else bases[1]
    assert found(repo)["base"] == {
        "rev": newest[:7],
        "commit": newest,
        "about": "merge base with main, the newest of 2",
    }
    for one, other in (("main", "feature"), ("feature", "main")):
        said = f"the newest of 2 merge bases of {one} and {other}"
        assert found(repo, f"{one}...{other}")["base"] == {"rev": newest[:7], "commit": newest, "about": said}
        for args in (("diff",), ("metrics", "diff"), ("params", "diff"), ("plots", "diff", "--json")):
            assert f"{newest[:7]} is {said}\n" in repo.run(*args, f"{one}...{other}").err


def test_what_ci_systems_say(project: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    project.git("branch", "release", "main~1")
    clone = project.clone("clone")
    clone.git("checkout", "-q", "--detach", "origin/feature")
    for name in (
        "GITHUB_BASE_REF",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
        "BITBUCKET_PR_DESTINATION_BRANCH",
        "CHANGE_TARGET",
    ):
        with monkeypatch.context() as patched:
            patched.setenv(name, "release")
            assert found(clone)["base"]["about"] == "merge base with origin/release"
            patched.setenv(name, "nowhere")
            error = clone.fails("report", code=3)
            assert "'nowhere', into which this goes, is not in this clone" in error.err
    monkeypatch.setenv("CI_MERGE_REQUEST_DIFF_BASE_SHA", project.git("rev-parse", "main").strip())
    assert found(clone)["base"]["about"] == "merge base"


def test_file_of_a_gate_is_the_same_in_commits_and_the_workspace(repo: Repo) -> None:
    """By a path that leads out of the project and back, and with colons in its name."""
    names = ("m:1.json", f"../{repo.path.name}/m:1.json", "m.json", "../gone/m.json")
    gates = "".join(f"  {name}:a:acc: {{min: 0.9}}\n" for name in names)
    repo.write("vml.yaml", f"metrics: ['m:1.json', m.json]\ngates:\n{gates}")
    repo.write("m:1.json", '{"a:acc": 0.95}')
    repo.write("m.json", '{"a:acc": 0.95}')
    repo.commit()
    for head in ("HEAD", "workspace"):
        report(repo, "HEAD", head, code=1)
        results = [(each["file"], each["passed"]) for each in found(repo, "HEAD", head)["gates"]]
        assert results == [("m:1.json", True), ("m:1.json", True), ("m.json", True), ("../gone/m.json", False)]


def test_gates_of_several_files_all_hold(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [m.json]\ngates:\n  m.json:acc: {min: 0.9}\n  other.json:n: {min: 1}\n")
    repo.write("m.json", '{"acc": 0.95}')
    repo.write("other.json", '{"n": 2}')
    repo.write("data/x.json", "{")
    repo.commit("one")
    repo.write("m.json", '{"acc": 0.1}')
    repo.write("sub/vml.yaml", "gates:\n  ../m.json:acc: {min: 0}\n  ../data:x: {required: false}\n")
    report(repo, "HEAD", code=1)
    answer = found(repo, "HEAD")
    assert [(each["key"], each["rules"], each["passed"], each["notes"]) for each in answer["gates"]] == [
        ("acc", {"min": 0.9}, False, []),
        ("n", {"min": 1}, True, []),
        ("acc", {"min": 0}, True, ["new gate"]),
        ("x", {"required": False}, True, ["missing, as it may be", "new gate"]),
    ]
    lines = report(repo, "HEAD", "--format", "openmetrics", code=1).splitlines()
    assert [each for each in lines if "acc" in each and each.startswith("vml_gate")] == [
        'vml_gate{gate="m.json:acc"} 0'
    ]
    repo.write("sub/vml.yaml", "gates:\n  ../m.json:acc: {min: 2, max: 1}\n")
    assert "no value can be ≥ 2 and ≤ 1" in report(repo, "HEAD", code=1)


def test_rows_by_key(project: Repo) -> None:
    keyless = found(project, "main", "feature")["tables"]
    assert found(project, "main", "feature", "--key", "id")["tables"] != keyless
    assert found(project, "main", "feature", "--key", "nosuch")["tables"] == keyless


def test_a_tag_is_not_taken_for_a_branch(project: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = project.clone("clone")
    clone.git("checkout", "-q", "--detach", "origin/feature")
    wanted = found(clone)["base"]
    for name in ("origin/main", "main", "origin/HEAD", "origin/feature"):
        clone.git("tag", name, "HEAD")
    assert found(clone)["base"] == wanted
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    assert found(clone)["base"]["commit"] == clone.git("rev-parse", "refs/remotes/origin/main").strip()


def test_a_shallow_clone(project: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    clone = project.beside("shallow")
    project.git(
        "clone", "-q", "--depth=1", "--no-single-branch", "-b", "feature", f"file://{project.path}", str(clone.path)
    )
    error = clone.fails("report", code=3)
    assert "git fetch --unshallow" in error.err
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    assert "git fetch --unshallow" in clone.fails("report", code=3).err
    assert clone.fails("report", "nope", code=3).err.startswith("error: unknown revision 'nope'")


def test_no_default_branch(repo: Repo) -> None:
    repo.git("branch", "-m", "trunk")
    assert "which is the default branch?" in repo.fails("report", code=3).err
    repo.git("config", "init.defaultBranch", "trunk")
    report(repo)


# ---------------------------------------------------------------------- data that is not here


def test_a_clone_without_data(project: Repo, remote: Path) -> None:
    """The job of a pull request from a fork: it has the commits, and no key to the remote."""
    project.run("push", "--all-branches")
    clone = project.clone("fork")
    answer = found(clone, "origin/main", "origin/feature")
    assert {row["key"]: row["trend"] for row in answer["metrics"]} == {
        "accuracy": "worse", "loss": "worse", "by": None, "sizes": None,
    }  # fmt: skip
    directories = {each["path"]: each["new"]["nfiles"] for each in answer["data"]["directories"]}
    assert directories == {"digits": 47, "raw": 4}
    assert [each["path"] for each in answer["data"]["files"]] == ["model", "table.csv"]
    assert "is not in the local store" in answer["tables"][0]["error"]
    text = report(clone, "origin/main", "origin/feature", code=1)
    assert "Of some directories no list of files is here: `--fetch` gets it." in text
    whole = found(clone, "origin/main", "origin/feature", "--fetch")
    assert whole["data"]["directories"] == []
    assert whole["tables"][0]["rows"] == {"old": 2, "new": 3}


def test_a_remote_that_cannot_be_opened_is_a_problem(project: Repo, remote: Path) -> None:
    answer = found(project, "main", "feature", "--fetch")
    assert [each["what"] for each in answer["problems"]] == ["remote"]
    assert answer["metrics"][0]["key"] == "accuracy"
    project.git("checkout", "-q", "main")
    assert "has no remote" in found(project, "main", "feature", "--fetch")["problems"][0]["message"]


def test_rows_are_left_out_on_demand(project: Repo) -> None:
    assert found(project, "main", "feature", "--no-rows")["tables"] == []


# ---------------------------------------------------------------------- what cannot be read


def test_a_metric_that_does_not_parse_is_a_problem_and_a_failed_gate(project: Repo) -> None:
    project.write("eval.json", '{"accuracy": ')
    project.commit("broken")
    answer = found(project, "main", "HEAD")
    assert [(each["what"], each["where"]) for each in answer["problems"]] == [("eval.json", "HEAD")]
    assert all(not each["passed"] for each in answer["gates"])
    assert answer["params"][0]["key"] == "rate"
    text = report(project, "main", "HEAD", code=1)
    assert "### Problems" in text
    assert {each["name"] for each in answer["stale"]} >= {"train"}


def test_a_pipeline_that_does_not_parse_fails(project: Repo) -> None:
    project.write("vml.yaml", "stages: {a: {cmd: x, dep: [y]}}")
    project.commit("broken")
    answer = found(project, "main", "HEAD")
    assert answer["passed"] is False
    assert answer["gates"][0]["file"] == "vml.yaml"
    assert "did you mean deps?" not in answer["gates"][0]["faults"][0]
    report(project, "main", "HEAD", code=1)
    # What was wrong before is no reason to refuse what mends it.
    project.git("revert", "--no-edit", "HEAD")
    answer = found(project, "HEAD~1", "HEAD")
    assert [each["where"] for each in answer["problems"]] == ["HEAD~1"]
    assert answer["gates"][0]["passed"]


def test_a_gate_that_is_wrong_leaves_the_others(project: Repo) -> None:
    bad = YAML.replace("drop: 2%", "drp: 2%") + "  eval.json: {min: 1}\n  eval.json:by: {equals: '${no}'}\n"
    project.write("vml.yaml", bad)
    metrics = project.run("metrics", "show")
    assert ("accuracy" in metrics.out, metrics.err) == (True, "")
    assert "unknown key" in project.fails("status", code=3).err
    answers = [found(project, "main", "workspace")]
    project.commit("gates")
    answers.append(found(project, "main", "HEAD"))
    for answer in answers:
        assert answer["problems"] == []
        gates = {f"{each['file']}:{each['key']}": each for each in answer["gates"]}
        assert gates["eval.json:accuracy"]["faults"] == [
            'vml.yaml:17: gates."eval.json:accuracy".max_drp: unknown key; did you mean max_drop?'
        ]
        assert [len(gates[each]["faults"]) for each in ("eval.json:", "eval.json:by", "eval.json:f1")] == [1, 1, 0]
        assert "rose" in gates["eval.json:loss"]["faults"][0]
        assert answer["gates_removed"] == []
        assert {each["name"] for each in answer["stale"]} == {"prepare", "train"}
    assert "`must be readable`" in report(project, "main", code=1)


def test_the_same_problem_is_told_once(project: Repo) -> None:
    project.write("vml.yaml", "stages: {a: {cmd: x, dep: [y]}}")
    messages = [each["message"] for each in found(project, "main", "workspace")["problems"]]
    assert len(messages) == len(set(messages)) == 1


def test_a_lock_file_that_does_not_parse(project: Repo) -> None:
    project.write("vml.lock", "<<<<<<< HEAD\n")
    project.commit("conflict")
    answer = found(project, "main", "HEAD")
    assert "vml.lock" in {each["what"] for each in answer["problems"]}
    assert answer["stages"] == []


def test_stages_that_form_a_cycle(project: Repo) -> None:
    project.write("vml.yaml", YAML.replace("deps: [raw]", "deps: [raw, model]"))
    project.commit("cycle")
    answer = found(project, "main", "HEAD")
    assert any("cycle" in each["message"] for each in answer["problems"])
    assert "Pipeline" not in report(project, "main", "HEAD", "--no-gate")


def test_gates_that_name_nothing_or_were_loosened(project: Repo) -> None:
    project.write(
        "vml.yaml", YAML.replace("eval.json:accuracy: {better: higher, min: 0.8", "eval.json:acuracy: {min: 0.1")
    )
    project.commit("gates")
    answer = {each["key"]: each for each in found(project, "main", "HEAD")["gates"]}
    assert answer["acuracy"]["faults"] == ["eval.json has no value 'acuracy'; did you mean accuracy?"]
    assert answer["acuracy"]["notes"] == ["new gate"]
    text = report(project, "main", "HEAD", code=1)
    assert "Gates that are gone: `eval.json:accuracy (≥ 0.8, drop ≤ 2%)`" in text


def test_gates_may_be_about_files_that_nobody_declares(project: Repo) -> None:
    gates = "gates:\n  params.yaml:rate: {max: 0.01}\n  other.toml:a.b: {equals: x}\n  ../x:y: {}\n"
    project.write("vml.yaml", YAML.partition("gates:")[0] + gates)
    project.write("other.toml", "a.b = 'x'\n")
    project.commit("gates")
    answer = found(project, "main", "HEAD")["gates"]
    assert [(each["key"], each["faults"]) for each in answer] == [
        ("rate", ["above 0.01"]),
        ("a.b", []),
        ("y", ["cannot be read: ../x leads out of the project"]),
    ]


# ---------------------------------------------------------------------- stages


def reasons(repo: Repo, *args: str) -> dict[str, list[str]]:
    return {each["name"]: [one["text"] for one in each["reasons"]] for each in found(repo, *args)["stale"]}


def test_stages_that_are_reproduced_are_not_told_of(project: Repo) -> None:
    project.run("repro")
    project.commit("three")
    assert reasons(project, "main", "HEAD") == {}
    answer = found(project, "main", "HEAD")["stages"]
    assert [each["name"] for each in answer] == ["prepare", "train"]
    assert answer[0]["reasons"][0]["text"] == "raw: 1 added"


def test_what_does_not_fit_the_lock_file(project: Repo) -> None:
    project.run("repro")
    project.commit("base")
    project.write("params.yaml", "rate: 0.05\nlayers: [1, 3]\n")
    project.write("eval.json", '{"accuracy": 1.0, "loss": 0.0}')
    project.write("vml.yaml", YAML.replace("cmd: mkdir -p", "cmd: mkdir  -p") + "\nvars: [{a: 1}]\n")
    project.commit("by hand")
    assert reasons(project, "HEAD~1", "HEAD") == {
        "prepare": ["cmd: mkdir -p … -> mkdir  -p …"],
        "train": ["params.yaml: layers [1, 2] -> [1, 3]", "eval.json: not what the stage made"],
    }


def test_directories_of_code(repo: Repo) -> None:
    pipelines.write(
        repo,
        """
        stages:
          a: {cmd: cat src/one > out, deps: [src], outs: [out]}
          b: {cmd: cat out > last, deps: [out], outs: [last]}
        """,
    )
    repo.write("src/one", "1")
    repo.run("repro")
    repo.write("src/__pycache__/junk", "j")
    repo.write("src/.gitignore", "__pycache__\n")
    repo.run("repro")
    repo.commit("base")
    shutil.rmtree(repo.path / "src/__pycache__")
    repo.commit("same")
    assert reasons(repo, "HEAD~1", "HEAD") == {}
    repo.write("src/one", "2")
    repo.commit("changed")
    assert reasons(repo, "HEAD~1", "HEAD") == {"a": ["src: changed"], "b": []}
    (repo.path / "src/one").unlink()
    (repo.path / "src/.gitignore").unlink()
    repo.commit("gone")
    assert reasons(repo, "HEAD~1", "HEAD")["a"] == ["src: missing"]


def test_stages_that_come_and_go(project: Repo) -> None:
    stage = "\n  count: {cmd: wc -l < raw/a > lines, deps: [raw/a], outs: [lines]}"
    project.write("vml.yaml", YAML.replace("\nstages:", f"\nstages:{stage}"))
    project.commit("not run")
    assert reasons(project, "feature~1", "HEAD")["count"] == ["never run"]
    project.run("repro", "count")
    project.commit("run")
    answer = found(project, "HEAD~1", "HEAD")
    assert [(each["name"], each["change"]) for each in answer["stages"]] == [("count", "added")]
    assert "count" not in reasons(project, "HEAD~1", "HEAD")
    back = found(project, "HEAD", "HEAD~1")
    assert [(each["name"], each["change"]) for each in back["stages"]] == [("count", "removed")]


def test_variables_are_as_they_were_recorded(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    pipelines.write(repo, "stages: {a: {cmd: echo x > out, env: [SEED], outs: [out], deps: [/dev/null, /none]}}")
    pipelines.write(repo, "stages: {a: {cmd: echo x > out, env: [SEED], outs: [out]}}")
    monkeypatch.setenv("SEED", "1")
    repo.run("repro")
    repo.commit("base")
    monkeypatch.setenv("SEED", "2")
    assert reasons(repo, "HEAD~1", "HEAD") == {}
    assert reasons(repo, "HEAD~1", "workspace") == {"a": ["env SEED changed"]}


def test_a_project_below_the_top(repo: Repo) -> None:
    inner = Repo(repo.path / "inner", repo._capture)
    inner.path.mkdir()
    repo.run("init", cwd="inner")
    pipelines.write(
        inner,
        "stages: {a: {cmd: 'echo \"{a: 1}\" > m.yaml', deps: [code], metrics: [m.yaml]}}\ngates: {m.yaml:a: {min: 1}}",
    )
    inner.write("code", "1")
    inner.run("repro")
    repo.commit("one")
    inner.write("code", "2")
    repo.commit("two")
    answer = found(inner, "HEAD~1", "HEAD")
    assert answer["passed"]
    assert reasons(inner, "HEAD~1", "HEAD") == {"a": ["code: changed"]}
    assert reasons(inner, "HEAD~1", "workspace") == {"a": ["code: changed"]}
