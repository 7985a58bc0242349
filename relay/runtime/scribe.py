"""The scribe: files what happened to mail in the message log, and tells event destinations of it.

A process of its own beside the workers, so that neither a large log nor a slow destination takes
anything from the mail. Started by the supervisor with one end of a line, like a worker. Carries no
mail and claims none. Owns the message log: nobody else writes it.

Fails whole, and is replaced: what is not filed waits in the outbox, and what is not told lies in
the log.
"""

import asyncio
import os
import pickle
import platform
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress

from relay import __version__
from relay.config.model import Config
from relay.events.desk import EventDesk
from relay.events.filing import Rules
from relay.events.telling import EventTelling
from relay.feedback.policy import Policies
from relay.mail.simulated import simulator_domain
from relay.observe.logging import Logger, make_logger
from relay.observe.merging import Family, take_stock
from relay.observe.metrics import Metrics
from relay.runtime import messages as say
from relay.runtime.filing import FilingDesk
from relay.runtime.gauges import wall_ms
from relay.runtime.judging import Judging
from relay.runtime.link import Handler, Link, connect
from relay.runtime.loops import new_loop
from relay.runtime.opening import make_log, make_store
from relay.runtime.pruning import prune_log
from relay.runtime.queue_clock import QueueClock
from relay.runtime.reason import reason
from relay.store.interface import StoreError
from relay.store.log_values import Filing

_ORPHANED_GRACE = 3.0  # seconds to file what is in the outbox when the supervisor is gone
_ORPHANED_LONGEST = 15  # seconds after which a scribe that should end is ended by the kernel


class Scribe:
    """The parts of the scribe, under the configuration that the supervisor gives it."""

    def __init__(self, log: Logger) -> None:
        self.log = log
        self.metrics = Metrics()
        self.metrics.build.info({"version": __version__, "python": platform.python_version()})
        self._cleanup = AsyncExitStack()
        self._ended = asyncio.Event()
        self._code = 0
        self._stopping = False
        self._has_begun = False
        self._log_is_lost = False
        self._filing: asyncio.Task[None] | None = None
        self._prepared: Config | None = None
        self.config: Config
        self.rules: Rules

    async def run(self, line: socket.socket) -> int:
        """Work until the supervisor says so, or is gone; the exit code of the process."""
        handlers: dict[type, Handler] = {
            say.Begin: self._begin,
            say.Prepare: self._prepare,
            say.PutInForce: self._put_in_force,
            say.Abandon: self._abandon,
            say.TakeStock: self._take_stock,
            say.Report: lambda _: say.State(0, 0),
            say.Drain: self._drain,
            say.TellDestinations: lambda _: self.events.states(),
            say.TryDestination: lambda q: self.events.test(q.name),
            say.TellDeadLetters: lambda q: self.events.dead_letters(q.name, q.after, q.limit),
            say.ForgetDeadLetters: lambda q: self.events.forget(q.name, q.ids),
            say.ReplayDeadLetters: lambda q: self.events.replay_dead(q.name, q.ids, q.after),
            say.ReplayEvents: lambda q: self.events.replay(q.name, q.since, q.until, q.after),
        }
        self.link = await connect(line, lambda: Link(handlers, self.log, self._orphaned))
        await self._ended.wait()
        # The answer to `Drain` is still to be sent.
        self.link.close()
        await asyncio.sleep(0)
        return self._code

    # Starting

    async def _begin(self, message: say.Begin) -> str:
        self.queue_clock = QueueClock(
            time.monotonic, wall_ms, lambda _: None, offset=message.clock_offset
        )
        config = pickle.loads(message.configuration)  # noqa: S301 - from our own supervisor
        try:
            try:
                await self._start(config)
            except StoreError:
                if not self._log_is_lost:
                    raise
                # The damaged one is moved aside, and another one is begun.
                await self._undo()
                await self._start(config)
        except (StoreError, OSError) as error:
            await self._undo()
            return reason(error)
        self._has_begun = True
        if self._log_is_lost:
            self._end(1)
        return ""

    async def _undo(self) -> None:
        """Close what a start that failed has opened."""
        self._stopping = True
        await self._cleanup.aclose()
        self._stopping = self._log_is_lost = False

    async def _start(self, config: Config) -> None:
        self._configure(config)
        self.store = make_store(config, self.metrics, self.log)
        await self.store.open(joining=True)
        self._cleanup.push_async_callback(self.store.close)
        self.message_log = make_log(config, self.log, self._log_lost)
        await self.message_log.open()
        self._cleanup.push_async_callback(self.message_log.close)
        self.desk = FilingDesk(
            outbox=self.store.outbox,
            log=self.message_log,
            suppressions=self.store.suppressions,
            rules=lambda: self.rules,
            filed=self._filed,
            wall=self.queue_clock.now,
            metrics=self.metrics,
            logger=self.log,
        )
        await self.desk.open()
        self.telling = EventTelling(
            log=self.message_log,
            config=config,
            metrics=self.metrics,
            logger=self.log,
            clock=self.queue_clock.now,
            wall=wall_ms,
        )
        # Before anything is filed: who is told from now on is told of what is filed now.
        await self.telling.open()
        self._background(self.telling.run(), "telling of events")
        self.events = EventDesk(self.telling, self.message_log, config.hostname, wall_ms)
        self.judging = Judging(
            tallies=self.message_log,
            pauses=self.store.pauses,
            config=lambda: self.config,
            wall=self.queue_clock.now,
            changed=lambda: self.link.tell(say.PausesChanged()),
            metrics=self.metrics,
            log=self.log,
        )
        await self.judging.open()
        self._background(self.judging.run(), "judging of reputations")
        self._background(
            prune_log(
                self.message_log,
                lambda: self.config,
                self.telling.keep_from,
                self.queue_clock.now,
                self.log,
            ),
            "pruning of the message log",
        )
        self._filing = self._background(self.desk.run(), "filing")

    def _configure(self, config: Config) -> None:
        self.config = config
        self.rules = Rules(
            config.hostname,
            Policies.of(config),
            frozenset(name.rpartition("@")[2] for name in config.identities)
            | {simulator_domain(config.hostname)},
        )

    def _filed(self, filing: Filing) -> None:
        """What there is to tell, and to judge by, has become more."""
        if filing.events:
            self.telling.wake()
        self.judging.add(filing.tallies)

    def _background(self, work: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
        """Run a loop that ends with the scribe. Should it fail, the scribe ends."""
        task = asyncio.create_task(work, name=name)

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and not self._stopping:
                self.log.error(
                    "a part of the scribe ended", part=name, error=repr(task.exception())
                )
                self._end(1)

        async def cancel() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(ended)
        self._cleanup.push_async_callback(cancel)
        return task

    def _log_lost(self) -> None:
        """The next scribe begins another: cursors, and what is remembered here, are of the old."""
        self._log_is_lost = True
        if self._has_begun and not self._stopping:
            self._end(1)

    # Reloading

    def _prepare(self, message: say.Prepare) -> tuple[str, ...]:
        self._prepared = pickle.loads(message.configuration)  # noqa: S301 - likewise
        return ()

    async def _put_in_force(self, _: say.PutInForce) -> bool:
        """False where it cannot: another scribe takes its place, which begins with it."""
        if self._prepared is None:
            return False
        config, self._prepared = self._prepared, None
        try:
            await self.telling.configure(config)
        except StoreError as error:
            self.log.error("the scribe cannot take a configuration up", error=str(error))
            return False
        self._configure(config)
        self.judging.reconsider()
        return True

    def _abandon(self, _: say.Abandon) -> None:
        self._prepared = None

    # Answering

    async def _take_stock(self, _: say.TakeStock) -> tuple[Family, ...]:
        return await asyncio.to_thread(take_stock, self.metrics.registry)

    # Ending

    async def _drain(self, message: say.Drain) -> bool:
        """File what the workers have left behind, and end."""
        await self._stop(message.seconds)
        self._end(0)
        return True

    async def _stop(self, grace: float) -> None:
        self._stopping = True
        if self._filing is not None:
            self.desk.finish()
            await asyncio.wait([self._filing], timeout=grace)
        await self._cleanup.aclose()

    def _orphaned(self) -> None:
        """The line is lost: no supervisor, no scribe."""
        if self._ended.is_set():
            return
        # Should the ending hang, the kernel ends it: a new supervisor waits for the last of us.
        signal.alarm(_ORPHANED_LONGEST)
        self.log.error("the supervisor is gone: the scribe ends", grace_seconds=_ORPHANED_GRACE)
        self._orphan_task = asyncio.ensure_future(self._end_orphaned())

    async def _end_orphaned(self) -> None:
        with suppress(StoreError):  # what is not filed stays in the outbox
            await self._stop(_ORPHANED_GRACE)
        self._end(1)

    def _end(self, code: int) -> None:
        if code:
            signal.alarm(_ORPHANED_LONGEST)  # whatever still runs in a thread
        self._code = max(self._code, code)
        self._ended.set()


def main(words: list[str]) -> int:
    """The process of the scribe: its name, its file descriptors, how to log."""
    name, line, door, style, level = words
    os.umask(0o077)
    # A terminal or a service manager signals all processes; the supervisor says what it means.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    log = make_logger(style, level).bind(worker=name)  # type: ignore[arg-type]  # our own words

    async def run() -> int:
        # No connections come here; the door is kept for the supervisor to see that it is open.
        with socket.socket(fileno=int(door)):
            return await Scribe(log).run(socket.socket(fileno=int(line)))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
