"""Plots at revisions: which there are, their data read, and the figures made."""

from __future__ import annotations

import contextlib
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from vcs_ml.errors import CorruptError, UserError, VmlError
from vcs_ml.metrics import naming, revision
from vcs_ml.metrics.declared import Declared, PlotSource
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.output import count, quote
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.stage import FILE as STAGES
from vcs_ml.plots import definition, figures, images, pictures, series, templates
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images
from vcs_ml.plots.series import Table
from vcs_ml.plots.templates import Template

FIGURES_MAX: Final = 500

_SIZE_MAX: Final = 128_000_000


class Gathered(NamedTuple):
    """Figures in the order in which they are declared, and what could not be read: errors by revision and file."""

    figures: list[Chart | Images]
    errors: dict[tuple[str, str], VmlError]


def gather(
    reader: Reader, revisions: Sequence[Revision], declared: Sequence[Declared], targets: Sequence[str] = ()
) -> Gathered:
    """The figures of these revisions, each with what it declares; the last one says how a plot looks.

    `targets` are ids, files, directories ("" is the project) or patterns; one that is declared nowhere is drawn as it
    is. UserError for a target that no revision has. Of more than FIGURES_MAX, the rest is an error that says so.
    """
    work = _Work(reader, revisions)
    for at, said in zip(revisions, declared, strict=True):
        if said.error is not None:
            work.errors[at.label, STAGES] = said.error
    work.bring(source for each in declared for source in each.plots)
    found: dict[str, tuple[PlotSource, bool]] = {}
    for each in reversed(declared):
        for source in each.plots:
            for id, is_file in work.ids(source):
                found.setdefault(id, (source, is_file))
    if targets:
        found = _chosen(work, found, targets)
    if len(found) > FIGURES_MAX:
        work.errors["", ""] = UserError(
            f"{count(len(found), 'plot')} are too many: the first {FIGURES_MAX} are drawn", hint="--target names others"
        )
    made: list[Chart | Images] = []
    for id, (source, is_file) in itertools.islice(found.items(), FIGURES_MAX):
        try:
            made.append(work.images(id, source) if is_file and _is_picture(id) else work.chart(id, source))
        except (UserError, CorruptError) as error:
            work.errors["", id] = error
    return Gathered(made, work.errors)


def name(source: PlotSource) -> str:
    """The id of a plot, as a path from the top of the project: that of its file, or what it is called."""
    return posixpath.join(source.base, source.id) if _is_over_files(source) else _path(source, source.id)


def _is_over_files(source: PlotSource) -> bool:
    return isinstance(source.props.get("y"), Mapping)


def _chosen(
    work: _Work, found: Mapping[str, tuple[PlotSource, bool]], targets: Sequence[str]
) -> dict[str, tuple[PlotSource, bool]]:
    chosen: dict[str, tuple[PlotSource, bool]] = {}
    for target in targets:
        ours = {id: each for id, each in found.items() if target in ("", id) or patterns.matches(id, target)}
        if not ours:
            ours = {id: (PlotSource(id, "", {}), True) for id in work.files(target)}
        if not ours:
            raise UserError(f"there is no plot {quote(target)}", hint="vml plots show --json lists what there is")
        chosen |= ours
    return chosen


def _is_picture(path: str) -> bool:
    return path.lower().endswith(tuple(pictures.SUFFIXES))


class _Work:
    """What was read for the figures of one command."""

    def __init__(self, reader: Reader, revisions: Sequence[Revision]) -> None:
        self._reader, self._revisions = reader, revisions
        self._tables: dict[tuple[str, bytes, tuple[str, ...], bool], Table] = {}
        self.errors: dict[tuple[str, str], VmlError] = {}

    def bring(self, sources: Iterable[PlotSource]) -> None:
        """Fetch what all of these need at once, if anything is to be fetched."""
        wanted = {(at, file): None for source in sources for file in _files(source) for at in self._revisions}
        found = []
        for at, file in wanted:
            with contextlib.suppress(UserError, CorruptError):  # which is told when it is read
                found.append(at.stored(file))
        self._reader.bring(each for each in found if each is not None)

    def ids(self, source: PlotSource) -> Iterable[tuple[str, bool]]:
        """The plots that a declaration stands for, and whether each is a file: of a directory, every file.

        Where nothing is, the path itself, unless it is known why.
        """
        path = name(source)
        if _is_over_files(source):
            return [(path, False)]
        found = self.files(path)
        if not found and not any(file == path for _, file in self.errors):
            found = [path]
        return [(each, True) for each in found]

    def files(self, path: str) -> list[str]:
        """The files at a path, of any of the revisions."""
        found: dict[str, None] = {}
        for at in self._revisions:
            try:
                if (stored := at.stored(path)) is not None:
                    self._reader.bring([stored])
                found |= dict.fromkeys(at.listed(path))
            except (UserError, CorruptError) as error:
                self.errors[at.label, path] = error
        return sorted(found)

    def chart(self, id: str, source: PlotSource) -> Chart:
        plot = definition.define(id, _props(source))
        self._tables.clear()  # what several revisions have is read once, and not kept for other plots
        tables: dict[str, dict[str, Table]] = {at.label: {} for at in self._revisions}
        for at in self._revisions:
            for file, columns in plot.sources.items():
                if (table := self._table(at, file, tuple(columns), header=plot.header)) is not None:
                    tables[at.label][file] = table
        return figures.draw(plot, tables, self._template(source, plot.template))

    def images(self, id: str, source: PlotSource) -> Images:
        files = {at.label: self._read(at, id) for at in self._revisions}
        return images.compare(id, files, title=str(source.props.get("title", "")))

    def _table(self, at: Revision, file: str, columns: tuple[str, ...], *, header: bool) -> Table | None:
        raw = self._read(at, file)
        if raw is None:
            return None
        key = (file, raw, columns, header)
        try:
            if key not in self._tables:
                self._tables[key] = series.read(raw, file, header=header, columns=columns)
            return self._tables[key]
        except UserError as error:
            self.errors[at.label, file] = error
            return None

    def _read(self, at: Revision, file: str) -> bytes | None:
        try:
            if (stored := at.stored(file)) is not None:
                self._reader.bring([stored])
            return revision.read(at, file, _SIZE_MAX)
        except (UserError, CorruptError) as error:
            self.errors[at.label, file] = error
            return None

    def _template(self, source: PlotSource, name: str) -> Template | None:
        """The project's own template of this name, from the last revision that has it; None for one of ours."""
        is_path = name.endswith(".json") or "/" in name
        if not is_path and name in templates.NAMES:
            return None
        path = _path(source, name) if is_path else f"{naming.TEMPLATES}/{name}.json"
        for at in reversed(self._revisions):
            raw = revision.read(at, path)
            if raw is not None:
                return templates.parse(raw, path)
        if is_path:
            raise UserError(f"there is no template {quote(path)}", hint="vml plots templates lists ours")
        return None


def _path(source: PlotSource, written: str) -> str:
    return posixpath.normpath(posixpath.join(source.base, written))


def _files(source: PlotSource) -> Iterator[str]:
    """The files and directories that a declaration names."""
    if not _is_over_files(source):
        yield _path(source, source.id)
    for axis in ("x", "y"):
        if isinstance(files := source.props.get(axis), Mapping):
            yield from (_path(source, file) for file in files)


def _props(source: PlotSource) -> dict[str, Any]:
    """The properties with the files in them as paths of the project."""
    found = dict(source.props)
    for axis in ("x", "y"):
        if isinstance(found.get(axis), Mapping):
            found[axis] = {_path(source, file): columns for file, columns in found[axis].items()}
    return found
