"""Tells events once more, because an operator asks for it: in parts, each of bounded time."""

import asyncio
from collections.abc import Sequence

from relay.events.course import Course
from relay.events.destinations.interface import Destination
from relay.events.notification import Notification
from relay.events.patience import Failed, Outcome
from relay.store.log_interface import TellingLog

ENOUGH_S = 15.0
"""After so long one part of a replay begins no further telling."""
_SLACK_MS = 300_000
"""By how much events may be out of the order of their times in the log."""


async def tell_again(
    destination: Destination, notifications: Sequence[Notification]
) -> list[Outcome | None]:
    """What became of each, in their order; of one message each once the one before it was told or
    refused. It stops where the destination fails, and after some time: what was not tried then is
    None."""
    loop = asyncio.get_running_loop()
    end = loop.time() + ENOUGH_S
    outcomes: list[Outcome | None] = [None] * len(notifications)
    course = Course(-1)
    for number, notification in enumerate(notifications):
        event = notification.event
        course.offer(number, event.message_id or event.id, wanted=True)
    while course.has_ready and loop.time() < end:
        wave: list[int] = []
        most = destination.concurrency * destination.batch
        while len(wave) < most and (next_one := course.take()) is not None:
            wave.append(next_one)
        parts = [wave[i : i + destination.batch] for i in range(0, len(wave), destination.batch)]
        answers = await asyncio.gather(
            *(destination.tell([notifications[number] for number in part]) for part in parts)
        )
        told = [outcome for answer in answers for outcome in answer]
        for number, outcome in zip(wave, told, strict=True):
            outcomes[number] = outcome
            course.done(number)
        if any(isinstance(outcome, Failed) for outcome in told):
            break
    return outcomes


async def number_before(log: TellingLog, at: int) -> int:
    """A number after which all events are that happened at `at` (UTC ms) or later. Some of those
    after it may have happened before. Raises `StoreError`."""
    low, high = await log.oldest_event() - 1, await log.newest_event()
    while low < high:
        middle = (low + high) // 2
        found = await log.events_after(middle, 1)
        if found and found[0].at < at - _SLACK_MS:
            low = found[0].number
        else:
            high = middle
    return max(0, low)


def is_past(at: int, until: int) -> bool:
    """Whether no event that comes after one of that time happened before `until`."""
    return at > until + _SLACK_MS
