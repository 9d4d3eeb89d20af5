"""What `vml doctor` looks at: the installation, the project, its store, its file systems, its remotes."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import stat
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from vcs_ml import __version__, git
from vcs_ml.errors import UserError, VmlError
from vcs_ml.output import count, quote, size, word
from vcs_ml.settings import SECRETS
from vcs_ml.store import gc, link
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import litter, opening, probe, remote_check, sharing, usage
from vcs_ml.workspace.finding import Finding
from vcs_ml.workspace.project import Project

OLDEST_GIT: Final = (2, 26)  # git add --pathspec-from-file
_LITTLE: Final = 1 << 30  # free bytes below which the next add may fail
_OLD: Final = 3600  # seconds after which scratch belongs to no command that runs
_LINKS: Final = ("reflink", *link.SHARING)
_IGNORED: Final = ("cache", "index", "lock", "saved", "tmp", "logs", "config.local.toml")


def check(start: Path, env: Mapping[str, str], *, remote: str | None) -> Iterator[Finding]:
    """Look at everything around the directory `start`.

    A remote is asked if it was used from here before, or is the one called `remote` ("": all are asked).
    """
    yield from installation(start)
    try:
        project = Project.find(start, env)
        yield from repository(project)
        store = opening.open_store(project)
    except VmlError as error:
        yield Finding("problem", "project", error.message, error.hint)
        return
    yield from settings(project)
    yield from contents(project, store)
    yield from file_systems(project)
    yield from registered(project)
    yield from leftovers(project)
    yield from remotes(project, remote)


# ---------------------------------------------------------------------- the installation and the repository


def installation(start: Path) -> Iterator[Finding]:
    """Versions of the program, of Python, of Git, and of the libraries."""
    yield Finding("ok", "vml", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    try:
        text = git.run(["--version"], start).decode("utf-8", "replace").strip()
    except UserError as error:
        yield Finding("problem", "git", error.message, error.hint)
        return
    found = re.search(r"(\d+)\.(\d+)", text)
    if found and (int(found[1]), int(found[2])) < OLDEST_GIT:
        yield Finding("problem", "git", f"{text} is too old", f"install {'.'.join(map(str, OLDEST_GIT))} or newer")
    else:
        yield Finding("ok", "git", text.removeprefix("git version "))
    yield Finding("ok", "libraries", ", ".join(_libraries()) or "none are known: vml is not installed, only run")


def _libraries() -> Iterator[str]:
    try:
        wanted = metadata.requires("vcs-ml") or []
    except metadata.PackageNotFoundError:
        return
    for requirement in wanted:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement and name != "blake3":
            continue
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def repository(project: Project) -> Iterator[Finding]:
    """Which project this is, and what kind of repository it lies in."""
    root = project.git
    kinds = []
    if root.worktree is None:
        kinds.append("bare")
    elif root.git_dir != root.common_dir:
        kinds.append("linked worktree")
    if "modules" in root.common_dir.parts and ".git" in root.common_dir.parts:
        kinds.append("submodule")
    if (root.common_dir / "shallow").exists():
        kinds.append("shallow: commands that go through history see a part of it")
    if git.run(["config", "--get-regexp", r"^remote\..*\.promisor$"], root.cwd, ok=(0, 1)):
        kinds.append("partial clone")
    where = f"{quote(project.root)} ({project.algorithm.name}, id {project.id})"
    yield Finding("ok", "project", where)
    yield Finding("ok", "repository", ", ".join(kinds) or "a working tree of its own")


def settings(project: Project) -> Iterator[Finding]:
    """What of `.vml` Git keeps, or would keep, and who can read secrets."""
    problems = [*_in_git(project), *_open_secrets(project)]
    yield from problems or [Finding("ok", "settings", count(len(project.config.entries()), "setting"))]


def _in_git(project: Project) -> Iterator[Finding]:
    if project.git.worktree is None:
        return
    own = {project.in_git(f".vml/{name}"): name for name in _IGNORED}
    committed = git.tracked(project.git, list(own))
    for path in sorted(committed):
        more = "; what is secret in it stands in history, change it" if path.endswith(".toml") else ""
        hint = f"git rm -r -q --cached {word(path)}{more}"
        yield Finding("problem", "settings", f"{quote(path)} is tracked by Git", hint)
    if seen := own.keys() - git.ignored(project.git, list(own)) - committed:
        names = ", ".join(f"/{own[path]}" for path in sorted(seen))
        hint = f"{quote(project.state_dir / '.gitignore')} should list it"
        yield Finding("problem", "settings", f"Git does not ignore {names} in {quote(project.state_dir)}", hint)


def _open_secrets(project: Project) -> Iterator[Finding]:
    for key, entry in project.config.entries():
        place = Path(entry.source)
        if key.rpartition(".")[2] in SECRETS and place.stat().st_mode & 0o077:
            text = f"{quote(place)} holds a secret, and others may read it"
            yield Finding("problem", "settings", text, f"chmod 600 {word(place)}")
            return


# ---------------------------------------------------------------------- the store and the file systems


def contents(project: Project, store: LocalStore) -> Iterator[Finding]:
    """Where the store is, how much is in it, and whether it can be written."""
    place = store.directory
    if not place.exists():
        yield Finding("ok", "store", f"{quote(place)} (not made yet)")
        return
    used = usage.store(store)
    in_packs = sum(map(len, store.catalog.indexes))
    total = size(used.pack_bytes + used.loose_bytes)
    amount = f"{total}: {count(in_packs, 'object')} in {count(used.packs, 'pack')}, {used.loose:,} alone"
    st = place.stat()
    group = ", shared by a group" if st.st_mode & stat.S_IWGRP else ""
    if os.access(place, os.W_OK | os.X_OK):
        yield Finding("ok", "store", f"{quote(place)} ({amount}{group})")
    else:
        hint = "vml status and vml checkout work; vml add and vml pull need to write there"
        yield Finding("warning", "store", f"{quote(place)} may only be read ({amount})", hint)


def file_systems(project: Project) -> Iterator[Finding]:
    """What the file systems of the workspace and of the store can do, and what leads from one to the other."""
    places = {"workspace disk": _nearest(project.state_dir), "store disk": _nearest(project.cache_dir)}
    usable = {}
    for name, place in places.items():
        try:
            found = probe.abilities(place)
        except OSError as error:
            yield Finding("warning", name, f"nothing can be made in {quote(place)}: {error.strerror}")
            continue
        usable[name] = place
        yield from _abilities(name, place, found)
    if len(usable) == len(places):
        works = link.probe(_LINKS, usable["store disk"], usable["workspace disk"])
        text = ", ".join(f"{kind} {'works' if kind in works else 'does not work'}" for kind in _LINKS)
        yield Finding("ok", "links", f"from the store into the workspace: {text}")


def _nearest(directory: Path) -> Path:
    """`directory`, or what is there of the way to it."""
    return next(place for place in (directory, *directory.parents) if place.is_dir())


def _abilities(name: str, place: Path, found: probe.Abilities) -> Iterator[Finding]:
    words = [
        "names keep case" if found.case_sensitive else "A and a are one name",
        "and Unicode form" if found.keeps_unicode else "Unicode forms of a name are one",
        "executable bits" if found.executable_bits else "no executable bits: the recorded ones are kept",
        f"times to {found.granularity / 1e9:g} s",
        f"{size(found.free)} free",
    ]
    if not found.locks:
        hint = "put it on a local disk; for the store: vml config --local cache.dir DIR"
        yield Finding("problem", name, f"file locks do not work in {quote(place)}", hint)
    if found.free < _LITTLE:
        yield Finding("warning", name, f"only {size(found.free)} are free in {quote(place)}", "make some room")
    yield Finding("ok", name, ", ".join(["locks", *words] if found.locks else words))


def registered(project: Project) -> Iterator[Finding]:
    """Which projects use the store, where that is not this one alone."""
    try:
        users = sharing.users(project.cache_dir)
    except VmlError as error:
        yield Finding("problem", "sharing", error.message, error.hint)
        return
    for each in users:
        if each.record is not None and not each.path.is_dir():
            hint = f"if it is gone for good: vml gc --forget {word(each.path)}"
            yield Finding("warning", "sharing", f"{quote(each.path)} used this store, and is not there", hint)
    if project.config.cache_dir or len(users) > 1:
        names = ", ".join(quote(each.path) for each in users) or "nobody has written to it yet"
        yield Finding("ok", "sharing", f"{count(len(users), 'project')}: {names}")


def leftovers(project: Project) -> Iterator[Finding]:
    """Scratch that killed commands left behind: what is an hour old belongs to no command that runs."""
    paths = {*litter.found(project, ()), *gc.litter(project.cache_dir)}
    old = [bytes_ for path in paths for bytes_ in _old(path)]
    if old:
        text = f"{count(len(old), 'file')} ({size(sum(old))}) of commands that were killed"
        yield Finding("warning", "leftovers", text, "vml gc --force removes them")
    else:
        yield Finding("ok", "leftovers", "none")


def _old(path: str) -> Iterator[int]:
    """The bytes in a thing of ours, if it has been lying about for an hour."""
    with contextlib.suppress(OSError):
        st = os.lstat(path)
        if time.time() - st.st_mtime > _OLD:
            yield sum(size_ for _, size_ in usage.files(path)) if stat.S_ISDIR(st.st_mode) else st.st_size


# ---------------------------------------------------------------------- remotes


def remotes(project: Project, asked: str | None) -> Iterator[Finding]:
    """Each remote that may be asked: is it there, ours, readable, writable, and what time is it there."""
    if asked:
        project.config.remote(asked)
    for name in [asked] if asked else project.config.remotes():
        if asked in ("", name) or remote_check.was_used(project, name):
            yield from remote_check.look(project, name)
        else:
            hint = f"vml doctor --remote {name} asks it"
            text = f"{project.remote(name).address} was not used from here yet, so it is not asked"
            yield Finding("ok", f"remote {name}", text, hint)
