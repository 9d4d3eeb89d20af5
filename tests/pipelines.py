"""Pipelines in a project: written, run in this process or as programs of their own, and looked at."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import Repo

ROOT = Path(__file__).parents[1]


def write(repo: Repo, text: str, **files: str) -> None:
    """A vml.yaml, and other files by their names (`params_yaml` is params.yaml)."""
    repo.write("vml.yaml", textwrap.dedent(text))
    for name, content in files.items():
        repo.write(name.replace("_", "."), content)


def states(repo: Repo, *args: str, ok: bool = True) -> dict[str, str]:
    """What `vml repro ARGS` came to: the state of each stage."""
    result = repo.run("repro", "--json", *args, ok=ok)
    return {each["name"]: each["state"] for each in json.loads(result.out)["stages"]}


def whys(repo: Repo, *args: str, ok: bool = True) -> dict[str, list[str]]:
    """All reasons that `vml repro ARGS` gives for each stage."""
    result = repo.run("repro", "--json", *args, ok=ok)
    return {each["name"]: [one["text"] for one in each["reasons"]] for each in json.loads(result.out)["stages"]}


def lock(repo: Repo, source: str = "vml.lock") -> Any:
    """What a lock file holds."""
    return json.loads(repo.read(source))["stages"]


def start(repo: Repo, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """`vml repro ARGS` as a program of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "vcs_ml", "repro", *args],
        cwd=repo.path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """End the program, without a word to it."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


class Dag:
    """Random stages: each reads some earlier files, appends its name, and writes that to a file or a directory."""

    def __init__(self, chance: random.Random, size: int) -> None:
        self.sources = {f"in{i}": f"{chance.random()}\n" for i in range(3)}
        self.stages: list[tuple[str, Sequence[str], str, bool]] = []
        known = list(self.sources)
        for i in range(size):
            deps = chance.sample(known, min(len(known), chance.randint(1, 3)))
            out, is_dir = f"out{i}", chance.random() < 0.3
            self.stages.append((f"s{i}", deps, out, is_dir))
            known.append(f"{out}/part" if is_dir else out)

    def text(self) -> str:
        """Its vml.yaml."""
        lines = ["stages:"]
        for name, deps, out, is_dir in self.stages:
            target = f"{out}/part" if is_dir else out
            make = f"mkdir -p {out} && " if is_dir else ""
            lines += [
                f"  {name}:",
                f"    cmd: {make}cat {' '.join(deps)} > {target} && echo {name} >> {target} && echo {name} >> .ran",
                f"    deps: [{', '.join(deps)}]",
                f"    outs: [{out}]",
            ]
        return "\n".join(lines) + "\n"

    def model(self, sources: Mapping[str, str]) -> dict[str, str]:
        """What its files hold, worked out without running anything."""
        found = dict(sources)
        for name, deps, out, is_dir in self.stages:
            found[f"{out}/part" if is_dir else out] = "".join(found[each] for each in deps) + f"{name}\n"
        return {path: text for path, text in found.items() if path not in sources}

    def affected(self, sources: set[str]) -> set[str]:
        """The stages that depend on these files, by whatever way."""
        changed, found = set(sources), set()
        for name, deps, out, is_dir in self.stages:
            if changed & set(deps):
                found.add(name)
                changed.add(f"{out}/part" if is_dir else out)
        return found

    def put(self, repo: Repo) -> None:
        """Write it into a project."""
        repo.write("vml.yaml", self.text())
        for path, text in self.sources.items():
            repo.write(path, text)

    def check(self, repo: Repo) -> None:
        """Its files are what they should be."""
        wanted = self.model(self.sources)
        assert {path: repo.read(path).decode() for path in wanted} == wanted
