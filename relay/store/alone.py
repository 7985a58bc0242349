"""The fleet of an embedded store: one node, which shares with nobody."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from relay.store.fleet_values import (
    Membership,
    NewsKind,
    Node,
    NodeReport,
    PublishedConfiguration,
    Share,
    ShareWish,
)
from relay.store.interface import StoreUnavailable

_NOTHING_SHARED = (
    "An embedded store has one node: each follows its own file. Nodes share a store of the form"
    " postgresql://USER@HOST/DATABASE."
)


class Alone:
    """Implements `interface.FleetStore` and `interface.ShareStore`, for this process. `wall` gives
    UTC milliseconds."""

    def __init__(self, wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._wall = wall
        self._node: Node | None = None
        self._epochs = 0
        self._told: Callable[[NewsKind], None] = lambda news: None

    async def join(self, name: str, identity: str, lease_ms: int, report: NodeReport) -> Membership:
        """See `interface.FleetStore`."""
        self._epochs += 1
        now = self._wall()
        self._node = Node(name, self._epochs, now, now, lease_ms, True, report)
        return Membership(name, self._epochs, lease_ms)

    async def beat(self, member: Membership, report: NodeReport) -> bool:
        """See `interface.FleetStore`."""
        if self._node is None or self._node.epoch != member.epoch:
            return False
        self._node = replace(self._node, seen_at=self._wall(), report=report)
        return True

    async def leave(self, member: Membership) -> None:
        """See `interface.FleetStore`."""
        if self._node is not None and self._node.epoch == member.epoch:
            self._node = None

    async def nodes(self) -> list[Node]:
        """See `interface.FleetStore`."""
        return [] if self._node is None else [self._node]

    async def forget(self, name: str) -> bool:
        """See `interface.FleetStore`. The one node is never a dead one."""
        return False

    async def tell(self, news: NewsKind) -> None:
        """See `interface.FleetStore`."""
        self._told(news)

    def listen(self, told: Callable[[NewsKind], None]) -> None:
        """See `interface.FleetStore`."""
        self._told = told

    async def publish(
        self, document: str, digest: str, by: str, after: int
    ) -> PublishedConfiguration | None:
        """Raises StoreUnavailable: there is nobody to publish for."""
        raise StoreUnavailable(_NOTHING_SHARED)

    async def published(self) -> PublishedConfiguration | None:
        """See `interface.FleetStore`."""
        return None

    async def unpublish(self) -> bool:
        """See `interface.FleetStore`."""
        return False

    async def return_path_keys(self, offered: str, instead_of: str = "") -> str:
        """See `interface.FleetStore`: what this node has in its file."""
        return offered

    async def clock(self) -> int:
        """See `interface.FleetStore`."""
        return self._wall()

    async def hold_duty(self, duty: str, member: Membership) -> bool:
        """See `interface.FleetStore`."""
        return self._node is not None and self._node.epoch == member.epoch

    async def give_up_duty(self, duty: str, member: Membership) -> None:
        """See `interface.FleetStore`. There is nobody else to do it."""

    async def holder_of(self, duty: str) -> str:
        """See `interface.FleetStore`."""
        return "" if self._node is None else self._node.name

    async def settle(self, member: Membership, wishes: Sequence[ShareWish]) -> list[Share]:
        """See `interface.ShareStore`: everything is this node's."""
        return [
            Share(wish.key, wish.limit if wish.demand else 0, limit=wish.limit) for wish in wishes
        ]
