"""The time that nodes of a fleet share: the store's, carried on by this host's monotonic clock.

What one node puts into the queue another one takes out, so due times and expiries are in one time
for all: that of the server. It is asked once a second. An answer says between which two moments the
server's time was; only what is surely wrong is corrected. Between answers, and while the store is
away, the monotonic clock goes on from the last one. The wall clock of a node decides nothing.

A node that finds itself behind (its host slept) is right at once: mail that is due has waited long
enough. One that finds itself ahead (another server has taken over, whose clock is behind) runs a
tenth slower until it is right: mail waits a little longer, and no time comes twice.

Pure but for `SharedTime`, which asks. Workers hear of each correction from their supervisor; the
monotonic clock is one for all processes of a host.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import FleetStore, StoreError

OFF_MS = 2_000
"""From so many on it is told that the clock of this host is not the store's."""
_SLOWER = 0.1
_ANSWERS_WITHIN = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Timekeeping:
    """The store's time was `at` (UTC ms) at `since` (monotonic seconds), and this node was `ahead`
    of it by so many ms, which it loses by running slower."""

    since: float
    at: float
    ahead: float = 0.0

    def standard(self, monotonic: float) -> float:
        """The store's time, as far as is known, in UTC ms."""
        return self.at + (monotonic - self.since) * 1000

    def time(self, monotonic: float) -> int:
        """The time of this node, in UTC ms. It never goes back."""
        passed = (monotonic - self.since) * 1000
        return round(self.at + passed + max(0.0, self.ahead - passed * _SLOWER))


def corrected(
    known: Timekeeping | None, asked: float, answered: float, reading: int
) -> Timekeeping:
    """What follows from an answer: asked at one moment and answered at another (monotonic seconds),
    the server said that it was `reading` (UTC ms)."""
    least, most = reading, reading + (answered - asked) * 1000
    if known is None:
        return Timekeeping(answered, (least + most) / 2)
    ours = known.standard(answered)
    if least <= ours <= most:
        return known
    right = min(max(ours, least), most)
    return Timekeeping(answered, right, max(0.0, known.time(answered) - right))


class SharedTime:
    """Asks the store of one node. `follow` is called with each correction."""

    def __init__(
        self,
        fleet: FleetStore,
        follow: Callable[[Timekeeping], None],
        metrics: Metrics,
        log: Logger,
        *,
        wall: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._follow = follow
        self._metrics = metrics
        self._log = log
        self._wall = wall
        self._monotonic = monotonic
        self._known: Timekeeping | None = None
        self._is_off = False

    @property
    def known(self) -> Timekeeping | None:
        """By which this node goes; None before the store was asked."""
        return self._known

    async def ask(self) -> None:
        """Ask once. Raises `StoreError`."""
        asked = self._monotonic()
        reading = await self._fleet.clock()
        answered = self._monotonic()
        found = corrected(self._known, asked, answered, reading)
        if found is not self._known:
            self._known = found
            self._follow(found)
        self._compare(found, answered)

    async def look(self) -> None:
        """As `ask`; while the store does not answer nothing changes."""
        with suppress(StoreError, TimeoutError):  # the membership tells of it
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await self.ask()

    def _compare(self, found: Timekeeping, now: float) -> None:
        off = self._wall() - found.standard(now)
        self._metrics.fleet_clock_offset.set(off / 1000)
        is_off = abs(off) > OFF_MS
        if is_off and not self._is_off:
            self._log.warning(
                "the clock of this host is not that of the store: mail goes by the store's, and the"
                " log of this node is dated wrong",
                seconds_ahead=round(off / 1000, 1),
            )
        elif self._is_off and not is_off:
            self._log.info("the clock of this host is right again")
        self._is_off = is_off
