"""Two clones push while a third runs gc on the remote with hardly any grace: nothing that was pushed is ever lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3  # noqa: F401 - so that no forked process need load it
import pytest

from tests.servers import S3Bucket, Server
from tests.store.stores import Clone, assert_whole, put_tree, read_tree, recorded, start, status_of
from vcs_ml.hashing import Buffer
from vcs_ml.settings import Value
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Backend, Item
from vcs_ml.store.remotes.s3 import Bucket


class Slow:
    """In front of a backend: it now and then takes its time, so that others get between any two steps."""

    rng: random.Random

    def write_new(self, key: str, data: Buffer) -> bool:
        wait(self.rng)
        return super().write_new(key, data)

    def list(self, prefix: str) -> Iterator[Item]:
        wait(self.rng)
        return super().list(prefix)


class SlowDirectory(Slow, Directory):
    def __init__(self, path: Path, rng: random.Random) -> None:
        super().__init__(path)
        self.rng = rng


class SlowBucket(Slow, Bucket):
    def __init__(self, bucket: S3Bucket, rng: random.Random) -> None:
        keys: dict[str, Value] = {"access_key_id": bucket.server.access_key}
        keys["secret_access_key"] = bucket.server.secret_key
        super().__init__(f"{bucket.url}/remote", {"endpoint_url": bucket.endpoint, "region": "us-east-1", **keys})
        self.rng = rng


def wait(rng: random.Random) -> None:
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 0.05))


Open = Callable[[random.Random], Backend]


def push_many(open_: Open, place: Path, name: str, seed: int, rounds: int) -> None:
    """Push for a project that every gc forgets, and then, relying on what is there, for one that is kept."""
    rng = random.Random(seed)
    clone = Clone(place, name, backend=open_(rng))
    for turn in range(rounds):
        # Some of it both clones have.
        files = {b"%d" % i: b"%d %d " % (turn, i) * (i + 1) for i in range(10)}
        files |= {b"own/%d" % i: b"%d %d " % (seed, turn) * (i + 1) for i in range(10)}
        clone.push(put_tree(clone.store, files), project="past")
        time.sleep(rng.uniform(0, 0.2))
        kept = {path: data for path, data in files.items() if rng.random() < 0.5} | {b"name": name.encode()}
        root = put_tree(clone.store, kept)
        clone.push(root, project="kept")
        with (place / f"{name}.pushed").open("a") as log:
            log.write(f"{root.oid.hex()}\n")


def gc_always(open_: Open, place: Path, seed: int) -> None:
    """Run gc until told to stop, in processes of which some are killed."""
    rng = random.Random(seed)
    while not (place / "stop").exists():
        clone = Clone(place, "gc", backend=open_(random.Random(rng.random())))
        graces = [rng.choice([0, 0, 0, 0.05, 1]) for _ in range(10)]
        pid = start(lambda clone=clone, graces=graces: [clone.gc(grace=grace, forget="past") for grace in graces])
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 0.5))
            os.kill(pid, signal.SIGKILL)
        assert status_of(pid) in (0, -signal.SIGKILL)


@pytest.fixture(params=["directory", "moto", "rclone"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_pushes_against_gc(kind: str, tmp_path: Path, soak: int, request: pytest.FixtureRequest) -> None:
    bucket = None
    if kind != "directory":
        server: Server = request.getfixturevalue(kind)
        bucket = server.bucket()

    def open_(rng: random.Random) -> Backend:
        return SlowBucket(bucket, rng) if bucket else SlowDirectory(tmp_path / "remote", rng)

    def look() -> Path:
        """What is there now, as a directory."""
        for key, data in bucket.files().items() if bucket else ():
            place = tmp_path / "seen" / key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return tmp_path / ("seen/remote" if bucket else "remote")

    rounds = max(soak // 3, 1) if bucket else soak  # of each of the two
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    one = Clone(tmp_path, "one", backend=open_(random.Random(0)))  # sets the remote up
    collector = start(lambda: gc_always(open_, tmp_path, seed))
    pushers = [start(lambda i=i: push_many(open_, tmp_path, f"clone{i}", seed + i, rounds)) for i in (1, 2)]
    assert [status_of(pid) for pid in pushers] == [0, 0]
    (tmp_path / "stop").touch()
    assert status_of(collector) == 0
    pushed = {line for i in (1, 2) for line in (tmp_path / f"clone{i}.pushed").read_text().split()}
    roots = [root for root in recorded(look(), without="past") if root.oid.hex() in pushed]
    assert len(roots) == len(pushed)
    for _ in range(3):
        shutil.rmtree(tmp_path / "seen", ignore_errors=True)
        assert_whole(look(), roots)
        one.gc(forget="past")
    shutil.rmtree(tmp_path / "seen", ignore_errors=True)
    assert_whole(look(), roots)
    one.fetch(*roots)
    for root in roots:
        assert b"name" in read_tree(one.store, root.oid)
