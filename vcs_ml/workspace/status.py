"""What is where: the workspace against pointers, pointers against HEAD, the store against pointers."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Literal, NamedTuple

from vcs_ml import git, gitindex, history, output, regular
from vcs_ml.errors import UserError
from vcs_ml.progress import Meter
from vcs_ml.store import objects, page
from vcs_ml.store.local import LocalStore
from vcs_ml.store.objects import MissingObject
from vcs_ml.store.page import Entry
from vcs_ml.workspace import (
    against_head,
    behind,
    gitignore,
    groups,
    meanwhile,
    merging,
    single,
    snapshot,
    sources,
    tracked,
    unmerged,
)
from vcs_ml.workspace.against_head import PointerChange
from vcs_ml.workspace.ignore import Ignore
from vcs_ml.workspace.index import Index
from vcs_ml.workspace.pointer import SUFFIX, Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.tracked import Survey

What = Literal["added", "modified", "deleted", "renamed", "absent", "behind"]


class Change(NamedTuple):
    """A file (or a tracked directory as a whole) that differs between two sides.

    `absent`: tracked, but never checked out here. `behind`: nobody changed it here, and its pointer names another
    version since. `source` is where a renamed file was before.
    """

    path: str
    change: What
    old: Entry | None
    new: Entry | None
    source: str | None = None

    @property
    def difference(self) -> str:
        """In what the sides differ, for people: sizes and kinds."""
        sides = [each for each in (self.old, self.new) if each is not None and each.size >= 0]
        sizes = " -> ".join(dict.fromkeys(output.size(each.size) for each in sides))
        kinds = dict.fromkeys(page.KINDS[each.kind] for each in sides)
        return f"{sizes}, {' -> '.join(kinds)}" if len(kinds) > 1 else sizes


class Missing(NamedTuple):
    """A tracked thing of which the local store lacks `objects` objects."""

    path: str
    hash: str
    objects: int


class Part(NamedTuple):
    """A tracked directory of which only some files were ever checked out here: `here` of `files`."""

    path: str
    here: int
    files: int


class Conflict(NamedTuple):
    """What a merge left to be settled: a path in the data of the pointer `source`, or the pointer or lock file itself
    where Git left it unmerged. `what` are words of `git status`; "settled" where only Git has not been told.
    """

    path: str
    what: str
    source: str


class Asked(NamedTuple):
    """What Git was asked of all files in a repository that record something: what differs from HEAD or the index, and
    the blobs of those in the index, by their paths from the top, and those that it does not see, as history.unseen.
    """

    changes: Callable[[], list[git.FileStatus]]
    blobs: Callable[[], Mapping[str, str]]
    unseen: Callable[[], Mapping[str, str]]


class Status(NamedTuple):
    """One view of a project; `clean` when workspace, pointers and HEAD agree and nothing is missing.

    `tracked` are the pointers that were looked at, `broken` files that cannot be read, `optional` pointers of data
    that nobody asked for here, `partial` directories of which only a part was, `unmade` outputs that no remote gets
    and that were not made here: nothing of that is missing. `survey` is what was seen in the workspace, all of it, and
    `git_says` what Git says of the files there that record something, where these differ from its index or HEAD;
    `unseen` those of which it says nothing, as history.unseen.
    """

    conflicts: list[Conflict]
    data: list[Change]
    pointers: list[PointerChange]
    missing: list[Missing]
    tracked: list[Pointer]
    broken: list[tuple[str, UserError]]
    optional: list[Pointer]
    partial: list[Part]
    unmade: list[Pointer]
    survey: Survey
    git_says: list[git.FileStatus]
    unseen: Mapping[str, str]

    @property
    def clean(self) -> bool:
        return not (self.conflicts or self.data or self.pointers or self.missing or self.broken)


def status(
    project: Project,
    store: LocalStore,
    targets: Sequence[str],
    *,
    meter: Meter,
    rehash: bool = False,
    refresh: bool = False,
    keep: bool = True,
    ask_store: bool = True,
    asked: Asked | None = None,
) -> Status:
    """Look at the project, or at `targets` (project-relative) in it. Changes nothing but the stat index.

    Without `ask_store`, nothing is known of what the store lacks. Where Git was `asked` already, pointers that are in
    the workspace as in its index are not looked at.
    """
    ignore = Ignore(project.root)
    pathspecs = ["--", *tracked.pathspecs(project)]
    with ExitStack() as stack:
        if asked is None:
            changes = stack.enter_context(git.start([*git.STATUS, *pathspecs], project.git.cwd))
            listing = stack.enter_context(git.start(["ls-files", "-v", "-z", *pathspecs], project.git.cwd))
            specs = tracked.pathspecs(project, [".gitignore"])
            unmerged_ones = stack.enter_context(git.start(["ls-files", "-uz", "--", *specs], project.git.cwd))
            survey = tracked.survey(project, ignore, refresh=refresh)
            git_says = git.parse_status(changes.wait())
            tagged = [(each[0], each[2:]) for each in git.listed(listing.wait())]
            in_git: Collection[str] = [path for _, path in tagged]
            unseen: Mapping[str, str] = history.unseen(project.git, gitindex.unwatched(tagged))
            ignores = {record.partition("\t")[2] for record in git.listed(unmerged_ones.wait())}
        else:
            survey = tracked.survey(project, ignore, refresh=refresh, vouched=lambda: _vouched(project, asked))
            git_says, in_git, ignores, unseen = asked.changes(), asked.blobs(), set(), asked.unseen()
        pointers, broken = survey.tracked, dict(survey.broken)
        chosen = selected(pointers, targets)
        # What few pointers have is asked first: of 20,000, each of these lines would take 10 ms.
        optional = {each.path: each for each, _ in chosen if each.extra and groups.is_left_out(project, each)}
        unmade = {each.path: each for each, _ in chosen if each.lock and is_unmade(project, store, each)}
        nowhere = optional.keys() | unmade.keys()
        wanted = [each for each in chosen if each[0].path not in nowhere] if nowhere else chosen
        data = compare(project, store, wanted, ignore, meter=meter, rehash=rehash, keep=keep)
        data = _with_files_behind(project, data, survey.tracked)
        missing: list[Missing] = []
        partial: list[Part] = []
        for each in _not_here(store, {each.path: each for each, _ in wanted}.values()) if ask_store else ():
            _look_into_store(project, store, each, missing, partial)
        broken |= tracked.committed_inside(project, pointers, in_git)
        to_commit = against_head.changes(project, git_says, in_git, now=pointers, broken=broken, targets=targets)
        unsettled = sorted([*_conflicts(project, pointers, git_says, broken), *_in_ignores(project, ignores)])
    unreadable = [(path, error) for path, error in sorted(broken.items()) if _speaks_of(path, targets or [""])]
    looked_at = [each for each, _ in wanted]
    left_out = list(optional.values())
    unsettled = [each for each in unsettled if groups.concerns(each.path.removesuffix(SUFFIX), targets or [""])]
    return Status(
        unsettled,
        data,
        to_commit,
        missing,
        looked_at,
        unreadable,
        left_out,
        partial,
        list(unmade.values()),
        survey,
        git_says,
        unseen,
    )


def _vouched(project: Project, asked: Asked) -> Mapping[str, str]:
    """The blobs of what is in the workspace as in Git's index, by the path in the project."""
    blobs = asked.blobs()
    differ = {each.path for each in asked.changes() if each.worktree != "."} | asked.unseen().keys()
    top = f"{project.prefix}/" if project.prefix else ""
    same = blobs if not differ else {path: oid for path, oid in blobs.items() if path not in differ}
    return {path.removeprefix(top): oid for path, oid in same.items() if path.startswith(top)} if top else same


def _conflicts(
    project: Project,
    pointers: Mapping[str, Pointer],
    git_says: Iterable[git.FileStatus],
    broken: Container[str],
) -> list[Conflict]:
    """What a merge left to be settled in pointers and lock files, sorted."""
    found = [
        Conflict(path, word, each.source)
        for each in pointers.values()
        if each.conflicts
        for path, word in merging.conflicts_of(each).items()
    ]
    known = {each.source for each in found}
    taken = cache(lambda: unmerged.find(project))
    for record in git_says:
        source = project.own_path(record.path)
        word = unmerged.WORDS.get(record.staged + record.worktree)
        if word is None or source is None or source in known or not sources.is_source(source):
            continue
        is_settled = (
            word in ("both modified", "both added")
            and source not in broken
            # A driver that did not run to its end leaves our version, which settles nothing unless somebody took it.
            and (not history.holds(project.root / source, record.head) or source in meanwhile.settled(project, taken()))
        )
        found.append(Conflict(source, "settled" if is_settled else word, source))
    return sorted(found)


def _in_ignores(project: Project, unmerged_ones: Iterable[str]) -> Iterator[Conflict]:
    """Those of Git's unmerged .gitignore files that have conflict markers in our block."""
    for path in unmerged_ones:
        source = project.own_path(path)
        if source is None:
            continue
        try:
            raw = regular.read(project.root / source, gitignore.MAX_SIZE) or b""
        except (UserError, OSError):  # whatever is there now, it has no block
            continue
        if gitignore.has_markers(raw.decode("utf-8", "replace")):
            yield Conflict(source, "both modified", source)


def is_unmade(project: Project, store: LocalStore, each: Pointer) -> bool:
    """Whether this is an output that goes to no remote, and is neither in the workspace nor in the store: only its
    stage can make it.
    """
    return each.stays and not os.path.lexists(project.root / each.path) and bool(store.missing(each.oid))


def _speaks_of(source: str, targets: Sequence[str]) -> bool:
    """Whether a file that cannot be read may be about one of the targets; a lock file's outputs may lie anywhere."""
    return sources.is_lock(source) or groups.concerns(source.removesuffix(SUFFIX), targets)


def selected(pointers: Mapping[str, Pointer], targets: Sequence[str]) -> list[tuple[Pointer, str]]:
    """The pointers that lie at, below or above `targets`, each with the way from its data to the target."""
    if not targets or "" in targets:
        return [(each, "") for each in pointers.values()]
    found: dict[tuple[str, str], tuple[Pointer, str]] = {}
    for target in targets:
        if above := tracked.owner(target, pointers):
            found[above[0].path, above[1]] = above
        for path, each in pointers.items():
            if path.startswith(target + "/"):
                found[path, ""] = (each, "")
    return [found[place] for place in sorted(found) if not _covered(place, found)]


def _covered(place: tuple[str, str], places: Container[tuple[str, str]]) -> bool:
    """Whether a directory around this part of a tracked thing is selected, too."""
    path, inner = place
    return bool(inner) and ((path, "") in places or any((path, above) in places for above in _above(inner)))


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def compare(
    project: Project,
    store: LocalStore,
    wanted: Collection[tuple[Pointer, str]],
    ignore: Ignore,
    *,
    meter: Meter,
    rehash: bool = False,
    keep: bool = True,
) -> list[Change]:
    """Where the workspace differs from these pointers, sorted by path; renames are found by equal id."""
    changes: list[Change] = []
    files = single.Files(project)
    alone = [each for each, _ in wanted if each.kind != "tree"]
    doubtful = {each.path for each in alone} if rehash else files.doubtful(alone)
    for each, inner in wanted:
        if each.kind == "tree":
            changes += _compare_tree(project, store, each, inner, ignore, meter=meter, rehash=rehash, keep=keep)
        elif each.path in doubtful:
            changes += _compare_file(project, files, each, meter=meter, rehash=rehash)
    if keep:
        with contextlib.suppress(OSError):  # as in snapshot.remember
            files.save()
    return renames(changes)


def _compare_file(project: Project, files: single.Files, each: Pointer, *, meter: Meter, rehash: bool) -> list[Change]:
    old = single.entry_of(each)
    new, known = files.look(each.path, meter=meter, rehash=rehash, steady=False)
    if new == old:
        return []
    if new is None:
        return [Change(each.path, "deleted" if known else "absent", old, None)]
    return [Change(each.path, "modified", old, new)]


def _compare_tree(
    project: Project,
    store: LocalStore,
    each: Pointer,
    inner: str,
    ignore: Ignore,
    *,
    meter: Meter,
    rehash: bool,
    keep: bool,
) -> list[Change]:
    prefix = os.fsencode(inner)
    measure = snapshot.measurer(project, meter, steady=False)
    shot = snapshot.take(project, each.path, ignore, measure, prefix=prefix, rehash=rehash)
    root = project.root / each.path
    if not os.path.lexists(root):
        whole = Entry(os.fsencode(each.path), 0, each.size, each.oid[:-1])
        return [Change(each.path, "deleted" if shot.past.base is not None else "absent", whole, None)]
    changes = []
    try:
        for path, here, wanted, _, known in snapshot.apart(shot, each.oid, store.read, prefix):
            # What was never checked out here is not deleted.
            if shot.past.base is not None and path not in shot.edits:
                if known:
                    changes.append(Change(f"{each.path}/{os.fsdecode(path)}", "behind", wanted, here))
            elif here is not None or (known and shot.past.base is not None):
                changes.append(_change(f"{each.path}/{os.fsdecode(path)}", wanted, here))
            elif shot.past.base is None and not any(change.change == "absent" for change in changes[:1]):
                whole = Entry(os.fsencode(each.path), 0, each.size, each.oid[:-1])
                changes.insert(0, Change(each.path, "absent", whole, None))
    except MissingObject:
        # Without the manifest that the pointer names, what is here can only be compared to what was here.
        for path, here in shot.edits.items():
            changes.append(_change(f"{each.path}/{os.fsdecode(path)}", shot.before[path], here))
        if not changes and shot.past.base != each.oid:
            whole = Entry(os.fsencode(each.path), 0, each.size, each.oid[:-1])
            what: What = "behind" if shot.past.base is not None else "modified"
            changes.append(Change(each.path, what, whole, None))
    else:
        if keep and not changes and not inner and shot.past.base != each.oid and not shot.past.partial:
            snapshot.settle_on(shot, each.oid, partial=False)
            return []
    if keep:
        snapshot.remember(shot)
    return changes


class Behind(NamedTuple):
    """What is behind: the paths of tracked things, with how many files of each; and `edited`, what was edited in such
    directories.
    """

    files: dict[str, int]
    edited: list[Change]


def behind_of(changes: Sequence[Change], pointers: Iterable[Pointer]) -> Behind:
    """What of these changes is behind, by what is tracked."""
    known = {each.path: each for each in pointers} if any(each.change == "behind" for each in changes) else {}
    owners = [(above[0].path, each) for each in changes if known and (above := sources.owner(each.path, known))]
    files = dict(Counter(path for path, each in owners if each.change == "behind"))
    return Behind(files, [each for path, each in owners if path in files and each.change != "behind"])


def _with_files_behind(project: Project, changes: list[Change], pointers: Mapping[str, Pointer]) -> list[Change]:
    """The same, single files that nobody changed told apart."""
    here = [
        pointers[each.path]._replace(oid=objects.blob(each.new.digest), kind=single.kind_of(each.new))
        for each in changes
        if each.change == "modified" and each.new is not None and each.new.size >= 0 and each.new.kind != page.SYMLINK
        if each.path in pointers and pointers[each.path].kind != "tree"
    ]
    found = behind.replaced(project, here)
    return [each._replace(change="behind") if each.path in found else each for each in changes]


def _change(path: str, old: Entry | None, new: Entry | None) -> Change:
    if old is None:
        return Change(path, "added", None, new)
    return Change(path, "modified" if new is not None else "deleted", old, new)


def renames(changes: Sequence[Change]) -> list[Change]:
    """The same changes, a deleted and an added file with one id made one `renamed` (path: the new one)."""
    gone: dict[tuple[bytes, int], list[Change]] = {}
    for each in changes:
        if each.change == "deleted" and each.old is not None and each.old.size:
            gone.setdefault((each.old.digest, each.old.size), []).append(each)
    if not gone:
        return list(changes)
    result, used = [], set()
    for each in changes:
        if each.change == "added" and each.new is not None:
            same = gone.get((each.new.digest, each.new.size))
            if same:
                source = same.pop(0)
                used.add(source.path)
                result.append(Change(each.path, "renamed", source.old, each.new, source.path))
                continue
        result.append(each)
    return [each for each in result if not (each.change == "deleted" and each.path in used)]


def _not_here(store: LocalStore, wanted: Collection[Pointer]) -> list[Pointer]:
    """Directories, and the files that the store lacks."""
    lacking = set(store.lacking({each.oid for each in wanted if each.kind != "tree"}))
    return [each for each in wanted if each.kind == "tree" or each.oid in lacking]


def _look_into_store(
    project: Project, store: LocalStore, each: Pointer, missing: list[Missing], partial: list[Part]
) -> None:
    """Find what the store lacks of a tracked thing; of a directory that is here in part, of that part."""
    absent = store.missing(each.oid)
    if not absent:
        return
    past = Index.load(project.index_dir, each.path, project.algorithm) if each.kind == "tree" else None
    if past is not None and past.partial:
        known = list(past.entries())
        partial.append(Part(each.path, len(known), each.nfiles or 0))
        if past.base == each.oid:
            lacking = store.lacking({objects.blob(entry.digest) for entry in known})
        else:  # of a part that is behind, the newer versions, and the list that names them
            ours = {entry.path for entry in known} | {b""}
            lacking = [oid for oid, path in absent if path in ours]
    else:
        lacking = [oid for oid, _ in absent]
    if lacking:
        missing.append(Missing(each.path, objects.format_hash(each.oid, store.algorithm), len(lacking)))
