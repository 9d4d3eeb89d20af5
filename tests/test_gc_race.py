"""Two clones push while a third runs gc on the remote with hardly any grace: nothing that was pushed is ever lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.store.stores import Clone, assert_whole, put_tree, read_tree, recorded, start, status_of
from vcs_ml.hashing import Buffer
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Item


class Slow(Directory):
    """A directory that now and then takes its time, so that others get between any two steps."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        super().__init__(path)
        self.rng = rng

    def _wait(self) -> None:
        if self.rng.random() < 0.3:
            time.sleep(self.rng.uniform(0, 0.05))

    def write_new(self, key: str, data: Buffer) -> bool:
        self._wait()
        return super().write_new(key, data)

    def list(self, prefix: str) -> Iterator[Item]:
        self._wait()
        return super().list(prefix)


def push_many(place: Path, name: str, seed: int, rounds: int) -> None:
    """Push for a project that every gc forgets, and then, relying on what is there, for one that is kept."""
    rng = random.Random(seed)
    clone = Clone(place, name, backend=Slow(place / "remote", rng))
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


def gc_always(place: Path, seed: int) -> None:
    """Run gc until told to stop, in processes of which some are killed."""
    rng = random.Random(seed)
    while not (place / "stop").exists():
        clone = Clone(place, "gc", backend=Slow(place / "remote", random.Random(rng.random())))
        graces = [rng.choice([0, 0, 0, 0.05, 1]) for _ in range(10)]
        pid = start(lambda clone=clone, graces=graces: [clone.gc(grace=grace, forget="past") for grace in graces])
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 0.5))
            os.kill(pid, signal.SIGKILL)
        assert status_of(pid) in (0, -signal.SIGKILL)


def test_pushes_against_gc(tmp_path: Path, soak: int) -> None:
    rounds = soak  # of each of the two
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    Clone(tmp_path, "one")  # sets the remote up
    collector = start(lambda: gc_always(tmp_path, seed))
    pushers = [start(lambda i=i: push_many(tmp_path, f"clone{i}", seed + i, rounds)) for i in (1, 2)]
    assert [status_of(pid) for pid in pushers] == [0, 0]
    (tmp_path / "stop").touch()
    assert status_of(collector) == 0
    pushed = {line for i in (1, 2) for line in (tmp_path / f"clone{i}.pushed").read_text().split()}
    roots = [root for root in recorded(tmp_path / "remote", without="past") if root.oid.hex() in pushed]
    assert len(roots) == len(pushed)
    one = Clone(tmp_path, "one")
    for _ in range(3):
        assert_whole(tmp_path / "remote", roots)
        one.gc(forget="past")
    assert_whole(tmp_path / "remote", roots)
    one.fetch(*roots)
    for root in roots:
        assert b"name" in read_tree(one.store, root.oid)
