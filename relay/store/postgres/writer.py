"""The group commit of one process: what many coroutines ask for becomes one transaction.

Coroutines submit an operation and await its future. One task takes everything that waits, runs it
in one transaction with statements of many rows, commits, and only then resolves the futures. While
a commit is under way the next batch gathers by itself. A request that nobody hurries for (a peer
has its 250 already when a delivery is settled) waits a few milliseconds for one that somebody does.

When an operation fails, the batch is rolled back and its operations run again, one transaction
each, so that only the culprit fails; where another transaction was merely in the way, all of them
again. Faults of the database become `StoreError`; other exceptions (a fault of ours) reach the
caller as they are. While the database cannot be reached everybody is told so at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from relay.observe.logging import Logger
from relay.store.bound import Write
from relay.store.interface import StoreError, StoreUnavailable
from relay.store.postgres.errors import is_of_the_store, is_transient, translate
from relay.store.postgres.patience import in_time
from relay.store.postgres.place import Place
from relay.store.postgres.requests import AnyRequest, Operation, Request
from relay.store.postgres.transaction import Doubtful, Transactions, Undone, Unreachable

A = TypeVar("A")
R = TypeVar("R")

MAX_BATCH = 500
LINGER = 0.005  # seconds that an unhurried request waits for company
_TRIES = 4  # where other transactions are in the way
_REFUSED = 0.5  # seconds for which a database that could not be reached is not tried again


class Writer:
    """Runs operations in transactions at `place`, from `start` to `close`."""

    def __init__(
        self,
        place: Place,
        *,
        on_commit: Callable[[float, int], None],
        on_error: Callable[[StoreError], None],
        log: Logger,
    ) -> None:
        """`on_commit` is told seconds and operations of each, `on_error` of each failure."""
        self._transactions = Transactions(place)
        self._place = place
        self._on_commit = on_commit
        self._on_error = on_error
        self._log = log
        self._waiting: deque[AnyRequest] = deque()
        self._unhurried: deque[AnyRequest] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._refusal: StoreError | None = None
        self._refused_until = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="relay-store-writer")

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

        A caller that is cancelled meanwhile may have missed an effect; so has one who is told of a
        failure where nobody can say whether there was one. `if_lost` is then called with the
        result, or with None when nothing was done.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        request: Request[A, R] = Request(operation, argument, loop.create_future(), if_lost)
        if unhurried:
            self._unhurried.append(request)
            if self._alarm is None:
                self._alarm = loop.call_later(LINGER, self._hurry)
        else:
            self._waiting.append(request)
            self._wanted.set()
        return request.future

    def doing(self, operation: Operation[A, R], *, unhurried: bool = False) -> Write[A, R]:
        """`operation`, to be given what for; see `submit`."""
        return lambda argument: self.submit(operation, argument, unhurried=unhurried)

    async def submit_in_time(
        self,
        operation: Operation[A, R],
        argument: A,
        if_lost: Callable[[R | None], None] | None = None,
    ) -> R:
        """As `submit`, for a client of ours that waits for the answer: a database that says nothing
        fails it in time (`patience`), and what it does later goes to `if_lost`."""
        return await in_time(self.submit(operation, argument, if_lost), self._place)

    def _hurry(self) -> None:
        self._alarm = None
        if self._unhurried:
            self._wanted.set()

    async def close(self) -> None:
        """Take nothing more; what was submitted is still done."""
        self._closed = True
        self._wanted.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._alarm is not None:
            self._alarm.cancel()
        await self._transactions.leave()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while batch := self._gather():
                await self._serve(batch)
            if self._closed:
                return

    def _gather(self) -> list[AnyRequest]:
        """All who wait, those first who have waited longer."""
        batch: list[AnyRequest] = []
        for queue in (self._unhurried, self._waiting):
            while queue and len(batch) < MAX_BATCH:
                request = queue.popleft()
                if request.future.cancelled():
                    # Who went away before his turn asks for nothing any more.
                    request.fail(asyncio.CancelledError())
                else:
                    batch.append(request)
        return batch

    async def _serve(self, batch: Sequence[AnyRequest]) -> None:
        if self._refusal is not None and time.monotonic() < self._refused_until:
            self._fail(batch, self._refusal)
            return
        started = time.perf_counter()
        try:
            resolved = await self._commit(batch)
        except Doubtful as doubt:
            for request, result in doubt.resolved:
                request.doubt(result, StoreUnavailable(str(doubt.error)))
            self._on_error(doubt.error)
        except Unreachable as unreachable:
            self._refusal = unreachable.error
            self._refused_until = time.monotonic() + _REFUSED
            self._fail(batch, unreachable.error)
        except Exception as error:
            if len(batch) > 1:
                for request in batch:
                    await self._serve([request])
                return
            self._fail(batch, translate(error, self._place) if is_of_the_store(error) else error)
        else:
            self._refusal = None
            for request, result in resolved:
                request.resolve(result)
            self._on_commit(time.perf_counter() - started, len(batch))

    async def _commit(self, batch: Sequence[AnyRequest]) -> list[tuple[AnyRequest, object]]:
        """Once more where a session was found to be lost, or others were in the way."""
        tried = 0
        while True:
            tried += 1
            try:
                return await self._transactions.commit(batch)
            except Undone as undone:
                if tried > 1:
                    lost = StoreUnavailable(f"The database {self._place} was lost: {undone}")
                    raise Unreachable(lost) from undone
            except Exception as error:
                if not is_transient(error) or tried >= _TRIES:
                    raise

    def _fail(self, batch: Sequence[AnyRequest], error: Exception) -> None:
        for request in batch:
            request.fail(type(error)(str(error)) if isinstance(error, StoreError) else error)
            if isinstance(error, StoreError):
                self._on_error(error)
