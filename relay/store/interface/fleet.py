"""The nodes that share a store, and the limits that they share."""

from collections.abc import Callable, Sequence
from typing import Protocol

from relay.store.fleet_values import (
    Membership,
    NewsKind,
    Node,
    NodeReport,
    PublishedConfiguration,
    Share,
    ShareWish,
)


class FleetStore(Protocol):
    """The nodes that share a store. Who lives is decided by the clock of the store, and only by a
    node that has itself renewed without a gap for as long as a lease: after the store was away
    nobody is buried for its absence."""

    async def join(self, name: str, identity: str, lease_ms: int, report: NodeReport) -> Membership:
        """Become a node of that name, with a new epoch. `identity` tells one installation from
        another: what an earlier one of the same identity held is free at once. Raises
        NameTaken where a living node of another identity has the name."""

    async def beat(self, member: Membership, report: NodeReport) -> bool:
        """Renew the lease; False where the node was declared dead, and is to join again."""

    async def leave(self, member: Membership) -> None:
        """Give up everything that is held, and be no node any more."""

    async def nodes(self) -> list[Node]:
        """By name, those that have died within the last day too."""

    async def forget(self, name: str) -> bool:
        """Forget a node that is dead. False where there is none of that name that is."""

    async def tell(self, news: NewsKind) -> None:
        """Have all nodes told that shared state has changed, this one too."""

    def listen(self, told: Callable[[NewsKind], None]) -> None:
        """Have `told` called, on the loop, with news of any node; and with each kind once where
        some may have been missed. To be called once, before `open`."""

    async def publish(
        self, document: str, digest: str, by: str, after: int
    ) -> PublishedConfiguration | None:
        """Make this the configuration of the fleet, and tell. None where it is not the one of
        epoch `after` any more that it would replace (0: there is none)."""

    async def published(self) -> PublishedConfiguration | None:
        """The newest; None where nobody has published one."""

    async def unpublish(self) -> bool:
        """Have each node follow its own file again. False where nothing is published."""

    async def return_path_keys(self, offered: str, instead_of: str = "") -> str:
        """The keys of return-paths that all nodes have, as the lines of their file, or `""`. What
        is `offered` becomes them where there are none yet, or where they are `instead_of`; nodes
        are told of a change."""

    async def clock(self) -> int:
        """What time it is by the clock of the store (UTC ms)."""

    async def hold_duty(self, duty: str, member: Membership) -> bool:
        """Have, or keep, what only one node may do at a time. It is lost with the membership."""

    async def give_up_duty(self, duty: str, member: Membership) -> None:
        """Leave it to another node, where this one has it."""

    async def holder_of(self, duty: str) -> str:
        """The name of the living node that has a duty; empty where none has."""


class ShareStore(Protocol):
    """Limits that nodes share: each holds a part, and together no more than there is."""

    async def settle(self, member: Membership, wishes: Sequence[ShareWish]) -> list[Share]:
        """State what is kept of each, and hear what is held from now on; see the values. What a
        node held that dies counts until its lease has run out, and for the window after that. A
        node that was declared dead holds nothing."""
