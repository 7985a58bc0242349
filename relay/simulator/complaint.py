"""The report by which a simulated mailbox complains (ARF, RFC 5965), as a feedback loop would send
it. Pure."""

from relay.mail.dates import format_date
from relay.mail.headers import header_field
from relay.mail.message_id import new_message_id
from relay.store.values import Message

USER_AGENT = "relay-mailbox-simulator/1.0"
_RETURNED_HEADER_OCTETS = 10_240
_TEXT = (
    b"This is a report of abuse about mail that a simulated mailbox has received.\r\n"
    b"Nobody has really complained.\r\n"
)


def complaint_report(
    message: Message, mailbox: str, return_path: str, hostname: str, now: int
) -> bytes:
    """What `mailbox` says of `message`, which came under `return_path`, to whoever is there; times
    in UTC milliseconds."""
    report_id = new_message_id(now)
    boundary = f"=_arf_{report_id}".encode()
    fields = b"".join(
        [
            header_field("From", f"Complaints <{mailbox}>", smtputf8=True),
            header_field("To", f"<{return_path}>", smtputf8=True),
            header_field("Subject", "Complaint about a message"),
            header_field("Date", format_date(now)),
            header_field("Message-ID", f"<{report_id}@{hostname}>"),
            header_field("Auto-Submitted", "auto-generated"),
            header_field("MIME-Version", "1.0"),
            b"Content-Type: multipart/report; report-type=feedback-report;\r\n"
            b'\tboundary="%b"\r\n' % boundary,
        ]
    )
    feedback = b"".join(
        [
            header_field("Feedback-Type", "abuse"),
            header_field("User-Agent", USER_AGENT),
            header_field("Version", "1"),
            header_field("Original-Mail-From", f"<{return_path}>", smtputf8=True),
            header_field("Original-Rcpt-To", f"<{mailbox}>", smtputf8=True),
            header_field("Arrival-Date", format_date(now)),
            header_field("Reporting-MTA", f"dns; simulator.{hostname}"),
        ]
    )
    returned = header_field("Return-Path", f"<{return_path}>", smtputf8=True)
    returned += message.header[:_RETURNED_HEADER_OCTETS]
    parts = (
        b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + _TEXT,
        b"Content-Type: message/feedback-report\r\n\r\n" + feedback,
        b"Content-Type: text/rfc822-headers\r\n\r\n" + returned,
    )
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return fields + b"\r\n" + body + b"--%b--\r\n" % boundary
