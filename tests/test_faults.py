"""A full disk, a broken one, one without permission: a clean error, nothing half written, and it goes on afterwards."""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import oscalls, worlds
from tests.worlds import CASES, Prepared, World

# (name, error number, what fails from then on besides the one call)
FAULTS = {
    "ENOSPC once": (errno.ENOSPC, ()),
    "disk full": (errno.ENOSPC, oscalls.GROWING),
    "EIO": (errno.EIO, ()),
    "EACCES": (errno.EACCES, ()),
}


def failed(world: World, ready: Prepared, code: int, said: str) -> None:
    """The checks after a fault, and after the same command has run again without one."""
    assert "Traceback" not in said, said
    if code:
        assert code in (3, 4), (code, said)
        lines = said.splitlines()
        assert sum(line.startswith("error: ") for line in lines) == 1, said
        assert sum(line.startswith("hint: ") for line in lines) == 1, said
        assert ".vml-tmp-" not in said, said
    else:  # what failed was of no consequence
        worlds.check_done(world, ready)
    worlds.check(world, ready)
    again = world.vml(*ready.case.args)
    assert again == 0 or (again == 3 and worlds.outcome(world) == ready.outcome), f"exit {again} afterwards"
    worlds.check_done(world, ready)


@pytest.mark.parametrize("name", CASES)
def test_a_call_fails(name: str, above: Path, tmp_path: Path, soak: int, capfd: pytest.CaptureFixture[str]) -> None:
    """The n-th change of the disk fails, in every way that there is."""
    ready = worlds.prepared(CASES[name], above)
    world = ready.state.copy(tmp_path / "world")
    with oscalls.watched(oscalls.ignore) as names:
        world.ok(*ready.case.args)
    seed = random.randrange(2**32)
    moments = [(n, fault) for n in range(len(names)) for fault in FAULTS]
    for n, fault in sorted(random.Random(seed).sample(moments, min(len(moments), soak))):
        number, then = FAULTS[fault]
        world = ready.state.copy(tmp_path / "world")
        capfd.readouterr()
        with oscalls.watched(oscalls.fail_at(n, number, then=then)):
            code = world.vml(*ready.case.args)
        said = capfd.readouterr().err
        try:
            failed(world, ready, code, said)
        except AssertionError as error:
            where = f"at call {n} of {len(names)}, {names[max(n - 3, 0) : n]} then {names[n]}"
            raise AssertionError(f"{fault} {where} (seed {seed}), exit {code}, {said!r}: {error}") from error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB, which only root can make."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no permission to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("name", ["add", "add edits", "checkout another", "push", "pull", "rm --force", "mv inside"])
def test_a_small_disk(name: str, above: Path, small_disk: Path, soak: int, capfd: pytest.CaptureFixture[str]) -> None:
    """A disk that is really full, at different points, and then has room again."""
    ready = worlds.prepared(CASES[name], above)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(soak):
        world = ready.state.copy(small_disk / "world")
        room = chance.randrange(chance.choice((100_000, 1_000_000)))
        (small_disk / "ballast").write_bytes(bytes(max(shutil.disk_usage(small_disk).free - room, 0)))
        capfd.readouterr()
        code = world.vml(*ready.case.args)
        said = capfd.readouterr().err
        (small_disk / "ballast").unlink()
        try:
            failed(world, ready, code, said)
        except AssertionError as error:
            raise AssertionError(f"with {room} bytes of room (seed {seed}), exit {code}, {said!r}: {error}") from error
        shutil.rmtree(world.path)


def test_status_needs_no_space(above: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A full disk is when people want to know what they have."""
    ready = worlds.prepared(CASES["status"], above)
    world = ready.state.copy(tmp_path / "world")
    capfd.readouterr()
    with oscalls.watched(oscalls.ignore) as names:
        world.ok("status")
    said = capfd.readouterr()
    for n in [i for i, name in enumerate(names) if name in oscalls.GROWING]:
        world = ready.state.copy(tmp_path / "world")
        with oscalls.watched(oscalls.fail_at(n, errno.ENOSPC, then=oscalls.GROWING)):
            code = world.vml("status")
        now = capfd.readouterr()
        assert code == 0, f"at {names[n]}, call {n}: {now.err}"
        assert now == said


def test_what_is_renamed_into_place_was_synced(above: Path, tmp_path: Path) -> None:
    """A power cut after a command ended loses nothing: bytes are synced before their name, then its directory."""
    for name in ("add", "commit", "push", "pull", "rm --force"):
        ready = worlds.prepared(CASES[name], above)
        world = ready.state.copy(tmp_path / "world")
        with oscalls.synced() as unsynced:
            world.ok(*ready.case.args)
        loose = [path for path in unsynced() if _must_last(world, path)]
        assert not loose, f"{name}: {loose}"


def _must_last(world: World, path: Path) -> bool:
    """Whether a file is more than a cache: an object, a pointer, a record."""
    inner = path.relative_to(world.path).as_posix()
    return not any(part in inner for part in ("/.vml/index/", "/cache/complete/", "/cache/remotes/", "/.git/"))
