"""kill -9 at any moment: the same command, run again, completes, and no file was ever half written."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Repo
from vcs_ml.cli import main


def killed(repo: Repo, args: list[str], after: float) -> bool:
    """Run a command in a child and kill it after so many seconds; whether it was still running."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            main(["-C", str(repo.path), *args])
        finally:
            os._exit(0)
    end = time.monotonic() + after
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def duration(repo: Repo, args: list[str], reset: Callable[[], None]) -> float:
    """How long the command takes when nobody kills it: the range of moments to choose from."""
    start = time.monotonic()
    assert not killed(repo, args, 60)
    taken = time.monotonic() - start
    reset()
    return taken


@pytest.fixture
def moments(soak: int) -> Callable[[float], list[float]]:
    """Random moments in a stretch of so many seconds; the seed is in the test's output if it fails."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    return lambda length: [generator.uniform(0, length) for _ in range(soak)]


def fill(repo: Repo) -> None:
    for i in range(300):
        repo.write(f"data/{i % 7}/{i}", f"{i}" * (i + 1))
    repo.write("data/big", random.Random(1).randbytes(600_000))
    repo.write("one", "1" * 5000)


Moments = Callable[[float], list[float]]


def check(repo: Repo, content: dict[str, bytes]) -> None:
    assert repo.files("data") == content
    assert repo.read("one") == b"1" * 5000
    assert repo.changes() == {}
    assert not list((repo.path / "data").rglob(".vml-tmp-*"))


def test_add(repo: Repo, moments: Moments) -> None:
    fill(repo)
    content = repo.files("data")

    def reset() -> None:
        for name in (".vml/cache", ".vml/index"):
            shutil.rmtree(repo.path / name, ignore_errors=True)
        for name in ("data.vml", "one.vml", ".gitignore"):
            (repo.path / name).unlink(missing_ok=True)

    for after in moments(duration(repo, ["add", "data", "one"], reset)):
        killed(repo, ["add", "data", "one"], after)
        repo.run("add", "data", "one")
        check(repo, content)
        shutil.rmtree(repo.path / "data")
        repo.run("checkout")
        check(repo, content)
        assert repo.read(".gitignore") == b"# >>> vml\n/data\n/one\n# <<< vml\n"
        reset()


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_add_with_links(repo: Repo, moments: Moments, kind: str) -> None:
    repo.run("config", "cache.link", kind)
    content = {f"{i % 7}/{i}": f"{i}".encode() * (i + 1) for i in range(12)}
    content["big"] = random.Random(1).randbytes(1_000_000)

    def reset() -> None:
        for name in (".vml/cache", ".vml/index", "data"):
            shutil.rmtree(repo.path / name, ignore_errors=True)
        for name in ("data.vml", ".gitignore"):
            (repo.path / name).unlink(missing_ok=True)
        for name, data in content.items():
            repo.write(f"data/{name}", data)

    reset()
    for after in moments(duration(repo, ["add", "data"], reset)):
        killed(repo, ["add", "data"], after)
        here = (path for path in (repo.path / "data").rglob("*") if path.is_file())
        assert {path.relative_to(repo.path / "data").as_posix(): path.read_bytes() for path in here} == content
        repo.run("add", "data")
        shutil.rmtree(repo.path / "data")
        repo.run("checkout")
        assert repo.changes() == {}
        assert all(repo.read(f"data/{name}") == data for name, data in content.items())
        reset()


def test_add_of_an_edit(repo: Repo, moments: Moments) -> None:
    fill(repo)
    repo.run("add", "data", "one")
    lengths = 0.05
    for n, after in enumerate(moments(lengths)):
        for i in range(50):
            repo.write(f"data/{i % 7}/{i}", f"{n} {i}")
        content = repo.files("data")
        killed(repo, ["add", "data"], after)
        assert set(repo.changes().values()) <= {"modified"}
        repo.run("add", "data")
        check(repo, content)


def test_checkout(repo: Repo, moments: Moments) -> None:
    fill(repo)
    repo.run("add", "data", "one")
    first, content = repo.commit(), repo.files("data")
    for i in range(0, 300, 2):
        repo.write(f"data/{i % 7}/{i}", f"second {i}")
    for i in range(1, 300, 30):
        (repo.path / f"data/{i % 7}/{i}").unlink()
    repo.run("commit")
    second, other = repo.commit(), repo.files("data")

    def empty() -> None:
        shutil.rmtree(repo.path / "data")
        (repo.path / "one").unlink()

    empty()
    for after in moments(duration(repo, ["checkout"], empty)):
        killed(repo, ["checkout"], after)
        assert not (repo.path / "data").exists() or repo.files("data") == other  # whole or not at all
        repo.run("checkout")
        check(repo, other)
        empty()
    repo.run("checkout")
    here, there = (second, other), (first, content)
    for after in moments(0.06):
        repo.git("checkout", "-q", there[0])
        killed(repo, ["checkout"], after)
        assert all(c in (content.get(p), other.get(p)) for p, c in repo.files("data").items())
        repo.run("checkout")
        check(repo, there[1])
        here, there = there, here


def test_push_and_pull(repo: Repo, remote: Path, moments: Moments) -> None:
    fill(repo)
    repo.run("add", "data", "one")
    repo.commit()
    content = repo.files("data")

    def reset() -> None:
        shutil.rmtree(remote)
        shutil.rmtree(repo.path / ".vml/cache/remotes", ignore_errors=True)

    clone = repo.clone("clone")

    def empty() -> None:
        for name in (".vml/cache", ".vml/index", "data"):
            shutil.rmtree(clone.path / name, ignore_errors=True)
        (clone.path / "one").unlink(missing_ok=True)

    length = duration(repo, ["push"], lambda: None)
    pulling = duration(clone, ["pull"], empty)
    reset()
    for sending, bringing in zip(moments(length), moments(pulling), strict=True):
        killed(repo, ["push"], sending)
        repo.run("push")
        assert repo.json("status", "--remote")["not_pushed"] == []
        killed(clone, ["pull"], bringing)
        clone.run("pull")
        check(clone, content)
        empty()
        reset()


def test_mv(repo: Repo, moments: Moments) -> None:
    fill(repo)
    repo.run("add", "data", "one")
    repo.commit()
    content = repo.files("data")
    names = ["data", "raw"]
    for after in moments(0.04):
        killed(repo, ["mv", *names], after)
        result = repo.run("mv", *names, ok=False)
        assert result.code == 0, result
        assert repo.files(names[1]) == content
        assert not (repo.path / names[0]).exists()
        assert repo.changes() == {}
        assert repo.read(".gitignore").decode().split()[3:5] == sorted([f"/{names[1]}", "/one"])
        repo.commit()
        names.reverse()


def test_mv_inside(repo: Repo, moments: Moments) -> None:
    fill(repo)
    repo.run("add", "data", "one")
    repo.commit()
    names = ["data/3", "data/three"]
    content = repo.files("data/3")
    for after in moments(0.04):
        killed(repo, ["mv", *names], after)
        result = repo.run("mv", *names, ok=False)
        assert result.code == 0 or "not tracked" in result.err  # it was done already
        assert repo.files(names[1]) == content
        assert not (repo.path / names[0]).exists()
        assert repo.changes() == {}
        assert repo.json("ls", names[1])["entries"]
        names.reverse()


def test_rm(repo: Repo, moments: Moments) -> None:
    fill(repo)
    repo.run("add", "data", "one")
    repo.commit()
    content = repo.files("data")
    for after in moments(0.05):
        killed(repo, ["rm", "data"], after)
        result = repo.run("rm", "data", ok=False)
        assert result.code == 0 or "not tracked" in result.err
        assert not (repo.path / "data").exists()
        assert not (repo.path / "data.vml").exists()
        repo.git("checkout", "-q", ".")
        repo.run("checkout")
        check(repo, content)
