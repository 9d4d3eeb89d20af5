"""The third section of the page: a bucket on loopback, beside rclone, the AWS command line and DVC."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import measure, tools, workload
from benchmarks.measure import Sample
from benchmarks.report import Table, megabytes, seconds
from benchmarks.story import WrongResult
from benchmarks.tools import Commands, Tool
from tests import servers

LATENCY = 0.030
# What the server does on each HEAD, GET and LIST otherwise: read the whole object for its MD5. S3 does not.
SERVER_FLAGS = ("--etag-hash", "")


class Bench(NamedTuple):
    """What every part works with: the tools (vml first), the server, where, and the share of the full size."""

    tools: Sequence[Tool]
    server: servers.Server
    scratch: Path
    env: Mapping[str, str]
    factor: float

    def size(self, full: int) -> int:
        return max(round(full * self.factor), 4)


# --- Tools -----------------------------------------------------------------------------------------------
# {endpoint} and {bucket} stand for the server and where to put things, {data} for what is pushed, {back} for where
# it comes back to; the rest as in tools.py.


def rclone(program: str, *, best: bool) -> Tool:
    """`rclone copy` as it comes, or as fast as it gets: it then compares sizes only and does not look at uploads."""
    flags = ["--transfers", "16", "--checkers", "16", "--fast-list", "--size-only", "--s3-no-head"] if best else []
    there = ':s3,provider=Rclone,env_auth=true,endpoint="{endpoint}":{bucket}'
    copy = [program, "copy", "--config", os.devnull, "-q", *flags]
    steps = {
        "push": [[*copy, "data", there]],
        "push-again": [[*copy, "data", there]],
        "pull": [[*copy, there, "{clone}/data"]],
    }
    steps["fetch"] = steps["pull"]
    return Tool("rclone, 16" if best else "rclone", [], steps, versioned=False)


def aws(program: str) -> Tool:
    """`aws s3 cp --recursive`; it would send everything again, so for nothing new `aws s3 sync`."""
    end = ["--endpoint-url", "{endpoint}", "--only-show-errors"]
    steps = {
        "push": [[program, "s3", "cp", "--recursive", *end, "data", "s3://{bucket}"]],
        "push-again": [[program, "s3", "sync", *end, "data", "s3://{bucket}"]],
        "pull": [[program, "s3", "cp", "--recursive", *end, "s3://{bucket}", "{clone}/data"]],
    }
    steps["fetch"] = steps["pull"]
    return Tool("aws s3", [], steps, versioned=False)


def _versioned(tool: Tool, program: str, address: Commands) -> Tool:
    """A tool with a Git repo: `pull` and `fetch` run in a clone that is made before."""
    setup = [[word.replace("{remote}", "s3://{bucket}") for word in command] for command in tool.setup]
    cd = [program, "--cd" if tool.name == "DVC" else "-C", "{clone}"]
    steps: dict[str, Commands] = {"add": [[program, "add", "data"]]}
    steps |= {"push": [[program, "push"]], "push-again": [[program, "push"]]}
    steps |= {"pull": [[*cd, "pull"]], "fetch": [[*cd, "fetch"]], "checkout": [[*cd, "checkout"]]}
    return Tool(tool.name, [*setup, *([program, "remote", "modify", "storage", *pair] for pair in address)], steps)


def dvc(program: str) -> Tool:
    return _versioned(tools.dvc(program), program, [["endpointurl", "{endpoint}"], ["region", servers.REGION]])


def vml(program: str) -> Tool:
    return _versioned(tools.vml(program), program, [["endpoint_url", "{endpoint}"], ["region", servers.REGION]])


def environment(server: servers.Server) -> dict[str, str]:
    """What every tool is told of the server, besides its address."""
    return {**server.environment(), "AWS_DEFAULT_REGION": server.region, "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def serving(program: str, scratch: Path) -> Iterator[servers.Server]:
    with servers.rclone_server(scratch / "s3", scratch / "server", *SERVER_FLAGS, program=program) as server:
        yield server


class Proxy:
    """tests.proxy in a process of its own: it shall not share a processor lock with the harness."""

    def __init__(self, upstream: str, *, latency: float = 0.0) -> None:
        command = [sys.executable, "-m", "tests.proxy", upstream, "--latency", str(latency)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self._line()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin
            process.stdin.close()

    def passed(self) -> Passed:
        """What passed since it was asked last."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found = json.loads(self._line())
        return Passed(sum(found["requests"].values()), found["up"], found["down"])

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


class Passed(NamedTuple):
    """Requests, bytes to the server, bytes from it."""

    requests: int
    up: int
    down: int


# --- One tool's place ------------------------------------------------------------------------------------

_numbers = itertools.count()


class Place:
    """A new repo and a new bucket of one tool; `data` is made by the caller."""

    def __init__(self, bench: Bench, tool: Tool, endpoint: str) -> None:
        self._bench, self.tool = bench, tool
        number = next(_numbers)
        self.base = bench.scratch / f"place-{number}"
        self.repo, self.clone = self.base / "repo", self.base / "clone"
        self.repo.mkdir(parents=True)
        assert bench.server.directory
        self.bucket = bench.server.directory / f"bucket-{number}"
        self.bucket.mkdir()
        self._words = {
            "endpoint": endpoint,
            "bucket": f"{self.bucket.name}/data",
            "clone": str(self.clone),
            "repo": str(self.repo),
        }
        if tool.versioned:
            self._quietly([["git", "init", "-q"], *tool.setup])

    @property
    def data(self) -> Path:
        return self.repo / "data"

    def record(self) -> None:
        """Add and commit the data, which is not measured."""
        if self.tool.versioned:
            self._quietly([*self.tool.steps["add"], ["git", "add", "-A"], ["git", "commit", "-qm", "data"]])

    def make_clone(self) -> None:
        if self.tool.versioned:
            self._quietly([["git", "clone", "-q", "{repo}", "{clone}"]])

    def run(self, step: str, *, together: bool = False) -> Sample:
        """One step, measured, and shown as it happens."""
        os.sync()
        sample = measure.run(
            self._filled(self.tool.steps[step]),
            cwd=self.repo,
            env=self._bench.env,
            log=self._bench.scratch / "log",
            together=together,
        )
        numbers = f"{sample.seconds:9.3f} s {sample.processor:9.3f} s {max(sample.peak, sample.together) / 1e6:7.0f} MB"
        print(f"  {self.tool.name:12} {step:12} {numbers}", file=sys.stderr, flush=True)
        return sample

    def check_out(self) -> None:
        """Bring what was fetched into the workspace."""
        if "checkout" in self.tool.steps:
            self._quietly(self.tool.steps["checkout"])

    def remove(self) -> None:
        shutil.rmtree(self.base)
        shutil.rmtree(self.bucket)

    def _quietly(self, commands: Commands) -> None:
        measure.run(self._filled(commands), cwd=self.repo, env=self._bench.env, log=self._bench.scratch / "log")

    def _filled(self, commands: Commands) -> list[list[str]]:
        return [[word.format_map(self._words) for word in command] for command in commands]


# --- Many small files ------------------------------------------------------------------------------------

STORY = {"push": "push, cold", "push-again": "push, nothing new", "pull": "pull into an empty clone"}


def small_files(bench: Bench) -> list[Table]:
    """10,000 files of 10 KB: near, and with every request 30 ms late; requests are counted in the latter run."""
    count = bench.size(10_000)
    source = bench.scratch / "source"
    workload.write_small(source, range(count), directories=bench.size(100), size=10_000)
    near = {tool.name: _small_files(bench, tool, source, None)[0] for tool in bench.tools}
    far, passed = {}, {}
    for tool in bench.tools:
        with Proxy(bench.server.endpoint, latency=LATENCY) as proxy:
            far[tool.name], passed[tool.name] = _small_files(bench, tool, source, proxy)
    shutil.rmtree(source)
    title = f"{count:,} files of 10 KB"
    counts = [
        [name, *(f"{passed[tool.name][step].requests:,}" for tool in bench.tools)] for step, name in STORY.items()
    ]
    return [
        _times(bench, title, near),
        _times(bench, f"{title}, {LATENCY * 1000:.0f} ms for every request", far),
        Table(f"{title}: number of requests", ["step", *_names(bench)], counts),
    ]


def _small_files(
    bench: Bench, tool: Tool, source: Path, proxy: Proxy | None
) -> tuple[dict[str, Sample], dict[str, Passed]]:
    place = Place(bench, tool, proxy.endpoint if proxy else bench.server.endpoint)
    subprocess.run(["cp", "-r", source, place.data], check=True)
    place.record()
    samples, passed = {}, {}
    for step in STORY:
        if step == "pull":
            place.make_clone()
        if proxy:
            proxy.passed()
        samples[step] = place.run(step)
        if proxy:
            passed[step] = proxy.passed()
    if not workload.same(source, place.clone / "data"):
        raise WrongResult(f"{tool.name}, pull: the files are not the same as before")
    place.remove()
    return samples, passed


# --- One large file --------------------------------------------------------------------------------------


def large_file(bench: Bench) -> Table:
    """2 GB that no compression makes smaller."""
    size = bench.size(2_000_000_000)
    found = {tool.name: _large_file(bench, tool, size, "fetch", together=False) for tool in bench.tools}
    return _times(bench, f"One file of {_bytes(size)}", found, {"push": "push, cold", "fetch": "fetch"})


def memory(bench: Bench) -> Table:
    """The memory of all processes together for a file of 4 GB."""
    size = bench.size(4_000_000_000)
    found = {tool.name: _large_file(bench, tool, size, "pull", together=True) for tool in bench.tools}
    rows = [[step, *(megabytes(found[tool.name][step].together) for tool in bench.tools)] for step in ("push", "pull")]
    return Table(f"Peak memory of all processes, one file of {_bytes(size)}", ["step", *_names(bench)], rows)


def _large_file(bench: Bench, tool: Tool, size: int, back: str, *, together: bool) -> dict[str, Sample]:
    place = Place(bench, tool, bench.server.endpoint)
    place.data.mkdir()
    workload.write_large(place.data / "model.bin", size, seed=0)
    digest = _digest(place.data / "model.bin")
    place.record()
    samples = {"push": place.run("push", together=together)}
    place.make_clone()
    # Here are by now the file, a store's copy and the bucket's: make room for two more.
    for heavy in (place.data, place.repo / ".vml" / "cache", place.repo / ".dvc" / "cache"):
        shutil.rmtree(heavy, ignore_errors=True)
    samples[back] = place.run(back, together=together)
    if back == "fetch":
        place.check_out()
    if _digest(place.clone / "data" / "model.bin") != digest:
        raise WrongResult(f"{tool.name}, {back}: the file is not the same as before")
    place.remove()
    return samples


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- A table that is edited ------------------------------------------------------------------------------


def edited_csv(bench: Bench) -> Table:
    """500 MB of rows, then one more at the end, then one more in the middle: bytes that went to the server."""
    size = bench.size(500_000_000)
    found = {tool.name: _edited_csv(bench, tool, size) for tool in bench.tools}
    rows = [[step, *(f"{found[tool.name][step] / 1e6:,.2f} MB" for tool in bench.tools)] for step in EDITS]
    return Table(f"A CSV of {_bytes(size)}: bytes sent to the server", ["push of", *_names(bench)], rows)


EDITS: dict[str, Callable[[Path], None] | None] = {
    "all of it": None,
    "it with one row appended": lambda path: workload.insert_row(path, at=1.0),
    "it with one row inserted in the middle": lambda path: workload.insert_row(path, at=0.5),
}


def _edited_csv(bench: Bench, tool: Tool, size: int) -> dict[str, int]:
    found = {}
    with Proxy(bench.server.endpoint) as proxy:
        place = Place(bench, tool, proxy.endpoint)
        place.data.mkdir()
        path = place.data / "table.csv"
        workload.write_csv(path, size)
        for step, edit in EDITS.items():
            if edit:
                edit(path)
            place.record()
            proxy.passed()
            place.run("push")
            found[step] = proxy.passed().up
        place.remove()
    return found


# --- Tables ----------------------------------------------------------------------------------------------


def _names(bench: Bench) -> list[str]:
    return [tool.name for tool in bench.tools]


def _times(
    bench: Bench, title: str, found: Mapping[str, Mapping[str, Sample]], steps: Mapping[str, str] = STORY
) -> Table:
    names = _names(bench)
    peers = [name for name in names if name != "vml"] if "vml" in names else []
    rows = []
    for step, words in steps.items():
        took = {name: found[name][step].seconds for name in names}
        rows.append([words, *map(seconds, took.values()), *(f"{took[peer] / took['vml']:.1f}" for peer in peers)])
    return Table(title, ["step", *names, *(f"{peer} : vml" for peer in peers)], rows)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.0f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


PARTS: dict[str, Callable[[Bench], Table | list[Table]]] = {
    "small-files": small_files,
    "large-file": large_file,
    "edited-csv": edited_csv,
    "memory": memory,
}
