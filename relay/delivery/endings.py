"""How deliveries end for now or for good: settled, and told of, always both.

What follows from results is decided in `relay.feedback`; here it is put together with the clock,
handed to the store by way of `Claims`, and told to operators.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from relay.config.model import Config
from relay.delivery.claims import Claims
from relay.delivery.dialogue import Dialogue
from relay.delivery.failures import ConnectFailure
from relay.delivery.lanes import Lane
from relay.delivery.reacting import Judgement
from relay.delivery.records import Records
from relay.delivery.telling import Telling
from relay.delivery.unclassified import UnclassifiedReplies
from relay.feedback.listed import settle_listed
from relay.feedback.outcome import RecipientResult
from relay.feedback.policy import Policies
from relay.feedback.settle import (
    conclude,
    expire,
    postpone,
    results_for_all,
    settle,
    settle_delivered,
)
from relay.routing.plan import RoutingFailure
from relay.store.attempted import Way
from relay.store.values import Delivery

NO_SOURCE_MS = 60_000
EXPIRED = "it expired while it waited"


class Endings:
    """`wall` gives UTC milliseconds, `rng` the jitter of retries."""

    def __init__(
        self,
        config: Config,
        claims: Claims,
        telling: Telling,
        unclassified: UnclassifiedReplies,
        wall: Callable[[], int],
        rng: Random,
    ) -> None:
        self._claims = claims
        self._telling = telling
        self._unclassified = unclassified
        self._wall = wall
        self._rng = rng
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._policies = Policies.of(config)
        self._unclassified.configure(config.bounces)
        self._records = Records(config)

    def conclude(
        self,
        delivery: Delivery,
        results: Sequence[RecipientResult],
        lane: Lane | None = None,
        seconds: float = 0.0,
        dialogue: Dialogue | None = None,
        *,
        retry_in: float | None = None,
        reaction: str = "",
    ) -> None:
        """An attempt has ended with `results`. `lane` is None where there was no way to take.
        `reaction` is the rule that they met, `retry_in` what came of it."""
        now = self._wall()
        pool, source, provider = lane.labels if lane else ("", "", "")
        peer = dialogue.peer if dialogue else None
        if peer is not None:
            way = Way(pool, source, provider, peer.name, peer.address, peer.tls)
        else:
            way = Way(pool, source, provider, results[0].remote if results else "")
        took = round(seconds, 3)
        settlement = settle_delivered(delivery, results, now, took, way)
        if settlement is None:
            results = conclude(delivery, results, now)
            settlement = settle(
                delivery,
                results,
                policies=self._policies,
                now=now,
                rng=self._rng,
                retry_in=retry_in,
                seconds=took,
                way=way,
            )
            bounced = any(result.kind == "bounced" for result in results)
            self._telling.reported(settlement.reports, bounced=bounced)
            self._note_unclassified(results, lane, now)
        record = self._records.of(delivery, results, lane, seconds, dialogue, now)
        self._claims.settle(settlement if record is None else replace(settlement, attempt=record))
        self._telling.attempted(delivery, results, pool, source, provider, seconds, now, reaction)

    def on_the_list(self, delivery: Delivery, results: Sequence[RecipientResult]) -> None:
        """These recipients have come to the suppression list; whoever else there is remains."""
        now = self._wall()
        self._claims.settle(settle_listed(delivery, results, now))
        self._telling.on_the_list(delivery, results)

    def _note_unclassified(
        self, results: Sequence[RecipientResult], lane: Lane | None, now: int
    ) -> None:
        """Once for each reply that no rule knew, however many recipients had it."""
        provider = lane.way.path.site.provider if lane else ""
        unknown = {
            (str(result.reply), result.phase): result
            for result in results
            if result.told.outcome == "unclassified" and result.reply.said_by_peer
        }
        for result in unknown.values():
            self._unclassified.note(result.reply, result.phase, provider, now)

    def unreachable(
        self,
        delivery: Delivery,
        lane: Lane,
        failure: ConnectFailure,
        judgement: Judgement | None = None,
    ) -> None:
        """There was no connection to be had. `judgement` is what a rule makes of that."""
        results = results_for_all(
            delivery,
            failure.reply,
            failure.phase,
            failure.remote,
            provider=lane.way.path.site.provider,
            classifier=self._policies.classifier,
        )
        if judgement is None:
            self.conclude(delivery, results, lane)
            return
        if judgement.gives_up:
            results = tuple(replace(result, kind="bounced") for result in results)
        self.conclude(delivery, results, lane, retry_in=judgement.retry_in, reaction=judgement.rule)

    def unroutable(
        self, delivery: Delivery, failure: RoutingFailure, lane: Lane | None = None
    ) -> None:
        """There is no way to the destination, now or at all."""
        self.conclude(delivery, results_for_all(delivery, failure.reply, "routing"), lane)

    def postpone(self, delivery: Delivery, reason: str) -> None:
        """Nothing could be tried, for a reason on our side; it costs no attempt."""
        now = self._wall()
        due_at = now + NO_SOURCE_MS
        settlement = postpone(
            delivery, reason, due_at=due_at, policies=self._policies, now=now, rng=self._rng
        )
        self._claims.settle(settlement)
        self._telling.postponed(delivery, reason)

    def has_expired(
        self, delivery: Delivery, now: int, why: Callable[[Delivery], str] = lambda _: ""
    ) -> bool:
        """Give up a delivery that has expired at `now`, in UTC ms; True where it was one. `why`
        gives the clause that says what it waited for."""
        if not is_expired(delivery, now):
            return False
        self.give_up(delivery, why(delivery))
        return True

    def give_up(self, delivery: Delivery, reason: str = "") -> None:
        """Its time has passed. `reason` is a clause that says for what it waited, where that is
        known; what a peer said last counts for more."""
        now = self._wall()
        settlement = expire(delivery, reason, policies=self._policies, now=now, rng=self._rng)
        record = self._records.given_up(delivery, reason or EXPIRED, now)
        self._claims.settle(replace(settlement, attempt=record))
        self._telling.given_up(delivery, reason or EXPIRED)
        self._telling.reported(settlement.reports, bounced=True)


def is_expired(delivery: Delivery, now: int) -> bool:
    """Whether it is too old to be tried at `now`, in UTC ms, whatever it has waited for."""
    return now >= delivery.message.expires_at
