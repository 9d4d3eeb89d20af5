"""Posting reports to GitHub and GitLab: one comment, by whoever we are, whatever the forge and the network do."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests import forges, servers
from tests.forges import ME, Fault, Forge, GitHub, GitLab
from vcs_ml.errors import RemoteError, UsageError, UserError, VmlError
from vcs_ml.report import forge, web
from vcs_ml.report.outcome import NotPosted, Passing, Posted
from vcs_ml.store.remotes import retry

MARKER = "<!-- vml-report -->"
EVE = {"login": "eve", "type": "User", "id": 9}
BODY = "# Report\n\nall gates passed\n"


@pytest.fixture(params=["github", "gitlab"])
def either(request: pytest.FixtureRequest) -> GitHub | GitLab:
    found: GitHub | GitLab = request.getfixturevalue(request.param)
    return found


def kind(there: Forge) -> Literal["github", "gitlab"]:
    return "github" if isinstance(there, GitHub) else "gitlab"


def post(there: GitHub | GitLab, body: str = BODY, *, key: str = "", **env: str) -> Posted:
    return forge.post(kind(there), body, there.env(**env), key=key)


def refused(there: GitHub | GitLab, wanted: type[VmlError], body: str = BODY, **env: str) -> VmlError:
    """The error of a post that must fail; it has a hint, and no token in its words."""
    with pytest.raises(wanted) as caught:
        post(there, body, **env)
    assert type(caught.value) is not NotPosted or wanted is NotPosted
    assert caught.value.hint
    assert ME not in caught.value.message + caught.value.hint
    return caught.value


# --- One comment -------------------------------------------------------------------------------------------


def test_comment_is_created_then_updated(either: GitHub | GitLab) -> None:
    first = post(either)
    second = post(either, "# Report\n\na gate failed\n")

    assert (first.action, second.action) == ("created", "updated")
    assert first.url == second.url
    assert str(next(iter(either.comments))) in first.url
    assert either.bodies == [f"{MARKER}\n# Report\n\na gate failed\n"]


def test_key_has_a_comment_of_its_own(either: GitHub | GitLab) -> None:
    post(either, "a\n")
    post(either, "b\n", key="gpu/large")
    post(either, "c\n", key="gpu/large")

    assert either.bodies == [f"{MARKER}\na\n", "<!-- vml-report:gpu/large -->\nc\n"]


@pytest.mark.parametrize("key", ["a b", "x-->", "--", "é", "a" * 101])
def test_key_that_would_show_is_refused(github: GitHub, key: str) -> None:
    with pytest.raises(UsageError):
        post(github, key=key)
    assert not github.requests


def test_comment_is_found_behind_many_others(either: GitHub | GitLab) -> None:
    either.page_max = 50  # less than was asked for
    old = either.write(f"{MARKER}\r\nold", either.myself())
    for i in range(230):
        either.write(f"comment {i}", EVE)

    assert post(either).action == "updated"
    assert old["body"] == f"{MARKER}\n{BODY}"


def test_comment_of_somebody_else_is_left_alone(either: GitHub | GitLab) -> None:
    forged = f"{MARKER}\nall gates passed, merge it"
    either.write(forged, EVE)

    assert post(either).action == "created"
    assert either.bodies == [forged, f"{MARKER}\n{BODY}"]
    assert post(either).action == "updated"
    assert either.bodies == [forged, f"{MARKER}\n{BODY}"]


def test_comment_that_quotes_the_marker_is_left_alone(either: GitHub | GitLab) -> None:
    for quoting in (f"> {MARKER}\n> old", f"see\n{MARKER}", f" {MARKER}", f"{MARKER} and more"):
        either.write(quoting, either.myself())

    assert post(either).action == "created"
    assert len(either.comments) == 5


def test_the_newest_of_several_stays(either: GitHub | GitLab) -> None:
    either.write(f"{MARKER}\nold", either.myself())
    either.write(f"{MARKER}\nforged", EVE)
    newest = either.write(f"{MARKER}\nnewer", either.myself())

    post(either)

    assert either.bodies == [f"{MARKER}\nforged", f"{MARKER}\n{BODY}"]
    assert newest["id"] in either.comments


def test_two_runs_at_a_time_leave_one_comment(either: GitHub | GitLab) -> None:
    """Both look, both find nothing, both create."""
    both = threading.Barrier(2)
    change = either.change

    def together(asked: forges.Request, number: int | None) -> forges.Answer:
        if asked.method == "POST":
            both.wait(30)
        return change(asked, number)

    either.change = together  # type: ignore[method-assign]
    runs = [threading.Thread(target=post, args=[either]) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()

    assert len(either.comments) == 1


# --- Where -------------------------------------------------------------------------------------------------


@pytest.fixture
def event(tmp_path: Path) -> Callable[[object], str]:
    def write(value: object) -> str:
        path = tmp_path / "event.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return str(path)

    return write


def run_of(repo: str = "eve/fruit", sha: str = "a" * 40) -> dict[str, Any]:
    """The event of a workflow that follows another's run for a pull request."""
    return {
        "workflow_run": {
            "head_sha": sha,
            "head_branch": "main",
            "head_repository": {"full_name": repo, "owner": {"login": repo.partition("/")[0]}},
            "html_url": "https://github.example.org/ada/fruit/actions/runs/41",
            "pull_requests": [],
            "repository": {"full_name": "ada/fruit"},
        }
    }


def pull(number: int, repo: str | None = "eve/fruit", sha: str = "a" * 40) -> dict[str, Any]:
    head = {"label": "eve:main", "sha": sha, "repo": {"full_name": repo} if repo else None}
    return {"number": number, "head": head}


@pytest.mark.parametrize(
    "happened",
    [
        {"pull_request": {"number": 7}},
        {"issue": {"number": 7, "pull_request": {}}, "comment": {}},
    ],
)
def test_number_comes_from_the_event(github: GitHub, event: Callable[[object], str], happened: object) -> None:
    post(github, GITHUB_EVENT_PATH=event(happened), GITHUB_REF="refs/heads/main")

    assert github.bodies == [f"{MARKER}\n{BODY}"]


@pytest.mark.parametrize("happened", [{"issue": {"number": 7}}, {"ref": "refs/heads/main"}, [], {"pull_request": 7}])
def test_run_for_no_pull_request_says_so(github: GitHub, event: Callable[[object], str], happened: object) -> None:
    error = refused(github, NotPosted, GITHUB_EVENT_PATH=event(happened), GITHUB_REF="refs/heads/main")

    assert "belongs to no pull request" in error.message


def test_following_workflow_finds_the_pull_request_by_its_head(github: GitHub, event: Callable[[object], str]) -> None:
    github.pulls = [pull(5, "eve/other"), pull(6, None), pull(7), pull(8, sha="b" * 40)]

    post(github, "# All gates passed\n", GITHUB_EVENT_PATH=event(run_of()), GITHUB_REF="refs/heads/main")

    (body,) = github.bodies
    assert body == (
        f"{MARKER}\n> Computed by the code of `eve/fruit`, in "
        "[this run](https://github.example.org/ada/fruit/actions/runs/41).\n\n# All gates passed\n"
    )


def test_following_workflow_warns_where_nothing_says_whose_run_it_was(
    github: GitHub, event: Callable[[object], str]
) -> None:
    happened = run_of()
    del happened["workflow_run"]["repository"]
    github.pulls = [pull(7)]

    post(github, GITHUB_EVENT_PATH=event(happened), GITHUB_REF="refs/heads/main")

    assert "> Computed by the code of `eve/fruit`" in github.bodies[0]


def test_following_workflow_of_the_same_repository_needs_no_warning(
    github: GitHub, event: Callable[[object], str]
) -> None:
    github.pulls = [pull(7, "ada/fruit")]
    github.pulls[0]["head"]["label"] = "ada:main"

    post(github, GITHUB_EVENT_PATH=event(run_of("ada/fruit")), GITHUB_REF="refs/heads/main")

    assert github.bodies == [f"{MARKER}\n{BODY}"]


@pytest.mark.parametrize(
    ("pulls", "words"),
    [
        ([], "no open pull request has aaaaaaaaaa as its head"),
        ([pull(7, sha="b" * 40)], "no open pull request has aaaaaaaaaa as its head"),
        ([pull(7), pull(8)], "several pull requests have aaaaaaaaaa as their head: #7, #8"),
    ],
)
def test_following_workflow_does_not_guess(
    github: GitHub, event: Callable[[object], str], pulls: list[dict[str, Any]], words: str
) -> None:
    github.pulls = pulls

    error = refused(github, NotPosted, GITHUB_EVENT_PATH=event(run_of()), GITHUB_REF="refs/heads/main")

    assert error.message == words
    assert not github.comments


def test_enterprise_server_has_other_paths() -> None:
    hub = GitHub("/api", "/v3")
    with forges.running(hub):
        post(hub)
        assert post(hub).action == "updated"
    assert any(each.path == "/api/graphql" for each in hub.requests)


def test_who_we_are_may_be_unknown(github: GitHub) -> None:
    """Then a comment of another app is not taken for ours, and what we write tells."""
    github.graphql = False
    others = [f"{MARKER}\nforged", f"{MARKER}\nof another app"]
    github.write(others[0], EVE)
    github.write(others[1], {"login": "other[bot]", "type": "Bot"})

    assert post(github, "old\n").action == "created"
    assert post(github).action == "created"
    assert github.bodies == [*others, f"{MARKER}\n{BODY}"]


def test_note_goes_to_the_target_project(gitlab: GitLab) -> None:
    post(gitlab, CI_PROJECT_ID="99")

    assert len(gitlab.comments) == 1


def test_pipeline_for_no_merge_request_says_so(gitlab: GitLab) -> None:
    assert "belongs to no merge request" in refused(gitlab, NotPosted, CI_MERGE_REQUEST_IID="").message


@pytest.mark.parametrize(
    ("there", "env"),
    [
        ("github", {"GITHUB_REPOSITORY": ""}),
        ("github", {"GITHUB_REPOSITORY": "ada/../fruit"}),
        ("github", {"GITHUB_TOKEN": ""}),
        ("github", {"GITHUB_TOKEN": f"{ME}\nX-Other: 1"}),
        ("github", {"GITHUB_API_URL": "file:///etc/passwd"}),
        ("gitlab", {"CI_API_V4_URL": ""}),
        ("gitlab", {"VML_GITLAB_TOKEN": ""}),
        ("gitlab", {"VML_GITLAB_TOKEN": "", "GITLAB_TOKEN": f"{ME} {ME}"}),
    ],
)
def test_what_is_missing_is_named(request: pytest.FixtureRequest, there: str, env: dict[str, str]) -> None:
    found: GitHub | GitLab = request.getfixturevalue(there)
    refused(found, UserError, **env)
    assert not found.requests


def test_event_that_is_no_json_is_named(github: GitHub, event: Callable[[object], str]) -> None:
    assert "GITHUB_EVENT_PATH" in refused(github, UserError, GITHUB_EVENT_PATH=event("{")).message


# --- Rights ------------------------------------------------------------------------------------------------

FROM_FORK = {
    "pull_request": {
        "number": 7,
        "head": {"repo": {"full_name": "eve/fruit"}},
        "base": {"repo": {"full_name": "ada/fruit"}},
    }
}
FROM_HERE = {
    "pull_request": {
        "number": 7,
        "head": {"repo": {"full_name": "ada/fruit"}},
        "base": {"repo": {"full_name": "ada/fruit"}},
    }
}


@pytest.mark.parametrize(
    ("happened", "actor"),
    [
        (FROM_FORK, "eve"),
        ({"pull_request": {"number": 7, "head": {"repo": None}}}, "eve"),
        (FROM_HERE, "dependabot[bot]"),
    ],
)
@pytest.mark.parametrize("token", [ME, ""])
def test_token_of_a_fork_may_not_write(
    github: GitHub, event: Callable[[object], str], happened: object, actor: str, token: str
) -> None:
    github.may_write = False

    error = refused(github, NotPosted, GITHUB_EVENT_PATH=event(happened), GITHUB_ACTOR=actor, GITHUB_TOKEN=token)

    assert "docs/pull-requests.md" in (error.hint or "")


def test_job_without_the_permission_is_a_failure(github: GitHub, event: Callable[[object], str]) -> None:
    github.may_write = False

    error = refused(github, RemoteError, GITHUB_EVENT_PATH=event(FROM_HERE), GITHUB_ACTOR="ada")

    assert "answers 403: Resource not accessible by integration" in error.message
    assert "pull-requests: write" in (error.hint or "")


def test_pipeline_of_a_fork_has_no_token(gitlab: GitLab) -> None:
    refused(gitlab, NotPosted, CI_PROJECT_ID="99", VML_GITLAB_TOKEN="")


def test_wrong_token_is_a_failure(either: GitHub | GitLab) -> None:
    name = "GITHUB_TOKEN" if isinstance(either, GitHub) else "VML_GITLAB_TOKEN"

    assert "answers 401" in refused(either, RemoteError, **{name: "wrong"}).message


def test_pull_request_that_is_not_there(either: GitHub | GitLab) -> None:
    error = refused(either, RemoteError, GITHUB_REF="refs/pull/8/merge", CI_MERGE_REQUEST_IID="8")

    assert "answers 404" in error.message


# --- What may go wrong on the way ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH or PUT"])
@pytest.mark.parametrize(
    "fault",
    [Fault(502), Fault(503, text="<html>busy"), Fault(429, {"Retry-After": "0"}), Fault(403, {"Retry-After": "0"})],
)
def test_what_passes_is_tried_again(either: GitHub | GitLab, method: str, fault: Fault) -> None:
    post(either)
    if method == "POST":
        either.comments.clear()
    for each in {"PATCH or PUT": ["PATCH", "PUT"]}.get(method, [method]):
        either.faults[each] = [fault, fault]

    post(either, "new\n")

    assert either.bodies == [f"{MARKER}\nnew\n"]


def test_comment_of_which_no_answer_came_is_not_made_twice(either: GitHub | GitLab) -> None:
    either.faults["POST"] = [Fault(502, done=True)]

    assert post(either).action == "updated"
    assert len(either.comments) == 1


def test_forge_that_stays_down_is_an_error(either: GitHub | GitLab) -> None:
    either.faults["GET"] = [Fault(500)] * 50

    error = refused(either, RemoteError)

    assert "it answers 500" in error.message
    assert "6 tries" in error.message
    assert len(either.requests) == retry.TRIES


def test_long_wait_is_left_to_people(either: GitHub | GitLab) -> None:
    either.faults["GET"] = [Fault(429, {"Retry-After": "3600"})]

    assert "wait 3600 s" in refused(either, RemoteError).message
    assert len(either.requests) == 1


def test_network_that_is_down_is_an_error(github: GitHub) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        assert "refused" in refused(github, RemoteError, GITHUB_API_URL=url).message


def test_answers_that_break_off_or_mean_nothing_are_errors(github: GitHub) -> None:
    for raw in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": []}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"[" * 60000,
        b"HTTP/1.1 200 OK\r\nRetry-After: never\r\nContent-Length: 4\r\n\r\nnull",
    ):
        with servers.raw_server(lambda method, path, raw=raw: [raw]) as url:
            refused(github, RemoteError, GITHUB_API_URL=url)


def test_head_of_an_answer_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "TIMEOUT", 0.2)
    over = threading.Event()

    def head(method: str, path: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX: "
        while not over.wait(0.02):
            yield b"x"

    with servers.raw_server(head) as url:
        api = web.Api("GitHub", url, ME, {}, headers={}, hints={})
        with pytest.raises(Passing, match="the head of its answer was not here after 0 s"):
            api.request("GET", "/")
        over.set()


def test_what_the_forge_says_is_repeated_without_the_token(github: GitHub) -> None:
    words = json.dumps({"message": f"the token {ME} \x1b[31m is odd"})
    github.faults["GET"] = [Fault(400, text=words)]

    assert "the token *** \\x1b[31m is odd" in refused(github, RemoteError).message


def test_redirect_within_the_forge_is_followed(github: GitHub) -> None:
    github.faults["GET"] = [Fault(301, {"Location": "/repos/ada/fruit/issues/7/comments?per_page=100&page=1"})]

    assert post(github).action == "created"


def test_redirect_to_another_host_does_not_get_the_token(github: GitHub) -> None:
    seen = []

    def steal(method: str, path: str, authorization: str) -> tuple[int, dict[str, str], str]:
        seen.append(authorization)
        return 200, {}, "[]"

    with servers.saying(steal) as thief:
        github.faults["GET"] = [Fault(302, {"Location": f"{thief}/repos"})]
        error = refused(github, RemoteError)

    assert "redirects to" in error.message
    assert not seen


@pytest.mark.parametrize("target", ["http://[::1/x", "file:///etc/passwd", "https://", "http://x:99999999/"])
def test_redirect_to_no_web_address_is_an_error(github: GitHub, target: str) -> None:
    github.faults["GET"] = [Fault(302, {"Location": f"{target}{ME}"})]

    assert "redirects to" in refused(github, RemoteError).message


def test_redirects_without_end_are_an_error(github: GitHub) -> None:
    github.faults["GET"] = [Fault(302, {"Location": "/again"})] * 10

    assert "without end" in refused(github, RemoteError).message


def test_too_long_for_the_forge_is_an_error_with_a_hint(github: GitHub) -> None:
    github.bodies_max = 50

    error = refused(github, RemoteError, "x" * 100)

    assert "answers 422: Validation Failed" in error.message
    assert "too long" in (error.hint or "")


def test_certificate_is_checked(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "both", "-out", "own.pem"]
    subprocess.run([*command, *names], cwd=tmp_path, check=True, capture_output=True)
    certificate = (tmp_path / "own.pem").read_text()
    with (tmp_path / "both").open("a") as both:
        both.write(certificate)
    lab = GitLab()
    with forges.running(lab, tmp_path / "both"):
        error = refused(lab, RemoteError)
        assert "no secure connection" in error.message
        assert "SSL_CERT_FILE" in (error.hint or "")
        assert not lab.requests

        post(lab, CI_SERVER_TLS_CA_FILE=str(tmp_path / "own.pem"))

    assert len(lab.comments) == 1


def test_proxy_is_used_and_left_out_where_it_should_be(github: GitHub) -> None:
    asked = []

    def proxy(method: str, path: str, authorization: str) -> tuple[int, dict[str, str], str]:
        asked.append(path)
        return 404, {}, "{}"

    with servers.saying(proxy) as address:
        refused(
            github,
            RemoteError,
            GITHUB_API_URL="http://forge.invalid",
            http_proxy=address,
            HTTP_PROXY="http://x.invalid",
        )
        assert asked == ["http://forge.invalid/repos/ada/fruit/issues/7/comments?per_page=100&page=1"]

        for direct in ("127.0.0.1", "*", "example.org, 127.0.0.1"):
            post(github, http_proxy=address.removeprefix("http://"), NO_PROXY=direct)
        refused(github, RemoteError, ALL_PROXY=address, NO_PROXY="example.org")

    assert len(asked) == 2


# --- What is posted ----------------------------------------------------------------------------------------


def test_long_report_is_cut_and_says_where_it_is_whole(either: GitHub | GitLab) -> None:
    post(either, "# Data\n\n| path | size |\n| --- | --- |\n" + "| `data/é.csv` | 1.2 kB |\n" * 9000)

    (body,) = either.bodies
    assert body.startswith(f"{MARKER}\n# Data\n")
    assert 59_000 < len(body.encode()) <= 60_000
    whole = {
        "github": "https://github.example.org/ada/fruit/actions/runs/42",
        "gitlab": "https://gitlab.example.org/ada/fruit/-/jobs/42",
    }[kind(either)]
    assert body.endswith(f" more lines; the full report: {whole}\n")


@pytest.mark.parametrize(
    "text",
    [
        *("@ada", "*@ada*", "_@ada_", "(@org/team)", "&#64;ada", "&#x40;ada", "&commat;ada", "&#64ada"),
        *("<p>&nbsp@ada</p>", "<p>&#32@ada", "<p>&lt@ada", "x&nbsp&#64;ada"),
    ],
)
def test_text_of_a_stranger_calls_nobody(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.md"
    file.write_text(f"look, {text}\n")

    found = forge.read(file)

    assert "\u2060" in found
    assert found.replace("\u2060", "") == f"look, {text}\n"


def test_what_calls_nobody_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    file.write_text("recall @ 3, precision@ 5 &amp;\n")

    assert forge.read(file) == file.read_text()


def test_lines_are_no_commands_to_gitlab(gitlab: GitLab) -> None:
    post(gitlab, "text\n/close\n  /merge\n```\n/approve\n```\n")
    post(gitlab, "/label ~good\n")

    assert gitlab.obeyed == []
    assert gitlab.bodies == [f"{MARKER}\n\\/label ~good\n"]


# --- The summary of a run ----------------------------------------------------------------------------------


def unwarned(text: str, hint: str) -> None:
    raise AssertionError(text)


def test_summary_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    file.write_text("other step\n")

    forge.summary(BODY, {"GITHUB_STEP_SUMMARY": str(file)}, unwarned)

    assert file.read_text() == f"other step\n\n{BODY}"


def test_summary_stays_within_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    row = "| 12345678 | 12345678 |\n"
    for _ in range(3):
        forge.summary("| a | b |\n| - | - |\n" + row * 30_000, {"GITHUB_STEP_SUMMARY": str(file)}, unwarned)

    text = file.read_text()
    assert (1 << 20) - 2000 < len(text) <= 1 << 20
    assert text.count("… cut: ") == 1


def test_no_summary_outside_of_actions() -> None:
    forge.summary(BODY, {}, unwarned)
