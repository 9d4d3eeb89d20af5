"""kill -9 at any moment: no byte is lost, nothing is half written, and the same command, run again, completes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import oscalls, verify, worlds
from tests.conftest import Repo
from tests.worlds import CASES, LARGE_CASES, Case, Prepared, World


def calls(ready: Prepared, place: Path) -> list[str]:
    """The changes of the disk that a command makes, in order."""
    world = ready.state.copy(place)
    with oscalls.watched(oscalls.ignore) as names:
        world.ok(*ready.case.args)
    return names


def completes(world: World, ready: Prepared, moment: str) -> None:
    """The checks after a kill: as it was left, and after the same command has run again."""
    try:
        worlds.check(world, ready)
        code = world.vml(*ready.case.args)
        # What a killed command had finished may be a thing it cannot do twice: rm, mv.
        assert code == 0 or (code == 3 and worlds.outcome(world) == ready.outcome), f"exit {code}"
        worlds.check_done(world, ready)
    except AssertionError as error:
        raise AssertionError(f"killed {moment}: {error}") from error


@pytest.mark.parametrize("name", CASES)
def test_at_a_call(name: str, above: Path, tmp_path: Path, chance: random.Random, soak: int) -> None:
    """Killed before its n-th change of the disk, or in the middle of a write."""
    ready = worlds.prepared(CASES[name], above)
    names = calls(ready, tmp_path / "world")
    for n in sorted(chance.sample(range(len(names)), min(len(names), soak))):
        world = ready.state.copy(tmp_path / "world")

        def killed(n: int = n, world: World = world) -> None:
            with oscalls.watched(oscalls.kill_at(n)):
                world.vml(*ready.case.args)

        oscalls.end(oscalls.in_child(killed, tmp_path / "log"))  # not killed, if it took a call less this time
        completes(world, ready, f"at call {n} of {len(names)}, {names[max(n - 3, 0) : n]} then {names[n]}")


@pytest.mark.parametrize("name", [*CASES, *LARGE_CASES])
def test_at_a_moment(name: str, above: Path, tmp_path: Path, chance: random.Random, soak: int) -> None:
    """Killed after a random time, with every process it has started; those of Git, too."""
    case: Case = (CASES | LARGE_CASES)[name]
    ready = worlds.prepared(case, above)
    start = time.monotonic()
    oscalls.end(oscalls.in_child(lambda: None, tmp_path / "log"))
    overhead = time.monotonic() - start
    world = ready.state.copy(tmp_path / "world")
    start = time.monotonic()
    oscalls.end(oscalls.in_child(lambda: world.vml(*case.args), tmp_path / "log"))
    length = time.monotonic() - start - overhead
    for _ in range(max(soak // 3, 1)):
        world = ready.state.copy(tmp_path / "world")
        after = overhead + chance.uniform(0, length)
        pid = oscalls.in_child(lambda world=world: world.vml(*case.args), tmp_path / "log")  # type: ignore[misc]
        time.sleep(after)
        alone = name in LARGE_CASES and chance.random() < 0.5  # its workers go on, and keep its locks until they end
        oscalls.end(pid, kill=True, alone=alone)
        completes(world, ready, f"after {after:.4f} s{' alone' if alone else ''}")


@pytest.mark.parametrize("name", ["add", "push", "pull more", "checkout --force"])
def test_what_is_left_behind(name: str, above: Path, tmp_path: Path, chance: random.Random) -> None:
    """A few temporary files a kill, where they can be found again; none in the data, none after a sweep."""
    ready = worlds.prepared(CASES[name], above)
    names = calls(ready, tmp_path / "world")
    world = ready.state.copy(tmp_path / "world")
    for kills in range(1, 6):

        def killed() -> None:
            with oscalls.watched(oscalls.kill_at(chance.randrange(len(names)))):
                world.vml(*ready.case.args)

        oscalls.end(oscalls.in_child(killed, tmp_path / "log"))
        assert len(world.litter()) <= 4 * kills, world.litter()
    assert world.vml(*ready.case.args) == 0
    worlds.check_done(world, ready)
    for args in worlds.SWEEPS:
        world.ok(*args)
    assert not [name for name in world.litter() if not name.startswith("remote/")]  # there it stays for a day


def edit(world: World, chance: random.Random) -> None:
    """Change, add or remove some of the data, as a person might."""
    for _ in range(chance.randrange(1, 4)):
        name = chance.choice(("data/a/1", "data/a/9", "data/b/4", "data/big", "data/z/1", "one", "raw/x"))
        path = world.project / name
        if path.is_dir() or not path.parent.is_dir():
            continue
        if chance.random() < 0.2:
            path.unlink(missing_ok=True)
        else:
            path.unlink(missing_ok=True)
            path.write_bytes(chance.randbytes(chance.choice((3, 300_000))))


STEPS = (
    ("add", "data"), ("add", "one"), ("add", "data/a"), ("add", "raw"), ("commit",), ("commit",), ("checkout",),
    ("checkout",),
    ("checkout", "--force"), ("checkout", "data/a", "--force"), ("checkout", "--rev", "HEAD~1"), ("push",),
    ("pull",), ("fetch",),
    ("rm", "data/a"), ("rm", "--force", "data"), ("rm", "one"), ("mv", "data", "raw"), ("mv", "raw", "data"),
    ("mv", "data/a", "data/z"), ("mv", "data/z", "data/a"), ("status",),
)  # fmt: skip


def test_a_walk(above: Path, tmp_path: Path, chance: random.Random, soak: int) -> None:
    """Edits, commits and commands in any order, killed or not: what was stored stays, what was here is somewhere."""
    ready = worlds.prepared(worlds.Case(worlds.pushed_before, ("status",)), above)
    for _ in range(soak):
        world = ready.state.copy(tmp_path / "world")
        done: list[str] = []
        stored: set[bytes] = set()
        promised: dict[str, bytes] = {}
        for _ in range(10):
            edit(world, chance)
            if chance.random() < 0.3:
                world.commit()
                promised |= {f"{len(done)} {path}": oid for path, oid in verify.roots(world.project).items()}
            if chance.random() < 0.1:
                world.git("checkout", "-q", "HEAD~1", "--", ".")
            before = {data for path, (data, _) in world.files().items() if not path.endswith((".vml", ".gitignore"))}
            args, n = chance.choice(STEPS), chance.choice((10**9, chance.randrange(120)))
            done.append(f"{' '.join(args)} killed at {n}")
            _step(world, args, n, tmp_path / "log", done)
            store = verify.objects(world.store)
            assert stored <= store.keys(), done
            verify.complete(verify.objects(world.remote), verify.recorded(world.remote))
            verify.complete(store, promised)
            here = {data for data, _ in world.files().values()}
            lost = [data[:20] for data in before if data not in here and verify.blob(data) not in store]
            assert not lost, (lost, done)
            stored = set(store)


def _step(world: World, args: tuple[str, ...], n: int, log: Path, done: list[str]) -> None:
    def killed() -> None:
        with oscalls.watched(oscalls.kill_at(n)):
            code = world.vml(*args)
        log.write_text(str(code))

    log.unlink(missing_ok=True)
    if not oscalls.end(oscalls.in_child(killed, log.with_name("said"))):
        assert log.read_text() in ("0", "1", "3", "4"), (done, log.with_name("said").read_text())


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_add_with_links(kind: str, repo: Repo, tmp_path: Path, chance: random.Random, soak: int) -> None:
    repo.run("config", "cache.link", kind)
    content = {f"{i % 7}/{i}": f"{i}".encode() * (i + 1) for i in range(12)}
    content["big"] = random.Random(1).randbytes(1_000_000)

    def command() -> None:
        repo.run("add", "data")

    def reset() -> None:
        for name in (".vml/cache", ".vml/index", "data"):
            shutil.rmtree(repo.path / name, ignore_errors=True)
        for name in ("data.vml", ".gitignore"):
            (repo.path / name).unlink(missing_ok=True)
        for name, data in content.items():
            repo.write(f"data/{name}", data)

    reset()
    length = oscalls.duration(command, tmp_path / "log")
    for _ in range(soak):
        reset()
        oscalls.killed_after(chance.uniform(0, length), command, tmp_path / "log")
        here = (path for path in (repo.path / "data").rglob("*") if path.is_file())
        assert {path.relative_to(repo.path / "data").as_posix(): path.read_bytes() for path in here} == content
        repo.run("add", "data")
        shutil.rmtree(repo.path / "data")
        repo.run("checkout")
        assert repo.changes() == {}
        assert all(repo.read(f"data/{name}") == data for name, data in content.items())


def test_ctrl_c(repo: Repo, remote: Path, chance: random.Random, soak: int) -> None:
    """At a random time of a pull, to all its processes: it ends as interrupted, or was through."""
    for i in range(2000):
        repo.write(f"data/{i % 20}/{i}", f"{i} " * 50)
    repo.run("add", "data")
    repo.commit("data")
    repo.run("push")
    files = repo.files("data")
    program = "from vcs_ml.__main__ import run; print(end='.', flush=True); run()"
    longest = 2.0
    for _ in range(soak):
        clone = repo.clone("clone")
        with subprocess.Popen(
            [sys.executable, "-c", program, "-C", str(clone.path), "pull"],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout
            process.stdout.read(1)  # Python itself has started
            start = time.monotonic()
            try:
                process.wait(chance.uniform(0, longest))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        longest = min(longest, time.monotonic() - start + 0.2)
        assert process.returncode in (0, 130), said
        assert "Traceback" not in said, said
        assert "Exception" not in said, said
        assert process.returncode == 130 or clone.files("data") == files
        clone.run("pull")
        assert clone.files("data") == files
        shutil.rmtree(clone.path)
