"""Settings: the table of all keys, the three files they come from, and how they are changed."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Final, Literal, NamedTuple

from vcs_ml import fs, locks
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
LINKS: Final = ("reflink", "hardlink", "symlink", "copy")
SECRETS: Final = frozenset({"access_key_id", "secret_access_key", "session_token", "password"})
REMOTE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
GROUP_NAME: Final = REMOTE_NAME
_FIXED: Final = ("core.id", "core.hash")
_OPTION: Final = re.compile(r"[A-Za-z0-9_-]+")
_SIZE: Final = re.compile(r"(\d+)\s*(|[kKMGT]i?)[bB]?")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(|s|min|h|d|w)")
_SECONDS: Final = {"": 86400, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_POWERS: Final = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_LOGIN: Final = re.compile(r"://[^/@]*:[^/@]*@")
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


class RemoteConfig(NamedTuple):
    """A remote as configured: its url, everything else set for it, and the file its url came from."""

    name: str
    url: str
    options: Mapping[str, str]
    level: Level


class Entry(NamedTuple):
    """A value and where it was set."""

    value: Value
    level: Level
    source: str


class Config:
    """The settings in force: global, then the project's (committed), then local; the later one wins."""

    __slots__ = ("_committed", "_directory", "_entries", "_env", "_main")

    def __init__(
        self, directory: Path | None, env: Mapping[str, str], committed: str | None, main: Path | None
    ) -> None:
        self._directory = directory
        self._env = env
        self._committed = committed
        self._main = main
        self._entries: dict[str, Entry] = {}
        self._read()

    @classmethod
    def load(
        cls,
        directory: Path | None,
        env: Mapping[str, str],
        *,
        committed: str | None = None,
        main: Path | None = None,
    ) -> Config:
        """Read the settings of the project whose `.vml` is `directory` (None: the global ones only).

        `committed` is the text of the project's file where it is not a file (a bare repository); `main` is
        the main worktree's `.vml`, whose local settings hold in linked worktrees too. UserError names file
        and key.
        """
        return cls(directory, env, committed, main)

    def _read(self) -> None:
        self._entries = {}
        for level, path in self._sources():
            if level == "project" and self._committed is not None:
                text: str | None = self._committed
            else:
                text = _text(path)
            if text is not None:
                self._entries.update(_parse(text, level, str(path)))

    def _sources(self) -> Iterator[tuple[Level, Path]]:
        if path := self._global_path():
            yield "global", path
        if self._directory is not None:
            yield "project", self._directory / "config.toml"
            if self._main is not None and self._main != self._directory:
                yield "local", self._main / "config.local.toml"
            yield "local", self._directory / "config.local.toml"

    def _global_path(self) -> Path | None:
        base = self._env.get("XDG_CONFIG_HOME", "")
        if not base.startswith("/"):  # the XDG specification ignores relative ones
            home = self._env.get("HOME")
            if not home:
                return None
            base = f"{home}/.config"
        return Path(base, "vml", "config.toml")

    # What commands read

    @property
    def default_remote(self) -> str | None:
        """core.remote."""
        return self._str("core.remote")

    @property
    def groups(self) -> tuple[str, ...]:
        """core.groups, none by default."""
        value = self.get("core.groups")
        return value if isinstance(value, tuple) else ()

    @property
    def autostage(self) -> bool:
        """core.autostage, off by default."""
        return self.get("core.autostage") is True

    @property
    def project_id(self) -> str | None:
        """core.id."""
        return self._str("core.id")

    @property
    def hash(self) -> str | None:
        """core.hash."""
        return self._str("core.hash")

    @property
    def cache_dir(self) -> str | None:
        """cache.dir as it was written, or VML_CACHE_DIR; `Project.cache_dir` is where it leads."""
        return self._env.get("VML_CACHE_DIR") or self._str("cache.dir")

    @property
    def cache_dir_level(self) -> Level | None:
        """The kind of settings file that `cache_dir` comes from; a stranger may have written a committed one."""
        entry = self._entries.get("cache.dir")
        return entry.level if entry is not None and not self._env.get("VML_CACHE_DIR") else None

    @property
    def links(self) -> tuple[str, ...]:
        """cache.link, by default a reflink where the file system can, else a copy."""
        value = self.get("cache.link")
        return value if isinstance(value, tuple) else ("reflink", "copy")

    @property
    def pack_below(self) -> int:
        """cache.pack_below in bytes."""
        value = self.get("cache.pack_below")
        return 256 * 1024 if value is None else parse_size(value)

    @property
    def jobs(self) -> int | None:
        """transfer.jobs."""
        value = self.get("transfer.jobs")
        return value if isinstance(value, int) else None

    @property
    def transfer_memory(self) -> int:
        """transfer.memory in bytes, by default 128 MiB."""
        value = self.get("transfer.memory")
        return 128 * 1024 * 1024 if value is None else parse_size(value)

    @property
    def lock_timeout(self) -> float | None:
        """lock.timeout in seconds; None is for ever."""
        value = self.get("lock.timeout")
        return float(value) if isinstance(value, int | float) else None

    def _str(self, key: str) -> str | None:
        value = self.get(key)
        return value if isinstance(value, str) else None

    def get(self, key: str, level: Level | None = None) -> Value | None:
        """What `key` is set to, in force or at one level; None if it is not. UserError for an unknown key."""
        check_key(key)
        if level is None:
            entry = self._entries.get(key)
        else:
            path = self._path(level)
            text = self._committed if level == "project" and self._committed is not None else _text(path)
            entry = _parse(text or "", level, str(path)).get(key)
        return entry.value if entry else None

    def entries(self) -> list[tuple[str, Entry]]:
        """All that is set, sorted by key."""
        return sorted(self._entries.items())

    def remotes(self) -> dict[str, RemoteConfig]:
        """The remotes that have a url, sorted by name."""
        options: dict[str, dict[str, str]] = {}
        for key, entry in sorted(self._entries.items()):
            if key.startswith("remote."):
                name, option = _split_remote(key)
                options.setdefault(name, {})[option] = str(entry.value)
        return {
            name: RemoteConfig(name, url, some, self._entries[f"remote.{name}.url"].level)
            for name, some in options.items()
            if (url := some.pop("url", None)) is not None
        }

    def remote(self, name: str | None = None) -> RemoteConfig:
        """The remote called `name`; without one, core.remote, or the only one. UserError if there is none."""
        remotes = self.remotes()
        wanted = name or self.default_remote
        if wanted is None:
            if len(remotes) == 1:
                return next(iter(remotes.values()))
            if not remotes:
                raise UserError("this project has no remote", hint="vml remote add -d NAME URL")
            raise UserError(
                f"there are several remotes ({', '.join(remotes)}) and none is the default",
                hint="vml remote default NAME, or name one with -r",
            )
        if wanted in remotes:
            return remotes[wanted]
        near = difflib.get_close_matches(wanted, remotes, n=1)
        where = "" if name else " (core.remote)"
        hint = f"did you mean {near[0]}?" if near else f"vml remote add {wanted} URL"
        raise UserError(f"there is no remote {wanted!r}{where}", hint=hint)

    # Changes

    def set(self, level: Level, key: str, value: str) -> None:
        """Write `value`, as typed on a command line, into the file of `level`. UserError if it may not be."""
        setting = check_key(key)
        if key in _FIXED:
            raise UserError(f"{key} is fixed when the project is made", hint="vml init --hash ALGORITHM")
        converted = _convert(setting, key, value)
        self._edit(level, {_keys(key): converted})

    def unset(self, level: Level, key: str) -> bool:
        """Remove `key` from the file of `level`; whether it was there."""
        check_key(key)
        if key in _FIXED:
            raise UserError(f"{key} is fixed when the project is made", hint="vml init --hash ALGORITHM")
        if self.get(key, level) is None:
            return False
        self._edit(level, {_keys(key): None})
        return True

    def rename_remote(self, old: str, new: str) -> None:
        """Rename a remote wherever the project sets it up, and in core.remote."""
        check_remote_name(new)
        if new in self.remotes():
            raise UserError(f"there is a remote {new!r} already", hint=f"vml remote remove {new}")
        for level, options in self._remote_levels(old):
            changes: dict[tuple[str, ...], Value | None] = {("remote", old): None}
            changes |= {("remote", new, option): value for option, value in options.items()}
            if self.get("core.remote", level) == old:
                changes["core", "remote"] = new
            self._edit(level, changes)

    def remove_remote(self, name: str) -> None:
        """Remove a remote wherever the project sets it up, and core.remote where it points there."""
        for level, _ in self._remote_levels(name):
            changes: dict[tuple[str, ...], Value | None] = {("remote", name): None}
            if self.get("core.remote", level) == name:
                changes["core", "remote"] = None
            self._edit(level, changes)

    def _remote_levels(self, name: str) -> list[tuple[Level, dict[str, Value]]]:
        """The levels to change with a remote, and its options there; global only where no other has it."""
        self.remote(name)
        found: list[tuple[Level, dict[str, Value]]] = []
        levels: tuple[Level, ...] = ("project", "local") if self._directory else ()
        for level in (*levels, "global"):
            path = self._path(level)
            here = _parse(_text(path) or "", level, str(path))
            options = {
                _split_remote(key)[1]: entry.value
                for key, entry in here.items()
                if key.startswith("remote.") and _split_remote(key)[0] == name
            }
            points = "core.remote" in here and here["core.remote"].value == name
            if (options or points) and not (level == "global" and found):
                found.append((level, options))
        return found

    def _path(self, level: Level) -> Path:
        if level == "global":
            if path := self._global_path():
                return path
            raise UserError("there is no place for global settings", hint="set HOME or XDG_CONFIG_HOME")
        if self._directory is None:
            raise UserError("not inside a vml project", hint="vml init, or --global")
        return self._directory / ("config.toml" if level == "project" else "config.local.toml")

    def _edit(self, level: Level, changes: Mapping[tuple[str, ...], Value | None]) -> None:
        """Change the file of `level` at nested TOML keys: a value sets, None removes (also a whole table)."""
        if level == "project" and self._committed is not None:
            raise UserError("a bare repository has no file to commit settings in", hint="use --local")
        # A dotfile that is a symlink stays one.
        path = self._path(level).resolve()
        guard = (
            nullcontext()
            if level == "global" or self._directory is None
            else locks.lock(self._directory / "lock" / "config", timeout=self.lock_timeout)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        with guard:
            text = _edited(_text(path) or "", changes, str(path))
            # What was made is read as strictly as what people write.
            _parse(text, level, str(path))
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600 if level == "local" else None
            fs.write_atomic(path, text.encode(), mode=mode)
        self._read()


def check_key(key: str) -> Setting:
    """What is known of `key`; UserError with the nearest key if nothing is."""
    if setting := SETTINGS.get(key):
        return setting
    if key.startswith("remote."):
        name, option = _split_remote(key)
        if name and _OPTION.fullmatch(option):
            check_remote_name(name)
            return Setting("text", "a setting of one remote")
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


def _split_remote(key: str) -> tuple[str, str]:
    # The name may hold dots, the option may not.
    name, _, option = key.removeprefix("remote.").rpartition(".")
    return name, option


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}", hint="save it as UTF-8") from None


def _parse(text: str, level: Level, source: str) -> dict[str, Entry]:
    """The entries of one file, flat; UserError naming file and key for anything that should not be there."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number of 5,000 digits
        hint = "text needs quotes; a conflict may be left from a merge"
        raise UserError(f"{source}: not valid TOML: {error}", hint=hint) from None
    entries: dict[str, Entry] = {}
    for key, raw in _flat(document):
        try:
            setting = check_key(key)
        except UserError as error:
            raise UserError(f"{source}: {error.message}", hint=error.hint) from None
        _check_level(key, raw, level, source)
        entries[key] = Entry(_checked(setting, key, raw, source), level, source)
    return entries


def _flat(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for section, body in document.items():
        if not isinstance(body, dict):
            yield section, body
            continue
        for key, value in body.items():
            if section == "remote" and isinstance(value, dict):
                for option, inner in value.items():
                    yield f"remote.{key}.{option}", inner
            else:
                yield f"{section}.{key}", value


def _check_level(key: str, raw: object, level: Level, source: str) -> None:
    if key in _FIXED and level != "project":
        raise UserError(f"{source}: {key} belongs into the project's .vml/config.toml", hint=f"remove it from {source}")
    if level == "project" and key == "cache.dir" and isinstance(raw, str) and _leads_out(raw):
        raise UserError(
            f"{source}: cache.dir = {raw!r} leads out of the project, and this file is committed",
            hint="for this clone alone: vml config --local cache.dir DIR",
        )
    if level != "project" or not key.startswith("remote."):
        return
    option = _split_remote(key)[1]
    if option in SECRETS or (isinstance(raw, str) and _LOGIN.search(raw)):
        raise UserError(
            f"{source}: {key} is a secret, and this file is committed",
            hint="use --local: .vml/config.local.toml is not committed",
        )


def _leads_out(place: str) -> bool:
    return place.startswith(("/", "~")) or ".." in place.split("/")


def _checked(setting: Setting, key: str, raw: object, source: str) -> Value:
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


def _convert(setting: Setting, key: str, text: str) -> Value:
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
    return _checked(setting, key, raw, "vml config")


def _number(text: str) -> object:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def _edited(text: str, changes: Mapping[tuple[str, ...], Value | None], source: str) -> str:
    """`text` with the changes made and everything else, comments too, as it was."""
    import tomlkit  # noqa: PLC0415 - costs more than 5 ms, and few commands write settings
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise UserError(f"{source}: not valid TOML: {error}", hint="correct it by hand first") from None
    for parts, value in changes.items():
        table = document
        for part in parts[:-1]:
            if part not in table and value is not None:
                table[part] = tomlkit.table(is_super_table=part == "remote")
            table = table.get(part, {})
        if value is None:
            table.pop(parts[-1], None)
        else:
            table[parts[-1]] = list(value) if isinstance(value, tuple) else value
    return tomlkit.dumps(document)


def _keys(key: str) -> tuple[str, ...]:
    """The nested TOML keys of a setting."""
    if key.startswith("remote."):
        return ("remote", *_split_remote(key))
    section, _, name = key.partition(".")
    return section, name
