"""The tools that are compared: what each one types for each step, and the environment they all share."""

from __future__ import annotations

import os
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

Commands = Sequence[Sequence[str]]

# The fastest of DVC's link types where reflinks do not work; README.md here has the measurements.
DVC_CACHE_TYPE = "hardlink"


class Tool(NamedTuple):
    """A tool: its name in the tables, the commands that set up a repo, and those of each step.

    Every command runs in the repo. `{remote}` and `{clone}` stand for two paths that do not exist yet,
    `{repo}` for the repo itself. A step that is missing here is one that the tool cannot do.
    """

    name: str
    setup: Commands
    steps: Mapping[str, Commands]
    versioned: bool = True  # has a Git repo around it


def cp() -> Tool:
    """`cp -r`: what it costs to have every byte a second time, and nothing more."""
    steps = {
        "add": [["cp", "-r", "data", "{repo}/../cp-add"]],
        "checkout": [["cp", "-r", "{repo}/../cp-add", "data"]],
        "push": [["cp", "-r", "data", "{remote}"]],
        "clone": [["cp", "-r", "{remote}", "{clone}"]],
    }
    return Tool("cp -r", [], steps, versioned=False)


def git() -> Tool:
    """Git with the data in the repo itself."""
    steps = {
        "add": [["git", "add", "data"]],
        "commit": [["git", "commit", "-qm", "data"]],
        "status": [["git", "status"]],
        "checkout": [["git", "checkout", "-q", "--", "data"]],
        "push": [["git", "push", "-q", "origin", "HEAD"]],
        "push-again": [["git", "push", "-q", "origin", "HEAD"]],
        "change-add": [["git", "add", "data"]],
        "change-push": [["git", "push", "-q", "origin", "HEAD"]],
        "clone": [["git", "clone", "-q", "{remote}", "{clone}"]],
        "version": [["git", "--version"]],
        "empty-status": [["git", "status"]],
    }
    setup = [["git", "init", "-q", "--bare", "{remote}"], ["git", "remote", "add", "origin", "{remote}"]]
    return Tool("git", setup, steps)


def dvc(program: str, *, cache_type: str | None = DVC_CACHE_TYPE, name: str = "DVC") -> Tool:
    """DVC. `cache_type` None leaves its default, which is reflink,copy."""
    settings = [["core.analytics", "false"], ["core.check_update", "false"]]
    if cache_type:
        settings.append(["cache.type", cache_type])
    setup = [[program, "init", "-q"], *([program, "config", *pair] for pair in settings)]
    setup.append([program, "remote", "add", "-q", "-d", "storage", "{remote}"])
    steps = {
        "add": [[program, "add", "data"]],
        "commit": [["git", "add", "-A"], ["git", "commit", "-qm", "data"]],
        "status": [[program, "status"]],
        "checkout": [[program, "checkout"]],
        "push": [[program, "push"]],
        "push-again": [[program, "push"]],
        "change-add": [[program, "add", "data"]],
        "change-push": [[program, "push"]],
        "clone": [["git", "clone", "-q", "{repo}", "{clone}"], [program, "--cd", "{clone}", "pull"]],
        "version": [[program, "--version"]],
        "empty-status": [[program, "status"]],
    }
    return Tool(name, setup, steps)


def vml(program: str) -> Tool:
    """vml as it comes, with no setting changed."""
    setup = [[program, "init"], [program, "remote", "add", "-d", "storage", "{remote}"]]
    steps = {
        "add": [[program, "add", "data"]],
        "commit": [["git", "add", "-A"], ["git", "commit", "-qm", "data"]],
        "status": [[program, "status"]],
        "checkout": [[program, "checkout"]],
        "push": [[program, "push"]],
        "push-again": [[program, "push"]],
        "change-add": [[program, "add", "data"]],
        "change-push": [[program, "push"]],
        "clone": [["git", "clone", "-q", "{repo}", "{clone}"], [program, "-C", "{clone}", "pull"]],
        "version": [[program, "--version"]],
        "empty-status": [[program, "status"]],
    }
    return Tool("vml", setup, steps)


def python(directory: Path) -> Tool:
    """Python starting and stopping: what no tool written in it can go below.

    It is this interpreter in a new, empty virtual environment. The one vml is installed in will not do: an
    install in place adds an import hook to every start, which took 11 ms, and vml has to account for those.
    """
    venv.create(directory)
    bare = [[str(directory / "bin" / "python"), "-c", "pass"]]
    return Tool("python", [], {"version": bare, "empty-status": bare}, versioned=False)


def environment(scratch: Path) -> dict[str, str]:
    """The environment of every command: nothing of this user's settings, and no state outside `scratch`.

    PYTHONDONTWRITEBYTECODE is among what is left out: with it, a program installed in place compiles itself
    again at every start.
    """
    home = scratch / "home"
    (home / "tmp").mkdir(parents=True)
    config = home / "gitconfig"
    # No gc in the background: it would run beside whatever is measured next.
    config.write_text(
        "[user]\n name = Benchmark\n email = benchmark@example.com\n"
        "[init]\n defaultBranch = main\n[gc]\n auto = 0\n[maintenance]\n auto = false\n"
    )
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
    }
