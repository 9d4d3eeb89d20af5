"""The pipeline of a project: all its vml.yaml files, read and put together."""

from __future__ import annotations

from vcs_ml.pipeline import graph, load
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.load import Pipeline
from vcs_ml.workspace import tracked
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.tracked import Survey


def pipeline(project: Project, survey: Survey | None = None) -> tuple[Pipeline, Graph]:
    """What the vml.yaml files of the workspace say, and the graph of their stages; both empty where there are none.

    `survey` is what was seen in the workspace just now. UserError as in `load.load` and `graph.build`.
    """
    found = survey or tracked.survey(project)
    loaded = load.load(project.root, found.stage_files)
    data = (path for path, each in found.tracked.items() if not each.lock)
    return loaded, graph.build(loaded.stages, data)
