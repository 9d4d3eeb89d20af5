"""Everything that a report shows, gathered from two revisions; nothing is run, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from vcs_ml.errors import RemoteError, UserError, VmlError
from vcs_ml.metrics import compare, plots, tables
from vcs_ml.metrics.compare import MISSING, Collector, Values
from vcs_ml.metrics.declared import Declared
from vcs_ml.metrics.revision import Commit, Reader, Revision
from vcs_ml.metrics.tables import TableChange
from vcs_ml.pipeline import drawing, staleness
from vcs_ml.pipeline import graph as graphs
from vcs_ml.pipeline.drawing import Drawing
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.stage import FILE
from vcs_ml.pipeline.staleness import StageState
from vcs_ml.progress import Meter
from vcs_ml.report import gates, stages
from vcs_ml.report.contents import Pages
from vcs_ml.report.data import Data, Unlisted
from vcs_ml.report.gates import Gate, Result
from vcs_ml.report.model import Problem, Report
from vcs_ml.report.sides import Side
from vcs_ml.report.stages import Rerun
from vcs_ml.rows.comparison import NoColumn
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import diff, opening, sync, tracked
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.status import Change
from vcs_ml.workspace.tracked import Survey

_COLLAPSED_FROM: Final = 40  # stages; of more, those of one foreach or matrix are drawn as one
_TABLES_MAX: Final = 20
_TABLE_MAX: Final = 500_000_000  # bytes of both sides of a table, which take half a minute
_SHOWN_STATES: Final = ("stale", "behind", "frozen")


class Job(NamedTuple):
    """What a report is about, and what it may use. With `fetch`, what is not here comes from the default remote; with
    `rows`, tables are compared row by row; rows of equal `key` are one row in tables that have these columns.
    """

    project: Project
    store: LocalStore
    base: Side
    head: Side
    env: Mapping[str, str]
    meter: Meter
    fetch: sync.Show | None = None
    rows: bool = True
    key: Sequence[str] = ()


class _Pair(NamedTuple):
    """Both revisions, what they declare, and what is tracked in them; `survey` is what the workspace holds, if it is
    the newer one.
    """

    old: Commit
    new: Revision
    declared: tuple[Declared, Declared]
    tracked: tuple[Mapping[str, Pointer], Mapping[str, Pointer]]
    survey: Survey | None


def collect(job: Job, title: str) -> Report:
    """The report on the way from one revision to the other.

    What cannot be read is among its problems, as is a remote that cannot be opened, and the rest is there. A vml.yaml
    of the newer revision that cannot be read is a gate that fails: nobody knows which gates it has. RemoteError where
    the remote fails later.
    """
    problems: list[Problem] = []
    job, pages = _pages(job, problems)
    with Reader(job.project, job.store, job.fetch) as reader:
        collector = Collector(reader)
        pair = _open(job, reader, collector, problems)
        revisions = (pair.old, pair.new)
        metrics, params = (collector.collect(revisions, kind) for kind in ("metrics", "params"))
        for each in (*metrics, *params):
            problems += _told(each.errors, each.label)
        results, removed = _gates(collector, revisions, pair.declared, metrics)
        data = _data(job, pair, pages, problems)
        changed = tables.changed(data.changes) if job.rows else []
        chosen = changed[:_TABLES_MAX]
        compared = list(_compared(job, reader, pair, chosen))
        drawn = plots.gather(reader, revisions, pair.declared)
        problems += (Problem(path, label, error.message) for (label, path), error in drawn.errors.items())
        graph = _graph(pair, problems)
        reran, stale = _stages(job, pair, graph, pages, problems)
    return Report(
        title,
        job.base,
        job.head,
        results,
        removed,
        compare.rows(*metrics, every=True),
        compare.rows(*params),
        data,
        compared,
        reran,
        stale,
        list({(each.where, each.message): each for each in reversed(problems)}.values())[::-1],
        _drawing(pair, graph),
        drawn.figures,
        [each.path for each in changed[_TABLES_MAX:]],
        _upstream(graph, stale) if graph is not None else {},
        drawn.changed,
    )


def _pages(job: Job, problems: list[Problem]) -> tuple[Job, Pages]:
    """What gives lists of files; and the job without its remote, where that cannot be opened.

    A pull request from a fork has no key to the remote, and metrics in Git are shown nonetheless.
    """
    try:
        read = opening.page_reader(job.project, job.store, fetch=job.fetch is not None)
    except (RemoteError, UserError) as error:
        problems.append(Problem("remote", "", error.message))
        job, read = job._replace(fetch=None), job.store.read
    return job, Pages(job.store.algorithm, read)


def _open(job: Job, reader: Reader, collector: Collector, problems: list[Problem]) -> _Pair:
    assert job.base.commit is not None
    old = reader.commit(job.base.label, job.base.commit)
    new: Revision = reader.commit(job.head.label, job.head.commit) if job.head.commit else reader.workspace()
    survey = None if job.head.commit else tracked.survey(job.project)
    problems += _told(survey.broken if survey is not None else {}, job.head.label)
    before = _tracked(job.project, job.base)
    now = survey.tracked if survey is not None else _tracked(job.project, job.head)
    return _Pair(old, new, (collector.declared(old), collector.declared(new)), (before, now), survey)


def _tracked(project: Project, side: Side) -> Mapping[str, Pointer]:
    assert side.commit is not None
    try:
        return tracked.at_revision(project, side.commit)
    except UserError:  # which is told where the data is compared
        return {}


def _told(errors: Mapping[str, VmlError], label: str) -> list[Problem]:
    return [Problem(path, label, error.message) for path, error in errors.items()]


def _gates(
    collector: Collector,
    revisions: Sequence[Revision],
    declared: tuple[Declared, Declared],
    metrics: Sequence[Values],
) -> tuple[list[Result], list[Gate]]:
    """What came of the gates, which may also be about files that nobody declares as metrics."""
    before = None if declared[0].error else declared[0].gates
    if error := declared[1].error:
        return [_unreadable(FILE, "", error)], []
    named = declared[1].gates
    files = [dict(each.files) for each in metrics]
    errors = [dict(each.errors) for each in metrics]
    beside = [file for file in dict.fromkeys(file for file, _, _ in named) if not any(file in each for each in files)]
    for at, more in enumerate(collector.read(revisions, beside)):
        files[at].update(more.files)
        errors[at].update(more.errors)
    old, new = (Values(each.label, files[at], errors[at]) for at, each in enumerate(metrics))
    broken = [_unreadable(*each) for each in declared[1].faults]
    gone = [each for each in gates.removed(named, before) if all(each.name != other.gate.name for other in broken)]
    return [*broken, *gates.evaluate(named, old, new, before=before)], gone


def _unreadable(file: str, key: str, error: VmlError) -> Result:
    """A gate that is not as it must be, or a vml.yaml of which nobody knows which gates it has."""
    why = "; ".join(filter(None, (error.message, error.hint if key else "")))
    return Result(Gate(file, key, {}, readable=False), MISSING, MISSING, (why,))


def _data(job: Job, pair: _Pair, pages: Pages, problems: list[Problem]) -> Data:
    lost: dict[str, diff.Pair] = {}
    base, head = job.base.commit, job.head.commit
    assert base is not None
    try:
        with opening.looking(job.project) as keep:
            changes = diff.between(
                job.project, job.store, base, head, read=pages.read, meter=job.meter, keep=keep, lost=lost
            )
    except UserError as error:
        problems.append(Problem("data", "", error.message))  # it names the revision itself
        return Data()
    unlisted = []
    for path, (old, new) in lost.items():
        if old is not None and new is not None and old.oid == new.oid:
            problems.append(Problem(path, job.head.label, "its list of files is not here"))
        else:
            unlisted.append(Unlisted(path, old, new))
    return Data(changes, unlisted, frozenset((*pair.tracked[0], *pair.tracked[1])))


def _compared(job: Job, reader: Reader, pair: _Pair, chosen: Sequence[Change]) -> Iterator[TableChange]:
    """The tables, by the key as far as they have its columns in both revisions."""
    found = tables.compare(reader, pair.old, pair.new, chosen, key=job.key, largest=_TABLE_MAX)
    for each, table in zip(chosen, found, strict=True):
        if isinstance(table.problem, NoColumn):
            yield from tables.compare(reader, pair.old, pair.new, [each], largest=_TABLE_MAX)
        else:
            yield table


def _graph(pair: _Pair, problems: list[Problem]) -> Graph | None:
    """The stages of the newer revision; None where they do not fit together."""
    try:
        return graphs.build(pair.declared[1].pipeline.stages, _pointers(pair))
    except UserError as error:
        problems.append(Problem(FILE, pair.new.label, error.message))
        return None


def _pointers(pair: _Pair) -> Iterator[str]:
    return (path for path, each in pair.tracked[1].items() if not each.lock)


def _stages(
    job: Job, pair: _Pair, graph: Graph | None, pages: Pages, problems: list[Problem]
) -> tuple[list[Rerun], list[StageState]]:
    """Which stages ran again, and which are not what they would make now."""
    old, new = (stages.locks(each, pages.algorithm) for each in (pair.old, pair.new))
    problems += (*_told(old.errors, job.base.label), *_told(new.errors, job.head.label))
    reran = stages.reruns(old, new, graph.order if graph is not None else (), pages)
    if graph is None:
        return reran, []
    if isinstance(pair.new, Commit):
        found = stages.stale(pair.new, pair.old, graph, (old, new), pages)
    else:
        assert pair.survey is not None
        with opening.looking(job.project) as keep:
            found = staleness.look(
                job.project, job.store, pair.survey, job.env, meter=job.meter, keep=keep, strict=False
            )
    problems += (Problem("stages", job.head.label, error.message) for error in found.broken)
    return reran, [each for each in found.stages if each.state in _SHOWN_STATES]


def _upstream(graph: Graph, stale: Sequence[StageState]) -> dict[str, list[str]]:
    """Of stages that have no reason of their own, those among `stale` that they need."""
    names = list(graph.stages)
    known = {each.name for each in stale}
    found = {}
    for each in stale:
        if each.reasons or each.name not in graph.numbers:
            continue
        needs = [
            source
            for number in graph.needs[graph.numbers[each.name]]
            for source in ([number] if number < len(names) else graph.needs[number])
        ]
        found[each.name] = [names[number] for number in dict.fromkeys(needs) if names[number] in known]
    return found


def _drawing(pair: _Pair, graph: Graph | None) -> Drawing | None:
    if graph is None or not graph.order:
        return None
    return drawing.draw(graph, _pointers(pair), collapse=len(graph.order) > _COLLAPSED_FROM)
