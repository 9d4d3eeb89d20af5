"""`--json` everywhere: one object on stdout, with its schema, and nothing else there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Repo

COMMANDS = {
    "add data": {"recorded"},
    "commit": {"recorded", "stages"},
    "status": {
        "clean",
        "conflicts",
        "data",
        "pointers",
        "missing",
        "not_pushed",
        "stages",
        "optional",
        "partial",
        "unmade",
        "left",
    },
    "diff": {"a", "b", "added", "deleted", "modified", "renamed"},
    "ls": {"entries"},
    "ls data": {"entries"},
    "du": {"paths", "total", "store", "history"},
    "push": {"remote", "objects", "bytes", "stored", "saved_by_dedup", "saved_by_zstd", "requests", "seconds", "roots"},
    "fetch --dry-run": {"remote", "dry_run", "objects", "bytes", "stored", "paths"},
    "fetch": {"remote", "objects", "bytes", "stored", "saved_by_dedup", "saved_by_zstd", "requests", "seconds"},
    "pull": {"fetched", "written", "removed", "bytes"},
    "config": {"settings"},
    "remote list": {"remotes"},
}


@pytest.mark.parametrize("command, keys", COMMANDS.items(), ids=list(COMMANDS))
def test_shapes(repo: Repo, remote: Path, command: str, keys: set[str]) -> None:
    repo.write("data/a", "1")
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    result = repo.run(*command.split(), "--json")
    found = json.loads(result.out)
    assert set(found) == {"schema"} | keys
    assert found["schema"] == 1
    assert result.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_failures_leave_stdout_empty(repo: Repo, command: str) -> None:
    repo.write("one.vml", "{")
    result = repo.run(*command.split(), "--json", ok=False)
    if result.code:
        assert result.out == ""
        assert result.err.startswith("error: ")


def test_odd_names(repo: Repo) -> None:
    repo.write('data/\u00e9\n"', "1")
    repo.run("add", "data")
    Path(os.fsdecode(os.fsencode(repo.path) + b"/data/\xff")).write_bytes(b"1")
    assert [each["path"] for each in repo.json("status")["data"]] == ["data/\udcff"]
    assert [each["path"] for each in repo.json("ls", "data")["entries"]] == ['data/\u00e9\n"']


def test_quiet_prints_only_data(repo: Repo) -> None:
    repo.write("data/a", "1")
    result = repo.run("-q", "add", "data")
    assert (result.out, result.err) == ("", "")
    assert repo.run("-q", "ls").out
    assert repo.run("-q", "status").out
