"""Every file that vml reads, made wrong: a clear error or, of caches, nothing lost but time; never a hang."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import mutations, oscalls, verify, worlds
from tests.mutations import Mend, Mutate
from tests.worlds import World
from vcs_ml.cli import main

LOOK = (("status",), ("checkout",), ("ls", "data"))
MOVE = (("push",), ("status", "--remote"), ("pull",))
GC = (("gc",), ("gc", "--force", "--include-unpushed"))
OVER_THERE = (("gc", "--remote", "--force", "--grace", "0s"), ("fsck", "--remote", "--deep"))
MEND = (("fsck",), ("fsck", "--repair"))
CHANGE = (("add", "data"), ("checkout",), ("commit",), ("push",), ("mv", "one", "uno"), ("rm", "data/a"))


class Target(NamedTuple):
    """A file to be made wrong, of a state; how; which commands read it. `cache`: they must work all the same."""

    state: str
    glob: str
    mutate: Mutate
    commands: tuple[tuple[str, ...], ...]
    mend: Mend = mutations.mend_not
    cache: bool = False


STATES = {
    state.__name__: state
    for state in (
        worlds.tracked,
        worlds.pushed_before,
        worlds.fetched,
        worlds.fresh,
        worlds.behind_and_edited,
        worlds.large,
        worlds.large_fresh,
    )
}
TARGETS = {
    "pointer": Target("fetched", "repo/data.vml", mutations.in_json, (*LOOK, *CHANGE)),
    "pointer of a file": Target("fetched", "repo/one.vml", mutations.in_json, (*LOOK, *CHANGE)),
    "config": Target("pushed_before", "repo/.vml/config.toml", mutations.in_toml, (("config",), *LOOK, *MOVE)),
    "local config": Target("pushed_before", "repo/.vml/config.local.toml", mutations.in_toml, (*LOOK, *MOVE)),
    "vmlignore": Target(
        "tracked", "repo/data/.vmlignore", mutations.in_lines, (("status",), ("add", "data"), ("checkout",))
    ),
    "gitignore": Target(
        "tracked", "repo/.gitignore", mutations.in_lines, (("mv", "one", "uno"), ("rm", "data"), ("status",))
    ),
    "manifest page": Target(
        "fetched", "repo/.vml/cache/loose/sha256/*/*", mutations.numbers, (*LOOK, *CHANGE, *GC, *MEND)
    ),
    "loose file": Target("fetched", "repo/.vml/cache/loose/xxh128/*/*", mutations.damage, (*LOOK, *CHANGE, *GC, *MEND)),
    "store's pack": Target(
        "fetched", "repo/.vml/cache/packs/*/*.pack", mutations.numbers, (*LOOK, *CHANGE, *GC, *MEND)
    ),
    "store's index": Target("fetched", "repo/.vml/cache/index/*.idx", mutations.numbers, (*LOOK, *CHANGE, *GC, *MEND)),
    "store's index, named": Target(
        "fetched", "repo/.vml/cache/index/*.idx", mutations.numbers, LOOK, mutations.mend_name
    ),
    "store's vml.json": Target("fetched", "repo/.vml/cache/vml.json", mutations.in_json, (*LOOK, *CHANGE)),
    "remote's vml.json": Target("pushed_before", "remote/vml.json", mutations.in_json, MOVE),
    "remote's index": Target("fresh", "remote/index/*.idx", mutations.numbers, (("pull",), ("status", "--remote"))),
    "remote's index, named": Target(
        "fresh", "remote/index/*.idx", mutations.numbers, (("pull",), ("push",)), mutations.mend_name
    ),
    "remote's pack": Target(
        "fresh", "remote/packs/*/*.pack", mutations.numbers, (("pull",), ("fetch", "one"), ("checkout",))
    ),
    "remote's pack, of a large file": Target(
        "large_fresh", "remote/packs/*/*.pack", mutations.numbers, (("pull",), ("fsck", "--remote", "--deep"))
    ),
    "copy of a recipe": Target("large", "repo/.vml/cache/remotes/*/recipes/*", mutations.numbers, (("push",), *GC)),
    "root record": Target("pushed_before", "remote/roots/*.json", mutations.in_json, MOVE, cache=True),
    "root record, for gc": Target("pushed_before", "remote/roots/*.json", mutations.in_json, OVER_THERE),
    "announcement": Target("pushed_before", "remote/pushing/*.json", mutations.in_json, (*MOVE, *OVER_THERE)),
    "gc file": Target("pushed_before", "remote/gc/condemned/*.json", mutations.in_json, (*MOVE, *OVER_THERE)),
    "project that shares": Target("tracked", "repo/.vml/cache/projects/*.json", mutations.in_json, (*LOOK, *GC)),
    "saved record": Target("behind_and_edited", "repo/.vml/saved/*.new.json", mutations.in_json, (("status",), *LOOK)),
    "stat index": Target(
        "tracked", "repo/.vml/index/????????????????????????????????", mutations.numbers, LOOK, cache=True
    ),
    "stat index, mended": Target(
        "tracked",
        "repo/.vml/index/????????????????????????????????",
        mutations.numbers,
        LOOK,
        mutations.mend_stat_index,
    ),
    "pointers cache": Target("tracked", "repo/.vml/index/pointers", mutations.damage, LOOK, cache=True),
    "proof": Target("tracked", "repo/.vml/cache/complete/*", mutations.damage, (("status",), ("push",)), cache=True),
    "complete.json": Target(
        "pushed_before", "repo/.vml/cache/remotes/*/complete.json", mutations.in_json, (*MOVE, ("push", "--check"))
    ),
    "copy of an index": Target("pushed_before", "repo/.vml/cache/remotes/*/index/*.idx", mutations.numbers, MOVE),
    "lock": Target("tracked", "repo/.vml/lock/index", mutations.damage, (("add", "data"), ("status",)), cache=True),
}
# Files that no state has by itself.
MADE = {
    "repo/data/.vmlignore": b"*.tmp\n!keep.tmp\n/cache/\n[a-c]?\n",
    "repo/.vml/config.local.toml": b'[cache]\nlink = ["copy"]\npack_below = "1 MB"\n'
    b'[transfer]\njobs = 2\nmemory = 1000\n[lock]\ntimeout = 5\n[remote.other]\nurl = "../other"\nregion = "x"\n',
    "remote/gc/condemned/01BX5ZZKBKACTAV9WEVGEMMVRZ.json": json.dumps(
        {"schema": 1, "packs": [f"packs/00/{'0' * 32}-{'0' * 16}.pack"], "indexes": []}
    ).encode(),
    f"repo/.vml/cache/projects/{'0' * 32}.json": b'{"id": "x", "path": "/nowhere", "schema": 1}',
    "repo/.vml/saved/01BX5ZZKBKACTAV9WEVGEMMVRZ.new.json": json.dumps(
        {"files": [{"hash": "xxh128:" + "0" * 32, "path": "data/x", "size": 1}], "schema": 1, "time": 1}
    ).encode(),
}


def state(name: str, above: Path) -> World:
    world = World(above / name)
    if not world.path.exists():
        STATES[name](world)
        world.ok("status")
        for path, content in MADE.items():
            if path.startswith("remote/") and not (world.remote / "vml.json").exists():
                continue
            (world.path / path).parent.mkdir(parents=True, exist_ok=True)
            (world.path / path).write_bytes(content)
    return world


def tried(world: World, commands: tuple[tuple[str, ...], ...], log: Path) -> list[tuple[tuple[str, ...], int, str]]:
    """Run commands in a child that may take little memory and time: (command, exit code, what it said)."""
    parts = [log.with_name(f"{log.name}-{i}") for i in range(len(commands))]

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_memory() + (512 << 20),) * 2)
        signal.alarm(30)
        for command, part in zip(commands, parts, strict=True):
            with part.open("w", errors="backslashreplace") as stream:
                sys.stdout = sys.stderr = stream
                code = main(["-C", str(world.project), *command])
                stream.write(f"\n{code}")

    oscalls.end(oscalls.in_child(work, log))
    found = []
    for command, part in zip(commands, parts, strict=True):
        said, _, code = part.read_text(errors="replace").rpartition("\n") if part.exists() else ("", "", "")
        found.append((command, int(code) if code.isdecimal() else -1, said))
        part.unlink(missing_ok=True)
    return found


def _memory() -> int:
    """What this process has mapped, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("name", TARGETS)
def test_a_file_made_wrong(name: str, above: Path, tmp_path: Path, soak: int) -> None:
    target = TARGETS[name]
    original = state(target.state, above)
    content = versions(tmp_path)
    seed = random.randrange(2**32)
    for n in range(soak):
        chance = random.Random(seed + n)
        world = original.copy(tmp_path / "world")
        victim = chance.choice(sorted(path for path in world.path.glob(target.glob) if path.is_file()))
        victim.chmod(0o644)
        wrong = target.mutate(victim.read_bytes(), chance)
        target.mend(victim, wrong)
        for command, code, said in tried(world, target.commands, tmp_path / "log"):
            about = f"{name}, seed {seed + n}, {' '.join(command)}: exit {code}\n{said[-700:]}\nwith {wrong[:600]!r}"
            assert code in ((0,) if target.cache else (0, 1, 3, 4)), about
            assert "Traceback" not in said, about
            assert code in (0, 1) or "hint: " in said, about
            assert "\x1b" not in said, about
        if target.glob.startswith("remote/"):
            verify.objects(world.store)
        _check_workspace(world, content, f"{name}, seed {seed + n}, with {wrong[:600]!r}")


HUGE = {
    "remote/vml.json": ("push", "pull"),
    "remote/roots/7ZZZZZZZZZZZZZZZZZZZZZZZZZ.json": ("push", "pull"),
    f"remote/index/{'0' * 32}-{'0' * 16}.idx": ("push", "pull"),
    "repo/data.vml": ("status", "checkout"),
    "repo/.vmlignore": ("status", "checkout"),
    "repo/.vml/cache/vml.json": ("status", "checkout"),
}


@pytest.mark.parametrize("path", HUGE)
def test_a_file_that_is_far_too_large(path: str, above: Path, tmp_path: Path) -> None:
    """900 MB of nothing, where less memory may be taken."""
    world = state("pushed_before", above).copy(tmp_path / "world")
    with (world.path / path).open("w") as file:
        file.truncate(900 << 20)
    for command, code, said in tried(world, tuple((name,) for name in HUGE[path]), tmp_path / "log"):
        assert code in (0, 3, 4), (command, code, said)
        assert "Traceback" not in said, said


def versions(above: Path) -> set[bytes]:
    """The content of every version of every file."""
    world = World(above / "versions")
    found = set()
    for edit in (worlds.first, worlds.second, worlds.unsaved):
        edit(world)
        found.update(data for data, _ in world.files().values())
    return found | {worlds.large_content(), worlds.large_content(edited=True)}


def _check_workspace(world: World, known: set[bytes], about: str) -> None:
    """No file has bytes that no version of it had, whatever the commands had to read."""
    for path, (data, _) in world.files().items():
        ours = path.startswith(("data/", "dir/two", "one", "uno", "large")) and not path.endswith((".vml", "ignore"))
        assert not ours or data in known, f"{path} has other bytes: {about}"
