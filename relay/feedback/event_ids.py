"""Ids of events and of bounces and complaints: the same whenever the same happening is told.

They have the form of SES's ids, `0100` + 12 hex digits of milliseconds `-` UUID `-000000`, so that
they sort by time and pass where SES's do. The UUID is a hash of what happened (version 8 of
RFC 9562) and not random: an event that is made a second time after a crash has the id it had.
"""

from hashlib import blake2b

_MILLISECONDS = (1 << 48) - 1


def event_id(entry_id: int, message_id: str, at: int, number: int) -> str:
    """The id of an event: the `number`th (from 0) of those that the outbox entry `entry_id` about
    a message makes, which happened at `at` (UTC ms)."""
    return _id(b"event", entry_id, message_id, at, number)


def feedback_id(entry_id: int, message_id: str, at: int, number: int) -> str:
    """The `feedbackId` of a bounce or a complaint, from the same facts; not the id of its event."""
    return _id(b"feedback", entry_id, message_id, at, number)


def _id(purpose: bytes, entry_id: int, message_id: str, at: int, number: int) -> str:
    facts = f"{entry_id} {at} {number} {message_id}".encode(errors="surrogatepass")
    h = blake2b(facts, digest_size=16, person=purpose).hexdigest()
    variant = "89ab"[int(h[16], 16) & 3]
    uuid = f"{h[:8]}-{h[8:12]}-8{h[13:16]}-{variant}{h[17:20]}-{h[20:]}"
    return f"0100{at & _MILLISECONDS:012x}-{uuid}-000000"
