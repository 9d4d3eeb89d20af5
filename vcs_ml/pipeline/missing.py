"""What a stage needs that is not here, from a remote: data that it reads, and outputs that need not be made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from vcs_ml.errors import VmlError
from vcs_ml.pipeline import look
from vcs_ml.pipeline.stage import Stage
from vcs_ml.pipeline.turn import Run
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.records import Root
from vcs_ml.workspace import checkout, opening, sync, tracked
from vcs_ml.workspace.lockfile import OutItem
from vcs_ml.workspace.sync import Wanted


def fetch(run: Run, stage: Stage, show: Callable[[str], Any]) -> VmlError | None:
    """Bring what is missing for this stage into the store, and what it reads into the workspace; what went wrong.

    Outputs that the remote does not have are made by the command instead: that is no error.
    """
    try:
        _fetch_deps(run, stage, show)
        _fetch_outs(run, stage, show)
    except VmlError as error:
        return error
    return None


def _fetch_deps(run: Run, stage: Stage, show: Callable[[str], Any]) -> None:
    if stage.frozen:
        return
    with run.ledger.open():
        pointers = run.ledger.gauge.pointers
        wanted = [
            above
            for path in (*stage.deps, *(each.file for each in stage.params))
            if not os.path.lexists(run.project.root / path) and (above := tracked.owner(path, pointers))
        ]
    if not wanted:
        return
    _bring(run, [Wanted(Root(each.path, each.oid), each.size, [inner]) for each, inner in wanted], show)
    with run.ledger.open():
        run.ledger.flush()
        checkout.checkout(run.project, run.store, wanted, meter=run.ledger.meter)
        run.ledger.gauge.refresh()


def _fetch_outs(run: Run, stage: Stage, show: Callable[[str], Any]) -> None:
    with run.ledger.open():
        seen = look.look(stage, run.ledger.locks, run.reader(), force=run.options.force)
        if not seen.reasons or run.options.force:
            return
        if stage.frozen and seen.record is not None:
            known: Iterable[dict[str, OutItem]] = [dict(seen.record.outs)]
        else:
            known = [dict(each) for each in look.candidates(stage, seen, run.store, earlier_runs=run.options.run_cache)]
    for outs in known:
        items = [Wanted(Root(path, out.oid), out.size, [""]) for path, out in outs.items()]
        try:
            _bring(run, items, show)
            return
        except MissingObject:
            continue


def _bring(run: Run, items: list[Wanted], show: Callable[[str], Any]) -> None:
    """Fetch what the store lacks of these, one stage after the other."""
    if not sync.lacking(run.store, items):
        return
    run.ledger.settle()
    there = opening.remote_at(run.project, run.project.remote())
    sync.fetch(run.store, there, items, jobs=sync.jobs(run.project, None), show=show)
