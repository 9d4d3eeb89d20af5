"""A report on its way to readers: a comment at the pull request, and the summary of the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.report import actions, cut, sticky
from vcs_ml.report.outcome import Posted

COMMENT_MAX: Final = 60_000  # bytes; GitHub takes 65,536 characters, GitLab a million
SUMMARY_MAX: Final = 1 << 20  # bytes of a step, all it writes together

_LEAST: Final = 1_000  # bytes, below which there is no room for a report
# A call to somebody. Spelt as one letter or as HTML does; the character of no width behind it is not seen. What stands
# before does not count: a letter may be the end of `&nbsp`, which is a space without its semicolon too.
_MENTION: Final = re.compile(r"(@|&#0*64(?:;|(?!\d))|&#x0*40(?:;|(?![\da-f]))|&commat;)(?=[^\s\u2060])", re.IGNORECASE)
_NO_WIDTH: Final = "\u2060"


def post(kind: Literal["github", "gitlab"], body: str, env: Mapping[str, str], *, key: str = "") -> Posted:
    """Make the Markdown `body` the one comment with this key at the pull request of this run.

    It is cut where it is too long. Raises NotPosted, which is a RemoteError, where the run may not write or belongs to
    no pull request; RemoteError; UserError for what is missing in the environment; UsageError for a key.
    """
    from vcs_ml.report import github, gitlab  # noqa: PLC0415 - urllib3 costs 40 ms, and few reports are posted

    first = sticky.marker(key)
    site = github.GitHub(env) if kind == "github" else gitlab.GitLab(env)
    room = COMMENT_MAX - len(first) - 1
    return sticky.put(site, first, f"{first}\n{cut.fit(_origin(env) + body, room, _address(env))}")


def read(path: Path) -> str:
    """A report that another run has written, and that may be anything a stranger likes; it calls nobody by @name.

    UserError for what cannot be read. So is a symbolic link: it would lead to any file of the machine that posts.
    """
    raw = values.read(path, follow=False)
    if raw is None:
        raise UserError(f"there is no {quote(path)}", hint="vml report --format md -o FILE writes one")
    text = raw.decode(errors="replace").replace("\0", "\ufffd")  # a zero is no text to a forge
    return _MENTION.sub(rf"\1{_NO_WIDTH}", text)


def summary(body: str, env: Mapping[str, str], warn: Callable[[str, str], None]) -> None:
    """Append the Markdown `body` to the summary of a step of GitHub Actions, if this is one; cut where it is full.

    `warn` gets a message and a hint where it cannot be written, which is no reason to have no comment either.
    """
    if not (path := env.get("GITHUB_STEP_SUMMARY")):
        return
    where = _address(env)
    try:
        with Path(path).open("ab") as file:
            room = SUMMARY_MAX - file.tell() - 1
            if room >= _LEAST:
                file.write(b"\n" * bool(file.tell()) + cut.fit(body, room, where).encode())
    except OSError as error:
        hint = "GITHUB_STEP_SUMMARY names the file, and Actions makes it; elsewhere: unset GITHUB_STEP_SUMMARY"
        warn(f"the run has no summary: {quote(path)}: {error.strerror}", hint)


def _address(env: Mapping[str, str]) -> str:
    """The page of the run on GitHub, GitLab or Jenkins; empty elsewhere."""
    return env.get("CI_JOB_URL") or actions.address(actions.event(env), env) or env.get("BUILD_URL", "")


def _origin(env: Mapping[str, str]) -> str:
    """A word of warning above what somebody else's code has computed."""
    happened = actions.event(env)
    if (fork := actions.stranger(happened)) is None:
        return ""
    return f"> Computed by the code of `{fork}`, in [this run]({actions.address(happened, env)}).\n\n"
