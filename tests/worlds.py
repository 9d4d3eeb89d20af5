"""Projects with a remote in every state that a command may begin from, and the table of commands tried on them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests import verify
from vcs_ml.cli import main

File = tuple[bytes, int]  # content or link target, mode; a link has mode 0


class World:
    """A directory with a project `repo` and its remote `remote`; both may be copied together."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "repo"
        self.remote = path / "remote"
        self.store = self.project / ".vml/cache"

    def vml(self, *args: str) -> int:
        return main(["-C", str(self.project), *args])

    def ok(self, *args: str) -> None:
        assert self.vml(*args) == 0, args

    def git(self, *args: str) -> None:
        subprocess.run(["git", *args], cwd=self.project, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "commit")

    def copy(self, place: Path) -> World:
        """The same world elsewhere; nothing of it knows where it lies."""
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.path), str(place)], check=True)
        return World(place)

    def files(self) -> dict[str, File]:
        """The workspace, pointers and all, without what belongs to Git and vml."""
        found: dict[str, File] = {}
        for folder, folders, names in os.walk(self.project):
            if folder == str(self.project):
                folders[:] = [name for name in folders if name not in (".git", ".vml")]
            for name in [*names, *(name for name in folders if Path(folder, name).is_symlink())]:
                path = Path(folder, name)
                inner = path.relative_to(self.project).as_posix()
                if path.is_symlink():
                    found[inner] = os.fsencode(os.readlink(path)), 0
                else:
                    found[inner] = path.read_bytes(), path.stat().st_mode & 0o100
        return found

    def litter(self) -> list[str]:
        """Temporary files, wherever they are."""
        return [path.relative_to(self.path).as_posix() for path in self.path.rglob(".vml-tmp-*")]


# ---------------------------------------------------------------------- states


def first(world: World) -> None:
    """Files of every kind, small and large, none of them tracked."""
    chance = random.Random(1)
    for name in ("a/1", "a/2", "a/3", "b/4", "b/5", "c/deep/6", "c/7", "8"):
        write(world, f"data/{name}", name.encode() * 50)
    write(world, "data/empty", b"")
    write(world, "data/big", chance.randbytes(300_000))
    write(world, "data/b/run", b"#!/bin/sh\n").chmod(0o755)
    (world.project / "data/b/link").symlink_to("../a/1")
    write(world, "one", b"1" * 5000)
    write(world, "dir/two", chance.randbytes(300_000))


def second(world: World) -> None:
    """Every kind of edit: also files, directories and links in each other's place."""
    data = world.project / "data"
    write(world, "data/a/1", b"changed")
    (data / "a/2").unlink()
    write(world, "data/a/2/inner", b"a directory now")
    (data / "a/3").unlink()
    write(world, "data/big", random.Random(2).randbytes(300_000))
    (data / "b/run").chmod(0o644)
    (data / "b/link").unlink()
    write(world, "data/b/link", b"a file now")
    shutil.rmtree(data / "c")
    (data / "c").symlink_to("b/4")
    write(world, "data/new/9", b"new")
    write(world, "one", b"2" * 5000)


def unsaved(world: World) -> None:
    write(world, "data/a/1", b"unsaved")
    write(world, "data/b/4", b"unsaved, too")
    write(world, "data/extra", b"never tracked")


def write(world: World, path: str, content: bytes) -> Path:
    target = world.project / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def empty(world: World) -> None:
    """A clone in which nothing was fetched yet."""
    for name in ("data", "dir/two", "one", "large", ".vml/cache", ".vml/index", ".vml/lock", ".vml/tmp"):
        place = world.project / name
        shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)


TRACKED = ("data", "one", "dir/two")


def git_only(world: World) -> None:
    world.project.mkdir(parents=True)
    world.git("init", "-q", "-b", "main", "--template=")


def new(world: World) -> None:
    git_only(world)
    world.ok("init")
    world.remote.mkdir()
    world.ok("remote", "add", "-d", "origin", "../remote")
    world.commit()
    first(world)


def tracked(world: World) -> None:
    new(world)
    world.ok("add", *TRACKED)
    world.commit()


def edited(world: World) -> None:
    tracked(world)
    second(world)


def recorded(world: World) -> None:
    edited(world)
    world.ok("commit")
    world.commit()


def pushed_before(world: World) -> None:
    tracked(world)
    world.ok("push")
    second(world)
    world.ok("commit")
    world.commit()


def behind(world: World) -> None:
    recorded(world)
    world.git("checkout", "-q", "HEAD~1")


def behind_and_edited(world: World) -> None:
    behind(world)
    unsaved(world)


def conflicted(world: World) -> None:
    """A merge has left conflicts, one of them a directory where we have a file; the workspace is as it was."""
    tracked(world)
    world.git("checkout", "-q", "-b", "theirs")
    second(world)
    world.ok("commit")
    world.commit()
    world.git("checkout", "-q", "main")
    world.ok("checkout")
    write(world, "data/a/1", b"ours")
    write(world, "data/a/2", b"ours, where they have a directory")
    write(world, "data/c/7", b"ours, which they deleted")
    write(world, "data/ours", b"ours")
    write(world, "one", b"3" * 5000)
    world.ok("commit")
    world.commit()
    subprocess.run(["git", "merge", "theirs"], cwd=world.project, check=False, capture_output=True)
    world.ok("checkout", "--merge", ".")


def fresh(world: World) -> None:
    pushed_before(world)
    world.ok("push")
    empty(world)


def fetched(world: World) -> None:
    fresh(world)
    world.ok("fetch")


def old_clone(world: World) -> None:
    """The first version is here, the pointers name the second, which is on the remote."""
    fresh(world)
    world.git("checkout", "-q", "HEAD~1")
    world.ok("pull")
    world.git("checkout", "-q", "main")


def large_content(*, edited: bool = False) -> bytes:
    content = random.Random(3).randbytes(9 << 20)
    return content[: 4 << 20] + b"a row" * edited + content[4 << 20 :]


def large(world: World) -> None:
    """A file that travels in chunks, of which the remote has an earlier version."""
    git_only(world)
    world.ok("init")
    world.remote.mkdir()
    world.ok("remote", "add", "-d", "origin", "../remote")
    write(world, "large", large_content())
    world.ok("add", "large")
    world.commit()
    world.ok("push")
    write(world, "large", large_content(edited=True))
    world.ok("add", "large")
    world.commit()


def large_fresh(world: World) -> None:
    large(world)
    world.ok("push")
    empty(world)


def large_condemned(world: World) -> None:
    """Of a file that is needed some chunks lie in a pack that goes."""
    large(world)
    world.ok("push")
    world.git("reset", "-q", "--soft", "HEAD~1")
    world.git("commit", "-q", "--amend", "-m", "one")
    world.git("reflog", "expire", "--expire=now", "--all")
    age(world.remote, 100)
    world.ok("gc", "--remote", "--force")
    age(world.remote, 20)


def many(world: World) -> None:
    """Enough files for several processes."""
    new(world)
    for i in range(600):
        write(world, f"data/many/{i % 9}/{i}", b"%d" % i * 20)


def many_fetched(world: World) -> None:
    many(world)
    world.ok("add", *TRACKED)
    world.commit()
    shutil.rmtree(world.project / "data")


def thrown_away(world: World) -> None:
    """Packs with objects that are needed and others that are not, many small ones, and single files of both kinds."""
    tracked(world)
    for i in range(18):
        for name in ("data/0", "data/1", *(f"data/some/{k}" for k in range(10))):
            write(world, name, f"{i} {name}".encode())
        if i % 5 == 0:
            write(world, "one", f"{i}".encode())
        world.ok("add", *TRACKED)
        if i % 3 == 0:
            world.commit()


def condemned(world: World) -> None:
    """On the remote: packs that are due to be deleted, others to be condemned, some with objects that are needed."""
    tracked(world)
    world.commit()
    for i in range(3):
        for k in range(6):
            write(world, f"data/of {i}/{k}", f"{i} {k}".encode() * 200)
        write(world, "one", f"{i}".encode() * 5000)
        world.ok("add", *TRACKED)
        world.git("commit", "-q", "-a", "--amend", "-m", f"{i}")
        world.ok("push")
        world.git("reflog", "expire", "--expire=now", "--all")
        age(world.remote, 100)
        world.ok("gc", "--remote", "--force", *(["--grace", "200d"] if i < 1 else []))
    age(world.remote, 20)


def age(remote: Path, days: int) -> None:
    """Everything on the remote was written so much earlier, by the remote's clock."""
    for path in remote.rglob("*"):
        if path.is_file() and path.name != "vml.json":
            then = path.stat().st_mtime - days * 86400
            os.utime(path, (then, then))


class Case(NamedTuple):
    """A command, and the state it begins from. `drops`: it may remove objects that no pointer names."""

    state: Callable[[World], None]
    args: tuple[str, ...]
    drops: bool = False


CASES = {
    "init": Case(git_only, ("init",)),
    "add": Case(new, ("add", *TRACKED)),
    "add edits": Case(edited, ("add", "data", "one")),
    "add inside": Case(edited, ("add", "data/a", "data/new/9")),
    "commit": Case(edited, ("commit",)),
    "checkout": Case(fetched, ("checkout",)),
    "checkout another": Case(behind, ("checkout",)),
    "checkout part": Case(behind, ("checkout", "data/a")),
    "checkout --force": Case(behind_and_edited, ("checkout", "--force")),
    "checkout --ours": Case(conflicted, ("checkout", "--ours", ".")),
    "checkout --theirs": Case(conflicted, ("checkout", "--theirs", ".")),
    "checkout --theirs inside": Case(conflicted, ("checkout", "--theirs", "data/a")),
    "checkout --merge": Case(conflicted, ("checkout", "--merge", ".")),
    "push": Case(recorded, ("push",)),
    "push more": Case(pushed_before, ("push",)),
    "push --all-commits": Case(recorded, ("push", "--all-commits")),
    "fetch": Case(fresh, ("fetch",)),
    "fetch --metadata": Case(fresh, ("fetch", "--metadata")),
    "pull": Case(fresh, ("pull",)),
    "pull more": Case(old_clone, ("pull",)),
    "push large": Case(large, ("push",)),
    "fetch large": Case(large_fresh, ("fetch",)),
    "pull large": Case(large_fresh, ("pull",)),
    "gc --remote large": Case(large_condemned, ("gc", "--remote", "--force"), drops=True),
    "mv": Case(tracked, ("mv", "data", "raw")),
    "mv file": Case(tracked, ("mv", "one", "dir/uno")),
    "mv inside": Case(tracked, ("mv", "data/a", "data/z")),
    "rm": Case(tracked, ("rm", "data", "one")),
    "rm inside": Case(tracked, ("rm", "data/a", "data/b/4")),
    "rm --cached": Case(tracked, ("rm", "--cached", "data", "one")),
    "rm --force": Case(edited, ("rm", "--force", "data", "one")),
    "config": Case(tracked, ("config", "transfer.jobs", "3")),
    "status": Case(edited, ("status",)),
    "gc": Case(thrown_away, ("gc", "--force", "--include-unpushed"), drops=True),
    "gc --remote": Case(condemned, ("gc", "--remote", "--force"), drops=True),
    "fsck": Case(edited, ("fsck", "--repair")),
}
LARGE_CASES = {
    "add many": Case(many, ("add", *TRACKED)),
    "checkout many": Case(many_fetched, ("checkout",)),
}


# Commands that must find nothing wrong, whatever was killed before.
SOUND: tuple[tuple[str, ...], ...] = (("fsck",),)
# Commands that leave no temporary file behind.
SWEEPS: tuple[tuple[str, ...], ...] = (("gc", "--force"),)


class Outcome(NamedTuple):
    """What a command leaves: the workspace, and which pointers are complete here and recorded as complete there."""

    files: dict[str, File]
    here: list[str]
    there: list[str]


class Prepared(NamedTuple):
    """A case ready to be tried: its state, to be copied, and what the command makes of it undisturbed."""

    case: Case
    state: World
    outcome: Outcome
    bytes: frozenset[bytes]
    objects: frozenset[bytes]


def outcome(world: World) -> Outcome:
    named = verify.roots(world.project)
    store = verify.objects(world.store)
    there = set(verify.recorded(world.remote).values())
    return Outcome(
        world.files(),
        [path for path, oid in named.items() if not verify.lacking(store, oid)],
        [path for path, oid in named.items() if oid in there],
    )


@cache
def prepared(case: Case, above: Path) -> Prepared:
    """Build the state once below `above`, and run the command once on a copy of it."""
    state = World(above / case.state.__name__)
    if not state.path.exists():
        case.state(state)
    once = state.copy(above / "once")
    once.ok(*case.args)
    # Files that people or vml may write anew are not data: what a pointer said stands in its successor or in Git.
    data = {content for path, (content, _) in state.files().items() if not path.endswith((".vml", ".gitignore"))}
    objects = frozenset(verify.objects(state.store)), frozenset(verify.objects(state.remote))
    return Prepared(case, state, outcome(once), frozenset(data), objects[0] | objects[1])


def check(world: World, ready: Prepared) -> None:
    """What must hold at any moment: stores are sound, and no byte is gone that was there before."""
    here, there = verify.objects(world.store), verify.objects(world.remote)
    if ready.case.drops:
        verify.complete(here | there, verify.roots(world.project))
    else:
        gone = ready.objects - here.keys() - there.keys()
        assert not gone, f"objects are gone: {[oid.hex() for oid in gone]}"
    verify.complete(there, verify.recorded(world.remote))
    files = world.files()
    kept = {content for content, _ in files.values()}
    lost = [content[:40] for content in ready.bytes if content not in kept and verify.blob(content) not in here]
    assert not lost, f"in no store and not in the workspace: {lost}"


def check_done(world: World, ready: Prepared) -> None:
    """What must hold once the same command has run undisturbed."""
    check(world, ready)
    now = outcome(world)
    assert now == ready.outcome
    for args in SOUND:
        world.ok(*args)
    litter = [name for name in world.litter() if not name.startswith(("repo/.vml/", "remote/tmp/"))]
    assert not litter, "left in the workspace"
