"""The project: where it begins, which repository it lies in, and where its store and scratch are."""

from __future__ import annotations

import contextlib
import glob
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from vcs_ml import fs, git, hashing, paths
from vcs_ml.config import Config, RemoteConfig
from vcs_ml.errors import UsageError, UserError
from vcs_ml.hashing import Algorithm
from vcs_ml.output import quote, word
from vcs_ml.store.link import Loose

_CONFIG: Final = """\
# Settings of this vml project; `vml config --help` lists them all.
[core]
id = "{id}"
hash = "{hash}"
"""
_GITIGNORE: Final = """\
/cache
/config.local.toml
/index
/lock
/logs
/saved
/tmp
/.vml-tmp-*
"""
_OWN: Final = (
    "", "cache", "index", "index/read", "index/read/outside", "lock", "saved", "tmp", "logs",
    "cache/complete", "cache/index", "cache/loose", "cache/packs", "cache/remotes", "cache/runs", "cache/tmp",
)  # fmt: skip
# Those that are not in Git yet, too.
_PROJECTS_BELOW: Final = [
    "ls-files",
    "-z",
    "--cached",
    "--others",
    "--exclude-standard",
    "--",
    ":(glob)**/.vml/config.toml",
]
_NAMED: Final = 3
_OF_STORE: Final = ("complete", "index", "loose", "packs", "projects", "remotes", "runs")


class Project:
    """One project: its top directory, repository, settings and the places that are not committed.

    `state_dir` is `.vml` (of this worktree), or below `<git dir>/vml` in a bare repository; `main_state_dir` is
    that of the main worktree, where the store lies. `prefix` leads here from the top of the worktree (or from the
    bare repository, as if its files were in it): "" or "a/b". `written` are the files for Git to keep, from the top,
    that were written or removed through this object.
    """

    __slots__ = (
        "_local_is_committed", "config", "git", "main_root", "main_state_dir", "prefix", "root", "state_dir", "written",
    )  # fmt: skip

    def __init__(
        self, root: Path, repository: git.GitRoot, env: Mapping[str, str], *, committed: str | None = None
    ) -> None:
        self.root = root
        self.git = repository
        self._local_is_committed: bool | None = None
        self.written: set[str] = set()
        self.prefix = "" if root == repository.cwd else root.relative_to(repository.cwd).as_posix()
        bare = repository.worktree is None
        self.state_dir = repository.git_dir / "vml" / self.prefix if bare else root / ".vml"
        self.main_root, self.main_state_dir = self._main()
        for directory in dict.fromkeys((self.state_dir, self.main_state_dir)):
            _refuse_links(directory)
        self.config = Config.load(self.state_dir, env, committed=committed, main=self.main_state_dir)

    @classmethod
    def find(cls, start: Path, env: Mapping[str, str]) -> Project:
        """The nearest project at or above `start`, inside its repository. UserError if there is none."""
        start = start.resolve()
        repository = git.root(start)
        if repository is None:
            raise _no_repository(start)
        top = repository.worktree
        if top is None:
            return cls(repository.git_dir, repository, env, committed=_committed_config(repository))
        directory = start
        while not os.path.exists(f"{directory}/.vml/config.toml"):
            if directory == top:
                raise _no_project(repository, start)
            directory = directory.parent
        return cls(directory, repository, env)

    @classmethod
    def with_worktree(cls, start: Path, env: Mapping[str, str]) -> Project:
        """The same where there is a working tree. UserError in a bare repository."""
        project = cls.find(start, env)
        if project.git.worktree is None:
            raise UserError(
                "a bare repository has no workspace",
                hint="work in a clone or a worktree; vml ls, log and diff A B work here",
            )
        return project

    @classmethod
    def of(cls, path: str, start: Path, env: Mapping[str, str]) -> Project:
        """The project that a file belongs to, by its path from the top of the repository around `start`; of a bare one
        the project as of HEAD. UserError if there is none.
        """
        start = start.resolve()
        repository = git.root(start)
        if repository is None:
            raise _no_repository(start)
        top = repository.worktree
        for folder in map(str, PurePosixPath(path).parents):
            directory = repository.cwd / folder
            if top is None:
                if (text := _config_at_head(repository, folder)) is not None:
                    return cls(directory, repository, env, committed=text)
            elif os.path.exists(directory / ".vml" / "config.toml"):
                return cls(directory, repository, env)
        raise UserError(f"{quote(path)} is in no vml project", hint=f"vml init in {word(repository.cwd)}")

    @classmethod
    def init(cls, directory: Path, env: Mapping[str, str], hash: str = hashing.DEFAULT) -> Project:
        """Make `directory` a project. UserError if it is one, or lies outside of a working tree."""
        directory = directory.resolve()
        repository = git.root(directory)
        if repository is None:
            raise _no_repository(directory)
        if repository.worktree is None or ".git" in directory.parts[len(repository.worktree.parts) :]:
            raise UserError(
                f"{quote(directory)} belongs to Git, a project needs a working tree",
                hint="vml init in a clone or a worktree",
            )
        target = directory / ".vml" / "config.toml"
        if target.exists():
            raise UserError(f"{quote(directory)} is a vml project already", hint="vml status")
        hashing.by_name(hash)
        target.parent.mkdir(exist_ok=True)
        # config.toml is what makes the project: written last, so that an interrupted init can be repeated.
        fs.write_atomic(target.parent / ".gitignore", _GITIGNORE.encode())
        fs.write_atomic(target, _CONFIG.format(id=uuid.uuid4(), hash=hash).encode())
        return cls(directory, repository, env)

    def _main(self) -> tuple[Path, Path]:
        """The project's directory and `.vml` in the main worktree, or what stands for them if it is bare."""
        repository = self.git
        if repository.worktree is None or repository.git_dir == repository.common_dir:
            return self.root, self.state_dir
        if repository.common_dir.name == ".git":
            main = repository.common_dir.parent / self.prefix
            return main, main / ".vml"
        # A worktree of a bare repository, or of one whose git directory lies elsewhere.
        return repository.common_dir, repository.common_dir / "vml" / self.prefix

    @property
    def id(self) -> str:
        """The project's UUID."""
        if not self.config.project_id:
            raise UserError(
                f"{self.state_dir / 'config.toml'} has no core.id",
                hint="git log -p .vml/config.toml shows the id it had; vml init writes a new one",
            )
        return self.config.project_id

    @property
    def algorithm(self) -> Algorithm:
        """What names this project's data."""
        return hashing.by_name(self.config.hash or hashing.DEFAULT)

    @property
    def cache_dir(self) -> Path:
        """The local store; one for all worktrees."""
        if configured := self.config.cache_dir:
            # A relative place means the same for a linked worktree, wherever that lies.
            place = Path(os.path.normpath(self.main_root / Path(configured).expanduser()))
            if self._is_strangers(self.config.cache_dir_level) and not self._is_inside(place):
                raise UserError(
                    f"cache.dir = {configured!r} is committed, and leads out of the project",
                    hint="vml config --local cache.dir DIR, in a .vml/config.local.toml that Git does not track",
                )
            return place
        return self.main_state_dir / "cache"

    def _is_strangers(self, level: str | None) -> bool:
        """Whether somebody may have committed the settings of this level; local ones are meant not to be."""
        if level == "local" and self._local_is_committed is None:
            file = self.in_git(".vml/config.local.toml")
            self._local_is_committed = self.git.worktree is not None and git.is_tracked(self.git, file)
        return level == "project" or (level == "local" and self._local_is_committed is True)

    def _is_inside(self, place: Path) -> bool:
        return self.main_root.resolve() in place.resolve().parents

    def refuse_links_in_store(self) -> None:
        """UserError where a link in a store inside the project, which a clone may bring along, leads out of it."""
        store = self.cache_dir
        if not self._is_inside(store):
            return
        above = [store, *(store / name for name in _OF_STORE)]
        for folder in (*above, *store.glob("loose/*"), *store.glob("remotes/*"), *store.glob("remotes/*/*/")):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                with os.scandir(folder) as entries:
                    links = [entry.path for entry in entries if entry.is_symlink()]
                if links:
                    raise _link_of_ours(links[0])

    @property
    def loose(self) -> Loose:
        """Where symlinks into the store lead."""
        return Loose.of(self.cache_dir, self.algorithm)

    @property
    def lock_dir(self) -> Path:
        """Locks of what belongs to this worktree: meta, index, stages."""
        return self.state_dir / "lock"

    @property
    def index_dir(self) -> Path:
        """The stat index of this worktree."""
        return self.state_dir / "index"

    @property
    def read_index_dir(self) -> Path:
        """The stat index of what stages read and nothing tracks; `outside` in it is for what is not in the project."""
        return self.index_dir / "read"

    @property
    def tmp_dir(self) -> Path:
        """Scratch of this worktree."""
        return self.state_dir / "tmp"

    def in_git(self, path: str) -> str:
        """A project-relative path as Git names it, from the top of the worktree."""
        return f"{self.prefix}/{path}".strip("/") if self.prefix else path

    def seen_from(self, start: Path) -> Callable[[str], str]:
        """The reverse of `relative`: how somebody standing in `start` writes paths of the project."""
        base = os.path.relpath(start.resolve(), self.root)
        return str if base == "." else lambda path: os.path.relpath(path, base)

    def own_path(self, path: str) -> str | None:
        """The reverse of `in_git`; None for what lies outside of the project, or in another one inside it."""
        top = f"{self.prefix}/" if self.prefix else ""
        if not path.startswith(top):
            return None
        own = path.removeprefix(top)
        return None if self._inner(own.rpartition("/")[0]) else own

    def _inner(self, path: str) -> str:
        """The nearest project at or above `path`, but below this one; "" if there is none."""
        while path and not os.path.exists(f"{self.root}/{path}/.vml/config.toml"):
            path = path.rpartition("/")[0]
        return path

    def link_above(self, path: str) -> str | None:
        """The first symbolic link among the directories that a path of the project lies in."""
        above = [part.as_posix() for part in reversed(PurePosixPath(path).parents)][1:]
        return next((part for part in above if (self.root / part).is_symlink()), None)

    def refuse_link_above(self, path: str) -> None:
        """UserError if writing at `path` would be writing through a link."""
        if link := self.link_above(path):
            raise UserError(
                f"{quote(path)} is tracked, but {quote(link)} is a symbolic link",
                hint="vml does not write through links; replace it by a directory, then run the command again",
            )

    def remote(self, name: str | None = None) -> RemoteConfig:
        """A remote as `Config.remote` finds it, with a directory's url made an absolute path."""
        return located(self.config.remote(name), self.main_root)

    def relative(self, arg: str, start: Path) -> str:
        """What a user standing in `start` typed, as a path from the project's top; "" is the top itself.

        Symlinks above the last name are followed, the last one is not. UserError outside of the project, in
        another one inside it, or for what belongs to Git or vml.
        """
        if not arg:
            raise UsageError("an empty path", hint="the current directory is .")
        if self.git.worktree is None and not start.resolve().is_relative_to(self.root):
            start = self.root  # beside a bare repository, to which a file `.git` leads
        full = start / arg
        full = full.resolve() if full.name in ("", "..") else full.parent.resolve() / full.name
        if self.root not in full.parents and full.resolve() == self.root:
            return ""
        if self.root not in full.parents:
            raise UserError(
                f"{quote(arg)} is outside of the project {quote(self.root)}",
                hint="vml works on what lies inside: copy or move it there first",
            )
        path = full.relative_to(self.root).as_posix()
        if why := paths.problem(path):
            raise UserError(f"{quote(arg)} cannot be tracked: {why}", hint="name data of the project: vml ls lists it")
        if inner := self._inner(path):
            raise UserError(
                f"{quote(arg)} belongs to the project {quote(inner)}",
                hint=f"vml -C {word(os.path.relpath(self.root / inner, start.resolve()))} …",
            )
        return path

    def expand(self, args: Sequence[str], start: Path) -> list[str]:
        """`relative` for each argument; one that names nothing but has `*`, `?` or `[` is a glob from `start`.

        A glob leaves pointers, ignore files and hidden files out. UserError if it matches nothing.
        """
        found: dict[str, None] = {}
        for arg in args:
            if not glob.has_magic(arg) or os.path.lexists(start / arg):
                found[self.relative(arg, start)] = None
                continue
            matches = [m for m in sorted(glob.glob(arg, root_dir=start, recursive=True)) if not m.endswith(".vml")]
            if not matches:
                raise UserError(f"{quote(arg)} matches nothing", hint="** stands for any number of directories")
            found.update((self.relative(match, start), None) for match in matches)
        return list(found)


def located(remote: RemoteConfig, base: Path) -> RemoteConfig:
    """The remote with paths made absolute, from `base` where they are relative: a directory's url, and ca_bundle."""
    if isinstance(bundle := remote.options.get("ca_bundle"), str):
        absolute = os.path.normpath(base / Path(bundle).expanduser())
        remote = remote._replace(options={**remote.options, "ca_bundle": absolute})
    if remote.url.startswith("file://"):
        return remote._replace(url=unquote(urlsplit(remote.url).path))
    if "://" in remote.url:
        return remote
    return remote._replace(url=os.path.normpath(base / Path(remote.url).expanduser()))


def _refuse_links(directory: Path) -> None:
    """UserError where a link, which a clone may bring along, would make us write elsewhere."""
    for name in _OWN:
        if os.path.islink(place := directory / name):
            raise _link_of_ours(place)


def _link_of_ours(place: str | Path) -> UserError:
    return UserError(
        f"{quote(place)} is a symlink: vml does not write through it",
        hint="remove it; vml config --local cache.dir DIR puts the store elsewhere",
    )


def _no_project(repository: git.GitRoot, start: Path) -> UserError:
    """Why none was found: perhaps Git knows one that is not in the working tree."""
    top = repository.cwd
    above = [folder.relative_to(top).as_posix() for folder in (start, *start.parents) if folder.is_relative_to(top)]
    lines = git.listed(git.run(["ls-files", "-t", "-z", "--", *(f":(literal){each}/.vml" for each in above)], top))
    for folder in above:
        place = f"{folder}/.vml".removeprefix("./")
        letters = {line[0] for line in lines if line[2:].startswith(f"{place}/")}
        if "S" in letters:
            return UserError(
                f"the sparse checkout of {quote(top)} leaves out {quote(place)}, and with it the project",
                hint=f"git sparse-checkout add {word(place)}",
            )
        if letters:
            return UserError(
                f"{quote(place)} is gone from the working tree, and with it the project and its local store",
                hint=f"git checkout -- {word(place)} brings the project back, vml pull its data",
            )
    below = [each.removesuffix("/.vml/config.toml") for each in git.listed(git.run(_PROJECTS_BELOW, start))]
    if below:
        names = ", ".join(map(quote, below[:_NAMED])) + (", ..." if len(below) > _NAMED else "")
        return UserError(
            f"{quote(start)} is in no vml project (below it: {names})",
            hint=f"cd {word(below[0])}, or vml -C {word(below[0])} COMMAND",
        )
    return UserError(f"there is no vml project in {quote(top)}", hint="vml init")


def _no_repository(directory: Path) -> UserError:
    return UserError(f"{quote(directory)} is not inside a Git repository", hint="git init, then vml init")


def _committed_config(repository: git.GitRoot) -> str:
    if (text := _config_at_head(repository, ".")) is None:
        raise UserError(
            f"the bare repository {quote(repository.git_dir)} has no vml project at its HEAD",
            hint="vml init in a clone, then commit and push .vml/config.toml",
        )
    return text


def _config_at_head(repository: git.GitRoot, folder: str) -> str | None:
    """The settings of the project in a directory of HEAD; None if there is none."""
    out = git.run(["show", f"HEAD:{PurePosixPath(folder, '.vml/config.toml')}"], repository.cwd, ok=(0, 128))
    return out.decode("utf-8", "replace") or None
