"""A duty that one node of a fleet has at a time, and the work that is done while this one has it.

The duty is asked for every second, in the store, which gives it to one member. It is lost with the
membership: whoever cannot reach the store for as long as the lease stops by his own clock, for
another may have it by then. What the work changes in the store must be fenced all the same: a
process that was stopped learns of its loss when it goes on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

from relay.observe.logging import Logger
from relay.store.fleet_values import HeldDuty, Membership
from relay.store.interface import FleetStore, StoreError

_EVERY = 1.0  # seconds
_LEAST_PATIENCE = 0.1


class Tenure:
    """`run` keeps it. `member` is this node as one that may have duties (None: not now), `work` is
    run while the duty is held, and `end` ends what it has begun, within that many seconds."""

    def __init__(
        self,
        duty: str,
        *,
        fleet: FleetStore,
        member: Callable[[], Membership | None],
        work: Callable[[], Coroutine[object, object, None]],
        end: Callable[[float], Awaitable[None]],
        grace: float,
        log: Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`grace` are the seconds that the work has to finish when the duty is given up."""
        self._name = duty
        self._fleet = fleet
        self._member = member
        self._work = work
        self._end_work = end
        self._grace = grace
        self._log = log.bind(duty=duty)
        self._clock = clock
        self._held: Membership | None = None
        self._until = 0.0  # on the clock: it may be another's from then on
        self._working: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._is_over = False

    @property
    def is_held(self) -> bool:
        """Whether the work is done here."""
        return self._held is not None

    @property
    def duty(self) -> HeldDuty:
        """What fences the work. Of an epoch that no node has, while it is not held."""
        return HeldDuty(self._name, self._held.epoch if self._held is not None else 0)

    async def run(self) -> None:
        """For ever, until cancelled. Raises what the work fails with."""
        while True:
            await self.look()
            if self._working is None:
                await asyncio.sleep(_EVERY)
            elif (await asyncio.wait([self._working], timeout=_EVERY))[0]:
                self._working.result()
                raise RuntimeError(f"the work of the duty {self._name} has ended")

    async def look(self) -> None:
        """Ask for the duty once, and begin or end the work."""
        async with self._looking:
            if not self._is_over:
                await self._look()

    async def finish(self, grace: float) -> None:
        """Give the duty up for good: the node is about to end."""
        async with self._looking:
            self._is_over = True
            if self._held is not None:
                await self._give_up(self._held, grace)

    async def _look(self) -> None:
        member = self._member()
        if self._held is not None and member is None:
            await self._give_up(self._held, self._grace)
        if member is None:
            return
        if self._held is not None and self._held.epoch != member.epoch:
            # Declared dead in between: another node may have had the duty, and be gone again.
            await self._lose("this node had been declared dead")
        asked = self._clock()
        try:
            async with asyncio.timeout(self._patience(asked, member)):
                holds = await self._fleet.hold_duty(self._name, member)
        except (StoreError, TimeoutError) as error:
            if self._held is not None and self._clock() >= self._until:
                await self._lose(f"the store does not answer: {error}")
            return
        if holds:
            self._until = asked + member.lease / 1000
            if self._held is None:
                self._begin(member)
        elif self._held is not None:
            await self._lose("another node has it")

    def _patience(self, asked: float, member: Membership) -> float:
        if self._held is None:
            return member.lease / 1000
        return max(_LEAST_PATIENCE, self._until - asked)

    def _begin(self, member: Membership) -> None:
        self._log.info("this node has a duty of the fleet from now on")
        self._held = member
        self._working = asyncio.create_task(self._work(), name=self._name)

    async def _lose(self, why: str) -> None:
        self._log.warning("this node has lost a duty of the fleet", why=why)
        await self._end(0.0)

    async def _give_up(self, held: Membership, grace: float) -> None:
        """Another node takes it as soon as this one has finished."""
        await self._end(grace if self._clock() < self._until else 0.0)
        try:
            await self._fleet.give_up_duty(self._name, held)
        except StoreError as error:
            self._log.warning(
                "a duty could not be given up: it ends with the lease", error=str(error)
            )
        else:
            self._log.info("this node has given up a duty of the fleet")

    async def _end(self, grace: float) -> None:
        self._held = None
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await self._end_work(grace)
