"""What a push of commits means for their data: it is sent to where it belongs, or looked for there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from vcs_ml import git, history
from vcs_ml.config import Config, NoRemote, RemoteConfig
from vcs_ml.errors import RemoteError, UserError
from vcs_ml.git import GitRoot
from vcs_ml.hooks import projects, updates
from vcs_ml.hooks.skip import Blocked
from vcs_ml.hooks.typed import Typed
from vcs_ml.hooks.updates import Push
from vcs_ml.output import count, quote
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.remote import Remote
from vcs_ml.workspace import opening, sync, tracked
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project

NOTHING: Final = "these commits name no new data"
_SHOWN: Final = 10  # paths

# Told to people; a warning with what to do.
Say = Callable[[str], None]
Warn = Callable[[str, str | None], None]


class Data(NamedTuple):
    """What commits record in one project, the commit that is named where it is pushed, and the push (None: by hand)."""

    project: Project
    pointers: list[Pointer]
    commit: str | None
    push: Push | None = None


def of_push(root: GitRoot, env: Mapping[str, str], push: Push, warn: Warn) -> list[Data]:
    """What the commits of a push record that the other repository does not have, also where it is not checked out.
    What a project records that is not in this clone is told, where Git has it from another repository.

    Blocked where it has not, since nobody may have sent that data; UserError for a project whose settings cannot be
    read.
    """
    pushed = updates.files(root, push)
    if not pushed.files:
        return []
    known = projects.here(root, env)
    head = git.head(root) if root.worktree is not None else None
    committed = projects.around(root, [tip for tip in pushed.tips if tip != head], (path for path, _ in pushed.files))
    others = {path: oid for path, oid in committed.items() if projects.prefix_of(path) not in known}
    away = projects.elsewhere(root, env, others)
    known |= away
    blobs: dict[str, set[str]] = {}
    for path, oid in pushed.files:
        blobs.setdefault(path, set()).add(oid)
    found = []
    for prefix, inside in projects.by_project(known, blobs):
        project = known[prefix]
        pairs = sorted((path, oid) for path, oids in inside.items() for oid in oids)
        pointers = list(tracked.in_blobs(project, pairs))
        if pointers and prefix in away and not project.main_state_dir.is_dir():
            why = f"the project {quote(prefix or '.')} is not in this clone"
            named = _named(project, pointers)
            if updates.files(root, push, unknown_to="*").files.isdisjoint(pairs):
                warn(f"{named} was not looked at: {why}", None)
            else:
                raise Blocked(
                    f"{named} cannot be sent: {why}, and no remote-tracking branch has these commits",
                    hint="push from the clone that made them",
                )
        elif pointers:
            found.append(Data(project, pointers, pushed.tips[0], push))
    return found


def of_head(root: GitRoot, env: Mapping[str, str]) -> list[Data]:
    """What HEAD records, in every project of the working tree. UserError where that cannot be read."""
    head = git.resolve(root, "HEAD")
    every = projects.here(root, env)
    if root.worktree is None:
        found = history.ls_tree(root, head, projects.PATTERNS[-1:])
        every = projects.elsewhere(root, env, {os.fsdecode(path): oid for path, _, oid in found})
    return [Data(each, list(tracked.at_revision(each, head).values()), head) for each in every.values()]


def send(data: Data, typed: Typed, *, note: Say, warn: Warn, show: sync.Show) -> None:
    """Make it complete on the remotes where it belongs. Blocked where that is not possible; RemoteError, UserError."""
    project = data.project
    store = opening.open_store(project, note)
    place = _place(project)
    for config, pointers in _by_remote(data, warn):
        there = _writable(data, config, typed, note)
        roots = list(dict.fromkeys(tracked.roots(pointers)))
        jobs = sync.jobs(project, None)
        try:
            done = sync.push(project, store, there, roots, jobs=jobs, show=show, commit=data.commit)
        except MissingObject as error:
            raise _nowhere(project, store, there, pointers, error) from None
        if done.moved.objects:
            note(f"{place}pushed to {there.name}: {sync.summary(done.moved, sent=True)}")
        else:
            note(f"{place}{there.name} has everything already")


def _writable(data: Data, config: RemoteConfig, typed: Typed, note: Say) -> Remote:
    """A remote that data is sent to. An empty place is set up only for the first data that commits record for it:
    otherwise it is not the place that the others know, as that of a relative url in a clone that lies elsewhere.
    """
    project = data.project
    there = opening.remote_at(project, config, create=True, dry_run=True, note=note)
    if not there.is_new:
        return there
    if data.push is not None and _has_earlier_data(project, data.push, config):
        raise RemoteError(
            f"remote {config.name!r}: nothing is at {there.backend.url}, though earlier commits record data for it",
            hint=f"is its disk mounted? vml remote modify {config.name} url URL names the place where it is; "
            f"{_push_command(project, data.pointers, config, typed)} sets up a new one, from a clone that has all data",
        )
    there = opening.remote_at(project, config, create=True, note=note)
    note(f"{_place(project)}set up a new remote at {config.address}")
    return there


def _has_earlier_data(project: Project, push: Push, config: RemoteConfig) -> bool:
    """Whether commits that are elsewhere already record data for this remote, and know it under its url."""
    over_there = updates.over_there(project.git, push)
    if not over_there:
        return False
    pairs = sorted(history.introduced(project.git, over_there, tracked.pathspecs(project)))
    if config.level == "project":
        settings = [oid for path, oid in pairs if path == project.in_git(projects.CONFIG)]
        if not any(_names_place(project, raw, config.name) for raw in history.read_blobs(project.git, settings)):
            return False
    return any(each.travels(config.name) for each in tracked.in_blobs(project, pairs))


def _names_place(project: Project, raw: bytes, name: str) -> bool:
    """Whether these settings, committed earlier, give a remote the url that it has now."""
    try:
        earlier = Config.load(project.state_dir, {}, committed=raw.decode("utf-8", "replace")).remotes()
    except UserError:
        return False
    return name in earlier and earlier[name].url == project.config.remote(name).url


def verify(data: Data, typed: Typed, *, note: Say, warn: Warn) -> None:
    """Look whether the remotes have all of it; no data moves. Blocked where something is not there; RemoteError."""
    project = data.project
    store = opening.open_store(project, note)
    messages, commands = [], []
    for config, pointers in _by_remote(data, warn):
        there = opening.remote_if_set_up(project, config)
        lacked = {each.path for each in pointers} if there is None else opening.lacking(store, there, pointers)
        if lacked:
            commands.append(_push_command(project, [each for each in pointers if each.path in lacked], config, typed))
            messages.append(f"{config.name} does not have all data of {_listed(project, lacked)}")
        else:
            note(f"{_place(project)}{config.name} has everything")
    if messages:
        raise Blocked("\n".join(messages), hint=" && ".join(commands))


def _by_remote(data: Data, warn: Warn) -> list[tuple[RemoteConfig, list[Pointer]]]:
    """The remotes that this data goes to, and what goes there. Outputs that go to one that is not set up are told.

    Blocked where there is none at all.
    """
    project = data.project
    moving = [each for each in data.pointers if not each.stays]
    for message, hint in sync.nowhere(project, moving):
        warn(message, hint)
    names = project.config.remotes()
    found: dict[str, tuple[RemoteConfig, list[Pointer]]] = {}
    for each in moving:
        if each.remote is None or each.remote in names:
            try:
                config = project.remote(each.remote)
            except NoRemote as error:
                raise Blocked(
                    f"{_named(project, moving)} has no remote to go to: {error.message}", hint=error.hint
                ) from None
            found.setdefault(config.name, (config, []))[1].append(each)
    return list(found.values())


def _push_command(project: Project, lacked: Sequence[Pointer], config: RemoteConfig, typed: Typed) -> str:
    """What sends this: all versions, where it is not what the workspace names."""
    is_here = project.git.worktree is not None and project.root.is_dir()
    here = {each.oid for each in tracked.in_workspace(project, broken={}).values()} if is_here else set()
    every = [] if all(each.oid in here for each in lacked) else ["--all-commits"]
    remote = [] if config.name == sync.remote_name(project, None) else ["-r", config.name]
    return typed.vml("push", *every, *remote, project=project.prefix)


def _place(project: Project) -> str:
    """Which project a message is about, where it is not that at the top."""
    return f"{quote(project.prefix)}: " if project.prefix else ""


def _nowhere(
    project: Project, store: LocalStore, there: Remote, pointers: Sequence[Pointer], error: MissingObject
) -> Blocked:
    doubtful = [each for each in pointers if store.missing(each.oid)]
    lacked = opening.lacking(store, there, doubtful)
    shown = _listed(project, lacked) if lacked else error.message
    return Blocked(
        f"neither the local store nor {there.name} has all data of {shown}",
        hint="push from a clone that has it, or vml fetch --all-commits from another remote",
    )


def _listed(project: Project, paths: Iterable[str]) -> str:
    """Paths, one below the other, from the top of the repository."""
    every = sorted({project.in_git(path) for path in paths})
    more = [f"  and {count(len(every) - _SHOWN, 'more path')}"] if len(every) > _SHOWN else []
    return "\n".join([f"{count(len(every), 'path')}:", *(f"  {quote(path)}" for path in every[:_SHOWN]), *more])


def _named(project: Project, pointers: Sequence[Pointer]) -> str:
    """A few pointers in a sentence."""
    first = quote(project.in_git(min(each.path for each in pointers)))
    more = len({each.path for each in pointers}) - 1
    return f"{first} (and {count(more, 'more path')})" if more else first
