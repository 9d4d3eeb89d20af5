"""The fourth section of the page: pipelines of many short stages, what each costs beyond its command, beside DVC."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import measure
from benchmarks.report import Table, seconds
from benchmarks.rows import Goal
from benchmarks.scale import Bench
from benchmarks.story import WrongResult

LIMIT_A_STAGE = 0.015  # seconds beyond the command itself
MET, MISSED = "yes", "NO"


# --- Pipelines ---------------------------------------------------------------------------------------------


def _copy(number: int) -> str:
    return f"cp {number:04}.txt {number + 1:04}.txt"


def _write_chain(repo: Path, file: str, count: int) -> None:
    """Stages that each copy what the one before has made."""
    stages = [
        f"  copy{n:04}:\n    cmd: {_copy(n)}\n    deps:\n      - {n:04}.txt\n    outs:\n      - {n + 1:04}.txt\n"
        for n in range(count)
    ]
    (repo / file).write_text("stages:\n" + "".join(stages))
    (repo / "0000.txt").write_text("to be copied\n")


def file_of(bench: Bench, program: str) -> str:
    """What names stages, metrics and plots for this program."""
    return "vml.yaml" if program == bench.vml else "dvc.yaml"


def _times(bench: Bench, program: str, count: int, then: Sequence[str] = ("repro", "status")) -> list[float]:
    """Seconds for a chain of so many stages that run for the first time; then for commands that leave it alone."""
    repo = bench.repo("chain", program)
    _write_chain(repo, file_of(bench, program), count)
    bench.commit(repo)
    cold = bench.run(repo, program, "repro", together=False).seconds
    last = repo / f"{count:04}.txt"
    if last.read_text() != "to be copied\n":
        raise WrongResult(f"{program} repro: the last stage has not made what it should")
    bench.commit(repo)
    written = last.stat().st_mtime_ns
    quiet = [
        statistics.median(bench.run(repo, program, word, together=False).seconds for _ in range(bench.runs))
        for word in then
    ]
    if last.stat().st_mtime_ns != written:
        raise WrongResult(f"{program} repro: a stage ran again, although nothing has changed")
    shutil.rmtree(repo.parent)
    return [cold, *quiet]


# --- Parts -------------------------------------------------------------------------------------------------


def chain(bench: Bench) -> Table:
    """300 stages, each of which copies a file."""
    count = bench.size(300)
    own = [_times(bench, bench.vml, count) for _ in range(bench.runs)]
    peer = _times(bench, bench.dvc, count) if bench.dvc else None
    goals: dict[str, Goal | float] = {
        "repro, cold": Goal("DVC", 1 / 12),
        "repro, nothing changed": Goal("DVC", 1 / 10),
        "status, nothing changed": 0.250,
    }
    rows = []
    for n, (step, goal) in enumerate(goals.items()):
        rows.append(row(step, statistics.median(times[n] for times in own), peer[n] if peer else None, goal))
    return Table(f"A chain of {count:,} stages that copy a file", HEADER, rows)


def growth(bench: Bench) -> Table:
    """Such chains of several lengths, beside their commands alone."""
    header = ["stages", "repro, cold", "a stage", "sh -c cp alone", "a stage beyond that", "goal", "met"]
    rows = []
    for count in map(bench.size, (50, 100, 200, 300, 1_000)):
        pairs = [(*_times(bench, bench.vml, count, ()), _alone(bench, count)) for _ in range(bench.runs)]
        own, bare = map(statistics.median, zip(*pairs, strict=True))
        beyond = (own - bare) / count
        met = [_milliseconds(LIMIT_A_STAGE), MET if beyond <= LIMIT_A_STAGE else MISSED]
        figures = [_milliseconds(own / count), _milliseconds(bare / count), _milliseconds(beyond)]
        rows.append([f"{count:,}", seconds(own), *figures, *met])
    return Table("vml: chains of several lengths", header, rows)


def _alone(bench: Bench, count: int) -> float:
    """The commands of a chain, one after another."""
    place = bench.scratch / "alone"
    place.mkdir()
    (place / "0000.txt").write_text("to be copied\n")
    os.sync()
    commands = [["sh", "-c", _copy(n)] for n in range(count)]
    sample = measure.run(commands, cwd=place, env=bench.env, log=bench.scratch / "log")
    shutil.rmtree(place)
    return sample.seconds


def parallel(bench: Bench) -> Table:
    """8 stages that wait for nothing and sleep for a second; DVC runs one at a time."""
    own = statistics.median(_sleep(bench, bench.vml, "-j", "4") for _ in range(bench.runs))
    peer = _sleep(bench, bench.dvc) if bench.dvc else None
    rows = [row("repro, for vml with -j 4", own, peer, 2.6)]
    return Table(f"8 independent stages that sleep for {bench.factor:g} s", HEADER, rows)


def _sleep(bench: Bench, program: str, *options: str) -> float:
    repo = bench.repo("sleep", program)
    stages = [
        f"  sleep{n}:\n    cmd: sleep {bench.factor:g} && echo {n} > {n}.txt\n    outs:\n      - {n}.txt\n"
        for n in range(8)
    ]
    (repo / file_of(bench, program)).write_text("stages:\n" + "".join(stages))
    found = bench.run(repo, program, "repro", *options, together=False).seconds
    if [(repo / f"{n}.txt").read_text() for n in range(8)] != [f"{n}\n" for n in range(8)]:
        raise WrongResult(f"{program} repro: a stage has not made what it should")
    shutil.rmtree(repo.parent)
    return found


def many(bench: Bench) -> Table:
    """5,000 stages, all up to date: mostly reading vml.yaml and vml.lock."""
    count = bench.size(5_000)
    cold, again, status = _times(bench, bench.vml, count)
    rows = [row("repro, nothing changed", again, None, 2.0), row("status, nothing changed", status, None, 2.0)]
    return Table(f"A chain of {count:,} stages, which ran in {seconds(cold)}", HEADER, rows)


# --- Tables ------------------------------------------------------------------------------------------------

HEADER = ("step", "vml", "DVC", "DVC : vml", "goal", "met")


def row(step: str, own: float, peer: float | None, goal: Goal | float) -> list[str]:
    """A line of a table. The goal is in seconds or as against DVC; the latter is open if DVC was not measured."""
    theirs = ["", ""] if peer is None else [seconds(peer), f"{peer / own:.1f}"]
    if isinstance(goal, float):
        return [step, seconds(own), *theirs, seconds(goal), MET if own <= goal else MISSED]
    met = "" if peer is None else MET if own <= goal.limit(peer) else MISSED
    return [step, seconds(own), *theirs, str(goal), met]


def missed(found: Sequence[Table]) -> list[str]:
    """The goals that were not met."""
    return [f"{table.title}: {line[0]}" for table in found for line in table.rows if line[-1] == MISSED]


def _milliseconds(value: float) -> str:
    return f"{value * 1000:.1f} ms"


PARTS: dict[str, Callable[[Bench], Table | list[Table]]] = {
    "chain": chain,
    "growth": growth,
    "parallel": parallel,
    "many": many,
}
