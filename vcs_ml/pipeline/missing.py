"""What a stage needs that is not here, from a remote: data that it reads, and outputs that need not be made again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vcs_ml.config import NoRemote
from vcs_ml.output import quote
from vcs_ml.pipeline import look
from vcs_ml.pipeline.stage import Stage
from vcs_ml.pipeline.turn import Run
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.records import Root
from vcs_ml.store.remote import Remote
from vcs_ml.workspace import checkout, opening, sync, tracked
from vcs_ml.workspace.lockfile import OutItem
from vcs_ml.workspace.sync import Wanted


class Fetcher:
    """Fetches from the default remote, or the one that an output goes to. Each is opened once and serves one stage
    after the other.
    """

    def __init__(self, run: Run, show: Callable[[str], Any]) -> None:
        self._run, self._show = run, show
        self._remotes: dict[str, Remote] = {}
        self._turn = threading.Lock()

    def fetch(self, stage: Stage) -> None:
        """Bring what is missing for this stage into the store, and what it reads into the workspace. VmlError.

        Outputs that the remote does not have, or for which there is none, are made by the command instead: that is no
        error.
        """
        self._fetch_deps(stage)
        self._fetch_outs(stage)

    def _fetch_deps(self, stage: Stage) -> None:
        run = self._run
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
        items: dict[str | None, list[Wanted]] = {}
        for each, inner in wanted:
            items.setdefault(each.remote, []).append(Wanted(Root(each.path, each.oid), each.size, [inner]))
        self._bring(items)
        with run.ledger.open():
            run.ledger.flush()
            checkout.checkout(run.project, run.store, wanted, meter=run.ledger.meter)
            run.ledger.gauge.refresh()

    def _fetch_outs(self, stage: Stage) -> None:
        run = self._run
        with run.ledger.open():
            seen = look.look(stage, run.ledger.locks, run.reader(), force=run.options.force)
            if not seen.reasons or run.options.force:
                return
            if stage.frozen and seen.record is not None:
                known: Iterable[dict[str, OutItem]] = [dict(seen.record.outs)]
            else:
                earlier = look.candidates(stage, seen, run.store, earlier_runs=run.options.run_cache)
                known = [dict(each) for each in earlier]
        for outs in known:
            items: dict[str | None, list[Wanted]] = {}
            for path, out in outs.items():
                items.setdefault(out.flags.remote, []).append(Wanted(Root(path, out.oid), out.size, [""]))
            try:
                self._bring(items)
                return
            except (MissingObject, NoRemote):
                continue

    def _bring(self, items: Mapping[str | None, list[Wanted]]) -> None:
        """Fetch what the store lacks of these, by the name of the remote (None: the default)."""
        run = self._run
        lacking = {name: each for name, each in items.items() if sync.lacking(run.store, each)}
        if not lacking:
            return
        run.ledger.settle()
        with self._turn:
            for name, each in lacking.items():
                sync.fetch(run.store, self._remote(name), each, jobs=sync.jobs(run.project, None), show=self._show)

    def _remote(self, name: str | None) -> Remote:
        config = self._run.project.remote(name)
        if config.name not in self._remotes:
            opened = opening.remote_if_set_up(self._run.project, config)
            if opened is None:
                raise NoRemote(f"nothing was pushed to the remote {quote(config.name)} yet", hint="vml push does that")
            self._remotes[config.name] = opened
        return self._remotes[config.name]
