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


@pytest.mark.parametrize("pattern", ["!", "[b-a]?", "[[:alpha:]]"])
def test_a_bad_pattern_names_its_file(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, {".vmlignore": f"{pattern}\n"})
    with pytest.raises(UserError, match=r"\.vmlignore"):
        Ignore(tmp_path).at("a/b")


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".vmlignore"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"\.vmlignore is no regular file"):
        Ignore(tmp_path).at("")


def test_patterns_and_files_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / ".vmlignore"
    path.write_text("**/" * 20 + "*.tmp\n# " + "*" * 20 + "\n" + "\\*" * 20 + "\n" + "*a/" * 11 + "\n")
    assert Ignore(tmp_path).at("") is not None
    path.write_text("x\n/y/" + "*a" * 11 + "\n")
    with pytest.raises(UserError, match=r"\.vmlignore, line 2: more than 3 \*"):
        Ignore(tmp_path).at("")
    os.truncate(path, 10_000_001)
    with pytest.raises(UserError, match=r"larger than 10\.0 MB"):
        Ignore(tmp_path).at("")
