"""Requests to the API of a forge: the token goes to it alone, answers are bounded, and refusals come with a hint."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urljoin

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, LocationValueError, SSLError

from vcs_ml.errors import RemoteError, UserError
from vcs_ml.output import one_line
from vcs_ml.report.outcome import Passing, Refused
from vcs_ml.settings import masked
from vcs_ml.store import threads
from vcs_ml.store.remotes import body, retry

_ANSWER_MAX: Final = 128 << 20  # a page of the longest comments, every character of them escaped
_WORDS_MAX: Final = 300  # characters of a forge's own words in a message
_WAIT_MAX: Final = 60.0  # seconds that a forge may ask us to wait before the next try
_REDIRECTS: Final = 3
_PAGES_MAX: Final = 300  # GitHub takes 2,500 comments at a pull request, GitLab 5,000
_MOVED: Final = frozenset({301, 302, 307, 308})
_PASSING: Final = frozenset({429, 500, 502, 503, 504})
_PORTS: Final = {"http": 80, "https": 443}


class Answer(NamedTuple):
    """The JSON of an answer, and whether there is another page of it."""

    value: Any
    more: bool


class Api:
    """The API of one forge at a URL: `headers` hold the `token`, `hints` say what to do about a status.

    `env` names proxies (HTTPS_PROXY, NO_PROXY, ...). `ca_bundle` is a file of certificates to be trusted instead of
    the system's, which SSL_CERT_FILE replaces too.
    """

    def __init__(
        self,
        forge: str,
        url: str,
        token: str,
        env: Mapping[str, str],
        *,
        headers: Mapping[str, str],
        hints: Mapping[int, str],
        ca_bundle: str | None = None,
    ) -> None:
        self._forge = forge
        self._url = url.rstrip("/")
        self._token = token
        self._headers = {"User-Agent": "vcs-ml", "Content-Type": "application/json", **headers}
        self._hints = hints
        self._http = _pool(self._url, env, ca_bundle if ca_bundle and Path(ca_bundle).is_file() else None)
        self._not_before = 0.0  # by the monotonic clock

    def request(self, method: str, path: str, value: object = None) -> Answer:
        """Send `value` as JSON to a path below the URL. Passing, Refused, RemoteError."""
        time.sleep(max(0.0, self._not_before - time.monotonic()))
        address = self._url + path
        sent = None if value is None else json.dumps(value).encode()
        for _ in range(_REDIRECTS + 1):
            try:
                answer, data = self._once(method, address, sent)
            except SSLError as error:
                hint = "a server with certificates of its own: SSL_CERT_FILE=FILE names those to be trusted"
                raise RemoteError(f"{self._where()}: no secure connection ({error})", hint=hint) from None
            except (HTTPError, OSError) as error:
                raise self._passing(str(error) or type(error).__name__) from None
            if answer.status not in _MOVED:
                return self._taken(answer, data)
            address = self._moved(address, answer.headers.get("Location", ""))
        raise RemoteError(f"{self._where()}: redirects without end", hint="is the address of its API right?")

    def pages(self, path: str, size: int) -> Iterator[dict[str, Any]]:
        """The rows of a list, page after page of this size. Errors as `request`."""
        joint = "&" if "?" in path else "?"
        for page in range(1, _PAGES_MAX + 1):
            answer = self.request("GET", f"{path}{joint}per_page={size}&page={page}")
            if not isinstance(answer.value, list):
                raise strange(self._forge)
            yield from (each for each in answer.value if isinstance(each, dict))
            if not answer.more:
                return

    def _once(self, method: str, address: str, sent: bytes | None) -> tuple[urllib3.BaseHTTPResponse, bytes]:
        answer = self._begun(method, address, sent)
        try:
            return answer, body.read(answer, _ANSWER_MAX, retry.TIMEOUT)
        finally:
            answer.close()  # the connection stays open where all was read

    def _begun(self, method: str, address: str, sent: bytes | None) -> urllib3.BaseHTTPResponse:
        """An answer whose head is here, and whose body is to be read."""
        begun: Future[urllib3.BaseHTTPResponse] = Future()

        def ask() -> None:
            try:
                begun.set_result(
                    self._http.request(
                        method, address, body=sent, headers=self._headers, redirect=False, preload_content=False
                    )
                )
            except BaseException as error:
                begun.set_exception(error)

        # The timeouts of a socket begin anew with each byte, and a head may come byte by byte.
        most = 2 * retry.TIMEOUT
        if not threads.within(most, ask):
            raise TimeoutError(f"the head of its answer was not here after {most:.0f} s")
        return begun.result()

    def _taken(self, answer: urllib3.BaseHTTPResponse, data: bytes) -> Answer:
        wait = _wait(answer.headers.get("Retry-After", ""))
        if answer.status in _PASSING or (answer.status == 403 and wait is not None):  # how GitHub says 429, at times
            raise self._later(f"it answers {answer.status} {answer.reason or ''}".rstrip(), wait or 0.0)
        try:
            value = json.loads(data or b"null")
        except (ValueError, RecursionError):
            value = None
        if answer.status < 300:
            return Answer(value, 'rel="next"' in answer.headers.get("Link", ""))
        words = f": {said}" if (said := self._safe(_words(value))) else ""
        hint = self._hints.get(answer.status, "its words say why; is the address of its API right?")
        raise Refused(f"{self._where()} answers {answer.status}{words}", answer.status, hint)

    def _later(self, why: str, wait: float) -> RemoteError:
        if wait > _WAIT_MAX:
            return RemoteError(f"{self._where()}: {why}, and to wait {wait:.0f} s", hint="run it again then")
        self._not_before = time.monotonic() + wait
        return self._passing(why)

    def _passing(self, why: str) -> Passing:
        hint = "is its address right, and the network up? for a way through a proxy: HTTPS_PROXY"
        return Passing(f"{self._where()}: {self._safe(why)} ({retry.TRIES} tries)", hint=hint)

    def _moved(self, address: str, target: str) -> str:
        hint = "give the address of its API that does not redirect"
        try:
            new = urljoin(address, target)
            same = _origin(new) == _origin(address)
        except (ValueError, UserError):
            raise RemoteError(
                f"{self._where()} redirects to {self._safe(masked(target))}, which is no web address", hint=hint
            ) from None
        if not same:
            raise RemoteError(
                f"{self._where()} redirects to {self._safe(masked(new))}, where the token is not sent", hint=hint
            )
        return new

    def _where(self) -> str:
        return f"{self._forge} at {masked(self._url)}"

    def _safe(self, text: str) -> str:
        """Somebody else's words for a message: on one line, short, and never with the token."""
        return one_line(text.replace(self._token, "***"))[:_WORDS_MAX]


def token(text: str, name: str, hint: str) -> str:
    """A token that can be sent in a header. UserError, which does not show it, where there is none."""
    if not re.fullmatch("[!-~]+", text):
        raise UserError(f"there is no token in {name}", hint=hint)
    return text


def strange(forge: str) -> RemoteError:
    """The error for an answer that does not say what it should."""
    return RemoteError(f"{forge} answers something else than its API does", hint="is the address of its API right?")


def _words(value: Any) -> str:
    """What a refusal says: `message`, `errors` (GitHub) or `error` (GitLab)."""
    if not isinstance(value, dict):
        return ""
    said = [value.get(key) for key in ("message", "error", "errors")]
    return "; ".join(each if isinstance(each, str) else json.dumps(each) for each in said if each)


def _wait(text: str) -> float | None:
    """The seconds of a Retry-After, which may be a date; None if there is none."""
    try:
        return float(urllib3.Retry().parse_retry_after(text)) if text else None
    except (InvalidHeader, OverflowError):
        return None


def _origin(url: str) -> tuple[str | None, str | None, int | None]:
    parts = _parsed(url)
    return parts.scheme, parts.host, parts.port or _PORTS.get(parts.scheme or "")


def _parsed(url: str) -> urllib3.util.Url:
    try:
        parts = urllib3.util.parse_url(url)
    except LocationValueError:
        parts = urllib3.util.Url()
    if parts.scheme not in _PORTS or not parts.host:
        raise UserError(f"{masked(url)!r} is no web address", hint="it begins with https://")
    return parts


def _pool(url: str, env: Mapping[str, str], ca_bundle: str | None) -> urllib3.PoolManager:
    """Connections to the host of `url`, through the proxy that the environment names for it."""
    parts = _parsed(url)
    # Sorted, so that https_proxy comes after HTTPS_PROXY and wins, as in curl.
    named = {key[:-6].lower(): env[key] for key in sorted(env) if key.lower().endswith("_proxy") and env[key]}
    proxy = named.get(parts.scheme or "") or named.get("all")
    if not proxy or _goes_directly(parts.host or "", named.get("no", "")):
        return urllib3.PoolManager(retries=False, timeout=retry.TIMEOUT, ca_certs=ca_bundle)
    via = _parsed(proxy if "://" in proxy else f"http://{proxy}")
    login = urllib3.make_headers(proxy_basic_auth=unquote(via.auth)) if via.auth else None
    address = via._replace(auth=None).url
    return urllib3.ProxyManager(address, proxy_headers=login, retries=False, timeout=retry.TIMEOUT, ca_certs=ca_bundle)


def _goes_directly(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY, hosts and domains between commas or a star, names this host."""
    named = [each.strip().lstrip(".").lower() for each in no_proxy.split(",")]
    return "*" in named or any(each and f".{host}".endswith(f".{each}") for each in named)
