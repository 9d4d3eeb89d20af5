"""Nothing is written outside of the project, whatever pointers, remotes and links say, and whatever moves meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests import oscalls, worlds
from tests.commands.test_hostile import point, tree_of
from tests.conftest import Repo
from tests.worlds import CASES
from vcs_ml.hashing import XXH128
from vcs_ml.store import objects, pack
from vcs_ml.store.pack import Columns, Pack, Row
from vcs_ml.store.page import FILE
from vcs_ml.workspace import opening
from vcs_ml.workspace.project import Project


def plant(place: Path) -> None:
    """A directory with the names that a command would look for, and empty directories that it might tidy up."""
    for name in ("1", "2", "3", "a/1", "b/4", "two", "empty/empty/x", "run", "8"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"not yours")
    (place / "nothing/in/here").mkdir(parents=True)


@contextmanager
def untouched(place: Path) -> Iterator[None]:
    """AssertionError if anything below `place` is another one afterwards, or was there in between."""

    def look() -> dict[str, tuple[int, ...]]:
        found = {}
        for folder, _, names in os.walk(place):
            for path in [folder, *(os.path.join(folder, name) for name in names)]:
                st = os.lstat(path)
                found[path] = (st.st_mode, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
        return found

    before = look()
    yield
    now = look()
    assert now.keys() == before.keys(), now.keys() ^ before.keys()
    assert now == before


SWAPPED = ("data", "data/a", "dir", "data/c/deep")
# Data is written through descriptors, so these may be disturbed at any moment.
WRITING = ["checkout", "checkout another", "checkout part", "checkout --force", "pull more", "rm", "rm --force"]
# Pointers are written by their paths, right after these were looked at: disturbed while data is read and stored.
RECORDING = ["add", "add edits", "add inside", "commit", "rm inside", "mv inside"]


@pytest.mark.parametrize("name", [*WRITING, *RECORDING])
def test_a_directory_becomes_a_link_meanwhile(
    name: str, above: Path, tmp_path: Path, soak: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before its n-th change of the disk, a directory is moved away and a link to another one put there."""
    ready = worlds.prepared(CASES[name], above)
    world = ready.state.copy(tmp_path / "world")
    with oscalls.watched(oscalls.ignore) as names:
        world.ok(*ready.case.args)
    elsewhere = tmp_path / "elsewhere"
    plant(elsewhere)
    seed = random.randrange(2**32)
    last = len(names) if name in WRITING else len(names) // 4
    moments = [(n, swapped) for n in range(last) for swapped in SWAPPED]
    for n, swapped in random.Random(seed).sample(moments, min(len(moments), soak)):
        world = ready.state.copy(tmp_path / "world")

        def swap(name: str, at: int, _: Any, n: int = n, place: Path = world.project / swapped) -> None:
            if at == n and not place.is_symlink():
                with contextlib.suppress(FileNotFoundError):
                    os.rename.real(place, f"{place}.moved")  # type: ignore[attr-defined]
                    os.symlink.real(elsewhere, place)  # type: ignore[attr-defined]

        try:
            with untouched(elsewhere), oscalls.watched(swap):
                code = world.vml(*ready.case.args)
            assert code in (0, 3, 4), capfd.readouterr().err[-2000:]
        except AssertionError as error:
            where = f"before call {n} of {len(names)}, {names[max(n - 3, 0) : n]} then {names[n]}"
            raise AssertionError(f"{swapped} swapped {where} (seed {seed}): {error}") from error


@pytest.mark.parametrize("linked", ["data", "dir", "data/a"])
def test_a_directory_is_a_link_from_the_start(
    linked: str, above: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    plant(elsewhere)
    for state in (worlds.tracked, worlds.behind):
        ready = worlds.prepared(worlds.Case(state, ("status",)), above)
        for args in (
            ("checkout",), ("checkout", "--force"), ("checkout", linked), ("add", linked), ("add", f"{linked}/two"),
            ("commit",),
            ("rm", linked), ("rm", "--force", linked), ("rm", "dir/two"), ("mv", linked, "moved"), ("mv", "one",
            f"{linked}/one"),
            ("mv", "one", linked), ("push",), ("pull",),
        ):  # fmt: skip
            world = ready.state.copy(tmp_path / "world")
            (world.project / linked).rename(tmp_path / "world/moved")
            (world.project / linked).symlink_to(elsewhere)
            with untouched(elsewhere):
                code = world.vml(*args)
            assert code in (0, 3, 4), (args, capfd.readouterr().err)


@pytest.mark.parametrize(
    "inner",
    ["", "cache", "cache/packs", "cache/index", "cache/loose", "cache/tmp", "cache/complete",
    "cache/remotes", "cache/loose/xxh128", "cache/loose/xxh128/00", "cache/packs/00", "cache/remotes/00",
    "cache/remotes/00/index", "index",
              "lock", "saved", "tmp"]
)  # fmt: skip
def test_a_clone_with_links_of_ours(inner: str, above: Path, tmp_path: Path) -> None:
    """What lies in .vml may have been committed by a stranger."""
    ready = worlds.prepared(CASES["add edits"], above)
    world = ready.state.copy(tmp_path / "world")
    place = world.project / ".vml" / inner
    elsewhere = tmp_path / "elsewhere"
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.mkdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere)
    with untouched(elsewhere):
        assert world.vml("status") in (0, 3)
        assert world.vml("add", "data") == 3
        assert world.vml("checkout", "--force") == 3
        assert world.vml("push") == 3


NAMES = [".git", ".GIT", "git~1", ".vml", ".git ", ".g\u200cit", "..", "."]


@pytest.mark.parametrize("name", NAMES)
def test_pointers_with_names_of_git(repo: Repo, tmp_path: Path, name: str) -> None:
    found = tree_of({b"hooks/post-checkout": (FILE, b"evil"), b"config": (FILE, b"evil")})
    store(repo, found)
    point(repo, found, name)
    with untouched(repo.path / ".git"):
        for command in (["checkout"], ["checkout", "--force"], ["status"], ["commit"]):
            result = repo.run(*command, ok=False)
            assert result.code in (0, 3), result
            assert "Traceback" not in result.err


def store(repo: Repo, found: dict[objects.ObjectId, bytes]) -> None:
    with opening.open_store(Project.find(repo.path, os.environ)).batch() as batch:
        for oid, data in found.items():
            batch.add(oid, data)


# ---------------------------------------------------------------------- remotes that announce what is not so

SMALL = b"small"
BOMB = zstandard.ZstdCompressor(level=19).compress(bytes(256 << 20))
SILENT = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50 << 20))
# stored, offset, stored length, raw length, flags
LIES = {
    "a frame that announces more": (BOMB, 0, len(BOMB), len(SMALL), pack.ZSTD),
    "a frame that announces nothing": (SILENT, 0, len(SILENT), len(SMALL), pack.ZSTD),
    "a length as the frame says": (BOMB, 0, len(BOMB), 256 << 20, pack.ZSTD),
    "other bytes": (b"large", 0, 5, 5, pack.RAW),
    "behind the end": (SMALL, 2**40, 5, 5, pack.RAW),
    "over the end": (SMALL, 3, 5, 5, pack.RAW),
    "at the end of numbers": (SMALL, 2**64 - 1, 5, 5, pack.RAW),
    "more than there is": (SMALL, 0, 2**40, 2**40, pack.RAW),
    "nothing": (SMALL, 0, 0, 0, pack.RAW),
    "a form nobody knows": (SMALL, 0, 5, 5, 7),
    "a number of the table": (SMALL, 5, 48, 48, pack.RAW),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("size", [len(SMALL), 2**40])
def test_a_remote_that_lies(repo: Repo, remote: Path, lie: str, size: int) -> None:
    stored, offset, length, raw, flags = LIES[lie]
    found = tree_of({b"a": (FILE, SMALL)})
    blob = objects.blob(XXH128.digest(SMALL))
    project = Project.find(repo.path, os.environ)
    there = opening.remote_at(project, project.remote(), create=True)
    builder = pack.Builder(there.backend, XXH128)
    for oid, data in found.items():
        if oid != blob:
            builder.add(oid, data)
    sound = builder.finish()
    rows = [Row(blob, 0, offset, length, raw, flags)]
    table = pack.encode_columns(Columns.of(rows), 16)
    digest = pack.SHA256.digest(table)
    name = digest[:16] + bytes(8)
    there.backend.write_new(
        pack.key(name), stored + table + pack.FOOTER.pack(pack.MAGIC, 1, XXH128.code, 16, len(rows), digest)
    )
    there.publish_index([*sound, Pack(name, rows)])
    point(repo, found)
    repo.write(
        "one.vml",
        json.dumps(
            {"schema": 1, "path": "one", "kind": "file", "size": size, "hash": objects.format_hash(blob, XXH128)}
        ),
    )
    for command in (["pull"], ["fetch"], ["pull", "one"], ["pull", "data"]):
        result = repo.run(*command, ok=False)
        assert result.code in (3, 4), result
        assert "Traceback" not in result.err
    assert not (repo.path / "data").exists()
    assert not (repo.path / "one").exists()


def test_a_clone_with_local_settings(repo: Repo, tmp_path: Path) -> None:
    """Local settings may lead the store anywhere, so they must not come from a stranger."""
    elsewhere = tmp_path / "elsewhere"
    repo.run("config", "--local", "cache.dir", str(elsewhere))
    repo.git("add", "-f", ".vml/config.local.toml")
    repo.commit()
    clone = repo.clone("clone")
    clone.write("one", "1")
    assert "committed" in clone.fails("add", "one", code=3).err
    assert not elsewhere.exists()
    clone.git("rm", "-q", "--cached", ".vml/config.local.toml")
    clone.run("add", "one")
    assert elsewhere.exists()


ENDLESS = ["/dev/zero", "/dev/stdin", "huge"]


@pytest.mark.parametrize("target", ENDLESS)
@pytest.mark.parametrize(
    "name",
    [".vml/saved/01A.new.json", ".vml/config.toml", ".vml/config.local.toml", ".vmlignore", ".vml/index/pointers"],
)
def test_a_clone_with_files_that_never_end(repo: Repo, name: str, target: str) -> None:
    repo.write("data", "1")
    repo.run("add", "data")
    place = repo.path / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    if target != "huge":
        place.symlink_to(target)
    else:
        place.touch()
        os.truncate(place, 1 << 36)
    pipe, end = os.pipe()  # of which nobody ever reads anything
    try:
        for command in (["status"], ["gc"], ["checkout", "--saved"]):
            # A process of its own: this one may have mapped more than that.
            result = subprocess.run(
                [sys.executable, "-m", "vcs_ml", *command],
                check=False,
                cwd=repo.path,
                stdin=pipe,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33)),
                timeout=60,
            )
            if "index" in name or (name == ".vmlignore" and "--saved" in command):
                assert result.returncode == 0, result
            else:
                assert result.returncode == 3, result
                what = "is larger than" if target == "huge" else "is no regular file but a link"
                assert f"{name} {what}" in result.stderr
                assert "hint: " in result.stderr
    finally:
        for fd in (pipe, end):
            os.close(fd)


@pytest.mark.parametrize("name", ["data.vml", "vml.lock", ".vmlignore", ".vml/saved/01A.json"])
def test_a_pipe_is_not_waited_for(repo: Repo, name: str) -> None:
    place = repo.path / name
    repo.write("data", "1")
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    assert repo.run("add", "data", ok=False).code in (0, 3)
    assert repo.run("status", ok=False).code in (0, 3)
    assert repo.run("checkout", "--saved", ok=False).code in (0, 3)


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin"])
def test_an_object_that_is_a_link(repo: Repo, target: str) -> None:
    repo.run("config", "cache.pack_below", "0")
    repo.write("data", "1")
    repo.run("add", "data")
    (place,) = (path for path in (repo.path / ".vml/cache/loose").rglob("*") if path.is_file())
    place.parent.chmod(0o755)
    place.unlink()
    place.symlink_to(target)
    (repo.path / "data").unlink()
    assert f"{place} is a link" in repo.fails("checkout", code=3).err


def test_a_committed_store_with_links(repo: Repo, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    repo.run("config", "cache.dir", "store")
    (repo.path / "store").mkdir()
    (repo.path / "store/loose").symlink_to(elsewhere)
    repo.commit()
    clone = repo.clone("clone")
    clone.write("one", "1")
    assert "symlink" in clone.fails("add", "one", code=3).err
    assert not list(elsewhere.iterdir())
