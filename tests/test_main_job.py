"""The main job, as a person and a colleague do it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Repo


def test_add_push_clone_pull_edit_and_back(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/{i % 3}/{i}.txt", f"content {i}\n")
    repo.write("big.bin", bytes(range(256)) * 4096)
    repo.run("add", "data", "big.bin")
    first = repo.commit("data")
    assert "data/0" not in repo.git("ls-files")
    repo.run("push")
    assert json.loads(repo.run("status", "--json").out)["clean"]

    colleague = repo.clone("colleague")
    assert "absent" in colleague.run("status").out
    colleague.run("pull")
    assert colleague.files("data") == repo.files("data")
    assert colleague.read("big.bin") == repo.read("big.bin")

    repo.write("data/0/0.txt", "changed\n")
    repo.write("data/new.txt", "new\n")
    (repo.path / "data/1/1.txt").unlink()
    status = repo.run("status").out
    assert "modified:   data/0/0.txt" in status
    assert "added:      data/new.txt" in status
    assert "deleted:    data/1/1.txt" in status
    repo.run("commit")
    repo.commit("edit")
    diff = json.loads(repo.run("diff", first, "HEAD", "--json").out)
    assert [each["path"] for each in diff["modified"]] == ["data/0/0.txt"]
    assert [each["path"] for each in diff["added"]] == ["data/new.txt"]
    assert [each["path"] for each in diff["deleted"]] == ["data/1/1.txt"]

    new = repo.files("data")
    repo.git("checkout", "-q", first)
    repo.run("checkout")
    assert repo.files("data") == colleague.files("data")
    repo.git("checkout", "-q", "main")
    repo.run("checkout")
    assert repo.files("data") == new
