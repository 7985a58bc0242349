"""What an attempt came to, as it is told: from its concluded results. Pure."""

from collections.abc import Sequence

from relay.feedback.outcome import RecipientResult
from relay.store.attempted import NO_WAY, Attempted, Verdict, Way
from relay.store.values import Delivery


def what_happened(
    delivery: Delivery,
    results: Sequence[RecipientResult],
    now: int,
    *,
    attempted: bool,
    seconds: float = 0.0,
    way: Way = NO_WAY,
) -> Attempted:
    """An attempt that took `seconds` and ended at `now` (UTC ms), or a giving-up without one."""
    delivered = [result for result in results if result.kind == "delivered"]
    others = len(delivered) < len(results)
    return Attempted(
        at=now,
        number=delivery.attempts + 1 if attempted else 0,
        delivered=tuple([result.recipient.address for result in delivered]),
        reply=str(delivered[-1].reply) if delivered else "",
        verdicts=tuple([_verdict(r) for r in results if r.kind != "delivered"]) if others else (),
        seconds=seconds,
        way=way,
        expires_at=delivery.message.expires_at,
    )


def _verdict(result: RecipientResult) -> Verdict:
    told = result.told
    return Verdict(
        address=result.recipient.address,
        bounced=result.kind == "bounced",
        bounce_type=told.bounce.type,
        bounce_subtype=told.bounce.subtype,
        category=result.outcome,
        rule=told.rule,
        status=result.reply.enhanced,
        reply=str(result.reply),
        remote=result.remote,
    )
