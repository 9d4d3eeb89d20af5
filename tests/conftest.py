"""A project in a real Git repository, and `vml` run in it as a user would."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from tests import browser, forges, servers
from tests import framework as framework_
from tests.forges import GitHub, GitLab
from vcs_ml.cli import main

_SETTINGS = ("GIT_", "VML_", "XDG_", "AWS_", "GITHUB_", "GITLAB_", "CI_", "BITBUCKET_", "CHANGE_")
_IN_CI = ("CI", "JENKINS_URL", "BUILD_URL")

settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("project")


class Result(NamedTuple):
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str


class Repo:
    """A Git repository with a vml project at its top; paths are relative to it."""

    def __init__(self, path: Path, capture: Callable[[], tuple[str, str]]) -> None:
        self.path = path
        self._capture = capture

    def run(self, *args: str, ok: bool = True, cwd: str | Path = "") -> Result:
        """`vml ARGS` in this process, from `cwd`; with `ok`, anything but exit code 0 fails the test."""
        self._capture()
        code = main(["-C", str(self.path / cwd), *args])
        out, err = self._capture()
        assert not ok or code == 0, f"vml {' '.join(args)}: exit {code}\n{out}{err}"
        return Result(code, out, err)

    def fails(self, *args: str, code: int, cwd: str | Path = "") -> Result:
        """`vml ARGS` that must end with this exit code and a hint, and without a traceback."""
        result = self.run(*args, ok=False, cwd=cwd)
        assert result.code == code, result
        assert "Traceback" not in result.err
        assert "hint: " in result.err, result
        return result

    def json(self, *args: str, cwd: str | Path = "") -> Any:
        """What `vml ARGS --json` prints, which always carries its schema."""
        found = json.loads(self.run(*args, "--json", cwd=cwd).out)
        assert found["schema"] == 1
        return found

    def changes(self, *paths: str) -> dict[str, str]:
        """What `vml status` says of the data: path -> change."""
        return {each["path"]: each["change"] for each in self.json("status", *paths)["data"]}

    def git(self, *args: str) -> str:
        return subprocess.run(["git", *args], cwd=self.path, check=True, capture_output=True, text=True).stdout

    def commit(self, message: str = "commit") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file below the repository, and the directories above it."""
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    def read(self, path: str) -> bytes:
        return (self.path / path).read_bytes()

    def files(self, path: str) -> dict[str, bytes]:
        """Every file below a directory, links as `-> TARGET`."""
        found = {}
        for folder, _, names in os.walk(self.path / path):
            for name in names:
                file = Path(folder, name)
                content = f"-> {os.readlink(file)}".encode() if file.is_symlink() else file.read_bytes()
                found[file.relative_to(self.path / path).as_posix()] = content
        return found

    def beside(self, name: str) -> Repo:
        """The directory of this name beside this repository, to be filled."""
        return Repo(self.path.parent / name, self._capture)

    def clone(self, name: str) -> Repo:
        """`git clone` of this repository, beside it."""
        target = self.beside(name)
        subprocess.run(["git", "clone", "-q", str(self.path), str(target.path)], check=True)
        return target


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", type=int, default=10, metavar="N", help="rounds of every kill -9 test (10)")


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> int:
    """How many times to kill a command."""
    return int(request.config.getoption("--soak"))


@pytest.fixture(scope="module")
def above(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where states are built once."""
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def chance() -> random.Random:
    """Chosen moments; the seed is in the test's output if it fails."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of whoever runs the tests reaches Git or vml."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(_SETTINGS) or name in _IN_CI]:
        monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A U Thor",
        "GIT_AUTHOR_EMAIL": "author@example.org",
        "GIT_COMMITTER_NAME": "A U Thor",
        "GIT_COMMITTER_EMAIL": "author@example.org",
        "AWS_EC2_METADATA_DISABLED": "true",  # who has no keys shall not ask the network for them
    }.items():
        monkeypatch.setenv(name, value)
    yield


@pytest.fixture
def repo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Repo:
    """An initialised, committed project."""
    path = tmp_path / "repo"
    path.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    made = Repo(path, lambda: tuple(capfd.readouterr()))  # type: ignore[arg-type]
    made.run("init")
    made.commit("init")
    return made


@pytest.fixture
def remote(repo: Repo, tmp_path: Path) -> Path:
    """A directory remote, the default of `repo`, committed."""
    place = tmp_path / "remote"
    repo.run("remote", "add", "-d", "origin", str(place))
    repo.commit("remote")
    return place


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """A headless browser. Without one the test is skipped, or fails where CI is set."""
    if browser.find() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium here: apt-get install chromium")
    with browser.started(tmp_path_factory.mktemp("browser") / "profile") as started:
        yield started


@pytest.fixture(scope="session")
def framework(tmp_path_factory: pytest.TempPathFactory) -> framework_.Framework:
    """pre-commit, with this checkout installed as hooks. Without a network the test is skipped, or fails where CI is
    set.
    """
    # Workers of xdist have directories of their own in one that is everybody's.
    base = tmp_path_factory.getbasetemp()
    try:
        return framework_.install((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "framework")
    except framework_.NoFramework as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """An S3 server that honours conditional writes."""
    with servers.moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """An S3 server on a directory that checks signatures and accepts conditional writes without their condition."""
    place = tmp_path_factory.mktemp("rclone")
    with servers.rclone_server(place / "buckets", place / "home") as server:
        yield server


@pytest.fixture(params=["moto", "rclone"])
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> servers.S3Bucket:
    """A new, empty bucket, on one server after the other; the environment has the keys to it."""
    server: servers.Server = request.getfixturevalue(request.param)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server.bucket()


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A GitHub with a pull request."""
    hub = GitHub()
    with forges.running(hub):
        yield hub


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    """A GitLab with a merge request."""
    lab = GitLab()
    with forges.running(lab):
        yield lab
