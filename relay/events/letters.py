"""Dead letters as they are shown: also by those who tell no events, from what the log has."""

from relay.events.reader import ReadableLog, notifications
from relay.events.states import ShownLetter, shown

AT_ONCE = 100
"""Events of one part of a replay, and dead letters of one answer."""


async def shown_letters(
    log: ReadableLog, hostname: str, name: str, after: int, limit: int
) -> list[ShownLetter]:
    """Of one destination, or of all where the name is empty, in the order of their ids. Raises
    `StoreError`."""
    letters = await log.dead_letters(name, after, limit)
    told = await notifications(log, hostname, [letter.event for letter in letters])
    return [
        shown(letter, notification.content)
        for letter, notification in zip(letters, told, strict=True)
    ]
