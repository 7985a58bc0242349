"""Which lane a delivery waits in: that of a source of its pool, chosen anew for each attempt.

By weight, among the sources that can send now: one whose way is down, which is at its own limit or
whose lane is full, is passed over while another can go. Decides only; whoever asks puts the mail
there.
"""

import asyncio
from collections.abc import Collection
from random import Random

from relay.delivery.holding import Holding
from relay.delivery.lanes import Lane
from relay.delivery.warming import Warming
from relay.delivery.ways import Ways
from relay.routing.plan import Plan
from relay.routing.sites import Site
from relay.routing.sources import choose_source
from relay.store.values import Delivery


class Choosing:
    """`warming` is set before use. `sibling` is the lane where the delivery before was placed."""

    warming: Warming

    def __init__(self, ways: Ways, holding: Holding, rng: Random) -> None:
        self._loop = asyncio.get_running_loop()
        self._ways = ways
        self._holding = holding
        self._rng = rng
        self.sibling: Lane | None = None

    def forget_sibling(self) -> None:
        """What is placed next has nothing to do with what was placed before."""
        self.sibling = None

    def choose(
        self, plan: Plan, site: Site, delivery: Delivery, avoid: Collection[str]
    ) -> Lane | None:
        """The lane of a source that is not to be avoided, None where there is no source; first of
        one that warms up and may send more today. Deliveries of one message that are placed one
        after the other leave together, where they go to one site."""
        now, fallback = self._loop.time(), None
        rounds = self.warming.rounds(plan, site.provider, delivery, now)
        lane, keep_off = self.sibling, rounds[0]
        best = {*avoid, *keep_off} if keep_off else avoid
        if lane is not None and self._goes_with(lane, plan, site, delivery, best):
            self._note_choice(plan, lane, len(delivery.recipients), now)
            return lane
        for keep_off in rounds:
            lane = self._choose_by_weight(plan, site, {*avoid, *keep_off} if keep_off else avoid)
            if lane is None:
                continue
            if self._is_usable(lane):
                self._note_choice(plan, lane, len(delivery.recipients), now)
                return lane
            if keep_off or fallback is None:  # the last round is for where there was nothing
                fallback = lane
        return fallback

    def _goes_with(
        self, lane: Lane, plan: Plan, site: Site, delivery: Delivery, avoid: Collection[str]
    ) -> bool:
        """Whether a delivery may join the one that was placed just before, at the end of `lane`."""
        return (
            lane.ends_with(delivery.message)
            and lane.way.path.site == site
            and lane.way.path.destination == plan.route
            and lane.way.path.source not in avoid
            and self._is_usable(lane)
        )

    def _note_choice(self, plan: Plan, lane: Lane, recipients: int, now: float) -> None:
        path = lane.way.path
        self.warming.chosen(plan, path.source, path.site.provider, recipients, now)

    def _choose_by_weight(self, plan: Plan, site: Site, avoid: Collection[str]) -> Lane | None:
        """The lane of a source by weight, sooner one that can be used."""
        candidate = choose_source(plan, self._rng, avoid)
        if candidate is None:
            return None
        soonest = lane = self._ways.lane(plan, candidate, site)
        tried = set(avoid)
        while not self._is_usable(lane):
            soonest = min(soonest, lane, key=self._holding.soonest)
            tried.add(candidate.address)
            candidate = choose_source(plan, self._rng, tried)
            if candidate is None:
                return soonest
            lane = self._ways.lane(plan, candidate, site)
        return lane

    def _is_usable(self, lane: Lane) -> bool:
        """Whether its way is up, its source not at its own limit, and the lane not full."""
        return (
            lane.way.down_until <= self._loop.time()
            and not lane.held_by.startswith("source:")
            and not self._holding.is_full(lane)
        )
