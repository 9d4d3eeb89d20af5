"""`--dry-run` of fetch, pull and push: what would travel, and nothing does."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Repo


def stored(place: Path) -> set[Path]:
    return {path for path in place.rglob("*") if path.is_file()}


def test_push(repo: Repo, remote: Path) -> None:
    repo.write("data/a", b"1" * 1000)
    repo.write("data/b", b"2" * 1000)
    repo.write("one", b"1" * 1000)
    repo.run("add", "data", "one")
    found = repo.json("push", "--dry-run")
    assert not remote.exists()
    assert [each["path"] for each in found["paths"]] == ["data"]  # `one` is the same as data/a
    assert not (repo.path / ".vml/cache/remotes").exists()
    done = repo.json("push")
    assert (found["objects"], found["bytes"]) == (done["objects"], done["bytes"])
    assert "everything already" in repo.run("push", "-n").err
    repo.write("one", b"3" * 10)
    repo.run("add", "one")
    before = stored(remote)
    assert repo.run("push", "--dry-run").out.splitlines()[1].split() == ["1", "10", "B", "one"]
    assert stored(remote) == before
    assert repo.json("status")["not_pushed"] == [{"path": "one", "remote": "origin"}]


def test_push_to_a_place_that_is_no_remote(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("precious")
    repo.run("remote", "add", "-d", "other", str(tmp_path / "other"))
    assert "not empty" in repo.fails("push", "--dry-run", code=4).err


def test_fetch_and_pull(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/sub/{i}", f"{i}" * 100)
    repo.write("data/top", "top")
    repo.write("one", "1")
    repo.run("add", "data", "one")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    found = clone.json("fetch", "--dry-run")
    assert [(each["path"], each["objects"]) for each in found["paths"]] == [("data", 21), ("one", 1)]
    assert found["bytes"] == sum(map(len, repo.files("data").values())) + 1
    assert 0 < found["stored"] < found["bytes"]
    assert clone.json("pull", "-n", "data/top")["objects"] == 1
    assert clone.json("ls", "data")["entries"]  # the list of files is here now, and nothing else
    assert {each["path"] for each in clone.json("status")["missing"]} == {"data", "one"}
    assert not (clone.path / "data").exists()
    shown = clone.run("pull", "-n").out.splitlines()
    assert shown[0].split() == ["objects", "size", "stored", "path"]
    assert shown[-1].split()[-1] == "total"
    done = clone.json("pull")
    assert {key: done["fetched"][key] for key in ("objects", "bytes", "stored")} == {
        key: found[key] for key in ("objects", "bytes", "stored")
    }
    assert clone.json("fetch", "-n")["paths"] == clone.json("pull", "-n")["paths"] == []
    clone.fails("fetch", "-n", "--metadata", code=2)


def test_what_the_remote_lacks_is_an_error(repo: Repo, remote: Path) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    repo.write("data/b", "2")
    repo.run("add", "data")
    repo.commit()
    clone.git("pull", "-q")
    assert "is not on remote" in clone.fails("fetch", "--dry-run", code=3).err
