"""Where a benchmark ran: without this line its numbers mean nothing."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from pathlib import Path


def describe(directory: Path, *, command: str, versions: str, workload: str) -> str:
    """One paragraph: date, command typed, work, processor, kernel, Python, file system, versions."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{when}, `{command}`. {workload} {processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"{file_system(directory)}. {versions}."
    )


class Others:
    """What other programs take of the processors while we measure."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._others = _others()

    def sentence(self) -> str:
        if (now := _others()) is None or self._others is None:
            return "Other programs' share of the processors is not known."
        available = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        share = max(0.0, now - self._others) / available
        return f"Other programs took {share:.0%} of the processors meanwhile."


def _others() -> float | None:
    """Seconds of processor time spent since the start by all programs but this one and its children."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    # proc(5): user nice system idle iowait irq softirq steal, in ticks; steal is another guest's work.
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, stat.read_text().split()[1:11])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def file_system(directory: Path) -> str:
    """The type of the file system that holds a directory, such as tmpfs or ext4."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "file system unknown"
    best = ("", "file system unknown")
    for line in mounts.read_text().splitlines():
        _, point, kind, *_ = line.split(" ")
        if directory.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def version(*command: str, line: int = -1, word: int = -1) -> str:
    """One word, the last, of what a program says about its version."""
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said.strip().splitlines()[line].split()[word]
