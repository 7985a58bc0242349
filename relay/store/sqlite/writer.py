"""The one thread that writes: it commits what many coroutines asked for with one sync.

Coroutines submit an operation and await its future. The thread takes everything that waits, runs
it in one transaction, commits, and only then resolves the futures: with one call into each loop.
Nothing waits on purpose; while a sync is under way the next batch gathers by itself.

When an operation or the commit fails, the batch is rolled back and its operations run again, one
transaction each, so that only the culprit fails. Faults of the medium become `StoreError`; other
exceptions (a fault of ours) reach the caller as they are. A connection that a fault has made
doubtful is opened anew for the next operation.

Other processes may write to the same store: a batch takes its turn first (`turn.Turn`) and then
gathers, so that what came in the meantime goes with it. A turn that does not come within
`PATIENCE`, because another process is stopped or its disk hangs, fails all who wait, and who comes
later at once, until it does come.

Owns the writing connection and the turn. Never runs on the loop.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from relay.observe.logging import Logger
from relay.store.interface import StoreError, StoreUnavailable
from relay.store.sqlite.errors import breaks_connection, primary_code, translate
from relay.store.sqlite.turn import TURN, Turn

A = TypeVar("A")
R = TypeVar("R")

MAX_BATCH = 500
PATIENCE = 15.0  # seconds to wait for the turn; a checkpoint on a slow disk may take some

# An operation serves many requests of its kind at once: one result for each, in order.
Operation = Callable[[sqlite3.Connection, Sequence[A]], Sequence[R]]


@dataclass(frozen=True, slots=True, eq=False)
class _Request(Generic[A, R]):
    operation: Operation[A, R]
    argument: A
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[R]
    if_lost: Callable[[R | None], None] | None


_Resolution = tuple[_Request[Any, Any], object, BaseException | None]


class Writer:
    """Runs operations on the connection that `connect` opens, until `close`."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        data_dir: Path,
        *,
        on_commit: Callable[[float, int], None],
        on_error: Callable[[StoreError], None],
        on_full: Callable[[], bool] = lambda: False,
        log: Logger,
        patience: float = PATIENCE,
    ) -> None:
        """`on_commit` (seconds, operations) and `on_error` are called on the writer's thread;
        so is `on_full`, which may make room (and says whether it did): what found none is tried
        again then."""
        self._connect = connect
        self._data_dir = data_dir
        self._on_commit = on_commit
        self._on_error = on_error
        self._on_full = on_full
        self._has_made_room = False
        self._log = log
        self._connection: sqlite3.Connection | None = None
        self._waiting: queue.SimpleQueue[_Request[Any, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="relay-store-writer", daemon=True)
        self._closed = False
        self._patience = patience
        self._turn: Turn | None = None
        self._watch = threading.Thread(
            target=self._watch_turn, name="relay-store-watch", daemon=True
        )
        self._ended = threading.Event()
        self._lock = threading.Lock()
        # Under the lock: who waits for the turn, since when, and what is told to who comes now.
        self._first: _Request[Any, Any] | None = None
        self._since: float | None = None
        self._refusal: StoreUnavailable | None = None

    def start(self) -> None:
        self._thread.start()
        self._watch.start()

    def submit(
        self,
        operation: Operation[A, R],
        argument: A,
        if_lost: Callable[[R | None], None] | None = None,
    ) -> "asyncio.Future[R]":
        """Ask for `operation`; the future resolves when its effect is on stable storage.

        A caller that is cancelled meanwhile may have missed an effect. `if_lost` is then called
        on the loop, with the result, or with None when nothing was done.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        if (refusal := self._refusal) is not None:
            self._tell(self._on_error, refusal)
            raise StoreUnavailable(str(refusal))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.put(_Request(operation, argument, loop, future, if_lost))
        return future

    def end(self) -> None:
        """Take nothing more; what was submitted is still done."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)

    def join(self) -> None:
        """Wait until everything is done and the thread has ended. Blocks; `end` comes first.

        A thread whose turn does not come is left behind: it has nothing to do any more.
        """
        while self._thread.is_alive() and self._refusal is None:
            self._thread.join(0.5)
        self._ended.set()
        if self._watch.ident is not None:
            self._watch.join()

    def _run(self) -> None:
        while (request := self._waiting.get()) is not None:
            if self._take_turn(request):
                try:
                    if batch := self._gather():
                        self._serve(batch)
                finally:
                    self._end_turn()
        self._disconnect()
        if self._turn is not None:
            self._turn.close()

    # Waiting for the turn

    def _take_turn(self, request: _Request[Any, Any]) -> bool:
        """Wait until no other process writes. False when it cannot even be asked for."""
        try:
            if self._turn is None:
                self._turn = Turn(self._data_dir / TURN)
            with self._lock:
                self._first, self._since = request, time.monotonic()
            self._turn.take()
        except OSError as error:
            with self._lock:
                self._first = self._since = None
            self._refuse([request], translate(error, self._data_dir))
            return False
        return True

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.give_up()

    def _gather(self) -> list[_Request[Any, Any]]:
        """The request that the turn was taken for, and all that came since."""
        with self._lock:
            request = self._first
            self._first = self._since = self._refusal = None
        batch: list[_Request[Any, Any]] = []
        while True:
            if request is not None:
                if request.future.cancelled():
                    # Who went away before his turn asks for nothing any more.
                    _resolve([(request, None, None)])
                else:
                    batch.append(request)
            if len(batch) >= MAX_BATCH:
                break
            try:
                request = self._waiting.get_nowait()
            except queue.Empty:
                break
            if request is None:
                self._waiting.put(None)  # the end, and nothing comes behind it
                break
        return batch

    def _watch_turn(self) -> None:
        while not self._ended.wait(self._patience / 10):
            with self._lock:
                if self._since is None or time.monotonic() - self._since < self._patience:
                    continue
                requests = self._withdraw()
                holder = self._turn.holder() if self._turn else "unknown"
                self._refusal = StoreUnavailable(
                    f"Process {holder} keeps all others from writing to {self._data_dir}: it is"
                    " stopped, or its disk does not answer."
                )
            if requests:
                self._refuse(requests, self._refusal)

    def _withdraw(self) -> list[_Request[Any, Any]]:
        """All who wait. Nothing is done for them when the turn comes after all."""
        requests = [self._first] if self._first is not None else []
        self._first = None
        with contextlib.suppress(queue.Empty):
            while (request := self._waiting.get_nowait()) is not None:
                requests.append(request)
            self._waiting.put(None)
        return requests

    def _refuse(self, requests: Sequence[_Request[Any, Any]], error: StoreError) -> None:
        _resolve([(request, None, error) for request in requests])
        for _ in requests:
            self._tell(self._on_error, error)

    def _serve(self, batch: list[_Request[Any, Any]]) -> None:
        started = time.perf_counter()
        try:
            resolved = self._commit(batch)
        except Exception as error:  # a task root: every failure reaches its caller
            if len(batch) > 1 or self._has_made_room:
                self._has_made_room = False
                for request in batch:
                    self._serve([request])
                return
            explained = self._explain(error)
            _resolve([(batch[0], None, explained)])
            if isinstance(explained, StoreError):
                self._tell(self._on_error, explained)
        else:
            _resolve(resolved)
            self._tell(self._on_commit, time.perf_counter() - started, len(batch))

    def _tell(self, listener: Callable[..., None], *facts: object) -> None:
        """A listener that fails must not end the thread: everything would wait for ever."""
        try:
            listener(*facts)
        except Exception:  # a task root
            self._log.exception("a listener of the store failed")

    def _commit(self, batch: list[_Request[Any, Any]]) -> list[_Resolution]:
        """Run the batch in one transaction. Raises what went wrong, with nothing changed."""
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        kinds: dict[Operation[Any, Any], list[_Request[Any, Any]]] = {}
        for request in batch:
            kinds.setdefault(request.operation, []).append(request)
        resolved: list[_Resolution] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for operation, requests in kinds.items():
                results = operation(connection, [request.argument for request in requests])
                resolved += [
                    (request, result, None)
                    for request, result in zip(requests, results, strict=True)
                ]
            connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back(connection, error)
            raise
        return resolved

    def _roll_back(self, connection: sqlite3.Connection, cause: BaseException) -> None:
        try:
            # Some faults (disk full, I/O) have made SQLite roll back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()
        if breaks_connection(cause):
            self._disconnect()
        elif primary_code(cause) == sqlite3.SQLITE_FULL:
            self._has_made_room = self._on_full()
            # Once its log is emptied into the file, the log's own room can be used again.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, (sqlite3.Error, OSError)):
            return translate(error, self._data_dir)
        return error


def _resolve(resolved: list[_Resolution]) -> None:
    """Hand results over to their loops, with one call into each. There is at least one result."""
    first = resolved[0][0].loop
    if all(request.loop is first for request, _, _ in resolved):
        shares = {first: resolved}
    else:
        shares = {}
        for resolution in resolved:
            shares.setdefault(resolution[0].loop, []).append(resolution)
    for loop, share in shares.items():
        # A loop that was closed meanwhile has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set_results, share)


def _set_results(resolved: list[_Resolution]) -> None:
    for request, result, error in resolved:
        if request.future.done():
            if request.if_lost is not None:
                request.if_lost(result)
        elif error is None:
            request.future.set_result(result)
        else:
            request.future.set_exception(error)
