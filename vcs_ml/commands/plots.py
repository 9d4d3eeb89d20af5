"""`vml plots`: draws the plots of one or more revisions into one page, or into pictures."""

from __future__ import annotations

import itertools
import urllib.parse
import webbrowser
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from vcs_ml import fs
from vcs_ml.errors import UsageError, UserError
from vcs_ml.metrics import asked, plots
from vcs_ml.metrics.declared import Declarations
from vcs_ml.metrics.plots import Gathered
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.output import count, json_text, quote
from vcs_ml.plots import export, figures, page, templates
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images
from vcs_ml.session import Session
from vcs_ml.workspace import opening, overwrite
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Scope

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Format = Literal["html", "svg", "png", "json"]

Target = Annotated[
    list[str] | None, typer.Option("--target", "-t", metavar="PLOT", help="Only this plot, file, directory or pattern.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="PATH", help="Where to: a file, or a directory for svg and png."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="html is one page; svg and png are files.")]
Open = Annotated[bool, typer.Option("--open", help="Show the page in a browser.")]
Json = Annotated[bool, typer.Option("--json", help="Vega-Lite with the data, for programs.")]
Fetch = Annotated[bool, typer.Option("--fetch", help="Get what is not here from the default remote.")]

_PAGE: Final = b"<!doctype html>"
_JSON: Final = b'{\n  "schema": '
_WARNINGS_MAX: Final = 20


@app.callback()
def plots_() -> None:
    """Draw plots, and compare them between revisions."""


@app.command()
def show(
    ctx: typer.Context,
    revs: Annotated[
        list[str] | None, typer.Argument(metavar="[REV...]", help="Revisions, A..B, or workspace (default).")
    ] = None,
    *,
    target: Target = None,
    all_branches: Annotated[bool, typer.Option("--all-branches", "-a", help="Every branch, too.")] = False,
    all_tags: Annotated[bool, typer.Option("--all-tags", "-T", help="Every tag, too.")] = False,
    out: Out = None,
    format: FormatOption = "html",
    open_it: Open = False,
    json: Json = False,
    fetch: Fetch = False,
) -> None:
    """Draw the plots of the workspace, or of several revisions over each other, into one page that works offline.

    \b
    Examples:
      vml plots show --open
      vml plots show main feature v1.0 -o compared.html
      vml plots show --target loss.csv --format svg -o pictures
    """
    session: Session = ctx.obj
    chosen = _format(format, json=json, open_it=open_it)
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    with Reader(project, store, session.progress if fetch else None) as reader:
        revisions = asked.revisions(reader, revs or (), Scope(all_branches, all_tags))
        found = _gather(session, reader, revisions, target or ())
    _answer(session, project, found, revisions, out=out, format=chosen, open_it=open_it)


@app.command()
def diff(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="[A]", help="The older revision.", show_default=False)] = "HEAD",
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The newer one (default: the workspace).")] = None,
    *,
    target: Target = None,
    out: Out = None,
    format: FormatOption = "html",
    open_it: Open = False,
    json: Json = False,
    fetch: Fetch = False,
) -> None:
    """Draw the plots of A (HEAD) and B (the workspace) over each other; pictures stand side by side.

    \b
    Examples:
      vml plots diff --open
      vml plots diff main feature -o compared.html
    """
    session: Session = ctx.obj
    chosen = _format(format, json=json, open_it=open_it)
    project = Project.find(session.directory, session.env)
    store = opening.open_store(project, session.note)
    with Reader(project, store, session.progress if fetch else None) as reader:
        revisions = list(asked.two(reader, a, b))
        found = _gather(session, reader, revisions, target or ())
    _answer(session, project, found, revisions, out=out, format=chosen, open_it=open_it)


@app.command("templates")
def list_templates(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this one, to begin with.")] = None,
) -> None:
    """List the templates that `template` of a plot can name, those of the project last, or print one.

    A template of your own goes into .vml/plots/NAME.json.

    \b
    Examples:
      vml plots templates
      mkdir -p .vml/plots
      vml plots templates linear > .vml/plots/mine.json
    """
    session: Session = ctx.obj
    try:
        project = Project.find(session.directory, session.env)
    except UserError:  # ours are there without one
        own = []
    else:
        own = plots.own_templates(project.root)
    if name is None:
        session.out("\n".join([*templates.NAMES, *map(quote, own)]))
    elif name in own:
        with Reader(project, opening.open_store(project, session.note)) as reader:
            session.data(plots.own_template(reader, name))
    else:
        session.out(templates.text(templates.built_in(name, own).name))


def _format(format: Format, *, json: bool, open_it: bool) -> Format:
    if open_it and (json or format != "html"):
        raise UsageError("--open shows the page: leave the format out", hint="vml plots show --open")
    return "json" if json else format


def _gather(session: Session, reader: Reader, revisions: Sequence[Revision], wanted: Sequence[str]) -> Gathered:
    known = Declarations(reader.project.root)
    declared = [known.of(each) for each in revisions]
    ids = {plots.name(source) for each in declared for source in each.plots}
    targets = [_target(session, reader.project, each, ids) for each in wanted]
    return plots.gather(reader, revisions, declared, targets)


def _target(session: Session, project: Project, wanted: str, ids: Container[str]) -> str:
    """The plot or path that was meant: names of plots, too, start from the current directory, or from the top."""
    here = project.relative(".", session.directory) if project.root != session.directory else ""
    for known in (f"{here}/{wanted}" if here else wanted, wanted):
        if known in ids:
            return known
    return project.relative(wanted, session.directory)


def _answer(
    session: Session,
    project: Project,
    found: Gathered,
    revisions: Sequence[Revision],
    *,
    out: Path | None,
    format: Format,
    open_it: bool,
) -> None:
    _warn(session, found)
    if format == "json":
        _give_json(session, project, _as_json(found, revisions), out)
    elif not found.figures and found.errors:
        session.note("no plot can be drawn: the warnings say why")
    elif not found.figures:
        session.note("there are no plots (stages and `plots` at the top of vml.yaml declare them)")
    elif format == "html":
        place = session.directory / (out or "plots.html")
        text = page.write(found.figures, title="Plots", about=", ".join(each.label for each in revisions))
        _write_over(project, place, text, _PAGE)
        session.out(quote(out or "plots.html"))
        if open_it:
            webbrowser.open(place.resolve().as_uri())
    else:
        charts = [each for each in found.figures if isinstance(each, Chart) and each.series]
        folder = session.directory / (out or "plots")
        for number, chart in enumerate(charts, 1):
            _write_picture(project, folder, number, chart, format)
        session.note(f"{count(len(charts), 'chart')} in {quote(folder)}")


def _warn(session: Session, found: Gathered) -> None:
    for (label, _), error in itertools.islice(found.errors.items(), _WARNINGS_MAX):
        session.warn(f"{error.message} (at {label})" if label else error.message, error.hint)
    if (more := len(found.errors) - _WARNINGS_MAX) > 0:
        session.warn(f"{count(more, 'more problem')} of this kind", "--json has all of them")


def _give_json(session: Session, project: Project, found: dict[str, Any], out: Path | None) -> None:
    if out is None:
        session.json(found)
    else:
        _write_over(project, session.directory / out, f"{json_text(found)}\n", _JSON)
        session.out(quote(out))


def _as_json(found: Gathered, revisions: Sequence[Revision]) -> dict[str, Any]:
    return {
        "schema": 1,
        "revisions": [each.label for each in revisions],
        "plots": [_figure(each) for each in found.figures if isinstance(each, Images) or each.template],
        "errors": [
            {"rev": label or None, "path": path, "message": error.message}
            for (label, path), error in found.errors.items()
        ],
    }


def _figure(figure: Chart | Images) -> dict[str, Any]:
    if isinstance(figure, Images):
        shown = [{"revs": list(each.revs), "size": len(each.raw)} for each in figure.shown]
        return {"id": figure.id, "title": figure.title, "images": shown, "notes": list(figure.notes)}
    return {"id": figure.id, "title": figure.title, "vega": figures.spec(figure), "notes": list(figure.notes)}


def _write_over(project: Project, place: Path, text: str, begin: bytes) -> None:
    """Write a file, over an earlier one of its kind only, which begins like this."""
    overwrite.refuse(project, place, hint="name another file: -o plots.html")
    if place.is_file() and place.stat().st_size:
        with place.open("rb") as file:
            if file.read(len(begin)).lower() != begin:
                raise UserError(f"{quote(place)} is there, and no plots", hint="name another file: -o plots.html")
    fs.write_output(place, text.encode("utf-8", "backslashreplace"))


def _write_picture(project: Project, folder: Path, number: int, chart: Chart, format: Literal["svg", "png"]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    raw = export.svg(chart).encode() if format == "svg" else export.png(chart)
    name = urllib.parse.quote(chart.id, safe="")[:200]
    place = folder / f"{number:02}-{name}.{format}"
    overwrite.refuse(project, place, hint="name another directory: -o pictures")
    fs.write_atomic(place, raw)
