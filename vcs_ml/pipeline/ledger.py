"""The ledger of a run: what is measured and recorded, under the worktree's lock, that of several stages at once."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from vcs_ml import fs
from vcs_ml.errors import VmlError
from vcs_ml.progress import Meter
from vcs_ml.store.local import LocalStore
from vcs_ml.workspace import checkout, opening
from vcs_ml.workspace.lock_files import LockFiles
from vcs_ml.workspace.lockfile import OutItem
from vcs_ml.workspace.measure import Gauge
from vcs_ml.workspace.outs import Recording, StageKey
from vcs_ml.workspace.pointer import Pointer
from vcs_ml.workspace.project import Project
from vcs_ml.workspace.saved import Saved

# Seconds for which the worktree's lock, and what stages have made, is held back: as long as a stage that is long.
WINDOW: Final = 0.2
# Free bytes below which a command might fill the disk within that time, so that nothing is held back.
ROOM: Final = 1 << 30


class Ledger:
    """Opened by one thread at a time, for a moment; to be used as a context.

    While it is open, this process holds the worktree's lock, so nobody else records anything, and keeps it for up to
    WINDOW seconds more: so stages that are quicker share one flush. `generation` changes when others may have come
    in between. At the end everything is flushed; after an error, what stages before it have made, too. `lost` is told
    of each stage that could not be recorded, by lock file and name, and why. `waiting` and `check` as in locks.lock.
    """

    def __init__(
        self,
        project: Project,
        store: LocalStore,
        pointers: Mapping[str, Pointer],
        meter: Meter,
        *,
        waiting: Callable[[str], None],
        check: Callable[[], None],
        lost: Callable[[StageKey, VmlError | OSError], None],
    ) -> None:
        self.project, self.store, self.meter = project, store, meter
        self.locks = LockFiles(project)
        self.generation = 0
        self._pointers, self._waiting, self._check, self._lost = pointers, waiting, check, lost
        self._gauge: Gauge | None = None
        self._recording: Recording | None = None
        self._mutex = threading.RLock()
        self._held = ExitStack()
        self._since: float | None = None
        self._after: list[tuple[StageKey, Callable[[], None]]] = []
        self._closer: threading.Thread | None = None
        self._wake = threading.Event()
        self._over = False
        self._error: BaseException | None = None
        self._commands = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._wake.set()
        self.settle()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Have the ledger for the body. A bug in an earlier flush is raised here."""
        with self._mutex:
            self._raise()
            if self._since is None:
                self._acquire()
            yield

    @property
    def gauge(self) -> Gauge:
        """Measures paths, while the ledger is open."""
        assert self._gauge is not None
        return self._gauge

    @property
    def recording(self) -> Recording:
        """Records stages, while the ledger is open."""
        assert self._recording is not None
        return self._recording

    def after_flush(self, action: Callable[[], None]) -> None:
        """Do something for the stage that was recorded last, once that is durable."""
        self._after.append((self.recording.latest, action))

    def settle(self) -> None:
        """Write everything, and let others in."""
        with self._mutex:
            if self._since is not None:
                self._release()
            self._raise()

    def flush(self) -> None:
        """Write everything, while the ledger is open, and go on."""
        after, self._after = self._after, []
        lost = self.recording.flush_each()
        for key, action in after:
            if key not in lost:
                try:
                    action()
                except (VmlError, OSError) as error:
                    lost[key] = error
        for key, why in lost.items():
            self._lost(key, why)

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """While a command runs, in the body: others are let in after WINDOW."""
        if self._closer is None:
            self._closer = threading.Thread(target=self._close_in_time, daemon=True)
            self._closer.start()
        self._wake.set()
        with self._mutex:
            self._commands += 1
            self.forget()
            if self._since is not None and self.recording.pending and self._is_short_of_room():
                self.flush()
        try:
            yield
        finally:
            with self._mutex:
                self._commands -= 1
                self.forget()

    def _is_short_of_room(self) -> bool:
        disk = os.statvfs(self.project.root)
        return disk.f_bavail * disk.f_frsize < ROOM

    def forget(self) -> None:
        """The workspace changes: what was measured may be so no more."""
        if self._gauge is not None:
            self._gauge.directories = None if self._commands else {}

    def restore(self, outs: Mapping[str, OutItem], names: tuple[str, str]) -> list[Saved]:
        """Write outputs, which the store has, into the workspace, while the ledger is open; what they replaced.

        `names` are the lock file and the stage. Raises MissingObject, CorruptError, UserError.
        """
        self.flush()  # a checkout has a stat index of its own
        source, name = names
        stored = [Pointer(path, *each.item, {}, name, source) for path, each in outs.items() if each.flags.cache]
        wanted = [(each, "") for each in stored]
        done = checkout.checkout(self.project, self.store, wanted, force=True, meter=self.meter) if wanted else None
        for path, each in outs.items():
            if not each.flags.cache:  # not by a checkout, which would take it away where no pointer names it
                self._write(path, each)
        self.gauge.refresh()
        self.forget()
        return done.saved if done else []

    def _write(self, path: str, each: OutItem) -> None:
        self.project.refuse_link_above(path)
        target = self.project.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        raw = self.store.read(each.oid)
        fs.write_atomic(target, raw, scratch=self.project.tmp_dir)
        if each.kind == "executable":
            target.chmod(target.stat().st_mode | 0o111)

    def _acquire(self) -> None:
        self._held.enter_context(opening.changing(self.project, self._waiting, check=self._check))
        self._since = time.monotonic()
        self.generation += 1
        if self._gauge is None:
            self._gauge = Gauge(self.project, self.store, self._pointers, self.meter)
            self._recording = Recording(self.project, self.store, self._gauge, self.locks, self.meter)
        else:
            self._gauge.refresh()
            for source in self.locks.changed():
                self.recording.learn(source)
        self.forget()
        self._wake.set()

    def _release(self) -> None:
        try:
            self.flush()
        finally:
            self._since = None
            self._held.close()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _close_in_time(self) -> None:
        while not self._over:
            self._wake.wait()
            self._wake.clear()
            while (since := self._since) is not None and not self._over:
                time.sleep(max(since + WINDOW - time.monotonic(), 0))
                with self._mutex:
                    if self._since is not None and time.monotonic() >= self._since + WINDOW:
                        try:
                            self._release()
                        except BaseException as error:  # raised where the ledger is opened next
                            self._error = error
