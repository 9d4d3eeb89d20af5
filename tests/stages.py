"""Lock files as a run of stages would write them, for tests that look at what comes of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from tests.conftest import Repo
from vcs_ml.progress import SILENT
from vcs_ml.workspace import opening, tracked
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.lockfile import Flags, LockFile, OutItem, StageRecord
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.outs import Recording
from vcs_ml.workspace.project import Project


def project_of(repo: Repo, at: str = "") -> Project:
    return Project.find(repo.path / at, os.environ)


def record(
    repo: Repo,
    stage: str,
    outs: Mapping[str, Flags] | Iterable[str],
    deps: Iterable[str] = (),
    *,
    source: str = "vml.lock",
) -> dict[str, OutItem]:
    """What a run of this stage, which has just written `outs`, leaves behind."""
    flags = outs if isinstance(outs, Mapping) else dict.fromkeys(outs, Flags())
    project = project_of(repo)
    store = opening.open_store(project)
    with opening.changing(project):
        gauge = Gauge(project, store, tracked.in_workspace(project), SILENT)
        with Recording(project, store, gauge, LockFiles(project), SILENT) as recording:
            found = recording.outs(flags)
            read = {path: item for path in deps if (item := gauge.measure(path)) is not None}
            recording.stage(source, stage, StageRecord((f"make {stage}",), read, {}, found))
    return found


def drop(repo: Repo, stage: str, *, source: str = "vml.lock") -> None:
    """What it leaves behind that a stage is gone."""
    project = project_of(repo)
    with opening.changing(project):
        LockFiles(project).write({source: {stage: None}})


def lock_of(repo: Repo, source: str = "vml.lock") -> LockFile:
    return LockFiles(project_of(repo)).read(source)
