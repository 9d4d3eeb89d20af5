"""Settings: where they come from, what is refused, and that comments survive a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcs_ml.config import Config
from vcs_ml.errors import UserError
from vcs_ml.settings import parse_size

COMMITTED = '# ours\n[core]\nid = "x"  # once\nhash = "xxh128"\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "project" / ".vml"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text(COMMITTED)
    return directory


def load(place: Path | None, tmp_path: Path, **env: str) -> Config:
    return Config.load(place, {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), **env})


def test_defaults(place: Path, tmp_path: Path) -> None:
    config = load(place, tmp_path)
    assert (config.project_id, config.hash) == ("x", "xxh128")
    assert config.links == ("reflink", "copy")
    assert (config.pack_below, config.transfer_memory) == (256 * 1024, 128 * 1024 * 1024)
    assert (config.autostage, config.jobs, config.lock_timeout, config.cache_dir) == (False, None, None, None)
    assert config.remotes() == {}


def test_later_levels_win(place: Path, tmp_path: Path) -> None:
    config = load(place, tmp_path)
    config.set("global", "transfer.jobs", "1")
    config.set("global", "core.autostage", "yes")
    config.set("project", "transfer.jobs", "2")
    assert config.jobs == 2
    config.set("local", "transfer.jobs", "3")
    again = load(place, tmp_path)
    assert (again.jobs, again.autostage) == (3, True)
    assert again.get("transfer.jobs", "project") == 2
    assert again.unset("local", "transfer.jobs")
    assert not again.unset("local", "transfer.jobs")
    assert again.jobs == 2
    assert load(None, tmp_path).jobs == 1
    assert [(key, entry.level) for key, entry in again.entries() if key.startswith("t")] == [
        ("transfer.jobs", "project")
    ]


def test_home_and_environment(place: Path, tmp_path: Path) -> None:
    (tmp_path / ".config" / "vml").mkdir(parents=True)
    (tmp_path / ".config" / "vml" / "config.toml").write_text("[lock]\ntimeout = 1.5\n")
    config = Config.load(place, {"HOME": str(tmp_path), "VML_CACHE_DIR": "/big"})
    assert (config.lock_timeout, config.cache_dir) == (1.5, "/big")
    with pytest.raises(UserError, match="no place for global"):
        Config.load(place, {}).set("global", "core.autostage", "true")


def test_changes_keep_comments_and_modes(place: Path, tmp_path: Path) -> None:
    path = place / "config.toml"
    path.chmod(0o664)
    config = load(place, tmp_path)
    config.set("project", "cache.link", "copy, reflink")
    config.set("project", "remote.my.store.url", "s3://b/p")
    assert path.read_text().startswith(COMMITTED)
    assert path.stat().st_mode & 0o777 == 0o664
    assert config.links == ("copy", "reflink")
    assert config.remotes()["my.store"].url == "s3://b/p"
    config.set("local", "remote.my.store.session_token", "hush")
    assert (place / "config.local.toml").stat().st_mode & 0o777 == 0o600
    assert config.remote("my.store").options == {"session_token": "hush"}


def test_a_symlinked_dotfile_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("# mine\n")
    (tmp_path / "xdg" / "vml").mkdir(parents=True)
    link = tmp_path / "xdg" / "vml" / "config.toml"
    link.symlink_to(real)
    load(None, tmp_path).set("global", "core.autostage", "true")
    assert link.is_symlink()
    assert real.read_text() == "# mine\n\n[core]\nautostage = true\n"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[core]\nautostag = true", "unknown setting 'core.autostag'", "core.autostage"),
        ("jobs = 3", "unknown setting 'jobs'", ""),
        ("[core\n", "not valid TOML: .*line 1", ""),
        ("<<<<<<< HEAD\n", "not valid TOML: .*line 1", "merge"),
        ("[core]\nautostage = 1", "core.autostage = 1 is not true or false", ""),
        ("[transfer]\njobs = true", "transfer.jobs = True is not a whole number", ""),
        ("[transfer]\njobs = 0", "transfer.jobs = 0", ""),
        ('[transfer]\nmemory = "much"', "transfer.memory = 'much' is not a size", ""),
        ('[cache]\nlink = ["teleport"]', "cache.link", ""),
        ("[cache]\nlink = [[1]]", "cache.link", ""),
        ("[lock]\ntimeout = nan", "lock.timeout", ""),
        ("[transfer]\njobs = " + "9" * 5000, "not valid TOML", ""),
        ("[remote.a]\nurl = 3", "remote.a.url = 3 is not text", ""),
        ('[remote.a]\nurl = "\\u0000"', "remote.a.url = .* is not text in quotes, without NUL", ""),
        ("[remote]\na = 3", "unknown setting 'remote.a'", ""),
        ('[remote."-x"]\nurl = "y"', "'-x' cannot be the name of a remote", ""),
        ('[remote.a]\nsession_token = "x"', "remote.a.session_token is a secret", "--local"),
        ('[cache]\ndir = "/etc"', "cache.dir = '/etc' leads out of the project", "config --local"),
        ('[cache]\ndir = "~/x"', "leads out of the project", "config --local"),
        ('[cache]\ndir = "a/../../x"', "leads out of the project", "config --local"),
        ('[remote.a]\nendpoint_url = "https://me:pw@host/"', "is a secret", "--local"),
    ],
)
def test_bad_files_are_refused(place: Path, tmp_path: Path, text: str, message: str, hint: str) -> None:
    path = place / "config.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load(place, tmp_path)
    assert caught.value.message.startswith(str(path))
    assert hint in (caught.value.hint or "")
    assert caught.value.hint


def test_bytes_that_are_no_text_are_refused(place: Path, tmp_path: Path) -> None:
    (place / "config.toml").write_bytes(b"\xff")
    with pytest.raises(UserError, match="not UTF-8"):
        load(place, tmp_path)


def test_ids_belong_to_the_committed_file(place: Path, tmp_path: Path) -> None:
    (place / "config.local.toml").write_text('[core]\nhash = "sha256"\n')
    with pytest.raises(UserError, match="belongs into the project"):
        load(place, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("core.hash", "sha256"), ("core.id", "y"), ("nope.x", "1"), ("transfer.jobs", "many"),
        ("remote.a.session_token", "x"), ("remote.a.regoin", "x"), ("remote.a", "x"), ("remote..url", "x"),
        ("lock.timeout", "-1"),
        ("core.autostage", "maybe"), ("cache.dir", "../x"), ("cache.pack_below", "256 apples"),
    ],
)  # fmt: skip
def test_bad_changes_are_refused_and_change_nothing(place: Path, tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(UserError) as caught:
        load(place, tmp_path).set("project", key, value)
    assert caught.value.hint
    assert (place / "config.toml").read_text() == COMMITTED


def test_a_place_elsewhere_is_for_oneself(place: Path, tmp_path: Path) -> None:
    config = load(place, tmp_path)
    config.set("project", "cache.dir", "big/cache..d")
    assert config.cache_dir_level == "project"
    for level in ("global", "local"):
        config.set(level, "cache.dir", "/big")
    assert (config.cache_dir, config.cache_dir_level) == ("/big", "local")


def test_remotes(place: Path, tmp_path: Path) -> None:
    config = load(place, tmp_path)
    with pytest.raises(UserError, match="no remote"):
        config.remote()
    config.set("project", "remote.a.url", "../a")
    assert config.remote().name == "a"
    config.set("project", "remote.b.url", "../b")
    config.set("local", "remote.b.url", "../c")
    config.set("global", "remote.b.profile", "work")
    with pytest.raises(UserError, match=r"several remotes \(a, b\)"):
        config.remote()
    config.set("project", "core.remote", "b")
    remote = config.remote()
    assert (remote.url, remote.options, remote.level) == ("../c", {"profile": "work"}, "local")
    with pytest.raises(UserError, match="there is no remote 'bb'") as caught:
        config.remote("bb")
    assert caught.value.hint == "did you mean b?"
    with pytest.raises(UserError, match="already"):
        config.rename_remote("a", "b")
    config.rename_remote("b", "B.2")
    assert config.default_remote == "B.2"
    assert config.remote().url == "../c"
    assert config.get("remote.b.profile", "global") == "work"
    config.remove_remote("B.2")
    assert list(config.remotes()) == ["a"]
    assert config.default_remote is None
    with pytest.raises(UserError):
        config.remove_remote("B.2")


def test_committed_text_of_a_bare_repository(tmp_path: Path) -> None:
    config = Config.load(tmp_path, {}, committed=COMMITTED)
    assert config.project_id == "x"
    assert config.get("core.id", "project") == "x"
    with pytest.raises(UserError, match="bare"):
        config.set("project", "core.autostage", "true")
    config.set("local", "core.autostage", "true")
    assert config.autostage


def test_linked_worktree_takes_local_settings_of_the_main_one(place: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked" / ".vml"
    linked.mkdir(parents=True)
    (linked / "config.toml").write_text(COMMITTED)
    (place / "config.local.toml").write_text("[transfer]\njobs = 3\n[lock]\ntimeout = 1\n")
    (linked / "config.local.toml").write_text("[transfer]\njobs = 4\n")
    config = Config.load(linked, {}, main=place)
    assert (config.jobs, config.lock_timeout) == (4, 1.0)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        (5, 5),
        ("5", 5),
        ("256KiB", 262144),
        ("1 MB", 10**6),
        ("2k", 2000),
        ("1GiB", 1 << 30),
        ("7B", 7),
        ("0", 0),
    ],
)
def test_sizes(text: object, n: int) -> None:
    assert parse_size(text) == n


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "MB", True, -1, None, "1PB"])
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)
