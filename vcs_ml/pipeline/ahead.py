"""What would make stages fail before their commands run, found before any of them does."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache

from vcs_ml.errors import UserError
from vcs_ml.pipeline import graph as graphs
from vcs_ml.pipeline import ignored, lacking, look, signature
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.lacking import Fault
from vcs_ml.pipeline.signature import Reader
from vcs_ml.pipeline.stage import ParamSet, Stage
from vcs_ml.pipeline.turn import Options
from vcs_ml.workspace import sources
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.project import Project


class Lacking(UserError):
    """All that a stage lacks; `why` says it in a line."""

    def __init__(self, message: str, why: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.why = why


def errors(
    project: Project,
    graph: Graph,
    chosen: Sequence[str],
    reader: Reader,
    known: LockFiles,
    *,
    in_git: Collection[str],
    options: Options,
) -> dict[str, Lacking]:
    """What is wrong with each of these stages that no stage before it mends: deps and params that are not there and
    cannot come, and outputs that Git has (`in_git`). With `--pull`, tracked data comes from a remote.

    Deps are not hashed: it costs a stat for each. A frozen stage reads nothing.
    """
    reader = reader._replace(values_of=cache(reader.values_of))
    stages = [graph.stages[each] for each in chosen if not graph.stages[each].frozen]
    deps = {path for stage in stages for path in stage.deps}
    files = {each.file for stage in stages for each in stage.params}
    absent = {path for path in deps | files if not os.path.exists(project.root / path)}

    def brings(stage: Stage, path: str) -> bool:
        return not stage.frozen or _comes_back(stage, path, reader, known, options)

    every = _makers(graph, absent | files)
    makers = _in_run(graph, chosen, every, brings)
    # A command may make more than its stage says, and what a link leads to may be made.
    strays = {path for path in absent if not every[path] and sources.owner(path, reader.gauge.pointers) is None}
    before = graphs.waits(graph, chosen)
    found: dict[str, Lacking] = {}
    for stage in stages:
        paths = {*absent.intersection(stage.deps), *(each.file for each in stage.params)}
        coming = {path for path in paths if makers[path] - {graph.numbers[stage.address]}}
        if any(not graph.stages[each].frozen for each in before[stage.address]):
            coming |= paths & strays
        if options.pull:
            coming |= {path for path in paths if _is_fetched(project, path, reader)}
        lacked = [path for path in stage.deps if path in absent - coming]
        faults = [*lacking.faults(stage, lacked, (), reader, graph)]
        for each in stage.params:
            if each.file not in coming:
                faults += _params(stage, each, reader, graph)
        faults += _in_git(project, stage, in_git)
        if faults:
            found[stage.address] = _joined(stage, list(dict.fromkeys(faults)))
    return found


def doomed(graph: Graph, early: Iterable[str]) -> dict[str, str]:
    """The stages that cannot run because others cannot, and why."""
    found = {each: f"upstream failed: {name}" for name in early for each in graphs.descendants(graph, [name])}
    return {each: why for each, why in found.items() if each not in early}


def _is_fetched(project: Project, path: str, reader: Reader) -> bool:
    return not os.path.lexists(project.root / path) and sources.owner(path, reader.gauge.pointers) is not None


def _comes_back(stage: Stage, path: str, reader: Reader, known: LockFiles, options: Options) -> bool:
    """Whether a frozen stage brings back what it once made at a path, around it, or in it."""
    record = known.read(look.source_of(stage)).stages.get(stage.name)
    gone = {each: out for each, out in record.outs.items() if not os.path.lexists(reader.root / each)} if record else {}
    if not (sources.owner(path, gone) or any(each.startswith(f"{path}/") for each in gone)):
        return False
    return options.commit and (options.pull or look.is_here(reader.gauge.store, gone))


def _makers(graph: Graph, paths: set[str]) -> dict[str, set[int]]:
    """Which stages make each of `paths`, or may make it, or make something in it."""
    outputs = graph.outputs
    inside = outputs.inside(paths)
    return {path: {*outputs.makers(path), *outputs.possible_makers(path), *inside.get(path, ())} for path in paths}


def _in_run(
    graph: Graph, chosen: Sequence[str], makers: Mapping[str, set[int]], brings: Callable[[Stage, str], bool]
) -> dict[str, set[int]]:
    """Those of these makers that do so in this run."""
    ours = {graph.numbers[each]: graph.stages[each] for each in chosen}
    return {
        path: {each for each in numbers if each in ours and brings(ours[each], path)}
        for path, numbers in makers.items()
    }


def _params(stage: Stage, each: ParamSet, reader: Reader, graph: Graph) -> Iterable[Fault]:
    missing: list[tuple[str, str | None]] = []
    try:
        signature.params_of(each, reader.values_of(each.file), missing)
    except UserError as error:
        return [Fault(error.message, error.hint or "")]
    if len(missing) > 1 and not os.path.exists(reader.root / each.file):
        del missing[1:]  # one file, whatever is wanted of it
    return lacking.faults(stage, (), missing, reader, graph)


def _in_git(project: Project, stage: Stage, in_git: Collection[str]) -> Iterable[Fault]:
    """An output that Git has."""
    try:
        ignored.refuse_in_git(project, stage, in_git)
    except UserError as error:
        return [Fault(error.message.removeprefix(f"stage {stage.address}: "), error.hint or "")]
    return []


def _joined(stage: Stage, faults: Sequence[Fault]) -> Lacking:
    where, why = f"stage {stage.address}", faults[0].text
    if len(faults) == 1:
        return Lacking(f"{where}: {why}", why, hint=faults[0].hint)
    lines = "\n".join(f"  {each.text} ({each.hint})" for each in faults)
    return Lacking(f"{where} cannot run:\n{lines}", f"{why}, and {len(faults) - 1} more", hint="mend these first")
