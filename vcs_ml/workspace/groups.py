"""Groups and optional data: labels in pointers, and which pointers a command therefore means."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.settings import GROUP_NAME
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project


class Labels(NamedTuple):
    """What is to become of a pointer's labels: `pull` None leaves it as it is."""

    pull: bool | None = None
    join: Sequence[str] = ()
    leave: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self.pull is not None or bool(self.join or self.leave)

    def on(self, each: Pointer) -> Pointer:
        """The pointer with these labels; what says nothing is not written."""
        extra = dict(each.extra)
        if self.pull is not None:
            extra["pull"] = self.pull
        if extra.get("pull") is True:
            del extra["pull"]
        if self.join or self.leave:
            extra["groups"] = sorted((set(each.groups) | set(self.join)) - set(self.leave))
        if not extra.get("groups"):
            extra.pop("groups", None)
        return each._replace(extra=extra)


def check_names(names: Iterable[str]) -> None:
    """UserError for what cannot be the name of a group."""
    for name in names:
        if not GROUP_NAME.fullmatch(name):
            raise UserError(
                f"{quote(name)} cannot be the name of a group",
                hint="letters, digits, '.', '_' and '-', beginning with a letter or digit",
            )


def check_known(pointers: Iterable[Pointer], names: Sequence[str]) -> None:
    """UserError for a group that nothing belongs to."""
    known = sorted({group for each in pointers for group in each.groups}) if names else []
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            some = f"the groups are {', '.join(known)}" if known else f"vml add --group {word(name)} PATH"
            raise UserError(
                f"nothing belongs to a group {quote(name)}", hint=f"did you mean {near[0]}?" if near else some
            )


def is_left_out(project: Project, each: Pointer) -> bool:
    """Whether this is optional data that is not here, and that no group of this clone's wants."""
    return (
        each.optional
        and not set(project.config.groups) & set(each.groups)
        and not os.path.lexists(project.root / each.path)
    )


def concerns(path: str, targets: Iterable[str]) -> bool:
    """Whether tracked data at `path` is at, below or above one of the targets; "" is the project."""
    return any(each in ("", path) or path.startswith(f"{each}/") or each.startswith(f"{path}/") for each in targets)


class Selection(NamedTuple):
    """What a command was told to work on: paths (project-relative) and groups; without any, everything.

    `optional` says whether that includes optional data that is not here. Otherwise it must be named: by its own
    path, one inside it, or a group. A directory above it does not name it.
    """

    paths: Sequence[str] = ()
    groups: Sequence[str] = ()
    optional: bool = False

    @property
    def everything(self) -> bool:
        return not self.paths and not self.groups

    def in_group(self, each: Pointer) -> bool:
        """Whether one of the groups has it."""
        return not set(self.groups).isdisjoint(each.groups)

    def left_out(self, project: Project, each: Pointer) -> bool:
        """Whether it is among the paths, or all of them are meant, but optional and not named."""
        if self.optional or self.in_group(each):
            return False
        named = any(path == each.path or path.startswith(f"{each.path}/") for path in self.paths)
        return not named and is_left_out(project, each)

    def takes(self, project: Project, each: Pointer) -> bool:
        """Whether a pointer of any revision is meant."""
        if self.in_group(each):
            return True
        return (self.everything or concerns(each.path, self.paths)) and not self.left_out(project, each)
