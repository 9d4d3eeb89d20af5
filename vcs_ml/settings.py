"""Settings: the table of all keys, and what their values may be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import one_line

Level = Literal["global", "project", "local"]
Value = str | bool | int | float | tuple[str, ...]


class Setting(NamedTuple):
    """What a key may hold (text, choice, server, flag, size, whole, seconds, links, names) and what it does."""

    kind: str
    help: str
    values: tuple[str, ...] = ()  # of a choice


SETTINGS: Final = {
    "core.remote": Setting("text", "the remote that push, fetch and pull use"),
    "core.groups": Setting("names", "groups whose optional data this clone wants"),
    "core.autostage": Setting("flag", "git add the pointers that a command writes"),
    "core.id": Setting("text", "the project's id, written once by vml init"),
    "core.hash": Setting("text", "the algorithm that names data, fixed at vml init --hash"),
    "cache.dir": Setting("text", "where the local store is, from the project's top"),
    "cache.link": Setting("links", "ways to try, in order: reflink, hardlink, symlink, copy"),
    "cache.pack_below": Setting("size", "files up to this size are stored together in packs"),
    "transfer.jobs": Setting("whole", "how many transfers run at a time"),
    "transfer.memory": Setting("size", "memory for what is in flight"),
    "hooks.large_files": Setting("size", "the largest file that may go into Git (default: 5 MB)"),
    "lock.timeout": Setting("seconds", "how long to wait for another vml (default: for ever)"),
}
_SSE: Final = ("AES256", "aws:kms", "aws:kms:dsse")
_ACLS: Final = (
    "private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read",
    "bucket-owner-read", "bucket-owner-full-control",
)  # fmt: skip
# What can be set for one remote: remote.NAME.KEY.
REMOTE_SETTINGS: Final = {
    "url": Setting("text", "where it is: a directory, s3://BUCKET/PREFIX or https://HOST/PATH"),
    "endpoint_url": Setting("server", "the S3 server, where it is not AWS: https://HOST, or http://HOST:PORT"),
    "region": Setting("text", "the region of the bucket"),
    "profile": Setting("text", "the profile in ~/.aws to take credentials from"),
    "anonymous": Setting("flag", "send no credentials: a public bucket"),
    "addressing_style": Setting(
        "choice", "path, virtual or auto: where the bucket's name stands in the address", ("path", "virtual", "auto")
    ),
    "sse": Setting("choice", "server-side encryption: AES256, aws:kms or aws:kms:dsse", _SSE),
    "sse_kms_key_id": Setting("text", "the key for aws:kms"),
    "acl": Setting("choice", "a canned ACL for what is written, such as bucket-owner-full-control", _ACLS),
    "requester_pays": Setting("flag", "agree to pay for requests"),
    "ca_bundle": Setting("text", "a file with the certificates to trust; relative: from the project's top"),
    "timeout": Setting("pause", "how long a server may be silent before a request is tried again (default: 30)"),
    "public": Setting("flag", "keep latest.json up to date, for readers who cannot list the bucket"),
    "access_key_id": Setting("text", "credentials; only with --local"),
    "secret_access_key": Setting("text", "credentials; only with --local"),
    "session_token": Setting("text", "credentials; only with --local"),
}
# Those that are for others than buckets, too.
_ANYWHERE: Final = frozenset({"url", "public"})
_WEB: Final = frozenset({"url", "ca_bundle", "timeout"})
LINKS: Final = ("reflink", "hardlink", "symlink", "copy")
SECRETS: Final = frozenset({"access_key_id", "secret_access_key", "session_token"})
REMOTE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
GROUP_NAME: Final = REMOTE_NAME
FIXED: Final = ("core.id", "core.hash")
_SIZE: Final = re.compile(r"(\d+)\s*(|[kKMGT]i?)[bB]?")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(|s|min|h|d|w)")
_SECONDS: Final = {"": 86400, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_POWERS: Final = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_LOGIN: Final = re.compile(r"://[^/@]*:[^/@]*@")
_USER: Final = re.compile(r"://[^/@\s]*@")
_PREFIX_MAX: Final = 900  # bytes; a key has 1,024, and ours take up to 100
_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[^/?#@\[\]:\s]+)(?::[0-9]{1,5})?"
WEB_FORM: Final = "https://HOST/PATH, without '?' and '#'"
_READABLE: Final = re.compile(rf"https?://(?:[^/?#@\s]*@)?{_HOST}(?:/[^?#\s]*)?")
_SERVER: Final = re.compile(rf"https?://{_HOST}(?:/[^@\s?#]*)?")
_BUCKET: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?|arn:[A-Za-z0-9:._-]+")
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def check_key(key: str) -> Setting:
    """What is known of `key`; UserError with the nearest key if nothing is."""
    if setting := SETTINGS.get(key):
        return setting
    if key.startswith("remote."):
        name, option = split_remote(key)
        if name and (setting := REMOTE_SETTINGS.get(option)):
            check_remote_name(name)
            return setting
        if name and (near := difflib.get_close_matches(option, REMOTE_SETTINGS, n=1)):
            raise UserError(f"unknown setting {key!r}", hint=f"did you mean remote.{name}.{near[0]}?")
    raise UserError(f"unknown setting {key!r}", hint=_nearest(key))


def check_remote_name(name: str) -> None:
    """UserError unless a remote may be called so."""
    if not REMOTE_NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be the name of a remote",
            hint="letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )


def check_fits(url: str, options: Iterable[str]) -> None:
    """UserError for a setting that a remote at this url has no use for."""
    scheme, mark, _ = url.partition("://")
    kind, known = "a directory", _ANYWHERE
    if mark and scheme in ("http", "https"):
        kind, known = "a web address", _WEB
    for option in options:
        if option in REMOTE_SETTINGS and option not in known and not (mark and scheme == "s3"):
            hint = f"{kind} takes {', '.join(sorted(known))}"
            raise UserError(f"{option} is a setting of buckets (s3://), and this is {kind}", hint=hint)


def masked(text: str) -> str:
    """`text` for messages: the user and password of a URL are replaced by stars, control characters by escapes."""
    return one_line(_USER.sub("://***@", text))


def shown(key: str, value: Value) -> Value:
    """The value of a setting as lists of them show it: without what is secret."""
    if key.rpartition(".")[2] in SECRETS:
        return "***"
    return masked(value) if isinstance(value, str) else value


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """What an s3:// address names; the prefix ends in `/` unless it is empty. UserError says what is wrong with it."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    where, form = masked(url), "s3://BUCKET, or s3://BUCKET/PREFIX"
    if "@" in bucket:
        hint = "keys are settings: vml remote modify --local NAME access_key_id ..., and secret_access_key"
        raise UserError(f"{where} has a user or password in it", hint=hint)
    if not bucket:
        raise UserError(f"{where} names no bucket", hint=form)
    if re.fullmatch(r"[^:]+:\d*", bucket):
        hint = f"{form}; the server is a setting: endpoint_url=http://{bucket}"
        raise UserError(f"{where} names a server where the bucket should be", hint=hint)
    bad = next((char for char in bucket if not re.fullmatch(r"[A-Za-z0-9.:/_-]", char)), None)
    if bad is not None:
        raise UserError(f"{where}: {bad!r} cannot be in the name of a bucket", hint=form)
    if bucket.endswith((":accesspoint", ":outpost")):
        hint = f"s3://{bucket}:NAME/PREFIX, with ':' before the name"
        raise UserError(f"{where}: an ARN in an address has no '/'", hint=hint)
    if not _BUCKET.fullmatch(bucket):
        raise UserError(
            f"{where}: {bucket!r} cannot be the name of a bucket",
            hint="letters, digits, '.', '_' and '-', beginning and ending with a letter or digit",
        )
    bad = next((char for char in prefix if char in "?#%\\" or not char.isprintable()), None)
    if bad is not None:
        hint = "a prefix is written as it is, without escapes or parameters; region and endpoint_url are settings"
        raise UserError(f"{where}: {bad!r} cannot be in a prefix", hint=hint)
    parts = prefix.removesuffix("/")
    if parts and any(part in ("", ".", "..") for part in parts.split("/")):
        raise UserError(f"{where}: a prefix has no empty parts, and none that are '.' or '..'", hint=form)
    if len(parts.encode()) > _PREFIX_MAX:
        raise UserError(f"{where}: the prefix is longer than {_PREFIX_MAX} bytes", hint=form)
    return bucket, f"{parts}/" if parts else ""


def check_web(url: str) -> None:
    """UserError for an address that nothing can be read from."""
    if not _READABLE.fullmatch(url):
        raise UserError(f"{masked(url)} is no address to read from", hint=WEB_FORM)


def is_server(url: str) -> bool:
    """Whether this may be the address of an S3 server."""
    return _SERVER.fullmatch(url) is not None


def parse_size(value: object) -> int:
    """Bytes from 1000, "1000", "256KiB", "1 MB"; ValueError if it is none of these."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        prefix = match[2]
        return int(match[1]) * int((1024 if prefix.endswith("i") else 1000) ** _POWERS[prefix[:1]])
    raise ValueError(f"{value!r} is not a size")


def parse_duration(value: str) -> float:
    """Seconds from "30s", "5 min", "12h", "14d", "2w", or a bare number of days; ValueError if it is none of these."""
    if match := _DURATION.fullmatch(value.strip()):
        return float(match[1]) * _SECONDS[match[2][:1]]
    raise ValueError(f"{value!r} is not a length of time")


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, SETTINGS, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "vml config --help lists the settings"


def split_remote(key: str) -> tuple[str, str]:
    # The name may hold dots, the option may not.
    name, _, option = key.removeprefix("remote.").rpartition(".")
    return name, option


def check_level(key: str, raw: object, level: Level, source: str) -> None:
    if key in FIXED and level != "project":
        raise UserError(f"{source}: {key} belongs into the project's .vml/config.toml", hint=f"remove it from {source}")
    if level == "project" and key == "cache.dir" and isinstance(raw, str) and _leads_out(raw):
        raise UserError(
            f"{source}: cache.dir = {raw!r} leads out of the project, and this file is committed",
            hint="for this clone alone: vml config --local cache.dir DIR",
        )
    if level != "project" or not key.startswith("remote."):
        return
    option = split_remote(key)[1]
    if option in SECRETS or (isinstance(raw, str) and _LOGIN.search(raw)):
        raise UserError(
            f"{source}: {key} is a secret, and this file is committed",
            hint="use --local: .vml/config.local.toml is not committed",
        )


def _leads_out(place: str) -> bool:
    return place.startswith(("/", "~")) or ".." in place.split("/")


def checked(setting: Setting, key: str, raw: object, source: str) -> Value:
    """`raw` as TOML gave it, if it is of the setting's kind; a size stays as it was written."""
    whole = isinstance(raw, int) and not isinstance(raw, bool)
    match setting.kind:
        case "text":
            wanted = "text in quotes, without NUL and not empty"
            if isinstance(raw, str) and raw and "\0" not in raw:
                return raw
        case "choice":
            wanted = f"one of {', '.join(setting.values)}"
            if raw in setting.values:
                return str(raw)
        case "server":
            wanted = "https://HOST or http://HOST:PORT, without a user"
            if isinstance(raw, str) and is_server(raw):
                return raw
        case "flag":
            wanted = "true or false"
            if isinstance(raw, bool):
                return raw
        case "whole":
            wanted = "a whole number from 1 on"
            if isinstance(raw, int) and whole and raw >= 1:
                return raw
        case "seconds":
            wanted = "a number of seconds"
            if isinstance(raw, int | float) and not isinstance(raw, bool) and 0 <= raw < 1e9:
                return raw
        case "pause":
            wanted = "a number of seconds above 0"
            if isinstance(raw, int | float) and not isinstance(raw, bool) and 0 < raw < 1e9:
                return raw
        case "size":
            wanted = 'a size such as 1000 or "256KiB"'
            if isinstance(raw, int | str) and _is_size(raw):
                return raw
        case "names":
            wanted = "a list of names"
            if (
                isinstance(raw, list)
                and raw
                and all(isinstance(item, str) and GROUP_NAME.fullmatch(item) for item in raw)
            ):
                return tuple(raw)
        case _:
            wanted = f"a list of {', '.join(LINKS)}"
            if isinstance(raw, list) and raw and all(item in LINKS for item in raw):
                return tuple(raw)
    where, shown = f"{source}: " if source else "", masked(repr(raw))
    raise UserError(f"{where}{key} = {shown} is not {wanted}", hint=f"{key}: {setting.help}")


def _is_size(raw: int | str) -> bool:
    try:
        parse_size(raw)
    except ValueError:
        return False
    return True


def convert(setting: Setting, key: str, text: str) -> Value:
    """What a person typed, as the value to write."""
    raw: object = text
    if setting.kind == "flag":
        raw = _WORDS.get(text.lower(), text)
    elif setting.kind in ("whole", "size") and text.isdecimal():
        raw = int(text)
    elif setting.kind in ("seconds", "pause"):
        raw = _number(text)
    elif setting.kind in ("links", "names"):
        raw = [item.strip() for item in text.split(",")]
    return checked(setting, key, raw, "")


def _number(text: str) -> object:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text
