"""The second section of the page: how cost grows with the number of files, of commits, and of bytes in one file."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import measure, tools, workload
from benchmarks.measure import Sample
from benchmarks.report import Table, megabytes, seconds
from benchmarks.story import WrongResult


class Bench(NamedTuple):
    """What every part works with: the programs (no DVC: None), where, the share of the full size to play at, and how
    often, where a median counts.
    """

    vml: str
    dvc: str | None
    scratch: Path
    env: Mapping[str, str]
    factor: float
    runs: int = 3

    def size(self, full: int) -> int:
        return max(round(full * self.factor), 4)

    def run(self, cwd: Path, *words: str | Path, together: bool = True) -> Sample:
        """One command, measured, and shown as it happens."""
        command = list(map(str, words))
        os.sync()
        sample = measure.run([command], cwd=cwd, env=self.env, log=self.scratch / "log", together=together)
        shown = " ".join([Path(command[0]).name, *command[1:]])[:50]
        memory = max(sample.peak, sample.together)
        numbers = f"{sample.seconds:9.3f} s {sample.processor:9.3f} s {memory / 1e6:7.0f} MB"
        print(f"  {shown:50} {numbers}", file=sys.stderr, flush=True)
        return sample

    def repo(self, name: str, program: str = "") -> Path:
        """A new repo for vml, or for DVC if that is the program; its remote is the directory `remote` beside it."""
        place = self.scratch / name / "repo"
        place.mkdir(parents=True)
        tool = tools.dvc(program) if program and program == self.dvc else tools.vml(self.vml)
        setup = [["git", "init", "-q"], *tool.setup]
        for command in setup:
            words = [word.format(remote=place.parent / "remote") for word in command]
            subprocess.run(words, cwd=place, env=self.env, check=True, stderr=subprocess.DEVNULL)
        return place

    def commit(self, repo: Path) -> None:
        for command in (["git", "add", "-A"], ["git", "commit", "-qm", "step", "--allow-empty"]):
            subprocess.run(command, cwd=repo, env=self.env, check=True)


def times(samples: Sequence[float], *, unit: float = 1.0) -> str:
    """How many times as long the last took as the first, for `unit` times the work."""
    return f"{samples[-1] / samples[0] / unit:.1f}"


# --- Files tracked one by one ----------------------------------------------------------------------------


def one_by_one(bench: Bench) -> Table:
    """A directory in which every file has a pointer of its own."""
    few, many = bench.size(2_000), bench.size(20_000)
    mine = [_one_by_one(bench, bench.vml, count) for count in (few, many)]
    peer = _one_by_one(bench, bench.dvc, few) if bench.dvc else {}
    names = [f"vml, {few:,}", f"DVC, {few:,}", "DVC : vml", f"vml, {many:,}", f"{many:,} : {few:,}"]
    rows = []
    for step, first in mine[0].items():
        theirs = [seconds(peer[step]), f"{peer[step] / first:.0f}"] if peer else ["", ""]
        rows.append([step, seconds(first), *theirs, seconds(mine[1][step]), times([first, mine[1][step]])])
    return Table("Files tracked one by one in one directory", ["step", *names], rows)


def _one_by_one(bench: Bench, program: str, count: int) -> dict[str, float]:
    repo = bench.repo("single", program)
    workload.write_small(repo / "data", range(count), directories=0)
    names = [f"data/{i:07}.bin" for i in range(count)]
    # vml takes a quoted glob; for DVC the shell would write the names.
    found = {"add all of them": bench.run(repo, program, "add", *(["data/*.bin"] if program == bench.vml else names))}
    bench.commit(repo)
    bench.run(repo, program, "status")
    found["status, nothing changed"] = bench.run(repo, program, "status")
    workload.write_small(repo / "data", [count], directories=0)
    found["add one more"] = bench.run(repo, program, "add", f"data/{count:07}.bin")
    shutil.rmtree(repo.parent)
    return {step: sample.seconds for step, sample in found.items()}


# --- Many files in one tracked directory -----------------------------------------------------------------


def many_files(bench: Bench) -> list[Table]:
    """100,000 and 1,000,000 files of 1 KiB, in 1,000 directories and in one."""
    found = []
    for shape, directories in (("in 1,000 directories", bench.size(1_000)), ("in one flat directory", 0)):
        counts = [bench.size(100_000), bench.size(1_000_000)]
        results = [_many_files(bench, count, directories) for count in counts]
        header = ["step", *(f"{count:,}" for count in counts), "a file, as against the first", "in processor time"]
        header += ["memory, largest process", "memory, all processes"]
        rows = []
        for step in results[0]:
            few, many = (result[step] for result in results)
            ratios = [
                times(pair, unit=counts[1] / counts[0])
                for pair in ([few.seconds, many.seconds], [few.processor, many.processor])
            ]
            memory = [megabytes(many.peak), megabytes(many.together)]
            rows.append([step, seconds(few.seconds), seconds(many.seconds), *ratios, *memory])
        found.append(Table(f"Files of 1 KiB {shape}", header, rows))
    return found


def _many_files(bench: Bench, count: int, directories: int) -> dict[str, Sample]:
    repo = bench.repo("many")
    clone = repo.parent / "clone"
    data = repo / "data"
    workload.write_small(data, range(count), directories=directories)
    found = {"add, cold": bench.run(repo, bench.vml, "add", "data")}
    bench.commit(repo)
    found["status, nothing changed"] = bench.run(repo, bench.vml, "status")
    changed = data / "0000" / "0000000.bin" if directories else data / "0000000.bin"
    changed.unlink()
    changed.write_bytes(bytes(1024))
    found["add, one file changed"] = bench.run(repo, bench.vml, "add", "data")
    bench.commit(repo)
    found["push, cold"] = bench.run(repo, bench.vml, "push")
    subprocess.run(["git", "clone", "-q", repo, clone], env=bench.env, check=True)
    found["pull in a clone"] = bench.run(clone, bench.vml, "pull")
    if not workload.same(data, clone / "data"):
        raise WrongResult("pull: the files are not the same")
    shutil.rmtree(data)
    found["checkout, directory deleted"] = bench.run(repo, bench.vml, "checkout")
    shutil.rmtree(repo.parent)
    return found


# --- A long history --------------------------------------------------------------------------------------


def history(bench: Bench) -> Table:
    """A file that every commit gives another version."""
    counts = [1, bench.size(5_000)]
    results = [_history(bench, count) for count in counts]
    rows = [
        [step, *(seconds(result[step]) for result in results), times([result[step] for result in results])]
        for step in results[0]
    ]
    names = [f"{count:,} {'commit' if count == 1 else 'commits'}" for count in counts]
    return Table("History", ["step", *names, "ratio"], rows)


def _history(bench: Bench, commits: int) -> dict[str, float]:
    repo = bench.repo("history")
    workload.write_small(repo / "versions", range(commits + 1), directories=0)
    run: Callable[..., Sample] = bench.run
    run(repo, bench.vml, "add", "versions/*.bin")  # so the store has them all; then one name gets them in turn
    pointers = [json.loads(path.read_bytes()) for path in sorted((repo / "versions").glob("*.vml"))]
    shutil.copy(repo / "versions" / f"{commits:07}.bin", repo / "model.bin")
    shutil.rmtree(repo / "versions")
    (repo / ".gitignore").write_text("/model.bin\n")
    bench.commit(repo)
    stream = []
    for n, pointer in enumerate(pointers):
        content = json.dumps(pointer | {"path": "model.bin"}, indent=2, sort_keys=True) + "\n"
        parent = "from refs/heads/main^0\n" if n == 0 else ""
        stream.append(
            f"commit refs/heads/main\ncommitter b <b@example.com> {1_700_000_000 + n} +0000\ndata 1\nv\n{parent}"
            f"M 100644 inline model.bin.vml\ndata {len(content)}\n{content}\n"
        )
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=repo, env=bench.env, input="".join(stream), text=True, check=True
    )
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=repo, env=bench.env, check=True)
    run(repo, bench.vml, "status")
    steps = {
        "status, nothing changed": ["status"],
        "ls --rev HEAD~1": ["ls", "--rev", "HEAD~1"],
        "diff HEAD~1": ["diff", "HEAD~1"],
        "push --all-commits, cold": ["push", "--all-commits"],
        "push --all-commits, nothing new": ["push", "--all-commits"],
    }
    found = {step: run(repo, bench.vml, *words).seconds for step, words in steps.items()}
    shutil.rmtree(repo.parent)
    return found


# --- One large file --------------------------------------------------------------------------------------


def large_file(bench: Bench) -> Table:
    """One file beside `cp`, in turn; and one that is nearly all hole."""
    size, sparse = bench.size(2_000_000_000), bench.size(10_000_000_000)
    shown = ("add", "checkout", "add, hardlink", "checkout, hardlink")
    steps: dict[str, list[Sample]] = {step: [] for step in ("cp", *shown)}
    for n in range(bench.runs):
        repo = bench.repo("large")
        workload.write_large(repo / "model.bin", size, seed=n)
        workload.touch_memory(bench.scratch, size)
        steps["cp"].append(bench.run(repo, "cp", "model.bin", repo.parent / "copy"))
        (repo.parent / "copy").unlink()
        steps["add"].append(bench.run(repo, bench.vml, "add", "model.bin"))
        (repo / "model.bin").rename(repo.parent / "before")
        workload.touch_memory(bench.scratch, size)
        steps["checkout"].append(bench.run(repo, bench.vml, "checkout"))
        if subprocess.run(["cmp", "-s", repo / "model.bin", repo.parent / "before"], check=False).returncode:
            raise WrongResult("checkout: the large file is not the same")
        shutil.rmtree(repo.parent)
        repo = bench.repo("large")
        subprocess.run([bench.vml, "config", "--local", "cache.link", "hardlink"], cwd=repo, env=bench.env, check=True)
        workload.write_large(repo / "model.bin", size, seed=n)
        steps["add, hardlink"].append(bench.run(repo, bench.vml, "add", "model.bin"))
        (repo / "model.bin").unlink()
        steps["checkout, hardlink"].append(bench.run(repo, bench.vml, "checkout"))
        shutil.rmtree(repo.parent)
    repo = bench.repo("large")
    with (repo / "sparse.bin").open("wb") as out:
        out.truncate(sparse)
    hole = {"add": bench.run(repo, bench.vml, "add", "sparse.bin")}
    (repo / "sparse.bin").unlink()
    hole["checkout"] = bench.run(repo, bench.vml, "checkout")
    shutil.rmtree(repo.parent)
    middle = {step: statistics.median(sample.seconds for sample in samples) for step, samples in steps.items()}
    rows = [
        [
            step,
            seconds(middle[step]),
            seconds(middle["cp"]),
            f"{middle['cp'] / middle[step]:.1f}",
            megabytes(max(sample.together for sample in steps[step])),
            seconds(hole[step].seconds) if step in hole else "",
        ]
        for step in shown
    ]
    header = ["step", f"vml, {size / 1e9:.0f} GB", f"cp, {size / 1e9:.0f} GB", "cp : vml", "memory"]
    return Table("One large file", [*header, f"vml, {sparse / 1e9:.0f} GB with nothing in it"], rows)


PARTS: dict[str, Callable[[Bench], Table | list[Table]]] = {
    "one-by-one": one_by_one,
    "many-files": many_files,
    "history": history,
    "large-file": large_file,
}
