"""The program `vml`."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from vcs_ml import __version__


def run() -> NoReturn:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"vml {__version__}\n")
        raise SystemExit(0)
    from vcs_ml.cli import main  # noqa: PLC0415 - the version alone should not wait 50 ms for Typer

    code = main()
    with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
        sys.stdout.flush()
        sys.stderr.flush()
    # Everything is written and closed. Taking a million small objects apart one by one would only cost time.
    os._exit(code)


if __name__ == "__main__":
    run()
