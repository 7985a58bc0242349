"""The limits of a relay that is one node of several: its shares, begun and given up.

A relay of its own shares nothing, and pays nothing for it.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from relay.limits.limits import Limits
from relay.limits.sharing import Sharing
from relay.store.interface import StoreError

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_EVERY = 1.0  # seconds
_GOODBYE = 2.0  # seconds that the end of the relay waits for the store


def make_sharing(relay: "Supervisor") -> Sharing | None:
    """What this node shares with its fleet; None where it is alone."""
    store = relay.store
    if not store.is_shared:
        return None
    return Sharing(store.shares, relay.fleet.membership, time.monotonic)


async def return_permits(limits: Limits) -> None:
    """Have permits of quotas go back soon that nobody needs here, for ever: others may."""
    while True:
        await asyncio.sleep(_EVERY)
        await limits.give_back_old()


async def give_up(relay: "Supervisor", sharing: Sharing) -> None:
    """Leave all shares to the others, at the end. Should the store not answer they wait for the
    lease of this node."""
    try:
        async with asyncio.timeout(_GOODBYE):
            await sharing.close()
    except (StoreError, TimeoutError) as error:
        relay.log.warning(
            "the shares of this node cannot be given up: others wait for its lease",
            error=str(error) or "no answer",
        )
