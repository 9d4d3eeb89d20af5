"""The whole job with a bucket or a web address as the remote, and what people are told when one does not work."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repo
from tests.proxy import Answer, Fault, Proxy, Stall
from tests.servers import S3Bucket, Server, web_server
from vcs_ml.store.remotes import retry

PREFIX = "team/project"


def set_up(repo: Repo, bucket: S3Bucket, *more: str, ok: bool = True) -> str:
    """Make the bucket the default remote, without asking it unless `more` says so; what that printed."""
    options = ["--set", f"endpoint_url={bucket.endpoint}", "--set", "region=us-east-1"]
    result = repo.run("remote", "add", "-d", "s3", f"{bucket.url}/{PREFIX}", *options, *(more or ["--no-check"]), ok=ok)
    repo.commit("remote")
    return result.out + result.err


def fill(repo: Repo, name: str = "data", n: int = 200) -> None:
    for i in range(n):
        repo.write(f"{name}/{i % 7}/{i}", f"{name} {i}\n" * 20)
    repo.run("add", name)
    repo.commit(name)


def fsck(repo: Repo, *args: str) -> Any:
    return json.loads(repo.run("fsck", "--remote", "s3", *args, "--json", ok=False).out)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks in vain gives up soon."""
    monkeypatch.setattr(retry, "TRIES", 2)
    monkeypatch.setattr(retry, "_FIRST", 0.01)


@pytest.fixture
def proxied(s3: S3Bucket) -> Iterator[tuple[Proxy, S3Bucket]]:
    """A new bucket behind a proxy."""
    with Proxy(s3.endpoint) as proxy:
        yield proxy, s3.through(proxy.endpoint)


def unlistable(method: str, path: str, number: int) -> Fault | None:
    return Answer(403, "AccessDenied", "Access Denied") if method == "GET" and "list-type" in path else None


def test_a_bucket_with_other_files_is_not_set_up(repo: Repo, s3: S3Bucket) -> None:
    if s3.server.name == "moto":
        s3.put(f"{PREFIX}/", b"")  # a folder made in a console is nothing
    s3.put(f"{PREFIX}/Photos of 2024/IMG 1.jpg", b"mine")
    set_up(repo, s3)
    fill(repo, n=3)
    assert "is not empty, and no vml remote" in repo.fails("push", code=4).err
    assert "is not a vml remote" in repo.run("doctor", "--remote", "s3", ok=False).out
    s3.delete(f"{PREFIX}/Photos of 2024/IMG 1.jpg")
    assert "is empty" in repo.run("doctor", "--remote", "s3").out
    assert "set up a new remote" in repo.run("push").err


def test_a_conflict_is_no_success(repo: Repo, proxied: tuple[Proxy, S3Bucket], impatient: None) -> None:
    proxy, bucket = proxied
    set_up(repo, bucket)
    fill(repo, n=3)
    proxy.choose = lambda method, path, number: (
        Answer(409, "ConditionalRequestConflict", "try again") if method == "PUT" and "/roots/" in path else None
    )
    assert "ConditionalRequestConflict" in repo.fails("push", code=4).err
    proxy.choose = None
    assert not bucket.keys(f"{PREFIX}/roots")
    repo.run("push")
    assert len(bucket.keys(f"{PREFIX}/roots")) == 1


def test_a_conflict_that_passes_is_none(repo: Repo, proxied: tuple[Proxy, S3Bucket], impatient: None) -> None:
    proxy, bucket = proxied
    set_up(repo, bucket)
    fill(repo, n=3)
    refused: set[str] = set()

    def once_each(method: str, path: str, number: int) -> Fault | None:
        if method != "PUT" or "/packs/" in path or path in refused:
            return None
        refused.add(path)
        return Answer(409, "ConditionalRequestConflict", "try again")

    proxy.choose = once_each
    repo.run("push")
    assert len(refused) == 4  # vml.json, an index, the announcement, the record
    assert len(bucket.keys(f"{PREFIX}/roots")) == 1


# --- The job -----------------------------------------------------------------------------------------------


def test_the_job(repo: Repo, s3: S3Bucket) -> None:
    set_up(repo, s3)
    fill(repo)
    large = random.Random(1).randbytes(9 << 20)
    repo.write("large", large)
    repo.run("add", "large")
    repo.commit("large")
    assert "set up a new remote" in repo.run("push").err
    before = s3.keys()
    assert all(key.startswith(f"{PREFIX}/") for key in before)
    assert "has everything already" in repo.run("push").err
    assert s3.keys() == before

    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.files("data") == repo.files("data")
    assert clone.read("large") == large

    clone.write("data/1/1", "edited")
    edited = large[: 4 << 20] + b"a row" + large[4 << 20 :]
    clone.write("large", edited)
    clone.run("commit")
    clone.commit("edit")
    sent = clone.json("push")
    assert sent["stored"] < len(large) // 2
    assert sent["saved_by_dedup"] > len(large) // 2
    repo.git("pull", "-q", str(clone.path), "main")
    repo.run("pull")
    assert repo.read("data/1/1") == b"edited"
    assert repo.read("large") == edited
    assert repo.changes() == {}
    assert fsck(repo, "--deep")["problems"] == []


def test_gc(repo: Repo, s3: S3Bucket, tmp_path: Path) -> None:
    """What another project leaves behind is condemned, then deleted; ours stays."""
    set_up(repo, s3)
    fill(repo, n=20)
    repo.run("push")
    ours = set(s3.keys(f"{PREFIX}/packs"))
    other = repo.beside("other")
    other.path.mkdir()
    other.git("init", "-q", "-b", "main")
    other.run("init")
    set_up(other, s3)
    fill(other, "other", 20)
    other.run("push")
    id = other.run("config", "core.id").out.strip()
    repo.fails("gc", "--remote", "--force", code=3)
    for _ in range(6):  # the server's clock has whole seconds
        repo.run("gc", "--remote", "--forget", id, "--grace", "0s", "--force")
        if set(s3.keys(f"{PREFIX}/packs")) == ours:
            break
        time.sleep(0.5)
    assert set(s3.keys(f"{PREFIX}/packs")) == ours
    assert fsck(repo, "--deep")["problems"] == []
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.files("data") == repo.files("data")


def test_damage_is_found_and_mended(repo: Repo, s3: S3Bucket) -> None:
    set_up(repo, s3)
    fill(repo)
    repo.run("push")
    packs = s3.files(f"{PREFIX}/packs")
    s3.flip(max(packs, key=lambda key: len(packs[key])), 100)
    clone = repo.clone("clone")
    assert clone.fails("pull", code=3)
    found = fsck(repo, "--deep")
    assert {each["kind"] for each in found["problems"]} == {"object"}
    assert fsck(repo, "--deep", "--repair")["clean"]
    assert fsck(repo, "--deep")["problems"] == []
    clone.run("pull")
    assert clone.files("data") == repo.files("data")


def test_before_the_first_push(repo: Repo, s3: S3Bucket) -> None:
    set_up(repo, s3)
    fill(repo)
    assert "not pushed: data" in repo.run("status", "--remote").out
    assert "nothing there yet" in repo.run("gc", "--remote").err
    assert s3.keys() == []


def test_a_repair_sends_once(repo: Repo, s3: S3Bucket) -> None:
    set_up(repo, s3)
    repo.write("large.csv", b"".join(b"%d,%d\n" % (i, i * 7919 % 100_003) for i in range(1_000_000)))
    repo.run("add", "large.csv")
    repo.commit("large")
    repo.run("push")
    before = s3.files(f"{PREFIX}/packs")
    pack = max(before, key=lambda key: len(before[key]))
    s3.flip(pack, 1000)
    assert fsck(repo, "--deep", "--repair")["clean"]
    after = s3.files(f"{PREFIX}/packs")
    assert sum(len(after[key]) for key in after.keys() - before.keys()) < len(before[pack]) * 1.02
    assert fsck(repo, "--deep")["problems"] == []


def test_a_lost_pack_is_sent_again(repo: Repo, s3: S3Bucket) -> None:
    set_up(repo, s3)
    fill(repo)
    repo.run("push")
    for key in s3.keys(f"{PREFIX}/packs"):
        s3.delete(key)
    assert {each["kind"] for each in fsck(repo)["problems"]} == {"pack", "missing"}
    assert fsck(repo, "--repair")["clean"]
    repo.clone("clone").run("pull")


# --- How many requests -------------------------------------------------------------------------------------


def test_requests(repo: Repo, proxied: tuple[Proxy, S3Bucket]) -> None:
    proxy, bucket = proxied
    under = f"{bucket.name}/{PREFIX}"
    set_up(repo, bucket)
    fill(repo, "first", 3)
    repo.run("push")
    fill(repo)
    proxy.forget()
    repo.run("push")
    assert proxy.counts(under) == {
        "LIST ": 1, "GET vml.json": 1, "PUT packs": 2, "PUT index": 1, "PUT pushing": 1, "LIST gc": 1, "PUT roots": 1,
    }  # fmt: skip
    proxy.forget()
    repo.run("push")
    assert proxy.counts(under) == {"LIST ": 1, "GET vml.json": 1}
    clone = repo.clone("clone")
    clone.run("pull")
    proxy.forget()
    clone.run("pull")
    assert not proxy.requests


def test_requests_of_gc_and_fsck(repo: Repo, proxied: tuple[Proxy, S3Bucket]) -> None:
    proxy, bucket = proxied
    under = f"{bucket.name}/{PREFIX}"
    set_up(repo, bucket)
    for name in ("first", "second"):
        fill(repo, name, 3)
        repo.run("push")
    proxy.forget()
    repo.run("gc", "--remote")
    assert proxy.counts(under) == {
        "LIST ": 1, "GET vml.json": 1, "GET roots": 2,  # who has pushed there
        "LIST gc": 1, "LIST packs": 2, "LIST pushing": 1, "LIST roots": 1, "LIST index": 1,
    }  # fmt: skip
    proxy.forget()
    repo.run("fsck", "--remote", "--deep")
    counts = proxy.counts(under)
    assert counts.pop("GET packs") > 4
    assert counts == {
        "GET vml.json": 1, "LIST roots": 1, "GET roots": 2, "LIST index": 1, "GET index": 2, "LIST gc": 2,
        "LIST packs": 1,
    }  # fmt: skip


def test_recipes_are_read_together(repo: Repo, proxied: tuple[Proxy, S3Bucket]) -> None:
    proxy, bucket = proxied
    under = f"{bucket.name}/{PREFIX}"
    set_up(repo, bucket)
    names = [f"large{i}" for i in range(12)]
    for name in names:
        repo.write(name, name.encode() + bytes(9 << 20))
    repo.run("add", *names)
    repo.commit("large")
    repo.run("push")
    proxy.forget()
    assert "has everything already" in repo.run("push", "--check").err
    assert proxy.counts(under)["GET packs"] <= 3
    for key in bucket.keys(f"{PREFIX}/roots"):
        bucket.delete(key)
    proxy.forget()
    assert repo.json("status", "--remote", "s3")["not_pushed"] == []
    assert proxy.counts(under)["GET packs"] <= 3


def test_a_part_of_a_directory_costs_little(repo: Repo, proxied: tuple[Proxy, S3Bucket]) -> None:
    proxy, bucket = proxied
    under = f"{bucket.name}/{PREFIX}"
    set_up(repo, bucket)
    rng = random.Random(1)
    for i in range(10_000):
        repo.write(f"data/{i // 10:03}/{i}", rng.randbytes(1000))
    repo.run("add", "data")
    repo.commit("data")
    whole = repo.json("push")["bytes"]

    clone = repo.clone("clone")
    for path, files, requests in (("data/123", 10, 8), ("data/700/7000", 1, 4)):  # the second has the index already
        proxy.forget()
        got = clone.json("pull", path)
        assert got["written"] == got["fetched"]["objects"] == files
        assert got["fetched"]["stored"] == files * 1000
        assert got["fetched"]["requests"] == len(proxy.requests) <= requests
        read = sum(each.received for each in proxy.requests if each.kind(under) == "GET packs")
        assert read < whole / 100  # with the pages of the list of files that lead there
    assert len(here := clone.files("data")) == 11
    assert here.items() <= repo.files("data").items()


# --- Who may not list --------------------------------------------------------------------------------------


def test_who_may_not_list_can_read(repo: Repo, proxied: tuple[Proxy, S3Bucket]) -> None:
    proxy, bucket = proxied
    set_up(repo, bucket)
    fill(repo, n=20)
    repo.run("push")
    clone = repo.clone("clone")
    proxy.choose = unlistable
    assert "s3:ListBucket" in clone.fails("pull", code=4).err
    assert "s3:ListBucket" in clone.fails("push", code=4).err
    proxy.choose = None
    repo.run("remote", "modify", "s3", "public", "true")
    repo.run("push")
    assert bucket.get(f"{PREFIX}/latest.json")
    proxy.choose = unlistable
    clone.run("pull")
    assert clone.files("data") == repo.files("data")
    assert "s3:ListBucket" in clone.fails("push", code=4).err
    proxy.choose = None
    repo.write("data/1/1", "newer")
    repo.run("commit")
    repo.commit("newer")
    repo.run("push")
    proxy.choose = unlistable
    clone.git("pull", "-q")
    clone.run("pull")
    assert clone.read("data/1/1") == b"newer"


# --- What does not work ------------------------------------------------------------------------------------


@pytest.fixture
def strict(rclone: Server, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A new bucket on the server that checks keys; the environment has them."""
    for name, value in rclone.environment().items():
        monkeypatch.setenv(name, value)
    return rclone.bucket()


@pytest.fixture
def ready(repo: Repo, strict: S3Bucket) -> Repo:
    """A project with something to push."""
    set_up(repo, strict)
    fill(repo, n=3)
    return repo


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"http://127.0.0.1:{found.getsockname()[1]}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["fetch", "push"])
def test_a_signal_ends_a_transfer_that_hangs(
    repo: Repo, proxied: tuple[Proxy, S3Bucket], command: str, number: signal.Signals
) -> None:
    """Threads wait for a server that has fallen silent, and nobody waits for them."""
    proxy, bucket = proxied
    set_up(repo, bucket)
    repo.write("data/large", os.urandom(20 << 20))
    fill(repo, n=40)
    here = repo
    if command == "fetch":
        repo.run("push")
        here = repo.clone("clone")
        here.run("fetch", "--metadata")
    silent = threading.Event()

    def choose(method: str, path: str, count: int) -> Fault | None:
        if "/packs/" not in path:
            return None
        silent.set()
        return Stall()

    proxy.choose = choose
    program = [sys.executable, "-m", "vcs_ml", "-C", str(here.path), command]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(program, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert silent.wait(60)
        start = time.monotonic()
        os.killpg(process.pid, number)
        said = process.communicate(timeout=25)[1]
    assert time.monotonic() - start < 5
    assert process.returncode == (130 if number == signal.SIGINT else 143), said
    assert "Traceback" not in said
    proxy.choose = None
    here.run(command)


def test_no_bucket(repo: Repo, s3: S3Bucket) -> None:
    set_up(repo, s3._replace(name="no-such-bucket-here"))
    fill(repo, n=3)
    for command in ("push", "fetch"):
        assert "no bucket 'no-such-bucket-here'" in repo.fails(command, code=4).err


def test_no_credentials(ready: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no credentials" in ready.fails("push", code=4).err


def test_half_of_the_credentials(ready: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.run("remote", "modify", "--local", "s3", "access_key_id", "me")
    said = ready.fails("push", code=3).err
    assert "secret_access_key is missing" in said
    assert "hint: vml remote modify --local s3 secret_access_key" in said
    ready.run("remote", "modify", "--local", "--unset", "s3", "access_key_id")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    said = ready.fails("push", code=3).err
    assert "AWS_SECRET_ACCESS_KEY is missing" in said
    assert "hint: set it in the environment" in said


def test_half_of_the_credentials_in_a_file(ready: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = me\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    said = ready.fails("push", code=3).err
    assert "aws_secret_access_key is missing" in said
    assert "hint: set it in ~/.aws/credentials" in said


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys(repo: Repo, rclone: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (rclone.environment() | {name: "wrong"}).items():
        monkeypatch.setenv(key, value)
    set_up(repo, rclone.bucket())
    fill(repo, n=3)
    assert "key" in repo.fails("push", code=4).err


@pytest.mark.usefixtures("impatient")
def test_nothing_listens(ready: Repo, nobody: str) -> None:
    ready.run("remote", "modify", "s3", "endpoint_url", nobody)
    assert "no connection" in ready.fails("push", code=4).err


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(403, "RequestTimeTooSkewed", "The difference is too large."), "clock"),
        (Answer(403, "ExpiredToken", "The provided token has expired."), "log in again"),
        (Answer(301, "PermanentRedirect", "The bucket is elsewhere."), "region"),
        (Answer(503, "SlowDown", "Please reduce your request rate."), "fewer requests"),
        (Answer(500, "InternalError", "We encountered an internal error."), "internal error"),
        (Answer(501, "NotImplemented", "A header you provided is unknown."), "header"),
    ],
    ids=lambda value: value.code if isinstance(value, Answer) else "",
)
@pytest.mark.usefixtures("impatient")
def test_what_the_server_says(repo: Repo, strict: S3Bucket, answer: Answer, says: str) -> None:
    with Proxy(strict.endpoint, lambda *_: answer) as proxy:
        set_up(repo, strict.through(proxy.endpoint))
        fill(repo, n=3)
        for command in ("push", "fetch"):
            assert says in repo.fails(command, code=4).err


def test_a_server_that_moved(ready: Repo) -> None:
    """Such as one that wants https."""
    with web_server(Path(), moved="https://there.example/") as address:
        ready.run("remote", "modify", "s3", "endpoint_url", address)
        assert "endpoint_url https://there.example\n" in ready.fails("push", code=4).err


def test_settings_that_cannot_be(ready: Repo) -> None:
    ready.run("remote", "modify", "s3", "profile", "no-such-profile")
    assert "no-such-profile" in ready.fails("push", code=3).err
    ready.fails("remote", "modify", "s3", "url", "s3://?/x", code=2)


# --- Setting up, looking -----------------------------------------------------------------------------------


def test_add_tells_what_it_found(repo: Repo, s3: S3Bucket) -> None:
    said = set_up(repo, s3, "--check")
    assert "empty; the first vml push sets it up" in said
    assert "it can be read and written" in said
    assert ("ignores conditional writes" in said) == (s3.server.name == "rclone")
    assert s3.keys() == []


@pytest.mark.usefixtures("impatient")
def test_add_writes_the_settings_when_nobody_answers(repo: Repo, strict: S3Bucket, nobody: str) -> None:
    said = set_up(repo, strict.through(nobody), "--check")
    assert "no connection" in said
    assert "Traceback" not in said
    assert repo.json("remote", "list")["remotes"][0]["options"]["endpoint_url"] == nobody


def test_doctor(repo: Repo, s3: S3Bucket) -> None:
    set_up(repo, s3)
    fill(repo, n=3)
    repo.run("push")
    before = s3.keys()
    said = repo.run("doctor").out
    assert "1 push on record); it can be read and written" in said
    assert ("ignores conditional writes" in said) == (s3.server.name == "rclone")
    assert "keeps old versions" not in said
    if s3.server.name == "moto":
        s3.client.put_bucket_versioning(Bucket=s3.name, VersioningConfiguration={"Status": "Enabled"})
        assert "keeps old versions" in repo.run("doctor").out
    assert s3.keys() == before


def test_who_may_not_write_or_delete(repo: Repo, strict: S3Bucket) -> None:
    denied = Answer(403, "AccessDenied")
    with Proxy(strict.endpoint) as proxy:
        set_up(repo, strict.through(proxy.endpoint))
        fill(repo, n=3)
        repo.run("push")
        proxy.choose = lambda method, *_: denied if method in ("PUT", "DELETE") else None
        assert "it may only be read" in repo.run("doctor").out
        fill(repo, "more", n=3)
        assert "s3:PutObject" in repo.fails("push", code=4).err
        proxy.choose = lambda method, *_: denied if method == "DELETE" else None
        assert "nothing can be deleted" in repo.run("doctor").out
        repo.run("push")


# --- A web address -----------------------------------------------------------------------------------------


@pytest.fixture
def published(repo: Repo, remote: Path) -> Path:
    """A directory remote that others may read over the web."""
    fill(repo)
    repo.write("large", random.Random(1).randbytes(9 << 20))
    repo.run("add", "large")
    repo.run("remote", "modify", "origin", "public", "true")
    repo.commit("published")
    repo.run("push")
    assert (remote / "latest.json").exists()
    return remote


Read = Callable[[str], Repo]


@pytest.fixture
def reader(repo: Repo) -> Read:
    """Makes a clone whose default remote is an address."""

    def make(address: str) -> Repo:
        clone = repo.clone("reader")
        clone.run("remote", "add", "-d", "web", address, "--no-check")
        clone.commit("web")
        return clone

    return make


def test_pull_from_the_web(repo: Repo, published: Path, reader: Read) -> None:
    with web_server(published) as address:
        clone = reader(address)
        clone.run("pull")
        assert clone.files("data") == repo.files("data")
        assert clone.read("large") == repo.read("large")
        assert "can only be read" in clone.run("doctor", "--remote", "web").out
        repo.write("data/1/1", "newer")
        repo.run("commit")
        repo.commit("newer")
        repo.run("push")
        clone.git("pull", "-q", "--rebase", str(repo.path), "main")
        clone.run("pull")
        assert clone.read("data/1/1") == b"newer"


def test_push_to_the_web_is_refused(published: Path, reader: Read) -> None:
    with web_server(published) as address:
        clone = reader(address)
        clone.run("pull")
        assert "read" in clone.fails("push", code=4).err
        clone.fails("gc", "--remote", "web", "--force", code=4)


def test_a_web_server_without_ranges(published: Path, reader: Read) -> None:
    with web_server(published, ranges=False) as address:
        assert "Range" in reader(address).fails("pull", code=4).err


def test_a_web_server_without_latest(published: Path, reader: Read) -> None:
    (published / "latest.json").unlink()
    with web_server(published) as address:
        assert "latest.json" in reader(address).fails("pull", code=4).err


@pytest.mark.usefixtures("impatient")
def test_a_web_server_that_is_not_there(published: Path, reader: Read, nobody: str) -> None:
    reader(nobody).fails("pull", code=4)


def test_a_damaged_latest(published: Path, reader: Read) -> None:
    for content in (b"", b"{", b'{"keys": {"index/x": 1}}', b"[]"):
        (published / "latest.json").write_bytes(content)
        with web_server(published) as address:
            clone = reader(address)
            assert "latest.json is damaged" in clone.fails("pull", code=4).err
            shutil.rmtree(clone.path)
