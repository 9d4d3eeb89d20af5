"""What paths hold: the ids that they would have if they were tracked, found without reading twice, or storing."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Repo
from tests.stages import project_of, record
from vcs_ml import fs
from vcs_ml.errors import UserError
from vcs_ml.hashing import XXH128
from vcs_ml.store import ingest, manifest, objects
from vcs_ml.workspace import measure, opening, tracked
from vcs_ml.workspace.item import Item


def look(repo: Repo, *paths: str) -> dict[str, Item | None]:
    project = project_of(repo)
    with opening.changing(project):
        return measure.measure(project, opening.open_store(project), paths)


def settled(repo: Repo) -> None:
    """Wait until what was written so far has times that can be believed."""
    start = time.time_ns()
    while True:
        now, granularity = fs.clock(repo.path / ".vml")
        if now - granularity > start:
            return


def test_every_kind_of_path(repo: Repo, tmp_path: Path) -> None:
    for path in ("data/sub/a", "data/sub/b", "data/c", "one", "src/x.py", "src/deep/y.py", "loose"):
        repo.write(path, path)
    repo.write("tool", "#!").chmod(0o755)
    repo.run("add", "data", "one")
    record(repo, "train", ["src/deep"])
    repo.git("add", "tool")
    (repo.path / "empty").mkdir()
    (tmp_path / "far").mkdir()
    (tmp_path / "far/f").write_text("far")
    (repo.path / "link").symlink_to(tmp_path / "far")
    found = look(repo, "data", "data/sub", "data/c", "one", "src", "src/deep", "loose", "tool", "nosuch", "empty")
    pointers = tracked.in_workspace(project_of(repo))
    for path, each in pointers.items():
        assert found[path] == Item(each.oid, each.kind, each.size, each.nfiles)
    assert found["loose"] == Item(objects.blob(XXH128.digest(b"loose")), "file", 5)
    assert found["tool"] == Item(objects.blob(XXH128.digest(b"#!")), "executable", 2)
    assert found["nosuch"] is None
    assert found["empty"] == Item(manifest.empty(XXH128), "tree", 0, 0)
    outside = look(repo, "link", "../far", str(tmp_path / "far"), "../far/f", str(tmp_path / "far/f"), "link/f")
    assert outside["link"] == outside["../far"] == outside[str(tmp_path / "far")]
    assert outside["../far/f"] == outside["link/f"] == Item(objects.blob(XXH128.digest(b"far")), "file", 3)
    # What is not tracked has the id that it gets when it is.
    store = repo.files(".vml/cache")
    assert look(repo, "data/sub", "src") == {path: found[path] for path in ("data/sub", "src")}
    assert repo.files(".vml/cache") == store
    (repo.path / "copy").mkdir()
    for name in ("a", "b"):
        repo.write(f"copy/{name}", f"data/sub/{name}")
    repo.run("add", "copy")
    assert look(repo, "copy", "data/sub")["copy"] == found["data/sub"]


def test_nothing_is_read_twice(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in ("data/sub/a", "data/c", "one", "src/x", "loose", "part/p/q"):
        repo.write(path, path)
    (tmp_path / "far").mkdir()
    (tmp_path / "far/f").write_text("far")
    settled(repo)
    repo.run("add", "data", "one", "part")
    wanted = ("data", "data/sub", "data/c", "one", "src", "loose", "part/p", "../far", "../far/f")
    first = look(repo, *wanted)
    real = ingest.measure
    read: list[str] = []

    def counting(algorithm, base, folders, *args, **options):  # type: ignore[no-untyped-def]
        read.extend(os.fsdecode(name) for folder in folders for name in folder.names)
        return real(algorithm, base, folders, *args, **options)

    monkeypatch.setattr(ingest, "measure", counting)
    assert look(repo, *wanted) == first
    assert read == []
    repo.write("src/x", "new")
    repo.write("data/sub/a", "new")
    settled(repo)
    second = look(repo, *wanted)
    assert sorted(read) == ["a", "a", "x"]
    assert {path for path in wanted if first[path] != second[path]} == {"data", "data/sub", "src"}
    read.clear()
    assert look(repo, *wanted) == second
    assert read == []
    # Known from the directory that it lies in, which was just measured.
    assert look(repo, "part/p")["part/p"] == first["part/p"]


def test_what_is_only_read_is_never_taken_away(repo: Repo) -> None:
    before = repo.commit()
    repo.write("copy", "same")
    repo.run("add", "copy")  # so the store has these bytes
    repo.commit("copy")
    repo.write("src/x", "same")
    repo.write("loose", "same")
    look(repo, "src", "loose")
    repo.git("checkout", "-q", before)
    repo.run("checkout")
    assert repo.read("src/x") == repo.read("loose") == b"same"
    assert not (repo.path / "copy").exists()


def test_a_part_that_is_here_counts_as_it_is(repo: Repo, remote: Path) -> None:
    for name in ("a", "b"):
        repo.write(f"data/{name}", name)
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    clone = repo.clone("clone")
    assert look(clone, "data")["data"] is None
    clone.run("pull", "data/a")
    found = look(clone, "data")["data"]
    assert found is not None
    assert (found.size, found.nfiles) == (1, 1)
    clone.run("pull")
    assert look(clone, "data") == look(repo, "data")


def test_what_cannot_be_measured(repo: Repo) -> None:
    os.mkfifo(repo.path / "pipe")
    for path, message in (
        (".", "too much"),
        ("../repo", "too much"),
        ("pipe", "neither a file nor"),
        ("/", "too much"),
    ):
        with pytest.raises(UserError, match=message):
            look(repo, path)


steps = st.tuples(st.sampled_from(["a", "b/c", "b/d", "e"]), st.sampled_from([None, "x", "y", "zz"]))


@given(st.lists(st.lists(steps, min_size=1, max_size=3), min_size=1, max_size=5))
def test_edits_give_what_a_first_look_gives(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, str | None]]]
) -> None:
    place = tmp_path_factory.mktemp("edits")
    subprocess.run(["git", "init", "-q", str(place)], check=True)
    repo = Repo(place, lambda: ("", ""))
    repo.run("init")
    repo.write("tracked/keep", "1")
    repo.run("add", "tracked")
    for number, edits in enumerate(rounds):
        for path, content in edits:
            for folder in ("plain", "tracked"):
                if content is None:
                    (place / folder / path).unlink(missing_ok=True)
                else:
                    repo.write(f"{folder}/{path}", content)
        (place / "plain").mkdir(exist_ok=True)
        copies = {folder: f"{folder}{number}" for folder in ("plain", "tracked")}
        for folder, copy in copies.items():
            (place / copy).mkdir()
            for path, raw in repo.files(folder).items():
                repo.write(f"{copy}/{path}", raw)
        found = look(repo, *copies, *copies.values())
        for folder, copy in copies.items():
            assert found[folder] == found[copy]
