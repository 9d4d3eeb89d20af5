"""Settings in force: the three files they come from, and how these are changed."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Final, NamedTuple

from vcs_ml import fs, locks, regular
from vcs_ml.errors import UserError
from vcs_ml.settings import (
    FIXED,
    Level,
    Value,
    check_key,
    check_level,
    check_remote_name,
    checked,
    convert,
    masked,
    parse_size,
    split_remote,
)

_SIZE_MAX: Final = 1_000_000


def address(url: str, options: Mapping[str, Value]) -> str:
    """The url of a remote, without a password, and the server where that is not the usual one."""
    endpoint = options.get("endpoint_url")
    return masked(f"{url} at {endpoint}" if endpoint else url)


class NoRemote(UserError):
    """There is no remote of this name, or none at all, or nothing was ever pushed to it."""


class RemoteConfig(NamedTuple):
    """A remote as configured: its url, everything else set for it, and the file its url came from."""

    name: str
    url: str
    options: Mapping[str, Value]
    level: Level

    @property
    def address(self) -> str:
        """What tells this place from any other: the url, and which server it is on."""
        return address(self.url, self.options)


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
                text = _text(path, level)
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
    def large_files(self) -> int:
        """hooks.large_files in bytes, by default 5 MB."""
        value = self.get("hooks.large_files")
        return 5_000_000 if value is None else parse_size(value)

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
            text = self._committed if level == "project" and self._committed is not None else _text(path, level)
            entry = _parse(text or "", level, str(path)).get(key)
        return entry.value if entry else None

    def entries(self) -> list[tuple[str, Entry]]:
        """All that is set, sorted by key."""
        return sorted(self._entries.items())

    def remotes(self) -> dict[str, RemoteConfig]:
        """The remotes that have a url, sorted by name."""
        options: dict[str, dict[str, Value]] = {}
        for key, entry in sorted(self._entries.items()):
            if key.startswith("remote."):
                name, option = split_remote(key)
                options.setdefault(name, {})[option] = entry.value
        return {
            name: RemoteConfig(name, str(url), some, self._entries[f"remote.{name}.url"].level)
            for name, some in options.items()
            if (url := some.pop("url", None)) is not None
        }

    def remote(self, name: str | None = None) -> RemoteConfig:
        """The remote called `name`; without one, core.remote, or the only one. NoRemote if there is none, UserError if
        it is not clear which.
        """
        remotes = self.remotes()
        wanted = name or self.default_remote
        if wanted is None:
            if len(remotes) == 1:
                return next(iter(remotes.values()))
            if not remotes:
                raise NoRemote("this project has no remote", hint="vml remote add -d NAME URL")
            raise UserError(
                f"there are several remotes ({', '.join(remotes)}) and none is the default",
                hint="vml remote default NAME, or name one with -r",
            )
        if wanted in remotes:
            return remotes[wanted]
        near = difflib.get_close_matches(wanted, remotes, n=1)
        where = "" if name else " (core.remote)"
        hint = f"did you mean {near[0]}?" if near else f"vml remote add {wanted} URL"
        raise (NoRemote if name else UserError)(f"there is no remote {wanted!r}{where}", hint=hint)

    # Changes

    def set(self, level: Level, key: str, value: str) -> None:
        """Write `value`, as typed on a command line, into the file of `level`. UserError if it may not be."""
        self.set_all(level, {key: value})

    def set_all(self, level: Level, values: Mapping[str, str]) -> None:
        """Write several values at once, or none: UserError if one of them may not be."""
        converted: dict[tuple[str, ...], Value | None] = {}
        for key, value in values.items():
            setting = check_key(key)
            if key in FIXED:
                raise UserError(f"{key} is fixed when the project is made", hint="vml init --hash ALGORITHM")
            converted[_keys(key)] = convert(setting, key, value)
        self._edit(level, converted)

    def unset(self, level: Level, key: str) -> bool:
        """Remove `key` from the file of `level`; whether it was there."""
        check_key(key)
        if key in FIXED:
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
            here = _parse(_text(path, level) or "", level, str(path))
            options = {
                split_remote(key)[1]: entry.value
                for key, entry in here.items()
                if key.startswith("remote.") and split_remote(key)[0] == name
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
        path = self._path(level)
        if level == "global":
            path = path.resolve()  # a dotfile that is a symlink stays one
        guard = (
            nullcontext()
            if level == "global" or self._directory is None
            else locks.lock(self._directory / "lock" / "config", timeout=self.lock_timeout)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        with guard:
            text = _edited(_text(path, level) or "", changes, str(path))
            # What was made is read as strictly as what people write.
            _parse(text, level, str(path))
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600 if level == "local" else None
            fs.write_atomic(path, text.encode(), mode=mode)
        self._read()


def _text(path: Path, level: Level) -> str | None:
    raw = regular.read(path, _SIZE_MAX, follow=level == "global", hint="settings are a few lines")
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}", hint="save it as UTF-8") from None


def _parse(text: str, level: Level, source: str) -> dict[str, Entry]:
    """The entries of one file, flat; UserError naming file and key for anything that should not be there."""
    entries, wrong = parse(text, level, source)
    if wrong:
        raise wrong[0]
    return entries


def parse(text: str, level: Level, source: str) -> tuple[dict[str, Entry], list[UserError]]:
    """What the file `source` of this level sets, by key, and all that should not be there, each with file and key."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number of 5,000 digits
        hint = "text needs quotes; a conflict may be left from a merge"
        return {}, [UserError(f"{source}: not valid TOML: {error}", hint=hint)]
    entries: dict[str, Entry] = {}
    wrong: list[UserError] = []
    for key, raw in _flat(document):
        try:
            setting = check_key(key)
        except UserError as error:
            wrong.append(UserError(f"{source}: {error.message}", hint=error.hint))
            continue
        try:
            check_level(key, raw, level, source)
            entries[key] = Entry(checked(setting, key, raw, source), level, source)
        except UserError as error:
            wrong.append(error)
    return entries, wrong


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
        return ("remote", *split_remote(key))
    section, _, name = key.partition(".")
    return section, name
