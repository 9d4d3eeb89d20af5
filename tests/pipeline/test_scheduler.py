"""Jobs in their order, side by side, within limits: random graphs against a simple model, and what failures stop."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.errors import UserError
from vcs_ml.pipeline import scheduler
from vcs_ml.pipeline.groups import Groups
from vcs_ml.pipeline.scheduler import UNLIMITED, Outcome, Resources, Row, beyond, machine

RAN = Outcome("ran")
LIMITS = Resources(2, 1, 8e9)


class World(NamedTuple):
    """Jobs, what they need, and which of them fail."""

    jobs: dict[str, set[str]]
    needs: dict[str, Resources]
    mutexes: dict[str, set[str]]
    failing: set[str]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = [f"job{i}" for i in range(draw(st.integers(0, 12)))]
    waits = {
        name: draw(st.sets(st.sampled_from(names[:at]), max_size=3)) if at else set() for at, name in enumerate(names)
    }
    some = st.dictionaries(st.sampled_from(names), st.just(None)) if names else st.just({})
    amounts = st.builds(
        Resources, st.sampled_from([0, 0.1, 0.5, 1, 2, 5]), st.sampled_from([0, 1, 2]), st.sampled_from([0, 3e9, 9e9])
    )
    return World(
        {name: waits[name] for name in draw(st.permutations(names))},
        {name: draw(amounts) for name in draw(some)},
        {name: draw(st.sets(st.sampled_from(["port", "db"]))) for name in draw(some)},
        set(draw(some)),
    )


class Watch:
    """Work that notes what ran at the same time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now: set[str] = set()
        self.begun: list[str] = []
        self.moments: list[set[str]] = []
        self.ended: set[str] = set()
        self.lock = threading.Lock()

    def __call__(self, name: str) -> Outcome:
        with self.lock:
            assert self.world.jobs[name] <= self.ended - self.world.failing
            self.now.add(name)
            self.begun.append(name)
            self.moments.append(set(self.now))
        time.sleep(0.0005)  # lets others come between
        with self.lock:
            self.now.remove(name)
            self.ended.add(name)
        return Outcome("failed", "bad luck") if name in self.world.failing else RAN


def go(world: World, slots: int, *, keep_going: bool = True) -> tuple[Watch, list[Row]]:
    watch = Watch(world)
    with Groups() as groups:
        rows = scheduler.run(
            world.jobs,
            watch,
            groups=groups,
            slots=slots,
            needs=world.needs,
            mutexes=world.mutexes,
            limits=LIMITS,
            keep_going=keep_going,
        )
    return watch, rows


def below(world: World, names: set[str]) -> set[str]:
    """All jobs that need one of these, also by way of others."""
    found: set[str] = set()
    while more := {name for name, waits in world.jobs.items() if waits & (names | found)} - found:
        found |= more
    return found


def states(rows: list[Row]) -> dict[str, str]:
    return {row.name: row.state for row in rows}


@given(worlds(), st.integers(1, 4))
def test_order_and_limits(world: World, slots: int) -> None:
    watch, rows = go(world, slots)
    assert [row.name for row in rows] == list(world.jobs)
    lost = below(world, world.failing)
    assert states(rows) == {
        name: "not run" if name in lost else "failed" if name in world.failing else "ran" for name in world.jobs
    }
    assert sorted(watch.begun) == sorted(world.jobs.keys() - lost)
    for moment in watch.moments:
        assert len(moment) <= slots
        for key in Resources._fields:
            wanted = [n for name in moment if (n := getattr(world.needs.get(name, Resources()), key))]
            # one that needs more than there is has it for itself
            assert sum(wanted) <= getattr(LIMITS, key) + 1e-6 or len(wanted) == 1
        taken = [mutex for name in moment for mutex in world.mutexes.get(name, ())]
        assert len(taken) == len(set(taken))


@given(worlds(), st.integers(2, 4))
def test_side_by_side_gives_what_one_by_one_gives(world: World, slots: int) -> None:
    assert states(go(world, slots)[1]) == states(go(world, 1)[1])


@given(worlds())
def test_one_by_one_the_first_that_can_start_does(world: World) -> None:
    """With one slot nothing else runs, so nothing is short, and the first failure ends it."""
    order: list[str] = []
    while not world.failing & set(order):
        free = [name for name, waits in world.jobs.items() if name not in order and waits <= set(order)]
        if not free:
            break
        order.append(free[0])
    watch, rows = go(world, 1, keep_going=False)
    assert watch.begun == order
    assert {name for name, state in states(rows).items() if state == "not run"} == world.jobs.keys() - set(order)


@given(worlds(), st.integers(2, 4))
def test_without_keep_going_what_ran_is_whole(world: World, slots: int) -> None:
    watch, rows = go(world, slots, keep_going=False)
    found = states(rows)
    assert {name for name in found if found[name] != "not run"} == watch.ended
    assert ("failed" in found.values()) == bool(world.failing)
    if not world.failing:
        assert set(found.values()) <= {"ran"}


def run(jobs: Mapping[str, set[str]], work: scheduler.Callable[[str], Outcome], **options: object) -> list[Row]:
    with Groups() as groups:
        return scheduler.run(jobs, work, groups=groups, **options)  # type: ignore[arg-type]


def asked(groups: Groups, *, twice: bool = False) -> bool:
    """Whether the job that waits here is asked to end."""
    until = time.monotonic() + 30
    while groups.asked <= twice and time.monotonic() < until:
        time.sleep(0.001)
    return groups.asked > twice


def test_as_many_as_asked_for_run_together() -> None:
    together = threading.Barrier(3)

    def work(name: str) -> Outcome:
        together.wait(60)
        return RAN

    rows = run({name: set() for name in "abcdef"}, work, slots=3)
    assert {row.state for row in rows} == {"ran"}


def test_a_small_job_goes_past_one_that_does_not_fit() -> None:
    started = threading.Event()

    def work(name: str) -> Outcome:
        if name == "big":
            assert started.wait(60)
        if name == "small":
            started.set()
        return RAN

    needs = {"big": Resources(gpu=1), "next": Resources(gpu=1)}
    rows = run({"big": set(), "next": set(), "small": set()}, work, slots=2, needs=needs, limits=LIMITS)
    assert {row.state for row in rows} == {"ran"}


@pytest.mark.parametrize("keep_going", [False, True])
def test_after_a_failure_what_runs_may_finish(keep_going: bool) -> None:
    failed, running = threading.Event(), threading.Event()
    seen: list[Row] = []

    def work(name: str) -> Outcome:
        if name == "slow":
            running.set()
            assert failed.wait(60)
            return Outcome("cached", "run cache")
        if name == "bad":
            assert running.wait(60)
            return Outcome("failed", "exit code 1")
        return Outcome("skipped", "unchanged")

    def done(row: Row) -> None:
        seen.append(row)
        if row.state == "failed":
            failed.set()

    jobs: dict[str, set[str]] = {"bad": set(), "slow": set(), "other": set(), "child": {"bad"}, "grandchild": {"child"}}
    rows = run(jobs, work, slots=2, keep_going=keep_going, done=done)
    other = ("skipped", "unchanged") if keep_going else ("not run", "bad failed")
    assert {row.name: (row.state, row.why) for row in rows} == {
        "bad": ("failed", "exit code 1"),
        "slow": ("cached", "run cache"),
        "other": other,
        "child": ("not run", "upstream failed: bad"),
        "grandchild": ("not run", "upstream failed: bad"),
    }
    assert {row.name for row in seen} == {"bad", "slow"} | ({"other"} if keep_going else set())
    assert all(row in rows for row in seen)
    assert all((row.seconds == 0) == (row.state == "not run") for row in rows)


@pytest.mark.parametrize("slots", [1, 3])
def test_an_error_in_work_is_raised_when_nothing_runs(slots: int) -> None:
    others, ended = threading.Barrier(slots), []

    def work(name: str) -> Outcome:
        others.wait(60)
        if name == "a":
            raise UserError("no such thing")
        assert asked(groups)
        ended.append(name)
        groups.check()
        return RAN

    with Groups() as groups, pytest.raises(UserError, match="no such thing"):
        scheduler.run({name: set() for name in "abcde"}, work, groups=groups, slots=slots)
    assert sorted(ended) == list("bc")[: slots - 1]


@pytest.mark.parametrize("slots", [1, 3])
def test_an_error_in_done_stops_everything(slots: int) -> None:
    def done(row: Row) -> None:
        raise BrokenPipeError

    begun: list[str] = []
    killed: list[str] = []

    def work(name: str) -> Outcome:
        begun.append(name)
        if name != "a" and asked(groups, twice=True):
            killed.append(name)
        return RAN

    with Groups() as groups, pytest.raises(BrokenPipeError):
        scheduler.run({name: set() for name in "abcdef"}, work, groups=groups, slots=slots, done=done)
    assert sorted(begun) == list("abc")[:slots]
    assert sorted(killed) == list("bc")[: slots - 1]


@pytest.mark.parametrize("slots", [1, 3])
def test_who_was_asked_to_end_starts_nothing(slots: int) -> None:
    begun: list[str] = []

    def work(name: str) -> Outcome:
        begun.append(name)
        return RAN

    with Groups() as groups:
        groups.stop()
        with pytest.raises(SystemExit):
            scheduler.run({"a": set()}, work, groups=groups, slots=slots)
    assert not begun


def test_circles_and_strangers() -> None:
    with pytest.raises(ValueError, match="cycle"):
        run({"a": {"b"}, "b": {"a"}}, lambda name: RAN)
    with pytest.raises(ValueError, match="cycle"):
        run({"a": {"a"}}, lambda name: RAN)
    assert run({"a": {"elsewhere"}}, lambda name: RAN)[0].state == "ran"
    assert run({}, lambda name: RAN) == []


@pytest.mark.parametrize("slots", [1, 4])
def test_threads_end(slots: int) -> None:
    before = threading.active_count()
    seen: set[str] = set()

    def work(name: str) -> Outcome:
        seen.add(threading.current_thread().name)
        return RAN

    rows = run({str(i): {str(i - 1)} if i % 10 else set() for i in range(1000)}, work, slots=slots)
    assert len(rows) == 1000
    assert (seen == {threading.current_thread().name}) == (slots == 1)
    until = time.monotonic() + 60
    while threading.active_count() > before:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_what_is_beyond_the_machine() -> None:
    assert beyond(Resources(2, 1, 8e9), LIMITS) == ""
    assert beyond(Resources(1e6, 1e6, 1e18), UNLIMITED) == ""
    assert beyond(Resources(cpu=2.5, mem=64e9), LIMITS) == f"cpu: 2.5 of {LIMITS.cpu:g}, mem: 64.0 GB of 8.0 GB"
    assert beyond(Resources(gpu=1), Resources(1, 0, 1)) == "gpu: 1 of 0"


@pytest.mark.parametrize(("value", "gpu"), [("", 0), ("-1", 0), ("0", 1), ("0,1,3", 3), ("GPU-8932f937,GPU-2", 2)])
def test_machine(value: str, gpu: int) -> None:
    found = machine({"CUDA_VISIBLE_DEVICES": value})
    assert found.gpu == gpu
    assert 1 <= found.cpu < 10_000
    assert 1e8 < found.mem < math.inf
