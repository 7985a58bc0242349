"""Recipients who came to the suppression list while their mail was queued: told as those are who
were on it when it was accepted. They cost no attempt, and nobody gets a report of them. Pure."""

from collections.abc import Mapping, Sequence

from relay.feedback.happened import what_happened
from relay.feedback.outcome import Bounce, Classification, RecipientResult
from relay.mail.address import suppression_key
from relay.mail.replies import Reply
from relay.store.values import Delivery, Settlement, SuppressionReason

NOT_SENT = "this address is on the suppression list; the message was not sent to it"
_REPLY = Reply(550, "5.1.1", NOT_SENT)

Entries = Mapping[str, tuple[SuppressionReason, int | None]]
"""Reason and expiry (UTC ms; None: for good) of the keys that are on the list."""


def listed(
    delivery: Delivery, entries: Entries, heeded: Sequence[SuppressionReason], now: int
) -> tuple[RecipientResult, ...]:
    """A result for each recipient who is on the list at `now` (UTC ms), for one of the reasons that
    the message's configuration set heeds."""
    results = []
    for recipient in delivery.recipients:
        reason, expires_at = entries.get(suppression_key(recipient.address), (None, None))
        if reason in heeded and (expires_at is None or expires_at > now):
            told = Classification(
                "bounced",
                "suppressed",
                bounce=Bounce("Permanent", "OnAccountSuppressionList"),
                rule=str(reason),
            )
            results.append(
                RecipientResult(recipient, "bounced", _REPLY, "suppressed", "", "local", told=told)
            )
    return tuple(results)


def settle_listed(delivery: Delivery, results: Sequence[RecipientResult], now: int) -> Settlement:
    """Those recipients are over; the others remain, and are due."""
    gone = {result.recipient for result in results}
    return Settlement(
        delivery,
        remaining=tuple(one for one in delivery.recipients if one not in gone),
        due_at=now,
        attempted=False,
        last_reply=delivery.last_reply or str(_REPLY),
        happened=what_happened(delivery, results, now, attempted=False),
    )
