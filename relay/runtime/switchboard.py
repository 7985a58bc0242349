"""What workers say, and what is done then.

Between the workers and what the supervisor counts for all of them: every message has its handler
here. Also what one that joins is told of, and what becomes of what a dead one held. Owns nothing.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from relay.limits.slots import OwnSeat, ReturnSlot, WantSlot
from relay.runtime import messages as say
from relay.runtime.link import Handler
from relay.runtime.member import Member
from relay.store.interface import StoreError
from relay.store.values import Owner

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor


class Switchboard:
    """Between one supervisor and its workers."""

    def __init__(self, relay: "Supervisor") -> None:
        self._relay = relay

    def handlers(self, whom: Callable[[], Member]) -> Mapping[type, Handler]:
        """What a worker may say, and what is done then."""

        def registered(message: say.Registered) -> None:
            whom().owner = Owner(message.name, message.epoch)

        def log_in(message: say.LogIn) -> bool:
            welcome = self._relay.staff.guard.log_in(message.credential, message.once)
            if welcome:
                whom().logins[message.credential] += 1
            return welcome

        def log_out(message: say.LogOut) -> None:
            whom().has_logged_out(message.credential)
            self._relay.staff.guard.log_out(message.credential)

        def failed(message: say.LoginFailed) -> None:
            for block in self._relay.staff.guard.failed(message.client, message.username):
                self._relay.staff.crew.tell(say.Blocked(block))

        def seat() -> OwnSeat:
            member = whom()
            member.seat = member.seat or self._relay.limiting.slots.seat(member)
            return member.seat

        def learned(message: say.Learned) -> None:
            self._relay.staff.crew.tell(message, but=whom())

        def closed(message: say.Closed) -> None:
            whom().has_closed(message.visit)
            self._relay.staff.door.closed(message.visit)

        return {
            say.Registered: registered,
            say.MayGo: lambda message: self._relay.limiting.limits.lease(message.request),
            say.ComesFirst: lambda message: self._relay.greylist.is_first(message.who),
            say.HowFull: lambda message: self._relay.limiting.limits.levels(message.keys),
            say.Complained: lambda message: self._relay.restraining.hear(message.complaint),
            say.GiveBack: lambda message: self._relay.limiting.limits.give_back(message.returned),
            say.LogIn: log_in,
            say.LogOut: log_out,
            say.LoginFailed: failed,
            say.Closed: closed,
            say.Learned: learned,
            WantSlot: lambda message: seat().want(message.line),
            ReturnSlot: lambda message: seat().give_back(message.line),
        }

    def joined(self, member: Member) -> None:
        """Tell a worker what was news while it began."""
        for block in self._relay.staff.guard.blocks.in_force():
            member.link.tell(say.Blocked(block))
        member.link.tell(self._relay.limiting.warmups_are())
        for key, limit in self._relay.limiting.limits.overrides.items():
            member.link.tell(say.LimitChanged(key, limit))
        member.link.tell(say.SecretsChanged())
        member.link.tell(say.Suspend(self._relay.suspender.in_force.entries))
        member.link.tell(say.PausesAre(self._relay.pausing.in_force))
        member.link.tell(say.ElsewhereIs(self._relay.fleet.elsewhere))
        for rest in self._relay.restraining.rests():
            member.link.tell(say.Resting(rest))
        self.tell_time(member)

    def tell_time(self, member: Member) -> None:
        """It may have been corrected meanwhile."""
        if (time := self._relay.fleet.time.known) is not None:
            member.link.tell(say.TimeIs(time))

    async def lost(self, member: Member) -> None:
        """Give up in its name what a worker held; its mail, to the others, last: the store may not
        answer for a while."""
        if member.seat is not None:
            member.seat.leave()
        for visit, connection in member.take_back():
            self._relay.staff.door.offer(visit, connection)
        for credential in member.logins.elements():
            self._relay.staff.guard.log_out(credential)
        for visit in member.visits.elements():
            self._relay.staff.door.closed(visit)
        self._relay.staff.ledger.close_account(member)
        if member.owner is not None and not self._relay.stopping:
            try:
                await self._relay.store.resign(member.owner)
            except StoreError as error:
                self._relay.log.error(
                    "the mail of a dead worker is free only when its lease ends",
                    worker=member.name,
                    error=str(error),
                )
            self._relay.staff.crew.tell(say.MailIsDue(self._relay.queue_clock.now()))
