"""What another repository has at a path of a commit: data of its projects, and files of Git's."""

from __future__ import annotations

import difflib
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import history, paths
from vcs_ml.errors import UsageError, UserError
from vcs_ml.foreign import Foreign, bring
from vcs_ml.output import quote, word
from vcs_ml.workspace import gitignore, lockfile, pointer, sources
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project

_CONFIG: Final = ".vml/config.toml"
_CONFIG_MAX: Final = 1 << 20
_FILE, _EXECUTABLE, _LINK, _SUBMODULE = 0o100644, 0o100755, 0o120000, 0o160000
_SHOWN: Final = 8


class Tracked(NamedTuple):
    """Data of a project, or an output of a stage in it: its pointer, the way into it that was asked for, and where it
    belongs below the path that was asked for ("": it is that itself).
    """

    project: Project
    pointer: Pointer
    inner: str
    at: str


class Plain(NamedTuple):
    """A file of Git's own: its blob, and where it belongs, as in `Tracked`."""

    at: str
    oid: str
    executable: bool
    is_link: bool


class Found(NamedTuple):
    """What is at a path; `left_out` are the paths of optional data, and of outputs that go to no remote, below it."""

    path: str
    data: list[Tracked]
    plain: list[Plain]
    left_out: list[str]


def normal(path: str) -> str:
    """A path from the top of a repository as Git writes it; UsageError for what cannot be one."""
    found = posixpath.normpath(path) if path else ""
    if found in ("", ".") or found.startswith(("/", "../")) or found == "..":
        raise UsageError(
            f"{quote(path)} names nothing in a repository",
            hint="PATH goes from the repository's top to what is wanted: vml get REPO data/train",
        )
    return found


class _Commit:
    """The files of a commit that have to do with a path: mode and blob of each, and the projects among them."""

    def __init__(self, foreign: Foreign, path: str, env: Mapping[str, str]) -> None:
        self._foreign = foreign
        self._env = env
        self._projects: dict[str, Project] = {}
        above = [path[:at] for at, char in enumerate(path) if char == "/"]
        asked = [path, *(f"{each}{SUFFIX}" for each in (*above, path))]
        asked += [_CONFIG, *(f"{each}/{_CONFIG}" for each in above)]
        self.files = _files(foreign, [f":(top,literal){each}" for each in asked])
        bring(foreign, [oid for mode, oid in self.files.values() if mode != _SUBMODULE])

    def read(self, path: str, limit: int) -> bytes:
        """What a file begins with: `limit` bytes, and one more if there are more."""
        return next(history.read_blobs(self._foreign.git, [self.files[path][1]], limit=limit))

    def is_file(self, path: str) -> bool:
        return path in self.files and self.files[path][0] in (_FILE, _EXECUTABLE)

    def project(self, path: str) -> Project | None:
        """The nearest project above a path."""
        while path:
            path = path.rpartition("/")[0]
            if self.is_file(config := f"{path}/{_CONFIG}".lstrip("/")):
                if path not in self._projects:
                    self._projects[path] = self._open(path, config)
                return self._projects[path]
        return None

    def _open(self, path: str, config: str) -> Project:
        text = self.read(config, _CONFIG_MAX).decode("utf-8", "replace")
        top = self._foreign.git.cwd
        try:
            found = Project(top / path if path else top, self._foreign.git, self._env, committed=text)
            found.algorithm  # noqa: B018 - it is checked here, where the file can be named
        except UserError as error:
            message = error.message.replace(f"{top}/", "")
            raise UserError(f"{self._foreign.name} at {self._foreign.rev}: {message}", hint=error.hint) from None
        return found

    def outs(self) -> dict[str, tuple[Project, Pointer]]:
        """Every output of a stage, by its path from the repository's top; wherever its lock file is."""
        found = _files(self._foreign, [f":(top,glob)**/{name}" for name in (lockfile.NAME, _CONFIG)])
        self.files |= found
        bring(self._foreign, [oid for mode, oid in found.values() if mode != _SUBMODULE])
        locks = [path for path in found if sources.is_lock(path) and self.is_file(path)]
        known = [(path, project) for path in locks if (project := self.project(path)) is not None]
        raws = history.read_blobs(
            self._foreign.git, [self.files[path][1] for path, _ in known], limit=lockfile.MAX_SIZE
        )
        outs = {}
        for (path, project), raw in zip(known, raws, strict=True):
            prefix = f"{project.prefix}/" if project.prefix else ""
            for each in self._parsed(raw, path.removeprefix(prefix), project):
                outs[prefix + each.path] = (project, each)
        return outs

    def _parsed(self, raw: bytes, source: str, project: Project) -> list[Pointer]:
        try:
            return sources.parse(raw, source, project.algorithm)
        except UserError as error:
            where = f"{self._foreign.name} at {self._foreign.rev}"
            raise UserError(f"{where}: {error.message}", hint="another --rev may have a good one") from None

    def pointers(self, paths: Iterable[str]) -> Iterator[tuple[str, Project, Pointer]]:
        """What the pointers beside these paths say, for those that have one; read through one git."""
        here = [path for path in paths if self.is_file(path + SUFFIX)]
        known = [(path, project) for path in here if (project := self.project(path)) is not None]
        raws = history.read_blobs(
            self._foreign.git, [self.files[path + SUFFIX][1] for path, _ in known], limit=pointer.MAX_SIZE
        )
        for (path, project), raw in zip(known, raws, strict=True):
            source = f"{path}{SUFFIX}".removeprefix(f"{project.prefix}/" if project.prefix else "")
            yield path, project, self._parsed(raw, source, project)[0]


def find(foreign: Foreign, path: str, env: Mapping[str, str]) -> Found:
    """What is at `path`: one tracked thing or a part of it, a file of Git's, or a directory with several of both.

    UserError where there is nothing, for a link or a submodule, and for pointers and settings that cannot be read.
    """
    commit = _Commit(foreign, path, env)
    ends = [at for at, char in enumerate(path) if char == "/"]
    # The first from the top: in a tracked directory, what is named like a pointer is data.
    for above, project, each in commit.pointers(path[:end] for end in [*ends, len(path)]):
        return _one(foreign, path, above, project, each)
    if path.endswith(SUFFIX) and any(commit.pointers([path.removesuffix(SUFFIX)])):
        raise UserError(
            f"{foreign.name} at {foreign.rev}: {quote(path)} is a pointer",
            hint=f"name the data: {quote(path.removesuffix(SUFFIX))}",
        )
    if path in commit.files:
        found = _plain(foreign, commit, path, "")
        if found.is_link:
            raise UserError(
                f"{foreign.name} at {foreign.rev}: {quote(path)} is a symbolic link", hint="name what it leads to"
            )
        return Found(path, [], [found], [])
    outs = commit.outs()
    if owner := sources.owner(path, outs):
        (project, each), inner = owner
        return _one(foreign, path, path[: len(path) - len(inner)].rstrip("/"), project, each)
    if not any(each.startswith(f"{path}/") for each in (*commit.files, *outs)):
        raise _nothing(foreign, path, outs)
    return _directory(foreign, commit, path, outs)


def _one(foreign: Foreign, path: str, top: str, project: Project, each: Pointer) -> Found:
    """What is tracked at `top`, or the part of it at `path`."""
    inner = path[len(top) + 1 :]
    if inner and each.kind != "tree":
        raise UserError(
            f"{foreign.name} at {foreign.rev}: {quote(top)} is a file, it has no {quote(inner)}",
            hint=f"vml get {foreign.name} {word(top)}",
        )
    return Found(path, [Tracked(project, each, inner, "")], [], [])


def _directory(foreign: Foreign, commit: _Commit, path: str, outs: Mapping[str, tuple[Project, Pointer]]) -> Found:
    """A directory of Git's, in which other things may be tracked."""
    found = Found(path, [], [], [])
    own = [each for each in commit.files if each.startswith(f"{path}/") and ".vml" not in each.split("/")[:-1]]
    named = [each.removesuffix(SUFFIX) for each in own if each.endswith(SUFFIX) and posixpath.basename(each) != SUFFIX]
    inside = ((data, *each) for data, each in outs.items() if data.startswith(f"{path}/"))
    pointers = set()
    for data, project, each in (*commit.pointers(named), *inside):
        pointers.add(data + SUFFIX)
        if each.optional or each.stays:
            found.left_out.append(data)
        else:
            found.data.append(Tracked(project, each, "", data[len(path) + 1 :]))
    for source in own:
        if source not in pointers and not _is_ours(commit, source):
            found.plain.append(_plain(foreign, commit, source, source[len(path) + 1 :]))
    _check_apart(foreign, found)
    if not found.data and not found.plain:
        more = f"; optional data has to be named itself: {', '.join(map(quote, found.left_out[:_SHOWN]))}"
        raise UserError(
            f"{foreign.name} at {foreign.rev}: there is nothing to get in {quote(path)}",
            hint=f"name what is tracked there{more if found.left_out else ''}",
        )
    return found


def _is_ours(commit: _Commit, source: str) -> bool:
    """Whether a file is a `.gitignore` with nothing in it but what keeps data out of Git."""
    if posixpath.basename(source) != ".gitignore" or not commit.is_file(source):
        return False
    return gitignore.is_ours(commit.read(source, pointer.MAX_SIZE).decode("utf-8", "surrogateescape"))


def _plain(foreign: Foreign, commit: _Commit, source: str, at: str) -> Plain:
    mode, oid = commit.files[source]
    if why := paths.problem(at or posixpath.basename(source)):
        raise UserError(f"{foreign.name} at {foreign.rev}: refusing {quote(source)}: {why}", hint="name something else")
    if mode == _SUBMODULE:
        raise UserError(
            f"{foreign.name} at {foreign.rev}: {quote(source)} is a submodule",
            hint="vml get from its own repository; git submodule status shows which",
        )
    return Plain(at, oid, mode == _EXECUTABLE, mode == _LINK)


def _check_apart(foreign: Foreign, found: Found) -> None:
    """UserError where two things belong to one place, or one lies in another."""
    taken = {each.at for each in found.data}
    for at in sorted([each.at for each in found.data] + [each.at for each in found.plain]):
        above = [at[:i] for i, char in enumerate(at) if char == "/"]
        if inside := next((each for each in above if each in taken), None):
            raise UserError(
                f"{foreign.name} at {foreign.rev}: {quote(f'{found.path}/{at}')} lies in "
                f"{quote(f'{found.path}/{inside}')}, which is tracked itself",
                hint="name one of them",
            )
    if both := taken & {each.at for each in found.plain}:
        raise UserError(
            f"{foreign.name} at {foreign.rev}: {quote(f'{found.path}/{min(both)}')} is tracked by Git and by vml",
            hint="name another path",
        )


def _files(foreign: Foreign, specs: list[str]) -> dict[str, tuple[int, str]]:
    listed = history.ls_tree(foreign.git, foreign.commit, specs)
    return {os.fsdecode(path): (mode, oid) for path, mode, oid in listed}


def _nothing(foreign: Foreign, path: str, outs: Iterable[str]) -> UserError:
    """The error for a path at which there is nothing, with what is near."""
    names = set(_names((*_files(foreign, [":(top)"]), *outs)))
    where = f"{foreign.name} at {foreign.rev}"
    above = posixpath.dirname(path)
    while above and above not in names:
        above = posixpath.dirname(above)
    here = sorted(name for name in names if posixpath.dirname(name) == above)
    same = sorted(name for name in names if posixpath.basename(name) == posixpath.basename(path))
    near = list(dict.fromkeys([*difflib.get_close_matches(path, here, n=3), *same]))[:3]
    shown = f"{', '.join(map(quote, here[:_SHOWN]))}{', …' if len(here) > _SHOWN else ''}"
    hint = f"did you mean {' or '.join(map(quote, near))}?" if near else f"there are: {shown}"
    return UserError(f"{where}: {quote(path)} is not tracked", hint=hint if names else "nothing is")


def _names(files: Iterable[str]) -> Iterator[str]:
    """What people may name: files, directories, and data beside its pointer."""
    for source in files:
        if ".vml" in source.split("/")[:-1]:
            continue
        name = source.removesuffix(SUFFIX) or source
        while name:
            yield name
            name = name.rpartition("/")[0]


def base_of(foreign: Foreign, project: Project) -> Path:
    """From where a directory is sought that the settings of a project name relative to it."""
    return foreign.place / project.prefix if foreign.url is not None else project.main_root
