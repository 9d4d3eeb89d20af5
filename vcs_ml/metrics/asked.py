"""Which revisions a command was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from vcs_ml import git, history
from vcs_ml.metrics.revision import Reader, Revision
from vcs_ml.workspace.sync import Scope

_SHORT = 7


def revisions(reader: Reader, names: Sequence[str], scope: Scope) -> list[Revision]:
    """The revisions of these names, each once; without a name or scope, the workspace (HEAD in a bare repository).

    `A..B` stands for commits, the newest first. UserError for a name that Git does not know.
    """
    root = reader.project.git
    labels: dict[str, str] = {}  # by commit
    for name in names:
        if ".." in name:
            # A leading dash would be taken for an option of git.
            found = git.run(["rev-list", "--end-of-options", name, "--"], root.cwd).decode().split()
            labels.update((commit, commit[:_SHORT]) for commit in found if commit not in labels)
        else:
            labels.setdefault(git.resolve(root, name), name)
    refs = history.refs(root) if scope.all_branches or scope.all_tags else ()
    for ref in refs:
        if (ref.kind == "branch" and scope.all_branches) or (ref.kind == "tag" and scope.all_tags):
            labels.setdefault(ref.commit, ref.name)
    if scope.all_commits:
        found = git.run(["rev-list", "--all"], root.cwd).decode().split()
        labels.update((commit, commit[:_SHORT]) for commit in found if commit not in labels)
    here: list[Revision] = []
    if root.worktree is not None and not (names or any(scope)):
        here = [reader.workspace()]
    elif not (names or any(scope)):
        labels = {git.resolve(root, "HEAD"): "HEAD"}
    return [*here, *(reader.commit(label, commit) for commit, label in labels.items())]
