"""`vml config`: reads and changes settings."""

from __future__ import annotations

from typing import Annotated

import typer

from vcs_ml.config import Config
from vcs_ml.errors import UsageError, UserError
from vcs_ml.session import Session
from vcs_ml.settings import SETTINGS, Level, Value, shown
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_WIDTH = max(map(len, SETTINGS))
_KEYS = "\b\nSettings:\n" + "\n".join(f"  {key:{_WIDTH}}  {row.help}" for key, row in SETTINGS.items())


@app.command(epilog=_KEYS)
def config(
    ctx: typer.Context,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Which one; without it, list all.")] = None,
    value: Annotated[str | None, typer.Argument(metavar="[VALUE]", help="What to set it to.")] = None,
    *,
    local: Annotated[bool, typer.Option("--local", help="Only here: a file that is not committed.")] = False,
    global_: Annotated[bool, typer.Option("--global", help="For all projects of this user.")] = False,
    unset: Annotated[bool, typer.Option("--unset", help="Remove it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="List all as JSON.")] = False,
) -> None:
    """Print, set or remove a setting.

    Settings come from ~/.config/vml/config.toml (--global), .vml/config.toml (committed; what is written
    without an option) and .vml/config.local.toml (--local); the later one wins. A setting that is
    printed is the one in force, unless an option names its file. Exit code 1: it is not set.

    \b
    Examples:
      vml config cache.link copy
      vml config --local cache.dir /big/disk/cache
      vml config core.autostage
      vml config --unset core.autostage
    """
    session: Session = ctx.obj
    if local and global_:
        raise UsageError("--local and --global are two files", hint="vml config --help")
    level: Level | None = "local" if local else "global" if global_ else None
    settings = _load(session, outside=global_ or key is None)
    if key is None:
        if unset:
            raise UsageError("--unset needs a KEY", hint="vml config --help")
        _list(session, settings, level, json=json)
    elif unset:
        if value is not None:
            raise UsageError("--unset takes no VALUE", hint=f"vml config --unset {key}")
        if not settings.unset(level or "project", key):
            raise typer.Exit(1)
    elif value is not None:
        settings.set(level or "project", key, value)
    else:
        found = settings.get(key, level)
        if found is None:
            raise typer.Exit(1)
        session.out(_text(found))


def _load(session: Session, *, outside: bool) -> Config:
    """The settings of the project here; only the global ones if there is none and `outside` allows it."""
    try:
        return Project.find(session.directory, session.env).config
    except UserError:
        if not outside:
            raise
        return Config.load(None, session.env)


def _list(session: Session, settings: Config, level: Level | None, *, json: bool) -> None:
    rows = [(key, shown(key, entry.value), entry) for key, entry in settings.entries() if level in (None, entry.level)]
    if json:
        listed = [{"key": key, "value": value, "level": entry.level} for key, value, entry in rows]
        session.json({"schema": 1, "settings": listed})
        return
    for key, value, _ in rows:
        session.out(f"{key}={_text(value)}")


def _text(value: Value) -> str:
    """A value as `vml config KEY VALUE` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)
