"""Somebody edits a file while a command runs: what they wrote is not lost."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests import oscalls, verify, worlds
from tests.worlds import CASES

EDITED = ("data/a/1", "data/a/3", "data/b/4", "data/b/run", "data/big", "data/c/7", "one", "dir/two")
# Between the last look at a file and these there is no other call: docs/guarantees.md, "What is not promised".
FINAL = ("rename", "replace", "unlink")


@pytest.mark.parametrize(
    "name",
    ["add edits", "commit", "checkout another", "checkout --force", "pull more", "mv", "mv inside", "rm", "rm --force"],
)
def test_an_edit_before_a_call(name: str, above: Path, tmp_path: Path, soak: int) -> None:
    ready = worlds.prepared(CASES[name], above)
    world = ready.state.copy(tmp_path / "world")
    with oscalls.watched(oscalls.ignore) as names:
        world.ok(*ready.case.args)
    seed = random.randrange(2**32)
    moments = [(n, path) for n, call in enumerate(names) if call not in FINAL for path in EDITED]
    for n, path in random.Random(seed).sample(moments, min(len(moments), soak)):
        world = ready.state.copy(tmp_path / "world")
        place = world.project / path
        written: list[bytes] = []

        def edit(call: str, at: int, _: Any, n: int = n, place: Path = place, written: list[bytes] = written) -> None:
            if at == n and call not in FINAL and place.is_file() and not place.is_symlink():
                written.append(b"written before call %d" % at)  # before: writing is a call, too
                place.write_bytes(written[0])

        with oscalls.watched(edit):
            code = world.vml(*ready.case.args)
        about = (
            f"{path} edited before call {n} of {len(names)}, {names[max(n - 3, 0) : n]} then {names[n]} (seed {seed})"
        )
        assert code in (0, 3), f"{about}: exit {code}"
        store = verify.objects(world.store)
        here = {data for data, _ in world.files().values()}
        assert all(data in here or verify.blob(data) in store for data in written), about
        worlds.check(world, ready._replace(bytes=frozenset()))
