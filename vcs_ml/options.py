"""The arguments and options that mean the same in several commands."""

from __future__ import annotations

from typing import Annotated

import typer

# What is asked about.
Paths = Annotated[list[str] | None, typer.Argument(metavar="[PATH...]", help="Only these.")]
Groups = Annotated[list[str] | None, typer.Option("--group", metavar="NAME", help="What belongs to it.")]
Targets = Annotated[
    list[str] | None, typer.Option("--target", "-t", metavar="PATH", help="Only this file, directory or pattern.")
]
Older = Annotated[str, typer.Argument(metavar="[A]", help="The older revision.", show_default=False)]
Newer = Annotated[str | None, typer.Argument(metavar="[B]", help="The newer one (default: the workspace).")]

# Transfers.
Remote = Annotated[str | None, typer.Option("--remote", "-r", metavar="NAME", help="Not the default one.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", metavar="N", min=1, help="Transfers at a time.")]
DryTransfer = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would travel; move no data.")]
Fetch = Annotated[bool, typer.Option("--fetch", help="Get what is not here from the default remote.")]

# How it is said.
Precision = Annotated[int, typer.Option("--precision", metavar="N", min=1, max=17, help="Significant digits.")]
Markdown = Annotated[bool, typer.Option("--md", help="A Markdown table.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
