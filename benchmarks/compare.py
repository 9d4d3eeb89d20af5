"""The fifth section of the page: comparing metrics and plots of revisions, beside DVC."""

from __future__ import annotations

import json
import math
import random
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import workload
from benchmarks.pipelines import HEADER, MET, MISSED, file_of, row
from benchmarks.report import Table, megabytes, seconds
from benchmarks.rows import Goal
from benchmarks.scale import Bench
from benchmarks.story import WrongResult

GOAL = Goal("DVC", 1 / 5)
VALUES = 200  # of a file
ROWS_LIMIT, ROWS_MEMORY = 20.0, 500e6  # seconds, bytes of all processes together


def metrics(bench: Bench) -> Table:
    """Files of metrics in Git that change with every commit."""
    files, commits = bench.size(50), bench.size(50)

    def make(repo: Path, program: str) -> None:
        write_metrics(repo, file_of(bench, program), files=files)
        for seed in range(commits):
            change_metrics(repo, files=files, seed=seed)
            bench.commit(repo)

    steps = {
        "metrics diff HEAD~1 HEAD": ["metrics", "diff", "HEAD~1", "HEAD"],
        "metrics show, every commit": ["metrics", "show", "--all-commits"],
        "the same as JSON": ["metrics", "show", "--all-commits", "--json"],
    }
    title = f"{files} files of {VALUES} metrics, {commits} commits"
    return _beside_dvc(bench, title, make, steps, expected=f"{files - 1:03}.json")


def plots(bench: Bench) -> Table:
    """Series in CSV files in Git, at two revisions in one page."""
    files, points = bench.size(20), bench.size(10_000)

    def make(repo: Path, program: str) -> None:
        write_series(repo, file_of(bench, program), files=files)
        for seed in range(2):
            change_series(repo, files=files, points=points, seed=seed)
            bench.commit(repo)

    steps = {"plots diff HEAD~1 HEAD": ["plots", "diff", "HEAD~1", "HEAD"]}
    return _beside_dvc(bench, f"{files} series of {points:,} points", make, steps, expected=".html")


def rows(bench: Bench) -> Table:
    """The rows of a CSV file of which one in a hundred has changed; no peer compares them."""
    size = bench.size(200_000_000)
    repo = bench.repo("rows")
    workload.write_csv(repo / "table.csv", size)
    for turn in range(2):
        changed = workload.change_rows(repo / "table.csv", every=100) if turn else 0
        bench.run(repo, bench.vml, "add", "table.csv")
        bench.commit(repo)
    goal = f"{seconds(ROWS_LIMIT)}, {megabytes(ROWS_MEMORY)}"
    lines = []
    for step, key, expected in (
        ("diff --rows --key id", ["--key", "id"], f"{changed:,} changed"),
        ("diff --rows", [], f"{changed:,} added, {changed:,} removed"),
    ):
        found = [bench.run(repo, bench.vml, "diff", "--rows", *key, "HEAD~1", "HEAD") for _ in range(bench.runs)]
        if expected not in (bench.scratch / "log").read_text():
            raise WrongResult(f"vml diff --rows {' '.join(key)}: it does not say {expected!r}")
        taken = statistics.median(each.seconds for each in found)
        memory = max(max(each.peak, each.together) for each in found)
        met = MET if taken <= ROWS_LIMIT and memory <= ROWS_MEMORY else MISSED
        lines.append([step, seconds(taken), megabytes(memory), goal, met])
    shutil.rmtree(repo.parent)
    title = f"A CSV file of {megabytes(size)}, one row in 100 changed"
    return Table(title, ["step", "vml", "memory", "goal", "met"], lines)


def _beside_dvc(
    bench: Bench,
    title: str,
    make: Callable[[Path, str], None],
    steps: dict[str, Sequence[str]],
    *,
    expected: str,
) -> Table:
    """A line for each step: vml's median, DVC's if it takes part."""
    programs = [bench.vml, *([bench.dvc] if bench.dvc else [])]
    times: dict[str, dict[str, float]] = {step: {} for step in steps}
    for program in programs:
        repo = bench.repo("compare", program)
        make(repo, program)
        for step, words in steps.items():
            runs = []
            for _ in range(bench.runs):
                runs.append(bench.run(repo, program, *words, together=False).seconds)
                if expected not in (bench.scratch / "log").read_text():
                    raise WrongResult(f"{' '.join([program, *words])}: {expected} is not in what it says")
            times[step][program] = statistics.median(runs)
        shutil.rmtree(repo.parent)
    rows = [row(step, own[bench.vml], own.get(bench.dvc or ""), GOAL) for step, own in times.items()]
    return Table(title, HEADER, rows)


# --- The work ----------------------------------------------------------------------------------------------


def write_metrics(repo: Path, file: str, *, files: int) -> None:
    """What names the files of metrics."""
    (repo / "metrics").mkdir()
    (repo / file).write_text("metrics:\n" + "".join(f"  - metrics/{n:03}.json\n" for n in range(files)))


def change_metrics(repo: Path, *, files: int, seed: int) -> None:
    """Write these files, with other values for each seed."""
    chance = random.Random(seed)
    for n in range(files):
        groups = {f"group{g}": {f"metric{v}": chance.random() for v in range(VALUES // 10)} for g in range(10)}
        (repo / f"metrics/{n:03}.json").write_text(json.dumps(groups, indent=1))


def write_series(repo: Path, file: str, *, files: int) -> None:
    """What names the series."""
    (repo / "series").mkdir()
    lines = (f"  - series/{n:03}.csv:\n      x: step\n      y: loss\n" for n in range(files))
    (repo / file).write_text("plots:\n" + "".join(lines))


def change_series(repo: Path, *, files: int, points: int, seed: int) -> None:
    """Write curves that fall, with noise."""
    chance = random.Random(seed)
    for n in range(files):
        rows = (f"{step},{math.exp(-5 * step / points) + 0.1 * chance.random():.6f}\n" for step in range(points))
        (repo / f"series/{n:03}.csv").write_text("step,loss\n" + "".join(rows))


PARTS: dict[str, Callable[[Bench], Table | list[Table]]] = {"metrics": metrics, "plots": plots, "rows": rows}
