"""Which delivery goes where and when: placing mail in lanes, handing it to workers.

Every decision is taken in memory on the event loop, without waiting, but for the question to the
limits. Whatever is taken out of a lane is either handed to a worker, settled, or given back to the
store: nothing is dropped.
"""

import asyncio
from collections import ChainMap
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from relay.config.model import Config
from relay.delivery.attempt import Results
from relay.delivery.backlog import Backlog, backlog_of
from relay.delivery.choosing import Choosing
from relay.delivery.claims import Claims
from relay.delivery.dead_ends import DeadEnds, SourceTester
from relay.delivery.dialogue import Dialogue
from relay.delivery.endings import Endings, is_expired
from relay.delivery.handing_out import HandingOut, why_in
from relay.delivery.holding import Holding
from relay.delivery.lanes import Lane, Load, Way
from relay.delivery.leaving import Leaving
from relay.delivery.narrows import Narrows
from relay.delivery.placing import Placing
from relay.delivery.planning import Planning
from relay.delivery.reacting import Reacting, sent_by
from relay.delivery.shares import Shares
from relay.delivery.suspending import SettingAside
from relay.delivery.telling import Telling
from relay.delivery.unclassified import UnclassifiedReplies
from relay.delivery.warming import Warming
from relay.delivery.ways import Ways
from relay.delivery.whereabouts import Found, in_lanes
from relay.feedback.reactions import Rules
from relay.feedback.restraints import Complaint, Rest
from relay.limits.gatekeeper import Decision, Gatekeeper
from relay.limits.shapes import Shapes
from relay.limits.specs import Limit
from relay.limits.warmup import limits_in_force
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.routing.router import Router
from relay.routing.suspensions import Suspensions
from relay.store.fleet_values import Elsewhere
from relay.store.values import Delivery, QueueFilter, WarmupProgress

_TAKEN_OVER = 500  # at once, of what waits for a pool
_TAKEN_WHERE_SHORT = 20  # where a lane of the pool has as much as it can use


class Dispatcher:
    """`rouse` is told of each way that has mail ready to go, `room` in how many seconds there is
    room for mail that was kept out, `complain` of replies that say something of how we send."""

    def __init__(
        self,
        *,
        config: Config,
        router: Router,
        health: SourceTester,
        limits: Gatekeeper,
        claims: Claims,
        shares: Shares,
        aside: SettingAside,
        telling: Telling,
        unclassified: UnclassifiedReplies,
        wall: Callable[[], int],
        rng: Random,
        rouse: Callable[[Way], None],
        room: Callable[[float], None],
        complain: Callable[[Complaint], None],
        metrics: Metrics,
        log: Logger,
        warmups: Mapping[str, WarmupProgress] = MappingProxyType({}),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._telling = telling
        self._aside = aside
        self._wall = wall
        self._rouse = rouse
        self._in_force: ChainMap[str, Limit] = ChainMap({}, {})
        self._ways = Ways(self._in_force)
        self._endings = Endings(config, claims, telling, unclassified, wall, rng)
        self._warmups = warmups
        self._holding = Holding(
            config, self._in_force, self._ways, claims, shares, telling, self._ready, room
        )
        self._choosing = Choosing(self._ways, self._holding, rng)
        self._leaving = Leaving(claims, wall, rng)
        # The loop's seconds are the machine's, which the supervisor's rests are told in.
        self._reacting = Reacting(metrics, self._loop.time, complain=complain, rested=self._rested)
        self._planning = Planning(router, log)
        self._placing = Placing(
            config=config,
            planning=self._planning,
            choosing=self._choosing,
            holding=self._holding,
            reacting=self._reacting,
            leaving=self._leaving,
            endings=self._endings,
            claims=claims,
            aside=aside,
            telling=telling,
            ready=self._ready,
            wall=wall,
            rng=rng,
            log=log,
        )
        self._handing_out = HandingOut(
            limits=limits,
            claims=claims,
            planning=self._planning,
            reacting=self._reacting,
            endings=self._endings,
            holding=self._holding,
            wall=wall,
            place=self.place,
            place_anew=self._placing.place_anew,
            ready=self._ready,
        )
        self.dead_ends = DeadEnds(
            planning=self._planning,
            reacting=self._reacting,
            endings=self._endings,
            health=health,
            place=self.place,
            place_from=self._placing.place_from,
        )
        self._configure(config, router)

    def __repr__(self) -> str:
        return f"<Dispatcher {self._ways!r}>"

    def _configure(self, config: Config, router: Router) -> None:
        self._config, self._router = config, router
        self._planning.configure(router)
        self._handing_out.router = router
        # What comes and goes at run time stays over what is configured.
        limits = limits_in_force(config, self._warmups)
        self._in_force.maps[1] = limits  # type: ignore[call-overload]  # only read
        self._ways.shapes = Shapes(config)
        warming = Warming.of(config, limits)
        self._choosing.warming = self._handing_out.warming = warming
        self._placing.configure(router, warming)
        self._holding.configure(config)
        self._reacting.rules = Rules.of(config)
        self.dead_ends.configure(config)

    def reconfigure(self, config: Config, router: Router) -> None:
        """Plan everything that waits anew; attempts under way end as they began."""
        self._configure(config, router)
        self._endings.configure(config)
        self.place(self._ways.retire_all(), fresh=False)

    def suspend(self, suspensions: Suspensions) -> None:
        """Put the orders in force: mail that is meant leaves its lane, other sources take over.
        Attempts under way end as they began."""
        self._placing.suspensions = suspensions
        if suspensions:
            self.place(self._ways.take_all(), fresh=False)

    def leave_to_others(self, elsewhere: Elsewhere) -> None:
        """Other nodes are to carry this mail, and no other: what waits of it goes to the store.
        Attempts under way end as they began."""
        self._leaving.elsewhere = elsewhere
        for lane in list(self._ways.lanes()):
            if lane.pool in elsewhere.pools:
                self.place(lane.take_last(len(lane.waiting)), fresh=False)

    def usable_of(self, pool: str) -> int:
        """See `taking_over.Pools`."""
        if pool in self._leaving.elsewhere.pools or not self._router.has_source(pool):
            return 0
        is_short = any(lane.is_short for lane in self._ways.lanes() if lane.pool == pool)
        return _TAKEN_WHERE_SHORT if is_short else _TAKEN_OVER

    def warm_up(self, warmups: Mapping[str, WarmupProgress]) -> None:
        """Warm-ups have come to another day, or to their end: what waits may go otherwise now."""
        before = limits_in_force(self._config, self._warmups)
        self._warmups = warmups
        if limits_in_force(self._config, warmups) != before:
            self._configure(self._config, self._router)
            self.place(self._ways.retire_all(), fresh=False)

    def limit_changed(self, key: str, limit: Limit | None) -> None:
        """A limit that comes and goes at run time is in force from now on, or (None) no more: the
        lanes that it is for ask for it. Those that it holds up ask again at once."""
        if limit is None:
            self._in_force.pop(key, None)
        else:
            self._in_force[key] = limit
        for lane in self._ways.ask_anew(key):
            if lane.held_by == key:
                self._holding.release(lane)
        self.narrows.clear()

    @property
    def narrows(self) -> Narrows:
        """Where mail waits in the store for want of room."""
        return self._holding.narrows

    def waiting(self) -> set[int]:
        """The ids of all deliveries that wait."""
        waiting = (d.id for lane in self._ways.lanes() for d in lane.waiting)
        finding = (d.id for d in self._placing.finding.deliveries())
        asking = self._handing_out.asking()
        return self._placing.later.union(waiting, finding, asking, self._aside.ids)

    def known_providers(self) -> dict[str, str]:
        """The provider of each domain that is known to belong to one."""
        return self._router.known_providers()

    def backlog(self) -> Backlog:
        """What waits, line by line."""
        unplaced = len(self._placing.later) + sum(1 for _ in self._placing.finding.deliveries())
        return backlog_of(self._ways, unplaced, self._loop.time())

    def whereabouts(self, message_id: str) -> list[Found]:
        """Where the deliveries of a message wait here."""
        found = list(in_lanes(self._ways.lanes(), message_id, self._loop.time()))
        asking = [d for d in self._placing.finding.deliveries() if d.message.id == message_id]
        return found + [Found(delivery.id, "asking DNS") for delivery in asking]

    def take_matching(self, which: QueueFilter) -> list[Delivery]:
        """What waits and `which` names, out of its lanes; its state and limit do not matter."""
        taken = [delivery for lane in self._ways.lanes() for delivery in lane.take_matching(which)]
        return taken + self._placing.finding.take_matching(which)

    def take_all(self) -> list[Delivery]:
        """Everything that waits, out of its lanes."""
        return self._ways.take_all() + self._placing.finding.take_all()

    def close(self) -> None:
        """Ask nothing any more."""
        self._placing.finding.close()

    # Placing

    def place(
        self, deliveries: Iterable[Delivery], *, fresh: bool, avoid: Collection[str] = ()
    ) -> None:
        """See `Placing.place`."""
        self._placing.place(deliveries, fresh=fresh, avoid=avoid)

    def _rested(self, source: str, line: str) -> None:
        """A source begins to rest: what waits for it goes elsewhere, or waits in the store."""
        for way in self._ways.between(source, line):
            self.place(way.take_all(), fresh=False)

    def told(self, rest: Rest) -> None:
        """The supervisor says which source rests for whom."""
        self._reacting.told(rest)
        if not rest.until:
            self.narrows.clear()

    def flow(self, source: str, line: str) -> float:
        """Recipients per second that went lately from a source to a line."""
        flows = {way.line.key: way.line.flow for way in self._ways.between(source, line)}
        return sum(flow.rate(self._loop.time()) for flow in flows.values())

    def _ready(self, lane: Lane) -> None:
        """Something in a lane may go, or may have to wait no longer."""
        lane.take_turn()
        if lane.in_turn:
            self._rouse(lane.way)

    # Handing out

    def next(self, way: Way) -> Coroutine[Any, Any, tuple[Lane, Load] | None]:
        """See `HandingOut.next`."""
        return self._handing_out.next(way)

    def put_back(self, lane: Lane, load: Load, *, paid: bool = True) -> None:
        """See `HandingOut.put_back`."""
        self._handing_out.put_back(lane, load, paid=paid)

    def on_the_list(self, delivery: Delivery, results: Results) -> None:
        """See `Endings.on_the_list`."""
        self._endings.on_the_list(delivery, results)

    def objects(self, results: Results, lane: Lane) -> bool:
        """Whether a peer has said what holds us back, rather than only that it goes."""
        return self._reacting.restrains(results, lane.way.path.site.provider)

    def conclude(
        self,
        delivery: Delivery,
        results: Results,
        lane: Lane,
        seconds: float,
        dialogue: Dialogue | None = None,
    ) -> None:
        """An attempt has ended."""
        way, now = lane.way, self._loop.time()
        way.line.flow.add(len(results), now)
        judgement = None
        if len(results) != 1 or results[0].kind != "delivered":
            judgement = self._reacting.judge(results, sent_by(way.path, now - seconds))
        if judgement is None:
            self._endings.conclude(delivery, results, lane, seconds, dialogue)
            return
        retry_in = judgement.retry_in
        avoid = {way.path.source, *self._reacting.resting(way.path.site.line)}
        if judgement.elsewhere and self._planning.has_source_but(delivery, avoid):
            retry_in = 0.0
        self._endings.conclude(
            delivery,
            judgement.results,
            lane,
            seconds,
            dialogue,
            retry_in=retry_in,
            reaction=judgement.rule,
        )

    def limited(self, way: Way, key: str, decision: Decision) -> None:
        """No connection may be opened for `way` now, whatever waits there."""
        self._telling.limited(key, decision.kind, decision.delay_s)

    def forgive(self) -> None:
        """Try every destination again, also those that are down: an operator asks for it."""
        self.narrows.clear()
        self._reacting.forgive()
        for way in self._ways:
            way.down_until = 0.0

    def rouse_all(self) -> None:
        """Have all that is ready go, after nothing was allowed to for a while."""
        for way in self._ways:
            if way.turns:
                self._rouse(way)

    # Housekeeping

    def tidy(self, *, short_of_room: bool) -> None:
        """Give up what has expired while it waited; make room where it is short; forget ways that
        are not in use."""
        wall = self._wall()
        for way in self._ways:
            for lane in way.lanes.values():
                if any(is_expired(delivery, wall) for delivery in lane.waiting):
                    for delivery in lane.take_last(len(lane.waiting)):
                        if not self._endings.has_expired(delivery, wall, why_in(lane)):
                            lane.put(delivery)
        if short_of_room:
            self._holding.relieve()
        self._holding.tidy()
        self._ways.forget_idle(self._loop.time())
