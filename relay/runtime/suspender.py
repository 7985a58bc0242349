"""Orders to wait (`relay suspend`): put in force in every worker, ended when their time has come.

The orders are rows of the store; what is in force follows from them, never the other way round, so
a supervisor that dies leaves nothing half done: the next one reads them, ends what has ended
meanwhile, and frees the mail that was set aside for it.

Mail that is free again goes back to the queue in parts, so that other mail is not held up.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable

from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.routing.suspensions import Suspensions, described
from relay.runtime.crew import Crew
from relay.runtime.messages import MailIsDue, Suspend
from relay.store.interface import StoreError, SuspensionStore
from relay.store.values import Suspension

_KINDS = ("set", "source", "provider", "credential", "domain")
_ANSWERS_WITHIN = 3.0
_FREED_AT_ONCE = 1_000
_BREATH = 0.02  # seconds between two parts of mail that is freed
_LOOKS_EVERY = 30.0  # also where nothing is to end: the clock may have been set
_AGAIN = 1.0  # seconds after which a store that failed is asked again


class Suspender:
    """What is in force. `clock` is the clock of the queue, in UTC ms; `changed` is called when what
    is in force has changed, before workers are told; `ended` when this relay itself has ended a
    suspension, for its time has come."""

    def __init__(
        self,
        store: SuspensionStore,
        crew: Callable[[], Crew],
        clock: Callable[[], int],
        metrics: Metrics,
        log: Logger,
        changed: Callable[[Suspensions], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.in_force = Suspensions()
        self._store = store
        self._crew = crew
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._changed = changed
        self._ended = ended
        self._wake = asyncio.Event()
        self._pools_changed = True

    async def begin(self) -> None:
        """Read what the last relay left, before there is a worker. Raises `StoreError`."""
        await self._end_what_has_ended()
        self._take(await self._store.all())

    async def refresh(self) -> None:
        """Put in force what the store has now; returns when every worker has heard of it."""
        await self._end_what_has_ended()
        found = await self._store.all()
        if tuple(found) != self.in_force.entries:
            self._tell(found)
            self._take(found)
            await self._crew().ask(Suspend(tuple(found)), _ANSWERS_WITHIN)
        self._wake.set()

    async def run(self) -> None:
        """End each suspension at its time, and free mail, for ever. A store that fails is told once
        and asked again."""
        is_failing = False
        while True:
            try:
                await self.refresh()
                await self._free()
            except StoreError as error:
                if not is_failing:
                    self._log.error("suspensions cannot be looked at", error=str(error))
                is_failing = True
                await asyncio.sleep(_AGAIN)
                continue
            is_failing = False
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_left()):
                    await self._wake.wait()

    def _take(self, found: Iterable[Suspension]) -> None:
        self.in_force = Suspensions(found)
        counts = Counter[str](entry.kind for entry in self.in_force.entries)
        for kind in _KINDS:
            self._metrics.suspensions.labels(kind).set(counts[kind])
        self._changed(self.in_force)

    def _tell(self, found: Iterable[Suspension]) -> None:
        before = {entry.key: entry for entry in self.in_force.entries}
        now = {entry.key: entry for entry in found}
        for key, entry in now.items():
            if before.get(key) != entry:
                self._log.warning("mail is suspended", suspension=key, why=described(entry))
        for key in before.keys() - now.keys():
            self._log.info("mail is resumed", suspension=key)

    async def _end_what_has_ended(self) -> None:
        now = self._clock()
        has_lifted = False
        for entry in await self._store.all():
            if entry.until is not None and entry.until <= now:
                has_lifted |= await self._store.lift(entry.kind, entry.name)
        if has_lifted:
            self._ended()

    def reconsider(self) -> None:
        """The configuration has changed: a pool whose sources were suspended may have others."""
        self._pools_changed = True
        self._wake.set()

    async def _free(self) -> None:
        """Queue again what waits for no order any more."""
        total = 0
        while count := await self._store.free(_FREED_AT_ONCE):
            total += count
            await self._freed()
        if total:
            self._log.info("suspended deliveries are queued again", count=total)
        after = 0
        while self._pools_changed and (
            last := await self._store.free_of_sources(after, _FREED_AT_ONCE)
        ):
            after = last  # what must still wait is set aside again, behind this
            await self._freed()
        self._pools_changed = False

    async def _freed(self) -> None:
        self._crew().tell(MailIsDue(self._clock()))
        await asyncio.sleep(_BREATH)

    def _seconds_left(self) -> float:
        """Until the next suspension ends."""
        ends = [entry.until for entry in self.in_force.entries if entry.until is not None]
        left = (min(ends) - self._clock()) / 1000 if ends else _LOOKS_EVERY
        return min(_LOOKS_EVERY, max(0.01, left))
