"""A reverse HTTP proxy in front of an S3 server: counts what passes, takes its time, damages what it is told to.

As a program: `python -m tests.proxy http://127.0.0.1:PORT [--latency SECONDS]` prints its own address, answers every
line of input with what passed since the last one as JSON, and ends with its input.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

_BUFFER = 1 << 20
_HEAD_MAX = 1 << 16


# --- Faults ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """Do not forward, answer this error as S3 does."""

    status: int
    code: str
    message: str = "injected"


@dataclass(frozen=True)
class Reset:
    """Reset the connection instead of answering; `forwarded`: the server has done what was asked."""

    forwarded: bool


@dataclass(frozen=True)
class Truncate:
    """Close the connection after so many bytes of the response's body (None: half of it)."""

    after: int | None = None


@dataclass(frozen=True)
class FlipDown:
    """Change a byte of the response's body (None: in its middle)."""

    at: int | None = None


@dataclass(frozen=True)
class FlipUp:
    """Change a byte of the uploaded body (None: in its middle)."""

    at: int | None = None


@dataclass(frozen=True)
class Trickle:
    """Send the response's body in pieces of so many bytes, with so many seconds before each."""

    size: int = 1
    every: float = 0.25


@dataclass(frozen=True)
class Stall:
    """Never go on: before anything is forwarded (None), or after so many bytes of the response's body."""

    after: int | None = None


@dataclass(frozen=True)
class Delay:
    """Forward unharmed, this many seconds late."""

    seconds: float


SERVER_ERROR = Answer(500, "InternalError", "We encountered an internal error. Please try again.")
SLOW_DOWN = Answer(503, "SlowDown", "Please reduce your request rate.")
RESET_BEFORE = Reset(forwarded=False)
RESET_AFTER = Reset(forwarded=True)

Fault = Answer | Reset | Truncate | FlipDown | FlipUp | Trickle | Stall | Delay
# (method, path with its query, how many requests there were before) -> what to do to it; None: nothing.
Choose = Callable[[str, str, int], Fault | None]


def some(fault: Fault, *, method: str = "", part: str = "", skip: int = 0, times: int = 1) -> Choose:
    """The fault for `times` requests after the first `skip`, among those of this method and with `part` in the path."""
    seen = 0
    guard = threading.Lock()

    def choose(its_method: str, path: str, number: int) -> Fault | None:
        nonlocal seen
        if method not in ("", its_method) or part not in path:
            return None
        with guard:
            seen += 1
            return fault if skip < seen <= skip + times else None

    return choose


# --- What passed -------------------------------------------------------------------------------------------


@dataclass
class Request:
    """One request: how many began before it, the status it got (0: none), bytes from and to the client, heads too.

    Filled in as it goes on: who has the last byte of the response finds everything counted.
    """

    number: int
    method: str
    path: str
    status: int = 0
    sent: int = 0
    received: int = 0

    def kind(self, under: str = "") -> str:
        """Method and first part of the key below `under` ("BUCKET/PREFIX"), as "PUT packs", "LIST roots", "GET "."""
        parts = urlsplit(self.path)
        key, method = unquote(parts.path).lstrip("/"), self.method
        query = parse_qs(parts.query, keep_blank_values=True)
        bucket, _, inner = key.partition("/")
        if method == "GET" and not inner and ("list-type" in query or "prefix" in query):
            method, key = "LIST", f"{bucket}/{query.get('prefix', [''])[0]}"
        elif method == "POST" and "delete" in query:
            method = "DELETES"
        rest = key.removeprefix(under.strip("/") or bucket).lstrip("/") if inner or method == "LIST" else ""
        return f"{method} {rest.partition('/')[0]}"


class Proxy:
    """Listens on a port of its own as long as the `with` lasts. `choose` may be replaced at any time."""

    def __init__(self, upstream: str, choose: Choose | None = None, *, latency: float = 0.0) -> None:
        place = urlsplit(upstream)
        self._upstream = (place.hostname or "127.0.0.1", place.port or 80)
        self.choose = choose
        self.latency = latency
        self.requests: list[Request] = []  # in the order in which they came
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and end every connection, stalled ones too."""
        self._closing.set()
        # A process forked meanwhile may hold the same sockets: closing them here would not end them.
        _end(self._listener)
        self._accepting.join()
        while True:
            with self._guard:
                for each in self._open:
                    with suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                threads = list(self._threads)
            if not threads:
                return
            threads[0].join(0.1)  # it may have connected just now

    def forget(self) -> None:
        """Count from zero again."""
        with self._guard:
            self.requests.clear()

    def counts(self, under: str = "") -> Counter[str]:
        """How many requests of each kind, as Request.kind tells them."""
        return Counter(request.kind(under) for request in list(self.requests))

    def uploaded(self) -> int:
        """Bytes that clients sent, heads included."""
        return sum(request.sent for request in list(self.requests))

    def downloaded(self) -> int:
        return sum(request.received for request in list(self.requests))

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            thread = threading.Thread(target=self._serve, args=[client], daemon=True)
            with self._guard:
                self._threads.add(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        connection = _Connection(self, client)
        try:
            while not self._closing.is_set() and connection.one_request():
                pass
        except OSError:  # either side went away
            pass
        finally:
            connection.close()
            with self._guard:
                self._threads.discard(threading.current_thread())

    # What connections need of it.

    def _begin(self, method: str, path: str, head: int) -> Request:
        with self._guard:
            self.requests.append(Request(len(self.requests), method, path, sent=head))
            return self.requests[-1]

    def _hold(self, sock: socket.socket) -> _Stream:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._guard:
            self._open.add(sock)
        return _Stream(sock)

    def _drop(self, sock: socket.socket) -> None:
        with self._guard:
            self._open.discard(sock)

    def _connect(self) -> _Stream:
        return self._hold(socket.create_connection(self._upstream))

    def _wait(self, seconds: float | None) -> None:
        if self._closing.wait(seconds):
            raise ConnectionError


# --- HTTP --------------------------------------------------------------------------------------------------


class _Stream:
    """A socket, what was read from it too early, and the request for which bytes are counted."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._early = bytearray()
        self._buffer: memoryview | None = None
        self.request: Request | None = None

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with the mark; nothing where the other side has ended."""
        while (at := self._early.find(mark)) < 0:
            data = self.sock.recv(_HEAD_MAX)
            if not data or len(self._early) > _HEAD_MAX:
                return b""
            self._early += data
        found = bytes(self._early[: at + len(mark)])
        del self._early[: len(found)]
        self._count(len(found))
        return found

    def some(self, limit: int) -> memoryview:
        """At least one byte, at most `limit`, valid until the next call; ConnectionError at the end."""
        if self._early:
            piece = memoryview(bytes(self._early[:limit]))
            del self._early[:limit]
        else:
            if self._buffer is None:
                self._buffer = memoryview(bytearray(_BUFFER))
            size = self.sock.recv_into(self._buffer, min(limit, _BUFFER))
            piece = self._buffer[:size]
        if not piece:
            raise ConnectionError
        self._count(len(piece))
        return piece

    def send(self, data: bytes | memoryview) -> None:
        if self.request:
            self.request.received += len(data)
        self.sock.sendall(data)

    def _count(self, size: int) -> None:
        if self.request:
            self.request.sent += size

    def is_over(self) -> bool:
        """Whether the other side has ended a connection that waits for its next request."""
        return bool(select.select([self.sock], [], [], 0)[0])


class _Head:
    """First line and headers of a message; a header's name is in small letters."""

    def __init__(self, raw: bytes) -> None:
        self.first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        self.headers = [(name, value.strip()) for name, _, value in pairs]

    def get(self, wanted: str) -> str:
        return next((value.lower() for name, value in self.headers if name.lower() == wanted), "")

    @property
    def is_chunked(self) -> bool:
        return self.get("transfer-encoding") == "chunked"

    @property
    def length(self) -> int | None:
        return int(self.get("content-length")) if self.get("content-length") and not self.is_chunked else None

    def encode(self, *, keep: bool) -> bytes:
        """The head with another opinion on whether the connection stays."""
        lines = [f"{name}: {value}" for name, value in self.headers if name.lower() not in ("connection", "keep-alive")]
        if not keep:
            lines.append("Connection: close")
        first = self.first.replace("HTTP/1.0", "HTTP/1.1", 1)
        return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


Pieces = Iterator[tuple[memoryview, bool]]  # bytes as they lie on the wire, and whether they are of the body itself


def _exactly(stream: _Stream, length: int) -> Pieces:
    while length:
        piece = stream.some(length)
        length -= len(piece)
        yield piece, True


def _chunks(stream: _Stream) -> Pieces:
    while line := stream.until(b"\r\n"):
        yield memoryview(line), False
        size = int(line.partition(b";")[0], 16)
        if size:
            yield from _exactly(stream, size)
        while (end := stream.until(b"\r\n")) not in (b"\r\n", b""):
            yield memoryview(end), False  # a trailer
        yield memoryview(end), False
        if not size:
            return
    raise ConnectionError


def _until_end(stream: _Stream) -> Pieces:
    with suppress(ConnectionError):
        while True:
            yield stream.some(_BUFFER), True


def _flipped(pieces: Pieces, at: int) -> Pieces:
    """The same with another byte at this place of the body; a chunked body without such a place ends too early."""
    for piece, is_body in pieces:
        if is_body and 0 <= at < len(piece):
            changed = bytearray(piece)
            changed[at] ^= 0xFF
            yield memoryview(changed), True
            at = -1
        elif at >= 0 and _is_last(piece, is_body):
            raise ConnectionError
        else:
            yield piece, is_body
            at -= len(piece) if is_body and at >= 0 else 0


def _place(wanted: int | None, length: int | None) -> int:
    """A place inside the body: as wanted, or its middle (its begin where nobody says how long it is)."""
    if length is None:
        return wanted or 0
    return length // 2 if wanted is None else min(wanted, length - 1)


def _is_last(piece: memoryview, is_body: bool) -> bool:
    """Whether this is the line before the end of a chunked body."""
    return not is_body and bytes(piece[:2]).strip() == b"0"


def _end(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _reset(sock: socket.socket) -> None:
    """End a connection with RST, even where a forked process holds the same socket."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if sys.platform == "linux":  # connecting to nowhere disconnects for everybody
        ctypes.CDLL(None).connect(sock.fileno(), struct.pack("@H14x", socket.AF_UNSPEC), 16)
    sock.close()


class _Connection:
    """A client's connection and the one to the server that serves it."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._sock = client
        self._client = proxy._hold(client)
        self._server: _Stream | None = None

    def close(self) -> None:
        self._hang_up()
        self._proxy._drop(self._sock)
        _end(self._sock)

    def one_request(self) -> bool:
        """Serve the next request; whether there may be another."""
        client = self._client
        client.request = None
        if not (raw := client.until(b"\r\n\r\n")):
            return False
        request = _Head(raw)
        method, path, _ = request.first.split(" ")
        client.request = self._counted = self._proxy._begin(method, path, len(raw))
        choose = self._proxy.choose
        fault = choose(method, path, self._counted.number) if choose else None
        if self._proxy.latency:
            self._proxy._wait(self._proxy.latency)
        return self._serve(request, method, fault)

    def _serve(self, request: _Head, method: str, fault: Fault | None) -> bool:
        body = _chunks(self._client) if request.is_chunked else _exactly(self._client, request.length or 0)
        has_body = bool(request.is_chunked or request.length)
        waits = request.get("expect") == "100-continue"
        if isinstance(fault, Answer):
            return self._refuse(fault, body, method, waits=waits)
        if isinstance(fault, Stall) and fault.after is None:
            self._proxy._wait(None)
        if fault == RESET_BEFORE or (isinstance(fault, FlipUp) and not has_body):
            return self._reset_client()
        if isinstance(fault, Delay):
            self._proxy._wait(fault.seconds)
        if isinstance(fault, FlipUp):
            body = _flipped(body, _place(fault.at, request.length))
        server = self._server
        if server is None or server.is_over():
            self._hang_up()
            server = self._server = self._proxy._connect()
        server.send(request.encode(keep=True))
        answer = self._answer(server) if waits else None
        if answer is not None and answer.first.split(" ")[1] == "100":
            self._client.send(answer.encode(keep=True))
            answer = None
        whole = False  # a client that is refused may or may not send the body
        if answer is None:
            whole = self._pass(body, server)
            answer = self._answer(server)
        if fault == RESET_AFTER:
            for _ in self._body(answer, method, server):
                pass
            return self._reset_client()
        return self._reply(answer, method, server, fault, keep=whole and request.get("connection") != "close")

    def _pass(self, body: Pieces, server: _Stream) -> bool:
        """Send the body on; False where the server did not want all of it."""
        refused = False
        for piece, _ in body:
            if not refused:
                try:
                    server.send(piece)
                except OSError:
                    refused = True
        return not refused

    def _answer(self, server: _Stream) -> _Head:
        raw = server.until(b"\r\n\r\n")
        if not raw:
            raise ConnectionError
        return _Head(raw)

    def _body(self, answer: _Head, method: str, server: _Stream) -> Pieces:
        status = int(answer.first.split(" ")[1])
        if method == "HEAD" or status in (204, 304) or answer.length == 0:
            return iter(())
        if answer.is_chunked:
            return _chunks(server)
        return _until_end(server) if answer.length is None else _exactly(server, answer.length)

    def _reply(self, answer: _Head, method: str, server: _Stream, fault: Fault | None, *, keep: bool) -> bool:
        body = self._body(answer, method, server)
        delimited = answer.length is not None or answer.is_chunked or method == "HEAD"
        status = int(answer.first.split(" ")[1])
        keep = keep and (delimited or status in (204, 304))
        first = next(body, None)
        damages = isinstance(fault, FlipDown | Truncate | Stall)
        if damages and (first is None or not delimited):  # nothing to damage, or no way to notice
            return self._reset_client()
        rest = _again(first, body)
        if isinstance(fault, FlipDown):
            rest = _flipped(rest, _place(fault.at, answer.length))
        self._counted.status = status
        self._client.send(answer.encode(keep=keep))
        if isinstance(fault, Truncate | Stall):
            left = _place(fault.after, answer.length)
            for piece, is_body in rest:
                if _is_last(piece, is_body) or (is_body and len(piece) >= left):
                    self._client.send(piece[:left] if is_body else b"")
                    break
                self._client.send(piece)
                left -= len(piece) if is_body else 0
            if isinstance(fault, Stall):
                self._proxy._wait(None)
            return False
        if isinstance(fault, Trickle):
            for piece, _ in rest:
                for at in range(0, len(piece), fault.size):
                    self._proxy._wait(fault.every)
                    self._client.send(piece[at : at + fault.size])
        else:
            for piece, _ in rest:
                self._client.send(piece)
        if answer.get("connection") == "close" or not delimited or not keep:
            self._hang_up()
        return keep

    def _refuse(self, fault: Answer, body: Pieces, method: str, *, waits: bool) -> bool:
        if not waits:  # otherwise it sends the body only when it is asked to
            for _ in body:
                pass
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message>"
            "<RequestId>0</RequestId></Error>"
        ).encode()
        self._counted.status = fault.status
        stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        self._client.send(
            f"HTTP/1.1 {fault.status} {fault.code}\r\nDate: {stamp}\r\nContent-Type: application/xml\r\n"
            f"Content-Length: {len(text)}\r\n{'Connection: close' if waits else 'X-Fault: 1'}\r\n\r\n".encode()
        )
        if method != "HEAD":
            self._client.send(text)
        return not waits

    def _reset_client(self) -> bool:
        self._proxy._drop(self._sock)
        _reset(self._sock)
        return False

    def _hang_up(self) -> None:
        if self._server is not None:
            self._proxy._drop(self._server.sock)
            _end(self._server.sock)
            self._server = None


def _again(first: tuple[memoryview, bool] | None, rest: Pieces) -> Pieces:
    if first is not None:
        yield first
        yield from rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream")
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    with Proxy(options.upstream, latency=options.latency) as proxy:
        print(proxy.endpoint, flush=True)
        for line in sys.stdin:
            found = {"requests": proxy.counts(line.strip()), "up": proxy.uploaded(), "down": proxy.downloaded()}
            proxy.forget()
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
