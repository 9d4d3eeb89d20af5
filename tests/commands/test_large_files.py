"""Large files, which lie on a remote in chunks, as people meet them: push, pull, status, fsck, gc."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import verify
from tests.commands.test_fsck import fsck, kinds
from tests.conftest import Repo
from tests.store.stores import flip, pack_with
from vcs_ml.store import objects

MIB = 1 << 20
CONTENT = random.Random(5).randbytes(10 * MIB)


@pytest.fixture
def pushed(repo: Repo, remote: Path) -> Repo:
    """A file of its own, and one in a directory that shares most of it."""
    path = repo.path / "model"
    path.write_bytes(CONTENT)
    (repo.path / "data").mkdir()
    (repo.path / "data/large").write_bytes(CONTENT[: 9 * MIB] + b"another end")
    repo.write("data/small", "small")
    repo.run("add", "data", "model")
    repo.commit()
    repo.run("push")
    return repo


def whole(clone: Repo) -> None:
    assert (clone.path / "model").read_bytes() == CONTENT
    assert (clone.path / "data/large").read_bytes() == CONTENT[: 9 * MIB] + b"another end"


def test_there_and_back_and_an_edit(pushed: Repo, remote: Path) -> None:
    assert max(path.stat().st_size for path in remote.glob("packs/*/*")) < 12 * MIB  # they share chunks
    clone = pushed.clone("clone")
    dry = clone.json("pull", "-n")
    assert (dry["objects"], dry["bytes"]) == (3, 19 * MIB + 16)
    assert 19 * MIB < dry["stored"] < 19 * MIB + 100
    got = clone.json("pull")["fetched"]
    assert got.pop("seconds") > 0
    assert got == {
        "objects": 3, "bytes": 19 * MIB + 16, "stored": dry["stored"], "saved_by_dedup": 0,
        "saved_by_zstd": 19 * MIB + 16 - dry["stored"], "requests": 0,
    }  # fmt: skip
    whole(clone)
    (pushed.path / "model").write_bytes(CONTENT[: 5 * MIB] + b"a row" + CONTENT[5 * MIB :])
    pushed.run("commit")
    assert pushed.json("push", "-n")["bytes"] == 10 * MIB + 5
    said = pushed.run("push").err
    assert "pushed to origin: 1 object, 10.5 MB (" in said
    assert " sent, " in said
    assert " saved by dedup" in said
    verify.complete(verify.objects(remote), verify.recorded(remote))
    assert pushed.json("push")["objects"] == 0


def test_history_is_fetched_without_a_pointer_that_says_the_size(pushed: Repo) -> None:
    (pushed.path / "model").write_bytes(b"small now")
    pushed.run("commit")
    pushed.commit()
    pushed.run("push")
    clone = pushed.clone("clone")
    assert clone.json("fetch", "--all-commits")["objects"] == 4
    clone.git("checkout", "-q", "HEAD~1")
    clone.run("checkout")
    whole(clone)


def test_status_asks_for_every_chunk(pushed: Repo, remote: Path) -> None:
    for path in remote.glob("roots/*"):
        path.unlink()
    assert pushed.json("status", "--remote", "origin")["not_pushed"] == []
    pack_with(remote, objects.CHUNK).unlink()
    assert pushed.json("status", "--remote", "origin")["not_pushed"] == [
        {"path": "data", "remote": "origin"}, {"path": "model", "remote": "origin"},
    ]  # fmt: skip


# what -> (kind of the problem, found only with --deep, how)
DAMAGE: dict[str, tuple[str, bool, Callable[[Path], object]]] = {
    "a chunk": ("object", True, lambda remote: flip(pack_with(remote, objects.CHUNK), 3 * MIB)),
    "a recipe": ("object", False, lambda remote: flip(pack_with(remote, objects.RECIPE), 40)),
    "chunks gone": ("pack", False, lambda remote: pack_with(remote, objects.CHUNK).unlink()),
    "recipes gone": ("pack", False, lambda remote: pack_with(remote, objects.RECIPE).unlink()),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_over_there_is_found_and_mended(pushed: Repo, remote: Path, what: str) -> None:
    kind, only_deep, damage = DAMAGE[what]
    damage(remote)
    assert (kind in kinds(fsck(pushed, "--remote"))) == (not only_deep)
    found = fsck(pushed, "--remote", "--deep", code=1)
    named = {each["needed_by"] for each in found["problems"] if each["needed_by"]}
    assert named & {"model", "data/large"}
    clone = pushed.clone("empty")  # it has nothing that could be sent
    fsck(clone, "--remote", "--deep", "--repair", code=1)
    shutil.rmtree(clone.path)
    fsck(pushed, "--remote", "--deep", "--repair")
    pushed.run("push")
    assert fsck(pushed, "--remote", "--deep", code=0)["problems"] == []
    clone = pushed.clone("fresh")
    clone.run("pull")
    whole(clone)


def test_what_is_good_of_a_damaged_pack_is_kept_without_the_files(pushed: Repo, remote: Path) -> None:
    """Who mends has no data: only the file with the damaged chunk is lost."""
    pushed.write("other", "")
    (pushed.path / "other").write_bytes(random.Random(9).randbytes(9 * MIB))
    pushed.run("add", "other")
    pushed.run("push")
    victim = next(
        path for path in remote.glob("packs/*/*")
        if (pushed.path / "other").read_bytes()[:100] in path.read_bytes()
    )  # fmt: skip
    flip(victim, victim.stat().st_size - 3 * MIB)
    pushed.commit()
    clone = pushed.clone("clone")
    found = fsck(clone, "--remote", "--deep", "--repair", code=1)
    assert {each["needed_by"] for each in found["problems"]} == {"other"}
    clone.run("pull", "model", "data")
    whole(clone)
    clone.fails("pull", "other", code=3)


def test_a_lost_large_file_comes_back_by_its_recipe(pushed: Repo) -> None:
    shutil.rmtree(pushed.path / "data")
    (pushed.path / "model").unlink()
    loose = sorted(path for path in (pushed.path / ".vml/cache/loose").rglob("*") if path.is_file())
    large = [path for path in loose if path.stat().st_size > 8 * MIB]
    for path in large:
        flip(path, 5 * MIB)
    fsck(pushed, code=1)
    fsck(pushed, "--repair", code=0)
    pushed.run("checkout")
    whole(pushed)


def test_gc_here_keeps_what_lies_only_here(pushed: Repo, remote: Path) -> None:
    pushed.run("rm", "--cached", "model")
    pushed.git("commit", "-q", "-a", "--amend", "-m", "without")
    pushed.git("reflog", "expire", "--expire=now", "--all")
    assert pushed.json("gc")["bytes"] >= 10 * MIB
    recipes = next((pushed.path / ".vml/cache/remotes").iterdir()) / "recipes"
    shutil.rmtree(recipes)  # nothing is known of the chunks then
    assert pushed.json("gc")["bytes"] < MIB
