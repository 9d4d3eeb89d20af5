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
    """One run: seconds on the clock, and bytes of the largest process at its peak."""

    seconds: float
    peak: int


def run(commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str], log: Path) -> Sample:
    """Run the commands one after another and measure them as one piece of work.

    Output goes to `log`, which is not a terminal, so nobody draws a progress bar. Raises CommandFailed with
    the log's text when a command exits with anything but 0.
    """
    peak = 0
    with log.open("wb") as out:
        start = time.perf_counter()
        for command in commands:
            with subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            ) as child:
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                text = log.read_text(errors="replace")
                raise CommandFailed(f"{' '.join(command)} exited with {child.returncode}:\n{text}")
            # The kernel counts the memory of the forking process too, so no child is seen below this
            # program's own size: keep it small. Linux counts in KiB, macOS in bytes.
            peak = max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        seconds = time.perf_counter() - start
    return Sample(seconds, peak)
