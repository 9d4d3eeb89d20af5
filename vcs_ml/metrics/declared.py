"""Which files a revision declares as params, metrics and plots, and which gates it has."""

from __future__ import annotations

import posixpath
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vcs_ml.errors import CorruptError, UserError, VmlError
from vcs_ml.metrics import revision
from vcs_ml.metrics.revision import Revision
from vcs_ml.pipeline import load
from vcs_ml.pipeline.load import Pipeline
from vcs_ml.pipeline.stage import PARAMS

Keys = frozenset[str] | None  # of a file; None: all that it has


class PlotSource(NamedTuple):
    """A plot as it was declared in the directory `base`: a file of an output, or what `plots` at the top says.

    `props` has x, y, template and the like as they were written.
    """

    id: str
    base: str
    props: Mapping[str, Any]


class Declared(NamedTuple):
    """What the vml.yaml files of a revision declare. Paths are files, directories and patterns, from the top.

    Of a file of params, only some keys may be meant. `gates` are file, key, and the mapping that the schema describes:
    those that several vml.yaml have for one value all count. `faults` are gates that are wrong, and why. `error` is
    what kept a vml.yaml from being read; then all else is empty.
    """

    params: Mapping[str, Keys]
    metrics: tuple[str, ...] = ()
    plots: tuple[PlotSource, ...] = ()
    gates: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    faults: tuple[tuple[str, str, VmlError], ...] = ()
    pipeline: Pipeline = Pipeline((), ())
    error: VmlError | None = None


class Declarations:
    """Reads what revisions declare; where nothing that was read for one of them differs, once for several."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: list[tuple[list[str], dict[str, bytes | None], Declared]] = []

    def of(self, at: Revision) -> Declared:
        """What this revision declares. params.yaml at the top of the project counts as params everywhere."""
        seen: dict[str, bytes | None] = {}
        known: Declared

        def take(path: str) -> bytes | None:
            if path not in seen:
                seen[path] = revision.read(at, path)
            return seen[path]

        def has(path: str, raw: bytes | None) -> bool:
            try:
                return take(path) == raw
            except (UserError, CorruptError):  # which only matters where it is needed
                return False

        try:
            files = at.stage_files()
            for names, before, known in reversed(self._known):
                if names == files and all(has(path, raw) for path, raw in before.items()):
                    return known
            used: dict[str, bytes | None] = {}
            found = _declared(
                load.load(self._root, files, lambda path: used.setdefault(path, take(path)), strict=False),
                str(self._root),
            )
        except (UserError, CorruptError) as error:
            return Declared({PARAMS: None}, error=error)
        self._known.append((files, used, found))
        return found


def together(one: Keys, other: Keys) -> Keys:
    """What is meant of a file that is named twice."""
    return None if one is None or other is None else one | other


def _declared(pipeline: Pipeline, root: str) -> Declared:
    params: dict[str, Keys] = {PARAMS: None}
    metrics: dict[str, None] = {}
    plots: list[PlotSource] = []
    gates: list[tuple[str, str, Mapping[str, Any]]] = []
    faults: list[tuple[str, str, VmlError]] = []
    for each in pipeline.declared:
        base = posixpath.dirname(each.file)
        params.update((path, None) for path in each.params)
        metrics.update(dict.fromkeys(each.metrics))
        plots += (PlotSource(name, base, props) for name, props in each.plots)
    for stage in pipeline.stages:
        for one in stage.params:
            keys = None if one.keys is None else frozenset(one.keys)
            params[one.file] = together(params.get(one.file, frozenset()), keys)
        metrics.update((out.path, None) for out in stage.outs if out.kind == "metric")
        plots += (PlotSource(out.path, "", out.plot or {}) for out in stage.outs if out.kind == "plot")
    for each in pipeline.declared:
        base = posixpath.dirname(each.file)
        gates += ((*_named(root, base, name, metrics), gate) for name, gate in each.gates.items())
        faults += ((*_named(root, base, str(name), metrics), fault) for name, fault in each.faults.items())
    return Declared(params, tuple(metrics), tuple(plots), tuple(gates), tuple(faults), pipeline)


def _named(root: str, base: str, gate: str, metrics: Container[str]) -> tuple[str, str]:
    """The file and the key of a gate. Both may have colons: then the longest file that is declared is meant."""
    file, _, key = gate.partition(":")
    end = gate.rfind(":")
    while end > len(file):
        if (longer := _located(root, base, gate[:end])) in metrics:
            return longer, gate[end + 1 :]
        end = gate.rfind(":", 0, end)
    return _located(root, base, file), key


def _located(root: str, base: str, file: str) -> str:
    """A path from the top of the project, into which one may lead back that has left it by `..`."""
    path = posixpath.normpath(posixpath.join(base, file))
    full = posixpath.normpath(posixpath.join(root, path))
    return full.removeprefix(f"{root}/") if full.startswith(f"{root}/") else path
