"""`vml remote`: sets up the places where data is shared."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vcs_ml import output
from vcs_ml.errors import UsageError, UserError
from vcs_ml.options import Json
from vcs_ml.session import Session
from vcs_ml.settings import (
    REMOTE_SETTINGS,
    Level,
    bucket_and_prefix,
    check_fits,
    check_remote_name,
    check_web,
    masked,
    shown,
)
from vcs_ml.workspace import remote_check
from vcs_ml.workspace.project import Project


class Commands(TyperGroup):
    """The commands below `vml remote`; who types a name of git's is told ours."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in self.commands or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(args[0], self.commands, n=1)
        words = _OTHER_WORDS.get(args[0]) or (near[0] if near else "--help")
        raise UsageError(f"vml remote has no command {args[0]!r}", hint=f"vml remote {words}")


app = typer.Typer(rich_markup_mode=None, add_completion=False, cls=Commands)

_OTHER_WORDS = {
    "rm": "remove NAME",
    "delete": "remove NAME",
    "mv": "rename OLD NEW",
    "ls": "list",
    "show": "list",
    "get-url": "list",
    "set-url": "modify NAME url URL",
    "set": "modify NAME KEY VALUE",
}
PATHS = ("ca_bundle",)  # settings that are paths
SCHEMES = ("file", "s3", "https", "http")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the remote is called.")]
Local = Annotated[bool, typer.Option("--local", help="Only here: a file that is not committed.")]


@app.callback(invoke_without_command=True)
def remote(ctx: typer.Context) -> None:
    """Set up the places where data is shared: directories, buckets, web addresses. Alone, it lists them."""
    if ctx.invoked_subcommand is None:
        list_remotes(ctx)


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="A directory, s3://BUCKET/PREFIX, or https://HOST/PATH.")],
    *,
    default: Annotated[bool, typer.Option("--default", "-d", help="Make it the one push uses.")] = False,
    local: Local = False,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of it, as for modify.")
    ] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Whether to ask a bucket if it answers.")] = True,
) -> None:
    """Add a remote; nothing is created there before the first push. A bucket is asked whether it answers.

    \b
    Examples:
      vml remote add -d storage /mnt/shared/project
      vml remote add -d s3 s3://bucket/project
      vml remote add minio s3://data/project --set endpoint_url=https://minio.example.org
      vml remote add public https://data.example.org/project
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    check_remote_name(name)
    if name in project.config.remotes():
        raise UserError(f"there is a remote {name!r} already", hint=f"vml remote modify {name} url {output.word(url)}")
    level: Level = "local" if local else "project"
    place = location(url, project, session.directory)
    changes = {f"remote.{name}.url": place}
    for each in option or ():
        key, equals, value = each.partition("=")
        if not equals or key == "url":
            raise UsageError(f"{output.quote(masked(each))} is no setting", hint="--set region=eu-central-1")
        changes[f"remote.{name}.{key}"] = path_from_top(value, project, session.directory) if key in PATHS else value
    check_fits(place, [key.rpartition(".")[2] for key in changes])
    if default:
        changes["core.remote"] = name
    project.config.set_all(level, changes)
    if check and place.startswith(("s3://", "http")):
        for finding in remote_check.look(project, name):
            session.note(finding.text if finding.level == "ok" else f"{finding.level}: {finding.text}")
            if finding.hint:
                session.note(f"hint: {finding.hint}")


@app.command("list")
def list_remotes(
    ctx: typer.Context,
    json: Json = False,
) -> None:
    """List the remotes; a star marks the default.

    \b
    Examples:
      vml remote list
      vml remote list --json
    """
    session: Session = ctx.obj
    settings = Project.find(session.directory, session.env).config
    remotes = settings.remotes().values()
    if json:
        rows = [
            {
                "name": remote.name,
                "url": masked(remote.url),
                "default": remote.name == settings.default_remote,
                "level": remote.level,
                "options": {key: shown(key, value) for key, value in remote.options.items()},
            }
            for remote in remotes
        ]
        session.json({"schema": 1, "remotes": rows})
        return
    width = max((len(remote.name) for remote in remotes), default=0)
    for remote in remotes:
        star = "*" if remote.name == settings.default_remote else " "
        session.out(f"{star} {remote.name:{width}}  {masked(remote.url)}")


_WIDTH = max(map(len, REMOTE_SETTINGS))
_KEYS = "\b\nSettings:\n" + "\n".join(f"  {key:{_WIDTH}}  {row.help}" for key, row in REMOTE_SETTINGS.items())


@app.command(epilog=_KEYS)
def modify(
    ctx: typer.Context,
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Which setting (below).")],
    value: Annotated[str | None, typer.Argument(metavar="[VALUE]", help="What to set it to.")] = None,
    *,
    local: Local = False,
    unset: Annotated[bool, typer.Option("--unset", help="Remove the setting.")] = False,
) -> None:
    """Change a setting of a remote. Secrets need --local: they are never committed.

    \b
    Examples:
      vml remote modify storage url /mnt/new/project
      vml remote modify --local storage url ../project-data
      vml remote modify --local --unset storage url
      vml remote modify s3 region eu-central-1
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    known = project.config.remote(name)
    if unset == (value is not None):
        raise UsageError("give either a VALUE or --unset", hint=f"vml remote modify {name} {key} VALUE")
    level: Level = "local" if local else "project"
    full = f"remote.{name}.{key}"
    if value is None:
        if not project.config.unset(level, full):
            raise typer.Exit(1)
        return
    if key == "url":
        value = location(value, project, session.directory)
    else:
        check_fits(known.url, [key])
        value = path_from_top(value, project, session.directory) if key in PATHS else value
    project.config.set(level, full, value)


@app.command()
def rename(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="What it is called.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it shall be called.")],
) -> None:
    """Rename a remote, also where it is the default.

    \b
    Examples:
      vml remote rename storage archive
    """
    session: Session = ctx.obj
    Project.find(session.directory, session.env).config.rename_remote(old, new)


@app.command()
def remove(ctx: typer.Context, name: Name) -> None:
    """Remove a remote from the settings; its data stays where it is.

    \b
    Examples:
      vml remote remove backup
    """
    session: Session = ctx.obj
    Project.find(session.directory, session.env).config.remove_remote(name)


@app.command()
def default(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The one to use from now on.")] = None,
    local: Local = False,
    unset: Annotated[bool, typer.Option("--unset", help="Have no default any more.")] = False,
) -> None:
    """Print or choose the remote that push, fetch and pull use. Exit code 1: there is none.

    \b
    Examples:
      vml remote default
      vml remote default storage
      vml remote default --unset
    """
    session: Session = ctx.obj
    settings = Project.find(session.directory, session.env).config
    level: Level = "local" if local else "project"
    if unset:
        if name is not None:
            raise UsageError("--unset takes no NAME", hint="vml remote default --unset")
        if not settings.unset(level, "core.remote"):
            raise typer.Exit(1)
    elif name is not None:
        # A remote that only this clone knows cannot be everybody's default.
        if settings.remote(name).level == "local":
            level = "local"
        settings.set(level, "core.remote", name)
    elif settings.default_remote is None:
        raise typer.Exit(1)
    else:
        session.out(settings.default_remote)


def location(url: str, project: Project, directory: Path) -> str:
    """`url` as it is stored: a relative directory, typed in `directory`, is written from the project's top.

    UsageError for what can be no remote.
    """
    if match := _URL.fullmatch(url):
        scheme, rest = match[1].lower(), match[2]
        if scheme not in SCHEMES:
            near = difflib.get_close_matches(scheme, SCHEMES, n=1)
            hint = f"did you mean {near[0]}://?" if near else "a directory, s3://BUCKET/PREFIX or https://HOST/PATH"
            raise UsageError(f"{output.quote(masked(url))}: vml has no remotes of the kind {scheme}://", hint=hint)
        if scheme == "file" and not rest.startswith("/"):
            raise UsageError(f"{output.quote(url)} is not absolute", hint="file:///DIR, or a plain path")
        if scheme != "file":
            try:
                (bucket_and_prefix if scheme == "s3" else check_web)(f"{scheme}://{rest}")
            except UserError as error:
                raise UsageError(error.message, hint=error.hint) from None
        return f"{scheme}://{rest}"
    if not url:
        raise UsageError("the URL is empty", hint="vml remote add NAME DIRECTORY")
    if ":" in url.partition("/")[0]:
        raise UsageError(
            f"{output.quote(url)} looks like a place on another computer, which vml cannot reach",
            hint=f"a directory of that name: ./{url}",
        )
    return path_from_top(url, project, directory)


def path_from_top(path: str, project: Project, directory: Path) -> str:
    """A path that was typed in `directory`, as it is stored: from the project's top, if it is relative."""
    if not path or Path(path).is_absolute() or path.startswith("~"):
        return path
    return os.path.relpath((directory / path).resolve(), project.main_root)
