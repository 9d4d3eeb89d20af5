"""A store read by hand, as docs/formats.md describes it: is every byte what it should be?"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import xxhash
import zstandard

BLOB, NODE, CHUNK, RECIPE = 1, 2, 3, 4
LARGE = 8 << 20
Store = dict[bytes, bytes]  # digest and kind -> the bytes


def digest(kind: int, data: bytes) -> bytes:
    """What names an object of a project that uses xxh128; not of a recipe, which has the name of its blob."""
    return xxhash.xxh3_128_digest(data) if kind == BLOB else hashlib.sha256(data).digest()


def blob(data: bytes) -> bytes:
    return digest(BLOB, data) + bytes([BLOB])


def objects(directory: Path) -> Store:
    """Every object of a store or a directory remote; AssertionError for anything that is not what it says it is."""
    found: Store = {}
    deleted = "".join(path.read_text() for path in directory.glob("gc/deleted/*.json"))
    for index in sorted(directory.glob("index/*.idx")):
        raw = index.read_bytes()
        assert hashlib.sha256(raw).hexdigest()[:32] == index.stem[:32], index
        for key, name, offset, stored, size, flags in _rows(raw):
            pack = directory / "packs" / name[:2] / f"{name}.pack"
            if not pack.exists() and name in deleted:
                continue
            data = pack.read_bytes()[offset : offset + stored]
            assert len(data) == stored, f"{index}: a row reaches behind the end of {pack}"
            _take(found, key, zstandard.decompress(data) if flags else data, size, f"{index}: {key.hex()}")
    for pack in sorted(directory.glob("packs/*/*.pack")):
        _check_table(pack)
    for file in sorted(directory.glob("loose/*/*/[0-9a-f]*")):
        raw = bytes.fromhex(file.parent.name + file.name)
        data = file.read_bytes()
        kind = BLOB if file.parent.parent.name == "xxh128" else NODE
        _take(found, raw + bytes([kind]), data, len(data), str(file))
    return found


def _rows(raw: bytes) -> Iterator[tuple[bytes, str, int, int, int, int]]:
    magic, version, _, width, bits, count, packs, old = struct.unpack_from("<4sBBBBQII", raw)
    assert (magic, version) == (b"VMLI", 1)
    names = [raw[24 + 24 * i : 48 + 24 * i].hex() for i in range(packs)]
    at = 24 + 24 * (packs + old) + (4 << bits)
    keys = [raw[at + i * (width + 1) : at + (i + 1) * (width + 1)] for i in range(count)]
    assert keys == sorted(set(keys))
    at += count * (width + 1)
    flags = raw[at : at + count]
    numbers = struct.unpack_from(f"<{count}I", raw, at + count)
    columns = struct.unpack_from(f"<{3 * count}Q", raw, at + 5 * count)
    assert at + 29 * count == len(raw)
    for i, key in enumerate(keys):
        size = 16 if key[-1] in (BLOB, RECIPE) else 32
        name = f"{names[numbers[i]][:32]}-{names[numbers[i]][32:]}"
        yield key[:size] + key[-1:], name, columns[i], columns[count + i], columns[2 * count + i], flags[i]


def _take(found: Store, key: bytes, data: bytes, size: int, where: str) -> None:
    assert len(data) == size, where
    if key[-1] == RECIPE:
        assert hashlib.sha256(data[:-32]).digest() == data[-32:], where
        found[key] = data
        return
    assert "/remote/" not in where or key[-1] != BLOB or len(data) <= LARGE, f"{where} is not cut"
    assert "/remote/" in where or key[-1] not in (CHUNK, RECIPE), f"{where} belongs on a remote"
    assert digest(key[-1], data) == key[:-1], f"{where} holds other bytes than its id says"
    found[key] = data


def _check_table(pack: Path) -> None:
    """Also a pack that no index names must be whole: it was renamed into its place."""
    raw = pack.read_bytes()
    magic, version, _, width, count, table = struct.unpack("<4sBBBxQ32s", raw[-48:])
    assert (magic, version) == (b"VMLP", 1), pack
    assert hashlib.sha256(raw[len(raw) - 48 - count * (width + 26) : -48]).digest() == table, pack
    assert table.hex()[:32] == pack.stem[:32], pack


def lacking(store: Store, root: bytes) -> list[bytes]:
    """What the closure of an object (a file's, or the root page of a directory) lacks."""
    if root[-1] == BLOB and root not in store and root[:-1] + bytes([RECIPE]) in store:
        return _lacking_chunks(store, root)
    if root not in store:
        return [root]
    if root[-1] == BLOB:
        return []
    return [oid for child in _named(store[root]) for oid in lacking(store, child)]


def _lacking_chunks(store: Store, blob: bytes) -> list[bytes]:
    """What is missing to a large blob; AssertionError if its recipe makes other bytes."""
    recipe = store[blob[:-1] + bytes([RECIPE])]
    magic, version, count, total = struct.unpack_from("<4sB3xIQ", recipe)
    assert (magic, version) == (b"VMLR", 1)
    assert len(recipe) == 20 + 36 * count + 32
    chunks = [recipe[20 + 32 * i : 52 + 32 * i] + bytes([CHUNK]) for i in range(count)]
    lengths = struct.unpack_from(f"<{count}I", recipe, 20 + 32 * count)
    absent = [oid for oid in chunks if oid not in store]
    if not absent:
        assert [len(store[oid]) for oid in chunks] == list(lengths)
        assert sum(lengths) == total > LARGE
        whole = xxhash.xxh3_128()
        for oid in chunks:
            whole.update(store[oid])
        assert whole.digest() == blob[:-1], f"the recipe of {blob.hex()} makes another file"
    return absent


def _named(page: bytes) -> list[bytes]:
    magic, version, level, _, _, n, _ = struct.unpack_from("<4sBBBBII", page)
    assert (magic, version) == (b"VMLN", 1)
    size, kind, at = (32, NODE, 16 + 16 * n) if level else (16, BLOB, 16 + 9 * n)
    return [page[at + i * size : at + (i + 1) * size] + bytes([kind]) for i in range(n)]


def root(text: str) -> bytes:
    """The id that a pointer or a root record names."""
    kind = NODE if text.startswith("tree:") else BLOB
    return bytes.fromhex(text.rpartition(":")[2]) + bytes([kind])


def roots(project: Path) -> dict[str, bytes]:
    """What the pointers of a workspace name, by their paths; none lies below a tracked directory."""
    found = {}
    for path in sorted(project.rglob("*.vml")):
        if path.is_file() and ".vml" not in path.relative_to(project).parts[:-1]:
            found[path.relative_to(project).as_posix()] = root(json.loads(path.read_bytes())["hash"])
    return found


def complete(store: Store, named: dict[str, bytes]) -> None:
    """Nothing; AssertionError if the store lacks something of what is named."""
    for path, oid in named.items():
        absent = lacking(store, oid)
        assert not absent, f"{path}: {[each.hex() for each in absent[:5]]} are missing"


def recorded(remote: Path) -> dict[str, bytes]:
    """Every root that a remote's records call complete."""
    return {
        f"{path.name}: {each['path']}": root(each["hash"])
        for path in sorted(remote.glob("roots/*.json"))
        for each in json.loads(path.read_bytes())["roots"]
    }
