"""The days of warm-ups: kept in the store, turned here, told to all workers.

There is one of it in a relay, in the supervisor. It begins the first day of an address for which
the configuration newly has a warm-up, lets a day turn when it is over (`relay.limits.warmup`), and
forgets an address that the configuration lost long ago. What operators change in the store counts
at once (`reload`). It runs on the clock of the queue: a wall clock that jumps turns no day.

Dying in between costs nothing: a day that was not stored turns at the next look. A store that fails
leaves the days in force that were.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from relay.config.model import Config
from relay.limits import warmup
from relay.limits.limits import Level
from relay.limits.warmup import Schedule, warmup_key
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError, WarmupStore
from relay.store.values import WarmupProgress

LOOK_SECONDS = 30.0


class WarmupClock:
    """`levels` gives the levels of limits by their keys, `now` UTC milliseconds; `changed` is
    called when a day, or what else decides on limits, is another one than before; `turned` when it
    was this clock that has let a day turn, and stored it."""

    def __init__(
        self,
        store: WarmupStore,
        *,
        levels: Callable[[Sequence[str]], Awaitable[list[Level]]],
        now: Callable[[], int],
        changed: Callable[[], None],
        metrics: Metrics,
        log: Logger,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._levels = levels
        self._now = now
        self._changed = changed
        self._turned = turned
        self._metrics = metrics
        self._log = log
        self._scheduled: Mapping[str, Schedule] = {}
        self._stored: dict[str, WarmupProgress] = {}
        self._progress: dict[str, WarmupProgress] = {}
        self._shown: set[tuple[str, str]] = set()
        self._woken = asyncio.Event()
        self._is_failing = False

    @property
    def progress(self) -> Mapping[str, WarmupProgress]:
        """How far each address of the configuration has come, whether that is stored yet or not."""
        return self._progress

    async def open(self, config: Config) -> None:
        """Read how far things had come. Raises `StoreError`."""
        await self._read()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Another configuration: addresses that it newly has warm up begin their first day, those
        that it had not long ago go on where they were. `changed` is not called."""
        self._scheduled = warmup.schedules(config)
        now = self._now()
        self._progress = {
            address: self._known(address, now) or warmup.begin(address, now)
            for address in self._scheduled
        }
        self._woken.set()

    def _known(self, address: str, now: int) -> WarmupProgress | None:
        known = self._stored.get(address)
        if known is None or warmup.is_forgotten(known, now):
            return None
        return known

    async def run(self) -> None:
        """Look from time to time, for ever. A store that fails is told once and asked again."""
        while True:
            self._woken.clear()
            try:
                await self.look()
            except StoreError as error:
                if not self._is_failing:
                    self._log.error("the days of warm-ups cannot be kept", error=str(error))
                self._is_failing = True
            else:
                self._is_failing = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)

    async def reload(self) -> None:
        """Somebody has changed what is stored: it counts from now on. Raises `StoreError`."""
        before = self._progress
        await self._read()
        now = self._now()
        self._progress = {
            address: self._known(address, now) or before.get(address) or warmup.begin(address, now)
            for address in self._scheduled
        }
        if self._progress != before:
            self._changed()
        self._woken.set()

    async def _read(self) -> None:
        self._stored = {progress.address: progress for progress in await self._store.all()}

    async def look(self) -> None:
        """Let the days turn that are over, store what is new, and set the gauges. Raises
        `StoreError`; what was not stored then is stored by a later look."""
        used = await self._used()
        now = self._now()
        for address, schedule in tuple(self._scheduled.items()):
            before = self._progress.get(address)
            if before is None:  # a reload has taken it away meanwhile
                continue
            after = warmup.turn(before, schedule, used.get(warmup_key(address), 0), now)
            if not await self._keep(warmup.touched(after, now)):
                return await self.reload()  # an operator was faster
            if address in self._progress:
                self._progress[address] = self._stored[address]
            if (after.day, after.state) != (before.day, before.state):
                self._tell_of_turn(after, schedule)
                self._turned()
                self._changed()
        for address in self._stored.keys() - self._scheduled.keys():
            if warmup.is_forgotten(self._stored[address], now):
                await self._store.forget(self._stored.pop(address))
        self._show(used)
        return None

    async def _used(self) -> dict[str, int]:
        """Recipients in the last 24 hours, by key."""
        keys = [
            warmup_key(address, provider)
            for address, schedule in self._scheduled.items()
            for provider in ("", *schedule.providers)
        ]
        levels = await self._levels(keys) if keys else []
        return {level.key: level.used for level in levels if level.kind == "quota"}

    async def _keep(self, progress: WarmupProgress) -> bool:
        """Store it where it is not stored yet; False where something else stands there by now."""
        stored = self._stored.get(progress.address)
        if progress != stored:
            if not await self._store.replace(stored, progress):
                return False
            self._stored[progress.address] = progress
        return True

    def _tell_of_turn(self, progress: WarmupProgress, schedule: Schedule) -> None:
        if progress.state == "completed":
            self._log.info("a source address is warm", source=progress.address)
            return
        self._log.info(
            "a day of a warm-up has begun",
            source=progress.address,
            day=progress.day,
            days=schedule.days,
            allowance=schedule.allowance(progress.day),
        )

    def _show(self, used: Mapping[str, int]) -> None:
        metrics = self._metrics
        shown = set()
        for address, schedule in self._scheduled.items():
            progress = self._progress[address]
            metrics.warmup_day.labels(address).set(
                0 if progress.state == "completed" else progress.day
            )
            if progress.state == "completed":
                continue
            for provider in ("", *schedule.providers):
                shown.add((address, provider))
                allowance = schedule.allowance(progress.day, provider) or 0
                metrics.warmup_allowance.labels(address, provider).set(allowance)
                metrics.warmup_used.labels(address, provider).set(
                    used.get(warmup_key(address, provider), 0)
                )
        for gone in self._shown - shown:
            metrics.warmup_allowance.remove(*gone)
            metrics.warmup_used.remove(*gone)
        self._shown = shown
