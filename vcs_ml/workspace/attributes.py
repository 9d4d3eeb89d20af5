"""Our block in `.gitattributes`, and the merge driver that it names, in Git's own settings."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Final

from vcs_ml import fs, git, regular
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.workspace import pointer_files
from vcs_ml.workspace.project import Project

NAME: Final = ".gitattributes"
_SIZE_MAX: Final = 10_000_000
BEGIN: Final = "# >>> vml"
END: Final = "# <<< vml"
LINES: Final = ("*.vml merge=vml", "vml.lock merge=vml", ".gitignore merge=vml")
# The exit code of a `vml merge-driver` that has written its result, with conflicts in it. No shell, signal or Python
# that cannot begin ends with it.
CONFLICTS: Final = 10
# gitattributes(5): %O the common version, %A ours, %B theirs, %L the length of conflict markers, %P the path.
# Where vml could not run to its end (not found, killed, no room), what is there is ours, and Git would keep that as a
# conflict without a mark: the text merge of Git leaves one. Only the exit code tells: any content may be ours.
_DRIVER: Final = """\
vml={program}; command -v vml >/dev/null 2>&1 && vml=vml; \
"$vml" merge-driver -- %O %A %B %L %P; code=$?; \
if [ $code -ne 0 ] && [ $code -ne {conflicts} ]; then \
git merge-file -q --marker-size=%L -L ours -L base -L theirs %A %O %B; code=$?; fi; exit $code"""


def driver() -> dict[str, str]:
    """The merge driver in Git's settings. It runs the vml of the search path, else this one."""
    beside = Path(sys.executable).with_name("vml")
    return {
        "merge.vml.name": "pointers, lock files and ignored data of vml",
        "merge.vml.driver": _DRIVER.format(program=shlex.quote(str(beside)), conflicts=CONFLICTS),
    }


def install(project: Project) -> list[str]:
    """Let Git merge this project's pointers, lock files and our blocks in `.gitignore` by `vml merge-driver`: a block
    in the `.gitattributes` at the project's top, and the driver in the settings that all worktrees of the clone share.

    Returns the files that this changed, from the project's top. UserError where `.gitattributes` is a link or no file.
    """
    changed = _update(project, wanted=True)
    for key, value in driver().items():
        if git.setting(project.git, key) != value:
            git.run(["config", "--local", "--replace-all", key, value], project.git.cwd)
    return changed


def uninstall(project: Project) -> list[str]:
    """Take that back; the driver stays where another project of the working tree has such a block. Returns and raises
    as `install`.
    """
    changed = _update(project, wanted=False)
    if not any(BEGIN in text.splitlines() for text in _others(project)):
        git.run(["config", "--local", "--remove-section", "merge.vml"], project.git.cwd, ok=(0, 128))
    return changed


def is_installed(project: Project) -> bool:
    """Whether merges in this clone run the driver."""
    return is_named(project) and bool(git.setting(project.git, "merge.vml.driver"))


def is_named(project: Project) -> bool:
    """Whether the project's `.gitattributes`, which clones share, names the driver."""
    text = _read(project)
    return text is not None and BEGIN in text.splitlines()


def with_block(text: str, *, wanted: bool) -> str:
    """The `text` of a `.gitattributes` with our block where it is already, else at the end, or without it.

    All other lines stay. Blocks that a merge left twice become one.
    """
    ending = "\r\n" if "\r\n" in text else "\n"
    kept: list[str] = []
    at: int | None = None
    inside = False
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        if bare == BEGIN:
            at, inside = len(kept) if at is None else at, True
        elif inside and bare == END:
            inside = False
        elif not (inside and bare in LINES):  # somebody else's lines stay, also those inside the block
            kept.append(line)
    if not wanted:
        return "".join(kept)
    if at is None:
        at = len(kept)
        if kept and not kept[-1].endswith("\n"):
            kept[-1] += ending
    kept[at:at] = [line + ending for line in (BEGIN, *LINES, END)]
    return "".join(kept)


def _update(project: Project, *, wanted: bool) -> list[str]:
    path = project.root / NAME
    before = _read(project)
    after = with_block(before or "", wanted=wanted)
    if project.git.worktree is None or after == (before or ""):
        return []
    if after:
        mode = None if before is None else stat.S_IMODE(path.stat().st_mode) & 0o777
        fs.write_atomic(path, after.encode("utf-8", "surrogateescape"), mode=mode, scratch=project.tmp_dir)
    else:
        path.unlink()
        fs.fsync_dir(project.root)
    pointer_files.stage(project, [NAME])
    return [NAME]


def _read(project: Project) -> str | None:
    """The project's own `.gitattributes`, None if there is none."""
    path = project.root / NAME
    try:
        st = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(st.st_mode):
        what = "a symlink" if stat.S_ISLNK(st.st_mode) else "no regular file"
        raise UserError(f"{quote(path)} is {what}, which Git does not read as {NAME}", hint="replace it by a file")
    return (regular.read(path, _SIZE_MAX) or b"").decode("utf-8", "surrogateescape")


def _others(project: Project) -> list[str]:
    """What the other `.gitattributes` of the working tree hold, as far as Git has them."""
    if project.git.worktree is None:
        return []
    found = []
    for path in git.listed(git.run(["ls-files", "-z", "--", f":(top,glob)**/{NAME}"], project.git.cwd)):
        place = project.git.cwd / path
        if place != project.root / NAME and os.path.isfile(place) and not place.is_symlink():
            found.append((regular.read(place, _SIZE_MAX) or b"").decode("utf-8", "surrogateescape"))
    return found
