"""Reading bodies, over either engine: in blocks, and never as what was not stored.

A body that cannot be read as it was written sets its message apart: whoever reads it has nothing
left to settle.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

from relay.store.bound import Write
from relay.store.codec import Damaged
from relay.store.faults import Faults
from relay.store.interface import BodyDamaged, StoreError, StoreUnavailable
from relay.store.values import Message

BLOCK = 256 * 1024  # octets


class Reading:
    """Of one store. `spilled` reads a body that does not lie in its message's row, by reference and
    size, and `inline` finds one that does, by the message's id (None: it is gone); both raise
    Damaged. `quarantine` sets all deliveries of a message apart: how many it had."""

    def __init__(
        self,
        *,
        spilled: Callable[[str, int], AsyncIterator[bytes]],
        inline: Callable[[str], Awaitable[bytes | None]],
        quarantine: Write[str, int],
        faults: Faults,
    ) -> None:
        self._spilled = spilled
        self._inline = inline
        self._quarantine = quarantine
        self._faults = faults

    async def read(self, message: Message) -> AsyncIterator[bytes]:
        """See `QueueStore.read_body`."""
        try:
            if message.body.inline is None and message.body.ref:
                async for block in self._spilled(message.body.ref, message.body.size):
                    yield block
                return
            inline = message.body.inline
            if inline is None:
                inline = await self._inline(message.id)
        except Damaged as error:
            raise await self._set_apart(message, error) from error
        if inline is None:
            raise _gone(message)
        for start in range(0, len(inline), BLOCK):
            yield inline[start : start + BLOCK]

    async def _set_apart(self, message: Message, damage: Damaged) -> StoreError:
        """The error to raise for it."""
        if await self._quarantine(message.id):
            self._faults.quarantined([damage])
            return BodyDamaged(f"The body of message {message.id} is damaged: {damage}")
        return _gone(message)


def _gone(message: Message) -> StoreUnavailable:
    return StoreUnavailable(f"Message {message.id} is not stored any more.")
