"""Bodies while they arrive, over either engine: small ones stay in memory, large ones do not."""

from collections.abc import Callable
from typing import Protocol

from relay.store.interface import StoreUnavailable
from relay.store.reading import BLOCK
from relay.store.values import Body


class Spill(Protocol):
    """Where an engine puts one body that is too large for its message's row. Raises StoreError,
    and then the body is not whole any more: whatever is asked for next fails as well."""

    async def append(self, block: bytes) -> None: ...

    async def complete(self) -> str:
        """What refers to the body from then on. It is durable before a row that says so is."""

    async def abandon(self) -> None:
        """Remove what is there, unless a message names it."""


class SpillingWriter:
    """A `BodyWriter`: holds up to `inline_size` octets, and spills what is larger. `begin` makes
    the place for it once there is something to put there; with `early` it is begun at once when a
    body turns out too large, else when there is a whole block of it."""

    def __init__(self, begin: Callable[[], Spill], inline_size: int, *, early: bool) -> None:
        self._begin = begin
        self._inline_size = inline_size
        self._early = early
        self._chunks: list[bytes] = []
        self._held = 0
        self._size = 0
        self._spill: Spill | None = None
        self._is_over = False

    @property
    def in_memory(self) -> int:
        return self._held

    async def write(self, chunk: bytes) -> None:
        """Raises StoreError when the store cannot take it."""
        self._chunks.append(chunk)
        self._held += len(chunk)
        self._size += len(chunk)
        if self._size > self._inline_size and (
            self._held >= BLOCK or (self._early and self._spill is None)
        ):
            await self._flush()

    async def finish(
        self,
        *,
        simple_digest: bytes,
        relaxed_digest: bytes | None,
        eight_bit: bool,
        dots: bool | None = None,
    ) -> Body:
        """Raises StoreError when the body could not be stored."""
        inline = None
        reference = ""
        if self._size > self._inline_size:
            spill = await self._flush()
            reference = await spill.complete()
        else:
            inline = b"".join(self._chunks)
            self._chunks.clear()
        return Body(
            size=self._size,
            simple_digest=simple_digest,
            relaxed_digest=relaxed_digest,
            eight_bit=eight_bit,
            inline=inline,
            ref=reference,
            dots=dots,
        )

    async def discard(self) -> None:
        self._chunks.clear()
        self._held = 0
        self._is_over = True
        if self._spill is not None:
            await self._spill.abandon()

    async def _flush(self) -> Spill:
        if self._is_over:
            raise StoreUnavailable("The body was discarded.")
        block = b"".join(self._chunks)
        self._chunks.clear()
        if self._spill is None:
            self._spill = self._begin()
        if block:
            await self._spill.append(block)
        self._held = 0
        return self._spill
