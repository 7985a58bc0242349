"""A delivery as operators see it, from its row and its message's. Pure, for every store."""

from collections.abc import Sequence
from typing import Any

from relay.store.codec import Damaged, decode_facts, decode_message, decode_recipients
from relay.store.values import Message, QueueEntry, QueueFilter


def entry_of(row: Sequence[Any]) -> QueueEntry:
    """What is left of a damaged one; whoever claims it sets it apart and says so."""
    (identifier, state, accepted_at, due_at, attempts, configuration_set) = row[:6]
    (domain, recipients, claimed, last_reply, pool, suspended_by, waits_for) = row[6:13]
    (doubtful, message_id, facts, header) = row[13:]
    message: Message | None
    try:
        message = decode_message(message_id, facts, None, header)
        addresses = tuple(recipient.address for recipient in decode_recipients(recipients))
    except Damaged:
        message, addresses = None, ()
    return QueueEntry(
        delivery_id=identifier,
        message_id=message_id or "",
        state=state,
        accepted_at=accepted_at,
        expires_at=message.expires_at if message else 0,
        due_at=due_at,
        attempts=attempts,
        credential=message.credential if message else "",
        configuration_set=configuration_set,
        reverse_path=message.envelope.reverse_path if message else "",
        domain=domain,
        recipients=addresses,
        size=message.size if message else 0,
        claimed=bool(claimed),
        last_reply=last_reply,
        pool=pool,
        suspended_by=(suspended_by or "") if state == "suspended" else "",
        waits_for=(waits_for or "") if state == "queued" else "",
        doubtful=bool(doubtful),
    )


def matches(which: QueueFilter, recipients: bytes, facts: bytes | None) -> bool:
    """Whether recipients, credential and sender are those that a filter asks for. What is damaged
    matches nothing. For an engine whose own comparison fails there."""
    try:
        if which.recipient:
            addresses = {recipient.address.lower() for recipient in decode_recipients(recipients)}
            if which.recipient.lower() not in addresses:
                return False
        if not (which.credential or which.sender):
            return True
        known = None if facts is None else decode_facts("", facts)
    except Damaged:
        return False
    return (
        known is not None
        and which.credential in ("", known.credential)
        and which.sender.lower() in ("", known.envelope.reverse_path.lower())
    )
