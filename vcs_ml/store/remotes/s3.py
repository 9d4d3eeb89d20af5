"""A bucket that keeps packs, on AWS or any server that speaks S3: every write is one PUT, every read one GET."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as failures
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.parsers import ResponseParserError

from vcs_ml import settings
from vcs_ml.config import address
from vcs_ml.errors import RemoteError, UserError
from vcs_ml.hashing import Buffer
from vcs_ml.settings import Value
from vcs_ml.store.remotes import body, retry
from vcs_ml.store.remotes.clock import Clock
from vcs_ml.store.remotes.protocol import (
    PROBE,
    Denied,
    Item,
    NotFound,
    Place,
    TooShort,
    Traits,
    check_key,
    check_size,
    is_scratch,
    size_limit,
    too_short,
    valid_key,
)
from vcs_ml.store.remotes.s3_errors import ANSWERED, Conflict, Errors, Exists

_CONNECTIONS: Final = 16
_SAID_MAX: Final = 16 << 20  # bytes of an answer that is no object: a list of a thousand keys may have 8 MB
# Keys that nobody else writes: what is there already was stored by a try of ours whose answer was lost.
_ONCE: Final = ("gc/", "index/", "pushing/", "roots/")
# Where a connection breaks while a body is read, which botocore does not try again.
_BROKEN: Final = (
    failures.IncompleteReadError,
    failures.ReadTimeoutError,
    failures.ConnectionClosedError,
    failures.HTTPClientError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)


class BucketUpload:
    """Bytes gathered in memory, which travel as one PUT when their key is known.

    The memory is that of an earlier upload, whose bytes are written over: to get pages from the kernel costs more than
    to copy into them.
    """

    def __init__(self, bucket: Bucket, spare: list[bytearray]) -> None:
        self._bucket = bucket
        self._spare = spare
        self._data = spare.pop() if spare else bytearray()
        self._used = 0

    def write(self, data: Buffer) -> None:
        over = min(len(self._data) - self._used, len(data))
        source = memoryview(data)
        with memoryview(self._data) as view:
            view[self._used : self._used + over] = source[:over]
        self._data += source[over:]
        self._used += len(data)

    def commit(self, key: str) -> None:
        del self._data[self._used :]
        self._bucket.replace(key, self._data)
        self._spare.append(self._data)

    def abort(self) -> None:
        self._data = bytearray()


class Bucket:
    """The backend protocol on a bucket.

    `options` are those of settings.REMOTE_SETTINGS. Nothing is sent before the first operation. Forked processes may
    use what their parent made. Every failure is a RemoteError that says which key and what to look at.
    """

    gathers = True

    def __init__(
        self,
        url: str,
        options: Mapping[str, Value],
        name: str = "",
        note: Callable[[str], None] | None = None,
        patience: float | None = None,
    ) -> None:
        self.url = address(url, options)
        self._place = Place(name, self.url)
        self._options = options
        self._bucket, self._prefix = settings.bucket_and_prefix(url)
        self._waiting = retry.Waiting(note, patience)
        timeout = options.get("timeout")
        self._timeout = timeout if isinstance(timeout, int | float) and timeout > 0 else retry.TIMEOUT
        if patience is not None:
            self._timeout = min(self._timeout, patience)
        self._tries = retry.TRIES if patience is None else 1  # botocore counts, and looks at no clock
        self._client: Any = None
        self._pid = 0
        self._guard = threading.Lock()
        self._spare: list[bytearray] = []
        self._counter = retry.Counter()
        self._clock = Clock()
        self._wrong = Errors(
            self._place,
            self._bucket,
            self._prefix,
            endpoint=self._text("endpoint_url"),
            anonymous=options.get("anonymous") is True,
            clock=self._clock,
        )
        self._tags_are_md5 = True  # as long as we know

    # ------------------------------------------------------------------ the protocol

    def is_empty(self) -> bool:
        items = self.peek()
        return items is not None and all(is_scratch(item.key) for item in items)

    def peek(self) -> Sequence[Item] | None:
        items, more = self._list_page("")
        return None if more else items

    def read(self, key: str) -> bytes:
        def work() -> bytes:
            answer = self._call("get_object", key)
            with answer["Body"] as raw:  # urllib3's answer, without the checks of botocore, which may be endless
                check_size(self._place, key, self._size(answer.get("ContentLength", 0)))
                data = body.read(raw, size_limit(key) + 1, self._timeout)
                check_size(self._place, key, len(data))
                return data

        return self._again(key, work)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if not length:
            return b""

        def work() -> bytes:
            answer = self._call("get_object", key, Range=f"bytes={start}-{start + length - 1}")
            said = answer["ResponseMetadata"]
            with answer["Body"] as raw:
                body.check_range(self._place, key, start, length, (said["HTTPStatusCode"], said["HTTPHeaders"]))
                data = body.read(raw, length, self._timeout)
                if len(data) < length:
                    raise too_short(self._place, key, start, length)
                return data

        return self._again(key, work)

    def create(self) -> BucketUpload:
        return BucketUpload(self, self._spare)

    def write_new(self, key: str, data: Buffer) -> bool:
        try:
            retry.again(lambda: self._put(key, data, IfNoneMatch="*"), (Conflict,), self._waiting)
        except Exists:
            if key.startswith(_ONCE):
                self._check_kept(key, data)
            return False
        return True

    def _check_kept(self, key: str, data: Buffer) -> None:
        """RemoteError unless `key` holds `data`, as the server says: its name is random, or a hash of its bytes."""
        hint = f"run the command again; if it says the same: {self._place.repair}"
        try:
            kept = self.read(key)
        except NotFound:
            raise RemoteError(f"{self._place}: {key} is said to be there already, and is not", hint=hint) from None
        if kept != data:
            raise RemoteError(f"{self._place}: {key} is there already, with other bytes", hint=hint)

    def replace(self, key: str, data: Buffer) -> None:
        self._put(key, data)

    def _put(self, key: str, data: Buffer, **conditions: str) -> None:
        extra: dict[str, str] = {}
        if sse := self._text("sse"):
            extra["ServerSideEncryption"] = sse
        if key_id := self._text("sse_kms_key_id"):
            extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id}
        if acl := self._text("acl"):
            extra["ACL"] = acl
        content = data if isinstance(data, bytes | bytearray) else bytes(data)
        digest = hashlib.md5(content, usedforsecurity=False)
        extra["ContentMD5"] = base64.b64encode(digest.digest()).decode()
        for _ in range(retry.TRIES):
            answer = self._call("put_object", key, Body=content, **extra, **conditions)
            if not answer.get("ETag"):  # a server that says yes to everything has stored nothing
                raise self._wrong.no_server("a PUT without an ETag")
            if self._has_arrived(key, content, digest.hexdigest(), answer):
                return
            conditions = {}  # what is there now is ours
        raise self._wrong.changed(key)

    def _has_arrived(self, key: str, content: bytes | bytearray, digest: str, answer: Mapping[str, Any]) -> bool:
        """Whether what is stored is what was sent, for all that the ETag tells: some servers ignore Content-MD5."""
        tag = answer["ETag"].strip('"')
        if tag == digest or not self._tags_are_md5 or not re.fullmatch("[0-9a-f]{32}", tag):
            return True
        if answer.get("ServerSideEncryption", "AES256") != "AES256":
            return True
        try:
            if self.read_range(key, 0, len(content)) != content:
                return False
        except (NotFound, TooShort):
            return False
        except Denied:  # who may write and not read
            return True
        self._tags_are_md5 = False
        return True

    def list(self, prefix: str) -> Iterator[Item]:
        check_key(self._place, prefix.rstrip("/"))
        tokens = [""]
        while True:
            items, token = self._list_page(prefix, **({"ContinuationToken": tokens[-1]} if tokens[-1] else {}))
            yield from (item for item in items if valid_key(item.key))
            if not token:
                return
            if token in tokens:
                raise self._wrong.no_server("a list that goes round")
            tokens.append(token)

    def stat(self, key: str) -> Item | None:
        try:
            found = self._call("head_object", key)
        except NotFound:
            return None
        return self._item(key, found.get("ContentLength"), found.get("LastModified"))

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFound):
            self._call("delete_object", key)

    def now(self) -> float:
        if not self._clock.is_known:
            self._list_page("tmp/", MaxKeys=1)
        return self._clock.now()

    def sweep(self, before: float) -> int:
        item = self.stat(PROBE)
        if item is None or item.modified >= before:
            return 0
        self.delete(PROBE)
        return 1

    def requests(self) -> int:
        return self._counter.total()

    def traits(self, scratch: str) -> Traits:
        # Twice: somebody else who looks may have removed it meanwhile.
        conditional = not (self.write_new(scratch, b"") and self.write_new(scratch, b""))
        deletes = []
        with contextlib.suppress(RemoteError):  # without the permission to read them nothing is said
            if self._call("get_bucket_versioning").get("Status") == "Enabled":
                deletes.append(
                    "the bucket keeps old versions: what gc deletes is paid for until a lifecycle rule removes it"
                )
        with contextlib.suppress(RemoteError):
            lock = self._call("get_object_lock_configuration").get("ObjectLockConfiguration", {})
            rule = lock.get("Rule", {}).get("DefaultRetention", {})
            length = " ".join(f"{rule[unit]} {unit.lower()}" for unit in ("Days", "Years") if rule.get(unit))
            if length:
                deletes.append(f"the bucket locks every object for {length}: nothing that gc deletes is gone before")
            elif lock.get("ObjectLockEnabled"):
                deletes.append(
                    "the bucket has object lock, without a time for all: what somebody locks is not gone with gc"
                )
        return Traits(conditional, tuple(deletes))

    # ------------------------------------------------------------------ requests

    def _text(self, option: str) -> str | None:
        value = self._options.get(option)
        return value if isinstance(value, str) else None

    def _connection(self) -> Any:
        """The client; a forked process first closes the connections it shares with its parent."""
        if self._pid == os.getpid():
            return self._client
        with self._guard:
            if self._client is None:
                self._client = self._connect()
            elif self._pid != os.getpid():
                self._client.close()
            self._pid = os.getpid()
            return self._client

    def _connect(self) -> Any:
        config: dict[str, Any] = {
            "connect_timeout": 10,
            "read_timeout": self._timeout,
            "max_pool_connections": _CONNECTIONS,
            "retries": {"mode": "adaptive", "total_max_attempts": self._tries},
            "s3": {
                "addressing_style": self._text("addressing_style") or "auto",
                # The signature covers Content-MD5, and that the body.
                "payload_signing_enabled": False,
            },
            "tcp_keepalive": True,
            # Content-MD5 travels instead; checksums of ranges are none of our objects'.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "user_agent_extra": "vcs-ml",
        }
        if self._options.get("anonymous") is True:
            config["signature_version"] = UNSIGNED
        lacks = [option for option in ("access_key_id", "secret_access_key") if not self._text(option)]
        if lacks and any(map(self._text, settings.SECRETS)):  # boto3 would send what there is
            raise self._wrong.half(lacks[0], f"vml remote modify --local {self._place.name} {lacks[0]} ...")
        try:
            session = boto3.session.Session(
                aws_access_key_id=self._text("access_key_id"),
                aws_secret_access_key=self._text("secret_access_key"),
                aws_session_token=self._text("session_token"),
                profile_name=self._text("profile"),
                region_name=self._text("region"),
            )
            region = session.region_name or ("us-east-1" if self._text("endpoint_url") else None)
            client = session.client(
                "s3",
                endpoint_url=self._text("endpoint_url"),
                region_name=region,
                verify=self._text("ca_bundle"),
                config=Config(**config),
            )
        except failures.PartialCredentialsError as error:
            place = "in the environment" if error.kwargs["provider"] == "env" else "in ~/.aws/credentials"
            raise self._wrong.half(error.kwargs["cred_var"], f"set it {place}, beside the other half") from None
        except (failures.BotoCoreError, ValueError) as error:
            raise UserError(f"{self._place}: {error}", hint=self._wrong.advice(error)) from None
        client.meta.events.register("before-send.s3", lambda request, **_: self._send(client, request))
        client.meta.events.register("before-call.s3", _begin)
        client.meta.events.register("before-parse.*", _keep_status)  # a wildcard comes before botocore's own handlers
        client.meta.events.register("needs-retry.s3", self._tell)
        server = urlsplit(client.meta.endpoint_url).hostname or ""  # the setting, or the environment's, or AWS itself
        if not server.endswith((".amazonaws.com", ".amazonaws.com.cn")):
            client.meta.events.register("before-call.s3", _stay)
        return client

    def _send(self, client: Any, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request in botocore's place, which would read whatever comes, where that is no object."""
        self._counter.count()
        is_object, request.stream_output = request.stream_output, True
        answer = client._endpoint.http_session.send(request)  # there is no public way to it
        if is_object and answer.status_code < 300:
            return answer
        try:
            said = body.read(answer.raw, _SAID_MAX + 1, self._timeout)
        except (TimeoutError, urllib3.exceptions.ReadTimeoutError) as error:
            raise failures.ReadTimeoutError(endpoint_url=request.url, error=error) from None
        except urllib3.exceptions.HTTPError as error:
            raise failures.ConnectionClosedError(endpoint_url=request.url, error=error, request=request) from None
        finally:
            answer.raw.close()
        if len(said) > _SAID_MAX:
            raise self._wrong.no_server(f"more than {_SAID_MAX} bytes of it")
        return AWSResponse(answer.url, answer.status_code, answer.headers, _Said(said))

    def _call(self, name: str, key: str | None = None, **parameters: Any) -> Any:
        """One operation on the bucket or one of its keys; NotFound, Exists, Conflict, CannotList, RemoteError."""
        if key is not None:
            check_key(self._place, key)
            parameters["Key"] = self._prefix + key
            if self._options.get("requester_pays") is True:
                parameters["RequestPayer"] = "requester"
        client = self._connection()
        try:
            answer = getattr(client, name)(Bucket=self._bucket, **parameters)
        except failures.ClientError as error:
            self._take_time(error.response)
            raise self._wrong.refused(error, name, key) from None
        except (failures.BotoCoreError, OSError, urllib3.exceptions.HTTPError) as error:
            raise self._wrong.failed(error, key) from None
        except (ResponseParserError, ValueError, TypeError, LookupError, OverflowError) as error:
            raise self._wrong.no_server(str(error).partition("\n")[0]) from None
        self._take_time(answer)
        return answer

    def _list_page(self, prefix: str, **parameters: Any) -> tuple[Sequence[Item], str]:
        """Up to a thousand items, other people's too, and the token of the next page or ""."""
        if self._options.get("requester_pays") is True:
            parameters["RequestPayer"] = "requester"
        answer = self._call("list_objects_v2", Prefix=self._prefix + prefix, **parameters)
        token = answer.get("NextContinuationToken", "")
        if not {"Name", "KeyCount", "Contents"} & answer.keys() or (answer.get("IsTruncated") and not token):
            raise self._wrong.no_server("a list without what it should have")
        items = []
        for each in answer.get("Contents", ()):
            key = each.get("Key")
            if not isinstance(key, str) or not key.startswith(self._prefix):
                raise self._wrong.no_server(f"a list with {key!r} in it")
            if not key.endswith("/"):  # what consoles make to show a folder
                items.append(self._item(key.removeprefix(self._prefix), each.get("Size"), each.get("LastModified")))
        return items, token

    def _item(self, key: str, size: object, modified: object) -> Item:
        if not isinstance(modified, datetime.datetime):
            raise self._wrong.no_server(f"no time for {key}")
        return Item(key, self._size(size), modified.timestamp())

    def _size(self, size: object) -> int:
        if not isinstance(size, int) or size < 0:
            raise self._wrong.no_server("no size" if size is None else f"the size {size!r}")
        return size

    def _again(self, key: str, work: Callable[[], bytes]) -> bytes:
        try:
            return retry.again(work, _BROKEN, self._waiting)
        except _BROKEN as error:
            raise self._wrong.failed(error, key) from None

    def _tell(
        self, response: Any, attempts: int, caught_exception: Any, request_dict: dict[str, Any], **_: object
    ) -> None:
        """Called by botocore after each try."""
        status = response[0].status_code if response else 0
        if caught_exception is None and status < 500 and status != 429:
            return
        reason = "the server does not answer" if not response else f"the server answers {status}"
        if status in (429, 503):
            reason = "the server asks for fewer requests"
        self._waiting.tell(request_dict["context"].get("vml_start", time.monotonic()), attempts, reason)

    def _take_time(self, answer: Mapping[str, Any]) -> None:
        self._clock.hear(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))


def _keep_status(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Keep the status of an answer: where a 200 comes with no XML, botocore makes it a 500."""
    customized_response_dict[ANSWERED] = response_dict["status_code"]


def _begin(params: dict[str, Any], **_: object) -> None:
    """Write down when a request began, which all its tries are counted from."""
    params["context"]["vml_start"] = time.monotonic()


def _stay(params: dict[str, Any], **_: object) -> None:
    """Say that a request was redirected already: there are no regions to ask about a server of one's own, and botocore
    asks without end where that is redirected, too.
    """
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


class _Said(NamedTuple):
    """What an answer said, read already, as botocore reads it."""

    data: bytes

    def stream(self) -> Iterator[bytes]:
        yield self.data
