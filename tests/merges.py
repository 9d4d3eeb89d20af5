"""Branches of a project that Git merges, with the driver and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import Repo
from vcs_ml.workspace import attributes
from vcs_ml.workspace.project import Project

ROOT = Path(__file__).parents[1]


def program(place: Path) -> Path:
    """A directory with a `vml` in it that is the code under test."""
    place.mkdir(parents=True, exist_ok=True)
    script = place / "vml"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m vcs_ml "$@"\n')
    script.chmod(0o755)
    return place


def install(repo: Repo, at: str = "") -> None:
    """Let Git run the driver, and commit that."""
    attributes.install(Project.find(repo.path / at, os.environ))
    repo.commit("driver")


def git(repo: Repo, *args: str, cwd: str | Path = "") -> tuple[int, str]:
    """The exit code of a git, and all that it and the driver said."""
    done = subprocess.run(
        ["git", *args], cwd=repo.path / cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


Change = Callable[[], object]


@contextmanager
def branch(repo: Repo, name: str) -> Iterator[None]:
    """A branch from here, with what the body writes; then back, data and all."""
    before = repo.git("branch", "--show-current").strip()
    repo.git("checkout", "-q", "-b", name)
    yield
    repo.commit(name)
    repo.git("checkout", "-q", before)
    repo.run("checkout")


def record(repo: Repo, changes: dict[str, str | None]) -> None:
    """Change files of tracked data, and record that."""
    for path, content in changes.items():
        if content is None:
            (repo.path / path).unlink()
        else:
            repo.write(path, content)
    repo.run("commit")


def diverge(repo: Repo, theirs: dict[str, str | None], ours: dict[str, str | None], *, name: str = "topic") -> None:
    """A branch `name` with the changes of theirs, and here those of ours, both committed."""
    with branch(repo, name):
        record(repo, theirs)
    record(repo, ours)
    repo.commit("ours")


def pointer(repo: Repo, name: str = "data") -> Any:
    return json.loads(repo.read(f"{name}.vml"))


def conflicts(repo: Repo, *args: str) -> dict[str, str]:
    """What `vml status` says is to be settled."""
    return {each["path"]: each["change"] for each in repo.json("status", *args)["conflicts"]}


def is_true(repo: Repo, name: str = "data") -> bool:
    """Whether the pointer says what the files here are, counted and summed anew."""
    files = repo.files(name)
    found = pointer(repo, name)
    return (found["nfiles"], found["size"]) == (len(files), sum(map(len, files.values()))) and not repo.changes(name)
