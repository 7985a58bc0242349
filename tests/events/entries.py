"""Entries of the outbox for tests of events: what happened, in a line."""

from typing import Any

from relay.events.making import logged_message
from relay.mail.envelope import Envelope, Recipient
from relay.store.attempted import Attempted, Verdict, Way
from relay.store.happenings import Happening, OutboxEntry, Sent
from relay.store.log_values import LoggedMessage
from relay.store.values import Body, Message, Suppressed

HOSTNAME = "relay.example"
ACCEPTED_AT = 1_790_000_000_118
MESSAGE_ID = f"0100{ACCEPTED_AT:012x}-5b0c5f0e-8a55-4a7c-9b61-1f6f6b2f7a10-000000"
EXPIRES_AT = ACCEPTED_AT + 50_400_000
HEADER = (
    b"Received: from app.shop.example ([10.0.4.7])\r\n\tby relay.example with ESMTPSA\r\n"
    b"From: Shop <no-reply@shop.example>\r\n"
    b'To: "Ann, the first" <ann@customer.example>, bob@customer.example\r\n'
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from the shop\r\n"
    b"Date: Mon, 21 Sep 2026 14:13:20 +0000\r\n"
    b"Message-ID: <order-1001@shop.example>\r\n"
)


def new_message(
    *recipients: str,
    header: bytes = HEADER,
    reverse_path: str = "b+1@bounce.shop.example",
    **others: Any,
) -> Message:
    facts: dict[str, Any] = {
        "id": MESSAGE_ID,
        "accepted_at": ACCEPTED_AT,
        "expires_at": EXPIRES_AT,
        "envelope": Envelope(
            reverse_path, tuple(Recipient(one) for one in recipients or ("ann@customer.example",))
        ),
        "credential": "shop-app",
        "configuration_set": "transactional",
        "identity": "shop.example",
        "header": header,
        "body": Body(size=100, simple_digest=b""),
        "tags": (("app", "shop"),),
        "client": "10.0.4.7",
        "client_tls": "TLSv1.3",
    }
    return Message(**(facts | others))


def sent(message: Message, *suppressed: Suppressed, number: int = 1) -> OutboxEntry:
    return OutboxEntry(number, message.id, message.accepted_at, Sent(message, suppressed))


def logged(*recipients: str, **others: Any) -> LoggedMessage:
    return logged_message(sent(new_message(*recipients, **others)), HOSTNAME)


def entry(what: Happening, number: int = 7, at: int = ACCEPTED_AT + 1_833) -> OutboxEntry:
    return OutboxEntry(number, MESSAGE_ID, at, what)


def attempted(*verdicts: Verdict, delivered: tuple[str, ...] = (), **others: Any) -> OutboxEntry:
    facts: dict[str, Any] = {
        "at": ACCEPTED_AT + 1_833,
        "number": 1,
        "delivered": delivered,
        "reply": "250 2.0.0 queued as 7F3A" if delivered else "",
        "verdicts": verdicts,
        "way": Way(
            "shared", "198.51.100.10", "other", "mx.customer.example", "192.0.2.25", "TLSv1.3"
        ),
        "expires_at": EXPIRES_AT,
    }
    return entry(Attempted(**(facts | others)))


def verdict(address: str = "ann@customer.example", **others: Any) -> Verdict:
    """Given up because there is no such mailbox, where nothing else is said."""
    facts: dict[str, Any] = {
        "address": address,
        "bounced": True,
        "bounce_type": "Permanent",
        "bounce_subtype": "NoEmail",
        "category": "mailbox_unknown",
        "rule": "no-such-user",
        "status": "5.1.1",
        "reply": "550 5.1.1 no such user",
        "remote": "mx.customer.example",
    }
    return Verdict(**(facts | others))


def delayed(address: str = "ann@customer.example", **others: Any) -> Verdict:
    facts: dict[str, Any] = {
        "bounced": False,
        "bounce_type": "Transient",
        "bounce_subtype": "General",
        "category": "greylisted",
        "rule": "greylisting",
        "status": "4.7.1",
        "reply": "451 4.7.1 greylisted, try later",
    }
    return verdict(address, **(facts | others))
