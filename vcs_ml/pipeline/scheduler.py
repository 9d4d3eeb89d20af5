"""The order in which jobs that wait for each other run, several at a time, within what the machine has."""

from __future__ import annotations

import contextlib
import graphlib
import heapq
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from vcs_ml import output
from vcs_ml.pipeline.groups import Groups

State = Literal["ran", "cached", "skipped", "frozen", "failed", "not run"]
_MOMENT = 1.0  # seconds for jobs to end after the second ^C


class Outcome(NamedTuple):
    """What a job came to. Work may give any state but "not run"; "skipped" is a job with nothing to do,
    "frozen" one that nothing is done for.
    """

    state: State
    why: str = ""


class Row(NamedTuple):
    """A line of the table at the end: a job, what it came to, how long it took, and why."""

    name: str
    state: State
    seconds: float
    why: str


class Resources(NamedTuple):
    """What jobs take and a machine has: cores, graphics cards, bytes of memory."""

    cpu: float = 0
    gpu: float = 0
    mem: float = 0


NOTHING: Final = Resources()
UNLIMITED: Final = Resources(math.inf, math.inf, math.inf)

_Ended = tuple[str, Outcome | BaseException, float]


def machine(env: Mapping[str, str]) -> Resources:
    """What this machine has: cores for this process, physical memory, CUDA_VISIBLE_DEVICES or NVIDIA's devices.

    What cannot be found out is unlimited.
    """
    cpu = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or math.inf
    visible = env.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        gpu = len(list(Path("/dev").glob("nvidia[0-9]*"))) or math.inf
    else:
        gpu = len([each for each in visible.split(",") if each.strip() not in ("", "-1")])
    try:
        mem: float = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        mem = math.inf
    return Resources(cpu, gpu, mem)


def beyond(need: Resources, limits: Resources) -> str:
    """What a job needs more of than there is at all, in words: `cpu: 64 of 2`; "" if nothing."""
    found = []
    for key, wanted, there in zip(Resources._fields, need, limits, strict=True):
        if wanted > there:
            one, all_ = (output.size(int(n)) if key == "mem" else f"{n:g}" for n in (wanted, there))
            found.append(f"{key}: {one} of {all_}")
    return ", ".join(found)


def run(
    jobs: Mapping[str, Collection[str]],
    work: Callable[[str], Outcome],
    *,
    groups: Groups,
    slots: int = 1,
    needs: Mapping[str, Resources] | None = None,
    mutexes: Mapping[str, Collection[str]] | None = None,
    limits: Resources = UNLIMITED,
    keep_going: bool = False,
    done: Callable[[Row], None] | None = None,
    late: Callable[[], str] = lambda: "",
) -> list[Row]:
    """Do `work` for each job after all jobs that it waits for (name -> names), up to `slots` at a time.

    Of those that could start, the first in the order of `jobs` does. Jobs that run together need no more than `limits`
    together (one that needs more than that runs while nothing else needs it; see `beyond`), and share no mutex. After
    a failure nothing new starts, or with `keep_going` all that does not need the failed one. Names that are no jobs
    are not waited for. `done` is told of each job that ran as it ends, by the calling thread; `late` names a job that
    had ended well and has failed since, if there is one. The rows are in the order of `jobs`.

    With one slot, work is done in the calling thread, else in others. An exception in work, or a signal, stops
    everything (see Groups) and is raised here when nothing runs any more; after a second signal the rest is killed.
    Raises ValueError for a circle.
    """
    graphlib.TopologicalSorter(jobs).prepare()
    plan = _Plan(jobs, needs or {}, mutexes or {}, limits, slots=slots, keep_going=keep_going, late=late)
    ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
    if slots == 1:
        _follow(plan, lambda name: ended.put(_timed(work, name)), ended, groups, done)
        groups.check()
        return plan.rows()
    tasks: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threads: list[threading.Thread] = []

    def start(name: str) -> None:
        if len(threads) < slots:
            # Daemons: after a second ^C, the program does not wait for what hangs.
            threads.append(threading.Thread(target=_serve, args=(tasks, ended, work), daemon=True))
            threads[-1].start()
        tasks.put(name)

    try:
        with groups.held():
            _follow(plan, start, ended, groups, done)
    finally:
        for _ in threads:
            tasks.put(None)
    return plan.rows()


def _timed(work: Callable[[str], Outcome], name: str) -> _Ended:
    start = time.monotonic()
    outcome: Outcome | BaseException
    try:
        outcome = work(name)
    except BaseException as error:  # raised again by _follow
        outcome = error
    return name, outcome, time.monotonic() - start


def _serve(
    tasks: queue.SimpleQueue[str | None], ended: queue.SimpleQueue[_Ended], work: Callable[[str], Outcome]
) -> None:
    while (name := tasks.get()) is not None:
        ended.put(_timed(work, name))


def _follow(
    plan: _Plan,
    start: Callable[[str], None],
    ended: queue.SimpleQueue[_Ended],
    groups: Groups,
    done: Callable[[Row], None] | None,
) -> None:
    """Start what may start and take in what ends, until nothing is left to do."""
    error: BaseException | None = None
    running: set[str] = set()
    try:
        while True:
            while not groups.asked and (name := plan.take()) is not None:
                running.add(name)
                start(name)
            if not running:
                break
            name, outcome, seconds = ended.get()
            running.discard(name)
            if not isinstance(outcome, BaseException):
                row = plan.finish(name, outcome, seconds)
                if done is not None:
                    done(row)
            else:
                error = error or outcome
                if not groups.asked:
                    groups.stop()
    except BaseException:  # a second signal, or `done` failed
        while groups.asked < 2:
            groups.stop()
        until = time.monotonic() + _MOMENT
        with contextlib.suppress(queue.Empty):
            for _ in running:
                ended.get(timeout=max(until - time.monotonic(), 0))
        raise
    if error is not None:
        raise error


class _Kind(NamedTuple):
    """What a job needs to start."""

    need: Resources
    mutexes: frozenset[str]


class _Plan:
    """What may start now, and what has become of the others."""

    def __init__(
        self,
        jobs: Mapping[str, Collection[str]],
        needs: Mapping[str, Resources],
        mutexes: Mapping[str, Collection[str]],
        limits: Resources,
        *,
        slots: int,
        keep_going: bool,
        late: Callable[[], str],
    ) -> None:
        self._slots, self._keep_going, self._late = slots, keep_going, late
        self._names = list(jobs)
        self._place = {name: at for at, name in enumerate(self._names)}
        self._needs, self._mutexes, self._limits = needs, mutexes, limits
        self._downstream: dict[str, list[str]] = {name: [] for name in jobs}
        self._waits: dict[str, int] = {}
        for name, upstream in jobs.items():
            known = self._downstream.keys() & upstream
            self._waits[name] = len(known)
            for each in known:
                self._downstream[each].append(name)
        # By what they need, so that thousands which wait for one mutex are looked at as one.
        self._ready: dict[_Kind, list[int]] = {}
        self._running: dict[str, Resources] = {}
        self._used = NOTHING
        self._taken: set[str] = set()
        self._rows: dict[str, Row] = {}
        self._doomed: dict[str, str] = {}
        self._failed = ""
        for name in jobs:
            if not self._waits[name]:
                self._add(name)

    def take(self) -> str | None:
        """The next job, which counts as running from now on; None if none may start now."""
        self._failed = self._failed or self._late()
        if len(self._running) >= self._slots or (self._failed and not self._keep_going):
            return None
        best, chosen = len(self._names), None
        for kind, places in self._ready.items():
            if places and places[0] < best and self._fits(kind):
                best, chosen = places[0], kind
        if chosen is None:
            return None
        heapq.heappop(self._ready[chosen])
        name = self._names[best]
        self._running[name] = chosen.need
        self._taken |= chosen.mutexes
        self._count()
        return name

    def finish(self, name: str, outcome: Outcome, seconds: float) -> Row:
        """What a running job came to."""
        del self._running[name]
        self._taken.difference_update(self._mutexes.get(name, ()))
        self._count()
        if outcome.state == "failed":
            self._failed = self._failed or name
            below = list(self._downstream[name])
            while below:
                if (each := below.pop()) not in self._doomed:
                    self._doomed[each] = f"upstream failed: {name}"
                    below += self._downstream[each]
        else:
            for each in self._downstream[name]:
                self._waits[each] -= 1
                if not self._waits[each]:
                    self._add(each)
        self._rows[name] = row = Row(name, outcome.state, seconds, outcome.why)
        return row

    def rows(self) -> list[Row]:
        """All jobs in their order."""
        return [
            self._rows.get(name) or Row(name, "not run", 0.0, self._doomed.get(name, f"{self._failed} failed"))
            for name in self._names
        ]

    def _add(self, name: str) -> None:
        """A job that no longer waits for others."""
        need = Resources(*map(min, self._needs.get(name, NOTHING), self._limits))
        kind = _Kind(need, frozenset(self._mutexes.get(name, ())))
        heapq.heappush(self._ready.setdefault(kind, []), self._place[name])

    def _fits(self, kind: _Kind) -> bool:
        # a hair's breadth, because 0.1 + 0.2 is more than 0.3
        room = all(used + n <= limit + 1e-9 for used, n, limit in zip(self._used, kind.need, self._limits, strict=True))
        return room and self._taken.isdisjoint(kind.mutexes)

    def _count(self) -> None:
        if self._running:
            self._used = Resources(*map(sum, zip(*self._running.values(), strict=True)))
        else:
            self._used = NOTHING
