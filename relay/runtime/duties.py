"""What only one node of a fleet does at a time, and whether this node does it.

The scribe's work is a tenure, for it goes on all the time (`relay.runtime.tenure`). What is done
now and then asks for its duty each time.
"""

from collections.abc import Callable, Iterable

from relay.store.fleet_values import Membership, Node, NodeState
from relay.store.interface import Store

SCRIBE = "scribe"
"""Filing, telling, judging, and pruning of the message log."""
TLS_REPORTS = "tls reports"
"""Sending them: each domain is sent one a day, whoever sent the mail."""
TIDYING = "tidying"
"""Removing what is too old, or too much, from tables that nodes share."""


def leaves_duties(state: NodeState, others: Iterable[Node]) -> bool:
    """Whether a node in that state leaves duties to the others. One that is drained does where
    somebody serves; where nobody does it keeps them, so that what happened is told all the same.
    """
    return state == "drained" and any(
        node.is_alive and node.report.state == "serving" for node in others
    )


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
