"""Running commands and measuring them: wall time and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class CommandFailed(Exception):
    """A command under measurement failed, so its time means nothing."""


class Sample(NamedTuple):
    """One run: seconds on the clock and of processors, bytes of the largest process at its peak, and of all together
    if asked for.
    """

    seconds: float
    peak: int
    together: int = 0
    processor: float = 0.0


def run(
    commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str], log: Path, together: bool = False
) -> Sample:
    """Run the commands one after another and measure them as one piece of work.

    Output goes to `log`, which is not a terminal, so nobody draws a progress bar. `together` looks ten times a second
    what all processes have, which costs a little time. Raises CommandFailed with the log's text when a command exits
    with anything but 0.
    """
    peak = sum_of_all = 0
    processor = 0.0
    with log.open("wb") as out:
        start = time.perf_counter()
        for command in commands:
            with subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            ) as child:
                while together and os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                    sum_of_all = max(sum_of_all, _memory(child.pid))
                    time.sleep(min(0.1, (time.perf_counter() - start) / 20))
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                text = log.read_text(errors="replace")
                raise CommandFailed(f"{' '.join(command)} exited with {child.returncode}:\n{text}")
            processor += usage.ru_utime + usage.ru_stime
            # The kernel counts the memory of the forking process too, so no child is seen below this
            # program's own size: keep it small. Linux counts in KiB, macOS in bytes.
            peak = max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        seconds = time.perf_counter() - start
    return Sample(seconds, peak, sum_of_all, processor)


def _memory(pid: int) -> int:
    """Bytes of a process and all below it, shared pages counted once (proc(5), Pss); 0 where that is not told."""
    found = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                found += int(line.split()[1]) * 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += sum(map(_memory, map(int, (task / "children").read_text().split())))
    except OSError:  # it ended meanwhile, or this is no Linux
        pass
    return found
