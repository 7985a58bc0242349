"""What goes next on a way: the head of a lane, once its limits let it.

A lane asks its limits here, for one transaction at a time, when a connection is there. Whatever is
taken out of a lane is handed to a worker, put back first, placed anew, given up or given back.
"""

import asyncio
from collections.abc import Callable

from relay.delivery.claims import Claims
from relay.delivery.dead_ends import Place
from relay.delivery.endings import Endings, is_expired
from relay.delivery.holding import Holding
from relay.delivery.lanes import NOTHING_PAID, Lane, Load, Way, recipients_of
from relay.delivery.narrows import what_is_waited_for
from relay.delivery.pacing import KEEP_SECONDS
from relay.delivery.planning import Planning
from relay.delivery.reacting import Reacting
from relay.delivery.warming import Warming
from relay.limits.gatekeeper import Decision, Gatekeeper
from relay.routing.plan import RoutingFailure
from relay.routing.router import Router
from relay.store.values import Delivery


class HandingOut:
    """`router` and `warming` are those in force, and set before anything is called. `place` and
    `place_anew` put mail into lanes, `ready` is told of a lane whose head may go."""

    router: Router
    warming: Warming

    def __init__(
        self,
        *,
        limits: Gatekeeper,
        claims: Claims,
        planning: Planning,
        reacting: Reacting,
        endings: Endings,
        holding: Holding,
        wall: Callable[[], int],
        place: Place,
        place_anew: Callable[[Load], None],
        ready: Callable[[Lane], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._claims = claims
        self._planning = planning
        self._reacting = reacting
        self._endings = endings
        self._holding = holding
        self._wall = wall
        self._place = place
        self._place_anew = place_anew
        self._ready = ready
        self._asking: set[Load] = set()

    def asking(self) -> set[int]:
        """The ids of the deliveries that ask their limits."""
        return {delivery.id for load in self._asking for delivery in load}

    async def next(self, way: Way) -> tuple[Lane, Load] | None:
        """What may go on `way` now in one transaction; None where there is nothing."""
        while (lane := way.next_lane()) is not None:
            load = self._unexpired(lane, self._held(lane.take_load()))
            if lane.is_short:
                self._holding.taken_from(lane)
            if not load:
                lane.take_turn()
                continue
            if load[0].id not in lane.paid and self._goes_elsewhere(load, way):
                self._place_anew(load)
                lane.take_turn()
                continue
            if lane.keys and load[0].id not in lane.paid:
                decision = await self._ask(lane, load)
                if not (load := self._held(load)):
                    lane.take_turn()
                    continue
                if not decision.now:
                    self._refused(lane, load, decision)
                    continue
            lane.paid = NOTHING_PAID
            if self._reacting.rests(way.path.source, way.path.site.line):
                self._place_anew(load)
                continue
            self._ready(lane)
            return lane, load
        return None

    def _goes_elsewhere(self, load: Load, way: Way) -> bool:
        """Whether a domain is known to have other mail hosts or another policy than when its mail
        began to wait here: mail that waits for long must not go by what was true before."""
        path = way.path
        for delivery in load:
            site = self.router.known_site(path.destination, delivery.domain)
            if site is None or site is path.site:
                continue
            if delivery.message.tls_optional:
                site = site.without_policy()
            if site != path.site:
                return True
        return False

    def _held(self, load: Load) -> Load:
        """What is claimed still: where the lease was lost while it asked or was carried, others
        send it."""
        return tuple([delivery for delivery in load if self._claims.holds(delivery)])

    def _unexpired(self, lane: Lane, load: Load) -> Load:
        now = self._wall()
        if len(load) == 1 and not is_expired(load[0], now):
            return load
        why = why_in(lane)
        return tuple([one for one in load if not self._endings.has_expired(one, now, why)])

    async def _ask(self, lane: Lane, load: Load) -> Decision:
        """Only the head of a lane asks, one at a time."""
        lane.asking = True
        self._asking.add(load)
        try:
            return await self._limits.admit(lane.keys, recipients_of(load))
        except BaseException:
            for delivery in load:
                self._claims.give_back(delivery, delivery.due_at)
            raise
        finally:
            lane.asking = False
            self._asking.discard(load)

    def _refused(self, lane: Lane, load: Load, decision: Decision) -> None:
        if lane.way.retired:
            self._place_anew(load)
            return
        lane.put_load_first(load)
        if self._overflows(lane, load[0], decision):
            self._place(lane.take_last(len(lane.waiting)), fresh=False)
            return
        self._holding.hold(lane, decision, recipients_of(load))
        if decision.limited_by.startswith("source:") and decision.delay_s > KEEP_SECONDS:
            # The limit of one source is no reason to wait for it where the pool has others.
            self._place(lane.take_last(len(lane.waiting)), fresh=False)
        else:
            self._holding.shorten(lane)

    def _overflows(self, lane: Lane, delivery: Delivery, decision: Decision) -> bool:
        """Whether a warm-up has refused it, and what waits is to be placed anew."""
        if not decision.limited_by.startswith("warmup:"):
            return False
        try:
            plan = self._planning.plan(delivery)
        except RoutingFailure:  # a reload has removed the configuration set
            return False
        return self.warming.refused(decision, plan, self._loop.time())

    def put_back(self, lane: Lane, load: Load, *, paid: bool) -> None:
        """What was handed out comes first again; `paid`: by the permits that it has."""
        if lane.way.retired:
            self._place_anew(load)
            return
        lane.put_load_first(load)
        lane.paid = frozenset(delivery.id for delivery in load) if paid else NOTHING_PAID
        lane.take_turn()


def why_in(lane: Lane) -> Callable[[Delivery], str]:
    """Why mail of a lane was not sent, to be said where it has expired."""
    return lambda _: what_is_waited_for(lane)
