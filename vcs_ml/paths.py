"""The one validator of paths that come from outside: pointers, manifests, locks, remotes.

A good path is relative, UTF-8, `/`-separated, and names nothing that a checkout must never touch. Paths in
hot loops are bytes; this module speaks both.
"""

from __future__ import annotations

import posixpath
import re

from vcs_ml.errors import UserError

NAME_MAX = 255
PATH_MAX = 4096
DEPTH_MAX = 256

# Characters that HFS+ ignores when it compares names (git's is_hfs_dotgit): `.g\u200cit` opens `.git` there.
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
# `git~1` is the 8.3 short name Windows gives `.git`; it drops trailing dots, trailing spaces and `:stream`.
# `.vml-tmp-` begins the names of our scratch (fs.TMP_PREFIX).
# ASCII: Git folds no other letters here either, and Python would take `.g\u0131t` for `.git`.
_RESERVED = re.compile(r"(?:\.git|\.vml|git~[0-9]+)[. ]*(?::.*)?|\.vml-tmp-.*", re.IGNORECASE | re.DOTALL | re.ASCII)
# C-speed passes over many paths joined by `/`: whatever could break a rule, so that good paths cost no loop.
# The first pattern opens with a literal, which makes `re` jump from slash to slash.
_SUSPECT = re.compile(rb"/(?:/|\.(?:/|\./|[gG][iI][tT]|[vV][mM][lL])|[gG][iI][tT]~)")
_SUSPECT_HFS = re.compile(rb"\xe2(?:\x80[\x8c-\x8f\xaa-\xae]|\x81[\xaa-\xaf])|\xef\xbb\xbf")


def problem(path: str) -> str | None:
    """Why `path` may not be used inside a tracked directory, or None if it may."""
    if not path:
        return "it is empty"
    if path.startswith("/"):
        return "it is absolute"
    if "\0" in path:
        return "it has a NUL byte"
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if len(raw) > PATH_MAX:
        return f"it is longer than {PATH_MAX} bytes"
    parts = path.split("/")
    if len(parts) > DEPTH_MAX:
        return f"it is more than {DEPTH_MAX} levels deep"
    for part in parts:
        if part in ("", ".", ".."):
            return f"it has the part {part!r}"
        if len(part.encode()) > NAME_MAX:
            return f"a name in it is longer than {NAME_MAX} bytes"
        if _RESERVED.fullmatch(_HFS_IGNORED.sub("", part)):
            return f"{part!r} belongs to Git or vml"
    return None


def check(path: str, *, source: str) -> str:
    """`path` itself; UserError naming `source` (where it was read) if it breaks a rule."""
    if why := problem(path):
        raise UserError(f"{source}: refusing the path {path!r}: {why}")
    return path


def check_joined(joined: bytes, *, source: str) -> list[bytes]:
    """The NUL-separated paths of `joined`, all checked: about 0.1 us a path where nothing is suspect.

    Raises UserError naming `source` for the first path that breaks a rule.
    """
    paths = joined.split(b"\0")
    try:
        joined.decode()
    except UnicodeDecodeError:
        bad = next(p for p in paths if not is_utf8(p))
        raise UserError(f"{source}: refusing the path {bad!r}: it is not UTF-8") from None
    if _suspect(joined.replace(b"\0", b"/")) or len(max(paths, key=len)) > NAME_MAX:
        for path in paths:
            if len(path) > NAME_MAX or _suspect(path):
                check(path.decode(), source=source)
    return paths


def _suspect(raw: bytes) -> bool:
    """False only where no part of `raw` breaks a rule other than that on its length."""
    return bool(_SUSPECT.search(b"/" + raw + b"/") or (not raw.isascii() and _SUSPECT_HFS.search(raw)))


def is_utf8(raw: bytes) -> bool:
    """Whether `raw` decodes as UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def key(path: bytes) -> bytes:
    """The sort key of a path: `/` counts as NUL, so that a directory is one contiguous run."""
    return path.replace(b"/", b"\0")


def link_problem(path: bytes, target: bytes) -> str | None:
    """Why the symbolic link `path` inside a tracked directory may not lead to `target`, or None if it may."""
    if not target or b"\0" in target:
        return "it leads nowhere"
    if target.startswith(b"/"):
        return "it is absolute"
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if inside == b".." or inside.startswith(b"../"):
        return "it leads out of the tracked directory"
    return None
