"""`vml metrics show` and `vml metrics diff`, as people and programs see them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Repo
from vcs_ml.output import wants_colour

NASTY = "x|`<script>@all\n\x1b[31m\u202e"


def write(repo: Repo, at: str = "", **values: object) -> None:
    repo.write(f"{at}m.json", json.dumps(values))


@pytest.fixture
def trained(repo: Repo) -> Repo:
    """Three commits with metrics, tagged, and a change in the workspace."""
    repo.write("vml.yaml", "metrics: [m.json]\n")
    for n, accuracy in enumerate((0.9, 0.91, 0.925)):
        write(repo, accuracy=accuracy, loss=1 / (n + 3), epochs=10, name="cnn")
        repo.commit(f"{n}")
        repo.git("tag", f"v{n}")
    write(repo, accuracy=0.93, loss=0.2, epochs=10, name="cnn", new={"f1": 0.5})
    return repo


# --- What is printed -------------------------------------------------------------------------------------


def test_show(trained: Repo) -> None:
    assert trained.run("metrics", "show").out.splitlines() == [
        "file    metric      workspace",
        "m.json  accuracy         0.93",
        "m.json  loss              0.2",
        "m.json  epochs             10",
        "m.json  name              cnn",
        "m.json  new.f1            0.5",
    ]
    assert trained.run("metrics", "show", "v0", "v2", "--precision", "2").out.splitlines() == [
        "file    metric      v0    v2",
        "m.json  accuracy   0.9  0.93",
        "m.json  loss      0.33   0.2",
        "m.json  epochs      10    10",
        "m.json  name       cnn   cnn",
    ]
    assert trained.run("metrics", "show", "v0", "--md").out.splitlines() == [
        "| file     | metric     |    `v0` |",
        "|:---------|:-----------|--------:|",
        "| `m.json` | `accuracy` |     0.9 |",
        "| `m.json` | `loss`     | 0.33333 |",
        "| `m.json` | `epochs`   |      10 |",
        "| `m.json` | `name`     |   `cnn` |",
    ]


def test_show_of_many_revisions(trained: Repo) -> None:
    shown = trained.run("metrics", "show", "--all-tags", "--sort-by", "accuracy", "--desc").out.splitlines()
    assert shown[0].split() == ["file", "metric", "v2", "v1", "v0"]
    shown = trained.run("metrics", "show", "-A", "-a", "--sort-by", "m.json:loss").out.splitlines()
    commits = trained.git("log", "--format=%h").split()
    assert shown[0].split() == ["file", "metric", "main", *commits[1:]]
    for n in range(4):
        write(trained, accuracy=n)
        trained.commit()
    shown = trained.run("metrics", "show", "HEAD~4..", "v2").out.splitlines()
    assert shown[0].split() == ["revision", "accuracy", "loss", "epochs", "name"]
    assert [line.split()[:3] for line in shown[1:]] == [
        *([commit, f"{3 - n}", "-"] for n, commit in enumerate(trained.git("log", "-4", "--format=%h").split())),
        ["v2", "0.925", "0.2"],
    ]


def test_diff(trained: Repo) -> None:
    assert trained.run("metrics", "diff", "v0", "v2").out.splitlines() == [
        "file    metric         v0     v2    change        %",
        "m.json  accuracy      0.9  0.925    +0.025   +2.8 %",
        "m.json  loss      0.33333    0.2  -0.13333  -40.0 %",
    ]
    assert trained.run("metrics", "diff").out.splitlines() == [
        "file    metric      HEAD    workspace    change       %",
        "m.json  accuracy   0.925         0.93    +0.005  +0.5 %",
        "m.json  new.f1         -          0.5",
    ]
    assert trained.run("metrics", "diff", "v0", "v2", "--sort-by", "percent", "--md").out.splitlines()[2:] == [
        "| `m.json` | `loss`     | 0.33333 |    0.2 | -0.13333 | -40.0 % |",
        "| `m.json` | `accuracy` |     0.9 |  0.925 |   +0.025 |  +2.8 % |",
    ]
    assert len(trained.run("metrics", "diff", "v0", "v2", "--all").out.splitlines()) == 5


def test_nothing_to_show(trained: Repo) -> None:
    for command, words in [
        (("diff", "v2", "HEAD"), "no metrics changed"),
        (("show", "HEAD~3"), "there are no metrics"),
        (("diff", "HEAD~3", "HEAD~3", "--all"), "there are no metrics"),
        (("show", "HEAD..v0"), "there is no such revision"),
    ]:
        result = trained.run("metrics", *command)
        assert result.out == ""
        assert words in result.err
        assert trained.run("-q", "metrics", *command) == (0, "", "")
    assert trained.run("metrics", "diff", "v2", "HEAD", "--md").out == "no metrics changed\n"
    assert trained.run("metrics", "show", "HEAD~3", "--md").out.startswith("there are no metrics")


def test_json(trained: Repo) -> None:
    commit = trained.git("rev-parse", "v0").strip()
    assert trained.json("metrics", "diff", "v2") == {
        "schema": 1,
        "a": "v2",
        "b": None,
        "files": {
            "m.json": {
                "accuracy": {
                    "old": 0.925,
                    "new": 0.93,
                    "diff": pytest.approx(0.005),
                    "percent": pytest.approx(0.5405405),
                },
                "new.f1": {"new": 0.5},
            }
        },
        "errors": {"a": {}, "b": {}},
    }
    found = trained.json("metrics", "show", "v0")
    assert found["revisions"] == [
        {
            "rev": "v0",
            "commit": commit,
            "files": {"m.json": {"accuracy": 0.9, "loss": 1 / 3, "epochs": 10, "name": "cnn"}},
            "errors": {},
        }
    ]
    assert trained.json("metrics", "show")["revisions"][0]["commit"] is None
    assert trained.json("metrics", "diff", "HEAD", "v2")["files"] == {}
    assert trained.json("metrics", "show", "HEAD~3")["revisions"][0]["files"] == {}


def test_targets_are_relative_to_where_somebody_stands(trained: Repo) -> None:
    trained.write("sub/n.json", '{"x": 1}')
    for target in ("n.json", ".", "*"):
        (line,) = trained.run("metrics", "show", "-t", target, cwd="sub").out.splitlines()[1:]
        assert line.split() == ["sub/n.json", "x", "1"]
    assert "m.json" in trained.run("metrics", "show", "-t", "../m.json", cwd="sub").out
    assert "m.json" in trained.run("metrics", "show", "-t", ".").out
    assert "m.json" in trained.run("metrics", "diff", "-t", "*.json").out
    assert "is nowhere in HEAD, workspace" in trained.fails("metrics", "diff", "-t", "nosuch", code=3).err
    assert "outside of the project" in trained.fails("metrics", "diff", "-t", "/etc/passwd", code=3).err
    assert "outside of the project" in trained.fails("metrics", "show", "-t", "../x", code=3).err
    assert "belongs to Git or vml" in trained.fails("metrics", "show", "-t", ".vml/config.toml", code=3).err


# --- What is wrong ---------------------------------------------------------------------------------------


def test_a_file_that_does_not_parse_is_reported_beside_the_rest(trained: Repo) -> None:
    trained.write("vml.yaml", "metrics: [m.json, n.json]\n")
    trained.write("n.json", '{"x": 1}')
    write(trained, accuracy=1)
    trained.commit()
    trained.write("n.json", "{broken")
    write(trained, accuracy=2)
    result = trained.run("metrics", "diff")
    assert [line.split()[:2] for line in result.out.splitlines()[1:]] == [["m.json", "accuracy"]]
    *_, empty, last = trained.run("metrics", "diff", "--md").out.splitlines()
    assert empty == ""
    assert last.startswith("- `n.json is not JSON: ")
    assert "warning: n.json is not JSON" in result.err
    assert "(at workspace)" in result.err
    assert "hint: " in result.err
    found = trained.json("metrics", "diff")
    assert list(found["errors"]["b"]) == ["n.json"]
    assert found["errors"]["a"] == {}
    assert list(found["files"]) == ["m.json"]
    write(trained, accuracy=1)
    assert "no metrics changed as far as is known" in trained.run("metrics", "diff").err
    assert "n.json is not JSON" in trained.run("-q", "metrics", "diff").err


def test_bad_arguments(trained: Repo) -> None:
    assert "unknown revision" in trained.fails("metrics", "diff", "nosuch", code=3).err
    assert "unknown revision" in trained.fails("metrics", "diff", "HEAD", "nosuch", code=3).err
    assert "unknown revision" in trained.fails("metrics", "show", "nosuch..HEAD", code=3).err
    assert "unknown revision 'nosuch'" in trained.fails("metrics", "diff", "nosuch..HEAD", code=3).err
    assert "did you mean v1" in trained.fails("metrics", "show", "v11", code=3).err
    assert "no revision has the value" in trained.fails("metrics", "show", "--sort-by", "nosuch", code=2).err
    for args in (("diff", "a", "b", "c"), ("show", "--precision", "0"), ("diff", "--sort-by", "x"), ("nosuch",)):
        trained.fails("metrics", *args, code=2)


def test_a_repository_that_git_does_not_trust(trained: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for args in (("diff",), ("show", "-A"), ("show", "HEAD")):
        result = trained.fails("metrics", *args, code=3)
        assert "git does not trust the repository" in result.err
        assert "safe.directory" in result.err


def test_a_repository_without_commits(tmp_path: Path, repo: Repo) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "new")], check=True)
    new = repo.beside("new")
    new.run("init")
    new.write("vml.yaml", "metrics: [m.json]")
    write(new, x=1)
    assert "m.json" in new.run("metrics", "show").out
    assert "there is no commit yet" in new.fails("metrics", "diff", code=3).err
    assert "there is no such revision" in new.run("metrics", "show", "-A").err


def test_without_a_vml_yaml(repo: Repo) -> None:
    assert "there are no metrics" in repo.run("metrics", "show").err
    assert "no metrics changed" in repo.run("metrics", "diff").err


def test_strangers_files(trained: Repo, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("hunter2: 1\n")
    trained.write("vml.yaml", "metrics: [m.json, ../secret.yaml, /etc/passwd, link.yaml, fifo.json, dir]\n")
    (trained.path / "link.yaml").symlink_to("../secret.yaml")
    (trained.path / "dir").symlink_to("..")
    os.mkfifo(trained.path / "fifo.json")
    for args in (("show",), ("diff",), ("show", "--json"), ("diff", "--all", "--md"), ("show", "-t", "link.yaml")):
        result = trained.run("metrics", *args)
        assert "hunter2" not in result.out + result.err
        assert "root:" not in result.out + result.err
    result = trained.run("metrics", "show")
    for path in ("secret.yaml", "/etc/passwd", "link.yaml", "dir"):
        assert f"{path} leads out of the project" in result.err
    assert "fifo.json is no regular file" in result.err
    assert "m.json" in result.out


def test_a_strangers_words(trained: Repo) -> None:
    name = "res/x|`<b>.json"
    trained.write("vml.yaml", json.dumps({"metrics": ["res"]}))
    trained.write(name, json.dumps({NASTY: NASTY, "n": 1}))
    trained.commit()
    trained.git("branch", "odd|`branch<b>")
    trained.write(name, json.dumps({NASTY: 1, "n": 2}))
    trained.write("res/\x1b[31m.yaml", "{broken")
    for args in (("diff",), ("show",), ("show", "-a"), ("diff", "odd|`branch<b>")):
        for more in ((), ("--md",)):
            result = trained.run("metrics", *args, *more)
            assert all(char.isprintable() or char == "\n" for char in result.out + result.err)
    table = trained.run("metrics", "diff", "odd|`branch<b>", "--md").out.splitlines()
    assert "``odd\\|`branch<b>``" in table[0]
    assert "``res/x\\|`<b>.json``" in table[2]
    assert "``x\\|`<script>@all\\x0a\\x1b[31m\\u202e``" in table[2]
    assert json.loads(trained.run("metrics", "show", "--json").out)["revisions"][0]["files"][name][NASTY] == 1


def test_a_name_that_is_no_text(trained: Repo) -> None:
    trained.write("vml.yaml", "metrics: [res]")
    trained.write("res/ok.json", '{"x": 1}')
    trained.write(os.fsdecode(b"res/\xff.json"), '{"x": 1}')
    trained.commit()
    assert len(trained.run("metrics", "show", "HEAD").out.splitlines()) == 2


# --- Repositories of every kind --------------------------------------------------------------------------


def tracked(repo: Repo, *, cache: bool) -> None:
    """A stage that makes m.json, run twice."""
    flag = "" if cache else "{cache: false}"
    repo.write(
        "vml.yaml",
        f"""
stages:
  make:
    cmd: "cp in m.json"
    deps: [in]
    metrics: [{{m.json: {flag}}}]
""",
    )
    for n in (1, 2):
        repo.write("in", f'{{"v": {n}}}')
        repo.run("repro")
        repo.commit()


@pytest.mark.parametrize("cache", [True, False])
def test_outputs_of_stages(repo: Repo, remote: Path, *, cache: bool) -> None:
    tracked(repo, cache=cache)
    repo.run("push", "--all-commits")
    expected = {"m.json": {"v": {"old": 1, "new": 2, "diff": 1, "percent": 100.0}}}
    assert repo.json("metrics", "diff", "HEAD~1", "HEAD")["files"] == expected
    clone = repo.clone("clone")
    for args in (("HEAD~1", "HEAD"), ("HEAD~1",)):
        found = clone.json("metrics", "diff", *args)
        assert found["files"] == ({} if cache else expected)
        assert list(found["errors"]["a"]) == (["m.json"] if cache else [])
        if cache:
            assert "--fetch gets it from the default remote" in clone.run("metrics", "diff", *args).err
        assert "nothing" not in clone.run("metrics", "diff", *args).out
    assert clone.json("metrics", "diff", "HEAD~1", "--fetch")["files"] == expected
    assert clone.json("metrics", "diff", "HEAD~1")["files"] == expected
    shutil.rmtree(clone.path / ".vml/cache", ignore_errors=True)
    assert clone.json("metrics", "show", "-A", "--fetch")["revisions"][0]["files"] == {"m.json": {"v": 2}}
    assert not (clone.path / "m.json").exists() or not cache


def test_fetch_without_a_remote(repo: Repo) -> None:
    tracked(repo, cache=True)
    clone = repo.clone("clone")
    clone.fails("metrics", "show", "--fetch", code=3)
    assert "m.json" in repo.run("metrics", "show", "--fetch").out  # where nothing has to be fetched, none is needed


def test_deleted_in_the_workspace(repo: Repo) -> None:
    tracked(repo, cache=True)
    (repo.path / "m.json").unlink()
    assert repo.json("metrics", "diff")["files"] == {"m.json": {"v": {"old": 2}}}


def test_nothing_in_the_workspace_is_touched(trained: Repo) -> None:
    before = trained.files(""), trained.git("status", "--porcelain")
    for args in (("show", "-A"), ("diff", "v0"), ("show", "-a", "-T", "--json")):
        trained.run("metrics", *args)
    after = trained.files(""), trained.git("status", "--porcelain")
    assert {path: raw for path, raw in after[0].items() if not path.startswith((".git/", ".vml/"))} == {
        path: raw for path, raw in before[0].items() if not path.startswith((".git/", ".vml/"))
    }
    assert before[1] == after[1]


def test_bare(trained: Repo, tmp_path: Path) -> None:
    trained.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    bare = trained.beside("bare")
    assert bare.run("metrics", "diff", "v0", "v2").out == trained.run("metrics", "diff", "v0", "v2").out
    assert bare.run("metrics", "show").out == bare.run("metrics", "show", "HEAD").out
    assert "a bare repository has no workspace" in bare.fails("metrics", "diff", code=3).err


def test_worktrees_and_detached_heads(trained: Repo) -> None:
    trained.git("worktree", "add", "-q", "--detach", "../linked", "v0")
    linked = trained.beside("linked")
    assert linked.run("metrics", "diff", "v0").err.startswith("no metrics changed")
    write(linked, accuracy=5)
    assert linked.json("metrics", "diff")["files"]["m.json"]["accuracy"]["old"] == 0.9
    assert linked.run("metrics", "diff", "v0", "v2").out == trained.run("metrics", "diff", "v0", "v2").out


def test_shallow_clones(trained: Repo, tmp_path: Path) -> None:
    trained.git("clone", "-q", "--depth", "2", trained.path.as_uri(), str(tmp_path / "shallow"))
    shallow = trained.beside("shallow")
    assert shallow.json("metrics", "diff", "HEAD~1", "HEAD")["files"]["m.json"]["accuracy"]["old"] == 0.91
    assert "unknown revision" in shallow.fails("metrics", "diff", "HEAD~2", code=3).err
    assert len(shallow.json("metrics", "show", "-A")["revisions"]) == 2


def test_sha256_repositories(repo: Repo, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--object-format=sha256", str(tmp_path / "new")], check=True)
    new = repo.beside("new")
    new.run("init")
    tracked(new, cache=True)
    assert new.json("metrics", "diff", "HEAD~1", "HEAD")["files"]["m.json"]["v"]["diff"] == 1
    assert len(new.json("metrics", "show", "HEAD")["revisions"][0]["commit"]) == 64


def test_projects_below_the_top(repo: Repo) -> None:
    for place in ("sub", "sub/inner"):
        repo.write(f"{place}/vml.yaml", "metrics: [m.json]")
        repo.run("init", cwd=place)
        write(repo, f"{place}/", where=place)
    repo.commit()
    write(repo, "sub/", where="changed")
    assert repo.json("metrics", "diff", cwd="sub")["files"] == {"m.json": {"where": {"old": "sub", "new": "changed"}}}
    assert repo.json("metrics", "diff", cwd="sub/inner")["files"] == {}
    assert "there are no metrics" in repo.run("metrics", "show", "HEAD").err


def test_a_renamed_file(trained: Repo) -> None:
    trained.git("mv", "m.json", "n.json")
    trained.write("vml.yaml", "metrics: [n.json]")
    trained.commit()
    found = trained.json("metrics", "diff", "v2", "HEAD", "-t", "*.json")["files"]
    assert found["m.json"]["accuracy"] == {"old": 0.925}
    assert found["n.json"]["accuracy"] == {"new": 0.93}


def test_names_that_were_probably_meant(trained: Repo) -> None:
    def hint(*args: str, code: int = 3) -> str:
        return trained.fails("metrics", *args, code=code).err.partition("hint: ")[2]

    trained.write("vml.yaml", "metrics: [m.json, results/eval.json]")
    trained.write("results/eval.json", '{"loss": 1}')
    assert hint("show", "-t", "eval.json") == "did you mean results/eval.json?\n"
    assert hint("diff", "-t", "n.json") == "did you mean m.json?\n"
    assert hint("show", "-t", "nosuch") == "metrics are in m.json, results/eval.json\n"
    assert hint("show", "--sort-by", "acuracy", code=2) == "did you mean accuracy?\n"
    assert hint("show", "--sort-by", "m.json:acuracy", code=2) == "did you mean m.json:accuracy?\n"
    assert hint("show", "--sort-by", "nosuch", code=2) == "vml metrics show lists what there is\n"


def test_colour_is_not_used(trained: Repo) -> None:
    assert wants_colour({}, tty=True)
    assert "\x1b" not in trained.run("metrics", "diff").out


def test_names_of_both_sides(trained: Repo) -> None:
    assert trained.json("metrics", "diff", "v0..v2") == trained.json("metrics", "diff", "v0", "v2")
    assert trained.json("metrics", "diff", "v0", "workspace") == trained.json("metrics", "diff", "v0")
    back = trained.json("metrics", "diff", "workspace", "v2")
    assert (back["a"], back["b"]) == (None, "v2")
    assert back["files"]["m.json"]["accuracy"]["old"] == 0.93
    assert trained.json("params", "diff", "v0", "workspace")["b"] is None


def test_a_binary_file(trained: Repo) -> None:
    trained.write("model.npy", b"\x93NUMPY\1\0v\0{'descr': '<f8'}")
    result = trained.run("metrics", "show", "-t", "model.npy")
    assert result.err.splitlines() == [
        "no metrics could be read",
        "warning: model.npy is binary (at workspace)",
        "hint: params and metrics are text: JSON, YAML, TOML or constants of Python",
    ]
    trained.write("m16.json", '{"a": 1}'.encode("utf-16"))
    assert "m16.json  a                   1" in trained.run("metrics", "show", "-t", "m16.json").out


def test_options_that_do_not_go_together(trained: Repo) -> None:
    for command in (("metrics", "show"), ("metrics", "diff"), ("params", "diff")):
        said = trained.fails(*command, "--md", "--json", code=2).err
        assert f"hint: vml {' '.join(command)} --json\n" in said
    assert "--desc belongs to --sort-by" in trained.fails("metrics", "show", "-A", "--desc", code=2).err
