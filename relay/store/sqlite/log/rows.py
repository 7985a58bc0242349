"""How messages and events lie in the rows of the log: JSON, readable with the sqlite3 shell.

A row that cannot be read is left out: nothing depends on it, and the rest is still worth reading.
"""

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import replace

import msgspec

from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    DeliveryFacts,
    EventFacts,
    EventType,
    LoggedEvent,
    LoggedMessage,
    PauseFacts,
    RejectFacts,
    SendFacts,
)
from relay.store.sqlite.rows import chunks, values

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


encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(LoggedMessage).decode
_told = msgspec.json.Decoder(_Told).decode
_facts = {name: msgspec.json.Decoder(kind).decode for name, kind in _FACTS.items()}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, TypeError)


def numbers_of(db: sqlite3.Connection, ids: Collection[str]) -> dict[str, int]:
    """The rows of messages, by id."""
    found: dict[str, int] = {}
    for some in chunks(tuple(ids)):
        statement = values(
            "SELECT message_id, id FROM message WHERE message_id IN ",
            "?",
            len(some),
            in_brackets=True,
        )
        found.update(db.execute(statement, some).fetchall())
    return found


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
