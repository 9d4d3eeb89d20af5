"""Many commands at once, some of them killed: none fails, and nothing that one of them did is lost."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.workspace.test_status_naive import look, naive
from vcs_ml.cli import COMMANDS, main
from vcs_ml.store import manifest, objects
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.workspace import opening, sharing, tracked
from vcs_ml.workspace.project import Project

AT_ONCE = 8
PATIENCE = 120  # seconds after which a command that still runs has hung

# What may run beside anything else, `{n}` being a number of its own in each round. Each line once a round at most;
# a command that does not exist yet is passed over.
READERS = [
    "status --json",
    "status --exit-code --refresh",
    "diff --json",
    "diff HEAD~1 HEAD --json",
    "ls -R --json",
    "status --remote",
]
WRITERS = [
    "add own{n}",
    "add own{n}/a own{n}/b.bin",
    "add shared",
    "add file{n}",
    "commit",
    "checkout",
    "checkout shared",
    "rm --cached old{n}",
    "rm gone{n}",
    "remote add extra{n} ../extra",
    "config --local transfer.jobs 1{n}",
    "mv from{n} to{n}",
    "push",
    "push --all-commits",
    "fetch",
    "pull",
    "gc --force",
]


class Round:
    """Commands running at once in forked children, what each says in a file of its own."""

    def __init__(self, place: Path) -> None:
        self._place = place
        place.mkdir(exist_ok=True)
        self._running: list[tuple[int, str, Path]] = []
        self._gate, self._opener = os.pipe()

    def start(self, repo: Repo, line: str) -> int:
        output = self._place / f"{len(self._running)}"
        pid = os.fork()
        if pid:
            self._running.append((pid, line, output))
            return pid
        code = 99
        try:
            sys.stdout = sys.stderr = output.open("w")
            os.close(self._opener)
            os.read(self._gate, 1)
            code = main(["-C", str(repo.path), *line.split()])
            sys.stdout.flush()
        finally:
            os._exit(code)

    def go(self) -> None:
        """Let all begin in the same moment."""
        os.close(self._gate)
        os.close(self._opener)

    def wait(self) -> list[tuple[str, int, str]]:
        """(command, exit code, output) of each; minus the signal's number for a killed one."""
        ended = []
        until = time.monotonic() + PATIENCE
        for pid, line, output in self._running:
            while not (done := os.waitpid(pid, os.WNOHANG))[0]:
                assert time.monotonic() < until, f"vml {line} hangs:\n{output.read_text()}"
                time.sleep(0.002)
            ended.append((line, os.waitstatus_to_exitcode(done[1]), output.read_text()))
        return ended


def allowed(command: str, code: int) -> bool:
    """Whether this is how a command may end while others change what it works on."""
    if code in (0, -signal.SIGKILL):
        return True
    return code == 1 and "--exit-code" in command


def took_effect(repo: Repo, line: str) -> bool:
    """Whether what a command did is still so when all have ended."""
    left = set(pointers(repo))
    match line.split():
        case ["add", *paths]:
            return set(paths) <= left
        case ["rm", *_, path]:
            return path not in left
        case ["mv", old, new]:
            return new in left and old not in left
        case ["remote", "add", name, _]:
            return name in {each["name"] for each in repo.json("remote", "list")["remotes"]}
        case ["config", "--local", key, value]:
            return repo.run("config", key).out == f"{value}\n"
    return True


def prepare(repo: Repo, generator: random.Random, *, edits: bool) -> None:
    """Give every command of a round something to add, to move and to stop tracking; with `edits`, to record too."""
    left = pointers(repo)
    for each in repo.json("remote", "list")["remotes"]:
        if each["name"].startswith("extra"):
            repo.run("remote", "remove", each["name"])
    if fresh := [path for path in left if path.startswith(("own", "file", "to"))]:
        repo.run("rm", "--force", *fresh)
    for n in range(AT_ONCE):
        repo.write(f"own{n}/a", f"{n} {generator.random()}")
        repo.write(f"own{n}/b.bin", generator.randbytes(generator.choice([10, 3000, 300_000])))
        for i in range(12):
            repo.write(f"own{n}/deep/{i}", f"{i} {generator.random()}")
        repo.write(f"file{n}", generator.randbytes(generator.choice([1, 2000, 270_000])))
        repo.write(f"old{n}", f"old {generator.random()}")
        repo.write(f"from{n}", f"from {generator.random()}")
        repo.write(f"gone{n}/inner/file", f"gone {generator.random()}")
        repo.write(f"shared/{generator.randrange(40)}", f"{generator.random()}")
    repo.run("add", "shared", *(f"{name}{n}" for name in ("old", "from", "gone") for n in range(AT_ONCE)))
    repo.git("add", "--", ":(glob)*.vml", ".gitignore")
    repo.git("commit", "-q", "--allow-empty", "-m", "next")
    for i in generator.sample(range(40), 5 if edits else 0):
        repo.write(f"shared/{i}", f"edited {generator.random()}")


def pointers(repo: Repo) -> list[str]:
    """The paths of all tracked data, by the names of pointers alone."""
    found = repo.path.rglob("*.vml")
    return sorted(p.relative_to(repo.path).as_posix().removesuffix(".vml") for p in found if p.is_file())


def closure_is_whole(repo: Repo) -> None:
    """Every object that a pointer of the workspace names is in the store, and is what its name says."""
    project = Project.find(repo.path, os.environ)
    store = opening.open_store(project)
    for each in tracked.in_workspace(project, refresh=True).values():
        assert not store.missing(each.oid)
        if each.kind != "tree":
            assert store.holds(each.oid), each
            continue
        for page, entries in manifest.closure(each.oid, store.algorithm, store.read):
            assert store.holds(page)
            for entry in entries:
                assert store.holds(objects.blob(entry.digest)), (each, entry)


def status_is_naive(repo: Repo) -> None:
    """What status says of every tracked path is what comes out of reading every file."""
    project = Project.find(repo.path, os.environ)
    store = opening.open_store(project)
    wanted: dict[str, str] = {}
    for path, each in tracked.in_workspace(project, refresh=True).items():
        place = repo.path / path
        if each.kind != "tree":
            here = place.read_bytes() if place.exists() else None
            if here is None:
                wanted[path] = "deleted"
            elif objects.blob(store.algorithm.digest(here)) != each.oid:
                wanted[path] = "modified"
            continue
        old = {}
        for entry in manifest.under(each.oid, b"", store.algorithm, store.read):
            mode = {1: 0o644, 2: 0o755, 3: 0}.get(entry.kind, 0o644)
            old[os.fsdecode(entry.path)] = (store.read(objects.blob(entry.digest)), mode)
        wanted |= {f"{path}/{p}": change for p, change in naive(old, look(place)).items()}
    said: dict[str, str] = {}
    for each in repo.json("status")["data"]:
        if each["change"] == "renamed":
            said |= {each["path"]: "added", each["from"]: "deleted"}
        else:
            said[each["path"]] = each["change"]
    assert said == wanted


def git_sees_pointers_only(repo: Repo) -> None:
    """All tracked data is ignored, no line is left of what is not tracked, and no scratch lies about."""
    wanted: dict[str, set[str]] = {}
    for path in pointers(repo):
        json.loads(repo.read(f"{path}.vml"))
        folder, _, name = path.rpartition("/")
        wanted.setdefault(folder, set()).add(name)
    for folder, names in wanted.items():
        text = (repo.path / folder / ".gitignore").read_text()
        assert text == "\n".join(["# >>> vml", *(f"/{name}" for name in sorted(names)), "# <<< vml", ""])
    assert not list(repo.path.glob(".vml-tmp-*"))


def check(repo: Repo) -> None:
    closure_is_whole(repo)
    status_is_naive(repo)
    git_sees_pointers_only(repo)


def first_version(repo: Repo) -> None:
    for i in range(40):
        repo.write(f"shared/{i}", f"{i}")
    prepare(repo, random.Random(0), edits=False)
    repo.run("push")


@pytest.fixture
def generator() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def campaign(places: list[Repo], rounds: int, generator: random.Random, *, kill: bool) -> None:
    """Rounds of commands at once in these working trees, each checked when all have ended."""
    known = [line for line in READERS + WRITERS if line.split()[0] in COMMANDS]
    for turn in range(rounds):
        lines = [line.format(n=n) for n, line in enumerate(generator.sample(known, AT_ONCE))]
        # Where something is edited, a checkout has to refuse.
        edits = not any(line.startswith(("checkout", "pull")) for line in lines)
        for repo in places:
            prepare(repo, generator, edits=edits)
        run = Round(places[0].path.parent / "output")
        started = [
            (run.start(places[n % len(places)], line), places[n % len(places)], line) for n, line in enumerate(lines)
        ]
        run.go()
        killed = generator.sample(started, 2) if kill else []
        for pid, _, _ in killed:
            time.sleep(generator.uniform(0, 0.05))  # somewhere in the middle
            os.kill(pid, signal.SIGKILL)
        for line, code, text in run.wait():
            assert allowed(line, code), f"round {turn}: vml {line}: exit {code}\n{text}\nbeside {lines}"
        for _, repo, line in killed:
            repo.run(*line.split(), ok=False)  # what was interrupted is completed
        for repo in places:
            check(repo)
        for _, repo, line in started:
            assert took_effect(repo, line), (line, lines)
        print(f"round {turn}: {lines}")


def test_one_repo(repo: Repo, remote: Path, soak: int, generator: random.Random) -> None:
    first_version(repo)
    campaign([repo], soak // 2, generator, kill=False)


def test_one_repo_with_kills(repo: Repo, remote: Path, soak: int, generator: random.Random) -> None:
    first_version(repo)
    campaign([repo], soak // 2, generator, kill=True)


def test_readers_beside_one_who_removes(repo: Repo, remote: Path, soak: int, tmp_path: Path) -> None:
    """What a reader meets may be gone a moment later: it says what it saw, and never fails."""
    first_version(repo)
    for i in range(300):
        repo.write(f"deep/{i % 30}/inner/{i}", f"{i}")
    repo.run("add", "deep")
    repo.commit()
    pid = os.fork()
    if pid == 0:
        sys.stdout = sys.stderr = (tmp_path / "output").open("w")
        steps = ("mv deep in{n}", "rm in{n}", "add old0 from1", "mv from1 in{n}", "mv in{n} from1")
        try:
            for n in range(soak):
                for line in steps:
                    assert main(["-C", str(repo.path), *line.format(n=n).split()]) == 0, line
                repo.git("checkout", "-q", "HEAD", "--", "deep.vml", ".gitignore")
                for i in range(0, 300, 7):
                    (repo.path / f"shared/{i % 40}").unlink(missing_ok=True)
                assert main(["-C", str(repo.path), "checkout", "--force"]) == 0
            os._exit(0)
        finally:
            sys.stderr.flush()
            os._exit(1)
    readers = itertools.cycle(["status", "status --rehash", "diff", "ls -R", "push", "fetch", "status --refresh deep"])
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        line = next(readers)
        result = repo.run(*line.split(), ok=False)
        assert result.code == 0 or "not tracked" in result.err, (line, result)
    assert done[1] == 0, (tmp_path / "output").read_text()
    check(repo)


def test_merging_indexes_hides_nothing(repo: Repo, soak: int) -> None:
    """While many write, and merge each other's indexes, what a reader has once found is always there."""

    def batch(store: LocalStore, name: str) -> list[ObjectId]:
        contents = [f"{name} {i}".encode() for i in range(10)]
        oids = [objects.blob(store.algorithm.digest(each)) for each in contents]
        with store.batch() as writing:
            for oid, content in zip(oids, contents, strict=True):
                writing.add(oid, content)
        return oids

    def open_store() -> LocalStore:
        return opening.open_store(Project.find(repo.path, os.environ))

    known = [oid for n in range(20) for oid in batch(open_store(), f"before {n}")]
    pids = []
    for n in range(4):
        pids.append(os.fork())
        if not pids[-1]:
            try:
                for turn in range(3 * soak):
                    batch(open_store(), f"{n} {turn}")
                os._exit(0)
            finally:
                os._exit(1)
    old = open_store()
    while pids:
        done, code = os.waitpid(pids[0], os.WNOHANG)
        assert code == 0
        pids = pids[bool(done) :]
        for store in (old, open_store()):
            store.catalog.refresh()
            assert all(store.catalog.find(oid) for oid in known)
    found = open_store()
    every = [
        objects.blob(found.algorithm.digest(f"{n} {turn} {i}".encode()))
        for n in range(4)
        for turn in range(3 * soak)
        for i in range(10)
    ]
    assert found.lacking(known + every) == []
    assert len(list((found.directory / "index").iterdir())) < 4 * 16


def test_linked_worktrees(repo: Repo, remote: Path, soak: int, generator: random.Random) -> None:
    first_version(repo)
    others = [repo.beside(name) for name in ("one", "two")]
    for other in others:
        repo.git("worktree", "add", "-q", str(other.path))
        other.run("checkout")
    campaign([repo, *others], soak // 3, generator, kill=False)


def test_first_pushes_at_once(repo: Repo, remote: Path, soak: int, tmp_path: Path) -> None:
    """Repos with one store set up a remote together: all succeed, and what each has learned stays known."""
    places = [repo, *(repo.clone(f"clone{n}") for n in range(AT_ONCE - 1))]
    for turn in range(soak // 4):
        for n, place in enumerate(places):
            place.run("config", "--local", "cache.dir", str(tmp_path / f"store{turn}"))
            place.run("config", "--local", "remote.origin.url", str(tmp_path / f"remote{turn}"))
            place.write("mine", f"{turn} {n}")
            place.run("add", "mine")
        run = Round(tmp_path / "output")
        for place in places:
            run.start(place, "push")
        run.go()
        for line, code, text in run.wait():
            assert code == 0, (line, text)
        for place in places:
            assert place.json("status")["not_pushed"] == []
            assert place.json("status", "--remote")["not_pushed"] == []


def test_repos_that_share_a_store(repo: Repo, remote: Path, soak: int, generator: random.Random) -> None:
    first_version(repo)
    store = repo.path.parent / "store"
    places = [repo, repo.clone("one"), repo.clone("two")]
    for place in places:
        place.run("config", "--local", "cache.dir", str(store))
        place.run("pull")
    campaign(places, soak // 3, generator, kill=True)
    assert [each.path for each in sharing.users(store)] == sorted(each.path for each in places)
