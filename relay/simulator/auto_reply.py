"""The auto-reply of the mailbox that is out of the office (RFC 3834). Pure."""

import re
from contextlib import suppress

from relay.config.names import RESERVED_CREDENTIAL
from relay.feedback.policy import Policy
from relay.feedback.reports import whole_body
from relay.mail.dates import format_date
from relay.mail.encoded_words import decode_words
from relay.mail.enhanced import printable_text
from relay.mail.envelope import Envelope, Recipient
from relay.mail.headers import HeaderError, Headers, header_field
from relay.mail.message_id import new_message_id
from relay.store.values import Message, NewMessage

_SUBJECT_CHARACTERS = 200
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>").fullmatch
_TEXT = (
    b"I am out of the office, and read no mail.\r\n"
    b"\r\n"
    b"-- \r\n"
    b"This is the automatic reply of a simulated mailbox. Nobody has got your message.\r\n"
)


def auto_reply(message: Message, mailbox: str, policy: Policy, now: int) -> NewMessage:
    """What `mailbox` answers to `message`: mail to its reverse-path, which is not empty.

    It goes as the relay's own reports do, by `policy`, and under the null reverse-path, so that
    nothing answers it. `now` is UTC milliseconds.
    """
    to = message.envelope.reverse_path
    reply_id = new_message_id(now)
    subject, original = _known_by(message.header)
    fields = [
        header_field("From", f"Out of office <{mailbox}>"),
        header_field("To", f"<{to}>", smtputf8=True),
        header_field("Subject", f"Automatic reply: {subject}".rstrip(": ")),
        header_field("Date", format_date(now)),
        header_field("Message-ID", f"<{reply_id}@{policy.hostname}>"),
        header_field("Auto-Submitted", "auto-replied"),
        header_field("Precedence", "bulk"),
        header_field("MIME-Version", "1.0"),
        header_field("Content-Type", "text/plain; charset=us-ascii"),
    ]
    if original:
        fields += [header_field("In-Reply-To", original), header_field("References", original)]
    return NewMessage(
        Message(
            id=reply_id,
            accepted_at=now,
            expires_at=now + policy.report_lifetime,
            envelope=Envelope("", (Recipient(to, notify=("NEVER",)),), smtputf8=not to.isascii()),
            credential=RESERVED_CREDENTIAL,
            configuration_set=policy.report_set,
            identity="",
            header=b"".join(fields),
            body=whole_body(_TEXT),
        ),
        due_at=now,
        suppression=policy.report_suppression,
    )


def _known_by(header: bytes) -> tuple[str, str]:
    """The subject for people, and the Message-ID; what is missing or malformed is empty."""
    with suppress(HeaderError):
        headers = Headers.parse(header)
        subject = printable_text(decode_words(headers.first("subject") or ""), _SUBJECT_CHARACTERS)
        original = (headers.first("message-id") or "").strip()
        return subject, original if _MESSAGE_ID(original) else ""
    return "", ""
