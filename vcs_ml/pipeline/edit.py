"""Edits of a vml.yaml that people wrote: lines come and go, and every other byte stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vcs_ml import yaml
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline import text
from vcs_ml.yaml import Document

_STEP: Final = "  "
_NOTHING: Final = re.compile(r"^(stages\s*:)\s*(\{\s*\}|null|~)")


def with_stage(raw: bytes, source: str, name: str, definition: Mapping[str, Any]) -> bytes:
    """The file with this stage: in the place of the one of its name, or else behind the others.

    UserError where it is written in a way that cannot be edited line by line.
    """
    document, lines = _read(raw, source)
    content = document.value or {}
    stages = content.get("stages") or {}
    wanted = {**content, "stages": {**stages, name: definition}}
    indent = _indent(lines[document.line(("stages", next(iter(stages)))) - 1]) if stages else _STEP
    new = list(text.lines(name, definition, indent))
    if name in stages:
        _put(lines, *_block(document, lines, ("stages", name)), new)
    elif stages:
        start, end = _block(document, lines, ("stages", next(reversed(stages))))
        is_spaced = len(stages) > 1 and not lines[start - 1].strip()
        _put(lines, end, end, [*[""] * is_spaced, *new])
    elif "stages" in content:
        at = document.line(("stages",))
        lines[at - 1] = _NOTHING.sub(r"\1", lines[at - 1])
        _put(lines, at, at, new)
    else:
        _put(lines, len(lines), len(lines), [*[""] * bool("".join(lines[-1:]).strip()), "stages:", *new])
    by_hand = "write these lines into its stages yourself, where these stand without { }"
    return _written(lines, source, wanted, by_hand, text.lines(name, definition, _STEP))


def with_frozen(raw: bytes, source: str, name: str, *, frozen: bool) -> bytes:
    """The file with `frozen` set in, or taken out of, an entry of `stages`; the same where nothing has to change.

    UserError where a template decides, and as in `with_stage`.
    """
    document, lines = _read(raw, source)
    entry = document.value["stages"][name]
    path = ("stages", name, "do") if "do" in entry else ("stages", name)
    stage = entry.get("do", entry)
    now = stage.get("frozen", False)
    if now is frozen:
        return raw
    if isinstance(now, str):
        line = document.line((*path, "frozen"))
        raise UserError(
            f"{quote(source)}:{line}: a template decides whether {quote(name)} is frozen",
            hint=f"change the value of {now}",
        )
    changed = {key: value for key, value in stage.items() if key != "frozen"} | ({"frozen": True} if frozen else {})
    whole = {**entry, "do": changed} if "do" in entry else changed
    wanted = {**document.value, "stages": {**document.value["stages"], name: whole}}
    # `frozen: false` goes before the other is written, so that one rule says where that stands.
    new = [f"{_indent(lines[document.line((*path, next(iter(stage)))) - 1])}frozen: true"] if frozen else []
    _, end = _block(document, lines, path)
    _put(lines, end, end, new)
    if "frozen" in stage:
        _put(lines, *_block(document, lines, (*path, "frozen")), [])
    return _written(lines, source, wanted, f"write frozen: {str(frozen).lower()} into the stage {name} yourself")


def _read(raw: bytes, source: str) -> tuple[Document, list[str]]:
    """What a file says, and its lines with their ends."""
    document = yaml.parse(raw, source)
    try:
        # What ends a line for Python and not for YAML is not allowed in YAML.
        return document, raw.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        raise UserError(f"{quote(source)} is not UTF-8", hint="save it as UTF-8, then run the command again") from None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))]


def _block(document: Document, lines: Sequence[str], path: Sequence[str]) -> tuple[int, int]:
    """Where a key and its value begin and end, without the comments and empty lines that lead to what comes next."""
    start = document.line(path) - 1
    end = len(lines)
    _, below = document.lines
    for key in path:
        assert isinstance(below, dict)
        end = min([end, *(line - 1 for line, _ in below.values() if line - 1 > start)])
        below = below[key][1]
    depth = len(_indent(lines[start]))
    while end > start + 1 and _leads_on(lines[end - 1], depth):
        end -= 1
    return start, end


def _leads_on(line: str, depth: int) -> bool:
    return not line.strip() or (line.lstrip().startswith("#") and len(_indent(line)) <= depth)


def _put(lines: list[str], start: int, end: int, new: Iterable[str]) -> None:
    """Replace lines by others, which get the ends that lines have here."""
    eol = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if start and not lines[start - 1].endswith(("\r", "\n")):
        lines[start - 1] += eol
    lines[start:end] = [line + eol for line in new]


def _written(
    lines: Iterable[str], source: str, wanted: Mapping[str, Any], by_hand: str, new: Iterable[str] = ()
) -> bytes:
    """The bytes of these lines, once they were seen to say what is wanted, and nothing else. UserError with the lines
    `new`, and what to do `by_hand`.
    """
    try:
        raw = "".join(lines).encode()
        if yaml.parse(raw, source).value == wanted:
            return raw
    except (UserError, UnicodeEncodeError):
        pass
    refused = f"{quote(source)} is written in a way that vml does not edit"
    raise UserError("\n".join((refused, *new)), hint=by_hand)
