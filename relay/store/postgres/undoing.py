"""Cleaning up after callers who were cancelled, or told of a failure that may have been none.

What they had asked for is done, and nobody knows of it: it is taken back, also where the database
is away just then.
"""

import asyncio
from collections.abc import Callable, Coroutine

from relay.observe.logging import Logger
from relay.store.codec import Damaged
from relay.store.interface import StoreError

_AGAIN = 1.0  # seconds; what is undone while the database is away
_FOR = 3600.0
_LAST = 5.0  # seconds that there are for it when the store is closed

Work = Callable[[], Coroutine[None, None, None]]


class Undoing:
    """What is being undone, of one store. `clock` gives monotonic seconds."""

    def __init__(self, log: Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    def undo(self, work: Work) -> None:
        """Have `work` done, by and by."""
        task = asyncio.create_task(self._until_done(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_done(self, work: Work) -> None:
        """Where the database is away, when it is back. What a process leaves undone that ends
        before is sent all the same, and may be a duplicate."""
        deadline = self._clock() + _FOR
        while True:
            try:
                await work()
            except (StoreError, Damaged) as error:
                if self._clock() > deadline or self._is_over or isinstance(error, Damaged):
                    self._log.warning(
                        "could not undo what a caller had asked for who was not told of it",
                        error=str(error),
                    )
                    return
            else:
                return
            await asyncio.sleep(_AGAIN)

    async def close(self) -> None:
        """Give it a last moment."""
        self._is_over = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST)
        for task in tuple(self._tasks):
            task.cancel()
