"""Events as Amazon SES writes them: the JSON that its event publishing sends, field for field.

What SES does not say is left out and not made null, but for `complaintSubType`, which SES writes
always. Added to what SES has: `eventId` at the end, the same whenever an event is told, and the
events `SendingPaused` and `SendingResumed`, which belong to no message and have no `mail`.
"""

import re
from typing import Any, assert_never

import msgspec
from msgspec import UNSET, Struct, UnsetType

from relay.events.ses_mail import mail_of
from relay.events.times import iso
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    DeliveryFacts,
    EventRecipient,
    LoggedEvent,
    LoggedMessage,
    PauseFacts,
    RejectFacts,
    SendFacts,
)

_encode = msgspec.json.Encoder().encode
_FEEDBACK_TYPES = frozenset({"abuse", "auth-failure", "fraud", "not-spam", "other", "virus"})
_IS_REPLY = re.compile(r"[245][0-9][0-9](?:[ -]|$)").match


class Recipient(Struct, rename="camel"):
    """Whom it concerns; the rest where a server, or the relay, has said it."""

    email_address: str
    action: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    diagnostic_code: str | UnsetType = UNSET


class Bounce(Struct, rename="camel"):
    feedback_id: str
    bounce_type: str
    bounce_sub_type: str
    bounced_recipients: list[Recipient]
    timestamp: str
    remote_mta_ip: str | UnsetType
    reporting_mta: str | UnsetType = msgspec.field(name="reportingMTA")


class Complaint(Struct, rename="camel"):
    feedback_id: str
    complaint_sub_type: str | None
    complained_recipients: list[Recipient]
    timestamp: str
    user_agent: str | UnsetType
    complaint_feedback_type: str | UnsetType
    arrival_date: str | UnsetType


class Delivery(Struct, rename="camel"):
    timestamp: str
    processing_time_millis: int
    recipients: tuple[str, ...]
    smtp_response: str
    remote_mta_ip: str | UnsetType
    reporting_mta: str = msgspec.field(name="reportingMTA")


class DeliveryDelay(Struct, rename="camel"):
    timestamp: str
    delay_type: str
    expiration_time: str
    delayed_recipients: list[Recipient]
    reporting_mta: str | UnsetType = msgspec.field(name="reportingMTA")


class Pause(Struct):
    """Ours: `kind` is `set` or `credential`."""

    timestamp: str
    kind: str
    name: str
    reason: str


def render(event: LoggedEvent, message: LoggedMessage | None, hostname: str) -> bytes:
    """The JSON of an event: UTF-8, on one line, without a line end.

    `message` is what the log knows of the message, None where it knows nothing (any more) or the
    event belongs to none. `hostname` is the relay's, which reports what it has delivered.
    """
    return _encode(_shaped(event, message, hostname) | {"eventId": event.id})


def _shaped(event: LoggedEvent, message: LoggedMessage | None, hostname: str) -> dict[str, Any]:
    """Type, message and what happened, in the order that SES's own have."""
    facts = event.facts
    kind = {"eventType": event.type}
    if isinstance(facts, PauseFacts):
        return kind | _pause(event, facts)
    mail = {
        "mail": mail_of(event, message, facts.way if isinstance(facts, DeliveryFacts) else None)
    }
    if isinstance(facts, BounceFacts):
        return kind | {"bounce": _bounce(event, facts)} | mail
    if isinstance(facts, ComplaintFacts):
        return kind | {"complaint": _complaint(event, facts)} | mail
    return kind | mail | _after_mail(event, facts, hostname)


def _after_mail(
    event: LoggedEvent,
    facts: SendFacts | RejectFacts | DeliveryFacts | DelayFacts,
    hostname: str,
) -> dict[str, Any]:
    match facts:
        case SendFacts():
            return {"send": {}}
        case RejectFacts(reason=reason):
            return {"reject": {"reason": reason}}
        case DeliveryFacts():
            return {"delivery": _delivery(event, facts, hostname)}
        case DelayFacts():
            return {"deliveryDelay": _delay(event, facts)}
    assert_never(facts)


def _pause(event: LoggedEvent, facts: PauseFacts) -> dict[str, Any]:
    """Under the name of the event with a small letter, as all of SES's are."""
    told = Pause(iso(event.at), facts.kind, facts.name, facts.reason)
    return {event.type[0].lower() + event.type[1:]: told}


def _bounce(event: LoggedEvent, facts: BounceFacts) -> Bounce:
    return Bounce(
        feedback_id=facts.feedback_id,
        bounce_type=facts.type,
        bounce_sub_type=facts.subtype,
        bounced_recipients=[_recipient(one) for one in facts.recipients],
        timestamp=iso(event.at),
        remote_mta_ip=facts.way.remote_address or UNSET,
        reporting_mta=f"dns; {facts.reporting_mta}" if facts.reporting_mta else UNSET,
    )


def _complaint(event: LoggedEvent, facts: ComplaintFacts) -> Complaint:
    return Complaint(
        feedback_id=facts.feedback_id,
        complaint_sub_type=facts.subtype,
        complained_recipients=[Recipient(address) for address in event.recipients],
        timestamp=iso(event.at),
        user_agent=facts.user_agent or UNSET,
        complaint_feedback_type=_feedback_type(facts.feedback_type),
        arrival_date=UNSET if facts.arrived_at is None else iso(facts.arrived_at),
    )


def _feedback_type(word: str) -> str | UnsetType:
    """`other` for what SES does not list: those who read it may know its words alone."""
    word = word.lower()
    return UNSET if not word else word if word in _FEEDBACK_TYPES else "other"


def _delivery(event: LoggedEvent, facts: DeliveryFacts, hostname: str) -> Delivery:
    return Delivery(
        timestamp=iso(event.at),
        processing_time_millis=facts.processing_ms,
        recipients=event.recipients,
        smtp_response=facts.smtp_response,
        remote_mta_ip=facts.way.remote_address or UNSET,
        reporting_mta=hostname,
    )


def _delay(event: LoggedEvent, facts: DelayFacts) -> DeliveryDelay:
    return DeliveryDelay(
        timestamp=iso(event.at),
        delay_type=facts.delay_type,
        expiration_time=iso(facts.expires_at),
        delayed_recipients=[
            Recipient(one.address, UNSET, one.status or UNSET, _diagnostic(one.diagnostic))
            for one in facts.recipients
        ],
        reporting_mta=facts.way.source or UNSET,  # SES tells the address that tried
    )


def _recipient(one: EventRecipient) -> Recipient:
    return Recipient(
        email_address=one.address,
        action=one.action or UNSET,
        status=one.status or UNSET,
        diagnostic_code=_diagnostic(one.diagnostic),
    )


def _diagnostic(text: str) -> str | UnsetType:
    """With its type (RFC 3464 §2.3.6) where it is an SMTP reply; a sentence stands for itself."""
    if not text:
        return UNSET
    return f"smtp; {text}" if _IS_REPLY(text) else text
