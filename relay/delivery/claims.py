"""What this process has claimed of the queue: the lease, and every delivery that is held.

Owns every claimed delivery from `take` until the store has its outcome (`settling`) or has it back,
and the count of them.

Never delivers when the lease may have run out: another worker may then have the same mail.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from relay.delivery.settling import Settling
from relay.delivery.shares import Shares
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import QueueStore, StoreError
from relay.store.values import Delivery, Owner, PutOff, Settlement

MOST_OCTETS = 64 * 1024 * 1024  # of bodies in memory; beyond it they are read back when they go
GIVEN_BACK_WITHIN = 5.0
_NEVER = 1 << 62
_RETRY_FIRST, _RETRY_LONGEST = 0.25, 15.0


class Claims:
    """The claims of one owner."""

    def __init__(
        self,
        store: QueueStore,
        owner: Owner,
        lease_seconds: float,
        metrics: Metrics,
        log: Logger,
        *,
        shares: Shares,
        notice: Callable[[int], None] = lambda due_at: None,
        freed: Callable[[str], None] = lambda name: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`notice` is told of each due time that becomes known, `freed` of the configuration set of
        each delivery that is held no more. `shares` count what is held."""
        self.owner = owner
        self.lease_seconds = lease_seconds
        self._shares = shares
        self._notice = notice
        self._freed = freed
        self._store = store
        self._log = log
        self._clock = clock
        self._valid_until = clock() + lease_seconds
        self._held: dict[int, Delivery] = {}
        self._octets = 0
        self._settling = Settling(store, metrics, log, self._settled)
        self._unseen: set[int] = set()
        self._due_after: dict[int, int] = {}
        self._given_back: dict[int, PutOff] = {}
        self._wanted_at = _NEVER  # when the first of them is to be claimed again
        self._giving: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return (
            f"<Claims of {self.owner.name}/{self.owner.epoch}: {len(self._held)} held,"
            f" {len(self._settling)} being settled>"
        )

    @property
    def is_valid(self) -> bool:
        """Whether the lease certainly still runs, by the monotonic clock."""
        return self._clock() < self._valid_until

    def is_lease_of(self, epoch: int) -> bool:
        """Whether what was claimed in that epoch is certainly this owner's now: the lease may have
        been lost meanwhile, and another begun."""
        return self.is_valid and epoch == self.owner.epoch

    def of_message(self, message_id: str) -> list[Delivery]:
        """The deliveries of a message that are held."""
        return [d for d in self._held.values() if d.message.id == message_id]

    def holds(self, delivery: Delivery) -> bool:
        """Whether this very claim is still held."""
        return self._held.get(delivery.id) is delivery

    def take(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Hold deliveries that are claimed in this owner's name; others are left out."""
        epoch = self.owner.epoch
        return [self._hold(d) for d in deliveries if d.epoch == epoch and d.id not in self._held]

    def _hold(self, delivery: Delivery) -> Delivery:
        octets = len(delivery.message.body.inline or b"")
        if octets and self._octets + octets > MOST_OCTETS:
            body = replace(delivery.message.body, inline=None)
            delivery = replace(delivery, message=replace(delivery.message, body=body))
            octets = 0
        self._octets += octets
        self._held[delivery.id] = delivery
        self._shares.took(delivery.message.configuration_set)
        return delivery

    def forget(self, delivery: Delivery) -> None:
        """Hold it no more: it is settled, given back, set apart, or another worker has it."""
        if self._held.get(delivery.id) is delivery:
            del self._held[delivery.id]
            self._octets -= len(delivery.message.body.inline or b"")
            self._shares.gave(delivery.message.configuration_set)
            self._freed(delivery.message.configuration_set)

    def settle(self, settlement: Settlement) -> None:
        """Have the store take an outcome; the claim ends with it."""
        due = [settlement.due_at] if settlement.remaining else []
        due += [report.due_at for report in settlement.reports]
        if due:
            self._due_after[settlement.delivery.id] = min(due)
        self._settling.settle(self.owner.name, settlement)

    def _settled(self, delivery: Delivery) -> None:
        """The store has the outcome, and with it perhaps mail that is due again."""
        self.forget(delivery)
        if self._due_after and (due_at := self._due_after.pop(delivery.id, None)) is not None:
            self._notice(due_at)

    def delivered(self) -> set[int]:
        """The ids of what a receiver has taken and the store does not know of yet."""
        return self._settling.delivered()

    @property
    def is_full(self) -> bool:
        """Whether the store has too many outcomes to take: wait for `room`."""
        return self._settling.is_full

    async def room(self) -> None:
        """Wait until fewer outcomes than the bound are unsettled."""
        await self._settling.room()

    def give_back(self, delivery: Delivery, due_at: int, waits_for: str = "") -> None:
        """Return a delivery to the store, unattempted; it is due again at `due_at` (UTC ms).
        `waits_for` is the word for what it waits for, see `PutOff`.

        What is given back at one time goes in one operation.
        """
        if self._leave(delivery, due_at, waits_for):
            self._wanted_at = min(self._wanted_at, due_at)

    def leave(self, delivery: Delivery) -> None:
        """Return a delivery to the store, as due as it was, for there is no room for it. Whoever
        has no room knows when there is some."""
        self._leave(delivery, delivery.due_at)

    def _leave(self, delivery: Delivery, due_at: int, waits_for: str = "") -> bool:
        self.forget(delivery)
        if delivery.epoch != self.owner.epoch:
            return False  # freed when that lease was lost
        self._given_back[delivery.id] = PutOff(delivery.id, due_at, waits_for)
        if self._giving is None:
            self._giving = asyncio.create_task(self._give_back())
            self._giving.add_done_callback(self._gave_back)
        return True

    async def given_back(self) -> None:
        """Wait until the store has what was given back so far, or has failed to take it for long
        enough."""
        if self._giving is not None:
            await asyncio.wait({self._giving}, timeout=GIVEN_BACK_WITHIN)

    def give_back_lost(self, seen: set[int]) -> int:
        """Give back what is held and was nowhere to be `seen` twice in a row: how many.

        A safety net under a fault of our own: no message may stay with us for ever.
        """
        unseen = self._held.keys() - seen - self._settling.ids
        lost = unseen & self._unseen
        self._unseen = unseen
        for identifier in lost:
            delivery = self._held[identifier]
            self.give_back(delivery, delivery.due_at)
        return len(lost)

    async def renew(self, reregister: Callable[[], Awaitable[Owner]]) -> bool:
        """Renew the lease. False when it had been lost: all claims are gone, and the owner is new.

        Raises `StoreError`; the lease then runs out unless a later call comes in time.
        """
        started = self._clock()
        if await self._store.renew(self.owner, round(self.lease_seconds * 1000)):
            self._valid_until = started + self.lease_seconds
            return True
        self._valid_until = 0.0
        started = self._clock()
        self.owner = await reregister()
        self._drop_all()
        self._valid_until = started + self.lease_seconds
        return False

    def _drop_all(self) -> None:
        self._held.clear()
        self._shares.clear()
        self._given_back.clear()
        self._octets = 0

    async def settle_within(self, seconds: float) -> None:
        """Let the outcomes be settled within `seconds`, then give up."""
        await self._settling.finish(seconds)

    async def finish(self, seconds: float) -> None:
        """Let the outcomes be settled within `seconds`; then free every claim that is left."""
        await self._settling.finish(seconds)
        if self._giving is not None:
            await asyncio.wait([self._giving], timeout=max(1.0, seconds))
        self._drop_all()
        try:
            await self._store.resign(self.owner)
        except StoreError as error:
            self._log.warning(
                "claims could not be freed; their lease ends by itself", error=str(error)
            )

    async def _give_back(self) -> None:
        wait = _RETRY_FIRST
        while self._given_back:
            batch, self._given_back = self._given_back, {}
            wanted_at, self._wanted_at = self._wanted_at, _NEVER
            try:
                await self._return(batch.values())
                self._notice(wanted_at)
            except StoreError as error:
                self._given_back = batch | self._given_back
                self._wanted_at = min(wanted_at, self._wanted_at)
                self._log.warning("mail could not be given back; trying again", error=str(error))
                await asyncio.sleep(wait)
                wait = min(_RETRY_LONGEST, wait * 2)
            except BaseException:
                self._given_back = batch | self._given_back
                self._wanted_at = min(wanted_at, self._wanted_at)
                raise
        self._giving = None

    async def _return(self, batch: Iterable[PutOff]) -> None:
        plain = [(each.id, each.due_at) for each in batch if not each.waits_for]
        put_off = [each for each in batch if each.waits_for]
        if plain:
            await self._store.release(self.owner, plain)
        if put_off:
            await self._store.delays.put_off(self.owner, put_off)

    def _gave_back(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._giving = None  # the next delivery that is given back takes these along
            self._log.error("giving mail back failed unexpectedly", error=repr(error))
