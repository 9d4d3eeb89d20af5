"""Committing stages: what is in the workspace is taken as what they made, without running them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vcs_ml import git
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline import ignored, lacking, look, signature
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.signature import Params, Reader
from vcs_ml.progress import Meter
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.outs import Recording
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.tracked import Survey


class Committed(NamedTuple):
    """A stage after its commit: its address, the lock file, and whether that now says something else."""

    name: str
    source: str
    changed: bool


def commit(
    project: Project,
    store: LocalStore,
    survey: Survey,
    graph: Graph,
    stages: Sequence[str],
    *,
    env: Mapping[str, str],
    meter: Meter,
) -> list[Committed]:
    """Record the commands, deps, params and outputs of these stages as they are now.

    Nothing goes into the run cache: nobody has seen the commands make it. UserError, with nothing recorded, for a dep,
    param or output that is not there or cannot be tracked. The caller holds the worktree's lock.
    """
    locks = LockFiles(project)
    gauge = Gauge(project, store, survey.tracked, meter)
    reader = Reader(gauge, Params(project.root), env, project.root)
    chosen = [graph.stages[each] for each in graph.order if each in stages]
    made = {each.address: signature.expanded(each, project.root) for each in chosen}
    in_git = git.tracked(project.git, [project.in_git(path) for outs in made.values() for path in outs])
    done = []
    with Recording(project, store, gauge, locks, meter) as recording:
        for stage in chosen:
            ignored.refuse_in_git(project, stage, in_git)
            ours, now = made[stage.address], signature.inputs(stage, reader)
            lacking.refuse(stage, now, reader, graph)
            unmatched = [out.path for out in stage.outs if out.is_glob and out not in ours.values()]
            lacking.refuse_literal(project.root, stage, unmatched)
            if unmatched:
                raise UserError(
                    f"stage {stage.address}: nothing matches {quote(unmatched[0])}", hint="vml repro makes it"
                )
            source = look.source_of(stage)
            before = locks.read(source).stages.get(stage.name)
            outs = recording.outs({path: signature.flags(out) for path, out in ours.items()})
            record = now.record(outs, before)
            recording.stage(source, stage.name, record)
            done.append(Committed(stage.address, source, record != before))
    return done
