"""What the scheduler needs: who delivers, what is claimed, and how it went."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from relay.store.interface.attempts import UnclassifiedStore
from relay.store.interface.suppression import SuppressionStore
from relay.store.interface.waiting import DelayStore, SuspensionStore
from relay.store.values import Delivery, Due, Message, Owner, Settlement, Want


class QueueStore(Protocol):
    """Delivering: what the scheduler needs."""

    @property
    def suspensions(self) -> SuspensionStore: ...

    @property
    def delays(self) -> DelayStore: ...

    @property
    def unclassified(self) -> UnclassifiedStore: ...

    @property
    def suppressions(self) -> SuppressionStore: ...

    async def register(self, name: str, lease_ms: int) -> Owner:
        """A new epoch for `name`; what earlier epochs of that name had claimed is free again."""

    async def renew(self, owner: Owner, lease_ms: int) -> bool:
        """Extend the lease; False when the owner has been declared dead."""

    async def resign(self, owner: Owner) -> None:
        """Free all claims and end the lease (clean shutdown)."""

    async def claim(self, owner: Owner, now: int, limit: int) -> list[Delivery]:
        """Claim up to `limit` deliveries that are due and queued, longest due first.

        Also frees what owners with an expired lease had claimed. Bodies are not loaded.
        """

    async def find_due(self, want: Want) -> Due:
        """What there is to claim by turns, where not everything that is due fits: see `Want`.
        Nobody waits for this question; its answer may be out of date when it comes."""

    async def find_expired(self, after: int, until: int, limit: int) -> Sequence[int]:
        """Up to `limit` unclaimed deliveries, queued or suspended, that have expired later than
        `after` and not later than `until`, wherever they wait and for what."""

    async def claim_found(self, owner: Owner, ids: Sequence[int]) -> list[Delivery]:
        """Claim those that are unclaimed and not held still, in their order; else as `claim`."""

    async def next_due(self, after: int = 0) -> int | None:
        """When the earliest unclaimed, queued delivery is due that is due later than `after`; None
        when there is none."""

    def read_body(self, message: Message) -> AsyncIterator[bytes]:
        """The body in chunks of at most 256 KiB. Raises BodyDamaged."""

    async def note_sending(self, owner: Owner, deliveries: Sequence[int]) -> None:
        """Note that these deliveries, and no others of this owner, may be with a receiver before
        their outcome is stored: their content is about to be sent. Should the owner die, those of
        them that it has not settled are marked as `Delivery.doubtful` for whoever takes them over.

        Raises StoreUnavailable also where the owner was declared dead: it is to send nothing. The
        notes survive the death of the process, not that of the store. An embedded store, whose
        owners die with their machine, notes nothing.
        """

    async def settle(self, owner: Owner, settlement: Settlement) -> bool: ...

    async def end(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle deliveries that are over, all in one operation: for each, what `settle` would say
        under the claim that its delivery has. Nothing else is left to note but how it went, and
        what happened. Their bodies have no `ref`."""

    async def release(self, owner: Owner, deliveries: Sequence[tuple[int, int]]) -> None:
        """Give deliveries back unattempted: pairs of (delivery id, due_at)."""
