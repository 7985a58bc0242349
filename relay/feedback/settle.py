"""From the results of one attempt to the settlement that the store applies in one transaction.

Every recipient of the delivery ends in exactly one place: delivered or bounced recipients leave the
queue, the others remain, with a time at which they are due. Addresses that a peer called dead go to
the suppression list; who must be told gets a report. Pure: the time and chance are injected, and
nothing is stored here, so a process that dies in between attempts the delivery again.

Mail never outlives its expiry: a recipient still waiting then is given up as `expired`, and no due
time lies beyond it. What is not decided by the clock of the attempt (`now`, UTC milliseconds) is
decided by what the message carries.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from relay.feedback.classify import Classifier, shipped_classifier
from relay.feedback.happened import what_happened
from relay.feedback.outcome import (
    GENERAL,
    REPLY_CHARACTERS,
    Bounce,
    Classification,
    Phase,
    RecipientResult,
    harmless,
)
from relay.feedback.policy import Policies, Policy
from relay.feedback.reports import reports_of
from relay.feedback.suppressing import observed_entry
from relay.mail.enhanced import printable_text, split_reply
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply
from relay.mail.simulated import is_simulator_address
from relay.store.attempted import NO_WAY, Way
from relay.store.values import Delivery, Settlement, SuppressionEntry

BELIEVED = 5
"""So many attempts the time of the next one is the peer's to name, where it does."""

_SAID_BY_PEER = re.compile(r"[^ ]+: ([45][0-9]{2}) (.*)").fullmatch
_UNANSWERED = Reply(451, "4.3.0", "the attempt ended without an answer for this recipient")


def results_for_all(
    delivery: Delivery,
    reply: Reply,
    phase: Phase,
    remote: str = "",
    *,
    provider: str = "",
    classifier: Classifier | None = None,
) -> tuple[RecipientResult, ...]:
    """The same reply for every recipient, classified: the attempt ended before RCPT."""
    return tuple(
        result_for(recipient, reply, phase, remote, provider=provider, classifier=classifier)
        for recipient in delivery.recipients
    )


def result_for(
    recipient: Recipient,
    reply: Reply,
    phase: Phase,
    remote: str = "",
    *,
    provider: str = "",
    dsn_relayed: bool = False,
    classifier: Classifier | None = None,
) -> RecipientResult:
    """One recipient's reply, classified and made harmless. Without a `classifier` the shipped rules
    judge, as is right for replies of our own."""
    classifier = classifier or shipped_classifier()
    told = classifier.classify(reply, phase, recipient.address, provider)
    return RecipientResult(
        recipient, told.kind, harmless(reply), told.outcome, remote, phase, dsn_relayed, told
    )


def settle_delivered(
    delivery: Delivery,
    results: Sequence[RecipientResult],
    now: int,
    seconds: float = 0.0,
    way: Way = NO_WAY,
) -> Settlement | None:
    """The settlement of an attempt after which everybody has the message and nobody is to be told,
    as nearly always; None where it is not so, and `conclude` and `settle` have to look closer."""
    if len(results) != len(delivery.recipients):
        return None
    for result, recipient in zip(results, delivery.recipients, strict=True):
        if (
            result.kind != "delivered"
            or result.recipient is not recipient
            or "SUCCESS" in recipient.notify
        ):
            return None
    happened = what_happened(delivery, results, now, attempted=True, seconds=seconds, way=way)
    return Settlement(delivery, happened=happened)


def conclude(
    delivery: Delivery, results: Sequence[RecipientResult], now: int
) -> tuple[RecipientResult, ...]:
    """One result for each recipient, in their order: what becomes of it in the end.

    Recipients without a result are deferred; deferred ones whose message has expired are bounced
    as `expired`, and those whose rule gives up after so many attempts as what they are. These are
    the results to count and to log. Doing it twice changes nothing.
    """
    known = tuple(result.recipient for result in results)
    found = results if known == delivery.recipients else _matched(delivery.recipients, results)
    expired = now >= delivery.message.expires_at
    return tuple(_ended(result, delivery.attempts + 1, expired=expired) for result in found)


def _ended(result: RecipientResult, attempts: int, *, expired: bool) -> RecipientResult:
    """What becomes of a recipient after so many attempts."""
    if result.kind != "deferred":
        return result
    if 0 < result.told.attempts <= attempts:
        return replace(result, kind="bounced")
    return replace(result, kind="bounced", outcome="expired") if expired else result


def settle(
    delivery: Delivery,
    results: Sequence[RecipientResult],
    *,
    policies: Policies,
    now: int,
    rng: Random,
    attempted: bool = True,
    retry_in: float | None = None,
    seconds: float = 0.0,
    way: Way = NO_WAY,
) -> Settlement:
    """The settlement of one attempt that ended at `now`. `retry_in` are the seconds after which
    whoever remains is tried again, where not the schedule is to say so."""
    policy = policies.of_set(delivery.message.configuration_set)
    concluded = conclude(delivery, results, now)
    remaining = tuple(r.recipient for r in concluded if r.kind == "deferred")
    return Settlement(
        delivery=delivery,
        remaining=remaining,
        due_at=due_at(delivery, policy, now, rng, retry_in) if remaining else 0,
        attempted=attempted,
        last_reply=_last_reply(concluded),
        suppress=_dead_addresses(delivery, concluded, policy, now),
        reports=reports_of(delivery, concluded, policy, now),
        happened=what_happened(
            delivery, concluded, now, attempted=attempted, seconds=seconds, way=way
        ),
    )


def postpone(
    delivery: Delivery,
    reason: str,
    *,
    due_at: int,
    policies: Policies,
    now: int,
    rng: Random,
) -> Settlement:
    """Put a delivery off without an attempt: no source, or a limit. `reason` is a clause.

    The attempt count and with it the retry schedule stay as they are. A message that has expired
    meanwhile is given up, with `reason` as the cause.
    """
    if now >= delivery.message.expires_at:
        return expire(delivery, reason, policies=policies, now=now, rng=rng)
    return Settlement(
        delivery=delivery,
        remaining=delivery.recipients,
        due_at=min(max(due_at, now), delivery.message.expires_at),
        attempted=False,
        last_reply=printable_text(reason, REPLY_CHARACTERS),
    )


def expire(
    delivery: Delivery, reason: str, *, policies: Policies, now: int, rng: Random
) -> Settlement:
    """Give up a delivery whose time passed while it waited, for what `reason` says (a clause); and
    its last reply says what the last attempt came to, if there was one."""
    waited = f"the message expired; {reason}" if reason else ""
    text = "; ".join(filter(None, (waited, delivery.last_reply)))
    text = text or "the message waited in the queue until it expired"
    reply = harmless(Reply(451, "4.4.7", text))
    told = Classification("bounced", "expired", bounce=_last_bounce(delivery, policies.classifier))
    results = [
        RecipientResult(recipient, "bounced", reply, "expired", phase="local", told=told)
        for recipient in delivery.recipients
    ]
    return settle(delivery, results, policies=policies, now=now, rng=rng, attempted=False)


def due_at(
    delivery: Delivery, policy: Policy, now: int, rng: Random, retry_in: float | None = None
) -> int:
    """When to try again, in UTC ms: by the retry schedule, with jitter, not beyond the expiry.

    A peer that has named a time (`retry_in` seconds) is not asked before; one that names it again
    and again is in the end asked as seldom as any other.
    """
    wait = policy.interval(delivery.attempts) * (1 + policy.jitter * (2 * rng.random() - 1))
    if retry_in is not None:
        named = retry_in * 1000 * (1 + policy.jitter * rng.random())
        wait = named if delivery.attempts < BELIEVED else max(wait, named)
    return max(now, min(now + max(1, round(wait)), delivery.message.expires_at))


def _matched(
    recipients: Sequence[Recipient], results: Sequence[RecipientResult]
) -> list[RecipientResult]:
    """A result for each recipient; the same RCPT given twice takes two."""
    by_recipient: dict[Recipient, list[RecipientResult]] = defaultdict(list)
    for result in reversed(results):
        by_recipient[result.recipient].append(result)
    return [
        by_recipient[recipient].pop()
        if by_recipient[recipient]
        else RecipientResult(recipient, "deferred", _UNANSWERED, "local", phase="local")
        for recipient in recipients
    ]


def _last_reply(results: Sequence[RecipientResult]) -> str:
    """The last thing that was said against delivery, for the queue listing, and for the report
    where mail expires later. What was said of recipients that remain comes first: a bounce is over.
    """
    for kind in ("deferred", "bounced"):
        for result in reversed(results):
            if result.kind == kind:
                return _said(result)
    return ""


def _last_bounce(delivery: Delivery, classifier: Classifier) -> Bounce:
    """How SES names what a peer said last (`_last_reply`): of a full mailbox, that it was full. An
    address is not dead for what was to be tried again."""
    said = _SAID_BY_PEER(delivery.last_reply)
    if said is None:
        return GENERAL
    told = classifier.classify(split_reply(int(said[1]), said[2]), "rcpt")
    return told.bounce if told.bounce.type == "Transient" else GENERAL


def _said(result: RecipientResult) -> str:
    who = f"{result.remote}: " if result.remote else ""
    return printable_text(f"{who}{result.reply}", REPLY_CHARACTERS)


def _dead_addresses(
    delivery: Delivery, results: Sequence[RecipientResult], policy: Policy, now: int
) -> tuple[SuppressionEntry, ...]:
    found = (
        observed_entry(
            policy,
            "bounce",
            result.recipient.address,
            at=now,
            message_id=delivery.message.id,
            diagnostic=str(result.reply),
            remote_host=result.remote,
        )
        for result in results
        if _is_hard_bounce(result)
        and not is_simulator_address(result.recipient.address, policy.hostname)
    )
    return tuple(entry for entry in found if entry is not None)


def _is_hard_bounce(result: RecipientResult) -> bool:
    """Judged by the reply itself; a reply that no peer gave counts only where DNS gave it."""
    if result.kind != "bounced" or result.outcome == "expired":
        return False
    if not result.remote and result.phase != "routing":
        return False
    return result.told.hard_bounce
