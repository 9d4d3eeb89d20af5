"""A text file as blocks of whole lines, whatever bytes are in it."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.rows.table import ROW_MAX, Opener, too_long

BATCH: Final = 1 << 16  # lines
_BLOCK: Final = 1 << 20  # bytes
_BINARY: Final = 8000  # where a zero byte makes a file binary for Git, too (buffer_is_binary)


class Shape(NamedTuple):
    """What a look at all bytes tells: lines at most; whether it has a quote, and line ends other than LF and CRLF."""

    lines: int
    quoted: bool
    returns: bool


def look(opener: Opener, path: str) -> Shape:
    """One pass at the speed of memory; UserError for a line that is too long, and for what is binary."""
    lines, quoted, returns = 1, False, False
    for block in _blocks(opener, path):
        if lines == 1 and b"\0" in block[:_BINARY]:
            raise UserError(f"{quote(path)} is no table: it is binary", hint="a table in text is in UTF-8")
        ends = block.count(b"\n")
        if b"\r" in block:
            alone = block.count(b"\r") - block.count(b"\r\n")
            ends += alone
            returns = returns or alone > 0
        lines += ends
        quoted = quoted or b'"' in block
    return Shape(lines, quoted, returns)


def blocks(opener: Opener, path: str) -> Iterator[str]:
    """The text, cut at line ends; no byte order mark, and bytes that are not UTF-8 as surrogates."""
    for block in _blocks(opener, path):
        yield block.decode("utf-8", "surrogateescape")


def batches(opener: Opener, path: str) -> Iterator[list[str]]:
    """The lines that are not empty, without their ends (LF or CRLF)."""
    for text in blocks(opener, path):
        plain = text.replace("\r\n", "\n") if "\r" in text else text
        found = list(filter(None, plain.split("\n")))
        for first in range(0, len(found), BATCH):
            yield found[first : first + BATCH]


def _blocks(opener: Opener, path: str) -> Iterator[bytes]:
    rest, done = b"", 0
    with opener() as file:
        while chunk := file.read(_BLOCK):
            if not done:
                chunk = chunk.removeprefix(BOM_UTF8)
            done += len(chunk)
            if end := chunk.rfind(b"\n") + 1:
                yield rest + chunk[:end]
                rest = chunk[end:]
            else:
                rest += chunk
            if len(rest) > ROW_MAX:
                raise too_long(path, f"byte {done - len(rest):,}")
    if rest:
        yield rest
