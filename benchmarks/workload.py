"""The files that every tool works on: many small ones with random bytes, the same in every run."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


def write_tree(root: Path, *, files: int, directories: int, seed: int = 0) -> int:
    """Write `files` files of 5-15 KB spread over `directories` directories; returns the sum of their sizes.

    One file is in memory at a time, because the harness's own size is the floor of every memory figure.
    """
    source = random.Random(seed)
    total = 0
    for d in range(directories):
        (root / f"{d:03}").mkdir(parents=True)
    for i in range(files):
        content = source.randbytes(source.randint(5_000, 15_000))
        (root / f"{i % directories:03}" / f"{i:06}.bin").write_bytes(content)
        total += len(content)
    return total


def write_small(root: Path, numbers: Iterable[int], *, directories: int, size: int = 1024) -> None:
    """Write a file of this size for each number, spread over `directories` directories (0: all in `root` itself)."""
    root.mkdir(exist_ok=True)
    for d in range(directories):
        (root / f"{d:04}").mkdir()
    for i in numbers:
        place = f"{root}/{i % directories:04}/{i:07}.bin" if directories else f"{root}/{i:07}.bin"
        with open(place, "wb", buffering=0) as out:
            out.write(random.Random(i).randbytes(size))


def write_large(path: Path, size: int, *, seed: int) -> None:
    """Write one file of random bytes."""
    source = random.Random(seed)
    with path.open("wb", buffering=0) as out:
        for at in range(0, size, 1 << 24):
            out.write(source.randbytes(min(1 << 24, size - at)))


def write_csv(path: Path, size: int) -> None:
    """Write about `size` bytes of rows, no two alike."""
    source = random.Random(0)
    with path.open("w", encoding="ascii") as out:
        out.write("id,name,a,b\n")
        for number in itertools.count(step=10_000):
            text = source.randbytes(200_000).hex()
            pieces = (text[at : at + 40] for at in range(0, len(text), 40))
            rows = [f"{number + n},{p[:16]},{p[16:28]},{p[28:]}\n" for n, p in enumerate(pieces)]
            out.write("".join(rows))
            if out.tell() >= size:
                return


def change_rows(path: Path, *, every: int) -> int:
    """Give one row in so many another last cell; how many that are."""
    fresh = path.with_name("fresh")
    changed = 0
    with path.open(encoding="ascii") as old, fresh.open("w", encoding="ascii") as new:
        for at, line in enumerate(old):
            if at > 0 and at % every == 0:
                line = f"{line.rpartition(',')[0]},{at}\n"  # noqa: PLW2901
                changed += 1
            new.write(line)
    fresh.replace(path)
    return changed


def insert_row(path: Path, *, at: float) -> None:
    """Put one row before the first that begins behind this share of the file: a new file renamed over the old."""
    fresh = path.with_name("fresh")
    with path.open("rb") as old, fresh.open("wb") as new:
        left = round(path.stat().st_size * at)
        while left and (block := old.read(min(left, 1 << 20))):
            new.write(block)
            left -= len(block)
        new.write(old.readline())
        new.write(b"-1,%f,0,0\n" % at)
        shutil.copyfileobj(old, new, 1 << 20)
    fresh.replace(path)


def replace_one(root: Path, *, seed: int) -> None:
    """Give one file new bytes, as an editor does: a new file renamed over the old.

    Writing in place would go through a hard link into the cache of a tool that links.
    """
    target = root / "000" / "000000.bin"
    fresh = target.with_name("fresh")
    fresh.write_bytes(random.Random(seed).randbytes(10_000))
    fresh.replace(target)


def touch_memory(directory: Path, size: int) -> None:
    """Fill and free `size` bytes of a memory file system, so that what is measured next finds used memory.

    A virtual machine gives back what it does not use, and the first touch of such memory makes the host find
    it again: the same `cp -r` took 0.4 s in used memory and 0.8-1.2 s in new.
    """
    ballast = directory / "ballast"
    block = bytes(1 << 20)
    with ballast.open("wb", buffering=0) as out:
        for _ in range(size >> 20):
            out.write(block)
    ballast.unlink()


def same(a: Path, b: Path) -> bool:
    """Whether two directories hold the same files with the same bytes."""
    return subprocess.run(["diff", "-rq", a, b], stdout=subprocess.DEVNULL, check=False).returncode == 0
