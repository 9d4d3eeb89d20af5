"""`vml doctor`: healthy projects of every kind, and each thing it finds wrong."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Repo
from vcs_ml.workspace import probe, sharing


def findings(repo: Repo, *args: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """what -> (level, text) of the last finding of each; the exit code is 1 if and only if there is a problem."""
    result = repo.run("doctor", *args, ok=False)
    assert result.code == code, result
    lines = [line for line in result.out.splitlines() if not line.startswith(" ")]
    assert code == any(line.startswith("problem") for line in lines)
    return {line[9:].partition(": ")[0]: (line[:9].strip(), line[9:].partition(": ")[2]) for line in lines}


def test_a_healthy_project(repo: Repo, remote: Path) -> None:
    for i in range(20):
        repo.write(f"data/{i}", f"{i}")
    repo.write("large", b"1" * 300_000)
    repo.run("add", "data", "large")
    before = repo.files(".vml")
    found = findings(repo)
    assert {level for level, _ in found.values()} == {"ok"}
    assert "21 objects in 2 packs, 1 alone" in found["store"][1]
    assert "hardlink works" in found["links"][1]
    assert "is not asked" in found["remote origin"][1]
    assert repo.files(".vml") == before
    assert not remote.exists()
    repo.run("push")
    there = {path for path in remote.rglob("*") if path.is_file()}
    assert "it can be read and written" in findings(repo)["remote origin"][1]
    assert {path for path in remote.rglob("*") if path.is_file()} == there
    answer = repo.json("doctor")
    assert answer["healthy"] is True
    assert {each["level"] for each in answer["findings"]} == {"ok"}


def test_kinds_of_repositories(repo: Repo, tmp_path: Path) -> None:
    assert findings(repo)["repository"][1] == "a working tree of its own"
    linked = repo.beside("linked")
    repo.git("worktree", "add", "-q", str(linked.path))
    assert findings(linked)["repository"][1] == "linked worktree"
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    assert findings(repo.beside("bare.git"))["repository"][1] == "bare"
    repo.commit("second")
    repo.git("clone", "-q", "--depth", "1", repo.path.as_uri(), str(tmp_path / "shallow"))
    assert findings(repo.beside("shallow"))["repository"][1].startswith("shallow")
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.git("clone", "-q", "--filter=blob:none", repo.path.as_uri(), str(tmp_path / "partial"))
    assert findings(repo.beside("partial"))["repository"][1] == "partial clone"
    outer = tmp_path / "outer"
    subprocess.run(["git", "init", "-q", outer], check=True)
    allow = ["-c", "protocol.file.allow=always"]
    subprocess.run(["git", "-C", outer, *allow, "submodule", "--quiet", "add", repo.path, "inner"], check=True)
    assert findings(repo.beside("outer/inner"))["repository"][1] == "submodule"


def test_outside_of_a_project(repo: Repo) -> None:
    found = findings(repo.beside("."), code=1)
    assert found["project"][0] == "problem"
    assert found["git"][0] == "ok"


@pytest.mark.parametrize(
    "line",
    ["[core]\nremot = 1", "[remote.x]\nurl = '/x'\nsecret_access_key = 'x'", "not toml", "[cache]\ndir = '/out'"],
)
def test_settings_that_cannot_be(repo: Repo, line: str) -> None:
    repo.write(".vml/config.toml", line)
    assert findings(repo, code=1)["project"][0] == "problem"


def test_no_id(repo: Repo) -> None:
    repo.write(".vml/config.toml", "")
    assert "core.id" in findings(repo, code=1)["project"][1]


def test_what_git_should_not_have(repo: Repo) -> None:
    repo.write("a", "a")
    repo.run("add", "a")
    repo.run("config", "--local", "transfer.jobs", "3")
    repo.git("add", "-f", ".vml/config.local.toml")
    level, text = findings(repo, code=1)["settings"]
    assert (level, "config.local.toml is tracked" in text) == ("problem", True)
    repo.git("rm", "-q", "--cached", ".vml/config.local.toml")
    repo.write(".vml/.gitignore", "/index\n/lock\n/tmp\n/saved\n/logs\n")
    level, text = findings(repo, code=1)["settings"]
    assert "does not ignore /cache, /config.local.toml" in text


def test_a_secret_that_others_may_read(repo: Repo, remote: Path) -> None:
    repo.run("remote", "add", "--no-check", "s3", "s3://bucket")
    repo.run("remote", "modify", "--local", "s3", "secret_access_key", "x")
    assert findings(repo)["settings"][0] == "ok"
    (repo.path / ".vml/config.local.toml").chmod(0o644)
    result = repo.run("doctor", ok=False)
    assert result.code == 1
    assert "chmod 600" in result.out


def test_no_locks(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert not probe.locks(repo.path)
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)
    assert not findings(repo, code=1)["workspace disk"][1].startswith("locks")
    assert "problem  workspace disk: file locks do not work" in repo.run("doctor", ok=False).out


def test_leftovers(repo: Repo) -> None:
    repo.write("a", "a")
    repo.run("add", "a")
    young = repo.write(".vml/tmp/.vml-tmp-0011223344556677/x", b"1" * 1000)
    old = repo.write(".vml/cache/tmp/.vml-tmp-8899aabbccddeeff", b"1" * 2000)
    assert findings(repo)["leftovers"] == ("ok", "none")
    for each in (young.parent, old):
        os.utime(each, (time.time() - 7200,) * 2)
    level, text = findings(repo)["leftovers"]
    assert (level, text) == ("warning", "2 files (3.0 kB) of commands that were killed")


def test_who_shares_a_store(repo: Repo, tmp_path: Path) -> None:
    store = tmp_path / "store"
    other = repo.clone("other")
    for each in (repo, other):
        each.run("config", "--local", "cache.dir", str(store))
    assert "nobody" in findings(repo)["sharing"][1]
    for each in (repo, other):
        each.write("a", "a")
        each.run("add", "a")
    level, text = findings(repo)["sharing"]
    assert level == "ok"
    assert str(other.path) in text
    shutil.rmtree(other.path)
    result = repo.run("doctor")
    (gone,) = (each for each in sharing.users(store) if each.path == other.path)
    assert f"vml gc --forget {other.path}" in result.out
    gone.record.write_text("")
    assert findings(repo, code=1)["sharing"][0] == "problem"


def test_remotes(repo: Repo, remote: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    repo.run("remote", "add", "far", str(tmp_path / "far"))
    assert "is not asked" in findings(repo)["remote far"][1]
    assert findings(repo, "--remote", "far")["remote far"][1].endswith("is empty; the first vml push sets it up")
    assert {findings(repo, "--remote")[f"remote {name}"][0] for name in ("far", "origin")} == {"ok"}
    assert not remote.exists()
    (tmp_path / "far/photo.jpg").write_bytes(b"mine")
    assert findings(repo, "--remote", "far", code=1)["remote far"][0] == "problem"
    repo.fails("doctor", "--remote", "nowhere", code=3)
    repo.write("a", "a")
    repo.run("add", "a")
    repo.run("push")
    remote.rename(tmp_path / "unplugged")
    assert findings(repo, code=1)["remote origin"][0] == "problem"
    (tmp_path / "unplugged").rename(remote)
    (remote / "vml.json").write_bytes((remote / "vml.json").read_bytes().replace(b"xxh128", b"sha256"))
    assert "sha256" in findings(repo, code=1)["remote origin"][1]


def test_a_remote_that_can_only_be_read_and_one_in_another_time(
    repo: Repo, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("a", "a")
    repo.run("add", "a")
    repo.run("push")
    real = os.open

    def refuse(path: str | Path, *args: int, **keywords: int) -> int:
        if str(path).startswith(str(remote / "tmp")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        level, text = findings(repo)["remote origin"]
        assert (level, "may only be read" in text) == ("warning", True)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3000)
    level, text = findings(repo)["remote origin"]
    assert (level, "clock is -3000 s off" in text.replace("-2999", "-3000")) == ("warning", True)
