"""What people are told where a remote does not work: what is wrong, and a hint that can be pasted."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.proxy import Answer, Choose, Proxy
from tests.servers import S3Bucket, Server, saying, web_server
from vcs_ml.store.remotes import retry

PAGE = "<html><head><title>MinIO Console</title></head><body><p>Log in</p></body></html>"
Says = Callable[..., str]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks in vain gives up soon."""
    monkeypatch.setattr(retry, "TRIES", 2)
    monkeypatch.setattr(retry, "_FIRST", 0.01)


@pytest.fixture
def strict(rclone: Server, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A new bucket on the server that checks keys; the environment has them."""
    for name, value in rclone.environment().items():
        monkeypatch.setenv(name, value)
    return rclone.bucket()


def at(repo: Repo, endpoint: str, url: str = "s3://bucket/fruit", *more: str) -> str:
    """Make `fruit` the default remote at an endpoint, unasked unless `more` says so; what that printed."""
    options = ["--set", f"endpoint_url={endpoint}", "--set", "region=us-east-1"]
    result = repo.run("remote", "add", "-d", "fruit", url, *options, *(more or ["--no-check"]))
    repo.write("a", "a")
    repo.run("add", "a")
    return result.out + result.err


def told(repo: Repo, *command: str, code: int = 4) -> str:
    """The error of a command, which calls the remote by its name, and whose hint has no gaps."""
    said = repo.fails(*command, code=code).err
    assert "remote 'fruit': " in said, said
    assert "NAME" not in said, said
    return said


# --- Answers of what is no S3 server -----------------------------------------------------------------------


@pytest.mark.parametrize("page", [PAGE, "<!doctype html><html><br><p>Log in", "", "{}"])
def test_a_server_that_answers_anything_with_a_page(repo: Repo, strict: S3Bucket, page: str) -> None:
    with saying(lambda *_: (200, {"Content-Type": "text/html"}, page)) as address:
        assert "does not answer like an S3 server" in at(repo, address, "s3://bucket/fruit", "--check")
        for command in (("push",), ("fetch",), ("fsck", "--remote")):
            said = repo.fails(*command, code=4).err
            assert "does not answer like an S3 server" in said
            assert f"hint: is {address} its S3 address" in said
        assert "vml remote modify fruit endpoint_url URL" in told(repo, "push")
        doctor = repo.run("doctor", "--remote", "fruit", ok=False)
        assert (doctor.code, "does not answer like an S3 server" in doctor.out) == (1, True)
        assert not doctor.err


def listing(*contents: str, more: str = "") -> str:
    each = "".join(f"<Contents>{one}</Contents>" for one in contents)
    return f"<ListBucketResult><Name>bucket</Name><KeyCount>1</KeyCount>{more}{each}</ListBucketResult>"


KEY, SIZE = "<Key>fruit/vml.json</Key>", "<Size>10</Size>"
TIME = "<LastModified>2024-01-01T00:00:00.000Z</LastModified>"


@pytest.mark.parametrize(
    "text",
    [
        listing(SIZE + TIME),
        listing(KEY + TIME),
        listing(KEY + SIZE),
        listing(KEY + TIME + "<Size>-1</Size>"),
        listing(KEY + TIME + "<Size>many</Size>"),
        listing(KEY + SIZE + "<LastModified>yesterday</LastModified>"),
        listing("<Key>other/vml.json</Key>" + SIZE + TIME),
        listing(KEY + SIZE + TIME, more="<IsTruncated>true</IsTruncated>"),
        "<ListBucketResult></ListBucketResult>",
    ],
)
def test_a_list_that_cannot_be(repo: Repo, strict: S3Bucket, text: str) -> None:
    with saying(lambda *_: (200, {}, text)) as address:
        at(repo, address)
        assert "does not answer like an S3 server" in told(repo, "push")


@pytest.mark.parametrize(
    "headers",
    [{}, {"ETag": '"x"'}, {"ETag": '"x"', "Last-Modified": "yesterday"}],
)
def test_other_answers_that_cannot_be(repo: Repo, strict: S3Bucket, headers: dict[str, str]) -> None:
    empty = "<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>"

    def answer(method: str, path: str, login: str) -> tuple[int, dict[str, str], str]:
        return (200, {}, empty) if "list-type" in path else (200, headers if method != "GET" else {}, "")

    with saying(answer) as address:
        at(repo, address)
        result = repo.run("doctor", "--remote", "fruit", ok=False)
        assert "does not answer like an S3 server" in result.out
        assert not result.err


# --- Answers that refuse -----------------------------------------------------------------------------------


def refusing(*answer: Answer, part: str = "") -> Choose:
    return lambda method, path, number: answer[0] if part in path else None


@pytest.mark.parametrize(
    ("answer", "says", "hint"),
    [
        (Answer(400, "ExpiredToken", "The provided token has expired."), "has expired", "log in again"),
        (Answer(400, "TokenRefreshRequired", "Refresh it."), "Refresh", "log in again"),
        (Answer(507, "XMinioStorageFull", "Storage backend has reached its limit."), "full", "vml gc --remote fruit"),
        (Answer(507, "Whatever", ""), "full", "vml gc --remote fruit"),
        (Answer(400, "InvalidRequest", "No."), "400 InvalidRequest: No.", "it would say so again"),
        (Answer(405, "MethodNotAllowed", "No."), "405", "endpoint_url"),
        (Answer(400, "AccessControlListNotSupported", "No ACLs."), "No ACLs", "vml remote modify --unset fruit acl\n"),
        (Answer(400, "KMS.NotFoundException", "No key."), "No key", "vml remote modify fruit sse_kms_key_id KEY\n"),
        (Answer(400, "AuthorizationHeaderMalformed", "No."), "region", "vml remote modify fruit region REGION\n"),
        (Answer(500, "InternalError", "Oh."), "Oh.", "run the command again"),
        (Answer(403, "AccessDenied", "No."), "s3:ListBucket", "they need s3:ListBucket; or somebody who may write"),
    ],
    ids=lambda value: value.code if isinstance(value, Answer) else "",
)
def test_what_the_server_says(repo: Repo, strict: S3Bucket, answer: Answer, says: str, hint: str) -> None:
    with Proxy(strict.endpoint, refusing(answer)) as proxy:
        at(repo, proxy.endpoint, strict.url)
        for command in ("push", "fetch"):
            error, _, after = told(repo, command).partition("hint: ")
            assert says in error
            assert hint in after


def test_without_credentials(repo: Repo, strict: S3Bucket) -> None:
    at(repo, strict.endpoint, strict.url, "--no-check", "--set", "anonymous=true")
    assert "hint: vml remote modify --unset fruit anonymous" in told(repo, "push")
    with Proxy(strict.endpoint, refusing(Answer(400, "InvalidRequest", "Who are you?"))) as proxy:
        repo.run("remote", "modify", "fruit", "endpoint_url", proxy.endpoint)
        assert "vml remote modify --unset fruit anonymous" in told(repo, "push")


def test_what_was_archived(repo: Repo, strict: S3Bucket) -> None:
    with Proxy(strict.endpoint) as proxy:
        at(repo, proxy.endpoint, strict.url)
        repo.commit("data")
        repo.run("push")
        proxy.choose = refusing(Answer(403, "InvalidObjectState", "Wrong class."), part="/packs/")
        said = repo.clone("clone").fails("pull", code=4).err
        assert "is archived, and must be restored" in said
        assert "restore-object" in said


def test_a_latest_json_that_is_denied_comes_second(repo: Repo, strict: S3Bucket) -> None:
    with Proxy(strict.endpoint, refusing(Answer(403, "AccessDenied", "No."))) as proxy:
        at(repo, proxy.endpoint, strict.url)
        said = told(repo, "fetch")
        assert "may not list the bucket (s3:ListBucket)" in said
        assert "vml remote modify fruit public true" in said


# --- Credentials and settings ------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["access_key_id", "secret_access_key", "session_token"])
def test_a_part_of_the_credentials(repo: Repo, rclone: Server, given: str) -> None:
    bucket = rclone.bucket()
    at(repo, bucket.endpoint, bucket.url)
    repo.run("remote", "modify", "--local", "fruit", given, "x")
    lacks = "access_key_id" if given != "access_key_id" else "secret_access_key"
    said = told(repo, "push", code=3)
    assert f"{lacks} is missing" in said
    assert f"hint: vml remote modify --local fruit {lacks} ..." in said


def test_credentials_from_two_files(repo: Repo, rclone: Server) -> None:
    bucket = rclone.bucket()
    at(repo, bucket.endpoint, bucket.url)
    repo.run("config", "--global", "remote.fruit.access_key_id", rclone.access_key)
    repo.run("remote", "modify", "--local", "fruit", "secret_access_key", rclone.secret_key)
    repo.run("push")


@pytest.mark.parametrize(
    ("credentials", "config"),
    [
        ("aws_access_key_id = me", "aws_secret_access_key = x"),
        ("aws_secret_access_key = x", "aws_access_key_id = me"),
        ("aws_session_token = x", ""),
    ],
)
def test_halves_in_the_files_of_aws(repo: Repo, rclone: Server, credentials: str, config: str) -> None:
    for name, text in (("credentials", credentials), ("config", config)):
        path = Path(os.environ["HOME"], ".aws", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[default]\n{text}\n")
    bucket = rclone.bucket()
    at(repo, bucket.endpoint, bucket.url)
    result = repo.run("push", ok=False)
    assert result.code in (3, 4)
    assert "credentials" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("addressing_style", "foo", "is not one of path, virtual, auto"),
        ("sse", "bogus", "is not one of AES256"),
        ("acl", "bogus", "is not one of private"),
        ("timeout", "0", "a number of seconds above 0"),
        ("region", "", "is not text"),
        ("endpoint_url", "minio.example.org", "is not https://HOST or http://HOST:PORT"),
        ("endpoint_url", "http://u:geheim@minio.example.org", "is not https://HOST"),
    ],
)
def test_values_are_checked_when_they_are_set(repo: Repo, key: str, value: str, says: str) -> None:
    repo.run("remote", "add", "fruit", "s3://bucket", "--no-check")
    said = repo.fails("remote", "modify", "fruit", key, value, code=3).err
    assert says in said
    assert said.startswith(f"error: remote.fruit.{key} = ")
    assert "geheim" not in said
    repo.fails("remote", "add", "other", "s3://bucket", "--no-check", "--set", f"{key}={value}", code=3)
    assert len(repo.json("remote", "list")["remotes"]) == 1


def test_a_value_that_looks_like_an_option(repo: Repo) -> None:
    repo.run("remote", "add", "fruit", "s3://bucket", "--no-check")
    assert "behind --" in repo.fails("remote", "modify", "fruit", "timeout", "-3", code=2).err
    assert "above 0" in repo.fails("remote", "modify", "fruit", "timeout", "--", "-3", code=3).err


def test_settings_of_buckets_are_for_buckets(repo: Repo, remote: Path) -> None:
    assert "a setting of buckets" in repo.fails("remote", "modify", "origin", "region", "x", code=3).err
    assert "a setting of buckets" in repo.fails("remote", "add", "o", str(remote), "--set", "sse=AES256", code=3).err
    assert "web address" in repo.fails("remote", "add", "o", "https://x.example", "--set", "sse=AES256", code=3).err
    repo.run("remote", "modify", "origin", "public", "true")


def test_settings_that_only_boto_knows(repo: Repo, strict: S3Bucket) -> None:
    at(repo, strict.endpoint, strict.url)
    repo.run("remote", "modify", "fruit", "profile", "no-such-profile")
    said = told(repo, "push", code=3)
    assert "no-such-profile" in said
    assert "vml remote modify fruit profile PROFILE" in said
    repo.run("remote", "modify", "--unset", "fruit", "profile")
    repo.run("remote", "modify", "fruit", "region", "not a region")
    assert "vml remote modify fruit region REGION" in repo.run("push", ok=False).err
    text = (repo.path / ".vml/config.toml").read_text()
    (repo.path / ".vml/config.toml").write_text(text.replace("not a region", "x").replace("http://", "nowhere:"))
    assert "is not https://HOST" in repo.fails("push", code=3).err


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3:///x", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3://data/x?y=1", "'?' cannot be in a prefix"),
        ("s3://data/x#y", "'#' cannot be in a prefix"),
        ("s3://data/x%20y", "'%' cannot be in a prefix"),
        ("s3://data/x\ny", "cannot be in a prefix"),
        ("s3://data/a/../b", "none that are '.' or '..'"),
        ("s3://data//x//y//", "no empty parts"),
        ("s3://data/x\nerror: fake", "s3://data/x\\x0aerror: fake: '\\n' cannot be in a prefix"),
        ("s3://arn:aws:s3:us-east-1:123456789012:accesspoint/mine/x", "an ARN in an address has no '/'"),
        ("https://data.example.org/x\r\nerror: fake", "/x\\x0d\\x0aerror: fake is no address"),
        ("s3://u:geheim@data/fruit", "s3://***@data/fruit has a user or password in it"),
        ("s3://minio:9000/data", "endpoint_url=http://minio:9000"),
        ("s3://da ta/x", "' ' cannot be in the name of a bucket"),
        ("s3://-data", "cannot be the name of a bucket"),
        (f"s3://data/{'x' * 1000}", "longer than"),
        ("https:///fruit", "no address"),
        ("https://u:geheim@data.example.org/fruit?y=1", "no address"),
        ("https://[data/fruit", "no address"),
    ],
)
def test_addresses_that_cannot_be(repo: Repo, url: str, says: str) -> None:
    said = repo.fails("remote", "add", "fruit", url, "--local", code=2)
    assert says in said.err
    assert "geheim" not in said.err
    assert repo.json("remote", "list")["remotes"] == []
    repo.run("remote", "add", "fruit", "s3://eu/fruit", "--no-check")  # two letters are enough for some servers
    assert says in repo.fails("remote", "modify", "--local", "fruit", "url", url, code=2).err
    repo.write(".vml/config.local.toml", f"[remote.fruit]\nurl = {json.dumps(url)}\n")
    repo.write("a", "a")
    repo.run("add", "a")
    for command in (("push",), ("doctor", "--remote", "fruit"), ("config",), ("remote", "list"), ("-v", "fetch")):
        result = repo.run(*command, ok=False)
        assert "geheim" not in result.out + result.err
        assert "Traceback" not in result.err
    assert says in repo.fails("push", code=3).err


@pytest.mark.parametrize("prefix", ["a b/ü", "données/日本", "a+b=c&d;e,f@g$h!(i)'j*"])
def test_a_prefix_of_any_letters(repo: Repo, s3: S3Bucket, prefix: str) -> None:
    at(repo, s3.endpoint, f"{s3.url}/{prefix}", "--check")
    repo.commit("data")
    repo.run("push")
    assert s3.keys(f"{prefix}/vml.json") == [f"{prefix}/vml.json"]
    clone = repo.clone("clone")
    clone.run("pull")
    assert clone.read("a") == b"a"
    assert json.loads(repo.run("fsck", "--remote", "--json").out)["clean"]


def test_a_password_for_the_web(repo: Repo, remote: Path) -> None:
    """It is sent, and never shown."""
    repo.write("a", "a")
    repo.run("add", "a")
    repo.run("remote", "modify", "origin", "public", "true")
    repo.commit("published")
    repo.run("push")
    seen = []

    def answer(method: str, path: str, login: str) -> tuple[int, dict[str, str], str]:
        seen.append(base64.b64decode(login.removeprefix("Basic ")))
        return 404, {}, ""

    with saying(answer) as address:
        url = address.replace("://", "://ada:ge%20heim@")
        said = repo.run("remote", "add", "web", url, "--local")
        shown = [said.out, said.err]
        for command in (("remote", "list"), ("remote", "list", "--json"), ("config",), ("config", "--json")):
            shown.append(repo.run(*command).out)
            assert "://***@127.0.0.1" in shown[-1]
        for command in (("-v", "fetch", "-r", "web"), ("push", "-r", "web"), ("doctor", "--remote", "web")):
            result = repo.run(*command, ok=False)
            shown += [result.out, result.err]
    assert set(seen) == {b"ada:ge heim"}
    assert not any("heim" in text for text in shown)


# --- TLS ---------------------------------------------------------------------------------------------------


def test_tls_to_a_port_without(repo: Repo, strict: S3Bucket, tmp_path: Path) -> None:
    at(repo, strict.endpoint.replace("http:", "https:"), strict.url)
    said = told(repo, "push")
    assert "does not speak TLS" in said
    assert "vml remote modify fruit endpoint_url http://" in said
    with web_server(tmp_path) as address:
        repo.run("remote", "add", "web", address.replace("http:", "https:"), "--no-check")
        said = repo.fails("fetch", "-r", "web", code=4).err
        assert "does not speak TLS" in said
        assert "vml remote modify web url http://" in said


def test_a_bundle_of_certificates_is_found_from_the_top(repo: Repo, strict: S3Bucket) -> None:
    at(repo, strict.endpoint, strict.url)
    repo.write("certs/own.pem", "no certificate")
    repo.run("remote", "modify", "fruit", "ca_bundle", "own.pem", cwd="certs")
    assert repo.run("config", "remote.fruit.ca_bundle").out == "certs/own.pem\n"
    said = told(repo, "push", code=3)
    assert "there are no certificates in it" in said
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            "key",
            "-out",
            "own.pem",
        ],
        cwd=repo.path / "certs",
        check=True,
        capture_output=True,
    )
    repo.run("push", cwd="certs")
    (repo.path / "certs/own.pem").unlink()
    said = told(repo, "push", code=3)
    assert f"ca_bundle {repo.path}/certs/own.pem: No such file" in said
    assert "not trusted" not in said


# --- Web addresses -----------------------------------------------------------------------------------------


def test_a_web_address_is_only_read(repo: Repo, remote: Path) -> None:
    repo.write("a", "a")
    repo.run("add", "a")
    repo.run("remote", "modify", "origin", "public", "true")
    repo.commit("published")
    repo.run("push")
    with web_server(remote) as address:
        repo.run("remote", "add", "fruit", address)
        for command in (("push", "-r"), ("push", "-n", "-r"), ("fsck", "--remote"), ("gc", "--remote")):
            said = repo.fails(*command, "fruit", code=4).err
            assert "is a web address, which is only read" in said
            assert "hint: run this on the bucket or directory behind it" in said
            assert "latest.json" not in said
    with web_server(remote, ranges=False) as address:
        repo.run("remote", "modify", "fruit", "url", address)
        result = repo.run("doctor", "--remote", "fruit", ok=False)
        assert (result.code, "it ignores Range" in result.out) == (1, True)
    assert "what has arrived" not in repo.run("remote", "add", "gone", address).err


# --- Waiting -----------------------------------------------------------------------------------------------


def test_waiting_is_said_once(repo: Repo, strict: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "TRIES", 3)
    monkeypatch.setattr(retry, "_UNNOTICED", 0.0)
    for n in range(50):
        repo.write(f"data/{n}", f"{n}")
    repo.run("add", "data")
    failed: set[str] = set()

    def once_each(method: str, path: str, number: int) -> Answer | None:
        key = f"{method} {path}"
        if key in failed:
            return None
        failed.add(key)
        return Answer(503, "SlowDown", "Slowly.")

    with Proxy(strict.endpoint, once_each) as proxy:
        at(repo, proxy.endpoint, strict.url)
        said = repo.run("push").err
        assert len(failed) > 4
        assert said.count("waiting") == 1
        assert "waiting: the server asks for fewer requests (try 2 of 3)\n" in said
        failed.clear()
        repo.write("data/1", "new")
        repo.run("commit")
        assert "waiting" not in repo.run("-q", "push").err
    monkeypatch.setattr(retry, "_UNNOTICED", 60.0)
    failed.clear()
    repo.write("data/1", "newer")
    repo.run("commit")
    with Proxy(strict.endpoint, once_each) as proxy:
        repo.run("remote", "modify", "fruit", "endpoint_url", proxy.endpoint)
        assert "waiting" not in repo.run("push").err


# --- Looking -----------------------------------------------------------------------------------------------


def test_what_makes_commands_fail_is_a_problem(repo: Repo, strict: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "problem: " in at(repo, strict.endpoint, "s3://no-such-bucket-here", "--check")

    def level() -> str:
        result = repo.run("doctor", "--remote", "fruit", ok=False)
        assert result.code == 1
        return re.findall(r"^(\w+) +remote fruit: ", result.out, re.MULTILINE)[-1]

    assert level() == "problem"
    repo.run("remote", "modify", "fruit", "url", strict.url)
    strict.put("photo.jpg", b"mine")
    assert level() == "problem"
    strict.delete("photo.jpg")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert level() == "problem"


def test_doctor_asks_only_the_remote_that_is_named(repo: Repo, remote: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    repo.run("remote", "add", "other", str(tmp_path / "other"))
    said = repo.run("doctor", "--remote", "other").out
    assert "remote other: " in said
    assert "remote origin" not in said
    assert "first vml push sets it up" in said


def test_doctor_is_quiet(repo: Repo, remote: Path) -> None:
    assert repo.run("-q", "doctor").out == ""
    repo.run("remote", "add", "gone", "/nowhere/at/all")
    said = repo.run("-q", "doctor", "--remote", "gone", ok=False)
    assert (said.code, said.out.count("\n")) == (1, 2)
    assert said.out.startswith("problem  remote gone: /nowhere/at/all does not exist\n")


def test_where_nothing_may_be_deleted_one_probe_stays(repo: Repo, strict: S3Bucket) -> None:
    denied = Answer(403, "AccessDenied")
    with Proxy(strict.endpoint, lambda method, *_: denied if method == "DELETE" else None) as proxy:
        said = at(repo, proxy.endpoint, strict.url, "--check")
        assert "tmp/probe, which is empty, stays" in said
        repo.run("doctor", "--remote", "fruit")
        assert strict.keys() == ["tmp/probe"]
        repo.run("push")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({}, "object lock, without a time for all"),
        ({"Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 10}}}, "locks every object for 10 days: "),
    ],
)
def test_object_lock(
    repo: Repo, moto: Server, monkeypatch: pytest.MonkeyPatch, rule: dict[str, object], says: str
) -> None:
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    bucket = S3Bucket(moto, f"locked-{len(rule)}", moto.endpoint)
    bucket.client.create_bucket(Bucket=bucket.name, ObjectLockEnabledForBucket=True)
    lock = {"ObjectLockEnabled": "Enabled", **rule}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    assert says in at(repo, moto.endpoint, bucket.url, "--check")


# --- Words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (("status", "-C", "x"), "vml -C DIR status"),
        (("remote", "rm", "x"), "vml remote remove NAME"),
        (("remote", "show"), "vml remote list"),
        (("remote", "set-url", "x", "y"), "vml remote modify NAME url URL"),
        (("remote", "modfy", "x", "y"), "vml remote modify"),
    ],
)
def test_habits(repo: Repo, args: tuple[str, ...], hint: str) -> None:
    assert hint in repo.fails(*args, code=2).err


def test_remote_alone_lists(repo: Repo, remote: Path) -> None:
    assert repo.run("remote").out == repo.run("remote", "list").out == f"* origin  {remote}\n"
