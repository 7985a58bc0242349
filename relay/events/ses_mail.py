"""The object `mail` of an event as SES has it: what the message was, whatever happened to it.

Its headers are those that the message leaves with, but for what the relay signs and hides: with the
Received field that the relay put on top, without the `X-SES-` fields that it took off. The client's
Message-ID stays in `headers` and `commonHeaders`, where `messageId` of `mail` is the relay's own.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from relay.events.times import iso
from relay.mail.encoded_words import decode_words
from relay.mail.envelope import domain_of
from relay.mail.headers import Field, HeaderError, Headers
from relay.mail.mailboxes import entries, mailboxes
from relay.mail.message_id import accepted_at
from relay.store.attempted import Way
from relay.store.log_values import LoggedEvent, LoggedMessage

ACCOUNT: Final = "000000000000"
"""What stands where SES has the number of an AWS account: there is one account, the relay's."""
OPERATION: Final = "SendSmtp"
"""How mail comes in. SES says `SendEmail` and others of its API."""

_COMMON = frozenset(
    {"from", "date", "to", "cc", "bcc", "sender", "reply-to", "message-id", "subject"}
)
_REMEMBERED = 64  # header blocks, of 10 kB at most
_encode = msgspec.json.Encoder().encode
_QUOTED_NAME = re.compile(r'"([^"\\,;:<>@()\[\]]*+)"[ \t]*+(<[^<>]++>)').fullmatch


class HeaderField(Struct):
    """A field of the header block, unfolded."""

    name: str
    value: str


class CommonHeaders(Struct, rename="camel"):
    """The fields that most ask for, decoded for people. `message_id` is the client's."""

    return_path: str | UnsetType
    from_: list[str] | UnsetType = msgspec.field(name="from")
    date: str | UnsetType
    to: list[str] | UnsetType
    cc: list[str] | UnsetType
    bcc: list[str] | UnsetType
    sender: str | UnsetType
    reply_to: list[str] | UnsetType
    message_id: str | UnsetType
    subject: str | UnsetType


class Mail(Struct, rename="camel"):
    """`source` is the reverse-path, `message_id` the id that the client got in the reply. `headers`
    are `HeaderField`s, `common_headers` are `CommonHeaders`."""

    timestamp: str
    source: str
    source_arn: str | UnsetType
    sending_account_id: str
    message_id: str
    destination: tuple[str, ...]
    headers_truncated: bool
    headers: Raw | UnsetType
    common_headers: Raw | UnsetType
    tags: dict[str, list[str]]


class _Read(NamedTuple):
    """What a header block says, as JSON: read once for all events of a message that follow each
    other, which are most of them."""

    headers: Raw
    common_headers: Raw
    from_domain: str


def mail_of(event: LoggedEvent, message: LoggedMessage | None, way: Way | None) -> Mail:
    """The object for an event. `way` is that of a delivery, which its tags tell; None for others.
    A message that the log has forgotten has neither headers nor tags."""
    if message is None:
        return Mail(
            timestamp=iso(accepted_at(event.message_id) or event.at),
            source="",
            source_arn=UNSET,
            sending_account_id=ACCOUNT,
            message_id=event.message_id,
            destination=event.recipients,
            headers_truncated=True,
            headers=UNSET,
            common_headers=UNSET,
            tags={},
        )
    read = _read(message.header, message.reverse_path)
    return Mail(
        timestamp=iso(message.accepted_at),
        source=message.reverse_path,
        source_arn=_arn(message.identity) if message.identity else UNSET,
        sending_account_id=ACCOUNT,
        message_id=message.id,
        destination=message.recipients,
        headers_truncated=message.header_is_cut,
        headers=read.headers,
        common_headers=read.common_headers,
        tags=_tags(message, read.from_domain, way or Way()),
    )


def _arn(identity: str) -> str:
    """In the place of the region stands `relay`."""
    return f"arn:aws:ses:relay:{ACCOUNT}:identity/{identity}"


@lru_cache(maxsize=_REMEMBERED)
def _read(header: bytes, reverse_path: str) -> _Read:
    fields = _fields(header)
    return _Read(
        headers=Raw(_encode([HeaderField(_name(field), field.value) for field in fields])),
        common_headers=Raw(_encode(_common(fields, reverse_path))),
        from_domain=_from_domain(fields, reverse_path),
    )


def _fields(header: bytes) -> tuple[Field, ...]:
    """None where what was kept is damaged: the event is true all the same."""
    try:
        return Headers.parse(header).fields
    except HeaderError:
        return ()


def _name(field: Field) -> str:
    """As it was written."""
    return field.raw[: len(field.name)].decode("ascii")


def _common(fields: tuple[Field, ...], reverse_path: str) -> CommonHeaders:
    found: dict[str, str] = {}
    for field in fields:
        if field.name in _COMMON:
            found.setdefault(field.name, field.value)

    def listed(name: str) -> list[str] | UnsetType:
        value = found.get(name)
        return UNSET if value is None else [_for_people(one) for one in entries(value)]

    def whole(name: str) -> str | UnsetType:
        value = found.get(name)
        return UNSET if value is None else _for_people(value)

    return CommonHeaders(
        return_path=reverse_path or UNSET,
        from_=listed("from"),
        date=whole("date"),
        to=listed("to"),
        cc=listed("cc"),
        bcc=listed("bcc"),
        sender=whole("sender"),
        reply_to=listed("reply-to"),
        message_id=whole("message-id"),
        subject=whole("subject"),
    )


def _for_people(value: str) -> str:
    """Decoded, and without quotes around a name that needs none."""
    quoted = _QUOTED_NAME(value)
    return decode_words(f"{quoted[1]} {quoted[2]}" if quoted else value)


def _from_domain(fields: tuple[Field, ...], reverse_path: str) -> str:
    """Of the first author; of the reverse-path where the field is missing or cannot be read."""
    authors = next((mailboxes(field.value) for field in fields if field.name == "from"), [])
    return domain_of(authors[0] if authors else reverse_path)


def _tags(message: LoggedMessage, from_domain: str, way: Way) -> dict[str, list[str]]:
    """SES's own tags, as far as they are known, then the sender's."""
    own = {
        "ses:source-tls-version": message.tls,
        "ses:operation": OPERATION,
        "ses:configuration-set": message.configuration_set,
        "ses:outgoing-tls-version": way.tls,
        "ses:source-ip": message.client,
        "ses:from-domain": from_domain,
        "ses:caller-identity": message.credential,
        "ses:outgoing-ip": way.source,
    }
    tags = {name: [value] for name, value in own.items() if value}
    return tags | {name: [value] for name, value in message.tags}
