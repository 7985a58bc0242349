"""Tells all destinations of the configuration what became of mail.

One process does it, the one that writes the log. A destination is a cursor over the log; each is
told by a `Teller` of its own and delays nobody but itself. Cursors are stored every second where
they moved, all in one transaction.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random, SystemRandom

from relay.config.events import EventDestination
from relay.config.model import Config
from relay.events.condition import state_of
from relay.events.destinations.making import make_destination
from relay.events.matching import matching_of
from relay.events.reader import EventReader, ReadableLog
from relay.events.states import DestinationState
from relay.events.teller import Teller
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError
from relay.store.log_interface import FiledElsewhere
from relay.store.log_values import TellingCursor

_SAVE_EVERY_S = 0.25
_LOOK_EVERY_S = 1.0
_FORGET_AFTER_S = 86_400.0
_STOP_S = 5.0


class UnknownDestination(Exception):
    """No destination has that name; the text names those there are."""


class EventTelling:
    """`open` before the log is written to, then `run`. `clock` gives UTC milliseconds, as the times
    of events are, `wall` what people's clocks say."""

    def __init__(
        self,
        *,
        log: ReadableLog,
        config: Config,
        metrics: Metrics,
        logger: Logger,
        clock: Callable[[], int],
        wall: Callable[[], int],
        rng: Random | None = None,
    ) -> None:
        self._log = log
        self._config = config
        self._metrics = metrics
        self._logger = logger
        self._clock = clock
        self._wall = wall
        self._rng = rng or SystemRandom()
        self._reader = EventReader(log, config.hostname)
        self._tellers: dict[str, Teller] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._saved: dict[str, TellingCursor] = {}
        self._forget_at: dict[str, float] = {}
        self._letters: dict[str, int] = {}
        self._newest = 0
        self._is_running = False
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Take up the cursors that are stored. A destination that is new is told what happens from
        now on. Raises `StoreError`."""
        self._newest = await self._log.newest_event()
        self._letters = await self._log.count_dead_letters()
        self._saved = {cursor.destination: cursor for cursor in await self._log.cursors()}
        await self._take_up(self._config)

    async def run(self) -> None:
        """Tell for ever, until cancelled. A teller that ends unexpectedly ends it. Raises
        `FiledElsewhere` where another tells."""
        self._is_running = True
        for name in self._tellers:
            self._start(name)
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        try:
            while True:
                if self._tasks:
                    await asyncio.wait(
                        list(self._tasks.values()),
                        timeout=_SAVE_EVERY_S,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                else:
                    await asyncio.sleep(_SAVE_EVERY_S)
                self._raise_failures()
                await self._save_if_possible()
                if loop.time() >= look_at:
                    look_at = loop.time() + _LOOK_EVERY_S
                    await self._look()
        finally:
            self._is_running = False
            await self._stop(list(self._tasks))
            await self._save_if_possible()

    async def configure(self, config: Config) -> None:
        """Put a configuration in force. A destination that stays the same goes on; of another one
        what is being told now may be told twice. Raises `StoreError`, and nothing has changed."""
        async with self._changing:
            self._newest = await self._log.newest_event()
            await self._take_up(config)

    def wake(self) -> None:
        """The log has new events."""
        for teller in self._tellers.values():
            teller.wake()

    def keep_from(self) -> int:
        """The number of the first event that somebody is still to be told: the log keeps it."""
        return min(
            (teller.upto for teller in self._tellers.values()), default=self._newest
        ) + 1  # fmt: skip

    async def states(self) -> list[DestinationState]:
        """All destinations, by name."""
        self._letters = await self._log.count_dead_letters()
        return [self._state(teller) for _, teller in sorted(self._tellers.items())]

    def teller(self, name: str) -> Teller:
        """The one of a destination. Raises `UnknownDestination`."""
        teller = self._tellers.get(name)
        if teller is None:
            known = ", ".join(sorted(self._tellers)) or "none"
            raise UnknownDestination(f"no event destination {name}; there are: {known}")
        return teller

    # Configuration

    async def _take_up(self, config: Config) -> None:
        old = self._tellers
        kept = {
            name: teller
            for name, teller in old.items()
            if config.events.get(name) == teller.config and config.hostname == self._config.hostname
        }
        await self._stop([name for name in old if name not in kept])
        await self._save_if_possible()  # also of those that are removed
        places = self._saved | {name: teller.cursor() for name, teller in old.items()}
        self._config = config
        self._tellers = {}
        for name, settings in config.events.items():
            self._forget_at.pop(name, None)
            teller = kept.get(name) or self._make(name, settings, places.get(name))
            teller.matching = matching_of(name, settings, config)
            self._tellers[name] = teller
        now = asyncio.get_running_loop().time()
        for name in self._saved.keys() - self._tellers.keys():
            self._forget_at.setdefault(name, now + _FORGET_AFTER_S)
        for name in old.keys() - self._tellers.keys():
            self._clear_gauges(name)
        if self._is_running:
            for name in self._tellers.keys() - kept.keys():
                self._start(name)
        await self._save_if_possible()  # where one that is new begins

    def _make(self, name: str, settings: EventDestination, place: TellingCursor | None) -> Teller:
        teller = Teller(
            name,
            settings,
            matching_of(name, settings, self._config),
            self._cursor(name, place),
            make=partial(
                make_destination, name, settings, self._metrics.sending_events, self._wall
            ),
            reader=self._reader,
            log=self._log,
            metrics=self._metrics,
            logger=self._logger,
            clock=self._clock,
            rng=self._rng,
        )
        teller.newest = self._newest
        return teller

    def _cursor(self, name: str, known: TellingCursor | None) -> TellingCursor:
        """Where it goes on; a log that ends before that is another one."""
        if known is None:
            return TellingCursor(name, self._newest)
        if known.upto > self._newest:
            self._logger.warning(
                "the message log has lost events that a destination was told",
                destination=name,
                cursor=known.upto,
                newest=self._newest,
            )
            return TellingCursor(name, self._newest, dropped=known.dropped)
        return known

    # Running

    def _start(self, name: str) -> None:
        self._tasks[name] = asyncio.create_task(self._tellers[name].run(), name=f"events:{name}")

    async def _stop(self, names: Sequence[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_S)

    def _raise_failures(self) -> None:
        for name, task in self._tasks.items():
            if task.done() and not task.cancelled():
                task.result()
                raise RuntimeError(f"the teller of {name} has ended")

    async def _look(self) -> None:
        """Note how far all are, and forget those who are long gone."""
        try:
            self._newest = await self._log.newest_event()
            self._letters = await self._log.count_dead_letters()
            await self._forget()
        except FiledElsewhere:
            raise
        except StoreError as error:
            self._logger.warning("telling of events waits for the log", error=str(error))
        for teller in self._tellers.values():
            teller.newest = self._newest
            if teller.backlog > teller.config.backlog:
                teller.wake()
            self._set_gauges(self._state(teller))

    async def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        for name in [name for name, at in self._forget_at.items() if at <= now]:
            await self._log.forget_cursor(name)
            self._saved.pop(name, None)
            del self._forget_at[name]

    async def _save_if_possible(self) -> None:
        """Where it is not, a restart tells again what was told since the last time. Raises
        `FiledElsewhere` where another tells, unless this one is about to end anyway."""
        try:
            await self._save()
        except StoreError as error:
            if self._is_running and isinstance(error, FiledElsewhere):
                raise
            self._logger.warning(
                "cursors of event destinations wait to be stored", error=str(error)
            )

    async def _save(self) -> None:
        moved = [
            cursor
            for name, teller in self._tellers.items()
            if (cursor := teller.cursor()) != self._saved.get(name)
        ]
        if moved:
            await self._log.put_cursors(moved)
            self._saved |= {cursor.destination: cursor for cursor in moved}

    def _state(self, teller: Teller) -> DestinationState:
        now = asyncio.get_running_loop().time()
        return state_of(teller, self._letters.get(teller.name, 0), now, self._clock())

    def _set_gauges(self, state: DestinationState) -> None:
        metrics = self._metrics
        age = max(0, self._clock() - state.oldest_at) / 1000 if state.oldest_at else 0.0
        metrics.event_backlog.labels(state.name).set(state.backlog)
        metrics.event_oldest_seconds.labels(state.name).set(age)
        metrics.event_destination_up.labels(state.name).set(state.condition == "up")
        metrics.event_dead_letters.labels(state.name).set(state.dead_letters)

    def _clear_gauges(self, name: str) -> None:
        metrics = self._metrics
        for gauge in (
            metrics.event_backlog,
            metrics.event_oldest_seconds,
            metrics.event_destination_up,
            metrics.event_dead_letters,
        ):
            with suppress(KeyError):  # it was there for less than a moment
                gauge.remove(name)
