"""What operators look at and change."""

from collections.abc import Sequence
from typing import Protocol

from relay.store.values import (
    Delivery,
    Message,
    Owner,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    QueueGroup,
    QueueGrouping,
    Secret,
    State,
)


class OperatorStore(Protocol):
    """What operators look at and change."""

    async def queue(self, which: QueueFilter) -> list[QueueEntry]: ...

    async def depths(self) -> list[QueueDepth]: ...

    async def groups(self, by: QueueGrouping) -> list[QueueGroup]:
        """The queue divided, in no order. A second for a million deliveries."""

    async def set_state(self, which: QueueFilter, state: State) -> int:
        """Hold or release unclaimed deliveries; returns how many changed. Claimed ones are
        marked, and change when their owner settles or releases them. Those in quarantine change
        only when the filter names that state."""

    async def retry_now(self, which: QueueFilter, now: int) -> int: ...

    async def move(self, which: QueueFilter, pool: str) -> int:
        """Have deliveries go through `pool` from their next attempt on; `""` is that of their
        set. How many changed."""

    async def matching(self, which: QueueFilter) -> Sequence[int]:
        """The ids of deliveries, ascending; none in quarantine, unless that state is named."""

    async def newest(self) -> int:
        """The highest id of a delivery; what is stored later has a higher one."""

    async def take(self, owner: Owner, which: QueueFilter) -> list[Delivery]:
        """Claim unclaimed deliveries whatever their due time or state (to bounce them)."""

    async def find_message(self, message_id: str) -> Message | None: ...

    async def add_secret(self, secret: Secret) -> None: ...

    async def secrets(self) -> list[Secret]: ...

    async def revoke_secrets(self, credential: str, now: int) -> int: ...
