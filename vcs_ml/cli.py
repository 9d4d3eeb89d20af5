"""The command line: the table of commands, the global options, and the one place where errors end."""

from __future__ import annotations

import contextlib
import difflib
import functools
import gc
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException
from typer.main import get_command

from vcs_ml import __version__, faults, output
from vcs_ml.errors import UsageError, VmlError
from vcs_ml.session import Session

ISSUES: Final = "https://github.com/vcs-ml/vcs-ml/issues"


class Command(NamedTuple):
    """A row of the table: where help lists the command, its one line there, its module in vcs_ml.commands."""

    group: str
    help: str
    module: str


COMMANDS: Final = {
    "init": Command("Start", "Make a directory of a Git repository a project.", "init"),
    "doctor": Command("Start", "Look whether everything is as it should be.", "doctor"),
    "config": Command("Start", "Read and change settings.", "config"),
    "root": Command("Start", "Print the project's top directory.", "root"),
    "add": Command("Data", "Put files and directories under version control.", "add"),
    "rm": Command("Data", "Stop tracking data.", "rm"),
    "mv": Command("Data", "Move or rename tracked data.", "mv"),
    "status": Command("Data", "Show what changed.", "status"),
    "diff": Command("Data", "Compare data between two revisions.", "diff"),
    "checkout": Command("Data", "Bring data into the workspace.", "checkout"),
    "commit": Command("Data", "Record changed data in its pointers.", "commit"),
    "unprotect": Command("Data", "Make linked files private and writable.", "unprotect"),
    "ls": Command("Data", "List tracked data.", "ls"),
    "log": Command("Data", "Show the versions of tracked data.", "log"),
    "du": Command("Data", "Show how much room data takes.", "du"),
    "remote": Command("Remotes", "Set up the places where data is shared.", "remote"),
    "push": Command("Remotes", "Send data to a remote.", "push"),
    "fetch": Command("Remotes", "Get data from a remote into the local store.", "fetch"),
    "pull": Command("Remotes", "Fetch data and check it out.", "pull"),
    "gc": Command("Remotes", "Remove data that nothing needs any more.", "gc"),
    "fsck": Command("Remotes", "Check the store or a remote for damage, and repair it.", "fsck"),
    "repro": Command("Pipelines", "Bring stages up to date.", "repro"),
    "stage": Command("Pipelines", "Write stages into vml.yaml, and list them.", "stage"),
    "dag": Command("Pipelines", "Show which stage needs which.", "dag"),
    "freeze": Command("Pipelines", "Keep stages from running again.", "freeze"),
    "unfreeze": Command("Pipelines", "Let frozen stages run again.", "unfreeze"),
    "metrics": Command("Compare", "Show metrics, and compare them.", "metrics"),
    "params": Command("Compare", "Compare params between revisions.", "params"),
    "plots": Command("Compare", "Draw plots, and compare them.", "plots"),
    "report": Command("Compare", "Show what a pull request changes, and check its gates.", "report"),
    "install": Command("Git", "Put Git's hooks and the merge driver in place.", "install"),
    "uninstall": Command("Git", "Take them out again.", "uninstall"),
    "hook": Command("Git", "What Git's hooks call.", "hook"),
    "merge-driver": Command("Git", "Merge pointers and lock files, when Git calls it.", "merge_driver"),
    "get": Command("Share", "Download data of another repository.", "get"),
}
# Options whose value may be left out: they become `--option=` before the parser, which cannot do that.
OPTIONAL_VALUES: Final[Mapping[str, frozenset[str]]] = {
    "doctor": frozenset({"--remote"}),
    "fsck": frozenset({"--remote"}),
    "gc": frozenset({"--remote"}),
    "status": frozenset({"--remote"}),
}

# Global options that may stand behind the command, too, and what of the session they set.
_ANYWHERE: Final = {"quiet": ("-q", "--quiet"), "verbose": ("-v", "--verbose")}
_AGAIN: Final = 0.01  # seconds until an exception that was dropped is raised again


class Commands(TyperGroup):
    """A group that imports a command only when it runs, and lists them from the table.

    The contexts are those of Typer's own copy of Click, which has no public name.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        if cmd_name not in COMMANDS:
            return None
        command = get_command(_module(cmd_name).app)
        assert isinstance(command, TyperCommand | TyperGroup)
        command.name = cmd_name
        _take_global_options(command)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS or ctx.resilient_parsing:
            name, command, rest = super().resolve_command(ctx, args)
            is_enough = rest or ctx.resilient_parsing
            if isinstance(command, TyperGroup) and not (is_enough or command.invoke_without_command):
                help = typer.Context(command, parent=ctx, info_name=name).get_help()
                output.write(f"{help}\n", sys.stderr)
                raise typer.Exit(2)
            return name, command, rest
        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "vml --help lists the commands"
        raise UsageError(f"there is no command {args[0]!r}", hint=hint)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, COMMANDS))
        for group in dict.fromkeys(command.group for command in COMMANDS.values()):
            rows = [(name.ljust(width), row.help) for name, row in COMMANDS.items() if row.group == group]
            with formatter.section(group):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        # Names and help from the table; without this, each <TAB> would import every command.
        listed = [TyperCommand(name, help=row.help) for name, row in COMMANDS.items()]
        group = TyperGroup(name=self.name, commands=listed, params=self.params)
        return group.shell_complete(typer.Context(group, resilient_parsing=True), incomplete)


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.write(f"vml {__version__}\n", sys.stdout)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def vml(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what was asked for.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    directory: Annotated[
        list[str] | None, typer.Option("-C", metavar="DIR", help="Work as if started in DIR.", show_default=False)
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Version data, models and machine-learning pipelines next to Git.

    \b
    Examples:
      vml init
      vml add data
      git add . && git commit -m "add data"
      vml remote add -d storage /mnt/shared/project
      vml push
    """
    ctx.obj = Session(
        _directory(directory or ()),
        os.environ,
        quiet=quiet,
        verbose=verbose,
        stdin_tty=_isatty(sys.stdin),
        stdout_tty=_isatty(sys.stdout),
        stderr_tty=_isatty(sys.stderr),
    )
    if ctx.invoked_subcommand is None:
        ctx.obj.out(ctx.get_help())


def _isatty(stream: Any) -> bool:
    # A stream is None when its descriptor was closed before Python started.
    return stream is not None and bool(stream.isatty())


def _directory(arguments: Sequence[str]) -> Path:
    """Where -C points, absolute; each one is relative to the one before."""
    try:
        base = Path.cwd()
    except FileNotFoundError:
        raise VmlError("the current directory was deleted", hint="cd to a directory that exists") from None
    for argument in arguments:
        base /= argument
        if not base.is_dir():
            raise UsageError(f"-C {output.quote(argument)}: there is no such directory", hint="vml --help")
        # Only `..` needs symlinks followed: the parent of a link's target is not the link's parent.
        if ".." in base.parts:
            base = base.resolve()
    return base


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (without its name) and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    # A run makes millions of small tuples and hardly a cycle: collecting seldom saves up to a third of its time.
    gc.set_threshold(200_000, 50, 1000)
    try:
        if (name := "".join(args[(at := _command_at(args)) : at + 1])) in COMMANDS:
            # Before signals raise exceptions, which an import may swallow.
            _module(name)
        with _ending_by_signal():
            code = _run(_with_optional_values(args))
            sys.stdout.flush()
            return code
    except BaseException as error:
        return _report(error, args)


def _run(args: list[str]) -> int:
    group = get_command(app)
    if "_VML_COMPLETE" in os.environ:
        group.main(args=args, prog_name="vml")
    # The formatter is never narrower than 50 columns by itself.
    width = max(min(shutil.get_terminal_size().columns, 80) - 2, 20)
    try:
        with group.make_context("vml", args, terminal_width=width) as ctx:
            group.invoke(ctx)
    except typer.Exit as exit:
        return exit.exit_code
    return 0


@contextlib.contextmanager
def _ending_by_signal() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the program by an exception, so that temporary files are cleaned up.

    Python drops an exception where there is nobody to take it: in a callback of a fork, a `__del__`. There it is raised
    again a moment later. If one was lost nonetheless, the body ends as if it had come at the end.
    """
    arrived: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            arrived.append(number)
        if frame is not None and frame.f_code is dropped.__code__:  # nobody takes it there either
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
            return
        raise _ending(arrived[-1])

    def dropped(what: Any) -> None:
        if arrived and isinstance(what.exc_value, KeyboardInterrupt | SystemExit):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            hook(what)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        # nohup has SIGHUP ignored, a shell SIGINT of what it runs behind, and they want that to last
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, end)
    hook, sys.unraisablehook = sys.unraisablehook, dropped
    try:
        yield
    except Exception:
        if not arrived:
            raise
    finally:
        if arrived:
            signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for number, action in before.items():
            signal.signal(number, action)
    if arrived:
        raise _ending(arrived[-1])


def _ending(number: int) -> BaseException:
    """What ends the program as this signal wants it."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _take_global_options(command: TyperCommand | TyperGroup) -> None:
    """Let a command, and those below it, take those of _ANYWHERE of which it has no option of its own."""
    own = {name for each in command.params for name in each.opts}
    for setting, every in _ANYWHERE.items():
        names = [name for name in every if name not in own]
        if names:
            words = [f"also_{setting}", *names]  # the first is a name for the parser
            take = functools.partial(_set_global, setting)
            command.params.append(
                TyperOption(param_decls=words, is_flag=True, hidden=True, expose_value=False, callback=take)
            )
    for each in command.commands.values() if isinstance(command, TyperGroup) else ():
        assert isinstance(each, TyperCommand | TyperGroup)
        _take_global_options(each)


def _set_global(setting: str, ctx: Any, param: Any, value: bool | None) -> None:
    if value and ctx.obj is not None:
        setattr(ctx.obj, setting, True)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"vcs_ml.commands.{COMMANDS[name].module}")


def _command_at(args: Sequence[str]) -> int:
    """Where the name of the command stands, behind the global options."""
    start = 0
    while start < len(args) and args[start].startswith("-"):
        start += 2 if args[start] == "-C" else 1
    return start


def _with_optional_values(args: list[str]) -> list[str]:
    """`args` with `--option` made `--option=` where its value may be left out and none follows."""
    start = _command_at(args)
    options = OPTIONAL_VALUES.get(args[start]) if start < len(args) else None
    if not options:
        return args
    stop = args.index("--") if "--" in args else len(args)
    return [
        f"{word}="
        if start < at < stop and word in options and (at + 1 >= stop or args[at + 1].startswith("-"))
        else word
        for at, word in enumerate(args)
    ]


def _report(error: BaseException, args: Sequence[str]) -> int:
    """Say what went wrong and return the exit code for it."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case KeyboardInterrupt() | typer.Abort():
            with contextlib.suppress(BrokenPipeError):
                output.write("interrupted\n", sys.stderr)
                sys.stderr.flush()
            return 130
        case BrokenPipeError():
            return _close_pipes()
        case VmlError():
            return _say("error", error.message, error.hint, error.exit_code)
        case TyperException():
            return _say("error", _sentence(error.format_message()), _help_hint(error, args), error.exit_code)
        case MemoryError():
            return _say(
                "error", "there is not enough memory", "vml config transfer.memory 32MB makes transfers take less", 3
            )
        case OSError() if (refused := faults.as_user_error(error)) is not None:
            return _say("error", refused.message, refused.hint, refused.exit_code)
        case _:
            trace = "".join(traceback.format_exception(error))
            output.write(output.inert(trace, os.environ), sys.stderr)
            shown = " ".join(args[(at := _command_at(args)) : at + 1]) or "vml"
            return _say("error", f"{shown}: this is a bug in vml, please report it", ISSUES, 70)


def _say(label: str, message: str, hint: str | None, code: int) -> int:
    colour = output.wants_colour(os.environ, tty=_isatty(sys.stderr))
    with contextlib.suppress(BrokenPipeError):
        text = output.problem(label, message, hint, colour=colour)
        output.write(output.inert(text, os.environ), sys.stderr)
        sys.stderr.flush()
    return code


def _sentence(message: str) -> str:
    """A message of the parser, as ours begin and end."""
    message = message.rstrip(".")
    return message[:1].lower() + message[1:]


def _help_hint(error: TyperException, args: Sequence[str]) -> str:
    ctx, option = getattr(error, "ctx", None), str(getattr(error, "option_name", ""))
    command = ctx.command_path if ctx else " ".join(("vml", *_command_words(args)))
    if option == "-C":
        return f"it stands before the command: vml -C DIR{command.removeprefix('vml')}"
    if option[1:].isdecimal():
        return f"a value that begins with - stands behind --, and the options before it: {command} -- ..."
    return f"{command} --help"


def _command_words(args: Sequence[str]) -> list[str]:
    """The command that was called, for errors that do not know it: `root`, `stage add`; none where it is unknown."""
    words = list(args[_command_at(args) :][:2])
    if not words or words[0] not in COMMANDS:
        return []
    command = get_command(_module(words[0]).app)
    return words if isinstance(command, TyperGroup) and words[-1] in command.commands else words[:1]


def _close_pipes() -> int:
    """Whoever read our output has gone: end quietly, also when Python flushes at its end."""
    # docs.python.org/3/library/signal.html, "Note on SIGPIPE"
    null = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return 128 + signal.SIGPIPE
