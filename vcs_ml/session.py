"""What one run of the program was given, and where its words go: data to stdout, messages to stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from vcs_ml import output
from vcs_ml.progress import SILENT, Progress


class Session:
    """The directory a command works from, how much it says, its environment, and its two streams."""

    __slots__ = (
        "_progress", "directory", "env", "quiet",
        "stderr_tty", "stdin_tty", "stdout_tty", "verbose",
    )  # fmt: skip

    def __init__(
        self,
        directory: Path,
        env: Mapping[str, str],
        *,
        quiet: bool = False,
        verbose: bool = False,
        stdin_tty: bool = False,
        stdout_tty: bool = False,
        stderr_tty: bool = False,
    ) -> None:
        self.directory = directory
        self.env = env
        self.quiet = quiet
        self.verbose = verbose
        self.stdin_tty = stdin_tty
        self.stdout_tty = stdout_tty
        self.stderr_tty = stderr_tty
        self._progress = SILENT

    @property
    def colour(self) -> bool:
        """Whether what goes to stdout may be coloured."""
        return output.wants_colour(self.env, tty=self.stdout_tty)

    def out(self, text: str) -> None:
        """Write a line (or lines) of what the command was asked for."""
        self._progress.clear()
        shown = output.inert(text, self.env)
        output.write(shown if shown.endswith("\n") else shown + "\n", sys.stdout)

    def data(self, raw: bytes) -> None:
        """Write bytes to stdout just as they are."""
        self._progress.clear()
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()

    def json(self, obj: object) -> None:
        """Write `obj` as JSON: always UTF-8 (RFC 8259), whatever the locale says."""
        # A lone surrogate becomes \udcXX here, which is how JSON writes it too.
        text = output.inert_json(output.json_text(obj), self.env)
        self.data((text + "\n").encode("utf-8", "backslashreplace"))

    def note(self, text: str) -> None:
        """Say something to people, unless they asked for quiet. What a terminal would obey is written as an escape."""
        if not self.quiet:
            self._say(output.lines(text) + "\n")

    def live(self, raw: bytes) -> None:
        """Pass on what a program that we run writes, unless quiet was asked for."""
        if not self.quiet:
            self._progress.clear()
            sys.stderr.flush()
            sys.stderr.buffer.write(raw)
            sys.stderr.buffer.flush()

    def warn(self, text: str, hint: str | None = None) -> None:
        """Say something that must not be missed."""
        self._say(output.problem("warning", text, hint, colour=self._stderr_colour()))

    def error(self, text: str, hint: str | None = None) -> None:
        """Say one of several things that end the command; the last of them is raised."""
        self._say(output.problem("error", text, hint, colour=self._stderr_colour()))

    def debug(self, text: str) -> None:
        """Say something only to those who asked for more."""
        if self.verbose:
            self._say(output.lines(text) + "\n")

    def progress(self, label: str, files: int | None = None, bytes: int | None = None) -> Progress:
        """A progress line on stderr, shown only on a terminal that can erase it, and unless quiet."""
        enabled = self.stderr_tty and not self.quiet and self.env.get("TERM") != "dumb"
        self._progress = Progress(label, files=files, bytes=bytes, stream=sys.stderr, enabled=enabled)
        return self._progress

    def _stderr_colour(self) -> bool:
        return output.wants_colour(self.env, tty=self.stderr_tty)

    def _say(self, text: str) -> None:
        self._progress.clear()
        output.write(output.inert(text, self.env), sys.stderr)
        sys.stderr.flush()
