"""Mail that waits for a node with addresses of its pool: what was claimed of it is kept."""

from typing import Any

import pytest

from relay.delivery.taking_over import TakingOver
from relay.store.interface import StoreUnavailable
from relay.store.values import Owner


class _Store:
    """Has one delivery for each pool, until it fails."""

    def __init__(self, fails_after: int) -> None:
        self._left = fails_after

    @property
    def delays(self) -> "_Store":
        return self

    async def words(self, kind: str) -> list[str]:
        return ["pool:a", "pool:b"]

    async def bring_forward(self, word: str, after: int, now: int, most: int) -> list[int]:
        return [1]

    async def claim_found(self, owner: Owner, ids: list[int]) -> list[str]:
        if not self._left:
            raise StoreUnavailable("away")
        self._left -= 1
        return ["a delivery"]


class _Pools:
    def usable_of(self, pool: str) -> int:
        return 10


def _taking_over(fails_after: int) -> TakingOver:
    store: Any = _Store(fails_after)
    return TakingOver(store, _Pools(), lambda: 0, lambda: 10.0)


async def test_what_was_claimed_before_the_store_failed_is_kept() -> None:
    """Nobody else would send it: it is claimed in the store."""
    assert await _taking_over(1).claim(Owner("w", 1), 10) == ["a delivery"]
    assert len(await _taking_over(2).claim(Owner("w", 1), 10)) == 2


async def test_a_store_that_gives_nothing_is_told_of() -> None:
    with pytest.raises(StoreUnavailable):
        await _taking_over(0).claim(Owner("w", 1), 10)
