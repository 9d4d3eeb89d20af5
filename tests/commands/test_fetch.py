"""`vml fetch`: into the store, never into the workspace, and nothing that does not match its id."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import Repo


def pushed(repo: Repo) -> Repo:
    """Push two things; a clone without data."""
    for i in range(20):
        repo.write(f"data/{i % 2}/{i}", str(i) * 100)
    repo.write("one", "1" * 1000)
    repo.run("add", "data", "one")
    repo.commit()
    repo.run("push")
    return repo.clone("clone")


def test_everything(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    found = clone.json("fetch")
    size = sum(len(content) for content in repo.files("data").values()) + 1000
    assert found.pop("seconds") > 0
    assert found == {
        "schema": 1, "remote": "origin", "objects": 21, "bytes": size, "stored": 369, "saved_by_dedup": 0,
        "saved_by_zstd": size - 369, "requests": 0,
    }  # fmt: skip
    assert not (clone.path / "data").exists()
    assert "has everything already" in clone.run("fetch").err
    shutil.move(remote, remote.with_name("away"))
    clone.run("checkout")
    assert clone.files("data") == repo.files("data")


def test_some_paths(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    assert clone.json("fetch", "data/1")["objects"] == 10
    assert clone.json("fetch", "data/0/0", "data/0/2")["objects"] == 2
    assert clone.json("fetch", "one")["objects"] == 1
    assert clone.json("fetch")["objects"] == 8


def test_metadata(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    assert clone.json("fetch", "--metadata")["objects"] == 0
    assert len(clone.json("ls", "-R")["entries"]) == 21
    assert clone.fails("checkout", code=3)
    assert clone.json("status")["missing"][0]["objects"] == 20


def test_a_damaged_pack(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    for path in (remote / "packs").rglob("*.pack"):
        raw = bytearray(path.read_bytes())
        raw[: len(raw) // 2] = bytes(len(raw) // 2)
        path.chmod(0o644)
        path.write_bytes(raw)
    result = clone.run("fetch", ok=False)
    assert result.code in (3, 4)
    assert "Traceback" not in result.err
    assert "hint" in result.err
    assert not clone.json("status")["clean"]
    clone.fails("checkout", code=3)


def test_a_lost_pack(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    for path in (remote / "packs").rglob("*.pack"):
        path.unlink()
    result = clone.run("fetch", ok=False)
    assert result.code in (3, 4)
    assert "Traceback" not in result.err
    assert "hint" in result.err


def test_what_the_remote_does_not_have(repo: Repo, remote: Path) -> None:
    clone = pushed(repo)
    repo.write("one", "never pushed")
    repo.run("commit")
    clone.write("one.vml", repo.read("one.vml"))
    result = clone.run("fetch", "one", ok=False)
    assert result.code in (3, 4)
    assert "one" in result.err
    assert "xxh128:" in result.err
    assert "hint" in result.err
    repo.write("data/new", "never pushed")
    repo.run("commit")
    clone.write("data.vml", repo.read("data.vml"))
    result = clone.run("pull", "data", ok=False)
    assert result.code in (3, 4)
    assert "data" in result.err
    assert "hint" in result.err
