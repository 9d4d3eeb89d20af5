"""`vml report --post`: exit codes, what is said, and reports that another run has written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.forges import GitHub, GitLab

MARKER = "<!-- vml-report -->"
POST = ("report", "--post", "github")
Enter = Callable[[dict[str, str]], None]


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Be in a job whose CI system has set these variables."""

    def set_all(env: dict[str, str]) -> None:
        for name, value in {"CI": "true", **env}.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.fixture
def work(repo: Repo) -> Repo:
    """A branch on which accuracy rose, and a gate for it."""
    repo.write("vml.yaml", "metrics: [m.json]\ngates:\n  m.json:accuracy: {min: 0.9}\n")
    repo.write("m.json", '{"accuracy": 0.91}')
    repo.commit()
    repo.git("checkout", "-q", "-b", "feature")
    repo.write("m.json", '{"accuracy": 0.95}')
    repo.commit()
    return repo


def fail_the_gate(work: Repo) -> None:
    work.write("m.json", '{"accuracy": 0.5}')
    work.commit()


def event(tmp_path: Path, value: object) -> str:
    path = tmp_path / "event.json"
    path.write_text(json.dumps(value))
    return str(path)


def from_fork(tmp_path: Path) -> str:
    repos = {side: {"repo": {"full_name": name}} for side, name in (("head", "eve/fruit"), ("base", "ada/fruit"))}
    return event(tmp_path, {"pull_request": {"number": 7, **repos}})


def test_report_becomes_a_comment(work: Repo, github: GitHub, enter: Enter) -> None:
    enter(github.env())

    first = work.run(*POST)
    second = work.run(*POST)

    (body,) = github.bodies
    assert body == f"{MARKER}\n{first.out}"
    assert "0.95" in body
    assert f"comment created: {github.url}/pull/7#" in first.err
    assert "comment updated: " in second.err


def test_report_becomes_a_note(work: Repo, gitlab: GitLab, enter: Enter) -> None:
    enter(gitlab.env())

    shown = work.run("report", "--post", "gitlab", "--post-key", "fruit", "--format", "html", "-o", "report.html")

    assert gitlab.bodies[0].startswith("<!-- vml-report:fruit -->\n")
    assert "comment created: https://gitlab.example.org/ada/fruit/-/merge_requests/7#note_" in shown.err
    assert work.read("report.html").startswith(b"<!DOCTYPE html>")


def test_gate_that_fails_is_posted_before_the_exit(work: Repo, github: GitHub, enter: Enter) -> None:
    fail_the_gate(work)
    enter(github.env())

    assert work.run(*POST, ok=False).code == 1
    assert "1 of 1 gate failed" in github.bodies[0]


def test_summary_is_written_whatever_the_format(work: Repo, github: GitHub, enter: Enter, tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    enter({**github.env(), "GITHUB_STEP_SUMMARY": str(summary)})
    markdown = work.run("report").out

    work.run("report", "--format", "json")

    assert summary.read_text() == f"{markdown}\n{markdown}"
    assert not github.requests


def test_summary_that_cannot_be_written_keeps_no_comment_back(
    work: Repo, github: GitHub, enter: Enter, tmp_path: Path
) -> None:
    summary = tmp_path / "gone" / "summary"
    enter({**github.env(), "GITHUB_STEP_SUMMARY": str(summary)})

    shown = work.run(*POST)

    assert f"warning: the run has no summary: {summary}: No such file or directory" in shown.err
    assert "hint: " in shown.err
    assert len(github.bodies) == 1


def test_output_that_fails_keeps_neither_summary_nor_comment_back(
    work: Repo, github: GitHub, enter: Enter, tmp_path: Path
) -> None:
    summary = tmp_path / "summary"
    enter({**github.env(), "GITHUB_STEP_SUMMARY": str(summary)})

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))  # bytes, as little as a full disk takes
    try:
        shown = work.fails(*POST, "-o", "report.html", code=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "report.html: file too large" in shown.err
    assert "0.95" in summary.read_text()
    assert "0.95" in github.bodies[0]

    summary.unlink()
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as nobody:
        shown = subprocess.run([sys.executable, "-m", "vcs_ml", "report"], cwd=work.path, stdout=nobody, check=False)
    assert shown.returncode == 141
    assert "0.95" in summary.read_text()


def test_strangers_words_are_no_commands_to_a_runner(work: Repo, github: GitHub, enter: Enter, tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    enter({**github.env(), "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)})
    work.write("m.json", '{"a": "##[error]hello", "accuracy": 0.95}')
    work.write("::set-output name=a::/f", "1")
    work.run("add", "::set-output name=a::")
    work.commit()
    work.write("::set-output name=a::/f", "2")

    printed = [work.run("report", "-o", "r.md"), work.run("report"), work.run("report", "--format", "json")]
    printed += [
        work.run("metrics", "diff", "main"),
        work.run("metrics", "diff", "main", "--json"),
        work.fails("checkout", code=3),
    ]

    lines = "".join(each.out + each.err for each in printed).splitlines()
    assert not [line for line in lines if "##[" in line or line.lstrip().startswith("::")]
    assert "##[error]hello" in [each["new"] for each in json.loads(printed[2].out)["metrics"]]
    assert "  : :set-output name=a::/f\n" in printed[5].err
    for text in (work.read("r.md").decode(), summary.read_text()):
        assert "`##[error]hello`" in text


@pytest.mark.parametrize("passes", [True, False])
def test_run_for_a_fork_warns_and_gates_count(
    work: Repo, github: GitHub, enter: Enter, tmp_path: Path, passes: bool
) -> None:
    github.may_write = False
    if not passes:
        fail_the_gate(work)
    enter({**github.env(), "GITHUB_EVENT_PATH": from_fork(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")})

    shown = work.run(*POST, ok=False)

    assert shown.code == (0 if passes else 1)
    assert "warning: nothing was posted: a run for a fork" in shown.err
    assert "docs/pull-requests.md" in shown.err
    assert (tmp_path / "summary").read_text() == shown.out


def test_comment_that_cannot_be_written_is_a_failure(work: Repo, github: GitHub, enter: Enter) -> None:
    github.may_write = False
    enter(github.env())

    assert "answers 403" in work.fails(*POST, code=4).err


def test_job_that_is_none_is_told_what_it_lacks(work: Repo) -> None:
    assert "GITHUB_REPOSITORY" in work.fails(*POST, code=3).err
    assert "CI_API_V4_URL" in work.fails("report", "--post", "gitlab", code=3).err


# --- A report that another run has written ------------------------------------------------------------------


def test_file_is_posted_outside_of_any_project(repo: Repo, github: GitHub, enter: Enter, tmp_path: Path) -> None:
    github.pulls = [{"number": 7, "head": {"label": "eve:x", "sha": "c" * 40, "repo": {"full_name": "eve/fruit"}}}]
    run = {
        "head_sha": "c" * 40,
        "head_branch": "x",
        "head_repository": {"full_name": "eve/fruit", "owner": {"login": "eve"}},
        "html_url": "https://github.example.org/runs/1",
        "repository": {"full_name": "ada/fruit"},
    }
    enter({**github.env(GITHUB_REF="refs/heads/main"), "GITHUB_EVENT_PATH": event(tmp_path, {"workflow_run": run})})
    nowhere = repo.beside("nowhere")
    nowhere.write("report.md", b"# All gates passed @ada\n\xff\0\n")

    nowhere.run(*POST, "--post-file", "report.md")

    (body,) = github.bodies
    assert body.startswith(f"{MARKER}\n> Computed by the code of `eve/fruit`, in [this run](")
    assert body.endswith("\n\n# All gates passed @\u2060ada\n\ufffd\ufffd\n")


def test_file_is_not_read_through_a_link(repo: Repo, github: GitHub, enter: Enter) -> None:
    enter(github.env())
    secret = repo.write("secret", "hunter2")
    repo.path.joinpath("report.md").symlink_to(secret)
    os.mkfifo(repo.path / "fifo")

    for name in ("report.md", "fifo", "nothing", "."):
        shown = repo.fails(*POST, "--post-file", name, code=3)
        assert "hunter2" not in shown.err
    assert not github.comments


@pytest.mark.parametrize("args", [("--post-file", "x"), ("--post", "github", "--post-file", "x", "HEAD")])
def test_file_takes_post_and_no_revisions(repo: Repo, args: tuple[str, ...]) -> None:
    repo.fails("report", *args, code=2)
