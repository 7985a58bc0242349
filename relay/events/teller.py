"""Tells one destination, at its own pace: reads on in the log, keeps order, waits where it fails.

What is to be told next is decided in `relay.events.course`, how long to wait in
`relay.events.patience`. The cursor is stored by `relay.events.telling`, a moment later: what was
told in between is told again after a crash, under the same id.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from relay.config.events import EventDestination
from relay.events.destinations.interface import Destination, DestinationError
from relay.events.destinations.making import takes_whole
from relay.events.matching import Matching
from relay.events.patience import Failed, Outcome, Refused, Told
from relay.events.reader import EventReader, ReadableLog
from relay.events.standing import Standing
from relay.events.waiting import Waiting
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError
from relay.store.log_interface import FiledElsewhere
from relay.store.log_values import DeadLetter, TellingCursor

_LONGEST_REST_S = 30.0
_STORE_AGAIN_S = 2.0

Make = Callable[[], Destination]


class Teller:
    """`run` tells for ever. `matching` may be changed at any time; it decides on what is read from
    then on. `newest` is the number of the newest event of the log, as far as is known. `clock`
    gives UTC milliseconds, as the times of events are."""

    def __init__(
        self,
        name: str,
        config: EventDestination,
        matching: Matching,
        cursor: TellingCursor,
        *,
        make: Make,
        reader: EventReader,
        log: ReadableLog,
        metrics: Metrics,
        logger: Logger,
        clock: Callable[[], int],
        rng: Random,
    ) -> None:
        self.name = name
        self.config = config
        self.matching = matching
        self.newest = cursor.upto
        self.dropped = cursor.dropped
        self._waiting = Waiting(cursor, reader, in_lines=not takes_whole(config))
        self._make = make
        self._log = log
        self._metrics = metrics
        self._logger = logger.bind(destination=name)
        self.standing = Standing(name, metrics, self._logger, clock, rng)
        self._clock = clock
        self._destination: Destination | None = None
        self._tellings: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._failure: BaseException | None = None

    # What others ask

    def wake(self) -> None:
        """There may be something to do."""
        self._waiting.look_again()
        self._woken.set()

    @property
    def upto(self) -> int:
        """All events up to this number are done."""
        return self._waiting.course.upto

    def cursor(self) -> TellingCursor:
        """To be stored."""
        course = self._waiting.course
        return TellingCursor(self.name, course.upto, course.ahead(), self.dropped)

    @property
    def backlog(self) -> int:
        """Events that wait: those that were read, and all of the log that were not."""
        course = self._waiting.course
        return course.open + max(0, self.newest - course.read)

    @property
    def oldest_at(self) -> int:
        """When the oldest of those that were read happened, UTC ms; 0 where none waits."""
        return self._waiting.oldest_at

    @property
    def in_flight(self) -> int:
        """Events that are being told."""
        return self._waiting.in_flight

    def destination(self) -> Destination:
        """What is told. Raises `DestinationError`."""
        if self._destination is None:
            self._destination = self._make()
        return self._destination

    async def run(self) -> None:
        """For ever, until cancelled. What is being told then may be told again later."""
        try:
            while True:
                self._woken.clear()
                if self._failure is not None:
                    raise self._failure
                try:
                    await self._read()
                except StoreError as error:
                    self._logger.warning("telling of events waits for the log", error=str(error))
                    await asyncio.sleep(_STORE_AGAIN_S)
                    continue
                self._tell_on()
                await self._rest()
        finally:
            for telling in self._tellings:
                telling.cancel()
            await asyncio.gather(*self._tellings, return_exceptions=True)
            if self._destination is not None:
                await self._destination.close()

    async def _read(self) -> None:
        """Read on, and lose the oldest where more wait than the configuration allows."""
        dropped = await self._waiting.drop(self.newest - self.config.backlog, self.matching)
        if dropped:
            self.dropped += dropped
            self._metrics.events_dropped.labels(self.name).inc(dropped)
            self._logger.error(
                "events are lost: more wait for a destination than its backlog holds",
                dropped=dropped,
                backlog=self.config.backlog,
            )
        if self.config.enabled:
            await self._waiting.read_on(self.matching)

    # Telling

    def _tell_on(self) -> None:
        """Begin as many tellings as may be under way now."""
        now = self._now()
        self._waiting.release(now)
        ready = self._waiting.course.has_ready
        if not ready or not self.config.enabled or self._must_wait(now):
            return
        try:
            destination = self.destination()
        except DestinationError as error:
            self.standing.could_not_begin(Failed(f"it cannot be set up: {error}"), now)
            return
        probing = self.standing.patience.in_trouble
        most = 1 if probing else destination.concurrency
        while len(self._tellings) < most:
            batch = self._waiting.take(1 if probing else destination.batch)
            if not batch:
                return
            telling = asyncio.create_task(self._tell(destination, batch))
            self._tellings.add(telling)
            telling.add_done_callback(self._ended)

    def _must_wait(self, now: float) -> bool:
        return self.standing.patience.in_trouble and (
            bool(self._tellings) or now < self.standing.patience.again_at
        )

    def _ended(self, telling: asyncio.Task[None]) -> None:
        self._tellings.discard(telling)
        if not telling.cancelled() and (error := telling.exception()) is not None:
            self._failure = error
        self._woken.set()

    async def _tell(self, destination: Destination, batch: Sequence[int]) -> None:
        renderable = [number for number in batch if await self._is_renderable(number)]
        if not renderable:
            return
        notifications = [self._waiting.notification(number) for number in renderable]
        try:
            outcomes = await destination.tell(notifications)
        except Exception as error:  # whatever the client of a stream has not been told to catch
            self._logger.exception("a destination failed in an unforeseen way")
            outcomes = [Failed(f"{type(error).__name__}: {error}")] * len(notifications)
        for number, outcome in zip(renderable, outcomes, strict=True):
            await self._settle(number, outcome)

    async def _is_renderable(self, number: int) -> bool:
        """What cannot be written is a mistake of ours, and must not keep others from being told."""
        try:
            self._waiting.notification(number).content  # noqa: B018 - rendered once, here
        except Exception as error:
            self._logger.exception("an event could not be written")
            await self._bury(number, f"it could not be written: {type(error).__name__}: {error}")
            return False
        return True

    async def _settle(self, number: int, outcome: Outcome) -> None:
        now = self._now()
        match outcome:
            case Told():
                self.standing.took()
                self._waiting.done(number)
            case Refused(error) if not self.standing.refuses_everything:
                self.standing.refused(error)
                trials = self._waiting.trials(number)
                if trials.refused(now):
                    await self._bury(number, error)
                else:
                    self._waiting.hold(number, trials.not_before)
            case Refused(error):
                await self._failed(number, Failed(f"it refuses everything: {error}"), now)
            case Failed():
                await self._failed(number, outcome, now)

    async def _failed(self, number: int, failed: Failed, now: float) -> None:
        self.standing.failed(failed, now)
        age = self._clock() - self._waiting.notification(number).event.at
        if age > self.config.give_up_after * 1000:
            await self._bury(number, failed.error)
        elif takes_whole(self.config):
            self._waiting.again(number)  # it fails as a whole, and keeps the order of the log
        else:
            trials = self._waiting.trials(number)
            holds_up = self._waiting.course.is_wide
            if trials.failed(now, self.standing.told, holds_up=holds_up):
                await self._bury(number, failed.error)
            else:
                self._waiting.hold(number, trials.not_before)

    async def _bury(self, number: int, error: str) -> None:
        """Keep it as a dead letter; only then is it done."""
        letter = DeadLetter(
            destination=self.name,
            event=self._waiting.notification(number).event,
            attempts=max(1, self._waiting.trials(number).attempts),
            error=error,
            at=self._clock(),
        )
        try:
            await self._log.add_dead_letters([letter], self.config.dead_letters)
        except FiledElsewhere:
            raise
        except StoreError as failure:
            self._logger.warning("a dead letter could not be kept", error=str(failure))
            self._waiting.hold(number, self._now() + _STORE_AGAIN_S)
            return
        self._logger.warning(
            "an event is a dead letter",
            event_id=letter.event.id,
            type=letter.event.type,
            error=error,
        )
        self._waiting.done(number)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _rest(self) -> None:
        """Until something happens, or it is time to try again."""
        now = self._now()
        times = list(self._waiting.held_until())
        if self.standing.patience.in_trouble:
            times.append(self.standing.patience.again_at)
        rest = min([_LONGEST_REST_S, *(at - now for at in times if at > now)])
        try:
            async with asyncio.timeout(rest):
                await self._woken.wait()
        except TimeoutError:
            return
