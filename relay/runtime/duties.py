"""What only one node of a fleet does at a time, and whether this node does it.

The scribe's work is a tenure, for it goes on all the time (`relay.runtime.tenure`). What is done
now and then asks for its duty each time.
"""

from collections.abc import Callable

from relay.store.fleet_values import Membership
from relay.store.interface import Store

SCRIBE = "scribe"
"""Filing, telling, judging, and pruning of the message log."""
TLS_REPORTS = "tls reports"
"""Sending them: each domain is sent one a day, whoever sent the mail."""
TIDYING = "tidying"
"""Removing what is too old, or too much, from tables that nodes share."""


class Duties:
    """`member` is this node as one that may have duties; None: not now."""

    def __init__(self, store: Store, member: Callable[[], Membership | None]) -> None:
        self._store = store
        self._member = member

    async def has(self, duty: str) -> bool:
        """Whether it is this node's, which takes it where it is nobody's. An embedded store has one
        node, which does everything. Raises `StoreError`."""
        if not self._store.is_shared:
            return True
        member = self._member()
        return member is not None and await self._store.fleet.hold_duty(duty, member)
