"""What is kept of attempts for those who ask later (`delivery.dialogues`): which, and as what."""

from collections.abc import Sequence

from relay.config.model import Config
from relay.delivery.dialogue import Dialogue
from relay.delivery.lanes import Lane
from relay.feedback.outcome import RecipientResult
from relay.feedback.told import given_up, told
from relay.store.values import Attempt, Delivery, DialogueLine


class Records:
    """Makes what is kept, under one configuration."""

    def __init__(self, config: Config) -> None:
        kept = config.delivery.dialogues
        self._delivered = kept == "all"
        self._failed = kept != "none"

    def of(
        self,
        delivery: Delivery,
        results: Sequence[RecipientResult],
        lane: Lane | None,
        seconds: float,
        dialogue: Dialogue | None,
        now: int,
    ) -> Attempt | None:
        """What is kept of an attempt that ended at `now` (UTC ms); None where nothing is. One that
        may have sent what had arrived already counts as failed: somebody will ask."""
        failed = any(result.kind != "delivered" for result in results)
        if not (self._failed if failed or delivery.doubtful else self._delivered):
            return None
        pool, source = (lane.pool, lane.way.path.source) if lane else ("", "")
        return Attempt(
            message_id=delivery.message.id,
            delivery_id=delivery.id,
            domain=delivery.domain,
            at=now - round(seconds * 1000),
            number=delivery.attempts + 1,
            seconds=round(seconds, 3),
            pool=pool,
            source=source,
            peer=str(dialogue.peer) if dialogue else results[0].remote if results else "",
            tls=dialogue.peer.tls if dialogue else "",
            results=told(results),
            dialogue=(
                *(_TAKEN_OVER if delivery.doubtful else ()),
                *(dialogue.lines() if dialogue else _setting_up(results)),
            ),
        )

    def given_up(self, delivery: Delivery, reason: str, now: int) -> Attempt | None:
        """What is kept of a delivery that was given up at `now` without an attempt."""
        return given_up(delivery, "expired", reason, now) if self._failed else None


_TAKEN_OVER = (
    DialogueLine(0, "note", "a worker died while it was sending this: it may have come twice"),
)


def _setting_up(results: Sequence[RecipientResult]) -> tuple[DialogueLine, ...]:
    """Where there was no transaction: the phase in which it ended."""
    if not results:
        return ()
    return (DialogueLine(0, "note", f"ended before MAIL: {_MOMENT.get(results[0].phase, '')}"),)


_MOMENT = {
    "routing": "DNS and routes",
    "connect": "no connection",
    "greeting": "the greeting",
    "ehlo": "EHLO",
    "tls": "TLS",
    "auth": "the login",
    "local": "a fault on our side",
}
