"""`vml du`: sizes of tracked data, what of it is here, and the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.commands.test_add import metadata_clone
from tests.conftest import Repo


def rows(repo: Repo, *args: str) -> dict[str, tuple[Any, ...]]:
    found = repo.json("du", *args)
    total = {"path": "total", **found["total"]}
    return {row["path"]: (row["files"], row["size"], row["here"], row["absent"]) for row in (*found["paths"], total)}


def test_equal_files_take_room_once(repo: Repo) -> None:
    repo.write("data/a", b"1" * 100)
    repo.write("data/b", b"1" * 100)
    repo.write("data/sub/c", b"2" * 10)
    repo.write("one", b"1" * 100)
    repo.run("add", "data", "one")
    assert rows(repo) == {
        "data": (3, 210, 110, 0), "one": (1, 100, 100, 0), "total": (4, 310, 110, 0),
    }  # fmt: skip
    assert rows(repo, "data/sub", "data/a") == {
        "data/a": (1, 100, 100, 0), "data/sub": (1, 10, 10, 0), "total": (2, 110, 110, 0),
    }  # fmt: skip
    shown = repo.run("du").out
    assert shown.splitlines()[0].split() == ["files", "size", "here", "not", "here", "path"]
    assert "310 B" in shown


def test_what_is_not_here(repo: Repo, remote: Path) -> None:
    repo.write("data/a", b"1" * 100)
    repo.write("data/sub/b", b"22")
    repo.write("one", b"333")
    repo.run("add", "data", "one")
    repo.commit()
    repo.run("push")
    clone = repo.clone("bare-of-lists")
    assert rows(clone) == {
        "data": (2, 102, None, None), "one": (1, 3, 0, 3), "total": (3, 105, None, None),
    }  # fmt: skip
    result = clone.run("du")
    assert "?" in result.out
    assert "1 list of files is not here (vml fetch --metadata brings it)" in result.err
    clone = metadata_clone(repo)
    clone.run("pull", "data/sub")
    assert rows(clone) == {"data": (2, 102, 2, 100), "one": (1, 3, 0, 3), "total": (3, 105, 2, 103)}
    assert rows(clone, "data/a") == {"data/a": (1, 100, 0, 100), "total": (1, 100, 0, 100)}


def test_the_store_and_history(repo: Repo) -> None:
    for i in range(20):
        repo.write(f"data/{i}", f"{i:02}")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    repo.write("data/0", "newer")
    (repo.path / "data/1").unlink()
    repo.write("one", "22")
    repo.run("commit")
    repo.commit()
    found = repo.json("du", "--all-commits")
    assert found["history"] == {"versions": 4, "objects": 23, "here": 40 + 5 + 1 + 2, "absent": 0, "unknown": 0}
    files = [path for path in (repo.path / ".vml/cache").rglob("*") if path.is_file()]
    loose = [path for path in files if "loose" in path.parts]
    packs = [path for path in files if path.suffix == ".pack"]
    assert found["store"] == {
        "packs": len(packs),
        "pack_bytes": sum(path.stat().st_size for path in packs),
        "loose": len(loose),
        "loose_bytes": sum(path.stat().st_size for path in loose),
        "bytes": sum(path.stat().st_size for path in files),
    }
    assert repo.json("du")["history"] is None
    assert "all commits: 4 versions, 23 objects, 48 B here, 0 B not here" in repo.run("du", "--all-commits").out


def test_nothing_and_bad_paths(repo: Repo) -> None:
    assert rows(repo) == {"total": (0, 0, 0, 0)}
    repo.write("data/a", "1")
    repo.run("add", "data")
    assert "not tracked" in repo.fails("du", "data/nosuch", code=3).err
    assert "not tracked" in repo.fails("du", "nosuch", code=3).err
