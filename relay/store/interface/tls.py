"""TLS with other relays: the policies that domains publish, and how it went."""

from collections.abc import Sequence
from typing import Protocol

from relay.store.tls_values import StoredPolicy, TlsDay, TlsTally


class StsPolicyStore(Protocol):
    """MTA-STS policies that domains published, by domain."""

    async def find(self, domain: str) -> StoredPolicy | None: ...

    async def put(self, policy: StoredPolicy) -> None:
        """Add or replace the policy of a domain."""

    async def used(self, domain: str, now: int) -> None:
        """Note that mail has asked for it."""

    async def all(self, limit: int) -> list[StoredPolicy]:
        """In order of domain."""

    async def stale(self, fetched_before: int, used_since: int, limit: int) -> list[StoredPolicy]:
        """Those that are in use and were fetched before then, longest ago first."""

    async def forget_ended(self, now: int) -> int:
        """Forget those whose max_age is over; how many."""


class TlsTallyStore(Protocol):
    """How TLS with other relays went, by day, and which reports of it are settled."""

    async def add(self, day: int, tallies: Sequence[TlsTally], most: int) -> int:
        """Add to what is counted. A day has at most `most` rows; the sessions that found no room
        are returned."""

    async def of(self, day: int, domain: str) -> list[TlsTally]: ...

    async def unsettled(self, since: int, before: int, limit: int) -> list[tuple[int, str]]:
        """Days from `since` on and before `before`, with the domains whose report is not settled;
        oldest first."""

    async def settle(self, day: int, domain: str, at: int, result: str) -> bool:
        """Note what became of a report; False where that is noted already."""

    async def days(self, domain: str, limit: int) -> list[TlsDay]:
        """Sums, newest day first, then most failures first; of all domains where it is empty."""

    async def forget(self, before: int) -> int:
        """Forget all days before; how many rows."""
