"""The files that people use in their CI: every script in them run by a shell, against a forge on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Repo
from tests.forges import ME, GitHub, GitLab

CHECKOUT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((CHECKOUT / "action.yml").read_text())
MARKER = "<!-- vml-report -->"
# Makes virtual environments in which `pip` writes down what it is asked to do, and `vml` is that of this checkout.
PYTHON = f"""#!/bin/sh
case "$*" in
*"-m venv "*)
    for directory; do :; done
    mkdir -p "$directory/bin"
    printf '#!/bin/sh\\nprintf "%%s\\\\n" "$@" > "$INSTALLED"\\n' > "$directory/bin/pip"
    printf '#!/bin/sh\\nexec {sys.executable} -P -m vcs_ml "$@"\\n' > "$directory/bin/vml"
    chmod +x "$directory/bin/pip" "$directory/bin/vml" ;;
*) exec {sys.executable} "$@" ;;
esac
"""


class Job:
    """A clone of a repository at the head of a pull request, where scripts run as in CI."""

    def __init__(self, clone: Repo, tmp_path: Path) -> None:
        self.repo = clone
        self.scratch = tmp_path
        programs = tmp_path / "programs"
        programs.mkdir()
        programs.joinpath("python3").write_text(PYTHON)
        programs.joinpath("python3").chmod(0o755)
        self.env = {
            **os.environ,
            "CI": "true",
            "INSTALLED": str(tmp_path / "installed"),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
        }

    def run(self, shell: str, script: str, cwd: str = ".", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shell.split(), "-c", script],
            cwd=self.repo.path / cwd,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def installed(self) -> list[str]:
        return (self.scratch / "installed").read_text().splitlines()


@pytest.fixture
def job(repo: Repo, remote: Path, tmp_path: Path) -> Job:
    """The job of a branch on which accuracy rose, and data grew."""
    repo.write("vml.yaml", "metrics: [m.json]\ngates:\n  m.json:accuracy: {min: 0.9}\n")
    repo.write("m.json", '{"accuracy": 0.91}')
    repo.write("images/1", "1")
    repo.run("add", "images")
    repo.commit()
    repo.git("checkout", "-q", "-b", "feature")
    repo.write("m.json", '{"accuracy": 0.95}')
    repo.write("images/2", "2")
    repo.run("commit")
    repo.commit()
    repo.run("push", "--all-commits")
    return Job(repo.clone("job"), tmp_path)


def fail_the_gate(job: Job) -> None:
    job.repo.write("m.json", '{"accuracy": 0.5}')
    job.repo.commit()


# --- GitHub ------------------------------------------------------------------------------------------------


def act(job: Job, github: GitHub, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the steps of the action as GitHub's runner does, up to the first that fails."""
    given = {name.replace("-", "_"): each["default"] for name, each in ACTION["inputs"].items()} | inputs
    known = {
        "inputs": given,
        "github": {"action_path": str(CHECKOUT), "token": ME},
        "runner": {"temp": str(job.scratch / "temp")},
    }

    def resolved(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            return str(known[match[1]][match[2].replace("-", "_")])

        return re.sub(r"\$\{\{ (\w+)\.([\w-]+) \}\}", value, text)

    given["token"] = resolved(given["token"])
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"], "a value in a script would be run"
        assert step["shell"] == "bash"
        env = {name: resolved(text) for name, text in step["env"].items()}
        env = github.env(GITHUB_TOKEN="", GITHUB_BASE_REF="main", GITHUB_STEP_SUMMARY=str(job.scratch / "s")) | env
        cwd = resolved(step.get("working-directory", "."))
        done = job.run("bash --noprofile --norc -eo pipefail", step["run"], cwd, **env)
        if done.returncode:
            break
    return done


def test_action_comments_and_writes_a_page(job: Job, github: GitHub) -> None:
    done = act(job, github, output="report.html", key="fruit")

    assert done.returncode == 0, done.stderr
    assert job.installed()[-1] == str(CHECKOUT)
    (body,) = github.bodies
    assert body.startswith("<!-- vml-report:fruit -->\n")
    assert "`images/2`" in body
    assert "0.95" in body
    assert "0.95" in (job.scratch / "s").read_text()
    assert job.repo.read("report.html").startswith(b"<!DOCTYPE html>")


def test_action_fails_with_its_gates_unless_told_not_to(job: Job, github: GitHub) -> None:
    fail_the_gate(job)

    assert act(job, github).returncode == 1
    assert act(job, github, gate="false").returncode == 0
    assert len(github.comments) == 1


def test_action_compares_what_it_is_told(job: Job, github: GitHub) -> None:
    done = act(job, github, base="origin/feature", head="origin/main", format="json", output="report.json", pull="true")

    assert done.returncode == 0, done.stderr
    assert '"origin/feature"' in job.repo.read("report.json").decode()
    assert (job.repo.path / "images/2").exists()
    assert act(job, github, head="origin/main").returncode == 2


def test_action_in_a_directory_of_the_repository_without_comment(job: Job, github: GitHub) -> None:
    job.repo.write("sub/file", "")

    assert act(job, github, working_directory="sub", post="false", fetch="false").returncode == 0
    assert not github.requests


def test_action_posts_what_another_workflow_wrote(job: Job, github: GitHub) -> None:
    report = job.repo.beside("artifact").write("report.md", "# Report\n")

    assert act(job, github, post_file=str(report)).returncode == 0
    assert github.bodies == [f"{MARKER}\n# Report\n"]


def test_action_installs_what_it_is_told(job: Job, github: GitHub) -> None:
    act(job, github, version="0.1.0", extras="blake3")

    assert job.installed()[-1] == "vcs-ml[blake3]==0.1.0"


def test_action_wants_a_python_that_is_new_enough(job: Job, github: GitHub) -> None:
    old = job.scratch / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    done = act(job, github, python=str(old))

    assert done.returncode == 2
    assert "::error::vml needs Python 3.11" in done.stdout


def test_input_is_never_run(job: Job, github: GitHub) -> None:
    hostile = "x\"; touch pwned; '$(touch pwned)`touch pwned`\ntouch pwned"
    compared = {"base", "head", "format", "output", "gate", "fetch", "pull", "post", "token"}
    groups = (compared, {"post-file", "key"}, {"version", "extras"}, {"python"})

    for group in groups:
        act(job, github, **{name.replace("-", "_"): hostile for name in group})

    assert set().union(*groups) == ACTION["inputs"].keys() - {"working-directory"}

    assert not list(job.scratch.rglob("pwned"))


# --- GitLab ------------------------------------------------------------------------------------------------


def gitlab_job(inputs: Mapping[str, str]) -> dict[str, Any]:
    """The job of the template with these inputs, which GitLab puts into its text."""
    head, text = (CHECKOUT / "ci/gitlab.yml").read_text().split("\n---\n")
    specified = yaml.safe_load(head)["spec"]["inputs"]
    values = {name: str(each["default"]) for name, each in specified.items()}
    values = {name: {"True": "true", "False": "false"}.get(each, each) for name, each in values.items()}
    filled = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda match: {**values, **inputs}[match[1]], text)
    found: dict[str, Any] = yaml.safe_load(filled)["vml-report"]
    return found


def pipeline(job: Job, gitlab: GitLab, **inputs: str) -> subprocess.CompletedProcess[str]:
    made = gitlab_job(inputs)
    env = {
        **gitlab.env(CI_PROJECT_DIR=str(job.repo.path), CI_BUILDS_DIR=str(job.scratch), CI_JOB_ID="42"),
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": job.repo.git("rev-parse", "origin/main").strip(),
    }
    env |= {name: str(value) for name, value in made["variables"].items() if name.startswith("VML_")}
    return job.run("sh -e", "\n".join(made["script"]), **env)


def test_gitlab_template_comments_and_leaves_its_artifacts(job: Job, gitlab: GitLab) -> None:
    done = pipeline(job, gitlab)

    assert done.returncode == 0, done.stderr
    assert job.installed()[-1] == "git+https://github.com/vcs-ml/vcs-ml"
    assert gitlab.bodies[0].startswith(f"{MARKER}\n")
    assert "`images/2`" in gitlab.bodies[0]
    artifacts = gitlab_job({})["artifacts"]
    assert job.repo.read(artifacts["paths"][0]).startswith(b"<!DOCTYPE html>")
    assert b"<testcase" in job.repo.read(artifacts["reports"]["junit"])


def test_gitlab_template_does_as_its_inputs_say(job: Job, gitlab: GitLab) -> None:
    fail_the_gate(job)
    job.repo.write("sub/file", "")

    assert pipeline(job, gitlab).returncode == 1
    done = pipeline(
        job,
        gitlab,
        gate="false",
        key="sub",
        directory="sub",
        pull="true",
        base="origin/feature",
        package="vcs-ml==0.1.0",
    )

    assert done.returncode == 0, done.stderr
    assert [body.partition("\n")[0] for body in gitlab.bodies] == [MARKER, "<!-- vml-report:sub -->"]
    assert (job.repo.path / "images/2").exists()
    assert job.installed()[-1] == "vcs-ml==0.1.0"
    assert pipeline(job, gitlab, post="false", gate="false", fetch="false").returncode == 0
    assert len(gitlab.comments) == 2


# --- Jenkins, Bitbucket ------------------------------------------------------------------------------------


def jenkins(job: Job, github: GitHub, **more: str) -> list[subprocess.CompletedProcess[str]]:
    text = (CHECKOUT / "ci/Jenkinsfile").read_text()
    scripts = re.findall(r"sh '''(.*?)'''", text, re.DOTALL)
    env = {
        "BUILD_URL": "https://jenkins.example.org/job/1/",
        "CHANGE_ID": "7",
        "CHANGE_TARGET": "main",
        "CHANGE_URL": "https://github.example.org/ada/fruit/pull/7",
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": ME,
        "VML_PACKAGE": re.findall(r"VML_PACKAGE = '(.*?)'", text)[0],
        "WORKSPACE_TMP": str(job.scratch / "temp"),
        **more,
    }
    return [job.run("sh -xe", script, **env) for script in scripts]


def test_jenkinsfile_comments_and_leaves_its_files(job: Job, github: GitHub) -> None:
    job.repo.git("branch", "-r", "-d", "origin/main")  # Jenkins has fetched the pull request alone

    ran = jenkins(job, github)

    assert len(ran) == 2
    for done in ran:
        assert done.returncode == 0, done.stderr
        assert ME not in done.stdout + done.stderr
    assert github.bodies[0].startswith(f"{MARKER}\n")
    assert job.repo.read("vml-report.html")
    assert b"<testcase" in job.repo.read("vml-report.xml")
    fail_the_gate(job)
    assert jenkins(job, github)[-1].returncode == 1


def test_jenkinsfile_asks_no_remote_that_a_fork_names(job: Job, github: GitHub) -> None:
    ours, theirs = jenkins(job, github)[-1], jenkins(job, github, CHANGE_FORK="eve")[-1]

    assert (ours.returncode, theirs.returncode) == (0, 0)
    assert "+ vml report --fetch " in ours.stderr
    assert "+ vml report --no-gate " in theirs.stderr
    assert "+ vml report --fetch" not in theirs.stderr


def bitbucket_step() -> dict[str, Any]:
    every = yaml.safe_load((CHECKOUT / "ci/bitbucket-pipelines.yml").read_text())["pipelines"]["pull-requests"]
    (each,) = every["**"]
    step: dict[str, Any] = each["step"]
    return step


def bitbucket(job: Job) -> subprocess.CompletedProcess[str]:
    env = {"BITBUCKET_PR_DESTINATION_BRANCH": "main", "HOME": str(job.scratch / "home")}
    return job.run("bash -e", "\n".join(bitbucket_step()["script"]), **env)


def test_bitbucket_pipeline_leaves_its_artifacts(job: Job) -> None:
    job.repo.git("branch", "-r", "-d", "origin/main")

    done = bitbucket(job)

    assert done.returncode == 0, done.stderr
    assert all(job.repo.read(path) for path in bitbucket_step()["artifacts"])
    fail_the_gate(job)
    assert bitbucket(job).returncode == 1


# --- Files that a pull request has where the report is written ------------------------------------------------


def plant_links(job: Job, *names: str) -> Path:
    """Commit links under these names; returns the directory outside of the checkout that they lead to."""
    outside = job.scratch / "outside"
    for name in names:
        there = outside / name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text("precious")
        top = name.partition("/")[0]
        if not (job.repo.path / top).is_symlink():
            (job.repo.path / top).symlink_to(outside / top)
    job.repo.commit()
    return outside


def precious(outside: Path, *names: str) -> bool:
    return all((outside / name).read_text() == "precious" for name in names)


def test_gitlab_template_does_not_write_through_links(job: Job, gitlab: GitLab) -> None:
    artifacts = gitlab_job({})["artifacts"]
    names = (artifacts["paths"][0], artifacts["reports"]["junit"])
    outside = plant_links(job, *names)

    assert pipeline(job, gitlab).returncode == 0
    assert precious(outside, *names)
    assert all((job.repo.path / name).is_file() for name in names)


def test_jenkinsfile_does_not_write_through_links(job: Job, github: GitHub) -> None:
    names = ("vml-report.xml", "vml-report.html")
    outside = plant_links(job, *names)

    assert [done.returncode for done in jenkins(job, github)] == [0, 0]
    assert precious(outside, *names)


def test_bitbucket_pipeline_does_not_write_through_links(job: Job) -> None:
    names = bitbucket_step()["artifacts"]
    outside = plant_links(job, *names)

    assert bitbucket(job).returncode == 0
    assert precious(outside, *names)


def test_page_writes_reports_outside_of_the_checkout() -> None:
    written = [step["with"]["output"] for step in steps_of_page() if "output" in step.get("with", {})]
    uploaded = [step["with"]["path"] for step in steps_of_page() if "upload-artifact" in step["uses"]]

    assert len(written) == 2
    assert written == uploaded
    assert all(each.startswith("${{ runner.temp }}/") for each in written)


# --- What the page tells to copy ---------------------------------------------------------------------------


def blocks() -> list[Any]:
    page = (CHECKOUT / "docs/pull-requests.md").read_text()
    return [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


def steps_of_page() -> list[dict[str, Any]]:
    return [
        step
        for block in blocks()
        for each in (block.get("jobs", {}).values() if isinstance(block, dict) else [])
        for step in each["steps"]
    ]


def test_page_gives_the_action_and_the_template_what_they_take() -> None:
    ours = [step.get("with", {}) for step in steps_of_page() if step["uses"].startswith("vcs-ml/")]
    includes = [each for block in blocks() if "include" in block for each in block["include"]]

    assert len(ours) == 3
    assert len(includes) == 2
    assert all(name in ACTION["inputs"] for each in ours for name in each)
    specified = yaml.safe_load((CHECKOUT / "ci/gitlab.yml").read_text().split("\n---\n")[0])["spec"]["inputs"]
    assert all(name in specified for each in includes for name in each.get("inputs", {}))


def test_page_names_every_input() -> None:
    page = (CHECKOUT / "docs/pull-requests.md").read_text()

    assert all(f"`{name}`" in page for name in ACTION["inputs"])


def test_workflow_with_rights_checks_out_nothing() -> None:
    (posting,) = (block for block in blocks() if isinstance(block, dict) and "workflow_run" in (block.get(True) or {}))
    (each,) = posting["jobs"].values()

    assert not any("checkout" in step["uses"] for step in each["steps"])
    assert not any("run" in step for step in each["steps"])
    assert "workflow_run.conclusion != 'cancelled'" in each["if"]


def test_workflow_for_forks_asks_no_remote() -> None:
    (computing,) = (step for step in steps_of_page() if step.get("with", {}).get("post") == "false")

    assert computing["with"]["fetch"] == "false"
    assert "env" not in computing
