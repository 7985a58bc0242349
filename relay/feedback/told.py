"""What became of the recipients of a delivery, as it is kept for those who ask later. Pure."""

from collections.abc import Sequence

from relay.feedback.outcome import RecipientResult
from relay.store.values import Attempt, AttemptResult, Delivery

MOST_RESULTS = 20
MOST_NAMED = 20  # recipients with one result; of the others it has the number


def told(results: Sequence[RecipientResult]) -> tuple[AttemptResult, ...]:
    """The results, those that are alike together."""
    if len(results) == 1:
        (only,) = results
        named = (only.recipient.address,)
        return (AttemptResult(only.kind, only.outcome, str(only.reply), 1, named),)
    alike: dict[tuple[str, str, str], list[RecipientResult]] = {}
    for result in results:
        alike.setdefault((result.kind, result.outcome, str(result.reply)), []).append(result)
    return tuple(
        AttemptResult(
            group[0].kind,
            group[0].outcome,
            reply,
            len(group),
            tuple(result.recipient.address for result in group[:MOST_NAMED]),
        )
        for (_, _, reply), group in list(alike.items())[:MOST_RESULTS]
    )


def given_up(delivery: Delivery, outcome: str, reason: str, now: int) -> Attempt:
    """The end of a delivery that was not tried at `now` (UTC ms), in a word and a clause."""
    named = tuple(recipient.address for recipient in delivery.recipients[:MOST_NAMED])
    result = AttemptResult("bounced", outcome, reason, len(delivery.recipients), named)
    return Attempt(delivery.message.id, delivery.id, delivery.domain, now, 0, results=(result,))
