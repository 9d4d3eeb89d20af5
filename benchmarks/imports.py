"""What each dependency costs to import, over a bare Python: the figures of the table in CONTRIBUTING.md.

Run as `python -m benchmarks.imports` in the checkout's virtual environment.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import measure, tools

# Each under the name it is imported by.
MODULES = (
    "boto3",
    "git",
    "pathspec",
    "yaml",
    "tabulate",
    "tomlkit",
    "typer",
    "xxhash",
    "zstandard",
    "blake3",
    "vl_convert",
)
RUNS = 15


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        env = tools.environment(scratch)
        programs = {"": "pass"} | {module: f"import {module}" for module in MODULES}
        seconds: dict[str, list[float]] = {module: [] for module in programs}
        for n in range(RUNS + 1):
            for module, program in programs.items():
                try:
                    sample = measure.run([[sys.executable, "-c", program]], cwd=scratch, env=env, log=scratch / "log")
                except measure.CommandFailed:
                    continue  # an extra that is not installed
                if n > 0:  # the first run compiles
                    seconds[module].append(sample.seconds)
    bare = statistics.median(seconds.pop(""))
    print(f"python -c pass: {bare * 1000:.0f} ms")
    for module, found in seconds.items():
        cost = f"{(statistics.median(found) - bare) * 1000:+.0f} ms" if found else "not installed"
        print(f"{module:12} {cost}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
