"""Pointers, lock files and settings in Git's index: what they say, and what is wrong with them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from vcs_ml import config, hashing
from vcs_ml.errors import UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.hooks.overlaps import Claim
from vcs_ml.hooks.problem import Problem, line_of
from vcs_ml.hooks.staged import CONFIG, Staged, in_git, own_path
from vcs_ml.output import quote, word
from vcs_ml.settings import FIXED
from vcs_ml.workspace import conflicts, lockfile, merging, pointer, sources, strictjson
from vcs_ml.workspace.lockfile import LockFile
from vcs_ml.workspace.pointer import SUFFIX

_SHOWN: Final = 5
_AT_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)")
# Hints of what reads the workspace, where another one is needed for what is staged.
_OTHER_HINT: Final = ("git ", "vml checkout", "nobody needs it", "expected ")


def settings(staged: Staged, project: str) -> tuple[Algorithm | None, list[Problem]]:
    """What names a project's data, None where that cannot be known, and all that is wrong with its settings."""
    path = in_git(project, CONFIG)
    text = (staged.read(path) or b"").decode("utf-8", "replace")
    entries, wrong = config.parse(text, "project", path)
    found = []
    for each in wrong:
        what = each.message.removeprefix(f"{path}: ")
        at = _AT_LINE.search(what)
        found.append(Problem(path, what, each.hint or "", int(at[1]) if at else _line_of_key(text, what)))
    values = {key: str(entries[key].value) for key in FIXED if key in entries}
    before = _at_head(staged, path)
    for key in FIXED:
        if key in before and values.get(key) != before[key] and (key in values or not wrong):
            what = f"{key} was {before[key]}, and is fixed when the project is made"
            found.append(Problem(path, what, f"set it to {before[key]!r} again", _line_of_key(text, key)))
    if not wrong and "core.id" not in values:
        hint = f"git log -p {word(path)} shows the one it had; vml init in a new project writes one"
        found.append(Problem(path, "it has no core.id", hint))
    try:
        return (None if wrong else hashing.by_name(values.get("core.hash", hashing.DEFAULT))), found
    except UserError as error:
        return None, [*found, Problem(path, error.message, error.hint or "", _line_of_key(text, "core.hash"))]


def _at_head(staged: Staged, path: str) -> dict[str, str]:
    """What the settings were at HEAD, of those that stay, where these have changed."""
    before = next((each.before for each in staged.changes if each.path == path and each.now is not None), None)
    if before is None:
        return {}
    entries, _ = config.parse(staged.read_blob(before.oid).decode("utf-8", "replace"), "project", path)
    return {key: str(entries[key].value) for key in FIXED if key in entries}


def _line_of_key(text: str, what: str) -> int | None:
    """The line of the key that a message begins with."""
    key = re.match(r"(?:unknown setting ')?([\w.-]+)", what)
    name = key[1].rpartition(".")[2] if key else ""
    found = re.search(rf"^\s*\"?{re.escape(name)}\"?\s*=", text, re.MULTILINE) if name else None
    return text.count("\n", 0, found.end()) + 1 if found else None


def pointers(staged: Staged, project: str, path: str, algorithm: Algorithm) -> list[Problem]:
    """What is wrong with a pointer."""
    raw, own = staged.read(path), own_path(project, path)
    if raw is None:  # a link is no pointer
        return []
    data = path.removesuffix(SUFFIX)
    try:
        found = pointer.parse(raw, own, algorithm)
    except UserError as error:
        mend = staged.typed.vml("add", paths=[data], project=project)
        return [_refused(staged, project, path, error, mend=f"{mend} then records what is there")]
    if not found.conflicts:
        return []
    rows = [f"{quote(in_git(project, name))} {word}" for name, word in merging.conflicts_of(found).items()]
    shown = ", ".join([*rows[:_SHOWN], *([f"{len(rows) - _SHOWN:,} more"] if len(rows) > _SHOWN else [])])
    take = staged.typed.vml("checkout", "--ours", paths=[data], project=project)
    hint = f"{take} (or --theirs) settles it, vml add what is right; then {staged.typed.git('add', paths=[path])}"
    return [Problem(path, f"a merge left conflicts in it: {shown}", hint, line_of(raw, [conflicts.KEY]))]


def lock(staged: Staged, project: str, path: str, algorithm: Algorithm) -> tuple[LockFile | None, list[Problem]]:
    """What a lock file says, None where it cannot be read, and all that is wrong with it."""
    raw, own = staged.read(path), own_path(project, path)
    if raw is None:
        return None, []
    try:
        return lockfile.parse(raw, own, algorithm), []
    except UserError as error:
        mend = f"{staged.typed.vml('repro', project=project)} then records it anew"
        several = _in_stages(raw, own, algorithm)
        return None, [
            _refused(staged, project, path, each, mend=mend, keys=["stages", name] if name else [])
            for name, each in several or [("", error)]
        ]


def _in_stages(raw: bytes, own: str, algorithm: Algorithm) -> list[tuple[str, UserError]]:
    """What is wrong in each stage of a lock file, where all else in it can be read."""
    try:
        fields = strictjson.load(raw, lockfile.MAX_SIZE)
    except strictjson.NotReadable:
        return []
    stages = fields.get("stages")
    found = []
    for name, each in stages.items() if isinstance(stages, dict) else ():
        try:
            lockfile.parse(
                json.dumps({"schema": fields.get("schema"), "stages": {name: each}}).encode(), own, algorithm
            )
        except UserError as error:
            found.append((name, error))
    return found


def outs(project: str, found: LockFile) -> list[Claim]:
    """The outputs of a lock file that are not Git's."""
    folder = found.source.rpartition("/")[0]
    return [
        Claim(
            in_git(project, each.path),
            in_git(project, found.source),
            each.maker,
            ("stages", each.stage, "outs", lockfile.relative(each.path, folder)),
        )
        for each in sources.of_lock(found)
    ]


def _refused(
    staged: Staged, project: str, path: str, error: UserError, *, mend: str, keys: Sequence[str] = ()
) -> Problem:
    """What is wrong with a file that could not be read."""
    own = own_path(project, path)
    what = error.message.removeprefix(f"{quote(own)}: ").removeprefix(f"{own}: ")
    raw, hint = staged.read(path) or b"", error.hint or ""
    fault = _fault(raw)
    if fault is not None and fault.conflict and staged.operation is not None:
        again = staged.typed.git("checkout", "-m", "--", paths=[path])
        hint = f"{again} && {staged.typed.vml('checkout', '--merge', paths=[path], project=project)} merges it"
    elif fault is not None and fault.conflict and all(each.path != path for each in staged.changes):
        again = staged.typed.vml("checkout", "--merge", paths=[path], project=project)
        hint = f"{again} says where its versions are, for it was committed like this"
    elif not hint or hint.startswith(_OTHER_HINT):
        hint = f"{_back(staged, path)}; {mend}"
    line = fault.line if fault is not None else line_of(raw, keys) if keys else None
    return Problem(path, what, hint, line)


def _back(staged: Staged, path: str) -> str:
    """How to get a version of a file that can be read."""
    git, known = staged.typed.git, next((each.before for each in staged.changes if each.path == path), None)
    if known is None:
        return f"{git('rm', '-f', paths=[path])} removes it"
    return f"{git('checkout', 'HEAD', '--', paths=[path])} brings the committed one back"


def _fault(raw: bytes) -> strictjson.NotReadable | None:
    """Why this is no strict JSON; None if it is."""
    try:
        strictjson.load(raw, sources.MAX_SIZE)
    except strictjson.NotReadable as error:
        return error
    return None
