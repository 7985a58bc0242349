"""The one thread that writes: it commits what many coroutines asked for with one sync.

Coroutines submit an operation and await its future. The thread takes everything that waits, runs
it in one transaction, commits, and only then resolves the futures: with one call into each loop.
Nothing waits on purpose; while a sync is under way the next batch gathers by itself.

When an operation or the commit fails, the batch is rolled back and its operations run again, one
transaction each, so that only the culprit fails. Faults of the medium become `StoreError`; other
exceptions (a fault of ours) reach the caller as they are. A connection that a fault has made
doubtful is opened anew for the next operation.

Owns the writing connection. Never touches files beside it, and never runs on the loop.
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

from relay.store.interface import StoreError, StoreUnavailable
from relay.store.sqlite.errors import breaks_connection, translate

A = TypeVar("A")
R = TypeVar("R")

MAX_BATCH = 500

# An operation serves many requests of its kind at once: one result for each, in order.
Operation = Callable[[sqlite3.Connection, Sequence[A]], Sequence[R]]


@dataclass(frozen=True, slots=True, eq=False)
class _Request(Generic[A, R]):
    operation: Operation[A, R]
    argument: A
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[R]


_Resolution = tuple[asyncio.Future[Any], object, BaseException | None]


class Writer:
    """Runs operations on the connection that `connect` opens, until `close`."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        data_dir: Path,
        *,
        on_commit: Callable[[float, int], None],
        on_error: Callable[[StoreError], None],
    ) -> None:
        """`on_commit` (seconds, operations) and `on_error` are called on the writer's thread."""
        self._connect = connect
        self._data_dir = data_dir
        self._on_commit = on_commit
        self._on_error = on_error
        self._connection: sqlite3.Connection | None = None
        self._waiting: queue.SimpleQueue[_Request[Any, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="relay-store-writer", daemon=True)
        self._closed = False

    def start(self) -> None:
        self._thread.start()

    def submit(self, operation: Operation[A, R], argument: A) -> "asyncio.Future[R]":
        """Ask for `operation`; the future resolves when its effect is on stable storage."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.put(_Request(operation, argument, loop, future))
        return future

    def close(self) -> None:
        """Finish what was submitted and end the thread. Blocks; safe to call twice."""
        if not self._closed:
            self._closed = True
            if self._thread.ident is not None:
                self._waiting.put(None)
                self._thread.join()

    def _run(self) -> None:
        open_for_work = True
        while open_for_work:
            batch: list[_Request[Any, Any]] = []
            request = self._waiting.get()
            while True:
                if request is None:
                    open_for_work = False
                    break
                # A caller that went away before its turn asks for nothing any more.
                if not request.future.cancelled():
                    batch.append(request)
                if len(batch) >= MAX_BATCH:
                    break
                try:
                    request = self._waiting.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._serve(batch)
        self._disconnect()

    def _serve(self, batch: list[_Request[Any, Any]]) -> None:
        try:
            resolved = self._commit(batch)
        except Exception as error:  # a task root: every failure reaches its caller
            if len(batch) == 1:
                resolved = [(batch[0].future, None, self._explain(error))]
            else:
                for request in batch:
                    self._serve([request])
                return
        _resolve(batch, resolved)

    def _commit(self, batch: list[_Request[Any, Any]]) -> list[_Resolution]:
        """Run the batch in one transaction. Raises what went wrong, with nothing changed."""
        started = time.perf_counter()
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
                    (request.future, result, None)
                    for request, result in zip(requests, results, strict=True)
                ]
            connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back(connection, error)
            raise
        self._on_commit(time.perf_counter() - started, len(batch))
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

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, (sqlite3.Error, OSError)):
            error = translate(error, self._data_dir)
        if isinstance(error, StoreError):
            self._on_error(error)
        return error


def _resolve(batch: list[_Request[Any, Any]], resolved: list[_Resolution]) -> None:
    first = batch[0].loop
    loops = {first} if all(r.loop is first for r in batch) else {r.loop for r in batch}
    for loop in loops:
        mine = resolved if len(loops) == 1 else [r for r in resolved if r[0].get_loop() is loop]
        # A loop that was closed meanwhile has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle_futures, mine)


def _settle_futures(resolved: list[_Resolution]) -> None:
    for future, result, error in resolved:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
