"""How messages and recipients lie in the rows: JSON, readable with the sqlite3 shell.

Decoding checks every type; what does not fit raises `Damaged`, never a half-filled value.
"""

import msgspec

from relay.mail.envelope import Envelope, Recipient, domain_of
from relay.store.values import Body, Message


class Damaged(Exception):
    """A row or a file does not hold what was written."""


class Facts(msgspec.Struct, omit_defaults=True):
    """What a message row holds beside the header block and the body."""

    accepted_at: int
    expires_at: int
    envelope: Envelope
    credential: str
    configuration_set: str
    identity: str
    body_size: int
    simple_digest: bytes
    relaxed_digest: bytes | None = None
    eight_bit: bool = False
    tags: tuple[tuple[str, str], ...] = ()


_encoder = msgspec.json.Encoder()
_facts = msgspec.json.Decoder(Facts)
_recipients = msgspec.json.Decoder(tuple[Recipient, ...])


def encode_facts(message: Message) -> bytes:
    body = message.body
    return _encoder.encode(
        Facts(
            accepted_at=message.accepted_at,
            expires_at=message.expires_at,
            envelope=message.envelope,
            credential=message.credential,
            configuration_set=message.configuration_set,
            identity=message.identity,
            body_size=body.size,
            simple_digest=body.simple_digest,
            relaxed_digest=body.relaxed_digest,
            eight_bit=body.eight_bit,
            tags=message.tags,
        )
    )


def decode_message(message_id: str, facts: bytes, ref: str | None, header: bytes) -> Message:
    """A message from its row, without its body. Raises Damaged."""
    try:
        known = _facts.decode(facts)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise Damaged(f"message {message_id}: {error}") from error
    if not isinstance(header, bytes) or not isinstance(message_id, str):
        raise Damaged(f"message {message_id}: a column has the wrong type")
    return Message(
        id=message_id,
        accepted_at=known.accepted_at,
        expires_at=known.expires_at,
        envelope=known.envelope,
        credential=known.credential,
        configuration_set=known.configuration_set,
        identity=known.identity,
        header=header,
        body=Body(
            size=known.body_size,
            simple_digest=known.simple_digest,
            relaxed_digest=known.relaxed_digest,
            eight_bit=known.eight_bit,
            ref=ref or "",
        ),
        tags=known.tags,
    )


def encode_recipients(recipients: tuple[Recipient, ...]) -> bytes:
    return _encoder.encode(recipients)


def decode_recipients(encoded: bytes) -> tuple[Recipient, ...]:
    """Raises Damaged."""
    try:
        return _recipients.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise Damaged(f"recipients: {error}") from error


def by_domain(recipients: tuple[Recipient, ...]) -> dict[str, tuple[Recipient, ...]]:
    """Recipients grouped by destination domain, in the order of their first appearance."""
    if len(recipients) == 1:
        return {domain_of(recipients[0].address): recipients}
    groups: dict[str, list[Recipient]] = {}
    for recipient in recipients:
        groups.setdefault(domain_of(recipient.address), []).append(recipient)
    return {domain: tuple(group) for domain, group in groups.items()}
