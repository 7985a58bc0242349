"""The one thread that writes: it commits what many coroutines asked for with one sync.

Coroutines submit an operation and await its future. The thread takes everything that waits, runs
it in one transaction, commits, and only then resolves the futures: with one call into each loop.
While a sync is under way the next batch gathers by itself. A request that nobody hurries for (a
peer has its 250 already when a delivery is settled) waits a few milliseconds for one that somebody
does, and goes with it: a commit costs as much CPU as the rows of several messages.

When an operation or the commit fails, the batch is rolled back and its operations run again, one
transaction each, so that only the culprit fails. Faults of the medium become `StoreError`; other
exceptions (a fault of ours) reach the caller as they are.

Other processes may write to the same store: a batch takes its turn first (`turn.Turn`) and then
gathers, so that what came in the meantime goes with it. A turn that does not come within
`PATIENCE`, because another process is stopped or its disk hangs, fails all who wait, and who comes
later at once, until it does come.

Owns the thread, its queue and the turn. Never runs on the loop.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from relay.observe.logging import Logger
from relay.store.bound import Write
from relay.store.interface import StoreError, StoreUnavailable
from relay.store.sqlite.errors import translate
from relay.store.sqlite.requests import Operation, Request, resolve
from relay.store.sqlite.transactions import Transactions
from relay.store.sqlite.turn import TURN, Turn

A = TypeVar("A")
R = TypeVar("R")

MAX_BATCH = 500
LINGER = 0.005  # seconds that an unhurried request waits for company
PATIENCE = 15.0  # seconds to wait for the turn; a checkpoint on a slow disk may take some


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
        self._transactions = Transactions(connect, data_dir, on_full)
        self._data_dir = data_dir
        self._on_commit = on_commit
        self._on_error = on_error
        self._log = log
        self._waiting: queue.SimpleQueue[Request[Any, Any] | None] = queue.SimpleQueue()
        self._unhurried: deque[Request[Any, Any]] = deque()
        self._alarmed: asyncio.AbstractEventLoop | None = None
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
        self._first: Request[Any, Any] | None = None
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
        *,
        unhurried: bool = False,
    ) -> "asyncio.Future[R]":
        """Ask for `operation`; the future resolves when its effect is on stable storage.

        `unhurried` allows for some milliseconds (`LINGER`) more until it does.

        A caller that is cancelled meanwhile may have missed an effect. `if_lost` is then called
        on the loop, with the result, or with None when nothing was done.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        if (refusal := self._refusal) is not None:
            self._tell(self._on_error, refusal)
            raise StoreUnavailable(str(refusal))
        loop = asyncio.get_running_loop()
        request = Request(operation, argument, loop, if_lost)
        if unhurried:
            self._unhurried.append(request)
            if self._alarmed is not loop:
                self._alarmed = loop
                loop.call_later(LINGER, self._hurry)
        else:
            self._waiting.put(request)
        return request.future

    def doing(self, operation: Operation[A, R], *, unhurried: bool = False) -> Write[A, R]:
        """`operation`, to be given what for; see `submit`."""
        return lambda argument: self.submit(operation, argument, unhurried=unhurried)

    def _hurry(self) -> None:
        """No other request came in time for those that wait for one."""
        self._alarmed = None
        with contextlib.suppress(IndexError):  # the thread may just have taken the last one
            self._waiting.put(self._unhurried.popleft())

    def end(self) -> None:
        """Take nothing more; what was submitted is still done."""
        if not self._closed:
            self._closed = True
            while self._unhurried:
                self._hurry()
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
        self._transactions.close()
        if self._turn is not None:
            self._turn.close()

    # Waiting for the turn

    def _take_turn(self, request: Request[Any, Any]) -> bool:
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

    def _gather(self) -> list[Request[Any, Any]]:
        """The request that the turn was taken for, and all that came since."""
        with self._lock:
            request = self._first
            self._first = self._since = self._refusal = None
        batch: list[Request[Any, Any]] = []
        while True:
            if request is not None:
                if request.future.cancelled():
                    # Who went away before his turn asks for nothing any more.
                    resolve([(request, None, None)])
                else:
                    batch.append(request)
            if len(batch) == MAX_BATCH:
                break
            try:
                request = self._next()
            except queue.Empty:
                break
            if request is None:
                self._waiting.put(None)  # the end, and nothing comes behind it
                break
        return batch

    def _next(self) -> Request[Any, Any] | None:
        """The next request that waits; the unhurried first, for they have waited longer. None at
        the end. Raises queue.Empty."""
        try:
            return self._unhurried.popleft()
        except IndexError:
            return self._waiting.get_nowait()

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

    def _withdraw(self) -> list[Request[Any, Any]]:
        """All who wait. Nothing is done for them when the turn comes after all."""
        requests = [self._first] if self._first is not None else []
        self._first = None
        with contextlib.suppress(queue.Empty):
            while (request := self._next()) is not None:
                requests.append(request)
            self._waiting.put(None)
        return requests

    def _refuse(self, requests: Sequence[Request[Any, Any]], error: StoreError) -> None:
        resolve([(request, None, error) for request in requests])
        for _ in requests:
            self._tell(self._on_error, error)

    def _serve(self, batch: list[Request[Any, Any]]) -> None:
        started = time.perf_counter()
        try:
            resolved = self._transactions.commit(batch)
        except Exception as error:  # a task root: every failure reaches its caller
            if len(batch) > 1 or self._transactions.has_made_room:
                self._transactions.has_made_room = False
                for request in batch:
                    self._serve([request])
                return
            explained = self._transactions.explain(error)
            resolve([(batch[0], None, explained)])
            if isinstance(explained, StoreError):
                self._tell(self._on_error, explained)
        else:
            resolve(resolved)
            self._tell(self._on_commit, time.perf_counter() - started, len(batch))

    def _tell(self, listener: Callable[..., None], *facts: object) -> None:
        """A listener that fails must not end the thread: everything would wait for ever."""
        try:
            listener(*facts)
        except Exception:  # a task root
            self._log.exception("a listener of the store failed")
