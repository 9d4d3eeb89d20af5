"""Our entry in a `.pre-commit-config.yaml` that people wrote: lines come, and every other byte stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from vcs_ml import __version__, yaml
from vcs_ml.errors import UserError
from vcs_ml.hooks import scripts
from vcs_ml.yaml import Document, Lines

NAME: Final = ".pre-commit-config.yaml"
URL: Final = "https://github.com/vcs-ml/vcs-ml"
HOOKS: Final = ("vml-large-files", "vml-validate", "vml-status", "vml-push", "vml-verify-remote", "vml-checkout")
# Which of Git's hooks run them, as .pre-commit-hooks.yaml says.
_RUN_BY: Final = {
    **dict.fromkeys(HOOKS[:3], ("pre-commit",)),
    **dict.fromkeys(HOOKS[3:5], ("pre-push",)),
    HOOKS[5]: scripts.AFTER,
}
_TYPES: Final = "default_install_hook_types"
_EMPTY: Final = re.compile(r"^(\s*repos\s*:)\s*(?:\[\s*\]|null|~)(?=\s|$)")
_REV: Final = re.compile(r"""(\brev\s*:\s+)("[^"]*"|'[^']*'|[^\s'",{}\[\]#]+)""")


class Edited(NamedTuple):
    """The file with our entry, and the hook types that `pre-commit install` does not install by itself."""

    raw: bytes
    lacking: list[str]


def with_ours(raw: bytes) -> Edited:
    """The configuration with our repository, all its hooks and the hook types they need; where our repository is there
    already, with the `rev` of this version. The same where nothing has to change.

    UserError for what is no YAML, and, with the lines to be written by hand, where it cannot be edited line by line.
    """
    rev = f"v{__version__}"
    document = yaml.parse(raw, NAME)
    try:
        lines = raw.decode().splitlines(keepends=True)
        content = document.value if document.value is not None else {}
        wanted = _wanted(content, rev)
        _edit(document, lines, content, rev)
        new = "".join(lines).encode()
        if not _says(new, wanted):
            raise _ByHand
    except (_ByHand, UnicodeError):
        block = "\n".join(f"  {line}" for line in (_types(), "repos:", *_entry("", rev)))
        raise UserError(
            f"{NAME} is written in a way that vml does not edit; it has to say:\n{block}",
            hint="write these lines into it yourself, then: pre-commit install",
        ) from None
    types = wanted.get(_TYPES)
    here = types if isinstance(types, list) else []
    return Edited(new, [name for name in scripts.NAMES if name not in here])


def is_named(raw: bytes) -> bool:
    """Whether the file names our hooks, wherever they come from."""
    return any(name.encode() in raw for name in (URL, *HOOKS))


def needed(raw: bytes) -> list[str]:
    """Those of Git's hooks that have to run the framework for those of our hooks that the file names."""
    found = {each for name, run_by in _RUN_BY.items() if name.encode() in raw for each in run_by}
    return [name for name in scripts.NAMES if name in found]


class _ByHand(Exception):
    """The file is not one that can be edited."""


def _says(raw: bytes, wanted: Mapping[str, Any]) -> bool:
    try:
        return bool(yaml.parse(raw, NAME).value == wanted)
    except UserError:
        return False


def _wanted(content: object, rev: str) -> dict[str, Any]:
    """What the file shall say."""
    if not isinstance(content, dict):
        raise _ByHand
    repos = content.get("repos")
    repos = [] if repos is None else repos
    if not isinstance(repos, list) or not all(isinstance(each, dict) for each in repos):
        raise _ByHand
    if any(_is_ours(each) for each in repos):
        repos = [{**each, "rev": rev} if _is_ours(each) else each for each in repos]
    elif not any(_has_ours(each) for each in repos):
        repos = [*repos, {"repo": URL, "rev": rev, "hooks": [{"id": name} for name in HOOKS]}]
    return {_TYPES: list(scripts.NAMES), **content, "repos": repos}


def _is_ours(repo: Mapping[str, Any]) -> bool:
    url = repo.get("repo")
    return isinstance(url, str) and url.rstrip("/").removesuffix(".git").lower() == URL


def _has_ours(repo: Mapping[str, Any]) -> bool:
    """Whether this entry has our hooks, from our repository or a copy of it, whose `rev` is not ours to set."""
    hooks = repo.get("hooks")
    named = [each.get("id") for each in hooks if isinstance(each, dict)] if isinstance(hooks, list) else []
    return _is_ours(repo) or any(name in HOOKS for name in named)


def _edit(document: Document, lines: list[str], content: Mapping[str, Any], rev: str) -> None:
    """Change the lines, from the last to the first, as `_wanted` says; what is not understood is left as it is."""
    repos = content.get("repos") or []
    ours = [i for i, each in enumerate(repos) if _is_ours(each)]
    last = max((line for line, _ in _keys(document).values()), default=0)
    for i in ours:
        at = document.line(("repos", i, "rev")) - 1
        lines[at] = _REV.sub(lambda found: found[1] + _quoted_as(found[2], rev), lines[at], count=1)
    has_ours = any(_has_ours(each) for each in repos)
    if not has_ours and repos:
        at = document.line(("repos", 0)) - 1
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip(" "))]
        _put(lines, _end(document, lines, "repos"), _entry(indent, rev))
    elif not has_ours and "repos" in content:
        at = document.line(("repos",)) - 1
        lines[at] = _EMPTY.sub(r"\1", lines[at])
        _put(lines, at + 1, _entry(_indent(lines[at]), rev))
    elif not has_ours:
        indent = _indent(lines[last - 1]) if last else ""
        _put(lines, len(lines), [f"{indent}repos:", *_entry(indent, rev)])
    if _TYPES not in content:
        _put_types(document, lines, content)


def _put_types(document: Document, lines: list[str], content: Mapping[str, Any]) -> None:
    """Above the first key, unless a comment leads to that, and else at the end."""
    at = document.line((next(iter(content)),)) - 1 if content else 0
    indent = _indent(lines[at]) if content else ""
    if not content:
        at = max((i + 1 for i, line in enumerate(lines) if line.startswith("---")), default=0)
        at = next((i for i in range(at, len(lines)) if lines[i].startswith("repos:")), len(lines))
    is_free = at == 0 or not lines[at - 1].strip() or lines[at - 1].startswith("---")
    _put(lines, at if is_free else len(lines), [f"{indent}{_types()}"])


def _types() -> str:
    return f"{_TYPES}: [{', '.join(scripts.NAMES)}]"


def _entry(indent: str, rev: str) -> list[str]:
    lines = [f"- repo: {URL}", f"  rev: {rev}", "  hooks:", *(f"  - id: {name}" for name in HOOKS)]
    return [indent + line for line in lines]


def _quoted_as(before: str, rev: str) -> str:
    mark = before[0] if before[0] in "\"'" else ""
    return f"{mark}{rev}{mark}"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))]


def _keys(document: Document) -> dict[str, Lines]:
    """The keys at the top, with their lines."""
    below = document.lines[1]
    return below if isinstance(below, dict) else {}


def _end(document: Document, lines: Sequence[str], key: str) -> int:
    """Behind the last line of a key at the top, without the comments and empty lines that lead to what comes next."""
    below = _keys(document)
    start = below[key][0] - 1
    end: int = min([len(lines), *(line - 1 for line, _ in below.values() if line - 1 > start)])
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith(("#", "..."))):
        end -= 1
    return end


def _put(lines: list[str], at: int, new: Iterable[str]) -> None:
    """Insert lines, which get the ends that lines have here."""
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if at and not lines[at - 1].endswith(("\r", "\n")):
        lines[at - 1] += ending
    lines[at:at] = [line + ending for line in new]
