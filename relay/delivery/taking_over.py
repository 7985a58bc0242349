"""Mail that was put off until a node with addresses of its pool comes for it: this one may be it.

What waits so has a word for its pool (`relay.delivery.leaving`). About once a second it is asked
which words there are, one step down an index for each; of those pools that this node can send
through as much is brought forward as it can use now, and claimed. Should another node claim it in
between it puts it off again; should this one die, it is due mail like any other.
"""

from collections.abc import Callable
from typing import Protocol

from relay.store.interface import QueueStore, StoreError
from relay.store.values import Delivery, Owner

LOOK_SECONDS = 1.0


class Pools(Protocol):
    """What can be sent from here (`Dispatcher`)."""

    def usable_of(self, pool: str) -> int:
        """How many deliveries that wait for a pool can be used at once; 0: it has no source."""


class TakingOver:
    """`wall` gives UTC milliseconds, `clock` monotonic seconds. Owns how far it has come in what
    waits for each pool: what was kept out again must not hide the rest."""

    def __init__(
        self,
        store: QueueStore,
        pools: Pools,
        wall: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._pools = pools
        self._wall = wall
        self._clock = clock
        self._look_at = 0.0
        self._reached: dict[str, int] = {}

    async def claim(self, owner: Owner, limit: int) -> list[Delivery]:
        """Claim up to `limit` deliveries that waited for this node. Raises `StoreError` where none
        could be."""
        if self._clock() < self._look_at:
            return []
        self._look_at = self._clock() + LOOK_SECONDS
        claimed: list[Delivery] = []
        words = await self._store.delays.words("pool")
        self._reached = {word: self._reached.get(word, 0) for word in words}
        for word in words:
            room = limit - len(claimed)
            most = min(room, self._pools.usable_of(word.partition(":")[2]))
            if most <= 0:
                continue
            try:
                claimed += await self._claim_of(word, owner, most)
            except StoreError:
                if not claimed:
                    raise
                break  # what is claimed is ours by now: nobody else would send it
        return claimed

    async def _claim_of(self, word: str, owner: Owner, most: int) -> list[Delivery]:
        after, now = self._reached[word], self._wall()
        found = await self._store.delays.bring_forward(word, after, now, most)
        self._reached[word] = found[-1] if len(found) == most else 0
        return list(await self._store.claim_found(owner, found)) if found else []
