"""`vml get`: what another repository has, here, whole or not at all, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import oscalls
from tests.commands.test_hostile import CONTENT, PATHS, point, put_on_remote, tree_of
from tests.conftest import Repo
from tests.servers import S3Bucket, web_server
from tests.stages import record
from tests.test_docs import DOCS, keys_of, text_of
from tests.test_s3 import PREFIX, set_up
from vcs_ml.cli import main
from vcs_ml.store.page import FILE, SYMLINK
from vcs_ml.workspace.lockfile import Flags

LARGE = random.Random(7).randbytes(9 << 20)


@pytest.fixture
def here(repo: Repo) -> Repo:
    """A directory that belongs to no repository."""
    made = repo.beside("here")
    made.path.mkdir()
    return made


@pytest.fixture
def fruit(repo: Repo, remote: Path) -> Repo:
    """A project with two versions, pushed; the first is tagged v1, and on a branch of its own."""
    for i in range(12):
        repo.write(f"photos/{'apple' if i % 2 else 'pear'}/{i}", f"{i}" * 100)
    repo.write("photos/apple/run", "#!/bin/sh\n").chmod(0o755)
    (repo.path / "photos/apple/first").symlink_to("1")
    (repo.path / "photos/pear/other").symlink_to("../apple/1")
    repo.write("labels.csv", "one\n")
    repo.run("add", "photos", "labels.csv")
    repo.write("src/a.py", "a = 1\n").chmod(0o755)
    repo.commit("first")
    repo.git("tag", "v1")
    repo.git("branch", "old")
    repo.run("push")
    repo.write("labels.csv", "two\n")
    repo.run("commit")
    repo.commit("second")
    repo.run("push")
    return repo


@pytest.fixture(params=["path", "bare", "url"])
def address(request: pytest.FixtureRequest, fruit: Repo) -> str:
    """The repository by its path, which has the data in its store, as a bare one, which has not, and by a URL."""
    if request.param == "bare":
        fruit.git("clone", "-q", "--bare", ".", "../bare.git")
        return "../bare.git"
    return "../repo" if request.param == "path" else fruit.path.as_uri()


def names(here: Repo) -> list[str]:
    return sorted(os.listdir(here.path))


def test_a_file_and_a_directory(fruit: Repo, here: Repo, address: str) -> None:
    assert "labels.csv: " in here.run("get", address, "labels.csv").err
    assert "1 file written (4 B)" in here.run("get", address, "labels.csv", "-o", "other").err
    here.run("get", address, "photos/")
    assert here.files("photos") == fruit.files("photos")
    assert os.access(here.path / "photos/apple/run", os.X_OK)
    assert not os.access(here.path / "photos/apple/1", os.X_OK)
    assert names(here) == ["labels.csv", "other", "photos"]
    assert here.read("labels.csv") == here.read("other") == b"two\n"


def test_a_part_of_a_directory(fruit: Repo, here: Repo, address: str) -> None:
    found = here.json("get", address, "photos/apple")
    assert found["written"] == 8
    assert found["fetched"]["objects"] == (0 if address == "../repo" else 8)
    assert here.files("apple") == fruit.files("photos/apple")
    here.run("get", address, "photos/apple/run")
    assert here.read("run") == b"#!/bin/sh\n"
    assert os.access(here.path / "run", os.X_OK)
    assert names(here) == ["apple", "run"]


@pytest.mark.parametrize("rev", ["v1", "old", "HEAD~1", "main~1", "main^", "id", "short"])
def test_revisions(fruit: Repo, here: Repo, address: str, rev: str) -> None:
    commit = fruit.git("rev-parse", "v1").strip()
    wanted = {"id": commit, "short": commit[:8]}.get(rev, rev)
    assert here.json("get", address, "labels.csv", "--rev", wanted)["commit"] == commit
    assert here.read("labels.csv") == b"one\n"


def test_a_server_that_filters(fruit: Repo, here: Repo) -> None:
    fruit.git("config", "uploadpack.allowFilter", "true")
    for i in range(5):
        fruit.write(f"src/{i}.py", f"{i}\n")
    fruit.commit()
    here.run("get", fruit.path.as_uri(), "src")
    assert here.files("src") == fruit.files("src")
    assert os.access(here.path / "src/a.py", os.X_OK)
    here.run("get", fruit.path.as_uri(), "labels.csv", "--rev", fruit.git("rev-parse", "v1").strip())
    assert here.read("labels.csv") == b"one\n"


def test_a_plain_web_server(fruit: Repo, here: Repo) -> None:
    """It knows neither depth nor filters."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    bare = fruit.beside("bare.git")
    fruit.git("clone", "-q", "--bare", ".", str(bare.path))
    bare.git("update-server-info")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(bare.path.parent))) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/bare.git"
        try:
            here.run("get", url, "labels.csv")
            here.run("get", url, "labels.csv", "-o", "old.csv", "--rev", "old")
            assert "not found" in here.fails("get", f"{url}x", "photos", code=4).err
        finally:
            server.shutdown()
            thread.join()
    assert (here.read("labels.csv"), here.read("old.csv")) == (b"two\n", b"one\n")


def test_what_is_not_committed_does_not_count(fruit: Repo, here: Repo) -> None:
    fruit.write("labels.csv", "never committed\n")
    fruit.run("commit")
    fruit.write(".vml/config.toml", "broken")
    before = fruit.files(".")
    here.run("get", "../repo", "labels.csv")
    assert here.read("labels.csv") == b"two\n"
    assert fruit.files(".") == before


def test_from_within(fruit: Repo) -> None:
    fruit.run("get", ".", "labels.csv", "--rev", "v1", "-o", "old.csv")
    assert fruit.read("old.csv") == b"one\n"


def test_a_store_with_links_is_left_alone(fruit: Repo, here: Repo) -> None:
    fruit.run("config", "cache.link", "hardlink")
    fruit.write("big", LARGE)
    fruit.run("add", "big")
    fruit.commit()
    here.run("get", "../repo", "big")
    assert here.read("big") == LARGE
    assert (here.path / "big").stat().st_nlink == 1
    assert os.access(here.path / "big", os.W_OK)


def test_only_what_is_wanted_is_fetched(fruit: Repo, remote: Path, here: Repo) -> None:
    url = fruit.path.as_uri()
    assert here.json("get", url, "photos/pear/0")["fetched"]["objects"] == 1
    fruit.run("config", "core.remote", "gone")
    fruit.commit()
    assert here.json("get", "../repo", "photos")["fetched"]["objects"] == 0


# --- Where it goes -----------------------------------------------------------------------------------------


def test_where_it_goes(fruit: Repo, here: Repo) -> None:
    (here.path / "dir").mkdir()
    assert here.json("get", "../repo", "labels.csv", "-o", "dir")["out"] == "dir/labels.csv"
    assert here.json("get", "../repo", "photos/apple", "-o", "dir/")["out"] == "dir/apple"
    assert here.json("get", "../repo", "photos", "-o", ".")["out"] == "photos"
    absolute = str(here.path / "x")
    assert here.json("get", "../repo", "photos/apple/1", "-o", absolute)["out"] == absolute
    assert here.read("x") == here.read("dir/apple/1") == here.read("photos/apple/1")
    assert "no directory" in here.fails("get", "../repo", "photos", "-o", "a/b", code=3).err
    assert names(here) == ["dir", "photos", "x"]


def test_what_is_there_stays_without_force(fruit: Repo, here: Repo) -> None:
    here.write("labels.csv", "mine")
    here.write("photos/mine", "mine")
    before = here.files(".")
    for path in ("labels.csv", "photos"):
        assert "is there already" in here.fails("get", "../repo", path, code=3).err
    assert here.files(".") == before
    here.run("get", "../repo", "labels.csv", "--force")
    here.run("get", "../repo", "photos", "-f")
    assert here.read("labels.csv") == b"two\n"
    assert here.files("photos") == fruit.files("photos")
    here.run("get", "../repo", "labels.csv", "-f", "--rev", "v1")
    assert here.read("labels.csv") == b"one\n"
    assert names(here) == ["labels.csv", "photos"]


def test_files_directories_and_links_replace_each_other(fruit: Repo, here: Repo, tmp_path: Path) -> None:
    here.write("photos", "a file")
    here.write("dir/labels.csv/x", "a directory")
    here.run("get", "../repo", "photos", "-f")
    here.run("get", "../repo", "labels.csv", "-o", "dir", "-f")
    assert here.read("dir/labels.csv") == b"two\n"
    (tmp_path / "elsewhere").write_text("not ours")
    for target in ("elsewhere", "nothing"):
        link = here.path / f"to-{target}"
        link.symlink_to(tmp_path / target)
        assert here.fails("get", "../repo", "labels.csv", "-o", link.name, code=3)
        here.run("get", "../repo", "labels.csv", "-o", link.name, "-f")
        assert not link.is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "not ours"


def test_force_replaces_no_repository(fruit: Repo, here: Repo) -> None:
    fruit.write("repo", "named like its repository")
    fruit.run("add", "repo")
    fruit.commit()
    assert "has a .git" in here.fails("get", "../repo", "repo", "-f", "-o", "..", code=3).err
    here.write("src/x", "x")
    assert "where you are" in here.fails("get", "../../repo", "src", "-f", "-o", "..", code=3, cwd="src").err
    assert here.files(".") == {"src/x": b"x"}
    fruit.write("above", "named like what its repository lies in")
    fruit.run("add", "above")
    fruit.commit()
    fruit.git("clone", "-q", ".", "../here/above/clone")
    assert "has the repository" in here.fails("get", "above/clone", "above", "-f", code=3).err
    assert (fruit.path / ".git").is_dir()


# --- Projects ----------------------------------------------------------------------------------------------


def test_several_projects(repo: Repo, here: Repo, tmp_path: Path) -> None:
    for name in ("one", "two/inner"):
        repo.write(f"{name}/x", "")
        repo.run("init", cwd=name)
        repo.write(f"{name}/data/content", name)
        repo.run("add", "data", cwd=name)
        repo.run("remote", "add", "-d", "origin", str(tmp_path / name.replace("/", "-")), cwd=name)
        repo.run("push", cwd=name)
    repo.write("two/plain", "plain")
    repo.commit()
    repo.git("clone", "-q", "--bare", ".", "../bare.git")
    for n, address in enumerate(("../repo", "../bare.git", repo.path.as_uri())):
        here.run("get", address, "one/data", "-o", f"{n}")
        assert here.files(f"{n}") == {"content": b"one"}
        here.run("get", address, "two", "-o", f"{n}-two")
        assert here.files(f"{n}-two") == {"inner/data/content": b"two/inner", "inner/x": b"", "plain": b"plain"}


def test_a_directory_with_several_things(fruit: Repo, here: Repo, address: str) -> None:
    fruit.write("all/one/a", "a")
    fruit.write("all/two", "two")
    fruit.write("all/sub/deep", "deep")
    fruit.run("add", "all/one", "all/two", "all/sub/deep")
    fruit.write("all/readme", "by Git")
    fruit.write("all/raw", "raw")
    fruit.run("add", "--no-pull", "all/raw")
    fruit.commit()
    fruit.run("push")
    if address == "../bare.git":
        fruit.git("push", "-q", "../bare.git", "main")
    found = here.json("get", address, "all")
    assert found["left_out"] == ["all/raw"]
    assert here.files("all") == {"one/a": b"a", "two": b"two", "sub/deep": b"deep", "readme": b"by Git"}
    assert "left out" in here.run("get", address, "all", "-o", "again").err
    here.run("get", address, "all/raw")
    assert here.read("raw") == b"raw"


def test_outputs_of_stages(fruit: Repo, here: Repo, address: str) -> None:
    fruit.write("sub/keep", "by Git")
    fruit.write("models/best/weights", "w")
    fruit.write("models/best/deep/config", "c")
    fruit.write("models/log", "by Git")
    fruit.write("models/scratch", "s")
    fruit.write("report", "good")
    outs = {"models/best": Flags(), "models/scratch": Flags(push=False), "models/log": Flags(cache=False)}
    record(fruit, "train", {**outs, "report": Flags()}, source="sub/vml.lock")
    fruit.commit()
    fruit.run("push")
    if address == "../bare.git":
        fruit.git("push", "-q", "../bare.git", "main")
    here.run("get", address, "models/best", "-o", "all")
    assert here.files("all") == fruit.files("models/best")
    here.run("get", address, "models/best/deep/config")
    assert here.read("config") == b"c"
    here.run("get", address, "report")
    assert here.read("report") == b"good"
    assert here.json("get", address, "models")["left_out"] == ["models/scratch"]
    assert here.files("models") == {"best/weights": b"w", "best/deep/config": b"c", "log": b"by Git"}
    assert "did you mean report?" in here.fails("get", address, "reprt", code=3).err
    assert "report is a file, it has no x" in here.fails("get", address, "report/x", code=3).err
    fruit.write("sub/vml.lock", "{")
    fruit.commit()
    if address == "../bare.git":
        fruit.git("push", "-q", "../bare.git", "main")
    assert "HEAD: sub/vml.lock: not valid JSON" in here.fails("get", address, "report", "-o", "x", code=3).err
    assert "labels.csv" in here.run("get", address, "labels.csv").err


def test_files_of_git(fruit: Repo, here: Repo, address: str) -> None:
    here.run("get", address, "src/a.py")
    here.run("get", address, "src")
    assert here.read("a.py") == here.read("src/a.py") == b"a = 1\n"
    assert os.access(here.path / "a.py", os.X_OK)
    assert names(here) == ["a.py", "src"]


def test_an_empty_directory(fruit: Repo, here: Repo) -> None:
    (fruit.path / "empty").mkdir()
    fruit.run("add", "empty")
    fruit.commit()
    fruit.run("push")
    for n, address in enumerate(("../repo", fruit.path.as_uri())):
        here.run("get", address, "empty", "-o", f"{n}")
        assert here.files(f"{n}") == {}
        assert (here.path / f"{n}").is_dir()


def test_a_repository_without_projects(repo: Repo, here: Repo) -> None:
    other = repo.beside("other")
    other.path.mkdir()
    other.git("init", "-q", "-b", "main")
    assert "no commit" in here.fails("get", "../other", "a", code=3).err
    assert "no commit" in here.fails("get", other.path.as_uri(), "a", code=3).err
    other.write("a", "a")
    other.write("data.vml", "no pointer, for there is no project")
    other.commit()
    here.run("get", "../other", "a")
    here.run("get", "../other", "data.vml")
    assert here.read("a") == b"a"


# --- Remotes -----------------------------------------------------------------------------------------------


def test_a_remote_that_is_a_relative_directory(fruit: Repo, here: Repo) -> None:
    fruit.run("remote", "modify", "origin", "url", "../remote")
    fruit.commit()
    shutil.rmtree(fruit.path / ".vml/cache")
    for n, address in enumerate(("../repo", fruit.path.as_uri())):
        here.run("get", address, "labels.csv", "-o", f"{n}")
        assert here.read(f"{n}") == b"two\n"


def test_another_remote(fruit: Repo, remote: Path, here: Repo) -> None:
    fruit.run("remote", "modify", "origin", "url", "/nowhere/at/all")
    fruit.run("remote", "add", "second", str(remote))
    fruit.commit()
    url = fruit.path.as_uri()
    assert "/nowhere" in here.fails("get", url, "labels.csv", code=4).err
    here.run("get", url, "labels.csv", "-r", "second")
    for n, place in enumerate((str(remote), "../remote", remote.as_uri())):
        here.run("get", url, "labels.csv", "-o", f"{n}", "-r", place)
        assert here.read(f"{n}") == b"two\n"
    assert "second" in here.fails("get", url, "labels.csv", "-o", "x", "-r", "secnod", code=3).err
    assert here.fails("get", "../repo", "labels.csv", "-o", "x", "-r", "nope", code=3)
    assert here.fails("get", url, "labels.csv", "-o", "x", "-r", "gopher://x", code=3)
    assert names(here) == ["0", "1", "2", "labels.csv"]


def test_a_bucket(repo: Repo, s3: S3Bucket, here: Repo) -> None:
    set_up(repo, s3)
    repo.write("data/a", "a" * 1000)
    repo.write("data/large", LARGE)
    repo.run("add", "data")
    repo.commit()
    repo.run("push")
    url = repo.path.as_uri()
    found = here.json("get", url, "data")
    assert here.files("data") == repo.files("data")
    assert found["fetched"]["requests"] > 0
    # The settings are those of the remote with this address.
    here.run("get", url, "data/a", "-r", f"{s3.url}/{PREFIX}")
    assert "request" in here.run("get", url, "data/a", "-f").err


def test_a_stranger_chooses_no_profile(
    repo: Repo, s3: S3Bucket, here: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(repo, s3)
    repo.write("a", "a")
    repo.run("add", "a")
    repo.run("push")
    repo.run("remote", "modify", "s3", "profile", "prod")
    repo.commit()
    ran = tmp_path / "ran"
    (tmp_path / "aws").write_text(f"[profile prod]\ncredential_process = touch {ran}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    here.run("get", repo.path.as_uri(), "a")
    assert not ran.exists()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    said = here.fails("get", repo.path.as_uri(), "a", "-f", code=4).err
    assert "AWS_PROFILE=prod vml get" in said
    assert not ran.exists()
    here.run("get", str(repo.clone("own").path), "a", "-f", ok=False)  # our own repository is another thing
    assert ran.exists()


def test_a_web_address(fruit: Repo, remote: Path, here: Repo) -> None:
    fruit.run("remote", "modify", "origin", "public", "true")
    fruit.commit()
    fruit.run("push")
    fruit.run("remote", "modify", "origin", "url", "s3://private/bucket")
    fruit.commit()
    with web_server(remote) as web:
        here.run("get", fruit.path.as_uri(), "photos", "-r", web)
    assert here.files("photos") == fruit.files("photos")


def test_large_files(fruit: Repo, here: Repo) -> None:
    fruit.write("big/one", LARGE)
    fruit.write("big/same", LARGE).chmod(0o755)
    fruit.write("big/other", LARGE[:-1] + b"!")
    fruit.write("big/middle", bytes(400 << 10))
    fruit.run("add", "big")
    fruit.commit()
    fruit.run("push")
    found = here.json("get", fruit.path.as_uri(), "big")
    assert found["fetched"]["objects"] == 3
    assert here.files("big") == fruit.files("big")
    mode = (here.path / "big/one").stat().st_mode
    assert mode == (here.path / "big/middle").stat().st_mode
    assert mode & 0o200
    assert (here.path / "big/same").stat().st_mode & 0o100
    assert all((here.path / "big" / name).stat().st_nlink == 1 for name in ("one", "same", "other"))
    assert names(here) == ["big"]


# --- Errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["../nowhere", "x"], 3, "there is no repository at ../nowhere"),
        (["..", "x"], 3, "is not a Git repository"),
        (["../repo/src", "x"], 3, "lies inside the repository"),
        (["file:///nowhere/at/all", "x"], 4, "Git cannot read file:///nowhere/at/all"),
        (["gopher://x/y", "x"], 3, "is not the address of a repository"),
        (["https://ada:secret@127.0.0.1:1/x", "x"], 4, "Git cannot read https://127.0.0.1:1/x"),
        (["REPO", "photso"], 3, "hint: did you mean photos?"),
        (["REPO", "deep/labels.csv"], 3, "hint: did you mean labels.csv?"),
        (["REPO", "src/zzzzz"], 3, "hint: there are: src/a.py"),
        (["REPO", "photos/aple"], 3, "hint: did you mean photos/apple?"),
        (["REPO", "photos/apple/1/x"], 3, "photos has no apple/1/x"),
        (["REPO", "labels.csv/x"], 3, "labels.csv is a file"),
        (["REPO", "photos.vml"], 3, "hint: name the data: photos"),
        (["REPO", "photos/apple/first"], 3, "is a symbolic link to 1"),
        (["REPO", "photos/pear"], 3, "it leads out of what would be written"),
        (["REPO", "photos", "--rev", "v2x"], 3, "unknown revision 'v2x'"),
        (["REPO", "photos", "--rev", "olf"], 3, "did you mean"),
        (["REPO", "photos", "--rev", "-x"], 3, "unknown revision '-x'"),
        (["REPO", "photos", "--rev", "0" * 40], 3, "unknown revision"),
        (["REPO", "../x"], 2, "names nothing in a repository"),
        (["REPO", "/etc/passwd"], 2, "names nothing in a repository"),
        (["REPO", "."], 2, "names nothing in a repository"),
        (["REPO", "photos", "-o", ""], 2, "--out is empty"),
        (["", "photos"], 2, "REPO is empty"),
    ],
)
def test_errors(fruit: Repo, here: Repo, args: list[str], code: int, words: str) -> None:
    for address in ("../repo", fruit.path.as_uri()):
        told = here.fails("get", *(address if each == "REPO" else each for each in args), code=code).err
        assert words in told
        assert "secret" not in told
        assert str(here.path) not in told
        assert names(here) == []


def test_no_remote(repo: Repo, here: Repo) -> None:
    repo.write("data", "data")
    repo.run("add", "data")
    repo.commit()
    told = here.fails("get", repo.path.as_uri(), "data", code=3).err
    assert "no remote" in told
    assert "-r takes" in told
    here.run("get", "../repo", "data")


def test_data_that_was_not_pushed(fruit: Repo, here: Repo) -> None:
    fruit.write("labels.csv", "three\n")
    fruit.write("photos/new", "new")
    fruit.run("commit")
    fruit.commit()
    for path in ("labels.csv", "photos", "photos/new"):
        told = here.fails("get", fruit.path.as_uri(), path, code=3).err
        assert path.partition("/")[0] in told
        assert "is not on remote 'origin'" in told
    assert names(here) == []
    here.run("get", "../repo", "photos")


def test_damage_on_the_remote(fruit: Repo, remote: Path, here: Repo) -> None:
    for path in (remote / "packs").rglob("*.pack"):
        raw = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(bytes(len(raw) // 2) + raw[len(raw) // 2 :])
    result = here.run("get", fruit.path.as_uri(), "photos", ok=False)
    assert result.code in (3, 4)
    assert "hint: " in result.err
    assert names(here) == []


# --- Stopped in the middle ---------------------------------------------------------------------------------


def calls(here: Repo, args: list[str]) -> int:
    with oscalls.watched(oscalls.ignore) as found:
        assert main(args) == 0
    shutil.rmtree(here.path)
    here.path.mkdir()
    return len(found)


@pytest.mark.parametrize("how", ["kill", "interrupt", "fail"])
def test_stopped(fruit: Repo, here: Repo, tmp_path: Path, soak: int, how: str) -> None:
    """Under its name is all of it, or nothing; and nothing is left elsewhere where we were told."""
    fruit.write("photos/large", LARGE)
    fruit.run("commit")
    fruit.commit()
    fruit.run("push")
    wanted = fruit.files("photos")
    args = ["-C", str(here.path), "get", fruit.path.as_uri(), "photos"]
    count = calls(here, args)
    chance = random.Random(os.urandom(4))

    def interrupt(at: int) -> oscalls.Act:
        def act(name: str, n: int, args: tuple[object, ...]) -> None:
            if n == at:
                raise KeyboardInterrupt

        return act

    for n in sorted(chance.sample(range(count), min(count, soak))):
        act = {
            "kill": lambda n=n: oscalls.kill_at(n),
            "interrupt": lambda n=n: interrupt(n),
            "fail": lambda n=n: oscalls.fail_at(n, errno.ENOSPC),
        }[how]()

        def stopped(act: oscalls.Act = act) -> None:
            with oscalls.watched(act):
                main(args)

        oscalls.end(oscalls.in_child(stopped, tmp_path / "log"))
        left = names(here)
        if "photos" in left:
            assert here.files("photos") == wanted
            left.remove("photos")
        assert how == "kill" or not left, (n, left, (tmp_path / "log").read_text())
        assert all(name.startswith(".vml-tmp-") for name in left)
        assert main([*args, "--force"]) == 0
        assert here.files("photos") == wanted
        shutil.rmtree(here.path)
        here.path.mkdir()


def test_replacing_is_all_or_nothing(fruit: Repo, here: Repo, tmp_path: Path, soak: int) -> None:
    args = ["-C", str(here.path), "get", fruit.path.as_uri(), "photos", "--force"]
    count = calls(here, args) + 2
    for n in random.Random(os.urandom(4)).sample(range(count), min(count, soak)):
        here.write("photos/old", "old")

        def stopped(n: int = n) -> None:
            with oscalls.watched(oscalls.fail_at(n, errno.EIO)):
                main(args)

        oscalls.end(oscalls.in_child(stopped, tmp_path / "log"))
        assert here.files("photos") in ({"old": b"old"}, fruit.files("photos"))
        assert names(here) == ["photos"]
        shutil.rmtree(here.path / "photos")


# --- What comes from strangers -----------------------------------------------------------------------------


@pytest.mark.parametrize("repo_argument", ["ext::sh -c touch% PWNED", "--upload-pack=touch PWNED", "-uPWNED"])
def test_an_address_runs_nothing(fruit: Repo, here: Repo, tmp_path: Path, repo_argument: str) -> None:
    argument = repo_argument.replace("PWNED", str(tmp_path / "pwned"))
    assert here.fails("get", "--", argument, "photos", code=3)
    assert here.fails("get", "--rev", f"--upload-pack=touch {tmp_path}/pwned", fruit.path.as_uri(), "photos", code=3)
    assert here.run("get", "--", "ssh://-oProxyCommand=touch pwned/x", "photos", ok=False).code in (3, 4)
    assert not (tmp_path / "pwned").exists()
    assert names(here) == []


def test_other_transports_are_refused_by_git_too(
    fruit: Repo, here: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f'[protocol "ext"]\nallow = always\n[url "ext::sh -c touch% {tmp_path}/pwned "]\ninsteadOf = https://x/\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    assert here.fails("get", "https://x/y", "photos", code=4)
    assert not (tmp_path / "pwned").exists()


def test_hooks_and_filters_do_not_run(fruit: Repo, here: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fruit.write(".gitattributes", "* filter=evil\n")
    fruit.commit()
    hook = fruit.write("hooks/run", f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    hook.chmod(0o755)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hook.parent / name).symlink_to("run")
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[filter "evil"]\nsmudge = {hook}\nprocess = {hook}\n[core]\nhooksPath = {hook.parent}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    here.run("get", fruit.path.as_uri(), "src")
    here.run("get", fruit.path.as_uri(), "labels.csv")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("path", PATHS)
def test_lists_of_files_lead_nowhere_else(repo: Repo, remote: Path, here: Repo, path: bytes) -> None:
    found = tree_of({path: (FILE, CONTENT)})
    put_on_remote(repo, found)
    point(repo, found)
    repo.commit()
    assert here.run("get", repo.path.as_uri(), "data", ok=False).code in (3, 4)
    assert names(here) == []


@pytest.mark.parametrize("target", [b"/etc/passwd", b"../x", b"a/../../x", b"sub/../../x"])
def test_links_lead_nowhere_else(repo: Repo, remote: Path, here: Repo, target: bytes) -> None:
    found = tree_of({b"a": (FILE, b"fine"), b"link": (SYMLINK, target)})
    put_on_remote(repo, found)
    point(repo, found)
    repo.write("plain/a", "fine")
    (repo.path / "plain/link").symlink_to(target.decode())
    repo.commit()
    for path in ("data", "data/link", "plain", "plain/link"):
        assert "link" in here.fails("get", repo.path.as_uri(), path, code=3).err
    assert names(here) == []


def test_links_of_git_stay_links(repo: Repo, here: Repo) -> None:
    repo.write("plain/dir/a", "a")
    (repo.path / "plain/link").symlink_to("dir")
    repo.commit()
    here.run("get", "../repo", "plain")
    assert os.readlink(here.path / "plain/link") == "dir"
    assert here.fails("get", "../repo", "plain/link/a", code=3)


def test_pointers_lead_nowhere_else(fruit: Repo, here: Repo) -> None:
    good = json.loads(fruit.read("labels.csv.vml"))
    for change in ({"path": "../x"}, {"path": "/etc/x"}, {"hash": "xxh128:../../x"}, {"size": -1}, {"schema": 99}):
        fruit.write("labels.csv.vml", json.dumps(good | change))
        fruit.commit()
        assert "labels.csv.vml" in here.fails("get", fruit.path.as_uri(), "labels.csv", code=3).err
    fruit.write("labels.csv.vml", "x" * (2 << 20))
    (fruit.path / "photos.vml").unlink()
    (fruit.path / "photos.vml").symlink_to("labels.csv.vml")
    fruit.commit()
    assert here.fails("get", fruit.path.as_uri(), "labels.csv", code=3)
    assert "not tracked" in here.fails("get", fruit.path.as_uri(), "photos", code=3).err
    assert names(here) == []


@pytest.mark.parametrize(
    "line",
    [
        "[core]\nhash = 'md5'\n",
        "broken",
        "[core]\nunknown = 1\n",
        "[remote.origin]\nurl = 's3://x'\nsecret_access_key = 'x'\n",
        "[cache]\ndir = '/etc'\n",
        "[remote.origin]\nurl = '../../../../../../etc'\n",
    ],
)
def test_settings_from_strangers(fruit: Repo, here: Repo, line: str) -> None:
    fruit.write(".vml/config.toml", line)
    fruit.git("commit", "-qam", "hostile")
    before = os.listdir("/etc")
    for address in (fruit.path.as_uri(), "../repo"):
        result = here.run("get", address, "photos/apple", ok=False)
        assert "Traceback" not in result.err
        assert result.code in (3, 4) or address == "../repo"
        assert ".vml-tmp-" not in result.err
        shutil.rmtree(here.path / "apple", ignore_errors=True)
    assert names(here) == []
    assert os.listdir("/etc") == before


def test_local_settings_of_a_clone_that_strangers_committed(fruit: Repo, here: Repo) -> None:
    fruit.write(".vml/config.local.toml", "[cache]\ndir = '/etc'\n")
    fruit.git("add", "-f", ".vml/config.local.toml")
    fruit.commit()
    assert "committed" in here.fails("get", "../repo", "labels.csv", code=3).err
    here.run("get", fruit.path.as_uri(), "labels.csv")


def test_a_submodule(fruit: Repo, here: Repo) -> None:
    fruit.git("update-index", "--add", "--cacheinfo", f"160000,{fruit.git('rev-parse', 'HEAD').strip()},lib/sub")
    fruit.git("commit", "-qm", "submodule")
    for path in ("lib/sub", "lib"):
        assert "is a submodule" in here.fails("get", "../repo", path, code=3).err


def test_page_shows_every_key(fruit: Repo, here: Repo) -> None:
    page = text_of(DOCS / "commands/get.md")
    assert not {key for key in keys_of(here.json("get", "../repo", "photos")) if f'"{key}"' not in page}


def test_an_output_comes_from_its_own_remote(repo: Repo, remote: Path, here: Repo, tmp_path: Path) -> None:
    repo.run("remote", "add", "other", str(tmp_path / "other"))
    repo.write("out/model", "m")
    repo.write("out/table", "t")
    record(repo, "train", {"out/model": Flags(remote="other"), "out/table": Flags()})
    repo.commit()
    repo.run("push")
    repo.run("push", "-r", "other")
    clone = repo.clone("clone")
    here.run("get", str(clone.path), "out/model", "-o", "one")
    here.run("get", str(clone.path), "out")
    assert (here.read("one"), here.files("out")) == (b"m", {"model": b"m", "table": b"t"})
    here.fails("get", str(clone.path), "out/model", "-o", "two", "-r", "origin", code=3)
