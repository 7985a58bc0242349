"""What one destination is still to be told: read from the log as there is room for it.

Of each event that was read and is not done it keeps the notification, how often it was tried, and
until when it is *held* after it failed. What may be told next is decided by `Course`.
"""

from collections.abc import Sequence

from relay.events.course import Course
from relay.events.matching import Matching
from relay.events.notification import Notification
from relay.events.patience import Trials
from relay.events.reader import EventReader
from relay.store.log_values import TellingCursor

PAGE = 500
"""So many are read at a time, and so many wait in memory before more are read."""


class Waiting:
    """Goes on at `cursor`. `in_lines`: of one message one event at a time; else events are given
    out as the log has them. Times are seconds of the loop's clock."""

    def __init__(self, cursor: TellingCursor, reader: EventReader, *, in_lines: bool) -> None:
        self.course = Course(cursor.upto, cursor.ahead)
        self._reader = reader
        self._in_lines = in_lines
        self._open: dict[int, Notification] = {}
        self._trials: dict[int, Trials] = {}
        self._held: dict[int, float] = {}
        self._has_more = True

    def look_again(self) -> None:
        """The log may have more."""
        self._has_more = True

    @property
    def in_flight(self) -> int:
        """Events that were given out and are neither done nor held."""
        return self.course.taken - len(self._held)

    @property
    def oldest_at(self) -> int:
        """When the oldest of those that were read happened, UTC ms; 0 where none waits."""
        oldest = self.course.oldest()
        return self._open[oldest].event.at if oldest is not None else 0

    def held_until(self) -> Sequence[float]:
        """When those that are held may be tried again."""
        return tuple(self._held.values())

    def notification(self, number: int) -> Notification:
        """Of an event that is not done."""
        return self._open[number]

    def trials(self, number: int) -> Trials:
        """How often it was tried."""
        return self._trials.setdefault(number, Trials())

    # Reading

    async def read_on(self, matching: Matching) -> None:
        """Read while there is room. Raises `StoreError`."""
        while self._has_more and self.course.open < PAGE and not self.course.is_wide:
            await self._read(matching)

    async def drop(self, floor: int, matching: Matching) -> int:
        """Give up what has numbers up to `floor` and is not being told; how many the destination
        would have been told. Raises `StoreError`."""
        if self.course.upto >= floor:
            return 0
        self._has_more = True
        dropped = 0
        while True:
            for number in [held for held in self._held if held <= floor]:
                self._release(number)
            lost = self.course.drop_upto(floor)
            for number in lost:
                self._forget(number)
            dropped += len(lost)
            if self.course.read >= floor or not self._has_more:
                return dropped
            await self._read(matching)

    async def _read(self, matching: Matching) -> None:
        page = await self._reader.after(self.course.read, PAGE)
        self._has_more = bool(page)
        for notification in page:
            event = notification.event
            wanted = matching.wants(event, notification.message)
            line = (event.message_id or event.id) if self._in_lines else str(event.number)
            if self.course.offer(event.number, line, wanted=wanted):
                self._open[event.number] = notification

    # Giving out

    def take(self, most: int) -> list[int]:
        """Events for one telling. One that has failed before is told alone, so that it does not
        take others down with it."""
        batch: list[int] = []
        while len(batch) < most and (number := self.course.take()) is not None:
            if number in self._trials and batch:
                self.course.again(number)
                break
            batch.append(number)
            if number in self._trials:
                break
        return batch

    def done(self, number: int) -> None:
        """It was told, or is a dead letter."""
        self.course.done(number)
        self._forget(number)

    def again(self, number: int) -> None:
        """It may be given out again at once."""
        self.course.again(number)

    def hold(self, number: int, until: float) -> None:
        """It may be given out again then."""
        self._held[number] = until

    def release(self, now: float) -> None:
        """Those that were held until now may be given out."""
        for number in [held for held, until in self._held.items() if until <= now]:
            self._release(number)

    def _release(self, number: int) -> None:
        del self._held[number]
        self.course.again(number)

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)
        self._trials.pop(number, None)
