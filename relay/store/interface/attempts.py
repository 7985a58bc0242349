"""What receivers answered: how attempts went, and the replies that no rule knew."""

from collections.abc import Sequence
from typing import Protocol

from relay.store.values import Attempt, UnclassifiedReply


class AttemptStore(Protocol):
    """How attempts went; they are written with the settlement that they led to."""

    async def of(self, message_id: str, limit: int) -> list[Attempt]:
        """The last `limit` attempts at a message, in order of time."""

    async def prune(self, before: int, most: int, limit: int) -> int:
        """Forget up to `limit` of the oldest that began before then (UTC ms), or of which there
        are more than `most`; how many."""


class UnclassifiedStore(Protocol):
    """Replies that no rule knew."""

    async def add(self, replies: Sequence[UnclassifiedReply], most: int) -> None:
        """Add to what is counted; beyond `most`, those seen longest ago are forgotten."""

    async def all(self, limit: int) -> list[UnclassifiedReply]:
        """Most frequent first."""

    async def clear(self) -> int:
        """Forget them all; how many."""
