"""Two clones push while a third runs gc on the remote with hardly any grace: nothing that was pushed is ever lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.store.stores import Clone, assert_whole, put_tree, read_tree, recorded, start, status_of
from vcs_ml.hashing import Buffer
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Item

CONTENTS = {b"%02d" % i: b"content %d " % i * (i + 1) for i in range(40)}


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
    """Push one directory after the other: for a project that is kept, or for one that every gc forgets."""
    rng = random.Random(seed)
    clone = Clone(place, name, backend=Slow(place / "remote", rng))
    for turn in range(rounds):
        share = rng.choice([0.1, 0.5, 0.9])
        files = {path: data for path, data in CONTENTS.items() if rng.random() < share}
        root = put_tree(clone.store, files | {b"turn": b"%s %d" % (name.encode(), turn)}, "data")
        project = rng.choice(["kept", "past"])
        clone.push(root, project=project)
        if project == "kept":
            with (place / f"{name}.pushed").open("a") as log:
                log.write(f"{root.oid.hex()}\n")


def gc_always(place: Path, seed: int) -> None:
    """Run gc until told to stop, in processes of which some are killed."""
    rng = random.Random(seed)
    while not (place / "stop").exists():
        grace = rng.choice([0, 0, 0.05, 1])
        backend = Slow(place / "remote", random.Random(rng.random()))
        pid = start(partial(Clone(place, "gc", backend=backend).gc, grace=grace, forget="past"))
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.05))
            os.kill(pid, signal.SIGKILL)
        assert status_of(pid) in (0, -signal.SIGKILL)


def test_pushes_against_gc(tmp_path: Path, soak: int) -> None:
    rounds = 3 * soak // 2  # of each of the two
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
        assert read_tree(one.store, root.oid).items() <= CONTENTS.items() | {
            (b"turn", b"clone%d %d" % (i, turn)) for i in (1, 2) for turn in range(rounds)
        }
