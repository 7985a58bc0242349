"""Mail that must wait: for a limit, or because its way is slower than its share of the memory.

What may go within half a minute waits in its lane; the rest goes back to the store, each with the
time when it may go. So neither a throttled stream nor a slow destination fills the working set, and
other mail passes. Decides nothing about limits themselves (`relay.limits`), and loses nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from relay.config.model import Config
from relay.delivery.claims import Claims
from relay.delivery.lanes import Lane
from relay.delivery.pacing import KEEP_SECONDS, Pacing
from relay.delivery.telling import Telling
from relay.delivery.ways import Ways
from relay.limits.gatekeeper import Decision
from relay.limits.specs import Limit
from relay.store.values import Delivery

RELIEF_MS = 60_000
_RELIEF_HORIZON = 6  # so many times what a way has carried since the last look may wait for it
_LEAST_KEPT = 50


class Holding:
    """`limits` are those in force, and may change. `ready` is told of each lane that has waited
    long enough."""

    def __init__(
        self,
        config: Config,
        limits: Mapping[str, Limit],
        ways: Ways,
        claims: Claims,
        telling: Telling,
        wall: Callable[[], int],
        rng: Random,
        ready: Callable[[Lane], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ways = ways
        self._claims = claims
        self._telling = telling
        self._wall = wall
        self._rng = rng
        self._ready = ready
        self._limits = limits
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

    def hold(self, lane: Lane, decision: Decision, recipients: int) -> None:
        """A limit has refused the head of a lane, of so many `recipients`."""
        key, kind = decision.limited_by, decision.kind
        earliest = self._loop.time() + decision.delay_s
        self._hold_until(lane, key, kind, self._pacing.ask_at(key, kind, recipients, earliest))

    def shorten(self, lane: Lane) -> None:
        """What would wait for long in a lane that is held waits in the store instead."""
        is_long = lane.held_until - self._loop.time() > KEEP_SECONDS
        keep = 0 if is_long else self._capacity(lane)
        if len(lane.waiting) > keep:
            self._give_back(lane, lane.take_last(len(lane.waiting) - keep))

    def keeps_out(self, lane: Lane, delivery: Delivery, fresh: bool) -> bool:
        """Give a delivery back where it would wait too long in `lane`; False where it may join it.

        An empty lane stands in line behind those that wait for one of its limits, so that it opens
        no connection before it may use it. Fresh mail goes behind what was given back before.
        """
        now = self._loop.time()
        if not lane.held_by and not lane.waiting:
            line = self._pacing.line_at(lane.keys, len(delivery.recipients), now)
            if line is not None:
                self._hold_until(lane, *line)
        if lane.held_by and self._waits_too_long(lane, fresh, now):
            self._give_back(lane, [delivery])
        elif lane.way.is_crowded(now):
            self._give_back_for_a_while([delivery])
        else:
            return False
        return True

    def relieve(self) -> None:
        """Mail is kept out of memory for want of room. Where one way holds much of the room and
        carries little, the end of what waits there goes back to the store for a while."""
        for way in self._ways:
            moved, way.carried_before = way.carried - way.carried_before, way.carried
            most, waiting = max(_LEAST_KEPT, moved * _RELIEF_HORIZON), way.waiting
            if waiting <= max(most, self._working_set // 4):
                continue
            way.most, way.most_until = most, self._loop.time() + RELIEF_MS / 1000
            for lane in way.lanes.values():
                share = most * len(lane.waiting) // waiting
                self._give_back_for_a_while(lane.take_last(len(lane.waiting) - share))

    def _hold_until(self, lane: Lane, key: str, kind: str, until: float) -> None:
        lane.held_by, lane.held_kind, lane.held_until = key, kind, until
        lane.timer = self._loop.call_at(until, self._resume, lane)
        self._telling.limited(key, kind, until - self._loop.time())

    def _resume(self, lane: Lane) -> None:
        lane.held_by = lane.held_kind = ""
        lane.timer = None
        self._ready(lane)

    def _waits_too_long(self, lane: Lane, fresh: bool, now: float) -> bool:
        return (
            lane.held_until - now > KEEP_SECONDS
            or len(lane.waiting) >= self._capacity(lane)
            or (fresh and self._pacing.is_backlogged(lane.held_by, now))
        )

    def _capacity(self, lane: Lane) -> int:
        return self._pacing.capacity(lane.held_by, lane.held_kind, self._most_in_lane)

    def _give_back(self, lane: Lane, deliveries: Sequence[Delivery]) -> None:
        """To the store, each with the time when its limit will let it go, behind those that wait
        in memory under the same limit."""
        key, kind = lane.held_by, lane.held_kind
        now, wall = self._loop.time(), self._wall()
        earliest = lane.held_until
        if not self._pacing.has_far(key, now):
            ahead = sum(len(o.waiting) for o in self._ways.lanes() if o.held_by == key)
            earliest += ahead / self._pacing.rate(key, kind)
        for delivery in deliveries:
            at = self._pacing.due_at(key, kind, len(delivery.recipients), earliest)
            due = wall + round((at - now) * 1000)
            if delivery.attempts:
                due = min(due, delivery.message.expires_at)
            # What was never tried keeps its turn, even beyond its expiry: see `is_expired`.
            self._claims.give_back(delivery, due)

    def _give_back_for_a_while(self, deliveries: Iterable[Delivery]) -> None:
        now = self._wall()
        for delivery in deliveries:
            due = now + RELIEF_MS + round(self._rng.random() * RELIEF_MS)
            self._claims.give_back(delivery, min(due, delivery.message.expires_at))
