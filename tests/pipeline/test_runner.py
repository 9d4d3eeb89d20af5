"""Commands of stages: shells, output, logs, timeouts, retries, and that nothing of them is left running."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcs_ml.errors import UserError
from vcs_ml.pipeline import runner
from vcs_ml.pipeline.groups import Groups
from vcs_ml.pipeline.runner import Result, failure, reason
from vcs_ml.pipeline.transcript import Transcript, log_name

Run = Callable[..., Result]


class Room:
    """A directory in which stages run, what they showed and what their logs hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown = io.BytesIO()
        self._turn = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._turn:
            self.shown.write(data)

    def run(self, *commands: str, name: str = "train", **options: Any) -> Result:
        options = {"directory": self.path, "root": self.path, "env": os.environ, "write": self.write} | options
        with contextlib.ExitStack() as stack:
            groups = options.pop("groups", None) or stack.enter_context(Groups())
            return runner.run(name, commands, log=self.log(name), groups=groups, **options)

    def log(self, name: str = "train") -> Path:
        return self.path / "logs" / "1" / log_name(name)

    def pid(self, name: str) -> int:
        """The pid that a command wrote into a file."""
        wait_for(lambda: (self.path / name).exists() and (self.path / name).read_text().endswith("\n"))
        return int((self.path / name).read_text())

    def family(self) -> list[str]:
        """Those of FAMILY that run."""
        return [name for name in PIDS if (self.path / name).exists() and alive(self.pid(name))]


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.005)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.fixture(params=["pidfd", "no pidfd"])
def any_room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, room: Room) -> Room:
    """The same with and without the help of the kernel in waiting for a process."""
    if request.param == "no pidfd":
        monkeypatch.delattr(os, "pidfd_open")
    return room


def test_a_command_is_one_script(any_room: Room) -> None:
    (any_room.path / "sub").mkdir()
    result = any_room.run(
        "X=5\ncd sub\necho $X $VML_STAGE > out\ncat >> out <<END\nhere $VML_ROOT\nEND\nif true; then\n  cat >> out\nfi"
    )
    assert (result.code, result.failed, result.tries, result.timed_out) == (0, None, 1, False)
    assert (any_room.path / "sub/out").read_text() == f"5 train\nhere {any_room.path}\n"


def test_a_script_stops_at_the_first_error(room: Room) -> None:
    result = room.run("echo before\nfalse\necho after")
    assert (result.code, result.failed) == (1, 0)
    assert room.log().read_text() == "before\n"


def test_commands_have_a_shell_each_and_stop_at_the_first_that_fails(room: Room) -> None:
    result = room.run("X=5; cd /; echo one", "echo two $X; pwd; exit 7", "echo three")
    assert (result.code, result.failed, result.signal) == (7, 1, None)
    assert room.log().read_text() == f"one\ntwo\n{room.path}\n"
    assert reason(result, ["a", "b", "c"]) == "command 2 of 3: exit code 7"


def test_environment(room: Room) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "", "MINE": "\udcff"}
    room.run("env", env=env)
    lines = room.log().read_bytes().splitlines()
    assert {b"VML_STAGE=train", b"PYTHONUNBUFFERED=", b"MINE=\xff"} <= set(lines)
    assert not any(line.startswith(b"HOME=") for line in lines)


def test_bash(room: Room) -> None:
    assert room.run("a=(1 2 3)\nfalse | true\necho ${a[1]} > out", shell="bash").code == 0
    assert (room.path / "out").read_text() == "2\n"
    assert room.run("a=(1 2)", shell="sh").code == 2


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("size", [131_071, 131_072, 400_000])
def test_scripts_of_any_length(room: Room, shell: str, size: int) -> None:
    end = "\ncat\nprintf %s $0 >&2\nfalse\necho never"
    script = "cat > out <<'END'\n" + "x" * 70 + "\nEND\n: "
    script += "y" * (size - len(script) - len(end)) + end
    assert len(script) == size
    assert room.run(script, shell=shell).code == 1
    assert (room.path / "out").read_text() == "x" * 70 + "\n"
    assert "never" not in room.log().read_text()


def test_a_command_that_begins_with_a_dash_is_no_option(room: Room) -> None:
    assert room.run("-c true").code == 127


def test_what_cannot_be_started(room: Room) -> None:
    with pytest.raises(UserError, match="stage train: there is no directory"):
        room.run("true", directory=room.path / "none")
    with pytest.raises(UserError, match="stage train: bash cannot be started: No such file"):
        room.run("true", shell="bash", env={"PATH": str(room.path)})
    for command in ("echo \0", "echo \ud800"):
        with pytest.raises(UserError, match="there is a NUL, or a part of a character"):
            room.run(command)
    with pytest.raises(UserError, match="too long") as error:
        room.run("true", env={"X": "x" * 200_000})
    assert error.value.hint == "the environment is too large: env | wc -c"


def test_reasons(room: Room) -> None:
    (room.path / "plain").write_text("")
    script = f"{room.path}/plain --x"
    assert reason(room.run("nosuch"), ["nosuch"]) == "exit code 127, command not found"
    result = room.run(script)
    assert reason(result, [script]) == "exit code 126, cannot be executed"
    error = failure("train", result, [script + "\nmore"], room.log())
    assert error.message == f"stage train failed (exit code 126, cannot be executed): {script} ..."
    assert error.hint == f"is it executable (chmod +x), and for this machine?; its output is in {room.log()}"
    killed = "killed by SIGKILL, perhaps out of memory"
    assert reason(room.run("kill -KILL $$"), ["x"]) == killed
    # a shell that says what became of its child
    assert reason(room.run("sh -c 'kill -KILL $$'\ntrue"), ["x"]) == killed
    assert reason(room.run("kill -SEGV $$"), ["x"]) == "killed by SIGSEGV"
    assert reason(room.run("exit 255"), ["x"]) == "exit code 255"
    assert "give it more time" in str(failure("a", room.run("sleep 60", timeout=0.05), ["x"], room.log()).hint)


def test_output_is_kept_byte_for_byte(any_room: Room) -> None:
    raw = bytes(range(256)) * 40_000
    (any_room.path / "raw").write_bytes(raw)
    any_room.run("cat raw; printf end >&2")
    assert any_room.log().read_bytes() == raw + b"end"
    assert any_room.shown.getvalue() == raw + b"end\n"


def test_a_partial_line_is_seen_while_the_command_runs(room: Room) -> None:
    def write(data: bytes) -> None:
        room.shown.write(data)
        if room.shown.getvalue() == b"50":
            (room.path / "go").touch()

    result = room.run("printf 50; until [ -e go ]; do sleep 0.01; done; printf ' done'", write=write, timeout=60)
    assert result.code == 0
    assert room.shown.getvalue() == b"50 done\n"


def test_python_does_not_hold_its_output_back(room: Room) -> None:
    def write(data: bytes) -> None:
        if b"epoch" in data:
            (room.path / "go").touch()

    script = "import os, time\nprint('epoch')\nwhile not os.path.exists('go'): time.sleep(0.01)"
    assert room.run(f'{sys.executable} -c "{script}"', write=write, timeout=60).code == 0


def test_stages_side_by_side_keep_their_lines(room: Room) -> None:
    script = "i=0; while [ $i -lt 500 ]; do echo $VML_STAGE $i; printf half >&2; i=$((i+1)); echo ' line'; done"
    names = ["a", "b@1", "sub/vml.yaml:c"]
    with Groups() as groups:
        threads = [
            threading.Thread(target=room.run, args=(script,), kwargs={"name": name, "prefix": True, "groups": groups})
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = room.shown.getvalue().decode().splitlines()
    assert len(lines) == 3000
    for name in names:
        mine = [line.removeprefix(f"{name}> ") for line in lines if line.startswith(f"{name}> ")]
        assert mine == [line for i in range(500) for line in (f"{name} {i}", "half line")]
        assert room.log(name).read_text().splitlines() == mine


@given(st.lists(st.lists(st.binary(max_size=9).map(lambda raw: raw.replace(b"\r", b"\n")), max_size=9), max_size=3))
def test_prefixes_lose_nothing(tmp_path_factory: pytest.TempPathFactory, stages: list[list[bytes]]) -> None:
    path = tmp_path_factory.mktemp("t")
    shown: list[bytes] = []
    open_ = [Transcript(path / str(i), shown.append, f"{i}> ") for i in range(len(stages))]
    for turn in range(9):
        for transcript, chunks in zip(open_, stages, strict=True):
            if turn < len(chunks):
                transcript.add(chunks[turn])
    for transcript in open_:
        transcript.close()
    assert all(piece.endswith(b"\n") for piece in shown)
    lines = b"".join(shown).split(b"\n")[:-1]
    for i, chunks in enumerate(stages):
        raw = b"".join(chunks)
        assert (path / str(i)).read_bytes() == raw
        mine = [line[3:] for line in lines if line.startswith(b"%d> " % i)]
        assert mine == (raw.removesuffix(b"\n").split(b"\n") if raw else [])


def test_of_a_progress_bar_the_last_state_is_seen(room: Room) -> None:
    room.run(r"printf '10%%\r20%%\rdone\r\nnext\n'", prefix=True)
    assert room.shown.getvalue() == b"train> done\ntrain> next\n"
    assert room.log().read_bytes() == b"10%\r20%\rdone\r\nnext\n"


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    shown: list[bytes] = []
    with contextlib.closing(Transcript(tmp_path / "log", shown.append, "a> ")) as transcript:
        for _ in range(100):
            transcript.add(b"\rbar" + b"x" * 65_000)
        assert not shown
        for _ in range(100):
            transcript.add(b"y" * 65_000)
        assert shown
    assert sum(piece.count(b"y") for piece in shown) == 6_500_000
    assert all(len(piece) < 1_200_000 for piece in shown)


@given(st.lists(st.text(st.characters(), min_size=1, max_size=300), min_size=2, max_size=2, unique=True))
def test_each_stage_has_a_log_of_its_own(names: list[str]) -> None:
    files = [log_name(name) for name in names]
    assert files[0] != files[1]
    for file in files:
        assert re.fullmatch(r"[^/\0.][^/\0]*\.log", file)
        assert len(os.fsencode(file)) <= 250


def test_log_names() -> None:
    assert log_name("train@lr0.1-seed3") == "train@lr0.1-seed3.log"
    assert log_name("sub/vml.yaml:train") == "sub%2Fvml.yaml%3Atrain.log"
    assert log_name("..") == "%2E..log"
    assert log_name("x" * 300) != log_name("x" * 301)


def test_a_log_is_not_written_through_a_link(room: Room) -> None:
    room.log().parent.mkdir(parents=True)
    (room.path / "precious").write_text("mine")
    room.log().symlink_to(room.path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        room.run("echo x")
    assert (room.path / "precious").read_text() == "mine"


FAMILY = """
echo $$ > shell.pid
sleep 1000 & echo $! > child.pid
sh -c 'echo $$ > grandchild.pid; sleep 1000; true' &
timeout 1000 sh -c 'echo $$ > own-group.pid; sleep 1000; true' &
until [ -s grandchild.pid ] && [ -s own-group.pid ]; do sleep 0.01; done
"""
PIDS = ("shell.pid", "child.pid", "grandchild.pid", "own-group.pid")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 0.3)
    monkeypatch.setattr(runner, "LINGER", 0.3)


def test_a_timeout_ends_all_of_a_command(any_room: Room) -> None:
    result = any_room.run(FAMILY + "sleep 1000", timeout=1)
    assert (result.timed_out, result.failed) == (True, 0)
    assert reason(result, ["x"]) == "timed out"
    assert any_room.pid("shell.pid")
    assert not any_room.family()


def test_who_does_not_listen_is_killed(any_room: Room, short: None) -> None:
    result = any_room.run("trap '' TERM\n" + FAMILY + "while :; do sleep 1000 || :; done", timeout=1)
    assert (result.timed_out, result.signal) == (True, signal.SIGKILL)
    assert any_room.pid("shell.pid")
    assert not any_room.family()


def test_a_command_that_is_told_to_end_may_still_write(any_room: Room) -> None:
    script = "trap 'head -c 500000 /dev/zero; echo saved > checkpoint; exit 0' TERM\nwhile :; do sleep 0.01 || :; done"
    result = any_room.run(script, "touch never", timeout=0.2)
    assert (result.code, result.timed_out, result.failed) == (0, True, 0)
    assert not (any_room.path / "never").exists()
    assert (any_room.path / "checkpoint").exists()
    assert any_room.log().stat().st_size >= 500_000


def test_retries(room: Room) -> None:
    script = "echo try >> tries; [ $(wc -l < tries) = 3 ]"
    result = room.run("printf first", script, retries=5, prefix=True)
    assert (result.code, result.tries, result.failed) == (0, 3, None)
    assert room.log().read_text().splitlines() == [
        "first", "train: command 2 of 2: exit code 1; try 2 of 6",
        "first", "train: command 2 of 2: exit code 1; try 3 of 6",
        "first",
    ]  # fmt: skip
    assert room.shown.getvalue().startswith(b"train> first\ntrain: command 2")


def test_a_timeout_of_a_year(room: Room) -> None:
    assert room.run("sleep 0.05", timeout=365 * 86400.0).code == 0


def test_retries_end(room: Room) -> None:
    result = room.run("sleep 60", retries=1, timeout=0.1)
    assert (result.tries, result.timed_out) == (2, True)
    assert room.log().read_text() == "train: timed out; try 2 of 2\n"
    assert room.run("exit 3", retries=2)._replace(seconds=0) == Result(3, None, False, 0, 3, 0)


@pytest.mark.parametrize("where", ["", "> /dev/null 2>&1"])
def test_what_stays_in_the_background_is_stopped(any_room: Room, short: None, where: str) -> None:
    result = any_room.run(f"sleep 1000 {where} & echo $! > child.pid; echo done")
    assert (result.code, result.failed) == (0, None)
    assert not alive(any_room.pid("child.pid"))
    assert "what it left running in the background is stopped now" in any_room.log().read_text()


def test_what_ends_soon_in_the_background_may(any_room: Room) -> None:
    assert any_room.run("(sleep 0.2; echo late) & (sleep 0.2; touch file) > /dev/null 2>&1 &").code == 0
    assert any_room.log().read_text() == "late\n"
    assert (any_room.path / "file").exists()


def test_a_daemon_with_our_pipe_does_not_hold_us(any_room: Room, short: None) -> None:
    try:
        assert (
            any_room.run("setsid sh -c 'echo $$ > daemon.pid; sleep 1000' & until [ -s daemon.pid ]; do :; done").code
            == 0
        )
        assert alive(any_room.pid("daemon.pid"))
    finally:
        os.killpg(any_room.pid("daemon.pid"), signal.SIGKILL)


def test_a_command_that_closes_its_output_is_waited_for(any_room: Room) -> None:
    result = any_room.run("exec > /dev/null 2>&1; sleep 0.2; touch file; exit 4")
    assert result.code == 4
    assert (any_room.path / "file").exists()


def test_nobody_reads_what_it_shows(room: Room) -> None:
    def write(data: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        room.run(FAMILY + "echo x; sleep 1000", write=write)
    wait_for(lambda: not room.family())


DRIVER = """
import os, sys, time
from pathlib import Path
from vcs_ml.pipeline import runner, scheduler
from vcs_ml.pipeline.groups import Groups
from vcs_ml.pipeline.scheduler import Outcome

top, slots, script = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
runner.PATIENCE = float(sys.argv[4])

def work(name):
    if script == "python":
        (top / "python.pid").write_text(f"{os.getpid()}\\n")
        time.sleep(1000)
    (top / name).mkdir()
    result = runner.run(
        name, [script], directory=top / name, root=top, env=os.environ, log=top / f"{name}.log",
        write=lambda data: None, groups=groups,
    )
    return Outcome("failed" if result.code else "ran")

try:
    with Groups() as groups:
        scheduler.run({name: () for name in "abc"}, work, groups=groups, slots=slots)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a program that runs stages in directories a, b and c, and end it in any case."""
    started = []

    def start(script: str, *, slots: int, patience: float = 60, ignore: bool = False) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", textwrap.dedent(DRIVER), str(tmp_path), str(slots), script, str(patience)]
        if ignore:
            argv = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *argv]
        started.append(subprocess.Popen(argv, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def directories(slots: int) -> list[str]:
    return list("abc")[:slots]


def family(room: Room, slots: int) -> list[int]:
    """The pids of all processes of the stages that run at a time."""
    for name in directories(slots):
        wait_for((room.path / name / "ready").exists)
    return [room.pid(f"{name}/{pid}") for name in directories(slots) for pid in PIDS]


def gone(process: subprocess.Popen[bytes], pids: list[int]) -> None:
    process.communicate(timeout=60)
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupt_ends_all_stages(
    room: Room, drive: Callable[..., subprocess.Popen[bytes]], slots: int, number: int, code: int
) -> None:
    trap = "trap 'echo > told; exit 0' TERM\n"
    process = drive(trap + FAMILY + "touch ready\nwhile :; do sleep 0.01 || :; done", slots=slots)
    pids = family(room, slots)
    process.send_signal(number)
    gone(process, pids)
    assert process.returncode == code
    assert [name for name in "abc" if (room.path / name / "told").exists()] == directories(slots)
    assert not (room.path / "c/ready").exists() or slots == 3


STUBBORN = "trap 'echo > told' TERM\n" + FAMILY + "touch ready\nwhile :; do sleep 0.01 || :; done"


@pytest.mark.parametrize("slots", [1, 3])
def test_stubborn_commands_are_killed_after_a_while(
    room: Room, drive: Callable[..., subprocess.Popen[bytes]], slots: int
) -> None:
    process = drive(STUBBORN, slots=slots, patience=0.5)
    pids = family(room, slots)
    process.send_signal(signal.SIGINT)
    gone(process, pids)
    assert process.returncode == 130
    assert (room.path / "a/told").exists()


@pytest.mark.parametrize("slots", [1, 3])
def test_a_second_interrupt_kills_at_once(
    room: Room, drive: Callable[..., subprocess.Popen[bytes]], slots: int
) -> None:
    process = drive(STUBBORN, slots=slots)
    pids = family(room, slots)
    process.send_signal(signal.SIGINT)
    for name in directories(slots):
        wait_for((room.path / name / "told").exists)
    shells = [room.pid(f"{name}/shell.pid") for name in directories(slots)]
    assert all(map(alive, shells))
    time.sleep(0.06)  # by then the second counts: signals within 50 ms are one
    process.send_signal(signal.SIGINT)
    gone(process, pids)
    assert process.returncode == 130


@pytest.mark.parametrize("slots", [1, 3])
def test_nothing_outlives_a_program_that_is_killed(
    room: Room, drive: Callable[..., subprocess.Popen[bytes]], slots: int
) -> None:
    process = drive(STUBBORN, slots=slots)
    pids = family(room, slots)
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not [pid for pid in pids if alive(pid)])


def test_work_in_other_threads_is_left_at_the_second_interrupt(
    room: Room, drive: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = drive("python", slots=3)
    room.pid("python.pid")

    def ended() -> bool:
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    wait_for(ended)
    # one more may come when Python is about to exit
    assert process.returncode in (130, -signal.SIGINT)


def test_work_in_the_calling_thread_is_left_at_the_first_interrupt(
    room: Room, drive: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = drive("python", slots=1)
    room.pid("python.pid")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_an_interrupt_that_is_ignored_stays_ignored(room: Room, drive: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = drive("touch ready; until [ -e go ]; do sleep 0.01; done", slots=1, ignore=True)
    wait_for((room.path / "a/ready").exists)
    process.send_signal(signal.SIGINT)
    for name in "abc":
        wait_for((room.path / name / "ready").exists)
        (room.path / name / "go").touch()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_signals_and_descriptors_are_given_back(room: Room) -> None:
    def state() -> tuple[object, ...]:
        return (*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)), os.listdir("/proc/self/fd"))

    before = state()
    room.run("true", "false", retries=2, timeout=60)
    with pytest.raises(UserError), Groups() as groups:
        room.run("true", groups=groups)
        room.run("\0", groups=groups)
    assert state() == before


def test_a_program_that_was_asked_to_end_starts_nothing(room: Room) -> None:
    with Groups() as groups:
        groups.stop()
        with pytest.raises(SystemExit):
            room.run("touch file", groups=groups)
    assert not (room.path / "file").exists()


def test_asked_twice_a_command_is_killed_at_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 60)

    def write(data: bytes) -> None:
        groups.stop()  # for "ready", and then for "told"

    stubborn = "trap 'echo told' TERM\n" + FAMILY + "echo ready\nwhile :; do sleep 0.01 || :; done"
    ended = threading.Event()

    def run() -> None:
        with pytest.raises(SystemExit):
            room.run(stubborn, groups=groups, write=write)
        ended.set()

    with Groups() as groups:
        thread = threading.Thread(target=run)
        thread.start()
        assert ended.wait(30)
        assert not room.family()
        thread.join()


def test_the_guard_may_be_killed(room: Room) -> None:
    with Groups() as groups:
        room.run("true", groups=groups)
        assert groups._guard is not None
        groups._guard.kill()
        groups._guard.wait()
        assert room.run("echo $0", groups=groups).code == 0


def test_ten_megabytes_through_prefixes(room: Room) -> None:
    room.run("yes 0123456789abcdef | head -c 10000007", prefix=True)
    raw = room.log().read_bytes()
    assert len(raw) == 10_000_007
    shown = b"".join(line.removeprefix(b"train> ") for line in room.shown.getvalue().splitlines(keepends=True))
    assert hashlib.sha256(shown.removesuffix(b"\n")).digest() == hashlib.sha256(raw).digest()
