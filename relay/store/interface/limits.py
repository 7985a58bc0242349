"""What may be sent in a day, and how far warm-ups have come."""

from collections.abc import Sequence
from typing import Protocol

from relay.store.values import PermitRequest, Permits, WarmupProgress


class PermitStore(Protocol):
    """Rolling-window permits, persistent and exact: see `PermitRequest`."""

    async def lease_permits(self, request: PermitRequest) -> Permits: ...

    async def return_permits(self, key: str, at: int, count: int) -> None:
        """Give back unused permits of a block that was granted at `at`."""

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]: ...


class WarmupStore(Protocol):
    """How far the warm-ups of source addresses have come."""

    async def all(self) -> list[WarmupProgress]:
        """In order of address."""

    async def replace(self, known: WarmupProgress | None, new: WarmupProgress) -> bool:
        """Put `new` in the place of `known` (None: there is none yet), if that is still what
        stands there; else change nothing and say False."""

    async def forget(self, known: WarmupProgress) -> bool:
        """Remove `known`, if that is still what stands there."""
