"""The proxy of the S3 tests: what passes it unharmed, and that each fault does what it says."""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError

from tests import proxy as p
from tests.proxy import Proxy, some
from tests.servers import S3Bucket, Server

BODY = random.Random(0).randbytes(300_000)
# Of what a client says to a connection that ends before its time.
BROKEN = (http.client.HTTPException, ConnectionError)


class Handler(BaseHTTPRequestHandler):
    """GET gives BODY (`/chunked`: in chunks, `/empty`: nothing); PUT keeps what it gets."""

    protocol_version = "HTTP/1.1"
    kept: list[bytes]

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(BODY), 70_001):
                piece = BODY[at : at + 70_001]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            body = b"" if self.path == "/empty" else BODY
            self.send_header("Content-Length", str(len(body)))
            if self.path == "/close":
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        data = b""
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.kept.append(data)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """The server and what was put on it."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        super().__init__(("127.0.0.1", 0), type("Bound", (Handler,), {"kept": self.kept}))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:  # a connection that a fault ended
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def client(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(proxy.endpoint.removeprefix("http://"), timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


# --- Nothing is harmed -------------------------------------------------------------------------------------


def test_everything_passes_on_one_connection(site: Site) -> None:
    with Proxy(site.url) as proxy, client(proxy) as connection:
        assert ask(connection, "GET", "/x") == (200, BODY)
        port = connection.sock.getsockname()
        assert ask(connection, "HEAD", "/x") == (200, b"")
        assert ask(connection, "GET", "/empty") == (200, b"")
        assert ask(connection, "GET", "/chunked") == (200, BODY)
        assert ask(connection, "GET", "/close") == (200, BODY)  # the server's wish, not the client's
        assert ask(connection, "PUT", "/x", BODY) == (200, b"")
        connection.request("PUT", "/x", iter([BODY[:100], BODY[100:]]), encode_chunked=True)
        assert connection.getresponse().read() == b""
        assert connection.sock.getsockname() == port

        assert site.kept == [BODY, BODY]
        assert [request.method for request in proxy.requests] == ["GET", "HEAD", "GET", "GET", "GET", "PUT", "PUT"]
        assert [request.number for request in proxy.requests] == list(range(7))
        assert all(request.status == 200 for request in proxy.requests)
        assert 2 * len(BODY) < proxy.uploaded() < 2 * len(BODY) + 2000
        assert 3 * len(BODY) < proxy.downloaded() < 3 * len(BODY) + 2000


def test_body_that_is_asked_for_passes(site: Site) -> None:
    with Proxy(site.url) as proxy, client(proxy) as connection:
        connection.putrequest("PUT", "/x")
        connection.putheader("Content-Length", str(len(BODY)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(13, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HTTP/1.1 100 "
        connection.send(BODY)
        assert connection.getresponse().read() == b""
    assert site.kept == [BODY]


def test_many_at_once(site: Site) -> None:
    results = []

    def work() -> None:
        with client(proxy) as connection:
            results.extend(ask(connection, "GET", "/x") for _ in range(5))

    with Proxy(site.url) as proxy:
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert results == [(200, BODY)] * 80
        assert sorted(request.number for request in proxy.requests) == list(range(80))


def test_requests_are_told_apart() -> None:
    def kind(method: str, path: str, under: str = "bucket/some/prefix") -> str:
        return p.Request(0, method, path, 200, 0, 0).kind(under)

    assert kind("PUT", "/bucket/some/prefix/packs/ab/x.pack") == "PUT packs"
    assert kind("GET", "/bucket/some/prefix/vml.json") == "GET vml.json"
    assert kind("GET", "/bucket?list-type=2&prefix=some%2Fprefix%2Froots%2F&encoding-type=url") == "LIST roots"
    assert kind("POST", "/bucket?delete") == "DELETES "
    assert kind("PUT", "/bucket/packs/x", under="") == "PUT packs"


# --- Faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [p.SERVER_ERROR, p.SLOW_DOWN])
def test_error_is_answered_and_the_connection_stays(site: Site, fault: p.Answer) -> None:
    with Proxy(site.url, some(fault, method="PUT")) as proxy, client(proxy) as connection:
        status, body = ask(connection, "PUT", "/x", BODY)
        assert (status, fault.code.encode() in body) == (fault.status, True)
        assert site.kept == []
        assert ask(connection, "PUT", "/x", BODY) == (200, b"")


def test_error_instead_of_asking_for_the_body(site: Site) -> None:
    with Proxy(site.url, some(p.SLOW_DOWN)) as proxy, client(proxy) as connection:
        connection.putrequest("PUT", "/x")
        connection.putheader("Content-Length", str(len(BODY)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.getresponse().status == 503


@pytest.mark.parametrize("fault", [p.RESET_BEFORE, p.RESET_AFTER])
def test_connection_is_reset(site: Site, fault: p.Reset) -> None:
    with Proxy(site.url, some(fault)) as proxy, client(proxy) as connection, pytest.raises(ConnectionResetError):
        ask(connection, "PUT", "/x", b"small")
    assert site.kept == ([b"small"] if fault.forwarded else [])


@pytest.mark.parametrize("path", ["/x", "/chunked"])
@pytest.mark.parametrize("at", [None, 0, 200_000, len(BODY), 10**9])
def test_truncated_response_is_noticed(site: Site, path: str, at: int | None) -> None:
    with Proxy(site.url, some(p.Truncate(at))) as proxy, client(proxy) as connection, pytest.raises(BROKEN):
        ask(connection, "GET", path)


@pytest.mark.parametrize("path", ["/x", "/chunked"])
@pytest.mark.parametrize("at", [None, 0, 200_000])
def test_one_byte_of_the_response_is_another(site: Site, path: str, at: int | None) -> None:
    with Proxy(site.url, some(p.FlipDown(at))) as proxy, client(proxy) as connection:
        status, body = ask(connection, "GET", path)
        assert status == 200
        assert [i for i in range(len(BODY)) if body[i] != BODY[i]] == [
            (0 if path == "/chunked" else len(BODY) // 2) if at is None else at
        ]
        assert ask(connection, "GET", path) == (200, BODY)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_one_byte_of_the_upload_is_another(site: Site, is_chunked: bool) -> None:
    with Proxy(site.url, some(p.FlipUp(3))) as proxy, client(proxy) as connection:
        for _ in range(2):
            connection.request("PUT", "/x", iter([BODY]) if is_chunked else BODY, encode_chunked=is_chunked)
            assert connection.getresponse().read() == b""
    assert site.kept == [BODY[:3] + bytes([BODY[3] ^ 0xFF]) + BODY[4:], BODY]


@pytest.mark.parametrize("fault", [p.FlipDown(10**9), p.FlipUp(10**9)])
def test_place_behind_the_end_is_the_last(site: Site, fault: p.Fault) -> None:
    with Proxy(site.url, some(fault)) as proxy, client(proxy) as connection:
        if isinstance(fault, p.FlipUp):
            ask(connection, "PUT", "/x", BODY)
        found = site.kept[0] if site.kept else ask(connection, "GET", "/x")[1]
    assert found == BODY[:-1] + bytes([BODY[-1] ^ 0xFF])


@pytest.mark.parametrize("fault", [p.FlipDown(), p.FlipUp(), p.Truncate(), p.Stall(0)])
def test_what_has_no_body_is_reset(site: Site, fault: p.Fault) -> None:
    with Proxy(site.url, some(fault)) as proxy, client(proxy) as connection, pytest.raises(ConnectionResetError):
        ask(connection, "HEAD", "/x")


def test_trickle_is_slow_and_whole(site: Site) -> None:
    with Proxy(site.url, some(p.Trickle(size=100_000, every=0.05))) as proxy, client(proxy) as connection:
        start = time.monotonic()
        assert ask(connection, "GET", "/x") == (200, BODY)
        assert time.monotonic() - start >= 0.15


@pytest.mark.parametrize(("after", "got"), [(None, b""), (100, BODY[:100])])
def test_stall_ends_with_the_proxy(site: Site, after: int | None, got: bytes) -> None:
    with Proxy(site.url, some(p.Stall(after))) as proxy, client(proxy) as connection:
        connection.request("GET", "/x")
        if got:
            response = connection.getresponse()
            assert response.read(len(got)) == got
        connection.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.sock.recv(1)
        proxy.close()
        connection.sock.settimeout(30)
        assert connection.sock.recv(1) == b""
    assert site.kept == []


def test_every_request_takes_its_time(site: Site) -> None:
    with Proxy(site.url, latency=0.05) as proxy, client(proxy) as connection:
        start = time.monotonic()
        for _ in range(3):
            assert ask(connection, "GET", "/empty") == (200, b"")
        assert time.monotonic() - start >= 0.15


def test_faults_are_chosen(site: Site) -> None:
    with Proxy(site.url, some(p.SLOW_DOWN, method="GET", part="/packs/", skip=1, times=2)) as proxy:
        with client(proxy) as connection:
            assert [ask(connection, "GET", "/packs/x")[0] for _ in range(4)] == [200, 503, 503, 200]
            proxy.choose = lambda method, path, number: p.SERVER_ERROR if number == 5 else None
            assert [ask(connection, "GET", "/")[0] for _ in range(3)] == [200, 500, 200]
        assert [request.status for request in proxy.requests] == [200, 503, 503, 200, 200, 500, 200]


def test_upload_ends_where_the_server_hangs_up() -> None:
    """The server answers after the head and resets; the client gets that answer, or a connection that ended."""

    class Refusing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)
            self.request.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))

    with socketserver.TCPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with Proxy(url) as proxy, client(proxy) as connection, suppress(BROKEN):
            assert ask(connection, "PUT", "/x", BODY * 20)[0] == 403
        server.shutdown()
        thread.join()


# --- In front of real servers ------------------------------------------------------------------------------


def test_signed_requests_pass(s3: S3Bucket) -> None:
    with Proxy(s3.endpoint) as proxy:
        bucket = s3.through(proxy.endpoint)
        bucket.put("packs/x", BODY)
        assert bucket.get("packs/x") == BODY
        assert bucket.keys("packs/") == ["packs/x"]
        assert proxy.counts() == {"PUT packs": 1, "GET packs": 1, "LIST packs": 1}
        bucket.client.close()


def test_wrong_keys_stay_wrong(rclone: Server) -> None:
    bucket = rclone.bucket()
    with Proxy(rclone.endpoint) as proxy:
        stranger = bucket._replace(server=rclone._replace(secret_key="wrong"), endpoint=proxy.endpoint)
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            stranger.put("x", b"x")
        stranger.client.close()


def test_server_that_checks_refuses_a_changed_upload(rclone: Server) -> None:
    bucket = rclone.bucket()
    with Proxy(rclone.endpoint, some(p.FlipUp(), method="PUT")) as proxy:
        through = bucket.through(proxy.endpoint)
        through.put("x", BODY)  # signed with its SHA-256, which this server does not compare
        assert bucket.get("x") != BODY
        proxy.choose = some(p.FlipUp(), method="PUT")
        digest = base64.b64encode(hashlib.md5(BODY).digest()).decode()
        with pytest.raises(ClientError, match="BadDigest"):
            through.client.put_object(Bucket=through.name, Key="y", Body=BODY, ContentMD5=digest)
        through.client.close()
    assert bucket.keys() == ["x"]
