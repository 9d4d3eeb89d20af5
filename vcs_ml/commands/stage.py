"""`vml stage`: writes stages into vml.yaml, and lists them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from vcs_ml import output
from vcs_ml.errors import UsageError, UserError
from vcs_ml.options import Json
from vcs_ml.pipeline import edit, load, targets, text
from vcs_ml.pipeline import open as opened
from vcs_ml.pipeline.stage import FILE, Stage, address
from vcs_ml.session import Session
from vcs_ml.workspace import opening, tracked
from vcs_ml.workspace.project import Project

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Paths = list[str] | None
_WIDTH = 50


@app.callback()
def stage() -> None:
    """Write stages into vml.yaml, and list them."""


# What follows the first word that is no option belongs to the command of the stage.
@app.command("add", context_settings={"allow_interspersed_args": False})
def add(
    ctx: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What it runs; one word as it is.")],
    *,
    name: Annotated[str, typer.Option("--name", "-n", help="What the stage is called.")],
    deps: Annotated[Paths, typer.Option("--deps", "-d", metavar="PATH", help="It reads this.")] = None,
    params: Annotated[
        Paths, typer.Option("--params", "-p", metavar="[FILE:]KEY,...", help="It reads these params; FILE: for all.")
    ] = None,
    outs: Annotated[Paths, typer.Option("--outs", "-o", metavar="PATH", help="It makes this.")] = None,
    outs_no_cache: Annotated[
        Paths, typer.Option("--outs-no-cache", "-O", metavar="PATH", help="The same, for Git to keep.")
    ] = None,
    outs_persist: Annotated[
        Paths, typer.Option("--outs-persist", metavar="PATH", help="It goes on with this, each time it runs.")
    ] = None,
    outs_persist_no_cache: Annotated[
        Paths, typer.Option("--outs-persist-no-cache", metavar="PATH", help="The same, for Git to keep.")
    ] = None,
    metrics: Annotated[Paths, typer.Option("--metrics", "-m", metavar="PATH", help="It makes these metrics.")] = None,
    metrics_no_cache: Annotated[
        Paths, typer.Option("--metrics-no-cache", "-M", metavar="PATH", help="The same, for Git to keep.")
    ] = None,
    plots: Annotated[Paths, typer.Option("--plots", metavar="PATH", help="It makes this, to be plotted.")] = None,
    plots_no_cache: Annotated[
        Paths, typer.Option("--plots-no-cache", metavar="PATH", help="The same, for Git to keep.")
    ] = None,
    wdir: Annotated[
        str | None, typer.Option("--wdir", "-w", metavar="DIR", help="It runs there; paths start there.")
    ] = None,
    always_changed: Annotated[bool, typer.Option("--always-changed", help="It runs each time.")] = False,
    desc: Annotated[str | None, typer.Option("--desc", metavar="TEXT", help="What it is, for people.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the stage of this name.")] = False,
) -> None:
    """Write a stage into the vml.yaml of the current directory. Nothing is run.

    Options come first: the command begins with the first word that is none. Comments and the order of what the file
    says already stay as they are.

    \b
    Examples:
      vml stage add -n prepare -d prepare.py -d raw -o data python prepare.py raw data
      vml stage add -n train -d data -p lr,net.depth -o model -M metrics.json 'python train.py > log'
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    folder = project.relative(".", session.directory)
    source = f"{folder}/{FILE}" if folder else FILE
    definition = {
        "desc": desc,
        "cmd": command[0] if len(command) == 1 else shlex.join(command),
        "wdir": wdir,
        "deps": deps,
        "params": [entry for each in params or () for entry in _params(each)],
        "outs": [
            *(outs or ()),
            *_flagged(outs_no_cache, cache=False),
            *_flagged(outs_persist, persist=True),
            *_flagged(outs_persist_no_cache, cache=False, persist=True),
        ],
        "metrics": [*(metrics or ()), *_flagged(metrics_no_cache, cache=False)],
        "plots": [*(plots or ()), *_flagged(plots_no_cache, cache=False)],
        "always_changed": always_changed,
    }
    definition = {key: value for key, value in definition.items() if value}
    with opening.changing(project, session.note):
        survey = tracked.survey(project)
        raw = opened.read(project, source)
        document = load.document(raw, source)
        if name in ((document.value or {}).get("stages") or {}) and not force:
            where = f"{output.quote(source)}:{document.line(('stages', name))}"
            raise UserError(f"{where}: there is a stage {output.quote(name)} already", hint="-f replaces it")
        opened.write(project, survey, {source: edit.with_stage(raw, source, name, definition)})
    session.note(f"added to {output.quote(source)}:\n")
    session.out("\n".join(text.lines(name, definition, "  ")))
    where = address(source, name)
    steps = [f"vml repro {shlex.quote(where)}"]
    if not project.config.autostage:
        steps.append(f"git add {output.word(os.path.relpath(project.root / source, session.directory))}")
    session.note("\n".join(("\nnext:", *(f"  {step}" for step in steps))))


def _params(written: str) -> list[Any]:
    """What `FILE:KEY,KEY` is in vml.yaml."""
    file, colon, rest = written.rpartition(":")
    keys = [key for key in rest.split(",") if key]
    if not (file if colon else keys):
        raise UsageError(
            f"-p {output.quote(written)} names no params", hint="-p lr,net.depth or -p FILE:KEY or -p FILE:"
        )
    return [{file: keys or None}] if colon else keys


def _flagged(paths: Paths, **flags: bool) -> Iterator[dict[str, Mapping[str, bool]]]:
    return ({path: flags} for path in paths or ())


@app.command("list")
def list_stages(
    ctx: typer.Context,
    wanted: Annotated[list[str] | None, typer.Argument(metavar="[TARGET...]", help="Only these.")] = None,
    json: Json = False,
) -> None:
    """List stages, in the order in which they would run.

    \b
    Examples:
      vml stage list
      vml stage list train --json
    """
    session: Session = ctx.obj
    project = Project.find(session.directory, session.env)
    _, graph = opened.pipeline(project)
    start = project.relative(".", session.directory)
    chosen = {address for target in wanted or () for address in targets.find(graph, target, start)}
    stages = [graph.stages[address] for address in graph.order if address in chosen or not wanted]
    if json:
        session.json({"schema": 1, "stages": [_as_json(each) for each in stages]})
    elif stages:
        headers = ("stage", "deps", "outs", "command", "about", "")
        session.out(output.table([_row(each) for each in stages], headers, align="lrrlll"))
    else:
        session.note(targets.none_left(graph) or f"there are no stages yet (vml stage add, or write a {FILE})")


def _row(stage: Stage) -> tuple[object, ...]:
    command = output.line(stage.cmds[0])
    if len(command) > _WIDTH or len(stage.cmds) > 1 or "\n" in stage.cmds[0].rstrip():
        command = f"{command[: _WIDTH - 2]} …"
    about = output.line(stage.desc or "")
    return output.quote(stage.address), len(stage.deps), len(stage.outs), command, about, "frozen" * stage.frozen


def _as_json(stage: Stage) -> dict[str, object]:
    return {
        "name": stage.address,
        "file": stage.file,
        "line": stage.line,
        "cmd": stage.cmds,
        "wdir": stage.wdir,
        "deps": stage.deps,
        "params": [{"file": each.file, "keys": each.keys} for each in stage.params],
        "outs": [{"path": out.path, "kind": out.kind, "cache": out.cache} for out in stage.outs],
        "frozen": stage.frozen,
        "always_changed": stage.always_changed,
        "desc": stage.desc,
    }
