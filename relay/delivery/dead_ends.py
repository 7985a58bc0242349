"""When a way does not lead anywhere: what becomes of the mail that waits on it.

No connection, no host, no source: each concerns all mail of a way, so that it is found out once and
not by every message after a time-out of its own. Mail that may go otherwise is placed anew; the
rest is deferred or bounced with the reply that was found. A connection that was refused for how we
send is borne by no mail at all.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from relay.config.model import Config
from relay.delivery.endings import Endings
from relay.delivery.failures import ConnectFailure, SourceUnavailable
from relay.delivery.lanes import Way
from relay.delivery.planning import Planning
from relay.delivery.reacting import Judgement, Reacting, sent_by
from relay.mail.replies import Reply
from relay.routing.plan import RoutingFailure
from relay.routing.sites import Site
from relay.store.values import Delivery


class SourceTester(Protocol):
    """What is asked of `routing.health` when an address could not be bound."""

    def suspect(self, address: str) -> bool: ...


class Place(Protocol):
    """Puts deliveries where they wait for their turn."""

    def __call__(self, deliveries: Iterable[Delivery], *, fresh: bool) -> None: ...


class DeadEnds:
    """`place` places mail anew, `place_from` one delivery to a site from other sources than those
    to avoid. `configure` is called before anything else."""

    def __init__(
        self,
        *,
        planning: Planning,
        reacting: Reacting,
        endings: Endings,
        health: SourceTester,
        place: Place,
        place_from: Callable[[Delivery, Collection[str], Site], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._planning = planning
        self._reacting = reacting
        self._endings = endings
        self._health = health
        self._place = place
        self._place_from = place_from

    def configure(self, config: Config) -> None:
        # A way that is down is tried again at least as often as a message that waits for it.
        self._longest_back_off = max(config.retry.schedule)

    def unreachable(self, way: Way, failure: ConnectFailure, began: float = 0.0) -> None:
        """No connection could be had: the next delivery bears it, and a whole cohort of failures
        defers all that wait, instead of having each wait for a time-out of its own.

        `began` is when it was begun, in the loop's seconds."""
        sent = sent_by(way.path, began)
        judgement = self._reacting.judge_refusal(failure.reply, failure.phase, sent)
        if judgement is not None and self._concerns_no_mail(way, judgement):
            return
        way.failure = failure
        lane = way.next_lane()
        if lane is not None:
            self._endings.unreachable(lane.take(), lane, failure, judgement)
            lane.take_turn()
        now = self._loop.time()
        if not way.failed(now):
            return
        way.down_until = min(way.down_until, now + self._longest_back_off)
        for lane in way.lanes.values():
            for delivery in lane.take_last(len(lane.waiting)):
                self._endings.unreachable(delivery, lane, failure)

    def _concerns_no_mail(self, way: Way, judgement: Judgement) -> bool:
        """Whether a refused connection is borne by nobody's mail, for what was refused is how we
        send. Where the source rests, what waits has been placed anew. Where there are too many
        connections, the others go on. Otherwise the source rests for as long as a way is down that
        leads nowhere: longer each time."""
        if judgement.rests:
            self._place(way.take_all(), fresh=False)
        elif judgement.is_crowded and way.connections > way.opening:
            way.window = max(1.0, way.window / 2)
        elif judgement.restrains:
            now = self._loop.time()
            way.fail(now)
            seconds = min(way.back_off, self._longest_back_off)
            self._reacting.rest(sent_by(way.path, now), seconds, judgement.rule)
        else:
            return False
        return True

    def unroutable(self, way: Way, failure: RoutingFailure) -> None:
        """The destination has no host: that holds for all that wait. Where it has one for the
        other address family, a source of that family of the same pool takes them."""
        for lane in list(way.lanes.values()):
            for delivery in lane.take_last(len(lane.waiting)):
                if not (failure.other_family and self._goes_by_the_other(delivery, way)):
                    self._endings.unroutable(delivery, failure, lane)

    def _goes_by_the_other(self, delivery: Delivery, way: Way) -> bool:
        """Whether it was placed with a source of the other address family."""
        avoid = self._planning.sources_of(delivery, way.path.family)
        if not self._planning.has_source_but(delivery, avoid):
            return False
        self._place_from(delivery, avoid, way.path.site)
        return True

    def source_gone(self, way: Way, fault: SourceUnavailable) -> None:
        """The source cannot be bound. Its mail goes to the other sources of its pool, and waits
        where there is none; it never leaves from another address."""
        if self._health.suspect(fault.address):
            text = f"no connection from {fault}"
            self.unreachable(way, ConnectFailure("local", Reply(451, "4.3.0", text), "", "local"))
            return
        self._place(way.take_all(), fresh=False)
