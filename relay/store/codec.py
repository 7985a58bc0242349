"""How messages and recipients lie in the rows of every store: JSON, readable with its shell.

Decoding checks every type, and the header block and the body against checksums that were taken
when they came in. What does not fit raises `Damaged`; a half-filled value is never returned.
"""

from zlib import crc32

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
    header_crc: int
    body_crc: int  # of an inline body; a spool file's is in its reference
    relaxed_digest: bytes | None = None
    eight_bit: bool = False
    dots: bool | None = None
    tags: tuple[tuple[str, str], ...] = ()
    tls_optional: bool = False
    client: str = ""
    client_tls: str = ""


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
            header_crc=crc32(message.header),
            body_crc=crc32(body.inline or b""),
            relaxed_digest=body.relaxed_digest,
            eight_bit=body.eight_bit,
            dots=body.dots,
            tags=message.tags,
            tls_optional=message.tls_optional,
            client=message.client,
            client_tls=message.client_tls,
        )
    )


def decode_facts(message_id: str, facts: bytes) -> Facts:
    """Raises Damaged."""
    try:
        return _facts.decode(facts)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise Damaged(f"message {message_id}: {error}") from error


def check_body(message_id: str, facts: bytes, body: bytes | None) -> bytes:
    """An inline body as it was stored. Raises Damaged."""
    known = decode_facts(message_id, facts)
    if not isinstance(body, bytes) or len(body) != known.body_size or crc32(body) != known.body_crc:
        raise Damaged(f"message {message_id}: its body is not what was stored")
    return body


def decode_message(
    message_id: str, facts: bytes, ref: str | None, header: bytes, *, is_cut: bool = False
) -> Message:
    """A message from its row, without its body. Raises Damaged. `is_cut`: the header block is
    not kept whole, so that it cannot be checked."""
    known = decode_facts(message_id, facts)
    if not isinstance(header, bytes) or not (is_cut or crc32(header) == known.header_crc):
        raise Damaged(f"message {message_id}: its header block is not what was stored")
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
            dots=known.dots,
        ),
        tags=known.tags,
        tls_optional=known.tls_optional,
        client=known.client,
        client_tls=known.client_tls,
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
