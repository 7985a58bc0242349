"""What operators are told of each attempt: one line of the log, and the metrics.

Owns nothing but remembered metric children. Labels are names of the configuration and outcome
words. Called per message, so it formats nothing that the logger would not write.
"""

from collections.abc import Sequence

from relay.feedback.outcome import RecipientResult
from relay.limits.specs import metric_name
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.values import Delivery, NewMessage, Settlement


class _Stream:
    """The metrics of mail that a configuration set sends from one source, when it arrives."""

    __slots__ = ("_age", "_attempts", "_recipients", "_seconds")

    def __init__(
        self, metrics: Metrics, configuration_set: str, pool: str, source: str, provider: str
    ) -> None:
        self._attempts = metrics.child(metrics.attempts, pool, source, provider, "delivered")
        self._seconds = metrics.child(metrics.attempt_seconds, pool)
        self._recipients = metrics.child(
            metrics.recipients_delivered, configuration_set, pool, source
        )
        self._age = metrics.child(metrics.delivery_seconds, configuration_set)

    def delivered(self, recipients: int, seconds: float, age: float) -> None:
        self._attempts.inc()
        self._seconds.observe(seconds)
        self._recipients.inc(recipients)
        self._age.observe(age)


class Telling:
    """Tells of results after they are concluded, so that what is counted is what is settled."""

    def __init__(self, metrics: Metrics, log: Logger) -> None:
        self._metrics = metrics
        self._log = log
        self._streams: dict[tuple[str, str, str, str], _Stream] = {}

    def attempted(
        self,
        delivery: Delivery,
        results: Sequence[RecipientResult],
        pool: str,
        source: str,
        provider: str,
        seconds: float,
        now: int,
        reaction: str = "",
    ) -> None:
        """An attempt has ended; `now` in UTC ms. Pool, source and provider (a name, or `other`) are
        empty without one; `reaction` is the rule of `reactions` that it met, if any."""
        message = delivery.message
        told = _most_telling(results)
        if delivery.doubtful:
            self._metrics.possible_duplicates.inc()
        age = max(0.0, (now - message.accepted_at) / 1000)
        if told.kind == "delivered":
            key = message.configuration_set, pool, source, provider
            stream = self._streams.get(key)
            if stream is None:
                stream = self._streams[key] = _Stream(self._metrics, *key)
            stream.delivered(len(results), seconds, age)
        else:
            metrics = self._metrics
            metrics.child(metrics.attempts, pool, source, provider, told.outcome).inc()
            metrics.child(metrics.attempt_seconds, pool).observe(seconds)
            self._count(message.configuration_set, pool, source, results, age)
        bounce = _bounce_words(told) if told.kind == "bounced" else {}
        self._log.info(
            "delivery attempt",
            message_id=message.id,
            configuration_set=message.configuration_set,
            domain=delivery.domain,
            recipients=len(results),
            pool=pool,
            source=source,
            provider=provider,
            remote=told.remote,
            attempt=delivery.attempts + 1,
            outcome=told.outcome,
            kind=told.kind,
            phase=told.phase,
            reply=str(told.reply),
            seconds=round(seconds, 3),
            **bounce,
            **({"reaction": reaction} if reaction else {}),
        )

    def given_up(self, delivery: Delivery, reason: str) -> None:
        """A delivery expired while it waited."""
        message = delivery.message
        count = len(delivery.recipients)
        self._metrics.child(
            self._metrics.recipients_bounced, message.configuration_set, "", "", "expired"
        ).inc(count)
        self._log.info(
            "delivery given up: the message has expired",
            message_id=message.id,
            configuration_set=message.configuration_set,
            domain=delivery.domain,
            recipients=count,
            reason=reason,
            reply=delivery.last_reply or reason,
        )

    def on_the_list(self, delivery: Delivery, results: Sequence[RecipientResult]) -> None:
        """Recipients have come to the suppression list while their mail was queued."""
        message, metrics = delivery.message, self._metrics
        metrics.child(
            metrics.recipients_bounced, message.configuration_set, "", "", "suppressed"
        ).inc(len(results))
        self._log.info(
            "not sent: the recipient has come to the suppression list",
            message_id=message.id,
            configuration_set=message.configuration_set,
            domain=delivery.domain,
            recipients=len(results),
        )

    def postponed(self, delivery: Delivery, reason: str) -> None:
        """A delivery waits without an attempt."""
        self._log.info(
            "delivery postponed",
            message_id=delivery.message.id,
            configuration_set=delivery.message.configuration_set,
            domain=delivery.domain,
            reason=reason,
        )

    def bounced_by_operator(self, settlement: Settlement) -> None:
        """Someone has given a delivery up by hand."""
        delivery, metrics = settlement.delivery, self._metrics
        message, count = delivery.message, len(delivery.recipients)
        metrics.child(
            metrics.recipients_bounced, message.configuration_set, "", "", "operator"
        ).inc(count)
        self.reported(settlement.reports, bounced=True)
        self._log.info(
            "delivery given up by the operator",
            message_id=message.id,
            configuration_set=message.configuration_set,
            domain=delivery.domain,
            recipients=count,
        )

    def reported(self, reports: Sequence[NewMessage], *, bounced: bool) -> None:
        """Reports to the sender were queued; none for a bounce is one withheld.

        They are mail that the relay accepts from itself, and are counted as such.
        """
        metrics = self._metrics
        for report in reports:
            message = report.message
            metrics.child(metrics.reports, "queued").inc()
            metrics.child(
                metrics.recipients_accepted, message.credential, message.configuration_set
            ).inc(len(message.envelope.recipients))
        if bounced and not reports:
            metrics.child(metrics.reports, "withheld").inc()

    def limited(self, key: str, kind: str, seconds: float) -> None:
        """A limit holds a lane up for `seconds`."""
        level, name = metric_name(key)
        metrics = self._metrics
        metrics.child(metrics.limit_waits, level, name, kind).inc()
        metrics.child(metrics.limit_wait_seconds, level, name, kind).inc(seconds)

    def _count(
        self,
        configuration_set: str,
        pool: str,
        source: str,
        results: Sequence[RecipientResult],
        age: float,
    ) -> None:
        metrics = self._metrics
        if any(result.kind == "delivered" for result in results):
            metrics.child(metrics.delivery_seconds, configuration_set).observe(age)
        for result in results:
            if result.kind == "delivered":
                child = metrics.child(metrics.recipients_delivered, configuration_set, pool, source)
            else:
                counter = (
                    metrics.recipients_deferred
                    if result.kind == "deferred"
                    else metrics.recipients_bounced
                )
                child = metrics.child(counter, configuration_set, pool, source, result.outcome)
            child.inc()
            if result.kind == "bounced":
                bounce = result.told.bounce
                metrics.child(metrics.bounces, configuration_set, bounce.type, bounce.subtype).inc()


def _bounce_words(result: RecipientResult) -> dict[str, str]:
    """What the log says of a bounce besides; `category` is the outcome of the reply itself."""
    told = result.told
    return {
        "bounce_type": told.bounce.type,
        "bounce_subtype": told.bounce.subtype,
        "category": told.outcome,
        "rule": told.rule,
    }


_WEIGHT = {"delivered": 0, "deferred": 1, "bounced": 2}


def _most_telling(results: Sequence[RecipientResult]) -> RecipientResult:
    """The result that stands for the attempt: the worst one."""
    return results[0] if len(results) == 1 else max(results, key=lambda r: _WEIGHT[r.kind])
