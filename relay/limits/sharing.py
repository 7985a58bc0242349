"""The limits that this node shares with a fleet: one question about each second, for all of them.

Owns the shares that are in use, the question under way, and until when anything may be spent: as
long as the node is a member. No message waits for the store, but the first one of a key that
nobody has used for a while: it waits for one answer.

Where the store does not answer, what is held may be spent for as long as the membership lasts.
When that has ended nothing may go; all shares are asked for anew once the node is a member again.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from relay.config.units import Rate
from relay.limits.gatekeeper import Decision
from relay.limits.pace import LONGEST_PAUSE
from relay.limits.shares import LineShare, RateShare
from relay.limits.slots import Slots
from relay.store.fleet_values import Membership
from relay.store.interface import ShareStore, StoreError

_EVERY = 1.0  # seconds
_PATIENCE = 2.0  # seconds that a message waits for the answer about its key
_TOGETHER = 0.5  # seconds by which a key is asked about early, to go with others
_AFTER_FAILURE = 2.0  # seconds; what became of the last question is decided by then
_MOST = 2_000  # keys in one question, those first that were asked about longest ago


class Standing(Protocol):
    """What the node is in its fleet."""

    @property
    def member(self) -> Membership | None:
        """As what it has joined; None while it is none."""

    @property
    def valid_until(self) -> float:
        """When it ends unless it is renewed, in monotonic seconds."""


class Sharing:
    """Made inside a running loop. `clock` gives monotonic seconds."""

    def __init__(self, store: ShareStore, standing: Standing, clock: Callable[[], float]) -> None:
        self._store = store
        self._standing = standing
        self._clock = clock
        self._rates: dict[str, RateShare] = {}
        self._lines: dict[str, LineShare] = {}
        self._slots: Slots | None = None
        self._epoch = -1
        self._until = clock()
        self._failed = False  # the last question
        self._awake = asyncio.Event()
        self._answered = asyncio.Event()

    @property
    def is_valid(self) -> bool:
        """Whether what is held may be spent now."""
        membership, now = self._standing.member, self._clock()
        return (
            membership is not None
            and membership.epoch == self._epoch
            and now < self._until
            and now < self._standing.valid_until
        )

    # Rates

    def rate(self, key: str, rate: Rate, known: RateShare | None, *, strict: bool) -> RateShare:
        """The share of a rate. `known` is the one that its key had before.

        It begins free, where a rate of one relay begins closed: what went before cools, wherever
        it went. Not so where another window was counted before.
        """
        now = self._clock()
        share = known if known is not None and known.is_for(rate) else None
        share = share or self._rates.get(RateShare.name(key, rate))
        if share is None:
            since = now if known is not None else now - LONGEST_PAUSE
            return RateShare(key, rate, strict=strict, now=now, since=since)
        share.limit_to(rate, now)
        return share

    async def refusal(self, shares: Sequence[RateShare]) -> Decision | None:
        """Why a message that meets these limits may not go, where that is for want of an answer
        of the store. The first one of a key waits for it."""
        if not shares:
            return None
        now = self._clock()
        unknown = False
        for share in shares:
            share.note_use(now)
            if not share.is_known:
                unknown = True
                self._rates[share.key] = share
        if unknown or not self.is_valid:
            if not self._failed:
                await self._ask_now(shares)
            if not self.is_valid or not all(share.is_known for share in shares):
                return Decision(_EVERY, shares[0].of, "store", charged=False)
        return None

    def wait(self, share: RateShare, patience: float) -> float:
        """0 where the next message may go within `patience` seconds, as things stand; else the
        seconds after which it is worth asking again. Somebody who has to wait is a reason to ask
        for more."""
        if not self.is_valid:
            return _EVERY
        now = self._clock()
        delay = share.delay(now)
        may_go = share.held > 0 and delay <= patience
        again = 0.0 if may_go else share.soonest(now)
        if (delay or again) and share.note_short(now, again):
            self._awake.set()
        return again

    async def _ask_now(self, shares: Sequence[RateShare]) -> None:
        """Wait until the store has answered, or could not be asked."""
        deadline = self._clock() + _PATIENCE
        while (left := deadline - self._clock()) > 0:
            self._awake.set()
            try:
                async with asyncio.timeout(left):
                    await self._answered.wait()
            except TimeoutError:
                return
            if self.is_valid and all(share.is_known for share in shares):
                return

    # Connections

    def divide(self, slots: Slots) -> None:
        """Have the connections of lines follow their shares."""
        self._slots = slots
        slots.share(self._bound)

    def _bound(self, line: str, limit: int) -> int:
        """How many connections to a line may be open here, of `limit` that all nodes may have."""
        assert self._slots is not None
        now = self._clock()
        share = self._lines.get(line)
        if share is None:
            share = self._lines[line] = LineShare(line, limit, self._slots, now)
            self._awake.set()
        share.limit = limit
        bound = min(share.bound, limit) if self.is_valid else 0
        used, waiting = self._slots.count(line)
        if waiting and used + waiting > bound and share.note_short(now):
            self._awake.set()
        return bound

    # Asking

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            self._awake.clear()
            self._failed = not await self.settle()
            if self._failed:
                self._tell_who_waits()
                await asyncio.sleep(_AFTER_FAILURE)
            else:
                await self._pause()

    async def _pause(self) -> None:
        """Until it is worth asking again, or somebody is in need."""
        now = self._clock()
        at = min((share.ask_at for share in self._all()), default=now + _EVERY)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(0.0, at - now), _EVERY)):
                await self._awake.wait()

    def _all(self) -> Iterable[RateShare | LineShare]:
        yield from self._rates.values()
        yield from self._lines.values()

    async def settle(self) -> bool:
        """Ask once about what is due. Whether that could be done: False where the store failed,
        or the node is no member."""
        membership = self._stand()
        if membership is None:
            return False
        now = self._clock()
        due = sorted(self._all(), key=lambda one: one.ask_at)
        if not due or due[0].ask_at > now:
            return True
        soon = now + _TOGETHER
        return await self._ask(membership, [one for one in due[:_MOST] if one.ask_at <= soon])

    def _stand(self) -> Membership | None:
        """The membership by which may be asked. Where it was interrupted nothing is held any more:
        others may have it."""
        membership, now = self._standing.member, self._clock()
        if membership is None or now >= self._standing.valid_until:
            return None
        if membership.epoch != self._epoch or now >= self._until:
            self._epoch = membership.epoch
            for share in self._all():
                share.lose(now)
            self._refresh(self._lines.values())
        self._until = self._standing.valid_until
        return membership

    async def _ask(self, membership: Membership, due: Sequence[RateShare | LineShare]) -> bool:
        now = self._clock()
        wishes = [share.next_wish(now) for share in due]
        crowd = (len(self._rates) + len(self._lines)) / _MOST
        for share in due:
            share.ask_at = now + max(_EVERY, crowd)
        self._refresh(due)
        try:
            answers = await self._store.settle(membership, wishes)
        except StoreError:
            return False
        now = self._clock()
        if not self.is_valid:
            for share in due:
                share.ask_at = now  # what was granted may be another's by now
            return True
        for share, answer in zip(due, answers, strict=True):
            share.answered(answer, now)
            if share.is_released:
                self._forget(share)
        self._refresh(due)
        self._tell_who_waits()
        return True

    def _tell_who_waits(self) -> None:
        answered, self._answered = self._answered, asyncio.Event()
        answered.set()

    def _forget(self, share: RateShare | LineShare) -> None:
        if isinstance(share, RateShare):
            self._rates.pop(share.key, None)
        else:
            self._lines.pop(share.line, None)

    def _refresh(self, shares: Iterable[RateShare | LineShare]) -> None:
        if self._slots is not None:
            for share in shares:
                if isinstance(share, LineShare):
                    self._slots.refresh(share.line)

    async def close(self) -> None:
        """Give everything up; what was just used counts until its window is over. Raises
        `StoreError`: then it counts until the membership ends."""
        membership, now = self._stand(), self._clock()
        if membership is not None:
            wishes = [share.last_wish(now) for share in self._all()]
            for first in range(0, len(wishes), _MOST):
                await self._store.settle(membership, wishes[first : first + _MOST])
