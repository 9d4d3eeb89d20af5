"""The sixth section of the page: what hooks and merges cost beside Git, with many pointers; beside DVC with fewer."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks import workload
from benchmarks.pipelines import HEADER, row
from benchmarks.report import Table, seconds
from benchmarks.scale import Bench
from benchmarks.story import WrongResult

LIMITS = {"before a commit of 3 files": 0.300, "status, nothing changed": 1.0}


def pointers(bench: Bench) -> list[Table]:
    """Files that have a pointer each: what runs before a commit and after a checkout."""
    few, many = bench.size(2_000), bench.size(20_000)
    mine = {count: _pointers(bench, bench.vml, count) for count in (few, many)}
    peer = _pointers(bench, bench.dvc, few) if bench.dvc else {}
    return [
        Table(
            f"{count:,} files with a pointer each",
            HEADER,
            [_line(step, own, peer.get(step) if count == few else None) for step, own in times.items()],
        )
        for count, times in mine.items()
    ]


def _line(step: str, own: float, peer: float | None) -> list[str]:
    if step in LIMITS:
        return row(step, own, peer, LIMITS[step])
    return [step, seconds(own), *(["", ""] if peer is None else [seconds(peer), f"{peer / own:.1f}"]), "", ""]


def _pointers(bench: Bench, program: str, count: int) -> dict[str, float]:
    is_ours = program == bench.vml
    repo = bench.repo("pointers", program)
    workload.write_small(repo / "data", range(count), directories=100)
    files = sorted(str(path.relative_to(repo)) for path in repo.glob("data/*/*.bin"))
    bench.run(repo, program, "add", *(["data/*/*.bin"] if is_ours else files))
    bench.commit(repo)
    (repo / files[0]).unlink()  # DVC, set up to link, would let it be written through into the cache
    workload.write_small(repo / "data/0000", [0], directories=0, size=2048)
    bench.run(repo, program, "add", files[0])
    bench.commit(repo)
    bench.run(repo, program, "status")
    old, new = _git(bench, repo, "rev-parse", "HEAD~1", "HEAD").split()
    found = {"status, nothing changed": _median(bench, repo, program, "status")}
    for n in range(3):
        (repo / f"code{n}.py").write_text(f"x = {n}\n")
    _git(bench, repo, "add", "code0.py", "code1.py", "code2.py")
    # These are what the hooks of either call: git-hook pre-commit is `dvc status`, post-checkout is `dvc checkout`.
    found["before a commit of 3 files"] = _median(
        bench, repo, program, *(["hook"] if is_ours else ["git-hook"]), "pre-commit"
    )
    hook = [program, "hook", "post-checkout"] if is_ours else [program, "git-hook", "post-checkout"]
    taken = []
    for turn in range(bench.runs + 1):
        one, other = (new, old) if turn % 2 == 0 else (old, new)
        _git(bench, repo, "checkout", "-q", other)
        taken.append(bench.run(repo, *hook, one, other, "1", together=False).seconds)
        if len((repo / files[0]).read_bytes()) != (1024 if other == old else 2048):
            raise WrongResult(f"{program}: the file is not that of the commit")
    found["after a checkout, one file differs"] = statistics.median(taken[1:])
    shutil.rmtree(repo.parent)
    return found


def merge(bench: Bench) -> Table:
    """A directory whose files two branches have changed, ten each."""
    count = bench.size(100_000)
    repo = bench.repo("merge")
    workload.write_small(repo / "data", range(count), directories=100)
    bench.run(repo, bench.vml, "install")
    bench.run(repo, bench.vml, "add", "data")
    bench.commit(repo)
    base = _git(bench, repo, "rev-parse", "HEAD").strip()
    for branch, at in (("one", 0), ("other", count // 2)):
        _git(bench, repo, "checkout", "-q", "-b", branch, base)
        bench.run(repo, bench.vml, "checkout")
        for n in range(at, at + 10):
            (repo / f"data/{n % 100:04}/{n:07}.bin").unlink()
        bench.run(repo, bench.vml, "add", "data")
        bench.commit(repo)
    ours = _git(bench, repo, "rev-parse", "HEAD").strip()
    taken = []
    for _ in range(bench.runs + 1):
        _git(bench, repo, "reset", "-q", "--hard", ours)
        taken.append(
            bench.run(repo, "git", "-c", "core.hooksPath=/dev/null", "merge", "-q", "one", together=False).seconds
        )
    if f'"nfiles": {count - 20}' not in (repo / "data.vml").read_text():
        raise WrongResult("the merge has not the files of both sides")
    shutil.rmtree(repo.parent)
    step = "git merge, 10 files deleted on each side"
    return Table(f"A directory of {count:,} files", ["step", "vml"], [[step, seconds(statistics.median(taken[1:]))]])


def _median(bench: Bench, repo: Path, *words: str) -> float:
    return statistics.median(bench.run(repo, *words, together=False).seconds for _ in range(bench.runs + 1))


def _git(bench: Bench, repo: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=repo, env=bench.env, check=True, capture_output=True, text=True).stdout


PARTS: dict[str, Callable[[Bench], Table | list[Table]]] = {"pointers": pointers, "merge": merge}
