"""The documentation against the code: every command and option has its words, every example its real bytes."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from tests.conftest import Repo
from vcs_ml import hashing
from vcs_ml.cli import COMMANDS
from vcs_ml.hashing import SHA256, XXH128
from vcs_ml.settings import SETTINGS
from vcs_ml.store import catalog, chunk, manifest, objects, pack, recipe
from vcs_ml.store.page import EXECUTABLE, FILE, Entry
from vcs_ml.store.recipe import Recipe
from vcs_ml.store.remotes.local import Directory
from vcs_ml.workspace import lockfile

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))])


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


# --- Commands --------------------------------------------------------------------------------------------


def test_every_command_has_a_page_and_every_page_a_command() -> None:
    pages = {page.stem for page in (DOCS / "commands").glob("*.md")} - {"README"}

    assert pages == set(COMMANDS)
    listed = re.findall(r"\[[a-z-]+\]\(([a-z-]+)\.md\)", text_of(DOCS / "commands/README.md"))
    assert listed == list(COMMANDS)


def options_in_help(repo: Repo, *command: str) -> set[str]:
    """Every option that the help of a command lists, and that of the commands below it."""
    shown = repo.run(*command, "--help").out
    options = shown.partition("\nOptions:\n")[2].partition("\n\n")[0]
    found = {word for line in options.splitlines() for word in re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", line[:28])}
    assert "--help" in found, shown
    for line in shown.partition("\nCommands:\n")[2].splitlines():
        if line.startswith("  ") and line.split():
            found |= options_in_help(repo, *command, line.split()[0])
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_page_names_every_option_of_its_command(repo: Repo, command: str) -> None:
    page = text_of(DOCS / "commands" / f"{command}.md")

    missing = {option for option in options_in_help(repo, command) if f"`{option}" not in page}

    assert not missing


@pytest.mark.parametrize("command", COMMANDS)
def test_page_names_no_option_that_is_not_there(repo: Repo, command: str) -> None:
    page = text_of(DOCS / "commands" / f"{command}.md")
    table = re.findall(r"^\| (`-.*?) \|", page, re.MULTILINE)

    named = {option for cell in table for option in re.findall(r"`(--?[A-Za-z][a-z-]*)", cell)}

    assert named == options_in_help(repo, command)


def test_global_options_are_named(repo: Repo) -> None:
    page = text_of(DOCS / "commands/README.md")
    shown = repo.run("--help").out.partition("\nOptions:\n")[2].partition("\n\n")[0]

    assert all(f"`{option}" in page for option in re.findall(r"^  .*?(--?[A-Za-z][a-z-]*)", shown, re.MULTILINE))


def test_every_setting_is_named() -> None:
    page = text_of(DOCS / "commands/config.md")

    assert all(f"| `{key}` |" in page for key in SETTINGS)


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def test_pages_show_every_key_of_json_output(repo: Repo, remote: Path) -> None:
    for i in range(3):
        repo.write(f"data/{i}", f"{i}")
    repo.write("table.csv", "a,b\n")

    def shown(*command: str, at: Repo = repo) -> None:
        words = at.run(*command, "--json").out
        page = text_of(DOCS / "commands" / f"{command[0]}.md")
        assert not {key for key in keys_of(json.loads(words)) if f'"{key}"' not in page and f"`{key}`" not in page}

    shown("add", "data", "table.csv")
    repo.commit()
    repo.write("data/new", "new")
    repo.write("table.csv", "a,c\n")
    repo.path.joinpath("data/0").unlink()
    repo.path.joinpath("data/1").rename(repo.path / "data/moved")
    shown("status")
    shown("diff")
    shown("diff", "--rows")
    shown("commit")
    shown("status")
    for line in (
        "ls",
        "ls -R data",
        "du --all-commits",
        "push -n",
        "push",
        "fetch",
        "pull",
        "config",
        "remote list",
        "doctor",
        "gc",
        "gc --remote",
    ):
        shown(*line.split())
    shown("fsck")
    repo.write(".vml/cache/loose/stranger", "")
    assert repo.run("fsck", ok=False).code == 1
    page = text_of(DOCS / "commands/fsck.md")
    keys = set(keys_of(json.loads(repo.run("fsck", "--json", ok=False).out)))
    assert not {key for key in keys if f'"{key}"' not in page}
    repo.path.joinpath(".vml/cache/loose/stranger").unlink()
    repo.commit()
    there = repo.clone("clone")
    words = json.loads(there.run("status", "--json").out)
    assert words["missing"]
    shown("status", at=there)
    shown("fetch", "-n", at=there)
    there.run("pull", "data/2")
    shown("status", at=there)


def test_pages_show_every_key_of_what_is_said_of_stages(repo: Repo) -> None:
    repo.write("params.yaml", "lr: 1\n")
    repo.write("out", "1")
    repo.write("vml.yaml", "stages: {a: {cmd: x, params: [lr], env: [SEED], outs: [out]}}\n")
    found = {"commit": repo.json("commit", "a")}
    repo.write("params.yaml", "lr: 2\n")
    found |= {name: repo.json(*name.split()) for name in ("status", "stage list", "dag")}
    assert found["status"]["stages"][0]["reasons"]
    for name, words in found.items():
        page = text_of(DOCS / "commands" / f"{name.split()[0]}.md")
        assert not {key for key in keys_of(words) if f'"{key}"' not in page and f"`{key}`" not in page}, name


def test_pages_show_every_key_of_comparisons(repo: Repo) -> None:
    repo.write("vml.yaml", "metrics: [metrics.json, other.json]\nparams: [other.toml]\n")
    for rate in (1, 2):
        repo.write("metrics.json", json.dumps({"accuracy": rate}))
        repo.write("params.yaml", f"train: {{epochs: {rate}}}\n")
        repo.write("other.json", "{")
        repo.write("other.toml", "{")
        repo.commit()
    for command in ("metrics show HEAD", "metrics diff HEAD~1", "params diff HEAD~1"):
        page = text_of(DOCS / "commands" / f"{command.split()[0]}.md")
        words = repo.json(*command.split())
        assert not {key for key in keys_of(words) if f'"{key}"' not in page and f"`{key}`" not in page}, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_examples_exist(page: Path) -> None:
    for block in re.findall(r"^```(?:console|text)\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL):
        for word in re.findall(r"^(?:\$ )?vml ([a-z][\w-]*)", block, re.MULTILINE):
            assert word in COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", text_of(page)):
        if target and "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_anchors_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)]*)\)", text_of(page)):
        headings = re.findall(r"^#+ (.*)$", text_of(page.parent / target if target else page), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- Examples in formats.md ------------------------------------------------------------------------------

FILES = {b"a.txt": (FILE, b"hello\n"), b"bin/run": (EXECUTABLE, b"#!/bin/sh\n")}


def dump(data: bytes) -> str:
    """As `hexdump -C` writes it."""
    lines: list[str] = []
    before = b""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        if row == before:
            lines += ["*"] if lines[-1] != "*" else []
            continue
        before = row
        left, right = (" ".join(f"{byte:02x}" for byte in half) for half in (row[:8], row[8:]))
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {f'{left}  {right}':<48}  |{shown}|")
    return "\n".join([*lines, f"{len(data):08x}"])


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```text\n(.*?)\n```", text_of(DOCS / "formats.md"), re.DOTALL)
    assert found is not None
    return found[1]


def test_example_of_a_page() -> None:
    nodes: dict[bytes, bytes] = {}
    entries = [Entry(path, kind, len(data), XXH128.digest(data)) for path, (kind, data) in FILES.items()]

    root = manifest.build(entries, XXH128, nodes.__setitem__).root

    assert objects.format_hash(root, XXH128) in text_of(DOCS / "formats.md")
    assert objects.format_hash(manifest.empty(XXH128), XXH128) in text_of(DOCS / "formats.md")
    assert dump(nodes[root]) == example("page")


def test_example_of_a_lock_file() -> None:
    found = re.search(r"<!-- example: lock -->\n```json\n(.*?)```", text_of(DOCS / "formats.md"), re.DOTALL)
    assert found
    raw = found[1].encode()

    assert lockfile.serialize(lockfile.parse(raw, "vml.lock", XXH128), XXH128) == raw


def test_example_of_a_recipe(tmp_path: Path) -> None:
    zeros = bytes(9 << 20)
    (tmp_path / "zeros").write_bytes(zeros)
    with (tmp_path / "zeros").open("rb") as file:
        pieces = [bytes(piece) for piece in chunk.cut(file.fileno())]
    chunks = [objects.chunk(SHA256.digest(piece)) for piece in pieces]
    assert f"xxh128:{XXH128.digest(zeros).hex()}" in text_of(DOCS / "formats.md")
    assert dump(recipe.encode(Recipe(chunks, [len(piece) for piece in pieces]))) == example("recipe")


def test_examples_of_a_pack_and_its_index(tmp_path: Path) -> None:
    builder = pack.Builder(Directory(tmp_path), XXH128)
    for _, data in FILES.values():
        builder.add(objects.blob(XXH128.digest(data)), data)
    (made,) = builder.finish()
    key = pack.key(made.name)

    assert key.rpartition("-")[0] in text_of(DOCS / "formats.md")
    assert dump((tmp_path / key).read_bytes()) == example("pack")

    _, content = catalog.encode([made._replace(name=made.name[:16] + bytes(range(8)))], XXH128)
    assert dump(content) == example("index")


# --- A reader written from formats.md, with nothing of vml's own -----------------------------------------


class Reader:
    """Reads a local store or a remote that names blobs with xxh128."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.rows: dict[bytes, tuple[Path, int, int, int, int]] = {}
        indexes = [self._index(path) for path in place.glob("index/*.idx")]
        gone = {name for _, _, old in indexes for name in old}
        for name, rows, _ in indexes:
            if name not in gone:
                self.rows.update(rows)

    def _index(self, path: Path) -> tuple[str, dict[bytes, tuple[Path, int, int, int, int]], list[str]]:
        data = path.read_bytes()
        magic, version, code, width, bits, n, packs, old = struct.unpack_from("<4sBBBBQII", data)
        assert (magic, version, code) == (b"VMLI", 1, 1)
        assert hashlib.sha256(data).hexdigest()[:32] == path.name[:32]
        names = [data[at : at + 24].hex() for at in range(24, 24 + 24 * (packs + old), 24)]
        names = [f"{name[:32]}-{name[32:]}" for name in names]
        fan = 24 + 24 * (packs + old)
        keys = fan + (4 << bits)
        flags = keys + n * (width + 1)
        assert len(data) == flags + n * 29
        assert struct.unpack_from("<I", data, keys - 4) == (n,)
        numbers = struct.unpack_from(f"<{n}I", data, flags + n)
        longs = struct.unpack_from(f"<{3 * n}Q", data, flags + 5 * n)
        rows = {}
        for i in range(n):
            key = data[keys + i * (width + 1) : keys + (i + 1) * (width + 1)]
            oid = key[: 16 if key[-1] == 1 else 32] + key[-1:]
            name = names[numbers[i]]
            file = self.place / "packs" / name[:2] / f"{name}.pack"
            rows[oid] = (file, data[flags + i], longs[i], longs[n + i], longs[2 * n + i])
        return path.stem, rows, names[packs:]

    def object(self, oid: bytes) -> bytes:
        if oid in self.rows:
            file, flag, offset, stored, raw = self.rows[oid]
            data = file.read_bytes()[offset : offset + stored]
            if flag:
                import zstandard

                data = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw)
            assert len(data) == raw
        else:
            name = "xxh128" if oid[-1] == 1 else "sha256"
            data = (self.place / "loose" / name / oid[:1].hex() / oid[1:-1].hex()).read_bytes()
        digest = xxhash.xxh3_128_digest(data) if oid[-1] == 1 else hashlib.sha256(data).digest()
        assert digest == oid[:-1]
        return data

    def files(self, root: bytes) -> Iterator[tuple[str, int, bytes]]:
        """(path, kind, content) of the tree whose top page is `root`."""
        data = self.object(root + b"\2")
        magic, version, level, code, _, n, length = struct.unpack_from("<4sBBBBII", data)
        assert (magic, version, code) == (b"VMLN", 1, 1)
        if not n:
            return
        paths = data[len(data) - length :].decode().split("\0")
        assert len(paths) == n
        assert [path.encode().replace(b"/", b"\0") for path in paths] == sorted(
            path.encode().replace(b"/", b"\0") for path in paths
        )
        for i, path in enumerate(paths):
            if level:
                at = 16 + 16 * n + 32 * i
                below = list(self.files(data[at : at + 32]))
                assert below[-1][0] == path
                yield from below
            else:
                at = 16 + 9 * n + 16 * i
                content = self.object(data[at : at + 16] + b"\1")
                assert (len(content),) == struct.unpack_from("<Q", data, 16 + n + 8 * i)
                yield path, data[16 + i], content
        self.check_cut(level, [path.encode().replace(b"/", b"\0") for path in paths])

    @staticmethod
    def check_cut(level: int, keys: list[bytes]) -> None:
        for key in keys[:-1]:
            h = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
            assert h >> (9 * level) & 511


def test_a_reader_made_from_the_page_reads_store_and_remote(repo: Repo, remote: Path) -> None:
    for i in range(1500):
        repo.write(f"data/{i % 7}/{i:04}", f"{i}\n" * (i % 5 + 1) * 20)
    repo.write("data/run", "#!/bin/sh\n").chmod(0o755)
    repo.path.joinpath("data/link").symlink_to("0/0000")
    repo.write("data/large", bytes(300 << 10))
    repo.run("add", "data")
    repo.write("data/one more", "one more")
    repo.run("add", "data")
    repo.run("push")
    pointer = json.loads(repo.read("data.vml"))
    assert pointer["schema"] == 1
    root = bytes.fromhex(pointer["hash"].removeprefix("tree:sha256:"))
    on_disk = repo.files("data")

    for place in (repo.path / ".vml/cache", remote):
        found = {path: (kind, content) for path, kind, content in Reader(place).files(root)}
        assert {path: content for path, (_, content) in found.items() if path != "link"} == {
            path: content for path, content in on_disk.items() if path != "link"
        }
        assert found["link"] == (2, b"0/0000")
        assert found["run"][0] == 1
        assert len(found) == pointer["nfiles"]
        assert sum(len(content) for _, content in found.values()) == pointer["size"]


def test_stat_index_is_as_the_page_says(repo: Repo) -> None:
    for name in ("a", "b/c"):
        repo.write(f"data/{name}", name)
    repo.run("add", "data")

    name = hashlib.sha256(b"data").hexdigest()[:32]
    raw = repo.read(f".vml/index/{name}")
    magic, version, code, flags, _, check, base, folders, memos, length = struct.unpack_from("<4sBBBB16s32sIII", raw)

    assert (magic, version, code, flags, folders, memos, length) == (b"VMLX", 1, hashing.XXH128.code, 2, 2, 0, 4)
    assert xxhash.xxh3_128_digest(raw[68:]) == check
    assert json.loads(repo.read("data.vml"))["hash"] == f"tree:sha256:{base.hex()}"
    at, found = 68 + length, {}
    for _ in range(folders):
        path_length, names_length, n = struct.unpack_from("<III", raw, at)
        at += 12
        path = raw[at : at + path_length].decode()
        names = raw[at + path_length : at + path_length + names_length].decode().split("\0")
        at += path_length + names_length
        sizes = struct.unpack_from(f"<{5 * n}q", raw, at)[::5]
        at += 40 * n
        for i, file in enumerate(names):
            digest = raw[at + 16 * i : at + 16 * (i + 1)]
            found[f"{path}/{file}".lstrip("/")] = (sizes[i], digest)
        at += 16 * n
    assert at == len(raw)
    assert found == {name: (len(name), xxhash.xxh3_128_digest(name.encode())) for name in ("a", "b/c")}


def test_complete_record_names_files_of_the_store(repo: Repo) -> None:
    for i in range(20):
        repo.write(f"data/{i}", f"{i}")
    repo.run("add", "data")
    store = repo.path / ".vml/cache"

    root = json.loads(repo.read("data.vml"))["hash"].removeprefix("tree:sha256:")
    head, *lines = (store / "complete" / root).read_text().splitlines()

    assert head == f"complete {len(lines)}"
    assert lines == sorted(lines)
    assert all((store / line).is_file() for line in lines)
