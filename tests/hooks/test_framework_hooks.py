"""Our hooks in the pre-commit framework, called by real commits, checkouts and pushes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.framework import ROOT, Framework, shell
from tests.servers import S3Bucket
from vcs_ml import yaml

BEFORE_COMMIT = ("vml-large-files", "vml-validate", "vml-status")
TYPES = ("pre-commit", "pre-push", "post-checkout", "post-merge", "post-rewrite")


class Project(Repo):
    """A project whose hooks the framework has installed."""

    def sh(self, line: str, *, cwd: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """A line as people type it, in the project."""
        return shell(line, cwd=self.path / cwd, env=env)

    def done(self, line: str, *, cwd: str = "", **env: str) -> str:
        """What a line writes, which must not fail."""
        found = self.sh(line, cwd=cwd, **env)
        assert found.returncode == 0, found.stdout
        return found.stdout

    def refused(self, line: str, *, cwd: str = "", **env: str) -> str:
        """What a line writes that a hook must end."""
        found = self.sh(line, cwd=cwd, **env)
        assert found.returncode != 0, found.stdout
        assert "Traceback" not in found.stdout
        return found.stdout


@pytest.fixture
def start(repo: Repo, framework: Framework, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Install these hooks in `repo`."""
    for name, value in framework.environment().items():
        monkeypatch.setenv(name, value)

    def install(*hooks: str, lines: tuple[str, ...] = ()) -> Project:
        made = Project(repo.path, repo._capture)
        made.write(".pre-commit-config.yaml", framework.config(*hooks, lines=lines))
        made.commit()
        types = " ".join(f"--hook-type {name}" for name in TYPES)
        made.done(f"python -m pre_commit install {types}")
        return made

    return install


def commands(text: str) -> str:
    """The commands that a message shows below each other."""
    return "\n".join(re.findall(r"^    ((?:git|vml) .*)$", text, re.MULTILINE))


def test_manifest_is_one_and_names_commands(start: Callable[..., Project], repo: Repo) -> None:
    start("vml-validate").done(f"python -m pre_commit validate-manifest {ROOT}/.pre-commit-hooks.yaml")

    hooks = yaml.parse((ROOT / ".pre-commit-hooks.yaml").read_bytes(), "manifest").value
    shown = repo.run("hook", "--help").out
    for each in hooks:
        name = each["id"].removeprefix("vml-")
        assert each["entry"] == f"vml hook {name}"
        assert re.search(rf"^  {name} ", shown, re.MULTILINE)
        assert each["minimum_pre_commit_version"] == "3.2.0"


def test_a_large_file_does_not_get_into_git(start: Callable[..., Project]) -> None:
    project = start(*BEFORE_COMMIT)
    project.write("raw/scan 1.bin", b"\0" * 5_000_001)
    project.write("raw/notes.txt", "scanned\n")

    text = project.refused("git add . && git commit -m scans", cwd="raw")

    assert "raw/scan 1.bin  (5.0 MB)" in text
    assert "notes" not in text
    project.done(commands(text), cwd="raw")
    assert "Passed" in project.done("git add .. && git commit -m scans", cwd="raw")
    assert project.git("ls-files", "raw").splitlines() == ["raw/.gitignore", "raw/notes.txt", "raw/scan 1.bin.vml"]


def test_the_limit_is_an_argument_of_the_hook(start: Callable[..., Project]) -> None:
    project = start("vml-large-files", lines=("args: [--limit=1kB]",))
    project.write("--help", "not an option")
    project.write("-b", b"\0" * 1001)

    text = project.refused("git add . && git commit -m odd")

    assert "-b  (1.0 kB)" in text
    project.done(commands(text))
    project.done("git commit -qm odd")


def test_a_pointer_with_conflict_markers_does_not_get_into_git(start: Callable[..., Project]) -> None:
    project = start(*BEFORE_COMMIT)
    project.write("data/a", "1")
    project.run("add", "data")
    project.write("data.vml", "<<<<<<< HEAD\n" + project.read("data.vml").decode())

    text = project.refused("git add . && git commit -m data")

    assert "data.vml:1: it has conflict markers" in text
    assert project.git("rev-list", "--count", "HEAD") == "2\n"


def test_what_was_changed_and_not_added_does_not_get_into_git(start: Callable[..., Project]) -> None:
    project = start(*BEFORE_COMMIT)
    project.write("data/a", "1")
    project.run("add", "data")
    project.done("git add . && git commit -qm data")
    project.write("data/a", "22")
    project.write("README", "two")

    text = project.refused("git add README && git commit -m two")

    assert "modified:   data/a  (1 B -> 2 B)" in text
    record = re.search(r"hint: (vml add .*) records the data", text)
    assert record
    project.done(f"{record[1]} && git commit -m two")
    assert (
        b'"size": 2'
        in subprocess.run(["git", "show", "HEAD:data.vml"], cwd=project.path, check=True, capture_output=True).stdout
    )


def test_a_pointer_that_is_not_staged_ends_a_commit_though_the_framework_puts_it_aside(
    start: Callable[..., Project],
) -> None:
    project = start("vml-status")
    project.write("data/a", "1")
    project.run("add", "data")
    project.done("git add . && git commit -qm data")
    project.write("data/a", "22")
    project.run("add", "data")
    project.write("README", "two")

    text = project.refused("git add README && git commit -m two")

    assert "behind:     data" in text
    assert b'"size": 2' in project.read("data.vml")  # it was put back
    stage = re.search(r"hint: (git add .*) if pre-commit has put", text)
    assert stage
    project.done(f"{stage[1]} && git commit -m two")


def test_a_new_pointer_that_nobody_added_is_seen_and_ends_nothing(start: Callable[..., Project]) -> None:
    project = start(*BEFORE_COMMIT)
    project.write("data/a", "1")
    project.run("add", "data")
    project.write("README", "one")

    text = project.done("git add README && git commit -m one")

    assert "note: data.vml is not in Git (git add data.vml)" in text


@pytest.mark.parametrize("variable", [{"SKIP": "vml-status"}, {"VML_SKIP_HOOKS": "status"}, {"VML_SKIP_HOOKS": "1"}])
def test_hooks_can_be_skipped(start: Callable[..., Project], variable: dict[str, str]) -> None:
    project = start(*BEFORE_COMMIT)
    project.write("data/a", "1")
    project.run("add", "data")
    project.done("git add . && git commit -qm data")
    project.write("data/a", "22")

    project.refused("git commit --allow-empty -m two")
    project.done("git commit --allow-empty -m two", **variable)


def test_ci_looks_at_all_files(start: Callable[..., Project]) -> None:
    project = start(*BEFORE_COMMIT)
    project.write("data/a", "1")
    project.run("add", "data")
    project.commit()
    clone = project.clone("clone")
    project.done("python -m pre_commit run --all-files", cwd="../clone")

    broken = json.loads(clone.read("data.vml")) | {"size": -1}
    clone.write("data.vml", json.dumps(broken))
    clone.write("big.bin", b"\0" * 5_000_001)
    clone.commit("wrong")
    text = project.refused("python -m pre_commit run --all-files", cwd="../clone")

    assert "data.vml: its size" in text
    assert "big.bin  (5.0 MB)" in text


def test_a_checkout_brings_the_data(start: Callable[..., Project]) -> None:
    project = start("vml-checkout")
    project.write("data/a", "1")
    project.run("add", "data")
    project.commit()
    project.done("git checkout -qb other")
    project.write("data/a", "22")
    project.run("add", "data")
    project.commit()

    project.done("git checkout -q main")
    assert project.read("data/a") == b"1"
    project.done("git merge -q other")
    assert project.read("data/a") == b"22"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A bare repository, with nothing in it."""
    place = tmp_path / "there.git"
    subprocess.run(["git", "init", "-q", "--bare", str(place)], check=True)
    return place


def test_a_push_takes_the_data_along(start: Callable[..., Project], remote: Path, there: Path) -> None:
    project = start("vml-push", "vml-verify-remote")
    project.write("data/a", "1")
    project.run("add", "data")
    project.commit()

    project.done(f"git push -q {there} main")

    assert project.json("status", "--remote", "")["not_pushed"] == []


def test_a_forgotten_push_of_data_ends_that_of_commits(
    start: Callable[..., Project], remote: Path, there: Path
) -> None:
    project = start("vml-verify-remote")
    project.write("data/a", "1")
    project.run("add", "data")
    project.commit()

    text = project.refused(f"git push -q {there} main")

    assert "does not have all data of 1 path" in text
    assert subprocess.run(["git", "rev-parse", "main"], cwd=there, check=False, capture_output=True).returncode != 0
    push = re.search(r"hint: (vml push[^;]*)", text)
    assert push
    project.done(f"{push[1]} && git push -q {there} main")


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_a_bucket_needs_nothing_that_people_install(start: Callable[..., Project], s3: S3Bucket) -> None:
    project = start("vml-verify-remote")
    project.run("remote", "add", "-d", "bucket", s3.url)
    project.run("remote", "modify", "bucket", "endpoint_url", s3.endpoint)
    project.run("remote", "modify", "bucket", "region", s3.server.region)
    project.write("data/a", "1")
    project.run("add", "data")
    project.commit()
    project.run("push")

    project.done("python -m pre_commit run --hook-stage manual vml-verify-remote")
