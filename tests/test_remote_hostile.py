"""Servers that never end, send what nobody asked for, or say what is not so: an error, soon and in little memory."""

from __future__ import annotations

import itertools
import os
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.proxy import FlipUp, Proxy, some
from tests.servers import Server, raw_server
from vcs_ml.errors import RemoteError, UserError, VmlError
from vcs_ml.settings import Value
from vcs_ml.store.remotes import open_remote, protocol, retry, s3
from vcs_ml.store.remotes.protocol import Backend

KEYS: dict[str, Value] = {"region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"}
Answer = Callable[[str, str], Iterable[bytes]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks in vain gives up soon, and what is read whole is small."""
    monkeypatch.setattr(retry, "TRIES", 2)
    monkeypatch.setattr(retry, "_FIRST", 0.01)
    monkeypatch.setattr(protocol, "_RECORD_MAX", 1 << 20)
    monkeypatch.setattr(s3, "_SAID_MAX", 1 << 20)


@contextmanager
def facing(answer: Answer, kind: str, **options: Value) -> Iterator[Backend]:
    """The backend of a remote that answers so; nothing that is done with it may take much memory."""
    with raw_server(answer) as address:
        url, more = (address, {}) if kind == "http" else ("s3://bucket/fruit", {**KEYS, "endpoint_url": address})
        backend = open_remote(url, {**more, **options}, base=Path("/"))
        tracemalloc.start()
        try:
            yield backend
            assert tracemalloc.get_traced_memory()[1] < 30 << 20
        finally:
            tracemalloc.stop()


def head(status: int, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} So", "Connection: close", *lines, "", ""]).encode()


def endless(start: bytes, piece: bytes = b"x" * 65536) -> Iterable[bytes]:
    return itertools.chain([start], itertools.repeat(piece))


CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"


@pytest.fixture(params=["http", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    "pieces",
    [
        lambda: endless(head(200)),
        lambda: endless(head(200, "Transfer-Encoding: chunked"), CHUNK),
        lambda: endless(head(200, "Content-Length: 99999999999999")),
        lambda: endless(head(200, f"Content-Length: {'9' * 5000}")),
    ],
)
def test_what_never_ends_is_refused(kind: str, pieces: Callable[[], Iterable[bytes]]) -> None:
    with facing(lambda *_: pieces(), kind) as backend, pytest.raises(RemoteError):
        backend.read("vml.json")


@pytest.mark.parametrize("status", [301, 403, 404, 416, 503])
def test_an_error_that_never_ends(kind: str, status: int) -> None:
    with facing(lambda *_: endless(head(status)), kind) as backend, pytest.raises(RemoteError):
        backend.read("vml.json")


def test_a_list_that_never_ends() -> None:
    start = head(200) + b'<?xml version="1.0"?><ListBucketResult>'
    more, says = b"<Contents><Key>fruit/x</Key></Contents>" * 2000, "does not answer like an S3 server"
    with facing(lambda *_: endless(start, more), "s3") as backend, pytest.raises(RemoteError, match=says):
        backend.peek()


@pytest.mark.parametrize("period", [1, 3])
def test_a_list_that_goes_round(period: int) -> None:
    count = itertools.count()

    def answer(method: str, path: str) -> list[bytes]:
        said = f"<NextContinuationToken>{next(count) % period}</NextContinuationToken>"
        return [
            head(200),
            f"<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>{said}</ListBucketResult>".encode(),
        ]

    with facing(answer, "s3") as backend, pytest.raises(RemoteError, match="goes round"):
        list(backend.list("index/"))


def test_what_comes_packed_is_not_unpacked(kind: str) -> None:
    bomb = zlib.compress(bytes(100 << 20), wbits=31)
    start = head(200, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}")
    with facing(lambda *_: [start, bomb], kind) as backend:
        if kind == "s3":  # some servers say that of all they have
            assert backend.read("vml.json") == bomb
        else:
            with pytest.raises(RemoteError, match="encoded"):
                backend.read("vml.json")


@pytest.mark.parametrize(
    "pieces",
    [
        [head(200), b"hello"],
        [head(200, "Transfer-Encoding: chunked"), b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
        [head(200, "Content-Length: 5", "Date: Thu, 01 Jan 99999999999 00:00:00 GMT"), b"hello"],
        [head(200, "Content-Length: 5", "Date: Thu, 99 Jan 2024 99:00:00 GMT"), b"hel", b"lo"],
    ],
)
def test_odd_answers_that_are_right(kind: str, pieces: list[bytes]) -> None:
    with facing(lambda *_: pieces, kind) as backend:
        assert backend.read("vml.json") == b"hello"


def test_what_ends_too_early_is_no_answer(kind: str) -> None:
    pieces = [head(200, "Content-Length: 9"), b"hello"]
    with facing(lambda *_: pieces, kind) as backend, pytest.raises(RemoteError, match="broke"):
        backend.read("vml.json")


@pytest.mark.parametrize(
    ("lines", "sent", "says"),
    [
        (["Content-Length: 9"], b"123456789", "ignores Range"),
        (["Content-Length: 3", "Content-Range: bytes 3-5/9"], b"456", "another part"),
        (["Content-Length: 2", "Content-Range: bytes 2-4/9"], b"34", "another part"),
        (["Content-Length: 2", "Content-Range: bytes 2-3/4"], b"34", "truncated"),
        (["Content-Length: 9", "Content-Range: bytes 2-10/99"], b"345678901", "another part"),
    ],
)
def test_another_part_than_was_asked_for(kind: str, lines: list[str], sent: bytes, says: str) -> None:
    answer = head(206 if len(lines) > 1 else 200, *lines)
    with facing(lambda *_: [answer, sent], kind) as backend, pytest.raises(RemoteError, match=says):
        backend.read_range("packs/ab/x", 2, 3)


def test_a_trickle_is_as_good_as_silence(kind: str) -> None:
    hold = iter(range(1000))

    def slowly() -> Iterator[bytes]:
        yield head(206, "Content-Length: 1000", "Content-Range: bytes 0-999/1000")
        for _ in hold:
            tick.wait(0.05)
            yield b"x"

    tick = threading.Event()
    with facing(lambda *_: slowly(), kind, timeout=0.3) as backend, pytest.raises(RemoteError):
        backend.read_range("packs/ab/x", 0, 1000)
    assert next(hold) < 100


@pytest.mark.parametrize("there", [None, b"other", b"mine"])
def test_there_already_is_looked_at(there: bytes | None) -> None:
    def answer(method: str, path: str) -> list[bytes]:
        if method == "PUT":
            return [head(412), b"<Error><Code>PreconditionFailed</Code></Error>"]
        if there is None:
            return [head(404), b"<Error><Code>NoSuchKey</Code></Error>"]
        return [head(200, f"Content-Length: {len(there)}"), there]

    with facing(answer, "s3") as backend:
        for key in ("index/1.idx", "roots/1.json", "pushing/1.json", "gc/deleted/1.json"):
            if there == b"mine":
                assert not backend.write_new(key, b"mine")
            else:
                with pytest.raises(RemoteError, match="there already"):
                    backend.write_new(key, b"mine")
        assert not backend.write_new("vml.json", b"mine")  # is read back, whoever wrote it


@pytest.mark.parametrize("times", [1, 9])
def test_an_upload_that_is_changed_on_its_way(moto: Server, times: int) -> None:
    bucket = moto.bucket()  # on a server that ignores Content-MD5
    data = b"x" * 1000
    with Proxy(bucket.endpoint, some(FlipUp(), method="PUT", times=times)) as proxy:
        backend = open_remote(bucket.url, {**KEYS, "endpoint_url": proxy.endpoint}, base=Path("/"))
        if times == 1:
            assert backend.write_new("index/1.idx", data)
            assert bucket.get("index/1.idx") == data
        else:
            with pytest.raises(RemoteError, match="other bytes than were sent"):
                backend.write_new("index/1.idx", data)


def test_tags_that_are_no_md5() -> None:
    asked = []

    def answer(method: str, path: str) -> list[bytes]:
        asked.append(method)
        if method == "GET":
            return [head(206, "Content-Length: 4", "Content-Range: bytes 0-3/4"), b"mine"]
        return [head(200, f'ETag: "{"0" * 32}"', "Content-Length: 0")]

    with facing(answer, "s3") as backend:
        for n in range(3):
            backend.replace(f"packs/{n}", b"mine")
    assert asked == ["PUT", "GET", "PUT", "PUT"]


def test_no_time_is_no_trace(kind: str) -> None:
    with facing(lambda *_: [head(200, "Content-Length: 5")], kind) as backend:
        if kind == "s3":
            with pytest.raises(RemoteError, match="no time"):
                backend.stat("vml.json")
        else:
            assert backend.stat("vml.json") is not None


def test_what_a_server_says_is_one_line() -> None:
    said = "<Code>Bad\x9b31m</Code><Message>ev\nerror: il\u202e\x85\n  error: too</Message>"
    pieces = [head(400), f"<Error>{said}</Error>".encode()]
    with facing(lambda *_: pieces, "s3") as backend, pytest.raises(RemoteError) as caught:
        backend.read("vml.json")
    assert caught.value.message.endswith(r"answers 400 Bad\x9b31m: ev\x0aerror: il\u202e\x85\x0a  error: too")


@pytest.mark.parametrize(
    ("moved", "hint"),
    [
        ("http://127.0.0.1:1/x", "endpoint_url http://127.0.0.1:1"),
        ("file:///etc/passwd", "is endpoint_url right"),
        ("http://ada:secret@host/", "is endpoint_url right"),
        ("ftp://x/", "is endpoint_url right"),
        ("http://x;reboot", "endpoint_url 'http://x;reboot'"),
    ],
)
@pytest.mark.parametrize("setting", ["endpoint_url", "environment"])
def test_a_server_that_sends_us_elsewhere(moved: str, hint: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(method: str, path: str) -> list[bytes]:
        asked.append(path)
        return [head(307, f"Location: {moved}")]

    with raw_server(answer) as address:
        options = KEYS | {"endpoint_url": address}
        if setting == "environment":
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            options = KEYS
        backend = open_remote("s3://bucket/fruit", options, base=Path("/"))
        with pytest.raises(RemoteError, match="sends us elsewhere") as caught:
            backend.peek()
    assert hint in (caught.value.hint or "")
    assert len(asked) == 1


@pytest.mark.parametrize("url", ["http://[:::::]/x", "http://a..b/x", f"http://{'a' * 300}/x", "http://[::1/x"])
def test_addresses_that_nobody_can_have(url: str) -> None:
    with pytest.raises(UserError, match="no address to read from"):
        open_remote(url, {}, base=Path("/")).read("vml.json")


@pytest.mark.parametrize("endpoint", ["http://[::1", "http://127.0.0.1:99999999", "http://127.0.0.1:99999"])
def test_servers_that_nobody_can_have(endpoint: str) -> None:
    with pytest.raises(VmlError) as caught:
        open_remote("s3://bucket/fruit", KEYS | {"endpoint_url": endpoint}, base=Path("/")).peek()
    assert "broke" not in caught.value.message


def test_a_bundle_that_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for url in ("https://127.0.0.1:1", "s3://bucket/fruit"):
        with pytest.raises(UserError, match="it is no file"):
            open_remote(url, {"ca_bundle": str(tmp_path / "fifo")}, base=Path("/"))


def test_who_asks_says_so() -> None:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("User-Agent", ""))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        with pytest.raises(RemoteError):
            open_remote(f"http://127.0.0.1:{server.server_port}", {}, base=Path("/")).read("vml.json")
    assert seen == ["vcs-ml"]
