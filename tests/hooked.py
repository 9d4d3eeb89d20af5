"""Git as a user runs it, in a repository where `vml install` has put its hooks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import Repo, Result

# One stage, which makes an output of what it reads.
PIPELINE = """\
stages:
  train:
    cmd: cp in.txt model.pkl
    deps: [in.txt]
    outs: [model.pkl]
"""


def git(repo: Repo, *args: str, ok: bool = True, cwd: str | Path = "", **env: str) -> Result:
    """`git ARGS` with what it and its hooks say; with `ok`, anything but exit code 0 fails the test."""
    done = subprocess.run(
        ["git", *args], cwd=repo.path / cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert not ok or done.returncode == 0, f"git {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def install(repo: Repo) -> None:
    """Put the hooks in place, and commit what that changes."""
    repo.run("install")
    commit(repo, "hooks")


def commit(repo: Repo, message: str = "commit") -> str:
    """Commit everything, past the hooks."""
    repo.git("add", "-A")
    repo.git("commit", "-q", "--no-verify", "--allow-empty", "-m", message)
    return repo.git("rev-parse", "HEAD").strip()


def version(repo: Repo, files: dict[str, str], message: str = "data") -> str:
    """Write and track these files one by one, and commit."""
    for path, content in files.items():
        repo.write(path, content)
    repo.run("add", *files)
    return commit(repo, message)


def change(repo: Repo, path: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file, and stage it."""
    content = json.loads(repo.read(path))
    edit(content)
    repo.write(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
    repo.git("add", path)


def bare(repo: Repo, name: str = "origin.git") -> Repo:
    """A new bare repository beside this one."""
    made = repo.beside(name)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(made.path)], check=True)
    return made
