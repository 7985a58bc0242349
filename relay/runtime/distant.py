"""What a worker asks the supervisor for, because it is counted once for all workers.

Each class stands where, in a single process, the thing itself would stand. Where the supervisor is
gone nothing is let through: no login, no permit.
"""

import time
from collections.abc import Mapping

from relay.frontend.blocks import Block, Blocks
from relay.frontend.guard import client_key, user_key
from relay.frontend.visit import Visit
from relay.limits.gatekeeper import Level
from relay.limits.leases import Lease, LeaseRequest, LessorGone, Returned
from relay.limits.slots import Holder, ReturnSlot, Seat, SlotGranted, SlotWanted, WantSlot
from relay.runtime.link import Handler, Link, LinkFault, LinkLost
from relay.runtime.messages import (
    Blocked,
    Closed,
    GiveBack,
    HowFull,
    LogIn,
    LoginFailed,
    LogOut,
    MayGo,
)


class DistantLessor:
    """The limits of all workers (`relay.limits.leases.Lessor`)."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def lease(self, request: LeaseRequest) -> Lease:
        """Raises `LessorGone`."""
        try:
            return await self._link.ask(MayGo(request))
        except (LinkLost, LinkFault) as error:
            raise LessorGone from error

    async def levels(self, keys: tuple[str, ...] | None) -> list[Level]:
        """Raises `LessorGone`."""
        try:
            return await self._link.ask(HowFull(keys))
        except (LinkLost, LinkFault) as error:
            raise LessorGone from error

    def give_back(self, returned: Returned) -> None:
        self._link.tell(GiveBack(returned))


class DistantSlots:
    """The connections of all workers (`relay.limits.slots.SlotSource`, and its one seat)."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def seat(self, holder: Holder) -> Seat:
        self._link.handle(
            {
                SlotGranted: lambda message: holder.granted(message.line),
                SlotWanted: holder.wanted,
            }
        )
        return self

    def want(self, line: str) -> None:
        self._link.tell(WantSlot(line))

    def give_back(self, line: str) -> None:
        self._link.tell(ReturnSlot(line))


class DistantGatekeeper:
    """The guard of all workers (`relay.frontend.gatekeeper.Gatekeeper`).

    Who is blocked is known here, by what the supervisor tells.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._blocks = Blocks(time.monotonic)
        self.handlers: Mapping[type, Handler] = {
            Blocked: lambda message: self._blocks.put(message.block)
        }

    def know(self, blocks: tuple[Block, ...]) -> None:
        """The blocks that were in force before this worker began."""
        for block in blocks:
            self._blocks.put(block)

    async def log_in(self, credential: str, once: str = "") -> bool:
        try:
            return await self._link.ask(LogIn(credential, once))
        except (LinkLost, LinkFault):
            return False

    def log_out(self, credential: str) -> None:
        self._link.tell(LogOut(credential))

    def failed(self, client: str, username: str) -> None:
        self._link.tell(LoginFailed(client, username))

    def client_blocked(self, client: str) -> float:
        return self._blocks.remaining("client", client_key(client))

    def user_blocked(self, username: str) -> float:
        return self._blocks.remaining("user", user_key(username))

    def closed(self, visit: Visit) -> None:
        self._link.tell(Closed(visit))
