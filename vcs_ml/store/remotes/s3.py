"""A bucket that keeps packs, on AWS or any server that speaks S3: every write is one PUT, every read one GET."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as failures
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from vcs_ml import settings
from vcs_ml.config import address
from vcs_ml.errors import RemoteError, UserError
from vcs_ml.hashing import Buffer
from vcs_ml.settings import Value
from vcs_ml.store.remotes import retry
from vcs_ml.store.remotes.clock import Clock
from vcs_ml.store.remotes.protocol import (
    CannotList,
    Item,
    NotFound,
    Traits,
    check_key,
    check_size,
    not_found,
    too_short,
    valid_key,
)

_CONNECTIONS: Final = 16
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]|arn:[A-Za-z0-9:/._-]+")
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()/+=@,$&:;~ -]*")
# What a server says when it may not be done, and what then helps.
_DENIED: Final = {
    "InvalidAccessKeyId": "the server does not know this access key: is it one for another server (endpoint_url)?",
    "SignatureDoesNotMatch": "the secret key is wrong, or something between changes what is sent",
    "ExpiredToken": "log in again (aws sso login, or new temporary credentials)",
    "ExpiredTokenException": "log in again (aws sso login, or new temporary credentials)",
    "InvalidToken": "the session token does not belong to these keys",
    "AllAccessDisabled": "the owner has closed this bucket",
}
_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "TemporaryRedirect"}
)
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

    def __init__(self, url: str, options: Mapping[str, Value]) -> None:
        self.url = address(url, options)
        self._options = options
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not _BUCKET.fullmatch(self._bucket) or not _PREFIX.fullmatch(prefix):
            raise UserError(f"{url} names no bucket", hint="s3://BUCKET, or s3://BUCKET/PREFIX")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client: Any = None
        self._pid = 0
        self._guard = threading.Lock()
        self._spare: list[bytearray] = []
        self._counter = retry.Counter()
        self._clock = Clock()

    # ------------------------------------------------------------------ the protocol

    def is_empty(self) -> bool:
        items = self.peek()
        return items is not None and all(item.key.startswith("tmp/") for item in items)

    def peek(self) -> Sequence[Item] | None:
        items, more = self._list_page("")
        return None if more else items

    def read(self, key: str) -> bytes:
        def work() -> bytes:
            answer = self._call("get_object", key)
            with contextlib.closing(answer["Body"]) as body:
                check_size(self.url, key, answer["ContentLength"])
                return bytes(body.read())

        return self._again(key, work)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if not length:
            return b""

        def work() -> bytes:
            answer = self._call("get_object", key, Range=f"bytes={start}-{start + length - 1}")
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] != length:
                    raise too_short(self.url, key, start, length)
                return bytes(body.read())

        return self._again(key, work)

    def create(self) -> BucketUpload:
        return BucketUpload(self, self._spare)

    def write_new(self, key: str, data: Buffer) -> bool:
        try:
            retry.again(lambda: self._put(key, data, IfNoneMatch="*"), (_Conflict,))
        except _Exists:
            return False
        return True

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
        body = data if isinstance(data, bytes | bytearray) else bytes(data)
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        self._call("put_object", key, Body=body, ContentMD5=digest, **extra, **conditions)

    def list(self, prefix: str) -> Iterator[Item]:
        check_key(self.url, prefix.rstrip("/"))
        token = ""
        while True:
            items, token = self._list_page(prefix, **({"ContinuationToken": token} if token else {}))
            yield from (item for item in items if valid_key(item.key))
            if not token:
                return

    def stat(self, key: str) -> Item | None:
        try:
            found = self._call("head_object", key)
        except NotFound:
            return None
        return Item(key, found["ContentLength"], found["LastModified"].timestamp())

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFound):
            self._call("delete_object", key)

    def now(self) -> float:
        if not self._clock.is_known:
            self._list_page("tmp/", MaxKeys=1)
        return self._clock.now()

    def sweep(self, before: float) -> int:
        removed = 0
        for item in self.list("tmp/"):
            if item.modified < before:
                self.delete(item.key)
                removed += 1
        return removed

    def requests(self) -> int:
        return self._counter.total()

    def traits(self, scratch: str) -> Traits:
        conditional = not self.write_new(scratch, b"")
        deletes = []
        with contextlib.suppress(RemoteError):  # without the permission to read them nothing is said
            if self._call("get_bucket_versioning").get("Status") == "Enabled":
                deletes.append(
                    "the bucket keeps old versions: what gc deletes is paid for until a lifecycle rule removes it"
                )
        with contextlib.suppress(RemoteError):
            lock = self._call("get_object_lock_configuration").get("ObjectLockConfiguration", {})
            if lock.get("ObjectLockEnabled") and (rule := lock.get("Rule", {}).get("DefaultRetention")):
                length = " ".join(f"{rule[unit]} {unit.lower()}" for unit in ("Days", "Years") if unit in rule)
                deletes.append(f"the bucket locks every object for {length}: nothing that gc deletes is gone before")
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
        timeout = self._options.get("timeout")
        config: dict[str, Any] = {
            "connect_timeout": 10,
            "read_timeout": timeout if isinstance(timeout, int | float) and timeout > 0 else retry.TIMEOUT,
            "max_pool_connections": _CONNECTIONS,
            "retries": {"mode": "adaptive", "total_max_attempts": retry.TRIES},
            "s3": {
                "addressing_style": self._text("addressing_style") or "auto",
                # The signature covers Content-MD5, and that the body.
                "payload_signing_enabled": False,
            },
            "tcp_keepalive": True,
            # Content-MD5 travels instead, which every server checks; checksums of ranges are none of our objects'.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "user_agent_extra": "vcs-ml",
        }
        if self._options.get("anonymous") is True:
            config["signature_version"] = UNSIGNED
        lacks = [option for option in ("access_key_id", "secret_access_key") if not self._text(option)]
        if lacks and any(map(self._text, settings.SECRETS)):  # boto3 would send what there is
            raise self._half(lacks[0], f"vml remote modify --local NAME {lacks[0]} ...")
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
            raise self._half(error.kwargs["cred_var"], f"set it {place}, beside the other half") from None
        except (failures.BotoCoreError, ValueError) as error:
            raise UserError(f"{self.url}: {error}", hint="see docs/remotes.md for the settings of S3 remotes") from None
        client.meta.events.register("before-send.s3", lambda **_: self._counter.count())
        if self._text("endpoint_url"):
            client.meta.events.register("before-call.s3", _stay)
        return client

    def _call(self, name: str, key: str | None = None, **parameters: Any) -> Any:
        """One operation on the bucket or one of its keys; NotFound, _Exists, _Conflict, CannotList, RemoteError."""
        if key is not None:
            check_key(self.url, key)
            parameters["Key"] = self._prefix + key
            if self._options.get("requester_pays") is True:
                parameters["RequestPayer"] = "requester"
        client = self._connection()
        try:
            answer = getattr(client, name)(Bucket=self._bucket, **parameters)
        except failures.ClientError as error:
            self._take_time(error.response)
            raise self._refused(error, name, key) from None
        except (failures.BotoCoreError, OSError, urllib3.exceptions.HTTPError) as error:
            raise self._failed(error, key) from None
        self._take_time(answer)
        return answer

    def _list_page(self, prefix: str, **parameters: Any) -> tuple[Sequence[Item], str]:
        """Up to a thousand items, other people's too, and the token of the next page or ""."""
        if self._options.get("requester_pays") is True:
            parameters["RequestPayer"] = "requester"
        answer = self._call("list_objects_v2", Prefix=self._prefix + prefix, **parameters)
        items = [
            Item(each["Key"].removeprefix(self._prefix), each["Size"], each["LastModified"].timestamp())
            for each in answer.get("Contents", ())
            if not each["Key"].endswith("/")  # what consoles make to show a folder
        ]
        return items, answer.get("NextContinuationToken", "")

    def _again(self, key: str, work: Callable[[], bytes]) -> bytes:
        try:
            return retry.again(work, _BROKEN)
        except _BROKEN as error:
            raise self._failed(error, key) from None

    def _take_time(self, answer: Mapping[str, Any]) -> None:
        self._clock.hear(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))

    # ------------------------------------------------------------------ what goes wrong

    def _refused(self, error: failures.ClientError, name: str, key: str | None) -> RemoteError:
        """The error for an answer that is none of success."""
        said = error.response.get("Error", {})
        code, status = str(said.get("Code", "")), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        where = f"{self.url}: {key}" if key else self.url
        message = said.get("Message") or code
        if code in ("PreconditionFailed", "412"):
            return _Exists(f"{where} is there already")
        if code == "ConditionalRequestConflict":
            return _Conflict(f"{where}: the server answers {status} {code}: {message}", hint="run the command again")
        if code == "NoSuchBucket":
            return RemoteError(
                f"{self.url}: there is no bucket {self._bucket!r}",
                hint="check the name and the server (endpoint_url); vml does not make buckets",
            )
        if code == "InvalidRange" or status == 416:
            return RemoteError(
                f"{where} is truncated", hint="vml fsck --remote NAME --repair, in a clone that has the data"
            )
        if key and status == 404:
            return not_found(self.url, key)
        moved = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("location", "")
        if 300 <= status < 400 and moved and code not in _REGION:
            there = urlsplit(moved)
            hint = f"vml remote modify NAME endpoint_url {there.scheme}://{there.netloc}"
            return RemoteError(f"{self.url}: the server sends us elsewhere, to {moved}", hint=hint)
        if code in _REGION or status == 301:
            region = said.get("Region") or error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(
                "x-amz-bucket-region"
            )
            hint = f"vml remote modify NAME region {region or 'REGION'}"
            return RemoteError(f"{self.url}: the bucket is in another region ({message})", hint=hint)
        if code == "RequestTimeTooSkewed":
            return RemoteError(
                f"{self.url}: this machine's clock is {self._clock.skew():+.0f} s off the server's",
                hint="set the clock",
            )
        if status in (401, 403):
            return self._denied(name, key, code, message)
        if code in ("SlowDown", "ServiceUnavailable", "Throttling", "TooManyRequests") or status in (429, 503):
            return RemoteError(
                f"{where}: the server asks for fewer requests ({code or status}), also after {retry.TRIES} tries",
                hint="run the command again later, or with --jobs 2; nothing that was sent is lost",
            )
        return RemoteError(
            f"{where}: the server answers {status or ''} {code}: {message}".replace("  ", " "),
            hint="run the command again; nothing that was sent is lost",
        )

    def _denied(self, name: str, key: str | None, code: str, message: str) -> RemoteError:
        action = {
            "get_object": "s3:GetObject",
            "head_object": "s3:GetObject",
            "put_object": "s3:PutObject",
            "delete_object": "s3:DeleteObject",
            "list_objects_v2": "s3:ListBucket",
        }.get(name, name)
        if code in _DENIED:
            return RemoteError(f"{self.url}: {message or code}", hint=_DENIED[code])
        if name == "list_objects_v2":
            return CannotList(
                f"{self.url}: these credentials may not list the bucket (s3:ListBucket)",
                hint="docs/remotes.md has the policies for reading, writing and gc",
            )
        also = " (or it is not there: who may not list a bucket cannot tell)" if action == "s3:GetObject" else ""
        return RemoteError(
            f"{self.url}: access denied to {key or 'the bucket'}{also}",
            hint=f"these credentials need {action}; docs/remotes.md has the policies for reading, writing and gc",
        )

    def _half(self, lacks: str, hint: str) -> UserError:
        return UserError(f"{self.url}: half of the credentials are there, {lacks} is missing", hint=hint)

    def _failed(self, error: BaseException, key: str | None) -> RemoteError:
        """The error where no answer came, or no whole one."""
        where = f"{self.url}: {key}" if key else self.url
        match error:
            case failures.NoCredentialsError():
                hint = "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or: vml remote modify NAME profile PROFILE"
                return RemoteError(f"{self.url}: no credentials were found", hint=f"{hint}; public: anonymous true")
            case failures.NoRegionError():
                return RemoteError(f"{self.url}: no region is known", hint="vml remote modify NAME region REGION")
            case failures.SSLError():
                hint = "vml remote modify NAME ca_bundle FILE, for a server with certificates of its own"
                return RemoteError(f"{self.url}: the certificate is not trusted ({error})", hint=hint)
            case failures.EndpointConnectionError() | failures.ConnectTimeoutError() | failures.ProxyConnectionError():
                hint = "is the address right (endpoint_url, region), and the network up?"
                return RemoteError(f"{self.url}: no connection ({error})", hint=hint)
            case failures.ReadTimeoutError() | urllib3.exceptions.ReadTimeoutError() | TimeoutError():
                hint = "run the command again; a slow server: vml remote modify NAME timeout 120"
                return RemoteError(f"{where}: the server fell silent, {retry.TRIES} times", hint=hint)
            case failures.ParamValidationError():
                return RemoteError(f"{where}: {error}", hint="see docs/remotes.md for the settings of S3 remotes")
        return RemoteError(
            f"{where}: the connection broke, {retry.TRIES} times ({type(error).__name__}: {error})",
            hint="run the command again; nothing that was sent is lost",
        )


def _stay(params: dict[str, Any], **_: object) -> None:
    """Say that a request was redirected already: there are no regions to ask about a server of one's own, and botocore
    asks without end where that is redirected, too.
    """
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


class _Exists(RemoteError):
    """A key that was to be new has a value."""


class _Conflict(RemoteError):
    """Somebody else is writing to the same key: whether it is new will be known in a moment."""
