"""Settings: the table of all keys, and what their values may be."""

from __future__ import annotations

import difflib
import re
from typing import Final, Literal, NamedTuple

from vcs_ml.errors import UserError

Level = Literal["global", "project", "local"]
Value = str | bool | int | float | tuple[str, ...]


class Setting(NamedTuple):
    """What a key may hold (text, flag, size, whole, seconds, links, names) and what it does."""

    kind: str
    help: str


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
    "lock.timeout": Setting("seconds", "how long to wait for another vml (default: for ever)"),
}
# What can be set for one remote: remote.NAME.KEY.
REMOTE_SETTINGS: Final = {
    "url": Setting("text", "where it is: a directory, s3://BUCKET/PREFIX or https://HOST/PATH"),
    "endpoint_url": Setting("text", "the S3 server, where it is not AWS"),
    "region": Setting("text", "the region of the bucket"),
    "profile": Setting("text", "the profile in ~/.aws to take credentials from"),
    "anonymous": Setting("flag", "send no credentials: a public bucket"),
    "addressing_style": Setting("text", "path, virtual or auto: where the bucket's name stands in the address"),
    "sse": Setting("text", "server-side encryption: AES256 or aws:kms"),
    "sse_kms_key_id": Setting("text", "the key for aws:kms"),
    "acl": Setting("text", "a canned ACL for what is written, such as bucket-owner-full-control"),
    "requester_pays": Setting("flag", "agree to pay for requests"),
    "ca_bundle": Setting("text", "a file with the certificates to trust"),
    "timeout": Setting("seconds", "how long a server may be silent before a request is tried again (default: 30)"),
    "public": Setting("flag", "keep latest.json up to date, for readers who cannot list the bucket"),
    "access_key_id": Setting("text", "credentials; only with --local"),
    "secret_access_key": Setting("text", "credentials; only with --local"),
    "session_token": Setting("text", "credentials; only with --local"),
}
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
            wanted = "text in quotes, without NUL"
            if isinstance(raw, str) and "\0" not in raw:
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
    raise UserError(f"{source}: {key} = {raw!r} is not {wanted}", hint=f"{key}: {setting.help}")


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
    elif setting.kind == "seconds":
        raw = _number(text)
    elif setting.kind in ("links", "names"):
        raw = [item.strip() for item in text.split(",")]
    return checked(setting, key, raw, "vml config")


def _number(text: str) -> object:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text
