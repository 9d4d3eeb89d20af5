"""Which files a revision declares as params, metrics and plots, and which gates it has."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.metrics import revision
from vcs_ml.metrics.revision import Revision
from vcs_ml.pipeline import load
from vcs_ml.pipeline.load import Pipeline
from vcs_ml.pipeline.stage import PARAMS


class PlotSource(NamedTuple):
    """A plot as it was declared in the directory `base`: a file of an output, or what `plots` at the top says.

    `props` has x, y, template and the like as they were written.
    """

    id: str
    base: str
    props: Mapping[str, Any]


class Declared(NamedTuple):
    """What the vml.yaml files of a revision declare. Paths are files, directories and patterns, from the top.

    Of a file of params, only some keys may be meant. `gates` are by file and key, each the mapping that the schema
    describes. `error` is what kept a vml.yaml from being read; then all else is empty.
    """

    params: Mapping[str, frozenset[str] | None]
    metrics: tuple[str, ...] = ()
    plots: tuple[PlotSource, ...] = ()
    gates: Mapping[tuple[str, str], Mapping[str, Any]] = {}
    pipeline: Pipeline = Pipeline((), ())
    error: UserError | None = None


class Declarations:
    """Reads what revisions declare; where nothing that was read for one of them differs, once for several."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: list[tuple[list[str], dict[str, bytes | None], Declared]] = []

    def of(self, at: Revision) -> Declared:
        """What this revision declares. params.yaml at the top of the project counts as params everywhere."""
        files = at.stage_files()
        known: Declared
        for names, before, known in reversed(self._known):
            if names == files and all(_read(at, path) == raw for path, raw in before.items()):
                return known
        seen: dict[str, bytes | None] = {}

        def take(path: str) -> bytes | None:
            seen[path] = _read(at, path)
            return seen[path]

        try:
            found = _declared(load.load(self._root, files, take))
        except UserError as error:
            return Declared({PARAMS: None}, error=error)
        self._known.append((files, seen, found))
        return found


def _read(at: Revision, path: str) -> bytes | None:
    return revision.read(at, path)


def _declared(pipeline: Pipeline) -> Declared:
    params: dict[str, frozenset[str] | None] = {PARAMS: None}
    metrics: dict[str, None] = {}
    plots: list[PlotSource] = []
    gates: dict[tuple[str, str], Mapping[str, Any]] = {}
    for each in pipeline.declared:
        base = posixpath.dirname(each.file)
        params.update((path, None) for path in each.params)
        metrics.update(dict.fromkeys(each.metrics))
        plots += (PlotSource(name, base, props) for name, props in each.plots)
        for name, gate in each.gates.items():
            file, _, key = name.partition(":")
            gates[posixpath.normpath(posixpath.join(base, file)), key] = gate
    for stage in pipeline.stages:
        for one in stage.params:
            before = params.get(one.file, frozenset())
            params[one.file] = None if one.keys is None or before is None else before | set(one.keys)
        metrics.update((out.path, None) for out in stage.outs if out.kind == "metric")
        plots += (PlotSource(out.path, "", out.plot or {}) for out in stage.outs if out.kind == "plot")
    return Declared(params, tuple(metrics), tuple(plots), gates, pipeline)
