"""`.vmlignore`, compared with what Git makes of the same patterns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vcs_ml.errors import UserError
from vcs_ml.workspace.ignore import Ignore


def walk(root: Path, start: str = "") -> list[str]:
    """Every file that is not ignored, as a caller would walk."""
    ignore, found, todo = Ignore(root), [], [start]
    while todo:
        rel = todo.pop()
        ignored = ignore.at(rel)
        for entry in os.scandir(root / rel):
            if ignored is not None and ignored(entry.name, entry.is_dir()):
                continue
            path = f"{rel}/{entry.name}" if rel else entry.name
            (todo if entry.is_dir() else found).append(path)
    return sorted(found)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_without_files_nothing_is_matched_or_imported(tmp_path: Path) -> None:
    write(tmp_path, {"a/b": ""})
    code = (
        "import sys; from pathlib import Path; from vcs_ml.workspace.ignore import Ignore\n"
        f"assert Ignore(Path({str(tmp_path)!r})).at('a') is None\n"
        "assert 'pathspec' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_comments_match_nothing(tmp_path: Path) -> None:
    write(tmp_path, {".vmlignore": "# nothing\n\n"})
    assert Ignore(tmp_path).at("") is None


def test_agrees_with_git_also_when_nested(tmp_path: Path) -> None:
    root = tmp_path / "project"
    rules = {
        "": "*.tmp\n!keep.tmp\nbuild/\n/only-top\ndeep/**/x\n",
        "data": "!a.tmp\n/local\n*.log\n",
        "data/sub": "!b.log\n*\n!*.csv\n",
    }
    files = [
        "a.tmp", "keep.tmp", "only-top", "sub/only-top", "build/x", "data/build/y", "deep/1/2/x", "deep/x",
        "data/a.tmp", "data/b.tmp", "data/local", "data/sub/local", "data/b.log", "data/sub/b.log",
        "data/sub/c.csv", "data/sub/d", "data/sub/more/e.csv", "ü/ b.tmp", "ü/c",
    ]  # fmt: skip
    write(root, dict.fromkeys(files, ""))
    for directory, text in rules.items():
        write(root, {f"{directory}/.vmlignore".lstrip("/"): text, f"{directory}/.gitignore".lstrip("/"): text})
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-o", "--exclude-per-directory=.gitignore"],
        cwd=root, check=True, capture_output=True,
    )  # fmt: skip
    expected = sorted(os.fsdecode(raw) for raw in listed.stdout.split(b"\0")[:-1])
    assert [path for path in walk(root) if not path.startswith(".git/")] == expected
    below = [path for path in expected if path.startswith("data/sub/")]
    assert walk(root, "data/sub") == below


def test_a_bad_pattern_names_its_file(tmp_path: Path) -> None:
    write(tmp_path, {".vmlignore": "!\n"})
    with pytest.raises(UserError, match=r"\.vmlignore"):
        Ignore(tmp_path).at("a/b")
