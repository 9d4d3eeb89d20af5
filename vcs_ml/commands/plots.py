"""`vml plots`: draws the plots of one or more revisions into one page, or into pictures."""

from __future__ import annotations

import itertools
import os
import re
import urllib.parse
import webbrowser
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer

from vcs_ml import fs
from vcs_ml.errors import UsageError, UserError
from vcs_ml.metrics import asked, plots
from vcs_ml.metrics.declared import Declarations
from vcs_ml.metrics.plots import Gathered
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.options import Newer, Older
from vcs_ml.output import count, json_text, quote
from vcs_ml.plots import export, figures, page, templates
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images
from vcs_ml.session import Session
from vcs_ml.workspace import opening, overwrite
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.sync import Scope

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Format = Literal["html", "svg", "png", "json"]

Target = Annotated[
    list[str] | None, typer.Option("--target", "-t", metavar="PLOT", help="Only this plot, file, directory or pattern.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="PATH", help="Where to: a file, - for standard output, or a directory for svg and png."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are no plots.")]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", help="html is one page (default, but json where PATH ends so); svg and png are a file a chart."
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Show the page in a browser.")]
Json = Annotated[bool, typer.Option("--json", help="Vega-Lite with the data, for programs.")]
Fetch = Annotated[bool, typer.Option("--fetch", help="Get what is not here from the default remote.")]

# What an earlier file of each format begins with: nothing else is overwritten.
_OWN: Final = {
    "html": re.compile(overwrite.PAGE),
    "json": re.compile(rb'\{\n  "schema": [0-9]+,\n  "revisions": \['),
    "svg": re.compile(rb'<svg [^>]*class="marks"'),  # Vega's
    "png": re.compile(rb"\x89PNG\r\n\x1a\n\0\0\0\rIHDR.{17}\0\0\0\tpHYs", re.DOTALL),  # vl-convert's
}
_SUFFIXES: Final[dict[str, Format]] = {".html": "html", ".htm": "html", ".json": "json", ".svg": "svg", ".png": "png"}
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
    force: Force = False,
    format: FormatOption = None,
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
    project = Project.find(session.directory, session.env)
    to = _destination(session, project, out, "json" if json else format, force=force, open_it=open_it)
    store = opening.open_store(project, session.note)
    with Reader(project, store, session.progress if fetch else None) as reader:
        revisions = asked.revisions(reader, revs or (), Scope(all_branches, all_tags))
        found = _gather(session, reader, revisions, target or ())
    _answer(session, found, revisions, to, open_it=open_it)


@app.command()
def diff(
    ctx: typer.Context,
    a: Older = "HEAD",
    b: Newer = None,
    *,
    target: Target = None,
    out: Out = None,
    force: Force = False,
    format: FormatOption = None,
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
    project = Project.find(session.directory, session.env)
    to = _destination(session, project, out, "json" if json else format, force=force, open_it=open_it)
    store = opening.open_store(project, session.note)
    with Reader(project, store, session.progress if fetch else None) as reader:
        revisions = list(asked.two(reader, a, b, session.note))
        found = _gather(session, reader, revisions, target or ())
    _answer(session, found, revisions, to, open_it=open_it)


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


class _Destination(NamedTuple):
    """Where plots go, in which format: a file, for svg and png a directory, or standard output, which is None."""

    project: Project
    format: Format
    place: Path | None
    shown: Path  # as it was asked for
    force: bool

    @property
    def is_folder(self) -> bool:
        return self.format in ("svg", "png")

    def check(self, place: Path) -> None:
        """UserError where this file would replace anything but a plot of this format."""
        hint = f"name another {'directory: -o pictures' if self.is_folder else f'file: -o compared.{self.format}'}"
        own = _OWN[self.format]
        overwrite.refuse_other(
            self.project, place, own, "plot of vml", hint=hint, force=self.force, make=self.is_folder
        )


def _destination(
    session: Session, project: Project, out: Path | None, format: Format | None, *, force: bool, open_it: bool
) -> _Destination:
    """Where the plots go, refused before anything is read. Without `format`, the suffix of `out` says which it is."""
    suffix = _SUFFIXES.get(out.suffix.lower()) if out is not None else None
    chosen = format or suffix or "html"
    is_stdout = str(out) == "-" or (out is None and chosen == "json")
    shown = out or Path("plots" if chosen in ("svg", "png") else "plots.html")
    to = _Destination(project, chosen, None if is_stdout else session.directory / shown, shown, force)
    if to.is_folder:
        there = to.place is not None and to.place.is_dir()
        if to.place is None or (not there and (suffix in ("svg", "png") or os.path.lexists(to.place))):
            hint = f"name a directory: --format {chosen} -o DIR"
            raise UsageError(f"{chosen} is a file for each chart, and {quote(shown)} is no directory", hint=hint)
    if open_it and (chosen != "html" or is_stdout):
        raise UsageError("--open shows the page: leave the format out", hint="vml plots show --open")
    if to.place is not None and not to.is_folder:
        to.check(to.place)
    return to


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
    session: Session, found: Gathered, revisions: Sequence[Revision], to: _Destination, *, open_it: bool
) -> None:
    _warn(session, found)
    if to.format == "json":
        _write(session, to, f"{json_text(_as_json(found, revisions))}\n")
    elif not found.figures and found.errors:
        session.note("no plot can be drawn: the warnings say why")
    elif not found.figures:
        session.note("there are no plots (stages and `plots` at the top of vml.yaml declare them)")
    elif to.format == "html":
        _write(session, to, page.write(found.figures, title="Plots", about=", ".join(each.label for each in revisions)))
        if open_it and to.place is not None:
            webbrowser.open(to.place.resolve().as_uri())
    else:
        _write_pictures(session, to, [each for each in found.figures if isinstance(each, Chart) and each.series])


def _warn(session: Session, found: Gathered) -> None:
    for (label, _), error in itertools.islice(found.errors.items(), _WARNINGS_MAX):
        session.warn(f"{error.message} (at {label})" if label else error.message, error.hint)
    if (more := len(found.errors) - _WARNINGS_MAX) > 0:
        session.warn(f"{count(more, 'more problem')} of this kind", "--json has all of them")


def _write(session: Session, to: _Destination, text: str) -> None:
    raw = text.encode("utf-8", "backslashreplace")
    if to.place is None:
        session.data(raw)
    else:
        fs.write_output(to.place, raw)
        session.out(quote(to.shown))


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


def _write_pictures(session: Session, to: _Destination, charts: Sequence[Chart]) -> None:
    assert to.place is not None
    names = (f"{number:02}-{urllib.parse.quote(each.id, safe='')[:200]}" for number, each in enumerate(charts, 1))
    places = [to.place / f"{name}.{to.format}" for name in names]
    for place in places:
        to.check(place)
    refused = 0
    for chart, place in zip(charts, places, strict=True):
        try:
            raw = export.svg(chart).encode() if to.format == "svg" else export.png(chart)
        except export.NotDrawn as error:
            session.warn(error.message, error.hint)
            refused += 1
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        fs.write_output(place, raw)
    session.note(f"{count(len(charts) - refused, 'chart')} in {quote(to.place)}")
    if refused:
        raise UserError(f"{count(refused, 'chart')} could not be drawn", hint="the warnings say which, and why")
