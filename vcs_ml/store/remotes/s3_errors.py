"""What goes wrong with a bucket, in words: which key, what the server said, and what helps."""

from __future__ import annotations

import re
import shlex
from typing import Final

import botocore.exceptions as failures
import urllib3.exceptions

from vcs_ml import settings
from vcs_ml.errors import RemoteError, UserError
from vcs_ml.output import one_line
from vcs_ml.store.remotes import retry
from vcs_ml.store.remotes.clock import Clock
from vcs_ml.store.remotes.protocol import CannotList, Denied, Place, insecure, not_found

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
ANSWERED: Final = "VmlAnswered"
_SHOW: Final = "vml remote list --json shows the settings"
_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "TemporaryRedirect"}
)


class Exists(RemoteError):
    """A key that was to be new has a value."""


class Conflict(RemoteError):
    """Somebody else is writing to the same key: whether it is new will be known in a moment."""


class Errors:
    """Makes the errors of one bucket. `endpoint` is the setting, `anonymous` whether requests are unsigned."""

    def __init__(
        self, place: Place, bucket: str, prefix: str, *, endpoint: str | None, anonymous: bool, clock: Clock
    ) -> None:
        self._place, self._bucket, self._prefix = place, bucket, prefix
        self._endpoint, self._anonymous, self._clock = endpoint, anonymous, clock

    def refused(self, error: failures.ClientError, name: str, key: str | None) -> RemoteError:
        """The error for an answer that is none of success."""
        said = error.response.get("Error", {})
        code = one_line(str(said.get("Code", "")))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        place = self._place
        where = f"{place}: {key}" if key else f"{place}"
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        message = one_line(str(said.get("Message") or code))
        if error.response.get(ANSWERED) == 200 and code == "500":
            return self.no_server("what came is no XML")
        if code in ("PreconditionFailed", "412"):
            return Exists(f"{where} is there already")
        if code == "ConditionalRequestConflict":
            return Conflict(f"{where}: the server answers {status} {code}: {message}", hint="run the command again")
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
        if self._anonymous and (status == 400 or (status in (401, 403) and name != "list_objects_v2")):
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
            anonymous = self._anonymous
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

    def no_server(self, why: str) -> RemoteError:
        """The error for an answer that no S3 server gives."""
        why = one_line(why)
        hint = "something answers in its place: a proxy, or a page to log in to the network?"
        if endpoint := self._endpoint:
            hint = (
                f"is {endpoint} its S3 address, and not that of its console or web page? "
                f"vml remote modify {self._place.name} endpoint_url URL"
            )
        return RemoteError(f"{self._place} does not answer like an S3 server ({why})", hint=hint)

    def changed(self, key: str) -> RemoteError:
        """The error for an object that is stored with other bytes than it was sent with."""
        where = f"{self._place}: {key}"
        return RemoteError(f"{where}: the server stores other bytes than were sent", hint=_HELP["BadDigest"])

    def half(self, lacks: str, hint: str) -> UserError:
        """The error where only half of the credentials are known."""
        return UserError(f"{self._place}: half of the credentials are there, {lacks} is missing", hint=hint)

    def advice(self, error: BaseException) -> str:
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

    def failed(self, error: BaseException, key: str | None) -> RemoteError:
        """The error where no answer came, or no whole one."""
        place = self._place
        where = f"{place}: {key}" if key else f"{place}"
        modify = f"vml remote modify {place.name}"
        match error:
            case failures.NoCredentialsError():
                hint = f"set AWS_PROFILE or AWS_ACCESS_KEY_ID, or: {modify} profile PROFILE; "
                return RemoteError(f"{place}: no credentials were found", hint=f"{hint}public: {modify} anonymous true")
            case _ if isinstance(error, _LOGIN):
                return RemoteError(f"{place}: no credentials could be had ({error})", hint=self.advice(error))
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
                return RemoteError(f"{where}: {' '.join(str(error).split())}", hint=self.advice(error))
        return RemoteError(
            f"{where}: the connection broke, {retry.TRIES} times ({type(error).__name__}: {error})",
            hint="run the command again; nothing that was sent is lost",
        )
