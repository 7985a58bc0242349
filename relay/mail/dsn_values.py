"""The facts that a delivery report is made from. Frozen values, without behaviour of their own."""

from dataclasses import dataclass, field
from typing import Literal

from relay.mail.envelope import Return

Action = Literal["failed", "delayed", "delivered", "relayed"]

RETURNED_BODY_OCTETS = 64 * 1024


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """What became of one recipient.

    `status` is an enhanced status code (`5.1.1`), `orcpt` what RCPT gave as `type;xtext`,
    `remote_mta` the host that said `diagnostic`, an SMTP reply in words. `attempted_at` and
    `retried_until` are UTC milliseconds.
    """

    address: str
    status: str
    orcpt: str = ""
    remote_mta: str = ""
    diagnostic: str = ""
    attempted_at: int | None = None
    retried_until: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report, about one message and recipients with the same `action`.

    `report_id` is this report's own message id and `message_id` the reported message's;
    `reverse_path` is whom it goes to. `arrived_at` and `now` are UTC milliseconds. `envid` and
    `ret` are what MAIL gave. `header` is the original's; `body` too where it was asked for and
    `wants_body` said yes, otherwise None.
    """

    report_id: str
    reporting_mta: str
    reverse_path: str
    action: Action
    recipients: tuple[ReportedRecipient, ...]
    message_id: str
    arrived_at: int
    now: int
    envid: str = ""
    ret: Return = ""
    header: bytes = field(default=b"", repr=False)
    body: bytes | None = field(default=None, repr=False)


def wants_body(action: Action, ret: Return, size: int) -> bool:
    """Whether the original's body of `size` octets belongs into a report (RFC 3461 §4.3).

    Only a failure, only where the sender asked for it with RET=FULL, and only a small one.
    """
    return action == "failed" and ret == "FULL" and size <= RETURNED_BODY_OCTETS
