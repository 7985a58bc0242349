"""How messages and events lie in the rows of a log: JSON, readable with the shell of the database;
and what events say of the recipients of messages.

A row that cannot be read is left out: nothing depends on it, and the rest is still worth reading.
"""

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from relay.mail.address import suppression_key
from relay.store.log_interface import FiledElsewhere
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    DeliveryFacts,
    EventFacts,
    EventType,
    Filing,
    LoggedEvent,
    LoggedMessage,
    PauseFacts,
    RecipientStatus,
    RejectFacts,
    SendFacts,
)

_FACTS: dict[EventType, type[EventFacts]] = {
    "Send": SendFacts,
    "Reject": RejectFacts,
    "Delivery": DeliveryFacts,
    "DeliveryDelay": DelayFacts,
    "Bounce": BounceFacts,
    "Complaint": ComplaintFacts,
    "SendingPaused": PauseFacts,
    "SendingResumed": PauseFacts,
}


class _Told(msgspec.Struct):
    """A `LoggedEvent` whose facts are read by its type."""

    id: str
    type: EventType
    message_id: str
    at: int
    recipients: tuple[str, ...]
    facts: msgspec.Raw


_SUPPRESSED = "OnAccountSuppressionList"
_STATUSES: dict[str, RecipientStatus] = {
    "Send": "queued",
    "Reject": "rejected",
    "Delivery": "delivered",
    "DeliveryDelay": "delayed",
    "Bounce": "bounced",
    "Complaint": "complained",
}

Statuses = dict[tuple[str, str], RecipientStatus]
"""What the last event says, by message id and key of the recipient."""


encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(LoggedMessage).decode
_told = msgspec.json.Decoder(_Told).decode
_facts = {name: msgspec.json.Decoder(kind).decode for name, kind in _FACTS.items()}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, TypeError)


def messages(fields: Iterable[tuple[bytes, bytes]]) -> list[LoggedMessage]:
    """From `told` and `header`."""
    found = []
    for told, header in fields:
        try:
            found.append(replace(_message(told), header=header))
        except _UNREADABLE:
            continue
    return found


def events(fields: Iterable[tuple[int, bytes]]) -> list[LoggedEvent]:
    """From `number` and `told`."""
    return [found for number, told in fields if (found := event(told, number)) is not None]


def event(told: bytes, number: int = 0) -> LoggedEvent | None:
    """From `told`; None where it cannot be read."""
    try:
        known = _told(told)
        facts = _facts[known.type](known.facts)
    except _UNREADABLE:
        return None
    return LoggedEvent(
        known.id, known.type, known.message_id, known.at, known.recipients, facts, number
    )


def status_of(event: LoggedEvent) -> RecipientStatus | None:
    """What an event says of its recipients; None where it belongs to no message."""
    facts: EventFacts = event.facts
    if isinstance(facts, BounceFacts | ComplaintFacts) and facts.subtype == _SUPPRESSED:
        return "suppressed"
    return _STATUSES.get(event.type)


def is_filed(filing: Filing, known: int) -> bool:
    """Whether a log that stands at the entry `known` has this already. Raises `FiledElsewhere`."""
    if filing.after is not None and known not in (filing.after, filing.upto):
        raise FiledElsewhere(
            f"The log has what happened up to {known}, and not up to {filing.after}: another scribe"
            " is at work."
        )
    return filing.upto <= known


def statuses_of(events: Iterable[LoggedEvent]) -> Statuses:
    """What is said last of each."""
    statuses: Statuses = {}
    for event in events:
        status = status_of(event)
        if status is not None and event.type != "Send":
            for address in event.recipients:
                statuses[event.message_id, suppression_key(address)] = status
    return statuses
