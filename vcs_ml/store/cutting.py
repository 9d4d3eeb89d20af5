"""Large blobs on their way out: cut into chunks, of which those travel that the remote lacks, then their recipes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from vcs_ml.errors import CorruptError
from vcs_ml.hashing import SHA256
from vcs_ml.progress import Meter
from vcs_ml.store import chunk, objects, pack, recipe, threads
from vcs_ml.store.local import REMEDY, LocalStore
from vcs_ml.store.objects import ObjectId
from vcs_ml.store.pack import Builder, Pack
from vcs_ml.store.recipe import Recipe
from vcs_ml.store.remote import Remote
from vcs_ml.store.transfer import A_JOB, Need

_RUN = 4 << 20  # bytes of neighbouring chunks that one thread takes, and one pack gets
_MOST = 8  # threads: with more, the last packs would be small
_RECIPES = 4 << 20  # bytes of recipes that wait for chunks
_TARGET = 16 << 20  # bytes of a pack: many small ones keep the line busy, and a kill costs less
_A_THREAD = _TARGET + _RUN + 3 * chunk.MAXIMUM  # bytes that one holds where packs are held in memory


_Packed = tuple[list[ObjectId], list[int], int]  # chunks, their lengths, bytes of those that were sent


class Sent(NamedTuple):
    """Bytes of files that were sent, and those of them that were there already."""

    size: int
    deduped: int


def send(
    store: LocalStore,
    remote: Remote,
    needs: Sequence[Need],
    packs: list[Pack],
    *,
    doomed: Collection[bytes],
    jobs: int,
    meter: Meter,
) -> Iterator[Sent]:
    """Send large blobs; packs that are finished and that no index names yet are appended to `packs`, recipes last.

    A file is read once: this thread cuts it and hashes the whole, up to `jobs` others hash, compress and write the
    chunks. Chunks in `doomed` packs count as absent. Raises CorruptError for a file that is not what its id says; its
    recipe is not sent then.
    """
    if not needs:
        return
    if remote.backend.gathers:
        jobs = max(jobs * A_JOB // _A_THREAD, 1)
    outbox = _Outbox(store, remote, packs, doomed=doomed, threads=min(jobs, _MOST), meter=meter)
    try:
        for need in needs:
            yield from _send_file(store, outbox, need)
            meter.advance(1, 0)
            if outbox.waiting >= _RECIPES:
                outbox.close()
        outbox.close()
        outbox.end()
        yield outbox.sent()
    except BaseException as error:
        outbox.abort(error)
        raise


def _send_file(store: LocalStore, outbox: _Outbox, need: Need) -> Iterator[Sent]:
    place = store.locate(need.oid)
    if not isinstance(place, Path):
        raise CorruptError(f"{need.path}: a pack of the store holds it, though it is large", hint=REMEDY)
    hasher = store.algorithm.new()
    made = Recipe([], [])
    with place.open("rb", buffering=0) as file:
        run = outbox.run()
        for piece in chunk.cut(file.fileno()):
            hasher.update(piece)
            run.add(piece)
            if run.used >= _RUN:
                outbox.put(run, made)
                run = outbox.run()
                yield outbox.sent()
        outbox.put(run, made)
        outbox.drain()
    if hasher.digest() != need.oid[:-1] or 0 <= need.size != made.size:
        what = objects.describe(need.oid, store.algorithm)
        raise CorruptError(f"{need.path}: damaged object {what}", hint=REMEDY)
    outbox.keep(objects.recipe(need.oid), recipe.encode(made))


class _Run:
    """Neighbouring chunks, copied into memory that is used again and again."""

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(_RUN + chunk.MAXIMUM))
        self.pieces: list[memoryview] = []
        self.used = 0

    def add(self, piece: memoryview) -> None:
        """One more chunk, while less than _RUN is used."""
        place = self._memory[self.used : self.used + len(piece)]
        place[:] = piece
        self.pieces.append(place)
        self.used += len(piece)

    def clear(self) -> None:
        """Make room again."""
        self.pieces, self.used = [], 0


class _Outbox:
    """Threads that pack chunks, each of those once that are not over there, and the recipes that wait for them.

    `waiting` are the bytes of these.
    """

    def __init__(
        self,
        store: LocalStore,
        remote: Remote,
        packs: list[Pack],
        *,
        doomed: Collection[bytes],
        threads: int,
        meter: Meter,
    ) -> None:
        self._store, self._remote, self._packs, self._doomed, self._meter = store, remote, packs, doomed, meter
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._pending: deque[tuple[Future[_Packed], Recipe]] = deque()
        self._lock = threading.Lock()
        self._seen: set[ObjectId] = set()
        self._runs: list[_Run] = []  # to be filled again
        self._builders: list[Builder] = []
        self._idle: list[Builder] = []  # the last one back is taken first, so that little goes into few packs
        self._recipes: list[tuple[ObjectId, bytes]] = []
        self.waiting = self._fresh = self._size = 0

    def run(self) -> _Run:
        """An empty one, to be filled and put."""
        return self._runs.pop() if self._runs else _Run()

    def put(self, run: _Run, made: Recipe) -> None:
        """Send these chunks and add them to the recipe, sooner or later; waits while much is under way."""
        self._pending.append((self._pool.submit(self._pack, run), made))
        while len(self._pending) > self._threads + 1:
            self._take()

    def drain(self) -> None:
        """Wait until all that was put is packed."""
        while self._pending:
            self._take()

    def _take(self) -> None:
        future, made = self._pending.popleft()
        oids, lengths, fresh = future.result()
        made.chunks.extend(oids)
        made.lengths.extend(lengths)
        self._fresh += fresh
        self._size += sum(lengths)
        self._meter.advance(0, sum(lengths))

    def _pack(self, run: _Run) -> _Packed:
        pieces = run.pieces
        oids = [objects.chunk(SHA256.digest(piece)) for piece in pieces]
        with self._lock:
            fresh = [(oid, piece) for oid, piece in zip(oids, pieces, strict=True) if self._claim(oid)]
        if fresh:
            builder = self._builder()
            for oid, piece in fresh:
                builder.add(oid, piece)
            with self._lock:
                self._idle.append(builder)
        run.clear()
        self._runs.append(run)
        return oids, [len(piece) for piece in pieces], sum(len(piece) for _, piece in fresh)

    def _claim(self, oid: ObjectId) -> bool:
        """Whether the caller has to send a chunk: it is not over there, and nobody else sends it."""
        if oid in self._seen:
            return False
        self._seen.add(oid)
        return self._remote.find(oid, without=self._doomed) is None

    def _builder(self) -> Builder:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            self._builders.append(self._new_builder(_TARGET))
            return self._builders[-1]

    def _new_builder(self, target: int) -> Builder:
        return Builder(self._remote.backend, self._store.algorithm, zstd=True, target=target, packs=self._packs)

    def keep(self, oid: ObjectId, data: bytes) -> None:
        """Send this recipe when the chunks of it, which were all put, have arrived."""
        self._recipes.append((oid, data))
        self.waiting += len(data)

    def sent(self) -> Sent:
        """What was packed since it was asked last."""
        sent = Sent(self._size, self._size - self._fresh)
        self._fresh = self._size = 0
        return sent

    def close(self) -> None:
        """Finish all packs, recipes last."""
        self.drain()
        for _ in self._pool.map(Builder.finish, self._builders):
            pass
        meta = self._new_builder(pack.TARGET)
        self._builders, self._idle = [meta], []
        for oid, data in self._recipes:
            meta.add(oid, data)
        meta.finish()
        for oid, data in self._recipes:
            self._remote.keep_recipe(oid, data)
        self._builders, self._recipes, self.waiting = [], [], 0

    def end(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def abort(self, error: BaseException) -> None:
        """Stop because of an error, and forget what is not finished; but not what a thread still works on."""
        if threads.stop(self._pool, error):
            for builder in self._builders:
                builder.abort()
