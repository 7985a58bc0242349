"""The scribe: files what happened to mail in the message log, and tells event destinations of it.

A process of its own beside the workers, so that neither a large log nor a slow destination takes
anything from the mail. Started by the supervisor with one end of a line, like a worker. Carries no
mail and claims none. Owns the message log: nobody else writes it.

Fails whole, and is replaced: what is not filed waits in the outbox, and what is not told lies in
the log.
"""

import asyncio
import pickle
import socket
import sys
import time

from relay.config.model import Config
from relay.events.desk import EventDesk
from relay.events.filing import Rules
from relay.events.telling import EventTelling
from relay.feedback.policy import Policies
from relay.mail.simulated import simulator_domain
from relay.observe.logging import Logger
from relay.runtime import messages as say
from relay.runtime.filing import FilingDesk
from relay.runtime.gauges import wall_ms
from relay.runtime.judging import Judging
from relay.runtime.link import Handler
from relay.runtime.opening import make_log, make_store
from relay.runtime.pruning import prune_log
from relay.runtime.queue_clock import QueueClock
from relay.runtime.reason import reason
from relay.runtime.subordinate import Subordinate, run_process
from relay.store.fleet_values import HeldDuty
from relay.store.interface import StoreError
from relay.store.log_values import Filing

_SESSION = "relay scribe"


class Scribe(Subordinate):
    """The parts of the scribe, under the configuration that the supervisor gives it."""

    KIND = "scribe"
    ORPHANED_GRACE = 3.0
    ORPHANED_LONGEST = 15

    def __init__(self, log: Logger) -> None:
        super().__init__(log)
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
            say.TimeIs: lambda message: self.queue_clock.follow(message.time),
            say.Report: lambda _: say.State(0, 0),
            say.TellDestinations: lambda _: self.events.states(),
            say.TryDestination: lambda q: self.events.test(q.name),
            say.TellDeadLetters: lambda q: self.events.dead_letters(q.name, q.after, q.limit),
            say.ForgetDeadLetters: lambda q: self.events.forget(q.name, q.ids),
            say.ReplayDeadLetters: lambda q: self.events.replay_dead(q.name, q.ids, q.after),
            say.ReplayEvents: lambda q: self.events.replay(q.name, q.since, q.until, q.after),
        }
        await self._connect(line, handlers)
        return await self._live()

    # Starting

    async def _begin(self, message: say.Begin) -> str:
        self.queue_clock = QueueClock(
            time.monotonic, wall_ms, lambda _: None, offset=message.clock_offset
        )
        if message.time is not None:
            self.queue_clock.follow(message.time)
        config = pickle.loads(message.configuration)  # noqa: S301 - from our own supervisor
        try:
            try:
                await self._start(config, message.duty)
            except StoreError:
                if not self._log_is_lost:
                    raise
                # The damaged one is moved aside, and another one is begun.
                await self._undo()
                await self._start(config, message.duty)
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

    async def _start(self, config: Config, duty: HeldDuty | None) -> None:
        self._configure(config)
        self.store = make_store(config, self.metrics, self.log, _SESSION)
        await self.store.open(joining=True)
        self._cleanup.push_async_callback(self.store.close)
        self.message_log = make_log(config, self.log, self._log_lost, _SESSION, duty)
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

    # Ending

    async def _stop(self, grace: float) -> None:
        """File what the workers have left behind."""
        self._stopping = True
        if self._filing is not None:
            self.desk.finish()
            await asyncio.wait([self._filing], timeout=grace)
        await self._cleanup.aclose()

    async def _hurry(self, grace: float) -> None:
        """It is only ever given little time."""


async def _live(log: Logger, line: socket.socket, door: socket.socket) -> int:
    # No connections come here; the door is kept for the supervisor to see that it is open.
    with door:
        return await Scribe(log).run(line)


if __name__ == "__main__":
    sys.exit(run_process(sys.argv[1:], _live))
