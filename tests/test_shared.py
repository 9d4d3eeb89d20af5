"""One store for several projects and several people: who uses it, who may read and write what."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Repo
from vcs_ml.cli import main
from vcs_ml.errors import CorruptError, UserError
from vcs_ml.workspace import opening, sharing
from vcs_ml.workspace.project import Project

ADA, BOB, EVE = 2001, 2002, 2003  # user ids that nobody has
TEAM, ALONE = 3000, 3001  # group ids; Ada's own group is `ALONE`
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for several users")


def share(repo: Repo, store: Path) -> None:
    repo.run("config", "--local", "cache.dir", str(store))


# --- Which projects use a store --------------------------------------------------------------------------


def test_projects_are_written_down_once(repo: Repo, tmp_path: Path) -> None:
    store = tmp_path / "store"
    other = repo.clone("other")
    for each in (repo, other):
        share(each, store)
        each.run("status")
    assert sharing.users(store) == []
    repo.write("a", "a")
    repo.run("add", "a")
    (first,) = sharing.users(store)
    assert (first.path, len(first.id)) == (repo.path, 36)
    assert first.record is not None
    before = first.record.stat()
    repo.run("add", "a")
    assert first.record.stat() == before
    other.write("b", "b")
    other.run("add", "b")
    assert [each.path for each in sharing.users(store)] == sorted([repo.path, other.path])


def test_a_linked_worktree_stands_for_its_main_one(repo: Repo, tmp_path: Path) -> None:
    store = tmp_path / "store"
    share(repo, store)
    linked = repo.beside("linked")
    repo.git("worktree", "add", "-q", str(linked.path))
    linked.write("a", "a")
    linked.run("add", "a")
    assert [each.path for each in sharing.users(store)] == [repo.path]


def test_without_a_main_worktree_each_linked_one_is_named(repo: Repo, tmp_path: Path) -> None:
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    linked = repo.beside("linked")
    subprocess.run(["git", "-C", tmp_path / "bare.git", "worktree", "add", "-q", "-b", "x", linked.path], check=True)
    share(linked, tmp_path / "store")
    linked.write("a", "a")
    linked.run("add", "a")
    assert [each.path for each in sharing.users(tmp_path / "store")] == [linked.path]


def test_a_store_in_a_project_is_also_its_own(repo: Repo) -> None:
    repo.write("a", "a")
    repo.run("add", "a")
    assert not (repo.path / ".vml/cache/projects").exists()
    guest = repo.clone("guest")
    share(guest, repo.path / ".vml/cache")
    guest.write("b", "b")
    guest.run("add", "b")
    assert [each.path for each in sharing.users(repo.path / ".vml/cache")] == sorted([repo.path, guest.path])
    guest.run("config", "--local", "lock.timeout", "0")
    with opening.open_store(Project.find(repo.path, {})).exclusive():
        assert "locked by" in guest.fails("commit", code=3).err


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"schema": 1, "id": "x"}',
        b'{"schema": 1, "id": "x", "path": "relative"}',
        b'{"schema": 1, "id": "x", "path": "/a\\u0000b"}',
        b'{"schema": 1, "id": "x", "path": "/\\ud800"}',
        b'{"schema": 1, "id": "x", "path": "/another"}',
        b'{"schema": 0, "id": "x", "path": "/another"}',
        b'{"schema": true, "id": "x", "path": 1}',
        b"[" * 70_000,
    ],
)
def test_a_damaged_record_is_an_error(repo: Repo, tmp_path: Path, content: bytes) -> None:
    store = tmp_path / "store"
    share(repo, store)
    repo.write("a", "a")
    repo.run("add", "a")
    (each,) = sharing.users(store)
    assert each.record is not None
    each.record.write_bytes(content)
    with pytest.raises(CorruptError) as caught:
        sharing.users(store)
    assert caught.value.hint
    each.record.write_bytes(b'{"schema": 2, "id": "x", "path": "/x"}')
    with pytest.raises(UserError, match="newer"):
        sharing.users(store)
    (store / "projects/notes.txt").write_text("not ours")
    repo.run("add", "a")
    assert sharing.users(store) == [each]


def test_a_path_that_is_no_text(repo: Repo, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n"))
    repo.path.rename(odd)
    moved = Repo(odd, repo._capture)
    moved.run("config", "--local", "cache.dir", str(tmp_path / "store"))
    moved.write("a", "a")
    moved.run("add", "a")
    assert [each.path for each in sharing.users(tmp_path / "store")] == [odd]


# --- Locks ------------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from vcs_ml.locks import lock
sys.argv[0] = "/usr/bin/vml"
with lock(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(repo: Repo) -> Iterator[subprocess.Popen[str]]:
    """Somebody who holds the lock of `repo`'s worktree."""
    command = [sys.executable, "-c", HOLD, "mv", str(repo.path / ".vml/lock/index")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("seconds", ["0", "0.05"])
def test_a_limit_of_the_user_ends_the_waiting(repo: Repo, held: subprocess.Popen[str], seconds: str) -> None:
    repo.write("a", "a")
    repo.run("config", "--local", "lock.timeout", seconds)
    err = repo.fails("add", "a", code=3).err
    assert f"index is locked by vml mv (pid {held.pid})" in err
    assert "lock.timeout" in err


def test_readers_do_not_wait(repo: Repo, remote: Path, held: subprocess.Popen[str]) -> None:
    for line in ("status", "status --rehash", "diff", "ls", "push", "fetch", "root", "config"):
        repo.run(*line.split())


def test_who_waits_says_for_whom_also_into_a_pipe(
    repo: Repo, held: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcs_ml.locks.PATIENCE", 0.0)
    repo.write("a", "a")
    for quiet in ([], ["-q"]):
        repo.run("config", "--local", "lock.timeout", "0.05")
        err = repo.run(*quiet, "add", "a", ok=False).err
        assert (f"waiting for vml mv (pid {held.pid})" in err) != bool(quiet)


# --- Several people --------------------------------------------------------------------------------------


def acting(user: int, umask: int, action: Callable[[], int], output: Path, groups: tuple[int, ...] = (TEAM,)) -> int:
    """What `action` returns when a user with these groups does it; what it says goes to a file."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 99
    try:
        sys.stdout = sys.stderr = output.open("w")
        os.environ["HOME"] = f"/nonexistent/{user}"
        os.setgroups(groups)
        os.setgid(user)
        os.setuid(user)
        os.umask(umask)
        code = action()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


class User:
    """Somebody with a project of their own, who runs commands in it."""

    def __init__(self, user: int, umask: int, place: Path, groups: tuple[int, ...] = (TEAM,)) -> None:
        self.user, self.umask, self.place, self.groups = user, umask, place, groups
        self.output = place.parent / f"{user}.txt"

    def run(self, *args: str, code: int = 0) -> str:
        done = acting(self.user, self.umask, lambda: main(["-C", str(self.place), *args]), self.output, self.groups)
        said = self.output.read_text()
        assert done == code, (args, done, said)
        assert "Traceback" not in said
        return said

    def write(self, path: str, content: bytes) -> None:
        target = self.place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        for each in (target, *target.parents):
            if each == self.place:
                break
            os.chown(each, self.user, self.user)

    def start(self, store: Path) -> None:
        """A new project, whose store and remote are shared."""
        self.place.mkdir(mode=0o700)
        os.chown(self.place, self.user, self.user)

        def git() -> int:
            return subprocess.run(["git", "init", "-q", "-b", "main", self.place], check=False).returncode

        assert acting(self.user, self.umask, git, self.output, self.groups) == 0
        self.run("init")
        self.run("config", "--local", "cache.dir", str(store))
        self.run("remote", "add", "-d", "team", str(store.parent / "remote"))


@pytest.fixture
def open_path(repo: Repo, remote: Path, tmp_path: Path) -> Path:
    """A directory that everybody can reach. Each command has run once: others may not be able to read our Python."""
    for i in range(10):
        repo.write(f"data/{i}", f"{i}")
    repo.write("large", b"x" * 300_000)
    for line in (
        "add data large",
        "status",
        "diff",
        "ls",
        "push",
        "rm --force data large",
        "config --local lock.timeout 9",
    ):
        repo.run(*line.split())
    repo.git("checkout", "-q", "--", ".")
    repo.run("pull")
    shutil.rmtree(remote)
    tmp_path.owner(), tmp_path.group()
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == 0 and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o011)
    return tmp_path


@pytest.fixture(params=[0o2775, 0o770])
def store(open_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store and, beside it, a remote that `TEAM` shares."""
    for name in ("store", "remote"):
        place = open_path / name
        place.mkdir()
        os.chown(place, 0, TEAM)
        place.chmod(request.param)
    return open_path / "store"


@as_root
@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_a_team_shares_a_store_and_a_remote(store: Path, umask: int) -> None:
    ada, bob = User(ADA, umask, store.parent / "ada"), User(BOB, 0o077, store.parent / "bob")
    for turn in range(3):
        for user in (ada, bob):
            if not turn:
                user.start(store)
            for i in range(20):
                user.write(f"data/{i}", f"{user.user} {turn} {i}".encode())
            user.write("data/same", b"the same for all")
            user.write("large", os.urandom(300_000))
            user.write("large-same", b"x" * (300_000 + turn))
            user.run("add", "data", "large", "large-same")
            user.run("push")
            assert "nothing changed" not in user.run("status")
    for top in (store, store.parent / "remote"):
        for folder, _, names in os.walk(top):
            st = Path(folder).stat()
            assert (st.st_gid, st.st_mode & 0o070) == (TEAM, 0o070), folder
            assert folder == str(top) or st.st_mode & stat.S_ISGID, folder
            for name in names:
                st = Path(folder, name).stat()
                wanted = 0o060 if name == "lock" else 0o040
                assert (st.st_gid, st.st_mode & wanted) == (TEAM, wanted), Path(folder, name)
    assert {each.path for each in sharing.users(store)} == {ada.place, bob.place}
    # What one has pushed, another can bring into a store of his own.
    eve = User(EVE, 0o077, store.parent / "eve")
    eve.start(store.parent / "eve-own")
    for name in ("data.vml", "large.vml"):
        eve.write(name, (ada.place / name).read_bytes())
    (store.parent / "eve-own").mkdir()
    os.chown(store.parent / "eve-own", EVE, EVE)
    eve.run("pull")
    assert (eve.place / "large").read_bytes() == (ada.place / "large").read_bytes()


@as_root
def test_a_private_store_stays_private(open_path: Path) -> None:
    place = open_path / "store"
    place.mkdir(mode=0o700)
    os.chown(place, ADA, ADA)
    ada = User(ADA, 0o077, open_path / "ada")
    (open_path / "remote").mkdir()
    ada.start(place)
    ada.write("data/1", b"1")
    ada.write("large", b"2" * 300_000)
    ada.run("add", "data", "large")
    for folder, _, _ in os.walk(place):
        assert not Path(folder).stat().st_mode & 0o077, folder


@as_root
def test_what_belongs_to_somebody_else_is_said_clearly(store: Path) -> None:
    ada = User(ADA, 0o077, store.parent / "ada")
    ada.start(store)
    ada.write("a", b"a")
    ada.run("add", "a")
    eve = User(EVE, 0o022, store.parent / "eve", groups=())
    eve.start(store)
    eve.write("a", b"e")
    said = eve.run("add", "a", code=3)
    assert "ermission denied" in said
    assert f"group {TEAM}" in said


@as_root
def test_a_store_that_may_only_be_read(open_path: Path) -> None:
    """A checkout that belongs to somebody else, or a store on a read-only mount: what needs no writing works."""
    (open_path / "remote").mkdir()
    own = open_path / "store"
    own.mkdir()
    ada = User(0, 0o022, open_path / "ada")
    ada.start(own)
    for i in range(20):
        ada.write(f"data/{i}", f"{i}".encode())
    ada.write("large", b"2" * 300_000)
    ada.run("add", "data", "large")
    for each in own.glob("complete/*"):
        each.unlink()
    bob = User(BOB, 0o022, open_path / "bob")
    bob.start(own)
    for name in ("data.vml", "large.vml"):
        bob.write(name, (ada.place / name).read_bytes())
    bob.run("status")
    assert "large" in bob.run("ls")
    bob.run("checkout")
    assert (bob.place / "large").read_bytes() == b"2" * 300_000
    bob.write("data/new", b"new")
    assert json.loads(bob.run("status", "--json"))["data"][0]["change"] == "added"
    said = bob.run("add", "data", code=3)
    assert f"{own}" in said
    assert "belongs to root" in said


@as_root
def test_a_checkout_that_may_only_be_read(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking around in somebody else's project needs no right to write there."""
    (open_path / "remote").mkdir()
    ada = User(0, 0o022, open_path / "ada")
    ada.start(open_path / "store")
    for i in range(20):
        ada.write(f"data/{i}", f"{i}".encode())
    (ada.place / ".vml/config.local.toml").unlink()  # closed to others, as it may hold secrets
    ada.run("add", "data")
    ada.place.chmod(0o755)
    (ada.place / "data/new").write_text("new")
    shutil.rmtree(ada.place / ".vml/index")
    bob = User(BOB, 0o022, ada.place)
    assert "safe.directory" in bob.run("status", code=3)
    for name, value in {"COUNT": "1", "KEY_0": "safe.directory", "VALUE_0": "*"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert json.loads(bob.run("status", "--json"))["data"]
    assert "data" in bob.run("ls")
    assert "19" in bob.run("ls", "data")
    for line in ("add data", "checkout", "rm data"):
        said = bob.run(*line.split(), code=3)
        assert "ermission denied" in said
        assert "belongs to root" in said
