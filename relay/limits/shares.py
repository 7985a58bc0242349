"""What this node holds of one limit that a fleet shares: how much to ask for, and what to give up.

Owns the numbers of one key and decides by them; `relay.limits.sharing` asks, and `relay.store.
sharing` has the other side's arithmetic. A share is spent as any limit is (`Pace`, `Slots`). It is
lowered here first and given up then, so that the store never counts less than may be in use. Pure;
the caller's monotonic seconds.
"""

from math import ceil
from typing import Protocol

from relay.config.units import Rate
from relay.limits.pace import Pace
from relay.store.fleet_values import Share, ShareWish
from relay.store.sharing import fair

MOST = 2**31 - 1  # what the store's integers hold

_IDLE = 10.0  # seconds without use after which a share is given up
_SHORT = 2.0  # seconds for which it counts that somebody was refused
_FADE = 0.7  # of what flowed, each second
_LONGEST_FLOW = 10  # seconds of a window
_SPENT = 0.6  # of a share; whoever spends less and has to wait is in no need of more
_TURN = 5.0  # seconds that a permit is kept for which others wait who have none
_EVERY = 1.0  # seconds between wishes of a key, at least
_SOONEST = 0.05  # seconds
_LENT = 1_000  # ms by which permits may be spent later than they were counted: workers hold them
_FIRST = 4  # a limit that nobody has used yet is asked for by such a part, and at once for more


class KeyShare:
    """The share of one key: of `limit` permits in `window` ms, or of things open at a time (0)."""

    def __init__(self, key: str, limit: int, window: int, now: float) -> None:
        self.key = key
        self.limit = min(limit, MOST)
        self.held = 0
        self.is_known = False  # the store has answered
        self.is_released = False  # and knows that nothing is wanted any more
        self.ask_at = now  # when it is worth asking
        self._demand = 0  # as it was told last
        self._window = window
        self._others: tuple[int, ...] = ()
        self._lowest = self.limit
        self._began = self._used_at = self._held_since = now
        self._short_until = now
        self._asked_at = now - _EVERY

    @property
    def could_grow(self) -> bool:
        """Whether others may give up what is missing here."""
        return self.held < min(self.limit, self._lowest)

    def note_use(self, now: float) -> None:
        """Somebody has asked for a permit."""
        self._used_at = now

    def note_short(self, now: float, for_s: float = 0.0) -> bool:
        """Somebody was refused, and comes again after so long. Whether it is worth asking now."""
        if now >= self._short_until:  # it is news
            self.ask_at = min(self.ask_at, max(now, self._asked_at + _SOONEST))
        self._used_at = now
        self._short_until = max(self._short_until, now + for_s + _SHORT)
        return self.could_grow and now >= self.ask_at

    def is_idle(self, now: float) -> bool:
        """Whether nobody has asked for it for a while."""
        return now >= max(self._used_at + _IDLE, self._short_until)

    def wish(self, now: float, used: int, demand: int, *, least: int = 0) -> ShareWish:
        """What to ask the store. From now on no more than what it keeps is held. `used` permits
        are in the window; `least` cannot be given up yet."""
        demand = min(demand, self.limit)
        keep = max(min(self.held, least), self._keep(now, demand))
        self.held, self._demand = keep, demand
        self._asked_at, self.ask_at = now, now + _EVERY
        window = self._window + _LENT if self._window else 0
        cooling = max(0, used - keep) if self._window else 0
        return ShareWish(self.key, self.limit, window, keep, cooling, demand)

    def keeps(self, now: float, demand: int) -> int:
        """How much is to be kept when others want some; what is lower than `held` is given up."""
        return self._keep(now, min(demand, self.limit))

    def _keep(self, now: float, demand: int) -> int:
        limit = min(self.limit, self._lowest)
        if not demand or not self.held:
            return 0
        if len(self._others) >= limit:  # less than one for each: take turns
            return 0 if now - self._held_since >= _TURN else 1
        due = fair(limit, [demand, *self._others])[0]
        return min(self.held, max(due, limit - sum(self._others)))

    def answered(self, share: Share, now: float) -> None:
        """What the store says is held from now on."""
        if not self.held:
            self._held_since = now
        self.held = min(share.held, self.limit)
        self._others = share.others
        self._lowest = share.limit or self.limit
        self.is_released = not self._demand and not self.held
        self.is_known = not self.is_released
        if share.retry_in:
            wait = max(_SOONEST, min(share.retry_in / 1000, _EVERY))
            self.ask_at = min(self.ask_at, now + wait)

    def lose(self, now: float) -> None:
        """The membership has ended: nothing is held any more."""
        self.held = 0
        self.is_known = False
        self.ask_at = now
        self._others = ()

    def retry_in(self, now: float) -> float:
        """Seconds after which it is worth trying again where nothing is held."""
        return min(_EVERY, max(0.0, self.ask_at - now)) + _SOONEST

    def first_demand(self, now: float) -> int:
        """What a key is taken to need of which nothing is known yet."""
        return self.limit // _FIRST + 1 if now - self._began < _SHORT else 1


class RateShare(KeyShare):
    """The share of a rate, with the pace that it is spent at."""

    def __init__(self, key: str, rate: Rate, *, strict: bool, now: float, since: float) -> None:
        super().__init__(self.name(key, rate), rate.count, rate.seconds * 1000, now)
        self.of = key
        self.pace = Pace(rate, strict=strict, now=since)
        self.spent = 0  # permits, since it was asked last
        self._flow = 0.0  # permits per second, lately
        self._seconds = rate.seconds

    @staticmethod
    def name(key: str, rate: Rate) -> str:
        """The key of a share. Permits of different windows are not to be added up."""
        return f"{key} {rate.seconds}s"

    def is_for(self, rate: Rate) -> bool:
        """Whether it is counted in the windows of that rate."""
        return rate.seconds == self._seconds

    def next_wish(self, now: float) -> ShareWish:
        """What to ask for now; the pace follows what is kept."""
        used = self.pace.counted(now)
        elapsed = max(_SOONEST, now - self._asked_at)
        self._flow = max(self.spent / elapsed, self._flow * _FADE**elapsed)
        self.spent = 0
        wish = self.wish(now, used, self._could_use(now, used))
        self.follow(now)
        return wish

    def _could_use(self, now: float, used: int) -> int:
        if self.is_idle(now):
            return 0
        if self._seconds > _LONGEST_FLOW and now < self._short_until:
            return self.limit  # an even flow says little of what is needed in an hour
        lately = max(used, ceil(self._flow * self._seconds))
        if now < self._short_until and lately >= _SPENT * self.held:
            return max(2 * self.held, self.limit // _FIRST) + 1
        return max(2 * lately + 1, self.first_demand(now))

    def last_wish(self, now: float) -> ShareWish:
        """Give all up."""
        return self.wish(now, self.pace.counted(now), 0)

    def answered(self, share: Share, now: float) -> None:
        """What the store says is held from now on; the pace follows."""
        super().answered(share, now)
        self.follow(now)

    def follow(self, now: float) -> None:
        """Go at the pace of what is held. With nothing held there is none: nothing may go."""
        if self.held and self.held != self.pace.rate.count:
            self.pace.adapt(Rate(self.held, self._seconds), now=now)

    def limit_to(self, rate: Rate, now: float) -> None:
        """Another limit is in force."""
        self.limit = min(rate.count, MOST)
        self.held = min(self.held, self.limit)
        self.ask_at = now
        self.follow(now)

    def delay(self, now: float) -> float:
        """Seconds until the next message may go, as things stand."""
        if not self.held:
            return self.retry_in(now)
        return max(0.0, self.pace.ready_at(now) - now)

    def soonest(self, now: float) -> float:
        """Seconds after which the next message might go if the share were the whole limit: after
        that it is worth asking again."""
        delay = self.delay(now)
        if not self.held or not self.could_grow:
            return delay
        return min(delay, max(_SOONEST, delay * self.held / self.limit))


class Counts(Protocol):
    """What the connections of a line are."""

    def count(self, key: str) -> tuple[int, int]:
        """How many are in use, and how many more are waited for."""


class LineShare(KeyShare):
    """The share of a line's connections. What is open is kept until it is closed."""

    def __init__(self, line: str, limit: int, counts: Counts, now: float) -> None:
        super().__init__(f"connections:{line}", limit, 0, now)
        self.line = line
        self._counts = counts
        self._bound = 0

    @property
    def bound(self) -> int:
        """How many connections may be open: what is not to be given up."""
        return min(self.held, self._bound)

    def next_wish(self, now: float) -> ShareWish:
        """What to ask for now."""
        used, waiting = self._counts.count(self.line)
        if used or waiting:
            self.note_use(now)
        demand = 0 if self.is_idle(now) else max(1, 2 * (used + waiting))
        self._bound = self.keeps(now, demand)
        return self.wish(now, used, demand, least=used)

    def last_wish(self, now: float) -> ShareWish:
        """Give all up: nothing is open any more."""
        return self.wish(now, 0, 0)

    def answered(self, share: Share, now: float) -> None:
        """See `KeyShare`. What was granted may be opened."""
        kept = self.held
        super().answered(share, now)
        self._bound += max(0, self.held - kept)

    def lose(self, now: float) -> None:
        """See `KeyShare`."""
        super().lose(now)
        self._bound = 0
