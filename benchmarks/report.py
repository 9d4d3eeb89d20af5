"""What the measurements say: tables for the terminal and for Markdown, and whether the goals are met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from benchmarks.measure import Sample
from benchmarks.rows import START_UP, STORY, Goal, Row
from benchmarks.story import Results

BEGIN = "<!-- {}: begin (written by scripts/bench) -->"
END = "<!-- {}: end -->"

Bench = TypeVar("Bench")


class Table(NamedTuple):
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(results: Results) -> list[Table]:
    """The tables for what was measured: times, start-up times, memory."""
    story = [row for row in STORY if row.step in results]
    start_up = [row for row in START_UP if row.step in results]
    found = []
    if story:
        found.append(_times("Time", story, results))
    if start_up:
        found.append(_start_up(start_up, results))
    found.append(_memory([*story, *start_up], results))
    return found


def of_parts(
    parts: Mapping[str, Callable[[Bench], Table | list[Table]]], bench: Bench, names: Collection[str]
) -> list[Table]:
    """The tables of the parts with these names, measured now."""
    found: list[Table] = []
    for name, part in parts.items():
        if name in names:
            made = part(bench)
            found += made if isinstance(made, list) else [made]
    return found


def missed(results: Results) -> list[str]:
    """The goals that were measured and not met, as sentences."""
    return [
        f"{row.title}: vml took {seconds(_median(results[row.step]['vml']))}, the goal is {goal} = {seconds(limit)}"
        for row in (*STORY, *START_UP)
        for goal in row.goals
        if (limit := _limit(row, goal, results)) is not None and _median(results[row.step]["vml"]) > limit
    ]


def as_text(found: Sequence[Table]) -> str:
    return "\n\n".join(f"{table.title}\n{_aligned(table)}" for table in found)


def as_markdown(found: Sequence[Table], *, machine: str) -> str:
    parts = [machine]
    for table in found:
        lines = [f"**{table.title}**", "", _line(table.header), _line(["---"] * len(table.header))]
        lines += [_line(row) for row in table.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def markers(section: str) -> tuple[str, str]:
    """The lines before and after what is written into a page for this section: benchmark, scale, s3, and so on."""
    return BEGIN.format(section), END.format(section)


def write_between_markers(path: Path, section: str, markdown: str) -> None:
    """Replace the part of a page between the two markers, which are there."""
    begin, end = markers(section)
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n{markdown}\n\n{end}{after}", encoding="utf-8")


def no_markers(path: Path, section: str) -> str | None:
    """What is wrong with a page that is to be written to, or None. Asked before the long work."""
    if not path.is_file():
        return f"{path} does not exist"
    begin, end = markers(section)
    _, found, rest = path.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        return f"{path} needs these two lines, in this order:\n{begin}\n{end}"
    return None


def _times(title: str, rows: Sequence[Row], results: Results) -> Table:
    names = _names(rows, results)
    peers = [name for name in ("cp -r", "git", "DVC") if name in names and "vml" in names]
    body = []
    for row in rows:
        line = [row.title, *(_cell(results[row.step], name) for name in names)]
        line += [_ratio(results[row.step], peer) for peer in peers]
        body.append([*line, *_goal(row, results)])
    ratios = [f"{peer} : vml" for peer in peers]
    return Table(title, ["step", *names, *ratios, *(["goal", "met"] if "vml" in names else [])], body)


def _start_up(rows: Sequence[Row], results: Results) -> Table:
    names = _names(rows, results)
    others = [name for name in names if name != "python"] if "python" in names else []
    body = []
    for row in rows:
        measured = results[row.step]
        line = [row.title, *(_cell(measured, name) for name in names)]
        line += [_difference(measured, name) for name in others]
        body.append([*line, *_goal(row, results)])
    differences = [f"{name} over python" for name in others]
    return Table("Start-up", ["step", *names, *differences, *(["goal", "met"] if "vml" in names else [])], body)


def _memory(rows: Sequence[Row], results: Results) -> Table:
    names = _names(rows, results)
    body = [[row.title, *(_megabytes(results[row.step].get(name)) for name in names)] for row in rows]
    return Table(
        "Peak memory of the largest process (the harness itself, about 20 MB, is the least that can be seen)",
        ["step", *names],
        body,
    )


def _goal(row: Row, results: Results) -> list[str]:
    if not any("vml" in measured for measured in results.values()):
        return []
    limits = [_limit(row, goal, results) for goal in row.goals]
    if not row.goals or None in limits:
        return [" and ".join(map(str, row.goals)), ""]
    own = _median(results[row.step]["vml"])
    met = all(own <= limit for limit in limits if limit is not None)
    return [" and ".join(map(str, row.goals)), "yes" if met else "NO"]


def _limit(row: Row, goal: Goal, results: Results) -> float | None:
    """The seconds that a goal allows, or None when vml or the peer was not measured."""
    measured = results.get(row.step, {})
    if "vml" not in measured or goal.peer not in measured:
        return None
    return goal.limit(_median(measured[goal.peer]))


def _names(rows: Sequence[Row], results: Results) -> list[str]:
    """The tools that have a time in one of the rows: vml first, then in the order they were run."""
    found = dict.fromkeys(name for row in rows for name in results[row.step])
    return sorted(found, key=lambda name: name != "vml")


def _median(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.seconds for sample in samples)


def _cell(measured: dict[str, list[Sample]], name: str) -> str:
    return seconds(_median(measured[name])) if name in measured else ""


def seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _ratio(measured: dict[str, list[Sample]], peer: str) -> str:
    if "vml" not in measured or peer not in measured:
        return ""
    return f"{_median(measured[peer]) / _median(measured['vml']):.1f}"


def _difference(measured: dict[str, list[Sample]], name: str) -> str:
    if name not in measured or "python" not in measured:
        return ""
    return f"{(_median(measured[name]) - _median(measured['python'])) * 1000:+.0f} ms"


def _megabytes(samples: Sequence[Sample] | None) -> str:
    return megabytes(statistics.median(sample.peak for sample in samples)) if samples else ""


def megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"


def _aligned(table: Table) -> str:
    lines = [table.header, *table.rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(table.header))]
    lines.insert(1, ["-" * width for width in widths])
    # The first column is words, the others are mostly numbers.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
