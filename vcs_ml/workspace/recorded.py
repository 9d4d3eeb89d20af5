"""What add and commit did to each tracked thing, for people and for programs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from vcs_ml import git, output
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote, word
from vcs_ml.store import objects
from vcs_ml.workspace import lockfile, pointer_files, sources
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project

_SHOWN = 20
_NAMED = 3
_EVERY_IGNORE = ":(top)*.gitignore"
_MEND = "vml fsck --repair mends the store; vml unprotect makes files private before they are changed"


class Recorded(NamedTuple):
    """One tracked thing after `add`: its pointer as it was and is, and how many files came, changed and went."""

    path: str
    old: Pointer | None
    new: Pointer
    added: int
    modified: int
    deleted: int
    damaged: tuple[str, ...] = ()  # changed in place while they were linked into the store
    behind: int = 0  # files that nobody edited, and of which the pointer had another version
    edited: tuple[str, ...] = ()  # beside such files

    @property
    def state(self) -> Literal["new", "changed", "unchanged"]:
        if self.old is None:
            return "new"
        return "unchanged" if self.old == self.new else "changed"

    def line(self) -> str:
        """One line for people: `data: 1,797 files, 1.2 MB (3 added)`."""
        what = output.size(self.new.size)
        if self.new.nfiles is not None:
            what = f"{output.count(self.new.nfiles, 'file')}, {what}"
        if self.new.optional:
            what += ", optional"
        if self.new.groups:
            what += f", in group{'s' * (len(self.new.groups) > 1)} {', '.join(self.new.groups)}"
        counts = ((self.added, "added"), (self.modified, "modified"), (self.deleted, "deleted"))
        parts = ", ".join(f"{n:,} {word}" for n, word in counts if n)
        detail = {"new": "", "unchanged": " (unchanged)", "changed": f" ({parts})" if parts else ""}
        return f"{quote(self.path)}: {what}{detail[self.state]}"

    def as_json(self, algorithm: Algorithm) -> dict[str, object]:
        """The same for programs."""
        return {
            "path": self.path,
            "state": self.state,
            "hash": objects.format_hash(self.new.oid, algorithm),
            "size": self.new.size,
            "nfiles": self.new.nfiles,
            "pull": not self.new.optional,
            "groups": self.new.groups,
            "added": self.added,
            "modified": self.modified,
            "deleted": self.deleted,
        }


def warnings(done: Iterable[Recorded]) -> Iterator[tuple[str, str]]:
    """What people should know, and what to do: of files that were changed in place while they were linked into the
    store, and of what was recorded although it was behind.
    """
    for each in done:
        for path in each.damaged[:_SHOWN]:
            text = f"{quote(path)} was linked into the store when it was changed: its former version is damaged there"
            yield text, _MEND
        if each.behind:
            files = f"{output.count(each.behind, 'file')} of {quote(each.path)}"
            text = f"{files} {'was' if each.behind == 1 else 'were'} behind the pointer, and not edited"
            yield f"{text}: what is here became the newest version again", _taking_back(each)


def _taking_back(each: Recorded) -> str:
    few = " ".join(map(quote, each.edited)) if len(each.edited) <= _NAMED else ""
    keep = f" && vml add {few}" if few else ""
    more = ", after vml add of each file that was edited" if each.edited and not few else ""
    return (
        f"git checkout HEAD -- {word(each.new.source)}{keep} && vml checkout {word(each.path)} "
        f"brings the version of HEAD instead{more}"
    )


def for_git(project: Project, start: Path) -> str | None:
    """The command, for a shell in `start`, that gives Git what was written of stages; None where that is nothing, or
    core.autostage has done it.
    """
    files, outs = _of_stages(project)
    if not files or project.config.autostage:
        return None
    if len(files) <= _SHOWN:
        names = _typed(project, files, start)
    else:
        locks = f":(top,glob){project.in_git('**/' + lockfile.NAME)}"
        names = f"{output.argument(locks)} {output.argument(_EVERY_IGNORE)}"
    if len(outs) > _SHOWN:
        return f"git add {names}  # and {len(outs)} outputs, which git status shows"
    return " ".join(["git add", names, *([_typed(project, outs, start)] if outs else [])])


def _of_stages(project: Project) -> tuple[list[str], list[str]]:
    """The lock files that were written, if any, and .gitignore files; and outputs without cache that Git lacks."""
    there = sorted(path for path in project.written if os.path.lexists(project.root / path))
    locks = [path for path in there if os.path.basename(path) == lockfile.NAME]
    if not locks:
        return [], []
    ignores = [path for path in _ignores(project) if path in there]
    outs = {path: path for path in there if not path.endswith((lockfile.NAME, ".gitignore", SUFFIX))}
    if outs:
        news = git.news(project.git, [project.in_git(path) for path in outs])
        news = [own for path in news if (own := project.own_path(path)) is not None]
        outs = {above[0]: above[0] for path in sorted(news) if (above := sources.owner(path.rstrip("/"), outs))}
    return [*locks, *ignores], list(outs)


def report(project: Project, done: Sequence[Recorded], start: Path) -> list[str]:
    """What to tell people: a line for each thing, for very many one in all; then what Git should be given."""
    if len(done) <= _SHOWN:
        lines = [each.line() for each in done]
    else:
        counts = Counter(each.state for each in done)
        parts = ", ".join(f"{n:,} {state}" for state, n in sorted(counts.items()))
        lines = [f"{output.count(len(done), 'path')}, {output.size(sum(each.new.size for each in done))} ({parts})"]
    changed = [each for each in done if each.state != "unchanged"]
    if changed and not project.config.autostage:
        lines.append(f"\nTo record this in Git:\n  git add {_written(project, changed, start)}")
    elif done and (again := ignored_again(project, start)):
        lines.append(again)
    return lines


def ignored_again(project: Project, start: Path) -> str | None:
    """What to tell where data had to be kept out of Git once more, which `git add` does not know yet."""
    files = _ignores(project)
    if not files or project.config.autostage:
        return None
    return f"Git ignores this data again: git add {_typed(project, files, start)}"


def _ignores(project: Project) -> list[str]:
    """The .gitignore files that were written."""
    return sorted(each for each in project.written if os.path.basename(each) == ".gitignore")


def _written(project: Project, changed: Sequence[Recorded], start: Path) -> str:
    """The files that Git should be given, as a shell in `start` would write them; globs where they are many."""
    if len(changed) > _SHOWN:
        every = [f":(top,glob){project.in_git('**/*' + SUFFIX)}", _EVERY_IGNORE]
        locks = dict.fromkeys(each.new.lock for each in changed if each.new.lock)
        return " ".join([*map(output.argument, every), *([_typed(project, locks, start)] if locks else [])])
    files: dict[str, None] = {}
    for each in changed:
        files[each.new.source] = None
        if each.old is None:
            files[pointer_files.join(each.path.rpartition("/")[0], ".gitignore")] = None
    files |= dict.fromkeys(_ignores(project))
    for paths in _of_stages(project):
        files |= dict.fromkeys(paths)
    return _typed(project, files, start)


def _typed(project: Project, files: Iterable[str], start: Path) -> str:
    """Files of the project as arguments, for a shell in `start`."""
    return " ".join(output.word(os.path.relpath(project.root / path, start)) for path in files)
