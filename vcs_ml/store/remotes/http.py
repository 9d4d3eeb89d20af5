"""A remote that anybody may read: files on a web server, or a public bucket behind its web address."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NoReturn
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, MaxRetryError, SSLError

from vcs_ml import settings
from vcs_ml.errors import RemoteError, UserError
from vcs_ml.hashing import Buffer
from vcs_ml.settings import Value
from vcs_ml.store.remotes import body, clock, retry
from vcs_ml.store.remotes.clock import Clock
from vcs_ml.store.remotes.protocol import (
    CannotList,
    Item,
    NotFound,
    Place,
    Traits,
    Upload,
    check_key,
    check_size,
    insecure,
    size_limit,
    too_short,
)

_CONNECTIONS: Final = 16
_MEND: Final = "vml fsck --repair --remote, where it is pushed from"
_PASSING: Final = frozenset({429, 500, 502, 503, 504})


class Website:
    """The reading half of the backend protocol; whatever writes or lists is refused."""

    gathers = False

    def __init__(
        self,
        url: str,
        options: Mapping[str, Value],
        name: str = "",
        note: Callable[[str], None] | None = None,
        patience: float | None = None,
    ) -> None:
        self._address = url.rstrip("/")
        self.url = settings.masked(self._address)
        self._place = Place(name, self.url)
        self._waiting = retry.Waiting(note, patience)
        try:
            login = urllib3.util.parse_url(url).auth
        except LocationValueError as error:
            raise UserError(f"{self._place} is no address to read from ({error})", hint=settings.WEB_FORM) from None
        self._headers = {"User-Agent": "vcs-ml"}
        if login:
            self._headers |= urllib3.make_headers(basic_auth=unquote(login))
        timeout, bundle = options.get("timeout"), options.get("ca_bundle")
        self._timeout = timeout if isinstance(timeout, int | float) and timeout > 0 else retry.TIMEOUT
        self._tried = f" ({retry.TRIES} tries)" if patience is None else ""
        if patience is not None:
            self._timeout = min(self._timeout, patience)
        self._http = urllib3.PoolManager(
            maxsize=_CONNECTIONS,
            retries=False,
            timeout=self._timeout,
            ca_certs=bundle if isinstance(bundle, str) else None,
        )
        self._clock = Clock()
        self._counter = retry.Counter()
        self._pid = os.getpid()

    def read(self, key: str) -> bytes:
        def take(answer: urllib3.BaseHTTPResponse) -> bytes:
            check_size(self._place, key, body.length(answer.headers))
            data = body.read(answer, size_limit(key) + 1, self._timeout)
            check_size(self._place, key, len(data))
            return data

        return self._get(key, {}, take)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if not length:
            return b""

        def take(answer: urllib3.BaseHTTPResponse) -> bytes:
            body.check_range(self._place, key, start, length, (answer.status, answer.headers))
            data = body.read(answer, length, self._timeout)
            if len(data) < length:
                raise too_short(self._place, key, start, length)
            return data

        return self._get(key, {"Range": f"bytes={start}-{start + length - 1}"}, take)

    def stat(self, key: str) -> Item | None:
        try:
            answer = self._request("HEAD", key, {})
        except NotFound:
            return None
        answer.close()
        return Item(key, body.length(answer.headers), clock.parse(answer.headers.get("Last-Modified")) or 0.0)

    def peek(self) -> Sequence[Item] | None:
        self._cannot_list()

    def list(self, prefix: str) -> Iterator[Item]:
        self._read_only()

    def is_empty(self) -> bool:
        self._read_only()

    def now(self) -> float:
        """The server's time, from the date of its last answer."""
        return self._clock.now()

    def create(self) -> Upload:
        self._read_only()

    def write_new(self, key: str, data: Buffer) -> bool:
        self._read_only()

    def replace(self, key: str, data: Buffer) -> None:
        self._read_only()

    def delete(self, key: str) -> None:
        self._read_only()

    def sweep(self, before: float) -> int:
        self._read_only()

    def traits(self, scratch: str) -> Traits:
        self._read_only()

    def requests(self) -> int:
        return self._counter.total()

    # ------------------------------------------------------------------ requests

    def _get(self, key: str, headers: dict[str, str], take: Callable[[urllib3.BaseHTTPResponse], bytes]) -> bytes:
        def work() -> bytes:
            answer = self._request("GET", key, headers)
            try:
                return take(answer)
            finally:
                answer.close()  # the connection stays open where all was read

        try:
            return retry.again(work, (HTTPError, ConnectionError, TimeoutError), self._waiting)
        except (HTTPError, OSError) as error:
            raise self._failed(key, error) from None

    def _request(self, method: str, key: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """One answer whose body was not read yet. NotFound, RemoteError."""
        check_key(self._place, key)

        def work() -> urllib3.BaseHTTPResponse:
            if self._pid != os.getpid():  # connections are their parent's
                self._http.clear()
                self._pid = os.getpid()
            self._counter.count()
            address, every = f"{self._address}/{key}", self._headers | headers
            try:
                answer = self._http.request(method, address, headers=every, preload_content=False)
            except LocationValueError as error:
                raise UserError(f"{self._place} is no address to read from ({error})", hint=settings.WEB_FORM) from None
            if answer.status in _PASSING:
                answer.close()
                raise HTTPError(f"the server answers {answer.status} {answer.reason}".rstrip())
            return answer

        try:
            answer = retry.again(work, (HTTPError, ConnectionError, TimeoutError), self._waiting)
        except (HTTPError, OSError) as error:
            raise self._failed(key, error) from None
        self._clock.hear(answer.headers.get("Date"))
        coded = answer.headers.get("Content-Encoding") or "identity"
        if answer.status in (200, 206) and coded.lower() == "identity":
            return answer
        answer.close()  # and not drained: it may never end
        if answer.status in (200, 206):
            raise RemoteError(
                f"{self._place}: {key}: the server sends it encoded ({coded}), and was not asked to",
                hint="let it send files as they are: no gzip, no other Content-Encoding",
            )
        if answer.status in (403, 404, 410):  # a bucket that nobody may list says 403 of what is not there
            raise NotFound(
                f"{self._place}: there is no {key}",
                hint=f"run the command again; if it is gone for good, its owner can mend it: {_MEND}",
            )
        if answer.status == 416:
            raise RemoteError(f"{self._place}: {key} is truncated", hint=f"its owner can mend it: {_MEND}")
        hint = "is the address right, and public?"
        raise RemoteError(f"{self._place}: {key}: the server answers {answer.status} {answer.reason}", hint=hint)

    def _failed(self, key: str, error: BaseException) -> RemoteError:
        reason = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(reason, SSLError):
            return insecure(self._place, reason, "url")
        kept = "; what has arrived is kept" if key.startswith("packs/") else ""
        hint = f"is the address right, and the network up?{kept}"
        return RemoteError(f"{self._place}: {key}: {reason}{self._tried}", hint=hint)

    def _cannot_list(self) -> NoReturn:
        raise CannotList(
            f"{self._place}: a web address cannot be listed, and there is no latest.json",
            hint="where it is pushed from, somebody makes one: vml remote modify NAME public true, then vml push",
        )

    def _read_only(self) -> NoReturn:
        raise read_only(self._place)


def read_only(place: Place) -> RemoteError:
    """The error for whatever needs more than to read some keys."""
    return RemoteError(
        f"{place} is a web address, which is only read",
        hint="run this on the bucket or directory behind it: vml remote add NAME s3://BUCKET/PREFIX",
    )
