"""The pre-commit framework (https://pre-commit.com) with this checkout as the place that hooks come from."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
_PACKAGED: Final = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "vcs_ml")


class NoFramework(Exception):
    """Why the framework, or our package in it, cannot be installed here."""


class Framework(NamedTuple):
    """A framework whose environment for our hooks is installed: its home, the repository of hooks, and the commit."""

    home: Path
    source: Path
    rev: str

    def config(self, *hooks: str, lines: Sequence[str] = ()) -> str:
        """A .pre-commit-config.yaml with these hooks; `lines` go to the last of them."""
        rows = ["repos:", f"- repo: {self.source}", f"  rev: {self.rev}", "  hooks:"]
        rows += [f"  - id: {name}" for name in hooks]
        return "\n".join([*rows, *(f"    {line}" for line in lines), ""])

    def environment(self) -> dict[str, str]:
        """What lets git and the framework find each other, and a shell find `vml`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {"PRE_COMMIT_HOME": str(self.home), "PATH": path}


def shell(
    command: Sequence[str] | str, *, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What a command, or a line for the shell, writes to both streams, in order; nobody answers its questions.

    `env` is what it has beside our environment.
    """
    return subprocess.run(
        command if not isinstance(command, str) else ["bash", "-ec", command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def install(place: Path) -> Framework:
    """The framework with our hooks installed below `place`, once for all processes of a test run. NoFramework."""
    if importlib.util.find_spec("pre_commit") is None:
        raise NoFramework("pre-commit is not installed: pip install -e '.[dev]'")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = place / "installed"
        if not made.exists():
            made.write_text(_install(place))
        words = made.read_text()
    rev, _, failure = words.partition("\n")
    if failure:
        raise NoFramework(failure)
    return Framework(place / "home", place / "source", rev)


def _install(place: Path) -> str:
    """The commit that hooks come from; below it, why they could not be installed."""
    # Git's own variables, where a hook runs the tests, would name another repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    source = place / "source"
    source.mkdir()
    for name in _PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source / name)
    who = ("-c", "user.name=A U Thor", "-c", "user.email=author@example.org", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "-A", "-f"], [*who, "commit", "-q", "--no-verify", "-m", "hooks"]):
        subprocess.run(["git", *command], cwd=source, env=env, check=True)
    rev = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, env=env, check=True, capture_output=True, text=True)
    made = Framework(place / "home", source, rev.stdout.strip())
    scratch = place / "scratch"
    subprocess.run(["git", "init", "-q", str(scratch)], env=env, check=True)
    (scratch / ".pre-commit-config.yaml").write_text(made.config("vml-status"))
    command = [sys.executable, "-m", "pre_commit", "install-hooks"]
    env["PRE_COMMIT_HOME"] = str(made.home)
    done = subprocess.run(command, cwd=scratch, env=env, check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return made.rev
    errors = [line.strip() for line in done.stdout.splitlines() if "ERROR" in line]
    return f"{made.rev}\npre-commit cannot install this package here, which takes an index of packages: {errors[-1:]}"
