"""What `vml doctor` says of hooks and the merge driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from vcs_ml.errors import UserError, VmlError
from vcs_ml.git import GitRoot
from vcs_ml.hooks import framework, native
from vcs_ml.output import count, quote
from vcs_ml.workspace import attributes
from vcs_ml.workspace.finding import Finding, Level
from vcs_ml.workspace.project import Project


def check(start: Path, env: Mapping[str, str]) -> Iterator[Finding]:
    """Look whether the hooks of the project around a directory are in place and up to date; nothing where none is."""
    try:
        project = Project.with_worktree(start, env)
    except VmlError:
        return
    try:
        yield _hooks(project)
        yield _merges(project)
    except UserError as error:
        yield Finding("warning", "hooks", error.message, error.hint)


def _merges(project: Project) -> Finding:
    if attributes.is_installed(project):
        return Finding("ok", "merges", "vml merges pointers and lock files")
    how = "vml install --pre-commit" if _is_named(project.git) else "vml install"
    if attributes.is_named(project):
        text = f"Git merges pointers as text, though {attributes.NAME} names vml"
        return Finding("warning", "merges", text, f"{how} lets vml merge them")
    return Finding("ok", "merges", "Git merges pointers as text", f"{how} lets vml merge them")


def _is_named(root: GitRoot) -> bool:
    config = root.cwd / framework.NAME
    return config.is_file() and framework.is_named(config.read_bytes())


def _hooks(project: Project) -> Finding:
    root = project.git
    if native.are_called_by_husky(root):
        return Finding("ok", "hooks", "called by those that husky runs")
    where, states = native.looked_at(root)
    is_named = _is_named(root)
    if not any(states.values()):
        if is_named:
            return _of_framework(root)
        # Whoever wrote .gitattributes meant everybody to run it.
        level: Level = "warning" if attributes.is_named(project) else "ok"
        return Finding(level, "hooks", "not installed", "vml install, or vml install --pre-commit")
    if wrong := [name for name, state in states.items() if state != "unchanged"]:
        missing = [name for name in wrong if states[name] is None]
        text = f"{', '.join(wrong)}: {'missing or ' * bool(missing)}not as this version of vml writes them"
        return Finding("warning", "hooks", text, "vml install brings them up to date")
    if is_named:
        text = f"installed in {quote(where.directory)}, and named in {framework.NAME}: all of it is done twice"
        return Finding("warning", "hooks", text, "vml uninstall, or take the entry out")
    return Finding("ok", "hooks", f"{count(len(states), 'hook')} in {quote(where.directory)}")


def _of_framework(root: GitRoot) -> Finding:
    present = native.of_framework(root)
    if lacking := [name for name in framework.needed((root.cwd / framework.NAME).read_bytes()) if name not in present]:
        text = f"{framework.NAME} names them, but the framework is not installed for {', '.join(lacking)}"
        return Finding("warning", "hooks", text, f"pre-commit install {' '.join(f'-t {name}' for name in lacking)}")
    return Finding("ok", "hooks", f"the pre-commit framework runs them, as {framework.NAME} says")
