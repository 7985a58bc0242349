"""What queued mail waits for: orders of operators, and what it was put off for."""

from collections.abc import Sequence
from typing import Protocol

from relay.store.values import Owner, PutOff, Suspension, SuspensionKind


class SuspensionStore(Protocol):
    """What operators have ordered to wait, and the deliveries that were set aside for it."""

    async def put(self, suspension: Suspension) -> bool:
        """Add a suspension, or replace the one of the same kind and name; True where it is new."""

    async def lift(self, kind: SuspensionKind, name: str) -> bool:
        """End one. What was set aside for it waits for `free`. False where there is none."""

    async def all(self) -> list[Suspension]:
        """Those that nobody has lifted, by kind and name; some of them may have ended."""

    async def set_aside(self, owner: Owner, deliveries: Sequence[tuple[int, str]]) -> None:
        """Give deliveries back as suspended, pairs of (delivery id, the keys of the suspensions
        that together make it wait, a space between them); their due times stay. Where one of them
        is not in force any more it is given back to be claimed at once."""

    async def free(self, limit: int) -> int:
        """Queue up to `limit` deliveries again whose suspension was lifted; how many."""

    async def free_of_sources(self, after: int, limit: int) -> int:
        """Queue up to `limit` deliveries again, with ids beyond `after`, that wait for suspended
        sources: their pool may have got others. The last id, 0 where none was left."""


class DelayStore(Protocol):
    """Mail that was put off without an attempt, and the words for what it waits for."""

    async def put_off(self, owner: Owner, deliveries: Sequence[PutOff]) -> None:
        """Give claimed deliveries back, due at other times. A claim takes the word off."""

    async def words(self, kind: str) -> list[str]:
        """The words of a kind (`rest`, `warmup`, `pool`) that mail waits for."""

    async def bring_forward(self, word: str, after: int, now: int, limit: int) -> Sequence[int]:
        """Have up to `limit` deliveries, with ids beyond `after`, be due at `now` (UTC ms) that
        were put off with this word; their ids, in order."""
