"""Whether the store can be reached, as far as is known without asking it.

Who speaks to a store that others share finds out soon: the beat of the membership, once a second.
Whoever else has a question is told at once what that found, rather than after the time-outs of a
database that says nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from relay.store.interface import StoreUnavailable

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Away:
    """The store cannot be reached: since when (UTC ms, of this host), and why."""

    since: int
    why: str


class Reach:
    """`wall` gives UTC milliseconds."""

    def __init__(self, wall: Callable[[], int]) -> None:
        self._wall = wall
        self._away: Away | None = None
        self._is_lost = asyncio.Event()
        self._left: set[asyncio.Future[Any]] = set()

    @property
    def away(self) -> Away | None:
        """None while the store answers."""
        return self._away

    def lose(self, why: str) -> None:
        """The store did not answer, or refused. The first time counts, the last reason."""
        since = self._away.since if self._away is not None else self._wall()
        self._away = Away(since, why)
        self._is_lost.set()

    def find(self) -> None:
        """The store has answered."""
        self._away = None
        self._is_lost.clear()

    async def during(self, work: Callable[[], Awaitable[A]]) -> A:
        """What `work` gives, which asks the store. Raises `StoreUnavailable` as soon as the store
        is known to be away: what was under way then may have been done."""
        if self._away is not None:
            raise StoreUnavailable(self._away.why)
        working = asyncio.ensure_future(work())
        losing = asyncio.ensure_future(self._is_lost.wait())
        try:
            await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise StoreUnavailable(self._away.why if self._away is not None else "It was away.")
        finally:
            losing.cancel()
            self._leave(working)

    def _leave(self, working: "asyncio.Future[A]") -> None:
        """Nobody waits for it any more, not even until it has ended: its driver may be patient."""
        if not working.done():
            working.cancel()
            self._left.add(working)
            working.add_done_callback(self._forget)

    def _forget(self, working: "asyncio.Future[A]") -> None:
        self._left.discard(working)
        if not working.cancelled():
            working.exception()  # whoever asked was told of a failure already
