"""How long a client of ours waits for the database before it hears 451.

A server that is stopped, and a network that swallows packets, say nothing: only time tells. Clients
give up after minutes, but their threads wait meanwhile. What is asked for is given up by whoever
waits, not by whoever does it: should it come about after all, it is undone.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from relay.store.interface import StoreUnavailable
from relay.store.postgres.place import Place

R = TypeVar("R")

CLIENTS_WAIT = 12.0
"""Seconds for one thing that is asked for."""
REMOVES_WITHIN = 2.0
"""Seconds for removing a body that was refused; what is left is swept up later."""


async def in_time(asked: Awaitable[R], place: Place, within: float | None = None) -> R:
    """What is `asked`, or `StoreUnavailable` after so many seconds (None: `CLIENTS_WAIT`)."""
    try:
        async with asyncio.timeout(CLIENTS_WAIT if within is None else within):
            return await asked
    except TimeoutError as error:
        raise StoreUnavailable(f"The database {place} does not answer.") from error
