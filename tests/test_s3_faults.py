"""Servers and networks that fail, and kill -9, at any request to a bucket: nothing is lost, no damage comes in."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import boto3  # noqa: F401 - so that no forked process need load it
import pytest

from tests import oscalls, proxy, worlds
from tests.proxy import Choose, Fault, Proxy
from tests.servers import S3Bucket, Server, web_server
from tests.worlds import CASES, Prepared, World
from vcs_ml.store.listing import write_latest
from vcs_ml.store.remotes import retry
from vcs_ml.store.remotes.local import Directory

FAULTS: dict[str, Fault] = {
    "500": proxy.SERVER_ERROR,
    "503": proxy.SLOW_DOWN,
    "reset before": proxy.RESET_BEFORE,
    "reset after": proxy.RESET_AFTER,
    "cut": proxy.Truncate(),
    "cut at once": proxy.Truncate(0),
    "flip down": proxy.FlipDown(),
    "flip early": proxy.FlipDown(60),
    "flip up": proxy.FlipUp(),
    "trickle": proxy.Trickle(100_000, 0.01),
    "stall": proxy.Stall(),
    "stall halfway": proxy.Stall(1),
    "delay": proxy.Delay(0.05),
}
TIMES = (1, 1, 2, 1000)
COMMANDS = ("push", "push more", "push large", "fetch", "pull more", "fetch large", "gc --remote")


class BucketWorld(World):
    """A world whose remote is a bucket, on a server that keeps it in a directory, as it was on the disk."""

    def __init__(self, ready: Prepared, place: Path, bucket: S3Bucket) -> None:
        ready.state.copy(place)
        super().__init__(place)
        assert bucket.server.directory is not None
        shutil.rmtree(bucket.server.directory / bucket.name / "remote", ignore_errors=True)
        remote = place / "remote"
        self.remote = bucket.server.directory / bucket.name / "remote"
        if remote.exists():
            subprocess.run(["cp", "-a", str(remote), str(self.remote)], check=True)
            shutil.rmtree(remote)
        settings = {
            "url": f"{bucket.url}/remote",
            "endpoint_url": bucket.endpoint,
            "region": "us-east-1",
            "timeout": "1",
        }
        for name, value in settings.items():
            self.ok("remote", "modify", "--local", "origin", name, value)


class Bed(NamedTuple):
    """What a test needs: a new bucket behind a proxy, chosen moments, a scratch directory, and where states are."""

    way: Proxy
    bucket: S3Bucket
    chance: random.Random
    place: Path
    above: Path

    def world(self, ready: Prepared) -> World:
        return BucketWorld(ready, self.place / "world", self.bucket)

    def requests(self, ready: Prepared) -> int:
        """How many requests a command sends that nothing disturbs."""
        world = self.world(ready)
        self.way.forget()
        world.ok(*ready.case.args)
        return len(self.way.requests)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks in vain gives up soon."""
    monkeypatch.setattr(retry, "TRIES", 3)
    monkeypatch.setattr(retry, "_FIRST", 0.01)


@pytest.fixture
def bucket(rclone: Server, impatient: None, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    for name, value in rclone.environment().items():
        monkeypatch.setenv(name, value)
    return rclone.bucket()


@pytest.fixture
def bed(bucket: S3Bucket, chance: random.Random, tmp_path: Path, above: Path) -> Iterator[Bed]:
    with Proxy(bucket.endpoint) as way:
        yield Bed(way, bucket.through(way.endpoint), chance, tmp_path, above)


def lasting(what: str, first: int, times: int) -> Choose:
    """The fault at so many requests from the first on."""
    return lambda method, path, number: FAULTS[what] if first <= number < first + times else None


def completes(world: World, ready: Prepared, how: str) -> None:
    """The checks after a fault: as it was left, and after the same command has run again."""
    try:
        worlds.check(world, ready)
        assert world.vml(*ready.case.args) == 0
        worlds.check_done(world, ready)
        assert world.vml("fsck", "--remote", "--deep") == 0
    except AssertionError as error:
        raise AssertionError(f"{how}: {error}") from error


@pytest.mark.parametrize("name", COMMANDS)
def test_faults(name: str, bed: Bed, soak: int) -> None:
    """Once, a few times, or from then on."""
    ready = worlds.prepared(CASES[name], bed.above)
    length = bed.requests(ready)
    for _ in range(max(soak // 4, 1)):
        what, first, times = bed.chance.choice(list(FAULTS)), bed.chance.randrange(length), bed.chance.choice(TIMES)
        world = bed.world(ready)
        bed.way.forget()
        bed.way.choose = lasting(what, first, times)
        code = world.vml(*ready.case.args)
        bed.way.choose = None
        how = f"{what} at request {first} of {length}, {times} times, exit {code}"
        assert code in (0, 3, 4), how
        completes(world, ready, how)


@pytest.mark.parametrize("name", ["push more", "push large", "fetch", "gc --remote"])
def test_killed_at_a_request(name: str, bed: Bed, soak: int) -> None:
    """Killed as its n-th request goes out, which arrives or does not."""
    ready = worlds.prepared(CASES[name], bed.above)
    length = bed.requests(ready)
    for n in sorted(bed.chance.sample(range(length), min(length, soak))):
        world = bed.world(ready)
        lost, victim = bed.chance.choice((None, proxy.RESET_BEFORE)), Queue[int]()

        def choose(method: str, path: str, number: int, n: int = n) -> Fault | None:
            if number != n:
                return None
            os.killpg(victim.get(), signal.SIGKILL)  # noqa: B023 - it is called in this round
            return lost  # noqa: B023

        bed.way.forget()
        bed.way.choose = choose
        pid = oscalls.in_child(lambda world=world: world.vml(*ready.case.args), bed.place / "log")  # type: ignore[misc]
        victim.put(pid)
        assert oscalls.end(pid) or n >= len(bed.way.requests)  # it may take one less this time
        settle(world.remote)
        bed.way.choose = None
        completes(world, ready, f"killed at request {n} of {length}, which {'is lost' if lost else 'arrives'}")


@pytest.mark.parametrize("name", ["push more", "push large", "fetch", "gc --remote"])
def test_killed_at_a_moment(name: str, bed: Bed, soak: int) -> None:
    ready = worlds.prepared(CASES[name], bed.above)
    world = bed.world(ready)
    length = oscalls.duration(lambda: world.vml(*ready.case.args), bed.place / "log")
    for _ in range(soak * 5 // 3):
        world = bed.world(ready)
        after = bed.chance.uniform(0, length)
        oscalls.killed_after(after, lambda world=world: world.vml(*ready.case.args), bed.place / "log")  # type: ignore[misc]
        settle(world.remote)
        completes(world, ready, f"killed after {after:.4f} s")


def settle(directory: Path) -> None:
    """Wait until the server has done what it was asked before the kill."""
    before = None
    while before != (now := {path: path.stat().st_size for path in directory.rglob("*") if path.is_file()}):
        before = now
        time.sleep(0.03)


@pytest.mark.usefixtures("impatient")
def test_faults_of_a_website(above: Path, tmp_path: Path, chance: random.Random, soak: int) -> None:
    ready = worlds.prepared(CASES["pull"], above)
    write_latest(Directory(ready.state.remote))
    with web_server(ready.state.remote) as address, Proxy(address) as way:
        for _ in range(max(soak // 4, 1)):
            what, first, times = chance.choice(list(FAULTS)), chance.randrange(10), chance.choice(TIMES)
            world = ready.state.copy(tmp_path / "world")
            world.ok("remote", "modify", "--local", "origin", "url", way.endpoint)
            world.ok("remote", "modify", "--local", "origin", "timeout", "1")
            way.forget()
            way.choose = lasting(what, first, times)
            code = world.vml(*ready.case.args)
            way.choose = None
            how = f"{what} at request {first}, {times} times, exit {code}"
            assert code in (0, 3, 4), how
            worlds.check(world, ready)
            assert world.vml(*ready.case.args) == 0, how
            worlds.check_done(world, ready)
