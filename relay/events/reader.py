"""Reads the log for all who tell: what is new is read once, however many destinations there are."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from relay.events.notification import Notification
from relay.store.log_interface import Filed, TellingLog
from relay.store.log_values import LoggedEvent

_KEPT = 500


class ReadableLog(Filed, TellingLog, Protocol):
    """Events, and the messages that they are about."""


async def notifications(
    log: ReadableLog, hostname: str, events: Sequence[LoggedEvent]
) -> list[Notification]:
    """Events with what is known of their messages. Raises `StoreError`."""
    ids = list(dict.fromkeys(event.message_id for event in events if event.message_id))
    messages = await log.messages(ids) if ids else {}
    return [Notification(event, messages.get(event.message_id), hostname) for event in events]


class EventReader:
    """Keeps the newest events that were read; what lies further back is read anew."""

    def __init__(self, log: ReadableLog, hostname: str) -> None:
        self._log = log
        self._hostname = hostname
        self._newest: deque[Notification] = deque()
        self._low = 0  # all events beyond it, up to the last one, are kept
        self._lock = asyncio.Lock()

    async def after(self, number: int, limit: int) -> list[Notification]:
        """Some of the next events after that number, in order; none where there is no further one.
        Raises `StoreError`."""
        async with self._lock:
            if self._newest and self._low <= number < self._high:
                return [kept for kept in self._newest if kept.event.number > number][:limit]
            events = await self._log.events_after(number, limit)
            read = await notifications(self._log, self._hostname, events)
            if read and number >= self._high:
                self._keep(number, read)
            return read

    @property
    def _high(self) -> int:
        return self._newest[-1].event.number if self._newest else 0

    def _keep(self, number: int, read: list[Notification]) -> None:
        if number != self._high or not self._newest:
            self._newest.clear()
            self._low = number
        self._newest.extend(read)
        while len(self._newest) > _KEPT:
            self._low = self._newest.popleft().event.number
