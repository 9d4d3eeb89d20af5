"""The benchmark's command line: which rows, which tools, how many runs, where, and where the tables go."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import compare, git, machine, pipelines, report, rows, s3, scale, story, tools, workload
from benchmarks.measure import CommandFailed, Sample
from benchmarks.story import Results, WrongResult
from tests import servers

# Link types to try DVC with; None is its own default, reflink,copy.
DVC_VARIANTS = (None, "copy", "hardlink", "reflink,hardlink", "symlink")


def main(argv: list[str]) -> int:
    options = _options(argv)
    section, bench, known = _section(options)
    if unknown := sorted(set(options.rows) - known):
        print(f"bench: no row {', '.join(unknown)}; there are {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    if options.write and (problem := report.no_markers(options.write, section)):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    scratch = Path(tempfile.mkdtemp(prefix="vml-bench-", dir=options.dir))
    try:
        return bench(options, argv, set(options.rows) or known, scratch)
    except (CommandFailed, WrongResult) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    finally:
        if options.keep:
            print(f"kept {scratch}", file=sys.stderr)
        else:
            shutil.rmtree(scratch, ignore_errors=True)


Section = Callable[[argparse.Namespace, list[str], set[str], Path], int]


def _section(options: argparse.Namespace) -> tuple[str, Section, set[str]]:
    """Its name in the page, what measures it, and what there is to choose from."""
    if options.scale:
        return "scale", _scale, set(scale.PARTS)
    if options.s3:
        return "s3", _s3, set(s3.PARTS)
    if options.pipelines:
        words = f"Median of {_runs(options)}, but one of stages that DVC runs and of the 5,000."
        parts = _Parts("pipelines", pipelines.PARTS, options.pipelines, words)
        return parts.name, partial(_beside_dvc, parts), set(parts.every)
    if options.compare:
        words = f"Median of {_runs(options)}."
        parts = _Parts("compare", compare.PARTS, options.compare, words)
        return parts.name, partial(_beside_dvc, parts), set(parts.every)
    if options.git:
        parts = _Parts("git", git.PARTS, options.git, f"Median of {_runs(options)}.")
        return parts.name, partial(_beside_dvc, parts), set(parts.every)
    return "benchmark", _bench, {row.step for row in (*rows.STORY, *rows.START_UP)}


def _bench(options: argparse.Namespace, argv: list[str], steps: set[str], scratch: Path) -> int:
    env = tools.environment(scratch)
    compared = _tools(options, scratch)
    results: Results = {}

    def keep(step: str, tool: str, sample: Sample) -> None:
        if step in steps:
            results.setdefault(step, {}).setdefault(tool, []).append(sample)

    def keep_and_tell(step: str, tool: str, sample: Sample) -> None:
        keep(step, tool, sample)
        peak = sample.peak / 1e6
        print(f"  {step:14} {tool:24} {sample.seconds:9.3f} s {peak:7.0f} MB", file=sys.stderr, flush=True)

    data = f"{options.files:,} files of 5-15 KB in {options.directories} directories, median of {_runs(options)}."
    where = machine.describe(
        scratch, command=shlex.join(["scripts/bench", *_as_typed(argv)]), versions=_versions(options), workload=data
    )
    print(where, file=sys.stderr)
    others = machine.Others()
    story.warm_up(compared, scratch=scratch, env=env)
    if start_up := [row for row in rows.START_UP if row.step in steps]:
        runs = max(15, options.runs)
        story.play_start_up(start_up, compared, scratch=scratch, env=env, runs=runs, report=keep)
    if chosen := rows.with_needs(steps):
        source = scratch / "source"
        size = workload.write_tree(source, files=options.files, directories=options.directories)
        # No step writes more than three times the data. On a disk there is no memory to warm.
        ballast = 3 * size if machine.file_system(scratch) == "tmpfs" else 0
        for run in range(options.runs):
            # The tools take turns in going first.
            turn = compared[run % len(compared) :] + compared[: run % len(compared)]
            story.play(
                chosen,
                turn,
                source=source,
                scratch=scratch,
                env=env,
                run=run,
                ballast=ballast,
                report=keep_and_tell,
            )
    where = f"{where} {others.sentence()}"
    _show(options, "benchmark", where, report.tables(results))
    missed = report.missed(results)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed and options.check else 0


def _scale(options: argparse.Namespace, argv: list[str], parts: set[str], scratch: Path) -> int:
    env = tools.environment(scratch)
    where = machine.describe(
        scratch,
        command=shlex.join(["scripts/bench", *_as_typed(argv)]),
        versions=_versions(options),
        workload="One run of each row, of those beside cp the median of three.",
    )
    others = machine.Others()
    bench = scale.Bench(options.vml, options.dvc if "dvc" in options.tools else None, scratch, env, options.scale)
    found = report.of_parts(scale.PARTS, bench, parts)
    _show(options, "scale", f"{where} {others.sentence()}", found)
    return 0


def _s3(options: argparse.Namespace, argv: list[str], parts: set[str], scratch: Path) -> int:
    made: dict[str, Callable[[], list[tools.Tool]]] = {
        "vml": lambda: [s3.vml(options.vml)],
        "rclone": lambda: [s3.rclone(options.rclone, best=True), s3.rclone(options.rclone, best=False)],
        "aws": lambda: [s3.aws(options.aws)],
        "dvc": lambda: [s3.dvc(options.dvc)],
    }
    versions = [f"rclone {machine.version(options.rclone, 'version', line=0).removeprefix('v')}"]
    if "aws" in options.tools:
        versions.append(machine.version(options.aws, "--version", word=0).replace("/", " "))
    where = machine.describe(
        scratch,
        command=shlex.join(["scripts/bench", *_as_typed(argv)]),
        versions=", ".join([_versions(options), *versions]),
        workload="One run of each row.",
    )
    others = machine.Others()
    with s3.serving(options.rclone, scratch) as server:
        env = {**tools.environment(scratch), **s3.environment(server)}
        compared = [tool for name in made if name in options.tools for tool in made[name]()]
        found = report.of_parts(s3.PARTS, s3.Bench(compared, server, scratch, env, options.s3), parts)
    _show(options, "s3", f"{where} {others.sentence()}", found)
    return 0


class _Parts(NamedTuple):
    """A section of the page beside DVC alone: its name there, its parts, how much of them, and what is said of it."""

    name: str
    every: Mapping[str, Callable[[scale.Bench], report.Table | list[report.Table]]]
    share: float
    workload: str


def _beside_dvc(section: _Parts, options: argparse.Namespace, argv: list[str], parts: set[str], scratch: Path) -> int:
    env = tools.environment(scratch)
    dvc = options.dvc if "dvc" in options.tools else None
    where = machine.describe(
        scratch,
        command=shlex.join(["scripts/bench", *_as_typed(argv)]),
        versions=_versions(options),
        workload=section.workload,
    )
    others = machine.Others()
    story.warm_up([tools.vml(options.vml), *([tools.dvc(dvc)] if dvc else [])], scratch=scratch, env=env)
    bench = scale.Bench(options.vml, dvc, scratch, env, section.share, options.runs)
    found = report.of_parts(section.every, bench, parts)
    _show(options, section.name, f"{where} {others.sentence()}", found)
    missed = pipelines.missed(found)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed and options.check else 0


def _show(options: argparse.Namespace, section: str, where: str, found: Sequence[report.Table]) -> None:
    markdown = report.as_markdown(found, machine=where)
    print(markdown if options.markdown else f"{where}\n\n{report.as_text(found)}")
    if options.write:
        report.write_between_markers(options.write, section, markdown)


def _tools(options: argparse.Namespace, scratch: Path) -> list[tools.Tool]:
    if options.dvc_settings:
        return [tools.dvc(options.dvc, cache_type=kind, name=f"DVC {kind or 'default'}") for kind in DVC_VARIANTS]
    made: dict[str, Callable[[], tools.Tool]] = {
        "cp": tools.cp,
        "git": tools.git,
        "dvc": lambda: tools.dvc(options.dvc),
        "vml": lambda: tools.vml(options.vml),
        "python": lambda: tools.python(scratch / "bare"),
    }
    return [made[name]() for name in made if name in options.tools]


def _versions(options: argparse.Namespace) -> str:
    found = [f"git {machine.version('git', '--version')}"]
    if "dvc" in options.tools:
        link = "" if options.dvc_settings else f" with cache.type {tools.DVC_CACHE_TYPE}"
        found.append(f"DVC {machine.version(options.dvc, '--version')}{link}")
    if "vml" in options.tools and not options.dvc_settings:
        found.append(f"vml {machine.version(options.vml, '--version')}")
    return ", ".join(found)


def _runs(options: argparse.Namespace) -> str:
    return "1 run" if options.runs == 1 else f"{options.runs} runs"


def _as_typed(argv: list[str]) -> list[str]:
    """The arguments without `--vml PROGRAM`, which scripts/bench adds."""
    return argv[2:] if argv[:1] == ["--vml"] else argv


def _options(argv: list[str]) -> argparse.Namespace:
    beside = Path(sys.executable).parent
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure vml beside cp, Git and DVC.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows, e.g. add status (default: all)")
    for section, words in (
        ("--scale", "how cost grows: up to a million files, 5,000 commits, 10 GB; or a share of that"),
        ("--s3", "a bucket on this machine, beside rclone, aws s3 and DVC; or with a share of the data"),
        ("--pipelines", "pipelines of up to 5,000 stages, beside DVC; or with a share of the stages"),
        ("--compare", "metrics and plots of revisions, beside DVC; or with a share of the files and commits"),
        ("--git", "hooks and merges, up to 20,000 pointers; or with a share of the files"),
    ):
        parser.add_argument(section, type=float, nargs="?", const=1.0, metavar="SHARE", help=words)
    parser.add_argument("--runs", type=int, default=3, help="runs of each row, of which the median counts")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--directories", type=int, default=100)
    parser.add_argument(
        "--tools",
        type=lambda text: text.split(","),
        default=["cp", "git", "dvc", "vml", "python", "rclone", "aws"],
        help="comma-separated: cp,git,dvc,vml,python; with --s3 vml,rclone,aws,dvc",
    )
    memory = Path("/dev/shm")  # where Linux keeps files in memory
    parser.add_argument(
        "--dir",
        type=Path,
        default=memory if memory.is_dir() else None,
        help="where to work (default: in memory)",
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the Markdown between the markers of PAGE")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--keep", action="store_true", help="leave the scratch directory for a look")
    parser.add_argument("--dvc-settings", action="store_true", help="compare DVC's link types with each other")
    parser.add_argument("--dvc", default=".bench-venv/bin/dvc", type=_absolute, help="the dvc program")
    parser.add_argument("--aws", default=".bench-venv/bin/aws", type=_absolute, help="the aws program")
    parser.add_argument("--rclone", default=servers.rclone_program(), type=_absolute, help="the rclone program")
    parser.add_argument("--vml", default=str(beside / "vml"), type=_absolute, help="the vml program")
    return parser.parse_args(argv)


def _absolute(program: str) -> str:
    return str(Path(program).absolute())


if __name__ == "__main__":
    # Files in memory outlive a killed program: turn a polite kill into an exit that removes them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
