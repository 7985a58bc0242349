"""The addresses that mail does not go to, and how they came to be on the list."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from relay.store.suppression_values import Author, BulkKind, SuppressionChange, SuppressionCount
from relay.store.values import SuppressionEntry, SuppressionReason


class SuppressionStore(Protocol):
    """The suppression list and the log of its changes, each written in the transaction of the
    change. Matching ignores case; the original spelling is kept."""

    async def put(self, entries: Sequence[SuppressionEntry], author: Author) -> int:
        """Add or replace entries; how many were new. A count of bounces never gets smaller."""

    async def add_observed(self, entries: Sequence[SuppressionEntry]) -> None:
        """Add what was observed of mail, by `suppression_rules.observe`."""

    async def remove(self, addresses: Sequence[str], author: Author) -> int:
        """Take addresses off; how many were there."""

    async def find(self, address: str) -> SuppressionEntry | None:
        """The entry of an address, which may have expired."""

    async def reasons(self, keys: Sequence[str]) -> dict[str, tuple[SuppressionReason, int | None]]:
        """Reason and expiry (UTC ms) of those keys (`mail.address.suppression_key`) that are on the
        list."""

    def all(self) -> AsyncIterator[SuppressionEntry]:
        """All entries in order of address, those that have expired too, fetched in pages."""

    async def count(self) -> int:
        """How many there are, those that have expired too. Costs nothing."""

    async def tally(self, now: int) -> list[SuppressionCount]:
        """Counts by reason and source. Seconds for millions, in short questions."""

    async def prune(self, before: int, limit: int) -> int:
        """Forget up to `limit` entries that expired before then (UTC ms); how many."""

    async def begin(self, what: BulkKind, detail: str, author: Author) -> int:
        """Note that an import begins; the `bulk` of the `Author` of each of its parts."""

    async def end(self, bulk: int, at: int, more: str) -> None:
        """Note that an import is over, with what else there is to say of it."""

    async def changes(self, address: str, limit: int) -> list[SuppressionChange]:
        """The last changes, newest first: of an address, or of all where it is empty."""

    async def prune_changes(self, before: int, most: int, limit: int) -> int:
        """Forget up to `limit` of the oldest changes that were made before then, or of which
        there are more than `most`; how many."""
