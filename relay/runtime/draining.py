"""Drained: no mail comes in, none goes out, and all there is waits in the store, for other nodes.

Rests on the way in which workers end when the relay stops: listeners close, sessions and deliveries
finish, claims are freed. Here the process stays, without workers, until it is stopped or is to
serve again. So no worker that is replaced meanwhile can take mail: there is none.

Nothing of it is kept: a relay that is started serves.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from relay.admin.control import Refused
from relay.observe.logging import Logger
from relay.runtime.crew import CrewError
from relay.runtime.reason import reason
from relay.store.fleet_values import NodeState

LONGEST_S = 3_600.0
"""For what is under way. No honest peer takes as long: timeouts of SMTP end all before."""
_STOPPING = "the relay is stopping"


class Doorway(Protocol):
    """Where clients come in (`relay.frontend.door.Door`)."""

    async def start(self) -> None: ...

    def stop(self) -> None: ...


class Hands(Protocol):
    """Those who carry mail (`relay.runtime.crew.Crew`)."""

    async def start(self) -> None: ...

    async def keep(self) -> None: ...

    async def stop(self, grace: float) -> None: ...


class Draining:
    """`grace` gives the seconds that what is under way has where somebody waits for its end;
    `is_stopping` whether the relay is about to end; `changed` is called with each new state."""

    def __init__(
        self,
        door: Doorway,
        crew: Hands,
        *,
        grace: Callable[[], float],
        is_stopping: Callable[[], bool],
        changed: Callable[[NodeState], None],
        log: Logger,
    ) -> None:
        self.state: NodeState = "serving"
        self._door = door
        self._crew = crew
        self._grace = grace
        self._is_stopping = is_stopping
        self._changed = changed
        self._log = log
        self._work: asyncio.Task[None] | None = None
        self._has_workers = asyncio.Event()
        self._has_workers.set()
        self._turning = asyncio.Lock()

    async def keep_crew(self) -> None:
        """Until keeping a worker alive fails, which is raised: a crew that was drained is missed
        by nobody."""
        while True:
            await self._has_workers.wait()
            await self._crew.keep()

    async def begin(self) -> None:
        """Take no more mail, and give away what there is; returns at once. Nothing where that has
        begun. Raises `Refused` while the relay is stopping."""
        async with self._turning:
            if self._is_stopping():
                raise Refused(_STOPPING, "conflict")
            if self.state != "serving":
                return
            self._has_workers.clear()
            self._door.stop()
            self._be("draining")
            self._work = asyncio.create_task(self._drain(), name="draining")

    async def end(self) -> None:
        """Serve again. What is still finishing has the grace period. Raises `Refused` where an
        address was taken by somebody else or no worker can be started: drained it remains."""
        async with self._turning:
            if self.state == "serving":
                return
            await self._finish()
            if self._is_stopping():
                raise Refused(_STOPPING, "conflict")
            await self._open()
            self._has_workers.set()
            self._be("serving")

    async def cancel(self) -> None:
        """Wait for nothing any more: the process ends."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _drain(self) -> None:
        await self._crew.stop(LONGEST_S)
        self._be("drained")

    async def _finish(self) -> None:
        if self._work is not None and not self._work.done():
            await self._crew.stop(self._grace())
            await self._work

    async def _open(self) -> None:
        """Addresses first: a start fails before it has begun."""
        try:
            await self._door.start()
            await self._crew.start()
        except (OSError, CrewError) as error:
            self._door.stop()
            raise Refused(f"the relay stays drained: {reason(error)}", "conflict") from error

    def _be(self, state: NodeState) -> None:
        self.state = state
        self._log.info(f"the relay is {state}")
        self._changed(state)
