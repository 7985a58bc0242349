"""Due mail out of the store into memory: when the store is asked, and for what.

It is asked when there is reason to: a due time has come, room was freed while more was waiting, or
a few seconds have passed. While everything that is due fits into memory it is claimed as it comes,
longest due first. Where not, sets and lines take turns (`relay.store.fairness`), and those that
this worker has enough of already are passed over: their mail stays where it is, untouched, until
there is room. Freshly accepted mail is held to the same shares: it comes into memory only where its
set has room, so that a campaign which is being injected leaves the others theirs.

Owns what is known of the mail that was left in the store. Decides nothing about limits.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Protocol

from relay.delivery.claims import Claims
from relay.delivery.narrows import Narrows
from relay.delivery.shares import NORMAL, Shares
from relay.delivery.taking_over import TakingOver
from relay.observe.logging import Logger
from relay.store.fleet_values import NOWHERE, Elsewhere
from relay.store.interface import QueueStore, StoreError
from relay.store.values import Cursor, Delivery, Want

CLAIM_BATCH = 500
POLL_SECONDS = 5.0  # the store is asked at least so often: other processes put mail into it too
SHARED_POLL_SECONDS = 1.0  # where other nodes leave mail, and die: nobody tells of either
MERCY_MS = 600_000
_SHORTEST_WAIT_MS = 20
_BETWEEN_TURNS_MS = 100  # between two questions, where the last one brought nothing
_MISSED_MS = 250
_SOON_MS = 250  # where the last question brought little, and there may be more
_NEVER = 1 << 62


class Destinations(Protocol):
    """Where claimed mail goes (`Dispatcher`)."""

    @property
    def narrows(self) -> Narrows: ...

    def place(self, deliveries: Sequence[Delivery], *, fresh: bool) -> None: ...


class Claiming:
    """`claims` and `mail` are set before anything else is called, `taking_over` where other nodes
    may put mail off for this one. `wall` gives UTC milliseconds."""

    claims: Claims
    mail: Destinations
    taking_over: TakingOver | None = None

    def __init__(
        self,
        store: QueueStore,
        shares: Shares,
        wall: Callable[[], int],
        rng: Random,
        log: Logger,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._poll_seconds = poll_seconds
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._shares = shares
        self._wall = wall
        self._rng = rng
        self._log = log
        self._began = wall()
        self._wake = asyncio.Event()
        self._ask_at = 0  # UTC ms, when the store is to be asked for due mail
        self._room_at = _NEVER  # UTC ms, when there is room for what was kept out
        self._left: frozenset[str] = frozenset()  # sets with due mail that was left in the store
        self._elsewhere = NOWHERE  # what other nodes are to carry
        self._by_turns = False  # more was due than was asked for
        self._missed = False  # mail of such a set was stored since the store was asked last
        self._freed = 0  # deliveries, since then
        self._freed_of: Counter[str] = Counter()  # and by set
        self._rests_until = 0.0
        self._cursors: Mapping[str, Cursor] = MappingProxyType({})

    @property
    def leaves_mail(self) -> bool:
        """Whether due mail was left in the store for want of room."""
        return bool(self._left) or self._by_turns

    def has_room(self, name: str) -> bool:
        """Whether freshly accepted mail of a set is to come into memory. While older mail of the
        set waits in the store, half of its room is kept for that; and all of it where its rate
        decides how much goes, or the older would never have its turn."""
        if name in self._elsewhere.sets:
            return False
        room = self._shares.room(name)
        if name in self._left:
            return room > self._shares.held(name) and not self._shares.is_limited(name)
        if room > 0 and not self.mail.narrows.is_closed(name, self._loop.time()):
            return True
        self._left |= {name}
        return False

    def leave_to_others(self, elsewhere: Elsewhere) -> None:
        """Other nodes of the fleet are to carry this mail, and no other."""
        self._elsewhere = elsewhere
        self._left = self._left.difference(elsewhere.sets)
        self.ask_now()

    def expect(self, due_at: int, name: str = "") -> None:
        """Mail that is due at `due_at` (UTC ms) was stored, of the set `name`; or a due time has
        become known otherwise."""
        if name in self._elsewhere.sets:
            return
        if name in self._left:
            self._missed = True  # there is no room for it; it is found with the older
        elif due_at < self._ask_at:
            self._ask_at = due_at
            self._wake.set()

    def freed(self, name: str) -> None:
        """A delivery of a set is held no more."""
        if not self._left:
            return
        self._freed += 1
        self._freed_of[name] += 1
        # What was freed counts, not what is free: that may be of no use to what was left.
        if self._freed >= self._enough(self._shares.size) or (
            name in self._left and self._freed_of[name] >= self._enough(self._shares.most(name))
        ):
            self.ask_now()

    def room_in(self, seconds: float) -> None:
        """There is room for mail that was kept out, `seconds` from now."""
        if seconds <= 0:
            self.expect(0)
            return
        at = self._wall() + int(seconds * 1000) + 2  # not a moment before: it would be in vain
        self._room_at = min(self._room_at, at)
        self.expect(at)

    def rest(self, seconds: float) -> None:
        """Claim nothing for a while: an operator is about to change what waits in the store, and
        would not change what has been claimed meanwhile."""
        self._rests_until = self._loop.time() + seconds

    def go_on(self) -> None:
        """Rest no more, and ask the store at once."""
        self._rests_until = 0.0
        self.ask_now()

    def ask_now(self) -> None:
        """Ask the store at once."""
        self._ask_at = 0
        self._wake.set()

    @staticmethod
    def _enough(most: int) -> int:
        """Of `most` that may be held, how many must be free: below this it is not worth asking."""
        return max(1, min(CLAIM_BATCH, most // 4))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._claim()
            except StoreError as error:
                self._log.error("the store gives no mail to deliver", error=str(error))
            except Exception:
                self._log.exception("claiming failed")
            await self._until_asked()

    async def _until_asked(self) -> None:
        """Until the time to ask has come; at the latest when the poll is due."""
        latest = self._loop.time() + self._poll_seconds
        while (left := min(latest - self._loop.time(), (self._ask_at - self._wall()) / 1000)) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _claim(self) -> None:
        """Claim what is due, as far as there is room, and note when to ask again."""
        self._wake.clear()
        # What becomes known from here on may only bring it forward; as does room at a later time.
        now = self._wall()
        if self._room_at <= now:
            self._room_at = _NEVER
        self._ask_at = min(now + round(self._poll_seconds * 1000), self._room_at)
        self._freed, self._missed = 0, False
        self._freed_of.clear()
        if (rest := self._rests_until - self._loop.time()) > 0:
            self.expect(self._wall() + round(rest * 1000) + 1)
            return
        limit = min(self._shares.size - len(self._shares), CLAIM_BATCH)
        if limit <= 0 or not self.claims.is_valid:
            return
        if self.taking_over is not None:
            taken = await self.taking_over.claim(self.claims.owner, limit)
            self._take(taken)
            limit -= len(taken)
            if not limit:
                self._ask_at = 0
                return
        if self.leaves_mail or self.mail.narrows or self._elsewhere:
            found = await self._claim_by_turns(limit)
        else:
            found = await self._store.claim(self.claims.owner, self._wall(), limit)
            self._by_turns = len(found) == limit
        self._take(found)
        if len(found) >= limit // 4:
            self._ask_at = 0
            return
        if found and self.leaves_mail:
            self.expect(self._wall() + _SOON_MS)
        if (due := await self._store.next_due(self._wall())) is not None:
            self.expect(max(due, self._wall() + self._shortest_wait()))
        if self._missed:
            self.expect(self._wall() + _MISSED_MS)

    def _shortest_wait(self) -> int:
        if self._elsewhere:
            return _SOON_MS  # what is due next may be theirs, time after time
        return _BETWEEN_TURNS_MS if self.leaves_mail else _SHORTEST_WAIT_MS

    async def _claim_by_turns(self, limit: int) -> Sequence[Delivery]:
        due = await self._store.find_due(self._want(limit))
        self._left = due.left.difference(self._elsewhere.sets)
        self._cursors, self._by_turns = due.cursors, False
        if not due.is_searched:
            self.expect(self._wall() + _BETWEEN_TURNS_MS)
        # Also where nothing was found: whose worker died is found out on the way.
        return await self._store.claim_found(self.claims.owner, due.ids)

    def _want(self, limit: int) -> Want:
        now = self._loop.time()
        narrow, widths = self.mail.narrows.lines(now)
        rooms = self._shares.rooms()
        for name, room in self.mail.narrows.rooms(now).items():
            rooms[name] = min(room, rooms.get(name, room))
        rooms |= dict.fromkeys(self._elsewhere.sets, 0)
        return Want(
            now=self._wall(),
            limit=limit,
            weight=NORMAL,
            weights=self._shares.weights,
            rooms=rooms,
            narrow=narrow,
            widths=widths,
            cursors=self._cursors,
            start=self._rng.random(),
        )

    def _take(self, found: Sequence[Delivery]) -> None:
        if found:
            self._note_doubtful(found)
            now = self._wall()
            spared = [spare(delivery, self._began, now) for delivery in found]
            self.mail.place(self.claims.take(spared), fresh=False)

    def _note_doubtful(self, found: Sequence[Delivery]) -> None:
        """A receiver may have these already; what nobody knows to have arrived is sent. They are
        counted then (`Telling.attempted`): claimed they may be given back, and claimed again."""
        for delivery in found:
            if delivery.doubtful:
                self._log.warning(
                    "taken over from an owner that died while sending it: it may come twice",
                    message_id=delivery.message.id,
                    domain=delivery.domain,
                )

    async def give_up_expired(self) -> None:
        """Take what has expired out of the store, wherever it waits, so that it is given up."""
        now = self._wall()
        after = self._began if now < self._began + MERCY_MS else -1
        while found := await self._store.find_expired(after, now, CLAIM_BATCH):
            claimed = await self._store.claim_found(self.claims.owner, found)
            if not claimed:
                return
            self._take(claimed)
            if self.claims.is_full:
                await self.claims.room()


def spare(delivery: Delivery, began: int, now: int) -> Delivery:
    """Mail that grew too old while no relay ran, or by a clock that was set wrong, is tried all
    the same: it has `MERCY_MS` from when this process began (UTC ms), then its age counts."""
    if delivery.message.expires_at > began or now >= began + MERCY_MS:
        return delivery
    return replace(delivery, message=replace(delivery.message, expires_at=began + MERCY_MS))
