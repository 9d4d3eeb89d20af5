"""Our block in a `.gitignore`: it keeps tracked data out of Git, and leaves every other line alone."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import Final

from vcs_ml import fs, regular
from vcs_ml.errors import UserError
from vcs_ml.output import quote

MAX_SIZE: Final = 10_000_000
BEGIN: Final = "# >>> vml"
END: Final = "# <<< vml"
_SPECIAL: Final = re.compile(r"[\\*?\[]")
_CONFLICT: Final = re.compile(r"<{7}|={7}|>{7}|\|{7}")


def escape(name: str) -> str:
    """The pattern that ignores just `name`, in the directory of the `.gitignore` (gitignore(5))."""
    text = _SPECIAL.sub(r"\\\g<0>", name)
    # A pattern is one line, and Git drops a CR before its end: any one character stands for these.
    text = text.replace("\n", "?").replace("\r", "?")
    bare = text.rstrip(" ")
    return "/" + bare + "\\ " * (len(text) - len(bare))


def with_entries(text: str, add: Set[str], remove: Set[str]) -> str:
    """The `text` of a `.gitignore`, its block changed to ignore the names of `add` and not those of `remove`.

    All other lines stay, with their line endings and a missing newline at the end. Blocks that a merge
    left twice, or without their end, become one.
    """
    _, entries, _, found = _split(text.split("\n"))
    wanted = (entries | {escape(name) for name in add}) - {escape(name) for name in remove}
    return _with_block(text, wanted, keep_empty=False) if found or wanted else text


def merge(
    base: str, ours: str, theirs: str, merge_texts: Callable[[str, str, str], tuple[str, int]]
) -> tuple[str, int]:
    """A three-way merge of `.gitignore` files, and the number of conflicts in it: our block has the entries that either
    side added, without those that either took out; all other lines are for `merge_texts`, with the same arguments.
    """
    texts = (base, ours, theirs)
    before, mine, other = (_split(text.split("\n")) for text in texts)
    # Where all have it, the block keeps its place among the lines. A new one would conflict with other new lines.
    keep = before[3] and mine[3] and other[3]
    bare = [_with_block(text, set(), keep_empty=keep) if BEGIN in text else text for text in texts]
    merged, conflicts = merge_texts(bare[0], bare[1], bare[2])
    wanted = (mine[1] | (other[1] - before[1])) - (before[1] - other[1])
    return (_with_block(merged, wanted, keep_empty=False) if keep or wanted else merged), conflicts


def _with_block(text: str, wanted: Set[str], *, keep_empty: bool) -> str:
    """The `text` with these entries in its block, which is at the end where there was none."""
    lines = text.split("\n")
    tail = [lines.pop()] if lines[-1] == "" else []
    before, _, after, _ = _split(lines)
    end = "\r" if lines and lines[0].endswith("\r") else ""
    block = [line + end for line in (BEGIN, *sorted(wanted), END)] if wanted or keep_empty else []
    return "\n".join([*before, *block, *after, *tail])


def is_ours(text: str) -> bool:
    """Whether there is nothing but our block in the `text` of a `.gitignore`."""
    before, _, after, found = _split(text.split("\n"))
    return found and not any(line.strip() for line in (*before, *after))


def has_markers(text: str) -> bool:
    """Whether a merge has left conflict markers in our block."""
    block = text.partition(BEGIN)[2].partition(END)[0]
    return any(_CONFLICT.match(line) for line in block.split("\n"))


def _split(lines: list[str]) -> tuple[list[str], set[str], list[str], bool]:
    """The lines before our block, its entries, the lines after it, and whether there was one."""
    before: list[str] = []
    after: list[str] = []
    entries: set[str] = set()
    inside = found = False
    for line in lines:
        bare = line.removesuffix("\r")
        if bare == BEGIN:
            inside = found = True
        elif bare == END and inside:
            inside = False
        elif inside and bare.startswith("/"):
            entries.add(bare)
        elif inside and _CONFLICT.match(bare):
            continue  # both sides of a merge added entries: the union is right
        else:
            # Inside the block, somebody else's line: it ends a block that has lost its end.
            (after if found else before).append(line)
    return before, entries, after, found


def listed(directory: Path, names: Iterable[str]) -> set[str]:
    """Those of `names` that stand in `directory/.gitignore` as we write them; all where that is a link, or no file, of
    which Git reads nothing.
    """
    try:
        raw = regular.read(directory / ".gitignore", MAX_SIZE) or b""
    except UserError:
        return set(names)
    lines = set(raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n"))
    return {name for name in names if escape(name) in lines}


def update(directory: Path, add: Set[str], remove: Set[str], *, scratch: Path | None = None) -> bool:
    """Change `directory/.gitignore` so, and say whether that changed it; an empty one is removed.

    `scratch` as in fs.write_atomic. UserError if that is a symlink or no file.
    """
    path = directory / ".gitignore"
    try:
        st = path.lstat()
        if not stat.S_ISREG(st.st_mode):
            what = "a symlink" if stat.S_ISLNK(st.st_mode) else "no regular file"
            raise UserError(
                f"{quote(path)} is {what}, which Git does not read as .gitignore", hint="replace it by a file"
            )
        raw, mode = regular.read(path, MAX_SIZE) or b"", stat.S_IMODE(st.st_mode) & 0o777
    except FileNotFoundError:
        raw, mode = b"", None
    # Names need not be UTF-8, and nothing here depends on it.
    text = raw.decode("utf-8", "surrogateescape")
    changed = with_entries(text, add, remove)
    if changed == text:
        return False
    if changed:
        fs.write_atomic(path, changed.encode("utf-8", "surrogateescape"), mode=mode, scratch=scratch)
    else:
        path.unlink()
        fs.fsync_dir(directory)
    return True
