"""What a picture's first bytes say: which kind it is, and how many pixels it has."""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

# What was matched is never tried in another way (`+` behind a quantifier), so that it takes as long as the text is.
_SVG: Final = re.compile(rb"\s*+(?:(?:<\?xml[^>]*+>|<!--.*?-->|<!DOCTYPE[^>]*+>)\s*+)*+<(?:\w+:)?svg[\s>]", re.DOTALL)
_HEAD: Final = 65_536
# Marks of a JPEG's frame, which has the size; the others between are tables (ITU-T T.81, table B.1).
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

SUFFIXES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}


class Picture(NamedTuple):
    """A picture's media type, and its width and height in pixels; 0 where they are not said (SVG)."""

    kind: str
    width: int = 0
    height: int = 0


def look(raw: bytes) -> Picture | None:
    """What the bytes are; None for no picture of these kinds. Nothing is decoded."""
    try:
        if raw.startswith(b"\x89PNG\r\n\x1a\n") and raw[12:16] == b"IHDR":
            return Picture("image/png", *struct.unpack_from(">II", raw, 16))
        if raw.startswith((b"GIF87a", b"GIF89a")):
            return Picture("image/gif", *struct.unpack_from("<HH", raw, 6))
        if raw.startswith(b"\xff\xd8"):
            return _jpeg(raw)
        if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
            return _webp(raw)
    except struct.error:  # it ends before it says so
        return None
    return Picture("image/svg+xml") if _SVG.match(raw[:_HEAD].removeprefix(b"\xef\xbb\xbf")) else None


def _jpeg(raw: bytes) -> Picture | None:
    at = 2
    while True:
        mark, code, length = struct.unpack_from(">BBH", raw, at)
        if mark != 0xFF:
            return None
        if code in _FRAMES:
            height, width = struct.unpack_from(">HH", raw, at + 5)
            return Picture("image/jpeg", width, height)
        at += 1 if code == 0xFF else 2 + length  # marks may be filled up with 0xFF


def _webp(raw: bytes) -> Picture | None:
    """The three ways to write one (RFC 9649, section 2.5 to 2.7)."""
    form = raw[12:16]
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", raw, 26)
        return Picture("image/webp", width & 0x3FFF, height & 0x3FFF)
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", raw, 21)
        return Picture("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if form == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", raw, 24)
        return Picture("image/webp", (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1)
    return None
