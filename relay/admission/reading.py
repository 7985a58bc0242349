"""What a header block says that matters for admission: read once, in one pass over its fields.

A message that says two different things in a field that may stand only once is refused, since its
readers would not agree on what it says (two From fields: one is checked, the other shown).
Identical copies are repaired by keeping the first. Any number of DKIM-Signature, To and Cc fields
is fine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relay.admission.refusals import (
    address_not_ascii,
    duplicate_header,
    missing_from,
    no_address_in,
)
from relay.admission.submission import Refusal
from relay.mail.headers import Field, Headers, mailboxes

CONFIGURATION_SET: Final = "x-ses-configuration-set"
MESSAGE_TAGS: Final = "x-ses-message-tags"
TLS_REQUIRED: Final = "tls-required"

_SINGLE: Final = frozenset(
    {
        *("from", "sender", "reply-to", "subject", "date", "message-id"),
        *("in-reply-to", "references", "mime-version"),
        *("content-type", "content-transfer-encoding", "content-disposition", "content-id"),
    }
)
# For the relay's eyes, or nobody's: not passed on.
_REMOVED: Final = frozenset({"bcc", "resent-bcc", "return-path"})


@dataclass(frozen=True, slots=True)
class Reading:
    """`kept` are the fields that are passed on. `configuration_set` and `tags` are the values of
    the X-SES fields, None where there is none. `hops` counts Received fields. `tls_optional`: the
    message says `TLS-Required: No` (RFC 8689 §4)."""

    kept: tuple[Field, ...]
    from_addresses: tuple[str, ...]
    sender_addresses: tuple[str, ...]
    configuration_set: str | None
    tags: str | None
    hops: int
    has_date: bool
    has_message_id: bool
    tls_optional: bool = False


def read_header(headers: Headers, *, smtputf8: bool) -> Reading | Refusal:
    """Read a header block. Addresses beyond ASCII need `smtputf8`; other text does not."""
    kept: list[Field] = []
    single: dict[str, Field] = {}
    hops = 0
    tls_optional = False
    for field in headers.fields:
        name = field.name
        if name in _SINGLE:
            earlier = single.setdefault(name, field)
            if earlier is field:
                kept.append(field)
            elif earlier.value != field.value:
                return duplicate_header(_spelling(field))
        elif name.startswith("x-ses-"):
            if name in single and name in {CONFIGURATION_SET, MESSAGE_TAGS}:
                return duplicate_header(_spelling(field))
            single.setdefault(name, field)
        elif name not in _REMOVED:
            hops += name == "received"
            if name == TLS_REQUIRED:
                tls_optional = field.value.strip().lower() == "no"
            kept.append(field)
    from_addresses = _addresses(single, "From", smtputf8=smtputf8)
    if isinstance(from_addresses, Refusal):
        return from_addresses
    sender_addresses = _addresses(single, "Sender", smtputf8=smtputf8)
    if isinstance(sender_addresses, Refusal):
        return sender_addresses
    return Reading(
        kept=tuple(kept),
        from_addresses=from_addresses,
        sender_addresses=sender_addresses,
        configuration_set=_value(single.get(CONFIGURATION_SET)),
        tags=_value(single.get(MESSAGE_TAGS)),
        hops=hops,
        has_date="date" in single,
        has_message_id="message-id" in single,
        tls_optional=tls_optional,
    )


def _addresses(
    single: Mapping[str, Field], name: str, *, smtputf8: bool
) -> tuple[str, ...] | Refusal:
    """The addresses in From, which must be there, or in Sender, which need not."""
    field = single.get(name.lower())
    if field is None:
        return missing_from() if name == "From" else ()
    addresses = tuple(mailboxes(field.value))
    if not addresses:
        return no_address_in(name)
    if not smtputf8 and not all(address.isascii() for address in addresses):
        return address_not_ascii(name)
    # U+FFFD stands for octets that are not UTF-8: what is checked is not what would be sent.
    if any("\ufffd" in address for address in addresses):
        return no_address_in(name)
    return addresses


def _value(field: Field | None) -> str | None:
    return None if field is None else field.value


def _spelling(field: Field) -> str:
    """The field's name as the client spelled it."""
    return field.raw.partition(b":")[0].decode("ascii").rstrip()
