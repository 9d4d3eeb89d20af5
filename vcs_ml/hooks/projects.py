"""All projects of a repository, and to which of them a path belongs: a hook serves every one of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from vcs_ml import git, history
from vcs_ml.errors import UserError
from vcs_ml.git import GitRoot
from vcs_ml.gittree import FILE, Trees
from vcs_ml.workspace.project import Project

CONFIG: Final = ".vml/config.toml"
# What records something in any project, and where projects begin.
PATTERNS: Final = tuple(f":(glob,top)**/{name}" for name in ("*.vml", "vml.lock", CONFIG))
_CONFIG_MAX: Final = 1 << 20

T = TypeVar("T")


def repository(directory: Path) -> GitRoot | None:
    """The repository around a directory, with links followed."""
    return git.root(directory.resolve())


def calling(directory: Path, env: Mapping[str, str]) -> GitRoot | None:
    """The repository whose hook was started in a directory: the one that Git names, since `git --git-dir` and
    `--work-tree` work anywhere, also inside of others (githooks(5)).
    """
    around = repository(directory)
    told = env.get("GIT_DIR")
    # From another directory, as with `vml -C`, it is the directory that is meant.
    if not told or directory.resolve() != Path.cwd() or (around and around.git_dir.resolve() == Path(told).resolve()):
        return around
    return git.of_git_dir(Path(told))


def is_worked_on(root: GitRoot, directory: Path, env: Mapping[str, str]) -> bool:
    """Whether a hook that was started in a directory is about the working tree of `root`."""
    if root.worktree is None:
        return False
    top, place = root.worktree.resolve(), directory.resolve()
    told = env.get("GIT_WORK_TREE")
    return place.is_relative_to(top) and (not told or place != Path.cwd() or Path(told).resolve() == top)


def prefixes(root: GitRoot, *, untracked: bool = False) -> list[str]:
    """Where projects begin, from the top of the working tree, as far as Git's index has them and they are there; with
    `untracked`, also those that are not in Git yet.
    """
    if root.worktree is None:
        return []
    more = ["--cached", "--others", "--exclude-standard"] if untracked else []
    paths = [*git.listed(git.run(["ls-files", "-z", *more, "--", PATTERNS[-1]], root.cwd)), CONFIG]
    found = sorted({prefix_of(path) for path in paths if os.path.isfile(root.cwd / path)})
    return [each for each in found if (root.cwd / each).resolve() == root.cwd / each]  # not through links


def here(
    root: GitRoot,
    env: Mapping[str, str],
    broken: dict[str, UserError] | None = None,
    *,
    untracked: bool = False,
) -> dict[str, Project]:
    """The projects of the working tree, as `prefixes`, by where they begin. Why the settings of one cannot be read is
    put into `broken` in the same way; without it, that is raised.
    """
    found = {}
    for each in prefixes(root, untracked=untracked):
        try:
            found[each] = Project(root.cwd / each, root, env)
        except UserError as error:
            if broken is None:
                raise
            broken[each] = error
    return found


def around_or_below(start: Path, env: Mapping[str, str]) -> dict[str, Project]:
    """All projects of the repository that a directory lies in, by where they begin, also those that are not in Git yet.
    UserError where there is none, and in a bare repository.
    """
    root = repository(start)
    found = here(root, env, untracked=True) if root is not None else {}
    try:
        nearest = Project.with_worktree(start, env)
    except UserError:
        if not found:
            raise
        return found
    return found | {nearest.prefix: nearest}


def elsewhere(root: GitRoot, env: Mapping[str, str], blobs: Mapping[str, str]) -> dict[str, Project]:
    """Projects as commits have them, by where they begin; `blobs` are their settings, by path. UserError as `here`."""
    texts = history.read_blobs(root, list(blobs.values()), limit=_CONFIG_MAX)
    return {
        prefix_of(path): Project(root.cwd / prefix_of(path), root, env, committed=raw.decode("utf-8", "replace"))
        for path, raw in zip(blobs, texts, strict=True)
    }


def around(root: GitRoot, commits: Iterable[str], paths: Iterable[str]) -> dict[str, str]:
    """The settings of the projects that paths lie in, in any of these commits: their paths, and the blob id in the
    first commit that has them.
    """
    folders = {folder for path in paths for folder in _above(path)}
    found: dict[str, str] = {}
    with Trees(root) as trees:
        for commit in commits:
            for folder in folders:
                path = f"{folder}/{CONFIG}".lstrip("/")
                if path not in found and (node := trees.find(trees.top(commit), path)) and node.mode in FILE:
                    found[path] = node.oid
    return found


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def prefix_of(config: str) -> str:
    """Where the project begins whose settings these are."""
    return config.removesuffix(CONFIG).rstrip("/")


def by_project(known: Iterable[str], paths: Mapping[str, T]) -> Iterator[tuple[str, dict[str, T]]]:
    """What lies in each of the `known` projects and in none further inside: where it begins, what is there."""
    found: dict[str, dict[str, T]] = {each: {} for each in sorted(known)}
    for path, what in paths.items():
        if (nearest := next((each for each in _above(path) if each in found), None)) is not None:
            found[nearest][path] = what
    yield from ((each, inside) for each, inside in found.items() if inside)
