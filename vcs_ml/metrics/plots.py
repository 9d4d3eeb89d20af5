"""Plots at revisions: which there are, their data read, and the figures made."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import pickle
import posixpath
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from vcs_ml import values
from vcs_ml.errors import CorruptError, UserError, VmlError
from vcs_ml.metrics import naming, revision
from vcs_ml.metrics.declared import Declared, PlotSource
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.output import count, line, quote
from vcs_ml.pipeline import patterns
from vcs_ml.pipeline.stage import FILE as STAGES
from vcs_ml.plots import definition, figures, images, pictures, series, templates
from vcs_ml.plots.figures import Chart
from vcs_ml.plots.images import Images
from vcs_ml.plots.points import Source
from vcs_ml.plots.series import Table
from vcs_ml.plots.templates import Template
from vcs_ml.progress import SILENT, Meter
from vcs_ml.store import workers

FIGURES_MAX: Final = 500

_LISTED_MAX: Final = 20  # templates in a hint
_SIZE_MAX: Final = 128_000_000
_DOCUMENT_MAX: Final = 16_000_000  # of JSON and YAML, which take many times of that in memory
_A_WORKER: Final = 1_000_000  # bytes that pay for a forked worker
_KEPT_MAX: Final = 32_000_000  # bytes of files whose tables are kept for other plots


# A plot by its id, what declares it, and whether the id is a file.
_Asked = tuple[str, PlotSource, bool]


class Gathered(NamedTuple):
    """Figures in the order in which they are declared, and what could not be read: errors by revision and file.

    `changed` are the ids of those whose files have not the same bytes at all revisions, as far as they were read.
    """

    figures: list[Chart | Images]
    errors: dict[tuple[str, str], VmlError]
    changed: frozenset[str]


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
    made = work.figures([(id, *each) for id, each in itertools.islice(found.items(), FIGURES_MAX)])
    return Gathered(made, work.errors, frozenset(work.changed))


def name(source: PlotSource) -> str:
    """The id of a plot, as a path from the top of the project: that of its file, or what it is called."""
    return posixpath.join(source.base, source.id) if _is_over_files(source) else _path(source, source.id)


def own_templates(root: Path) -> list[str]:
    """The names of the templates that a project has in its workspace beside ours."""
    found = (root / naming.TEMPLATES).glob(f"*{templates.SUFFIX}")
    return sorted(line(each.stem) for each in found if each.stem not in templates.NAMES)


def own_template(reader: Reader, name: str) -> bytes:
    """The file of one of these. UserError for what is no template."""
    path = f"{naming.TEMPLATES}/{name}{templates.SUFFIX}"
    raw = revision.read(reader.workspace(), path) or b""
    templates.parse(raw, path)
    return raw


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
            raise UserError(f"there is no plot {quote(target)}", hint=_meant(found, target))
        chosen |= ours
    return chosen


def _meant(found: Mapping[str, tuple[PlotSource, bool]], target: str) -> str:
    titled = next((id for id, (source, _) in found.items() if source.props.get("title") == target), None)
    if titled is not None:
        return f"it is the title of a plot: -t {shlex.quote(line(titled))}"
    like = values.suggestion(target, found)
    return f"did you mean {quote(like)}?" if like is not None else "vml plots show --json lists what there is"


def _is_picture(path: str) -> bool:
    return path.lower().endswith(tuple(pictures.SUFFIXES))


def _said(error: VmlError) -> list[str]:
    return [error.message, *([f"hint: {error.hint}"] if error.hint else [])]


class _Work:
    """What was read for the figures of one command."""

    def __init__(self, reader: Reader, revisions: Sequence[Revision]) -> None:
        self._reader, self._revisions = reader, revisions
        self._tables: dict[tuple[str, bytes, tuple[str, ...], bool], tuple[Table, int]] = {}
        self._room = images.PAGE_MAX
        self._total = 0  # bytes that were read
        self._digests: dict[str, set[bytes | None]] = {}  # of a file, None where there is none
        self.errors: dict[tuple[str, str], VmlError] = {}
        self.changed: set[str] = set()

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

        Where nothing is, or nobody can look, the path itself.
        """
        path = name(source)
        if _is_over_files(source):
            return [(path, False)]
        return [(each, True) for each in self.files(path) or [path]]

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

    def figures(self, plots: Sequence[_Asked]) -> list[Chart | Images]:
        """The figures of these plots; charts are shared among forked workers where many bytes are left to be read."""
        # Pictures have so much room on a page, which is for one to count.
        alone = self._reader.fetches or any(is_file and _is_picture(id) for id, _, is_file in plots)
        cores = 1 if alone else workers.count()
        made: list[Chart | Images] = []
        for at, each in enumerate(plots, 1):
            made.append(self._figure(*each))
            rest = plots[at:]
            several = min(cores, len(rest), 1 + self._total * len(rest) // at // _A_WORKER)
            if several > 1:
                return made + self._shared(rest, several)
        return made

    def _shared(self, plots: Sequence[_Asked], several: int) -> list[Chart | Images]:
        parts = [plots[len(plots) * n // several : len(plots) * (n + 1) // several] for n in range(several)]
        self._reader.trees.close()
        made: list[Chart | Images] = []
        outcomes = workers.fork_map(self._part, parts, SILENT)
        self.errors = {}  # each part has those from before, too
        for charts, errors, changed in map(pickle.loads, outcomes):
            made += charts
            self.errors |= {key: workers.from_plain(each) for key, each in errors.items()}
            self.changed |= changed
        return made

    def _part(self, plots: Sequence[_Asked], meter: Meter) -> bytes:
        charts = [self._figure(*each) for each in plots]
        return pickle.dumps((charts, {key: workers.to_plain(each) for key, each in self.errors.items()}, self.changed))

    def _figure(self, id: str, source: PlotSource, is_file: bool) -> Chart | Images:
        try:
            return self.images(id, source) if is_file and _is_picture(id) else self.chart(id, source)
        except (UserError, CorruptError) as error:
            self.errors["", id] = error
            return figures.failed(id, str(source.props.get("title", "")), _said(error))

    def chart(self, id: str, source: PlotSource) -> Chart:
        plot = definition.define(id, _props(source))
        self._forget()
        tables: dict[str, dict[str, Source]] = {at.label: {} for at in self._revisions}
        for at in self._revisions:
            for file, columns in plot.sources.items():
                if (table := self._table(at, file, tuple(columns), header=plot.header)) is not None:
                    tables[at.label][file] = table
        self._compare(id, plot.sources)
        return figures.draw(plot, tables, self._template(id, source, plot.template))

    def images(self, id: str, source: PlotSource) -> Images:
        title = str(source.props.get("title", ""))
        if self._room == 0:  # then none is read
            return images.left_out(id, title=title)
        made = images.compare(id, {at.label: self._read(at, id) for at in self._revisions}, title=title)
        self._compare(id, [id])
        length = sum(len(each.raw) for each in made.shown)
        if length > self._room:
            self._room = 0
            return images.left_out(id, title=title)
        self._room -= length
        return made

    def _table(self, at: Revision, file: str, columns: tuple[str, ...], *, header: bool) -> Source | None:
        is_table = file.endswith(series.TABLES)
        raw = self._read(at, file, _SIZE_MAX if is_table else _DOCUMENT_MAX)
        if not isinstance(raw, bytes):
            return raw
        key = (file, _digest(raw), () if is_table else columns, header)
        try:
            if key not in self._tables:
                self._tables[key] = series.read(raw, file, header=header, columns=columns), len(raw)
            return self._tables[key][0]
        except UserError as error:
            self.errors[at.label, file] = error
            return error.message

    def _forget(self) -> None:
        """Tables are read once for all revisions and plots that have the same, but only so many are kept."""
        kept = sum(length for _, length in self._tables.values())
        while kept > _KEPT_MAX:
            _, length = self._tables.pop(next(iter(self._tables)))
            kept -= length

    def _read(self, at: Revision, file: str, limit: int = _SIZE_MAX) -> bytes | str | None:
        """The bytes of a file, or in words why it cannot be read; None if there is none."""
        try:
            if (stored := at.stored(file)) is not None:
                self._reader.bring([stored])
            raw = revision.read(at, file, limit)
        except (UserError, CorruptError) as error:
            self.errors[at.label, file] = error
            return error.message
        self._digests.setdefault(file, set()).add(None if raw is None else _digest(raw))
        self._total += len(raw or b"")
        return raw

    def _compare(self, id: str, files: Iterable[str]) -> None:
        if any(len(self._digests.get(file, ())) > 1 for file in files):
            self.changed.add(id)

    def _template(self, id: str, source: PlotSource, name: str) -> Template | None:
        """The project's own template of this name, from the last revision that has it; None for one of ours.

        UserError naming the plot `id` if there is none.
        """
        is_path = name.endswith(templates.SUFFIX) or "/" in name
        if not is_path and name in templates.NAMES:
            return None
        path = _path(source, name) if is_path else f"{naming.TEMPLATES}/{name}{templates.SUFFIX}"
        for at in reversed(self._revisions):
            raw = revision.read(at, path)
            if raw is not None:
                return templates.parse(raw, path)
        own = own_templates(self._reader.project.root)[:_LISTED_MAX]
        like = values.suggestion(name, [*templates.NAMES, *own])
        if name in own:
            hint = f"it is in the workspace: vml plots show draws with it, and other revisions once {path} is committed"
        elif like is not None:
            hint = f"did you mean {like}?"
        else:
            hint = f"templates are {', '.join([*templates.NAMES, *own])}; {naming.TEMPLATES}/NAME.json is another"
        raise UserError(
            f"there is no template {quote(path if is_path else name)}, which {STAGES} names for the plot {quote(id)}",
            hint=hint,
        )


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


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
