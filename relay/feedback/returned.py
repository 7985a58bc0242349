"""What comes back later, understood: a bounce or a complaint of one of a message's recipients.

Pure. A recipient is who the return-path's number says, or who the report names, within the envelope
of that message and nobody else: a report that names a stranger changes nothing. A recipient bounces
once: a report about one whose bounce is told already, at the time of sending or by another report,
adds nothing, and neither does a second complaint. What a message that the log has forgotten had for
recipients nobody knows any more: reports about it change nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.config.names import RESERVED_CREDENTIAL
from relay.config.suppression import ObservedReason
from relay.feedback.classify import Classifier, bounce_of
from relay.feedback.event_ids import event_id, feedback_id
from relay.feedback.outcome import Bounce, Classification
from relay.feedback.policy import Policies, Policy
from relay.feedback.suppressing import observed_entry
from relay.mail.address import suppression_key
from relay.mail.enhanced import split_reply, status_of_class
from relay.mail.replies import Reply
from relay.mail.simulated import is_simulator_address
from relay.store.attempted import Way
from relay.store.happenings import Complained, OutboxEntry, Returned
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DeliveryFacts,
    EventFacts,
    EventRecipient,
    EventType,
    LoggedEvent,
    LoggedMessage,
)
from relay.store.values import SuppressionEntry

_SAID = re.compile(r"(?<![\d.:/-])([45]\d\d)[ \t-]+(?=\S)").search
_EXPIRED = re.compile(r"[45]\.4\.7").fullmatch


@dataclass(frozen=True, slots=True)
class Understood:
    """What follows: events to be told, and who is not to be sent to any more."""

    events: tuple[LoggedEvent, ...] = ()
    suppress: tuple[SuppressionEntry, ...] = ()


NOTHING = Understood()


def understand(
    entry: OutboxEntry,
    message: LoggedMessage | None,
    past: Sequence[LoggedEvent],
    *,
    policies: Policies,
    hostname: str,
) -> Understood:
    """What a report (`Returned`) or a complaint (`Complained`) about `message` means. `past` are
    the earlier events of that message, oldest first; `hostname` is the relay's."""
    if message is None:
        return NOTHING
    match entry.what:
        case Returned(action="failed") as what:
            return _bounced(entry, what, message, past, policies, hostname)
        case Complained() as what:
            return _complained(entry, what, message, past, policies, hostname)
        case _:
            return NOTHING


def _bounced(
    entry: OutboxEntry,
    what: Returned,
    message: LoggedMessage,
    past: Sequence[LoggedEvent],
    policies: Policies,
    hostname: str,
) -> Understood:
    recipient = _recipient(what.recipient, what.address, message)
    if recipient is None or any(_is_bounce_of(event, recipient) for event in past):
        return NOTHING
    way = _way(recipient, past)
    told = meaning_of(what, policies.classifier, recipient, way.provider)
    # An address that he is forwarded to may be dead; his own took the mail.
    is_other = bool(what.address) and suppression_key(what.address) != suppression_key(recipient)
    is_hard = told.hard_bounce and not is_other
    bounce = told.bounce if is_hard or not told.hard_bounce else bounce_of(told.outcome)
    category = told.outcome
    if category == "unclassified" and _EXPIRED(what.status):
        bounce, category = Bounce("Transient", "General"), "expired"
    counts = _counts(message, recipient, hostname)
    status = status_of_class("5", what.status) if what.status[:1] == "5" else what.status
    facts = BounceFacts(
        type=bounce.type,
        subtype=bounce.subtype,
        recipients=(EventRecipient(recipient, status, what.diagnostic, "failed"),),
        feedback_id=feedback_id(entry.id, message.id, entry.at, 0),
        reporting_mta=what.reporting_mta or hostname,
        category=category,
        rule=told.rule,
        is_returned=True,
        counts=bounce.type == "Permanent" and counts,
        way=way,
    )
    suppress: tuple[SuppressionEntry, ...] = ()
    if is_hard and counts and _proves_who(what.recipient, message):
        suppress = _entries(
            policies.of_set(message.configuration_set),
            "bounce",
            recipient,
            entry,
            what.diagnostic or what.status,
            what.remote_mta or what.reporting_mta,
        )
    return Understood((_event(entry, "Bounce", (recipient,), facts),), suppress)


def _complained(
    entry: OutboxEntry,
    what: Complained,
    message: LoggedMessage,
    past: Sequence[LoggedEvent],
    policies: Policies,
    hostname: str,
) -> Understood:
    """Where nobody says whose complaint it is, it is told of all who have the message, as SES
    does."""
    recipient = _recipient(what.recipient, what.address, message)
    counts = _counts(message, recipient or "", hostname)
    if recipient is not None:
        everybody: tuple[str, ...] = (recipient,)
    else:
        everybody = tuple(dict.fromkeys(_delivered(past))) or message.recipients
    if any(_is_complaint_of(event, everybody) for event in past):
        return NOTHING
    facts = ComplaintFacts(
        feedback_id=feedback_id(entry.id, message.id, entry.at, 0),
        user_agent=what.user_agent,
        feedback_type=what.feedback_type,
        arrived_at=what.arrived_at,
        counts=counts,
        way=_way(everybody[0], past) if everybody else Way(),
    )
    suppress: tuple[SuppressionEntry, ...] = ()
    if recipient is not None and counts and _proves_who(what.recipient, message):
        suppress = _entries(
            policies.of_set(message.configuration_set),
            "complaint",
            everybody[0],
            entry,
            f"{what.feedback_type} reported by {what.user_agent or 'a feedback loop'}",
            "",
        )
    return Understood((_event(entry, "Complaint", everybody, facts),), suppress)


def _recipient(number: int | None, address: str, message: LoggedMessage) -> str | None:
    """Who of the envelope it is about, as the client gave the address; None where it is nobody."""
    everybody = message.recipients
    if number is not None:
        return everybody[number] if number < len(everybody) else None
    if not address:
        return everybody[0] if len(everybody) == 1 else None
    key = suppression_key(address)
    return next((one for one in everybody if suppression_key(one) == key), None)


def _proves_who(number: int | None, message: LoggedMessage) -> bool:
    """Whether the return-path itself says whom a report is about. One that several have seen proves
    the message alone: any of them could name another, and nobody may put him on the list."""
    return number is not None or len(message.recipients) == 1


def meaning_of(
    what: Returned, classifier: Classifier, recipient: str, provider: str
) -> Classification:
    """What a report of failure means, by the rules for replies, as if the report's diagnostic had
    been the answer to RCPT: it is about this recipient alone."""
    return classifier.classify(_reply(what), "rcpt", recipient, provider)


def _reply(what: Returned) -> Reply:
    """The SMTP reply that a report quotes, from its code on; else one that says the same."""
    said = _SAID(what.diagnostic)
    if said is not None:
        reply = split_reply(int(said[1]), what.diagnostic[said.end() :])
    else:
        reply = split_reply(450 if what.status[:1] == "4" else 550, what.diagnostic)
    if not reply.enhanced and what.status[:1] == str(reply.code)[0]:
        return Reply(reply.code, what.status, reply.text, said_by_peer=True)
    return reply


def _is_bounce_of(event: LoggedEvent, recipient: str) -> bool:
    return event.type == "Bounce" and recipient in event.recipients


def _is_complaint_of(event: LoggedEvent, everybody: Sequence[str]) -> bool:
    """Who is one of all that an earlier complaint named has not been heard himself."""
    return event.type == "Complaint" and set(everybody) == set(event.recipients)


def _delivered(past: Sequence[LoggedEvent]) -> Iterator[str]:
    for event in past:
        if event.type == "Delivery":
            yield from event.recipients


def _way(recipient: str, past: Sequence[LoggedEvent]) -> Way:
    """Which way it had gone to whoever has reported since."""
    for event in reversed(past):
        if isinstance(event.facts, DeliveryFacts) and recipient in event.recipients:
            return event.facts.way
    return Way()


def _counts(message: LoggedMessage, recipient: str, hostname: str) -> bool:
    """Whether it is mail by which senders are judged: not the simulator's, nor our own reports."""
    if message.is_simulated or message.credential == RESERVED_CREDENTIAL:
        return False
    return not is_simulator_address(recipient, hostname)


def _entries(
    policy: Policy,
    reason: ObservedReason,
    address: str,
    entry: OutboxEntry,
    diagnostic: str,
    remote_host: str,
) -> tuple[SuppressionEntry, ...]:
    found = observed_entry(
        policy,
        reason,
        address,
        at=entry.at,
        message_id=entry.message_id,
        diagnostic=diagnostic,
        remote_host=remote_host,
    )
    return (found,) if found is not None else ()


def _event(
    entry: OutboxEntry, kind: EventType, recipients: tuple[str, ...], facts: EventFacts
) -> LoggedEvent:
    identifier = event_id(entry.id, entry.message_id, entry.at, 0)
    return LoggedEvent(identifier, kind, entry.message_id, entry.at, recipients, facts)
