"""The body of an answer: whole or an error, never more than was asked for, and faster than a trickle."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Mapping
from typing import Final

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import IncompleteRead

from vcs_ml.errors import RemoteError
from vcs_ml.store.remotes.protocol import Place, too_short

_PIECE: Final = 1 << 18
_AHEAD: Final = 8 << 20  # bytes of memory that are taken before any came: as long as ranges get
_SLOWEST: Final = 1024  # bytes a second
_PART: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d{1,18}|\*)")


def read(answer: BaseHTTPResponse, most: int, timeout: float) -> bytes:
    """What an answer brings, as it came, or its first `most` bytes.

    Raises IncompleteRead for less than the server said, TimeoutError where less than a kilobyte a second came for
    `timeout` seconds. Who has not read to the end has to close the answer.
    """
    said = answer.length_remaining
    content = io.BytesIO()
    if ahead := min(said or 0, most, _AHEAD):
        content.seek(ahead - 1)
        content.write(b"\0")
        content.seek(0)
    got, marked, since = 0, 0, time.monotonic()
    # read1() returns with what is there, where read() would wait for all of it.
    while got < most and (piece := answer.read1(min(_PIECE, most - got), decode_content=False)):
        got += content.write(piece)
        now = time.monotonic()
        if now - since >= timeout:
            if got - marked < _SLOWEST * timeout:
                raise TimeoutError(f"{got - marked} bytes in {now - since:.0f} s")
            marked, since = got, now
    if said is not None and got < min(said, most):
        raise IncompleteRead(got, said - got)
    return content.getvalue()


def length(headers: Mapping[str, str]) -> int:
    """The Content-Length, 19 digits of it at most; -1 where the server says none."""
    text = headers.get("content-length", "")
    return int(text[:19]) if re.fullmatch("[0-9]+", text) else -1


def check_range(place: Place, key: str, start: int, wanted: int, answer: tuple[int, Mapping[str, str]]) -> None:
    """RemoteError where an answer, its status and headers, does not bring these bytes and no others; TooShort."""
    status, headers = answer
    said = length(headers)
    part = _PART.fullmatch(headers.get("content-range", ""))
    if not part and status != 206 and (start or said != wanted):
        raise RemoteError(
            f"{place}: the server does not send parts of files (it ignores Range)",
            hint="serve the remote with a server that does, and without a proxy between: nginx, Caddy, any bucket",
        )
    first, last = (int(part[1]), int(part[2])) if part else (start, start + (said if said >= 0 else wanted) - 1)
    if first != start or last >= start + wanted or (said >= 0 and said != last - first + 1):
        asked, sent = f"bytes {start}-{start + wanted - 1}", part[0] if part else f"{said} bytes"
        raise RemoteError(
            f"{place}: {key}: the server sends another part than was asked for ({sent}, not {asked})",
            hint="a proxy between may do that; what is stored is not damaged",
        )
    if last < start + wanted - 1:
        raise too_short(place, key, start, wanted)
