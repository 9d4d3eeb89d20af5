"""Freezing stages, and letting them go."""

from __future__ import annotations

from collections.abc import Iterable

from vcs_ml import yaml
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.pipeline import edit, targets
from vcs_ml.pipeline import open as opened
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.stage import address
from vcs_ml.workspace import tracked
from vcs_ml.workspace.project import Project


def set_frozen(project: Project, wanted: Iterable[str], start: str, *, frozen: bool) -> list[str]:
    """Set `frozen` in the vml.yaml files for what targets mean in the directory `start`; what was changed, by address.

    A foreach or matrix is frozen as a whole: UserError for a part of one, and as in `targets.find`, `edit.with_frozen`
    and `opened.write`. The caller holds the worktree's lock.
    """
    survey = tracked.survey(project)
    _, graph = opened.pipeline(project, survey)
    chosen = {each: None for target in wanted for each in targets.find(graph, target, start)}
    before: dict[str, bytes] = {}
    after: dict[str, bytes] = {}
    changed = []
    for source, names in _entries(project, graph, chosen).items():
        before[source] = after[source] = opened.read(project, source)
        for name in names:
            new = edit.with_frozen(after[source], source, name, frozen=frozen)
            if new != after[source]:
                after[source] = new
                changed.append(address(source, name))
    changes = {source: raw for source, raw in after.items() if raw != before[source]}
    if changes:
        opened.write(project, survey, changes)
    return changed


def _entries(project: Project, graph: Graph, chosen: Iterable[str]) -> dict[str, dict[str, None]]:
    """The entries of `stages`, by file, that these stages come from. UserError where not all of an entry is chosen."""
    wanted = set(chosen)
    found: dict[str, dict[str, None]] = {}
    written: dict[str, set[str]] = {}
    for each in chosen:
        stage = graph.stages[each]
        if stage.file not in written:
            written[stage.file] = set(yaml.parse(opened.read(project, stage.file), stage.file).value["stages"])
        name = stage.name if stage.name in written[stage.file] else stage.name.partition("@")[0]
        if name != stage.name:
            left = [other for other, its in graph.stages.items() if its.group == stage.group and other not in wanted]
            if left:
                raise UserError(
                    f"{quote(each)} is one of several stages that {quote(stage.group)} stands for",
                    hint=f"all of them can be frozen: vml freeze {word(stage.group)}",
                )
        found.setdefault(stage.file, {})[name] = None
    return found
