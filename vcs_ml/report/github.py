"""The comments of a pull request on GitHub, or an Enterprise Server, as a job of Actions sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from vcs_ml.errors import UserError
from vcs_ml.report import actions, sticky, web
from vcs_ml.report.outcome import NotPosted, Refused
from vcs_ml.report.sticky import Comment
from vcs_ml.report.web import Api

_REPO: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_REF: Final = re.compile(r"refs/pull/([0-9]{1,18})/(?:merge|head)")
_HINTS: Final = {
    401: "it needs `env: GITHUB_TOKEN: ${{ github.token }}`",
    403: "the job needs `permissions: pull-requests: write`",
    404: "is the pull request there, and may the token see it? the job needs `permissions: pull-requests: write`",
    422: "is the report too long, or the pull request locked?",
}


class GitHub:
    """The pull request that the environment of a run of Actions speaks of."""

    def __init__(self, env: Mapping[str, str]) -> None:
        happened = actions.event(env)
        self._read_only = actions.may_only_read(happened, env)
        repo = env.get("GITHUB_REPOSITORY", "")
        if not _REPO.fullmatch(repo):
            raise UserError("GITHUB_REPOSITORY names no repository", hint="outside of Actions: OWNER/NAME")
        token = env.get("GITHUB_TOKEN", "").strip()
        if not token and self._read_only:
            raise _no_right()
        url = env.get("GITHUB_API_URL", "https://api.github.com").rstrip("/")
        # An Enterprise Server has /api/v3 and /api/graphql.
        root = url.removesuffix("/v3")
        self._rest = url[len(root) :]
        self._repo = f"{self._rest}/repos/{repo}"
        headers = {
            "Authorization": f"Bearer {web.token(token, 'GITHUB_TOKEN', _HINTS[401])}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        self._api = Api("GitHub", root, token, env, headers=headers, hints=_HINTS)
        self._me: str | None = None  # our login, once it is known
        self._number = self._pull_request(happened, env)

    def own(self, marker: str) -> list[Comment]:
        every = self._api.pages(f"{self._repo}/issues/{self._number}/comments", 100)
        with self._rights():
            found = [each for each in every if sticky.begins_with(each.get("body"), marker)]
        if found and self._me is None:
            self._me = self._login()
        return [_comment(each) for each in found if _wrote(each.get("user"), self._me)]

    def create(self, text: str) -> Comment:
        made = self._write("POST", f"issues/{self._number}/comments", {"body": text})
        match made:
            case {"user": {"login": str(login)}}:  # where nothing else says who we are, what we wrote does
                self._me = login
        return _comment(made)

    def update(self, number: int, text: str) -> Comment:
        return _comment(self._write("PATCH", f"issues/comments/{number}", {"body": text}))

    def delete(self, number: int) -> None:
        self._write("DELETE", f"issues/comments/{number}")

    def _write(self, method: str, path: str, value: object = None) -> object:
        with self._rights():
            return self._api.request(method, f"{self._repo}/{path}", value).value

    @contextmanager
    def _rights(self) -> Iterator[None]:
        """What is refused to a run that may only read is no failure."""
        try:
            yield
        except Refused as error:
            if error.status == 403 and self._read_only:
                raise _no_right() from None
            raise

    def _login(self) -> str | None:
        """Who we are: GraphQL tells it to users and to apps, such as Actions itself; REST to users, everywhere."""
        ask = {"query": "{viewer{login}}"}
        for method, path, value in (("POST", "/graphql", ask), ("GET", f"{self._rest}/user", None)):
            try:
                match self._api.request(method, path, value).value:
                    case {"data": {"viewer": {"login": str(login)}}} | {"login": str(login)}:
                        return login
            except Refused:
                continue
        return None

    def _pull_request(self, happened: Mapping[str, Any], env: Mapping[str, str]) -> int:
        match happened:
            case {"pull_request": {"number": int(number)}}:
                return number
            case {"issue": {"number": int(number), "pull_request": dict()}}:
                return number
            case {
                "workflow_run": {
                    "head_sha": str(sha),
                    "head_branch": str(branch),
                    "head_repository": {"full_name": str(repo), "owner": {"login": str(owner)}},
                }
            }:
                return self._by_head(sha, f"{owner}:{branch}", repo)
        if found := _REF.fullmatch(env.get("GITHUB_REF", "")):
            return int(found[1])
        raise NotPosted("this run belongs to no pull request", hint="`on: pull_request` makes runs that do")

    def _by_head(self, sha: str, branch: str, repo: str) -> int:
        """The pull request that another workflow ran for.

        The event does not name it where it comes from a fork, and to the API a fork's commit belongs to none. So it is
        sought by its branch, and must still have the commit of that run as its head.
        """
        query = urlencode({"state": "open", "head": branch})
        found = []
        for each in self._api.pages(f"{self._repo}/pulls?{query}", 100):
            match each:
                case {"number": int(number), "head": {"sha": head, "repo": {"full_name": name}}}:
                    found += [number] if (head, name) == (sha, repo) else []
        if not found:
            hint = "a newer push has a run of its own"
            raise NotPosted(f"no open pull request has {sha[:10]} as its head", hint=hint)
        if len(found) > 1:
            which = ", ".join(f"#{number}" for number in found)
            hint = "close all but one: the report is of one of them"
            raise NotPosted(f"several pull requests have {sha[:10]} as their head: {which}", hint=hint)
        return found[0]


def _wrote(user: object, login: str | None) -> bool:
    """Whether this user is surely the one who is logged in: nobody is where that is not known."""
    match user:
        case {"login": str(name)} if login is not None:
            return name in (login, f"{login}[bot]")
    return False


def _comment(value: object) -> Comment:
    match value:
        case {"id": int(number), "html_url": str(url)}:
            return Comment(number, url)
    raise web.strange("GitHub")


def _no_right() -> NotPosted:
    return NotPosted(
        "a run for a fork or for Dependabot may not write to its pull request",
        hint="docs/pull-requests.md has the two workflows that it takes; the report is in the run's summary",
    )
