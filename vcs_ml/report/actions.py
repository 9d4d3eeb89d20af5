"""What a run of GitHub Actions says of itself: its event, its address, and whether it runs for a fork."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcs_ml import values
from vcs_ml.errors import UserError


def event(env: Mapping[str, str]) -> Mapping[str, Any]:
    """What made Actions run; empty where nothing says so. UserError for what cannot be read."""
    path = env.get("GITHUB_EVENT_PATH")
    raw = values.read(Path(path)) if path else None
    try:
        found = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise UserError("the file in GITHUB_EVENT_PATH is no JSON", hint="Actions writes it; who changed it?") from None
    return found if isinstance(found, dict) else {}


def may_only_read(happened: Mapping[str, Any], env: Mapping[str, str]) -> bool:
    """Whether the token of this run cannot write: it runs code of a fork, or of Dependabot."""
    match happened:
        case {"pull_request": {"head": {"repo": {"full_name": head}}, "base": {"repo": {"full_name": base}}}}:
            fork = head != base
        case {"pull_request": {"head": {"repo": None}}}:  # the fork is gone
            fork = True
        case _:
            fork = False
    return fork or env.get("GITHUB_ACTOR") == "dependabot[bot]"


def stranger(happened: Mapping[str, Any]) -> str | None:
    """The repository whose code ran in the workflow that this one follows, unless it is surely no fork."""
    match happened:
        case {"workflow_run": {"head_repository": {"full_name": str(head)}, "repository": {"full_name": str(base)}}}:
            return head if head != base else None
        case {"workflow_run": {"head_repository": {"full_name": str(head)}}}:
            return head
    return None


def address(happened: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """The page of the run that made the report; empty outside of Actions."""
    match happened:
        case {"workflow_run": {"html_url": str(url)}}:
            return url
    server, repo, run = (env.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    return f"{server}/{repo}/actions/runs/{run}" if server and repo and run else ""
