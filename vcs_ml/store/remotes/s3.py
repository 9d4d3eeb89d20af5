"""A bucket that keeps packs, on AWS or any server that speaks S3: every write is one PUT, every read one GET."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import os
import re
import shlex
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
from vcs_ml.output import one_line
from vcs_ml.settings import Value
from vcs_ml.store.remotes import body, retry
from vcs_ml.store.remotes.clock import Clock
from vcs_ml.store.remotes.protocol import (
    PROBE,
    CannotList,
    Denied,
    Item,
    NotFound,
    Place,
    TooShort,
    Traits,
    check_key,
    check_size,
    insecure,
    is_scratch,
    not_found,
    size_limit,
    too_short,
    valid_key,
)

_CONNECTIONS: Final = 16
_SAID_MAX: Final = 16 << 20  # bytes of an answer that is no object: a list of a thousand keys may have 8 MB
# What helps where a server refuses something with this code, whatever the status is.
_HELP: Final = {
    "InvalidAccessKeyId": "the server does not know this access key: is it one for another server (endpoint_url)?",
    "SignatureDoesNotMatch": "the secret key is wrong, or something between changes what is sent",
    "ExpiredToken": "log in again (aws sso login, or new temporary credentials)",
    "ExpiredTokenException": "log in again (aws sso login, or new temporary credentials)",
    "TokenRefreshRequired": "log in again (aws sso login, or new temporary credentials)",
    "InvalidToken": "the session token does not belong to these keys",
    "AllAccessDisabled": "the owner has closed this bucket",
    "AccessControlListNotSupported": "the bucket takes no ACLs: vml remote modify --unset {name} acl",
    "InvalidEncryptionAlgorithmError": "vml remote modify {name} sse AES256",
    "KMS.NotFoundException": "name another key: vml remote modify {name} sse_kms_key_id KEY",
    "KMS.DisabledException": "enable the key, or name another: vml remote modify {name} sse_kms_key_id KEY",
    "NotImplemented": "do its settings ask for something the server cannot do (sse, acl)? vml remote list --json",
    "EntityTooLarge": "the server, or a proxy before it, has to take objects of 52 MB",
    "BadDigest": "something changes what is sent; run the command again",
    "InvalidDigest": "something changes what is sent; run the command again",
}
_FULL: Final = frozenset(
    {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageFull"}
)
_PASSING: Final = frozenset({"RequestTimeout", "IncompleteBody", "InternalError", "OperationAborted"})
_LOGIN: Final = (
    failures.SSOError,
    failures.LoginError,
    failures.TokenRetrievalError,
    failures.NoAuthTokenError,
    failures.CredentialRetrievalError,
)
# Keys that nobody else writes: what is there already was stored by a try of ours whose answer was lost.
_ONCE: Final = ("gc/", "index/", "pushing/", "roots/")
_ANSWERED: Final = "VmlAnswered"
_SHOW: Final = "vml remote list --json shows the settings"
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

    def __init__(
        self, url: str, options: Mapping[str, Value], name: str = "", note: Callable[[str], None] | None = None
    ) -> None:
        self.url = address(url, options)
        self._place = Place(name, self.url)
        self._options = options
        self._bucket, self._prefix = settings.bucket_and_prefix(url)
        self._waiting = retry.Waiting(note)
        timeout = options.get("timeout")
        self._timeout = timeout if isinstance(timeout, int | float) and timeout > 0 else retry.TIMEOUT
        self._client: Any = None
        self._pid = 0
        self._guard = threading.Lock()
        self._spare: list[bytearray] = []
        self._counter = retry.Counter()
        self._clock = Clock()
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
            retry.again(lambda: self._put(key, data, IfNoneMatch="*"), (_Conflict,), self._waiting)
        except _Exists:
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
                raise self._no_server("a PUT without an ETag")
            if self._has_arrived(key, content, digest.hexdigest(), answer):
                return
            conditions = {}  # what is there now is ours
        raise RemoteError(
            f"{self._place}: {key}: the server stores other bytes than were sent", hint=_HELP["BadDigest"]
        )

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
                raise self._no_server("a list that goes round")
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
            raise self._half(lacks[0], f"vml remote modify --local {self._place.name} {lacks[0]} ...")
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
            raise UserError(f"{self._place}: {error}", hint=self._advice(error)) from None
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
            raise self._no_server(f"more than {_SAID_MAX} bytes of it")
        return AWSResponse(answer.url, answer.status_code, answer.headers, _Said(said))

    def _call(self, name: str, key: str | None = None, **parameters: Any) -> Any:
        """One operation on the bucket or one of its keys; NotFound, _Exists, _Conflict, CannotList, RemoteError."""
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
            raise self._refused(error, name, key) from None
        except (failures.BotoCoreError, OSError, urllib3.exceptions.HTTPError) as error:
            raise self._failed(error, key) from None
        except (ResponseParserError, ValueError, TypeError, LookupError, OverflowError) as error:
            raise self._no_server(str(error).partition("\n")[0]) from None
        self._take_time(answer)
        return answer

    def _list_page(self, prefix: str, **parameters: Any) -> tuple[Sequence[Item], str]:
        """Up to a thousand items, other people's too, and the token of the next page or ""."""
        if self._options.get("requester_pays") is True:
            parameters["RequestPayer"] = "requester"
        answer = self._call("list_objects_v2", Prefix=self._prefix + prefix, **parameters)
        token = answer.get("NextContinuationToken", "")
        if not {"Name", "KeyCount", "Contents"} & answer.keys() or (answer.get("IsTruncated") and not token):
            raise self._no_server("a list without what it should have")
        items = []
        for each in answer.get("Contents", ()):
            key = each.get("Key")
            if not isinstance(key, str) or not key.startswith(self._prefix):
                raise self._no_server(f"a list with {key!r} in it")
            if not key.endswith("/"):  # what consoles make to show a folder
                items.append(self._item(key.removeprefix(self._prefix), each.get("Size"), each.get("LastModified")))
        return items, token

    def _item(self, key: str, size: object, modified: object) -> Item:
        if not isinstance(modified, datetime.datetime):
            raise self._no_server(f"no time for {key}")
        return Item(key, self._size(size), modified.timestamp())

    def _size(self, size: object) -> int:
        if not isinstance(size, int) or size < 0:
            raise self._no_server("no size" if size is None else f"the size {size!r}")
        return size

    def _again(self, key: str, work: Callable[[], bytes]) -> bytes:
        try:
            return retry.again(work, _BROKEN, self._waiting)
        except _BROKEN as error:
            raise self._failed(error, key) from None

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

    # ------------------------------------------------------------------ what goes wrong

    def _refused(self, error: failures.ClientError, name: str, key: str | None) -> RemoteError:
        """The error for an answer that is none of success."""
        said = error.response.get("Error", {})
        code = one_line(str(said.get("Code", "")))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        place = self._place
        where = f"{place}: {key}" if key else f"{place}"
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        message = one_line(str(said.get("Message") or code))
        if error.response.get(_ANSWERED) == 200 and code == "500":
            return self._no_server("what came is no XML")
        if code in ("PreconditionFailed", "412"):
            return _Exists(f"{where} is there already")
        if code == "ConditionalRequestConflict":
            return _Conflict(f"{where}: the server answers {status} {code}: {message}", hint="run the command again")
        if code == "NoSuchBucket":
            return RemoteError(
                f"{place}: there is no bucket {self._bucket!r}",
                hint="check the name and the server (endpoint_url); vml does not make buckets",
            )
        if code == "InvalidRange" or status == 416:
            return RemoteError(f"{where} is truncated", hint=place.repair)
        if key and status == 404:
            return not_found(place, key)
        moved = settings.masked(headers.get("location", ""))
        if 300 <= status < 400 and moved and code not in _REGION:
            there = re.match(r"[a-z]+://[^/?#]+", moved)
            hint = "is endpoint_url right? a server of S3 sends nobody there"
            if there and settings.is_server(there[0]):
                hint = f"vml remote modify {place.name} endpoint_url {shlex.quote(there[0])}"
            return RemoteError(f"{place}: the server sends us elsewhere, to {moved}", hint=hint)
        if code in _REGION or status == 301:
            region = one_line(str(said.get("Region") or headers.get("x-amz-bucket-region") or ""))
            hint = f"vml remote modify {place.name} region {shlex.quote(region or 'REGION')}"
            return RemoteError(f"{place}: the bucket is in another region ({message})", hint=hint)
        if code == "RequestTimeTooSkewed":
            return RemoteError(
                f"{place}: this machine's clock is {self._clock.skew():+.0f} s off the server's", hint="set the clock"
            )
        if code == "InvalidObjectState":
            return RemoteError(
                f"{where} is archived, and must be restored before it can be read",
                hint="restore it (aws s3api restore-object); no lifecycle rule may archive what is in a remote",
            )
        if code in _HELP:
            return RemoteError(f"{where}: {message} ({code})", hint=_HELP[code].format(name=place.name))
        if code in _FULL or status == 507:
            return RemoteError(
                f"{where}: the server is full ({message})",
                hint=f"make room there (vml gc --remote {place.name}), then run the command again",
            )
        if self._options.get("anonymous") is True and (
            status == 400 or (status in (401, 403) and name != "list_objects_v2")
        ):
            return Denied(
                f"{where}: the server wants credentials ({code}: {message})",
                hint=f"vml remote modify --unset {place.name} anonymous",
            )
        if status in (401, 403):
            return self._denied(name, key)
        if code in ("SlowDown", "ServiceUnavailable", "Throttling", "TooManyRequests") or status in (429, 503):
            return RemoteError(
                f"{where}: the server asks for fewer requests ({code or status}), also after {retry.TRIES} tries",
                hint="run the command again later, or with --jobs 2; nothing that was sent is lost",
            )
        hint = "run the command again; nothing that was sent is lost"
        if status < 500 and code not in _PASSING:
            hint = f"it would say so again: is endpoint_url right, and are the other settings? {_SHOW}"
        answer = " ".join(filter(None, dict.fromkeys((str(status or ""), code))))
        return RemoteError(f"{where}: the server answers {answer}: {message}", hint=hint)

    def _denied(self, name: str, key: str | None) -> RemoteError:
        place = self._place
        if name == "list_objects_v2":
            anonymous = self._options.get("anonymous") is True
            who = "who has no credentials may" if anonymous else "these credentials may"
            needs = f"vml remote modify --unset {place.name} anonymous" if anonymous else "they need s3:ListBucket"
            return CannotList(
                f"{place}: {who} not list the bucket (s3:ListBucket)",
                hint=f"{needs}; or somebody who may write runs: vml remote modify {place.name} public true, "
                "and vml push",
            )
        action = {
            "get_object": "s3:GetObject",
            "head_object": "s3:GetObject",
            "put_object": "s3:PutObject",
            "delete_object": "s3:DeleteObject",
        }.get(name, name)
        also = " (or it is not there: who may not list a bucket cannot tell)" if action == "s3:GetObject" else ""
        return Denied(
            f"{place}: access denied to {key or 'the bucket'}{also}",
            hint=f"these credentials need {action} on arn:aws:s3:::{self._bucket}/{self._prefix}*",
        )

    def _no_server(self, why: str) -> RemoteError:
        """The error for an answer that no S3 server gives."""
        why = one_line(why)
        hint = "something answers in its place: a proxy, or a page to log in to the network?"
        if endpoint := self._text("endpoint_url"):
            hint = (
                f"is {endpoint} its S3 address, and not that of its console or web page? "
                f"vml remote modify {self._place.name} endpoint_url URL"
            )
        return RemoteError(f"{self._place} does not answer like an S3 server ({why})", hint=hint)

    def _half(self, lacks: str, hint: str) -> UserError:
        return UserError(f"{self._place}: half of the credentials are there, {lacks} is missing", hint=hint)

    def _advice(self, error: BaseException) -> str:
        """What helps where botocore does not take a setting."""
        modify = f"vml remote modify {self._place.name}"
        match error:
            case failures.ProfileNotFound():
                return f"aws configure list-profiles lists those there are; {modify} profile PROFILE"
            case failures.InvalidS3AddressingStyleError():
                return f"{modify} addressing_style path (or virtual, or auto)"
            case failures.InvalidRegionError():
                return f"{modify} region REGION"
            case ValueError() if "endpoint" in str(error):
                return f"{modify} endpoint_url https://HOST (or http://)"
            case _ if isinstance(error, _LOGIN):
                return "log in again (aws sso login, or new temporary credentials)"
        return f"{_SHOW}; those of AWS itself are in ~/.aws/config"

    def _failed(self, error: BaseException, key: str | None) -> RemoteError:
        """The error where no answer came, or no whole one."""
        place = self._place
        where = f"{place}: {key}" if key else f"{place}"
        modify = f"vml remote modify {place.name}"
        match error:
            case failures.NoCredentialsError():
                hint = f"set AWS_PROFILE or AWS_ACCESS_KEY_ID, or: {modify} profile PROFILE; "
                return RemoteError(f"{place}: no credentials were found", hint=f"{hint}public: {modify} anonymous true")
            case _ if isinstance(error, _LOGIN):
                return RemoteError(f"{place}: no credentials could be had ({error})", hint=self._advice(error))
            case failures.NoRegionError():
                return RemoteError(f"{place}: no region is known", hint=f"{modify} region REGION")
            case failures.SSLError():
                return insecure(place, error, "endpoint_url")
            case failures.EndpointConnectionError() | failures.ConnectTimeoutError() | failures.ProxyConnectionError():
                hint = "is the address right (endpoint_url, region), and the network up?"
                return RemoteError(f"{place}: no connection ({error})", hint=hint)
            case failures.ReadTimeoutError() | urllib3.exceptions.ReadTimeoutError() | TimeoutError():
                hint = f"run the command again; a slow server: {modify} timeout 120"
                return RemoteError(f"{where}: the server fell silent, {retry.TRIES} times", hint=hint)
            case failures.EndpointResolutionError():  # asked nobody
                return RemoteError(f"{place}: {error}", hint=f"{modify} endpoint_url https://HOST (or http://)")
            case failures.ParamValidationError() | failures.InvalidRegionError():
                return RemoteError(f"{where}: {' '.join(str(error).split())}", hint=self._advice(error))
        return RemoteError(
            f"{where}: the connection broke, {retry.TRIES} times ({type(error).__name__}: {error})",
            hint="run the command again; nothing that was sent is lost",
        )


def _keep_status(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Keep the status of an answer: where a 200 comes with no XML, botocore makes it a 500."""
    customized_response_dict[_ANSWERED] = response_dict["status_code"]


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


class _Exists(RemoteError):
    """A key that was to be new has a value."""


class _Conflict(RemoteError):
    """Somebody else is writing to the same key: whether it is new will be known in a moment."""
