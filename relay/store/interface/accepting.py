"""What the front end needs: bodies while they arrive, and messages once they are whole."""

from typing import Protocol

from relay.store.values import Accepted, Body, NewMessage, Owner


class BodyWriter(Protocol):
    """Takes a body in chunks while it arrives; keeps small ones in memory, spills large ones."""

    @property
    def in_memory(self) -> int:
        """Octets held in memory now, for the global budget."""

    async def write(self, chunk: bytes) -> None: ...

    async def finish(
        self,
        *,
        simple_digest: bytes,
        relaxed_digest: bytes | None,
        eight_bit: bool,
        dots: bool | None = None,
    ) -> Body:
        """Make the body durable (a spilled file and its directory are synced) and describe it; see
        `Body`."""

    async def discard(self) -> None:
        """Forget the body. Safe after `finish` too, until the message is inserted."""


class MessageStore(Protocol):
    """Accepting: what the front end needs."""

    def new_body(self) -> BodyWriter: ...

    async def insert(self, new: NewMessage, owner: Owner | None) -> Accepted:
        """Store a message durably; claimed by `owner` where one is given and still alive (the
        deliveries say so: without a claim their epoch is 0, and any worker may claim them).

        The body belongs to the store from the call on, also when it fails. When every recipient
        is suppressed, or the message rejected, it is told of and not kept. A call that is cancelled
        is withdrawn: whoever was not told that his message was stored sends it again.
        """
