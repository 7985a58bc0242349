"""Which delivery goes where and when: placing mail in lanes, holding it, handing it to workers.

Owns the lanes, ways and sites. Every decision is taken in memory on the event loop, without
waiting, but for the question to the limits. Whatever is taken out of a lane is either handed to a
worker, settled, or given back to the store: nothing is dropped.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random
from typing import Protocol

from relay.config.model import Config
from relay.delivery.claims import Claims
from relay.delivery.failures import ConnectFailure, SourceUnavailable
from relay.delivery.lanes import Lane, Site, Way
from relay.delivery.pacing import KEEP_SECONDS, Pacing
from relay.delivery.path import Path
from relay.delivery.telling import Telling
from relay.feedback.outcome import RecipientResult
from relay.feedback.policy import Policies
from relay.feedback.settle import conclude, expire, postpone, results_for_all, settle
from relay.limits.limits import Decision, Limits
from relay.limits.specs import config_limits, delivery_keys
from relay.mail.replies import Reply
from relay.routing.plan import Candidate, Plan, RoutingFailure, no_source
from relay.routing.router import Router
from relay.store.values import Delivery

NO_SOURCE_MS = 60_000
RELIEF_MS = 60_000
_RELIEF_HORIZON = 6  # so many times what a way has carried since the last look may wait for it
_LEAST_KEPT = 50
_MOST_REMEMBERED = 10_000  # ways that are not in use


class SourceTester(Protocol):
    """What is asked of `routing.health` when an address could not be bound."""

    def suspect(self, address: str) -> bool: ...


class Dispatcher:
    """`rouse` is told of each way that has mail ready to go."""

    def __init__(
        self,
        *,
        config: Config,
        router: Router,
        health: SourceTester,
        limits: Limits,
        claims: Claims,
        telling: Telling,
        wall: Callable[[], int],
        rng: Random,
        rouse: Callable[[Way], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._health = health
        self._limits = limits
        self._claims = claims
        self._telling = telling
        self._wall = wall
        self._rng = rng
        self._rouse = rouse
        self.ways: dict[Path, Way] = {}
        self._sites: dict[str, Site] = {}
        self._lanes: dict[tuple[str, ...], Lane] = {}
        self._configure(config, router)

    def __repr__(self) -> str:
        waiting = sum(way.waiting for way in self.ways.values())
        return f"<Dispatcher {len(self.ways)} ways, {len(self._lanes)} lanes, {waiting} waiting>"

    def _configure(self, config: Config, router: Router) -> None:
        self._router = router
        self._policies = Policies.of(config)
        self._pacing = Pacing(config_limits(config))
        self._most_in_lane = max(10, config.delivery.working_set // 10)
        # A way that is down is tried again at least as often as a message that waits for it.
        self._longest_back_off = max(config.retry.schedule)

    def reconfigure(self, config: Config, router: Router) -> None:
        """Plan everything that waits anew; attempts under way end as they began."""
        self._configure(config, router)
        waiting = self.take_all()
        for way in self.ways.values():
            way.retired = True
        self.ways, self._sites, self._lanes = {}, {}, {}
        self.place(waiting, fresh=False)

    def take_all(self) -> list[Delivery]:
        """Everything that waits, out of its lanes."""
        return [delivery for way in self.ways.values() for delivery in way.take_all()]

    # Placing

    def place(
        self, deliveries: Iterable[Delivery], *, fresh: bool, avoid: Collection[str] = ()
    ) -> None:
        """Put deliveries where they wait for their turn. `fresh` ones were accepted just now."""
        now = self._wall()
        for delivery in deliveries:
            if delivery.due_at > now:
                self._place_later(delivery, (delivery.due_at - now) / 1000)
            else:
                self._place(delivery, fresh, avoid)

    def _place_later(self, delivery: Delivery, seconds: float) -> None:
        """It was accepted to go later. Soon: then it waits here; else in the store.

        The wish is as old as the message: a wall clock set back meanwhile makes it no longer.
        """
        wished = (delivery.due_at - delivery.message.accepted_at) / 1000
        seconds = max(0.0, min(seconds, wished)) if not delivery.attempts else seconds
        if seconds > KEEP_SECONDS:
            self._claims.give_back(delivery, delivery.due_at)
        else:
            self._loop.call_later(seconds, self._place_due, delivery)

    def _place_due(self, delivery: Delivery) -> None:
        if self._claims.holds(delivery):
            self._place(delivery, True, ())

    def _place(self, delivery: Delivery, fresh: bool, avoid: Collection[str]) -> None:
        if self._has_expired(delivery):
            return
        message = delivery.message
        try:
            plan = self._router.plan(delivery.domain, message.configuration_set)
        except RoutingFailure as failure:
            self.conclude(delivery, results_for_all(delivery, failure.reply, "routing"))
            return
        lane = self._choose(plan, delivery.domain, avoid)
        if lane is None:
            self._postpone(delivery, str(no_source(plan.pool, plan.candidates)))
        elif lane.way.failure is not None and lane.way.down_until > self._loop.time():
            self._fail(delivery, lane, lane.way.failure)
        elif lane.held_by and self._must_go_back(lane, fresh):
            self._give_back(lane, [delivery])
        elif lane.way.is_crowded(self._loop.time()):
            self._give_back_later([delivery])
        else:
            lane.put(delivery)
            if lane.in_turn:
                self._rouse(lane.way)

    def _choose(self, plan: Plan, domain: str, avoid: Collection[str]) -> Lane | None:
        """The lane of a source by weight, sooner one that is up and not at its own limit."""
        candidate = self._router.choose_source(plan, self._rng, avoid)
        if candidate is None:
            return None
        first = lane = self._lane(plan, candidate, domain)
        tried = set(avoid)
        while lane.way.down_until > self._loop.time() or lane.held_by.startswith("source:"):
            tried.add(candidate.address)
            candidate = self._router.choose_source(plan, self._rng, tried)
            if candidate is None:
                return first
            lane = self._lane(plan, candidate, domain)
        return lane

    def _lane(self, plan: Plan, candidate: Candidate, domain: str) -> Lane:
        domain = domain if plan.route.kind == "mx" else ""
        address = candidate.address
        key = (plan.configuration_set, address, domain, plan.route.match)
        lane = self._lanes.get(key)
        if lane is None:
            path = Path(address, candidate.family, candidate.ehlo, plan.route, domain)
            way = self._way(path)
            keys = delivery_keys(plan.configuration_set, plan.pool, address)
            lane = self._lanes[key] = Lane(plan.configuration_set, plan.pool, way, keys)
            way.lanes[key] = lane
        return lane

    def _way(self, path: Path) -> Way:
        way = self.ways.get(path)
        if way is None:
            site = self._sites.setdefault(path.site, Site(path.site))
            way = self.ways[path] = Way(path, site)
        return way

    # Handing out

    async def next(self, way: Way) -> tuple[Lane, Delivery] | None:
        """The next delivery that may go on `way` now; None where there is none."""
        while (lane := way.next_lane()) is not None:
            delivery = lane.take()
            if self._has_expired(delivery):
                lane.take_turn()
                continue
            if delivery.id != lane.paid:
                decision = await self._ask(lane, delivery)
                if way.retired and not decision.now:
                    self._place(delivery, False, ())
                    continue
                if not decision.now:
                    lane.put_first(delivery)
                    self._hold(lane, decision)
                    continue
            lane.paid = 0
            lane.take_turn()
            if lane.in_turn:
                self._rouse(way)
            return lane, delivery
        return None

    async def _ask(self, lane: Lane, delivery: Delivery) -> Decision:
        """Only the head of a lane asks, one at a time."""
        lane.asking = True
        try:
            return await self._limits.admit(lane.keys, len(delivery.recipients))
        except BaseException:
            self._claims.give_back(delivery, delivery.due_at)
            raise
        finally:
            lane.asking = False

    def put_back(self, lane: Lane, delivery: Delivery) -> None:
        """A delivery that was handed out comes first again, its permits spent."""
        if lane.way.retired:
            self._place(delivery, False, ())
            return
        lane.put_first(delivery)
        lane.paid = delivery.id
        lane.take_turn()

    def forgive(self) -> None:
        """Try every destination again, also those that are down: an operator asks for it."""
        for way in self.ways.values():
            way.down_until = 0.0

    def rouse_all(self) -> None:
        """Have all that is ready go, after nothing was allowed to for a while."""
        for way in self.ways.values():
            if way.turns:
                self._rouse(way)

    # Holding

    def _hold(self, lane: Lane, decision: Decision) -> None:
        """The head must wait: here where it is for a short time, else in the store."""
        now = self._loop.time()
        lane.held_by, lane.held_kind = decision.limited_by, decision.kind
        lane.held_until = self._pacing.ask_at(
            lane.held_by, lane.held_kind, len(lane.waiting[0].recipients), now + decision.delay_s
        )
        self._telling.limited(lane.held_by, lane.held_kind, lane.held_until - now)
        keep = 0 if lane.held_until - now > KEEP_SECONDS else self._capacity(lane)
        if len(lane.waiting) > keep:
            self._give_back(lane, lane.take_last(len(lane.waiting) - keep))
        self._loop.call_at(lane.held_until, self._resume, lane)

    def _resume(self, lane: Lane) -> None:
        lane.held_by = lane.held_kind = ""
        lane.take_turn()
        if lane.in_turn:
            self._rouse(lane.way)

    def _must_go_back(self, lane: Lane, fresh: bool) -> bool:
        now = self._loop.time()
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
        ahead = sum(len(other.waiting) for other in self._lanes.values() if other.held_by == key)
        now, wall = self._loop.time(), self._wall()
        earliest = lane.held_until + ahead / self._pacing.rate(key, kind)
        for delivery in deliveries:
            at = self._pacing.due_at(key, kind, len(delivery.recipients), earliest)
            due = wall + round((at - now) * 1000)
            self._claims.give_back(delivery, min(due, delivery.message.expires_at))

    # Ending

    def conclude(
        self,
        delivery: Delivery,
        results: Sequence[RecipientResult],
        lane: Lane | None = None,
        seconds: float = 0.0,
    ) -> None:
        """An attempt has ended with `results`: settle and tell."""
        now = self._wall()
        results = conclude(delivery, results, now)
        settlement = settle(delivery, results, policies=self._policies, now=now, rng=self._rng)
        self._claims.settle(settlement)
        pool, source = (lane.pool, lane.way.path.source) if lane else ("", "")
        self._telling.attempted(delivery, results, pool, source, seconds, now)
        bounced = any(result.kind == "bounced" for result in results)
        self._telling.reported(len(settlement.reports), bounced=bounced)

    def _fail(self, delivery: Delivery, lane: Lane | None, failure: ConnectFailure) -> None:
        results = results_for_all(delivery, failure.reply, failure.phase, failure.remote)
        self.conclude(delivery, results, lane)

    def _postpone(self, delivery: Delivery, reason: str) -> None:
        now = self._wall()
        self._claims.settle(
            postpone(
                delivery,
                reason,
                due_at=now + NO_SOURCE_MS,
                policies=self._policies,
                now=now,
                rng=self._rng,
            )
        )
        self._telling.postponed(delivery, reason)

    def _has_expired(self, delivery: Delivery) -> bool:
        """Give an expired delivery up; True where it was one."""
        now = self._wall()
        if now < delivery.message.expires_at:
            return False
        settlement = expire(delivery, "", policies=self._policies, now=now, rng=self._rng)
        self._claims.settle(settlement)
        self._telling.given_up(delivery, "it expired while it waited")
        self._telling.reported(len(settlement.reports), bounced=True)
        return True

    # When a way does not lead anywhere

    def unreachable(self, way: Way, failure: ConnectFailure) -> None:
        """No connection could be had: the next delivery bears it, and a whole cohort of failures
        defers all that wait, instead of having each wait for a time-out of its own."""
        way.failure = failure
        lane = way.next_lane()
        if lane is not None:
            self._fail(lane.take(), lane, failure)
            lane.take_turn()
        now = self._loop.time()
        if way.failed(now):
            way.down_until = min(way.down_until, now + self._longest_back_off)
            self._fail_all(way, failure)

    def _fail_all(self, way: Way, failure: ConnectFailure) -> None:
        for lane in way.lanes.values():
            for delivery in lane.take_last(len(lane.waiting)):
                self._fail(delivery, lane, failure)

    def unroutable(self, way: Way, failure: RoutingFailure) -> None:
        """The destination has no host: that holds for all that wait. Where it has one for the
        other address family, a source of that family of the same pool takes them."""
        for lane in list(way.lanes.values()):
            for delivery in lane.take_last(len(lane.waiting)):
                if failure.other_family and self._other_family(delivery, way):
                    continue
                results = results_for_all(delivery, failure.reply, "routing")
                self.conclude(delivery, results, lane)

    def _other_family(self, delivery: Delivery, way: Way) -> bool:
        plan = self._router.plan(delivery.domain, delivery.message.configuration_set)
        others = [c for c in plan.eligible if c.family != way.path.family and c.weight > 0]
        if others:
            avoid = {c.address for c in plan.candidates if c.family == way.path.family}
            self._place(delivery, False, avoid)
        return bool(others)

    def source_gone(self, way: Way, fault: SourceUnavailable) -> None:
        """The source cannot be bound. Its mail goes to the other sources of its pool, and waits
        where there is none; it never leaves from another address."""
        if self._health.suspect(fault.address):
            text = f"no connection from {fault}"
            self.unreachable(way, ConnectFailure("local", Reply(451, "4.3.0", text), "", "local"))
            return
        self.place(way.take_all(), fresh=False)

    # Housekeeping

    def tidy(self) -> None:
        """Give up what has expired while it waited; forget ways that are not in use."""
        now = self._loop.time()
        wall = self._wall()
        for path, way in list(self.ways.items()):
            for lane in way.lanes.values():
                if any(d.message.expires_at <= wall for d in lane.waiting):
                    for delivery in lane.take_last(len(lane.waiting)):
                        if not self._has_expired(delivery):
                            lane.put(delivery)
            held = any(lane.held_by or lane.asking for lane in way.lanes.values())
            if way.is_idle and not way.wanting and not held and not self._remembers(way, now):
                self._forget(path, way)

    def relieve(self, working_set: int) -> None:
        """Mail is kept out of memory for want of room. Where one way holds much of the room and
        carries little, the end of what waits there goes back to the store for a while."""
        now = self._loop.time()
        for way in self.ways.values():
            moved, way.carried_before = way.carried - way.carried_before, way.carried
            most = max(_LEAST_KEPT, moved * _RELIEF_HORIZON)
            if way.waiting <= max(most, working_set // 4):
                continue
            way.most, way.most_until = most, now + RELIEF_MS / 1000
            for lane in way.lanes.values():
                share = most * len(lane.waiting) // way.waiting if way.waiting else 0
                self._give_back_later(lane.take_last(len(lane.waiting) - share))

    def _give_back_later(self, deliveries: Iterable[Delivery]) -> None:
        now = self._wall()
        for delivery in deliveries:
            due = now + RELIEF_MS + round(self._rng.random() * RELIEF_MS)
            self._claims.give_back(delivery, min(due, delivery.message.expires_at))

    def _remembers(self, way: Way, now: float) -> bool:
        """A way that was down stays known for a while: its next failure counts for more."""
        if way.down_until > now:
            return True
        return now < way.down_until + 4 * way.back_off and len(self.ways) < _MOST_REMEMBERED

    def _forget(self, path: Path, way: Way) -> None:
        del self.ways[path]
        for key in way.lanes:
            self._lanes.pop(key, None)
        if not way.site.connections and not way.site.wanting:
            self._sites.pop(way.site.key, None)
