"""Playing the steps: fresh repos, one tool after the other in each step, results checked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import measure, workload
from benchmarks.measure import Sample
from benchmarks.rows import START_UP, Row
from benchmarks.tools import Commands, Tool

# step -> tool -> one sample a run
Results = dict[str, dict[str, list[Sample]]]


class WrongResult(Exception):
    """A tool finished without an error but did not do the work."""


class Place(NamedTuple):
    """Where one tool works during one run."""

    tool: Tool
    repo: Path
    remote: Path
    clone: Path

    def fill(self, commands: Commands) -> list[list[str]]:
        paths = {"repo": str(self.repo), "remote": str(self.remote), "clone": str(self.clone)}
        return [[word.format_map(paths) for word in command] for command in commands]


def play(
    rows: Sequence[Row],
    tools: Sequence[Tool],
    *,
    source: Path,
    scratch: Path,
    env: Mapping[str, str],
    run: int,
    ballast: int,
    report: Callable[[str, str, Sample], None],
) -> None:
    """Take every tool through `rows` once, each in a new repo with its own copy of `source`.

    `ballast` bytes of memory are touched before each measurement (workload.touch_memory says why).
    """
    base = scratch / f"run-{run}"
    places = [_prepare(tool, base / f"{n}", source, env, scratch) for n, tool in enumerate(tools)]
    for row in rows:
        for place in places:
            if commands := place.tool.steps.get(row.step):
                _before(row.step, place, seed=run)
                sample = _measured(place.fill(commands), place.repo, env, scratch, ballast)
                report(row.step, place.tool.name, sample)
                _after(row.step, place, env)
    shutil.rmtree(base)


def play_start_up(
    rows: Sequence[Row],
    tools: Sequence[Tool],
    *,
    scratch: Path,
    env: Mapping[str, str],
    runs: int,
    report: Callable[[str, str, Sample], None],
) -> None:
    """Run the short commands `runs` times, in turn, in empty repos, after one run that is not counted."""
    base = scratch / "start-up"
    places = [_prepare(tool, base / f"{n}", None, env, scratch) for n, tool in enumerate(tools)]
    for n in range(runs + 1):
        for row in rows:
            for place in places:
                if commands := place.tool.steps.get(row.step):
                    sample = measure.run(place.fill(commands), cwd=place.repo, env=env, log=scratch / "log")
                    if n > 0:
                        report(row.step, place.tool.name, sample)
    shutil.rmtree(base)


def warm_up(tools: Sequence[Tool], *, scratch: Path, env: Mapping[str, str]) -> None:
    """Start every program once: none shall pay for reading itself from disk or compiling its modules."""
    play_start_up(START_UP, tools, scratch=scratch, env=env, runs=0, report=lambda *_: None)


def _prepare(tool: Tool, base: Path, source: Path | None, env: Mapping[str, str], scratch: Path) -> Place:
    place = Place(tool, base / "repo", base / "remote", base / "clone")
    place.repo.mkdir(parents=True)
    setup = place.fill(tool.setup)
    if tool.versioned:
        setup.insert(0, ["git", "init", "-q"])
    if setup:
        measure.run(setup, cwd=place.repo, env=env, log=scratch / "log")
    if tool.versioned:
        _commit(place, env)
    if source:
        subprocess.run(["cp", "-r", source, place.repo / "data"], check=True)
    return place


def _measured(commands: Commands, cwd: Path, env: Mapping[str, str], scratch: Path, ballast: int) -> Sample:
    os.sync()  # what the step before has left to write is not this one's cost
    workload.touch_memory(scratch, ballast)
    return measure.run(commands, cwd=cwd, env=env, log=scratch / "log")


def _before(step: str, place: Place, *, seed: int) -> None:
    if step == "checkout":
        (place.repo / "data").rename(place.repo.parent / "before")
    elif step == "change-add":
        workload.replace_one(place.repo / "data", seed=seed)


def _after(step: str, place: Place, env: Mapping[str, str]) -> None:
    if step == "checkout":
        _require_same(step, place, place.repo.parent / "before")
        shutil.rmtree(place.repo.parent / "before")
    elif step == "change-add":
        _commit(place, env)
    elif step == "clone":
        copy = place.clone / "data" if place.tool.versioned else place.clone
        _require_same(step, place, copy)


def _require_same(step: str, place: Place, other: Path) -> None:
    if not workload.same(place.repo / "data", other):
        raise WrongResult(f"{place.tool.name}, {step}: the files are not the same as before")


def _commit(place: Place, env: Mapping[str, str]) -> None:
    """A Git commit of whatever the tool left for Git, outside the measurement."""
    for command in (["git", "add", "-A"], ["git", "commit", "-qm", "step", "--allow-empty"]):
        subprocess.run(command, cwd=place.repo, env=env, check=True)
