"""Fetches MTA-STS policies anew before they end, once a day, and forgets those that have ended.

One process does it (the supervisor), for the store is shared. A policy that no mail has asked for
in a month is left to end. RFC 8461 §10.2 asks for it: a policy that is only looked at when mail is
sent could be kept from being renewed until it is gone.
"""

import asyncio
from collections.abc import Callable

from relay.observe.logging import Logger
from relay.routing.sts_policies import REFRESH_AFTER_MS, UNUSED_AFTER_MS, StsPolicies
from relay.store.interface import StoreError, StsPolicyStore

FIRST_S = 300.0
EVERY_S = 3600.0
AT_ONCE = 500
_SIDE_BY_SIDE = 8


class StsKeeper:
    """`wall` gives UTC milliseconds."""

    def __init__(
        self, policies: StsPolicies, store: StsPolicyStore, log: Logger, wall: Callable[[], int]
    ) -> None:
        self._policies = policies
        self._store = store
        self._log = log
        self._wall = wall

    async def run(self) -> None:
        """Look some minutes after the start and then every hour, until cancelled."""
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.look()
            except StoreError as error:
                self._log.warning("MTA-STS policies are not renewed now", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def look(self) -> int:
        """Renew what is due; how many were. Raises `StoreError`."""
        now = self._wall()
        await self._store.forget_ended(now)
        due = await self._store.stale(now - REFRESH_AFTER_MS, now - UNUSED_AFTER_MS, AT_ONCE)
        gate = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def renew(index: int) -> bool:
            async with gate:
                return await self._policies.refresh(due[index])

        return sum(await asyncio.gather(*(renew(index) for index in range(len(due)))))
