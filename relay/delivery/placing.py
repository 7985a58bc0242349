"""Where mail waits for its turn: in a lane here, in the store, or at the end of its way.

What is put in a lane has a plan, a site and a source that may send it. What lacks one of them waits
for it here, while DNS is asked, or in the store; what is for other nodes is left to them, and what
operators suspended is set aside.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from random import Random

from relay.config.model import Config
from relay.delivery.choosing import Choosing
from relay.delivery.claims import Claims
from relay.delivery.endings import NO_SOURCE_MS, Endings
from relay.delivery.finding import Finding, Homeless
from relay.delivery.holding import Holding
from relay.delivery.lanes import Lane, Load
from relay.delivery.leaving import Leaving
from relay.delivery.pacing import KEEP_SECONDS
from relay.delivery.planning import Planning
from relay.delivery.reacting import Reacting
from relay.delivery.suspending import SettingAside
from relay.delivery.telling import Telling
from relay.delivery.warming import Warming
from relay.limits.warmup import warmup_key
from relay.observe.logging import Logger
from relay.routing.plan import Plan, RoutingFailure, no_source
from relay.routing.router import Router
from relay.routing.sites import Site
from relay.routing.suspensions import Suspensions
from relay.store.values import Delivery, Suspension


class Placing:
    """`ready` is told of each lane in which something may go. `suspensions` are the orders in
    force, `later` the ids of deliveries that are due in a moment. To be configured first."""

    def __init__(
        self,
        *,
        config: Config,
        planning: Planning,
        choosing: Choosing,
        holding: Holding,
        reacting: Reacting,
        leaving: Leaving,
        endings: Endings,
        claims: Claims,
        aside: SettingAside,
        telling: Telling,
        ready: Callable[[Lane], None],
        wall: Callable[[], int],
        rng: Random,
        log: Logger,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_shared = config.store.is_shared
        self._planning = planning
        self._choosing = choosing
        self._holding = holding
        self._reacting = reacting
        self._leaving = leaving
        self._endings = endings
        self._claims = claims
        self._aside = aside
        self._telling = telling
        self._ready = ready
        self._wall = wall
        self._rng = rng
        self.suspensions = Suspensions()
        self.later: set[int] = set()
        self.finding = Finding(self._found, endings.unroutable, log)

    def configure(self, router: Router, warming: Warming) -> None:
        """Another configuration, or other days of warm-ups."""
        self._router = router
        self._warming = warming
        self.finding.configure(router)

    def place(
        self, deliveries: Iterable[Delivery], *, fresh: bool, avoid: Collection[str] = ()
    ) -> None:
        """Put deliveries where they wait for their turn. `fresh` ones were accepted just now."""
        now = self._wall()
        self._choosing.forget_sibling()
        for delivery in deliveries:
            if delivery.due_at > now:
                self._place_later(delivery, (delivery.due_at - now) / 1000)
            else:
                self._place(delivery, fresh, avoid, now)

    def _place_later(self, delivery: Delivery, seconds: float) -> None:
        """It was accepted to go later. Soon: then it waits here; else in the store.

        The wish is as old as the message: a wall clock set back meanwhile makes it no longer.
        """
        if not delivery.attempts:
            wished = (delivery.due_at - delivery.message.accepted_at) / 1000
            seconds = max(0.0, min(seconds, wished))
        if seconds > KEEP_SECONDS:
            self._claims.give_back(delivery, delivery.due_at)
        else:
            self.later.add(delivery.id)
            self._loop.call_later(seconds, self._place_due, delivery)

    def _place_due(self, delivery: Delivery) -> None:
        self.later.discard(delivery.id)
        if self._claims.holds(delivery):
            self._place(delivery, True, (), self._wall())

    def place_anew(self, load: Load) -> None:
        """Put what was taken out of a lane where it belongs by now."""
        for delivery in load:
            self._place(delivery, False, (), self._wall())

    def place_from(self, delivery: Delivery, avoid: Collection[str], site: Site) -> None:
        """Put a delivery in the lane of another source than those to avoid."""
        self._place(delivery, False, avoid, self._wall(), site)

    def _place(
        self,
        delivery: Delivery,
        fresh: bool,
        avoid: Collection[str],
        now: int,
        site: Site | None = None,
    ) -> None:
        """`site` is where it goes, if that was asked just now."""
        if self._endings.has_expired(delivery, now, self._why_it_waited):
            return
        try:
            plan = self._planning.plan(delivery)
        except RoutingFailure as failure:
            self._endings.unroutable(delivery, failure)
            return
        if self._leaving.leaves(delivery, plan):
            return
        site = self._router.site(plan, delivery.domain) or site
        if site is not None and delivery.message.tls_optional:
            site = site.without_policy()
        if self.suspensions and self._is_set_aside(delivery, plan, site):
            return
        if site is None:
            self.finding.wait(Homeless(delivery, fresh, avoid), plan)
            return
        resting = self._reacting.resting(site.line)
        lane = self._choosing.choose(plan, site, delivery, {*avoid, *resting} if resting else avoid)
        if lane is None:
            self._wait_for_a_source(delivery, plan, site)
        elif lane.way.failure is not None and lane.way.down_until > self._loop.time():
            self._endings.unreachable(delivery, lane, lane.way.failure)
        elif not (
            self._waits_to_warm_up(lane, plan, delivery)
            or self._holding.keeps_out(lane, delivery, fresh)
        ):
            joins = lane.ends_with(delivery.message)
            lane.put(delivery)
            self._choosing.sibling = lane
            if not joins:  # else it goes with the one before, over one connection
                self._ready(lane)

    def _found(self, homeless: Homeless, site: Site | None) -> None:
        """The site of a delivery has become known, or (None) is to be asked for anew."""
        if self._claims.holds(homeless.delivery):
            self._place(homeless.delivery, homeless.fresh, homeless.avoid, self._wall(), site)

    def _is_set_aside(self, delivery: Delivery, plan: Plan, site: Site | None) -> bool:
        """Set a delivery aside where an operator's order means it."""
        orders = self._orders(delivery, plan, site)
        if orders:
            self._aside.put(delivery, orders)
        return bool(orders)

    def _orders(self, delivery: Delivery, plan: Plan, site: Site | None) -> Sequence[Suspension]:
        message = delivery.message
        return self.suspensions.of(
            message.configuration_set,
            message.credential,
            delivery.domain,
            plan,
            site.provider if site else "",
        )

    def _why_it_waited(self, delivery: Delivery) -> str:
        """What mail that comes from the store has waited for there, as a clause."""
        with suppress(RoutingFailure):
            plan = self._router.plan(delivery.domain, delivery.message.configuration_set)
            site = self._router.site(plan, delivery.domain)
            if self.suspensions and (orders := self._orders(delivery, plan, site)):
                return f"an operator had suspended {orders[0].kind} {orders[0].name}"
            if site is not None and (rested := self._rested_of(plan, site)):
                return self._reacting.because(site.line, rested)
        return self._holding.why(delivery)

    def _rested_of(self, plan: Plan, site: Site) -> list[str]:
        """The sources of a plan that only rest for a site."""
        resting = self._reacting.resting(site.line)
        return [c.address for c in plan.eligible if c.weight > 0 and c.address in resting]

    def _waits_to_warm_up(self, lane: Lane, plan: Plan, delivery: Delivery) -> bool:
        """Where it is known that a source may not send more today its lane need not ask. True where
        the delivery waits for it in the store."""
        path, now, recipients = lane.way.path, self._loop.time(), len(delivery.recipients)
        refusal = self._warming.standing_refusal(path.source, path.site.provider, now)
        if refusal is None:
            return False
        seconds = self._warming.put_off(refusal, plan, recipients, now)
        if seconds:
            due_at = self._wall() + round(seconds * 1000)
            due_at = min(due_at, delivery.message.expires_at)
            self._claims.give_back(delivery, due_at, warmup_key(path.source))
            return True
        if not lane.held_by:
            self._holding.hold(lane, refusal, recipients)
        return False

    def _wait_for_a_source(self, delivery: Delivery, plan: Plan, site: Site) -> None:
        """None may send now. Where they only rest, it is due when the first of them has rested; or
        at once, for other nodes that have other sources of the pool."""
        rested = self._rested_of(plan, site)
        now, expires_at = self._wall(), delivery.message.expires_at
        if not rested:
            reason, nobody = str(no_source(plan.pool, plan.candidates)), not plan.eligible
            if nobody and self._is_shared:
                self._leaving.put_off(delivery, plan.pool, NO_SOURCE_MS)
                self._telling.postponed(delivery, reason)
            else:
                self._endings.postpone(delivery, reason)
            # It is the same for all mail of the set, but for what was moved. What is in the store
            # is not to be claimed and put off, one after the other.
            if nobody and not delivery.pool:
                self._holding.close_for_want_of_a_source(
                    plan.configuration_set,
                    NO_SOURCE_MS / 1000,
                    is_over=lambda: self._router.has_source(plan.pool),
                )
        elif now >= expires_at:
            # It may never have been tried; but it was the provider that would not have it.
            self._endings.give_up(delivery, self._reacting.because(site.line, rested))
        else:
            until = self._reacting.first_end(site.line, rested)
            self._holding.close_line(delivery, until, self._reacting.because(site.line, rested))
            if self._leaving.others_may_take(plan) and not self._holding.narrows.is_crowded:
                self._claims.leave(delivery)  # it is passed over here, and not by them
                return
            rest = until - self._loop.time()
            # Not all in the same second.
            rest += self._rng.random() * min(60.0, rest / 10)
            due_at = min(now + round(1000 * rest), expires_at)
            self._claims.give_back(delivery, due_at, f"rest:{site.line}")
