"""Many files: each must be found, stored, noticed and brought back, whatever is done for all of them at once."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import Repo


def small(count: int, start: int = 0) -> dict[str, bytes]:
    return {f"{i:06}": b"%d" % i for i in range(start, start + count)}


def write(repo: Repo, folder: str, files: dict[str, bytes]) -> None:
    (repo.path / folder).mkdir(exist_ok=True)
    for name, content in files.items():
        (repo.path / folder / name).write_bytes(content)


def test_two_thousand_files_tracked_one_by_one(repo: Repo, remote: Path) -> None:
    write(repo, "data", small(2000))
    repo.git("init", "-q", "sub")  # another repository's files are not ours
    repo.write("sub/x.vml", "{}")

    assert "2,000 new" in repo.run("add", "data/*").err
    found = repo.json("status")["pointers"]
    assert {each["change"] for each in found} == {"new"}
    assert [each["path"] for each in found] == [f"data/{name}" for name in small(2000)]
    repo.write(".gitignore", "/data/000007.vml\n")
    assert len(repo.json("status")["pointers"]) == 1999  # Git would not commit that one
    (repo.path / ".gitignore").unlink()
    shutil.rmtree(repo.path / "sub")
    repo.commit()
    assert repo.json("status")["pointers"] == []

    write(repo, "data", {"000003": b"changed", "new": b"new"})
    (repo.path / "data" / "000004").unlink()
    assert repo.changes() == {"data/000003": "modified", "data/000004": "deleted"}
    repo.run("add", "data/000003", "data/new")
    repo.run("checkout", "data/000004")
    found = repo.json("status")
    assert found["data"] == []
    assert [(each["path"], each["change"]) for each in found["pointers"]] == [
        ("data/000003", "modified"),
        ("data/new", "new"),
    ]
    repo.run("push")
    repo.commit()
    clone = repo.clone("clone")
    clone.run("pull")
    wanted = small(2000) | {"000003": b"changed", "new": b"new"}
    assert {name: content for name, content in clone.files("data").items() if name in wanted} == wanted


def test_what_lies_inside_something_else_is_refused_among_many(repo: Repo) -> None:
    write(repo, "data", small(600))
    repo.write("dir/sub/a", "1")
    result = repo.fails("add", "data/*", "dir", "dir/sub/a", code=3)
    assert "dir/sub/a lies inside dir" in result.err


def test_a_flat_directory_of_many_files(repo: Repo, remote: Path, soak: int) -> None:
    """20,000 files; with --soak 250 half a million."""
    count = 2_000 * soak
    write(repo, "data", small(count))
    repo.run("add", "data")
    repo.commit()
    assert repo.changes() == {}

    write(repo, "data", {"000000": b"first", f"{count - 1:06}": b"last", "000010a": b"between", "zzz": b"behind"})
    for name in ("000001", "000011"):
        (repo.path / "data" / name).unlink()
    expected = {
        "data/000000": "modified",
        "data/000001": "deleted",
        "data/000010a": "added",
        "data/000011": "deleted",
        f"data/{count - 1:06}": "modified",
        "data/zzz": "added",
    }
    assert repo.changes() == expected
    assert repo.changes() == expected  # the second time from what was remembered

    repo.run("add", "data")
    assert repo.changes() == {}
    repo.run("push")
    repo.commit()
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.changes() == {}
    assert clone.files("data") == repo.files("data")


def test_a_file_full_of_holes_stays_so(repo: Repo) -> None:
    path = repo.write("sparse", b"")
    with path.open("r+b") as file:
        file.truncate(64 << 20)
        file.seek(33 << 20)
        file.write(b"not a hole")
        file.truncate((64 << 20) + 5)
    content, blocks = path.read_bytes(), path.stat().st_blocks
    repo.run("add", "sparse")
    path.unlink()
    repo.run("checkout")

    assert path.read_bytes() == content
    assert path.stat().st_blocks <= blocks + 2048
