"""The notes of a merge request on GitLab, any server, as a job of GitLab CI sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from vcs_ml.errors import UserError
from vcs_ml.report import sticky, web
from vcs_ml.report.outcome import NotPosted
from vcs_ml.report.sticky import Comment
from vcs_ml.report.web import Api

_TOKEN: Final = (
    "it takes a project access token, with the scope api and the role Developer, in VML_GITLAB_TOKEN; "
    "CI_JOB_TOKEN cannot write notes"
)
_HINTS: Final = {
    400: "is the report too long?",
    401: _TOKEN,
    403: _TOKEN,
    404: f"is the merge request there, and may the token see it? {_TOKEN}",
    422: "is the report too long?",
}
_ACTION: Final = re.compile(r"^([ \t]*)/(?=[A-Za-z])", re.MULTILINE)


class GitLab:
    """The merge request that the environment of a job of GitLab CI speaks of."""

    def __init__(self, env: Mapping[str, str]) -> None:
        url, number = env.get("CI_API_V4_URL", ""), env.get("CI_MERGE_REQUEST_IID", "")
        if not url:
            raise UserError("CI_API_V4_URL is not set", hint="outside of GitLab CI: https://HOST/api/v4")
        # In a pipeline of a fork CI_PROJECT_ID is the fork, which the merge request does not belong to.
        here = env.get("CI_PROJECT_ID", "")
        target = env.get("CI_MERGE_REQUEST_PROJECT_ID") or here
        if not number or not target:
            hint = '`rules: - if: $CI_PIPELINE_SOURCE == "merge_request_event"` makes pipelines that do'
            raise NotPosted("this pipeline belongs to no merge request", hint=hint)
        token = (env.get("VML_GITLAB_TOKEN") or env.get("GITLAB_TOKEN") or "").strip()
        if not token and here != target:
            hint = "docs/pull-requests.md says who may start it here instead; the report is an artifact of the job"
            raise NotPosted("a pipeline of a fork has no token to write to the merge request", hint=hint)
        headers = {"PRIVATE-TOKEN": web.token(token, "VML_GITLAB_TOKEN", _TOKEN)}
        self._api = Api(
            "GitLab", url, token, env, headers=headers, hints=_HINTS, ca_bundle=env.get("CI_SERVER_TLS_CA_FILE")
        )
        self._notes = f"/projects/{quote(target, safe='')}/merge_requests/{quote(number, safe='')}/notes"
        self._page = f"{env.get('CI_MERGE_REQUEST_PROJECT_URL', '')}/-/merge_requests/{number}"

    def own(self, marker: str) -> list[Comment]:
        every = self._api.pages(self._notes, 20)
        found = [each for each in every if sticky.begins_with(each.get("body"), marker)]
        if not found:
            return []
        match self._api.request("GET", "/user").value:
            case {"id": int(we)}:
                return [self._comment(each) for each in found if (each.get("author") or {}).get("id") == we]
        raise web.strange("GitLab")

    def create(self, text: str) -> Comment:
        return self._comment(self._api.request("POST", self._notes, {"body": _inert(text)}).value)

    def update(self, number: int, text: str) -> Comment:
        return self._comment(self._api.request("PUT", f"{self._notes}/{number}", {"body": _inert(text)}).value)

    def delete(self, number: int) -> None:
        self._api.request("DELETE", f"{self._notes}/{number}")

    def _comment(self, value: object) -> Comment:
        match value:
            case {"id": int(number)}:
                return Comment(number, f"{self._page}#note_{number}")
        raise web.strange("GitLab")


def _inert(text: str) -> str:
    """`text` without quick actions: GitLab would obey a line that begins with /close, with the rights of the token."""
    return _ACTION.sub(r"\1\\/", text)
