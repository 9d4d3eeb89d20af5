"""The program `vml`."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from vcs_ml import __version__


def run() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        _open_streams()
        code = _main()
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            sys.stdout.flush()
            sys.stderr.flush()
    except KeyboardInterrupt:  # during the import; later, main says so
        code = 130
    # Everything is written and closed. Taking a million small objects apart one by one would only cost time.
    os._exit(code)


def _open_streams() -> None:
    """Give what the shell has closed (`>&-`) to /dev/null, else the next file opened would be stdout."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - it stays open to the end


def _main() -> int:
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"vml {__version__}\n")
        return 0
    from vcs_ml.cli import main  # noqa: PLC0415 - the version alone should not wait 50 ms for Typer

    return main()


if __name__ == "__main__":
    run()
