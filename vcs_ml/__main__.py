"""The program `vml`."""

from __future__ import annotations

import sys
from typing import NoReturn

from vcs_ml import __version__


def run() -> NoReturn:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"vml {__version__}\n")
        raise SystemExit(0)
    from vcs_ml.cli import main  # noqa: PLC0415 - the version alone should not wait 50 ms for Typer

    raise SystemExit(main())


if __name__ == "__main__":
    run()
