"""Bytes made wrong: a little, a lot, or just so that every checksum still fits."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

DEEP: Any = None
for _ in range(900):
    DEEP = [DEEP]
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1.5, 1e308, "", "x", "\0", "/etc/passwd", "../../x",
    ".git",
    "\ud800", "\x1b[31m", "x" * 70_000, [], [[]], [None], ["a", 1], {}, {"a": {}}, DEEP, "tree:sha256:" + "0" * 64,
    "xxh128:" + "0" * 32,
]  # fmt: skip


def damage(raw: bytes, chance: random.Random) -> bytes:
    """Other bytes, in one of the ways that disks, networks and editors have."""
    data = bytearray(raw)
    at = chance.randrange(len(data) + 1)
    to = min(len(data), at + chance.choice((1, 2, 8, 100, 5000)))
    match chance.randrange(9):
        case 0 if data:
            data[at - 1] ^= 1 << chance.randrange(8)
        case 1 if data:
            data[at - 1] = chance.randrange(256)
        case 2:
            del data[at:]
        case 3:
            del data[at:to]
        case 4:
            data[at:at] = chance.randbytes(chance.choice((1, 2, 16, 3000)))
        case 5:
            data[at:to] = bytes(to - at)
        case 6:
            data[at:to] = b"\xff" * (to - at)
        case 7:
            data[at:at] = data[at:to] * chance.choice((1, 3))
        case _:
            data = bytearray(
                chance.choice((b"", b"\0", b"{}", b"[]", b"null", b"\xff\xfe", b"\n" * 5000, b"[" * 100_000))
            )
    return bytes(data)


def in_json(raw: bytes, chance: random.Random) -> bytes:
    """Valid JSON with one value of another kind, gone, or strange; sometimes damage."""
    if chance.random() < 0.3:
        return damage(raw, chance)
    document = json.loads(raw)
    places: list[tuple[Any, Any]] = []
    _places(document, places)
    if not places:
        return json.dumps(chance.choice(VALUES)).encode()
    holder, key = chance.choice(places)
    if chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    return json.dumps(document).encode()


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found.append((value, key))
        _places(inner, found)


TOML = [
    "1", "-1", '""', '"x"', '"\\u0000"', '"../../x"', "[]", "[1]", '["copy"]', "{}", "{a = 1}", "true", "1e999",
    "nan", "inf",
    "1979-05-27T07:32:00Z", "9" * 5000, "99999999999999999999", "0x" + "f" * 50, "'''x", '"""\n"""', "[" * 2000,
    '"\\ud800"',
]  # fmt: skip


def in_toml(raw: bytes, chance: random.Random) -> bytes:
    """TOML with one value replaced, a line moved or doubled; sometimes damage."""
    if chance.random() < 0.3:
        return damage(raw, chance)
    lines = raw.decode().split("\n")
    at = chance.choice([i for i, line in enumerate(lines) if " = " in line] or [0])
    if chance.random() < 0.2:
        lines.insert(chance.randrange(len(lines)), lines[at])
    else:
        lines[at] = f"{lines[at].partition(' = ')[0]} = {chance.choice(TOML)}"
    return "\n".join(lines).encode()


LINES = [
    b"*", b"**", b"!", b"[", b"[b-a]", b"[[:alpha:]", b"[^]", b"\\", b"a\\", b"/", b"//", b"!/a", b"a/**/b", b"***",
    b"?", b"[!a]", b"\xff",
    b"# >>> vml", b"# <<< vml", b"<<<<<<< HEAD", b"=======", b"/data", b"/..", b"\r", b"a" * 5000, b"{a,b}", b"(",
    b"a{9999999}", b"[a-\\]",
]  # fmt: skip


def in_lines(raw: bytes, chance: random.Random) -> bytes:
    """Some lines more, of those that patterns may trip over; sometimes damage."""
    if chance.random() < 0.3:
        return damage(raw, chance)
    lines = raw.split(b"\n")
    for _ in range(chance.choice((1, 1, 3))):
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(LINES))
    return b"\n".join(lines)


def numbers(raw: bytes, chance: random.Random) -> bytes:
    """A number of 1, 4 or 8 bytes somewhere set to a nasty value; sometimes damage."""
    if chance.random() < 0.3 or len(raw) < 9:
        return damage(raw, chance)
    data = bytearray(raw)
    code, size = chance.choice((("<B", 1), ("<I", 4), ("<Q", 8)))
    # Headers and ends hold what readers rely on.
    near = chance.choice((0, len(data) - 64, chance.randrange(len(data))))
    at = min(max(near + chance.randrange(64), 0), len(data) - size)
    most = 256**size - 1
    struct.pack_into(code, data, at, chance.choice((0, 1, most, most >> 1, (most >> 1) + 1, chance.randrange(most))))
    return bytes(data)


# ---------------------------------------------------------------------- checksums that fit again


def mend_stat_index(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw[:8] + xxhash.xxh3_128_digest(raw[68:]) + raw[24:] if len(raw) > 68 else raw)
    return path


def mend_name(path: Path, raw: bytes) -> Path:
    """An index has the name of its bytes."""
    target = path.with_name(f"{hashlib.sha256(raw).hexdigest()[:32]}-{'0' * 16}{path.suffix}")
    if target != path:
        path.unlink()
    target.write_bytes(raw)
    return target


def mend_not(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


Mutate = Callable[[bytes, random.Random], bytes]
Mend = Callable[[Path, bytes], Path]
