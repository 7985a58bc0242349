"""Mail that must wait: for a limit, or because its way is slower than its share of the memory.

What may go within half a minute waits in its lane; the rest stays in the store, as due as it was,
and claims pass it over until there is room (`relay.delivery.narrows`). So neither a throttled
stream nor a slow destination fills the working set, and other mail passes. Decides nothing about
limits themselves (`relay.limits`), and loses nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from relay.config.model import Config
from relay.delivery.claims import Claims
from relay.delivery.lanes import Lane
from relay.delivery.narrows import Narrows, level, what_is_waited_for
from relay.delivery.pacing import KEEP_SECONDS, Pacing
from relay.delivery.shares import Shares
from relay.delivery.telling import Telling
from relay.delivery.ways import Ways
from relay.limits.gatekeeper import Decision
from relay.limits.specs import Limit
from relay.store.values import Delivery

RELIEF_SECONDS = 60.0
_RELIEF_HORIZON = 6  # so many times what a way has carried since the last look may wait for it
_LEAST_KEPT = 50  # in a lane or on a way, where the working set is not very small
_OF_SETS = ("set", "pool")  # levels of limits that all lines of a set meet


class Holding:
    """`limits` are those in force, and may change. `ready` is told of each lane that has waited
    long enough, `room` is called when mail that was kept out may be claimed."""

    def __init__(
        self,
        config: Config,
        limits: Mapping[str, Limit],
        ways: Ways,
        claims: Claims,
        shares: Shares,
        telling: Telling,
        ready: Callable[[Lane], None],
        room: Callable[[float], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ways = ways
        self._claims = claims
        self._shares = shares
        self._telling = telling
        self._ready = ready
        self._room_in = room
        self._limits = limits
        self.narrows = Narrows(self._room)
        self.configure(config)

    def release(self, lane: Lane) -> None:
        """A lane that is held may ask again now: its limit has changed."""
        if lane.timer is not None:
            lane.timer.cancel()
        self._resume(lane)

    def configure(self, config: Config) -> None:
        self._pacing = Pacing(self._limits)
        self._working_set = config.delivery.working_set
        self._most_in_lane = max(10, self._working_set // 10)
        self._least = min(_LEAST_KEPT, max(10, self._working_set // 50))
        self.narrows.clear()

    def hold(self, lane: Lane, decision: Decision, recipients: int) -> None:
        """A limit has refused the head of a lane, of so many `recipients`."""
        key, kind = decision.limited_by, decision.kind
        now = self._loop.time()
        earliest = now + decision.delay_s
        at = self._pacing.ask_at(key, kind, recipients, earliest, lane, now=now)
        self._hold_until(lane, key, kind, at)
        if decision.delay_s > KEEP_SECONDS and level(key) in _OF_SETS:
            self.narrows.close_set(lane.configuration_set, earliest, what_is_waited_for(lane))
            self._room_in(decision.delay_s)

    def close_for_want_of_a_source(
        self, name: str, seconds: float, is_over: Callable[[], bool]
    ) -> None:
        """Nothing of a set may go for so long, or until `is_over`."""
        until = self._loop.time() + seconds
        why = "it waited for a source address that could send"
        self.narrows.close_set(name, until, why, is_over)
        self._room_in(seconds)

    def close_line(self, delivery: Delivery, until: float, why: str) -> None:
        """Nothing of a delivery's set to its domain may go before `until`, in the loop's seconds;
        `why` is a clause."""
        self.narrows.close_line(delivery, until, why)
        self._room_in(until - self._loop.time())

    def shorten(self, lane: Lane) -> None:
        """What would wait for long in a lane that is held waits in the store instead."""
        is_long = lane.held_until - self._loop.time() > KEEP_SECONDS
        keep = 0 if is_long else self._capacity(lane)
        if len(lane.waiting) > keep:
            self._keep_out(lane, lane.take_last(len(lane.waiting) - keep))

    def keeps_out(self, lane: Lane, delivery: Delivery, fresh: bool) -> bool:
        """Leave a delivery in the store where it would wait too long in `lane`; False where it may
        join it.

        An empty lane stands in line behind those that wait for one of its limits, so that it opens
        no connection before it may use it. Fresh mail goes behind what was kept out before.
        """
        now = self._loop.time()
        if not lane.held_by and not lane.waiting:
            line = self._pacing.line_at(lane.keys, len(delivery.recipients), now)
            if line is not None:
                self._hold_until(lane, *line)
        if self._is_full(lane, now) or (fresh and lane.is_short and lane.keys):
            self._keep_out(lane, [delivery])
            return True
        return False

    def is_full(self, lane: Lane) -> bool:
        """Whether mail was kept out of a lane, and would be still."""
        return lane.is_short and self._is_full(lane, self._loop.time())

    def soonest(self, lane: Lane) -> float:
        """When mail may go by a lane, for comparing it with others that may not be used either."""
        return max(lane.way.down_until, lane.held_until if lane.held_by else 0.0)

    def taken_from(self, lane: Lane) -> None:
        """Mail has left a lane that was short of room: some may come when half of it is free."""
        if len(lane.waiting) <= self._most(lane) // 2 and not lane.held_by:
            lane.is_short = False
            self._room_in(0.0)

    def why(self, delivery: Delivery) -> str:
        """What mail waits for in the store, as a clause; `""` where nothing is known."""
        return self.narrows.why(delivery)

    def relieve(self) -> None:
        """Mail is kept out of memory for want of room. Where one way holds much of the room and
        carries little, the end of what waits there stays in the store for a while."""
        until = self._loop.time() + RELIEF_SECONDS
        for way in self._ways:
            moved, way.carried_before = way.carried - way.carried_before, way.carried
            most, waiting = max(self._least, moved * _RELIEF_HORIZON), way.waiting
            if way.most_until and most < self._working_set // 4 and waiting >= way.most // 2:
                way.most, way.most_until = most, until  # as slow as it was
                continue
            if waiting <= max(most, self._working_set // 4):
                continue
            way.most, way.most_until = most, until
            for lane in way.lanes.values():
                share = most * len(lane.waiting) // waiting
                self._keep_out(lane, lane.take_last(len(lane.waiting) - share))

    def tidy(self) -> None:
        """Forget what is no narrow any more."""
        self.narrows.forget_past(self._loop.time())

    def _hold_until(self, lane: Lane, key: str, kind: str, until: float) -> None:
        lane.held_by, lane.held_kind, lane.held_until = key, kind, until
        lane.timer = self._loop.call_at(until, self._resume, lane)
        self._telling.limited(key, kind, max(0.0, until - self._loop.time()))

    def _resume(self, lane: Lane) -> None:
        lane.held_by = lane.held_kind = ""
        lane.timer = None
        self._ready(lane)
        if lane.is_short and not lane.waiting:
            self.taken_from(lane)

    # Room

    def _is_full(self, lane: Lane, now: float) -> bool:
        if lane.held_by and lane.held_until - now > KEEP_SECONDS:
            return True
        waiting = len(lane.waiting)
        if not lane.keys and waiting < self._least:
            return lane.way.is_crowded(now)
        return waiting >= self._most(lane) or lane.way.is_crowded(now)

    def _most(self, lane: Lane) -> int:
        """How many deliveries a lane may hold: what may go within half a minute under its limits,
        and never more than is left to its set."""
        if lane.keys:
            return self._capacity(lane)
        return max(self._least, self._shares.room(lane.configuration_set))

    def _capacity(self, lane: Lane) -> int:
        kinds = ((lane.held_by, lane.held_kind),) if lane.held_by else ()
        rated = tuple((key, "rate") for key in lane.keys)
        return min(
            (self._pacing.capacity(key, kind, self._most_in_lane) for key, kind in kinds + rated),
            default=self._most_in_lane,
        )

    def _room(self, lane: Lane) -> int:
        """How many more deliveries a lane can use now."""
        now, way = self._loop.time(), lane.way
        if lane.held_by and lane.held_until - now > KEEP_SECONDS:
            return 0
        most, waiting = self._most(lane), len(lane.waiting)
        if lane.is_short and waiting > most // 2:
            return 0
        # What comes to a lane without limits takes room from its set, too.
        room = most - waiting if lane.keys else max(self._least, most + waiting) // 2 - waiting
        return min(room, way.most - way.waiting) if way.most_until > now else room

    def _keep_out(self, lane: Lane, deliveries: Iterable[Delivery]) -> None:
        """To the store, as due as before; whoever claims passes their lines over."""
        now = self._loop.time()
        is_long = bool(lane.held_by) and lane.held_until - now > KEEP_SECONDS
        for delivery in deliveries:
            if is_long:
                self.narrows.close_line(delivery, lane.held_until, what_is_waited_for(lane))
            else:
                self.narrows.keep_out(delivery, lane)
            self._claims.leave(delivery)
        if is_long:
            self._room_in(lane.held_until - now)
