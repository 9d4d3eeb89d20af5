"""The command line as a program: help, errors, exit codes, start-up."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
import typer

from vcs_ml import cli, faults
from vcs_ml.errors import RemoteError, UserError

ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(cli.__file__).parents[1]), "HOME": "/nonexistent"}


def vml(cwd: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vcs_ml", *args],
        cwd=cwd, env=ENV | env, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert vml(tmp_path, "init").returncode == 0
    return tmp_path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """An app in the place of `vml status`, to which a test adds its own function."""
    module = ModuleType("vcs_ml.commands.status")
    module.app = typer.Typer(rich_markup_mode=None, add_completion=False)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vcs_ml.commands.status", module)
    return module.app


def test_help_lists_groups_and_fits(tmp_path: Path) -> None:
    done = vml(tmp_path, "--help", COLUMNS="60")
    assert done.returncode == 0
    assert done.stdout == vml(tmp_path, COLUMNS="60").stdout == vml(tmp_path, "-h", COLUMNS="60").stdout
    for line in ("Start:", "Data:", "Remotes:", "  vml push"):
        assert f"\n{line}" in done.stdout or f"\n  {line}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 60
    assert max(map(len, vml(tmp_path, "--help", COLUMNS="52").stdout.splitlines())) <= 52


@pytest.mark.parametrize("name", ["init", "config", "root", "remote"])
def test_help_of_commands_keeps_examples(name: str, tmp_path: Path) -> None:
    done = vml(tmp_path, name, "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    if name != "remote":
        assert f"  Examples:\n    vml {name}" in done.stdout


def test_version(tmp_path: Path) -> None:
    assert vml(tmp_path, "--version").stdout == vml(tmp_path, "-q", "--version").stdout
    assert vml(tmp_path, "--version").stdout.startswith("vml 0.")


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["statsu"], "there is no command 'statsu'", "did you mean status?"),
        (["xyzzy"], "there is no command 'xyzzy'", "vml --help lists the commands"),
        (["root", "--foo"], "no such option: --foo", "vml root --help"),
        (["--foo"], "no such option: --foo", "vml --help"),
        (["remote", "add", "x"], "missing argument 'URL'", "vml remote add --help"),
        (["stage", "add", "-n", "x", "-d"], "option '-d' requires an argument", "vml stage add --help"),
        (["add", "--group"], "option '--group' requires an argument", "vml add --help"),
        (["root", "-C", "x"], "no such option: -C", "it stands before the command: vml -C DIR root"),
        (["metrics", "-q"], "missing command", "vml metrics --help"),
        (["-C", "nope", "root"], "-C nope: there is no such directory", "vml --help"),
    ],
)
def test_usage_errors(args: list[str], message: str, hint: str, tmp_path: Path) -> None:
    done = vml(tmp_path, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {message}\nhint: {hint}\n"


@pytest.mark.parametrize("name", ["metrics", "params", "plots", "stage"])
def test_a_group_alone_prints_its_help(name: str, tmp_path: Path) -> None:
    done = vml(tmp_path, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == vml(tmp_path, name, "--help").stdout
    assert "\nCommands:\n" in done.stderr


def test_quiet_and_verbose_behind_the_command(project: Path) -> None:
    (project / "data").write_text("x")
    assert vml(project, "add", "data", "-q").stderr == vml(project, "-q", "add", "data").stderr == ""
    vml(project, "remote", "add", "-d", "near", str(project / "near"))
    for args in ("-v push", "push -v", "push -r near --verbose"):
        assert vml(project, *args.split()).stderr.startswith("store: "), args
    # What belongs to another command, or is a value, stays where it is.
    assert vml(project, "stage", "add", "-n", "a", "--desc", "-q", "cat", "-v", "x", "-q").returncode == 0
    assert {"    cmd: cat -v x -q", "    desc: -q"} <= set((project / "vml.yaml").read_text().splitlines())
    assert "--quiet" not in vml(project, "status", "--help").stdout


def test_init_root_and_directories(project: Path) -> None:
    (project / "sub").mkdir()
    assert vml(project, "-C", "sub", "root").stdout == f"{project}\n"
    assert vml(project / "sub", "-C", "..", "root").stdout == f"{project}\n"
    assert vml(Path("/"), "-C", str(project), "-C", "sub", "-C", "..", "-C", "sub", "root").stdout == f"{project}\n"
    assert vml(project, "-C", "sub", "-C", "sub", "root").returncode == 2
    again = vml(project, "init")
    assert again.returncode == 3
    assert "is a vml project already" in again.stderr
    assert vml(Path("/"), "root").returncode == 3
    assert vml(project, "-C", "sub", "-q", "init", "--hash", "md5").returncode == 3
    assert vml(project, "-C", "sub", "-q", "init", "--hash", "sha256").stderr == ""
    assert vml(project / "sub", "root").stdout == f"{project / 'sub'}\n"


def test_init_stages_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "vml").mkdir()
    (tmp_path / "vml" / "config.toml").write_text("[core]\nautostage = true\n")
    (tmp_path / "repo" / "sub").mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "repo", check=True)
    done = vml(tmp_path / "repo" / "sub", "init", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 0
    assert "git add" not in done.stderr
    staged = subprocess.run(
        ["git", "ls-files"], cwd=tmp_path / "repo", check=True, capture_output=True, text=True
    ).stdout
    assert staged == "sub/.vml/.gitignore\nsub/.vml/config.toml\n"


def test_config_command(project: Path) -> None:
    assert vml(project, "config", "cache.link").returncode == 1
    assert vml(project, "config", "cache.link", "copy,reflink").returncode == 0
    assert vml(project, "config", "cache.link").stdout == "copy,reflink\n"
    assert vml(project, "config", "--local", "core.autostage", "on").returncode == 0
    assert "core.autostage=true\n" in vml(project, "config").stdout
    assert vml(project, "config", "--local").stdout == "core.autostage=true\n"
    assert vml(project, "config", "--unset", "cache.link").returncode == 0
    assert vml(project, "config", "--unset", "cache.link").returncode == 1
    assert vml(project, "config", "--local", "--global", "cache.link").returncode == 2
    assert '"key": "core.hash"' in vml(project, "config", "--json").stdout
    assert vml(Path("/"), "config", "--global", "core.autostage").returncode == 1
    assert vml(Path("/"), "config", "core.autostage").returncode == 3


def test_remote_command(project: Path) -> None:
    (project / "sub").mkdir()
    assert vml(project / "sub", "remote", "add", "-d", "near", "../../store").returncode == 0
    assert vml(project, "remote", "add", "s3", "s3://bucket", "--no-check").returncode == 0
    assert vml(project, "remote", "add", "file", "file:///srv/x").returncode == 0
    twice = vml(project, "remote", "add", "s3", "../other")
    assert (twice.returncode, "vml remote modify s3 url" in twice.stderr) == (3, True)
    assert vml(project, "remote", "list").stdout == ("  file  file:///srv/x\n* near  ../store\n  s3    s3://bucket\n")
    assert vml(project, "remote", "modify", "s3", "region", "eu").returncode == 0
    refused = vml(project, "remote", "modify", "s3", "session_token", "hush")
    assert (refused.returncode, "--local" in refused.stderr) == (3, True)
    assert vml(project, "remote", "modify", "--local", "s3", "session_token", "hush").returncode == 0
    listed = vml(project, "remote", "list", "--json").stdout
    assert "hush" not in listed
    assert '"region": "eu"' in listed
    assert vml(project, "remote", "default").stdout == "near\n"
    assert vml(project, "remote", "rename", "near", "far").returncode == 0
    assert vml(project, "remote", "default").stdout == "far\n"
    assert vml(project, "remote", "remove", "far").returncode == 0
    assert vml(project, "remote", "default").returncode == 1
    assert vml(project, "remote", "default", "nope").returncode == 3
    assert vml(project, "remote", "default", "s3").returncode == 0
    assert not (project / "store").exists()
    for url in ("gs://b/p", "file://x", "host:dir", ""):
        assert vml(project, "remote", "add", "bad", url).returncode == 2


def run(argv: list[str]) -> int:
    return cli.main(argv)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("no", hint="do"), 3, "error: no\nhint: do\n"),
        (RemoteError("gone"), 4, "error: gone\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(143), 143, ""),
        (typer.Exit(1), 1, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "a\nb"),
            3,
            "error: $'a\\nb': no space left on device\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "error: no space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 3, "error: x: permission denied\n"),
    ],
)
def test_errors_end_in_one_place(
    error: BaseException, code: int, message: str, command: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    @command.command()
    def status() -> None:
        raise error

    assert run(["status"]) == code
    assert capsys.readouterr().err.startswith(message)


def test_hints_of_what_the_system_refused(tmp_path: Path) -> None:
    def hint(path: Path | str) -> str | None:
        with pytest.raises(OSError) as caught:
            open(path, "wb")  # noqa: SIM115 - which fails
        refused = faults.as_user_error(caught.value)
        assert refused is not None
        return refused.hint

    (tmp_path / "file").touch()
    assert hint(tmp_path / "a b/c/x") == f"mkdir -p '{tmp_path}/a b/c'"
    assert hint(tmp_path) == f"look at that path: ls -ld {tmp_path}"
    assert hint(tmp_path / "file/x/y") == f"look at that path: ls -ld {tmp_path}/file"


def test_a_bug_is_reported_as_one(command: typer.Typer, capsys: pytest.CaptureFixture[str]) -> None:
    @command.command()
    def status() -> None:
        raise ZeroDivisionError("oops")

    assert run(["status"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError: oops" in err
    assert "this is a bug in vml" in err
    assert cli.ISSUES in err


@pytest.mark.parametrize(
    ("args", "value"),
    [
        ([], None), (["--remote"], ""), (["--remote", "-x"], ""), (["--remote", "name"], "name"),
        (["--remote=name"], "name"), (["--remote", "--", "path"], ""), (["--", "--remote"], None),
    ],
)  # fmt: skip
def test_optional_values(args: list[str], value: str | None, command: typer.Typer) -> None:
    seen: list[str | None] = []

    @command.command()
    def status(
        paths: Annotated[list[str] | None, typer.Argument()] = None,
        x: Annotated[bool, typer.Option("-x")] = False,
        remote: str | None = None,
    ) -> None:
        seen.append(remote)

    assert run(["-q", "-C", "/", "status", *args]) == 0
    assert seen == [value]


def test_sigterm_lets_finally_run(tmp_path: Path) -> None:
    code = """
import sys, types, typer
module = types.ModuleType("vcs_ml.commands.status")
module.app = typer.Typer(rich_markup_mode=None, add_completion=False)
sys.modules["vcs_ml.commands.status"] = module
@module.app.command()
def status():
    try:
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        print("cleaned", flush=True)
from vcs_ml.cli import main
raise SystemExit(main(["status"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "cleaned\n"
        assert process.wait() == 143


_DROPS = """
import os, signal, sys, time, types, typer
module = types.ModuleType("vcs_ml.commands.status")
module.app = typer.Typer(rich_markup_mode=None, add_completion=False)
sys.modules["vcs_ml.commands.status"] = module
class Last:
    def __del__(self):
        signal.raise_signal(signal.{name})
@module.app.command()
def status():
    Last()
    time.sleep({seconds})
    print("done", flush=True)
from vcs_ml.cli import main
raise SystemExit(main(["status"]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("seconds", [0, 60])
def test_a_signal_that_python_drops_ends_the_program(name: str, code: int, seconds: int) -> None:
    """It arrives in a `__del__`: what goes on is interrupted, and what has just ended is no success either."""
    program = _DROPS.format(name=name, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", program], env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr == ("interrupted\n" if name == "SIGINT" else "")
    assert seconds == 0 or "done" not in done.stdout


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "vcs_ml", "--help"],
            cwd=tmp_path, env=ENV, stdout=closed, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("args", "code"),
    [("--version", 0), ("--help", 0), ("root", 0), ("config --json", 0), ("config cache.dir", 1), ("x", 2)],
)
def test_closed_streams_are_written_to_nowhere(project: Path, args: str, code: int, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m vcs_ml {args} {closed}"],
        cwd=project, env=ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr


def test_an_interrupt_during_the_import_is_silent(tmp_path: Path) -> None:
    code = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "vcs_ml.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["root"]
from vcs_ml.__main__ import run
run()
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENV, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_mv_to_what_should_be_a_directory(project: Path) -> None:
    (project / "one").write_text("1")
    assert vml(project, "add", "one").returncode == 0
    done = vml(project, "mv", "one", "archive/")
    assert (done.returncode, done.stderr) == (3, "error: archive/ is no directory\nhint: mkdir archive/\n")
    assert (project / "one").exists()


def test_commands_are_imported_before_signals_raise(command: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @command.command()
    def status() -> None:
        seen.append(signal.getsignal(signal.SIGTERM))

    module = cli._module

    def spy(name: str) -> ModuleType:
        seen.append(signal.getsignal(signal.SIGTERM))
        return module(name)

    monkeypatch.setattr(cli, "_module", spy)
    assert run(["status"]) == 0
    assert seen[0] == signal.SIG_DFL
    assert seen[-1] != signal.SIG_DFL


HEAVY = ("boto3", "git", "tabulate", "rich", "asyncio", "click", "pydantic", "tomlkit", "pathspec", "yaml")


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["root"], ["config", "core.hash"]])
def test_start_up_imports_little(args: list[str], project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vcs_ml", *args],
        cwd=project, env=ENV, capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vcs_ml" in imported
    assert imported.isdisjoint(HEAVY)
    if args[0] == "--help":
        assert not any(name.startswith("vcs_ml.commands") for name in imported)
    if args[0] == "--version":
        assert "typer" not in imported


def test_completion_lists_commands_without_importing_them(tmp_path: Path) -> None:
    done = vml(tmp_path, _VML_COMPLETE="complete_bash", COMP_WORDS="vml sta", COMP_CWORD="1", TYPER_USE_RICH="0")
    assert done.stdout.split() == ["status", "stage"]
    done = vml(tmp_path, _VML_COMPLETE="complete_bash", COMP_WORDS="vml metrics ", COMP_CWORD="2", TYPER_USE_RICH="0")
    assert (done.stdout.split(), done.stderr) == (["show", "diff"], "")


def test_every_command_has_its_row(tmp_path: Path) -> None:
    for name, row in cli.COMMANDS.items():
        assert row.help.endswith("."), name
