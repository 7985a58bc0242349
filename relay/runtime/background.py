"""The loops of a relay that run for as long as it does. Should one of them fail the relay ends: it
is restarted whole rather than left without a part of it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from relay.observe.logging import Logger


class Background:
    """Made inside a running loop. `cleanup` ends the loops, in the order in which they are to end;
    `is_stopping` says whether they end because the relay does."""

    def __init__(
        self, cleanup: AsyncExitStack, is_stopping: Callable[[], bool], log: Logger
    ) -> None:
        self._cleanup = cleanup
        self._is_stopping = is_stopping
        self._log = log
        self._failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run a loop that ends with the relay, and the relay with it."""
        task = asyncio.create_task(work, name=name)

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and not self._is_stopping() and not self._failed.done():
                self._log.error(
                    "a part of the relay ended", part=name, error=repr(task.exception())
                )
                self._failed.set_result(name)

        async def cancel() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(ended)
        self._cleanup.push_async_callback(cancel)

    @property
    def failed_part(self) -> str:
        """The part whose end ends the relay; an empty string while all is well."""
        return self._failed.result() if self._failed.done() else ""

    async def run_until(self, stop: asyncio.Event) -> str:
        """Wait for `stop`, or for a part that fails; its name then, else an empty string."""
        waiting = asyncio.create_task(stop.wait())
        ends: set[asyncio.Future[Any]] = {waiting, self._failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return self.failed_part
