"""`vml hook status` and `vml hook pre-commit`: a commit has what is in the workspace, or does not happen."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.hooked import PIPELINE, change, git, install, version


def rows(repo: Repo, *, name: str = "status") -> list[str]:
    """What differs, as `label: what`; the hook says no where that is something."""
    result = repo.run("hook", name, ok=False)
    assert "Traceback" not in result.err
    message = re.search(r"^error: the workspace is not what is about to be committed:\n((?:  .*\n)+)", result.err, re.M)
    assert result.code == (message is not None), result
    return [re.sub(r"\s+", " ", row) for row in message[1].splitlines()] if message else []


def hint(repo: Repo) -> list[str]:
    """The commands that the hint names."""
    said = re.findall(r"^hint: (.*)$", repo.run("hook", "status", ok=False).err, re.MULTILINE)
    assert said[-1].endswith("; VML_SKIP_HOOKS=status git commit goes past this")
    return re.split(r" (?:records|takes|makes|brings) ", said[-1])[:1]


@pytest.fixture
def data(repo: Repo) -> Repo:
    """A project with committed data."""
    for i in range(3):
        repo.write(f"data/{i}", f"{i}" * 10)
    repo.write("table.csv", "1")
    repo.run("add", "data", "table.csv")
    repo.commit()
    return repo


@pytest.fixture
def stages(repo: Repo) -> Repo:
    """A project with a stage that ran, committed."""
    repo.write("vml.yaml", PIPELINE.replace("[in.txt]", "[in.txt, src]\n    params: [rate]"))
    repo.write("in.txt", "1")
    repo.write("src/a.py", "1")
    repo.write("params.yaml", "rate: 1\n")
    repo.run("repro")
    repo.commit()
    return repo


# ---------------------------------------------------------------------- data and pointers


def test_nothing_differs(data: Repo) -> None:
    assert data.run("hook", "status").err == "vml: 2 tracked paths as recorded\n"


def test_data_that_was_changed(data: Repo) -> None:
    data.write("data/0", "changed")
    data.path.joinpath("data/1").unlink()
    data.path.joinpath("data/2").rename(data.path / "data/moved")
    data.write("data/new", "new")
    data.write("table.csv", "12")

    assert sorted(rows(data)) == [
        " added: data/new (3 B)",
        " deleted: data/1 (10 B)",
        " modified: data/0 (10 B -> 7 B)",
        " modified: table.csv (1 B -> 2 B)",
        " renamed: data/2 -> data/moved",
    ]
    (record,) = hint(data)
    assert record == "vml add data table.csv && git add data.vml table.csv.vml"
    add, stage = record.split(" && ")
    data.run(*add.split()[1:])
    data.git(*stage.split()[1:])
    assert rows(data) == []


def test_data_that_is_gone_cannot_be_recorded(data: Repo) -> None:
    shutil.rmtree(data.path / "data")
    data.path.joinpath("table.csv").unlink()

    assert rows(data) == [" deleted: data (30 B)", " deleted: table.csv (1 B)"]
    back, rest = (
        data.run("hook", "status", ok=False).err.partition("hint: ")[2].split(" brings back what was deleted (")
    )
    assert back == "vml checkout data table.csv"
    assert rest.startswith("vml rm data table.csv ends tracking it); VML_SKIP_HOOKS")
    data.run(*back.split()[1:])
    assert rows(data) == []
    data.run("rm", "data", "table.csv")
    data.git("add", "-A")
    assert rows(data) == []


def test_data_that_was_never_here_is_not_missed(data: Repo, tmp_path: Path) -> None:
    clone = data.clone("clone")

    assert clone.run("hook", "pre-commit").code == 0
    clone.write("data/0", "other")
    assert clone.run("hook", "status", ok=False).code == 1


def test_a_pointer_that_is_not_staged(data: Repo) -> None:
    data.write("data/0", "changed")
    data.run("add", "data")

    assert rows(data) == [" not staged: data.vml"]
    assert hint(data) == ["git add data.vml"]
    data.git("add", "data.vml")
    assert rows(data) == []
    data.path.joinpath("table.csv.vml").unlink()
    assert rows(data) == [" not staged: table.csv.vml"]


def test_data_is_held_against_the_pointer_that_is_there_now(data: Repo) -> None:
    data.git("checkout", "-qb", "other")
    data.write("data/0", "changed")
    data.run("add", "data")
    data.commit()
    assert rows(data) == []
    data.git("checkout", "-q", "main")

    assert rows(data) == [" behind: data (1 file)"]
    data.git("checkout", "-q", "other", "--", "data.vml")
    assert rows(data) == []


@pytest.mark.parametrize("option", ["skip-worktree", "assume-unchanged"])
def test_a_pointer_that_git_was_told_not_to_look_at(data: Repo, option: str) -> None:
    command = f"git update-index --no-{option} table.csv.vml"
    data.git("update-index", f"--{option}", "table.csv.vml", "data.vml")
    quiet = data.run("hook", "status").err
    assert quiet == "vml: 2 tracked paths as recorded\n"
    data.write("table.csv", "other")
    data.run("add", "table.csv")

    said = data.run("hook", "status").err

    assert f"note: table.csv.vml differs, and Git was told not to look at it ({command})\n" in said
    assert f"hint: git -C {data.path} update-index --no-{option} table.csv.vml" in data.run("status").err
    subprocess.run(command.split(), cwd=data.path, check=True)
    assert rows(data) == [" not staged: table.csv.vml"]
    data.path.joinpath("data.vml").unlink()
    assert "data.vml differs" not in data.run("status").err


def test_a_new_pointer_is_told_and_ends_nothing(data: Repo) -> None:
    data.write("more", "1")
    data.run("add", "more")

    result = data.run("hook", "status")

    assert result.err == "note: more.vml is not in Git (git add more.vml)\nvml: 3 tracked paths as recorded\n"


def test_a_pointer_that_cannot_be_read(data: Repo) -> None:
    data.write("data.vml", "{}")
    assert rows(data) == [" not staged: data.vml"]

    data.git("add", "data.vml")
    assert rows(data) == [" broken: data.vml: it is not a vml pointer: it has no schema"]
    said = data.run("hook", "pre-commit", ok=False).err
    assert said.count("it has no schema") == 1


def test_many_differences_are_counted(data: Repo) -> None:
    for i in range(30):
        data.write(f"data/new/{i:02}", "x")

    found = rows(data)

    assert len(found) == 21
    assert found[-1] == " and 10 more: vml status lists them"


def test_every_project_of_the_repository_is_looked_at(data: Repo) -> None:
    inner = data.beside("repo/in ner")
    inner.path.mkdir()
    inner.run("init")
    inner.write("data/a", "1")
    inner.run("add", "data")
    data.commit()
    assert rows(data) == []

    inner.write("data/a", "22")
    assert rows(data) == [" modified: in ner/data/a (1 B -> 2 B)"]
    assert rows(inner) == rows(data)
    (record,) = hint(data)
    assert record == "vml -C 'in ner' add data && git add 'in ner/data.vml'"
    subprocess.run(["git", "sparse-checkout", "set", ".vml"], cwd=data.path, check=True, capture_output=True)
    shutil.rmtree(inner.path, ignore_errors=True)
    assert rows(data) == []


# ---------------------------------------------------------------------- stages


def test_a_stage_that_would_run_for_what_is_committed(stages: Repo) -> None:
    stages.write("src/a.py", "2")
    stages.write("params.yaml", "rate: 2\n")
    stages.git("add", "-A")

    assert rows(stages) == [" stale: train (params.yaml: rate 1 -> 2; src: changed)"]
    assert hint(stages) == ["vml repro && git add vml.lock"]
    stages.run("repro")
    assert rows(stages) == [" not staged: vml.lock"]
    stages.git("add", "vml.lock")
    assert rows(stages) == []


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("in.txt", "2"),
        ("src/a.py", "2"),
        ("src/new.py", "2"),
        ("params.yaml", "rate: 2\n"),
        ("vml.yaml", PIPELINE.replace("[in.txt]", "[in.txt, src]\n    params: [rate]").replace("cp", "cp -f")),
    ],
)
def test_a_change_that_stays_in_the_workspace_ends_no_commit(stages: Repo, path: str, content: str) -> None:
    stages.write("README", "1")
    stages.git("add", "-A")
    stages.write(path, content)

    assert rows(stages) == []
    stages.git("add", path)
    assert [row.split()[:2] for row in rows(stages)] == [["stale:", "train"]]
    stages.write(path, content + "# and more\n")
    assert [row.split()[:2] for row in rows(stages)] == [["stale:", "train"]]


def test_an_output_that_was_changed(stages: Repo) -> None:
    stages.write("model.pkl", "by hand")

    assert rows(stages) == [" modified: model.pkl (1 B -> 7 B)"]
    assert hint(stages)[0].startswith("vml commit model.pkl && git add vml.lock")


def test_a_staged_record_brings_what_it_is_about(stages: Repo) -> None:
    with_metric = stages.read("vml.yaml").decode() + "    metrics:\n    - m.json: {cache: false}\n"
    stages.write("vml.yaml", with_metric.replace("cp in.txt model.pkl", "cp in.txt model.pkl && cp in.txt m.json"))
    stages.write("src/a.py", "2")
    stages.write("params.yaml", "rate: 2\n")
    stages.run("repro")
    stages.git("add", "vml.lock")

    expected = ["m.json", "params.yaml", "src/a.py", "vml.yaml"]
    assert sorted(rows(stages)) == [f" not staged: {path}" for path in expected]
    (command,) = hint(stages)
    assert sorted(command.split()[2:]) == expected
    stages.git(*command.split()[1:])
    assert rows(stages) == []


def test_what_validate_has_told_is_not_told_again(stages: Repo) -> None:
    stages.write("vml.yaml", PIPELINE.replace("[model.pkl]", "[other.pkl]"))
    stages.git("add", "-A")

    assert [row.split()[:2] for row in rows(stages)] == [["stale:", "train"]]
    said = stages.run("hook", "pre-commit", ok=False).err
    assert "vml.lock:4: stage train: it made model.pkl, which vml.yaml does not name" in said
    assert "stale" not in said
    stages.write("vml.yaml", "stages: [")
    (broken,) = rows(stages)
    assert broken.startswith(" broken: vml.yaml:")
    stages.git("add", "-A")
    assert stages.run("hook", "pre-commit", ok=False).err.count("this is not YAML") == 1


def test_stages_of_another_project(repo: Repo) -> None:
    (repo.path / "sub").mkdir()
    repo.run("init", cwd="sub")
    repo.write("sub/vml.yaml", PIPELINE)
    repo.write("sub/in.txt", "1")
    repo.run("repro", cwd="sub")
    repo.commit()
    repo.write("sub/in.txt", "2")
    repo.git("add", "-A")

    assert rows(repo) == [" stale: sub/vml.yaml:train (in.txt: changed)"]


def test_stages_in_a_directory(repo: Repo) -> None:
    repo.write("sub/vml.yaml", PIPELINE)
    repo.write("sub/in.txt", "1")
    repo.run("repro", cwd="sub")
    repo.commit()
    repo.write("sub/in.txt", "2")
    assert rows(repo) == []
    repo.git("add", "-A")

    assert rows(repo) == [" stale: sub/vml.yaml:train (sub/in.txt: changed)"]
    assert hint(repo) == ["vml repro && git add sub/vml.lock"]


# ---------------------------------------------------------------------- merges and rebases


def diverged(repo: Repo) -> None:
    """Two branches that changed one file of Git and different data; on `main`."""
    repo.write("text", "base")
    repo.commit()
    repo.git("checkout", "-qb", "other")
    repo.write("text", "theirs")
    repo.write("table.csv", "theirs")
    repo.run("add", "table.csv")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.run("checkout")
    repo.write("text", "ours")
    repo.commit()


@pytest.mark.parametrize("command", ["merge", "cherry-pick"])
def test_data_that_a_merge_brings_later_ends_no_merge(data: Repo, command: str) -> None:
    diverged(data)
    assert git(data, command, "other", ok=False).code == 1
    data.write("text", "both")
    data.git("add", "text")

    result = data.run("hook", "pre-commit")

    assert f"(the commit of a {command} is not stopped for this):\n  behind:     table.csv  (1 file)" in result.err
    data.git("commit", "-q", "--no-edit")
    assert rows(data) == [" behind: table.csv (1 file)"]
    data.run("checkout")
    assert rows(data) == []


def picked(repo: Repo) -> None:
    """A cherry-pick of other data, after which Git runs no hook: the workspace has the data from before."""
    repo.git("checkout", "-qb", "other")
    for path in ("data/0", "data/1", "table.csv"):
        repo.write(path, "theirs")
    repo.run("add", "data", "table.csv")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.run("checkout")
    repo.git("cherry-pick", "other")


def test_data_that_a_cherry_pick_has_left_behind(data: Repo) -> None:
    picked(data)

    assert rows(data) == [" behind: data (2 files)", " behind: table.csv (1 file)"]
    assert hint(data) == ["vml checkout data table.csv"]
    changes = data.json("status")["data"]
    assert [(each["path"], each["change"]) for each in changes] == [
        ("data/0", "behind"),
        ("data/1", "behind"),
        ("table.csv", "behind"),
    ]
    said = data.run("status").out
    assert "differs from its pointer" not in said
    assert "Data that is behind its pointer:\n  (vml checkout PATH brings it" in said
    data.run("checkout", "data", "table.csv")
    assert rows(data) == []
    assert data.read("data/0") == data.read("table.csv") == b"theirs"


def test_data_of_a_version_that_git_never_had_is_no_older_one(data: Repo) -> None:
    picked(data)
    data.write("table.csv", "mine")

    assert rows(data) == [" modified: table.csv (6 B -> 4 B)", " behind: data (2 files)"]


def test_edits_where_the_rest_is_behind_are_recorded_alone(data: Repo) -> None:
    picked(data)
    data.write("data/2", "mine")

    assert rows(data) == [" modified: data/2 (10 B -> 4 B)", " behind: data (2 files)", " behind: table.csv (1 file)"]
    said = data.run("hook", "status", ok=False).err
    add, stage = said.rpartition("hint: ")[2].split(" records what was edited; ")[0].split(" && ")
    assert (add, stage) == ("vml add data/2", "git add data.vml")
    assert "vml checkout data table.csv then brings what is behind" in said
    assert "vml add data/2 takes in one edited file alone" in data.run("status").out
    data.run("add", "data/2")
    data.run("checkout", "data", "table.csv")
    assert data.files("data") == {"0": b"theirs", "1": b"theirs", "2": b"mine"}
    assert data.json("status")["data"] == []


def test_nothing_is_compared_in_a_rebase(data: Repo) -> None:
    diverged(data)
    assert git(data, "rebase", "other", ok=False).code == 1

    assert data.run("hook", "status").err == "vml: data is not compared during a rebase\n"


# ---------------------------------------------------------------------- commits


def test_a_commit_that_has_everything_says_one_line(data: Repo) -> None:
    install(data)
    data.write("data/0", "changed")
    data.run("add", "data")

    said = git(data, "commit", "-qam", "all").err

    assert said == "vml: 1 file small enough, 1 file of vml valid, 2 tracked paths as recorded\n"


def test_a_word_that_names_no_hook_is_told(data: Repo) -> None:
    install(data)
    data.write("data/0", "changed")

    said = git(data, "commit", "--allow-empty", "-m", "x", ok=False, VML_SKIP_HOOKS="statu")

    assert said.code == 1
    assert said.err.count("warning: VML_SKIP_HOOKS: statu is no hook\nhint: it takes 1, or large-files, ") == 1
    assert "warning" not in git(data, "commit", "--allow-empty", "-m", "x", VML_SKIP_HOOKS="status, push").err


def test_a_commit_of_some_files_leaves_out_what_is_staged(data: Repo) -> None:
    install(data)
    data.write("README", "1")
    data.commit()
    data.write("README", "2")
    data.write("data/0", "changed")
    data.run("add", "data")
    data.git("add", "data.vml")

    said = git(data, "commit", "-qm", "some", "README", ok=False)

    assert said.code == 1
    assert "not staged: data.vml" in said.err
    git(data, "commit", "-qm", "some", "README", VML_SKIP_HOOKS="status")


@pytest.mark.parametrize(
    ("skipped", "said"),
    [
        ("1", []),
        ("true", []),
        ("pre-commit", []),
        ("large-files,validate,status", []),
        ("large-files", ["problem", "workspace"]),
        ("validate, status", ["large"]),
        ("push", ["large", "problem", "workspace"]),
    ],
)
def test_hooks_that_are_skipped(data: Repo, monkeypatch: pytest.MonkeyPatch, skipped: str, said: list[str]) -> None:
    data.write("big", b"\0" * 5_000_001)
    change(data, "data.vml", lambda content: content.update(size=-1))
    data.write("table.csv", "changed")
    data.git("add", "-A")
    monkeypatch.setenv("VML_SKIP_HOOKS", skipped)

    result = data.run("hook", "pre-commit", ok=False)

    assert result.code == bool(said)
    words = {"large": "too large for Git", "problem": "in what is staged", "workspace": "the workspace is not"}
    assert [name for name, text in words.items() if text in result.err] == said


def test_settings_that_cannot_be_read_are_told_once(data: Repo) -> None:
    data.write(".vml/config.toml", "[core\n")
    data.git("add", "-A")

    result = data.run("hook", "pre-commit", ok=False)

    assert result.code == 1
    assert result.err.count("not valid TOML") == 1
    data.git("reset", "-q")
    alone = data.fails("hook", "status", code=3)
    assert alone.err.endswith("VML_SKIP_HOOKS=status git commit goes past this\n")


def test_all_is_told_before_what_ends_the_hook(data: Repo) -> None:
    change(data, "data.vml", lambda content: content.update(size=-1))
    data.write(".vml/config.toml", "[core\n")

    result = data.fails("hook", "pre-commit", code=3)

    assert "data.vml: its size" in result.err
    assert "not valid TOML" in result.err


def test_a_working_tree_that_git_was_told_of(data: Repo) -> None:
    other = data.beside("other")
    other.path.mkdir()
    other.git("init", "-q")
    other.run("init")
    version(other, {"z": "1"})
    other.write("z", "22")
    install(data)
    told = (f"--git-dir={data.path / '.git'}", f"--work-tree={other.path}")

    said = git(data, *told, "commit", "--allow-empty", "-m", "x", ok=False)

    assert said.code == 1
    assert f"Git works on {other.path}, which is not the working tree of" in said.err
    assert "VML_SKIP_HOOKS=pre-commit git commit goes past this" in said.err
    said = git(data, *told, "checkout", "-q", "-b", "side")
    assert "warning: no data was checked out: Git works on" in said.err
    assert other.read("z") == b"22"
    (data.path / "inside").mkdir()
    said = git(data, "--work-tree=inside", "commit", "--allow-empty", "-m", "x", ok=False)
    assert "inside, which is not the working tree of" in said.err
    git(other, told[0], f"--work-tree={data.path}", "commit", "--allow-empty", "-m", "x")


GPG = """\
#!/bin/sh
cat > /dev/null
case "$*" in
    *--verify*) echo "gpg: Signature made today" >&2; echo "[GNUPG:] GOODSIG 1 me";;
    *)
        printf '\\n[GNUPG:] SIG_CREATED \\n' >&2
        printf -- '-----%s PGP SIGNATURE-----\\n' BEGIN END;;
esac
"""


def test_settings_that_change_what_git_writes(data: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpg = tmp_path / "gpg"
    gpg.write_text(GPG)
    gpg.chmod(0o755)
    settings = {
        "gpg.program": str(gpg),
        "commit.gpgSign": "true",
        "log.showSignature": "true",
        "log.follow": "true",
        "log.diffMerges": "off",
        "i18n.logOutputEncoding": "ISO-8859-1",
        "color.ui": "always",
    }
    for key, value in settings.items():
        data.git("config", key, value)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "José")
    version(data, {"table.csv": "signed"})
    assert "gpg: Signature made today" in data.git("-c", "i18n.logOutputEncoding=UTF-8", "log", "-1")
    data.git("reset", "-q", "--hard", "HEAD~1")

    assert rows(data) == [" behind: table.csv (1 file)"]
    data.run("checkout")
    assert rows(data) == []
    version(data, {"table.csv": "signed"})
    assert "José" in data.run("log", "table.csv").out
