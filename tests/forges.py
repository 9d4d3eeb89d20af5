"""GitHub and GitLab on loopback, as far as comments need them: who may do what, pages, limits, faults."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.servers import Quiet, serving

ME, SOMEBODY = "ghs_our-secret", "somebody's"
GITHUB_MAX, GITLAB_MAX = 65_536, 1_000_000  # characters

Answer = tuple[int, dict[str, str], Any]


class Request(NamedTuple):
    """What a client asked for."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    value: Any


class Fault(NamedTuple):
    """An answer given instead of doing what is asked, or after it was done."""

    status: int
    headers: Mapping[str, str] = {}
    done: bool = False
    text: str = ""


class Forge:
    """Comments at one pull request; the next requests of a method meet its `faults`, one after the other."""

    bodies_max = GITHUB_MAX

    def __init__(self) -> None:
        self.url = ""
        self.comments: dict[int, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.faults: dict[str, list[Fault]] = {}
        self.may_write = True
        self.page_max = 100

    def answer(self, asked: Request) -> Answer:
        raise NotImplementedError

    def write(self, body: str, user: Mapping[str, Any]) -> dict[str, Any]:
        """Somebody writes a comment."""
        number = 1000 + len(self.requests) + len(self.comments)
        made = {"id": number, "body": body, "user": user, "author": user, "html_url": f"{self.url}/pull/7#{number}"}
        self.comments[number] = made
        return made

    @property
    def bodies(self) -> list[str]:
        return [each["body"] for each in self.comments.values()]

    def writes(self) -> list[str]:
        """What was asked for beyond reading."""
        return [each.method for each in self.requests if each.method != "GET" and not each.path.endswith("/graphql")]

    def page(self, asked: Request, rows: list[Any]) -> Answer:
        size = min(int(asked.query.get("per_page", "20")), self.page_max)
        first = (int(asked.query.get("page", "1")) - 1) * size
        link = f'<{self.url}/next>; rel="next", <{self.url}/last>; rel="last"' if first + size < len(rows) else ""
        return 200, {"Link": link} if link else {}, rows[first : first + size]

    def change(self, asked: Request, number: int | None) -> Answer:
        """Make, change or remove a comment."""
        if not self.may_write:
            return 403, {}, {"message": "Resource not accessible by integration"}
        body = (asked.value or {}).get("body", "")
        if len(body) > self.bodies_max:
            return 422, {}, {"message": "Validation Failed", "errors": [{"code": "custom", "message": "is too long"}]}
        if number is None:
            return 201, {}, self.write(body, self.myself())
        if number not in self.comments:
            return 404, {}, {"message": "Not Found"}
        if asked.method == "DELETE":
            del self.comments[number]
            return 204, {}, None
        self.comments[number]["body"] = body
        return 200, {}, self.comments[number]

    def myself(self) -> dict[str, Any]:
        raise NotImplementedError


class GitHub(Forge):
    """Pull request 7 of ada/fruit; `pulls` is what the list of pull requests has."""

    def __init__(self, root: str = "", rest: str = "") -> None:
        super().__init__()
        self.root, self.rest = root, rest  # /api and /v3 on an Enterprise Server
        self.pulls: list[dict[str, Any]] = []
        self.graphql = True

    def env(self, **more: str) -> dict[str, str]:
        """What Actions sets in a run for the pull request."""
        return {
            "GITHUB_API_URL": self.url + self.root + self.rest,
            "GITHUB_SERVER_URL": "https://github.example.org",
            "GITHUB_REPOSITORY": "ada/fruit",
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_RUN_ID": "42",
            "GITHUB_TOKEN": ME,
            **more,
        }

    def myself(self) -> dict[str, Any]:
        return {"login": "github-actions[bot]", "type": "Bot"}

    def answer(self, asked: Request) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {ME}":
            return 401, {}, {"message": "Bad credentials"}
        if asked.path == f"{self.root}/graphql" and asked.method == "POST" and self.graphql:
            assert asked.value == {"query": "{viewer{login}}"}
            return 200, {}, {"data": {"viewer": {"login": self.myself()["login"]}}}
        path = asked.path.removeprefix(self.root + self.rest)
        if path == "/user":
            return 403, {}, {"message": "Resource not accessible by integration"}
        if path == "/repos/ada/fruit/pulls":
            assert asked.query["state"] == "open"
            heads = [each for each in self.pulls if each["head"]["label"] == asked.query["head"]]
            return self.page(asked, heads)
        if path == "/repos/ada/fruit/issues/7/comments":
            if asked.method == "GET":
                return self.page(asked, list(self.comments.values()))
            return self.change(asked, None)
        if found := re.fullmatch(r"/repos/ada/fruit/issues/comments/(\d+)", path):
            return self.change(asked, int(found[1]))
        return 404, {}, {"message": "Not Found"}


class GitLab(Forge):
    """Merge request 7 of project 1, newest notes first; `obeyed` are lines taken for quick actions."""

    bodies_max = GITLAB_MAX

    def __init__(self) -> None:
        super().__init__()
        self.obeyed: list[str] = []

    def env(self, **more: str) -> dict[str, str]:
        """What GitLab CI sets in a pipeline for the merge request."""
        return {
            "CI_API_V4_URL": f"{self.url}/api/v4",
            "CI_JOB_URL": "https://gitlab.example.org/ada/fruit/-/jobs/42",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_PROJECT_URL": "https://gitlab.example.org/ada/fruit",
            "CI_PROJECT_ID": "1",
            "VML_GITLAB_TOKEN": ME,
            **more,
        }

    def myself(self) -> dict[str, Any]:
        return {"id": 5, "username": "project_1_bot"}

    def answer(self, asked: Request) -> Answer:
        if asked.headers.get("PRIVATE-TOKEN") != ME:
            return 401, {}, {"message": "401 Unauthorized"}
        path = asked.path.removeprefix("/api/v4")
        if path == "/user":
            return 200, {}, self.myself()
        found = re.fullmatch(r"/projects/1/merge_requests/7/notes(?:/(\d+))?", path)
        if not found:
            return 404, {}, {"message": "404 Project Not Found"}
        if asked.method == "GET":
            return self.page(asked, list(self.comments.values())[::-1])
        self.obeyed += re.findall(r"^[ \t]*/[a-z].*", (asked.value or {}).get("body", ""), re.MULTILINE)
        return self.change(asked, int(found[1]) if found[1] else None)


@contextmanager
def running(forge: Forge, certificate: Path | None = None) -> Iterator[None]:
    """Let the forge answer at its `url`; with a certificate, over TLS."""

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: the second would wait for the client's acknowledgement of the first

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked = Request(self.command, parts.path, query, self.headers, json.loads(sent) if sent else None)
            forge.requests.append(asked)
            waiting = forge.faults.get(self.command)
            fault = waiting.pop(0) if waiting else None
            status, headers, value = forge.answer(asked) if fault is None or fault.done else (0, {}, None)
            text = "" if value is None else json.dumps(value)
            if fault is not None:
                status, headers, text = fault.status, dict(fault.headers), fault.text
            raw = text.encode()
            self.send_response(status)
            for name, each in {"Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, each)
            self.end_headers()
            self.wfile.write(raw)

        do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    with serving(Handler, certificate) as forge.url:
        yield
