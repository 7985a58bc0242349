"""What workers and the scribe have in common: the life of a process below the supervisor.

Started with one end of a line to the supervisor, told when to end. Fails whole: where a part of it
ends unexpectedly, so does the process; the supervisor replaces it. Where the supervisor is gone it
finishes what is in flight and ends.
"""

import asyncio
import os
import platform
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from typing import ClassVar

from relay import __version__
from relay.observe.logging import Logger, make_logger
from relay.observe.merging import Family, take_stock
from relay.observe.metrics import Metrics
from relay.runtime import messages as say
from relay.runtime.link import Handler, Link, connect
from relay.runtime.loops import new_loop
from relay.store.interface import StoreError


class Subordinate(ABC):
    """`KIND` names it in the log; `ORPHANED_GRACE` are the seconds for what is in flight when the
    supervisor is gone, `ORPHANED_LONGEST` those after which the kernel ends it."""

    KIND: ClassVar[str]
    ORPHANED_GRACE: ClassVar[float]
    ORPHANED_LONGEST: ClassVar[int]

    def __init__(self, log: Logger) -> None:
        self.log = log
        self.metrics = Metrics()
        self.metrics.build.info({"version": __version__, "python": platform.python_version()})
        self.link: Link
        self._cleanup = AsyncExitStack()
        self._ended = asyncio.Event()
        self._code = 0
        self._stopping = False
        self._is_ending = False

    async def _connect(self, line: socket.socket, handlers: Mapping[type, Handler]) -> None:
        """Listen to the supervisor."""
        common: dict[type, Handler] = {say.TakeStock: self._take_stock, say.Drain: self._drain}
        self.link = await connect(
            line, lambda: Link({**common, **handlers}, self.log, self._orphaned)
        )

    async def _live(self) -> int:
        """Until the supervisor says so, or is gone; the exit code of the process."""
        await self._ended.wait()
        # The answer to `Drain` is still to be sent.
        self.link.close()
        await asyncio.sleep(0)
        return self._code

    def _background(self, work: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
        """Run a loop that ends with the process. Should it fail, the process ends."""
        task = asyncio.create_task(work, name=name)

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and not self._stopping:
                self.log.error(
                    f"a part of the {self.KIND} ended", part=name, error=repr(task.exception())
                )
                self._end(1)

        async def cancel() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(ended)
        self._cleanup.push_async_callback(cancel)
        return task

    async def _take_stock(self, _: say.TakeStock) -> tuple[Family, ...]:
        return await asyncio.to_thread(take_stock, self.metrics.registry)

    # Ending

    @abstractmethod
    async def _stop(self, grace: float) -> None:
        """Finish what is in flight within `grace` seconds, and let go of everything."""

    @abstractmethod
    async def _hurry(self, grace: float) -> None:
        """`_stop` was begun with more time than these seconds: have it end within them."""

    async def _drain(self, message: say.Drain) -> tuple[Family, ...]:
        await self._finish(message.seconds)
        stock = take_stock(self.metrics.registry)
        self._end(0)
        return stock

    async def _finish(self, grace: float) -> None:
        if self._is_ending:
            await self._hurry(grace)
            await self._ended.wait()
        else:
            self._is_ending = True
            await self._stop(grace)

    def _orphaned(self) -> None:
        """The line is lost: no supervisor, no process below it."""
        if self._ended.is_set():
            return
        # Should the ending hang, the kernel ends it: a new supervisor waits for the last of us.
        signal.alarm(self.ORPHANED_LONGEST)
        self.log.error(
            f"the supervisor is gone: this {self.KIND} ends", grace_seconds=self.ORPHANED_GRACE
        )
        self._orphan_task = asyncio.ensure_future(self._end_orphaned())

    async def _end_orphaned(self) -> None:
        with suppress(StoreError):  # what is unfinished is taken up by the supervisor to come
            await self._finish(self.ORPHANED_GRACE)
        self._end(1)

    def _end(self, code: int) -> None:
        if code:
            signal.alarm(self.ORPHANED_LONGEST)  # whatever still runs in a thread
        self._code = max(self._code, code)
        self._ended.set()


def run_process(
    words: list[str],
    live: Callable[[Logger, socket.socket, socket.socket], Coroutine[object, object, int]],
) -> int:
    """The process of a subordinate: its name, its file descriptors (of the line and the door), how
    to log. `live` is its life; the exit code."""
    name, line, door, style, level = words
    os.umask(0o077)
    # A terminal or a service manager signals all processes; the supervisor says what it means.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    log = make_logger(style, level).bind(worker=name)  # type: ignore[arg-type]  # our own words

    async def run() -> int:
        return await live(log, socket.socket(fileno=int(line)), socket.socket(fileno=int(door)))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(run())
